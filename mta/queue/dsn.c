/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: a DSN is a new letter, written in the same journal record as what it tells of: after a crash
 * there are both or neither.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bounce.h"
#include "clock.h"
#include "hop/probe.h"
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
	char back[PROBE_ADDRESS_MAX];
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
	if (e->flags & ENV_PROBE) { /* to who asked, whatever the sender's address is: route.c */
		dsn.flags |= ENV_PROBE;
		dsn.peer = e->peer;
		memcpy(dsn.probe, e->probe, LETTER_ID_LEN);
		to.addr = probe_address(e->probe, back);
	}
	return store_put_letter(c, &dsn, body, len);
}

size_t dsn_send(struct queue *q, struct store_change *c, const struct letter *l,
		const struct store_reading *r, const uint16_t *which, size_t count,
		enum dsn_kind kind, uint64_t waits_s)
{
	static const char *const words[] = { "failure", "a delay", "delivery", "relaying",
					     "a probe" };
	static const enum history_kind history[] = { HISTORY_BOUNCED, HISTORY_DELAYED,
						     HISTORY_REPORTED, HISTORY_REPORTED,
						     HISTORY_REPORTED };
	int64_t now_s = clock_wall_s();
	struct bounce_text t = { .kind = kind,
				 .hostname = q->ch->config->hostname,
				 .now_s = now_s,
				 .until_s = now_s + (int64_t)waits_s };
	char hex[LETTER_ID_STR_MAX], dsn[LETTER_ID_STR_MAX];
	uint8_t *headers = headers_of(q, l, r, &t.headers_len);
	size_t n;

	t.headers = headers;
	while (count) {
		n = count;
		if (envelope_new_id(t.id) || put_dsn(q, c, &t, &r->env, which, &n))
			break;
		log_info(NULL, "letter=%s dsn=%s rcpts=%zu msg=\"sender told of %s\"",
			 letter_id_str(l->id, hex), letter_id_str(t.id, dsn), n, words[kind]);
		history_note(q->history, history[kind], l->id, "letter=%s rcpts=%zu", dsn, n);
		if (kind == DSN_FAILED && !(r->env.flags & ENV_PROBE))
			counters_add(q->ch->counters, COUNTER_BOUNCES, NULL, 1);
		which += n;
		count -= n;
	}
	if (count)
		log_err(NULL, "letter=%s msg=\"no report (%s) for %zu recipients\"",
			letter_id_str(l->id, hex), words[kind], count);
	free(headers);
	return count;
}
