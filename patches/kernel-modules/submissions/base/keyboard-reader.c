/* Lab 3, part 3: shows the scan codes of the keys that are pressed and released. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int main(void)
{
	unsigned char code;
	int fd = open("/dev/keyscan", O_RDONLY);

	if (fd < 0) {
		perror("/dev/keyscan");
		return 1;
	}
	while (read(fd, &code, 1) == 1)
		printf("scan code 0x%02x %s\n", code, code & 0x80 ? "released" : "pressed");
	return 0;
}
