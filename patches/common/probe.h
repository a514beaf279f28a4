/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the probes of the labs have in common: they observe from user space, and
 * judge nothing
 *
 * A probe prints one JSON object per line. Each line is written before the next
 * step is taken, so the output tells how far the probe came should the kernel
 * kill it. The first line has "event":"start", the last one "event":"end";
 * without the last line the probe died. "error" is the name of an errno value,
 * or null where the call succeeded.
 */

#ifndef PROBE_H
#define PROBE_H

#include <stdio.h>
#include <string.h>

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

enum { EXIT_OBSERVED = 0, EXIT_BLOCKED = 1, EXIT_USAGE = 2 };

static const char *error_json(int error)
{
	static char text[32];
	const char *name = error ? strerrorname_np(error) : NULL;

	if (!error)
		return "null";
	if (name)
		snprintf(text, sizeof(text), "\"%s\"", name);
	else
		snprintf(text, sizeof(text), "\"errno %d\"", error);
	return text;
}

/* Says what kept the probe from observing; the exit status of that. */
static int report_blocked(const char *what, int error)
{
	printf("{\"event\":\"blocked\",\"what\":\"%s\",\"error\":%s}\n", what,
	       error_json(error));
	return EXIT_BLOCKED;
}

#endif /* PROBE_H */
