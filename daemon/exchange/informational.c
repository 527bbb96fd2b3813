/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * INFORMATIONAL (RFC 7296 s1.4): Deletes, proof of life, and Postern's private notifies.
 *
 *	HDR, SK {} -->					<--  HDR, SK {}
 *	HDR, SK {D(ESP, spi..)} -->			<--  HDR, SK {D(ESP, spi..)}
 *	HDR, SK {D(IKE)} -->				<--  HDR, SK {}
 *	HDR, SK {N(AUTHENTICATION_FAILED)} -->		<--  HDR, SK {}	as D(IKE): s2.21.2
 *	HDR, SK {N(UPDATE_SA_ADDRESSES), ..} -->	<--  HDR, SK {..}	mobike.c
 */
#include "engine_int.h"

#include <stdlib.h>

/* ---- our requests ---- */

int delete_send(struct engine *e, struct ike_sa *sa, struct task *t)
{
	struct child_sa *c;

	if (t->kind == TASK_DELETE_IKE) {
		pld_delete_add_ike(inner_begin(e));
		return request_send(e, sa, INFORMATIONAL, t);
	}
	c = ike_sa_child_in(sa, t->spi);
	/* A NEW one here is one that we could not install: the peer has it all the same. */
	if (!c || c->state == CHILD_LINGER || !c->spi_out)
		return -EALREADY;
	pld_delete_add_esp(inner_begin(e), &c->spi_in, 1);
	child_stop_out(e, c);
	child_successor_sends(e, c);
	c->state = CHILD_CLOSING;
	timer_arm(e, &c->life, e->now_ms + RETIRED_MS); /* the peer may be gone */
	return request_send(e, sa, INFORMATIONAL, t);
}

int liveness_send(struct engine *e, struct ike_sa *sa, struct task *t)
{
	struct ike_build *b = inner_begin(e);

	if (t->kind == TASK_PRIVATE)
		pld_notify_add(b, t->type, (struct span){ t->bytes, t->len });
	else if (sa->postern || mobike_moves(sa))
		nat_add_initiator(e, b, sa->spi_i, sa->spi_r, &sa->path);
	if (sa->mobike && t->kind == TASK_LIVENESS)
		mobike_cookie2_add(e, sa, b);
	return request_send(e, sa, INFORMATIONAL, t);
}

/* ---- the peer's requests ---- */

/* One SPI of a Delete. Returns our SPI for the answer, 0: none. */
static uint32_t delete_child(struct engine *e, struct ike_sa *sa, uint32_t spi_out)
{
	struct child_sa *c = ike_sa_child_out(sa, spi_out), *next;
	enum collide_verdict v = collide(sa, WISH_DELETE_CHILD, c);
	uint32_t spi_in, conf;

	if (!c) {
		/* Its answer to our CREATE_CHILD_SA may still be on its way (ike.md case 70). */
		memmove(sa->out.deleted + 1, sa->out.deleted,
			sizeof(sa->out.deleted) - sizeof(uint32_t));
		sa->out.deleted[0] = spi_out;
		return 0;
	}
	spi_in = c->spi_in;
	conf = c->conf;
	/* The Delete of the old one shows that the peer uses the new one (s2.8). */
	next = c->replaced_by ? ike_sa_child_in(sa, c->replaced_by) : NULL;
	if (sa->out.task.kind == TASK_REKEY_CHILD && sa->out.task.spi == spi_in) {
		struct child_sa *rival =
		    sa->out.rival.active ? ike_sa_child_in(sa, sa->out.rival.spi_in) : NULL;

		if (rival && child_sa_usable(rival)) {
			next = rival;
			c->replaced_by = next->spi_in;
		} else if (!next && c->announced) {
			/* Our own rekey may still come to something: then it was replaced, not lost. */
			sa->out.owes_down = true;
			sa->out.owed_out = spi_out;
		}
	}
	if (next && child_sa_usable(next))
		child_announce(e, next);
	ike_sa_task_drop(sa, TASK_DELETE_CHILD, spi_in);
	ike_sa_task_drop(sa, TASK_REKEY_CHILD, spi_in);
	child_linger(e, c, !sa->out.owes_down || sa->out.task.spi != spi_in);
	child_want(e, sa, conf, 1000);
	return v == COLLIDE_EMPTY ? 0 : spi_in;
}

/* The peer is done with this IKE SA. */
static void delete_ike(struct engine *e, struct ike_sa *sa, bool refused)
{
	struct ike_sa *rival =
	    sa->out.rival.active && sa->out.task.kind == TASK_REKEY_IKE ? sa->out.rival.sa : NULL;

	/* It crossed our rekey: the peer's own rekey is what counts for it (s2.25.2). */
	if (rival) {
		timer_clear(&e->timers, &sa->resend);
		sa->win.outstanding = false;
		rekey_ike_done(e, sa, rival);
	}
	if (sa->state != SA_REKEYED && sa->state != SA_RETIRED)
		beside_revive(e, sa);
	if (sa->state == SA_REKEYED || sa->state == SA_RETIRED)
		sa_end_soft(e, sa, ENGINE_WHY_REPLACED, true);
	else
		sa_end_soft(e, sa, refused ? ENGINE_WHY_AUTH_FAILED : ENGINE_WHY_DELETED, false);
}

static void private_notifies(struct engine *e, struct ike_sa *sa, const struct ike_msg *m,
			     const struct engine_path *path)
{
	for (unsigned i = 0; sa->postern && i < m->n_notifies; i++) {
		const struct pld_notify *n = &m->notifies[i];
		struct fx *f;

		if (n->type < NOTIFY_PRIVATE_STATUS)
			continue;
		f = fx_add(e, FX_PRIVATE);
		f->private_notify.peer = sa->peer->p->id;
		f->private_notify.ike = sa->handle;
		f->private_notify.type = n->type;
		f->private_notify.path = *path;
		f->private_notify.bytes = malloc(n->len ? n->len : 1);
		if (!f->private_notify.bytes)
			continue;
		if (n->len)
			memcpy(f->private_notify.bytes, n->data, n->len);
		f->private_notify.len = n->len;
	}
}

#define ANSWER_SPIS 32

static uint16_t run_deletes(struct engine *e, struct ike_sa *sa, const struct ike_msg *m,
			    uint32_t spis[static ANSWER_SPIS], bool *ike)
{
	uint16_t n = 0;

	for (unsigned i = 0; i < m->n_deletes; i++) {
		const struct pld_delete *d = &m->deletes[i];

		*ike |= d->proto == PROTO_IKE;
		if (d->proto == PROTO_ESP)
			rekey_ike_settle(e, sa);
		for (unsigned k = 0; d->proto == PROTO_ESP && k < d->count; k++) {
			uint32_t ours = delete_child(e, sa, pld_delete_spi(d, k));

			if (ours && n < ANSWER_SPIS)
				spis[n++] = ours;
		}
	}
	return n;
}

void informational_request(struct engine *e, struct ike_sa *sa, struct ike_msg *m,
			   const struct engine_path *path, uint64_t request_hash)
{
	bool refused = ike_msg_notify(m, AUTHENTICATION_FAILED) != NULL;
	uint32_t spis[ANSWER_SPIS];
	struct ike_build *b;
	bool ike = refused, moves;
	uint16_t n;

	n = run_deletes(e, sa, m, spis, &ike);
	b = inner_begin(e); /* only now: a Delete may have started a request of ours */
	if (n)
		pld_delete_add_esp(b, spis, n);
	if ((sa->postern || sa->mobike) && ike_msg_notify(m, NAT_DETECTION_DESTINATION_IP))
		nat_add_responder(e, b, sa->spi_i, sa->spi_r, path, m);
	moves = mobike_answer(e, sa, m, path, b);
	if (reply_send(e, sa, INFORMATIONAL, m->hdr.id, path, request_hash))
		return;
	nat_judge(sa, m, path);
	/* A question that the peer asks since we are elsewhere for it. */
	if (sa->postern && engine_path_eq(path, &sa->path) && nat_seen(sa, m)) {
		struct fx *f = fx_add(e, FX_NAT_CHANGED);

		f->reply.peer = sa->peer->p->id;
		f->reply.ike = sa->handle;
		f->reply.path = *path;
	}
	if (moves)
		mobike_move(e, sa, path, m->raw.len);
	mobike_others(e, sa, m);
	private_notifies(e, sa, m, path);
	redirect_heard(e, sa, m);
	invalid_spi_heard(e, sa, m);
	if (!ike)
		return;
	if (refused)
		explain(e, sa->peer, sa, path, ENGINE_WHY_AUTH_FAILED, true,
			"the peer does not believe that we are who we say: `%s` or `local-auth` here "
			"is another than it expects; its log says more",
			sa->peer->p->local_auth.kind == ENGINE_AUTH_PSK ? "psk" : "private-key");
	delete_ike(e, sa, refused);
}

/* ---- answers to ours ---- */

void informational_response(struct engine *e, struct ike_sa *sa, struct outreq *o,
			    const struct ike_msg *m, const struct engine_path *path)
{
	struct child_sa *c;
	uint32_t conf;

	switch (o->task.kind) {
	case TASK_DELETE_IKE:
		sa_end(e, sa, ENGINE_WHY_ADMIN, sa->state == SA_REKEYED || sa->state == SA_RETIRED);
		break;
	case TASK_DELETE_CHILD:
		c = ike_sa_child_in(sa, o->task.spi);
		conf = c ? c->conf : 0;
		if (c && c->state == CHILD_CLOSING)
			child_linger(e, c, true);
		child_want(e, sa, conf, 1000);
		break;
	case TASK_LIVENESS:
	case TASK_UPDATE:
		if (sa->postern || mobike_moves(sa))
			nat_judge(sa, m, &sa->path);
		mobike_response(e, sa, o, m, path);
		break;
	default:
		break;
	}
}
