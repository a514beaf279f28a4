// SPDX-License-Identifier: GPL-2.0
/*
 * virtblkiosim-probe: observes a block device and its ioctls; judges nothing
 *
 * The output is that of all probes, see probe.h.
 *
 * Data that it writes to the whole disk is a function of a key: word i, 32 bits
 * little endian, is mix(i * 0x9e3779b1 + key), see mix() below. So whoever knows
 * the key can tell what must come back without asking this machine.
 *
 * Exit status: 0 observed, 1 could not observe (a line "event":"blocked" says
 * why), 2 wrong usage.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../common/probe.h"

#define NODE		"/dev/virtblkiosim"

#define IOC_REGISTER	_IO('q', 0)
#define IOC_GET_SIZE	_IOR('q', 1, unsigned long)
#define IOC_READ	_IOR('q', 2, unsigned long)
#define IOC_WRITE	_IOW('q', 3, unsigned long)

#define PAGE		4096UL
#define CHUNK		(1UL << 20)
#define AIO_BLOCK	4096UL
#define AIO_DEPTH	16
#define CANARY		0xa5
#define MAX_BLOCK	(1UL << 20)
#define MAX_PROCESSES	64UL
#define MAX_ARGS	2
#define STALE		0x5157a1e5U

struct probe {
	const char *node;
	int fd;
	uint64_t bytes;
};

struct subcommand {
	const char *name;
	const char *usage;
	int arguments;
	int mode;
	int (*run)(const struct probe *probe, const unsigned long *args);
};

/* ---- output ---- */

static const char *bool_json(bool value)
{
	return value ? "true" : "false";
}

/* ---- data from a key ---- */

static uint32_t mix(uint32_t x)
{
	x ^= x >> 16;
	x *= 0x85ebca6b;
	x ^= x >> 13;
	x *= 0xc2b2ae35;
	return x ^ (x >> 16);
}

static void fill(uint32_t *words, size_t bytes, uint32_t key, uint64_t offset)
{
	uint32_t index = offset / sizeof(*words);
	size_t i;

	for (i = 0; i < bytes / sizeof(*words); i++)
		words[i] = mix((index + i) * 0x9e3779b1u + key);
}

/* A page-aligned buffer for direct I/O; or NULL. */
static void *map_buffer(size_t bytes)
{
	void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return map == MAP_FAILED ? NULL : map;
}

static size_t chunk_at(const struct probe *probe, uint64_t offset)
{
	uint64_t left = probe->bytes - offset;

	return left < CHUNK ? left : CHUNK;
}

/* 0 or an errno value; a short transfer counts as EIO. */
static int transfer(int fd, bool write, void *buffer, size_t bytes, uint64_t at)
{
	ssize_t got = write ? pwrite(fd, buffer, bytes, at) :
			      pread(fd, buffer, bytes, at);

	if (got < 0)
		return errno;
	return (size_t)got == bytes ? 0 : EIO;
}

/* ---- fill, stale, sum: the whole disk by direct I/O ---- */

/* Writes the data of @key, or the mark when there is no key, to the whole disk. */
static int fill_disk(const struct probe *probe, const unsigned long *key)
{
	uint32_t *buffer = map_buffer(CHUNK);
	uint64_t at = 0;
	int error = 0;
	size_t i;

	if (!buffer)
		return report_blocked("memory", errno);
	for (i = 0; i < CHUNK / sizeof(*buffer); i++)
		buffer[i] = STALE;
	while (at < probe->bytes && !error) {
		size_t bytes = chunk_at(probe, at);

		if (key)
			fill(buffer, bytes, *key, at);
		error = transfer(probe->fd, true, buffer, bytes, at);
		if (!error)
			at += bytes;
	}
	printf("{\"event\":\"filled\",\"bytes\":%llu,\"error\":%s}\n",
	       (unsigned long long)at, error_json(error));
	return EXIT_OBSERVED;
}

static int run_fill(const struct probe *probe, const unsigned long *args)
{
	return fill_disk(probe, args);
}

static int run_stale(const struct probe *probe, const unsigned long *args)
{
	(void)args;
	return fill_disk(probe, NULL);
}

/* What there is to know about the whole disk without printing it. */
struct scan {
	uint64_t sum;		/* of all words, dependent on their order */
	uint64_t nonzero;	/* words */
	uint64_t stale;		/* words that are STALE */
	int error;
};

static struct scan scan_disk(const struct probe *probe, uint32_t *buffer)
{
	struct scan scan = { 0 };
	uint64_t at;
	size_t i, bytes;

	for (at = 0; at < probe->bytes && !scan.error; at += bytes) {
		bytes = chunk_at(probe, at);
		scan.error = transfer(probe->fd, false, buffer, bytes, at);
		for (i = 0; i < bytes / sizeof(*buffer); i++) {
			scan.sum = scan.sum * 0x100000001b3 + buffer[i] + 1;
			scan.nonzero += buffer[i] != 0;
			scan.stale += buffer[i] == STALE;
		}
	}
	return scan;
}

static int run_sum(const struct probe *probe, const unsigned long *args)
{
	void *buffer = map_buffer(CHUNK);
	struct scan scan;

	(void)args;
	if (!buffer)
		return report_blocked("memory", errno);
	scan = scan_disk(probe, buffer);
	munmap(buffer, CHUNK);
	printf("{\"event\":\"sum\",\"sum\":\"%016llx\",\"nonzero\":%llu,\"stale\":%llu,\"error\":%s}\n",
	       (unsigned long long)scan.sum, (unsigned long long)scan.nonzero,
	       (unsigned long long)scan.stale, error_json(scan.error));
	return EXIT_OBSERVED;
}

/* ---- discard, zero ---- */

static int clear(const struct probe *probe, unsigned int request,
		 const unsigned long *args)
{
	uint64_t range[] = { args[0], args[1] };
	int error = ioctl(probe->fd, request, range) ? errno : 0;

	printf("{\"event\":\"cleared\",\"error\":%s}\n", error_json(error));
	return EXIT_OBSERVED;
}

static int run_discard(const struct probe *probe, const unsigned long *args)
{
	return clear(probe, BLKDISCARD, args);
}

static int run_zero(const struct probe *probe, const unsigned long *args)
{
	return clear(probe, BLKZEROOUT, args);
}

/* ---- halves: two processes at once ---- */

struct seen {
	pid_t pid;
	int error;
	uint64_t done;
	uint64_t wrong;
};

typedef void (*work_fn)(const struct probe *probe, struct seen *seen,
			size_t index, const unsigned long *args);

/* Runs in a child: opens the node anew and starts when the gate closes. */
static void child(const struct probe *probe, struct seen *seen, size_t index,
		  const int *gate, work_fn work, const unsigned long *args)
{
	struct probe own = *probe;
	char none;

	close(gate[1]);
	own.fd = open(probe->node, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (own.fd < 0)
		seen->error = errno;
	else if (read(gate[0], &none, 1) == 0)
		work(&own, seen, index, args);
	_exit(EXIT_OBSERVED);
}

static void report_child(size_t index, const struct seen *seen)
{
	int status = 0;
	bool exited = waitpid(seen->pid, &status, 0) == seen->pid &&
		      WIFEXITED(status);

	printf("{\"event\":\"process\",\"index\":%zu,\"exited\":%s,\"signal\":%d,",
	       index, bool_json(exited),
	       WIFSIGNALED(status) ? WTERMSIG(status) : 0);
	printf("\"error\":%s,\"done\":%llu,\"wrong\":%llu}\n",
	       error_json(seen->error), (unsigned long long)seen->done,
	       (unsigned long long)seen->wrong);
}

static int run_at_once(const struct probe *probe, size_t processes,
		       work_fn work, const unsigned long *args)
{
	struct seen *seen = map_buffer(processes * sizeof(*seen));
	size_t started, i;
	int error = 0;
	int gate[2];
	pid_t pid;

	if (!seen || pipe(gate))
		return report_blocked("memory or pipe", errno);
	for (started = 0; started < processes; started++) {
		pid = fork();
		if (!pid)
			child(probe, &seen[started], started, gate, work, args);
		if (pid < 0) {
			error = errno;
			break;
		}
		seen[started].pid = pid;
	}
	close(gate[1]);
	for (i = 0; i < started; i++)
		report_child(i, &seen[i]);
	return error ? report_blocked("fork", error) : EXIT_OBSERVED;
}

/* Writes its half in pieces, each with a key of its own, and reads each back. */
static void work_half(const struct probe *probe, struct seen *seen,
		      size_t index, const unsigned long *args)
{
	const uint64_t half = probe->bytes / 2 / PAGE * PAGE;
	const size_t piece = 16 * PAGE;
	uint32_t *wrote = map_buffer(piece);
	uint32_t *back = map_buffer(piece);
	uint64_t at;
	int write;

	for (write = 1; write >= 0; write--) {
		for (at = half * index; at + piece <= half * (index + 1); at += piece) {
			fill(wrote, piece, args[0] + index, at);
			seen->error = transfer(probe->fd, write,
					       write ? wrote : back, piece, at);
			if (seen->error)
				return;
			seen->done += piece;
			if (!write && memcmp(wrote, back, piece))
				seen->wrong++;
		}
	}
}

static int run_halves(const struct probe *probe, const unsigned long *args)
{
	return run_at_once(probe, 2, work_half, args);
}

/* ---- aio: what fio does, where there is no fio ---- */

struct aio {
	aio_context_t context;
	struct iocb blocks[AIO_DEPTH];
	uint8_t *buffers;
	uint8_t *expected;
	uint32_t key;
	uint32_t random;
	uint64_t submitted;
	uint64_t done;
	uint64_t errors;
	uint64_t wrong;
};

static uint32_t next_random(struct aio *aio)
{
	aio->random += 0x9e3779b1u;
	return mix(aio->random);
}

/* @mode: 0 reads, 1 writes, 2 both. What is written is the disk's data of the key. */
static bool submit(const struct probe *probe, struct aio *aio, size_t slot,
		   unsigned long mode)
{
	const uint64_t blocks = probe->bytes / AIO_BLOCK;
	struct iocb *block = &aio->blocks[slot];
	struct iocb *list = block;
	bool write = mode == 2 ? next_random(aio) & 1 : mode;

	memset(block, 0, sizeof(*block));
	block->aio_data = slot;
	block->aio_lio_opcode = write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD;
	block->aio_fildes = probe->fd;
	block->aio_buf = (uintptr_t)aio->buffers + slot * AIO_BLOCK;
	block->aio_nbytes = AIO_BLOCK;
	block->aio_offset = next_random(aio) % blocks * AIO_BLOCK;
	if (write)
		fill((uint32_t *)(uintptr_t)block->aio_buf, AIO_BLOCK, aio->key,
		     block->aio_offset);
	aio->submitted++;
	return syscall(SYS_io_submit, aio->context, 1L, &list) == 1;
}

static void reap(struct aio *aio, const struct io_event *event)
{
	const struct iocb *block = &aio->blocks[event->data];

	aio->done++;
	if (event->res != (int64_t)AIO_BLOCK) {
		aio->errors++;
	} else if (block->aio_lio_opcode == IOCB_CMD_PREAD) {
		fill((uint32_t *)aio->expected, AIO_BLOCK, aio->key,
		     block->aio_offset);
		aio->wrong += memcmp(aio->expected, (void *)(uintptr_t)block->aio_buf,
				     AIO_BLOCK) != 0;
	}
}

/* Zero or an errno value. */
static int run_requests(const struct probe *probe, struct aio *aio,
			unsigned long mode, uint64_t count)
{
	struct io_event events[AIO_DEPTH];
	size_t slot;
	long got, i;

	for (slot = 0; slot < AIO_DEPTH && aio->submitted < count; slot++) {
		if (!submit(probe, aio, slot, mode))
			return errno;
	}
	while (aio->done < aio->submitted) {
		got = syscall(SYS_io_getevents, aio->context, 1L,
			      (long)AIO_DEPTH, events, NULL);
		if (got < 0)
			return errno;
		for (i = 0; i < got; i++) {
			reap(aio, &events[i]);
			if (aio->submitted < count &&
			    !submit(probe, aio, events[i].data, mode))
				return errno;
		}
	}
	return 0;
}

static double seconds_since(const struct timespec *start)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - start->tv_sec) +
	       (double)(now.tv_nsec - start->tv_nsec) / 1e9;
}

/* The disk is filled with the data of the key first, so that all reads can be compared. */
static int run_aio(const struct probe *probe, const unsigned long *args)
{
	struct aio aio = { .key = args[0], .random = args[0] };
	struct timespec start;
	unsigned long mode;
	int error;

	aio.buffers = map_buffer(AIO_DEPTH * AIO_BLOCK);
	aio.expected = map_buffer(AIO_BLOCK);
	if (!aio.buffers || !aio.expected)
		return report_blocked("memory", errno);
	if (run_fill(probe, args))
		return EXIT_BLOCKED;
	if (syscall(SYS_io_setup, (long)AIO_DEPTH, &aio.context))
		return report_blocked("io_setup", errno);
	for (mode = 0; mode < 3; mode++) {
		aio.submitted = 0;
		aio.done = 0;
		clock_gettime(CLOCK_MONOTONIC, &start);
		error = run_requests(probe, &aio, mode, args[1]);
		printf("{\"event\":\"aio\",\"mode\":\"%s\",\"depth\":%d,\"done\":%llu,\"errors\":%llu,\"wrong\":%llu,\"iops\":%.0f,\"error\":%s}\n",
		       mode == 0 ? "randread" : mode == 1 ? "randwrite" : "randrw",
		       AIO_DEPTH, (unsigned long long)aio.done,
		       (unsigned long long)aio.errors,
		       (unsigned long long)aio.wrong,
		       (double)aio.done / seconds_since(&start), error_json(error));
	}
	return EXIT_OBSERVED;
}

/* ---- beyond: requests past the end ---- */

static void report_beyond(const struct probe *probe, bool write, void *buffer,
			  uint64_t at, size_t bytes)
{
	ssize_t got = write ? pwrite(probe->fd, buffer, bytes, at) :
			      pread(probe->fd, buffer, bytes, at);

	printf("{\"event\":\"beyond\",\"call\":\"%s\",\"offset\":%llu,\"bytes\":%zu,\"result\":%zd,\"error\":%s}\n",
	       write ? "write" : "read", (unsigned long long)at, bytes, got,
	       error_json(got < 0 ? errno : 0));
}

/* args[0]: where the disk is said to end. */
static int run_beyond(const struct probe *probe, const unsigned long *args)
{
	uint8_t *buffer = map_buffer(16 * PAGE);
	const uint64_t end = args[0];
	int write;

	if (!buffer)
		return report_blocked("memory", errno);
	for (write = 0; write < 2; write++) {
		report_beyond(probe, write, buffer, end, PAGE);
		report_beyond(probe, write, buffer, end + CHUNK, PAGE);
		report_beyond(probe, write, buffer, end - PAGE, 2 * PAGE);
		report_beyond(probe, write, buffer, end - 512, 1024);
	}
	return EXIT_OBSERVED;
}

/* ---- the ioctls ---- */

static int call(int fd, unsigned int request, void *argument)
{
	return ioctl(fd, request, argument) < 0 ? errno : 0;
}

/* Zero when the device does not tell a size that a block can have. */
static unsigned long size_of_block(int fd)
{
	unsigned long size = 0;

	if (call(fd, IOC_GET_SIZE, &size) || size > MAX_BLOCK)
		return 0;
	return size;
}

/* An area, full of canaries, of whole pages and an unmapped one behind it. */
struct area {
	uint8_t *start;
	size_t bytes;
};

static bool map_area(struct area *area, size_t block)
{
	area->bytes = 2 * PAGE + (block + PAGE - 1) / PAGE * PAGE;
	area->start = map_buffer(area->bytes + PAGE);
	return area->start && !munmap(area->start + area->bytes, PAGE);
}

static bool canaries(const uint8_t *at, const uint8_t *end)
{
	while (at < end) {
		if (*at++ != CANARY)
			return false;
	}
	return true;
}

static bool intact_around(const struct area *area, size_t offset, size_t bytes)
{
	return canaries(area->start, area->start + offset) &&
	       canaries(area->start + offset + bytes, area->start + area->bytes);
}

static void report_size(int fd, struct area *area)
{
	const size_t offset = PAGE - 3;
	unsigned long size;
	int error;

	memset(area->start, CANARY, area->bytes);
	error = call(fd, IOC_GET_SIZE, area->start + offset);
	memcpy(&size, area->start + offset, sizeof(size));
	printf("{\"event\":\"size\",\"error\":%s,\"size\":%lu,\"intact\":%s}\n",
	       error_json(error), error ? 0 : size,
	       bool_json(intact_around(area, offset, sizeof(size))));
}

static void report_register(int fd)
{
	int error = call(fd, IOC_REGISTER, NULL);

	printf("{\"event\":\"register\",\"error\":%s}\n", error_json(error));
}

/* Any four bytes of the block tell its key. */
static void fill_block(uint8_t *at, size_t bytes, uint32_t key)
{
	uint32_t word = mix(key);
	size_t i;

	for (i = 0; i < bytes; i++)
		at[i] = word >> (i % 4 * 8);
}

/* Writes a block from, and reads it to, the same place of the area. */
static void report_block(int fd, const char *name, struct area *area,
			 size_t offset, size_t bytes, uint32_t key)
{
	uint8_t *at = area->start + offset;
	uint8_t *wrote = malloc(bytes);
	bool kept;
	int error;

	if (!wrote)
		return;
	fill_block(wrote, bytes, key);
	memset(area->start, CANARY, area->bytes);
	memcpy(at, wrote, bytes);
	call(fd, IOC_REGISTER, NULL);
	error = call(fd, IOC_WRITE, at);
	kept = !memcmp(at, wrote, bytes) && intact_around(area, offset, bytes);
	printf("{\"event\":\"block\",\"command\":\"write\",\"case\":\"%s\",\"error\":%s,\"intact\":%s,\"equal\":true}\n",
	       name, error_json(error), bool_json(kept));

	memset(area->start, CANARY, area->bytes);
	call(fd, IOC_REGISTER, NULL);
	error = call(fd, IOC_READ, at);
	printf("{\"event\":\"block\",\"command\":\"read\",\"case\":\"%s\",\"error\":%s,\"intact\":%s,\"equal\":%s}\n",
	       name, error_json(error),
	       bool_json(intact_around(area, offset, bytes)),
	       bool_json(!memcmp(at, wrote, bytes)));
	free(wrote);
}

static void report_blocks(int fd, struct area *area, size_t bytes, uint32_t key)
{
	const struct {
		const char *name;
		size_t offset;
	} places[] = {
		{ "middle", PAGE / 2 },
		{ "unaligned", PAGE / 2 + 1 },
		{ "across-pages", PAGE - 2 },
		{ "before-unmapped", area->bytes - bytes },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(places); i++)
		report_block(fd, places[i].name, area, places[i].offset, bytes,
			     key + i);
}

/* How many blocks of the disk hold what the last write of report_blocks() wrote. */
static int report_found(const struct probe *probe, size_t bytes, uint32_t key)
{
	uint8_t *buffer = map_buffer(CHUNK);
	uint8_t *block = malloc(bytes);
	uint64_t at, count = 0, first = 0;
	size_t chunk, i;
	int error = 0;

	if (!buffer || !block)
		return report_blocked("memory", errno);
	fill_block(block, bytes, key);
	for (at = 0; at < probe->bytes && !error; at += chunk) {
		chunk = chunk_at(probe, at);
		error = transfer(probe->fd, false, buffer, chunk, at);
		for (i = 0; i + bytes <= chunk && !error; i += bytes) {
			if (memcmp(buffer + i, block, bytes))
				continue;
			if (!count++)
				first = at + i;
		}
	}
	printf("{\"event\":\"found\",\"count\":%llu,\"offset\":%llu,\"error\":%s}\n",
	       (unsigned long long)count, (unsigned long long)first,
	       error_json(error));
	return EXIT_OBSERVED;
}

static int run_ioctls(const struct probe *probe, const unsigned long *args)
{
	size_t bytes = size_of_block(probe->fd);
	struct area area;

	if (!map_area(&area, bytes))
		return report_blocked("memory", errno);
	report_register(probe->fd);
	report_size(probe->fd, &area);
	if (!bytes)
		return EXIT_OBSERVED;
	report_blocks(probe->fd, &area, bytes, args[0]);
	return report_found(probe, bytes, args[0] + 3);
}

/* ---- positions: N blocks in order, with the page cache in between ---- */

static int run_positions(const struct probe *probe, const unsigned long *args)
{
	size_t bytes = size_of_block(probe->fd);
	uint8_t *block = malloc(bytes + 1);
	uint8_t *back = malloc(bytes + 1);
	unsigned long i, equal = 0;
	int error, cached;

	/* Not O_DIRECT: these reads fill the page cache, which a write must not leave stale. */
	cached = open(probe->node, O_RDONLY | O_CLOEXEC);
	if (!bytes || !block || !back || cached < 0)
		return report_blocked("size, memory or node", errno);
	error = call(probe->fd, IOC_REGISTER, NULL);
	for (i = 0; i < args[1] && !error; i++) {
		error = transfer(cached, false, back, bytes, i * bytes);
		fill_block(block, bytes, args[0] + i);
		if (!error)
			error = call(probe->fd, IOC_WRITE, block);
		if (!error)
			error = transfer(cached, false, back, bytes, i * bytes);
		equal += !error && !memcmp(block, back, bytes);
		if (!error)
			error = call(probe->fd, IOC_READ, back);
		equal += !error && !memcmp(block, back, bytes);
	}
	printf("{\"event\":\"positions\",\"blocks\":%lu,\"equal\":%lu,\"error\":%s}\n",
	       i, equal, error_json(error));
	return EXIT_OBSERVED;
}

/* ---- bad-pointers ---- */

/* A page beyond the end of its file: an access raises SIGBUS; or NULL. */
static uint8_t *map_beyond_file(void)
{
	int fd = memfd_create("empty", MFD_CLOEXEC);
	void *map = MAP_FAILED;

	if (fd >= 0) {
		map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		close(fd);
	}
	return map == MAP_FAILED ? NULL : map;
}

struct bad_address {
	const char *name;
	uintptr_t address;
};

static void try_address(int fd, const char *name, unsigned int request,
			const struct bad_address *bad)
{
	int error;

	printf("{\"event\":\"trying\",\"command\":\"%s\",\"case\":\"%s\",\"address\":\"0x%lx\"}\n",
	       name, bad->name, (unsigned long)bad->address);
	error = call(fd, request, (void *)bad->address);
	printf("{\"event\":\"tried\",\"command\":\"%s\",\"case\":\"%s\",\"address\":\"0x%lx\",\"error\":%s}\n",
	       name, bad->name, (unsigned long)bad->address, error_json(error));
}

static int run_bad_pointers(const struct probe *probe, const unsigned long *args)
{
	static const struct {
		const char *name;
		unsigned int request;
	} commands[] = {
		{ "size", IOC_GET_SIZE },
		{ "read", IOC_READ },
		{ "write", IOC_WRITE },
	};
	/* The hole comes last: a later mapping could fill it. */
	uint8_t *beyond = map_beyond_file();
	uint8_t *none = map_buffer(PAGE);
	uint8_t *fixed = map_buffer(2 * PAGE);
	struct area area;
	size_t i, j;

	if (!beyond || !none || !fixed ||
	    !map_area(&area, size_of_block(probe->fd)))
		return report_blocked("memory", errno);
	memset(fixed, CANARY, 2 * PAGE);
	if (mprotect(none, PAGE, PROT_NONE) ||
	    mprotect(fixed, 2 * PAGE, PROT_READ))
		return report_blocked("mprotect", errno);
	/* A driver may take nobody's call that has not registered. */
	report_register(probe->fd);
	run_sum(probe, args);

	const struct bad_address bad[] = {
		{ "null", 0 },
		{ "unmapped", (uintptr_t)area.start + area.bytes },
		{ "half-mapped", (uintptr_t)area.start + area.bytes - 4 },
		{ "prot-none", (uintptr_t)none },
		{ "beyond-file", (uintptr_t)beyond },
		{ "end-of-user-space", 0x00007ffffffffffe },
		{ "non-canonical", 0x0000800000000000 },
		{ "kernel-direct-map", 0xffff888000000000 },
		{ "kernel-text", 0xffffffff81000000 },
		{ "end-of-memory", 0xfffffffffffffffe },
		/* Wrong for commands that write to it. */
		{ "read-only", (uintptr_t)fixed },
	};

	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		for (j = 0; j < ARRAY_SIZE(bad); j++) {
			if (commands[i].request == IOC_WRITE &&
			    bad[j].address == (uintptr_t)fixed)
				continue;
			try_address(probe->fd, commands[i].name,
				    commands[i].request, &bad[j]);
		}
	}
	printf("{\"event\":\"read-only-page\",\"intact\":%s}\n",
	       bool_json(canaries(fixed, fixed + 2 * PAGE)));
	run_sum(probe, args);
	report_blocks(probe->fd, &area, size_of_block(probe->fd), args[0]);
	return EXIT_OBSERVED;
}

/* ---- commands: none of them is the driver's ---- */

static const struct {
	const char *name;
	unsigned int request;
} foreign_commands[] = {
	{ "all-ones", 0xffffffff },
	{ "tcgets", 0x5401 },
	{ "register-with-size", _IOR('q', 0, unsigned long) },
	{ "size-without-direction", _IO('q', 1) },
	{ "size-4-bytes", _IOR('q', 1, uint32_t) },
	{ "size-written", _IOW('q', 1, unsigned long) },
	{ "read-4-bytes", _IOR('q', 2, uint32_t) },
	{ "read-both-directions", _IOWR('q', 2, unsigned long) },
	{ "write-4-bytes", _IOW('q', 3, uint32_t) },
	{ "write-read", _IOR('q', 3, unsigned long) },
	{ "number-4", _IOR('q', 4, unsigned long) },
	{ "number-255", _IOW('q', 255, unsigned long) },
	{ "type-Q", _IOR('Q', 2, unsigned long) },
	{ "type-r", _IOW('r', 3, unsigned long) },
};

static int run_commands(const struct probe *probe, const unsigned long *args)
{
	struct area area;
	size_t i;
	int error;

	if (!map_area(&area, size_of_block(probe->fd)))
		return report_blocked("memory", errno);
	report_register(probe->fd);
	run_sum(probe, args);
	for (i = 0; i < ARRAY_SIZE(foreign_commands); i++) {
		memset(area.start, CANARY, area.bytes);
		error = call(probe->fd, foreign_commands[i].request,
			     area.start + PAGE);
		printf("{\"event\":\"command\",\"name\":\"%s\",\"request\":\"0x%08x\",\"error\":%s,\"intact\":%s}\n",
		       foreign_commands[i].name, foreign_commands[i].request,
		       error_json(error),
		       bool_json(canaries(area.start, area.start + area.bytes)));
	}
	run_sum(probe, args);
	return EXIT_OBSERVED;
}

/* ---- rights: what must not be done without being allowed to ---- */

static void report_right(const char *name, int fd, unsigned int request,
			 uint8_t *block)
{
	int error = fd < 0 ? errno : call(fd, request, block);

	printf("{\"event\":\"right\",\"case\":\"%s\",\"error\":%s}\n", name,
	       error_json(error));
}

/* A child shares no registration with its parent. */
static void rights_of_child(int fd, uint8_t *block)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		report_right("read-by-child", fd, IOC_READ, block);
		_exit(EXIT_OBSERVED);
	}
	waitpid(pid, NULL, 0);
}

static int run_rights(const struct probe *probe, const unsigned long *args)
{
	uint8_t *block = map_buffer(MAX_BLOCK);
	int reader = open(probe->node, O_RDONLY | O_CLOEXEC);
	int writer = open(probe->node, O_WRONLY | O_CLOEXEC);

	(void)args;
	if (!block)
		return report_blocked("memory", errno);
	report_right("read-unregistered", probe->fd, IOC_READ, block);
	report_right("write-unregistered", probe->fd, IOC_WRITE, block);
	report_register(probe->fd);
	report_right("read-registered", probe->fd, IOC_READ, block);
	report_right("write-registered", probe->fd, IOC_WRITE, block);
	report_right("write-read-only", reader, IOC_WRITE, block);
	report_right("read-write-only", writer, IOC_READ, block);
	rights_of_child(probe->fd, block);
	return EXIT_OBSERVED;
}

/* ---- clients: several processes use the ioctls at once ---- */

/* Every block that is read must be a whole one: that of one process. */
static void work_client(const struct probe *probe, struct seen *seen,
			size_t index, const unsigned long *args)
{
	size_t bytes = size_of_block(probe->fd);
	uint8_t *block = malloc(bytes + 4);
	unsigned long i;

	seen->error = bytes && block ? call(probe->fd, IOC_REGISTER, NULL) : EIO;
	for (i = 0; i < args[1] && !seen->error; i++) {
		memset(block, (int)index + 1, bytes);
		seen->error = call(probe->fd, IOC_WRITE, block);
		memset(block, CANARY, bytes);
		if (!seen->error)
			seen->error = call(probe->fd, IOC_READ, block);
		seen->done += !seen->error;
		seen->wrong += memcmp(block, block + 1, bytes - 1) ||
			       block[0] == CANARY;
	}
}

static int run_clients(const struct probe *probe, const unsigned long *args)
{
	if (args[0] > MAX_PROCESSES)
		return report_blocked("more processes than it can start", E2BIG);
	return run_at_once(probe, args[0], work_client, args);
}

/* ---- command line ---- */

static const struct subcommand subcommands[] = {
	{ "fill", "KEY", 1, O_RDWR, run_fill },
	{ "sum", "", 0, O_RDONLY, run_sum },
	{ "stale", "", 0, O_RDWR, run_stale },
	{ "discard", "START BYTES", 2, O_RDWR, run_discard },
	{ "zero", "START BYTES", 2, O_RDWR, run_zero },
	{ "halves", "KEY", 1, O_RDWR, run_halves },
	{ "aio", "KEY REQUESTS", 2, O_RDWR, run_aio },
	{ "beyond", "BYTES", 1, O_RDWR, run_beyond },
	{ "ioctls", "KEY", 1, O_RDWR, run_ioctls },
	{ "positions", "KEY BLOCKS", 2, O_RDWR, run_positions },
	{ "bad-pointers", "KEY", 1, O_RDWR, run_bad_pointers },
	{ "commands", "", 0, O_RDWR, run_commands },
	{ "rights", "", 0, O_RDWR, run_rights },
	{ "clients", "PROCESSES BLOCKS", 2, O_RDWR, run_clients },
};

static int usage(void)
{
	size_t i;

	fprintf(stderr, "usage: virtblkiosim-probe [-d NODE] SUBCOMMAND\n");
	for (i = 0; i < ARRAY_SIZE(subcommands); i++)
		fprintf(stderr, "  %s %s\n", subcommands[i].name,
			subcommands[i].usage);
	return EXIT_USAGE;
}

static bool parse_number(const char *text, unsigned long *number)
{
	char *end;

	errno = 0;
	*number = isdigit((unsigned char)*text) ? strtoul(text, &end, 0) : 0;
	return isdigit((unsigned char)*text) && !errno && !*end;
}

static const struct subcommand *parse_subcommand(int count, char **words,
						 unsigned long *args)
{
	const struct subcommand *found = NULL;
	size_t i;
	int j;

	for (i = 0; i < ARRAY_SIZE(subcommands) && count > 0; i++) {
		if (!strcmp(subcommands[i].name, words[0]))
			found = &subcommands[i];
	}
	if (!found || found->arguments != count - 1)
		return NULL;
	for (j = 0; j < found->arguments; j++) {
		if (!parse_number(words[j + 1], &args[j]))
			return NULL;
	}
	return found;
}

static int observe(struct probe *probe, const struct subcommand *subcommand,
		   const unsigned long *args)
{
	probe->fd = open(probe->node, subcommand->mode | O_DIRECT | O_CLOEXEC);
	if (probe->fd < 0)
		return report_blocked("open", errno);
	if (ioctl(probe->fd, BLKGETSIZE64, &probe->bytes))
		return report_blocked("the size of the disk", errno);
	return subcommand->run(probe, args);
}

int main(int argc, char **argv)
{
	struct probe probe = { .node = NODE, .fd = -1 };
	const struct subcommand *subcommand;
	unsigned long args[MAX_ARGS] = { 0 };
	int opt, status;

	while ((opt = getopt(argc, argv, "+d:")) != -1) {
		if (opt != 'd')
			return usage();
		probe.node = optarg;
	}
	subcommand = parse_subcommand(argc - optind, argv + optind, args);
	if (!subcommand)
		return usage();
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("{\"event\":\"start\",\"subcommand\":\"%s\"}\n", subcommand->name);
	status = observe(&probe, subcommand, args);
	printf("{\"event\":\"end\",\"status\":%d}\n", status);
	return status;
}
