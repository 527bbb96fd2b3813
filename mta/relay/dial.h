/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_RELAY_DIAL_H
#define MTA_RELAY_DIAL_H

/*
 * Theory: from a list of targets, in the order of preference, to one connected socket. Addresses of
 * one host race: the next starts DIAL_STAGGER_MS after the one before or when that fails (RFC 8305
 * s5), the first that connects wins and the others are closed, so there is one session. Another
 * host is tried only when all addresses of the one before have failed.
 *
 * The address of our own that a socket leaves from is the next one of the route's sources of that family;
 * one that this machine does not have is told in the log and passed over. Where none is left the family
 * is not used: no connection ever leaves by an address that the route does not name.
 *
 * A dial over a device is bound to it and to our own address there: without the device, or with a
 * route that leads elsewhere, the connect fails; there is no other way.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "config.h"
#include "loop.h"
#include "lookup.h"
#include "tunnel.h"

#define DIAL_STAGGER_MS	 250
#define DIAL_HOST_MS	 30000 /* for all addresses of one host */
#define DIAL_TARGETS_MAX 64
#define DIAL_RACE_MAX	 8
#define DIAL_PATH_MAX	 108
#define DIAL_WHY_MAX	 160

struct dial_target {
	struct endpoint at;
	char path[DIAL_PATH_MAX]; /* a Unix socket instead */
	struct addr source; /* of a tunnel; family 0: from dial.source, or as the kernel chooses */
	unsigned host;	    /* same number: same host */
	char name
	    [MTA_DOMAIN_MAX]; /* of the host, for TLS and the log; an address in text for literals */
};

struct dial_source {
	struct addr addr;
	char helo[MTA_DOMAIN_MAX]; /* "": the route's */
};

struct dial {
	struct loop *loop;
	struct dial_source source[ROUTE_SOURCES_MAX];
	size_t source_count;
	bool balance;
	uint32_t turn; /* of the route's connections: whose source is next, with balance whose family */
	struct addr missing; /* a source that this machine does not have, in what was tried last */
	struct dial_target target[DIAL_TARGETS_MAX];
	size_t count, next;
	unsigned host;		  /* whose addresses are tried now */
	char dev[TUNNEL_DEV_MAX]; /* "": none */
	struct dial_try {
		struct dial *dial;
		struct loop_fd lf;
		size_t target;
		size_t source; /* SIZE_MAX: none of dial.source */
		uint64_t begun_ms;
		bool open;
	} race[DIAL_RACE_MAX];
	struct timer stagger, host_timer;
	uint8_t failed, ok; /* MSG_R_FAMILY* of what was tried; a loser of the race has failed */
	const char *helo;   /* of the source that won; NULL: it has no name of its own */
	char why[DIAL_WHY_MAX]; /* of the last failure */
	/* @fd: connected, the callee's; or -1 when all failed. Never from inside dial_start(). */
	void (*done)(struct dial *d, int fd, size_t target);
	void *arg;
};

/** dial_init() - No targets yet. */
void dial_init(struct dial *d, struct loop *l, void (*done)(struct dial *d, int fd, size_t target),
	       void *arg);
/** dial_from() - Connections leave from the sources of @route; they are copied. @turn: see struct dial. */
void dial_from(struct dial *d, const struct mta_route *route, uint32_t turn);
/** dial_v6_first() - Whether IPv6 is tried before IPv4. */
bool dial_v6_first(const struct dial *d, const struct mta_route *route);
/** dial_add() - False when the list is full. */
bool dial_add(struct dial *d, const struct dial_target *t);
/** dial_start() - Go on with the next host (the first one at the first call). */
void dial_start(struct dial *d);
/** dial_more() - Is there another host after the one that was tried last? */
bool dial_more(const struct dial *d);
void dial_stop(struct dial *d);

/**
 * dial_hosts() - Targets from hosts: addresses of each in the order of @route's family preference,
 * families alternating; only those in route_families(), and where any is left in @families (MSG_R_FAMILY*:
 * what worked lately). After dial_from().
 * Returns the count added; 0 with @why when the families leave nothing.
 */
size_t dial_hosts(struct dial *d, const struct mta_route *route, const struct lookup_host *host,
		  size_t host_count, uint8_t families, char why[static DIAL_WHY_MAX]);

/**
 * dial_mx_self() - Where do we stand ourselves in a list of mail hosts (RFC 5321 s5.1)?
 * @is_self: is that host us?
 * Returns how many of the hosts, which are sorted by preference, are better than ourselves.
 */
size_t dial_mx_self(const struct lookup_host *host, size_t count,
		    bool (*is_self)(void *arg, const struct lookup_host *h), void *arg);
/** dial_addr_is_local() - Is it an address of this machine? Asks the kernel's routes. */
bool dial_addr_is_local(const struct addr *a);

#endif
