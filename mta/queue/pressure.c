/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pressure.h"

#include <stdlib.h>
#include <string.h>

#include "queue.h"

struct pressed {
	STAILQ_ENTRY(pressed) next;
	uint32_t txn;
	uint64_t until_ms;
	uint8_t id[LETTER_ID_LEN];
};

static void take(struct queue *q)
{
	struct pressed *p = STAILQ_FIRST(&q->pressure.line);

	STAILQ_REMOVE_HEAD(&q->pressure.line, next);
	free(p);
}

static bool waits(const struct queue *q, const struct pressed *p, uint64_t now_ms)
{
	const struct letter *l;

	if (p->until_ms <= now_ms)
		return false;
	l = store_find(q->store, p->id); /* it may have been sent, and gone, already */
	return l && schedule_behind(l, now_ms);
}

void pressure_release(struct queue *q)
{
	uint64_t now_ms = loop_now_ms(q->loop);
	struct pressed *p;

	while ((p = STAILQ_FIRST(&q->pressure.line)) && !waits(q, p, now_ms)) {
		accept_stored(q, p->txn, p->id);
		take(q);
	}
	if (p)
		timer_set(loop_timers(q->loop), &q->pressure.timer, p->until_ms);
	else
		timer_clear(loop_timers(q->loop), &q->pressure.timer);
}

static void on_time(struct timer *t, uint64_t now_ms)
{
	(void)now_ms;
	pressure_release(t->arg);
}

bool pressure_hold(struct queue *q, uint32_t txn, const struct letter *l)
{
	uint64_t now_ms = loop_now_ms(q->loop);
	struct pressed *p = schedule_behind(l, now_ms) ? malloc(sizeof(*p)) : NULL;

	if (!p)
		return false;
	p->txn = txn;
	p->until_ms = now_ms + PRESSURE_MS;
	memcpy(p->id, l->id, sizeof(p->id));
	STAILQ_INSERT_TAIL(&q->pressure.line, p, next);
	if (STAILQ_FIRST(&q->pressure.line) == p)
		timer_set(loop_timers(q->loop), &q->pressure.timer, p->until_ms);
	return true;
}

void pressure_end(struct queue *q, bool answer)
{
	struct pressed *p;

	while ((p = STAILQ_FIRST(&q->pressure.line))) {
		if (answer)
			accept_stored(q, p->txn, p->id);
		take(q);
	}
	timer_clear(loop_timers(q->loop), &q->pressure.timer);
}

void pressure_init(struct queue *q)
{
	STAILQ_INIT(&q->pressure.line);
	q->pressure.timer = (struct timer){ .fire = on_time, .arg = q };
}
