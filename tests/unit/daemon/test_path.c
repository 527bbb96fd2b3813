/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A supervisor with several lines, against a fake network: each line is told or not (device, carrier,
 * route), and carries packets or not, with a round trip of its own. Time is ours.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "nat64.h"
#include "path.h"

#define PEER  7
#define LINES 3
#define LATER 64

enum { DSL = 1, MOBILE = 2, THIRD = 3 };

struct line {
	bool told, alive;
	const char *name, *src, *gateway;
	uint64_t rtt_ms, rtt6_ms;
	unsigned loss; /* of hundred */
};

static struct line line[LINES + 1];
static struct supervisor s;
static uint64_t now;
static struct {
	bool outstanding; /* a request of ours */
	struct engine_path engine, dp;
	uint32_t ike, random;
	int initiated, moved, updates, asked, pending_route;
	uint32_t call_by[32];
	bool answered;
	struct sup_activity act;
	bool data, one_way; /* a stream; nothing comes back of it */
	bool v6_only, nat64_asked;
	uint8_t call_family[32];
	struct addr route_to[16];
	struct addr ways_to[16];
	int pending_ways;
	struct later {
		uint64_t at_ms; /* 0: free */
		bool reply;
		struct engine_path path;
		uint8_t token[PATH_TOKEN_LEN];
	} later[LATER];
} f;

static struct addr addr(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(text, &a), 0);
	return a;
}

static uint32_t rnd(void)
{
	f.random ^= f.random << 13;
	f.random ^= f.random >> 17;
	f.random ^= f.random << 5;
	return f.random >> 8;
}

/* By which line that leaves; 0: by none. */
static uint32_t leaves(const struct engine_path *p)
{
	if (p->ifindex)
		return p->ifindex <= LINES && line[p->ifindex].told ? p->ifindex : 0;
	for (uint32_t i = 1; i <= LINES; i++)
		if (line[i].told)
			return i;
	return 0;
}

static uint64_t rtt(const struct engine_path *p)
{
	const struct line *l = &line[leaves(p)];

	return p->remote.addr.family == AF_INET6 ? l->rtt6_ms : l->rtt_ms;
}

static bool carries(const struct engine_path *p)
{
	uint32_t by = leaves(p);

	return by && line[by].alive && rtt(p) && rnd() % 100 >= line[by].loss;
}

static void send_later(const struct engine_path *p, bool reply, const uint8_t *token)
{
	if (!carries(p))
		return;
	for (int i = 0; i < LATER; i++) {
		struct later *l = &f.later[i];

		if (l->at_ms)
			continue;
		*l = (struct later){ .at_ms = now + rtt(p), .reply = reply, .path = *p };
		l->path.ifindex = leaves(p);
		if (token)
			memcpy(l->token, token, PATH_TOKEN_LEN);
		return;
	}
	fail();
}

static int64_t f_initiate(void *arg, uint32_t peer, const struct engine_path *path)
{
	(void)arg, (void)peer;
	if (f.initiated < 32)
		f.call_by[f.initiated] = path->ifindex;
	if (f.initiated < 32)
		f.call_family[f.initiated] = path->remote.addr.family;
	f.initiated++;
	return 100 + f.initiated;
}

static void f_request(void *arg, uint32_t ike)
{
	(void)arg, (void)ike;
	f.asked++;
	if (f.outstanding)
		return;
	f.outstanding = true;
	send_later(&f.engine, true, NULL);
}

static int f_update(void *arg, uint32_t ike)
{
	f.updates++;
	f_request(arg, ike);
	return 0;
}

static void f_retransmit(void *arg, uint32_t ike, const struct engine_path *via)
{
	(void)arg, (void)ike;
	if (f.outstanding)
		send_later(via ? via : &f.engine, true, NULL);
}

static void f_set_path(void *arg, uint32_t ike, const struct engine_path *path)
{
	(void)arg, (void)ike;
	f.engine = *path;
	if (f.outstanding)
		send_later(path, true, NULL);
}

static void f_move(void *arg, uint32_t peer, const struct engine_path *path, bool limited,
		   uint64_t credit)
{
	(void)arg, (void)peer, (void)limited, (void)credit;
	f.dp = *path;
	f.moved++;
}

static void f_probe(void *arg, uint32_t peer, const struct engine_path *via, const uint8_t *token,
		    size_t len)
{
	uint8_t answer[PATH_TOKEN_LEN];

	(void)arg, (void)peer;
	assert_int_equal(len, PATH_TOKEN_LEN);
	assert_memory_equal(token, "way?", 4);
	memcpy(answer, token, sizeof(answer));
	answer[3] = '!';
	send_later(via, false, answer);
}

static int f_route(void *arg, uint32_t peer, const struct addr *to)
{
	(void)arg, (void)peer;
	if (f.pending_route < 16)
		f.route_to[f.pending_route++] = *to;
	return 0;
}

static int f_ways(void *arg, uint32_t peer, const struct addr *to)
{
	(void)arg, (void)peer;
	assert_true(f.pending_ways < 16);
	f.ways_to[f.pending_ways++] = *to;
	return 0;
}

static void f_activity(void *arg, uint32_t peer, struct sup_activity *a)
{
	(void)arg, (void)peer;
	*a = f.act;
}

static void f_nat64(void *arg)
{
	(void)arg;
	f.nat64_asked = true;
}

static int f_resolve(void *arg, uint32_t peer, size_t host, const char *name)
{
	(void)arg, (void)peer, (void)host, (void)name;
	return -EAGAIN;
}

static bool f_answered(void *arg, uint32_t ike)
{
	(void)arg, (void)ike;
	return f.answered;
}

static uint32_t f_random(void *arg, uint32_t below)
{
	(void)arg;
	return rnd() % below;
}

static void f_peer(void *arg, uint32_t peer)
{
	(void)arg, (void)peer;
}

static void f_changed(void *arg, uint32_t peer, bool up)
{
	(void)arg, (void)peer, (void)up;
}

static void f_roamed(void *arg, uint32_t peer, const struct endpoint *from,
		     const struct endpoint *to, const char *why)
{
	(void)arg, (void)peer, (void)from, (void)to, (void)why;
}

static const struct sup_ops fake = {
	.initiate = f_initiate,
	.drop = f_peer,
	.close = f_peer,
	.liveness = f_request,
	.update_addresses = f_update,
	.retransmit = f_retransmit,
	.set_path = f_set_path,
	.answered = f_answered,
	.resolve = f_resolve,
	.route = f_route,
	.ways = f_ways,
	.nat64 = f_nat64,
	.test_way = f_probe,
	.move = f_move,
	.dummy = f_peer,
	.nat_keepalive = f_peer,
	.activity = f_activity,
	.changed = f_changed,
	.roamed = f_roamed,
	.remember = f_peer,
	.random = f_random,
};

static struct sup_env env = {
	.ops = &fake,
	.sock_port = { 40000 },
	.sock_number = { 0 },
	.sock_family = { AF_INET6 },
	.sock_count = 1,
};

static void tell_ways(const struct addr *to)
{
	struct sup_way w[LINES];
	size_t n = 0;

	for (uint32_t i = 1; i <= LINES; i++) {
		if (!line[i].told || (to->family == AF_INET6 && !line[i].rtt6_ms) ||
		    (to->family == AF_INET && f.v6_only))
			continue;
		w[n] = (struct sup_way){ .ifindex = i, .chosen = !n };
		w[n].src = to->family == AF_INET6 ? addr("2001:db8::5") : addr(line[i].src);
		w[n].gateway = to->family == AF_INET6 ? addr("fe80::1") : addr(line[i].gateway);
		strcpy(w[n].name, line[i].name);
		n++;
	}
	path_on_ways(&s, to, w, n, now);
}

static void answers(void)
{
	while (f.pending_ways) {
		struct addr to = f.ways_to[--f.pending_ways];

		tell_ways(&to);
	}
	while (f.pending_route) {
		struct addr to = f.route_to[--f.pending_route];
		struct engine_path any = { 0 };
		uint32_t by = f.v6_only && to.family == AF_INET ? 0 : leaves(&any);
		struct sup_route r = { .ifindex = by };

		if (by)
			r.src = addr(line[by].src);
		sup_on_route(&s, &to, by ? 0 : -ENETUNREACH, by ? &r : NULL, now);
	}
}

static void arrive(struct later *l)
{
	struct fx fx = { .kind = FX_REPLY, .reply.routable = true };

	l->at_ms = 0;
	if (!l->reply) {
		path_on_probe(&s, &l->path, l->token, PATH_TOKEN_LEN, now);
		return;
	}
	if (!f.outstanding)
		return;
	f.outstanding = false;
	fx.reply.ike = s.ike;
	fx.reply.path = l->path;
	sup_on_fx(&s, &fx, now);
}

/* The data plane: does a stream both ways get through now? */
static bool works(void)
{
	return s.ike && leaves(&f.dp) && line[leaves(&f.dp)].alive && rtt(&f.dp);
}

static uint64_t worked_ms; /* when last */

static void pass(uint64_t ms)
{
	static const unsigned gap[] = { 500, 1000, 2000, 4000 };
	static uint64_t again_ms;
	static int at;
	uint64_t until = now + ms;

	while (now < until) {
		answers();
		if (f.data) {
			f.act.tx_data_ms = f.act.tx_any_ms = now;
			if (f.act.tx_first_ms <= f.act.rx_data_ms)
				f.act.tx_first_ms = now;
			if (works() && !f.one_way && rnd() % 100 >= line[leaves(&f.dp)].loss)
				f.act.rx_auth_ms = f.act.rx_data_ms = now;
		}
		if (works())
			worked_ms = now;
		for (int i = 0; i < LATER; i++)
			if (f.later[i].at_ms && f.later[i].at_ms <= now)
				arrive(&f.later[i]);
		if (!f.outstanding || !s.ike) {
			again_ms = 0;
			at = 0;
		} else if (!again_ms) {
			again_ms = now + gap[0];
		} else if (now >= again_ms) { /* the engine's own schedule */
			again_ms = now + gap[at < 3 ? ++at : 3];
			send_later(&f.engine, true, NULL);
		}
		if (sup_due_ms(&s) <= now)
			sup_tick(&s, now);
		now += 10;
	}
}

static struct sup_host host[2];

static void start(const char *interface, const char *first, const char *second)
{
	struct sup_config c = { .peer = PEER,
				.start = SUP_ALWAYS,
				.port = 4500,
				.interface = interface,
				.retry_max_ms = 4000,
				.keepalive_ms = 15000,
				.host = host,
				.host_count = second ? 2 : 1 };

	host[0].addr = addr(first);
	if (second)
		host[1].addr = addr(second);
	sup_init(&s, &env, &c, NULL, now);
}

static void comes_up(uint32_t by, const char *to, bool postern)
{
	struct fx fx = { .kind = FX_PEER_UP };

	fx.up.ike = 1;
	fx.up.child = true;
	fx.up.postern = postern;
	fx.up.nat_local = true;
	fx.up.path = (struct engine_path){ .ifindex = by,
					   .local = { addr(line[by].src), 40000 },
					   .remote = { addr(to), 4500 } };
	if (fx.up.path.remote.addr.family == AF_INET6)
		fx.up.path.local.addr = addr("2001:db8::5");
	f.engine = fx.up.path;
	sup_on_fx(&s, &fx, now);
	pass(100);
}

static uint32_t by(void)
{
	const struct path_way *w = path_current(&s);

	return w ? w->ifindex : 0;
}

static int setup(void **state)
{
	(void)state;
	memset(&f, 0, sizeof(f));
	f.random = 1;
	now = 1000000;
	env.wan_count = 0;
	env.nat64 = NULL;
	line[DSL] = (struct line){ true, true, "ppp0", "192.0.2.2", "192.0.2.1", 20, 0, 0 };
	line[MOBILE] = (struct line){ true, true, "wwan0", "100.64.0.2", "100.64.0.1", 60, 0, 0 };
	line[THIRD] = (struct line){ false, true, "eth9", "203.0.113.2", "203.0.113.1", 30, 0, 0 };
	f.data = true;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	sup_clear(&s);
	return 0;
}

#define VPS  "198.51.100.10"
#define VPS6 "2001:db8:51::10"

static void changes(void)
{
	sup_on_path_change(&s, now);
	pass(200);
}

static void ike_case_087_a_line_that_is_gone_is_left_at_once(void **state)
{
	(void)state;
	start(NULL, VPS, NULL);
	comes_up(DSL, VPS, true);
	assert_int_equal(by(), DSL);
	line[DSL].told = false;
	changes();
	assert_int_equal(by(), MOBILE);
	assert_true(works());
	assert_int_equal(f.dp.ifindex, MOBILE);
	assert_true(addr_eq(&f.dp.local.addr, &(struct addr){ AF_INET, { 100, 64, 0, 2 } }));
	assert_true(addr_eq(&f.engine.local.addr, &f.dp.local.addr));
	assert_string_equal(s.path->why, "ppp0 -> wwan0: the line in use is gone");
}

static void ike_case_087_a_line_that_carries_nothing_is_left_in_little_more_than_a_second(void **state)
{
	(void)state;
	start(NULL, VPS, NULL);
	comes_up(DSL, VPS, true);
	pass(20000);
	line[DSL].alive = false;
	pass(PATH_DUMB_MS + PATH_SOON_MS + 2 * 20 + 60 + 100);
	assert_int_equal(by(), MOBILE);
	assert_true(works());
}

/* The last word was the far side's, and what it would say next is lost: our last packet says so. */
static void a_download_that_stops_is_a_reason_to_ask(void **state)
{
	(void)state;
	start(NULL, VPS, NULL);
	comes_up(DSL, VPS, true);
	pass(20000);
	f.data = false;
	line[DSL].alive = false;
	pass(2000);
	assert_int_equal(by(), MOBILE);
}

static void a_line_that_stalls_for_less_is_stayed_on(void **state)
{
	(void)state;
	start(NULL, VPS, NULL);
	comes_up(DSL, VPS, true);
	for (int i = 0; i < 100; i++) {
		pass(5000 + rnd() % 500);
		line[DSL].alive = false;
		pass(800);
		line[DSL].alive = true;
		pass(200);
		assert_int_equal(by(), DSL);
	}
	assert_int_equal(s.path->moves, 0);
}

/* Loss is no death: packets of a request now and then, each tenth of which is lost. */
static void a_line_that_loses_some_is_stayed_on(void **state)
{
	(void)state;
	start(NULL, VPS, NULL);
	comes_up(DSL, VPS, true);
	line[DSL].loss = 10;
	for (int i = 0; i < 3600; i++) {
		f.data = true;
		pass(10);
		f.data = false;
		pass(990);
	}
	assert_int_equal(by(), DSL);
	assert_in_range(s.path->moves, 0, 1);
}

/* A metered line is not to be spent on questions that are answered each time. */
static void data_that_nobody_answers_is_asked_about_once_a_second(void **state)
{
	int before;

	(void)state;
	start(NULL, VPS, NULL);
	comes_up(DSL, VPS, true);
	f.one_way = true;
	pass(5000);
	before = f.asked;
	pass(60000);
	assert_in_range(f.asked - before, 20, 61);
	assert_int_equal(s.path->moves, 0);
	line[DSL].alive = false;
	pass(2000);
	assert_int_equal(by(), MOBILE);
}

static void without_data_a_dead_line_is_noticed_when_a_request_is_due(void **state)
{
	(void)state;
	f.data = false;
	start(NULL, VPS, NULL);
	comes_up(DSL, VPS, true);
	line[DSL].alive = false;
	pass(SUP_START_ASK_MS + 4000);
	assert_int_equal(by(), MOBILE);
}

static void the_preferred_line_is_taken_again_after_ten_good_seconds(void **state)
{
	(void)state;
	start(NULL, VPS, NULL);
	comes_up(DSL, VPS, true);
	line[DSL].told = false;
	changes();
	pass(60000);
	line[DSL].told = true;
	changes();
	pass(9000);
	assert_int_equal(by(), MOBILE);
	pass(3000);
	assert_int_equal(by(), DSL);
	assert_true(works());
}

static void a_line_that_loses_tests_is_not_returned_to(void **state)
{
	(void)state;
	start(NULL, VPS, NULL);
	comes_up(DSL, VPS, true);
	line[DSL].alive = false;
	pass(5000);
	line[DSL].alive = true;
	line[DSL].loss = 60;
	pass(120000);
	assert_int_equal(by(), MOBILE);
	line[DSL].loss = 0;
	pass(25000);
	assert_int_equal(by(), DSL);
}

static void a_line_that_fails_again_soon_has_to_show_more(void **state)
{
	uint64_t need = PATH_RETURN_MS, began;

	(void)state;
	start(NULL, VPS, NULL);
	comes_up(DSL, VPS, true);
	for (int i = 0; i < 8; i++) {
		line[DSL].alive = false;
		pass(6000);
		assert_int_equal(by(), MOBILE);
		line[DSL].alive = true;
		began = now;
		while (by() != DSL && now - began < 400000)
			pass(500);
		assert_in_range(now - began, need, need + 15000);
		need = i && need * 2 < PATH_RETURN_MAX ? need * 2 : i ? PATH_RETURN_MAX : need * 2;
		pass(20000);
		assert_int_equal(by(), DSL);
	}
	/* Once it has stayed, ten seconds are enough again. */
	pass(120000);
	line[DSL].alive = false;
	pass(6000);
	line[DSL].alive = true;
	pass(25000);
	assert_int_equal(by(), DSL);
}

static void sections_say_which_line_is_preferred_and_which_none_is(void **state)
{
	static const struct sup_wan wan[] = { { "wwan0", 10 }, { "ppp0", 50 } };

	(void)state;
	env.wan = wan;
	env.wan_count = 2;
	line[THIRD].told = true;
	start(NULL, VPS, NULL);
	pass(300);
	assert_int_equal(f.call_by[0], MOBILE); /* the kernel would take the other */
	comes_up(MOBILE, VPS, true);
	line[MOBILE].told = false;
	changes();
	assert_int_equal(by(), DSL);
	line[DSL].told = false;
	changes();
	assert_int_not_equal(f.dp.ifindex, THIRD);
	line[DSL].told = true;
	changes();
	assert_int_equal(by(), DSL);
	assert_true(works());
}

static void a_peer_is_kept_to_its_interface(void **state)
{
	(void)state;
	line[MOBILE].told = false;
	start("wwan0", VPS, NULL);
	pass(20000);
	assert_int_equal(f.initiated, 0);
	line[MOBILE].told = true;
	changes();
	pass(1000);
	assert_true(f.initiated > 0);
	assert_int_equal(f.call_by[0], MOBILE);
	comes_up(MOBILE, VPS, true);
	line[MOBILE].told = false;
	changes();
	pass(30000);
	assert_int_equal(f.dp.ifindex, MOBILE);
	assert_int_equal(f.engine.ifindex, MOBILE);
	for (int i = 0; i < f.initiated && i < 32; i++)
		assert_int_equal(f.call_by[i], MOBILE);
	line[MOBILE].told = true;
	changes();
	assert_true(works());
}

static void a_call_without_an_answer_leaves_by_the_other_line_too(void **state)
{
	(void)state;
	line[DSL].alive = false;
	start(NULL, VPS, NULL);
	pass(5000);
	assert_int_equal(f.initiated, 2);
	assert_true(f.call_by[0] <= DSL); /* the kernel's choice */
	assert_int_equal(f.call_by[1], MOBILE);
	f.answered = true;
	pass(20000);
	assert_int_equal(f.initiated, 2);
}

static void another_address_or_gateway_on_the_line_is_told_to_the_peer(void **state)
{
	int asked;

	(void)state;
	start(NULL, VPS, NULL);
	comes_up(DSL, VPS, true);
	pass(3000);
	asked = f.asked;
	changes();
	assert_int_equal(f.asked, asked);
	line[DSL].src = "192.0.2.99";
	changes();
	assert_int_equal(by(), DSL);
	assert_int_equal(f.asked, asked + 1);
	assert_int_equal(f.dp.local.addr.b[3], 99);
	line[DSL].gateway = "192.0.2.254";
	changes();
	assert_int_equal(f.asked, asked + 2);
	assert_int_equal(by(), DSL);
}

static void another_peer_than_a_postern_is_asked_by_the_better_line_first(void **state)
{
	int moved;

	(void)state;
	start(NULL, VPS, NULL);
	comes_up(DSL, VPS, false);
	s.mobike = true;
	line[DSL].alive = false;
	pass(6000);
	assert_int_equal(by(), MOBILE);
	assert_true(f.updates > 0);
	moved = f.moved;
	pass(60000); /* data never follows a test that fails */
	assert_int_equal(f.moved, moved);
	assert_true(works());
	line[DSL].alive = true;
	pass(PATH_RETURN_MAX);
	assert_int_equal(by(), DSL);
	assert_true(works());
}

static void the_family_with_the_shorter_way_is_kept(void **state)
{
	(void)state;
	line[MOBILE].told = false;
	line[DSL].rtt6_ms = 150; /* a tunnel broker far away */
	start(NULL, VPS6, VPS);
	comes_up(DSL, VPS6, true);
	pass(8000);
	assert_int_equal(f.dp.remote.addr.family, AF_INET);
	assert_int_equal(s.family_first, AF_INET);
	assert_true(works());
	pass(60000);
	assert_int_equal(s.path->moves, 1);
}

static void ipv6_that_dies_is_left_for_ipv4(void **state)
{
	(void)state;
	line[MOBILE].told = false;
	line[DSL].rtt6_ms = 20;
	start(NULL, VPS6, VPS);
	comes_up(DSL, VPS6, true);
	pass(8000);
	assert_int_equal(f.dp.remote.addr.family, AF_INET6);
	line[DSL].rtt6_ms = 0; /* told for one moment more */
	pass(5000);
	assert_int_equal(f.dp.remote.addr.family, AF_INET);
	assert_true(works());
}

static void an_ipv4_address_without_a_way_is_reached_by_nat64(void **state)
{
	struct nat64 n = { .count = 1 };

	(void)state;
	f.v6_only = true;
	line[MOBILE].told = false;
	line[DSL].rtt6_ms = 20;
	start(NULL, VPS, NULL);
	pass(5000);
	assert_true(f.nat64_asked);
	assert_int_equal(f.initiated, 0);
	assert_int_equal(prefix_parse("64:ff9b::/96", &n.prefix[0]), 0);
	env.nat64 = &n;
	sup_on_nat64(&s, now);
	pass(1000);
	assert_int_equal(f.initiated, 1);
	assert_int_equal(f.call_family[0], AF_INET6);
	comes_up(DSL, "64:ff9b::198.51.100.10", true);
	assert_true(works());
	/* A line with IPv4 comes in its place: no route leads to the other any more. */
	f.v6_only = false;
	line[DSL].rtt6_ms = 0;
	changes();
	assert_int_equal(f.dp.remote.addr.family, AF_INET);
	assert_true(works());
}

static void one_line_alone_is_left_to_the_kernel(void **state)
{
	(void)state;
	line[MOBILE].told = false;
	start(NULL, VPS, NULL);
	comes_up(DSL, VPS, true);
	pass(60000);
	assert_false(path_leads(&s));
	assert_int_equal(s.path->moves, 0);
}

static void a_test_is_answered_to_where_it_came_from_but_not_without_end(void **state)
{
	struct engine_path from = { .remote = { addr("203.0.113.9"), 4500 } };
	uint8_t token[PATH_TOKEN_LEN] = "way!";

	(void)state;
	start(NULL, VPS, NULL);
	comes_up(DSL, VPS, true);
	/* Answers that nobody waits for, and words of others, do nothing. */
	path_on_probe(&s, &from, token, sizeof(token), now);
	path_on_probe(&s, &from, token, 3, now);
	path_on_probe(&s, &from, (const uint8_t *)"mtu?............", 16, now);
	assert_int_equal(s.probed, 0);
	for (size_t i = 0; i < s.path->count; i++)
		assert_int_equal(s.path->way[i].good_ms, 0);
}

/* A week of anything: lines come, go, die and are lossy; whenever one has worked for 8 s, data passes. */
static void a_week_of_faults(void **state)
{
	uint64_t fine_ms = 0, end = now + 7ull * 24 * 3600 * 1000;

	(void)state;
	start(NULL, VPS, NULL);
	comes_up(DSL, VPS, true);
	worked_ms = now;
	while (now < end) {
		struct line *l = &line[1 + rnd() % LINES];
		bool any = false;

		switch (rnd() % 5) {
		case 0:
			l->told = !l->told;
			sup_on_path_change(&s, now);
			break;
		case 1:
			l->alive = !l->alive;
			break;
		case 2:
			l->src = l->src[0] == '1' ? "203.0.113.77" : "192.0.2.66";
			sup_on_path_change(&s, now);
			break;
		case 3:
			l->rtt_ms = 10 + rnd() % 700;
			break;
		default:
			l->told = l->alive = true;
			sup_on_path_change(&s, now);
		}
		for (uint32_t i = 1; i <= LINES; i++)
			any |= line[i].told && line[i].alive;
		fine_ms = any ? now : 0;
		pass(1000 + rnd() % 20000);
		if (fine_ms && now - fine_ms > 9000)
			assert_true(now - worked_ms < 2000 || worked_ms > fine_ms);
		if (rnd() % 4)
			pass(1000);
	}
	assert_true(s.path->count <= PATH_WAYS_MAX);
}

#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(ike_case_087_a_line_that_is_gone_is_left_at_once),
		T(ike_case_087_a_line_that_carries_nothing_is_left_in_little_more_than_a_second),
		T(a_download_that_stops_is_a_reason_to_ask),
		T(a_line_that_stalls_for_less_is_stayed_on),
		T(a_line_that_loses_some_is_stayed_on),
		T(data_that_nobody_answers_is_asked_about_once_a_second),
		T(without_data_a_dead_line_is_noticed_when_a_request_is_due),
		T(the_preferred_line_is_taken_again_after_ten_good_seconds),
		T(a_line_that_loses_tests_is_not_returned_to),
		T(a_line_that_fails_again_soon_has_to_show_more),
		T(sections_say_which_line_is_preferred_and_which_none_is),
		T(a_peer_is_kept_to_its_interface),
		T(a_call_without_an_answer_leaves_by_the_other_line_too),
		T(another_address_or_gateway_on_the_line_is_told_to_the_peer),
		T(another_peer_than_a_postern_is_asked_by_the_better_line_first),
		T(the_family_with_the_shorter_way_is_kept),
		T(ipv6_that_dies_is_left_for_ipv4),
		T(an_ipv4_address_without_a_way_is_reached_by_nat64),
		T(one_line_alone_is_left_to_the_kernel),
		T(a_test_is_answered_to_where_it_came_from_but_not_without_end),
		T(a_week_of_faults),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
