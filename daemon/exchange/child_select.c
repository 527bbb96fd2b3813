/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: which selectors a CHILD SA has (RFC 7296 s2.9), and of which configuration it is. What is
 * configured for a peer is a list of pairs: what lies on our side and what on theirs. A wish on the wire is
 * two lists, and means each of the one with each of the other; so the union of two pairs
 *
 *	ours 10.0.0.1[tcp/25], theirs 10.0.0.2[tcp]	ours 10.0.0.1[tcp], theirs 10.0.0.2[tcp/25]
 *
 * would be {[tcp/25], [tcp]} and {[tcp], [tcp/25]}, which is all of TCP. Therefore a wish gets the pair
 * that fits best, and others only as long as nothing passes that no pair allows:
 *
 *	1. the one that holds the first selectors of the wish: those of the packet, if there was one
 *	2. the one that holds the whole wish
 *	3. for a whole one: which is no wider than the wish; else: which has no CHILD SA yet
 *	4. the other of these two; then the order of the configuration
 *
 * What then is left of the wish is told by ADDITIONAL_TS_POSSIBLE: who asks again gets the next one. So
 * a peer with one policy for all traffic comes to the same CHILD SAs as one with ours.
 */
#include "engine_int.h"

#include <stdlib.h>

const struct engine_child_conf *child_conf_in(const struct engine_peer *p, uint32_t id)
{
	for (size_t i = 0; i < p->child_count; i++)
		if (p->child[i].id == id)
			return &p->child[i];
	return NULL;
}

const struct engine_child_conf *child_conf(const struct ike_sa *sa, uint32_t id)
{
	return child_conf_in(sa->peer->p, id);
}

const struct proposals *child_esp(const struct ike_sa *sa, uint32_t id)
{
	const struct engine_child_conf *cc = child_conf(sa, id);

	return cc && cc->esp ? cc->esp : sa->peer->p->esp;
}

/* ---- the configuration as lists ---- */

static void append(struct ts_list *l, struct ts t, const struct ts *like)
{
	if (l->count >= ENGINE_TS_MAX)
		return;
	t.proto = like->proto;
	t.port_lo = like->port_lo;
	t.port_hi = like->port_hi;
	ts_append(l, &t);
}

static void append_prefix(struct ts_list *l, const struct addr *a, uint8_t len,
			  const struct ts *like)
{
	struct prefix p = { .addr = *a, .len = len };

	if (a->family == like->lo.family)
		append(l, ts_from_prefix(&p), like);
}

static void append_host(struct ts_list *l, const struct addr *a, const struct ts *like)
{
	append_prefix(l, a, (uint8_t)addr_bits(a), like);
}

static void append_any(struct ts_list *l, const struct ts *like)
{
	struct addr a = { .family = like->lo.family };

	append_prefix(l, &a, 0, like);
}

void child_policy(const struct ike_sa *sa, const struct engine_peer *p,
		  const struct engine_child_conf *cc, bool wish, struct ts_list *mine,
		  struct ts_list *theirs)
{
	const struct peer_entry *pe = sa->peer;
	bool any = wish && sa->series_initiator && (sa->auth || (!pe->v4.family && !pe->v6.family));

	memset(mine, 0, sizeof(*mine));
	memset(theirs, 0, sizeof(*theirs));
	for (size_t i = 0; cc && i < cc->local_ts_count; i++) {
		const struct engine_ts *t = &cc->local_ts[i];

		if (!t->assigned)
			append(mine, t->ts, &t->ts);
		else if (any)
			append_any(mine, &t->ts);
		else
			append_host(mine, t->ts.lo.family == AF_INET ? &pe->v4 : &pe->v6, &t->ts);
	}
	for (size_t i = 0; cc && i < cc->remote_ts_count; i++) {
		const struct engine_ts *t = &cc->remote_ts[i];

		for (size_t k = 0; t->assigned && k < p->assign_count; k++)
			append_host(theirs, &p->assign[k], &t->ts);
		for (int k = 0; t->assigned && k < 2; k++)
			append_host(theirs, &pe->lease[k], &t->ts);
		if (!t->assigned)
			append(theirs, t->ts, &t->ts);
	}
}

static void add_missing(struct ts_list *l, const struct ts_list *more)
{
	for (unsigned i = 0; i < more->count; i++) {
		const struct ts_list one = { .count = 1, .ts = { more->ts[i] } };

		if (!ts_list_covers(l, &one) && l->count < ENGINE_TS_MAX)
			ts_append(l, &more->ts[i]);
	}
}

/* ---- what is allowed ---- */

static bool meet(const struct ts *a, const struct ts *b)
{
	return a->lo.family == b->lo.family && (!a->proto || !b->proto || a->proto == b->proto);
}

/* Is there a packet that fits both lists? */
static bool carries(const struct ts_list *a, const struct ts_list *b)
{
	for (unsigned i = 0; i < a->count; i++)
		for (unsigned k = 0; k < b->count; k++)
			if (meet(&a->ts[i], &b->ts[k]))
				return true;
	return false;
}

static bool holds(const struct ts_list *l, struct ts t, uint8_t proto)
{
	if (!t.proto)
		t.proto = proto;
	for (unsigned i = 0; i < l->count; i++)
		if (ts_covers(&l->ts[i], &t))
			return true;
	return false;
}

/* Are all pairs of the two lists that can carry something within one of @p's pairs each? */
static bool allowed(const struct ike_sa *sa, const struct engine_peer *p,
		    const struct ts_list *mine, const struct ts_list *theirs)
{
	struct ts_list *l = calloc(2, sizeof(*l));
	bool *ok = calloc(TS_MAX, TS_MAX);
	bool all = l && ok;

	for (size_t n = 0; l && ok && n < p->child_count; n++) {
		child_policy(sa, p, &p->child[n], false, &l[0], &l[1]);
		for (unsigned i = 0; i < mine->count; i++)
			for (unsigned k = 0; k < theirs->count; k++) {
				const struct ts *a = &mine->ts[i], *b = &theirs->ts[k];
				bool *this = &ok[i * TS_MAX + k];

				*this = *this || !meet(a, b) ||
					(holds(&l[0], *a, b->proto) && holds(&l[1], *b, a->proto));
			}
	}
	for (unsigned i = 0; all && i < mine->count; i++)
		for (unsigned k = 0; all && k < theirs->count; k++)
			all = ok[i * TS_MAX + k];
	free(l);
	free(ok);
	return all;
}

bool child_allowed(const struct child_sa *c)
{
	return allowed(c->sa, c->sa->peer->p, c->local_ts, c->remote_ts);
}

/* @c against one configuration: @inner: is it within that, else: does it hold all of it? */
static bool compared(const struct child_sa *c, const struct engine_child_conf *cc, bool inner)
{
	struct ts_list *l = calloc(2, sizeof(*l));
	bool yes = false;

	if (l) {
		child_policy(c->sa, c->sa->peer->p, cc, false, &l[0], &l[1]);
		yes =
		    inner
			? ts_list_covers(&l[0], c->local_ts) && ts_list_covers(&l[1], c->remote_ts)
			: ts_list_covers(c->local_ts, &l[0]) && ts_list_covers(c->remote_ts, &l[1]);
	}
	free(l);
	return yes;
}

bool child_holds(const struct child_sa *c, const struct engine_child_conf *cc)
{
	return compared(c, cc, false);
}

bool child_within_conf(const struct child_sa *c, const struct engine_child_conf *cc)
{
	return compared(c, cc, true);
}

bool child_within(const struct child_sa *a, const struct child_sa *b)
{
	return ts_list_covers(b->local_ts, a->local_ts) &&
	       ts_list_covers(b->remote_ts, a->remote_ts);
}

/* ---- initiator ---- */

void child_wish(const struct child_sa *c, const struct child_sa *old, struct ts_list *tsi,
		struct ts_list *tsr)
{
	child_policy(c->sa, c->sa->peer->p, child_conf(c->sa, c->conf), true, tsi, tsr);
	if (!old || old->condemned)
		return;
	/* s2.9.2: the same or more, so that what the peer's policy has gained comes with a rekey. */
	add_missing(tsi, old->local_ts);
	add_missing(tsr, old->remote_ts);
}

int child_keep_own(struct child_sa *c, const struct child_sa *old)
{
	struct ts_list *l = calloc(3, sizeof(*l));
	int err;

	if (!l)
		return -ENOMEM;
	child_policy(c->sa, c->sa->peer->p, child_conf(c->sa, c->conf), false, &l[0], &l[1]);
	if (old &&
	    !old->condemned) /* a reload may have forbidden it while the request was on its way */
		add_missing(&l[0], old->local_ts);
	l[2] = *c->local_ts;
	err = ts_narrow(&l[2], &l[0], c->local_ts);
	free(l);
	return err;
}

/* ---- responder ---- */

/* Does a CHILD SA of this IKE SA carry it already? */
static bool in_use(const struct ike_sa *sa, const struct engine_child_conf *cc)
{
	for (const struct child_sa *c = sa->children; c; c = c->next)
		if (child_sa_usable(c) && !c->condemned &&
		    (c->conf == cc->id || child_holds(c, cc)))
			return true;
	return false;
}

static unsigned score(const struct ike_sa *sa, const struct engine_child_conf *cc,
		      const struct child_select *s, struct ts_list l[static 4])
{
	bool whole, exact, unused;

	child_policy(sa, sa->peer->p, cc, false, &l[0], &l[1]);
	if (ts_narrow(&s->ours, &l[0], &l[2]) || ts_narrow(&s->theirs, &l[1], &l[3]) ||
	    !carries(&l[2], &l[3]))
		return 0;
	whole = ts_list_covers(&l[2], &s->ours) && ts_list_covers(&l[3], &s->theirs);
	exact = ts_list_covers(&l[2], &l[0]) && ts_list_covers(&l[3], &l[1]);
	unused = !in_use(sa, cc);
	return 1 +
	       8 * (holds(&l[0], s->ours.ts[0], s->theirs.ts[0].proto) &&
		    holds(&l[1], s->theirs.ts[0], s->ours.ts[0].proto)) +
	       4 * whole + (whole ? 2 * exact + unused : 2 * unused + exact);
}

int child_select_rank(const struct ike_sa *sa, struct child_select *s)
{
	struct ts_list *l = calloc(4, sizeof(*l));
	const struct engine_peer *p = sa->peer->p;
	unsigned points[ENGINE_CHILDREN_MAX];

	s->count = 0;
	if (!l)
		return -ENOMEM;
	for (size_t n = 0; n < p->child_count; n++) {
		unsigned have = score(sa, &p->child[n], s, l);
		size_t i = s->count;

		if (!have)
			continue;
		for (; i && points[i - 1] < have; i--) {
			points[i] = points[i - 1];
			s->ranked[i] = s->ranked[i - 1];
		}
		points[i] = have;
		s->ranked[i] = &p->child[n];
		s->count++;
	}
	free(l);
	return s->count ? 0 : -ENOENT;
}

int child_select_lists(const struct ike_sa *sa, struct child_select *s, size_t best,
		       struct ts_list *mine, struct ts_list *theirs)
{
	const struct engine_peer *p = sa->peer->p;
	struct ts_list *l = calloc(6, sizeof(*l));
	int err;

	s->more = false;
	if (!l)
		return -ENOMEM;
	child_policy(sa, p, s->ranked[best], false, &l[0], &l[1]);
	err = ts_narrow(&s->ours, &l[0], mine);
	if (!err)
		err = ts_narrow(&s->theirs, &l[1], theirs);
	for (size_t n = 0; !err && n < s->count; n++) {
		const struct engine_child_conf *cc = s->ranked[n];

		if (n == best || in_use(sa, cc))
			continue;
		child_policy(sa, p, cc, false, &l[0], &l[1]);
		if (ts_narrow(&s->ours, &l[0], &l[2]) || ts_narrow(&s->theirs, &l[1], &l[3]) ||
		    (ts_list_covers(mine, &l[2]) && ts_list_covers(theirs, &l[3])))
			continue;
		l[4] = *mine;
		l[5] = *theirs;
		add_missing(&l[4], &l[2]);
		add_missing(&l[5], &l[3]);
		if (cc->esp == s->ranked[best]->esp && allowed(sa, p, &l[4], &l[5])) {
			*mine = l[4];
			*theirs = l[5];
		} else {
			s->more = true;
		}
	}
	free(l);
	return err;
}

/* The pair of one configuration, and no less than @old: s2.9.2. -ENOENT where that is more than is allowed. */
static int rekey_by(const struct ike_sa *sa, const struct child_select *s,
		    const struct engine_child_conf *cc, const struct child_sa *old,
		    struct ts_list *mine, struct ts_list *theirs)
{
	struct ts_list *l = calloc(2, sizeof(*l));
	int err;

	if (!l)
		return -ENOMEM;
	child_policy(sa, sa->peer->p, cc, false, &l[0], &l[1]);
	add_missing(&l[0], old->local_ts);
	add_missing(&l[1], old->remote_ts);
	err = ts_narrow(&s->ours, &l[0], mine);
	if (!err)
		err = ts_narrow(&s->theirs, &l[1], theirs);
	free(l);
	return err || allowed(sa, sa->peer->p, mine, theirs) ? err : -ENOENT;
}

int child_select_rekey(const struct ike_sa *sa, struct child_select *s, const struct child_sa *old,
		       uint32_t *conf, struct ts_list *mine, struct ts_list *theirs)
{
	int err = -ENOENT;

	/* It may have been made while something that fits better was not configured yet. */
	*conf = old->conf;
	if (!child_select_rank(sa, s) && !in_use(sa, s->ranked[0])) {
		err = rekey_by(sa, s, s->ranked[0], old, mine, theirs);
		if (!err)
			*conf = s->ranked[0]->id;
	}
	if (err)
		err = rekey_by(sa, s, child_conf(sa, old->conf), old, mine, theirs);
	if (err && !old->condemned) {
		err = ts_narrow(&s->ours, old->local_ts, mine);
		if (!err)
			err = ts_narrow(&s->theirs, old->remote_ts, theirs);
	}
	return err;
}
