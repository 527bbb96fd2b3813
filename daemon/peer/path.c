/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "path.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "call.h"
#include "dead.h"
#include "transport.h"

static const struct sup_ops *ops(const struct supervisor *s)
{
	return s->env->ops;
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* ---- the list ---- */

static bool is_way(const struct path_way *w, const struct engine_path *p)
{
	return w->ifindex == p->ifindex && endpoint_eq(&w->remote, &p->remote);
}

static struct path_way *way_of(struct path *p, const struct engine_path *path)
{
	for (size_t i = 0; path->ifindex && i < p->count; i++)
		if (is_way(&p->way[i], path))
			return &p->way[i];
	return NULL;
}

const struct path_way *path_current(const struct supervisor *s)
{
	return s->path && s->path->pinned && s->ike ? way_of(s->path, &s->where.path) : NULL;
}

bool path_leads(const struct supervisor *s)
{
	return s->path && s->path->pinned;
}

/* The best way to @to (NULL: to any address) but @not. */
static struct path_way *best(struct path *p, const struct addr *to, const struct path_way *not)
{
	struct path_way *found = NULL;

	for (size_t i = 0; i < p->count; i++) {
		struct path_way *w = &p->way[i];

		if (w == not || (to && !addr_eq(&w->remote.addr, to)))
			continue;
		if (!found || w->rank < found->rank ||
		    (w->rank == found->rank && w->heard_ms > found->heard_ms))
			found = w;
	}
	return found;
}

/* -1: no device for that peer. */
static int64_t rank_of(const struct supervisor *s, const struct sup_way *w, size_t order)
{
	if (s->cfg.interface && strcmp(s->cfg.interface, w->name))
		return -1;
	for (size_t i = 0; i < s->env->wan_count; i++)
		if (!strcmp(s->env->wan[i].interface, w->name))
			return (int64_t)s->env->wan[i].priority * 16 + (int64_t)order;
	return s->env->wan_count ? -1 : 100 * 16 + (int64_t)order;
}

static struct path_way *add_way(struct supervisor *s, const struct endpoint *to,
				const struct sup_way *w, uint64_t now_ms)
{
	struct path *p = s->path;
	struct path_way *at;

	for (size_t i = 0; i < p->count; i++) {
		at = &p->way[i];
		if (at->ifindex == w->ifindex && endpoint_eq(&at->remote, to) &&
		    addr_eq(&at->src, &w->src) && addr_eq(&at->gateway, &w->gateway))
			return at;
	}
	if (p->count == PATH_WAYS_MAX)
		return NULL;
	at = &p->way[p->count++];
	*at = (struct path_way){ .ifindex = w->ifindex,
				 .src = w->src,
				 .gateway = w->gateway,
				 .remote = *to,
				 .since_ms = now_ms,
				 .need_ms = PATH_RETURN_MS,
				 .rtt_ms = UINT32_MAX };
	memcpy(at->name, w->name, sizeof(at->name));
	return at;
}

static void ask_about(struct supervisor *s, const struct addr *to)
{
	struct path *p = s->path;

	for (size_t i = 0; i < p->to_count; i++)
		if (addr_eq(&p->to[i], to))
			return;
	if (p->to_count == PATH_TO_MAX || !ops(s)->ways)
		return;
	p->known[p->to_count] = false;
	p->to[p->to_count++] = *to;
	(void)ops(s)->ways(s->env->arg, s->cfg.peer, to);
}

static bool known(const struct path *p, const struct addr *to)
{
	for (size_t i = 0; i < p->to_count; i++)
		if (addr_eq(&p->to[i], to))
			return p->known[i];
	return false;
}

static bool all_known(const struct path *p)
{
	for (size_t i = 0; i < p->to_count; i++)
		if (!p->known[i])
			return false;
	return true;
}

/* Where it is, and where it could be as well. */
static void ask_all(struct supervisor *s)
{
	const struct sup_names *names = s->memory.names;

	s->path->to_count = 0;
	if (s->ike)
		ask_about(s, &s->where.path.remote.addr);
	for (size_t i = 0; i < s->attempt_count; i++)
		if (s->attempt[i].state != SUP_AT_NONE)
			ask_about(s, &s->attempt[i].remote.addr);
	for (size_t i = 0; s->ike && i < s->cfg.host_count; i++) {
		if (!s->cfg.host[i].name)
			ask_about(s, &s->cfg.host[i].addr);
		for (size_t k = 0; names && k < names->count[i]; k++)
			ask_about(s, &names->addr[i][k]);
	}
}

/* ---- moving ---- */

struct engine_path path_by(const struct supervisor *s, const struct path_way *w)
{
	struct engine_path via = s->where.path;

	via.ifindex = w->ifindex;
	via.local.addr = w->src;
	via.remote = w->remote;
	return via;
}

/* Where its tests went well it may stay; one that fails soon has to show more the next time. */
static void left(struct path_way *w, uint64_t now_ms)
{
	if (!w)
		return;
	w->good_ms = 0;
	w->next_ms = now_ms + PATH_TEST_MS;
	if (w->taken_ms && now_ms - w->taken_ms < PATH_FAILED_MS)
		w->need_ms = sooner(2 * w->need_ms, PATH_RETURN_MAX);
	else
		w->need_ms = PATH_RETURN_MS;
}

static void note_use(struct path *p, const struct path_way *w)
{
	memcpy(p->name, w->name, sizeof(p->name));
	p->gateway = w->gateway;
	p->gateway_known = true;
}

static void move_to(struct supervisor *s, struct path_way *w, const char *why, uint64_t now_ms)
{
	struct path *p = s->path;
	struct path_way *was = way_of(p, &s->where.path);
	struct endpoint from = s->where.path.remote;
	struct engine_path to = path_by(s, w);

	if (was && w->rank > was->rank)
		left(was, now_ms);
	endpoint_set(&s->where, &to);
	w->taken_ms = now_ms;
	w->sent_ms = 0;
	p->lost = false;
	p->moves++;
	p->tried_ms = 0;
	p->testing = false;
	p->out_ms = 0;
	s->moves++;
	snprintf(p->why, sizeof(p->why), "%s -> %s: %s", p->name[0] ? p->name : "?", w->name, why);
	note_use(p, w);
	ops(s)->move(s->env->arg, s->cfg.peer, &s->where.path, false, 0);
	ops(s)->set_path(s->env->arg, s->ike, &s->where.path);
	if (s->postern)
		ops(s)->dummy(s->env->arg, s->cfg.peer); /* the far side's data follows it */
	sup_ask_moved(s, now_ms);
	ops(s)->roamed(s->env->arg, s->cfg.peer, &from, &w->remote, p->why);
	s->due_ms = now_ms;
}

/* Why the way in use, which is still there, is another one nevertheless; NULL: it is not. */
static const char *changed(const struct supervisor *s, const struct path_way *w)
{
	const struct path *p = s->path;

	if (p->lost)
		return "the line is back";
	if (!addr_eq(&w->src, &s->where.path.local.addr))
		return "its address is another one";
	return p->gateway_known && !addr_eq(&w->gateway, &p->gateway)
		   ? "its gateway is another one"
		   : NULL;
}

/* Until now the kernel chose: the way that it took, or NULL. */
static struct path_way *taken(struct supervisor *s)
{
	struct path *p = s->path;

	for (size_t i = 0; !s->where.path.ifindex && i < p->count; i++) {
		struct path_way *w = &p->way[i];

		if (endpoint_eq(&w->remote, &s->where.path.remote) &&
		    addr_eq(&w->src, &s->where.path.local.addr))
			return w;
	}
	return NULL;
}

/* The way in use: pinned where it was the kernel's, another one where it is no more. */
static void settle(struct supervisor *s, uint64_t now_ms)
{
	struct path *p = s->path;
	struct path_way *w = way_of(p, &s->where.path);
	const char *why;

	if (transport_is_stream(&s->where.path))
		return; /* the kernel's affair; back on datagrams the ways count again */
	/* No route leads there any more, but one does to another address of it: this is for us to say. */
	p->pinned |= s->ike && p->count && all_known(p) &&
		     !best(p, &s->where.path.remote.addr, NULL);
	if (!p->pinned || !s->ike || !known(p, &s->where.path.remote.addr))
		return;
	if (w) {
		why = changed(s, w);
		note_use(p, w);
		if (why)
			move_to(s, w, why, now_ms);
		return;
	}
	w = taken(s);
	if (w) {
		s->where.path.ifindex = w->ifindex;
		note_use(p, w);
		ops(s)->move(s->env->arg, s->cfg.peer, &s->where.path,
			     s->where.trial_until_ms != 0, 0);
		ops(s)->set_path(s->env->arg, s->ike, &s->where.path);
		return;
	}
	w = best(p, &s->where.path.remote.addr, NULL);
	if (!w && all_known(p)) /* of others what was told before may be as old */
		w = best(p, NULL, NULL);
	p->lost = !w;
	if (w)
		move_to(s, w, "the line in use is gone", now_ms);
}

void path_on_ways(struct supervisor *s, const struct addr *to, const struct sup_way *way,
		  size_t count, uint64_t now_ms)
{
	struct path *p = s->path;
	struct endpoint e = { *to, s->cfg.port };
	size_t kept = 0, usable = 0;
	bool chosen = false;

	if (!p)
		return;
	if (s->ike && addr_eq(to, &s->where.path.remote.addr))
		e.port = s->where.path.remote.port;
	for (size_t i = 0; i < p->to_count; i++)
		p->known[i] |= addr_eq(&p->to[i], to);
	for (size_t i = 0; i < p->count; i++)
		p->way[i].told = !addr_eq(&p->way[i].remote.addr, to);
	for (size_t i = 0; i < count; i++) {
		int64_t rank = rank_of(s, &way[i], i);
		struct path_way *w = rank >= 0 ? add_way(s, &e, &way[i], now_ms) : NULL;

		if (!w)
			continue;
		w->rank = (uint32_t)rank;
		w->chosen = way[i].chosen;
		w->told = true;
		usable++;
		chosen |= way[i].chosen;
	}
	for (size_t i = 0; i < p->count; i++)
		if (p->way[i].told)
			p->way[kept++] = p->way[i];
	p->count = kept;
	if (p->count > 1 || (usable && !chosen) || s->cfg.interface || s->env->wan_count)
		p->pinned = true;
	settle(s, now_ms);
	if (p->denied && usable) {
		p->denied = false;
		s->next_call_ms = now_ms;
		s->due_ms = now_ms;
	}
	if (s->due_ms > now_ms + PATH_TURN_MS && p->count > 1)
		s->due_ms = now_ms + PATH_TURN_MS;
}

/* ---- tests of other ways ---- */

static const uint8_t ask_word[4] = "way?", answer_word[4] = "way!";

void path_test(struct supervisor *s, struct path_way *w, uint64_t now_ms)
{
	struct engine_path via = path_by(s, w);
	uint8_t token[PATH_TOKEN_LEN] = { 0 };

	for (size_t i = 0; i < sizeof(w->nonce); i++)
		w->nonce[i] = (uint8_t)ops(s)->random(s->env->arg, 256);
	memcpy(token, ask_word, sizeof(ask_word));
	memcpy(token + 4, w->nonce, sizeof(w->nonce));
	w->sent_ms = now_ms;
	w->next_ms = now_ms + PATH_TEST_MS;
	ops(s)->test_way(s->env->arg, s->cfg.peer, &via, token, sizeof(token));
}

/* Somebody who is one of us: at most so many a second, to where it came from. */
static void answer(struct supervisor *s, const struct engine_path *path, const uint8_t *token,
		   uint64_t now_ms)
{
	uint8_t out[PATH_TOKEN_LEN];

	if (now_ms - s->probed_ms >= 1000) {
		s->probed_ms = now_ms;
		s->probed = 0;
	}
	if (s->probed++ >= PATH_ANSWERS_MAX)
		return;
	memcpy(out, token, sizeof(out));
	memcpy(out, answer_word, sizeof(answer_word));
	ops(s)->test_way(s->env->arg, s->cfg.peer, path, out, sizeof(out));
}

void path_on_probe(struct supervisor *s, const struct engine_path *path, const uint8_t *token,
		   size_t len, uint64_t now_ms)
{
	struct path *p = s->path;

	if (len != PATH_TOKEN_LEN || !ops(s)->test_way)
		return;
	if (!memcmp(token, ask_word, sizeof(ask_word))) {
		answer(s, path, token, now_ms);
		return;
	}
	if (memcmp(token, answer_word, sizeof(answer_word)) || !p)
		return;
	for (size_t i = 0; i < p->count; i++) {
		struct path_way *w = &p->way[i];
		uint64_t rtt = now_ms - w->sent_ms;

		if (!w->sent_ms || memcmp(w->nonce, token + 4, sizeof(w->nonce)))
			continue;
		w->sent_ms = 0;
		if (rtt > PATH_LOST_MS)
			return;
		w->heard_ms = now_ms;
		w->compared++;
		if (rtt < w->rtt_ms)
			w->rtt_ms = (uint32_t)rtt;
		if (!w->good_ms)
			w->good_ms = now_ms;
		return;
	}
}

/* A test that got lost ends what went well; one that never answers is left alone for longer. */
static void note_lost(struct path_way *w, uint64_t now_ms)
{
	if (!w->sent_ms || now_ms - w->sent_ms < PATH_LOST_MS)
		return;
	w->sent_ms = 0;
	w->good_ms = 0;
	if (now_ms - later(w->since_ms, w->heard_ms) > PATH_FAILED_MS)
		w->next_ms = now_ms + PATH_REST_MS;
}

/* Another peer than a Postern: one request by the better way; where the answer comes from, decides. */
static uint64_t test_foreign(struct supervisor *s, struct path_way *w, uint64_t now_ms)
{
	struct path *p = s->path;
	struct engine_path via;

	if (p->testing && now_ms - p->tested_ms >= PATH_OTHER_MS) {
		p->testing = false;
		w->need_ms = sooner(2 * w->need_ms, PATH_RETURN_MAX);
		w->next_ms = now_ms + w->need_ms;
		ops(s)->set_path(s->env->arg, s->ike, &s->where.path);
	} else if (!p->testing && !s->asked_ms && now_ms >= w->next_ms &&
		   now_ms - w->since_ms >= w->need_ms) {
		via = path_by(s, w);
		p->testing = true;
		p->tested_ms = now_ms;
		ops(s)->set_path(s->env->arg, s->ike, &via);
		sup_ask(s, now_ms);
	}
	return p->testing ? p->tested_ms + PATH_OTHER_MS : now_ms + PATH_TEST_MS;
}

static uint64_t test_better(struct supervisor *s, struct path_way *cur, uint64_t now_ms)
{
	struct path *p = s->path;
	uint64_t due = UINT64_MAX;

	if (cur && !s->postern) {
		struct path_way *w = best(p, NULL, NULL);

		return w->rank < cur->rank ? test_foreign(s, w, now_ms) : due;
	}
	for (size_t i = 0; cur && i < p->count; i++) {
		struct path_way *w = &p->way[i];

		if (w->rank >= cur->rank)
			continue;
		note_lost(w, now_ms);
		if (w->good_ms && now_ms - w->good_ms >= w->need_ms) {
			move_to(s, w, "the preferred line works again", now_ms);
			return UINT64_MAX;
		}
		if (now_ms >= w->next_ms && !w->sent_ms)
			path_test(s, w, now_ms);
		due = sooner(due, w->sent_ms ? w->sent_ms + PATH_LOST_MS : w->next_ms);
	}
	return due;
}

/* RFC 8305 brought the first one up; of those on the same line the shorter one stays. */
static uint64_t compare(struct supervisor *s, struct path_way *cur, uint64_t now_ms)
{
	struct path *p = s->path;
	struct path_way *shortest = cur;

	if (!p->compares || !s->postern || !cur || s->asked_ms)
		return UINT64_MAX;
	if (now_ms < p->compare_ms)
		return p->compare_ms;
	p->compare_ms = now_ms + PATH_TEST_MS;
	p->compares--;
	for (size_t i = 0; i < p->count; i++) {
		struct path_way *w = &p->way[i];

		if (w->rank == cur->rank && p->compares)
			path_test(s, w, now_ms);
		if (w->rank == cur->rank && w->compared && w->rtt_ms < shortest->rtt_ms)
			shortest = w;
	}
	if (p->compares)
		return p->compare_ms;
	s->family_first = cur->remote.addr.family;
	if (shortest != cur && cur->compared &&
	    shortest->rtt_ms + 10 + cur->rtt_ms / 4 < cur->rtt_ms) {
		s->family_first = shortest->remote.addr.family;
		move_to(s, shortest, "the shorter way", now_ms);
	}
	return UINT64_MAX;
}

/* ---- calls ---- */

/* A call that nobody answers leaves by the other ways too. */
static uint64_t call_others(struct supervisor *s, uint64_t now_ms)
{
	struct path *p = s->path;
	uint64_t due = UINT64_MAX;
	size_t count = s->attempt_count;

	for (size_t i = 0; i < count; i++) {
		struct sup_attempt a = s->attempt[i]; /* call_add_way() may move them */

		if (a.state != SUP_AT_CALLING || a.ifindex || a.host >= SUP_HOSTS_MAX)
			continue;
		if (now_ms - a.at_ms < PATH_CALL_MS) {
			due = sooner(due, a.at_ms + PATH_CALL_MS);
			continue;
		}
		if (ops(s)->answered(s->env->arg, a.ike))
			continue;
		for (size_t k = 0; k < p->count; k++)
			if (endpoint_eq(&p->way[k].remote, &a.remote) &&
			    (a.via ? p->way[k].ifindex != a.via : !p->way[k].chosen))
				call_add_way(s, &a.remote, a.host, p->way[k].ifindex, now_ms);
	}
	return due;
}

void path_on_names(struct supervisor *s)
{
	if (s->path && s->ike && s->asked_ms)
		ask_all(s);
}

/* ---- hooks ---- */

static void on_init(struct supervisor *s, uint64_t now_ms)
{
	(void)now_ms;
	/* With a mark the way is the kernel's to choose, by the admin's rules. */
	if (s->cfg.start == SUP_WAIT || s->cfg.sock_set) {
		path_free(s);
		return;
	}
	if (!s->path)
		s->path = calloc(1, sizeof(*s->path));
	if (s->path) {
		s->path->count = 0;
		s->path->pinned |= s->cfg.interface || s->env->wan_count;
		ask_all(s);
	}
}

static uint64_t on_tick(struct supervisor *s, uint64_t now_ms)
{
	struct path *p = s->path;
	struct path_way *cur;
	uint64_t due;

	if (!p)
		return UINT64_MAX;
	due = p->pinned && !s->ike ? call_others(s, now_ms) : UINT64_MAX;
	if (!s->ike || transport_is_stream(&s->where.path))
		return due;
	if (s->asked_ms && p->pinned)
		due = sooner(due, call_others(s, now_ms));
	cur = p->pinned ? way_of(p, &s->where.path) : NULL;
	due = sooner(due, dead_tick(s, cur, now_ms));
	due = sooner(due, test_better(s, cur, now_ms));
	cur = p->pinned ? way_of(p, &s->where.path) : NULL;
	due = sooner(due, compare(s, cur, now_ms));
	return due > now_ms ? due : now_ms + 1;
}

static bool on_depart(struct supervisor *s, const struct sup_attempt *a, struct engine_path *path,
		      uint64_t now_ms)
{
	struct path *p = s->path;
	const struct path_way *w = NULL;

	(void)now_ms;
	if (!p)
		return true;
	if (a)
		ask_about(s, &path->remote.addr);
	if (!p->pinned)
		return true;
	if (!a) {
		w = way_of(p, &s->where.path);
	} else if (a->ifindex) {
		for (size_t i = 0; i < p->count && !w; i++)
			if (p->way[i].ifindex == a->ifindex &&
			    addr_eq(&p->way[i].remote.addr, &path->remote.addr))
				w = &p->way[i];
	} else {
		w = best(p, &path->remote.addr, NULL);
	}
	if (w) {
		path->ifindex = w->ifindex;
		path->local.addr = w->src;
		return true;
	}
	/* Where the configuration leaves no choice, it waits for one that is right. */
	if (!s->cfg.interface && !s->env->wan_count)
		return !a || !a->ifindex;
	p->denied |= a != NULL;
	return false;
}

static void on_reply(struct supervisor *s, const struct fx *fx, uint64_t now_ms)
{
	struct path *p = s->path;
	struct path_way *cur = way_of(p, &s->where.path), *w = way_of(p, &fx->reply.path);
	bool was_testing = p->testing;

	p->testing = false;
	if (transport_is_stream(&s->where.path) || transport_is_stream(&fx->reply.path))
		return;
	if (w && s->answer_ms && s->answer_ms < w->rtt_ms && !p->tried_ms)
		w->rtt_ms = (uint32_t)s->answer_ms;
	if (w)
		w->heard_ms = now_ms;
	if (!w || w == cur || !p->pinned) {
		if (was_testing)
			ops(s)->set_path(s->env->arg, s->ike, &s->where.path);
		return;
	}
	if (was_testing && cur && w->rank < cur->rank)
		move_to(s, w, "the preferred line works again", now_ms);
	else if (p->tried_ms)
		move_to(s, w, "the line in use did not answer", now_ms);
}

static void on_fx(struct supervisor *s, const struct fx *fx, uint64_t now_ms)
{
	struct path *p = s->path;

	if (!p)
		return;
	if (fx->kind == FX_PEER_UP) {
		p->testing = false;
		p->tried_ms = 0;
		p->out_ms = 0;
		p->lost = p->gateway_known = false;
		p->compares = PATH_COMPARE + 1;
		p->compare_ms = now_ms + PATH_TEST_MS;
		for (size_t i = 0; i < p->count; i++)
			p->way[i].compared = 0;
		ask_all(s);
		settle(s, now_ms);
	} else if (fx->kind == FX_REPLY && fx->reply.ike == s->ike) {
		on_reply(s, fx, now_ms);
	}
}

static void on_network(struct supervisor *s, uint64_t now_ms)
{
	(void)now_ms;
	if (s->path)
		ask_all(s);
}

void path_free(struct supervisor *s)
{
	free(s->path);
	s->path = NULL;
}

const struct sup_hook path_hook = {
	.init = on_init,
	.tick = on_tick,
	.depart = on_depart,
	.fx = on_fx,
	.network = on_network,
};
