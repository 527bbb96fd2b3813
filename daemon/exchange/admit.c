/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: who may make us remember an IKE_SA_INIT and compute for it (RFC 7296 s2.6).
 *
 *	no load			everybody
 *	many half open, or many requests in this second: who returns our cookie. Until then nothing
 *				is kept or counted for a source, which may be forged
 *	a network (/24, /56) with its fill of half-open ones, or all of them too many: who returned
 *				a cookie takes the place of the oldest of that network, if that one
 *				had its time: a true caller needs a round trip, HALF_OPEN_FAIR_MS is many
 *
 * So thousands of homes behind one carrier's address come back one after the other as fast as we can
 * compute, and somebody who sits among them and opens without ever finishing slows them down to the
 * pace at which his own get old, but never locks them out. A network from which a peer last
 * authenticated may have PREFIX_KNOWN_FACTOR times as many, and a quarter of all places is kept for such.
 */
#include "engine_int.h"

static bool known(const struct engine *e, uint32_t slot)
{
	return e->prefix_known[slot / 8] >> slot % 8 & 1;
}

void admit_known(struct engine *e, const struct addr *from)
{
	uint32_t slot = prefix_slot(from);

	e->prefix_known[slot / 8] |= (uint8_t)(1u << slot % 8);
}

static uint32_t prefix_max(const struct engine *e, uint32_t slot)
{
	return known(e, slot) ? PREFIX_KNOWN_FACTOR * e->per_prefix : e->per_prefix;
}

bool admit_crowded(const struct engine *e, uint32_t slot)
{
	return 2 * e->prefix_half_open[slot] > prefix_max(e, slot);
}

/* Room in its network, if need be that of the oldest one. */
static bool room_in_prefix(struct engine *e, uint32_t slot)
{
	uint64_t since_ms;

	if (e->prefix_half_open[slot] < prefix_max(e, slot))
		return true;
	if (e->now_ms < e->prefix_wait_ms[slot]) /* as found out when we looked last */
		return false;
	if (half_open_evict(e, (int)slot, &since_ms))
		return true;
	e->prefix_wait_ms[slot] = since_ms + HALF_OPEN_FAIR_MS;
	return false;
}

static bool room(struct engine *e, uint32_t slot)
{
	uint32_t most = known(e, slot) ? e->half_open_max : e->half_open_max - e->half_open_max / 4;
	uint64_t since_ms;

	return e->n.half_open < most || half_open_evict(e, -1, &since_ms);
}

bool admit_init(struct engine *e, const struct ike_msg *m, const struct engine_path *path, bool *cookie)
{
	uint32_t slot = prefix_slot(&path->remote.addr);
	uint8_t bytes[COOKIE_LEN];

	*cookie = cookie_check(e, m, path);
	if (!*cookie) {
		cookie_count(e);
		if (!cookie_wanted(e))
			return true; /* there are few, so there is room */
		if (!cookie_make(e, m, path, bytes)) {
			answer_notify(e, &m->hdr, path, COOKIE, bytes, sizeof(bytes));
			e->n.cookies_sent++;
		}
		return false;
	}
	if (room_in_prefix(e, slot) && room(e, slot))
		return true;
	e->n.half_open_refused++;
	return false;
}
