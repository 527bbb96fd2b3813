/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The parts of letters on their way out, and what next hops say of them; see through.c. */
#include "through_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "outgoing.h"

#define PASSING_MS 240000 /* for a next hop to have the whole letter */
#define PASSING_END_MS                                                                             \
	570000 /* and for its answer: clients wait 10 min for ours (RFC 5321 s4.5.3.2.6) */

void through_drop(struct passing *p)
{
	struct through *t = p->t;
	struct part *next;

	for (struct part *a = p->parts; a; a = next) {
		next = a->next;
		a->letter = NULL;
		if (a->sent) {
			if (t->relay)
				ipc_send(t->relay, MSG_R_CANCEL, a->id, NULL, 0);
			continue;
		}
		TAILQ_REMOVE(&t->waiting, a, line);
		free(a);
	}
	p->parts = NULL;
}

/* --- what next hops say --- */

static void unlink_part(struct passing *p, struct part *a)
{
	struct part **at = &p->parts;

	while (*at != a)
		at = &(*at)->next;
	*at = a->next;
}

static const struct msg_r_rcpt_result late = {
	.result = RCPT_RES_NOT_TRIED,
	.enhanced = "4.4.7",
	.text = "The next hop did not answer in time",
};

/* What waits here never goes; what relay has it gives up, unless it is past its dot. */
static void call_back(struct passing *p)
{
	struct through *t = p->t;
	struct part *next;

	p->called_back = true;
	for (struct part *a = p->parts; a; a = next) {
		next = a->next;
		if (a->sent) {
			if (t->relay)
				ipc_send(t->relay, MSG_R_CANCEL, a->id, NULL, 0);
			continue;
		}
		TAILQ_REMOVE(&t->waiting, a, line);
		unlink_part(p, a);
		verdict_add(&p->verdict, &late);
		p->open--;
		free(a);
	}
}

static void on_late(struct timer *timer, uint64_t now_ms)
{
	struct passing *p = timer->arg;
	struct through *t = p->t;
	char text[128];

	if (!p->called_back) {
		call_back(p);
		if (!p->open)
			through_answered(p);
		else
			timer_set(loop_timers(t->ch->loop), timer,
				  now_ms + PASSING_END_MS - PASSING_MS);
		return;
	}
	snprintf(text, sizeof(text), "%s %s", late.enhanced, late.text);
	through_refuse(t, p->txn, p, 451, text);
}

int through_watch(struct passing *p)
{
	struct loop *loop = p->t->ch->loop;

	p->timer = (struct timer){ .fire = on_late, .arg = p };
	return timer_set(loop_timers(loop), &p->timer, loop_now_ms(loop) + PASSING_MS);
}

void through_result(struct through *t, const struct ipc_msg *m)
{
	struct part *a = (struct part *)(void *)hash_first(&t->parts, m->id);
	struct rd r = rd_init(m->data, m->len);
	struct msg_r_rcpt_result one;
	struct msg_r_result res;
	struct passing *p = a ? a->letter : NULL;
	size_t said = 0, asked = 0;

	ipc_send(t->relay, MSG_R_COMMITTED, m->id, NULL, 0);
	if (!a) {
		log_err(NULL, "msg=\"result for no attempt\"");
		return;
	}
	hash_remove(&t->parts, &a->node);
	for (size_t i = 0; p && i < p->e.rcpt_count; i++)
		asked += p->part_of[i] == a;
	if (p && !msg_r_result_get(&r, &res))
		for (; said < res.rcpt_count && !msg_r_rcpt_result_get(&res.rcpts, &one); said++)
			verdict_add(&p->verdict, p->called_back && one.result == RCPT_RES_NOT_TRIED
						     ? &late
						     : &one);
	if (p && said < asked) /* one left out was not tried */
		verdict_add(&p->verdict, &(struct msg_r_rcpt_result){ .result = RCPT_RES_NOT_TRIED,
								      .enhanced = "",
								      .text = "" });
	if (p) {
		unlink_part(p, a);
		if (!--p->open)
			through_answered(p);
	}
	free(a);
}

static void lose(struct hash_node *n, void *arg)
{
	struct part *a = (struct part *)(void *)n;
	struct through *t = arg;
	struct passing *p = a->letter;

	hash_remove(&t->parts, n);
	if (p)
		unlink_part(p, a);
	free(a);
	if (p)
		through_refuse(t, p->txn, p, 451, "4.3.0 The answer of the next hop was lost, try again");
}

void through_lost(struct through *t)
{
	hash_each(&t->parts, lose, t);
}

/* --- the way out --- */

/* 0: sent. */
static int send_part(struct through *t, struct part *a)
{
	static uint8_t rcpts[128 * 1024];
	struct wr w = wr_init(rcpts, sizeof(rcpts));
	struct passing *p = a->letter;
	struct msg_r_attempt m = { .route = a->route,
				   .next_hop = a->hop,
				   .families = MSG_R_FAMILY4 | MSG_R_FAMILY6,
				   .seq = p->seq,
				   .low_seq = TAILQ_FIRST(&t->all)->seq,
				   .body = p->body,
				   .body_len = p->bytes };
	int rc;

	for (size_t i = 0; i < p->e.rcpt_count; i++) {
		const struct env_rcpt *r = &p->e.rcpt[i];
		struct msg_r_rcpt one = { .index = (uint16_t)i,
					  .notify = r->notify,
					  .addr = r->addr,
					  .orcpt = r->orcpt };

		if (p->part_of[i] != a)
			continue;
		msg_r_rcpt_put(&w, &one);
		m.rcpt_count++;
	}
	m.rcpts = rd_init(rcpts, w.len);
	rc = w.bad ? -EMSGSIZE : outgoing_send(t->relay, a->id, &m, &p->e, p->fd);
	return rc ? rc : hash_insert(&t->parts, &a->node, a->id);
}

struct way {
	uint64_t hash;
	size_t count;
};

static void count_way(struct hash_node *n, void *arg)
{
	struct way *w = arg;

	w->count += ((const struct part *)(const void *)n)->way == w->hash;
}

/*
 * The first that may go. A next hop has no more of the relay's places than are free, or one that hangs
 * would have them all: so it keeps half of them, the next that hangs a quarter, and one is left.
 */
static struct part *next_part(struct through *t)
{
	struct way w = { .count = 0 };
	struct part *a;

	TAILQ_FOREACH(a, &t->waiting, line)
	{
		if (w.count && a->way == w.hash)
			continue; /* as the one before it */
		w = (struct way){ .hash = a->way };
		hash_each(&t->parts, count_way, &w);
		if (!w.count || w.count < t->credits)
			return a;
	}
	return NULL;
}

void through_pump(struct through *t)
{
	struct part *a;

	while (t->relay && t->credits && (a = next_part(t))) {
		TAILQ_REMOVE(&t->waiting, a, line);
		do
			a->id = ++t->next_id;
		while (!a->id || hash_first(&t->parts, a->id));
		a->sent = !send_part(t, a);
		if (a->sent) {
			t->credits--;
			continue;
		}
		TAILQ_INSERT_HEAD(&t->waiting, a, line);
		through_refuse(t, a->letter->txn, a->letter, 451,
		       "4.3.0 The letter cannot be passed on now");
	}
}

static struct part *part_for(struct passing *p, const char *route, const char *hop)
{
	struct part *a = p->parts;

	while (a && (strcmp(a->route, route) || strcmp(a->hop, hop)))
		a = a->next;
	if (a)
		return a;
	a = calloc(1, sizeof(*a));
	if (!a)
		return NULL;
	snprintf(a->route, sizeof(a->route), "%s", route);
	snprintf(a->hop, sizeof(a->hop), "%s", hop);
	a->way = hash_bytes(a->route, strlen(a->route)) * 31 + hash_bytes(a->hop, strlen(a->hop));
	a->letter = p;
	a->next = p->parts;
	p->parts = a;
	p->open++;
	TAILQ_INSERT_TAIL(&p->t->waiting, a, line);
	return a;
}

const char *through_ways(struct passing *p)
{
	char hop[ROUTE_HOP_MAX];

	p->part_of = calloc(p->e.rcpt_count ? p->e.rcpt_count : 1, sizeof(*p->part_of));
	if (!p->part_of)
		return "4.3.0 Out of memory";
	for (size_t i = 0; i < p->e.rcpt_count; i++) {
		const char *addr = p->e.rcpt[i].addr;
		const struct mta_route *r = route_choose(p->t->ch->config, &p->e, addr);

		if (!r)
			return "4.4.4 The configuration has no way there";
		p->part_of[i] = part_for(p, r->name, route_next_hop(r, addr, hop));
		if (!p->part_of[i])
			return "4.3.0 Out of memory";
	}
	return p->open ? NULL : "4.3.0 A letter to nobody";
}

