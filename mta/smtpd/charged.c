/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "charged.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Names of limits have no case. */
static struct charged_mailbox *find(const struct charged *c, const char *mailbox)
{
	for (size_t i = 0; i < c->count; i++) {
		if (!strcasecmp(c->v[i].name, mailbox))
			return &c->v[i];
	}
	return NULL;
}

bool charged_room(const struct charged *c, struct limit *l, const char *mailbox, uint64_t bytes,
		  uint64_t per_hour, uint64_t now_ms)
{
	const struct charged_mailbox *m = find(c, mailbox);
	uint64_t copies = m ? (uint64_t)m->copies + 1 : 1, each = bytes ? bytes : 1024;

	/* Larger than all of an hour may be one copy, not what many make together. */
	if (m && per_hour && each > per_hour / copies)
		return false;
	return limit_room(l, LIMIT_RECIPIENT, mailbox, m ? copies * each : bytes, per_hour, now_ms);
}

void charged_add(struct charged *c, const char *mailbox)
{
	struct charged_mailbox *m = find(c, mailbox), *more;

	if (m) {
		m->copies++;
		return;
	}
	more = realloc(c->v, (c->count + 1) * sizeof(*more));
	if (!more)
		return;
	c->v = more;
	more[c->count] = (struct charged_mailbox){ strdup(mailbox), 1 };
	c->count += more[c->count].name != NULL;
}

void charged_settle(const struct charged *c, struct limit *l, uint64_t bytes, uint64_t per_hour,
		    uint64_t now_ms)
{
	for (size_t i = 0; i < c->count; i++)
		limit_bytes(l, LIMIT_RECIPIENT, c->v[i].name, c->v[i].copies * bytes, per_hour,
			    now_ms);
}

void charged_clear(struct charged *c)
{
	while (c->count)
		free(c->v[--c->count].name);
	free(c->v);
	c->v = NULL;
}
