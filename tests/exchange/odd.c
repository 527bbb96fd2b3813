/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forge.h"
#include "odd.h"

void odd_begin(struct odd *f, const struct ike_hdr *h)
{
	ike_build_begin(&f->b, f->buf, sizeof(f->buf), h);
}

void odd_init(struct odd *f, uint64_t spi_i)
{
	odd_begin(f, &(struct ike_hdr){
			 .spi_i = spi_i, .exchange = IKE_SA_INIT, .flags = IKE_FLAG_INITIATOR });
}

void odd_inner(struct odd *f)
{
	ike_build_inner(&f->b, f->buf, sizeof(f->buf));
}

void odd_payload(struct odd *f, uint8_t type, uint8_t flags, const void *body, size_t len)
{
	struct wr *w = ike_pld_begin(&f->b, type);

	wr_bytes(w, body, len);
	if (!w->bad)
		w->base[f->b.len_at - 1] = flags;
	ike_pld_end(&f->b);
}

void odd_sa(struct odd *f)
{
	struct proposals *ps = calloc(1, sizeof(*ps));

	assert_non_null(ps);
	proposals_default_ike(ps, true);
	sa_add(&f->b, ps);
	free(ps);
}

void odd_ke(struct odd *f)
{
	/* The base point of RFC 7748 s4.1 is as good as any. */
	static const uint8_t nine[32] = { 9 };

	pld_ke_add(&f->b, KE_CURVE25519, (struct span){ nine, sizeof(nine) });
}

void odd_nonce(struct odd *f, size_t len)
{
	static const uint8_t bytes[300] = { 7 };

	assert_true(len <= sizeof(bytes));
	odd_payload(f, PLD_NONCE, 0, bytes, len);
}

void odd_rest(struct odd *f)
{
	odd_sa(f);
	odd_ke(f);
	odd_nonce(f, 32);
}

void odd_choice(struct odd *f)
{
	struct proposals *ps = calloc(1, sizeof(*ps));
	struct sa_choice c;

	assert_non_null(ps);
	proposals_default_ike(ps, true);
	assert_int_equal(0, sa_choose(ps, ps, KE_CURVE25519, false, &c));
	sa_add_choice(&f->b, &c, NULL, 0);
	free(ps);
}

void odd_esp(struct odd *f)
{
	struct proposals *ps = calloc(1, sizeof(*ps));

	assert_non_null(ps);
	proposals_default_esp(ps, true, false);
	proposals_set_spi(ps, "\x77\0\0\1", 4);
	sa_add(&f->b, ps);
	free(ps);
}

void odd_ts(struct odd *f)
{
	struct ts_list *l = calloc(1, sizeof(*l));
	struct prefix p;

	assert_non_null(l);
	prefix_parse("10.99.0.2", &p);
	l->count = 1;
	l->ts[0] = ts_from_prefix(&p);
	ts_add(&f->b, PLD_TSI, l);
	prefix_parse("10.99.0.1", &p);
	l->ts[0] = ts_from_prefix(&p);
	ts_add(&f->b, PLD_TSR, l);
	free(l);
}

void odd_end(struct odd *f)
{
	assert_int_equal(0, ike_build_end(&f->b, &f->len));
}

void odd_inject(struct world *w, int to, const struct engine_path *path, const struct odd *f)
{
	world_inject(w, to, path, f->buf, f->len);
}

struct engine_path odd_stranger(unsigned i)
{
	struct engine_path p = { .sock = 3 };

	endpoint_parse("192.0.2.1:4500", 0, &p.local);
	endpoint_parse("198.51.100.1:1024", 0, &p.remote);
	p.remote.addr.b[2] = (uint8_t)(i >> 8);
	p.remote.addr.b[3] = (uint8_t)i;
	p.remote.port = (uint16_t)(1024 + i % 60000);
	return p;
}

/* ---- protected ---- */

struct ike_sa *odd_sa_of(struct world *w, int host)
{
	struct ike_sa *sa = sa_by_handle(w->host[host].e, w->host[host].ike);

	assert_non_null(sa);
	return sa;
}

void odd_seal(struct world *w, int from, struct ike_hdr h, struct odd *f)
{
	struct ike_sa *sa = odd_sa_of(w, from);
	static uint8_t out[ENGINE_MSG_MAX + 256];
	size_t n;

	odd_end(f);
	h.spi_i = sa->spi_i;
	h.spi_r = sa->spi_r;
	assert_int_equal(
	    0, sk_seal(sa->aead_out, &h, f->b.first, f->buf, f->len, out, sizeof(out), &n));
	world_inject(w, !from, &w->host[!from].path, out, n);
}

void odd_request(struct world *w, int from, uint8_t exchange, struct odd *f)
{
	struct ike_hdr h = { .exchange = exchange,
			     .flags = odd_sa_of(w, from)->initiator ? IKE_FLAG_INITIATOR : 0,
			     .id = odd_sa_of(w, !from)->win.next_in };

	odd_seal(w, from, h, f);
}

void odd_response(struct world *w, int from, struct odd *f)
{
	const struct ike_sa *asks = odd_sa_of(w, !from);
	struct ike_hdr h = { .exchange = asks->out.exchange,
			     .flags = IKE_FLAG_RESPONSE,
			     .id = asks->win.next_out };

	assert_true(asks->win.outstanding);
	if (odd_sa_of(w, from)->initiator)
		h.flags |= IKE_FLAG_INITIATOR;
	odd_seal(w, from, h, f);
}

static unsigned the_one(const struct world *w, int to)
{
	unsigned i = 0;

	assert_int_equal(world_in_flight(w, to), 1);
	while (w->flight[i].to != to)
		i++;
	return i;
}

const struct ike_msg *odd_answer(struct world *w, int to, const struct ike_sa *sa)
{
	static uint8_t bytes[IKE_MSG_MAX], plain[IKE_MSG_MAX];
	static struct ike_msg m;
	struct flight *f;
	size_t n;

	if (!world_in_flight(w, to))
		return NULL;
	f = &w->flight[the_one(w, to)];
	n = f->len;
	memcpy(bytes, f->bytes, n);
	world_lose(w, to);
	assert_int_equal(0, ike_msg_parse(bytes, n, &m));
	assert_int_equal(m.sk.type, sa ? PLD_SK : PLD_NONE);
	if (sa) {
		assert_int_equal(0, sk_open(sa->aead_in, &m, plain, sizeof(plain), &n));
		assert_int_equal(0, ike_msg_parse_inner(&m, m.sk.first, plain, n));
	}
	return &m;
}

bool odd_notify_only(const struct ike_msg *m, uint16_t type)
{
	return m && m->n_payloads == 1 && m->n_notifies == 1 && m->notifies[0].type == type;
}

void odd_keep(struct odd *f, uint8_t type, uint8_t flags, struct span body, const void *arg)
{
	(void)arg;
	if (type)
		odd_payload(f, type, flags, body.p, body.len);
}

void odd_change(struct world *w, int to, const struct ike_sa *sa, odd_edit edit, const void *arg)
{
	struct flight *fl = &w->flight[the_one(w, to)];
	struct odd *f = malloc(sizeof(*f));
	uint8_t *plain = malloc(IKE_MSG_MAX);
	struct ike_aead *a = forge_aead(sa, sa->initiator);
	struct ike_msg *m = calloc(1, sizeof(*m));
	struct ike_hdr h;
	struct rd r;
	uint8_t type;
	size_t n;

	assert_true(f && plain && m);
	assert_int_equal(0, ike_msg_parse(fl->bytes, fl->len, m));
	assert_int_equal(PLD_SK, m->sk.type);
	assert_int_equal(0, sk_open(a, m, plain, IKE_MSG_MAX, &n));
	h = m->hdr;
	type = m->sk.first;
	odd_inner(f);
	for (r = rd_init(plain, n); type != PLD_NONE;) {
		uint8_t next = rd_u8(&r), flags = rd_u8(&r);
		size_t len = rd_be16(&r) - IKE_PLD_HDR_LEN;

		edit(f, type, flags, (struct span){ rd_take(&r, len), len }, arg);
		type = next;
	}
	assert_false(r.bad);
	edit(f, PLD_NONE, 0, (struct span){ NULL, 0 }, arg);
	odd_end(f);
	free(fl->bytes);
	fl->bytes = malloc(IKE_MSG_MAX);
	assert_non_null(fl->bytes);
	assert_int_equal(
	    0, sk_seal(a, &h, f->b.first, f->buf, f->len, fl->bytes, IKE_MSG_MAX, &fl->len));
	free(plain);
	free(m);
	free(f);
}

struct ike_sa *odd_candidate(struct world *w, int host)
{
	for (struct ike_sa *sa = w->host[host].e->peers->sas; sa; sa = sa->peer_next)
		if (sa->caller)
			return sa;
	fail_msg("no candidate");
	return NULL;
}

uint64_t odd_calling(struct world *w)
{
	for (struct ike_sa *sa = w->host[HOME].e->peers->sas; sa; sa = sa->peer_next)
		if (sa->state == SA_CALLING)
			return sa->spi_i;
	fail_msg("no call");
	return 0;
}

void odd_until_auth(struct world *w)
{
	world_start(w);
	world_call(w, HOME);
	assert_true(world_deliver(w, VPS));
	assert_true(world_deliver(w, HOME));
	assert_int_equal(w->flights, 1);
	assert_int_equal(w->flight[0].to, VPS);
}
