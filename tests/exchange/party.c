/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "party.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "prf.h"

#define NAME_LEN 18 /* h00000.example.net */

/* What a party shares among its peers. */
struct party_more {
	struct proposals ike, esp;
	struct engine_ts here[1];
	struct engine_ts *homes; /* server: what lies behind each */
	struct engine_child_conf *children;
	char (*names)[NAME_LEN + 1];
	struct secret psk;
	struct privkey **key; /* one, or CERT homes: one each */
	uint32_t keys;
	struct pubkey *theirs;
	struct cert *(*chain)[CERT_CHAIN_MAX];
	struct ca_store *ca;
};

static const char vps[] = "vps.example.net";

/* ---- data plane and keys ---- */

static int op_spi_alloc(void *arg, uint32_t peer, uint32_t *spi)
{
	struct party *p = arg;

	(void)peer;
	if (p->next_spi < 4096)
		p->next_spi = 4096;
	*spi = p->next_spi++;
	return 0;
}

static void op_spi_free(void *arg, uint32_t peer, uint32_t spi)
{
	(void)arg, (void)peer, (void)spi;
}

static int op_install(void *arg, enum engine_dir dir, const struct engine_child *c)
{
	struct party *p = arg;
	struct party_home *h = &p->home[c->peer - 1];

	if (dir != ENGINE_OUT || c->key.len > sizeof(h->key))
		return 0;
	h->spi_out = c->spi_out;
	h->seq = 0;
	h->suite = c->suite;
	memcpy(h->key, c->key.p, c->key.len);
	return 0;
}

static void op_random(void *arg, void *out, size_t len)
{
	struct party *p = arg;
	uint8_t *b = out;

	if (!p->c.seed) {
		if (secret_random(out, len))
			abort();
		return;
	}
	for (size_t i = 0; i < len; i++) {
		p->c.seed ^= p->c.seed << 13;
		p->c.seed ^= p->c.seed >> 7;
		p->c.seed ^= p->c.seed << 17;
		b[i] = (uint8_t)(p->c.seed >> 24);
	}
}

static const struct engine_ops ops = {
	.spi_alloc = op_spi_alloc,
	.spi_free = op_spi_free,
	.child_install = op_install,
	.random = op_random,
};

static void keys_process(struct party *p, uint64_t now_ms, const struct fx *f)
{
	const struct span octets = { f->auth.octets, f->auth.len };
	struct party_more *m = p->more;
	struct fx_list fx = { 0 };
	uint8_t out[SIG_LEN_MAX];
	size_t len = 0;

	if (f->auth.op == FX_AUTH_PSK_MAC)
		auth_psk(f->auth.prf, &m->psk, octets, out, &len);
	else
		sig_make(m->key[m->keys > 1 ? f->auth.key_ref - 1 : 0], f->auth.scheme, octets, out,
			 sizeof(out), &len);
	engine_on_auth_result(p->e, now_ms, f->auth.token, out, len, &fx);
	party_apply(p, now_ms, &fx);
}

static void set_path(struct party *p, uint64_t now_ms, uint32_t peer, uint32_t ike,
		     const struct engine_path *path)
{
	struct fx_list fx = { 0 };

	p->home[peer - 1].path = *path;
	engine_set_path(p->e, now_ms, ike, path, &fx);
	party_apply(p, now_ms, &fx);
}

static void on_up(struct party *p, uint64_t now_ms, const struct fx *f)
{
	struct party_home *h = &p->home[f->up.peer - 1];

	p->up += !h->ike;
	p->ups++;
	h->ike = f->up.ike;
	h->up_ms = now_ms;
	h->tries = 0;
}

static void on_down(struct party *p, const struct fx *f)
{
	struct party_home *h = &p->home[f->down.peer - 1];

	p->downs += f->down.was_up;
	if (h->ike != f->down.ike)
		return;
	h->ike = 0;
	p->up--;
}

static void apply_one(struct party *p, uint64_t now_ms, struct fx *f)
{
	switch (f->kind) {
	case FX_SEND:
		p->c.send(p->c.arg, p, &f->send.path, f->send.bytes, f->send.len);
		break;
	case FX_AUTH:
		keys_process(p, now_ms, f);
		break;
	case FX_PEER_UP:
		on_up(p, now_ms, f);
		break;
	case FX_PEER_DOWN:
		on_down(p, f);
		break;
	case FX_IKE_REKEYED:
		p->home[f->rekeyed.peer - 1].ike = f->rekeyed.new_ike;
		break;
	case FX_CHILD_UP:
		p->child_ups++;
		break;
	case FX_FAILED:
		p->failed++;
		break;
	case FX_UNANSWERED:
		if (f->unanswered.peer)
			p->home[f->unanswered.peer - 1].tries = f->unanswered.tries;
		break;
	case FX_REPLY:
		p->home[f->reply.peer - 1].tries = 0;
		if (p->c.server)
			set_path(p, now_ms, f->reply.peer, f->reply.ike, &f->reply.path);
		break;
	case FX_REQUEST_FROM:
		set_path(p, now_ms, f->reply.peer, f->reply.ike, &f->reply.path);
		break;
	default:
		break;
	}
}

void party_apply(struct party *p, uint64_t now_ms, struct fx_list *fx)
{
	for (size_t i = 0; i < fx->count; i++)
		apply_one(p, now_ms, &fx->v[i]);
	fx_list_free(fx);
}

void party_datagram(struct party *p, uint64_t now_ms, const struct engine_path *path,
		    const uint8_t *bytes, size_t len)
{
	struct fx_list fx = { 0 };

	engine_on_datagram(p->e, now_ms, path, bytes, len, &fx);
	party_apply(p, now_ms, &fx);
}

void party_timer(struct party *p, uint64_t now_ms)
{
	struct fx_list fx = { 0 };

	if (engine_next_timer_ms(p->e) > now_ms)
		return;
	engine_on_timer(p->e, now_ms, &fx);
	party_apply(p, now_ms, &fx);
}

int party_call(struct party *p, uint64_t now_ms, uint32_t home, const struct engine_path *path)
{
	struct fx_list fx = { 0 };
	int64_t rc;

	p->home[home].path = *path;
	p->home[home].call_ms = now_ms;
	rc = engine_initiate(p->e, now_ms, home + 1, path, &fx);
	party_apply(p, now_ms, &fx);
	return rc < 0 ? (int)rc : 0;
}

/* ---- configuration ---- */

static struct engine_ts net(uint32_t addr, unsigned bits)
{
	struct prefix x = { .addr.family = AF_INET, .len = (uint8_t)bits };

	for (int i = 0; i < 4; i++)
		x.addr.b[i] = (uint8_t)(addr >> (24 - 8 * i));
	return (struct engine_ts){ .ts = ts_from_prefix(&x) };
}

static int slurp(const char *dir, const char *name, const char *end, struct secret *out)
{
	char path[512], text[8192];
	size_t n;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s%s", dir, name, end);
	f = fopen(path, "r");
	if (!f) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -errno;
	}
	n = fread(text, 1, sizeof(text), f);
	fclose(f);
	return secret_set(out, text, n);
}

static int load_private(const char *dir, const char *name, struct privkey **key)
{
	struct secret text = { 0 };
	int err = slurp(dir, name, ".key", &text);

	if (!err)
		err = privkey_load(&text, key);
	secret_clear(&text);
	return err;
}

/* Both sides have this one. */
static int made_key(struct privkey **key)
{
	static struct secret pem;
	char pub[2048];
	int err = pem.len ? 0 : key_generate(KEY_ED25519, &pem, pub, sizeof(pub));

	return err ? err : privkey_load(&pem, key);
}

static int load_raw(struct party *p)
{
	const char *us = p->c.server ? "vps" : "home", *them = p->c.server ? "home" : "vps";
	struct party_more *m = p->more;
	struct secret text = { 0 };
	int err;

	m->keys = 1;
	if (!p->c.keys) {
		err = made_key(&m->key[0]);
		return err ? err : privkey_public(m->key[0], &m->theirs);
	}
	err = load_private(p->c.keys, us, &m->key[0]);
	if (!err)
		err = slurp(p->c.keys, them, ".pub", &text);
	if (!err)
		err = pubkey_load(text.data, text.len, &m->theirs);
	secret_clear(&text);
	return err;
}

static int load_certs(struct party *p)
{
	struct party_more *m = p->more;
	struct secret text = { 0 };
	int err = slurp(p->c.keys, "ca", ".crt", &text);
	char name[8];
	size_t n;

	if (!err)
		err = ca_store_new((char *)text.data, text.len, &m->ca);
	m->keys = p->c.homes;
	for (uint32_t i = 0; !err && i < p->c.homes; i++) {
		snprintf(name, sizeof(name), "h%05u", i % 100000);
		err = load_private(p->c.keys, name, &m->key[i]);
		if (!err)
			err = slurp(p->c.keys, name, ".crt", &text);
		if (!err)
			err = cert_chain_load((char *)text.data, text.len, m->chain[i], &n);
		p->peer[i].local_auth.chain = m->chain[i];
		p->peer[i].local_auth.chain_count = n;
	}
	secret_clear(&text);
	return err;
}

static void set_auth(struct party *p, uint32_t i)
{
	static const enum engine_auth_kind kinds[] = { ENGINE_AUTH_PSK, ENGINE_AUTH_RAW,
						       ENGINE_AUTH_CERT };
	struct engine_peer *q = &p->peer[i];
	struct party_more *m = p->more;

	q->local_auth.kind = q->remote_auth.kind = kinds[p->c.style];
	q->local_auth.key_ref = i + 1;
	q->remote_auth.psk_ref = i + 1;
	if (p->c.style == PARTY_PSK)
		return;
	q->local_auth.key_type = privkey_type(m->key[m->keys > 1 ? i : 0]);
	q->remote_auth.public_key = &m->theirs;
	q->remote_auth.public_key_count = m->theirs ? 1 : 0;
	q->remote_auth.ca = m->ca;
}

static void set_peer(struct party *p, uint32_t i)
{
	struct engine_peer *q = &p->peer[i];
	struct party_more *m = p->more;
	struct engine_id home = { ID_FQDN, (uint8_t *)m->names[i], NAME_LEN };
	struct engine_id server = { ID_FQDN, (const uint8_t *)vps, sizeof(vps) - 1 };

	snprintf(m->names[i], sizeof(m->names[i]), "h%05u.example.net", i % 100000);
	q->id = i + 1;
	q->name = m->names[i];
	q->local_id = p->c.server ? server : home;
	q->remote_id = p->c.server ? home : server;
	q->ike = &m->ike;
	q->esp = &m->esp;
	q->child_count = 1;
	q->lifetime.ike_s = 14400;
	q->accept = true;
	m->homes[i] = net((10u << 24 | 100u << 16) + i + 2, 32);
	m->children[i] =
	    (struct engine_child_conf){ .id = 1,
					.name = q->name,
					.local_ts = p->c.server ? m->here : &m->homes[i],
					.local_ts_count = 1,
					.remote_ts = p->c.server ? &m->homes[i] : m->here,
					.remote_ts_count = 1,
					.lifetime_s = 3600 };
	q->child = &m->children[i];
	set_auth(p, i);
}

static int fill(struct party *p)
{
	struct engine_config cfg = { .ops = &ops,
				     .arg = p,
				     .half_open_cookie_from = p->c.half_open_cookie_from,
				     .half_open_max = p->c.half_open_max,
				     .half_open_per_prefix = p->c.half_open_per_prefix };
	struct party_more *m = p->more;
	struct fx_list fx = { 0 };
	uint32_t n = p->c.homes;
	int err = 0;

	p->peer = calloc(n, sizeof(*p->peer));
	p->home = calloc(n, sizeof(*p->home));
	m->homes = calloc(n, sizeof(*m->homes));
	m->children = calloc(n, sizeof(*m->children));
	m->names = calloc(n, sizeof(*m->names));
	m->key = calloc(n, sizeof(*m->key));
	m->chain = calloc(n, sizeof(*m->chain));
	p->e = engine_new(&cfg);
	if (!p->peer || !p->home || !m->homes || !m->children || !m->names || !m->key ||
	    !m->chain || !p->e)
		return -ENOMEM;
	proposals_default_ike(&m->ike, true);
	proposals_default_esp(&m->esp, true, true);
	m->here[0] = net(10u << 24 | 99u << 16 | 1, 32);
	if (p->c.style == PARTY_PSK)
		err = secret_set(&m->psk, "a secret of many words, for benchmarks", 38);
	else
		err = p->c.style == PARTY_RAW ? load_raw(p) : load_certs(p);
	for (uint32_t i = 0; !err && i < n; i++) {
		set_peer(p, i);
		err = engine_peer_update(p->e, 1, &p->peer[i], &fx);
	}
	fx_list_free(&fx);
	return err;
}

struct party *party_new(const struct party_config *c)
{
	struct party *p = calloc(1, sizeof(*p));
	int err;

	if (!p)
		return NULL;
	p->c = *c;
	p->more = calloc(1, sizeof(*p->more));
	err = p->more ? fill(p) : -ENOMEM;
	if (!err)
		return p;
	fprintf(stderr, "cannot make %u homes: %s\n", c->homes, strerror(-err));
	party_free(p);
	return NULL;
}

void party_free(struct party *p)
{
	struct party_more *m = p->more;

	if (m) {
		engine_free(p->e);
		for (uint32_t i = 0; m->key && i < m->keys; i++)
			privkey_free(m->key[i]);
		for (uint32_t i = 0; m->chain && i < p->c.homes; i++)
			for (int k = 0; k < CERT_CHAIN_MAX; k++)
				cert_free(m->chain[i][k]);
		pubkey_free(m->theirs);
		ca_store_free(m->ca);
		secret_clear(&m->psk);
		free(m->homes);
		free(m->children);
		free(m->names);
		free(m->key);
		free(m->chain);
	}
	free(m);
	free(p->peer);
	free(p->home);
	free(p);
}
