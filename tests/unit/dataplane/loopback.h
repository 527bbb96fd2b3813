/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_DATAPLANE_LOOPBACK_H
#define TESTS_DATAPLANE_LOOPBACK_H

/* What tests of a running data plane share: sockets on loopback, its events and counters. */
#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dp.h"

/* How long what is to come may take: much longer than a machine ever stands still, as no test waits for its end. */
#define PATIENCE_MS 30000

/* A socket on @at's port, 0: any; *at becomes where it is bound. */
static inline int bound(struct endpoint *at, int reuse)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(at->port) };
	socklen_t len = sizeof(sin);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &reuse, sizeof(reuse)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	getsockname(fd, (struct sockaddr *)&sin, &len);
	endpoint_from_sockaddr(at, (struct sockaddr *)&sin);
	return fd;
}

static inline bool readable(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, ms) == 1;
}

static inline bool wait_event(struct dp *dp, enum dp_event_kind kind, struct dp_event *ev)
{
	for (int i = 0; i < PATIENCE_MS / 100; i++) {
		while (dp_event_next(dp, ev)) {
			if (ev->kind == kind)
				return true;
		}
		readable(dp_event_fd(dp), 100);
	}
	return false;
}

static inline uint64_t count(struct dp *dp, enum dp_verdict v)
{
	struct dp_stats s;

	dp_stats(dp, &s);
	return s.n[v];
}

static inline bool counts(struct dp *dp, enum dp_verdict v, uint64_t want)
{
	for (int i = 0; i < 6000 && count(dp, v) < want; i++)
		usleep(5000);
	return count(dp, v) == want;
}

#endif
