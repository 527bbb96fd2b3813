/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * CREATE_CHILD_SA for CHILD SAs (RFC 7296 s1.3.1, s1.3.3), both roles; IKE rekeys are in rekey.c.
 *
 *	HDR, SK {[N(REKEY_SA),] SA, Ni, [KEi,] TSi, TSr} -->
 *			<--  HDR, SK {SA, Nr, [KEr,] TSi, TSr}
 *			<--  HDR, SK {N(error)}
 *
 * A side that still has no address asks for one again: CP in both directions (s2.19).
 *
 * Make before break: the old CHILD SA goes by a Delete of whoever rekeyed it, after the new one
 * works. REKEY_SA and Delete name SPIs as their sender receives on them: our spi_out.
 */
#include "engine_int.h"

#include <stdio.h>
#include <stdlib.h>

#define SOON_MS	  1000
#define REFUSE_MS 60000
#define COVERED_MS (10 * 60 * 1000)

static uint16_t first_group(const struct proposals *ps)
{
	for (unsigned i = 0; i < ps->count; i++)
		for (unsigned k = 0; k < ps->p[i].count; k++)
			if (ps->p[i].t[k].type == TRANSFORM_KE && ps->p[i].t[k].id != KE_NONE)
				return ps->p[i].t[k].id;
	return KE_NONE;
}

int create_child_send(struct engine *e, struct ike_sa *sa, struct task *t)
{
	struct child_sa *old = NULL, *c;
	struct ts_list *ts = NULL;
	struct proposals *esp = NULL;
	struct ike_build *b;
	uint16_t group;
	int err = -ENOMEM;

	if (t->kind == TASK_REKEY_CHILD) {
		old = ike_sa_child_in(sa, t->spi);
		if (!old || !child_sa_usable(old))
			return -EALREADY;	/* deleted or rekeyed meanwhile */
		if (old->state == CHILD_HALF) { /* the peer may not even know it yet */
			timer_arm(e, &old->life, e->now_ms + SOON_MS);
			return -EALREADY;
		}
	}
	if (!old && (!child_conf(sa, t->conf) || (t->if_none && ike_sa_child_of(sa, t->conf))))
		return -EALREADY;
	c = child_start(e, sa, old ? old->conf : t->conf);
	if (!c)
		return -ENOMEM;
	c->replaces = old ? old->spi_in : 0;
	ts = calloc(2, sizeof(*ts));
	esp = calloc(1, sizeof(*esp));
	if (!ts || !esp)
		goto fail;
	group = t->group ? t->group : first_group(child_esp(sa, c->conf));
	if (group && dh_new(group, &sa->out.dh))
		goto fail;
	sa->out.ni.len = NONCE_LEN;
	engine_random(e, sa->out.ni.b, NONCE_LEN);
	b = inner_begin(e);
	if (old)
		pld_notify_add_spi(b, REKEY_SA, PROTO_ESP, old->spi_in, (struct span){ NULL, 0 });
	sa->out.asked_cp = !old && cp_missing(sa);
	if (sa->out.asked_cp)
		cp_wish(sa, b);
	child_offer(c, false, esp);
	sa_add(b, esp);
	pld_nonce_add(b, (struct span){ sa->out.ni.b, NONCE_LEN });
	if (group)
		pld_ke_add(b, group, dh_public(sa->out.dh));
	child_wish(c, old, &ts[0], &ts[1]);
	ts_add(b, PLD_TSI, &ts[0]);
	ts_add(b, PLD_TSR, &ts[1]);
	child_window_add(e, sa, b);
	err = request_send(e, sa, CREATE_CHILD_SA, t);
	if (err)
		goto fail;
	sa->out.new_child = c;
	free(ts);
	free(esp);
	return 0;
fail:
	child_drop(e, c, false);
	outreq_clear(&sa->out);
	free(ts);
	free(esp);
	return err;
}

/* ---- responder ---- */

static void answer_error(struct engine *e, struct ike_sa *sa, const struct ike_msg *m,
			 const struct engine_path *path, uint64_t hash, uint16_t notify,
			 uint16_t group)
{
	struct ike_build *b = inner_begin(e);

	if (sa_may_log(e, sa, path))
		log_info(&sa->log, "CREATE_CHILD_SA of the peer answered with %s",
			 ike_notify_name(notify));
	if (notify == INVALID_SYNTAX) {
		sa_invalid_syntax(e, sa, &m->hdr, path, hash);
		return;
	}
	if (notify == INVALID_KE_PAYLOAD)
		pld_notify_add_be16(b, notify, group);
	else
		pld_notify_add(b, notify, (struct span){ NULL, 0 });
	reply_send(e, sa, CREATE_CHILD_SA, m->hdr.id, path, hash);
}

static void answer_not_found(struct engine *e, struct ike_sa *sa, const struct ike_msg *m,
			     const struct engine_path *path, uint64_t hash, uint32_t spi)
{
	pld_notify_add_spi(inner_begin(e), CHILD_SA_NOT_FOUND, PROTO_ESP, spi,
			   (struct span){ NULL, 0 });
	reply_send(e, sa, CREATE_CHILD_SA, m->hdr.id, path, hash);
}

static void answer_new_child(struct engine *e, struct ike_sa *sa, const struct ike_msg *m,
			     const struct engine_path *path, uint64_t hash, struct child_sa *old,
			     enum collide_verdict v)
{
	struct ike_build *b = inner_begin(e);
	struct nonce ni, nr = { .len = NONCE_LEN };
	struct child_sa *c;
	uint16_t notify, group;

	/* Who rekeys an SA has its keys. */
	if (old && old->announced)
		child_switch_out(e, old);
	nonce_set(&ni, m->nonce);
	engine_random(e, nr.b, NONCE_LEN);
	if (!old && ike_sa_children_up(sa) >= IKE_CHILDREN_UP)
		notify = NO_ADDITIONAL_SAS;
	else if (!old && !cp_give(e, sa, m, b))
		notify = INTERNAL_ADDRESS_FAILURE;
	else
		notify = child_respond(e, sa, m, b, old, false, &ni, &nr, &group, &c);
	if (notify) {
		if (notify == TS_UNACCEPTABLE || notify == NO_PROPOSAL_CHOSEN)
			explain_child(e, sa, path, m, notify);
		answer_error(e, sa, m, path, hash, notify, group);
		return;
	}
	if (reply_send(e, sa, CREATE_CHILD_SA, m->hdr.id, path, hash)) {
		child_drop(e, c, false);
		return;
	}
	if (!old) {
		if (child_stands_beside(c))
			child_announce(e, c);
		else if (child_switch_out(e, c))
			task_queue(e, sa, TASK_DELETE_CHILD, c->spi_in);
		else
			child_announce(e, c);
		peer_settle(e, sa, false);
		return;
	}
	if (v == COLLIDE_RIVAL) {
		struct collision *r = &sa->out.rival;

		r->active = true;
		r->spi_in = c->spi_in;
		r->lowest = nonce_lower(&ni, &nr);
		return;
	}
	old->replaced_by = c->spi_in;
	child_announce(e, c);
	if (old->state != CHILD_CLOSING) {
		old->state = CHILD_REKEYED;
		timer_arm(e, &old->life, e->now_ms + RETIRED_MS);
	}
}

void create_child_request(struct engine *e, struct ike_sa *sa, struct ike_msg *m,
			  const struct engine_path *path, uint64_t request_hash)
{
	const struct pld_notify *rekey = ike_msg_notify(m, REKEY_SA);
	struct child_sa *old = NULL;
	enum collide_verdict v;
	uint32_t spi = 0;

	rekey_ike_settle(e, sa);
	if (!m->tsi.p && !rekey) {
		rekey_ike_request(e, sa, m, path, request_hash);
		return;
	}
	if (!m->sa.p || !m->nonce.p) {
		answer_error(e, sa, m, path, request_hash, INVALID_SYNTAX, 0);
		return;
	}
	if (rekey) {
		spi = pld_notify_spi(rekey);
		old = rekey->proto == PROTO_ESP ? ike_sa_child_out(sa, spi) : NULL;
	}
	v = collide(sa, rekey ? WISH_REKEY_CHILD : WISH_CREATE_CHILD, old);
	if (v == COLLIDE_NOT_FOUND)
		answer_not_found(e, sa, m, path, request_hash, spi);
	else if (v == COLLIDE_TEMPORARY)
		answer_error(e, sa, m, path, request_hash, TEMPORARY_FAILURE, 0);
	else
		answer_new_child(e, sa, m, path, request_hash, old, v);
}

/* ---- initiator ---- */

/* The rekey came to nothing: the old one goes on, and is tried again later. */
static void rekey_again(struct engine *e, struct ike_sa *sa, uint32_t spi, uint64_t in_ms)
{
	struct child_sa *old = ike_sa_child_in(sa, spi);

	if (old && child_sa_usable(old))
		timer_arm(e, &old->life, e->now_ms + in_ms + engine_random32(e) % SOON_MS);
}

/* The CHILD SA of the peer's exchange that crossed ours, unless the peer has deleted it already. */
static struct child_sa *rival_of(const struct ike_sa *sa, const struct outreq *o)
{
	struct child_sa *c = o->rival.active ? ike_sa_child_in(sa, o->rival.spi_in) : NULL;

	return c && child_sa_usable(c) ? c : NULL;
}

static void rival_stays(struct engine *e, struct ike_sa *sa, struct outreq *o,
			struct child_sa *rival)
{
	struct child_sa *old = ike_sa_child_in(sa, o->task.spi);

	child_announce(e, rival);
	if (old)
		old->replaced_by = rival->spi_in;
	if (old && child_sa_usable(old)) {
		old->state = CHILD_REKEYED;
		timer_arm(e, &old->life, e->now_ms + RETIRED_MS);
	} else if (!old || !old->out_installed) {
		child_switch_out(e, rival);
	}
}

void child_rekey_in_vain(struct engine *e, struct ike_sa *sa, const struct outreq *o)
{
	struct child_sa gone = { .sa = sa, .spi_in = o->task.spi, .spi_out = o->owed_out };

	if (o->owes_down)
		fx_child(e, FX_CHILD_DOWN, &gone);
}

/*
 * The peer takes no further CHILD SA on this IKE SA (s1.3): some take one, ever. What another one carries
 * already is not missed; the rest is asked for seldom, for each try would be refused alike.
 */
static void no_further_child(struct engine *e, struct ike_sa *sa, uint32_t conf)
{
	const struct engine_child_conf *cc = child_conf(sa, conf);
	const struct child_sa *c = sa->children;

	while (cc && c && !(child_sa_usable(c) && child_holds(c, cc)))
		c = c->next;
	if (cc && c) {
		log_info(&sa->log,
			 "the peer takes no further CHILD SA: %s goes by %08x/%08x, which holds "
			 "all of it",
			 cc->name, c->spi_in, c->spi_out);
		child_put_off(e, sa, conf, COVERED_MS);
		return;
	}
	explain(
	    e, sa->peer, sa, &sa->path, ENGINE_WHY_REFUSED, true,
	    "the peer takes no further CHILD SA (NO_ADDITIONAL_SAS): [child %s] is not up; allow "
	    "it more of them, or put all selectors into one [child]",
	    cc ? cc->name : "?");
	child_put_off(e, sa, conf, REFUSE_MS / 2);
}

static void on_refusal(struct engine *e, struct ike_sa *sa, struct outreq *o,
		       const struct pld_notify *n)
{
	struct task again = { .kind = o->task.kind,
			      .spi = o->task.spi,
			      .conf = o->task.conf,
			      .if_none = o->task.if_none,
			      .rounds = (uint8_t)(o->task.rounds + 1) };
	struct child_sa *old = ike_sa_child_in(sa, o->task.spi), *rival = rival_of(sa, o);
	uint32_t conf = old ? old->conf : o->task.conf;

	if (n->type == INVALID_KE_PAYLOAD && n->len == 2 && o->task.rounds < 2 && !o->owes_down) {
		again.group = (uint16_t)(n->data[0] << 8 | n->data[1]);
		if (dh_public_len(again.group) && (!o->dh || dh_group(o->dh) != again.group)) {
			ike_sa_task_add(sa, &again);
			return;
		}
	}
	if (rival) {
		rival_stays(e, sa, o, rival);
		return;
	}
	child_rekey_in_vain(e, sa, o);
	if (n->type == TEMPORARY_FAILURE) {
		uint64_t wait_ms = rekey_put_off(e, sa);

		if (o->task.kind == TASK_REKEY_CHILD)
			rekey_again(e, sa, o->task.spi, wait_ms);
		else
			child_want(e, sa, conf, SOON_MS);
		return;
	}
	if (n->type == CHILD_SA_NOT_FOUND && o->task.kind == TASK_REKEY_CHILD) {
		/* s2.25: silently deleted, and made anew, by us even if that is not our part */
		if (old && child_sa_usable(old)) {
			child_drop(e, old, true);
			child_want_lost(e, sa, conf);
		}
		child_want(e, sa, conf, 0);
		return;
	}
	/* One that we keep up; what the admin asked for by hand gets the plain word below. */
	if (n->type == NO_ADDITIONAL_SAS && o->task.if_none && ike_sa_children_up(sa)) {
		no_further_child(e, sa, conf);
		return;
	}
	explain_child_by_peer(e, sa, old, n->type,
			      o->task.kind == TASK_REKEY_CHILD ? "to rekey a CHILD SA"
							       : "to create a CHILD SA");
	if (o->task.kind == TASK_REKEY_CHILD)
		rekey_again(e, sa, o->task.spi, REFUSE_MS);
	else
		child_want(e, sa, conf, SOON_MS);
	/* s1.3: what cannot be rekeyed here goes on in a new IKE SA */
	if (n->type == NO_ADDITIONAL_SAS && o->task.kind == TASK_REKEY_CHILD &&
	    sa->series_initiator)
		call_beside(e, sa);
}

/* The new one works. Which of up to three goes now? */
static void on_success(struct engine *e, struct ike_sa *sa, struct outreq *o, struct child_sa *c,
		       const struct nonce *nr)
{
	struct child_sa *old =
	    o->task.kind == TASK_REKEY_CHILD ? ike_sa_child_in(sa, o->task.spi) : NULL;
	struct child_sa *rival = rival_of(sa, o);
	struct nonce ni = nonce_own(&o->ni);

	/*
	 * A rival that is gone again counts only if the peer deleted the old one too: then it had settled
	 * for its own. Otherwise it gave its own up, whatever the nonces say.
	 */
	if (o->rival.active && (rival || !old || old->state == CHILD_LINGER) &&
	    collide_lost(sa, &ni, nr, &o->rival)) {
		log_info(&sa->log, "both sides rekeyed: ours is the redundant CHILD SA");
		if (rival)
			rival_stays(e, sa, o, rival);
		else
			child_rekey_in_vain(e, sa, o);
		task_queue(e, sa, TASK_DELETE_CHILD, c->spi_in);
		return;
	}
	if (child_switch_out(e, c)) {
		child_rekey_in_vain(e, sa, o);
		task_queue(e, sa, TASK_DELETE_CHILD, c->spi_in);
		rekey_again(e, sa, o->task.spi, SOON_MS);
		return;
	}
	if (old)
		old->replaced_by = c->spi_in;
	child_announce(e, c);
	if (old && old->state != CHILD_LINGER) {
		child_stop_out(e, old);
		old->state = CHILD_REKEYED; /* its Delete may have to wait for its turn */
		timer_arm(e, &old->life, e->now_ms + RETIRED_MS);
		task_queue(e, sa, TASK_DELETE_CHILD, old->spi_in);
	}
	/* A rival that lost is deleted by the peer who made it. */
	if (rival) {
		rival->replaced_by = c->spi_in;
		rival->state = CHILD_REKEYED;
		child_stop_out(e, rival);
		timer_arm(e, &rival->life, e->now_ms + RETIRED_MS);
	}
	if (o->task.kind == TASK_CREATE_CHILD)
		peer_settle(e, sa, false);
}

void create_child_response(struct engine *e, struct ike_sa *sa, struct outreq *o,
			   const struct ike_msg *m)
{
	const struct pld_notify *n = ike_msg_error(m);
	struct child_sa *c = o->new_child, *rival;
	struct child_sa *old =
	    o->task.kind == TASK_REKEY_CHILD ? ike_sa_child_in(sa, o->task.spi) : NULL;
	char why[200] = "its answer is incomplete", name[IKE_NOTIFY_STR_MAX];
	struct nonce ni = nonce_own(&o->ni), nr;
	uint32_t conf;
	int err = -EPROTO;

	o->new_child = NULL;
	if (!n || n->type != TEMPORARY_FAILURE)
		sa->put_off_ms = 0;
	if (!c)
		return;
	conf = c->conf;
	if (n && !m->sa.p) {
		child_drop(e, c, false);
		on_refusal(e, sa, o, n);
		return;
	}
	if (o->asked_cp && m->cp.p)
		cp_take(e, sa, m);
	else if (m->cp.p && sa_may_log(e, sa, &sa->path))
		log_info(&sa->log, "addresses that nobody asked for: not taken");
	if (m->sa.p && m->nonce.p) {
		nonce_set(&nr, m->nonce);
		err = child_complete(e, sa, c, m, old, false, &ni, &nr, o->dh, why, sizeof(why));
	}
	/* Whatever that error means, the request has failed entirely (s3.10.1). */
	if (!err && ike_msg_unknown_error(m)) {
		snprintf(why, sizeof(why), "its answer has an %s",
			 ike_notify_str(ike_msg_unknown_error(m)->type, name));
		err = -EPROTO;
	}
	for (unsigned i = 0; !err && i < sizeof(o->deleted) / sizeof(*o->deleted); i++) {
		if (o->deleted[i] != c->spi_out)
			continue;
		log_info(&sa->log, "the peer deleted the new CHILD SA before we knew of it");
		child_drop(e, c, false);
		child_rekey_in_vain(e, sa, o);
		if (old && old->state != CHILD_LINGER)
			task_queue(e, sa, TASK_DELETE_CHILD, old->spi_in);
		child_want(e, sa, conf, SOON_MS);
		return;
	}
	if (!err) {
		on_success(e, sa, o, c, &nr);
		if (o->task.kind == TASK_CREATE_CHILD)
			child_more(e, sa, c, m, o->task.more);
		return;
	}
	explain(e, sa->peer, sa, &sa->path,
		err == -EKEYREJECTED ? ENGINE_WHY_PROTOCOL : ENGINE_WHY_LOCAL, false,
		"the CHILD SA cannot be used: %s", why);
	if (err == -EKEYREJECTED) {
		sa_end_told(e, sa, ENGINE_WHY_PROTOCOL);
		return;
	}
	if (c->spi_out)
		task_queue(e, sa, TASK_DELETE_CHILD, c->spi_in);
	else
		child_drop(e, c, false);
	rival = rival_of(sa, o);
	if (rival) {
		rival_stays(e, sa, o, rival);
		return;
	}
	child_rekey_in_vain(e, sa, o);
	if (o->task.kind == TASK_REKEY_CHILD)
		rekey_again(e, sa, o->task.spi, REFUSE_MS);
	else
		child_want(e, sa, conf, SOON_MS);
}
