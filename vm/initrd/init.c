// SPDX-License-Identifier: GPL-2.0
/*
 * The first process of a kernel that has its drivers as modules: inserts
 * those of /modules/list, one file name per line and in that order, waits
 * for the root device, and hands over to the init of the root file system.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Seconds until a root device that does not appear counts as missing. */
#define PATIENCE 60

static char cmdline[4096];

/* The kernel panics when its first process ends; the console then says why. */
static void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("lab initrd: ", stderr);
	vfprintf(stderr, format, args);
	fprintf(stderr, ": %s\n", strerror(errno));
	va_end(args);
	exit(1);
}

static void read_cmdline(void)
{
	FILE *file = fopen("/proc/cmdline", "r");

	if (!file || !fgets(cmdline, sizeof(cmdline), file))
		die("/proc/cmdline");
	fclose(file);
	cmdline[strcspn(cmdline, "\n")] = '\0';
}

/* The value of a kernel parameter, or @otherwise; what it points to is never freed. */
static const char *parameter(const char *name, const char *otherwise)
{
	char *words = strdup(cmdline);
	const char *found = otherwise;
	size_t length = strlen(name);

	for (char *word = strtok(words, " "); word; word = strtok(NULL, " "))
		if (!strncmp(word, name, length) && word[length] == '=')
			found = word + length + 1;
	return found;
}

/* What the command line says for a module: of "e1000.Speed=100" the part "Speed=100". */
static void module_parameters(const char *module, char *to)
{
	char *words = strdup(cmdline);
	size_t length = strlen(module);

	*to = '\0';
	for (char *word = strtok(words, " "); word; word = strtok(NULL, " ")) {
		if (strncmp(word, module, length) || word[length] != '.')
			continue;
		strcat(to, word + length + 1);
		strcat(to, " ");
	}
	free(words);
}

/*
 * A driver whose hardware is not there refuses, and the boot may do without it:
 * only a root device that is missing ends it.
 */
static void insert(const char *file)
{
	char path[300], name[256], parameters[sizeof(cmdline)];
	int fd;

	snprintf(path, sizeof(path), "/modules/%s", file);
	snprintf(name, sizeof(name), "%s", file);
	name[strcspn(name, ".")] = '\0';
	for (char *dash = strchr(name, '-'); dash; dash = strchr(dash, '-'))
		*dash = '_';
	module_parameters(name, parameters);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		die("%s", path);
	if (syscall(SYS_finit_module, fd, parameters, 0) && errno != EEXIST && errno != ENODEV)
		fprintf(stderr, "lab initrd: %s: %s\n", file, strerror(errno));
	close(fd);
	/* Its memory is the guest's. */
	unlink(path);
}

static void insert_all(void)
{
	FILE *list = fopen("/modules/list", "r");
	char line[256];

	if (!list)
		die("/modules/list");
	while (fgets(line, sizeof(line), list)) {
		line[strcspn(line, "\n")] = '\0';
		insert(line);
	}
	fclose(list);
	unlink("/modules/list");
}

/* Devices may appear a while after their driver: the kernel tells of each. */
static int device_events(void)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)))
		die("device events");
	return fd;
}

static void mount_root(int events)
{
	const char *type = strdup(parameter("rootfstype", "ext4"));
	const char *device = parameter("root", "/dev/sda");
	struct pollfd wait = { .fd = events, .events = POLLIN };
	time_t end = time(NULL) + PATIENCE;
	char event[8192];

	while (mount(device, "/sysroot", type, 0, NULL)) {
		if ((errno != ENOENT && errno != ENXIO) || time(NULL) >= end)
			die("root device %s", device);
		if (poll(&wait, 1, 1000 * PATIENCE) == 1)
			recv(events, event, sizeof(event), 0);
	}
}

int main(void)
{
	int events;

	if (mount("devtmpfs", "/dev", "devtmpfs", 0, NULL) ||
	    mount("proc", "/proc", "proc", 0, NULL))
		die("/dev and /proc");
	read_cmdline();
	events = device_events();
	insert_all();
	mount_root(events);
	close(events);
	unlink("/init");
	if (umount("/proc") || mount("/dev", "/sysroot/dev", NULL, MS_MOVE, NULL))
		die("/proc and /dev");
	if (chdir("/sysroot") || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
		die("the root file system");
	execl("/sbin/init", "/sbin/init", NULL);
	die("/sbin/init");
}
