// SPDX-License-Identifier: GPL-2.0
/*
 * ioctl-probe: observes /proc/ioctl_test from user space; judges nothing
 *
 * The output is that of all probes, see probe.h.
 *
 * Exit status: 0 observed, 1 could not observe (a line "event":"blocked" says
 * why), 2 wrong usage.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../common/probe.h"

struct fields {
	int field1;
	char field2;
};

#define IOCTL_TEST	_IOW(0, 6, struct fields)

#define FILE_NAME	"/proc/ioctl_test"
#define ORDINARY_USER	65534
#define PAGE		4096UL
#define CANARY		0xa5

/* ---- output ---- */

static void try_call(int fd, const char *name, unsigned int command, uintptr_t address)
{
	int error;

	printf("{\"event\":\"trying\",\"name\":\"%s\"}\n", name);
	error = ioctl(fd, command, address) < 0 ? errno : 0;
	printf("{\"event\":\"tried\",\"name\":\"%s\",\"error\":%s}\n", name,
	       error_json(error));
}

/* ---- memory: two pages, and behind them an address that is not mapped ---- */

static unsigned char *map_before_hole(void)
{
	unsigned char *area = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (area == MAP_FAILED || munmap(area + 2 * PAGE, PAGE))
		return NULL;
	memset(area, CANARY, 2 * PAGE);
	return area;
}

/* ---- call: both fields, as in a program of the exercise ---- */

static int run_call(int fd, const struct fields *fields)
{
	try_call(fd, "call", IOCTL_TEST, (uintptr_t)fields);
	return EXIT_OBSERVED;
}

/* ---- slots: the fields at awkward places, all of them good ---- */

static int run_slots(int fd, const struct fields *fields)
{
	static const struct {
		const char *name;
		size_t offset;
	} slots[] = {
		{ "aligned", 0 },
		{ "unaligned", PAGE / 2 + 1 },
		{ "across-pages", PAGE - 2 },
		{ "before-unmapped", 2 * PAGE - sizeof(struct fields) },
	};
	unsigned char *area = map_before_hole();
	size_t i;

	if (!area)
		return report_blocked("memory", errno);
	for (i = 0; i < ARRAY_SIZE(slots); i++) {
		memset(area, CANARY, 2 * PAGE);
		memcpy(area + slots[i].offset, &fields->field1, sizeof(int));
		area[slots[i].offset + sizeof(int)] = fields->field2;
		mprotect(area, 2 * PAGE, PROT_READ);
		try_call(fd, slots[i].name, IOCTL_TEST, (uintptr_t)area + slots[i].offset);
		mprotect(area, 2 * PAGE, PROT_READ | PROT_WRITE);
	}
	return EXIT_OBSERVED;
}

/* ---- bad-pointers ---- */

static int run_bad_pointers(int fd, const struct fields *fields)
{
	unsigned char *pages = map_before_hole();
	/* Comes last: a later mapping could fill its hole. */
	unsigned char *hole = map_before_hole();
	const struct {
		const char *name;
		uintptr_t address;
	} bad[] = {
		{ "null", 0 },
		{ "unmapped", (uintptr_t)hole + 2 * PAGE },
		{ "half-mapped", (uintptr_t)hole + 2 * PAGE - sizeof(int) },
		{ "prot-none", (uintptr_t)pages + PAGE },
		{ "end-of-user-space", 0x00007ffffffffffe },
		{ "non-canonical", 0x0000800000000000 },
		{ "kernel-direct-map", 0xffff888000000000 },
		{ "kernel-text", 0xffffffff81000000 },
		{ "end-of-memory", 0xfffffffffffffff8 },
	};
	size_t i;

	(void)fields;
	if (!pages || !hole || mprotect(pages + PAGE, PAGE, PROT_NONE))
		return report_blocked("memory", errno);
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		try_call(fd, bad[i].name, IOCTL_TEST, bad[i].address);
	return EXIT_OBSERVED;
}

/* ---- commands: none of them is the module's ---- */

static int run_commands(int fd, const struct fields *fields)
{
	static const struct {
		const char *name;
		unsigned int command;
	} foreign[] = {
		{ "zero", 0 },
		{ "number-alone", 6 },
		{ "all-ones", 0xffffffff },
		{ "tcgets", 0x5401 },
		{ "no-direction", _IO(0, 6) },
		{ "other-direction", _IOR(0, 6, struct fields) },
		{ "both-directions", _IOWR(0, 6, struct fields) },
		{ "number-5", _IOW(0, 5, struct fields) },
		{ "number-7", _IOW(0, 7, struct fields) },
		{ "4-bytes", _IOW(0, 6, int) },
		{ "16-bytes", _IOW(0, 6, struct fields[2]) },
		{ "type-1", _IOW(1, 6, struct fields) },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(foreign); i++)
		try_call(fd, foreign[i].name, foreign[i].command, (uintptr_t)fields);
	return EXIT_OBSERVED;
}

/* ---- command line ---- */

static const struct {
	const char *name;
	int (*run)(int fd, const struct fields *fields);
} subcommands[] = {
	{ "call", run_call },
	{ "slots", run_slots },
	{ "bad-pointers", run_bad_pointers },
	{ "commands", run_commands },
};

static int print_usage(void)
{
	fprintf(stderr, "usage: ioctl-probe [-u] [-w] SUBCOMMAND FIELD1 FIELD2\n"
		"SUBCOMMAND: call, slots, bad-pointers or commands; both fields are numbers\n"
		"-u: as an ordinary user\n"
		"-w: once %s is open, wait for the end of standard input\n", FILE_NAME);
	return EXIT_USAGE;
}

/* What happens to the module meanwhile meets an open file. */
static void wait_for_end_of_input(void)
{
	char text[64];

	printf("{\"event\":\"opened\"}\n");
	while (read(STDIN_FILENO, text, sizeof(text)) > 0)
		;
}

static bool become_ordinary(void)
{
	return !setgroups(0, NULL) && !setgid(ORDINARY_USER) && !setuid(ORDINARY_USER);
}

static int observe(const char *name, const struct fields *fields, bool ordinary, bool wait)
{
	size_t i;
	int fd;

	if (ordinary && !become_ordinary())
		return report_blocked("setuid", errno);
	fd = open(FILE_NAME, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return report_blocked("open", errno);
	if (wait)
		wait_for_end_of_input();
	for (i = 0; i < ARRAY_SIZE(subcommands); i++) {
		if (!strcmp(subcommands[i].name, name))
			return subcommands[i].run(fd, fields);
	}
	return print_usage();
}

int main(int argc, char **argv)
{
	bool ordinary = false, wait = false;
	struct fields fields;
	int option, status;

	while ((option = getopt(argc, argv, "+uw")) != -1) {
		if (option == 'u')
			ordinary = true;
		else if (option == 'w')
			wait = true;
		else
			return print_usage();
	}
	if (argc - optind != 3)
		return print_usage();
	memset(&fields, CANARY, sizeof(fields));
	fields.field1 = strtol(argv[optind + 1], NULL, 0);
	fields.field2 = strtol(argv[optind + 2], NULL, 0);

	setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	printf("{\"event\":\"start\",\"subcommand\":\"%s\"}\n", argv[optind]);
	status = observe(argv[optind], &fields, ordinary, wait);
	printf("{\"event\":\"end\",\"status\":%d}\n", status);
	return fflush(stdout) || ferror(stdout) ? EXIT_BLOCKED : status;
}
