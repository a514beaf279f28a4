// SPDX-License-Identifier: GPL-2.0
/*
 * keyboard-probe: lets readers of the keyboard run side by side; judges nothing
 *
 * Each argument starts one reader in a process of its own, numbered from 0:
 *
 *   block:FILE    reads FILE, waiting in read()
 *   poll:FILE     waits in poll(), then reads without waiting until there is no more
 *   late:FILE     like poll, but takes nothing before the command "go"
 *   evdev:FILE    reads the events of keys from an input device
 *   run:COMMAND   runs a shell command on a terminal, and reads what it prints
 *
 * Prints one JSON object per line, each with one write():
 *
 *   {"event":"opened","reader":0,"pid":123}
 *   {"event":"bytes","reader":0,"at":12345,"data":"1e9e"}  microseconds since boot
 *   {"event":"key","reader":1,"at":12345,"code":30,"value":1}
 *   {"event":"error","reader":0,"call":"read","error":"EOVERFLOW"}
 *   {"event":"ended","reader":0}                           end of file
 *   {"event":"window","reader":0,"ms":500,"state":"S","ticks":0,"switches":0,"timers":2}
 *
 * Commands on standard input: "go", and "window MS": look at the process of each
 * reader now and MS milliseconds later; ticks of CPU time, context switches, and
 * the timer interrupts of the whole machine are those in between. The end of the
 * input ends all.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_READERS	16
#define CHUNK		256

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

struct reader {
	int index;
	const char *place;
	pid_t pid;
	int go;		/* end of a pipe that is closed at "go" */
};

struct sample {
	char state;
	unsigned long ticks;
	unsigned long switches;
};

/* ---- output ---- */

static void say(const char *format, ...)
{
	char line[CHUNK * 2 + 128];
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(line, sizeof(line) - 1, format, args);
	va_end(args);
	line[length++] = '\n';
	if (write(STDOUT_FILENO, line, length) != length)
		_exit(1);
}

static long long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static void say_error(const struct reader *reader, const char *call)
{
	const char *name = strerrorname_np(errno);

	say("{\"event\":\"error\",\"reader\":%d,\"call\":\"%s\",\"error\":\"%s\"}", reader->index,
	    call, name ? name : "?");
}

static void say_bytes(const struct reader *reader, const unsigned char *bytes, size_t count)
{
	char text[CHUNK * 2 + 1];
	size_t i;

	for (i = 0; i < count; i++)
		sprintf(text + 2 * i, "%02x", bytes[i]);
	say("{\"event\":\"bytes\",\"reader\":%d,\"at\":%lld,\"data\":\"%s\"}", reader->index, now(),
	    text);
}

/* ---- readers, each in its process ---- */

static int open_place(const struct reader *reader, int flags)
{
	int fd = open(reader->place, O_RDONLY | flags);

	if (fd < 0) {
		say_error(reader, "open");
		_exit(1);
	}
	say("{\"event\":\"opened\",\"reader\":%d,\"pid\":%d}", reader->index, getpid());
	return fd;
}

/* False when there is nothing (more) to read. */
static bool read_some(const struct reader *reader, int fd)
{
	unsigned char bytes[CHUNK];
	ssize_t got = read(fd, bytes, sizeof(bytes));

	if (got > 0) {
		say_bytes(reader, bytes, got);
		return true;
	}
	if (got < 0 && errno == EAGAIN)
		return false;
	if (got < 0)
		say_error(reader, "read");
	if (got < 0 && errno == EOVERFLOW)
		return true;
	say("{\"event\":\"ended\",\"reader\":%d}", reader->index);
	_exit(0);
}

static void run_block(const struct reader *reader)
{
	int fd = open_place(reader, 0);

	while (read_some(reader, fd))
		;
}

static void run_poll(const struct reader *reader)
{
	struct pollfd waiting = { .fd = open_place(reader, O_NONBLOCK), .events = POLLIN };

	for (;;) {
		if (poll(&waiting, 1, -1) < 0) {
			say_error(reader, "poll");
			return;
		}
		while (read_some(reader, waiting.fd))
			;
	}
}

static void run_late(const struct reader *reader)
{
	struct pollfd waiting = { .fd = open_place(reader, O_NONBLOCK), .events = POLLIN };
	char none;

	if (read(reader->go, &none, 1) < 0)
		say_error(reader, "go");
	while (poll(&waiting, 1, -1) >= 0) {
		while (read_some(reader, waiting.fd))
			;
	}
}

static void run_evdev(const struct reader *reader)
{
	struct input_event event;
	int fd = open_place(reader, 0);

	while (read(fd, &event, sizeof(event)) == sizeof(event)) {
		if (event.type != EV_KEY)
			continue;
		say("{\"event\":\"key\",\"reader\":%d,\"at\":%lld,\"code\":%u,\"value\":%d}",
		    reader->index, now(), event.code, event.value);
	}
	say_error(reader, "read");
}

/* What is on the terminal appears at once: no program holds it back in a buffer. */
static void run_command(const struct reader *reader)
{
	int terminal;
	pid_t pid = forkpty(&terminal, NULL, NULL, NULL);

	if (pid < 0) {
		say_error(reader, "forkpty");
		return;
	}
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execl("/bin/sh", "sh", "-c", reader->place, NULL);
		_exit(127);
	}
	say("{\"event\":\"opened\",\"reader\":%d,\"pid\":%d}", reader->index, pid);
	while (read_some(reader, terminal))
		;
}

static const struct {
	const char *name;
	void (*run)(const struct reader *reader);
} kinds[] = {
	{ "block:", run_block },
	{ "poll:", run_poll },
	{ "late:", run_late },
	{ "evdev:", run_evdev },
	{ "run:", run_command },
};

static bool start(struct reader *reader, const char *argument, const int *go)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		size_t length = strlen(kinds[i].name);

		if (strncmp(argument, kinds[i].name, length))
			continue;
		reader->place = argument + length;
		reader->go = go[0];
		reader->pid = fork();
		if (!reader->pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			close(go[1]);
			kinds[i].run(reader);
			_exit(0);
		}
		return reader->pid > 0;
	}
	return false;
}

/* ---- what the processes of the readers do ---- */

static pid_t parent_of(pid_t pid)
{
	char path[64], text[512], *end;
	pid_t parent = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "r");
	if (!file)
		return 0;
	if (fgets(text, sizeof(text), file)) {
		end = strrchr(text, ')');
		if (end)
			sscanf(end + 1, " %*c %d", &parent);
	}
	fclose(file);
	return parent;
}

static void add_stat(pid_t pid, struct sample *sample)
{
	char path[64], text[1024], *end;
	unsigned long user = 0, system = 0, count;
	char state = '?';
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "r");
	if (!file)
		return;
	end = fgets(text, sizeof(text), file) ? strrchr(text, ')') : NULL;
	if (end)
		sscanf(end + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &state,
		       &user, &system);
	fclose(file);
	sample->ticks += user + system;
	if (sample->state != 'R')
		sample->state = state;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	file = fopen(path, "r");
	if (!file)
		return;
	while (fgets(text, sizeof(text), file)) {
		if (sscanf(text, "voluntary_ctxt_switches: %lu", &count) == 1 ||
		    sscanf(text, "nonvoluntary_ctxt_switches: %lu", &count) == 1)
			sample->switches += count;
	}
	fclose(file);
}

/* The process and all that it started. */
static void add_family(pid_t pid, struct sample *sample)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	pid_t other;

	add_stat(pid, sample);
	while (proc && (entry = readdir(proc))) {
		other = atoi(entry->d_name);
		if (other > 0 && parent_of(other) == pid)
			add_family(other, sample);
	}
	if (proc)
		closedir(proc);
}

/* Timer interrupts of all processors, whichever timer the kernel uses. */
static unsigned long timer_interrupts(void)
{
	FILE *file = fopen("/proc/interrupts", "r");
	unsigned long all = 0, count;
	char line[512], *next, *end;

	while (file && fgets(line, sizeof(line), file)) {
		if (!strstr(line, "timer"))
			continue;
		next = strchr(line, ':');
		for (next = next ? next + 1 : line; ; next = end) {
			count = strtoul(next, &end, 10);
			if (end == next)
				break;
			all += count;
		}
	}
	if (file)
		fclose(file);
	return all;
}

static void look(const struct reader *readers, int count, struct sample *samples)
{
	int i;

	memset(samples, 0, count * sizeof(*samples));
	for (i = 0; i < count; i++)
		add_family(readers[i].pid, &samples[i]);
}

static void show_window(const struct reader *readers, int count, int ms)
{
	struct sample before[MAX_READERS], after[MAX_READERS];
	unsigned long timers;
	char counts[96];
	int i;

	look(readers, count, before);
	timers = timer_interrupts();
	usleep(ms * 1000);
	timers = timer_interrupts() - timers;
	look(readers, count, after);
	for (i = 0; i < count; i++) {
		snprintf(counts, sizeof(counts), "\"ticks\":%lu,\"switches\":%lu,\"timers\":%lu",
			 after[i].ticks - before[i].ticks,
			 after[i].switches - before[i].switches, timers);
		say("{\"event\":\"window\",\"reader\":%d,\"ms\":%d,\"state\":\"%c\",%s}", i, ms,
		    after[i].state, counts);
	}
}

/* ---- command line ---- */

static void obey(const struct reader *readers, int count, const int *go)
{
	char line[64];
	int ms;

	while (fgets(line, sizeof(line), stdin)) {
		if (!strcmp(line, "go\n"))
			close(go[1]);
		else if (sscanf(line, "window %d", &ms) == 1)
			show_window(readers, count, ms);
	}
}

int main(int argc, char **argv)
{
	struct reader readers[MAX_READERS];
	int count = argc - 1;
	int go[2];
	int i;

	if (count < 1 || count > MAX_READERS || pipe(go)) {
		fprintf(stderr, "usage: keyboard-probe KIND:PLACE...\n"
			"KIND: block, poll, late, evdev or run\n");
		return 2;
	}
	/* What a reader has started is waited for as well: its files must be closed. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	for (i = 0; i < count; i++) {
		readers[i].index = i;
		if (!start(&readers[i], argv[i + 1], go)) {
			fprintf(stderr, "keyboard-probe: cannot start %s\n", argv[i + 1]);
			return 2;
		}
	}
	obey(readers, count, go);
	for (i = 0; i < count; i++)
		kill(readers[i].pid, SIGKILL);
	while (wait(NULL) > 0)
		;
	return 0;
}
