/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: RFC 7296 s2.25: both sides may start exchanges at once. The table says what the peer's request
 * gets, by what we ourselves have under way; the first row that fits counts, and what no row names is
 * answered as usual. The nonces (s2.8.1, s2.8.2) say which of two SAs that both of us made for the
 * same purpose stays: the one with the lowest of the four nonces goes, and who made it deletes it.
 *
 * A Delete that still waits for its turn counts as "trying to close" where that means "not now": s2.8.2
 * says so ("whether or not it has already sent the delete notification"). An answer without a Delete
 * payload is only for a Delete that the peer will get.
 */
#include "engine_int.h"

enum about {
	ANY,	/* whatever it is about */
	SAME,	/* our work is about the CHILD SA that the peer names */
	NO_SUCH /* the peer names a CHILD SA that does not exist; whatever we do */
};

static const struct {
	enum peer_wish wish;
	enum task_kind ours;
	enum about about;
	bool waits; /* ours counts also while it waits for its turn */
	enum collide_verdict verdict;
} rules[] = {
	/* s2.25.1: "a request to rekey a Child SA that it is currently trying to close" */
	{ WISH_REKEY_CHILD, TASK_DELETE_CHILD, SAME, true, COLLIDE_TEMPORARY },
	/* "... that it is currently rekeying" */
	{ WISH_REKEY_CHILD, TASK_REKEY_CHILD, SAME, false, COLLIDE_RIVAL },
	/* "a request to close a Child SA that it is currently trying to close" */
	{ WISH_DELETE_CHILD, TASK_DELETE_CHILD, SAME, false, COLLIDE_EMPTY },
	/* "... that it is currently rekeying" */
	{ WISH_DELETE_CHILD, TASK_REKEY_CHILD, SAME, false, COLLIDE_ANSWER },
	/* "a request to close a Child SA that does not exist" */
	{ WISH_DELETE_CHILD, TASK_NONE, NO_SUCH, false, COLLIDE_EMPTY },
	/* "a request to rekey the IKE SA, and it is currently creating, rekeying, or closing a Child SA" */
	{ WISH_REKEY_IKE, TASK_CREATE_CHILD, ANY, false, COLLIDE_TEMPORARY },
	{ WISH_REKEY_IKE, TASK_REKEY_CHILD, ANY, false, COLLIDE_TEMPORARY },
	{ WISH_REKEY_IKE, TASK_DELETE_CHILD, ANY, false, COLLIDE_TEMPORARY },

	/* s2.25.2: "a request to rekey an IKE SA that it is currently trying to close" */
	{ WISH_REKEY_IKE, TASK_DELETE_IKE, ANY, true, COLLIDE_TEMPORARY },
	/* "... that it is currently rekeying" */
	{ WISH_REKEY_IKE, TASK_REKEY_IKE, ANY, false, COLLIDE_RIVAL },
	/* "a request to close an IKE SA that it is currently rekeying", "... trying to close" */
	{ WISH_DELETE_IKE, TASK_REKEY_IKE, ANY, false, COLLIDE_FORGET },
	{ WISH_DELETE_IKE, TASK_DELETE_IKE, ANY, false, COLLIDE_FORGET },
	/* "a request to create or rekey a Child SA when it is currently rekeying the IKE SA" */
	{ WISH_CREATE_CHILD, TASK_REKEY_IKE, ANY, false, COLLIDE_TEMPORARY },
	{ WISH_REKEY_CHILD, TASK_REKEY_IKE, ANY, false, COLLIDE_TEMPORARY },
	/* "a request to delete a Child SA when it is currently rekeying the IKE SA" */
	{ WISH_DELETE_CHILD, TASK_REKEY_IKE, ANY, false, COLLIDE_ANSWER },
	/* Not in the RFC: nothing new begins on an IKE SA that is to be closed. */
	{ WISH_CREATE_CHILD, TASK_DELETE_IKE, ANY, true, COLLIDE_TEMPORARY },
	{ WISH_REKEY_CHILD, TASK_DELETE_IKE, ANY, true, COLLIDE_TEMPORARY },

	/* s2.25: "a request to rekey a Child SA that does not exist" */
	{ WISH_REKEY_CHILD, TASK_NONE, NO_SUCH, false, COLLIDE_NOT_FOUND },
};

static bool under_way(const struct ike_sa *sa, enum task_kind kind, uint32_t spi, bool waits)
{
	if (waits)
		return ike_sa_task_has(sa, kind, spi);
	return sa->win.outstanding && sa->out.task.kind == kind &&
	       (!spi || sa->out.task.spi == spi);
}

/* What stands about the SA itself, whatever request of ours is under way. */
static bool not_now(const struct ike_sa *sa, enum peer_wish wish, const struct child_sa *c)
{
	if (wish == WISH_DELETE_IKE || wish == WISH_DELETE_CHILD)
		return false;
	/* An IKE SA that is rekeyed or retired takes Deletes and nothing new: it is being closed. */
	if (sa->state != SA_UP)
		return true;
	if (wish != WISH_REKEY_CHILD)
		return false;
	/* The peer may name the one whose CREATE_CHILD_SA answer is still on its way to us. */
	if (!c)
		return sa->out.new_child != NULL;
	/* Rekeyed already: whoever did it is about to delete it. */
	return c->state == CHILD_REKEYED || c->state == CHILD_CLOSING;
}

enum collide_verdict collide(const struct ike_sa *sa, enum peer_wish wish, const struct child_sa *c)
{
	if (not_now(sa, wish, c))
		return COLLIDE_TEMPORARY;
	for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++) {
		uint32_t spi = rules[i].about == SAME && c ? c->spi_in : 0;

		if (rules[i].wish != wish || (rules[i].about == SAME && !c) ||
		    (rules[i].about == NO_SUCH && c))
			continue;
		if (rules[i].about != NO_SUCH && !under_way(sa, rules[i].ours, spi, rules[i].waits))
			continue;
		/* A second rival means that the peer never looked at our answer to the first. */
		if (rules[i].verdict == COLLIDE_RIVAL && sa->out.rival.active)
			return COLLIDE_TEMPORARY;
		return rules[i].verdict;
	}
	return COLLIDE_ANSWER;
}

bool collide_lost(const struct ike_sa *sa, const struct nonce *ours_i, const struct nonce *ours_r,
		  const struct collision *rival)
{
	struct nonce_head ours = nonce_lower(ours_i, ours_r);
	int c = nonce_cmp(&ours, &rival->lowest);

	/* Equal ones come of broken random numbers only; still one side alone must give in. */
	return c < 0 || (!c && sa->series_initiator);
}
