/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: a next hop that has failed for as long as its route's backup-after hands its letters to the route
 * named by backup.
 *
 *	fails since bad_ms --backup-after--> on backup --one letter works, or the tunnel comes up--> itself again
 *	                                       |    ^
 *	                                       +----+  when a try is due, one letter goes by itself
 *
 * The schedule says where a letter goes when it is added, so a change of mind is no more than that: letters
 * that lie on the wrong side of it are named to the queue, which routes them anew as after a reload, a
 * few per turn. A leg that goes by a backup knows the next hop that it is there instead of, and that one keeps
 * a list of them: from it come the letter to try with, and all of them when it works. Nothing of this is on
 * disk: after a start a next hop has its whole time again.
 */
#include "schedule_int.h"

#include <string.h>

#include "log.h"

void backup_fails(struct dest *d, uint64_t now_ms)
{
	d->failed_ms = now_ms;
	if (!d->bad_ms)
		d->bad_ms = now_ms ? now_ms : 1;
}

void backup_works(struct schedule *s, struct dest *d)
{
	d->bad_ms = 0;
	s->returned |= d->on_backup;
}

uint64_t backup_patience(const struct dest *d, uint64_t wait_ms)
{
	uint64_t most = d->policy->backup_after_ms;

	if (!d->policy->backup)
		return wait_ms;
	most = most > BACKUP_TRY_LEAST_MS ? most : BACKUP_TRY_LEAST_MS;
	return wait_ms < most ? wait_ms : most;
}

/* Might it be asked again, if somebody had a letter? */
static bool may_try(const struct dest *d, uint64_t now_ms)
{
	return d->state != DEST_DOWN && d->state != DEST_HELD && d->until_ms <= now_ms &&
	       !d->flying;
}

bool backup_diverts(const struct dest *d, uint64_t now_ms)
{
	/* After a reload its route may have none any more; what says so looks later. */
	return d->on_backup && d->policy && d->policy->backup &&
	       !(may_try(d, now_ms) && !d->ready.count && !d->waiting.count);
}

void backup_join(struct leg *g, struct dest *instead)
{
	g->instead = instead;
	if (!instead)
		return;
	TAILQ_INSERT_TAIL(&instead->diverted, g, diverted);
	instead->diverted_count++;
}

struct dest *backup_leave(struct leg *g)
{
	struct dest *d = g->instead;

	if (!d)
		return NULL;
	TAILQ_REMOVE(&d->diverted, g, diverted);
	d->diverted_count--;
	g->instead = NULL;
	return d;
}

/* --- who lies on the wrong side --- */

struct finding {
	struct letter **out;
	size_t count, max;
};

static void find(struct finding *f, struct leg *g)
{
	f->out[f->count++] = g->letter;
}

/* What waited for this next hop need not wait for it at another one. */
static void find_waiting(struct finding *f, const struct heap *h, size_t but)
{
	for (size_t i = but; i < h->count && f->count < f->max; i++) {
		struct leg *g = leg_of(h->v[i]);

		for (size_t k = 0; k < g->letter->rcpt_count; k++)
			if (g->letter->rcpt[k].leg == g)
				g->letter->rcpt[k].next_s = 0;
		find(f, g);
	}
}

/* All that go by a backup look again, once around. */
static void find_diverted(struct finding *f, struct dest *d)
{
	struct leg *g;

	while (d->rechoose && f->count < f->max && (g = TAILQ_FIRST(&d->diverted))) {
		d->rechoose--;
		TAILQ_REMOVE(&d->diverted, g, diverted);
		TAILQ_INSERT_TAIL(&d->diverted, g, diverted);
		if (!g->flying)
			find(f, g);
	}
}

/* One that could go now, to see whether it works again. */
static void find_one(struct finding *f, struct dest *d)
{
	struct leg *g;

	TAILQ_FOREACH(g, &d->diverted, diverted)
	if (!g->flying && !g->waiting && f->count < f->max) {
		find(f, g);
		return;
	}
}

static void look(struct dest *d, uint64_t now_ms)
{
	const struct mta_route *p = d->policy;
	bool on = p && p->backup && d->bad_ms && !d->admin_hold &&
		  now_ms - d->bad_ms >= p->backup_after_ms;

	if (on == d->on_backup)
		return;
	d->on_backup = on;
	if (on)
		log_warn(NULL,
			 "route=%s hop=%s backup=%s waiting=%zu msg=\"fails for %llu s: its "
			 "letters go by "
			 "the backup\"",
			 d->route, d->hop, p->backup, d->ready.count + d->waiting.count,
			 (unsigned long long)((now_ms - d->bad_ms) / 1000));
	else
		log_info(
		    NULL,
		    "route=%s hop=%s letters=%zu msg=\"goes by itself again, not by a backup\"",
		    d->route, d->hop, d->diverted_count);
}

size_t schedule_stranded(struct schedule *s, uint64_t now_ms, struct letter **out, size_t max)
{
	struct finding f = { .out = out, .max = max };
	bool returned = s->returned;
	struct dest *d;

	s->returned = false;
	TAILQ_FOREACH(d, &s->all, all)
	{
		bool may;

		look(d, now_ms);
		/* With backups of backups any way may be another one now. */
		if (d->diverted_count && !d->rechoose && (returned || !d->on_backup))
			d->rechoose = d->diverted_count;
		find_diverted(&f, d);
		if (!d->on_backup)
			continue;
		may = may_try(d, now_ms);
		find_waiting(&f, &d->ready, may);
		find_waiting(&f, &d->waiting, may && !d->ready.count);
		if (may && !d->ready.count && !d->waiting.count)
			find_one(&f, d);
	}
	return f.count;
}
