/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sup_fake.h"

uint64_t now;
struct supervisor s;

struct sup_fake f;

static int64_t f_initiate(void *arg, uint32_t peer, const struct engine_path *path)
{
	char text[ENDPOINT_STR_MAX];

	(void)arg;
	assert_int_equal(peer, PEER);
	f.initiated++;
	f.last = *path;
	if (strlen(f.endpoints) < 300)
		snprintf(f.endpoints + strlen(f.endpoints),
			 sizeof(f.endpoints) - strlen(f.endpoints), "%s ",
			 endpoint_str(&path->remote, text));
	return ++f.next_ike;
}

static void f_drop(void *arg, uint32_t ike)
{
	(void)arg, (void)ike;
	f.dropped++;
}

static void f_close(void *arg, uint32_t ike)
{
	(void)arg, (void)ike;
	f.closed++;
}

static void f_liveness(void *arg, uint32_t ike)
{
	(void)arg, (void)ike;
	f.asked++;
}

static void f_retransmit(void *arg, uint32_t ike, const struct engine_path *via)
{
	(void)arg, (void)ike;
	if (via) {
		f.via = *via;
		if (f.hopped < 64)
			f.hop_ms[f.hopped] = now;
		f.hopped++;
	} else {
		f.retransmitted++;
	}
}

static void f_set_path(void *arg, uint32_t ike, const struct engine_path *path)
{
	(void)arg, (void)ike;
	f.last = *path;
}

static int f_update(void *arg, uint32_t ike)
{
	(void)arg, (void)ike;
	f.updated += !f.update_error;
	return f.update_error;
}

static bool f_answered(void *arg, uint32_t ike)
{
	(void)arg, (void)ike;
	return f.answered;
}

static int f_resolve(void *arg, uint32_t peer, size_t host, const char *name)
{
	(void)arg, (void)peer;
	assert_string_equal(name, "vps.example.net");
	f.resolves++;
	f.pending_resolve++;
	f.resolve_host = host;
	return 0;
}

static int f_route(void *arg, uint32_t peer, const struct addr *to)
{
	(void)arg, (void)peer;
	f.routes++;
	assert_true(f.pending_route < 16);
	f.route_to[f.pending_route++] = *to;
	return 0;
}

static void f_move(void *arg, uint32_t peer, const struct engine_path *path, bool limited,
		   uint64_t credit)
{
	(void)arg, (void)peer, (void)credit;
	f.moves++;
	f.limited += limited;
	f.moved = *path;
}

static void f_dummy(void *arg, uint32_t peer)
{
	(void)arg, (void)peer;
	f.dummies++;
	f.act.tx_any_ms = now;
}

static void f_nat(void *arg, uint32_t peer)
{
	(void)arg, (void)peer;
	f.nat++;
	f.act.tx_any_ms = now;
}

static void f_activity(void *arg, uint32_t peer, struct sup_activity *a)
{
	(void)arg, (void)peer;
	*a = f.act;
}

static void f_changed(void *arg, uint32_t peer, bool up)
{
	(void)arg, (void)peer;
	f.told++;
	f.up = up;
}

static void f_roamed(void *arg, uint32_t peer, const struct endpoint *from,
		     const struct endpoint *to, const char *why)
{
	(void)arg, (void)peer, (void)from, (void)to, (void)why;
	f.roamed++;
}

static void f_remember(void *arg, uint32_t peer)
{
	(void)arg, (void)peer;
	f.remembered++;
}

static uint32_t f_random(void *arg, uint32_t below)
{
	(void)arg;
	return below / 2;
}

static const struct sup_ops fake = {
	.initiate = f_initiate,
	.drop = f_drop,
	.close = f_close,
	.liveness = f_liveness,
	.retransmit = f_retransmit,
	.set_path = f_set_path,
	.update_addresses = f_update,
	.answered = f_answered,
	.resolve = f_resolve,
	.route = f_route,
	.move = f_move,
	.dummy = f_dummy,
	.nat_keepalive = f_nat,
	.activity = f_activity,
	.changed = f_changed,
	.roamed = f_roamed,
	.remember = f_remember,
	.random = f_random,
};

const struct sup_env env = {
	.ops = &fake,
	.sock_port = { 40000, 40001, 40002 },
	.sock_number = { 0, 2, 3 },
	.sock_family = { AF_INET6, AF_INET6, AF_INET6 },
	.sock_count = 3,
};

struct addr addr(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(text, &a), 0);
	return a;
}

void answer(void)
{
	struct sup_route r = { .ifindex = f.ifindex, .src = addr("192.168.1.2") };

	while (f.pending_resolve > 0) {
		f.pending_resolve--;
		sup_on_resolved(&s, f.resolve_host, f.resolver_ok ? 0 : -EAGAIN, f.resolver,
				f.resolver_ok ? f.resolver_count : 0, now);
	}
	while (f.pending_route > 0) {
		struct addr to = f.route_to[--f.pending_route];

		sup_on_route(&s, &to, f.route_ok ? 0 : -ENETUNREACH, f.route_ok ? &r : NULL, now);
	}
}

void pass(uint64_t ms)
{
	uint64_t until = now + ms;

	for (;;) {
		if (f.auto_answer)
			answer();
		if (sup_due_ms(&s) > until)
			break;
		now = sup_due_ms(&s) > now ? sup_due_ms(&s) : now;
		sup_tick(&s, now);
	}
	now = until;
}

struct sup_config config(enum sup_start start, const char *host)
{
	struct sup_config c = { .peer = PEER,
				.start = start,
				.port = 4500,
				.retry_max_ms = 4000,
				.keepalive_ms = 15000 };

	static struct sup_host one;

	if (!host)
		return c;
	one = (struct sup_host){ 0 };
	c.host = &one;
	c.host_count = 1;
	if (addr_parse(host, &one.addr))
		one.name = host;
	return c;
}

int begin(void **state)
{
	(void)state;
	memset(&f, 0, sizeof(f));
	now = 1000000;
	f.route_ok = f.resolver_ok = f.auto_answer = true;
	f.ifindex = 2;
	f.resolver[0] = addr("198.51.100.1");
	f.resolver_count = 1;
	return 0;
}

int end(void **state)
{
	(void)state;
	sup_clear(&s);
	return 0;
}

void start(enum sup_start how, const char *host)
{
	struct sup_config c = config(how, host);

	sup_init(&s, &env, &c, NULL, now);
}

void ike_comes_up(uint32_t ike, const char *from, bool child)
{
	struct fx fx = { .kind = FX_PEER_UP };

	fx.up.peer = PEER;
	fx.up.ike = ike;
	fx.up.child = child;
	fx.up.postern = true;
	fx.up.mobike = f.mobike;
	fx.up.nat_remote = s.cfg.start == SUP_WAIT;
	fx.up.nat_local = !fx.up.nat_remote;
	fx.up.path = (struct engine_path){ .sock = 0 };
	assert_int_equal(endpoint_parse(from, 4500, &fx.up.path.remote), 0);
	sup_on_fx(&s, &fx, now);
}

void comes_up(uint32_t ike, const char *from)
{
	ike_comes_up(ike, from, true);
}

void reply_from(uint32_t sock, const char *from)
{
	struct fx fx = { .kind = FX_REPLY, .reply.routable = true };

	fx.reply.ike = s.ike;
	fx.reply.path.sock = sock;
	assert_int_equal(endpoint_parse(from, 4500, &fx.reply.path.remote), 0);
	sup_on_fx(&s, &fx, now);
}

void goes_down(uint32_t ike, bool was_up, enum engine_why why)
{
	struct fx fx = { .kind = FX_PEER_DOWN };

	fx.down.ike = ike;
	fx.down.was_up = was_up;
	fx.down.why = why;
	sup_on_fx(&s, &fx, now);
}
