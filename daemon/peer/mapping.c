/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "mapping.h"

#include <string.h>

#define COPIES	  3 /* of a dummy that must not be lost */
#define COPY_MS	  200
#define OPEN_MS	  10000 /* the answer at once: within this, a retransmission on both ways included */
#define SETTLE_MS 3000	/* Linux takes a mapping for a stream when it is in use both ways after 2 s */
#define LATE_MS	  15000 /* the question may need retransmissions */
#define FORGET_MS 10000

/* ---- C ---- */

static void token_new(struct mapping *m, const struct mapping_ops *ops, void *arg)
{
	ops->random(arg, m->token, sizeof(m->token));
	m->token[0] = MAPPING_MARK;
	m->copies = 0;
}

void mapping_begin(struct mapping *m, uint32_t gap_ms, uint64_t now_ms,
		   const struct mapping_ops *ops, void *arg)
{
	memset(m, 0, sizeof(*m));
	m->step = MAPPING_OPEN;
	m->gap_ms = gap_ms;
	m->due_ms = now_ms;
	token_new(m, ops, arg);
}

void mapping_stop(struct mapping *m)
{
	memset(m, 0, sizeof(*m));
	m->due_ms = UINT64_MAX;
}

static enum mapping_verdict end(struct mapping *m, enum mapping_verdict v)
{
	mapping_stop(m);
	return v;
}

/* Copies of the dummy, then the question. */
static bool say(struct mapping *m, uint32_t gap_ms, uint64_t now_ms, uint32_t patience_ms,
		const struct mapping_ops *ops, void *arg)
{
	if (m->copies < COPIES) {
		ops->dummy(arg, m->token);
		m->last_ms = now_ms;
		m->due_ms = now_ms + COPY_MS;
		m->copies++;
		return true;
	}
	if (m->copies == COPIES) {
		ops->ask(arg, (uint16_t)(gap_ms / 1000), m->token);
		m->due_ms = now_ms + gap_ms + patience_ms;
		m->copies++;
		return true;
	}
	return false;
}

enum mapping_verdict mapping_tick(struct mapping *m, uint64_t now_ms,
				  const struct mapping_ops *ops, void *arg)
{
	if (m->step == MAPPING_IDLE || now_ms < m->due_ms)
		return MAPPING_GOES_ON;
	switch (m->step) {
	case MAPPING_OPEN:
		if (say(m, 0, now_ms, OPEN_MS, ops, arg))
			return MAPPING_GOES_ON;
		return end(m, MAPPING_UNKNOWN);
	case MAPPING_SETTLE:
		token_new(m, ops, arg);
		m->step = MAPPING_SILENT;
		(void)say(m, m->gap_ms, now_ms, LATE_MS, ops, arg);
		return MAPPING_GOES_ON;
	case MAPPING_SILENT:
		if (say(m, m->gap_ms, now_ms, LATE_MS, ops, arg))
			return MAPPING_GOES_ON;
		if (m->again)
			return end(m, MAPPING_DIED);
		mapping_begin(m, m->gap_ms, now_ms, ops, arg);
		m->again = true;
		return MAPPING_GOES_ON;
	case MAPPING_IDLE:
		break;
	}
	return MAPPING_GOES_ON;
}

enum mapping_verdict mapping_echoed(struct mapping *m, const uint8_t *token, uint64_t now_ms)
{
	bool waits = m->copies > COPIES && (m->step == MAPPING_OPEN || m->step == MAPPING_SILENT);

	if (!waits || memcmp(token, m->token, sizeof(m->token)))
		return MAPPING_GOES_ON;
	if (m->step == MAPPING_OPEN) {
		m->step = MAPPING_SETTLE;
		m->due_ms = now_ms + SETTLE_MS;
		return MAPPING_GOES_ON;
	}
	/* One that came too soon proves less than was asked. */
	return end(m, now_ms - m->last_ms >= m->gap_ms ? MAPPING_LIVED : MAPPING_UNKNOWN);
}

bool mapping_is_token(const uint8_t *token, size_t len)
{
	return len == MAPPING_TOKEN_LEN && token[0] == MAPPING_MARK;
}

/* ---- S ---- */

static bool goes(const struct echo *o)
{
	return o->used && o->asked && o->placed;
}

/* The one with that token, or a place for it: a free one, or one that nobody came back to. */
static struct echo *place(struct echoes *e, const uint8_t *token, uint64_t now_ms)
{
	struct echo *room = NULL;

	for (size_t i = 0; i < MAPPING_PENDING; i++) {
		struct echo *o = &e->v[i];

		if (o->used && !goes(o) && now_ms >= o->due_ms)
			memset(o, 0, sizeof(*o));
		if (o->used && !memcmp(o->token, token, MAPPING_TOKEN_LEN))
			return o;
		if (!o->used)
			room = o;
	}
	if (room) {
		room->used = true;
		room->due_ms = now_ms + FORGET_MS;
		memcpy(room->token, token, MAPPING_TOKEN_LEN);
	}
	return room;
}

static void complete(struct echo *o, uint64_t now_ms)
{
	if (goes(o) && !o->copies)
		o->due_ms = now_ms + o->wait_ms;
}

bool echo_token(struct echoes *e, const uint8_t *token, const struct engine_path *path,
		uint64_t now_ms)
{
	struct echo *o = place(e, token, now_ms);

	if (!o)
		return false;
	if (o->placed)
		return true; /* a copy: where the first came from counts */
	o->placed = true;
	o->path = *path;
	complete(o, now_ms);
	return true;
}

bool echo_asked(struct echoes *e, const uint8_t *bytes, size_t len, uint64_t now_ms)
{
	struct echo *o;
	unsigned seconds;

	if (len != MAPPING_NOTIFY_LEN || !mapping_is_token(bytes + 2, MAPPING_TOKEN_LEN))
		return false;
	seconds = (unsigned)bytes[0] << 8 | bytes[1];
	o = seconds <= MAPPING_MAX_S ? place(e, bytes + 2, now_ms) : NULL;
	if (!o || o->asked)
		return o != NULL;
	o->asked = true;
	o->wait_ms = seconds * 1000;
	complete(o, now_ms);
	return true;
}

bool echo_next(struct echoes *e, uint64_t now_ms, uint8_t token[static MAPPING_TOKEN_LEN],
	       struct engine_path *path)
{
	for (size_t i = 0; i < MAPPING_PENDING; i++) {
		struct echo *o = &e->v[i];

		if (!goes(o) || now_ms < o->due_ms)
			continue;
		memcpy(token, o->token, MAPPING_TOKEN_LEN);
		*path = o->path;
		o->due_ms = now_ms + COPY_MS;
		if (++o->copies == COPIES)
			memset(o, 0, sizeof(*o));
		return true;
	}
	return false;
}

uint64_t echo_due_ms(const struct echoes *e)
{
	uint64_t due = UINT64_MAX;

	for (size_t i = 0; i < MAPPING_PENDING; i++)
		if (goes(&e->v[i]) && e->v[i].due_ms < due)
			due = e->v[i].due_ms;
	return due;
}
