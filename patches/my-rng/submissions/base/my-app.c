#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define MY_RNG_IOCTL_RAND _IOR('q', 1, unsigned int)
#define MY_RNG_IOCTL_SEED _IOW('q', 1, unsigned int)

int main(void)
{
    unsigned int seed = 0;
    unsigned int number;

    int fd = open("/dev/my_rng_driver", O_RDWR);
    if (fd < 0) {
        perror("open");
        exit(EXIT_FAILURE);
    }
    for (int round = 1; round <= 2; round++) {
        if (ioctl(fd, MY_RNG_IOCTL_SEED, &seed)) {
            perror("seed");
            exit(EXIT_FAILURE);
        }
        for (int i = 1; i <= 5; i++) {
            if (ioctl(fd, MY_RNG_IOCTL_RAND, &number)) {
                perror("get");
                exit(EXIT_FAILURE);
            }
            printf("Round %d number %d: %u\n", round, i, number);
        }
    }
    close(fd);
    return 0;
}
