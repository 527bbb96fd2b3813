/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: how letters end. A DSN is a new letter written in the same journal record as the end that
 * it tells of: after a crash there are both or neither. What nobody is told of is kept as a dead
 * letter, bounded, for the admin.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bounce.h"
#include "clock.h"
#include "log.h"
#include "queue.h"

/* Beginning of the original, for its header section. */
static uint8_t *headers_of(struct queue *q, const struct letter *l, const struct store_reading *r,
			   size_t *len)
{
	struct vfs *v = &q->dir.vfs;
	uint8_t *p = malloc(BOUNCE_HEADERS_MAX);
	ssize_t n;
	int fd;

	*len = 0;
	if (!p)
		return NULL;
	if (r->body) {
		*len = r->body_len < BOUNCE_HEADERS_MAX ? r->body_len : BOUNCE_HEADERS_MAX;
		memcpy(p, r->body, *len);
		return p;
	}
	fd = store_open_body(q->store, l);
	if (fd >= 0) {
		n = v->pread(v, fd, p, BOUNCE_HEADERS_MAX, 0);
		*len = n > 0 ? (size_t)n : 0;
		v->close(v, fd);
	}
	return p;
}

static int put_dsn(struct queue *q, struct store_change *c, const struct bounce_text *t,
		   const struct envelope *e, const uint16_t *which, size_t *count)
{
	static uint8_t body[BOUNCE_BODY_MAX];
	size_t len = bounce_build(t, e, which, count, body);
	struct env_rcpt to = { .addr = e->sender, .notify = ENV_NOTIFY_NEVER };
	struct envelope dsn = {
		.flags = ENV_BOUNCE | ENV_LOCAL | ENV_8BITMIME | (e->flags & ENV_SMTPUTF8),
		.received_s = t->now_s,
		.sender = "",
		.size = len,
		.rcpt = &to,
		.rcpt_count = 1,
	};

	if (!len)
		return -EMSGSIZE;
	memcpy(dsn.id, t->id, LETTER_ID_LEN);
	return store_put_letter(c, &dsn, body, len);
}

/* Returns how many recipients no DSN tells of. */
static size_t send_dsns(struct queue *q, struct store_change *c, struct letter *l,
			const struct store_reading *r, const uint16_t *which, size_t count)
{
	struct bounce_text t = { .hostname = q->ch->config->hostname, .now_s = clock_wall_s() };
	char hex[LETTER_ID_STR_MAX], dsn[LETTER_ID_STR_MAX];
	uint8_t *headers = headers_of(q, l, r, &t.headers_len);
	size_t n;

	t.headers = headers;
	while (count) {
		n = count;
		if (envelope_new_id(t.id) || put_dsn(q, c, &t, &r->env, which, &n))
			break;
		log_info(NULL, "letter=%s bounce=%s rcpts=%zu msg=\"sender told\"",
			 letter_id_str(l->id, hex), letter_id_str(t.id, dsn), n);
		which += n;
		count -= n;
	}
	if (count)
		log_err(NULL, "letter=%s msg=\"no bounce for %zu recipients\"",
			letter_id_str(l->id, hex), count);
	free(headers);
	return count;
}

static const struct mta_route *route_of(struct queue *q, const struct store_reading *r, size_t i)
{
	return route_choose(q->ch->config, &r->env, r->env.rcpt[i].addr);
}

void finish_letter(struct queue *q, struct store_change *c, struct letter *l, bool dead)
{
	char hex[LETTER_ID_STR_MAX];

	schedule_remove(q->schedule, l);
	if (dead)
		log_warn(NULL, "letter=%s msg=\"kept as a dead letter\"",
			 letter_id_str(l->id, hex));
	store_put_state(c, l, dead ? LETTER_DEAD : LETTER_GONE);
}

void finish_rcpts(struct queue *q, struct store_change *c, struct letter *l, const uint16_t *bad,
		  size_t count)
{
	static uint16_t tell[ENVELOPE_RCPTS_MAX];
	struct store_reading r;
	bool dead = false, ended = false;
	size_t n = 0;

	for (size_t i = 0; i < l->rcpt_count; i++) {
		dead |= l->rcpt[i].state == RCPT_EXPIRED;
		ended |= l->rcpt[i].state == RCPT_FAILED || l->rcpt[i].state == RCPT_EXPIRED;
	}
	if (!ended || (!count && l->open)) {
		if (!l->open)
			finish_letter(q, c, l, false);
		return;
	}
	if (store_read(q->store, l, &r)) { /* nothing to quote from */
		if (!l->open)
			finish_letter(q, c, l, true);
		return;
	}
	for (size_t i = 0; i < count; i++)
		if (bounce_wanted(q->ch->config, route_of(q, &r, bad[i]), &r.env,
				  &r.env.rcpt[bad[i]]))
			tell[n++] = bad[i];
	for (size_t i = 0; i < l->rcpt_count; i++)
		dead |= l->rcpt[i].state == RCPT_FAILED &&
			!bounce_wanted(q->ch->config, route_of(q, &r, i), &r.env, &r.env.rcpt[i]);
	if (n && send_dsns(q, c, l, &r, tell, n))
		dead = true; /* somebody has to hear of it */
	store_reading_clear(&r);
	/* An undeliverable bounce has served its time: never a bounce of it, nor a corpse. */
	if (!l->open)
		finish_letter(q, c, l, dead && !(l->flags & ENV_BOUNCE));
}

/* False: nothing of it has expired (any more). */
static bool expire(struct queue *q, struct letter *l, uint64_t uptime_s)
{
	uint16_t bad[FINISH_SLICE];
	uint64_t age = store_age(q->store, l);
	struct store_change *c = NULL;
	char hex[LETTER_ID_STR_MAX];
	size_t n = 0;

	for (size_t i = 0; i < l->rcpt_count && n < FINISH_SLICE; i++)
		if (l->rcpt[i].leg && schedule_expired(l->rcpt[i].leg, &l->rcpt[i], age, uptime_s))
			bad[n++] = (uint16_t)i;
	if (!n)
		return false;
	c = store_begin(q->store);
	if (!c)
		return false;
	for (size_t i = 0; i < n; i++)
		store_put_rcpt(c, l, bad[i], RCPT_EXPIRED, l->rcpt[bad[i]].attempts, NULL);
	log_warn(NULL, "letter=%s age_s=%llu rcpts=%zu msg=\"expired\"", letter_id_str(l->id, hex),
		 (unsigned long long)age, n);
	finish_rcpts(q, c, l, bad, n);
	if (l->state == LETTER_QUEUED)
		schedule_settle(q->schedule, l, loop_now_ms(q->loop));
	if (store_commit(c, true, NULL))
		log_err(NULL, "letter=%s msg=\"its end could not be written\"",
			letter_id_str(l->id, hex));
	return true;
}

/* The oldest dead letters make room. */
static void bound_dead(struct queue *q)
{
	size_t count = store_count(q->store, LETTER_DEAD);
	struct letter *l, *next;
	uint64_t bytes = 0;

	for (l = store_oldest(q->store); l; l = l->newer)
		bytes += l->state == LETTER_DEAD ? l->body_len : 0;
	for (l = store_oldest(q->store); l; l = next) {
		struct store_change *c;
		char hex[LETTER_ID_STR_MAX];

		if (count <= QUEUE_DEAD_MAX && bytes <= QUEUE_DEAD_BYTES)
			break;
		next = l->newer;
		if (l->state != LETTER_DEAD)
			continue;
		c = store_begin(q->store);
		if (!c)
			return;
		log_warn(NULL, "letter=%s msg=\"oldest dead letter removed: too many\"",
			 letter_id_str(l->id, hex));
		count--;
		bytes -= l->body_len;
		store_put_state(c, l, LETTER_GONE);
		store_commit(c, true, NULL);
	}
}

void finish_expired(struct queue *q, uint64_t now_ms)
{
	uint64_t uptime_s = (now_ms - q->started_ms) / 1000;
	struct letter *l, *next;

	for (l = store_oldest(q->store); l; l = next) {
		next = l->newer;
		while (l->state == LETTER_QUEUED && l->legs && expire(q, l, uptime_s))
			;
	}
	bound_dead(q);
}
