// SPDX-License-Identifier: GPL-2.0
/*
 * vblk-probe: reads or writes pieces of a disk, past the guest's own memory
 *
 * Each piece is one request (O_DIRECT). One line per piece that fails, with
 * its number and the name of the error; then how many there were.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Alignment of memory that suits every disk. */
#define PAGE 4096

struct job {
	int writes;
	size_t bytes;	/* of one piece */
	off_t from;	/* number of the first piece */
	long count;
	char *buffer;
};

/* Returns 0 or an errno. */
static int move_piece(int fd, const struct job *job, off_t piece)
{
	off_t at = piece * (off_t)job->bytes;
	ssize_t done;

	if (job->writes)
		done = pwrite(fd, job->buffer, job->bytes, at);
	else
		done = pread(fd, job->buffer, job->bytes, at);
	if (done < 0)
		return errno;
	return (size_t)done == job->bytes ? 0 : ENODATA;
}

static void run(int fd, const struct job *job)
{
	long i, failed = 0;
	int error;

	for (i = 0; i < job->count; i++) {
		error = move_piece(fd, job, job->from + i);
		if (!error)
			continue;
		failed++;
		printf("%lld %s\n", (long long)(job->from + i),
		       strerrorname_np(error));
	}
	printf("%ld of %ld failed\n", failed, job->count);
}

static int show_usage(void)
{
	fprintf(stderr,
		"usage: vblk-probe read NODE BYTES FROM COUNT\n"
		"       vblk-probe write NODE BYTES FROM COUNT LETTER\n");
	return 2;
}

int main(int argc, char **argv)
{
	struct job job = { 0 };
	int fd;

	if (argc < 6)
		return show_usage();
	job.writes = strcmp(argv[1], "write") == 0;
	if (argc != 6 + job.writes)
		return show_usage();
	job.bytes = strtoul(argv[3], NULL, 10);
	job.from = strtoll(argv[4], NULL, 10);
	job.count = strtol(argv[5], NULL, 10);
	fd = open(argv[2], (job.writes ? O_RDWR : O_RDONLY) | O_DIRECT);
	if (fd < 0) {
		perror(argv[2]);
		return 1;
	}
	if (posix_memalign((void **)&job.buffer, PAGE, job.bytes + 1) != 0)
		return 1;
	memset(job.buffer, job.writes ? argv[6][0] : 0, job.bytes);
	run(fd, &job);
	return 0;
}
