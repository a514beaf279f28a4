// SPDX-License-Identifier: GPL-2.0
/*
 * my-app: the user application of the my_rng exercise
 *
 * Twice seeds the generator with 0 and prints five of its numbers. The two
 * rounds are equal when seeding works.
 *
 * Exit status: 0 done, 1 the device cannot be used, 2 wrong usage.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define MY_RNG_NODE	"/dev/my_rng_driver"
#define MY_RNG_IOC_GET	_IOR('q', 1, unsigned int)
#define MY_RNG_IOC_SEED	_IOW('q', 1, unsigned int)

#define SEED		0
#define ROUNDS		2
#define NUMBERS		5

enum { EXIT_DONE = 0, EXIT_DEVICE = 1, EXIT_USAGE = 2 };

static int complain(const char *node, const char *what)
{
	fprintf(stderr, "my-app: %s: %s: %s\n", node, what, strerror(errno));
	return EXIT_DEVICE;
}

static int print_rounds(int fd, const char *node)
{
	unsigned int seed = SEED;
	unsigned int number;
	int round, i;

	for (round = 1; round <= ROUNDS; round++) {
		if (ioctl(fd, MY_RNG_IOC_SEED, &seed) < 0)
			return complain(node, "cannot seed the generator");
		for (i = 1; i <= NUMBERS; i++) {
			if (ioctl(fd, MY_RNG_IOC_GET, &number) < 0)
				return complain(node, "cannot get a number");
			printf("Round %d number %d: %u\n", round, i, number);
		}
	}
	return EXIT_DONE;
}

int main(int argc, char **argv)
{
	const char *node = argc > 1 ? argv[1] : MY_RNG_NODE;
	int fd, status;

	if (argc > 2 || node[0] == '-') {
		fprintf(stderr, "usage: my-app [NODE]\n"
			"Print two rounds of random numbers. NODE: %s\n",
			MY_RNG_NODE);
		return EXIT_USAGE;
	}

	fd = open(node, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return complain(node, "cannot open");
	status = print_rounds(fd, node);
	close(fd);

	if (fflush(stdout) == EOF) {
		fprintf(stderr, "my-app: cannot write: %s\n", strerror(errno));
		return EXIT_DEVICE;
	}
	return status;
}
