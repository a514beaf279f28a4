/* Makes the node /dev/keycodes and shows the codes of keys as they come. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <string.h>

int main(void)
{
	char line[128], name[64];
	int major = 0, found = 0, code, fd;
	FILE *devices = fopen("/proc/devices", "r");

	while (devices && fgets(line, sizeof(line), devices))
		if (sscanf(line, "%d %63s", &found, name) == 2 && !strcmp(name, "keycodes"))
			major = found;
	remove("/dev/keycodes");
	mknod("/dev/keycodes", S_IFCHR | 0600, makedev(major, 0));
	fd = open("/dev/keycodes", O_RDONLY);
	printf("press some keys\n");
	while (!ioctl(fd, _IOR(0, 7, int), &code))
		printf("scan code: %d (%s)\n", code, code & 0x80 ? "break" : "make");
	return 1;
}
