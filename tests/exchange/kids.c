/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kids.h"
#include "message.h"
#include "payload.h"

bool foreign;

void __real_pld_vendor_add(struct ike_build *b, struct span id);
void __wrap_pld_vendor_add(struct ike_build *b, struct span id);
void __wrap_pld_vendor_add(struct ike_build *b, struct span id)
{
	if (!foreign)
		__real_pld_vendor_add(b, id);
}


/* ---- configuration ---- */

static struct engine_ts pool[64];
static unsigned pooled;

/* "10.99.0.1", protocol, port (0: any) */
struct engine_ts *sel(const char *prefix, uint8_t proto, uint16_t port)
{
	struct engine_ts *t = &pool[pooled++ % 64];
	struct prefix p;

	assert_int_equal(0, prefix_parse(prefix, &p));
	*t = (struct engine_ts){ .ts = ts_from_prefix(&p) };
	t->ts.proto = proto;
	if (port)
		t->ts.port_lo = t->ts.port_hi = port;
	return t;
}

struct engine_child_conf conf(uint32_t id, const char *name, const struct engine_ts *local,
				     const struct engine_ts *remote)
{
	return (struct engine_child_conf){ .id = id,
					   .name = name,
					   .local_ts = local,
					   .local_ts_count = 1,
					   .remote_ts = remote,
					   .remote_ts_count = 1,
					   .lifetime_s = 3600 };
}

const char *const own[2] = { "fd99::2", "fd99::1" };

/* The three policies, as host @i sees them. */
void mail_policies(struct world *w, int i)
{
	struct host *h = &w->host[i];
	uint16_t ours = i == HOME ? SMTP : 0, theirs = i == HOME ? 0 : SMTP;

	h->conf[0] = conf(1, "in", sel(own[i], TCP, ours), sel(own[!i], TCP, theirs));
	h->conf[1] = conf(2, "out", sel(own[i], TCP, theirs), sel(own[!i], TCP, ours));
	h->conf[2] = conf(3, "ping", sel(own[i], ICMPV6, 0), sel(own[!i], ICMPV6, 0));
	h->peer.child_count = 3;
	h->peer.request_v4 = h->peer.request_v6 = false;
}

void one_policy(struct world *w, int i)
{
	struct host *h = &w->host[i];

	h->conf[0] = conf(1, "all", sel(own[i], 0, 0), sel(own[!i], 0, 0));
	h->peer.child_count = 1;
	h->peer.request_v4 = h->peer.request_v6 = false;
}

struct world *three_and(void (*vps)(struct world *w, int i))
{
	struct world *w = world_new(1, STYLE_PSK);

	foreign = false;
	mail_policies(w, HOME);
	vps(w, VPS);
	return w;
}

void start(struct world *w)
{
	world_start(w);
	world_call(w, HOME);
	world_run(w, 1000);
}

struct engine_child_conf changed[2][4];

/* Host @i goes over to changed[i], of which the test has altered what it wants to. */
void go_over(struct world *w, int i, size_t count)
{
	static struct engine_peer next[2][2];
	static unsigned turn;
	struct engine_peer *p = &next[i][turn++ % 2];

	*p = w->host[i].peer;
	p->child = changed[i];
	p->child_count = count;
	DO(w, i, assert_int_equal(0, engine_peer_update(e, now, p, fx)));
}

void changed_from(struct world *w)
{
	for (int i = 0; i < 2; i++)
		memcpy(changed[i], w->host[i].conf, sizeof(changed[i]));
}

/* ---- what is there ---- */

/* CHILD SAs of @i that send, each opened by its other half with the same selectors. */
unsigned working(const struct world *w, int i)
{
	unsigned n = 0;

	for (int k = 0; k < CHILDREN_MAX; k++) {
		const struct paper_child *o = &w->host[i].child[k];
		bool found = false;

		if (!o->used || !o->out)
			continue;
		for (int j = 0; j < CHILDREN_MAX; j++) {
			const struct paper_child *p = &w->host[!i].child[j];

			found |= p->used && p->in && p->spi_in == o->spi_out &&
				 p->in_key_len == o->out_key_len &&
				 !memcmp(p->in_key, o->out_key, p->in_key_len) &&
				 ts_list_equal(&p->local, &o->remote) &&
				 ts_list_equal(&p->remote, &o->local);
		}
		assert_true(found);
		n++;
	}
	return n;
}

void expect(const struct world *w, unsigned n)
{
	assert_int_equal(working(w, HOME), n);
	assert_int_equal(working(w, VPS), n);
}

/* The one that sends for a packet: the newest that fits; NULL: none. */
const struct paper_child *way(const struct world *w, int i, uint8_t proto, int sport,
				     int dport)
{
	const struct paper_child *best = NULL;
	struct addr from, to;

	assert_int_equal(0, addr_parse(own[i], &from));
	assert_int_equal(0, addr_parse(own[!i], &to));
	for (int k = 0; k < CHILDREN_MAX; k++) {
		const struct paper_child *p = &w->host[i].child[k];

		if (p->used && p->out && ts_match(&p->local, &from, proto, sport) &&
		    ts_match(&p->remote, &to, proto, dport) &&
		    (!best || p->out_since > best->out_since))
			best = p;
	}
	return best;
}

void mail_passes(const struct world *w, bool each_its_own)
{
	EACH_HOST(a)
	{
		const struct paper_child *in = way(w, a, TCP, SMTP, 40000);
		const struct paper_child *out = way(w, a, TCP, 40000, SMTP);
		const struct paper_child *ping = way(w, a, ICMPV6, 128 << 8, 128 << 8);

		assert_true(in && out && ping);
		assert_true(!each_its_own || (in != out && out != ping && in != ping));
		assert_null(way(w, a, TCP, 40000, 80));
		assert_null(way(w, a, 17, SMTP, SMTP));
	}
}

size_t established(const struct world *w, int i)
{
	struct engine_ike_info info;
	uint32_t list[32];
	size_t n = engine_peer_ikes(w->host[i].e, w->host[i].peer.id, list, 32), up = 0;

	for (size_t k = 0; k < n; k++)
		up += engine_ike_info(w->host[i].e, list[k], &info) && info.established;
	return up;
}

uint32_t spi_of(const struct world *w, int i, uint8_t proto, int sport, int dport)
{
	const struct paper_child *p = way(w, i, proto, sport, dport);

	assert_non_null(p);
	return p->spi_in;
}

void finish(struct world *w)
{
	world_no_leaks(w);
	world_free(w);
}
