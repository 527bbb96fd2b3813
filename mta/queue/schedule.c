/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "schedule_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "log.h"
#include "way.h"

#define HOLD_FIRST_MS 2000
#define HOLD_MAX_MS   30000

static const char *const state_words[DEST_STATES] = { "up", "probing", "unknown", "down", "held" };

const char *dest_state_word(enum dest_state st)
{
	return state_words[st];
}

/* --- heaps --- */

static bool sooner(const struct heap_node *a, const struct heap_node *b)
{
	return leg_at(a)->next_ms < leg_at(b)->next_ms;
}

static bool older(const struct heap_node *a, const struct heap_node *b)
{
	return leg_at(a)->letter->seq < leg_at(b)->letter->seq;
}

static bool wakes_before(const struct heap_node *a, const struct heap_node *b)
{
	return dest_at(a)->due_ms < dest_at(b)->due_ms;
}

static void unqueue(struct leg *g)
{
	if (g->node.slot)
		heap_take(g->waiting ? &g->dest->waiting : &g->dest->ready, &g->node);
}

/* --- destinations --- */

void dest_enter(struct dest *d, enum dest_state st, uint64_t until_ms, const char *why)
{
	char quoted[600];

	if (d->state != st)
		log_info(NULL, "route=%s hop=%s state=%s was=%s waiting=%zu msg=\"%s\"", d->route,
			 d->hop, state_words[st], state_words[d->state],
			 d->ready.count + d->waiting.count,
			 log_quote(quoted, sizeof(quoted), why, strlen(why)));
	if (d->state != st)
		d->catching_up = true;
	d->state = st;
	d->until_ms = until_ms;
}

enum tunnel_state dest_tunnel(const struct schedule *s, const struct dest *d)
{
	const struct tunnel_peer *p = tunnel_peer(s->tunnel, d->policy->peer);

	if (p)
		return p->state;
	return s->tunnel->connected ? TUNNEL_DOWN : TUNNEL_UNKNOWN;
}

static const char *tunnel_why(const struct schedule *s, const struct dest *d)
{
	if (!s->tunnel->connected)
		return "posternd cannot be reached";
	return tunnel_peer(s->tunnel, d->policy->peer) ? "posternd says so"
						       : "posternd knows no such peer";
}

/* A tunnel that came up: at once, unless it flaps. */
static void tunnel_came_up(struct schedule *s, struct dest *d, uint64_t now_ms)
{
	uint64_t oldest = d->ups_ms[0], hold = 0;

	memmove(d->ups_ms, d->ups_ms + 1, sizeof(d->ups_ms) - sizeof(d->ups_ms[0]));
	d->ups_ms[SCHEDULE_FLAPS - 1] = now_ms;
	/* @oldest is the fourth one back: with this one they are five ups, four flaps. */
	if (oldest && now_ms - oldest < SCHEDULE_FLAP_MS) {
		d->hold_down_ms = d->hold_down_ms ? 2 * d->hold_down_ms : HOLD_FIRST_MS;
		if (d->hold_down_ms > HOLD_MAX_MS)
			d->hold_down_ms = HOLD_MAX_MS;
		hold = now_ms + d->hold_down_ms;
	} else {
		d->hold_down_ms = 0;
	}
	d->failures = 0;
	backup_works(s, d);
	d->limit = SCHEDULE_LIMIT_FIRST;
	memset(d->family, 0, sizeof(d->family));
	dest_enter(d, DEST_UP, hold,
		   hold ? "tunnel is up; it flaps, held down first" : "tunnel is up");
}

static void set_policy(struct schedule *s, struct dest *d, uint64_t now_ms)
{
	const struct mta_home *h;
	uint64_t changed;

	d->policy = d->route[0] ? config_route(s->config, d->route) : NULL;
	d->home[0] = 0;
	if (!d->policy) {
		dest_enter(d, DEST_HELD, 0, "no route in the configuration");
		return;
	}
	if (!dest_is_tunnel(d)) {
		if (d->state == DEST_HELD || d->state == DEST_DOWN || d->state == DEST_UNKNOWN)
			dest_enter(d, DEST_UP, 0, "route configured");
		return;
	}
	h = config_home_by_peer(s->config, d->policy->peer);
	if (h)
		snprintf(d->home, sizeof(d->home), "%s", h->name);
	switch (dest_tunnel(s, d)) {
	case TUNNEL_UP:
		/* A down and up between two tables shows in the time of the change. */
		changed = tunnel_peer(s->tunnel, d->policy->peer)->changed_ms;
		if ((d->state != DEST_UP && d->state != DEST_PROBING) || changed != d->changed_ms)
			tunnel_came_up(s, d, now_ms);
		d->changed_ms = changed;
		break;
	case TUNNEL_DOWN:
		dest_enter(d, DEST_DOWN, 0, tunnel_why(s, d));
		backup_fails(d, now_ms);
		break;
	case TUNNEL_UNKNOWN:
		if (d->state != DEST_UNKNOWN) {
			d->failures = 0;
			dest_enter(d, DEST_UNKNOWN, 0, tunnel_why(s, d));
		}
		break;
	}
}

/* Domains are compared as the DNS has them. */
static void look_at_holds(const struct schedule *s, struct dest *d)
{
	d->admin_hold = d->quiet = false;
	for (size_t i = 0; i < s->held_count; i++) {
		const struct hold *h = &s->held[i];

		if (strcmp(h->route, d->route) || (h->hop[0] && strcasecmp(h->hop, d->hop) != 0))
			continue;
		d->admin_hold = true;
		d->quiet |= h->quiet;
	}
}

static struct dest *dest_of(struct schedule *s, const char *route, const char *hop, uint64_t now_ms)
{
	char key[MTA_NAME_MAX + ROUTE_HOP_MAX];
	size_t len = (size_t)snprintf(key, sizeof(key), "%s\n%s", route, hop);
	uint64_t h = hash_bytes(key, len);
	struct dest *d;

	for (struct hash_node *n = hash_first(&s->index, h); n; n = hash_next(n)) {
		d = (struct dest *)(void *)n;
		if (!strcmp(d->route, route) && !strcmp(d->hop, hop))
			return d;
	}
	d = calloc(1, sizeof(*d));
	if (!d || heap_reserve(&s->sleeping, s->count + 1) || hash_insert(&s->index, &d->node, h)) {
		free(d);
		return NULL;
	}
	snprintf(d->route, sizeof(d->route), "%s", route);
	snprintf(d->hop, sizeof(d->hop), "%s", hop);
	look_at_holds(s, d);
	d->limit = SCHEDULE_LIMIT_FIRST;
	d->state = DEST_HELD;
	d->waiting.before = sooner;
	d->ready.before = older;
	TAILQ_INIT(&d->diverted);
	memory_recall(s, d, now_ms);
	set_policy(s, d, now_ms);
	TAILQ_INSERT_TAIL(&s->all, d, all);
	s->count++;
	return d;
}

static void dest_free(struct dest *d)
{
	heap_clear(&d->waiting);
	heap_clear(&d->ready);
	free(d);
}

/* One that nobody waits for is made anew when needed: MX domains have no bound, those that never answer neither. */
static void dest_drop(struct schedule *s, struct dest *d, bool again)
{
	if (d->waiting.count || d->ready.count || d->flying || d->diverted_count || d->admin_hold ||
	    (d->state != DEST_UP && (again || d->state != DEST_PROBING)) || !d->policy ||
	    d->policy->kind != ROUTE_MX)
		return;
	memory_keep(s, d);
	turn_leave(s, d);
	TAILQ_REMOVE(&s->all, d, all);
	s->count--;
	hash_remove(&s->index, &d->node);
	dest_free(d);
}

struct schedule *schedule_new(const struct mta_config *c, const struct tunnel_table *t)
{
	struct schedule *s = calloc(1, sizeof(*s));

	if (s) {
		s->config = c;
		s->tunnel = t;
		s->sleeping.before = wakes_before;
		TAILQ_INIT(&s->all);
		for (int i = 0; i < LINES; i++)
			TAILQ_INIT(&s->turn[i]);
	}
	return s;
}

static void free_dest(struct hash_node *n, void *arg)
{
	struct dest *d = (struct dest *)(void *)n;

	(void)arg;
	/* Legs belong to letters, which are removed before. */
	dest_free(d);
}

void schedule_free(struct schedule *s)
{
	if (!s)
		return;
	hash_each(&s->index, free_dest, NULL);
	hash_free(&s->index);
	heap_clear(&s->sleeping);
	free(s->held);
	free(s);
}

void schedule_each(struct schedule *s, void (*fn)(const struct dest *d, void *arg), void *arg)
{
	struct dest *d;

	TAILQ_FOREACH(d, &s->all, all)
	fn(d, arg);
}

void schedule_reload(struct schedule *s, const struct mta_config *c, const struct tunnel_table *t,
		     uint64_t now_ms)
{
	struct dest *d;

	s->config = c;
	s->tunnel = t;
	TAILQ_FOREACH(d, &s->all, all)
	{
		set_policy(s, d, now_ms);
		turn_again(s, d);
	}
}

void schedule_tunnel(struct schedule *s, const struct tunnel_table *t, uint64_t now_ms)
{
	struct dest *d;

	s->tunnel = t;
	TAILQ_FOREACH(d, &s->all, all)
	{
		if (!dest_is_tunnel(d))
			continue;
		set_policy(s, d, now_ms);
		turn_touch(s, d);
	}
}

/* --- legs --- */

static uint64_t leg_due(const struct leg *g)
{
	uint64_t due = UINT64_MAX;

	for (size_t i = 0; i < g->letter->rcpt_count; i++) {
		const struct letter_rcpt *r = &g->letter->rcpt[i];

		if (r->leg == g && r->state == RCPT_PENDING && !r->flying &&
		    (uint64_t)r->next_s * 1000 < due)
			due = (uint64_t)r->next_s * 1000;
	}
	return due;
}

void leg_queue(struct schedule *s, struct leg *g, uint64_t now_ms)
{
	g->next_ms = leg_due(g);
	g->waiting = g->next_ms > now_ms;
	if (heap_put(g->waiting ? &g->dest->waiting : &g->dest->ready, &g->node))
		log_err(NULL, "msg=\"out of memory: a letter waits a minute\"");
	turn_touch(s, g->dest);
}

void leg_drop(struct schedule *s, struct leg *g, bool again)
{
	struct letter *l = g->letter;
	struct leg **at = &l->legs;
	struct dest *instead = backup_leave(g);

	unqueue(g);
	while (*at != g)
		at = &(*at)->next;
	*at = g->next;
	for (size_t i = 0; i < l->rcpt_count; i++)
		if (l->rcpt[i].leg == g)
			l->rcpt[i].leg = NULL;
	g->dest->bytes -= l->body_len;
	if (g->flying) {
		g->dest->flying--;
		s->flying--;
		s->mx_flying -= g->mx;
		turn_share(s);
	}
	turn_touch(s, g->dest);
	dest_drop(s, g->dest, again);
	if (instead)
		dest_drop(s, instead, again);
	free(g);
}

static struct leg *leg_for(struct letter *l, struct dest *d, struct dest *instead)
{
	struct leg *g;

	for (g = l->legs; g; g = g->next)
		if (g->dest == d && g->instead == instead && !g->flying)
			return g;
	g = calloc(1, sizeof(*g));
	if (!g)
		return NULL;
	g->letter = l;
	g->dest = d;
	g->next = l->legs;
	l->legs = g;
	d->bytes += l->body_len;
	backup_join(g, instead);
	return g;
}

/*
 * Where a recipient of @r goes now. @instead: of which dest, when it is a backup's. A probe is there to see
 * the way itself, and a report on it goes to who asked and to nobody else: they wait.
 */
static struct dest *dest_for(struct schedule *s, const struct mta_route *r,
			     const struct envelope *e, const char *rcpt, uint64_t now_ms,
			     struct dest **instead)
{
	char hop[ROUTE_HOP_MAX];
	struct dest *d =
	    dest_of(s, r ? r->name : "", r ? route_next_hop(r, rcpt, hop) : "", now_ms);

	*instead = NULL;
	while (d && !(e->flags & ENV_PROBE) && backup_diverts(d, now_ms)) {
		*instead = *instead ? *instead : d;
		r = config_route(s->config, d->policy->backup);
		d = dest_of(s, r->name, route_next_hop(r, rcpt, hop), now_ms);
	}
	return d;
}

int schedule_add(struct schedule *s, struct letter *l, const struct envelope *e, uint64_t now_ms)
{
	if (l->state != LETTER_QUEUED || l->unreadable)
		return 0;
	for (size_t i = 0; i < l->rcpt_count && i < e->rcpt_count; i++) {
		struct dest *d, *instead;
		struct leg *g;

		if (l->rcpt[i].state != RCPT_PENDING || l->rcpt[i].leg)
			continue;
		d = dest_for(s, way_route(s->config, l->way, e, e->rcpt[i].addr), e,
			     e->rcpt[i].addr, now_ms, &instead);
		g = d ? leg_for(l, d, instead) : NULL;
		if (!g)
			return -ENOMEM;
		l->rcpt[i].leg = g;
		g->open++;
	}
	for (struct leg *g = l->legs; g; g = g->next)
		if (!g->node.slot && !g->flying)
			leg_queue(s, g, now_ms);
	return 0;
}

bool schedule_misses(const struct letter *l)
{
	if (l->state != LETTER_QUEUED || l->unreadable)
		return false;
	for (size_t i = 0; i < l->rcpt_count; i++)
		if (l->rcpt[i].state == RCPT_PENDING && !l->rcpt[i].leg)
			return true;
	for (const struct leg *g = l->legs; g; g = g->next)
		if (!g->node.slot && !g->flying)
			return true;
	return false;
}

void schedule_remove(struct schedule *s, struct letter *l)
{
	struct leg *g, *next;

	for (g = l->legs; g; g = next) {
		next = g->next;
		leg_drop(s, g, false);
	}
	for (size_t i = 0; i < l->rcpt_count; i++)
		l->rcpt[i].flying = false;
}

void schedule_remove_idle(struct schedule *s, struct letter *l)
{
	struct leg *g, *next;

	for (g = l->legs; g; g = next) {
		next = g->next;
		if (!g->flying)
			leg_drop(s, g, true);
	}
}

void schedule_settle(struct schedule *s, struct letter *l, uint64_t now_ms)
{
	struct leg *g, *next;

	for (g = l->legs; g; g = next) {
		next = g->next;
		if (g->flying)
			continue;
		if (leg_due(g) == UINT64_MAX) {
			leg_drop(s, g, false);
		} else {
			unqueue(g);
			leg_queue(s, g, now_ms);
		}
	}
}

/* --- starting --- */

static struct leg *launch(struct schedule *s, struct dest *d, uint64_t now_ms, uint8_t *fam,
			  bool *probe)
{
	struct leg *g = leg_of(heap_first(&d->ready));

	heap_take(&d->ready, &g->node);
	g->flying = true;
	g->mx = d->policy->kind == ROUTE_MX;
	s->flying++;
	s->mx_flying += g->mx;
	for (size_t i = 0; i < g->letter->rcpt_count; i++) {
		struct letter_rcpt *r = &g->letter->rcpt[i];

		r->flying |=
		    r->leg == g && r->state == RCPT_PENDING && (uint64_t)r->next_s * 1000 <= now_ms;
	}
	if (now_ms - d->pace_ms >= 1000) {
		d->paced_before = now_ms - d->pace_ms < 2000 ? d->paced : 0;
		d->pace_ms = now_ms;
		d->paced = 0;
	}
	d->catching_up &= d->ready.count > SCHEDULE_AHEAD;
	d->paced++;
	d->flying++;
	*fam = family_usable(d, now_ms);
	*probe = d->state != DEST_UP || d->force;
	g->next_ms = now_ms << 1 | (d->state != DEST_UP); /* leg_launched_ms(), leg_probed() */
	d->force = false;
	turn_touch(s, d);
	return g;
}

struct leg *schedule_next(struct schedule *s, uint64_t now_ms, uint8_t *fam, bool *probe)
{
	struct dest *d = turn_next(s, now_ms);

	return d ? launch(s, d, now_ms, fam, probe) : NULL;
}

bool schedule_behind(const struct letter *l, uint64_t now_ms)
{
	for (const struct leg *g = l->legs; g; g = g->next) {
		const struct dest *d = g->dest;
		bool fast = now_ms - d->pace_ms < 2000 && (d->paced >= SCHEDULE_FAST_PER_S ||
							   d->paced_before >= SCHEDULE_FAST_PER_S);

		if (!g->flying && !g->waiting && fast && d->state == DEST_UP && !d->admin_hold &&
		    !d->catching_up && d->ready.count > SCHEDULE_AHEAD)
			return true;
	}
	return false;
}

/* --- by the admin --- */

static void clear_leg(struct schedule *s, struct leg *g, uint64_t now_ms)
{
	bool waited = false;

	for (size_t i = 0; i < g->letter->rcpt_count; i++) {
		struct letter_rcpt *r = &g->letter->rcpt[i];

		if (r->leg != g)
			continue;
		waited |= r->next_s;
		r->next_s = 0;
	}
	if (g->node.slot && (waited || g->waiting)) {
		unqueue(g);
		leg_queue(s, g, now_ms);
	}
}

size_t schedule_flush(struct schedule *s, const char *route, uint64_t now_ms)
{
	struct dest *d;
	size_t n = 0;

	TAILQ_FOREACH(d, &s->all, all)
	{
		if (route && strcmp(route, d->route))
			continue;
		n += d->ready.count + d->waiting.count;
		if (!dest_is_tunnel(d) && d->state == DEST_PROBING)
			d->until_ms = now_ms;
		memset(d->family, 0, sizeof(d->family));
		turn_touch(s, d);
	}
	return n;
}

size_t schedule_flush_letter(struct schedule *s, const char *route, struct letter *l, uint64_t now_ms)
{
	size_t n = 0;

	for (struct leg *g = l->legs; g; g = g->next) {
		if (route && strcmp(route, g->dest->route))
			continue;
		clear_leg(s, g, now_ms);
		n++;
	}
	return n;
}

size_t schedule_force(struct schedule *s, const char *route, uint64_t now_ms)
{
	struct dest *d;
	size_t n = 0;

	TAILQ_FOREACH(d, &s->all, all)
	{
		if (strcmp(route, d->route) || !d->policy || !(d->waiting.count + d->ready.count))
			continue;
		if (!d->ready.count)
			clear_leg(s, leg_of(heap_first(&d->waiting)), now_ms);
		d->force = true;
		turn_again(s, d);
		n++;
	}
	return n;
}

/* What is held or released now stands for itself: older words on it are taken out. */
static int note_hold(struct schedule *s, const char *route, const char *hop, bool hold)
{
	struct hold *a;
	size_t n = 0;

	for (size_t i = 0; i < s->held_count; i++) {
		const struct hold *h = &s->held[i];

		if (strcmp(h->route, route) ||
		    (hop ? strcasecmp(h->hop, hop) != 0 : hold && h->hop[0]))
			s->held[n++] = *h;
	}
	s->held_count = n;
	if (!hold)
		return 0;
	if (n == SCHEDULE_HOLDS_MAX)
		return -ENOSPC;
	a = realloc(s->held, (n + 1) * sizeof(*a));
	if (!a)
		return -ENOMEM;
	s->held = a;
	a += s->held_count++;
	snprintf(a->route, sizeof(a->route), "%s", route);
	snprintf(a->hop, sizeof(a->hop), "%s", hop ? hop : "");
	a->quiet = false;
	return 0;
}

ssize_t schedule_hold(struct schedule *s, const char *route, const char *hop, bool hold,
		      uint64_t now_ms)
{
	int rc = note_hold(s, route, hop, hold);
	struct dest *d;
	ssize_t n = 0;

	(void)now_ms;
	if (rc)
		return rc;
	TAILQ_FOREACH(d, &s->all, all)
	{
		if (strcmp(route, d->route) || (hop && strcasecmp(hop, d->hop) != 0))
			continue;
		look_at_holds(s, d);
		d->catching_up = true;
		turn_touch(s, d);
		n++;
	}
	return n;
}

void schedule_hush(struct schedule *s, const char *route, const char *hop)
{
	struct dest *d;

	for (size_t i = 0; i < s->held_count; i++) {
		struct hold *h = &s->held[i];

		if (!strcmp(h->route, route) && !strcasecmp(h->hop, hop ? hop : ""))
			h->quiet = true;
	}
	TAILQ_FOREACH(d, &s->all, all)
	look_at_holds(s, d);
}

void schedule_holds(const struct schedule *s,
		    void (*fn)(const char *route, const char *hop, bool quiet, void *arg), void *arg)
{
	for (size_t i = 0; i < s->held_count; i++)
		fn(s->held[i].route, s->held[i].hop, s->held[i].quiet, arg);
}

uint64_t schedule_home_bytes(const struct schedule *s, const char *home)
{
	const struct dest *d;
	uint64_t n = 0;

	TAILQ_FOREACH(d, &s->all, all)
	{
		size_t legs = d->ready.count + d->waiting.count + d->flying;

		n += strcmp(d->home, home) ? 0 : d->bytes + legs * SCHEDULE_LETTER_BYTES;
	}
	return n;
}
