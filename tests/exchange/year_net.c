/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The NAT and the network of a year. */
#include "year.h"

#include <stdlib.h>
#include <string.h>

#define STUCK_MS 180000 /* so long a dead mapping stays when nothing refreshes it */

uint64_t year_random(struct year *y)
{
	y->seed ^= y->seed << 13;
	y->seed ^= y->seed >> 7;
	y->seed ^= y->seed << 17;
	return y->seed;
}

uint32_t year_below(struct year *y, uint32_t n)
{
	return n ? (uint32_t)((year_random(y) >> 11) % n) : 0;
}

struct addr year_addr(const char *text)
{
	struct addr a;

	if (addr_parse(text, &a))
		abort();
	return a;
}

/* ---- NAT ---- */

static bool alive(const struct year *y, const struct mapping *m)
{
	uint64_t idle = m->dead ? STUCK_MS : y->idle_ms;

	return m->used && y->now_ms - m->out_ms < idle &&
	       !(y->absolute_ms && !m->dead && y->now_ms - m->made_ms >= y->absolute_ms);
}

static struct mapping *map_out(struct year *y, uint16_t port)
{
	struct mapping *room = NULL;

	for (size_t i = 0; i < sizeof(y->map) / sizeof(*y->map); i++) {
		struct mapping *m = &y->map[i];

		if (!alive(y, m))
			m->used = false;
		if (m->used && m->inside == port)
			return m;
		if (!m->used && !room)
			room = m;
	}
	if (!room)
		room = &y->map[year_below(y, 16)];
	*room = (struct mapping){ .used = true,
				  .inside = port,
				  .outside = y->next_port++,
				  .address = y->outside,
				  .made_ms = y->now_ms,
				  .out_ms = y->now_ms };
	if (y->next_port < 1024)
		y->next_port = 1024;
	return room;
}

static const struct mapping *map_in(const struct year *y, const struct endpoint *e)
{
	for (size_t i = 0; i < sizeof(y->map) / sizeof(*y->map); i++)
		if (alive(y, &y->map[i]) && !y->map[i].dead && y->map[i].outside == e->port &&
		    addr_eq(&y->map[i].address, &e->addr))
			return &y->map[i];
	return NULL;
}

void year_forget(struct year *y, bool dead)
{
	for (size_t i = 0; i < sizeof(y->map) / sizeof(*y->map); i++) {
		if (dead && alive(y, &y->map[i]))
			y->map[i].dead = true;
		else
			y->map[i].used = false;
	}
}

/* ---- wire ---- */

void year_send(struct year *y, int from, const struct engine_path *path, const uint8_t *ike,
	       size_t len, const struct flight *esp)
{
	struct flight *f = &y->flight[y->flights];
	struct endpoint src;

	y->packets++;
	if (from == HOME) {
		struct mapping *m;

		if (!y->node[HOME].route)
			return;
		m = map_out(y, path->local.port);
		m->out_ms = y->now_ms;
		if (m->dead)
			return;
		src = (struct endpoint){ m->address, m->outside };
	} else {
		if (!y->node[VPS].route)
			return;
		src = (struct endpoint){ y->vps, 4500 };
	}
	if (y->cut[!from] || year_below(y, 100) < y->loss)
		return;
	if (y->flights == YEAR_FLIGHTS)
		abort();
	*f = esp ? *esp : (struct flight){ 0 };
	f->at_ms = y->now_ms + y->delay_ms + year_below(y, y->jitter_ms + 1);
	f->order = ++y->order;
	f->to = !from;
	f->from = src;
	f->dst = path->remote;
	f->ike = NULL;
	f->len = len;
	if (ike) {
		f->ike = malloc(len);
		if (!f->ike)
			abort();
		memcpy(f->ike, ike, len);
	}
	y->flights++;
}

static int oldest(const struct year *y)
{
	int best = -1;

	for (unsigned i = 0; i < y->flights; i++) {
		const struct flight *f = &y->flight[i], *b = &y->flight[best < 0 ? 0 : best];

		if (best < 0 || f->at_ms < b->at_ms ||
		    (f->at_ms == b->at_ms && f->order < b->order))
			best = (int)i;
	}
	return best;
}

uint64_t year_arrivals(const struct year *y)
{
	int i = oldest(y);

	return i < 0 ? UINT64_MAX : y->flight[i].at_ms;
}

void year_arrive(struct year *y)
{
	int i = oldest(y);
	struct flight f = y->flight[i];
	struct node *n = &y->node[f.to];
	struct engine_path path = { .local = f.dst, .remote = f.from };
	const struct mapping *m;

	y->flight[i] = y->flight[--y->flights];
	if (y->cut[f.to] || !n->running || n->asleep || !n->route)
		goto out;
	if (f.to == VPS) {
		if (!addr_eq(&f.dst.addr, &y->vps) || f.dst.port != 4500)
			goto out;
	} else {
		m = map_in(y, &f.dst);
		if (!m)
			goto out;
		path.sock = UINT32_MAX;
		for (size_t s = 0; s < n->env.sock_count; s++)
			if (n->env.sock_port[s] == m->inside)
				path.sock = n->env.sock_number[s];
		if (path.sock == UINT32_MAX)
			goto out;
		path.local = (struct endpoint){ n->src, m->inside };
	}
	node_packet(n, &f, &path);
out:
	free(f.ike);
}

void year_flights_clear(struct year *y)
{
	for (unsigned i = 0; i < y->flights; i++)
		free(y->flight[i].ike);
	y->flights = 0;
}
