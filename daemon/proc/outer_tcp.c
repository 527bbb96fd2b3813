/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Outer sockets for networks that block UDP 4500: further UDP ports, and TCP (RFC 9329). */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "config.h"
#include "log.h"
#include "outer.h"

#define BACKLOG	   128
#define BUSY_TRIES 40
#define BUSY_MS	   50

static int tcp_socket(sa_family_t family, uint32_t mark)
{
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP), rc;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark))) {
		rc = -errno;
		close(fd);
		return rc;
	}
	return fd;
}

/* What it accepts has its mark (the kernel copies it), so answers go past the tunnel as well. */
static int listen_at(struct outer_socket *s, sa_family_t family, uint16_t port, uint32_t mark)
{
	struct endpoint any = { { .family = (uint8_t)family }, port };
	int fd = tcp_socket(family, mark), on = 1, off = 0, rc = 0;
	struct sockaddr_storage sa;
	socklen_t len = endpoint_to_sockaddr(&any, family, &sa);

	if (fd < 0)
		return fd;
	/* Connections of before linger in TIME_WAIT: the port is ours all the same. */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    (family == AF_INET6 && setsockopt(fd, SOL_IPV6, IPV6_V6ONLY, &off, sizeof(off))) ||
	    bind(fd, (struct sockaddr *)&sa, len) || listen(fd, BACKLOG))
		rc = -errno;
	if (rc) {
		close(fd);
		return rc;
	}
	*s = (struct outer_socket){ fd, family, port };
	return 0;
}

/* A killed predecessor's child may still hold it. */
static int listen_when_free(struct outer_socket *s, sa_family_t family, uint16_t port,
			    uint32_t mark)
{
	for (int i = 0;; i++) {
		int rc = listen_at(s, family, port, mark);

		if (rc != -EADDRINUSE || i == BUSY_TRIES)
			return rc;
		poll(NULL, 0, BUSY_MS);
	}
}

int outer_ports(struct outer *o, const struct config *cfg, char why[static 256])
{
	sa_family_t family = o->group[0].family;

	for (size_t i = 0; i < cfg->udp_ports.count; i++) {
		uint16_t port = cfg->udp_ports.port[i].port;
		int rc = outer_one(&o->port[o->port_count], family, port, o->mark);

		if (rc) {
			snprintf(why, 256, "udp-ports: UDP port %u: %s%s", port, strerror(-rc),
				 rc == -EADDRINUSE ? "; another daemon holds it" : "");
			return rc;
		}
		o->port_count++;
	}
	for (size_t i = 0; i < cfg->tcp_ports.count; i++) {
		const struct config_port *p = &cfg->tcp_ports.port[i];
		int rc = listen_when_free(&o->tcp[o->tcp_count], family, p->port, o->mark);

		if (rc && !cfg->tcp_wished) {
			log_warn(NULL, "TCP port %u: %s; peers whose UDP is blocked do not reach us by it",
				 p->port, strerror(-rc));
			continue;
		}
		if (rc) {
			snprintf(why, 256, "tcp-ports: TCP port %u: %s%s", p->port, strerror(-rc),
				 rc == -EADDRINUSE ? "; another daemon, such as a web server, holds it"
						   : "");
			return rc;
		}
		o->tls[o->tcp_count++] = p->tls;
	}
	return 0;
}

int outer_connect(const struct outer *o, const struct endpoint *to, uint32_t mark)
{
	struct sockaddr_storage sa;
	socklen_t len = endpoint_to_sockaddr(to, to->addr.family, &sa);
	int fd = len ? tcp_socket(to->addr.family, mark ? mark : o->mark) : -EAFNOSUPPORT, rc;

	if (fd < 0)
		return fd;
	if (connect(fd, (struct sockaddr *)&sa, len) && errno != EINPROGRESS) {
		rc = -errno;
		close(fd);
		return rc;
	}
	return fd;
}
