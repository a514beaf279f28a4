// SPDX-License-Identifier: GPL-2.0
/*
 * rng-bench: measures one way of getting random numbers; judges nothing
 *
 * Prints one JSON object per line, the last one with "event":"result". Times are
 * nanoseconds of CLOCK_MONOTONIC_RAW. A run has three phases, each of which
 * makes the same requests:
 *
 *   warm-up  nothing is counted but the totals
 *   timed    "requests", "bytes", "nanoseconds", and what they cost: "calls"
 *            (system calls), "faults" (page faults), "sleeps" (voluntary
 *            context switches). The clock is read after each batch of
 *            requests, about once in a millisecond: "typical" is the median
 *            of the batches, in nanoseconds of a request, which does not see
 *            what else the host did in some of those milliseconds
 *   sampled  each request is timed by itself: the "percentiles"; reading the
 *            clock, which takes "clock" nanoseconds, is part of them
 *
 * "total_requests" and "total_bytes" are those of all three, so that they can be
 * compared with what the device counted.
 *
 * Exit status: 0 measured, 1 could not measure (a line "event":"blocked" says
 * why), 2 wrong usage.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define MY_RNG_IOC_GET		_IOR('q', 1, unsigned int)
#define MY_RNG_IOC_GET64	_IOR('q', 2, uint64_t)
#define MY_RNG_IOC_PATH		_IOW('q', 3, unsigned int)
/* Nobody knows this one. */
#define NO_COMMAND		_IO('q', 0xff)

#define NS_PER_SECOND	1000000000ULL
#define BATCH_NS	1000000ULL
#define MAX_SIZE	(1UL << 20)
#define MAX_SECONDS	3600.0
#define MAX_SAMPLES	1000000UL
#define CLOCK_SAMPLES	1001
#define MAX_BATCHES	100000

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

enum { EXIT_MEASURED = 0, EXIT_BLOCKED = 1, EXIT_USAGE = 2 };

/* What a phase did. */
struct tally {
	uint64_t requests;
	uint64_t bytes;
	uint64_t calls;
	uint64_t nanoseconds;
};

struct bench;

/* A way of getting numbers; @request returns 0 or a negative errno value. */
struct mode {
	const char *name;
	size_t size;	/* of a request; 0: as -s says */
	int (*request)(struct bench *bench, struct tally *tally);
};

struct bench {
	const struct mode *mode;
	const char *file;
	const char *path;	/* NULL: the driver is not told */
	size_t size;
	uint64_t limit_ns;
	uint64_t limit_requests;
	uint64_t warm_up;
	size_t samples;
	bool dump;
	int fd;
	unsigned char *buffer;
	double *batches;	/* nanoseconds of a request */
	size_t batch_count;
};

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC_RAW, &time);
	return time.tv_sec * NS_PER_SECOND + time.tv_nsec;
}

/* ---- the requests ---- */

static int request_ioctl(struct bench *bench, struct tally *tally,
			 unsigned long command)
{
	tally->calls++;
	if (ioctl(bench->fd, command, bench->buffer) < 0)
		return -errno;
	tally->requests++;
	tally->bytes += bench->size;
	return 0;
}

static int request_ioctl32(struct bench *bench, struct tally *tally)
{
	return request_ioctl(bench, tally, MY_RNG_IOC_GET);
}

static int request_ioctl64(struct bench *bench, struct tally *tally)
{
	return request_ioctl(bench, tally, MY_RNG_IOC_GET64);
}

/* As long as the request is not complete, the rest of it is asked for. */
static int request_read(struct bench *bench, struct tally *tally)
{
	size_t done = 0;

	while (done < bench->size) {
		ssize_t got = read(bench->fd, bench->buffer + done,
				   bench->size - done);

		tally->calls++;
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			return -ENODATA;
		done += got;
	}
	tally->requests++;
	tally->bytes += done;
	return 0;
}

/* A system call into the driver that does nothing there. */
static int request_null(struct bench *bench, struct tally *tally)
{
	tally->calls++;
	if (ioctl(bench->fd, NO_COMMAND, 0) == 0)
		return -EEXIST;
	if (errno != ENOTTY)
		return -errno;
	tally->requests++;
	return 0;
}

static const struct mode modes[] = {
	{ "ioctl32", sizeof(uint32_t), request_ioctl32 },
	{ "ioctl64", sizeof(uint64_t), request_ioctl64 },
	{ "read", 0, request_read },
	{ "null", sizeof(uint32_t), request_null },
};

/* The values of MY_RNG_IOC_PATH, in order. */
static const char * const paths[] = { "auto", "32", "64", "bulk" };

/* ---- output ---- */

static int report_blocked(const char *what, int error)
{
	const char *name = strerrorname_np(-error);

	printf("{\"event\":\"blocked\",\"what\":\"%s\",\"error\":\"%s\"}\n",
	       what, name ? name : "unknown");
	return EXIT_BLOCKED;
}

static int compare_doubles(const void *left, const void *right)
{
	double a = *(const double *)left;
	double b = *(const double *)right;

	return (a > b) - (a < b);
}

static int compare(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left;
	uint64_t b = *(const uint64_t *)right;

	return (a > b) - (a < b);
}

/* The smallest sample below which no fewer than the share of all lie. */
static uint64_t percentile(const uint64_t *sorted, size_t count, double share)
{
	size_t rank = share * count;

	return sorted[rank < count ? rank : count - 1];
}

static void print_percentiles(uint64_t *times, size_t count, uint64_t clock)
{
	qsort(times, count, sizeof(*times), compare);
	printf(",\"clock\":%lu,\"samples\":%zu,\"percentiles\":{\"min\":%lu,\"p50\":%lu,\"p90\":%lu,\"p99\":%lu,\"p999\":%lu,\"max\":%lu}",
	       clock, count, times[0], percentile(times, count, 0.5),
	       percentile(times, count, 0.9), percentile(times, count, 0.99),
	       percentile(times, count, 0.999), times[count - 1]);
}

/* Without a whole batch, the mean. */
static double typical(struct bench *bench, const struct tally *timed)
{
	if (!bench->batch_count)
		return (double)timed->nanoseconds / timed->requests;
	qsort(bench->batches, bench->batch_count, sizeof(*bench->batches),
	      compare_doubles);
	return bench->batches[bench->batch_count / 2];
}

static void print_result(struct bench *bench, const struct tally *timed,
			 const struct rusage *before,
			 const struct rusage *after)
{
	printf("{\"event\":\"result\",\"mode\":\"%s\",\"size\":%zu,\"requests\":%lu,\"bytes\":%lu,\"nanoseconds\":%lu,\"calls\":%lu",
	       bench->mode->name, bench->size, timed->requests, timed->bytes,
	       timed->nanoseconds, timed->calls);
	printf(",\"typical\":%.2f,\"batches\":%zu", typical(bench, timed),
	       bench->batch_count);
	printf(",\"faults\":%ld,\"sleeps\":%ld",
	       after->ru_minflt - before->ru_minflt +
	       after->ru_majflt - before->ru_majflt,
	       after->ru_nvcsw - before->ru_nvcsw);
}

/* ---- the phases ---- */

static void add(struct tally *sum, const struct tally *tally)
{
	sum->requests += tally->requests;
	sum->bytes += tally->bytes;
}

/* Batches that were too short for the clock do not count. */
static void note_batch(struct bench *bench, uint64_t nanoseconds, uint64_t count)
{
	if (nanoseconds < BATCH_NS / 2 || bench->batch_count == MAX_BATCHES)
		return;
	bench->batches[bench->batch_count++] = (double)nanoseconds / count;
}

/* Requests until the time or the number is reached, whichever comes first. */
static int run_phase(struct bench *bench, uint64_t limit_ns,
		     uint64_t limit_requests, struct tally *tally)
{
	uint64_t begin = now(), at = begin, batch = 1;
	int error = 0;

	bench->batch_count = 0;
	while (tally->requests < limit_requests && at - begin < limit_ns) {
		uint64_t left = limit_requests - tally->requests;
		uint64_t count = batch < left ? batch : left;
		uint64_t before = at;
		uint64_t i;

		for (i = 0; i < count; i++) {
			error = bench->mode->request(bench, tally);
			if (error)
				return error;
		}
		at = now();
		note_batch(bench, at - before, count);
		if (at - before < BATCH_NS / 2)
			batch *= 2;
	}
	tally->nanoseconds = at - begin;
	return 0;
}

/* At most as long as the timed phase. */
static int run_samples(struct bench *bench, uint64_t *times, size_t *count,
		       struct tally *tally)
{
	uint64_t begin = now(), at = begin;
	int error;

	for (*count = 0; *count < bench->samples; (*count)++) {
		uint64_t before = now();

		if (at - begin >= bench->limit_ns)
			break;
		error = bench->mode->request(bench, tally);
		if (error)
			return error;
		at = now();
		times[*count] = at - before;
	}
	return 0;
}

/* What a reading of the clock costs: the median. */
static uint64_t clock_cost(void)
{
	uint64_t times[CLOCK_SAMPLES];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(times); i++) {
		uint64_t before = now();

		times[i] = now() - before;
	}
	qsort(times, ARRAY_SIZE(times), sizeof(*times), compare);
	return times[ARRAY_SIZE(times) / 2];
}

static int measure(struct bench *bench, uint64_t *times)
{
	struct tally warm = { 0 }, timed = { 0 }, sampled = { 0 }, sum = { 0 };
	struct rusage before, after;
	size_t count = 0;
	int error;

	error = run_phase(bench, bench->warm_up, UINT64_MAX, &warm);
	if (error)
		return report_blocked("request", error);
	getrusage(RUSAGE_SELF, &before);
	error = run_phase(bench, bench->limit_ns, bench->limit_requests, &timed);
	getrusage(RUSAGE_SELF, &after);
	if (!error)
		error = run_samples(bench, times, &count, &sampled);
	if (error)
		return report_blocked("request", error);

	add(&sum, &warm);
	add(&sum, &timed);
	add(&sum, &sampled);
	print_result(bench, &timed, &before, &after);
	if (count)
		print_percentiles(times, count, clock_cost());
	printf(",\"total_requests\":%lu,\"total_bytes\":%lu}\n", sum.requests,
	       sum.bytes);
	return EXIT_MEASURED;
}

/* The bytes themselves, for whoever looks whether they are random. */
static int dump(struct bench *bench)
{
	struct tally tally = { 0 };

	while (tally.requests < bench->limit_requests) {
		int error = bench->mode->request(bench, &tally);

		if (error) {
			fprintf(stderr, "rng-bench: %s: %s\n", bench->file,
				strerror(-error));
			return EXIT_BLOCKED;
		}
		if (fwrite(bench->buffer, 1, bench->size, stdout) < bench->size)
			break;
	}
	return EXIT_MEASURED;
}

static int set_path(struct bench *bench)
{
	unsigned int path;

	for (path = 0; path < ARRAY_SIZE(paths); path++) {
		if (!strcmp(paths[path], bench->path))
			break;
	}
	return ioctl(bench->fd, MY_RNG_IOC_PATH, &path) < 0 ? -errno : 0;
}

static int open_and_run(struct bench *bench)
{
	uint64_t *times = calloc(bench->samples + 1, sizeof(*times));
	int error, status;

	bench->buffer = malloc(bench->size);
	bench->batches = calloc(MAX_BATCHES, sizeof(*bench->batches));
	if (!times || !bench->buffer || !bench->batches)
		return report_blocked("memory", -ENOMEM);
	/* Touched now, so that no page is missing later. */
	memset(bench->buffer, 0xa5, bench->size);
	memset(bench->batches, 0xa5, MAX_BATCHES * sizeof(*bench->batches));

	bench->fd = open(bench->file, O_RDONLY | O_CLOEXEC);
	if (bench->fd < 0)
		return report_blocked("open", -errno);
	error = bench->path ? set_path(bench) : 0;
	if (error)
		return report_blocked("path", error);

	status = bench->dump ? dump(bench) : measure(bench, times);
	close(bench->fd);
	free(bench->batches);
	free(bench->buffer);
	free(times);
	return status;
}

/* ---- the command line ---- */

static int explain(void)
{
	fputs("usage: rng-bench [OPTION]... MODE FILE\n"
	      "Measure how fast random numbers come out of FILE.\n"
	      "\n"
	      "MODE:\n"
	      "  ioctl32     a request is an ioctl for a number of 32 bits\n"
	      "  ioctl64     a request is an ioctl for 64 bits\n"
	      "  read        a request is a read(), of any FILE\n"
	      "  null        a request is an ioctl that the driver does not know\n"
	      "\n"
	      "  -s BYTES    size of a read: 4 to 1048576 (4096)\n"
	      "  -p PATH     how read() gets its bytes: auto, 32, 64, bulk\n"
	      "  -t SECONDS  measure for so long (1), or\n"
	      "  -n REQUESTS measure so many requests\n"
	      "  -w SECONDS  warm up for so long before (0.1)\n"
	      "  -l SAMPLES  time so many requests one by one (1000)\n"
	      "  -d          with -n: do not measure, write the bytes to standard output\n",
	      stderr);
	return EXIT_USAGE;
}

static bool parse_count(const char *text, unsigned long least,
			unsigned long most, unsigned long *value)
{
	char *end;

	errno = 0;
	*value = strtoul(text, &end, 10);
	return text[0] >= '0' && text[0] <= '9' && !*end && !errno &&
	       *value >= least && *value <= most;
}

static bool parse_seconds(const char *text, uint64_t *nanoseconds)
{
	char *end;
	double value = strtod(text, &end);

	if (text == end || *end || !(value >= 0 && value <= MAX_SECONDS))
		return false;
	*nanoseconds = value * NS_PER_SECOND;
	return true;
}

static bool is_path(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(paths); i++) {
		if (!strcmp(paths[i], name))
			return true;
	}
	return false;
}

static bool parse_option(struct bench *bench, int option, const char *text)
{
	switch (option) {
	case 's':
		return parse_count(text, 4, MAX_SIZE, &bench->size);
	case 'p':
		bench->path = text;
		return is_path(text);
	case 't':
		return parse_seconds(text, &bench->limit_ns) && bench->limit_ns;
	case 'n':
		bench->limit_ns = UINT64_MAX;
		return parse_count(text, 1, UINT32_MAX, &bench->limit_requests);
	case 'w':
		return parse_seconds(text, &bench->warm_up);
	case 'l':
		return parse_count(text, 0, MAX_SAMPLES, &bench->samples);
	case 'd':
		bench->dump = true;
		return true;
	default:
		return false;
	}
}

static const struct mode *find_mode(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(modes); i++) {
		if (!strcmp(modes[i].name, name))
			return &modes[i];
	}
	return NULL;
}

int main(int argc, char **argv)
{
	struct bench bench = {
		.size = 4096,
		.limit_ns = NS_PER_SECOND,
		.limit_requests = UINT64_MAX,
		.warm_up = NS_PER_SECOND / 10,
		.samples = 1000,
	};
	int option, status;

	while ((option = getopt(argc, argv, "s:p:t:n:w:l:d")) != -1) {
		if (!parse_option(&bench, option, optarg))
			return explain();
	}
	if (argc - optind != 2)
		return explain();
	bench.mode = find_mode(argv[optind]);
	bench.file = argv[optind + 1];
	if (!bench.mode || (bench.path && bench.mode->size) ||
	    (bench.dump && bench.limit_requests == UINT64_MAX))
		return explain();
	if (bench.mode->size)
		bench.size = bench.mode->size;

	status = open_and_run(&bench);
	if (fflush(stdout) == EOF || ferror(stdout)) {
		fprintf(stderr, "rng-bench: cannot write: %s\n", strerror(errno));
		return EXIT_BLOCKED;
	}
	return status;
}
