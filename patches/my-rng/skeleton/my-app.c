// SPDX-License-Identifier: GPL-2.0
/*
 * my-app: twice seeds the generator with 0 and prints five of its numbers,
 * as "Round R number N: V"
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define MY_RNG_NODE	"/dev/my_rng_driver"
#define MY_RNG_IOC_GET	_IOR('q', 1, unsigned int)
#define MY_RNG_IOC_SEED	_IOW('q', 1, unsigned int)

int main(void)
{
	int fd = open(MY_RNG_NODE, O_RDWR);

	if (fd < 0) {
		perror(MY_RNG_NODE);
		return 1;
	}

	/* TODO: seed the generator and print its numbers, twice */

	close(fd);
	return 0;
}
