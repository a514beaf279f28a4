// SPDX-License-Identifier: GPL-2.0
/*
 * my-rng-further-probe: observes the nodes of my_rng_pci from user space; judges
 * nothing
 *
 * The output is that of all probes, see probe.h. What was read goes to files,
 * whose bytes the host compares with what the device gives.
 *
 * Exit status: 0 observed, 1 could not observe (a line "event":"blocked" says
 * why), 2 wrong usage.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../common/probe.h"
#include "../further/my-rng.h"

#define PAGE		4096UL
#define MAX_PROCESSES	64
#define MAX_BYTES	(256 * 1024 * 1024UL)

/* ---- output ---- */

static void report(const char *name, long result)
{
	printf("{\"event\":\"call\",\"name\":\"%s\",\"result\":%ld,\"error\":%s}\n",
	       name, result < 0 ? -1 : result, error_json(result < 0 ? errno : 0));
}

/* ---- one open node ---- */

static int open_node(const char *node, unsigned int path)
{
	int fd = open(node, O_RDWR | O_CLOEXEC);

	if (fd >= 0 && ioctl(fd, MY_RNG_IOC_PATH, &path)) {
		close(fd);
		return -1;
	}
	return fd;
}

static int seed(int fd, const char *text)
{
	unsigned int value = strtoul(text, NULL, 0);

	return ioctl(fd, MY_RNG_IOC_SEED, &value);
}

static void *map(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

static bool keep(const char *file, const void *data, size_t size)
{
	int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	bool kept = fd >= 0 && write(fd, data, size) == (ssize_t)size;

	if (fd >= 0)
		close(fd);
	return kept;
}

/* ---- read NODE PATH SEED BYTES CHUNK FILE ---- */

/* Reads @bytes in calls of at most @chunk; *@calls tells how many there were. */
static ssize_t read_all(int fd, unsigned char *to, size_t bytes, size_t chunk,
			size_t *calls)
{
	size_t done = 0;
	ssize_t got;

	for (*calls = 0; done < bytes; (*calls)++) {
		got = read(fd, to + done, bytes - done < chunk ? bytes - done : chunk);
		if (got <= 0)
			return got < 0 ? -1 : (ssize_t)done;
		done += got;
	}
	return done;
}

static int run_read(char **args)
{
	const size_t bytes = strtoul(args[3], NULL, 0);
	int fd = open_node(args[0], atoi(args[1]));
	unsigned char *memory = map(bytes);
	size_t calls;

	if (fd < 0 || !memory)
		return report_blocked("open", errno);
	report("seed", seed(fd, args[2]));
	report("read", read_all(fd, memory, bytes, strtoul(args[4], NULL, 0), &calls));
	report("calls", calls);
	return keep(args[5], memory, bytes) ? EXIT_OBSERVED : report_blocked("file", errno);
}

/* ---- get NODE SEED COUNT ---- */

/* 32-bit and 64-bit commands in turn: together they are one sequence. */
static int run_get(char **args)
{
	const int count = atoi(args[2]);
	int fd = open_node(args[0], MY_RNG_PATH_AUTO);
	unsigned int one = 0;
	__u64 two = 0;
	int i;

	if (fd < 0)
		return report_blocked("open", errno);
	report("seed", seed(fd, args[1]));
	for (i = 0; i < count; i++) {
		report("get64", ioctl(fd, MY_RNG_IOC_GET64, &two));
		printf("{\"event\":\"number\",\"value\":%u}\n", (unsigned int)two);
		printf("{\"event\":\"number\",\"value\":%u}\n", (unsigned int)(two >> 32));
		report("get", ioctl(fd, MY_RNG_IOC_GET, &one));
		printf("{\"event\":\"number\",\"value\":%u}\n", one);
	}
	return EXIT_OBSERVED;
}

/* ---- commands NODE: what the basic device refuses, and what nobody knows ---- */

static int run_commands(char **args)
{
	int fd = open(args[0], O_RDWR | O_CLOEXEC);
	unsigned int path;
	__u64 two;

	if (fd < 0)
		return report_blocked("open", errno);
	for (path = MY_RNG_PATH_AUTO; path <= MY_RNG_PATH_BULK + 1; path++)
		report("path", ioctl(fd, MY_RNG_IOC_PATH, &path));
	report("get64", ioctl(fd, MY_RNG_IOC_GET64, &two));
	report("foreign", ioctl(fd, _IOR('q', 4, unsigned int), &path));
	report("nothing", read(fd, &two, 0));
	return EXIT_OBSERVED;
}

/* ---- pointers NODE PATH SEED FILE ---- */

static void try_all(int fd, const char *name, void *bad)
{
	printf("{\"event\":\"trying\",\"name\":\"%s\"}\n", name);
	report("read", read(fd, bad, 3 * PAGE));
	report("get", ioctl(fd, MY_RNG_IOC_GET, bad));
	report("get64", ioctl(fd, MY_RNG_IOC_GET64, bad));
	report("seed", ioctl(fd, MY_RNG_IOC_SEED, bad));
	report("path", ioctl(fd, MY_RNG_IOC_PATH, bad));
}

/*
 * Reads three pages into memory of which only the first two can be written, then
 * three more pages to good memory: together they are one sequence.
 */
static int run_pointers(char **args)
{
	int fd = open_node(args[0], atoi(args[1]));
	unsigned char *memory = map(6 * PAGE);
	ssize_t got;

	if (fd < 0 || !memory || mprotect(memory + 2 * PAGE, PAGE, PROT_NONE))
		return report_blocked("open", errno);
	report("seed", seed(fd, args[2]));
	try_all(fd, "null", NULL);
	try_all(fd, "protected", memory + 2 * PAGE);
	try_all(fd, "non-canonical", (void *)0x0000800000000000);
	try_all(fd, "kernel", (void *)0xffff888000000000);

	printf("{\"event\":\"trying\",\"name\":\"half\"}\n");
	got = read(fd, memory, 3 * PAGE);
	report("half", got);
	if (got < 0 || got > (ssize_t)(2 * PAGE))
		return EXIT_OBSERVED;
	mprotect(memory + 2 * PAGE, PAGE, PROT_READ | PROT_WRITE);
	report("rest", read(fd, memory + got, 3 * PAGE));
	return keep(args[3], memory, got + 3 * PAGE) ? EXIT_OBSERVED :
						      report_blocked("file", errno);
}

/* ---- signal NODE PATH SEED FILE ---- */

static void ignore(int number)
{
	(void)number;
}

/* The read that a signal cuts short, and 1 KiB after it: one sequence. */
static int run_signal(char **args)
{
	const struct itimerval often = { { 0, 5000 }, { 0, 5000 } };
	const struct itimerval never = { };
	const struct sigaction action = { .sa_handler = ignore };
	int fd = open_node(args[0], atoi(args[1]));
	unsigned char *memory = map(MAX_BYTES);
	ssize_t got;

	if (fd < 0 || !memory || sigaction(SIGALRM, &action, NULL))
		return report_blocked("open", errno);
	report("seed", seed(fd, args[2]));
	setitimer(ITIMER_REAL, &often, NULL);
	got = read(fd, memory, MAX_BYTES - PAGE);
	setitimer(ITIMER_REAL, &never, NULL);
	report("cut", got);
	if (got < 0)
		return EXIT_OBSERVED;
	report("rest", read(fd, memory + got, 1024));
	return keep(args[3], memory, got + 1024) ? EXIT_OBSERVED :
						   report_blocked("file", errno);
}

/* ---- together NODE PATH SEED PROCESSES BYTES CHUNK FILE ---- */

/* Each process has a node and a file, FILE.0, FILE.1 and so on, of its own. */
static void read_alone(char **args, int index, const int *gate)
{
	const size_t bytes = strtoul(args[4], NULL, 0);
	int fd = open_node(args[0], atoi(args[1]));
	unsigned char *memory = map(bytes);
	char name[256];
	size_t calls;
	char none;

	close(gate[1]);
	snprintf(name, sizeof(name), "%s.%d", args[6], index);
	if (fd < 0 || !memory || read(gate[0], &none, 1))
		_exit(EXIT_BLOCKED);
	if (read_all(fd, memory, bytes, strtoul(args[5], NULL, 0), &calls) < 0)
		_exit(EXIT_BLOCKED);
	_exit(keep(name, memory, bytes) ? EXIT_OBSERVED : EXIT_BLOCKED);
}

static int run_together(char **args)
{
	const int processes = atoi(args[3]);
	int fd = open_node(args[0], atoi(args[1]));
	int gate[2];
	int status;
	int i;

	if (fd < 0 || processes > MAX_PROCESSES || pipe(gate))
		return report_blocked("open", errno);
	report("seed", seed(fd, args[2]));
	fflush(stdout);
	for (i = 0; i < processes; i++) {
		if (!fork())
			read_alone(args, i, gate);
	}
	close(gate[1]);
	while (wait(&status) > 0)
		report("process", status);
	return EXIT_OBSERVED;
}

/* ---- hold NODE PATH ---- */

/*
 * Reads on and on until the device is gone, then tries everything else that can
 * be done with an open file.
 */
static int run_hold(char **args)
{
	int fd = open_node(args[0], atoi(args[1]));
	struct pollfd waiting = { .fd = fd, .events = POLLIN };
	unsigned char *memory = map(MAX_BYTES);
	unsigned int word = 0;
	__u64 two;
	ssize_t got;

	if (fd < 0 || !memory)
		return report_blocked("open", errno);
	report("poll", poll(&waiting, 1, 0) == 1 ? waiting.revents : 0);
	report("first", read(fd, memory, PAGE));
	do {
		got = read(fd, memory, MAX_BYTES);
	} while (got > 0);
	report("read", got);
	report("get", ioctl(fd, MY_RNG_IOC_GET, &word));
	report("get64", ioctl(fd, MY_RNG_IOC_GET64, &two));
	report("seed", ioctl(fd, MY_RNG_IOC_SEED, &word));
	report("path", ioctl(fd, MY_RNG_IOC_PATH, &word));
	report("poll", poll(&waiting, 1, 0) == 1 ? waiting.revents : 0);
	report("close", close(fd));
	return EXIT_OBSERVED;
}

/* ---- command line ---- */

static const struct {
	const char *name;
	const char *usage;
	int count;
	int (*run)(char **args);
} subcommands[] = {
	{ "read", "NODE PATH SEED BYTES CHUNK FILE", 6, run_read },
	{ "get", "NODE SEED COUNT", 3, run_get },
	{ "commands", "NODE", 1, run_commands },
	{ "pointers", "NODE PATH SEED FILE", 4, run_pointers },
	{ "signal", "NODE PATH SEED FILE", 4, run_signal },
	{ "together", "NODE PATH SEED PROCESSES BYTES CHUNK FILE", 7, run_together },
	{ "hold", "NODE PATH", 2, run_hold },
};

int main(int argc, char **argv)
{
	int status = EXIT_USAGE;
	size_t i;

	setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	for (i = 0; i < ARRAY_SIZE(subcommands) && argc > 1; i++) {
		if (strcmp(argv[1], subcommands[i].name) || argc - 2 != subcommands[i].count)
			continue;
		printf("{\"event\":\"start\",\"subcommand\":\"%s\"}\n", argv[1]);
		status = subcommands[i].run(argv + 2);
		printf("{\"event\":\"end\",\"status\":%d}\n", status);
		return fflush(stdout) ? EXIT_BLOCKED : status;
	}
	for (i = 0; i < ARRAY_SIZE(subcommands); i++)
		fprintf(stderr, "usage: my-rng-further-probe %s %s\n",
			subcommands[i].name, subcommands[i].usage);
	return status;
}
