// SPDX-License-Identifier: GPL-2.0
/*
 * my-rng-probe: observes the my_rng driver from user space; judges nothing
 *
 * The output is that of all probes, see probe.h. Numbers and seeds are unsigned
 * 32-bit.
 *
 * Exit status: 0 observed, 1 could not observe (the node does not open, no
 * memory, no processes; a line "event":"blocked" says which), 2 wrong usage.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../common/probe.h"

#define MY_RNG_NODE	"/dev/my_rng_driver"
#define MY_RNG_IOC_GET	_IOR('q', 1, unsigned int)
#define MY_RNG_IOC_SEED	_IOW('q', 1, unsigned int)

#define PAGE		4096UL
#define CANARY		0xa5
#define DEFAULT_SEED	0x9e3779b9UL
#define SAMPLE		5
#define SLACK		16
#define HELD_OPEN	64
#define MAX_COUNT	1000000UL
#define MAX_PROCESSES	256UL
#define MAX_ARGS	2

/* One open node, the seed that -s gave, and whether -w was given. */
struct probe {
	const char *node;
	uint32_t seed;
	bool wait;
	int fd;
};

struct subcommand {
	const char *name;
	const char *usage;
	const char *kinds;	/* of its arguments: s seed, c count, p processes */
	int (*run)(const struct probe *probe, const unsigned long *args);
};

/* ---- output ---- */

static const char *bool_json(bool value)
{
	return value ? "true" : "false";
}

static void print_numbers(const uint32_t *numbers, size_t count)
{
	size_t i;

	printf("\"numbers\":[");
	for (i = 0; i < count; i++)
		printf("%s%u", i ? "," : "", numbers[i]);
	printf("]");
}

/* ---- the driver's two commands; 0 or an errno value ---- */

static int get_at(int fd, void *slot)
{
	return ioctl(fd, MY_RNG_IOC_GET, slot) < 0 ? errno : 0;
}

static int seed_at(int fd, void *slot)
{
	return ioctl(fd, MY_RNG_IOC_SEED, slot) < 0 ? errno : 0;
}

static int open_node(const char *node, int *fd)
{
	*fd = open(node, O_RDWR | O_CLOEXEC);
	return *fd < 0 ? errno : 0;
}

/* Stops at the first error; *@got numbers were read before. */
static int get_many(int fd, uint32_t *numbers, size_t count, size_t *got)
{
	int error = 0;

	for (*got = 0; *got < count; (*got)++) {
		error = get_at(fd, &numbers[*got]);
		if (error)
			break;
	}
	return error;
}

static void report_seed(int fd, uint32_t seed)
{
	int error = seed_at(fd, &seed);

	printf("{\"event\":\"seed\",\"seed\":%u,\"error\":%s}\n", seed,
	       error_json(error));
}

static int report_numbers(int fd, size_t count)
{
	/* Room behind the last number: a driver that copies too much is found elsewhere. */
	uint32_t *numbers = calloc(count + SLACK, sizeof(*numbers));
	size_t got;
	int error;

	if (!numbers)
		return report_blocked("memory", ENOMEM);
	error = get_many(fd, numbers, count, &got);
	printf("{\"event\":\"numbers\",\"error\":%s,", error_json(error));
	print_numbers(numbers, got);
	printf("}\n");
	free(numbers);
	return EXIT_OBSERVED;
}

/* ---- sequence, read ---- */

static int run_sequence(const struct probe *probe, const unsigned long *args)
{
	report_seed(probe->fd, args[0]);
	return report_numbers(probe->fd, args[1]);
}

static int run_read(const struct probe *probe, const unsigned long *args)
{
	return report_numbers(probe->fd, args[0]);
}

/* ---- memory with an edge ---- */

/* Two writable pages full of canaries, then an unmapped one; or NULL. */
static unsigned char *map_before_hole(void)
{
	unsigned char *map = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (map == MAP_FAILED || munmap(map + 2 * PAGE, PAGE))
		return NULL;
	memset(map, CANARY, 2 * PAGE);
	return map;
}

/* A page beyond the end of its file: an access raises SIGBUS; or NULL. */
static unsigned char *map_beyond_file(void)
{
	int fd = memfd_create("empty", MFD_CLOEXEC);
	void *map = MAP_FAILED;

	if (fd >= 0) {
		map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		close(fd);
	}
	return map == MAP_FAILED ? NULL : map;
}

static bool is_unmapped(void *page)
{
	return msync(page, PAGE, MS_ASYNC) < 0 && errno == ENOMEM;
}

static bool all_canaries(const unsigned char *area, size_t size)
{
	size_t i;

	for (i = 0; i < size; i++) {
		if (area[i] != CANARY)
			return false;
	}
	return true;
}

/* ---- bad-pointers ---- */

struct bad_address {
	const char *name;
	uintptr_t address;
};

static void print_try(const char *event, const char *command,
		      const struct bad_address *bad)
{
	printf("{\"event\":\"%s\",\"command\":\"%s\",\"case\":\"%s\",\"address\":\"0x%lx\"",
	       event, command, bad->name, (unsigned long)bad->address);
}

static void try_address(int fd, const char *command, const struct bad_address *bad)
{
	bool get = !strcmp(command, "get");
	int error;

	print_try("trying", command, bad);
	printf("}\n");
	error = (get ? get_at : seed_at)(fd, (void *)bad->address);
	print_try("tried", command, bad);
	printf(",\"error\":%s}\n", error_json(error));
}

/* The numbers after it start the sequence of the seed if nothing happened. */
static void try_addresses(const struct probe *probe, const char *command,
			  const struct bad_address *bad, size_t count)
{
	size_t i;

	report_seed(probe->fd, probe->seed);
	for (i = 0; i < count; i++)
		try_address(probe->fd, command, &bad[i]);
	report_numbers(probe->fd, SAMPLE);
}

static int run_bad_pointers(const struct probe *probe, const unsigned long *args)
{
	/* The hole comes last: a later mapping could fill it. */
	unsigned char *beyond = map_beyond_file();
	unsigned char *pages = map_before_hole();
	unsigned char *hole = map_before_hole();
	const struct bad_address bad[] = {
		{ "null", 0 },
		{ "unmapped", (uintptr_t)hole + 2 * PAGE },
		{ "half-mapped", (uintptr_t)hole + 2 * PAGE - 2 },
		{ "prot-none", (uintptr_t)pages + PAGE },
		{ "beyond-file", (uintptr_t)beyond },
		{ "end-of-user-space", 0x00007ffffffffffe },
		{ "non-canonical", 0x0000800000000000 },
		{ "non-canonical-high", 0x8000000000000000 },
		{ "kernel-direct-map", 0xffff888000000000 },
		{ "kernel-text", 0xffffffff81000000 },
		{ "end-of-memory", 0xfffffffffffffffe },
		/* Wrong for "get" only. */
		{ "read-only", (uintptr_t)pages },
	};

	(void)args;
	if (!hole || !pages || !beyond ||
	    mprotect(pages, PAGE, PROT_READ) ||
	    mprotect(pages + PAGE, PAGE, PROT_NONE) ||
	    !is_unmapped(hole + 2 * PAGE))
		return report_blocked("memory", errno);

	try_addresses(probe, "get", bad, ARRAY_SIZE(bad));
	printf("{\"event\":\"read-only-page\",\"intact\":%s}\n",
	       bool_json(all_canaries(pages, PAGE)));
	try_addresses(probe, "seed", bad, ARRAY_SIZE(bad) - 1);
	report_seed(probe->fd, probe->seed);
	return report_numbers(probe->fd, SAMPLE);
}

/* ---- edge: good slots at awkward places ---- */

static void edge_get(int fd, const char *name, unsigned char *area, size_t offset)
{
	const size_t end = offset + sizeof(uint32_t);
	uint32_t value;
	int error;

	memset(area, CANARY, 2 * PAGE);
	error = get_at(fd, area + offset);
	memcpy(&value, area + offset, sizeof(value));
	printf("{\"event\":\"edge\",\"command\":\"get\",\"case\":\"%s\",\"error\":%s,\"value\":%u,\"before_intact\":%s,\"after_intact\":%s}\n",
	       name, error_json(error), value,
	       bool_json(all_canaries(area, offset)),
	       bool_json(all_canaries(area + end, 2 * PAGE - end)));
}

/* "next" is the first number after the seed, and so tells which seed it was. */
static void edge_seed(const struct probe *probe, const char *name,
		      unsigned char *area, size_t offset)
{
	const size_t end = offset + sizeof(uint32_t);
	uint32_t next = 0;
	int error, next_error;
	bool intact;

	memset(area, CANARY, 2 * PAGE);
	memcpy(area + offset, &probe->seed, sizeof(probe->seed));
	mprotect(area, 2 * PAGE, PROT_READ);
	error = seed_at(probe->fd, area + offset);
	mprotect(area, 2 * PAGE, PROT_READ | PROT_WRITE);

	intact = all_canaries(area, offset) &&
		 !memcmp(area + offset, &probe->seed, sizeof(probe->seed)) &&
		 all_canaries(area + end, 2 * PAGE - end);
	next_error = get_at(probe->fd, &next);
	printf("{\"event\":\"edge\",\"command\":\"seed\",\"case\":\"%s\",\"seed\":%u,\"error\":%s,\"intact\":%s,",
	       name, probe->seed, error_json(error), bool_json(intact));
	printf("\"next\":%u,\"next_error\":%s}\n", next, error_json(next_error));
}

static int run_edge(const struct probe *probe, const unsigned long *args)
{
	static const struct {
		const char *name;
		size_t offset;
	} slots[] = {
		{ "middle", PAGE / 2 },
		{ "unaligned", PAGE / 2 + 1 },
		{ "across-pages", PAGE - 2 },
		{ "before-unmapped", 2 * PAGE - sizeof(uint32_t) },
	};
	unsigned char *area = map_before_hole();
	size_t i;

	(void)args;
	if (!area || !is_unmapped(area + 2 * PAGE))
		return report_blocked("memory", errno);
	report_seed(probe->fd, probe->seed);
	for (i = 0; i < ARRAY_SIZE(slots); i++)
		edge_get(probe->fd, slots[i].name, area, slots[i].offset);
	for (i = 0; i < ARRAY_SIZE(slots); i++)
		edge_seed(probe, slots[i].name, area, slots[i].offset);
	return EXIT_OBSERVED;
}

/* ---- commands: none of them is the driver's ---- */

static const struct {
	const char *name;
	unsigned int request;
} foreign_commands[] = {
	{ "zero", 0 },
	{ "all-ones", 0xffffffff },
	{ "tcgets", 0x5401 },
	{ "no-direction", _IO('q', 1) },
	{ "both-directions", _IOWR('q', 1, uint32_t) },
	{ "get-number-0", _IOR('q', 0, uint32_t) },
	{ "get-number-2", _IOR('q', 2, uint32_t) },
	{ "seed-number-0", _IOW('q', 0, uint32_t) },
	{ "seed-number-2", _IOW('q', 2, uint32_t) },
	{ "get-1-byte", _IOR('q', 1, uint8_t) },
	{ "get-2-bytes", _IOR('q', 1, uint16_t) },
	{ "get-8-bytes", _IOR('q', 1, uint64_t) },
	{ "seed-1-byte", _IOW('q', 1, uint8_t) },
	{ "seed-2-bytes", _IOW('q', 1, uint16_t) },
	{ "seed-8-bytes", _IOW('q', 1, uint64_t) },
	{ "get-type-p", _IOR('p', 1, uint32_t) },
	{ "get-type-Q", _IOR('Q', 1, uint32_t) },
	{ "seed-type-r", _IOW('r', 1, uint32_t) },
};

/* The numbers after it start the sequence of the seed if nothing happened. */
static int run_commands(const struct probe *probe, const unsigned long *args)
{
	unsigned char *area = map_before_hole();
	size_t i;
	int error;

	(void)args;
	if (!area)
		return report_blocked("memory", errno);
	report_seed(probe->fd, probe->seed);
	for (i = 0; i < ARRAY_SIZE(foreign_commands); i++) {
		const unsigned int request = foreign_commands[i].request;

		memset(area, CANARY, 2 * PAGE);
		error = ioctl(probe->fd, request, area + PAGE) < 0 ? errno : 0;
		printf("{\"event\":\"command\",\"name\":\"%s\",\"request\":\"0x%08x\",\"error\":%s,\"intact\":%s}\n",
		       foreign_commands[i].name, request, error_json(error),
		       bool_json(all_canaries(area, 2 * PAGE)));
	}
	return report_numbers(probe->fd, SAMPLE);
}

/* ---- files: what is neither open nor ioctl ---- */

static void report_call(const char *name, bool failed)
{
	printf("{\"event\":\"call\",\"name\":\"%s\",\"error\":%s}\n", name,
	       error_json(failed ? errno : 0));
}

static int run_files(const struct probe *probe, const unsigned long *args)
{
	uint32_t word = 0;
	void *map;

	(void)args;
	report_seed(probe->fd, probe->seed);
	report_call("read", read(probe->fd, &word, sizeof(word)) < 0);
	report_call("write", write(probe->fd, &word, sizeof(word)) < 0);
	map = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, probe->fd, 0);
	report_call("mmap", map == MAP_FAILED);
	return report_numbers(probe->fd, SAMPLE);
}

/* ---- open-close ---- */

/* @rounds in turn, then as many at once as HELD_OPEN. */
static int run_open_close(const struct probe *probe, const unsigned long *args)
{
	int held[HELD_OPEN];
	unsigned long done;
	int error = 0;
	int fd, count;

	for (done = 0; done < args[0]; done++) {
		error = open_node(probe->node, &fd);
		if (error || close(fd))
			break;
	}
	printf("{\"event\":\"open-close\",\"done\":%lu,\"error\":%s}\n", done,
	       error_json(error));

	for (count = 0; count < HELD_OPEN; count++) {
		error = open_node(probe->node, &held[count]);
		if (error)
			break;
	}
	printf("{\"event\":\"held-open\",\"done\":%d,\"error\":%s}\n", count,
	       error_json(error));
	while (count > 0)
		close(held[--count]);
	return EXIT_OBSERVED;
}

/* ---- processes at once ---- */

/* What one process saw, in memory shared with the parent. */
struct seen {
	pid_t pid;
	int error;
	size_t got;
	uint32_t *numbers;
};

typedef int (*work_fn)(const struct probe *probe, struct seen *seen, size_t count);

static struct seen *map_seen(size_t processes, size_t count)
{
	const size_t room = count + SLACK;
	size_t size = processes * (sizeof(struct seen) + room * sizeof(uint32_t));
	struct seen *seen = mmap(NULL, size, PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint32_t *numbers;
	size_t i;

	if (seen == MAP_FAILED)
		return NULL;
	numbers = (uint32_t *)(seen + processes);
	for (i = 0; i < processes; i++)
		seen[i].numbers = numbers + i * room;
	return seen;
}

/* Runs in a child: opens its own node and starts when the gate closes. */
static void child(const struct probe *probe, struct seen *seen, size_t count,
		  const int *gate, work_fn work)
{
	struct probe own = *probe;
	char none;

	close(gate[1]);
	seen->error = open_node(probe->node, &own.fd);
	if (read(gate[0], &none, 1) == 0 && !seen->error)
		seen->error = work(&own, seen, count);
	_exit(EXIT_OBSERVED);
}

static void report_child(size_t index, const struct seen *seen)
{
	int status = 0;
	bool exited = waitpid(seen->pid, &status, 0) == seen->pid &&
		      WIFEXITED(status);

	printf("{\"event\":\"process\",\"index\":%zu,\"exited\":%s,\"signal\":%d,\"error\":%s,",
	       index, bool_json(exited), WIFSIGNALED(status) ? WTERMSIG(status) : 0,
	       error_json(seen->error));
	print_numbers(seen->numbers, seen->got);
	printf("}\n");
}

static int run_at_once(const struct probe *probe, size_t processes, size_t count,
		       work_fn work)
{
	struct seen *seen = map_seen(processes, count);
	size_t started, i;
	int error = 0;
	int gate[2];
	pid_t pid;

	if (!seen || pipe(gate))
		return report_blocked("memory or pipe", errno);
	for (started = 0; started < processes; started++) {
		pid = fork();
		if (!pid)
			child(probe, &seen[started], count, gate, work);
		if (pid < 0) {
			error = errno;
			break;
		}
		/* Not the result of fork() itself: the child shares *seen. */
		seen[started].pid = pid;
	}
	close(gate[1]);
	for (i = 0; i < started; i++)
		report_child(i, &seen[i]);
	close(gate[0]);
	return error ? report_blocked("fork", error) : EXIT_OBSERVED;
}

static int work_read(const struct probe *probe, struct seen *seen, size_t count)
{
	return get_many(probe->fd, seen->numbers, count, &seen->got);
}

/* All processes together read the sequence of the seed, each number once. */
static int run_concurrent(const struct probe *probe, const unsigned long *args)
{
	report_seed(probe->fd, probe->seed);
	return run_at_once(probe, args[0], args[1], work_read);
}

static int work_reseed(const struct probe *probe, struct seen *seen, size_t count)
{
	uint32_t seed = probe->seed;
	int error;

	for (seen->got = 0; seen->got < count; seen->got++) {
		error = seed_at(probe->fd, &seed);
		if (!error)
			error = get_at(probe->fd, &seen->numbers[seen->got]);
		if (error)
			return error;
	}
	return 0;
}

/*
 * Each process seeds and reads one number, again and again. Between its own seed
 * and its own read every other process can read only once without seeding, so
 * all numbers are among the first P of the sequence, P being the processes.
 */
static int run_reseed(const struct probe *probe, const unsigned long *args)
{
	return run_at_once(probe, args[0], args[1], work_reseed);
}

/* ---- fork: parent and child share one open file ---- */

static int run_fork(const struct probe *probe, const unsigned long *args)
{
	int status;
	pid_t pid;

	report_seed(probe->fd, probe->seed);
	pid = fork();
	if (!pid) {
		status = report_numbers(probe->fd, args[0]);
		fflush(stdout);
		_exit(status);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return report_blocked("fork", errno);
	return report_numbers(probe->fd, args[0]);
}

/* ---- command line ---- */

static const struct subcommand subcommands[] = {
	{ "sequence", " SEED COUNT", "sc", run_sequence },
	{ "read", " COUNT", "c", run_read },
	{ "bad-pointers", "", "", run_bad_pointers },
	{ "edge", "", "", run_edge },
	{ "commands", "", "", run_commands },
	{ "files", "", "", run_files },
	{ "open-close", " COUNT", "c", run_open_close },
	{ "concurrent", " PROCESSES COUNT", "pc", run_concurrent },
	{ "reseed", " PROCESSES COUNT", "pc", run_reseed },
	{ "fork", " COUNT", "c", run_fork },
};

static int print_usage(void)
{
	size_t i;

	fprintf(stderr, "usage: my-rng-probe [-d NODE] [-s SEED] [-w] SUBCOMMAND ...\n");
	for (i = 0; i < ARRAY_SIZE(subcommands); i++)
		fprintf(stderr, "  %s%s\n", subcommands[i].name,
			subcommands[i].usage);
	fprintf(stderr, "NODE: %s; SEED: 0x%lx; numbers may be hexadecimal\n"
		"-w: once the node is open, wait for the end of standard input\n",
		MY_RNG_NODE, DEFAULT_SEED);
	return EXIT_USAGE;
}

static bool parse_number(const char *text, char kind, unsigned long *value)
{
	const unsigned long min = kind == 's' ? 0 : 1;
	const unsigned long max = kind == 's' ? UINT32_MAX :
				  kind == 'c' ? MAX_COUNT : MAX_PROCESSES;
	char *end;

	errno = 0;
	*value = strtoul(text, &end, 0);
	return isdigit((unsigned char)text[0]) && !*end && !errno &&
	       *value >= min && *value <= max;
}

static bool parse_options(int argc, char **argv, struct probe *probe)
{
	unsigned long seed;
	int option;

	while ((option = getopt(argc, argv, "+d:s:w")) != -1) {
		if (option == 'd')
			probe->node = optarg;
		else if (option == 'w')
			probe->wait = true;
		else if (option == 's' && parse_number(optarg, 's', &seed))
			probe->seed = seed;
		else
			return false;
	}
	return true;
}

/* The subcommand that @words name; NULL unless all its arguments are right. */
static const struct subcommand *parse_subcommand(int count, char **words,
						 unsigned long *args)
{
	const struct subcommand *found = NULL;
	size_t i;

	for (i = 0; count > 0 && i < ARRAY_SIZE(subcommands); i++) {
		if (!strcmp(words[0], subcommands[i].name))
			found = &subcommands[i];
	}
	if (!found || (size_t)count - 1 != strlen(found->kinds))
		return NULL;
	for (i = 0; found->kinds[i]; i++) {
		if (!parse_number(words[i + 1], found->kinds[i], &args[i]))
			return NULL;
	}
	return found;
}

/* What happens to the device meanwhile meets a node that is open. */
static void wait_for_end_of_input(void)
{
	char text[64];

	printf("{\"event\":\"opened\"}\n");
	while (read(STDIN_FILENO, text, sizeof(text)) > 0)
		;
}

static int observe(struct probe *probe, const struct subcommand *subcommand,
		   const unsigned long *args)
{
	int error = open_node(probe->node, &probe->fd);

	if (error)
		return report_blocked("open", error);
	if (probe->wait)
		wait_for_end_of_input();
	return subcommand->run(probe, args);
}

int main(int argc, char **argv)
{
	struct probe probe = { .node = MY_RNG_NODE, .seed = DEFAULT_SEED };
	const struct subcommand *subcommand = NULL;
	unsigned long args[MAX_ARGS];
	int status;

	if (parse_options(argc, argv, &probe))
		subcommand = parse_subcommand(argc - optind, argv + optind, args);
	if (!subcommand)
		return print_usage();

	setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	printf("{\"event\":\"start\",\"subcommand\":\"%s\"}\n", subcommand->name);
	status = observe(&probe, subcommand, args);
	printf("{\"event\":\"end\",\"status\":%d}\n", status);
	return fflush(stdout) || ferror(stdout) ? EXIT_BLOCKED : status;
}
