/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: IKE SAs of one peer that live side by side. A Postern has one IKE SA to each peer, with all CHILD
 * SAs on it, and a newer one replaces it. Others make an IKE SA for each policy or connection: OpenIKED
 * with three policies that differ by port calls three times as the same identity, and the third
 * call must not end what the first two carry. So an IKE SA that a foreign peer called us by goes when
 * a newer one carries all that it does, and stays when it does not.
 *
 * What stays by mistake (the peer was started anew, has other policies now and sent no
 * INITIAL_CONTACT) does not answer any more while the newer one does: then it goes too. And there are
 * never more than PEER_IKE_SAS_MAX.
 *
 * Who called twice at the same time, by UDP and by TCP or at two addresses, had the answers in an order of
 * its own, and keeps what came up last there. Its Delete says which one that is not:
 *
 *	caller				called
 *	IKE_AUTH of A, of B	-->	B arrives first, A retires it
 *	A is up, B retires it	<--	IKE_AUTH of A, of B
 *	Delete on A		-->	B is up again, with new keys for its CHILD SAs
 */
#include "engine_int.h"

/* Is there nothing that @o carries and @sa does not? */
static bool superseded(const struct ike_sa *o, const struct ike_sa *sa)
{
	for (const struct child_sa *a = o->children; a; a = a->next) {
		bool covered = !child_sa_usable(a);

		for (const struct child_sa *b = sa->children; b && !covered; b = b->next)
			covered = child_sa_usable(b) && child_within(a, b);
		if (!covered)
			return false;
	}
	return true;
}

bool beside_stays(const struct ike_sa *o, const struct ike_sa *sa)
{
	return !o->series_initiator && !sa->series_initiator && !sa->has_instance &&
	       !superseded(o, sa);
}

/*
 * INITIAL_CONTACT says that the peer knows of no other IKE SA. That it knew of none when it called
 * says nothing about one that came up meanwhile: two calls of one process at the same time.
 */
bool beside_parallel(const struct ike_sa *o, const struct ike_sa *sa)
{
	/* Two that one IKE_SA_INIT became are one call: a Postern drops the one that it does not keep. */
	if (sa->has_instance && o->spi_i == sa->spi_i)
		return false;
	return !o->series_initiator && !sa->series_initiator && o->series_since_ms >= sa->begun_ms;
}

void beside_revive(struct engine *e, const struct ike_sa *sa)
{
	for (struct ike_sa *o = sa->peer->sas; o; o = o->peer_next) {
		if (o->state != SA_RETIRED || o->series_initiator || o->retired_for != sa->handle)
			continue;
		log_info(&o->log, "up again: the peer keeps this IKE SA, and not the one that it called by too");
		o->retired_for = 0;
		o->was_up = true;
		sa_enter_state(e, o, SA_UP);
		rekey_schedule(e, o);
		ike_sa_task_drop(o, TASK_DELETE_IKE, 0);
		/* The keys to send with are gone from here. */
		for (struct child_sa *c = o->children; c; c = c->next)
			if (child_sa_usable(c))
				task_queue(e, o, TASK_REKEY_CHILD, c->spi_in);
		return;
	}
}

bool beside_dead(const struct ike_sa *sa, uint64_t now_ms)
{
	uint64_t since = sa->out.rt.first_ms;

	if (sa->state != SA_UP || sa->series_initiator || now_ms - since < RETIRED_MS)
		return false;
	for (const struct ike_sa *o = sa->peer->sas; o; o = o->peer_next)
		if (o != sa && o->state == SA_UP && o->reply_ms > since)
			return true;
	return false;
}

struct ike_sa *beside_heir(const struct ike_sa *sa)
{
	/* The list has the newest first. */
	for (struct ike_sa *o = sa->peer->sas; o; o = o->peer_next)
		if (o != sa && o->state == SA_UP && o->was_up)
			return o;
	return NULL;
}
