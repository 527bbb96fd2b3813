/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: each configured CHILD SA is kept up, by the series' initiator, with a back-off of its own:
 * one that the peer refuses does not hold back the others, and none gives up. struct child_due stands
 * for one that is not up, from the first failure until it is announced.
 *
 * A reload changes the policy under living CHILD SAs (RFC 7296 s2.9.2), on either side:
 *
 *	unchanged		nothing happens, the SPIs stay
 *	the policy holds more	it is rekeyed, and the wish is for all of it
 *	it holds less		a new one is made, then the old one is deleted; after CONDEMNED_MS it
 *				goes in any case
 *	no longer configured	deleted
 *
 * Each side asks by itself, so the order in which the two are changed does not matter.
 */
#include "engine_int.h"

#include <stdlib.h>

#define CONDEMNED_MS 5000
#define AGAIN_MS     1000

static struct child_due *due_find(const struct ike_sa *sa, uint32_t conf)
{
	for (unsigned i = 0; i < sa->due_count; i++)
		if (sa->due[i].conf == conf)
			return &sa->due[i];
	return NULL;
}

static struct child_due *due_get(struct engine *e, struct ike_sa *sa, uint32_t conf)
{
	struct child_due *d = due_find(sa, conf);

	if (d)
		return d;
	d = realloc(sa->due, (sa->due_count + 1) * sizeof(*d));
	if (!d) {
		log_err(&sa->log, "out of memory: a CHILD SA will not be asked for again");
		return NULL;
	}
	sa->due = d;
	d = &sa->due[sa->due_count++];
	*d = (struct child_due){ .conf = conf, .tried_ms = e->now_ms };
	return d;
}

static void due_arm(struct engine *e, struct ike_sa *sa)
{
	uint64_t first = 0;

	for (unsigned i = 0; i < sa->due_count; i++)
		if (sa->due[i].at_ms && (!first || sa->due[i].at_ms < first))
			first = sa->due[i].at_ms;
	if (first)
		timer_arm(e, &sa->retry, first);
	else
		timer_clear(&e->timers, &sa->retry);
}

/* Is it configured, and neither up nor being made? */
static bool missing(const struct ike_sa *sa, uint32_t conf)
{
	return sa->state == SA_UP && child_conf(sa, conf) && !ike_sa_child_of(sa, conf) &&
	       !ike_sa_creates(sa, conf);
}

/* What stands for one that is missing, and is for this side to see to; else NULL. */
static struct child_due *due_of(struct engine *e, struct ike_sa *sa, uint32_t conf, bool initiator)
{
	if (sa->series_initiator != initiator || !missing(sa, conf))
		return NULL;
	return due_get(e, sa, conf);
}

static void due_in(struct engine *e, struct ike_sa *sa, struct child_due *d, uint64_t in_ms)
{
	d->at_ms = e->now_ms + in_ms;
	due_arm(e, sa);
}

void child_want(struct engine *e, struct ike_sa *sa, uint32_t conf, uint64_t in_ms)
{
	static const uint16_t backoff_s[] = { 1, 2, 4, 8, 15, 30 };
	struct child_due *d = due_of(e, sa, conf, true);

	if (!d)
		return;
	if (in_ms) {
		in_ms = backoff_s[d->failures < 6 ? d->failures : 5] * 1000;
		d->failures++;
	}
	due_in(e, sa, d, in_ms);
}

void child_put_off(struct engine *e, struct ike_sa *sa, uint32_t conf, uint64_t in_ms)
{
	struct child_due *d = due_of(e, sa, conf, true);

	if (!d)
		return;
	d->failures++;
	due_in(e, sa, d, in_ms);
}

void child_want_all(struct engine *e, struct ike_sa *sa)
{
	for (size_t i = 0; i < sa->peer->p->child_count; i++) {
		uint32_t conf = sa->peer->p->child[i].id;
		const struct child_due *d = due_find(sa, conf);

		if (!d || !d->at_ms)
			child_want(e, sa, conf, 0);
	}
	due_arm(e, sa);
}

void child_want_lost(struct engine *e, struct ike_sa *sa, uint32_t conf)
{
	struct child_due *d = due_of(e, sa, conf, false);

	if (d)
		due_in(e, sa, d, CHILD_LOST_MS);
}

void child_kept(struct engine *e, struct ike_sa *sa, uint32_t conf)
{
	struct child_due *d = due_find(sa, conf);

	if (!d)
		return;
	*d = sa->due[--sa->due_count];
	due_arm(e, sa);
}

int child_create(struct engine *e, struct ike_sa *sa, uint32_t conf)
{
	struct task want = { .kind = TASK_CREATE_CHILD, .conf = conf };
	int err = ike_sa_creates(sa, conf) ? 0 : ike_sa_task_add(sa, &want);

	tasks_run(e, sa);
	return err;
}

void child_more(struct engine *e, struct ike_sa *sa, struct child_sa *c, const struct ike_msg *m,
		bool more)
{
	struct task again = { .kind = TASK_CREATE_CHILD, .conf = c->conf, .more = true };

	for (struct child_sa *o = sa->children; more && o; o = o->next) {
		bool gives_way = o->replaced_by == c->spi_in; /* to one with the same selectors */

		if (o == c || (!child_sa_usable(o) && !gives_way) || !child_within(c, o))
			continue;
		log_debug(&sa->log, "CHILD SA %08x brings nothing new", c->spi_in);
		if (!gives_way)
			task_queue(e, sa, TASK_DELETE_CHILD, c->spi_in);
		return;
	}
	if (!ike_msg_notify(m, ADDITIONAL_TS_POSSIBLE) || ike_sa_children_up(sa) >= IKE_CHILDREN_UP)
		return;
	ike_sa_task_add(sa, &again);
	tasks_run(e, sa);
}

void child_dues_move(struct ike_sa *from, struct ike_sa *to)
{
	free(to->due);
	to->due = from->due;
	to->due_count = from->due_count;
	from->due = NULL;
	from->due_count = 0;
}

void on_child_retry(struct timer *t, uint64_t now_ms)
{
	struct ike_sa *sa = t->arg;

	for (unsigned i = 0; i < sa->due_count; i++) {
		struct child_due *d = &sa->due[i];
		struct task want = { .kind = TASK_CREATE_CHILD, .conf = d->conf, .if_none = true };

		if (!d->at_ms || d->at_ms > now_ms)
			continue;
		d->at_ms = 0;
		d->tried_ms = now_ms;
		if (missing(sa, d->conf) && ike_sa_task_add(sa, &want))
			d->at_ms = now_ms + AGAIN_MS;
	}
	due_arm(sa->engine, sa);
	if (sa->state == SA_UP)
		tasks_run(sa->engine, sa);
}

static bool concerns(const struct ike_sa *sa, const struct engine_child_conf *cc,
		     const struct addr *from, const struct addr *to)
{
	struct ts_list *l = calloc(2, sizeof(*l));
	bool hit = false, in[2] = { false, false };

	if (!l)
		return false;
	child_policy(sa, sa->peer->p, cc, false, &l[0], &l[1]);
	for (int side = 0; side < 2; side++)
		for (unsigned i = 0; i < l[side].count; i++) {
			struct ts packet = l[side].ts[i];

			packet.lo = packet.hi = side ? *to : *from;
			in[side] |= ts_covers(&l[side].ts[i], &packet);
		}
	hit = in[0] && in[1];
	free(l);
	return hit;
}

int engine_acquire(struct engine *e, uint64_t now_ms, uint32_t ike, const struct addr *from,
		   const struct addr *to, struct fx_list *fx)
{
	struct ike_sa *sa = sa_by_handle(e, ike);

	if (!sa || sa->state != SA_UP)
		return -ENOENT;
	engine_enter(e, now_ms, fx);
	for (size_t i = 0; i < sa->peer->p->child_count; i++) {
		const struct engine_child_conf *cc = &sa->peer->p->child[i];
		struct child_due *d;

		if (!missing(sa, cc->id) || !concerns(sa, cc, from, to))
			continue;
		d = due_find(sa, cc->id);
		if (d && now_ms < d->tried_ms + AGAIN_MS)
			continue;
		d = d ? d : due_get(e, sa, cc->id);
		if (d)
			d->at_ms = now_ms;
	}
	on_child_retry(&sa->retry, now_ms);
	engine_leave(e);
	return 0;
}

/* ---- a reload ---- */

static bool same_ts(const struct engine_ts *a, size_t na, const struct engine_ts *b, size_t nb)
{
	bool same = na == nb;

	for (size_t i = 0; same && i < na; i++)
		same = a[i].assigned == b[i].assigned && ts_equal(&a[i].ts, &b[i].ts);
	return same;
}

static bool same_selectors(const struct engine_child_conf *a, const struct engine_child_conf *b)
{
	return same_ts(a->local_ts, a->local_ts_count, b->local_ts, b->local_ts_count) &&
	       same_ts(a->remote_ts, a->remote_ts_count, b->remote_ts, b->remote_ts_count);
}

/* The policy holds less than @c does: make before break, but not for long. */
static void condemn(struct engine *e, struct ike_sa *sa, struct child_sa *c, bool again)
{
	log_info(&sa->log, "CHILD SA %08x is against the new configuration", c->spi_in);
	c->condemned = true;
	if (again)
		child_create(e, sa, c->conf);
	task_queue(e, sa, TASK_DELETE_CHILD, c->spi_in);
	if (c->state != CHILD_CLOSING)
		timer_arm(e, &c->life, e->now_ms + CONDEMNED_MS);
}

/* Its section is gone but the traffic is still allowed: it may have another name now. */
static const struct engine_child_conf *adopt(struct ike_sa *sa, struct child_sa *c)
{
	const struct engine_peer *p = sa->peer->p;
	const struct engine_child_conf *found = NULL;

	for (size_t i = 0; i < p->child_count && !found; i++)
		if (!ike_sa_child_of(sa, p->child[i].id) && child_within_conf(c, &p->child[i]))
			found = &p->child[i];
	if (found)
		c->conf = found->id;
	return found;
}

static void reload_child(struct engine *e, struct ike_sa *sa, struct child_sa *c,
			 const struct engine_peer *was)
{
	const struct engine_child_conf *now = child_conf(sa, c->conf);
	const struct engine_child_conf *before = child_conf_in(was, c->conf);

	if (!child_allowed(c)) {
		condemn(e, sa, c, now != NULL);
		return;
	}
	if (!now) {
		before = NULL;
		now = adopt(sa, c);
	}
	if (!now)
		condemn(e, sa, c, false);
	else if ((!before || !same_selectors(before, now)) && !child_holds(c, now))
		task_queue(e, sa, TASK_REKEY_CHILD, c->spi_in);
}

void children_reload(struct engine *e, struct ike_sa *sa, const struct engine_peer *was)
{
	struct child_sa *c, *next;

	for (c = sa->children; c; c = next) {
		next = c->next;
		if (!child_sa_usable(c) || c->condemned)
			continue;
		if (sa->state == SA_UP)
			reload_child(e, sa, c, was);
		else if (!child_allowed(c))
			child_drop(e, c, true);
	}
	if (sa->state == SA_UP)
		child_want_all(e, sa);
}
