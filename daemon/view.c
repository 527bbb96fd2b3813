/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "view.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* @bytes: for an address; of a name nothing is looked at. */
static struct engine_id id_of(const struct config_id *id, uint8_t *bytes)
{
	if (id->addr.family) {
		memcpy(bytes, id->addr.b, addr_len(&id->addr));
		return (struct engine_id){ id->addr.family == AF_INET ? ID_IPV4_ADDR : ID_IPV6_ADDR,
					   bytes, addr_len(&id->addr) };
	}
	return (struct engine_id){ strchr(id->text, '@') ? ID_RFC822_ADDR : ID_FQDN,
				   (const uint8_t *)id->text, strlen(id->text) };
}

/* Those of one side to @at; returns where the next ones go. */
static struct engine_ts *put_ts(struct engine_ts *at, const struct config_ts *from, size_t count)
{
	for (size_t i = 0; i < count; i++, at++) {
		at->ts = ts_from_prefix(&from[i].prefix);
		at->ts.proto = from[i].proto;
		at->ts.port_lo = from[i].port_lo;
		at->ts.port_hi = from[i].port_hi;
		at->assigned = from[i].assigned;
	}
	return at;
}

static void fill_children(struct view *v, const struct config_peer *p)
{
	struct engine_ts *at = v->ts;

	v->peer.child = v->child;
	for (size_t i = 0; i < p->child_count; i++) {
		const struct config_child *c = &p->child[i];
		struct engine_ts *remote = put_ts(at, c->local_ts, c->local_ts_count);

		v->child[v->peer.child_count++] = (struct engine_child_conf){
			.id = c->id,
			.name = c->name,
			.local_ts = at,
			.local_ts_count = c->local_ts_count,
			.remote_ts = remote,
			.remote_ts_count = c->remote_ts_count,
			.esp = c->esp_proposals,
			.lifetime_s = c->lifetime_s,
			.lifetime_bytes = c->lifetime_bytes,
			.lifetime_pkts = c->lifetime_pkts,
		};
		at = put_ts(remote, c->remote_ts, c->remote_ts_count);
	}
}

/* Zeroed, with room for the lists: there may be ten thousand, so each is one piece. */
static struct view *view_room(const struct config_peer *p)
{
	size_t ts_count = 0, size = sizeof(struct view), child_at, ts_at, key_at, chain_at, id_at;
	struct view *v;
	char *base;

	for (size_t i = 0; i < p->child_count; i++)
		ts_count += p->child[i].local_ts_count + p->child[i].remote_ts_count;
	child_at = size;
	size += p->child_count * sizeof(*v->child);
	key_at = size;
	size += p->public_key_count * sizeof(*v->public_key);
	chain_at = size;
	size += p->local_auth == CONFIG_AUTH_CERT ? CERT_CHAIN_MAX * sizeof(*v->chain) : 0;
	ts_at = size; /* from here on nothing needs more than the alignment of a ts */
	size += ts_count * sizeof(*v->ts);
	id_at = size;
	size += p->local_id.addr.family || p->remote_id.addr.family ? 2 * sizeof(*v->id_bytes) : 0;
	base = calloc(1, size);
	if (!base)
		return NULL;
	v = (struct view *)(void *)base;
	v->child = (void *)(base + child_at);
	v->ts = (void *)(base + ts_at);
	v->public_key = (void *)(base + key_at);
	v->chain = (void *)(base + chain_at);
	v->id_bytes = (void *)(base + id_at);
	return v;
}
_Static_assert(_Alignof(struct engine_child_conf) <= _Alignof(struct view) &&
		   _Alignof(struct engine_ts) <= _Alignof(void *),
	       "lists behind a view");

/* The text of a file that the configuration names; NULL with @why. */
static char *text_of(const struct conf_files *files, const char *path, size_t *len, char *why,
		     size_t cap)
{
	char *text = NULL, inner[CONF_WHY_MAX];
	int rc = files->read(files->arg, path, CONF_PUBLIC_FILE, &text, len, inner, sizeof(inner));

	if (!rc)
		return text;
	snprintf(why, cap, "%s %s", path, inner);
	return NULL;
}

static int load_keys(struct view *v, const struct config_peer *p, const struct conf_files *files,
		     char *why, size_t cap)
{
	for (size_t i = 0; i < p->public_key_count; i++) {
		size_t len;
		char *text = text_of(files, p->public_key[i], &len, why, cap);
		int rc = text ? pubkey_load(text, len, &v->public_key[i]) : -ENOENT;

		if (text && rc)
			snprintf(why, cap,
				 rc == -ENOTSUP ? "%s is of a type or size that Postern does not "
						  "have (" KEY_TYPES_TAKEN ")"
						: "%s holds no public key",
				 p->public_key[i]);
		free(text);
		if (rc)
			return rc;
		v->public_key_count++;
	}
	return 0;
}

static int load_chain(struct view *v, const struct config_peer *p, const struct conf_files *files,
		      char *why, size_t cap)
{
	size_t len;
	char *text = text_of(files, p->certificate, &len, why, cap);
	int rc = text ? cert_chain_load(text, len, v->chain, &v->chain_count) : -ENOENT;

	if (text && rc)
		snprintf(why, cap, "%s holds no certificate (%s)", p->certificate, strerror(-rc));
	free(text);
	return rc;
}

static int load_ca(struct view *v, const struct config_peer *p, const struct conf_files *files,
		   char *why, size_t cap)
{
	size_t len;
	char *text = text_of(files, p->ca, &len, why, cap);
	int rc = text ? ca_store_new(text, len, &v->ca) : -ENOENT;

	if (text && rc == -ENOTSUP)
		snprintf(why, cap,
			 "%s has an authority whose key is of a type or size that Postern does not "
			 "have (" KEY_TYPES_TAKEN ")",
			 p->ca);
	else if (text && rc)
		snprintf(why, cap, "%s holds no certificate (%s)", p->ca, strerror(-rc));
	free(text);
	return rc;
}

static uint64_t mark_of(const struct conf_files *files, const char *path)
{
	return files && files->mark && path ? files->mark(files->arg, path) : 0;
}

static void fill_auth(struct view *v, const struct config_peer *p, const struct conf_files *files,
		      enum key_type own)
{
	static const enum engine_auth_kind kind[] = {
		[CONFIG_AUTH_PSK] = ENGINE_AUTH_PSK,
		[CONFIG_AUTH_RAW] = ENGINE_AUTH_RAW,
		[CONFIG_AUTH_CERT] = ENGINE_AUTH_CERT,
	};
	bool psk = p->local_auth == CONFIG_AUTH_PSK;

	/* The keys process knows secrets by peer: the peer's number is the reference. */
	v->peer.local_auth = (struct engine_auth_local){
		.kind = kind[p->local_auth],
		.key_ref = p->id,
		.key_mark = mark_of(files, psk ? p->psk : p->private_key),
		.key_type = own,
		.chain = v->chain,
		.chain_count = v->chain_count,
	};
	v->peer.remote_auth = (struct engine_auth_remote){
		.kind = kind[p->auth],
		.psk_ref = p->id,
		.psk_mark = p->auth == CONFIG_AUTH_PSK ? mark_of(files, p->psk) : 0,
		.public_key = v->public_key,
		.public_key_count = v->public_key_count,
		.ca = v->ca,
	};
}

static enum engine_childless childless_of(enum config_childless way)
{
	static const enum engine_childless to[] = {
		[CONFIG_CHILDLESS_ALLOW] = ENGINE_CHILDLESS_ALLOW,
		[CONFIG_CHILDLESS_PREFER] = ENGINE_CHILDLESS_PREFER,
		[CONFIG_CHILDLESS_FORCE] = ENGINE_CHILDLESS_FORCE,
		[CONFIG_CHILDLESS_NEVER] = ENGINE_CHILDLESS_NEVER,
	};

	return to[way];
}

struct view *view_new(const struct config_peer *p, const struct conf_files *files,
		      enum key_type own, const struct proposals *ike, const struct proposals *esp,
		      char *why, size_t cap)
{
	struct view *v = view_room(p);
	int rc = 0;

	snprintf(why, cap, "out of memory");
	if (!v)
		return NULL;
	fill_children(v, p);
	if (files && p->auth == CONFIG_AUTH_RAW)
		rc = load_keys(v, p, files, why, cap);
	if (!rc && files && p->local_auth == CONFIG_AUTH_CERT)
		rc = load_chain(v, p, files, why, cap);
	if (!rc && files && p->auth == CONFIG_AUTH_CERT)
		rc = load_ca(v, p, files, why, cap);
	if (rc) {
		view_free(v);
		return NULL;
	}
	fill_auth(v, p, files, own);
	v->peer.id = p->id;
	v->peer.name = p->name;
	v->peer.local_id = id_of(&p->local_id, p->local_id.addr.family ? v->id_bytes[0] : NULL);
	v->peer.remote_id =
	    id_of(&p->remote_id, p->remote_id.addr.family ? v->id_bytes[1] : NULL);
	v->peer.ike = p->ike_proposals ? p->ike_proposals : ike;
	v->peer.esp = p->esp_proposals ? p->esp_proposals : esp;
	v->peer.request_v4 = v->peer.request_v6 = p->request_address;
	v->peer.assign = p->assign;
	v->peer.assign_count = p->assign_count;
	v->peer.pool = p->pool != NULL;
	v->peer.dns = p->dns;
	v->peer.dns_count = p->dns_count;
	v->peer.retry_max_ms = p->retry_max_ms;
	v->peer.lifetime = (struct engine_lifetime){ p->ike_lifetime_s };
	v->peer.redirect = p->redirect_follow;
	if (p->redirect_to.name) {
		v->elsewhere = malloc(sizeof(*v->elsewhere));
		if (!v->elsewhere || !view_gateway(&p->redirect_to, v->elsewhere)) {
			snprintf(why, cap, "out of memory");
			view_free(v);
			return NULL;
		}
		v->peer.redirect_to = v->elsewhere;
	}
	v->peer.childless = childless_of(p->childless);
	v->peer.from = p->from;
	v->peer.from_count = p->from_count;
	v->peer.accept = true;
	return v;
}

bool view_gateway(const struct config_host *h, struct engine_gateway *to)
{
	memset(to, 0, sizeof(*to));
	if (!h->name)
		return false;
	to->addr = h->addr;
	if (!to->addr.family)
		snprintf(to->name, sizeof(to->name), "%s", h->name);
	return true;
}

void view_free(struct view *v)
{
	if (!v)
		return;
	for (size_t i = 0; i < v->public_key_count; i++)
		pubkey_free(v->public_key[i]);
	for (size_t i = 0; i < v->chain_count; i++)
		cert_free(v->chain[i]);
	ca_store_free(v->ca);
	free(v->elsewhere);
	free(v);
}

void view_proposals(struct proposals *ike, struct proposals *esp, bool aes_fast)
{
	proposals_default_ike(ike, aes_fast);
	proposals_default_esp(esp, aes_fast, true);
}
