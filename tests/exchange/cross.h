/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_EXCHANGE_CROSS_H
#define TESTS_EXCHANGE_CROSS_H

/*
 * Steps of rekeys, alone and when both ends begin one at once (RFC 7296 s2.8.1, s2.8.2), of a CHILD SA and of
 * the IKE SA alike. Which of the two is redundant the lowest of four nonces says, and w->variant which
 * that is: Ni1 of a, Ni2 of b, Nr1 of b, Nr2 of a.
 */

#include "scen.h"

struct rekeying {
	void (*begin)(struct world *w, int h);
	const char *ask, *made;	 /* the exchange */
	const char *del, *gone; /* the one that deletes the old SA */
};

extern const struct rekeying the_child, the_ike;

/** rekeys() - a alone, from the first message to the last. */
void rekeys(struct world *w, int a, int b, const struct rekeying *r);

/** lead() - Nonces of @h from here on are those of number @which. */
void lead(struct world *w, int h, int which);
bool a_made_the_redundant_one(const struct world *w);

/** both_rekey() - Both requests are on their way. */
void both_rekey(struct world *w, int a, int b, const struct rekeying *r);
/** both_asked() - They arrive: both answers are on their way. */
void both_asked(struct world *w, int a, int b, const struct rekeying *r);
/** both_made() - They arrive. */
void both_made(struct world *w, int a, int b, const struct rekeying *r);
/** both_delete() - Each deletes one, who made the redundant SA that one, the other the old one; then it is quiet. */
void both_delete(struct world *w, int a, int b, const struct rekeying *r);
/** both_told_the_group() - Requests are on their way: each is told which, and asks again with it. */
void both_told_the_group(struct world *w, int a, int b, const struct rekeying *r);

/** b_alone() - The rekey of b, while that of a is held up: made, and the Delete of the old SA has come to a. */
void b_alone(struct world *w, int a, int b, const struct rekeying *r);
/** b_settles() - After both_rekey(): b has deleted what is its to delete; the answer that a has not had yet. */
struct flight b_settles(struct world *w, int a, int b, const struct rekeying *r);

#endif
