/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: dead letters are kept for the admin, but not all and for ever. The oldest make room, each home's
 * within its own share of the bound: what a flood for one home left behind takes nothing from another.
 *
 *	too many -> count whose they are (all letters, in slices) -> remove the oldest (the same) -> too many?
 *
 * What dies or leaves between two slices makes a share wrong by so many, until it is counted the next time.
 */
#include <stdlib.h>
#include <string.h>

#include "domain.h"
#include "log.h"
#include "queue.h"

#define SHARES	    (2 * MTA_HOMES_MAX) /* a power of two, never half full */
#define ENDS_A_TURN 256

struct share {
	uint32_t whose;
	bool used;
	size_t count;
	uint64_t bytes;
};

struct dead {
	struct store_walk walk;
	bool removing; /* all are counted */
	size_t homes;
	struct share all[SHARES];
};

uint32_t dead_whose(const struct mta_config *c, const struct envelope *e)
{
	const char *at = e->rcpt_count ? strrchr(e->rcpt[0].addr, '@') : NULL;
	char domain[MTA_DOMAIN_MAX] = "";
	const struct mta_home *h;

	if (at)
		domain_spell(at + 1, domain);
	h = config_home_by_domain(c, domain);
	return h ? (uint32_t)hash_bytes(h->name, strlen(h->name)) | 1 : 0;
}

static struct share *share_of(struct share *all, uint32_t whose)
{
	size_t i = whose % SHARES;

	/* Names of many configurations could fill it: then some share. */
	for (size_t n = 0; n < SHARES && all[i].used && all[i].whose != whose; n++)
		i = (i + 1) % SHARES;
	all[i].used = true;
	all[i].whose = whose;
	return &all[i];
}

static bool removed(struct queue *q, struct letter *l)
{
	struct store_change *c = store_begin(q->store);
	char hex[LETTER_ID_STR_MAX];

	if (!c)
		return false;
	if (store_remember(c, l) || store_put_state(c, l, LETTER_GONE)) {
		store_cancel(c);
		return false;
	}
	if (store_commit(c, true, NULL))
		return false;
	log_warn(NULL, "letter=%s msg=\"oldest dead letter removed: too many\"",
		 letter_id_str(l->id, hex));
	return true;
}

static bool too_many(const struct queue *q)
{
	return store_count(q->store, LETTER_DEAD) > QUEUE_DEAD_MAX ||
	       store_bytes(q->store, LETTER_DEAD) > QUEUE_DEAD_BYTES;
}

static void count(struct dead *d, const struct letter *l)
{
	struct share *s = share_of(d->all, l->whose);

	d->homes += !s->count++;
	s->bytes += l->body_len;
}

/* True: it was one too many, and is gone. False, and *@over: it would have been. */
static bool bound(struct queue *q, struct dead *d, struct letter *l, bool *over)
{
	struct share *s = share_of(d->all, l->whose);

	if (s->count <= QUEUE_DEAD_MAX / d->homes && s->bytes <= QUEUE_DEAD_BYTES / d->homes)
		return false;
	s->count -= s->count > 0;
	s->bytes -= s->bytes < l->body_len ? s->bytes : l->body_len;
	*over = !removed(q, l);
	return !*over;
}

static void begin(struct queue *q, struct dead *d, bool removing)
{
	if (!removing) {
		memset(d->all, 0, sizeof(d->all));
		d->homes = 0;
	}
	d->removing = removing;
	store_walk_begin(q->store, &d->walk);
}

bool dead_bound(struct queue *q)
{
	size_t looks = 0, ends = 0;
	bool over = false;
	struct letter *l;
	struct dead *d;

	if (!q->dead && too_many(q))
		q->dead = calloc(1, sizeof(*q->dead));
	d = q->dead;
	if (!d)
		return false; /* the next sweep has the memory, or need not */
	if (!store_walk_on(&d->walk)) {
		if (!too_many(q))
			return false;
		begin(q, d, false);
	}
	for (; looks < QUEUE_SWEEP_LOOKS && ends < ENDS_A_TURN && !over &&
	       (l = store_walk_next(&d->walk));
	     looks++) {
		if (l->state != LETTER_DEAD)
			continue;
		if (!d->removing)
			count(d, l);
		else if (!too_many(q))
			over = true;
		else if (d->homes)
			ends += bound(q, d, l, &over);
	}
	if (over)
		store_walk_end(&d->walk);
	if (over || store_walk_on(&d->walk))
		return !over;
	if (!d->removing)
		begin(q, d, true);
	return store_walk_on(&d->walk);
}

void dead_close(struct queue *q)
{
	if (q->dead)
		store_walk_end(&q->dead->walk);
	free(q->dead);
	q->dead = NULL;
}
