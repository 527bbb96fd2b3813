/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Peers with several servers: each server is a peer of its own here; which of them carries the inner
 * traffic group.c says. Others are told of the one peer that the configuration has.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "child_int.h"
#include "group.h"

#define DRAINED_MS 300000

struct servers {
	struct child *child;
	struct servers *next;
	struct group rule;
	uint32_t member[GROUP_MAX]; /* by number; the first is the peer's own section */
	struct timer timer;
	bool told_up;
};

static struct peer *member(const struct servers *g, size_t i)
{
	return child_peer(g->child, g->member[i]);
}

/* One that sends us away is left alone for a while, then tried again. */
static bool drained(const struct peer *p, uint64_t now_ms)
{
	return p->drained_ms && now_ms - p->drained_ms < DRAINED_MS;
}

static enum group_state state_of(const struct peer *p, uint64_t now_ms)
{
	if (!p || !sup_is_up(&p->sup, now_ms) || drained(p, now_ms))
		return GROUP_DOWN;
	return p->sup.asked_ms && now_ms - p->sup.asked_ms >= GROUP_SHAKY_MS ? GROUP_SHAKY
									     : GROUP_UP;
}

static void set_passive(struct servers *g)
{
	for (size_t i = 0; i < g->rule.count; i++) {
		struct peer *p = member(g, i);
		int rc = p ? dp_peer_passive(g->child->dp, p->id, i != g->rule.active) : 0;

		if (rc)
			log_err(&p->log, "inner routes cannot follow: %s", strerror(-rc));
	}
}

static void tell(struct servers *g)
{
	struct peer *head = member(g, 0), *active = member(g, g->rule.active);
	bool up = active && sup_is_up(&active->sup, child_now(g->child));

	if (!head || up == g->told_up)
		return;
	g->told_up = up;
	telling_send(g->child, telling_peer_event(head));
}

static void step(struct servers *g, uint64_t now_ms)
{
	enum group_state state[GROUP_MAX];
	size_t was = g->rule.active;
	uint64_t due_ms;

	for (size_t i = 0; i < g->rule.count; i++)
		state[i] = state_of(member(g, i), now_ms);
	due_ms = group_step(&g->rule, state, now_ms);
	if (was != g->rule.active) {
		struct peer *from = member(g, was), *to = member(g, g->rule.active);

		set_passive(g);
		if (from && to)
			log_info(&to->log, "carries the traffic now, in place of %s",
				 from->cfg->name);
		/* What waits for an answer on the old way shall not be what the new one begins with. */
		if (to && to->sup.ike && to->sup.postern)
			(void)dp_send_dummy(g->child->dp, to->id, NULL);
	}
	for (size_t i = 0; i < g->rule.count; i++) {
		struct peer *p = member(g, i);
		bool want = g->rule.want[i];

		/* It carries until another does. */
		if (p && i != g->rule.active && drained(p, now_ms))
			want = false;
		if (!p || p->sup.standby == !want)
			continue;
		sup_standby(&p->sup, !want, now_ms);
		peer_arm(p);
	}
	tell(g);
	(void)timer_set(loop_timers(g->child->loop), &g->timer, due_ms);
}

static void on_timer(struct timer *t, uint64_t now_ms)
{
	struct servers *g = t->arg;

	step(g, now_ms);
	effects_apply(g->child);
}

void servers_changed(struct peer *p)
{
	struct servers *g = p->servers;

	/* Not from within: a supervisor is at work. */
	(void)timer_set(loop_timers(g->child->loop), &g->timer, child_now(g->child));
}

void servers_drained(struct peer *p)
{
	if (!drained(p, child_now(p->child)))
		log_info(&p->log, "sends us away: another server of the same peer is to carry");
	p->drained_ms = child_now(p->child);
	servers_changed(p);
}

static void servers_clear(struct child *c)
{
	struct servers *g;

	while ((g = c->servers)) {
		c->servers = g->next;
		for (size_t i = 0; i < g->rule.count; i++) {
			struct peer *p = member(g, i);

			if (p) {
				p->servers = NULL;
				p->sup.eager = false;
			}
		}
		timer_clear(loop_timers(c->loop), &g->timer);
		free(g);
	}
}

/* Who carried before a reload goes on. */
static uint32_t active_before(const struct child *c, uint32_t head)
{
	for (const struct servers *g = c->servers; g; g = g->next)
		if (g->member[0] == head)
			return g->member[g->rule.active];
	return head;
}

static int add(struct child *c, struct servers **list, const struct config_peer *head)
{
	struct servers *g = calloc(1, sizeof(*g));
	uint32_t before = active_before(c, head->id);
	size_t n = 0;

	if (!g)
		return -ENOMEM;
	g->child = c;
	g->timer = (struct timer){ .fire = on_timer, .arg = g };
	g->member[n++] = head->id;
	for (size_t i = 0; i < c->cfg->peer_count && n < GROUP_MAX; i++)
		if (c->cfg->peers[i].of == head)
			g->member[n++] = c->cfg->peers[i].id;
	group_init(&g->rule, n, head->servers_all, child_now(c));
	for (size_t i = 0; i < n; i++)
		if (g->member[i] == before)
			g->rule.active = i;
	for (size_t i = 0; i <= g->rule.active; i++)
		g->rule.want[i] = true;
	g->next = *list;
	*list = g;
	return 0;
}

int servers_make(struct child *c)
{
	struct servers *list = NULL;
	int rc = 0;

	for (size_t i = 0; i < c->cfg->peer_count && !rc; i++)
		if (c->cfg->peers[i].server_count)
			rc = add(c, &list, &c->cfg->peers[i]);
	servers_clear(c);
	c->servers = list;
	for (struct servers *g = list; g; g = g->next) {
		for (size_t i = 0; i < g->rule.count; i++) {
			struct peer *p = member(g, i);

			if (!p)
				continue;
			p->servers = g;
			p->sup.eager = true;
			sup_standby(&p->sup, !g->rule.want[i], child_now(c));
		}
		set_passive(g);
		(void)timer_set(loop_timers(c->loop), &g->timer, child_now(c));
	}
	/* A server whose group is gone is gone itself, or alone again. */
	for (struct peer *p = NULL; (p = child_peer_next(c, p));) {
		if (p->servers)
			continue;
		if (p->sup.standby)
			sup_standby(&p->sup, false, child_now(c));
		(void)dp_peer_passive(c->dp, p->id, false);
	}
	return rc;
}

void servers_free(struct child *c)
{
	servers_clear(c);
}

struct peer *servers_active(const struct peer *p)
{
	return p->servers ? member(p->servers, p->servers->rule.active) : NULL;
}

struct peer *servers_head(const struct peer *p)
{
	return p->servers ? member(p->servers, 0) : NULL;
}

struct peer *servers_next(const struct peer *p, const struct peer *after)
{
	const struct servers *g = p->servers;

	for (size_t i = 0; g && i < g->rule.count; i++) {
		if (!after)
			return member(g, i);
		if (g->member[i] == after->id)
			after = NULL;
	}
	return NULL;
}
