// SPDX-License-Identifier: GPL-2.0
/*
 * keyboard-reader: prints the keys that are pressed and released
 *
 * One line per key: its scan code (set 1) as the keyboard controller gave it,
 * and whether the key was pressed or released. It sleeps until there is one.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NODE		"/dev/keyboard"
#define EXTENDED	0xe0	/* one byte of the code follows */
#define PAUSE		0xe1	/* two bytes follow */
#define RELEASED	0x80

/* The bytes of a code that is not complete yet. */
struct code {
	unsigned char bytes[3];
	int count;
};

static int length_of(const struct code *code)
{
	if (code->bytes[0] == PAUSE)
		return 3;
	return code->bytes[0] == EXTENDED ? 2 : 1;
}

/* Returns 1 when a line was printed. */
static int take(struct code *code, unsigned char byte)
{
	int i;

	code->bytes[code->count++] = byte;
	if (code->count < length_of(code))
		return 0;
	for (i = 0; i < code->count; i++)
		printf("%02x ", code->bytes[i]);
	printf("%s\n", byte & RELEASED ? "released" : "pressed");
	code->count = 0;
	return 1;
}

/* Up to @limit keys; 0: until it is ended. */
static int read_keys(int fd, long limit)
{
	struct code code = { .count = 0 };
	unsigned char bytes[64];
	ssize_t got, i;
	long done = 0;

	for (;;) {
		got = read(fd, bytes, sizeof(bytes));
		if (got < 0 && errno == EOVERFLOW) {
			fprintf(stderr, "keyboard-reader: keys were lost\n");
			code.count = 0;
			continue;
		}
		if (got <= 0)
			return got ? -1 : 0;
		for (i = 0; i < got; i++) {
			done += take(&code, bytes[i]);
			if (limit && done == limit)
				return 0;
		}
	}
}

static int print_usage(void)
{
	fprintf(stderr, "usage: keyboard-reader [-n KEYS] [FILE]\n"
		"KEYS: end after as many presses and releases; FILE: %s\n", NODE);
	return 2;
}

int main(int argc, char **argv)
{
	const char *node = NODE;
	char *end = "";
	long limit = 0;
	int option, fd;

	while ((option = getopt(argc, argv, "n:")) != -1) {
		if (option != 'n')
			return print_usage();
		limit = strtol(optarg, &end, 10);
	}
	if (*end || limit < 0 || argc - optind > 1)
		return print_usage();
	if (optind < argc)
		node = argv[optind];

	setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	fd = open(node, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read_keys(fd, limit)) {
		fprintf(stderr, "keyboard-reader: %s: %s\n", node, strerror(errno));
		return 1;
	}
	return 0;
}
