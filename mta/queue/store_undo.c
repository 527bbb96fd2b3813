/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a change that comes to nothing takes back in memory, so that it says what the disk says. */
#include "store_format.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "way.h"

struct rcpt_was {
	uint8_t state;
	bool told;
	uint16_t attempts;
	uint32_t next_s;
};

struct letter_was {
	struct letter *l;
	uint64_t born;
	uint8_t state;
	char *way;
	struct rcpt_was rcpt[];
};

int store_remember(struct store_change *c, struct letter *l)
{
	struct letter_was *w = calloc(1, sizeof(*w) + l->rcpt_count * sizeof(w->rcpt[0]));
	struct part *p = w ? part_new(c) : NULL;

	if (!p || (l->way && !(w->way = way_copy(l->way)))) {
		free(w);
		return -ENOMEM;
	}
	p->was = w;
	w->l = l;
	w->born = l->born;
	w->state = l->state;
	for (size_t i = 0; i < l->rcpt_count; i++)
		w->rcpt[i] = (struct rcpt_was){ l->rcpt[i].state, l->rcpt[i].told,
						l->rcpt[i].attempts, l->rcpt[i].next_s };
	return 0;
}

void letter_undo(struct store *s, struct letter_was *was)
{
	struct letter *l = was->l;

	letter_set_state(s, l, was->state);
	l->born = was->born;
	free(l->way);
	l->way = was->way;
	was->way = NULL;
	for (uint16_t i = 0; i < l->rcpt_count; i++) {
		const struct rcpt_was *r = &was->rcpt[i];

		letter_set_rcpt(l, i, r->state, r->attempts, NULL);
		l->rcpt[i].told = r->told;
		l->rcpt[i].next_s = r->next_s;
	}
}

void letter_was_free(struct letter_was *was)
{
	if (was)
		free(was->way);
	free(was);
}
