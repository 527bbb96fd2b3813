/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "mtu.h"

#include <stddef.h>
#include <string.h>

/* Sizes that paths have: Ethernet, PPPoE, tunnels one in another, mobile networks, IPv6's least. */
static const uint16_t ladder[] = { 1500, 1492, 1484, 1480, 1472, 1460, 1452, 1440, 1428,
				   1420, 1400, 1380, 1360, 1340, 1320, 1300, 1280, 1240,
				   1200, 1152, 1024, 900,  768,	 576 };
#define LADDER (sizeof(ladder) / sizeof(*ladder))

#define CONFIRM_ROUNDS	3
#define CLIMB_ROUNDS	3
#define HALVE_ROUNDS	2
#define VAIN_ROUNDS	3
#define GRACE_MS	20 /* and half a round trip: what came before the last may be overtaken */
#define GRACE_MAX_MS	500
#define SLOWEST_BYTES_MS 8 /* of a link whose queue a round fills: 64 kbit/s */

static uint16_t least(const struct mtu *m)
{
	return m->v6 ? MTU_FLOOR_V6 : MTU_FLOOR_V4;
}

static void set_path(struct mtu *m, uint16_t path, enum mtu_source source)
{
	m->source = (uint8_t)source;
	if (m->path == path)
		return;
	m->path = path;
	m->ops->changed(m->arg, m->peer);
}

/* ---- rounds ---- */

static bool probe(struct mtu *m, uint16_t bytes, size_t *total)
{
	*total += bytes;
	return m->ops->probe(m->arg, m->peer, bytes, m->round);
}

/* Every size of the ladder between two, from the top; @above and @below themselves are not among them. */
static bool probe_ladder(struct mtu *m, uint16_t above, uint16_t below, size_t *total)
{
	bool sent = true;

	for (size_t i = 0; i < LADDER; i++)
		if (ladder[i] > above && ladder[i] < below && ladder[i] >= least(m))
			sent = probe(m, ladder[i], total) && sent;
	return sent;
}

static void send_round(struct mtu *m, uint64_t now_ms)
{
	size_t total = 0;
	bool sent = true;

	m->round++;
	m->small_heard = false;
	m->sent_ms = now_ms;
	switch (m->state) {
	case MTU_CONFIRM:
		for (int i = 0; i < (m->tries ? 2 : 1) && sent; i++)
			sent = probe(m, m->path, &total);
		if (sent && m->tries == CONFIRM_ROUNDS - 1)
			sent = probe_ladder(m, 0, m->path, &total);
		break;
	case MTU_CLIMB:
		sent = probe(m, m->goal, &total) && probe_ladder(m, m->low, m->goal, &total);
		/* Between two steps of the ladder it may have grown, too. */
		if (sent && m->high > m->low && m->high < m->goal)
			sent = probe(m, m->high, &total);
		break;
	default:
		sent = probe(m, m->mid, &total);
		break;
	}
	if (sent)
		(void)probe(m, 0, &total);
	m->due_ms = now_ms + MTU_WAIT_MS + total / SLOWEST_BYTES_MS;
}

static void begin(struct mtu *m, enum mtu_state state, uint64_t now_ms)
{
	m->state = (uint8_t)state;
	m->tries = 0;
	send_round(m, now_ms);
}

/* Whatever it is for: first what is in force is put to the test, which nothing else can wait for. */
static void search(struct mtu *m, bool climb, uint64_t now_ms)
{
	if (!m->on || !m->probes || !m->path)
		return;
	m->climb = m->climb || climb; /* what was due, or was cut short, is done now */
	m->hinted = false;
	m->low = 0;
	m->vain = 0;
	m->first_round = (uint16_t)(m->round + 1);
	begin(m, MTU_CONFIRM, now_ms);
}

static void idle(struct mtu *m, uint64_t now_ms)
{
	m->state = MTU_IDLE;
	m->climb = false;
	m->last_ms = now_ms;
	m->due_ms = now_ms + MTU_AGAIN_MS;
	if (m->source == MTU_ICMP)
		m->source = MTU_PROBE; /* it has stood the test */
	if (m->told != m->path && (m->told || m->path < m->top))
		m->ops->found(m->arg, m->peer, m->path);
	m->told = m->path;
	if (m->hinted)
		search(m, false, now_ms);
}

/* ---- what rounds say ---- */

static uint16_t next_above(uint16_t size, uint16_t no_more)
{
	uint16_t next = no_more;

	for (size_t i = 0; i < LADDER; i++)
		if (ladder[i] > size && ladder[i] < next)
			next = ladder[i];
	return next;
}

static void halve(struct mtu *m, uint64_t now_ms)
{
	uint16_t gap = (uint16_t)(m->high > m->low ? m->high - m->low : 0);

	if (gap <= MTU_STEP) {
		if (m->low > m->path)
			set_path(m, m->low, MTU_PROBE);
		idle(m, now_ms);
		return;
	}
	m->mid = (uint16_t)(m->low + ((gap / 2) & ~3));
	begin(m, MTU_HALVE, now_ms);
}

static void climb_to(struct mtu *m, uint16_t goal, uint64_t now_ms)
{
	m->goal = goal;
	if (m->low < m->path)
		m->low = m->path;
	if (goal <= m->low)
		idle(m, now_ms);
	else
		begin(m, MTU_CLIMB, now_ms);
}

static void confirmed(struct mtu *m, uint64_t now_ms)
{
	if (m->source == MTU_INTERFACE && m->path < m->top)
		m->source = MTU_PROBE;
	m->vain = 0;
	if (m->climb && m->path < m->top)
		climb_to(m, m->top, now_ms);
	else
		idle(m, now_ms);
}

static void shrink(struct mtu *m, uint64_t now_ms)
{
	uint16_t was = m->path;

	m->high = 0;
	if (m->low < least(m))
		m->low = least(m); /* nothing smaller can be of use, whether it passes or not */
	set_path(m, m->low, MTU_PROBE);
	climb_to(m, was, now_ms);
}

static void climbed(struct mtu *m, uint64_t now_ms)
{
	/* A search that was cut short may have left a high that says little. */
	bool known = m->low == m->path && m->high > m->low && m->high - m->low <= MTU_STEP;

	if (m->low > m->path) {
		if (m->source == MTU_ICMP)
			m->refuted_ms = now_ms;
		m->high = 0;
		set_path(m, m->low, MTU_PROBE);
	}
	if (m->low >= m->goal) {
		if (m->climb && m->path < m->top)
			climb_to(m, m->top, now_ms);
		else
			idle(m, now_ms);
		return;
	}
	if (++m->tries < CLIMB_ROUNDS) {
		send_round(m, now_ms);
		return;
	}
	/* Where it was found before that no more passes, one climb in vain is enough. */
	if (known) {
		idle(m, now_ms);
		return;
	}
	m->high = next_above(m->low, m->goal);
	halve(m, now_ms);
}

static void judge(struct mtu *m, uint64_t now_ms)
{
	switch (m->state) {
	case MTU_CONFIRM:
		if (++m->tries < CONFIRM_ROUNDS)
			send_round(m, now_ms);
		else
			shrink(m, now_ms);
		return;
	case MTU_CLIMB:
		climbed(m, now_ms);
		return;
	default:
		if (++m->tries < HALVE_ROUNDS) {
			send_round(m, now_ms);
			return;
		}
		m->high = m->mid;
		halve(m, now_ms);
		return;
	}
}

/* Not even the smallest was answered: the way is dead, or the far end is not ready yet. */
static void in_vain(struct mtu *m, uint64_t now_ms)
{
	uint64_t pause = MTU_WAIT_MS;

	if (m->vain < 16)
		m->vain++;
	if (m->vain < VAIN_ROUNDS) {
		send_round(m, now_ms);
		return;
	}
	for (int i = VAIN_ROUNDS; i < m->vain && pause < MTU_RETRY_MAX_MS; i++)
		pause *= 2;
	m->state = MTU_IDLE;
	m->hinted = false;
	m->due_ms = now_ms + (pause < MTU_RETRY_MAX_MS ? pause : MTU_RETRY_MAX_MS);
}

static void quiet(struct mtu *m, uint64_t now_ms)
{
	uint8_t vain = m->vain;

	if (!m->probes) {
		/* What an error said is old: the way may have grown, another error will say. */
		m->due_ms = UINT64_MAX;
		if (m->source == MTU_ICMP && m->top)
			set_path(m, m->top, MTU_INTERFACE);
		return;
	}
	if (!vain && m->last_ms && m->ops->sent_ms(m->arg, m->peer) <= m->last_ms) {
		m->due_ms = now_ms + MTU_AGAIN_MS; /* nobody uses it: a metered line is not ours to spend */
		return;
	}
	search(m, true, now_ms);
	m->vain = vain;
}

/* ---- what comes from outside ---- */

void mtu_init(struct mtu *m, const struct mtu_ops *ops, void *arg, uint32_t peer)
{
	memset(m, 0, sizeof(*m));
	m->ops = ops;
	m->arg = arg;
	m->peer = peer;
	m->due_ms = UINT64_MAX;
}

void mtu_tick(struct mtu *m, uint64_t now_ms)
{
	if (now_ms < m->due_ms || !m->on)
		return;
	if (m->state == MTU_IDLE)
		quiet(m, now_ms);
	else if (m->small_heard)
		judge(m, now_ms);
	else
		in_vain(m, now_ms);
}

void mtu_answer(struct mtu *m, uint16_t round, uint16_t bytes, uint64_t now_ms)
{
	uint64_t grace;

	/* Of an earlier search: the way may have been another one then. */
	if (m->state == MTU_IDLE || (uint16_t)(round - m->first_round) > (uint16_t)(m->round - m->first_round))
		return;
	if (bytes > m->top)
		return; /* more than was ever sent: no peer may widen the device for all the others */
	if (bytes > m->low)
		m->low = bytes;
	if (!bytes && round == m->round && !m->small_heard) {
		m->small_heard = true;
		m->vain = 0;
		m->rtt_ms = (uint16_t)(now_ms - m->sent_ms < 10000 ? now_ms - m->sent_ms : 10000);
		grace = GRACE_MS + m->rtt_ms / 2;
		m->due_ms = now_ms + (grace < GRACE_MAX_MS ? grace : GRACE_MAX_MS);
	}
	if (m->state == MTU_CONFIRM && bytes >= m->path) {
		confirmed(m, now_ms);
	} else if (m->state == MTU_CLIMB && bytes >= m->goal) {
		climbed(m, now_ms);
	} else if (m->state == MTU_HALVE && bytes >= m->mid) {
		halve(m, now_ms);
	}
}

void mtu_route(struct mtu *m, uint16_t first_link, bool v6, uint64_t now_ms)
{
	uint16_t top = first_link > MTU_MAX ? MTU_MAX : first_link;

	if (top < MTU_FLOOR_V4)
		return;
	if (v6 && top < MTU_FLOOR_V6)
		top = MTU_FLOOR_V6;
	if (top == m->top && m->path)
		return;
	m->top = top;
	m->v6 = v6;
	m->high = 0;
	if (m->source == MTU_INTERFACE || m->path > top || !m->path)
		set_path(m, top, MTU_INTERFACE);
	if (m->on && m->state != MTU_IDLE)
		search(m, true, now_ms);
	else if (m->on && m->due_ms > now_ms + MTU_FIRST_MS)
		m->due_ms = now_ms + MTU_FIRST_MS, m->climb = true, m->last_ms = 0;
}

void mtu_up(struct mtu *m, bool probes, bool v6, uint64_t now_ms)
{
	m->on = true;
	m->probes = probes;
	m->v6 = v6;
	m->state = MTU_IDLE;
	m->vain = 0;
	m->last_ms = 0;
	m->climb = true;
	m->told = 0;
	if (!m->top)
		m->top = MTU_MAX;
	if (!m->path)
		set_path(m, m->top, MTU_INTERFACE);
	m->due_ms = probes ? now_ms + MTU_FIRST_MS
		    : m->source == MTU_ICMP ? now_ms + MTU_AGAIN_MS
					    : UINT64_MAX;
}

void mtu_down(struct mtu *m)
{
	m->on = false;
	m->state = MTU_IDLE;
	m->climb = m->hinted = false;
	m->due_ms = UINT64_MAX;
}

void mtu_moved(struct mtu *m, bool v6, uint64_t now_ms)
{
	m->v6 = v6;
	m->high = 0;
	m->refuted_ms = 0;
	if (m->path && m->path < least(m))
		set_path(m, least(m), MTU_INTERFACE);
	search(m, true, now_ms);
}

void mtu_hint(struct mtu *m, uint64_t now_ms)
{
	if (!m->on || !m->probes)
		return;
	if (m->state != MTU_IDLE) {
		/* A confirmation under way is about the same; a climb is not. */
		m->hinted = m->state != MTU_CONFIRM;
		return;
	}
	if (m->hint_ms && now_ms - m->hint_ms < MTU_HINT_MS)
		return;
	m->hint_ms = now_ms;
	search(m, false, now_ms);
}

void mtu_icmp(struct mtu *m, uint16_t bytes, bool live, uint64_t now_ms)
{
	uint16_t bound = m->v6 ? MTU_ICMP_V6 : MTU_ICMP_V4, to = bytes > bound ? bytes : bound;
	bool sure = live && bytes && to < m->path &&
		    !(m->refuted_ms && now_ms - m->refuted_ms < MTU_REFUTED_MS);

	if (!m->on || !m->path || (bytes && bytes >= m->path))
		return;
	if (sure) {
		m->high = 0;
		set_path(m, to, MTU_ICMP);
		if (m->probes)
			search(m, true, now_ms);
		else
			m->due_ms = now_ms + MTU_AGAIN_MS;
	} else if (m->probes && (!m->icmp_ms || now_ms - m->icmp_ms >= MTU_ICMP_MS)) {
		m->icmp_ms = now_ms;
		mtu_hint(m, now_ms);
	}
}

void mtu_peer_says(struct mtu *m, uint16_t bytes, uint64_t now_ms)
{
	if (!m->on || m->state != MTU_IDLE || bytes == m->path ||
	    (m->hint_ms && now_ms - m->hint_ms < MTU_HINT_MS))
		return;
	m->hint_ms = now_ms;
	search(m, bytes > m->path, now_ms);
}

const char *mtu_source_word(const struct mtu *m)
{
	static const char *const words[] = { "interface", "probe", "icmp" };

	return words[m->source];
}
