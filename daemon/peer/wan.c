/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "wan.h"

#include <string.h>

#define RUNGS	      4
#define SHARE	      80 /* per cent of what is left of a budget that keepalives may plan with */
#define DUMMY_BYTES   64  /* until one was sent: IPv4 and AES-GCM */
#define ASK_BYTES     340 /* and a question with its answer */
#define SPARE_MS      3600000 /* retries may use up what is spare in no less than this */

static const uint32_t rung_ms[RUNGS] = { 30000, 60000, 120000, 240000 };

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t most(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* ---- which ---- */

static const uint8_t no_mac[WAN_MAC_LEN];

bool wan_same(const struct wan_id *a, const struct wan_id *b)
{
	if (strncmp(a->ifname, b->ifname, sizeof(a->ifname)))
		return false;
	/* Half of all homes have 192.168.1.1; the machine behind it is what differs. */
	if (memcmp(a->mac, no_mac, WAN_MAC_LEN) && memcmp(b->mac, no_mac, WAN_MAC_LEN))
		return !memcmp(a->mac, b->mac, WAN_MAC_LEN);
	/* A line without a gateway gets another address with each connection. */
	if (!a->gateway.family && !b->gateway.family)
		return true;
	return addr_eq(&a->gateway, &b->gateway) && a->prefix.len == b->prefix.len &&
	       addr_eq(&a->prefix.addr, &b->prefix.addr);
}

void wan_revive(struct wan *w)
{
	w->dummy_bytes = DUMMY_BYTES;
	w->ask_bytes = ASK_BYTES;
}

static void begin(struct wan *w, const struct wan_id *id, uint64_t now_ms)
{
	memset(w, 0, sizeof(*w));
	w->id = *id;
	w->interval_ms = WAN_START_MS;
	w->rung_bad = RUNGS;
	w->counted_ms = now_ms;
	wan_revive(w);
}

struct wan *wan_get(struct wan_table *t, const struct wan_id *id, uint64_t now_ms)
{
	struct wan *w = NULL;

	for (size_t i = 0; i < t->count && !w; i++)
		if (wan_same(&t->wan[i].id, id))
			w = &t->wan[i];
	if (!w && t->count < WAN_COUNT_MAX) {
		w = &t->wan[t->count++];
		begin(w, id, now_ms);
		t->changed = true;
	}
	if (!w) {
		for (size_t i = 0; i < t->count; i++)
			if (!t->wan[i].refs && (!w || t->wan[i].order < w->order))
				w = &t->wan[i];
		if (!w)
			return NULL;
		begin(w, id, now_ms);
		t->changed = true;
	}
	if (memcmp(id->mac, no_mac, WAN_MAC_LEN) || !memcmp(w->id.mac, no_mac, WAN_MAC_LEN))
		w->id = *id; /* what was not known about it before may be now */
	if (!w->counted_ms)
		w->counted_ms = now_ms;
	w->order = ++t->order;
	return w;
}

/* ---- the budget ---- */

/* A keepalive each interval, and in place of each second one, at least each 30 s, a question. */
static uint64_t cost_of(const struct wan *w, uint64_t interval_ms, uint64_t over_ms)
{
	uint64_t asks = over_ms / most(2 * interval_ms, 30000), all = over_ms / interval_ms;

	return w->users * (asks * w->ask_bytes + (all > asks ? all - asks : 0) * w->dummy_bytes);
}

uint64_t wan_used(const struct wan *w)
{
	uint64_t sum = 0;

	for (int i = 0; i < WAN_USES; i++)
		sum += w->used_bytes[i];
	return sum;
}

static uint64_t left_ms(const struct wan *w)
{
	return WAN_MONTH_MS - least(w->month_ms, WAN_MONTH_MS - 1);
}

static uint64_t left_bytes(const struct wan *w)
{
	uint64_t used = wan_used(w);

	return used < w->budget_bytes ? w->budget_bytes - used : 0;
}

/* The shortest interval that the budget bears to the end of the month. */
static uint64_t bearable_ms(const struct wan *w)
{
	uint64_t plan = left_bytes(w) * SHARE / 100, over = left_ms(w), lo = WAN_FLOOR_MS,
		 hi = WAN_STRETCH_MS;

	if (!w->metered || !w->budget_bytes || !w->users || cost_of(w, lo, over) <= plan)
		return 0;
	while (hi - lo > 100) {
		uint64_t mid = lo + (hi - lo) / 2;

		if (cost_of(w, mid, over) <= plan)
			hi = mid;
		else
			lo = mid;
	}
	return hi;
}

uint64_t wan_interval_ms(const struct wan *w)
{
	return most(w->interval_ms, bearable_ms(w));
}

bool wan_is_stretched(const struct wan *w)
{
	return bearable_ms(w) > w->interval_ms;
}

uint64_t wan_projected(const struct wan *w)
{
	return cost_of(w, wan_interval_ms(w), WAN_MONTH_MS);
}

uint64_t wan_retry_ms(const struct wan *w, uint64_t bytes)
{
	uint64_t kept, left = left_bytes(w);

	if (!w->metered || !w->budget_bytes)
		return 0;
	kept = least(cost_of(w, wan_interval_ms(w), left_ms(w)), left * SHARE / 100);
	left -= kept;
	/* Seldom ones until the end of the month are planned for too; what is left then may go fast at
	 * first, and slower the less of it there is. */
	kept = least(bytes * (left_ms(w) / WAN_RETRY_MS),
		     w->budget_bytes / 2 * (left_ms(w) / 1000) / (WAN_MONTH_MS / 1000));
	left -= least(kept, left);
	return left ? least(bytes * SPARE_MS / left, WAN_RETRY_MS) : WAN_RETRY_MS;
}

void wan_spend(struct wan *w, enum wan_use use, uint64_t bytes, uint64_t now_ms)
{
	w->month_ms += now_ms > w->counted_ms ? now_ms - w->counted_ms : 0;
	w->counted_ms = now_ms;
	if (w->month_ms >= WAN_MONTH_MS) {
		w->month_ms %= WAN_MONTH_MS;
		memset(w->used_bytes, 0, sizeof(w->used_bytes));
	}
	w->used_bytes[use] += bytes;
}

/* ---- wake-ups ---- */

uint64_t wan_due_ms(struct wan *w, uint64_t last_ms, uint64_t now_ms,
		    uint32_t (*random)(void *arg, uint32_t below), void *arg)
{
	uint64_t interval = wan_interval_ms(w), until = last_ms + interval,
		 *wake = w->wake_ms;

	/* None planned, or one that was planned with another interval, or slept over. */
	if (!wake[1] || wake[1] > now_ms + interval || now_ms > wake[1] + interval) {
		wake[0] = least(last_ms, now_ms);
		wake[1] = wake[0] + interval - random(arg, (uint32_t)(interval / 10) + 1);
	}
	/* Who is late belongs to the one that has just come, who has sent since to the next. */
	while (now_ms >= wake[1]) {
		wake[0] = wake[1];
		wake[1] += interval - random(arg, (uint32_t)(interval / 10) + 1);
	}
	if (until >= wake[1] && last_ms < wake[1])
		return wake[1];
	if (until >= wake[0] && last_ms < wake[0])
		return wake[0];
	return until;
}

/* ---- what is known of the NAT ---- */

static uint64_t bound_ms(const struct wan *w)
{
	uint64_t most_ms = w->ok_ms ? least(w->ok_ms * 6 / 10, WAN_CEILING_MS) : WAN_UNMEASURED_MS;

	if (w->bad_ms)
		most_ms = least(most_ms, w->bad_ms * 6 / 10);
	/* Each mapping dies before long: until the next packet of ours nothing comes in. */
	if (w->rebinding)
		most_ms = least(most_ms, WAN_START_MS);
	return most(most_ms, WAN_FLOOR_MS);
}

bool wan_is_measured(const struct wan *w)
{
	return w->rung_ok >= w->rung_bad;
}

uint64_t wan_gap_ms(const struct wan *w, uint64_t now_ms)
{
	if (wan_is_measured(w) || now_ms < w->measure_ms)
		return 0;
	/* The lowest first: it is what most NATs pass, soon known, and gains most. */
	if (!w->rung_ok)
		return rung_ms[0];
	return rung_ms[w->rung_ok + (w->rung_bad - w->rung_ok - 1) / 2];
}

void wan_measured(struct wan *w, uint64_t gap_ms, bool lives)
{
	uint8_t rung = 0;

	while (rung < RUNGS - 1 && rung_ms[rung] < gap_ms)
		rung++;
	if (lives) {
		w->rung_ok = rung + 1;
		w->ok_ms = most(w->ok_ms, gap_ms);
		if (w->bad_ms && w->bad_ms <= gap_ms)
			w->bad_ms = 0; /* that was something else */
		w->interval_ms = bound_ms(w);
	} else {
		w->rung_bad = rung;
		w->bad_ms = w->bad_ms ? least(w->bad_ms, gap_ms) : gap_ms;
		w->interval_ms = least(w->interval_ms, most(gap_ms / 2, WAN_FLOOR_MS));
	}
	w->in_row = 0;
}

void wan_not_measured(struct wan *w, uint64_t now_ms)
{
	w->measure_ms = now_ms + WAN_REMEASURE_MS;
}

static void odd(struct wan *w, uint64_t now_ms)
{
	if (!w->rebinding && w->odd_ms && now_ms - w->odd_ms <= WAN_ODD_MS) {
		w->rebinding = true;
		/* What was blamed on silence was not due to it. */
		w->bad_ms = 0;
		w->interval_ms = bound_ms(w);
	}
	w->odd_ms = now_ms;
}

void wan_port_changed(struct wan *w, uint64_t gap_ms, uint64_t now_ms)
{
	w->rebinds++;
	w->in_row = 0;
	if (w->rebinding || gap_ms * 10 < w->interval_ms * 8 || w->interval_ms <= WAN_FLOOR_MS) {
		odd(w, now_ms);
		return;
	}
	w->bad_ms = w->bad_ms ? least(w->bad_ms, gap_ms) : gap_ms;
	if (w->ok_ms >= gap_ms)
		w->ok_ms = 0; /* it is not as it was when it was measured */
	w->interval_ms = least(w->interval_ms, most(gap_ms / 2, WAN_FLOOR_MS));
	w->rung_ok = 0;
	w->rung_bad = RUNGS;
	w->measure_ms = now_ms + WAN_REMEASURE_MS;
}

void wan_kept(struct wan *w, uint64_t gap_ms, uint64_t now_ms)
{
	if (w->rebinding && now_ms - w->odd_ms >= WAN_FORGET_MS)
		w->rebinding = false;
	/* A silence that a budget made says more than it needs to. */
	if (gap_ms * 10 < w->interval_ms * 8)
		return;
	if (++w->in_row < 3)
		return;
	w->in_row = 0;
	w->interval_ms = most(w->interval_ms, least(w->interval_ms * 11 / 10, bound_ms(w)));
}
