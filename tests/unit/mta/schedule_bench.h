/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_SCHEDULE_BENCH_H
#define TESTS_SCHEDULE_BENCH_H

/* A schedule with a tunnel and the internet, on a clock of the test's. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "log.h"
#include "schedule.h"

/* A small configuration by hand: a tunnel to "home", and the internet. */
static char *home_domains[] = { (char *)"home.example" };
static char *any_domain[] = { (char *)"*" };
static struct mta_route routes[] = {
	{ .name = "to-home",
	  .kind = ROUTE_TUNNEL,
	  .peer = (char *)"home",
	  .ttl_ms = 86400000,
	  .domains = { home_domains, 1 },
	  .sessions_max = 2,
	  .schedule = { SCHEDULE_EXPONENTIAL, 60000, 3600000, 0 } },
	{ .name = "internet",
	  .kind = ROUTE_MX,
	  .domains = { any_domain, 1 },
	  .ttl_ms = 432000000,
	  .sessions_max = 1,
	  .schedule = { SCHEDULE_EXPONENTIAL, 300000, 3600000, 0 } },
};
static struct mta_home home = { .name = "home",
				.peer = (char *)"home",
				.domains = { home_domains, 1 } };
static struct mta_config config = {
	.routes = routes, .route_count = 2, .homes = &home, .home_count = 1
};

struct bench {
	struct schedule *s;
	struct tunnel_table tunnel;
	struct tunnel_peer peer;
	uint64_t now;
	uint64_t seq;
	struct letter *letters[6000];
	size_t count;
};

static inline struct bench *bench_new(enum tunnel_state st)
{
	struct bench *b = calloc(1, sizeof(*b));

	b->now = 1000000;
	snprintf(b->peer.name, sizeof(b->peer.name), "home");
	b->peer.state = st;
	b->peer.changed_ms = b->now;
	b->tunnel.connected = st != TUNNEL_UNKNOWN;
	b->tunnel.peers = &b->peer;
	b->tunnel.peer_count = 1;
	b->s = schedule_new(&config, &b->tunnel);
	return b;
}

static inline void bench_free(struct bench *b)
{
	for (size_t i = 0; i < b->count; i++) {
		schedule_remove(b->s, b->letters[i]);
		free(b->letters[i]);
	}
	schedule_free(b->s);
	free(b);
}

/* To so many of the addresses. */
static inline struct letter *letter_to(struct bench *b, size_t count, const char *a1,
				       const char *a2, const char *a3)
{
	struct env_rcpt r[3] = { { .addr = a1 }, { .addr = a2 }, { .addr = a3 } };
	struct envelope e = { .sender = "x@y", .rcpt = r, .rcpt_count = count };
	struct letter *l = calloc(1, sizeof(*l) + 3 * sizeof(l->rcpt[0]));

	l->seq = ++b->seq;
	l->body_len = 100;
	l->rcpt_count = l->open = (uint16_t)e.rcpt_count;
	b->letters[b->count++] = l;
	assert_int_equal(schedule_add(b->s, l, &e, b->now), 0);
	return l;
}

static inline struct letter *letter(struct bench *b, const char *a1, const char *a2)
{
	return letter_to(b, a2 ? 2 : 1, a1, a2, NULL);
}

static inline void tunnel(struct bench *b, enum tunnel_state st)
{
	b->peer.state = st;
	b->peer.changed_ms = b->now;
	b->tunnel.connected = st != TUNNEL_UNKNOWN;
	schedule_tunnel(b->s, &b->tunnel, b->now);
}

static bool was_probe;
static uint8_t was_families;

static inline struct leg *next(struct bench *b)
{
	return schedule_next(b->s, b->now, &was_families, &was_probe);
}

/* One result for all flying recipients of @g. */
static inline struct schedule_verdict land(struct bench *b, struct leg *g, enum rcpt_result res,
				    enum fault_scope scope, uint8_t ok, uint8_t failed)
{
	struct msg_r_rcpt_result rr = {
		.result = (uint8_t)res, .scope = (uint8_t)scope, .enhanced = "", .text = ""
	};
	struct msg_r_result r = { .host = "h", .families_ok = ok, .families_failed = failed };
	struct schedule_verdict v = { 0 };
	struct letter *l = g->letter;
	bool fault = scope == SCOPE_HOST;

	schedule_host(b->s, g, &r, fault, !fault && res != RCPT_RES_NOT_TRIED, "451 why", b->now);
	for (uint16_t i = 0; i < l->rcpt_count; i++) {
		if (l->rcpt[i].leg != g || !l->rcpt[i].flying)
			continue;
		v = schedule_rcpt(b->s, g, i, &rr, 0, b->now);
		l->rcpt[i].state = (uint8_t)v.state;
		l->rcpt[i].attempts = (uint16_t)(l->rcpt[i].attempts + v.charged);
	}
	schedule_landed(b->s, g, b->now);
	return v;
}

#endif
