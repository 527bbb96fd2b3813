/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "schedule.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hash.h"
#include "log.h"

#define PROBE_FIRST_MS	  200
#define PROBE_MAX_MS	  10000
#define UNKNOWN_FIRST_MS  1000
#define UNKNOWN_MAX_MS	  30000
#define HOLD_FIRST_MS	  2000
#define HOLD_MAX_MS	  30000
#define FAMILY_FIRST_MS	  60000
#define FAMILY_MAX_MS	  3600000
#define LIMIT_PER_SESSION 32
#define MX_PER_SESSION	  2 /* one under way and one behind it: nothing is pipelined there */

struct schedule {
	const struct mta_config *config;
	const struct tunnel_table *tunnel;
	struct hash_table index;
	struct dest *ring; /* any of them; the next to be asked */
	uint32_t mx_flying;
};

static const char *const state_words[DEST_STATES] = { "up", "probing", "unknown", "down", "held" };

const char *dest_state_word(enum dest_state st)
{
	return state_words[st];
}

/* --- heaps --- */

static bool before(const struct leg *a, const struct leg *b)
{
	if (a->waiting)
		return a->next_ms < b->next_ms;
	return a->letter->seq < b->letter->seq;
}

static void place(struct leg_heap *h, size_t i, struct leg *g)
{
	h->v[i] = g;
	g->slot = i + 1;
}

static void sift(struct leg_heap *h, size_t i)
{
	struct leg *g = h->v[i];

	while (i && before(g, h->v[(i - 1) / 2])) {
		place(h, i, h->v[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	for (;;) {
		size_t kid = 2 * i + 1;

		if (kid + 1 < h->count && before(h->v[kid + 1], h->v[kid]))
			kid++;
		if (kid >= h->count || !before(h->v[kid], g))
			break;
		place(h, i, h->v[kid]);
		i = kid;
	}
	place(h, i, g);
}

static int heap_put(struct leg_heap *h, struct leg *g)
{
	if (h->count == h->cap) {
		size_t cap = h->cap ? 2 * h->cap : 4;
		struct leg **v = realloc(h->v, cap * sizeof(struct leg *));

		if (!v)
			return -ENOMEM;
		h->v = v;
		h->cap = cap;
	}
	place(h, h->count++, g);
	sift(h, g->slot - 1);
	return 0;
}

static void heap_take(struct leg_heap *h, struct leg *g)
{
	size_t i = g->slot - 1;
	struct leg *last = h->v[--h->count];

	g->slot = 0;
	if (last == g)
		return;
	place(h, i, last);
	sift(h, i);
}

static void unqueue(struct leg *g)
{
	if (g->slot)
		heap_take(g->waiting ? &g->dest->waiting : &g->dest->ready, g);
}

/* --- destinations --- */

static bool is_tunnel(const struct dest *d)
{
	return d->policy && d->policy->kind == ROUTE_TUNNEL;
}

static void enter(struct dest *d, enum dest_state st, uint64_t until_ms, const char *why)
{
	if (d->state != st)
		log_info(NULL, "route=%s hop=%s state=%s was=%s waiting=%zu msg=\"%s\"", d->route,
			 d->hop, state_words[st], state_words[d->state],
			 d->ready.count + d->waiting.count, why);
	d->state = st;
	d->until_ms = until_ms;
}

static enum tunnel_state tunnel_of(const struct schedule *s, const struct dest *d)
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
static void tunnel_came_up(struct dest *d, uint64_t now_ms)
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
	d->limit = SCHEDULE_LIMIT_FIRST;
	memset(d->family, 0, sizeof(d->family));
	enter(d, DEST_UP, hold, hold ? "tunnel is up; it flaps, held down first" : "tunnel is up");
}

static void set_policy(struct schedule *s, struct dest *d, uint64_t now_ms)
{
	const struct mta_home *h;
	uint64_t changed;

	d->policy = d->route[0] ? config_route(s->config, d->route) : NULL;
	d->home[0] = 0;
	if (!d->policy) {
		enter(d, DEST_HELD, 0, "no route in the configuration");
		return;
	}
	if (!is_tunnel(d)) {
		if (d->state == DEST_HELD || d->state == DEST_DOWN || d->state == DEST_UNKNOWN)
			enter(d, DEST_UP, 0, "route configured");
		return;
	}
	h = config_home_by_peer(s->config, d->policy->peer);
	if (h)
		snprintf(d->home, sizeof(d->home), "%s", h->name);
	switch (tunnel_of(s, d)) {
	case TUNNEL_UP:
		/* A down and up between two tables shows in the time of the change. */
		changed = tunnel_peer(s->tunnel, d->policy->peer)->changed_ms;
		if ((d->state != DEST_UP && d->state != DEST_PROBING) || changed != d->changed_ms)
			tunnel_came_up(d, now_ms);
		d->changed_ms = changed;
		break;
	case TUNNEL_DOWN:
		enter(d, DEST_DOWN, 0, tunnel_why(s, d));
		break;
	case TUNNEL_UNKNOWN:
		if (d->state != DEST_UNKNOWN) {
			d->failures = 0;
			enter(d, DEST_UNKNOWN, 0, tunnel_why(s, d));
		}
		break;
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
	if (!d || hash_insert(&s->index, &d->node, h)) {
		free(d);
		return NULL;
	}
	snprintf(d->route, sizeof(d->route), "%s", route);
	snprintf(d->hop, sizeof(d->hop), "%s", hop);
	d->limit = SCHEDULE_LIMIT_FIRST;
	d->state = DEST_HELD;
	set_policy(s, d, now_ms);
	d->next = s->ring ? s->ring->next : d;
	if (s->ring)
		s->ring->next = d;
	s->ring = d;
	return d;
}

static void dest_free(struct dest *d)
{
	free(d->waiting.v);
	free(d->ready.v);
	free(d);
}

/* A healthy one that nobody waits for is made anew when needed: MX domains have no bound. */
static void dest_drop(struct schedule *s, struct dest *d)
{
	struct dest *prev = d;

	if (d->waiting.count || d->ready.count || d->flying || d->admin_hold ||
	    d->state != DEST_UP || !d->policy || d->policy->kind != ROUTE_MX)
		return;
	while (prev->next != d)
		prev = prev->next;
	prev->next = d->next;
	if (s->ring == d)
		s->ring = prev == d ? NULL : prev;
	hash_remove(&s->index, &d->node);
	dest_free(d);
}

struct schedule *schedule_new(const struct mta_config *c, const struct tunnel_table *t)
{
	struct schedule *s = calloc(1, sizeof(*s));

	if (s) {
		s->config = c;
		s->tunnel = t;
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
	free(s);
}

void schedule_each(struct schedule *s, void (*fn)(const struct dest *d, void *arg), void *arg)
{
	struct dest *d = s->ring;

	if (!d)
		return;
	do {
		fn(d, arg);
		d = d->next;
	} while (d != s->ring);
}

void schedule_reload(struct schedule *s, const struct mta_config *c, const struct tunnel_table *t,
		     uint64_t now_ms)
{
	struct dest *d = s->ring;

	s->config = c;
	s->tunnel = t;
	if (!d)
		return;
	do {
		set_policy(s, d, now_ms);
		d = d->next;
	} while (d != s->ring);
}

void schedule_tunnel(struct schedule *s, const struct tunnel_table *t, uint64_t now_ms)
{
	struct dest *d = s->ring;

	s->tunnel = t;
	if (!d)
		return;
	do {
		if (is_tunnel(d))
			set_policy(s, d, now_ms);
		d = d->next;
	} while (d != s->ring);
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

static void queue_leg(struct leg *g, uint64_t now_ms)
{
	g->next_ms = leg_due(g);
	g->waiting = g->next_ms > now_ms;
	if (heap_put(g->waiting ? &g->dest->waiting : &g->dest->ready, g))
		log_err(NULL, "msg=\"out of memory: a letter waits for the next restart\"");
}

static void drop_leg(struct schedule *s, struct leg *g)
{
	struct letter *l = g->letter;
	struct leg **at = &l->legs;

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
		s->mx_flying -= g->mx;
	}
	dest_drop(s, g->dest);
	free(g);
}

static struct leg *leg_for(struct letter *l, struct dest *d)
{
	struct leg *g;

	for (g = l->legs; g; g = g->next)
		if (g->dest == d && !g->flying)
			return g;
	g = calloc(1, sizeof(*g));
	if (!g)
		return NULL;
	g->letter = l;
	g->dest = d;
	g->next = l->legs;
	l->legs = g;
	d->bytes += l->body_len;
	return g;
}

int schedule_add(struct schedule *s, struct letter *l, const struct envelope *e, uint64_t now_ms)
{
	char hop[ROUTE_HOP_MAX];

	if (l->state != LETTER_QUEUED || l->unreadable)
		return 0;
	for (size_t i = 0; i < l->rcpt_count && i < e->rcpt_count; i++) {
		const struct mta_route *r;
		struct dest *d;
		struct leg *g;

		if (l->rcpt[i].state != RCPT_PENDING || l->rcpt[i].leg)
			continue;
		r = route_choose(s->config, e, e->rcpt[i].addr);
		d = dest_of(s, r ? r->name : "", r ? route_next_hop(r, e->rcpt[i].addr, hop) : "",
			    now_ms);
		g = d ? leg_for(l, d) : NULL;
		if (!g)
			return -ENOMEM;
		l->rcpt[i].leg = g;
		g->open++;
	}
	for (struct leg *g = l->legs; g; g = g->next)
		if (!g->slot && !g->flying)
			queue_leg(g, now_ms);
	return 0;
}

void schedule_remove(struct schedule *s, struct letter *l)
{
	struct leg *g, *next;

	for (g = l->legs; g; g = next) {
		next = g->next;
		drop_leg(s, g);
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
			drop_leg(s, g);
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
			drop_leg(s, g);
		} else {
			unqueue(g);
			queue_leg(g, now_ms);
		}
	}
}

/* --- starting --- */

static void ripen(struct dest *d, uint64_t now_ms)
{
	while (d->waiting.count && d->waiting.v[0]->next_ms <= now_ms) {
		struct leg *g = d->waiting.v[0];

		heap_take(&d->waiting, g);
		queue_leg(g, now_ms);
		if (g->waiting)
			break;
	}
}

/* Strangers' hosts have all the attempts that they may have. */
static bool mx_full(const struct schedule *s, const struct dest *d)
{
	return d->policy->kind == ROUTE_MX && s->mx_flying >= SCHEDULE_MX_FLYING;
}

static bool may_start(const struct schedule *s, const struct dest *d, uint64_t now_ms)
{
	if (!d->policy || d->admin_hold)
		return false;
	if (d->force)
		return true;
	if (mx_full(s, d))
		return false;
	if (now_ms < d->until_ms)
		return false;
	switch (d->state) {
	case DEST_UP:
		return d->flying < d->limit &&
		       (now_ms - d->pace_ms >= 1000 || d->paced < SCHEDULE_RELEASE_PER_S);
	case DEST_PROBING:
	case DEST_UNKNOWN:
		return !d->flying;
	default:
		return false;
	}
}

static uint8_t families(const struct dest *d, uint64_t now_ms)
{
	uint8_t f = 0;

	f |= d->family[0].until_ms <= now_ms ? MSG_R_FAMILY4 : 0;
	f |= d->family[1].until_ms <= now_ms ? MSG_R_FAMILY6 : 0;
	return f ? f : MSG_R_FAMILY4 | MSG_R_FAMILY6;
}

static struct leg *launch(struct schedule *s, struct dest *d, uint64_t now_ms, uint8_t *fam,
			  bool *probe)
{
	struct leg *g = d->ready.v[0];

	heap_take(&d->ready, g);
	g->flying = true;
	g->mx = d->policy->kind == ROUTE_MX;
	s->mx_flying += g->mx;
	for (size_t i = 0; i < g->letter->rcpt_count; i++) {
		struct letter_rcpt *r = &g->letter->rcpt[i];

		r->flying |=
		    r->leg == g && r->state == RCPT_PENDING && (uint64_t)r->next_s * 1000 <= now_ms;
	}
	if (now_ms - d->pace_ms >= 1000) {
		d->pace_ms = now_ms;
		d->paced = 0;
	}
	d->paced++;
	d->flying++;
	*fam = families(d, now_ms);
	*probe = d->state != DEST_UP || d->force;
	g->next_ms = d->state == DEST_UP ? 0 : 1; /* in flight: was it a probe? */
	d->force = false;
	return g;
}

struct leg *schedule_next(struct schedule *s, uint64_t now_ms, uint8_t *fam, bool *probe)
{
	struct dest *d = s->ring;

	if (!d)
		return NULL;
	do {
		d = d->next;
		ripen(d, now_ms);
		if (d->ready.count && may_start(s, d, now_ms)) {
			s->ring = d; /* the one behind it is asked first next time */
			return launch(s, d, now_ms, fam, probe);
		}
	} while (d != s->ring);
	return NULL;
}

uint64_t schedule_due(const struct schedule *s, uint64_t now_ms)
{
	const struct dest *d = s->ring;
	uint64_t due = UINT64_MAX, t;

	if (!d)
		return due;
	do {
		if (d->policy && !d->admin_hold && d->state != DEST_DOWN && d->state != DEST_HELD &&
		    !mx_full(s, d) && (d->state == DEST_UP ? d->flying < d->limit : !d->flying)) {
			t = d->ready.count     ? now_ms
			    : d->waiting.count ? d->waiting.v[0]->next_ms
					       : UINT64_MAX;
			if (d->state == DEST_UP && d->paced >= SCHEDULE_RELEASE_PER_S &&
			    t < d->pace_ms + 1000)
				t = d->pace_ms + 1000;
			if (t < d->until_ms)
				t = d->until_ms;
			if (t < due)
				due = t;
		}
		d = d->next;
	} while (d != s->ring);
	return due;
}

/* --- landing --- */

static void note_families(struct dest *d, const struct msg_r_result *r, uint64_t now_ms)
{
	static const uint8_t bit[2] = { MSG_R_FAMILY4, MSG_R_FAMILY6 };

	for (int i = 0; i < 2; i++) {
		struct dest_family *f = &d->family[i];
		uint64_t wait = FAMILY_FIRST_MS;

		if (r->families_ok & bit[i])
			*f = (struct dest_family){ 0 };
		/* Only while the other one works: else the host is at fault, not the family. */
		if (!(r->families_failed & bit[i]) || !(r->families_ok & bit[!i]))
			continue;
		for (uint32_t n = 0; n < f->failures && wait < FAMILY_MAX_MS; n++)
			wait *= 2;
		f->failures++;
		f->until_ms = now_ms + (wait < FAMILY_MAX_MS ? wait : FAMILY_MAX_MS);
	}
}

static uint64_t doubling(uint64_t first, uint64_t max, uint32_t failures)
{
	for (uint32_t i = 1; i < failures && first < max; i++)
		first *= 2;
	return first < max ? first : max;
}

static void host_fault(struct schedule *s, struct dest *d, bool probe, const char *text,
		       uint64_t now_ms)
{
	uint64_t wait;

	snprintf(d->fault, sizeof(d->fault), "%s", text ? text : "");
	d->limit = SCHEDULE_LIMIT_FIRST;
	/* Many attempts tell of the same event: the first counts, later only probes do. */
	if (!d->policy || d->state == DEST_DOWN || d->state == DEST_HELD ||
	    (d->state != DEST_UP && !probe))
		return;
	d->failures++;
	if (!is_tunnel(d)) {
		wait = route_wait_ms(&d->policy->schedule, d->failures,
				     (uint32_t)hash_bytes(&now_ms, sizeof(now_ms)));
		enter(d, DEST_PROBING, now_ms + (wait < PROBE_FIRST_MS ? PROBE_FIRST_MS : wait),
		      text);
	} else if (tunnel_of(s, d) == TUNNEL_UNKNOWN) {
		wait = doubling(UNKNOWN_FIRST_MS, UNKNOWN_MAX_MS, d->failures);
		enter(d, DEST_UNKNOWN, now_ms + wait, text);
	} else {
		wait = doubling(PROBE_FIRST_MS, PROBE_MAX_MS, d->failures);
		enter(d, DEST_PROBING, now_ms + wait, text);
	}
}

void schedule_host(struct schedule *s, struct leg *g, const struct msg_r_result *r, bool fault,
		   bool worked, const char *text, uint64_t now_ms)
{
	struct dest *d = g->dest;
	uint32_t max = d->policy && d->policy->sessions_max ? d->policy->sessions_max : 1;

	max *= d->policy && d->policy->kind == ROUTE_MX ? MX_PER_SESSION : LIMIT_PER_SESSION;

	if (r)
		note_families(d, r, now_ms);
	if (worked && d->policy && d->state != DEST_DOWN && d->state != DEST_HELD) {
		d->failures = 0;
		d->fault[0] = 0;
		if (d->state != DEST_UP)
			enter(d, DEST_UP, 0, "next hop answers");
		d->limit = d->limit * 2 < max ? d->limit * 2 : max;
	}
	if (fault)
		host_fault(s, d, g->next_ms != 0, text, now_ms);
}

struct schedule_verdict schedule_rcpt(struct schedule *s, struct leg *g, uint16_t index,
				      const struct msg_r_rcpt_result *res, uint32_t random,
				      uint64_t now_ms)
{
	struct letter_rcpt *r = &g->letter->rcpt[index];
	struct schedule_verdict v = { RCPT_PENDING, false };
	const struct mta_route *p = g->dest->policy;
	uint64_t wait;

	(void)s;
	r->flying = false;
	switch (res->result) {
	case RCPT_RES_DELIVERED:
		return (struct schedule_verdict){ RCPT_DELIVERED, true };
	case RCPT_RES_PERMFAIL:
		if (res->scope != SCOPE_HOST)
			return (struct schedule_verdict){ RCPT_FAILED, true };
		/* A host that turns everybody away says nothing about this letter. */
		v.charged = !is_tunnel(g->dest);
		break;
	case RCPT_RES_TEMPFAIL:
		v.charged = res->scope != SCOPE_HOST || !is_tunnel(g->dest);
		if (res->scope == SCOPE_HOST)
			break;
		wait = p ? route_wait_ms(&p->schedule, r->attempts + 1u, random) : 60000;
		r->next_s = (uint32_t)((now_ms + wait + 999) / 1000);
		break;
	default:
		/* Not reached. If the dest stays open the relay had its own reason: no tight loop. */
		if (g->dest->state == DEST_UP)
			r->next_s = (uint32_t)(now_ms / 1000 + 1);
		else if (g->dest->until_ms <= now_ms)
			g->dest->until_ms = now_ms + UNKNOWN_FIRST_MS;
		break;
	}
	return v;
}

void schedule_landed(struct schedule *s, struct leg *g, uint64_t now_ms)
{
	struct dest *d = g->dest;
	uint16_t open = 0;

	for (size_t i = 0; i < g->letter->rcpt_count; i++) {
		struct letter_rcpt *r = &g->letter->rcpt[i];

		if (r->leg != g)
			continue;
		r->flying = false;
		open += r->state == RCPT_PENDING;
	}
	g->open = open;
	g->flying = false;
	d->flying--;
	s->mx_flying -= g->mx;
	if (open)
		queue_leg(g, now_ms);
	else
		drop_leg(s, g);
}

void schedule_lost(struct schedule *s, struct letter *l, uint64_t now_ms)
{
	struct leg *g, *next;

	for (g = l->legs; g; g = next) {
		next = g->next;
		if (g->flying)
			schedule_landed(s, g, now_ms);
	}
}

bool schedule_expired(const struct leg *g, const struct letter_rcpt *r, uint64_t age_s,
		      uint64_t uptime_s)
{
	const struct mta_route *p = g->dest->policy;

	if (!p || r->flying || r->state != RCPT_PENDING || age_s * 1000 < p->ttl_ms)
		return false;
	return r->attempts || uptime_s >= SCHEDULE_EXPIRE_UP_S;
}

/* --- by the admin --- */

static void clear_leg(struct leg *g, uint64_t now_ms)
{
	for (size_t i = 0; i < g->letter->rcpt_count; i++)
		if (g->letter->rcpt[i].leg == g)
			g->letter->rcpt[i].next_s = 0;
	if (g->slot) {
		unqueue(g);
		queue_leg(g, now_ms);
	}
}

size_t schedule_flush(struct schedule *s, const char *route, struct letter *l, uint64_t now_ms)
{
	struct dest *d = s->ring;
	size_t n = 0;

	if (l) {
		for (struct leg *g = l->legs; g; g = g->next, n++)
			clear_leg(g, now_ms);
		return n;
	}
	if (!d)
		return 0;
	do {
		if (!route || !strcmp(route, d->route)) {
			n += d->ready.count;
			for (size_t left = d->waiting.count; left; left--, n++)
				clear_leg(d->waiting.v[0], now_ms);
			if (!is_tunnel(d) && d->state == DEST_PROBING)
				d->until_ms = now_ms;
		}
		d = d->next;
	} while (d != s->ring);
	return n;
}

size_t schedule_force(struct schedule *s, const char *route, uint64_t now_ms)
{
	struct dest *d = s->ring;
	size_t n = 0;

	if (!d)
		return 0;
	do {
		if (!strcmp(route, d->route) && d->policy && d->waiting.count + d->ready.count) {
			if (!d->ready.count)
				clear_leg(d->waiting.v[0], now_ms);
			d->force = true;
			n++;
		}
		d = d->next;
	} while (d != s->ring);
	return n;
}

size_t schedule_hold(struct schedule *s, const char *route, bool hold, uint64_t now_ms)
{
	struct dest *d = s->ring;
	size_t n = 0;

	(void)now_ms;
	if (!d)
		return 0;
	do {
		if (!strcmp(route, d->route)) {
			d->admin_hold = hold;
			n++;
		}
		d = d->next;
	} while (d != s->ring);
	return n;
}

uint64_t schedule_home_bytes(const struct schedule *s, const char *home)
{
	const struct dest *d = s->ring;
	uint64_t n = 0;

	if (!d)
		return 0;
	do {
		if (!strcmp(d->home, home))
			n += d->bytes;
		d = d->next;
	} while (d != s->ring);
	return n;
}
