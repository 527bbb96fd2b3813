/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One identity, one place (RFC 7296 s2.4; design.md section 4). A Postern says in IKE_AUTH which
 * instance it is: random bytes of each process start. The same instance that calls again has its
 * reasons and replaces its older IKE SA at once. Another instance was either started anew, then the
 * old one is silent for ever; or somebody runs two machines with one key, and without a decision each would
 * throw the other out for as long as both live. So the old one is asked:
 *
 *	newcomer                    we                     the one that is up
 *	SK {IDi, AUTH, N(INSTANCE)} -->  SA_R_ASK
 *	                               SK {} -->
 *	                                              <-- SK {}               newcomer is refused
 *	                                              <-- N(INVALID_IKE_SPI)  it was started anew
 *	                                              ICMP port unreachable   the same
 *	                                              nothing in 2 s          it is gone
 *
 * The answer to the newcomer's IKE_AUTH is held back meanwhile; it repeats its request, to no effect.
 * What nobody signed only lets in one who has proved that he holds the key. Foreign peers send no
 * instance: their INITIAL_CONTACT counts at once (peer_settle()).
 */
#include "engine_int.h"

#define ASK_MS 2000

static bool other_instance(const struct ike_sa *o, const struct pld_notify *n)
{
	return o->state == SA_UP && o->has_instance && n->len == sizeof(o->instance) &&
	       memcmp(o->instance, n->data, n->len) != 0;
}

/* A request of ours went unanswered for so long already: no need to ask once more. */
static bool silent(const struct engine *e, const struct ike_sa *o)
{
	return o->win.outstanding && o->out.rt.tries > 1 &&
	       e->now_ms - o->out.rt.first_ms >= ASK_MS;
}

/* The IKE SA that has to be asked before @sa may come up, or NULL. */
static struct ike_sa *rival_of(const struct engine *e, const struct ike_sa *sa,
			       const struct ike_msg *m)
{
	const struct pld_notify *n = ike_msg_notify(m, POSTERN_INSTANCE_ID);

	if (!sa->postern || !n)
		return NULL;
	for (struct ike_sa *o = sa->peer->sas; o; o = o->peer_next) {
		if (!other_instance(o, n) || silent(e, o))
			continue;
		/* Two that live cannot have one port: it is the old one's, started anew. */
		if (!endpoint_eq(&o->path.remote, &sa->auth->path.remote))
			return o;
	}
	return NULL;
}

bool unique_ask(struct engine *e, struct ike_sa *sa, const struct ike_msg *m)
{
	struct ike_sa *o = rival_of(e, sa, m);

	if (!o)
		return false;
	log_debug(&sa->log, "another instance of this peer is up: it is asked first");
	sa->auth->rival = o->handle;
	sa_enter_state(e, sa, SA_R_ASK);
	timer_arm(e, &sa->life, e->now_ms + ASK_MS);
	if (o->win.outstanding)
		request_resend(e, o, NULL);
	else
		task_queue(e, o, TASK_LIVENESS, 0);
	return true;
}

static bool asks_about(const struct ike_sa *sa, const struct ike_sa *o)
{
	return sa->state == SA_R_ASK && sa->auth->rival == o->handle;
}

void unique_heard(struct engine *e, struct ike_sa *o)
{
	struct ike_sa *next;

	for (struct ike_sa *sa = o->peer ? o->peer->sas : NULL; sa; sa = next) {
		next = sa->peer_next;
		if (asks_about(sa, o))
			ike_auth_busy(e, sa, &o->path);
	}
}

void unique_lost(struct engine *e, struct ike_sa *o)
{
	struct ike_sa *next;

	for (struct ike_sa *sa = o->peer ? o->peer->sas : NULL; sa; sa = next) {
		next = sa->peer_next;
		if (asks_about(sa, o))
			ike_auth_free(e, sa);
	}
}

void engine_unreachable(struct engine *e, uint64_t now_ms, uint32_t peer,
			const struct endpoint *where, struct fx_list *fx)
{
	struct peer_entry *pe = peer_by_id(e, peer);

	if (!pe)
		return;
	engine_enter(e, now_ms, fx);
	for (struct ike_sa *o = pe->sas; o; o = o->peer_next) {
		if (o->state != SA_UP || !endpoint_eq(&o->path.remote, where))
			continue;
		unique_lost(e, o);
		break; /* the list may have changed */
	}
	engine_leave(e);
}
