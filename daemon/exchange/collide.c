/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: RFC 7296 s2.25: both sides may start exchanges at once. The table says what the peer's request
 * gets, by what we ourselves have under way; the nonces (s2.8.1, s2.8.2) say which of two SAs that
 * both of us made for the same purpose stays: the one with the lowest of the four nonces goes, and
 * who made it deletes it.
 *
 * "Same" rows apply when our work is about the very CHILD SA that the peer names.
 */
#include "engine_int.h"

static const struct {
	enum peer_wish wish;
	enum task_kind ours; /* outstanding */
	bool same;
	enum collide_verdict verdict;
} rules[] = {
	/* s2.25.1, CHILD SAs */
	{ WISH_REKEY_CHILD, TASK_REKEY_CHILD, true, COLLIDE_RIVAL },
	{ WISH_REKEY_CHILD, TASK_DELETE_CHILD, true, COLLIDE_TEMPORARY },
	{ WISH_DELETE_CHILD, TASK_DELETE_CHILD, true, COLLIDE_EMPTY },
	{ WISH_DELETE_CHILD, TASK_REKEY_CHILD, true, COLLIDE_ANSWER },
	/* s2.25.2, IKE SAs */
	{ WISH_REKEY_IKE, TASK_REKEY_IKE, false, COLLIDE_RIVAL },
	{ WISH_REKEY_IKE, TASK_DELETE_IKE, false, COLLIDE_TEMPORARY },
	{ WISH_REKEY_IKE, TASK_CREATE_CHILD, false, COLLIDE_TEMPORARY },
	{ WISH_REKEY_IKE, TASK_REKEY_CHILD, false, COLLIDE_TEMPORARY },
	{ WISH_REKEY_IKE, TASK_DELETE_CHILD, false, COLLIDE_TEMPORARY },
	{ WISH_CREATE_CHILD, TASK_REKEY_IKE, false, COLLIDE_TEMPORARY },
	{ WISH_REKEY_CHILD, TASK_REKEY_IKE, false, COLLIDE_TEMPORARY },
	{ WISH_CREATE_CHILD, TASK_DELETE_IKE, false, COLLIDE_TEMPORARY },
	{ WISH_REKEY_CHILD, TASK_DELETE_IKE, false, COLLIDE_TEMPORARY },
	{ WISH_DELETE_IKE, TASK_REKEY_IKE, false, COLLIDE_FORGET },
	{ WISH_DELETE_IKE, TASK_DELETE_IKE, false, COLLIDE_FORGET },
};

enum collide_verdict collide(const struct ike_sa *sa, enum peer_wish wish, const struct child_sa *c)
{
	/* An IKE SA that is rekeyed or retired takes Deletes and nothing new. */
	if (sa->state != SA_UP && wish != WISH_DELETE_IKE && wish != WISH_DELETE_CHILD)
		return COLLIDE_TEMPORARY;
	if (!sa->win.outstanding)
		return COLLIDE_ANSWER;
	for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++)
		if (rules[i].wish == wish && rules[i].ours == sa->out.task.kind &&
		    (!rules[i].same || (c && sa->out.task.spi == c->spi_in)))
			return rules[i].verdict;
	return COLLIDE_ANSWER;
}

bool collide_lost(const struct nonce *ours_i, const struct nonce *ours_r,
		  const struct collision *rival)
{
	return nonce_cmp(nonce_lower(ours_i, ours_r), &rival->lowest) < 0;
}
