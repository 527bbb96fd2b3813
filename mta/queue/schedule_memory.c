/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What stays known of a next hop that nobody has letters for. A domain's state goes with its last letter, and
 * the next letter would find it out anew, each time at the price of a wait: which family is broken, or that
 * it has failed for so long that its letters go by a backup. That is kept here a while, in a table of fixed size that
 * forgets whom it must. A letter for one that failed tries it first: it may work by now.
 */
#include "schedule_int.h"

#include <string.h>

void memory_keep(struct schedule *s, const struct dest *d)
{
	struct dest_memory *m = &s->memory[d->node.h % DEST_MEMORY];

	if (!d->family[0].failures && !d->family[1].failures && !d->on_backup) {
		if (m->hash == d->node.h)
			m->hash = 0;
		return;
	}
	*m = (struct dest_memory){ .hash = d->node.h };
	memcpy(m->family, d->family, sizeof(m->family));
	if (d->on_backup) {
		m->bad_ms = d->bad_ms;
		m->failed_ms = d->failed_ms;
	}
}

void memory_recall(const struct schedule *s, struct dest *d, uint64_t now_ms)
{
	const struct dest_memory *m = &s->memory[d->node.h % DEST_MEMORY];

	if (m->hash != d->node.h)
		return;
	memcpy(d->family, m->family, sizeof(d->family));
	if (!m->bad_ms || now_ms - m->failed_ms >= BACKUP_KEEP_MS)
		return;
	d->on_backup = true;
	d->bad_ms = m->bad_ms;
	d->failed_ms = m->failed_ms;
}
