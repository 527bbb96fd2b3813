/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * IKE_SA_INIT (RFC 7296 s1.2), both roles.
 *
 *	HDR, [N(COOKIE),] SAi1, KEi, Ni, N(NAT..), N(FRAG), N(HASHES), V  -->
 *	                 <--  HDR, SAr1, KEr, Nr, N(NAT..), N(FRAG), N(HASHES), [CERTREQ,]
 *				  [N(CHILDLESS_IKEV2_SUPPORTED),] V
 *	                 <--  HDR, N(COOKIE) | N(INVALID_KE_PAYLOAD) | N(NO_PROPOSAL_CHOSEN)
 *
 * Nothing in this exchange is authentic. As initiator we therefore act on each answer without giving up the
 * others: an answer with keys becomes a candidate, a refusal counts only when nothing better comes.
 * As responder we keep state for a source only up to the bounds of struct engine_config.
 */
#include "engine_int.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- the call ---- */

static uint16_t first_group(const struct proposals *ps)
{
	for (unsigned i = 0; i < ps->count; i++)
		for (unsigned k = 0; k < ps->p[i].count; k++)
			if (ps->p[i].t[k].type == TRANSFORM_KE && ps->p[i].t[k].id != KE_NONE)
				return ps->p[i].t[k].id;
	return KE_NONE;
}

static bool group_offered(const struct proposals *ps, uint16_t group)
{
	for (unsigned i = 0; i < ps->count; i++)
		for (unsigned k = 0; k < ps->p[i].count; k++)
			if (ps->p[i].t[k].type == TRANSFORM_KE && ps->p[i].t[k].id == group)
				return group != KE_NONE;
	return false;
}

static void common_notifies(struct ike_build *b, bool frag)
{
	if (frag)
		pld_notify_add(b, IKEV2_FRAGMENTATION_SUPPORTED, (struct span){ NULL, 0 });
	pld_hashes_add(b, SIG_HASHES_ALL);
	pld_vendor_add(b, (struct span){ postern_vendor_id, POSTERN_VENDOR_ID_LEN });
}

/* Build the request anew (first time, or after COOKIE or INVALID_KE_PAYLOAD) and send it. */
static int call_send(struct engine *e, struct ike_sa *sa)
{
	struct ike_hdr h = { .spi_i = sa->spi_i,
			     .version = IKE_VERSION,
			     .exchange = IKE_SA_INIT,
			     .flags = IKE_FLAG_INITIATOR };
	struct call *c = sa->call;
	struct datagrams fresh = { 0 };
	struct ike_build b;
	size_t len;
	int err;

	ike_build_begin(&b, e->build, sizeof(e->build), &h);
	if (c->cookie_len)
		pld_notify_add(&b, COOKIE, (struct span){ c->cookie, c->cookie_len });
	sa_add(&b, sa->peer->p->ike);
	pld_ke_add(&b, c->group, dh_public(c->dh));
	pld_nonce_add(&b, nonce_span(&c->ni));
	nat_add_initiator(e, &b, sa->spi_i, 0, &sa->path);
	common_notifies(&b, true);
	redirect_offer(sa, &b);
	err = ike_build_end(&b, &len);
	if (!err)
		err = datagrams_add(&fresh, e->build, len);
	if (err) {
		/* The one before still stands: an answer to it is read with its bytes. */
		datagrams_clear(&fresh);
		c->spent = true;
		return err;
	}
	datagrams_clear(&sa->out.datagrams);
	sa->out.datagrams = fresh;
	sa->out.exchange = IKE_SA_INIT;
	sa->win.outstanding = true;
	fx_send(e, &sa->path, e->build, len, sa->peer->p->id);
	return 0;
}

static int call_key(struct engine *e, struct ike_sa *sa, uint16_t group)
{
	struct call *c = sa->call;
	struct dh *dh;
	int err = dh_new(group, &dh);

	if (err)
		return err;
	dh_free(c->dh);
	c->dh = dh;
	c->group = group;
	return 0;
}

int call_begin(struct engine *e, struct ike_sa *sa)
{
	uint16_t group = first_group(sa->peer->p->ike);
	int err;

	sa->call = calloc(1, sizeof(*sa->call));
	if (!sa->call || !group)
		return sa->call ? -EINVAL : -ENOMEM;
	sa->call->keyed_ms = e->now_ms;
	sa->call->ni.len = NONCE_LEN;
	engine_random(e, sa->call->ni.b, NONCE_LEN);
	err = call_key(e, sa, group);
	if (!err)
		err = call_send(e, sa);
	if (err)
		return err;
	retransmit_start(&sa->out.rt, e->now_ms);
	resend_arm(e, sa);
	return 0;
}

void candidate_forsake(struct engine *e, struct ike_sa *sa)
{
	if (sa->state != SA_I_AUTH && sa->state != SA_I_VERIFY)
		return;
	if (sa->win.outstanding)
		sa->win.next_out++;
	pld_delete_add_ike(inner_begin(e));
	request_once(e, sa, INFORMATIONAL);
}

/* Ended by us, and not by an answer that says that over there nothing is up. */
static bool ours_to_tell(enum engine_why why)
{
	return why == ENGINE_WHY_CONFIG || why == ENGINE_WHY_ADMIN || why == ENGINE_WHY_REPLACED ||
	       why == ENGINE_WHY_TIMEOUT;
}

void call_end(struct engine *e, struct ike_sa *call, enum engine_why why)
{
	struct ike_sa *o, *next;
	struct fx *f;

	for (o = call->peer->sas; o; o = next) {
		next = o->peer_next;
		if (o->caller != call)
			continue;
		o->caller = NULL;
		if (ours_to_tell(why))
			candidate_forsake(e, o);
		sa_end(e, o, why, true);
	}
	f = fx_add(e, FX_PEER_DOWN);
	f->down.peer = call->peer->p->id;
	f->down.ike = call->handle;
	f->down.why = why;
	f->down.replaced = why == ENGINE_WHY_REPLACED;
	sa_end(e, call, why, false);
}

/* While we called, another IKE SA of this peer came up: most likely it called too. */
static bool call_needless(const struct ike_sa *call)
{
	for (const struct ike_sa *o = call->peer->sas; o; o = o->peer_next)
		if (o->state == SA_UP && o->series_since_ms >= call->since_ms &&
		    ike_sa_children_up(o))
			return true;
	return false;
}

void call_candidate_gone(struct engine *e, struct ike_sa *call)
{
	if (call->state != SA_CALLING)
		return;
	if (call->call->candidates)
		call->call->candidates--;
	call->call->spent = true;
	if (call->call->candidates)
		return;
	if (call_needless(call))
		call_end(e, call, ENGINE_WHY_REPLACED);
	else
		timer_arm(e, &call->resend, e->now_ms);
}

/* A new SPI, nonce and DH value: the old ones were used for long enough. */
static int call_renew(struct engine *e, struct ike_sa *sa)
{
	struct call *c = sa->call;
	int err = call_key(e, sa, c->group);

	if (err)
		return err;
	hash_remove(&e->by_spi, &sa->by_spi);
	sa->spi_i = engine_random_spi(e);
	if (sa_index_spi(e, sa))
		abort(); /* the buckets were there just now */
	engine_random(e, c->ni.b, NONCE_LEN);
	c->keyed_ms = e->now_ms;
	c->cookie_len = 0;
	sa_name_log(sa);
	return call_send(e, sa);
}

struct ike_sa *call_start(struct engine *e, struct peer_entry *pe, const struct engine_path *path,
			  int *err)
{
	struct ike_sa *sa = sa_register(e, pe, engine_random_spi(e), 0, true);

	*err = -ENOMEM;
	if (!sa)
		return NULL;
	sa->state = SA_CALLING;
	sa->series_initiator = true;
	sa->path = *path;
	if (!pe->alive_ms)
		pe->alive_ms = e->now_ms;
	*err = call_begin(e, sa);
	if (!*err)
		return sa;
	sa_end(e, sa, ENGINE_WHY_LOCAL, false);
	return NULL;
}

void call_beside(struct engine *e, struct ike_sa *old)
{
	struct ike_sa *sa;
	int err;

	for (const struct ike_sa *o = old->peer->sas; o; o = o->peer_next)
		if (o->state == SA_CALLING)
			return;
	log_info(&old->log, "calling anew: this IKE SA cannot be continued, but is used until then");
	sa = call_start(e, old->peer, &old->path, &err);
	if (sa)
		sa->call->until_ms = e->now_ms + BESIDE_MS;
}

void call_resend_due(struct engine *e, struct ike_sa *sa)
{
	struct call *c = sa->call;

	if (c->candidates)
		return;
	if (c->until_ms && e->now_ms >= c->until_ms) {
		call_end(e, sa, ENGINE_WHY_TIMEOUT);
		return;
	}
	c->rounds = 0;
	/* The responder may hold an IKE SA for this SPI by now, whose answers we never got. */
	if (c->spent)
		c->keyed_ms = e->now_ms - CALL_KEYED_MS;
	c->spent = false;
	if (e->now_ms - c->keyed_ms >= CALL_KEYED_MS && !call_renew(e, sa)) {
		retransmit_again(&sa->out.rt, e->now_ms);
		resend_arm(e, sa);
		return;
	}
	request_resend(e, sa, NULL);
}

/* The grace after an unauthenticated refusal is over: believe it, for now. */
void call_refused(struct engine *e, struct ike_sa *sa)
{
	struct call *c = sa->call;
	enum engine_why why =
	    c->refused == NO_PROPOSAL_CHOSEN ? ENGINE_WHY_NO_PROPOSAL : ENGINE_WHY_REFUSED;

	if (c->candidates) { /* something better came: a later refusal counts, and is told, anew */
		c->refused = 0;
		return;
	}
	if (!c->refused)
		return;
	explain_call(e, sa, why, c->refused);
	call_end(e, sa, why);
}

/* ---- answers to the call ---- */

static bool answer_to_cookie(struct engine *e, struct ike_sa *sa, const struct pld_notify *n)
{
	struct call *c = sa->call;

	if (n->len < 1 || n->len > IKE_COOKIE_MAX || c->rounds >= CALL_ROUNDS || c->candidates)
		return false;
	c->rounds++;
	memcpy(c->cookie, n->data, n->len);
	c->cookie_len = n->len;
	log_debug(&sa->log, "the peer asks for a cookie");
	return !call_send(e, sa);
}

static bool answer_to_group(struct engine *e, struct ike_sa *sa, const struct pld_notify *n)
{
	struct call *c = sa->call;
	uint16_t group = n->len == 2 ? (uint16_t)(n->data[0] << 8 | n->data[1]) : 0;

	if (!group_offered(sa->peer->p->ike, group) || group == c->group ||
	    c->rounds >= CALL_ROUNDS || c->candidates)
		return false;
	c->rounds++;
	log_debug(&sa->log, "the peer wants KE group %s", ike_transform_name(TRANSFORM_KE, group));
	return !call_key(e, sa, group) && !call_send(e, sa);
}

static bool have_candidate(const struct ike_sa *call, uint64_t spi_r)
{
	for (const struct ike_sa *o = call->peer->sas; o; o = o->peer_next)
		if (o->caller == call && o->spi_r == spi_r)
			return true;
	return false;
}

int auth_keep_messages(struct auth_ctx *a, struct span i, struct span r)
{
	a->msg_i = malloc(i.len);
	a->msg_r = malloc(r.len);
	if (!a->msg_i || !a->msg_r)
		return -ENOMEM;
	memcpy(a->msg_i, i.p, i.len);
	memcpy(a->msg_r, r.p, r.len);
	a->msg_i_len = i.len;
	a->msg_r_len = r.len;
	return 0;
}

/* Keys, message IDs and what the responder can do. */
static int sa_found(struct ike_sa *sa, const struct ike_msg *m, const struct dh *dh)
{
	struct auth_ctx *a = sa->auth;
	const struct pld_notify *hashes = ike_msg_notify(m, SIGNATURE_HASH_ALGORITHMS);
	struct secret shared = { 0 };
	int err;

	err = dh_shared(dh, m->ke.data, m->ke.len, &shared);
	if (!err)
		err = ike_keys_derive(&sa->suite, nonce_span(&a->ni), nonce_span(&a->nr), sa->spi_i,
				      sa->spi_r, &shared, &sa->keys);
	secret_clear(&shared);
	if (!err)
		err = ike_sa_keyed(sa);
	if (err)
		return err;
	a->peer_hashes = hashes ? pld_hashes_parse(hashes) : 0;
	sa->frag = ike_msg_notify(m, IKEV2_FRAGMENTATION_SUPPORTED) != NULL;
	sa->postern = ike_msg_is_postern(m);
	sa->lowest = nonce_lower(&a->ni, &a->nr);
	return 0;
}

static int candidate_fill(struct engine *e, struct ike_sa *sa, struct ike_sa *call,
			  const struct ike_msg *m, const struct sa_choice *choice)
{
	const struct datagram *req = &call->out.datagrams.v[0];
	int err;

	sa->auth = calloc(1, sizeof(*sa->auth));
	if (!sa->auth)
		return -ENOMEM;
	sa->series_initiator = true;
	sa->suite = sa_choice_ike(choice);
	sa->auth->ni = call->call->ni;
	sa->auth->childless = ike_msg_notify(m, CHILDLESS_IKEV2_SUPPORTED) != NULL;
	nonce_set(&sa->auth->nr, m->nonce);
	err = auth_keep_messages(sa->auth, (struct span){ req->bytes, req->len }, m->raw);
	if (!err)
		err = sa_found(sa, m, call->call->dh);
	sa->win.next_out = 1; /* IKE_SA_INIT was 0 */
	return err;
}

/* Anyone who has seen the call can answer it, and each answer costs a DH: a few of them in a second. */
static bool dh_allowed(const struct engine *e, struct call *c)
{
	if (e->now_ms - c->dh_since_ms >= 1000) {
		c->dh_since_ms = e->now_ms;
		c->dh_count = 0;
	}
	if (c->dh_count >= CALL_CANDIDATES)
		return false;
	c->dh_count++;
	return true;
}

/* It counts when nothing better comes in a while: anyone can say so. */
static bool note_refusal(struct engine *e, struct ike_sa *call, uint16_t type)
{
	if (call->call->refused)
		return false;
	call->call->refused = type;
	timer_arm(e, &call->life, e->now_ms + REFUSAL_GRACE_MS);
	return true;
}

static bool answer_with_keys(struct engine *e, struct ike_sa *call, const struct ike_msg *m,
			     const struct engine_path *path)
{
	struct proposals *reply;
	struct sa_choice choice;
	struct ike_sa *sa;
	int err;

	if (!m->ke.data || !m->nonce.p || !m->hdr.spi_r || have_candidate(call, m->hdr.spi_r) ||
	    call->call->candidates >= CALL_CANDIDATES || !call->out.datagrams.count)
		return false;
	reply = calloc(1, sizeof(*reply));
	if (!reply)
		return false;
	err = sa_parse(m->sa, reply);
	if (!err)
		err = sa_check_reply(call->peer->p->ike, reply, false, &choice);
	free(reply);
	if (err || choice.ke != call->call->group || m->ke.group != choice.ke ||
	    !dh_allowed(e, call->call))
		return false;
	if (call->peer->p->childless == ENGINE_CHILDLESS_FORCE &&
	    !ike_msg_notify(m, CHILDLESS_IKEV2_SUPPORTED))
		return note_refusal(e, call, CHILDLESS_IKEV2_SUPPORTED);
	sa = sa_register(e, call->peer, call->spi_i, m->hdr.spi_r, true);
	if (!sa)
		return false;
	sa->caller = call;
	sa->path = *path;
	sa->state = SA_I_SIGN;
	call->call->candidates++;
	err = candidate_fill(e, sa, call, m, &choice);
	if (err) {
		log_debug(&sa->log, "answer to IKE_SA_INIT is of no use: %s", strerror(-err));
		sa_end(e, sa, ENGINE_WHY_PROTOCOL, false);
		return false;
	}
	nat_judge(sa, m, path);
	nat_seen(sa, m);
	timer_clear(&e->timers, &call->resend);
	/* A second answer waits for the first to fail, or one responder might authenticate us twice. */
	if (call->call->candidates > 1)
		timer_arm(e, &sa->life, e->now_ms + CANDIDATE_WAIT_MS);
	else
		ike_auth_begin(e, sa);
	return true;
}

void ike_sa_init_response(struct engine *e, struct ike_sa *call, struct ike_msg *m,
			  const struct engine_path *path)
{
	const struct pld_notify *n;
	bool used = false;

	if (m->sa.p) {
		used = answer_with_keys(e, call, m, path);
	} else if ((n = ike_msg_notify(m, COOKIE))) {
		used = answer_to_cookie(e, call, n);
	} else if ((n = ike_msg_notify(m, INVALID_KE_PAYLOAD))) {
		used = answer_to_group(e, call, n);
	} else if (redirect_instead(e, call, m)) {
		used = true;
	} else if ((n = ike_msg_error(m))) {
		used = note_refusal(e, call, n->type);
	}
	if (!used)
		e->n.in_dropped++;
}

/* ---- responder ---- */

/* Who it is comes only with IKE_AUTH: take the first list that matches, check again there. */
static int choose_suite(const struct engine *e, const struct ike_msg *m, const struct addr *from,
			const struct proposals *offer, struct sa_choice *choice,
			const struct proposals **ours)
{
	*ours = NULL;
	for (const struct welcome *w = NULL; (w = welcome_next(e, w, from));) {
		*ours = w->ike;
		if (!sa_choose(w->ike, offer, m->ke.group, false, choice))
			return 0;
	}
	return -ENOENT;
}

static void refuse(struct engine *e, const struct ike_msg *m, const struct engine_path *path,
		   const struct proposals *offer, const struct proposals *ours)
{
	explain_ike_offer(e, path, offer, ours);
	if (stray_allowed(e))
		answer_notify(e, &m->hdr, path, NO_PROPOSAL_CHOSEN, NULL, 0);
}

/* The answer, in e->build. */
static int answer_build(struct engine *e, const struct ike_msg *m, const struct engine_path *path,
			uint64_t spi_r, const struct sa_choice *choice, const struct dh *dh,
			size_t *len)
{
	struct ike_hdr h = { .spi_i = m->hdr.spi_i,
			     .spi_r = spi_r,
			     .version = IKE_VERSION,
			     .exchange = IKE_SA_INIT,
			     .flags = IKE_FLAG_RESPONSE };
	uint8_t nr[NONCE_LEN];
	struct ike_build b;

	engine_random(e, nr, sizeof(nr));
	ike_build_begin(&b, e->build, sizeof(e->build), &h);
	sa_add_choice(&b, choice, NULL, 0);
	pld_ke_add(&b, dh_group(dh), dh_public(dh));
	pld_nonce_add(&b, (struct span){ nr, sizeof(nr) });
	nat_add_responder(e, &b, h.spi_i, spi_r, path, m);
	if (e->keyid_count)
		pld_certreq_add(&b, CERT_X509_SIGNATURE,
				(struct span){ e->keyids, e->keyid_count * 20 });
	if (e->childless)
		pld_notify_add(&b, CHILDLESS_IKEV2_SUPPORTED, (struct span){ NULL, 0 });
	/* Only to who said it first (RFC 7383 s2.3). */
	common_notifies(&b, ike_msg_notify(m, IKEV2_FRAGMENTATION_SUPPORTED));
	return ike_build_end(&b, len);
}

/* Our half of the key exchange, an entry to remember it by, and the answer. */
static int answer_with_ours(struct engine *e, const struct ike_msg *m,
			    const struct engine_path *path, const struct sa_choice *choice,
			    bool cookie)
{
	struct ike_suite suite = sa_choice_ike(choice);
	uint64_t spi_r = engine_random_spi(e);
	struct dh *dh;
	size_t len;
	int err;

	if (m->ke.len != dh_public_len(choice->ke))
		return -EBADMSG;
	err = dh_new(choice->ke, &dh);
	if (err)
		return err;
	err = answer_build(e, m, path, spi_r, choice, dh, &len);
	if (!err)
		err = half_open_add(e, m, path, spi_r, &suite, dh, (struct span){ e->build, len },
				    cookie);
	dh_free(dh);
	if (!err)
		fx_send(e, path, e->build, len, 0);
	return err;
}

/*
 * A request is told which payload it was, since its sender may do without (RFC 7296 s2.5). What
 * claims to be an answer may be anybody's: a better one may still come.
 */
void ike_sa_init_unsupported(struct engine *e, const struct ike_msg *m,
			     const struct engine_path *path)
{
	if (!ike_hdr_is_response(&m->hdr) && !welcome_ready(e) &&
	    welcome_next(e, NULL, &path->remote.addr) && stray_allowed(e))
		answer_notify(e, &m->hdr, path, UNSUPPORTED_CRITICAL_PAYLOAD, &m->bad, 1);
}

void ike_sa_init_request(struct engine *e, struct ike_msg *m, const struct engine_path *path)
{
	const struct proposals *ours;
	struct sa_choice choice;
	struct proposals *offer;
	uint8_t group[2];
	bool cookie;
	int err;

	if (half_open_repeated(e, m, path))
		return;
	if (!m->sa.p || !m->ke.data || !m->nonce.p || m->hdr.spi_r ||
	    !(m->hdr.flags & IKE_FLAG_INITIATOR)) {
		e->n.in_malformed++;
		return;
	}
	if (welcome_ready(e) || !welcome_next(e, NULL, &path->remote.addr)) {
		e->n.in_dropped++;
		stranger_log(e, path, "IKE_SA_INIT from an address that no peer's `from` allows");
		return;
	}
	if (!admit_init(e, m, path, &cookie) || redirect_away(e, m, path))
		return;
	offer = calloc(1, sizeof(*offer));
	if (!offer)
		return;
	err = sa_parse_offer(m->sa, offer);
	if (err) {
		e->n.in_malformed++;
		free(offer);
		return;
	}
	if (choose_suite(e, m, &path->remote.addr, offer, &choice, &ours)) {
		refuse(e, m, path, offer, ours);
		free(offer);
		return;
	}
	free(offer);
	if (choice.ke != m->ke.group) {
		group[0] = (uint8_t)(choice.ke >> 8);
		group[1] = (uint8_t)choice.ke;
		answer_notify(e, &m->hdr, path, INVALID_KE_PAYLOAD, group, sizeof(group));
		return;
	}
	err = answer_with_ours(e, m, path, &choice, cookie);
	if (err == -ENOBUFS)
		e->n.half_open_refused++;
	else if (err)
		e->n.in_malformed++;
}
