/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: the peers as the configuration gives them, found by id (the supervisor) and by identity (an
 * IKE_AUTH). A reload replaces a view under living SAs: what was proved and promised under the
 * old one must hold under the new, or the SA ends with a Delete.
 */
#include "engine_int.h"

#include <stdlib.h>

struct peer_entry *peer_by_id(const struct engine *e, uint32_t id)
{
	struct hash_node *n = hash_first(&e->peers_by_id, hash_bytes(&id, sizeof(id)));

	for (; n; n = hash_next(n)) {
		struct peer_entry *pe =
		    (struct peer_entry *)((char *)n - offsetof(struct peer_entry, by_id));

		if (pe->p->id == id)
			return pe;
	}
	return NULL;
}

/* FQDN and RFC822 compare without case, so they must hash without it too. */
static uint64_t ident_hash(uint8_t type, const uint8_t *data, size_t len)
{
	uint8_t b[256];

	if (len > 255)
		len = 255;
	b[0] = type;
	for (size_t i = 0; i < len; i++) {
		bool upper = data[i] >= 'A' && data[i] <= 'Z';

		b[1 + i] = type == ID_FQDN || type == ID_RFC822_ADDR
			       ? (uint8_t)(data[i] + (upper ? 'a' - 'A' : 0))
			       : data[i];
	}
	return hash_bytes(b, len + 1);
}

struct span id_span(const struct engine_id *id)
{
	return (struct span){ id->data, id->len };
}

struct peer_entry *peer_by_identity(const struct engine *e, const struct pld_id *idi,
				    const struct pld_id *idr)
{
	struct hash_node *n =
	    hash_first(&e->peers_by_ident, ident_hash(idi->type, idi->data, idi->len));

	for (; n; n = hash_next(n)) {
		struct peer_entry *pe =
		    (struct peer_entry *)((char *)n - offsetof(struct peer_entry, by_ident));
		const struct engine_peer *p = pe->p;

		if (!pld_id_equal(p->remote_id.type, id_span(&p->remote_id), idi->type,
				  (struct span){ idi->data, idi->len }))
			continue;
		if (!idr || !idr->body.p ||
		    pld_id_equal(p->local_id.type, id_span(&p->local_id), idr->type,
				 (struct span){ idr->data, idr->len }))
			return pe;
	}
	return NULL;
}

bool peer_accepts(const struct peer_entry *pe, const struct addr *from)
{
	if (!pe->p->accept)
		return false;
	for (size_t i = 0; i < pe->p->from_count; i++)
		if (prefix_contains(&pe->p->from[i], from))
			return true;
	return !pe->p->from_count;
}

static void keyids_of(struct engine *e, const struct engine_peer *p)
{
	const struct ca_store *ca = p->remote_auth.ca;

	if (p->remote_auth.kind != ENGINE_AUTH_CERT || !ca)
		return;
	e->any_ca = ca;
	for (size_t i = 0; i < ca_store_count(ca); i++) {
		uint8_t id[20];
		bool known = ca_store_keyid(ca, i, id) != 0;

		for (size_t k = 0; k < e->keyid_count && !known; k++)
			known = !memcmp(e->keyids[k], id, sizeof(id));
		if (!known && e->keyid_count < CERTREQ_KEYIDS_MAX)
			memcpy(e->keyids[e->keyid_count++], id, sizeof(id));
	}
}

/* ---- whom we let begin ---- */

static struct welcome *welcome_of(struct engine *e, const struct proposals *ike)
{
	struct welcome *grown;

	for (size_t i = 0; i < e->welcome_count; i++)
		if (proposals_equal(e->welcome[i].ike, ike))
			return &e->welcome[i];
	grown = realloc(e->welcome, (e->welcome_count + 1) * sizeof(*grown));
	if (!grown)
		return NULL;
	e->welcome = grown;
	grown[e->welcome_count] = (struct welcome){ .ike = ike };
	return &grown[e->welcome_count++];
}

void welcome_free(struct engine *e)
{
	for (size_t i = 0; i < e->welcome_count; i++)
		prefix_set_clear(&e->welcome[i].from);
	free(e->welcome);
	e->welcome = NULL;
	e->welcome_count = 0;
	e->welcome_ready = false;
}

int welcome_ready(struct engine *e)
{
	if (e->welcome_ready)
		return 0;
	welcome_free(e);
	e->keyid_count = 0;
	e->childless = false;
	e->any_ca = NULL;
	for (const struct peer_entry *pe = e->peers; pe; pe = pe->next) {
		struct welcome *w = pe->p->accept ? welcome_of(e, pe->p->ike) : NULL;

		if (!pe->p->accept)
			continue;
		if (!w)
			return -ENOMEM;
		w->anywhere |= !pe->p->from_count;
		e->childless |= pe->p->childless != ENGINE_CHILDLESS_NEVER;
		for (size_t i = 0; i < pe->p->from_count; i++)
			if (prefix_set_add(&w->from, &pe->p->from[i]))
				return -ENOMEM;
		keyids_of(e, pe->p);
	}
	for (size_t i = 0; i < e->welcome_count; i++)
		prefix_set_sort(&e->welcome[i].from);
	e->welcome_ready = true;
	return 0;
}

const struct welcome *welcome_next(const struct engine *e, const struct welcome *w,
				   const struct addr *from)
{
	struct prefix host = prefix_host(from);

	for (w = w ? w + 1 : e->welcome; w < e->welcome + e->welcome_count; w++)
		if (w->anywhere || prefix_set_covers(&w->from, &host))
			return w;
	return NULL;
}

static bool ids_equal(const struct engine_id *a, const struct engine_id *b)
{
	return pld_id_equal(a->type, id_span(a), b->type, id_span(b));
}

static bool anchors_equal(const struct ca_store *a, const struct ca_store *b)
{
	uint8_t ka[20], kb[20];

	if (a == b)
		return true;
	if (!a || !b || ca_store_count(a) != ca_store_count(b))
		return false;
	for (size_t i = 0; i < ca_store_count(a); i++)
		if (ca_store_keyid(a, i, ka) || ca_store_keyid(b, i, kb) || memcmp(ka, kb, 20))
			return false;
	return true;
}

/* Does what was proved and promised under @a hold under @b? */
static bool same_trust(const struct engine_peer *a, const struct engine_peer *b)
{
	const struct engine_auth_remote *ra = &a->remote_auth, *rb = &b->remote_auth;

	if (!ids_equal(&a->local_id, &b->local_id) || !ids_equal(&a->remote_id, &b->remote_id) ||
	    ra->kind != rb->kind || ra->psk_ref != rb->psk_ref ||
	    ra->psk_mark != rb->psk_mark || a->local_auth.key_mark != b->local_auth.key_mark ||
	    a->local_auth.kind != b->local_auth.kind ||
	    a->local_auth.key_ref != b->local_auth.key_ref ||
	    ra->public_key_count != rb->public_key_count || !anchors_equal(ra->ca, rb->ca))
		return false;
	for (size_t i = 0; i < ra->public_key_count; i++)
		if (!pubkey_equal(ra->public_key[i], rb->public_key[i]))
			return false;
	return a->assign_count == b->assign_count && a->request_v4 == b->request_v4 &&
	       a->request_v6 == b->request_v6;
}

/* Somebody waits for our half of IKE_AUTH; what his own was judged by does not hold any more. */
static void leave_caller(struct engine *e, struct ike_sa *sa)
{
	const struct engine_path path = sa->auth->path;

	pld_notify_add(inner_begin(e), TEMPORARY_FAILURE, (struct span){ NULL, 0 });
	(void)reply_send(e, sa, IKE_AUTH, sa->auth->hdr.id, &path, sa->auth->request_hash);
}

/* One Delete, or one answer to a half-made IKE_AUTH, not repeated, then silence. */
void sa_goodbye(struct engine *e, struct ike_sa *sa, enum engine_why why)
{
	if (sa->state == SA_UP || sa->state == SA_RETIRED) {
		if (!sa->win.outstanding) {
			pld_delete_add_ike(inner_begin(e));
			request_once(e, sa, INFORMATIONAL);
		} else if (sa->out.task.kind == TASK_DELETE_IKE) {
			request_resend(e, sa, NULL);
		}
	} else if (sa->state == SA_R_VERIFY || sa->state == SA_R_ASK || sa->state == SA_R_SIGN) {
		leave_caller(e, sa);
	}
	if (sa->state == SA_CALLING)
		call_end(e, sa, why);
	else if (sa->state != SA_DEAD)
		sa_end(e, sa, why, false);
}

void engine_address_refused(struct engine *e, uint64_t now_ms, uint32_t peer, const struct addr *a,
			    struct fx_list *fx)
{
	struct peer_entry *pe = peer_by_id(e, peer);
	char text[ADDR_STR_MAX];
	struct ike_sa *next;

	if (!pe)
		return;
	engine_enter(e, now_ms, fx);
	for (struct ike_sa *sa = pe->sas; sa; sa = next) {
		next = sa->peer_next;
		if (!sa->was_up || !sa->series_initiator)
			continue;
		explain(
		    e, pe, sa, &sa->path, ENGINE_WHY_ADDRESS, false,
		    "it gave us the address %s, which may not be ours: compare its `assign` with "
		    "`accept-assigned` here and with the local networks",
		    addr_str(a, text));
		sa_goodbye(e, sa, ENGINE_WHY_ADDRESS);
	}
	if (addr_eq(&pe->v4, a))
		pe->v4 = (struct addr){ 0 };
	if (addr_eq(&pe->v6, a))
		pe->v6 = (struct addr){ 0 };
	engine_leave(e);
}

static void peer_ends(struct engine *e, struct peer_entry *pe, enum engine_why why)
{
	while (pe->sas) {
		/* A candidate goes with its call. */
		struct ike_sa *sa = pe->sas->caller ? pe->sas->caller : pe->sas;

		sa_goodbye(e, sa, why);
	}
}

static int peer_add(struct engine *e, const struct engine_peer *peer)
{
	struct peer_entry *pe = calloc(1, sizeof(*pe));
	const struct engine_id *id = &peer->remote_id;

	if (!pe)
		return -ENOMEM;
	pe->p = peer;
	memcpy(pe->lease, peer->lease, sizeof(pe->lease));
	if (hash_insert(&e->peers_by_id, &pe->by_id, hash_bytes(&peer->id, sizeof(peer->id)))) {
		free(pe);
		return -ENOMEM;
	}
	if (hash_insert(&e->peers_by_ident, &pe->by_ident,
			ident_hash(id->type, id->data, id->len))) {
		hash_remove(&e->peers_by_id, &pe->by_id);
		free(pe);
		return -ENOMEM;
	}
	pe->next = e->peers;
	if (pe->next)
		pe->next->prev = &pe->next;
	pe->prev = &e->peers;
	e->peers = pe;
	log_set(&pe->log, "peer=%s", peer->name);
	return 0;
}

/* What it was given by us is still its own: only who calls anew can be told of another address. */
static bool keeps_addresses(const struct peer_entry *pe, const struct engine_peer *peer)
{
	for (size_t i = 0; i < peer->assign_count && i < pe->p->assign_count; i++)
		if (!addr_eq(&pe->p->assign[i], &peer->assign[i]))
			return false;
	for (int s = 0; s < 2; s++)
		if (pe->lease[s].family && !addr_eq(&pe->lease[s], &peer->lease[s]))
			return false;
	return true;
}

static int peer_replace(struct engine *e, struct peer_entry *pe, const struct engine_peer *peer)
{
	const struct engine_id *id = &peer->remote_id;
	const struct engine_peer *was = pe->p;
	bool trust = same_trust(was, peer) && keeps_addresses(pe, peer);
	struct ike_sa *next;

	if (!trust)
		peer_ends(e, pe, ENGINE_WHY_CONFIG);
	hash_remove(&e->peers_by_ident, &pe->by_ident);
	pe->p = peer;
	memcpy(pe->lease, peer->lease, sizeof(pe->lease));
	log_set(&pe->log, "peer=%s", peer->name);
	for (struct ike_sa *sa = pe->sas; sa; sa = next) {
		next = sa->peer_next;
		children_reload(e, sa, was);
	}
	return hash_insert(&e->peers_by_ident, &pe->by_ident,
			   ident_hash(id->type, id->data, id->len));
}

int engine_peer_update(struct engine *e, uint64_t now_ms, const struct engine_peer *peer,
		       struct fx_list *fx)
{
	struct pld_id rid = { .type = peer->remote_id.type,
			      .data = peer->remote_id.data,
			      .len = peer->remote_id.len };
	struct pld_id lid = { .type = peer->local_id.type,
			      .data = peer->local_id.data,
			      .len = peer->local_id.len,
			      .body = { peer->local_id.data, peer->local_id.len } };
	struct peer_entry *pe = peer_by_id(e, peer->id), *twin;
	int err;

	if (!peer->id || !peer->name || !peer->ike || !peer->esp || !rid.type || !lid.type ||
	    rid.len > 255 || lid.len > 255 || !peer->child_count ||
	    peer->child_count > ENGINE_CHILDREN_MAX)
		return -EINVAL;
	twin = peer_by_identity(e, &rid, &lid);
	if (twin && twin != pe)
		return -EEXIST;
	engine_enter(e, now_ms, fx);
	err = pe ? peer_replace(e, pe, peer) : peer_add(e, peer);
	e->welcome_ready = false;
	engine_leave(e);
	return err;
}

void peer_forget(struct engine *e, struct peer_entry *pe)
{
	hash_remove(&e->peers_by_id, &pe->by_id);
	hash_remove(&e->peers_by_ident, &pe->by_ident);
	*pe->prev = pe->next;
	if (pe->next)
		pe->next->prev = pe->prev;
	log_clear(&pe->log);
	free(pe);
}

void engine_peer_remove(struct engine *e, uint64_t now_ms, uint32_t peer, struct fx_list *fx)
{
	struct peer_entry *pe = peer_by_id(e, peer);

	if (!pe)
		return;
	engine_enter(e, now_ms, fx);
	peer_ends(e, pe, ENGINE_WHY_CONFIG);
	peer_forget(e, pe);
	e->welcome_ready = false;
	engine_leave(e);
}

void engine_delete_all(struct engine *e, uint64_t now_ms, struct fx_list *fx)
{
	engine_enter(e, now_ms, fx);
	for (struct peer_entry *pe = e->peers; pe; pe = pe->next)
		peer_ends(e, pe, ENGINE_WHY_ADMIN);
	while (e->strangers)
		sa_end(e, e->strangers, ENGINE_WHY_ADMIN, false);
	half_open_expire(e, now_ms, true);
	engine_leave(e);
}
