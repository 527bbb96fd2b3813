/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forge.h"
#include "engine_int.h"

struct link *chain_find(struct chain *c, uint8_t type)
{
	for (unsigned i = 0; i < c->n; i++)
		if (c->v[i].type == type)
			return &c->v[i];
	return NULL;
}

struct link *chain_notify(struct chain *c, uint16_t type)
{
	for (unsigned i = 0; i < c->n; i++)
		if (c->v[i].type == PLD_NOTIFY && c->v[i].len >= 4 &&
		    (c->v[i].body[2] << 8 | c->v[i].body[3]) == type)
			return &c->v[i];
	return NULL;
}

void chain_drop(struct chain *c, uint8_t type)
{
	unsigned n = 0;

	for (unsigned i = 0; i < c->n; i++)
		if (c->v[i].type != type)
			c->v[n++] = c->v[i];
	c->n = n;
}

void chain_add(struct chain *c, uint8_t type, const void *body, size_t len)
{
	assert_true(c->n < CHAIN_MAX);
	c->v[c->n++] = (struct link){ type, body, len };
}

size_t chain_write(const struct chain *c, uint8_t *out, size_t cap, uint8_t *first)
{
	struct ike_build b;
	size_t len;

	ike_build_inner(&b, out, cap);
	for (unsigned i = 0; i < c->n; i++) {
		wr_bytes(ike_pld_begin(&b, c->v[i].type), c->v[i].body, c->v[i].len);
		ike_pld_end(&b);
	}
	assert_int_equal(0, ike_build_end(&b, &len));
	*first = b.first;
	return len;
}

struct world *forge_pair(uint64_t seed)
{
	struct world *w = world_new(seed, STYLE_PSK);

	world_up(w);
	EACH_HOST(a)
	w->host[a].never_set_path = true;
	return w;
}

void forge_ends(struct world *w)
{
	world_agree(w);
	world_no_leaks(w);
	world_free(w);
}

struct ike_sa *forge_up(struct world *w, int host)
{
	return sa_by_handle(w->host[host].e, w->host[host].ike);
}

static struct ike_sa *among(struct ike_sa *list, const struct ike_hdr *h)
{
	for (struct ike_sa *sa = list; sa; sa = sa->peer_next)
		if (sa->spi_i == h->spi_i && sa->spi_r == h->spi_r && sa->spi_r)
			return sa;
	return NULL;
}

struct ike_sa *forge_sa(struct world *w, int host, const struct ike_hdr *h)
{
	struct engine *e = w->host[host].e;
	struct ike_sa *sa = among(e->strangers, h);

	for (struct peer_entry *pe = e->peers; pe && !sa; pe = pe->next)
		sa = among(pe->sas, h);
	return sa;
}

struct ike_aead *forge_aead(const struct ike_sa *sa, bool from_initiator)
{
	struct ike_aead *a = from_initiator == sa->initiator ? sa->aead_out : sa->aead_in;

	assert_non_null(a);
	return a;
}

struct ike_hdr forge_hdr(const struct ike_sa *sa, uint8_t exchange, bool response, uint32_t id)
{
	return (struct ike_hdr){ .spi_i = sa->spi_i,
				 .spi_r = sa->spi_r,
				 .version = IKE_VERSION,
				 .exchange = exchange,
				 .flags = (uint8_t)((sa->initiator ? IKE_FLAG_INITIATOR : 0) |
						    (response ? IKE_FLAG_RESPONSE : 0)),
				 .id = id };
}

static void read_chain(struct chain *c, uint8_t type, size_t len)
{
	struct rd r = rd_init(c->bytes, len);

	c->n = 0;
	while (type != PLD_NONE) {
		uint8_t next = rd_u8(&r);
		size_t n;

		rd_skip(&r, 1);
		n = rd_be16(&r);
		assert_true(n >= 4);
		chain_add(c, type, rd_take(&r, n - 4), n - 4);
		assert_false(r.bad);
		type = next;
	}
}

bool forge_open(struct world *w, int from, const uint8_t *bytes, size_t len, struct ike_hdr *h,
		struct chain *c)
{
	static struct ike_msg m;
	struct ike_aead *a;
	struct ike_sa *sa;
	size_t n;
	int err;

	if (ike_msg_parse(bytes, len, &m) || m.sk.type != PLD_SK)
		return false;
	*h = m.hdr;
	sa = forge_sa(w, from, h);
	if (!sa || !sa->aead_in)
		return false;
	a = forge_aead(sa, h->flags & IKE_FLAG_INITIATOR);
	err = sk_open(a, &m, c->bytes, sizeof(c->bytes), &n);
	if (err)
		return false;
	read_chain(c, m.sk.first, n);
	return true;
}

size_t forge_seal(const struct ike_sa *sa, const struct ike_hdr *h, const struct chain *c,
		  uint8_t *out, size_t cap)
{
	static uint8_t plain[FORGE_PLAIN_MAX];
	struct ike_aead *a = forge_aead(sa, h->flags & IKE_FLAG_INITIATOR);
	uint8_t first;
	size_t n = chain_write(c, plain, sizeof(plain), &first), len;

	assert_int_equal(0, sk_seal(a, h, first, plain, n, out, cap, &len));
	return len;
}

void forge_inject(struct world *w, int to, const struct ike_sa *sa, const struct ike_hdr *h,
		  const struct chain *c)
{
	static uint8_t out[FORGE_MSG_MAX];
	size_t len = forge_seal(sa, h, c, out, sizeof(out));

	world_inject(w, to, &w->host[to].path, out, len);
}

bool forge_filter(struct world *w, int to, const struct engine_path *path, uint8_t *bytes,
		  size_t *len)
{
	struct forgery *f = w->filter_arg;
	static uint8_t out[FORGE_MSG_MAX];
	static struct chain c;
	struct ike_hdr h;

	if (to == f->from || !forge_open(w, f->from, bytes, *len, &h, &c))
		return true;
	if (h.exchange != f->exchange || ike_hdr_is_response(&h) != f->response ||
	    !f->edit(w, &c, &h, f->arg))
		return true;
	f->done++;
	world_send(w, to, path, out,
		   forge_seal(forge_sa(w, f->from, &h), &h, &c, out, sizeof(out)));
	return false;
}
