/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "outer.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"

#define BUFFER_BYTES (8 << 20) /* of receiving; that of sending is the data plane's, after the line it finds */
#define BUSY_TRIES   40
#define BUSY_MS	     50

static int set_int(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) < 0 ? -errno : 0;
}

static int options(int fd, sa_family_t family, uint32_t mark)
{
	int rc = set_int(fd, SOL_SOCKET, SO_MARK, (int)mark);

	if (rc)
		return rc;
	if (set_int(fd, SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES))
		(void)set_int(fd, SOL_SOCKET, SO_RCVBUF, BUFFER_BYTES);
	/* DF on everything, and no belief in ICMP: path MTU is found by authenticated probes. */
	rc = set_int(fd, SOL_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
	if (!rc && family == AF_INET6) {
		rc = set_int(fd, SOL_IPV6, IPV6_V6ONLY, 0);
		if (!rc)
			rc = set_int(fd, SOL_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
	}
	return rc;
}

static int bind_any(int fd, sa_family_t family, uint16_t port)
{
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	int rc = family == AF_INET6 ? bind(fd, (struct sockaddr *)&v6, sizeof(v6))
				    : bind(fd, (struct sockaddr *)&v4, sizeof(v4));

	return rc < 0 ? -errno : 0;
}

static int bound_port(int fd, uint16_t *port)
{
	struct sockaddr_in6 a;
	socklen_t len = sizeof(a);

	if (getsockname(fd, (struct sockaddr *)&a, &len) < 0)
		return -errno;
	*port = ntohs(a.sin6_port); /* at the same place in sockaddr_in */
	return 0;
}

static int open_one(struct outer_socket *s, sa_family_t family, uint16_t port, bool group,
		    uint32_t mark)
{
	int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_UDP), rc;

	if (fd < 0)
		return -errno;
	rc = options(fd, family, mark);
	if (!rc && group)
		rc = set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (!rc)
		rc = bind_any(fd, family, port);
	if (!rc)
		rc = bound_port(fd, &s->port);
	if (rc) {
		close(fd);
		return rc;
	}
	s->fd = fd;
	s->family = family;
	return 0;
}

/*
 * SO_REUSEPORT would let us join a stranger's group of the same user, or a dying child's of our
 * own: a socket without it finds out whether the port is free.
 */
static int wait_free(sa_family_t family, uint16_t port, uint32_t mark)
{
	for (int i = 0;; i++) {
		struct outer_socket probe = { .fd = -1 };
		int rc = open_one(&probe, family, port, false, mark);

		if (!rc)
			close(probe.fd);
		if (rc != -EADDRINUSE || i == BUSY_TRIES)
			return rc;
		poll(NULL, 0, BUSY_MS);
	}
}

/* Dual-stack where the machine has IPv6 at all. */
static sa_family_t pick_family(void)
{
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool ok = fd >= 0 && !bind_any(fd, AF_INET6, 0);

	if (fd >= 0)
		close(fd);
	return ok ? AF_INET6 : AF_INET;
}

static int open_group(struct outer *o, sa_family_t family, uint16_t port, size_t workers)
{
	int rc = port ? wait_free(family, port, o->mark) : 0;

	for (size_t i = 0; !rc && i < workers; i++) {
		rc = open_one(&o->group[i], family, port, true, o->mark);
		if (!rc) {
			o->count++;
			port = o->group[0].port; /* an ephemeral one is chosen once */
		}
	}
	return rc;
}

int outer_open(struct outer *o, uint16_t port, size_t workers, bool port500, uint32_t mark,
	       char why[static 256])
{
	sa_family_t family = pick_family();
	int rc;

	memset(o, 0, sizeof(*o));
	o->mark = mark;
	o->port500.fd = -1;
	for (size_t i = 0; i < PROC_HOPS; i++)
		o->hop[i].fd = -1;
	if (family == AF_INET)
		log_info(NULL, "this machine has no IPv6: outer sockets are for IPv4 alone");
	rc = open_group(o, family, port, workers);
	if (rc) {
		snprintf(why, 256, "UDP port %u: %s%s", port, strerror(-rc),
			 rc == -EADDRINUSE ? "; another IPsec daemon holds it? Stop it, or set "
					     "another `port` here and at the peers"
					   : "");
		goto fail;
	}
	rc = port500 ? wait_free(family, 500, mark) : 0;
	if (!rc && port500)
		rc = open_one(&o->port500, family, 500, false, mark);
	if (rc) {
		snprintf(why, 256, "UDP port 500: %s%s", strerror(-rc),
			 rc == -EADDRINUSE ? "; another IKE daemon holds it? Stop it, or set "
					     "`port-500 = no`"
					   : "");
		goto fail;
	}
	for (size_t i = 0; !rc && i < PROC_HOPS; i++)
		rc = open_one(&o->hop[i], family, 0, false, mark);
	if (!rc)
		return 0;
	snprintf(why, 256, "a second UDP socket: %s", strerror(-rc));
fail:
	outer_close(o);
	return rc;
}

int outer_one(struct outer_socket *s, sa_family_t family, uint16_t port, uint32_t mark)
{
	int rc = wait_free(family, port, mark);

	return rc ? rc : open_one(s, family, port, false, mark);
}

int outer_hop(struct outer *o, size_t i)
{
	/* Dissolving a connection that it never had gives up a port that was not asked for by number. */
	const struct sockaddr none = { .sa_family = AF_UNSPEC };
	struct outer_socket *s = &o->hop[i];
	int rc = connect(s->fd, &none, sizeof(none)) < 0 ? -errno : 0;

	if (!rc)
		rc = bind_any(s->fd, s->family, 0);
	return rc ? rc : bound_port(s->fd, &s->port);
}

static bool among(uint32_t mark, const uint32_t *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (list[i] == mark)
			return true;
	return false;
}

static void mark_pair(struct outer *o, size_t i, uint32_t mark)
{
	for (size_t k = 0; k < PROC_MARK_SOCKS; k++) {
		struct outer_socket *s = &o->hop[PROC_HOPS_OWN + i * PROC_MARK_SOCKS + k];
		int rc = set_int(s->fd, SOL_SOCKET, SO_MARK, (int)(mark ? mark : o->mark));

		if (rc)
			log_err(NULL, "mark 0x%x: %s", mark, strerror(-rc));
	}
	o->marks[i] = mark;
}

void outer_marks(struct outer *o, const uint32_t *mark, size_t count)
{
	size_t at = 0;

	for (size_t i = 0; i < PROC_MARKS; i++)
		if (o->marks[i] && !among(o->marks[i], mark, count))
			mark_pair(o, i, 0);
	for (size_t i = 0; i < count && i < PROC_MARKS; i++) {
		if (among(mark[i], o->marks, PROC_MARKS))
			continue;
		while (o->marks[at])
			at++;
		mark_pair(o, at, mark[i]);
	}
}

static void close_one(struct outer_socket *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

void outer_close(struct outer *o)
{
	for (size_t i = 0; i < o->count; i++)
		close_one(&o->group[i]);
	o->count = 0;
	close_one(&o->port500);
	for (size_t i = 0; i < PROC_HOPS; i++)
		close_one(&o->hop[i]);
	for (size_t i = 0; i < o->port_count; i++)
		close_one(&o->port[i]);
	for (size_t i = 0; i < o->tcp_count; i++)
		close_one(&o->tcp[i]);
	o->port_count = o->tcp_count = 0;
}
