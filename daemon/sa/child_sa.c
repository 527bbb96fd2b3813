/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "child_sa.h"

#include <stddef.h>
#include <stdlib.h>

struct child_sa *child_sa_new(struct ike_sa *sa)
{
	struct child_sa *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->local_ts = calloc(1, sizeof(*c->local_ts));
	c->remote_ts = calloc(1, sizeof(*c->remote_ts));
	if (!c->local_ts || !c->remote_ts) {
		child_sa_free(c);
		return NULL;
	}
	c->sa = sa;
	c->rekey_at_ms = UINT64_MAX;
	return c;
}

void child_sa_free(struct child_sa *c)
{
	if (!c)
		return;
	child_keys_clear(&c->out_keys);
	free(c->local_ts);
	free(c->remote_ts);
	free(c);
}

static struct ts_list *trim(struct ts_list *l)
{
	struct ts_list *less =
	    realloc(l, offsetof(struct ts_list, ts) + l->count * sizeof(l->ts[0]));

	return less ? less : l;
}

void child_sa_trim(struct child_sa *c)
{
	c->local_ts = trim(c->local_ts);
	c->remote_ts = trim(c->remote_ts);
}

bool child_sa_usable(const struct child_sa *c)
{
	return c->state == CHILD_HALF || c->state == CHILD_UP;
}
