/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "cross.h"

const struct rekeying the_child = { rekey_child, REKEY_CHILD, CHILD_MADE, DELETE_CHILD, DELETE_CHILD };
const struct rekeying the_ike = { rekey_ike, REKEY_IKE, IKE_MADE, DELETE_IKE, EMPTY };

void rekeys(struct world *w, int a, int b, const struct rekeying *r)
{
	r->begin(w, a);
	ask(w, a, r->ask);
	answer(w, b, r->made);
	ask(w, a, r->del);
	answer(w, b, r->gone);
}

void lead(struct world *w, int h, int which)
{
	nonces(w, h, w->variant == which ? 0x00 : 0xff);
}

bool a_made_the_redundant_one(const struct world *w)
{
	return w->variant == 0 || w->variant == 2;
}

void both_rekey(struct world *w, int a, int b, const struct rekeying *r)
{
	lead(w, a, 0);
	r->begin(w, a);
	lead(w, b, 1);
	r->begin(w, b);
}

void both_asked(struct world *w, int a, int b, const struct rekeying *r)
{
	lead(w, b, 2);
	ask(w, a, r->ask);
	lead(w, a, 3);
	ask(w, b, r->ask);
}

void both_made(struct world *w, int a, int b, const struct rekeying *r)
{
	answer(w, b, r->made);
	answer(w, a, r->made);
}

void both_delete(struct world *w, int a, int b, const struct rekeying *r)
{
	ask(w, a, r->del);
	ask(w, b, r->del);
	answer(w, b, r->gone);
	answer(w, a, r->gone);
	quiet(w);
}

void both_told_the_group(struct world *w, int a, int b, const struct rekeying *r)
{
	ask(w, a, r->ask);
	ask(w, b, r->ask);
	lead(w, a, 0);
	answer(w, b, WRONG_GROUP);
	lead(w, b, 1);
	answer(w, a, WRONG_GROUP);
}

void b_alone(struct world *w, int a, int b, const struct rekeying *r)
{
	lead(w, a, 2);
	ask(w, b, r->ask);
	answer(w, a, r->made);
	ask(w, b, r->del);
}

struct flight b_settles(struct world *w, int a, int b, const struct rekeying *r)
{
	struct flight response;

	both_asked(w, a, b, r);
	response = answer_held(w, b, r->made);
	answer(w, a, r->made);
	ask(w, b, r->del);
	answer(w, a, r->gone);
	return response;
}
