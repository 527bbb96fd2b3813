/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fq.h"

#include <string.h>

void fq_init(struct fq *s)
{
	memset(s, 0, sizeof(*s));
	s->wake_us = UINT64_MAX;
}

/* ---- lists of flows ---- */

static void list_add(struct fq_list *l, struct fq_flow *f)
{
	f->next = NULL;
	if (l->head)
		l->tail->next = f;
	else
		l->head = f;
	l->tail = f;
}

static struct fq_flow *list_take(struct fq_list *l)
{
	struct fq_flow *f = l->head;

	l->head = f->next;
	return f;
}

/* ---- CoDel ---- */

static uint64_t root(uint64_t n)
{
	uint64_t r = 0;

	for (uint64_t bit = 1ull << 31; bit; bit >>= 1) {
		if ((r | bit) * (r | bit) <= n)
			r |= bit;
	}
	return r;
}

/* The control law of RFC 8289 s3.3: the interval by the root of the count. */
static uint64_t later(uint64_t us, uint32_t count)
{
	return us + FQ_INTERVAL_US * 1000ull / root(count * 1000000ull);
}

static bool too_long(struct fq_flow *f, uint64_t now_us)
{
	uint64_t dwell = now_us - f->head->at_us;

	/* A single unit is no queue, however long the one before it took. */
	if (dwell < FQ_TARGET_US || f->head == f->tail) {
		f->above_us = 0;
		return false;
	}
	if (!f->above_us) {
		f->above_us = now_us + FQ_INTERVAL_US;
		return false;
	}
	return now_us >= f->above_us;
}

static bool codel(struct fq_flow *f, uint64_t now_us)
{
	bool bad = too_long(f, now_us);

	if (f->dropping) {
		if (!bad) {
			f->dropping = false;
			return false;
		}
		if (now_us < f->next_us)
			return false;
		f->count++;
		f->next_us = later(f->next_us, f->count);
		return true;
	}
	if (!bad)
		return false;
	f->dropping = true;
	/* Soon again: go on from the rate that was right (RFC 8289 s5.4). */
	f->count = f->count - f->last_count > 1 && now_us - f->next_us < 16ull * FQ_INTERVAL_US
		       ? f->count - f->last_count
		       : 1;
	f->last_count = f->count;
	f->next_us = later(now_us, f->count);
	return true;
}

/* ---- units ---- */

static void add(struct fq *s, struct fq_unit *u, struct fq_flow *f, uint64_t now_us)
{
	u->next = NULL;
	u->at_us = now_us;
	u->flow = (uint16_t)(f - s->flow);
	u->begun = u->told = false;
	if (f->head)
		f->tail->next = u;
	else
		f->head = u;
	f->tail = u;
	f->bytes += u->bytes;
	s->bytes += u->bytes;
	s->units++;
	if (f->on != FQ_IDLE)
		return;
	f->on = FQ_NEW;
	f->deficit = FQ_QUANTUM;
	list_add(&s->fresh, f);
}

void fq_add(struct fq *s, struct fq_unit *u, uint32_t hash, uint64_t now_us)
{
	add(s, u, &s->flow[hash % FQ_FLOWS], now_us);
}

void fq_add_apart(struct fq *s, struct fq_unit *u, uint64_t now_us)
{
	add(s, u, &s->flow[FQ_FLOWS], now_us);
}

static void wake(struct fq *s, uint64_t now_us)
{
	struct fq_list was = s->parked;

	s->parked.head = NULL;
	s->wake_us = UINT64_MAX;
	while (was.head) {
		struct fq_flow *f = list_take(&was);
		bool due = f->until_us <= now_us;

		if (!due && f->until_us < s->wake_us)
			s->wake_us = f->until_us;
		if (due)
			f->on = f->from;
		list_add(!due ? &s->parked : f->on == FQ_NEW ? &s->fresh : &s->old, f);
	}
}

void fq_park(struct fq *s, struct fq_unit *u, uint64_t until_us)
{
	struct fq_flow *f = &s->flow[u->flow];

	list_take(f->on == FQ_NEW ? &s->fresh : &s->old);
	f->from = f->on;
	f->on = FQ_PARKED;
	f->until_us = until_us;
	list_add(&s->parked, f);
	if (until_us < s->wake_us)
		s->wake_us = until_us;
}

bool fq_ready(const struct fq *s, uint64_t now_us)
{
	/* A flow whose last unit has left stays in its list until it is looked at. */
	return s->units && (s->fresh.head || s->old.head || s->wake_us <= now_us);
}

struct fq_unit *fq_next(struct fq *s, uint64_t now_us, bool *mark)
{
	*mark = false;
	if (s->wake_us <= now_us)
		wake(s, now_us);
	for (;;) {
		struct fq_list *l = s->fresh.head ? &s->fresh : &s->old;
		struct fq_flow *f = l->head;

		if (!f)
			return NULL;
		if (f->deficit <= 0) {
			f->deficit += FQ_QUANTUM;
			list_take(l);
			f->on = FQ_OLD;
			list_add(&s->old, f);
			continue;
		}
		if (!f->head) {
			/* A new one goes through the old list once, or it would be new again and again. */
			list_take(l);
			if (f->on == FQ_NEW && s->old.head) {
				f->on = FQ_OLD;
				list_add(&s->old, f);
			} else {
				f->on = FQ_IDLE;
				f->dropping = false;
				f->above_us = 0;
			}
			continue;
		}
		if (!f->head->begun && !f->head->told)
			*mark = f->head->told = codel(f, now_us);
		s->marks += *mark;
		return f->head;
	}
}

static void unlink_head(struct fq *s, struct fq_flow *f)
{
	struct fq_unit *u = f->head;

	f->head = u->next;
	f->bytes -= u->bytes;
	s->bytes -= u->bytes;
	s->units--;
}

void fq_took(struct fq *s, struct fq_unit *u, uint32_t bytes, bool done)
{
	struct fq_flow *f = &s->flow[u->flow];

	f->deficit -= (int32_t)bytes;
	if (done) {
		unlink_head(s, f);
		return;
	}
	u->begun = true;
	if (bytes > u->bytes)
		bytes = u->bytes;
	u->bytes -= bytes;
	f->bytes -= bytes;
	s->bytes -= bytes;
}

struct fq_unit *fq_evict(struct fq *s, uint64_t before_us)
{
	struct fq_flow *fat = NULL;
	struct fq_unit *u, *before = NULL;

	for (int i = 0; i < FQ_FLOWS; i++) {
		struct fq_flow *f = &s->flow[i];

		if (f->head && (!fat || f->bytes > fat->bytes) && !(f->head->begun && f->head == f->tail))
			fat = f;
	}
	u = !fat ? NULL : fat->head->begun ? fat->head->next : fat->head;
	if (!u || u->at_us > before_us)
		return NULL;
	if (u == fat->head) {
		unlink_head(s, fat);
		return u;
	}
	before = fat->head;
	before->next = u->next;
	if (!u->next)
		fat->tail = before;
	fat->bytes -= u->bytes;
	s->bytes -= u->bytes;
	s->units--;
	return u;
}
