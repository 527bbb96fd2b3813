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
	return !o->series_initiator && !sa->series_initiator && !sa->has_instance &&
	       o->series_since_ms >= sa->begun_ms;
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
