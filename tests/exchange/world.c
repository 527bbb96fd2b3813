/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"
#include "certs.h"
#include "log.h"
#include "paper.h"
#include "prf.h"
#include "wire_text.h"

static const char *const names[2] = { "home.example.net", "vps.example.net" };

uint64_t world_random(struct world *w)
{
	w->seed ^= w->seed << 13;
	w->seed ^= w->seed >> 7;
	w->seed ^= w->seed << 17;
	return w->seed;
}

/* ---- the network ---- */

void world_fly(struct world *w, int to, const struct engine_path *path, const uint8_t *bytes,
		size_t len, uint64_t at)
{
	struct flight *f = &w->flight[w->flights++];

	assert_true(w->flights < FLIGHT_MAX);
	f->at_ms = at;
	f->order = ++w->order;
	f->to = to;
	f->path = *path;
	f->len = len;
	f->key = 0;
	f->bytes = malloc(len ? len : 1);
	if (len)
		memcpy(f->bytes, bytes, len);
	f->answer = false;
	f->text[0] = '\0';
	if (w->wire && bytes)
		f->answer = wire_text(w, !to, bytes, len, f->text, sizeof(f->text));
}

uint64_t world_when(struct world *w)
{
	uint64_t d = w->delay_min;

	if (w->delay_max > w->delay_min)
		d += world_random(w) % (w->delay_max - w->delay_min + 1);
	return w->now_ms + d;
}

void world_send(struct world *w, int to, const struct engine_path *path, const uint8_t *bytes,
		size_t len)
{
	world_fly(w, to, path, bytes, len, world_when(w));
}

static void transmit(struct world *w, int from, const struct fx *f)
{
	struct engine_path path = { .sock = f->send.path.sock,
				    .local = f->send.path.remote,
				    .remote = f->send.path.local };
	size_t len = f->send.len;

	if (w->nat_port && from == HOME)
		path.remote.port = w->nat_port;
	w->host[from].sent++;
	if (w->record && fwrite(&(uint16_t){ (uint16_t)len }, 2, 1, w->record) == 1)
		fwrite(f->send.bytes, 1, len, w->record);
	if (w->filter && !w->filter(w, !from, &path, f->send.bytes, &len))
		return;
	if (w->drop && world_random(w) % 100 < w->drop)
		return;
	world_fly(w, !from, &path, f->send.bytes, len, world_when(w));
	if (w->dup && world_random(w) % 100 < w->dup)
		world_fly(w, !from, &path, f->send.bytes, len, world_when(w));
}

static int oldest(const struct world *w, int to)
{
	int best = -1;

	for (unsigned i = 0; i < w->flights; i++) {
		const struct flight *f = &w->flight[i], *b = &w->flight[best < 0 ? 0 : best];

		if ((to < 0 || f->to == to) && (best < 0 || f->at_ms < b->at_ms ||
						(f->at_ms == b->at_ms && f->order < b->order)))
			best = (int)i;
	}
	return best;
}

struct flight world_take(struct world *w, unsigned i)
{
	struct flight f = w->flight[i];

	w->flight[i] = w->flight[--w->flights];
	return f;
}

void world_inject(struct world *w, int to, const struct engine_path *path, const uint8_t *bytes,
		  size_t len)
{
	/* An exact copy on the heap, so that a sanitizer sees a read past the end. */
	uint8_t *copy = malloc(len ? len : 1);

	memcpy(copy, bytes, len);
	DO(w, to, engine_on_datagram(e, now, path, copy, len, fx));
	free(copy);
}

void world_put(struct world *w, struct flight f)
{
	bool lost = w->cut[f.to];

	if (w->nat_port && f.to == HOME && !f.key) {
		lost |= f.path.local.port != w->nat_port;
		f.path.local = w->host[HOME].path.local;
	}
	if (f.key && !lost)
		paper_arrives(w, &f);
	else if (!lost)
		DO(w, f.to, engine_on_datagram(e, now, &f.path, f.bytes, f.len, fx));
	free(f.bytes);
}

bool world_deliver(struct world *w, int to)
{
	int i = oldest(w, to);

	if (i < 0)
		return false;
	world_put(w, world_take(w, (unsigned)i));
	return true;
}

bool world_lose(struct world *w, int to)
{
	int i = oldest(w, to);

	if (i < 0)
		return false;
	free(world_take(w, (unsigned)i).bytes);
	return true;
}

unsigned world_in_flight(const struct world *w, int to)
{
	unsigned n = 0;

	for (unsigned i = 0; i < w->flights; i++)
		n += w->flight[i].to == to;
	return n;
}

static void traffic(struct world *w)
{
	for (int h = 0; w->data && h < 2; h++)
		world_data(w, h);
}

void world_run(struct world *w, uint64_t ms)
{
	uint64_t end = w->now_ms + ms;

	for (;;) {
		int i = oldest(w, -1);
		uint64_t at = i < 0 ? UINT64_MAX : w->flight[i].at_ms, timer = UINT64_MAX;

		for (int h = 0; ms && h < 2; h++) {
			uint64_t t = w->host[h].e ? engine_next_timer_ms(w->host[h].e) : UINT64_MAX;

			timer = t < timer ? t : timer;
		}
		if (at == UINT64_MAX && timer == UINT64_MAX)
			break;
		if (ms && (at < timer ? at : timer) > end)
			break;
		if (at <= timer) {
			bool data = w->flight[i].key;

			w->now_ms = at > w->now_ms ? at : w->now_ms;
			world_put(w, world_take(w, (unsigned)i));
			if (!data)
				traffic(w);
			continue;
		}
		w->now_ms = timer > w->now_ms ? timer : w->now_ms;
		for (int h = 0; h < 2; h++)
			if (w->host[h].e)
				DO(w, h, engine_on_timer(e, now, fx));
		traffic(w);
	}
	if (ms)
		w->now_ms = end;
}

/* ---- the supervisor and the keys process of paper ---- */

static void keys_process(struct world *w, int h, struct fx *f)
{
	struct host *host = &w->host[h];
	uint8_t out[SIG_LEN_MAX];
	struct span octets;
	struct secret none = { (uint8_t[]){ 'x' }, 1 };
	size_t len = 0;

	if (w->before_keys)
		w->before_keys(w, h, f);
	if (host->keys_dead)
		return;
	octets = (struct span){ f->auth.octets, f->auth.len };
	if (f->auth.op == FX_AUTH_SIGN)
		assert_int_equal(
		    0, sig_make(host->key, f->auth.scheme, octets, out, sizeof(out), &len));
	else
		assert_int_equal(0, auth_psk(f->auth.prf, f->auth.key_ref ? &host->psk : &none,
					     octets, out, &len));
	if (host->keys_fail)
		len = 0;
	DO(w, h, engine_on_auth_result(e, now, f->auth.token, len ? out : NULL, len, fx));
}

/* The one that was up last is gone; perhaps another is up. */
static void other_ike(struct host *h)
{
	struct engine_ike_info i;
	uint32_t list[16];
	size_t n = engine_peer_ikes(h->e, h->peer.id, list, 16);

	for (size_t k = 0; k < n && k < 16; k++)
		if (engine_ike_info(h->e, list[k], &i) && i.established)
			h->ike = list[k];
}

static void apply_one(struct world *w, int i, struct fx *f)
{
	struct host *h = &w->host[i];

	switch (f->kind) {
	case FX_SEND:
		transmit(w, i, f);
		break;
	case FX_AUTH:
		keys_process(w, i, f);
		break;
	case FX_CHILD_REMOVE_IN:
	case FX_CHILD_REMOVE_OUT:
		paper_remove_half(h, f);
		break;
	case FX_PEER_UP:
		h->up++;
		h->ike = f->up.ike;
		h->last_up = *f;
		break;
	case FX_PEER_DOWN:
		h->down++;
		h->last_down = *f;
		if (f->down.ike == h->ike)
			other_ike(h);
		break;
	case FX_CHILD_UP:
		h->child_up++;
		break;
	case FX_CHILD_REKEYED:
		h->child_rekeyed++;
		break;
	case FX_CHILD_DOWN:
		h->child_down++;
		break;
	case FX_IKE_REKEYED:
		h->ike_rekeyed++;
		if (h->ike == f->rekeyed.old_ike)
			h->ike = f->rekeyed.new_ike;
		break;
	case FX_ADDRESSES:
		h->last_addresses = *f;
		break;
	case FX_REPLY:
		h->replies++;
		h->last_reply = *f;
		if (!h->never_set_path)
			DO(w, i, engine_set_path(e, now, f->reply.ike, &f->reply.path, fx));
		break;
	case FX_REQUEST_FROM:
		h->from_other_path++;
		h->last_from = *f;
		if (!h->never_set_path && !h->last_up.up.mobike) /* RFC 4555 s3.8 */
			DO(w, i, engine_set_path(e, now, f->reply.ike, &f->reply.path, fx));
		break;
	case FX_UPDATE:
		h->updates++;
		h->last_update = *f;
		break;
	case FX_UPDATED:
		h->updated++;
		h->last_updated = *f;
		break;
	case FX_NAT_CHANGED:
		h->nat_changed++;
		break;
	case FX_PEER_ADDRESSES:
		h->last_others = *f;
		break;
	case FX_HINT:
		h->hints++;
		h->last_hint = *f;
		break;
	case FX_UNANSWERED:
		h->unanswered++;
		break;
	case FX_FAILED:
		h->failed++;
		h->last_failed = *f;
		break;
	case FX_REDIRECT:
		h->redirects++;
		h->last_redirect = *f;
		break;
	case FX_PRIVATE:
		h->private_count++;
		h->last_private = *f;
		if (f->private_notify.len <= sizeof(h->private_bytes))
			memcpy(h->private_bytes, f->private_notify.bytes, f->private_notify.len);
		break;
	}
}

void world_apply(struct world *w, int host, struct fx_list *fx)
{
	assert_false(fx->lost);
	for (size_t i = 0; i < fx->count; i++)
		apply_one(w, host, &fx->v[i]);
	fx_list_free(fx);
}

/* ---- configuration ---- */

static struct addr address(const char *s)
{
	struct addr a;

	assert_int_equal(0, addr_parse(s, &a));
	return a;
}

static struct engine_ts selector(const char *s)
{
	struct prefix p;

	assert_int_equal(0, prefix_parse(s, &p));
	return (struct engine_ts){ .ts = ts_from_prefix(&p) };
}

static void assigned_ts(struct engine_ts ts[static 2])
{
	ts[0] = selector("0.0.0.0/0");
	ts[1] = selector("::/0");
	ts[0].assigned = ts[1].assigned = true;
}

static void set_auth(struct host *h, enum auth_style style)
{
	struct engine_peer *p = &h->peer;
	struct secret pem = { 0 };
	char pub[2048];

	p->local_auth.key_ref = 1;
	if (style == STYLE_PSK) {
		p->local_auth.kind = ENGINE_AUTH_PSK;
		p->remote_auth.kind = ENGINE_AUTH_PSK;
		p->remote_auth.psk_ref = 1;
		secret_set(&h->psk, "correct horse battery staple", 28);
		return;
	}
	if (style == STYLE_RAW) {
		assert_int_equal(0, key_generate(KEY_ED25519, &pem, pub, sizeof(pub)));
		assert_int_equal(0, privkey_load(&pem, &h->key));
		secret_clear(&pem);
		p->local_auth.kind = ENGINE_AUTH_RAW;
		p->remote_auth.kind = ENGINE_AUTH_RAW;
	} else {
		test_cert_load(style - STYLE_CERT_ED25519, h->index, &h->key, h->chain,
			       &p->local_auth.chain_count, &p->remote_auth.ca);
		p->local_auth.kind = ENGINE_AUTH_CERT;
		p->local_auth.chain = h->chain;
		p->remote_auth.kind = ENGINE_AUTH_CERT;
	}
	assert_int_equal(0, privkey_public(h->key, &h->pub));
	p->local_auth.key_type = privkey_type(h->key);
}

static void set_host(struct world *w, int i, enum auth_style style)
{
	struct host *h = &w->host[i];
	struct engine_peer *p = &h->peer;

	h->w = w;
	h->index = i;
	h->next_spi = 0x1000u * (unsigned)(i + 1);
	p->id = 7 + (uint32_t)i;
	p->name = i == HOME ? "vps" : "home";
	p->local_id = (struct engine_id){ ID_FQDN, (const uint8_t *)names[i], strlen(names[i]) };
	p->remote_id = (struct engine_id){ ID_FQDN, (const uint8_t *)names[!i], strlen(names[!i]) };
	proposals_default_ike(&h->ike_ps, true);
	proposals_default_esp(&h->esp_ps, true, true);
	p->ike = &h->ike_ps;
	p->esp = &h->esp_ps;
	p->child = h->conf;
	p->child_count = 1;
	h->conf[0] = (struct engine_child_conf){ .id = 1,
						 .name = p->name,
						 .local_ts = h->local_ts,
						 .local_ts_count = 2,
						 .remote_ts = h->remote_ts,
						 .remote_ts_count = 2,
						 .lifetime_s = 3600 };
	p->lifetime.ike_s = 14400;
	if (i == HOME) {
		p->request_v4 = p->request_v6 = true;
		assigned_ts(h->local_ts);
		h->remote_ts[0] = selector("10.99.0.1");
		h->remote_ts[1] = selector("fd99::1");
	} else {
		p->accept = true;
		assigned_ts(h->remote_ts);
		h->local_ts[0] = selector("10.99.0.1");
		h->local_ts[1] = selector("fd99::1");
		h->assign[0] = address("10.99.0.2");
		h->assign[1] = address("fd99::2");
		p->assign = h->assign;
		p->assign_count = 2;
	}
	h->path.sock = 3;
	endpoint_parse(i == HOME ? "10.0.0.2:40000" : "192.0.2.1:4500", 0, &h->path.local);
	endpoint_parse(i == HOME ? "192.0.2.1:4500" : "10.0.0.2:40000", 0, &h->path.remote);
	set_auth(h, style);
}

struct world *world_new(uint64_t seed, enum auth_style style)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->seed = seed * 0x9e3779b97f4a7c15ull + 1;
	w->now_ms = w->start_ms = 1000000;
	w->wall_s = TEST_CERT_NOW;
	w->delay_min = w->delay_max = 10;
	for (int i = 0; i < 2; i++)
		set_host(w, i, style);
	if (style == STYLE_RAW)
		for (int i = 0; i < 2; i++) {
			w->host[i].other_pub[0] = w->host[!i].pub;
			w->host[i].peer.remote_auth.public_key = w->host[i].other_pub;
			w->host[i].peer.remote_auth.public_key_count = 1;
		}
	return w;
}

void world_even(struct world *w)
{
	static const char *const lan[2] = { "10.1.0.0/16", "10.2.0.0/16" };

	for (int i = 0; i < 2; i++) {
		struct host *h = &w->host[i];

		h->peer.accept = true;
		h->peer.request_v4 = h->peer.request_v6 = false;
		h->peer.assign_count = 0;
		h->local_ts[0] = selector(lan[i]);
		h->remote_ts[0] = selector(lan[!i]);
		h->conf[0].local_ts_count = h->conf[0].remote_ts_count = 1;
	}
}

static void start_one(struct world *w, int i)
{
	static const uint8_t qcd[2][ENGINE_QCD_LEN] = { "on home's disk", "on the VPS's disk" };
	struct engine_config cfg = { .ops = &paper_ops,
				     .arg = &w->host[i],
				     .built_s = TEST_CERT_NOW - 86400 * 100,
				     .qcd_secret = qcd[i] };

	w->host[i].e = engine_new(&cfg);
	assert_non_null(w->host[i].e);
	DO(w, i, assert_int_equal(0, engine_peer_update(e, now, &w->host[i].peer, fx)));
}

void world_start(struct world *w)
{
	for (int i = 0; i < 2; i++)
		start_one(w, i);
}

void world_restart(struct world *w, int i)
{
	engine_free(w->host[i].e);
	memset(w->host[i].child, 0, sizeof(w->host[i].child));
	w->host[i].spis = 0;
	w->host[i].ike = 0;
	start_one(w, i);
}

void world_free(struct world *w)
{
	while (w->flights)
		free(world_take(w, 0).bytes);
	for (int i = 0; i < 2; i++) {
		struct host *h = &w->host[i];

		engine_free(h->e);
		secret_clear(&h->psk);
		privkey_free(h->key);
		pubkey_free(h->pub);
		for (size_t k = 0; k < h->peer.local_auth.chain_count; k++)
			cert_free(h->chain[k]);
		ca_store_free((struct ca_store *)(uintptr_t)h->peer.remote_auth.ca);
	}
	free(w);
}

void world_call(struct world *w, int i)
{
	DO(w, i,
	   assert_true(engine_initiate(e, now, w->host[i].peer.id, &w->host[i].path, fx) > 0));
}

void world_up(struct world *w)
{
	world_start(w);
	world_call(w, HOME);
	world_run(w, 0);
	world_agree(w);
}

static unsigned usable(const struct host *h, size_t *ikes)
{
	uint32_t list[16];
	size_t n = engine_peer_ikes(h->e, h->peer.id, list, 16);
	struct engine_ike_info info;
	unsigned children = 0;

	*ikes = 0;
	for (size_t i = 0; i < n && i < 16; i++) {
		engine_ike_info(h->e, list[i], &info);
		if (!info.established)
			continue;
		++*ikes;
		children += (unsigned)info.child_count;
	}
	return children;
}

bool world_agrees(struct world *w, const char **why)
{
	for (int i = 0; i < 2; i++) {
		size_t ikes;
		unsigned n = usable(&w->host[i], &ikes);

		*why = ikes == 1 ? n == 1 ? NULL
				   : n	  ? "more than one CHILD SA"
					  : "no CHILD SA"
		       : ikes	 ? "more than one IKE SA"
				 : "no IKE SA";
		if (*why)
			return false;
	}
	*why = "keys or selectors differ";
	return paper_works(w, HOME) && paper_works(w, VPS);
}

void world_agree(struct world *w)
{
	const char *why = NULL;

	if (!world_agrees(w, &why))
		fail_msg("%s", why);
}

void world_no_leaks(struct world *w)
{
	w->drop = w->dup = 0;
	w->filter = NULL;
	for (int i = 0; i < 2; i++)
		DO(w, i, engine_delete_all(e, now, fx));
	world_run(w, 60000);
	for (int i = 0; i < 2; i++) {
		struct engine_counters n;

		engine_counters_get(w->host[i].e, &n);
		assert_int_equal(n.ike_sas, 0);
		assert_int_equal(n.child_sas, 0);
		assert_int_equal(n.half_open, 0);
		assert_int_equal(w->host[i].spis, 0);
		assert_int_equal(paper_children(&w->host[i], false, false), 0);
		assert_true(engine_next_timer_ms(w->host[i].e) == UINT64_MAX);
	}
}
