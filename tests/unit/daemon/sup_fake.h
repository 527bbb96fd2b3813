/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_DAEMON_SUP_FAKE_H
#define TESTS_DAEMON_SUP_FAKE_H

/* A fake engine, data plane, resolver and clock around one supervisor. Include after cmocka's four. */
#include "supervisor.h"

#define PEER 7

extern uint64_t now;
extern struct supervisor s;
extern const struct sup_env env;

/* What the supervisor did, counted and remembered. */
struct sup_fake {
	int updated, update_error; /* UPDATE_SA_ADDRESSES */
	uint64_t hop_ms[64]; /* when the first ones were */
	int initiated, dropped, closed, asked, retransmitted, hopped, moves, limited, dummies, nat,
	    told, roamed, remembered, resolves, routes;
	bool up;
	struct engine_path last, moved, via;
	struct sup_activity act;
	bool route_ok, resolver_ok, answered, mobike;
	struct addr resolver[8];
	size_t resolver_count;
	uint32_t next_ike;
	bool auto_answer; /* route and resolver answer at the next step */
	int pending_resolve, pending_route;
	size_t resolve_host;
	struct addr route_to[16];
	uint32_t ifindex;
	char endpoints[400]; /* "addr:port " of each initiate */
};
extern struct sup_fake f;

struct addr addr(const char *text);
/** answer() - Resolver and routes answer what was asked. */
void answer(void);
/** pass() - Let time pass; everything that falls due happens. */
void pass(uint64_t ms);
struct sup_config config(enum sup_start start, const char *host);
/** begin(), end() - cmocka's setup and teardown. */
int begin(void **state);
int end(void **state);
void start(enum sup_start how, const char *host);
void ike_comes_up(uint32_t ike, const char *from, bool child);
void comes_up(uint32_t ike, const char *from);
void reply_from(uint32_t sock, const char *from);
void goes_down(uint32_t ike, bool was_up, enum engine_why why);

#endif
