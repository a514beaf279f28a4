// SPDX-License-Identifier: GPL-2.0
/*
 * virtblkiosim-tool: the ioctls of the virtblkiosim block device
 *
 * A registration belongs to a process and lasts while the device is open, so
 * each command but "size" registers first. Then the first block that it writes
 * is the first one that it reads.
 *
 * Exit status: 0 done, 1 the device refused or gave other data, 2 wrong usage.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define NODE		"/dev/virtblkiosim"
#define NAME		"virtblkiosim-tool"

#define IOC_REGISTER	_IO('q', 0)
#define IOC_GET_SIZE	_IOR('q', 1, unsigned long)
#define IOC_READ	_IOR('q', 2, unsigned long)
#define IOC_WRITE	_IOW('q', 3, unsigned long)

#define MAX_BLOCK	(1UL << 20)
#define MAX_LOOPS	1000000000UL

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

static const char usage_text[] =
	"usage: " NAME " [-d NODE] COMMAND\n"
	"  register    register this process\n"
	"  size        print the size of a block in bytes\n"
	"  read        register, read the first block, and write it to standard output\n"
	"  write TEXT  register, and write TEXT, filled up with zeros, to the first block\n"
	"  loop N      register, then N times write a block, read it back and compare\n"
	"NODE is " NODE " unless -d names another one.\n";

static int usage(void)
{
	fputs(usage_text, stderr);
	return EXIT_USAGE;
}

static int failed(const char *what)
{
	fprintf(stderr, NAME ": %s: %s\n", what, strerror(errno));
	return EXIT_FAILED;
}

static int refused(const char *why)
{
	fprintf(stderr, NAME ": %s\n", why);
	return EXIT_FAILED;
}

/* Zero, with a message, when the device does not say or what it says is absurd. */
static unsigned long block_size(int fd)
{
	unsigned long size = 0;

	if (ioctl(fd, IOC_GET_SIZE, &size)) {
		failed("cannot get the size of a block");
		return 0;
	}
	if (!size || size > MAX_BLOCK) {
		fprintf(stderr, NAME ": a block cannot have %lu bytes\n", size);
		return 0;
	}
	return size;
}

static int do_register(int fd)
{
	if (ioctl(fd, IOC_REGISTER))
		return failed("cannot register");
	printf("process %ld is registered\n", (long)getpid());
	return EXIT_DONE;
}

static int do_size(int fd)
{
	unsigned long size = block_size(fd);

	if (!size)
		return EXIT_FAILED;
	printf("%lu\n", size);
	return EXIT_DONE;
}

static int do_read(int fd, unsigned long size, char *block)
{
	if (ioctl(fd, IOC_READ, block))
		return failed("cannot read a block");
	if (fwrite(block, 1, size, stdout) != size || fflush(stdout))
		return failed("standard output");
	return EXIT_DONE;
}

static int do_write(int fd, unsigned long size, char *block, const char *text)
{
	if (strlen(text) > size)
		return refused("the text is longer than a block");
	memset(block, 0, size);
	memcpy(block, text, strlen(text));
	if (ioctl(fd, IOC_WRITE, block))
		return failed("cannot write a block");
	printf("%zu bytes of text and %zu zeros written\n", strlen(text),
	       (size_t)size - strlen(text));
	return EXIT_DONE;
}

/* Another pattern in each round. */
static void fill(char *block, unsigned long size, unsigned long round)
{
	unsigned long i;

	for (i = 0; i < size; i++)
		block[i] = (char)(i * 31 + round * 17 + (round >> 8));
}

static double seconds_since(const struct timespec *start)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - start->tv_sec) +
	       (double)(now.tv_nsec - start->tv_nsec) / 1e9;
}

static int do_loop(int fd, unsigned long size, char *block, unsigned long rounds)
{
	char *back = calloc(1, size);
	struct timespec start;
	unsigned long done;
	int status = EXIT_DONE;

	if (!back)
		return failed("memory");
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (done = 0; done < rounds && status == EXIT_DONE; done++) {
		fill(block, size, done);
		if (ioctl(fd, IOC_WRITE, block))
			status = failed("cannot write a block");
		else if (ioctl(fd, IOC_READ, back))
			status = failed("cannot read a block");
		else if (memcmp(block, back, size))
			status = refused("a block came back with other data");
	}
	if (status == EXIT_DONE)
		printf("%lu blocks written, read back and equal, in %.3f s\n",
		       done, seconds_since(&start));
	free(back);
	return status;
}

/* The commands that transfer blocks; @rounds is used by loop alone. */
static int do_blocks(int fd, const char *command, const char *text,
		     unsigned long rounds)
{
	unsigned long size = block_size(fd);
	char *block = size ? calloc(1, size) : NULL;
	int status;

	if (!size)
		return EXIT_FAILED;
	if (!block)
		return failed("memory");
	if (ioctl(fd, IOC_REGISTER))
		status = failed("cannot register");
	else if (!strcmp(command, "read"))
		status = do_read(fd, size, block);
	else if (!strcmp(command, "write"))
		status = do_write(fd, size, block, text);
	else
		status = do_loop(fd, size, block, rounds);
	free(block);
	return status;
}

/* Zero unless @text is a whole number from 1 to MAX_LOOPS. */
static unsigned long count_of(const char *text)
{
	char *end;
	unsigned long count;

	if (*text < '0' || *text > '9')
		return 0;
	errno = 0;
	count = strtoul(text, &end, 10);
	return errno || *end || count > MAX_LOOPS ? 0 : count;
}

static int arguments_of(const char *command)
{
	static const struct {
		const char *name;
		int arguments;
	} commands[] = {
		{ "register", 0 }, { "size", 0 }, { "read", 0 },
		{ "write", 1 }, { "loop", 1 },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		if (!strcmp(commands[i].name, command))
			return commands[i].arguments;
	}
	return -1;
}

int main(int argc, char **argv)
{
	const char *node = NODE;
	const char *command, *argument;
	unsigned long rounds = 0;
	int opt, fd, status;

	while ((opt = getopt(argc, argv, "+d:")) != -1) {
		if (opt != 'd')
			return usage();
		node = optarg;
	}
	if (optind == argc || arguments_of(argv[optind]) != argc - optind - 1)
		return usage();
	command = argv[optind];
	argument = argv[optind + 1];
	if (!strcmp(command, "loop")) {
		rounds = count_of(argument);
		if (!rounds)
			return usage();
	}

	fd = open(node, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return failed(node);
	if (!strcmp(command, "register"))
		status = do_register(fd);
	else if (!strcmp(command, "size"))
		status = do_size(fd);
	else
		status = do_blocks(fd, command, argument, rounds);
	close(fd);
	return status;
}
