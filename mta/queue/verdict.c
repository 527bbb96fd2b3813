/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "verdict.h"

#include <stdbool.h>
#include <stdio.h>

/* Better lose no letter than a round trip: who has it may get it twice, before somebody does not at all. */
static int badness(enum rcpt_result r)
{
	static const int rank[RCPT_RESULTS] = { [RCPT_RES_DELIVERED] = 0,
						[RCPT_RES_PERMFAIL] = 1,
						[RCPT_RES_TEMPFAIL] = 2,
						[RCPT_RES_NOT_TRIED] = 2 };

	return rank[r];
}

/* @r as a reply of ours. A 5xx to all comers says nothing of this letter: its client may come again. */
void verdict_add(struct verdict *v, const struct msg_r_rcpt_result *r)
{
	bool perm = r->result == RCPT_RES_PERMFAIL && r->scope != SCOPE_HOST;
	uint8_t result = perm || r->result == RCPT_RES_DELIVERED ? r->result : RCPT_RES_TEMPFAIL;
	char class = perm ? '5' : '4';

	if (result >= RCPT_RESULTS || badness(result) <= badness(v->worst))
		return;
	v->worst = result;
	v->code = perm ? 554 : 451;
	if (r->code / 100 == class - '0' && r->code != 421) /* that session is over, not this one */
		v->code = r->code;
	if (r->enhanced[0] == class)
		snprintf(v->text, sizeof(v->text), "%s %s", r->enhanced, r->text);
	else
		snprintf(v->text, sizeof(v->text), "%s %s", perm ? "5.0.0" : "4.4.1",
			 *r->text ? r->text : "The next hop cannot be reached now");
}
