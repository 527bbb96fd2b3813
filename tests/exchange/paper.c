/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "paper.h"
#include "certs.h"
#include "hash.h"
#include "log.h"
#include "prf.h"

struct paper_child *paper_find(struct host *h, uint32_t spi_in)
{
	for (int i = 0; i < CHILDREN_MAX; i++)
		if (h->child[i].used && h->child[i].spi_in == spi_in)
			return &h->child[i];
	return NULL;
}

static int op_spi_alloc(void *arg, uint32_t peer, uint32_t *spi)
{
	struct host *h = arg;

	(void)peer;
	*spi = h->next_spi++;
	h->spis++;
	return 0;
}

static void op_spi_free(void *arg, uint32_t peer, uint32_t spi)
{
	struct host *h = arg;

	(void)peer;
	assert_null(paper_find(h, spi));
	h->spis--;
}

static int op_install(void *arg, enum engine_dir dir, const struct engine_child *c)
{
	struct host *h = arg;
	struct paper_child *p = paper_find(h, c->spi_in);

	assert_int_equal(c->peer, h->peer.id);
	assert_true(c->spi_out >= 256);
	assert_true(c->local_ts_count && c->remote_ts_count);
	assert_true(c->key.len && c->key.len + c->integ_key.len <= 128);
	if (h->install_error && h->install_error_dir == dir) {
		int err = h->install_error;

		h->install_error = 0;
		return err;
	}
	for (int i = 0; !p && i < CHILDREN_MAX; i++)
		if (!h->child[i].used)
			p = &h->child[i];
	assert_non_null(p);
	p->used = true;
	p->spi_in = c->spi_in;
	p->spi_out = c->spi_out;
	p->suite = c->suite;
	p->line = c->line;
	p->soft_bytes = c->soft_bytes;
	p->hard_bytes = c->hard_bytes;
	p->soft_pkts = c->soft_pkts;
	p->hard_pkts = c->hard_pkts;
	*(dir == ENGINE_IN ? &p->in_window : &p->out_window) = c->replay_window;
	p->local.count = c->local_ts_count;
	memcpy(p->local.ts, c->local_ts, c->local_ts_count * sizeof(struct ts));
	p->remote.count = c->remote_ts_count;
	memcpy(p->remote.ts, c->remote_ts, c->remote_ts_count * sizeof(struct ts));
	if (dir == ENGINE_IN) {
		assert_false(p->in);
		p->in = true;
		memcpy(p->in_key, c->key.p, c->key.len);
		if (c->integ_key.len)
			memcpy(p->in_key + c->key.len, c->integ_key.p, c->integ_key.len);
		p->in_key_len = c->key.len + c->integ_key.len;
	} else {
		assert_true(p->in); /* inbound first */
		assert_false(p->out);
		p->out = true;
		p->out_since = ++h->w->clock;
		memcpy(p->out_key, c->key.p, c->key.len);
		if (c->integ_key.len)
			memcpy(p->out_key + c->key.len, c->integ_key.p, c->integ_key.len);
		p->out_key_len = c->key.len + c->integ_key.len;
	}
	return 0;
}

static int op_lease(void *arg, uint32_t peer, bool v4, bool v6, struct addr out[static 2],
		    char *why, size_t cap)
{
	struct host *h = arg;

	assert_int_equal(peer, h->peer.id);
	return h->lease ? h->lease(h, v4, v6, out, why, cap) : -ENOENT;
}

static int64_t op_wall(void *arg)
{
	return ((struct host *)arg)->w->wall_s;
}

static void op_where(void *arg, uint32_t peer, const char *key, char *out, size_t cap)
{
	(void)arg;
	snprintf(out, cap, "conf:%s%s", peer ? "" : "posternd/", key);
}

static void op_random(void *arg, void *p, size_t len)
{
	struct host *h = arg;
	uint8_t *b = p;

	for (size_t i = 0; i < len; i++)
		b[i] = (uint8_t)(world_random(h->w) >> 24);
	if (h->nonce_set && len == NONCE_LEN)
		b[0] = h->nonce_lead;
	if (h->draw)
		h->draw(h, p, len);
}

const struct engine_ops paper_ops = {
	.spi_alloc = op_spi_alloc,
	.spi_free = op_spi_free,
	.child_install = op_install,
	.address_lease = op_lease,
	.wall_s = op_wall,
	.where = op_where,
	.random = op_random,
};

unsigned paper_children(const struct host *h, bool in, bool out)
{
	unsigned n = 0;

	for (int i = 0; i < CHILDREN_MAX; i++)
		n += h->child[i].used && (!in || h->child[i].in) && (!out || h->child[i].out);
	return n;
}

static const struct paper_child *sending(const struct host *h)
{
	const struct paper_child *best = NULL;

	for (int i = 0; i < CHILDREN_MAX; i++) {
		const struct paper_child *p = &h->child[i];

		if (p->used && p->out && (!best || p->out_since > best->out_since))
			best = p;
	}
	return best;
}

bool paper_works(struct world *w, int from)
{
	const struct paper_child *o = sending(&w->host[from]);
	struct paper_child *i = o ? paper_find(&w->host[!from], o->spi_out) : NULL;

	return i && i->in && i->in_key_len == o->out_key_len &&
	       !memcmp(i->in_key, o->out_key, i->in_key_len) &&
	       !memcmp(&i->suite, &o->suite, sizeof(i->suite)) &&
	       ts_list_equal(&i->local, &o->remote) && ts_list_equal(&i->remote, &o->local);
}

static uint64_t key_id(const uint8_t *key, size_t len, const struct esp_suite *suite)
{
	uint64_t h = hash_bytes(key, len) ^ hash_bytes(suite, sizeof(*suite));

	return h ? h : 1;
}

/* Home's packets come from another port than before: the supervisor of the VPS follows. */
static void roam(struct world *w, uint16_t port)
{
	struct host *h = &w->host[VPS];
	struct engine_path path = h->path;
	uint32_t list[16];
	size_t n = engine_peer_ikes(h->e, h->peer.id, list, 16);
	struct engine_ike_info info;

	w->nat_seen = path.remote.port = port;
	for (size_t i = 0; i < n && i < 16; i++)
		if (engine_ike_info(h->e, list[i], &info) && info.path.remote.port != port)
			DO(w, VPS, engine_set_path(e, now, info.ike, &path, fx));
}

/* A packet of the tunnel is there. */
void paper_arrives(struct world *w, const struct flight *f)
{
	struct host *h = &w->host[f->to];
	struct paper_child *p = paper_find(h, f->spi);

	if (!p || !p->in || key_id(p->in_key, p->in_key_len, &p->suite) != f->key) {
		log_debug(NULL, "%s cannot open a packet for %08x", f->to == HOME ? "home" : "vps",
			  f->spi);
		w->unopened++;
		return;
	}
	w->opened++;
	if (f->path.remote.port >= w->nat_seen && w->nat_port && f->to == VPS)
		roam(w, f->path.remote.port);
	p = paper_find(h, f->spi);
	if (!p)
		return;
	if (!p->seen)
		DO(w, f->to,
		   engine_on_child_event(e, now, f->spi, ENGINE_CHILD_FIRST_PACKET, fx));
	p = paper_find(h, f->spi);
	if (p)
		p->seen = true;
}

static bool superseded(const struct host *h, const struct paper_child *p)
{
	for (int i = 0; i < CHILDREN_MAX; i++) {
		const struct paper_child *o = &h->child[i];

		if (o->used && o->out && o->out_since > p->out_since &&
		    ts_list_equal(&o->remote, &p->remote) && ts_list_equal(&o->local, &p->local))
			return true;
	}
	return false;
}

void world_data(struct world *w, int from)
{
	struct host *h = &w->host[from];
	struct engine_path path = w->host[!from].path;
	bool sent = false;

	if (w->nat_port && from == HOME)
		path.remote.port = w->nat_port;

	for (int i = 0; i < CHILDREN_MAX; i++) {
		const struct paper_child *p = &h->child[i];

		if (!p->used || !p->out || superseded(h, p))
			continue;
		sent = true;
		if (w->drop && world_random(w) % 100 < w->drop)
			continue;
		world_fly(w, !from, &path, NULL, 0, world_when(w));
		w->flight[w->flights - 1].spi = p->spi_out;
		w->flight[w->flights - 1].key = key_id(p->out_key, p->out_key_len, &p->suite);
	}
	w->unsent += !sent;
}

void paper_remove_half(struct host *h, const struct fx *f)
{
	struct paper_child *p = paper_find(h, f->child.spi_in);

	assert_non_null(p);
	if (f->kind == FX_CHILD_REMOVE_OUT) {
		assert_true(p->out);
		p->out = false;
		return;
	}
	assert_true(p->in && !p->out);
	h->spis--;
	memset(p, 0, sizeof(*p));
}
