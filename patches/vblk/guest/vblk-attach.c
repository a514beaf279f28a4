// SPDX-License-Identifier: GPL-2.0
/*
 * vblk-attach: hands an export of an NBD server to the kernel's NBD driver
 *
 * It agrees with the server itself (newstyle, fixed, option GO) and gives the
 * socket to the kernel by generic netlink: afterwards nobody has to run for
 * the device. With --reconnect it stays, and whenever the kernel says that the
 * connection has died, it makes a new one; requests wait for it meanwhile.
 *
 * Sources: doc/proto.md of the project nbd; include/uapi/linux/nbd-netlink.h.
 */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <linux/genetlink.h>
#include <linux/nbd-netlink.h>
#include <linux/netlink.h>
#include <linux/types.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define __packed	__attribute__((__packed__))

#define NBD_MAGIC	0x4e42444d41474943ull
#define OPTION_MAGIC	0x49484156454f5054ull
#define REPLY_MAGIC	0x0003e889045565a9ull
#define FIXED_NEWSTYLE	1
#define NO_ZEROES	2
#define OPTION_GO	7
#define REPLY_ACK	1
#define REPLY_INFO	3
#define REPLY_ERROR	0x80000000u
#define INFO_EXPORT	0
#define LONGEST_NAME	4096
#define LONGEST_REPLY	8192

/* Seconds for which requests wait for a new connection, with --reconnect. */
#define PATIENCE	30
/* Nanoseconds between two attempts to reach a server that is not there. */
#define PAUSE		100000000l

struct options {
	const char *host;
	const char *port;
	const char *name;
	const char *device;
	__u32 index;
	__u64 block;
	__u64 timeout;
	int reconnect;
};

struct export {
	__u64 size;
	__u16 flags;
};

static int fail(const char *what, const char *why)
{
	fprintf(stderr, "vblk-attach: %s: %s\n", what, why);
	return -1;
}

static int fail_errno(const char *what)
{
	return fail(what, strerror(errno));
}

/* ---- The server. ---- */

static int send_all(int fd, const void *data, size_t length)
{
	const char *at = data;
	ssize_t sent;

	while (length > 0) {
		sent = send(fd, at, length, MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return fail_errno("sending to the server");
		at += sent;
		length -= sent;
	}
	return 0;
}

static int receive_all(int fd, void *data, size_t length)
{
	char *at = data;
	ssize_t got;

	while (length > 0) {
		got = recv(fd, at, length, 0);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return fail_errno("receiving from the server");
		if (got == 0)
			return fail("the server", "closed the connection");
		at += got;
		length -= got;
	}
	return 0;
}

/* Numbers only: a static program has no name service. */
static int dial(const struct options *options)
{
	struct sockaddr_in server = { .sin_family = AF_INET };
	int fd, on = 1;

	if (inet_pton(AF_INET, options->host, &server.sin_addr) != 1)
		return fail(options->host, "not an IPv4 address");
	server.sin_port = htons(atoi(options->port));
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (void *)&server, sizeof(server)) < 0) {
		fail_errno("connecting to the server");
		if (fd >= 0)
			close(fd);
		return -1;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return fd;
}

static int greet(int fd)
{
	struct {
		__u64 magic, option;
		__u16 flags;
	} __packed hello;
	__u32 answer;

	if (receive_all(fd, &hello, sizeof(hello)))
		return -1;
	if (be64toh(hello.magic) != NBD_MAGIC ||
	    be64toh(hello.option) != OPTION_MAGIC ||
	    !(be16toh(hello.flags) & FIXED_NEWSTYLE))
		return fail("the server", "does not speak NBD (newstyle, fixed)");
	answer = htobe32(be16toh(hello.flags) & (FIXED_NEWSTYLE | NO_ZEROES));
	return send_all(fd, &answer, sizeof(answer));
}

static int ask(int fd, const char *name)
{
	struct {
		__u64 magic;
		__u32 option, length, name_length;
	} __packed go;
	size_t length = strlen(name);
	__u16 no_requests = 0;

	if (length > LONGEST_NAME)
		return fail("the name of the export", "too long");
	go.magic = htobe64(OPTION_MAGIC);
	go.option = htobe32(OPTION_GO);
	go.length = htobe32(sizeof(__u32) + length + sizeof(no_requests));
	go.name_length = htobe32(length);
	if (send_all(fd, &go, sizeof(go)) || send_all(fd, name, length))
		return -1;
	return send_all(fd, &no_requests, sizeof(no_requests));
}

/* Returns 1 when the server has agreed, 0 when more is to come. */
static int take_reply(int fd, struct export *export)
{
	struct {
		__u64 magic;
		__u32 option, type, length;
	} __packed reply;
	struct {
		__u16 type;
		__u64 size;
		__u16 flags;
	} __packed info;
	char data[LONGEST_REPLY + 1];
	__u32 type, length;

	if (receive_all(fd, &reply, sizeof(reply)))
		return -1;
	type = be32toh(reply.type);
	length = be32toh(reply.length);
	if (be64toh(reply.magic) != REPLY_MAGIC || length > LONGEST_REPLY)
		return fail("the server", "sent something that is no reply");
	if (receive_all(fd, data, length))
		return -1;
	data[length] = '\0';
	if (type & REPLY_ERROR)
		return fail("the server refuses", length ? data : "no reason");
	if (type == REPLY_ACK)
		return 1;
	if (type != REPLY_INFO || length < sizeof(info))
		return 0;
	memcpy(&info, data, sizeof(info));
	if (be16toh(info.type) != INFO_EXPORT)
		return 0;
	export->size = be64toh(info.size);
	export->flags = be16toh(info.flags);
	return 0;
}

/* A connection that is ready for requests; the caller closes it. */
static int agree(const struct options *options, struct export *export)
{
	int fd = dial(options);
	int result = -1;

	if (fd < 0)
		return -1;
	if (greet(fd) == 0 && ask(fd, options->name) == 0) {
		do {
			result = take_reply(fd, export);
		} while (result == 0);
	}
	if (result == 1)
		return fd;
	close(fd);
	return -1;
}

/* ---- The kernel. ---- */

struct message {
	struct nlmsghdr header;
	struct genlmsghdr generic;
	char attributes[512];
};

/* One or more messages of the kernel. */
struct answer {
	struct nlmsghdr first;
	char rest[8192];
};

struct family {
	__u16 id;
	__u32 group;
};

static void begin(struct message *message, __u16 type, uint8_t command)
{
	memset(message, 0, sizeof(*message));
	message->header.nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN);
	message->header.nlmsg_type = type;
	message->header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	message->generic.cmd = command;
	message->generic.version = 1;
}

static struct nlattr *add(struct message *message, __u16 type,
			  const void *data, size_t length)
{
	struct nlattr *attribute = (void *)((char *)message +
					    message->header.nlmsg_len);

	attribute->nla_type = type;
	attribute->nla_len = NLA_HDRLEN + length;
	if (length > 0)
		memcpy((char *)attribute + NLA_HDRLEN, data, length);
	message->header.nlmsg_len += NLA_ALIGN(attribute->nla_len);
	return attribute;
}

static void add_u32(struct message *message, __u16 type, __u32 value)
{
	add(message, type, &value, sizeof(value));
}

static void add_u64(struct message *message, __u16 type, __u64 value)
{
	add(message, type, &value, sizeof(value));
}

/* What is added until end_nest() belongs to it. */
static struct nlattr *nest(struct message *message, __u16 type)
{
	return add(message, type | NLA_F_NESTED, NULL, 0);
}

static void end_nest(struct message *message, struct nlattr *attribute)
{
	attribute->nla_len = (char *)message + message->header.nlmsg_len -
			     (char *)attribute;
}

static int open_netlink(void)
{
	struct sockaddr_nl self = { .nl_family = AF_NETLINK };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);

	if (fd < 0 || bind(fd, (void *)&self, sizeof(self)) < 0)
		return fail_errno("netlink");
	return fd;
}

typedef void (*visitor)(const struct nlattr *attribute, void *data);

static void each_attribute(const void *first, size_t length, visitor visit,
			   void *data)
{
	const struct nlattr *attribute = first;
	size_t step;

	while (length >= NLA_HDRLEN && attribute->nla_len >= NLA_HDRLEN &&
	       attribute->nla_len <= length) {
		visit(attribute, data);
		step = NLA_ALIGN(attribute->nla_len);
		if (step >= length)
			return;
		length -= step;
		attribute = (void *)((char *)attribute + step);
	}
}

static const void *payload(const struct nlattr *attribute)
{
	return (const char *)attribute + NLA_HDRLEN;
}

/*
 * Sends a message and waits for the kernel's verdict; what comes before it is
 * shown to @visit. Returns 0 or a negative errno.
 */
static int transact(int fd, struct message *message, visitor visit, void *data)
{
	struct answer answer;
	struct nlmsghdr *header;
	ssize_t got;
	int length;

	if (send(fd, message, message->header.nlmsg_len, 0) < 0)
		return -errno;
	for (;;) {
		got = recv(fd, &answer, sizeof(answer), 0);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		length = got;
		for (header = &answer.first; NLMSG_OK(header, length);
		     header = NLMSG_NEXT(header, length)) {
			if (header->nlmsg_type == NLMSG_ERROR)
				return *(int *)NLMSG_DATA(header);
			if (visit)
				each_attribute((char *)NLMSG_DATA(header) +
					       GENL_HDRLEN,
					       NLMSG_PAYLOAD(header, GENL_HDRLEN),
					       visit, data);
		}
	}
}

static void take_group(const struct nlattr *attribute, void *data)
{
	if (attribute->nla_type == CTRL_ATTR_MCAST_GRP_ID)
		memcpy(data, payload(attribute), sizeof(__u32));
}

/* The driver has one group only. */
static void take_groups(const struct nlattr *attribute, void *data)
{
	each_attribute(payload(attribute), attribute->nla_len - NLA_HDRLEN,
		       take_group, data);
}

static void take_family(const struct nlattr *attribute, void *data)
{
	struct family *family = data;
	__u16 type = attribute->nla_type & NLA_TYPE_MASK;

	if (type == CTRL_ATTR_FAMILY_ID)
		memcpy(&family->id, payload(attribute), sizeof(family->id));
	else if (type == CTRL_ATTR_MCAST_GROUPS)
		each_attribute(payload(attribute),
			       attribute->nla_len - NLA_HDRLEN,
			       take_groups, &family->group);
}

static int find_family(int fd, struct family *family)
{
	struct message message;
	int error;

	memset(family, 0, sizeof(*family));
	begin(&message, GENL_ID_CTRL, CTRL_CMD_GETFAMILY);
	add(&message, CTRL_ATTR_FAMILY_NAME, NBD_GENL_FAMILY_NAME,
	    sizeof(NBD_GENL_FAMILY_NAME));
	error = transact(fd, &message, take_family, family);
	if (error)
		return fail("the driver nbd (modprobe nbd?)", strerror(-error));
	return 0;
}

static void add_socket(struct message *message, int server)
{
	struct nlattr *sockets = nest(message, NBD_ATTR_SOCKETS);
	struct nlattr *item = nest(message, NBD_SOCK_ITEM);

	add_u32(message, NBD_SOCK_FD, server);
	end_nest(message, item);
	end_nest(message, sockets);
}

static int give(int fd, const struct family *family,
		const struct options *options, const struct export *export,
		int server)
{
	struct message message;
	int error;

	begin(&message, family->id, NBD_CMD_CONNECT);
	add_u32(&message, NBD_ATTR_INDEX, options->index);
	add_u64(&message, NBD_ATTR_SIZE_BYTES, export->size);
	add_u64(&message, NBD_ATTR_BLOCK_SIZE_BYTES, options->block);
	add_u64(&message, NBD_ATTR_SERVER_FLAGS, export->flags);
	add_u64(&message, NBD_ATTR_TIMEOUT, options->timeout);
	if (options->reconnect)
		add_u64(&message, NBD_ATTR_DEAD_CONN_TIMEOUT, PATIENCE);
	add_socket(&message, server);
	error = transact(fd, &message, NULL, NULL);
	return error ? fail(options->device, strerror(-error)) : 0;
}

static int replace(int fd, const struct family *family,
		   const struct options *options, int server)
{
	struct message message;
	int error;

	begin(&message, family->id, NBD_CMD_RECONFIGURE);
	add_u32(&message, NBD_ATTR_INDEX, options->index);
	add_socket(&message, server);
	error = transact(fd, &message, NULL, NULL);
	return error ? fail(options->device, strerror(-error)) : 0;
}

static int take_away(int fd, const struct family *family,
		     const struct options *options)
{
	struct message message;
	int error;

	begin(&message, family->id, NBD_CMD_DISCONNECT);
	add_u32(&message, NBD_ATTR_INDEX, options->index);
	error = transact(fd, &message, NULL, NULL);
	return error ? fail(options->device, strerror(-error)) : 0;
}

/* ---- What the program does. ---- */

static int reconnect(int fd, const struct family *family,
		     const struct options *options)
{
	const struct timespec pause = { .tv_nsec = PAUSE };
	time_t end = time(NULL) + PATIENCE;
	struct export export = { 0 };
	int server, error;

	while ((server = agree(options, &export)) < 0) {
		if (time(NULL) >= end)
			return -1;
		nanosleep(&pause, NULL);
	}
	error = replace(fd, family, options, server);
	close(server);
	if (error)
		return -1;
	printf("reconnected %s\n", options->device);
	fflush(stdout);
	return 0;
}

static void take_index(const struct nlattr *attribute, void *data)
{
	if (attribute->nla_type == NBD_ATTR_INDEX)
		memcpy(data, payload(attribute), sizeof(__u32));
}

/* Whether one of the messages that wait says that our connection died. */
static int died(int events, const struct options *options)
{
	struct answer answer;
	ssize_t got = recv(events, &answer, sizeof(answer), 0);
	struct nlmsghdr *header = &answer.first;
	int length = got;
	int found = 0;

	for (; got > 0 && NLMSG_OK(header, length);
	     header = NLMSG_NEXT(header, length)) {
		struct genlmsghdr *generic = NLMSG_DATA(header);
		__u32 index = ~0u;

		if (generic->cmd != NBD_CMD_LINK_DEAD)
			continue;
		each_attribute((char *)generic + GENL_HDRLEN,
			       NLMSG_PAYLOAD(header, GENL_HDRLEN),
			       take_index, &index);
		found |= index == options->index;
	}
	return found;
}

static int open_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

/* Until a signal ends it, and with it the device; or no server is found. */
static int stay(int fd, int events, const struct family *family,
		const struct options *options)
{
	struct pollfd sources[] = {
		{ .fd = events, .events = POLLIN },
		{ .fd = open_signals(), .events = POLLIN },
	};

	for (;;) {
		if (poll(sources, 2, -1) < 0 && errno != EINTR)
			return fail_errno("poll");
		if (sources[1].revents)
			return take_away(fd, family, options);
		if (sources[0].revents && died(events, options) &&
		    reconnect(fd, family, options))
			return -1;
	}
}

/* The messages about dead connections, from now on. */
static int subscribe(const struct family *family)
{
	int fd = open_netlink();

	if (fd >= 0 && setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP,
				  &family->group, sizeof(family->group)) < 0)
		return fail_errno("the driver's messages");
	return fd;
}

static int attach(const struct options *options)
{
	struct export export = { 0 };
	struct family family;
	int server, events, error;
	int fd = open_netlink();

	if (fd < 0 || find_family(fd, &family))
		return -1;
	events = options->reconnect ? subscribe(&family) : -1;
	server = agree(options, &export);
	if (server < 0)
		return -1;
	error = give(fd, &family, options, &export, server);
	close(server);
	if (error)
		return -1;
	printf("attached %s, %llu bytes, flags 0x%x\n", options->device,
	       (unsigned long long)export.size, export.flags);
	fflush(stdout);
	return options->reconnect ? stay(fd, events, &family, options) : 0;
}

static int detach(const struct options *options)
{
	struct family family;
	int fd = open_netlink();

	if (fd < 0 || find_family(fd, &family))
		return -1;
	return take_away(fd, &family, options);
}

static int show_usage(void)
{
	fprintf(stderr,
		"usage: vblk-attach attach HOST PORT NAME DEVICE [-b BLOCK] [-t SECONDS] [--reconnect]\n"
		"       vblk-attach detach DEVICE\n");
	return 2;
}

static int read_index(struct options *options)
{
	static const char prefix[] = "/dev/nbd";
	const char *digits = options->device + sizeof(prefix) - 1;
	char *end;

	if (strncmp(options->device, prefix, sizeof(prefix) - 1) != 0)
		return -1;
	options->index = strtoul(digits, &end, 10);
	return end == digits || *end != '\0' ? -1 : 0;
}

static int read_flags(struct options *options, char **argv)
{
	for (; *argv; argv++) {
		if (strcmp(*argv, "--reconnect") == 0)
			options->reconnect = 1;
		else if (strcmp(*argv, "-b") == 0 && argv[1])
			options->block = strtoull(*++argv, NULL, 10);
		else if (strcmp(*argv, "-t") == 0 && argv[1])
			options->timeout = strtoull(*++argv, NULL, 10);
		else
			return -1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct options options = { .block = 512, .timeout = 30 };

	if (argc == 3 && strcmp(argv[1], "detach") == 0) {
		options.device = argv[2];
		if (read_index(&options))
			return show_usage();
		return detach(&options) ? 1 : 0;
	}
	if (argc < 6 || strcmp(argv[1], "attach") != 0)
		return show_usage();
	options.host = argv[2];
	options.port = argv[3];
	options.name = argv[4];
	options.device = argv[5];
	if (read_index(&options) || read_flags(&options, argv + 6))
		return show_usage();
	return attach(&options) ? 1 : 0;
}
