/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Rekeying of the IKE SA (RFC 7296 s1.3.2, s2.8, s2.18), both roles, and when it is due.
 *
 *	HDR, SK {SA, Ni, KEi} -->
 *			<--  HDR, SK {SA, Nr, KEr}
 *	HDR, SK {D} -->			on the old IKE SA, by whoever rekeyed it
 *
 * The new SA inherits the children. The side that answered moves them with its answer, the other when
 * the answer comes; in a collision both wait until the nonces are known (s2.8.2).
 */
#include "engine_int.h"

#include <stdlib.h>

void rekey_schedule(struct engine *e, struct ike_sa *sa)
{
	uint64_t life = sa->peer->p->lifetime.ike_s * 1000ull;

	if (!life)
		return;
	if (sa->series_initiator)
		life -= engine_random32(e) % (life / 10 + 1);
	else
		life += life / 10;
	sa->rekey_at_ms = e->now_ms + life;
	timer_arm(e, &sa->life, sa->rekey_at_ms);
}

void on_sa_life(struct timer *t, uint64_t now_ms)
{
	struct ike_sa *sa = t->arg;
	struct engine *e = sa->engine;

	switch (sa->state) {
	case SA_CALLING:
		call_refused(e, sa);
		break;
	case SA_UP:
		timer_arm(e, &sa->life, now_ms + 30000); /* should this rekey come to nothing */
		task_queue(e, sa, TASK_REKEY_IKE, 0);
		break;
	case SA_R_ASK:
		ike_auth_free(e, sa);
		break;
	case SA_I_SIGN:
		if (sa->auth->want == AUTH_WANT_NONE) {
			ike_auth_begin(e, sa);
			break;
		}
		/* fall through */
	case SA_I_VERIFY:
	case SA_R_VERIFY:
	case SA_R_SIGN:
		explain(e, sa->peer, sa, &sa->path, ENGINE_WHY_TIMEOUT, false,
			"the keys process did not answer");
		sa_end(e, sa, ENGINE_WHY_TIMEOUT, false);
		break;
	case SA_RETIRED: /* the peer had its time to delete it */
		if (!ike_sa_task_has(sa, TASK_DELETE_IKE, 0)) {
			timer_arm(e, &sa->life, now_ms + RETIRED_MS);
			task_queue(e, sa, TASK_DELETE_IKE, 0);
		} else {
			sa_end(e, sa, ENGINE_WHY_REPLACED, true);
		}
		break;
	default:
		sa_end(e, sa, ENGINE_WHY_TIMEOUT, false);
		break;
	}
}

/* ---- the new SA ---- */

static int choice_spi(const struct sa_choice *c, uint64_t *spi)
{
	struct rd r = rd_init(c->spi, c->spi_len);

	*spi = rd_be64(&r);
	return r.bad || c->spi_len != 8 || !*spi ? -EPROTO : 0;
}

/* In *@out; or -EBADMSG, -EPROTO: the peer's KE value is in no group; any other error is ours. */
static int successor_make(struct engine *e, struct ike_sa *old, uint64_t spi_i, uint64_t spi_r,
			  bool initiator, const struct sa_choice *choice, const struct dh *dh,
			  const struct ike_msg *m, const struct nonce *ni, const struct nonce *nr,
			  struct ike_sa **out)
{
	struct ike_sa *sa = sa_register(e, old->peer, spi_i, spi_r, initiator);
	struct secret shared = { 0 };
	int err;

	if (!sa)
		return -ENOMEM;
	sa->suite = sa_choice_ike(choice);
	sa->path = old->path;
	sa->series_initiator = old->series_initiator;
	sa->frag = old->frag;
	sa->frag_max = old->frag_max;
	sa->postern = old->postern;
	sa->redirects = old->redirects;
	sa->mobike = old->mobike;
	sa->mid_sync = old->mid_sync;
	sa->nat_local = old->nat_local;
	sa->nat_remote = old->nat_remote;
	sa->has_instance = old->has_instance;
	memcpy(sa->instance, old->instance, sizeof(sa->instance));
	sa->reply_ms = old->reply_ms;
	sa->lowest = old->lowest;
	sa->series_since_ms = old->series_since_ms;
	err = dh_shared(dh, m->ke.data, m->ke.len, &shared);
	if (!err)
		err = ike_keys_rekey(&sa->suite, old->suite.prf, &old->keys.sk_d, nonce_span(ni),
				     nonce_span(nr), spi_i, spi_r, &shared, &sa->keys);
	secret_clear(&shared);
	if (!err)
		err = ike_sa_keyed(sa);
	secret_clear(&sa->keys.sk_pi); /* no AUTH will be made of them */
	secret_clear(&sa->keys.sk_pr);
	sa->state = SA_UP;
	if (err)
		sa_end(e, sa, ENGINE_WHY_PROTOCOL, true);
	else
		*out = sa;
	return err;
}

/*
 * A request about CHILD SAs on an SA whose collision we have not settled: the peer works on it already,
 * so it is the one that stays.
 */
void rekey_ike_settle(struct engine *e, struct ike_sa *to)
{
	for (struct ike_sa *o = to->peer->sas; o; o = o->peer_next) {
		if (!o->out.rival.active || o->out.rival.sa != to || o->state != SA_UP)
			continue;
		o->out.rival.active = false;
		rekey_ike_done(e, o, to);
		return;
	}
}

void rekey_ike_done(struct engine *e, struct ike_sa *from, struct ike_sa *to)
{
	struct child_sa **at = &to->children;
	struct fx *f;

	while (*at)
		at = &(*at)->next;
	*at = from->children;
	for (struct child_sa *c = from->children; c; c = c->next)
		c->sa = to;
	to->child_count += from->child_count;
	from->children = NULL;
	from->child_count = 0;
	for (unsigned i = 0; i < from->task_count; i++) {
		if (from->tasks[i].kind == TASK_DELETE_IKE || from->tasks[i].kind == TASK_REKEY_IKE)
			task_clear(&from->tasks[i]);
		else
			ike_sa_task_add(to, &from->tasks[i]);
	}
	from->task_count = 0;
	to->path = from->path;
	if (from->win.outstanding && from->out.task.kind == TASK_UPDATE)
		ike_sa_task_first(to, &(struct task){ .kind = TASK_UPDATE });
	to->dates = from->dates;
	from->dates = NULL;
	to->others = from->others;
	from->others = NULL;
	to->was_up = from->was_up;
	from->was_up = false;
	child_dues_move(from, to);
	to->since_ms = e->now_ms;
	from->successor = to;
	to->predecessor = from;
	sa_enter_state(e, from, SA_REKEYED);
	/* Of a new one that the peer made and has used already, nothing would arm it later. */
	if (to->confirmed && !to->initiator)
		timer_arm(e, &from->life, e->now_ms + RETIRED_MS);
	else
		timer_clear(&e->timers, &from->life);
	timer_clear(&e->timers, &from->retry);
	rekey_schedule(e, to);
	f = fx_add(e, FX_IKE_REKEYED);
	f->rekeyed.peer = to->peer->p->id;
	f->rekeyed.old_ike = from->handle;
	f->rekeyed.new_ike = to->handle;
	log_info(&to->log, "IKE SA rekeyed");
	child_want_all(e, to);
	/*
	 * Its hashes of where it sees us are over the new SPIs: without one of before a NAT's change there
	 * would be nothing to compare with, and it would not be noticed.
	 */
	if (mobike_moves(to) && !to->postern)
		(void)task_queue(e, to, TASK_LIVENESS, 0);
	tasks_run(e, to);
}

/*
 * What is offered and taken for the successor: the PRF stays, unless the peer has no proposal with it any
 * more. s2.18 has the new SA's PRF expand SKEYSEED; strongSwan takes the old one's (5.9.8 and 6.0.1
 * were seen to), so both ends would have other keys where the PRF changes.
 */
static void policy_with_prf(const struct ike_sa *sa, bool any_prf, struct proposals *ps)
{
	proposals_keep(ps, sa->peer->p->ike, TRANSFORM_PRF, sa->suite.prf);
	if (any_prf || !ps->count)
		*ps = *sa->peer->p->ike;
}

/* ---- responder ---- */

static void refuse(struct engine *e, struct ike_sa *sa, const struct ike_msg *m,
		   const struct engine_path *path, uint64_t hash, uint16_t notify, uint16_t group)
{
	struct ike_build *b = inner_begin(e);

	if (sa_may_log(e, sa, path))
		log_info(&sa->log, "rekey of the IKE SA answered with %s", ike_notify_name(notify));
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

static uint16_t agree(struct ike_sa *sa, const struct ike_msg *m, struct sa_choice *choice,
		      uint64_t *spi)
{
	struct proposals *offer, *ours;
	uint16_t notify = 0;

	if (!m->sa.p || !m->nonce.p || !m->ke.data)
		return INVALID_SYNTAX;
	offer = calloc(2, sizeof(*offer));
	if (!offer)
		return TEMPORARY_FAILURE;
	ours = &offer[1];
	policy_with_prf(sa, false, ours);
	if (sa_parse_offer(m->sa, offer))
		notify = INVALID_SYNTAX;
	else if ((sa_choose(ours, offer, m->ke.group, false, choice) &&
		  sa_choose(sa->peer->p->ike, offer, m->ke.group, false, choice)) ||
		 choice->proto != PROTO_IKE || choice_spi(choice, spi))
		notify = NO_PROPOSAL_CHOSEN;
	else if (choice->ke != m->ke.group)
		notify = INVALID_KE_PAYLOAD;
	free(offer);
	return notify;
}

void rekey_ike_request(struct engine *e, struct ike_sa *sa, struct ike_msg *m,
		       const struct engine_path *path, uint64_t request_hash)
{
	enum collide_verdict v = collide(sa, WISH_REKEY_IKE, NULL);
	struct nonce ni, nr = { .len = NONCE_LEN };
	struct sa_choice choice = { 0 };
	uint64_t spi_i = 0, spi_r;
	struct ike_sa *to = NULL;
	struct dh *dh = NULL;
	struct ike_build *b;
	uint8_t wire[8];
	struct wr w = wr_init(wire, sizeof(wire));
	uint16_t notify;
	int err;

	notify = v == COLLIDE_TEMPORARY ? TEMPORARY_FAILURE : agree(sa, m, &choice, &spi_i);
	if (!notify) {
		nonce_set(&ni, m->nonce);
		engine_random(e, nr.b, NONCE_LEN);
		spi_r = engine_random_spi(e);
		wr_be64(&w, spi_r);
		err = dh_new(choice.ke, &dh);
		if (!err)
			err = successor_make(e, sa, spi_i, spi_r, false, &choice, dh, m, &ni, &nr,
					     &to);
		if (err) /* INVALID_SYNTAX ends the IKE SA: not for a fault of ours */
			notify =
			    err == -EBADMSG || err == -EPROTO ? INVALID_SYNTAX : TEMPORARY_FAILURE;
	}
	if (notify) {
		dh_free(dh);
		refuse(e, sa, m, path, request_hash, notify, choice.ke);
		return;
	}
	b = inner_begin(e);
	sa_add_choice(b, &choice, wire, sizeof(wire));
	pld_nonce_add(b, nonce_span(&nr));
	pld_ke_add(b, dh_group(dh), dh_public(dh));
	qcd_keep(to, m);
	if (to->qcd)
		qcd_add(e, b, false, spi_r);
	dh_free(dh);
	if (reply_send(e, sa, CREATE_CHILD_SA, m->hdr.id, path, request_hash)) {
		sa_end(e, to, ENGINE_WHY_LOCAL, true);
		return;
	}
	if (v == COLLIDE_RIVAL) {
		sa->out.rival.active = true;
		sa->out.rival.sa = to;
		sa->out.rival.lowest = nonce_lower(&ni, &nr);
		return;
	}
	rekey_ike_done(e, sa, to);
	peer_bound(e, to);
}

/* ---- initiator ---- */

static uint16_t same_group(const struct ike_sa *sa)
{
	const struct proposals *ps = sa->peer->p->ike;
	uint16_t first = KE_NONE;

	for (unsigned i = 0; i < ps->count; i++)
		for (unsigned k = 0; k < ps->p[i].count; k++) {
			if (ps->p[i].t[k].type != TRANSFORM_KE)
				continue;
			if (ps->p[i].t[k].id == sa->suite.ke)
				return sa->suite.ke;
			if (!first)
				first = ps->p[i].t[k].id;
		}
	return first;
}

int rekey_ike_send(struct engine *e, struct ike_sa *sa, struct task *t)
{
	struct proposals *ps = calloc(1, sizeof(*ps));
	uint8_t wire[8];
	struct wr w = wr_init(wire, sizeof(wire));
	struct ike_build *b;
	int err;

	if (!ps)
		return -ENOMEM;
	err = dh_new(t->group ? t->group : same_group(sa), &sa->out.dh);
	if (!err) {
		sa->out.new_spi = engine_random_spi(e);
		wr_be64(&w, sa->out.new_spi);
		sa->out.ni.len = NONCE_LEN;
		engine_random(e, sa->out.ni.b, NONCE_LEN);
		policy_with_prf(sa, t->any_prf, ps);
		proposals_set_spi(ps, wire, sizeof(wire));
		b = inner_begin(e);
		sa_add(b, ps);
		pld_nonce_add(b, (struct span){ sa->out.ni.b, NONCE_LEN });
		pld_ke_add(b, dh_group(sa->out.dh), dh_public(sa->out.dh));
		if (sa->qcd)
			qcd_add(e, b, true, sa->out.new_spi);
		err = request_send(e, sa, CREATE_CHILD_SA, t);
	}
	if (err)
		outreq_clear(&sa->out);
	free(ps);
	return err;
}

static bool offer_again(struct ike_sa *sa, const struct outreq *o, const struct pld_notify *n)
{
	struct task again = { .kind = TASK_REKEY_IKE,
			      .rounds = (uint8_t)(o->task.rounds + 1),
			      .any_prf = o->task.any_prf };

	if (n->type == NO_PROPOSAL_CHOSEN && !o->task.any_prf && !o->rival.active) {
		again.any_prf = true;
		return !ike_sa_task_add(sa, &again);
	}
	if (n->type != INVALID_KE_PAYLOAD || n->len != 2 || o->task.rounds >= 2)
		return false;
	again.group = (uint16_t)(n->data[0] << 8 | n->data[1]);
	if (!dh_public_len(again.group) || again.group == dh_group(o->dh))
		return false;
	return !ike_sa_task_add(sa, &again);
}

uint64_t rekey_put_off(struct engine *e, struct ike_sa *sa)
{
	uint64_t since_ms;

	if (!sa->put_off_ms)
		sa->put_off_ms = e->now_ms;
	since_ms = e->now_ms - sa->put_off_ms;
	if (since_ms >= TEMPORARY_MS) {
		sa->put_off_ms = 0;
		explain(e, sa->peer, sa, &sa->path, ENGINE_WHY_PROTOCOL, true,
			"the peer answers everything with TEMPORARY_FAILURE for minutes: the two "
			"sides are out of step");
		if (sa->series_initiator)
			call_beside(e, sa);
		else
			task_queue(e, sa, TASK_DELETE_IKE, 0);
	}
	return 1000 + (since_ms < 80000 ? since_ms / 4 : 20000);
}

static void on_refusal(struct engine *e, struct ike_sa *sa, struct outreq *o,
		       const struct pld_notify *n)
{
	char name[IKE_NOTIFY_STR_MAX];

	if (sa->state != SA_UP || offer_again(sa, o, n))
		return;
	if (o->rival.active) { /* the peer's own rekey holds */
		rekey_ike_done(e, sa, o->rival.sa);
		return;
	}
	if (n->type == TEMPORARY_FAILURE) {
		uint64_t wait_ms = rekey_put_off(e, sa);

		if (sa->state == SA_UP) /* that may have ended it */
			timer_arm(e, &sa->life, e->now_ms + wait_ms + engine_random32(e) % 2000);
		return;
	}
	timer_arm(e, &sa->life, e->now_ms + 60000 + engine_random32(e) % 10000);
	explain(e, sa->peer, sa, &sa->path, ENGINE_WHY_REFUSED, true,
		"the peer refuses to rekey the IKE SA with %s", ike_notify_str(n->type, name));
	if (n->type == NO_ADDITIONAL_SAS && sa->series_initiator)
		call_beside(e, sa);
}

static struct ike_sa *successor_of_answer(struct engine *e, struct ike_sa *sa, struct outreq *o,
					  const struct ike_msg *m, const struct nonce *nr)
{
	struct proposals *reply = calloc(1, sizeof(*reply));
	struct nonce ni = nonce_own(&o->ni);
	struct sa_choice choice;
	struct ike_sa *to = NULL;
	uint64_t spi_r;

	if (reply && !sa_parse(m->sa, reply)) {
		struct proposals *ours = calloc(1, sizeof(*ours));
		uint8_t wire[8] = { 0 };

		if (ours) {
			policy_with_prf(sa, o->task.any_prf, ours);
			proposals_set_spi(ours, wire, sizeof(wire));
			if (!sa_check_reply(ours, reply, false, &choice) &&
			    !choice_spi(&choice, &spi_r) && m->ke.group == choice.ke &&
			    dh_group(o->dh) == choice.ke)
				successor_make(e, sa, o->new_spi, spi_r, true, &choice, o->dh, m,
					       &ni, nr, &to);
		}
		free(ours);
	}
	free(reply);
	return to;
}

void rekey_ike_response(struct engine *e, struct ike_sa *sa, struct outreq *o,
			const struct ike_msg *m)
{
	const struct pld_notify *n = ike_msg_error(m);
	struct nonce ni = nonce_own(&o->ni), nr;
	struct ike_sa *to = NULL;

	if (!n || n->type != TEMPORARY_FAILURE)
		sa->put_off_ms = 0;
	if (n && !m->sa.p) {
		on_refusal(e, sa, o, n);
		return;
	}
	/* With an error that we do not know it has failed, whatever else it brings (s3.10.1). */
	if (m->sa.p && m->nonce.p && m->ke.data && !ike_msg_unknown_error(m)) {
		nonce_set(&nr, m->nonce);
		to = successor_of_answer(e, sa, o, m, &nr);
	}
	if (!to) {
		explain(e, sa->peer, sa, &sa->path, ENGINE_WHY_PROTOCOL, false,
			"the peer's answer to our IKE rekey cannot be used");
		if (o->rival.active)
			rekey_ike_done(e, sa, o->rival.sa);
		else /* it has a new SA that we have not: only a new start is clean */
			sa_end_told(e, sa, ENGINE_WHY_PROTOCOL);
		return;
	}
	to->confirmed = true;
	qcd_keep(to, m);
	if (sa->state != SA_UP || (o->rival.active && collide_lost(sa, &ni, &nr, &o->rival))) {
		log_info(&sa->log, "both sides rekeyed: ours is the redundant IKE SA");
		if (sa->state == SA_UP)
			rekey_ike_done(e, sa, o->rival.sa);
		sa_enter_state(e, to, SA_RETIRED);
		timer_arm(e, &to->life, e->now_ms + RETIRED_MS);
		task_queue(e, to, TASK_DELETE_IKE, 0);
		return;
	}
	if (o->rival.active) { /* the peer made it and deletes it */
		sa_enter_state(e, o->rival.sa, SA_RETIRED);
		timer_arm(e, &o->rival.sa->life, e->now_ms + RETIRED_MS);
	}
	rekey_ike_done(e, sa, to);
	task_queue(e, sa, TASK_DELETE_IKE, 0);
}
