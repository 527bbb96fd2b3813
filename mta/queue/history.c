/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "history.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "crc32c.h"
#include "log.h"
#include "wire.h"

#define TOGETHER   128	/* events in memory */
#define MARKED	   100	/* of these, room for what may be taken back */
#define READ_SLOTS 256	/* read at a time */
#define FIND_MAX   4096 /* events of one letter that are shown */

struct history {
	struct vfs *vfs;
	int fd; /* -1: no file */
	uint32_t slots, next;
	uint64_t seq;
	bool (*waits)(void *arg, const uint8_t id[static LETTER_ID_LEN]);
	void *arg;
	uint8_t fresh[TOGETHER * HISTORY_SLOT];
	size_t fresh_count;
};

static const char *const words[HISTORY_KINDS] = {
	[HISTORY_ACCEPTED] = "accepted",   [HISTORY_RCPTS] = "recipients",
	[HISTORY_DELIVERED] = "delivered", [HISTORY_DEFERRED] = "deferred",
	[HISTORY_FAILED] = "failed",	   [HISTORY_EXPIRED] = "expired",
	[HISTORY_DELAYED] = "delay-told",  [HISTORY_BOUNCED] = "bounced",
	[HISTORY_DEAD] = "dead",	   [HISTORY_HELD] = "held",
	[HISTORY_RELEASED] = "released",   [HISTORY_REMOVED] = "removed",
	[HISTORY_MOVED] = "moved",	   [HISTORY_EXPORTED] = "exported",
	[HISTORY_IMPORTED] = "imported",   [HISTORY_REPORTED] = "success-told",
	[HISTORY_PROBED] = "probed",
};

const char *history_word(uint8_t kind)
{
	return kind < HISTORY_KINDS && words[kind] ? words[kind] : "?";
}

/* --- one slot --- */

static void put_slot(uint8_t slot[static HISTORY_SLOT], const struct history_event *e)
{
	struct wr w = wr_init(slot, HISTORY_SLOT);
	size_t len = strnlen(e->text, HISTORY_TEXT_MAX);
	struct wr crc = wr_init(slot, 4);

	memset(slot, 0, HISTORY_SLOT);
	wr_be32(&w, 0);
	wr_u8(&w, e->kind);
	wr_u8(&w, (uint8_t)len);
	wr_be16(&w, e->rcpt);
	wr_be64(&w, e->seq);
	wr_be64(&w, e->order);
	wr_be64(&w, (uint64_t)e->at_ms);
	wr_bytes(&w, e->id, LETTER_ID_LEN);
	wr_bytes(&w, e->peer_id, LETTER_ID_LEN);
	wr_be16(&w, e->code);
	wr_be16(&w, e->attempts);
	wr_bytes(&w, e->text, len);
	wr_be32(&crc, crc32c(0, slot + 4, HISTORY_SLOT - 4));
}

/* False: nothing was written there, or only part of it. */
static bool get_slot(const uint8_t slot[static HISTORY_SLOT], struct history_event *e)
{
	struct rd r = rd_init(slot, HISTORY_SLOT);
	uint32_t crc = rd_be32(&r);
	uint8_t len;

	if (crc != crc32c(0, slot + 4, HISTORY_SLOT - 4))
		return false;
	memset(e, 0, sizeof(*e));
	e->kind = rd_u8(&r);
	len = rd_u8(&r);
	e->rcpt = rd_be16(&r);
	e->seq = rd_be64(&r);
	e->order = rd_be64(&r);
	e->at_ms = (int64_t)rd_be64(&r);
	rd_copy(&r, e->id, LETTER_ID_LEN);
	rd_copy(&r, e->peer_id, LETTER_ID_LEN);
	e->code = rd_be16(&r);
	e->attempts = rd_be16(&r);
	rd_copy(&r, e->text, len <= HISTORY_TEXT_MAX ? len : 0);
	return !r.bad && e->seq && e->kind && e->kind < HISTORY_KINDS;
}

/* --- the file --- */

/* What of @count slots from @at on can be read, zeros for the rest. False: the file ends before them. */
static bool read_slots(struct history *h, uint32_t at, size_t count, uint8_t *buf)
{
	size_t got = 0, want = count * HISTORY_SLOT;
	ssize_t n = 1;

	while (got < want) {
		n = h->vfs->pread(h->vfs, h->fd, buf + got, want - got,
				  (uint64_t)at * HISTORY_SLOT + got);

		if (n <= 0)
			break;
		got += (size_t)n;
	}
	memset(buf + got, 0, want - got);
	return got || n;
}

/* Every event of the file, in the order of the slots. */
static void each_slot(struct history *h,
		      void (*fn)(const struct history_event *e, uint32_t slot, void *arg),
		      void *arg)
{
	static uint8_t buf[READ_SLOTS * HISTORY_SLOT];
	struct history_event e;

	for (uint32_t at = 0; h->fd >= 0 && at < h->slots; at += READ_SLOTS) {
		uint32_t n = h->slots - at < READ_SLOTS ? h->slots - at : READ_SLOTS;

		if (!read_slots(h, at, n, buf))
			break;
		for (uint32_t i = 0; i < n; i++)
			if (get_slot(buf + (size_t)i * HISTORY_SLOT, &e))
				fn(&e, at + i, arg);
	}
}

static void find_newest(const struct history_event *e, uint32_t slot, void *arg)
{
	struct history *h = arg;

	if (e->seq < h->seq)
		return;
	h->seq = e->seq + 1;
	h->next = (slot + 1) % h->slots;
}

struct history *history_open(struct vfs *v, uint32_t slots,
			     bool (*waits)(void *arg, const uint8_t id[static LETTER_ID_LEN]),
			     void *arg)
{
	struct history *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->vfs = v;
	h->slots = slots;
	h->waits = waits;
	h->arg = arg;
	h->seq = 1;
	h->fd = v->open(v, "history", false);
	if (h->fd < 0)
		h->fd = v->open(v, "history", true);
	if (h->fd < 0)
		log_err(NULL, "the history of letters cannot be written: %s", strerror(-h->fd));
	each_slot(h, find_newest, h);
	return h;
}

static void write_slots(struct history *h, const uint8_t *buf, size_t count)
{
	while (count && h->fd >= 0) {
		size_t n = count < h->slots - h->next ? count : h->slots - h->next;
		int rc = vfs_write_all(h->vfs, h->fd, buf, n * HISTORY_SLOT,
				       (uint64_t)h->next * HISTORY_SLOT);

		if (rc) {
			log_err(NULL, "the history of letters is written no more: %s",
				strerror(-rc));
			h->vfs->close(h->vfs, h->fd);
			h->fd = -1;
		}
		h->next = (uint32_t)((h->next + n) % h->slots);
		buf += n * HISTORY_SLOT;
		count -= n;
	}
}

/*
 * The events in memory take the oldest slots; what of these is of a letter that waits moves on, into the slots
 * behind, once: where most of the ring waits, its oldest are lost all the same.
 */
void history_tick(struct history *h)
{
	static uint8_t old[TOGETHER * HISTORY_SLOT];
	size_t kept = 0;

	if (!h || !h->fresh_count)
		return;
	for (size_t i = 0; i < h->fresh_count && h->fd >= 0; i++) {
		uint8_t *slot = old + kept * HISTORY_SLOT;
		struct history_event e;

		read_slots(h, (uint32_t)((h->next + i) % h->slots), 1, slot);
		if (!get_slot(slot, &e) || !h->waits(h->arg, e.id))
			continue;
		e.seq = h->seq++; /* or the next start would take it for the oldest */
		put_slot(slot, &e);
		kept++;
	}
	write_slots(h, h->fresh, h->fresh_count);
	write_slots(h, old, kept);
	h->fresh_count = 0;
}

void history_close(struct history *h)
{
	if (!h)
		return;
	history_tick(h);
	if (h->fd >= 0)
		h->vfs->close(h->vfs, h->fd);
	free(h);
}

static void add(struct history *h, struct history_event *e, const uint8_t id[static LETTER_ID_LEN])
{
	struct timespec now;

	if (!h || h->fd < 0)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	e->at_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
	e->seq = e->order = h->seq++;
	memcpy(e->id, id, LETTER_ID_LEN);
	put_slot(h->fresh + h->fresh_count++ * HISTORY_SLOT, e);
	if (h->fresh_count == TOGETHER)
		history_tick(h);
}

uint64_t history_mark(struct history *h)
{
	if (!h)
		return 0;
	if (h->fresh_count > TOGETHER - MARKED)
		history_tick(h);
	return h->seq;
}

void history_take_back(struct history *h, uint64_t mark)
{
	uint64_t since;

	if (!h)
		return;
	/* Their numbers follow each other, the last one is in @seq - 1; what was written stays. */
	since = h->seq - mark;
	h->fresh_count -= since < h->fresh_count ? (size_t)since : h->fresh_count;
}

void history_rcpt(struct history *h, enum history_kind kind, const uint8_t id[static LETTER_ID_LEN],
		  uint16_t rcpt, uint16_t code, uint16_t attempts, const char *fmt, ...)
{
	struct history_event e = {
		.kind = (uint8_t)kind, .rcpt = rcpt, .code = code, .attempts = attempts
	};
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(e.text, sizeof(e.text), fmt, ap);
	va_end(ap);
	add(h, &e, id);
}

void history_note(struct history *h, enum history_kind kind, const uint8_t id[static LETTER_ID_LEN],
		  const char *fmt, ...)
{
	struct history_event e = { .kind = (uint8_t)kind, .rcpt = HISTORY_NO_RCPT };
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(e.text, sizeof(e.text), fmt, ap);
	va_end(ap);
	add(h, &e, id);
}

/* As many in a slot as fit; one that is longer is cut. */
static void note_rcpts(struct history *h, const struct envelope *x)
{
	struct history_event e = { .kind = HISTORY_RCPTS };
	size_t len = 0;

	for (size_t i = 0; i < x->rcpt_count; i++) {
		size_t n = strlen(x->rcpt[i].addr);

		if (len && len + 1 + n > HISTORY_TEXT_MAX) {
			add(h, &e, x->id);
			e.rcpt = (uint16_t)i;
			len = 0;
		}
		len += (size_t)snprintf(e.text + len, sizeof(e.text) - len, "%s%s", len ? "\n" : "",
					x->rcpt[i].addr);
		if (len > HISTORY_TEXT_MAX)
			len = HISTORY_TEXT_MAX;
	}
	add(h, &e, x->id);
}

void history_accepted(struct history *h, const struct envelope *x, enum history_kind kind)
{
	struct history_event e = { .kind = (uint8_t)kind, .rcpt = HISTORY_NO_RCPT };
	char client[ENDPOINT_STR_MAX] = "";

	if (x->client.addr.family)
		endpoint_str(&x->client, client);
	if (x->flags & ENV_PEER_ID)
		memcpy(e.peer_id, x->peer_id, LETTER_ID_LEN);
	snprintf(e.text, sizeof(e.text), "listener=%s client=%s%s%s%s%s from=<%.80s> tls=%s",
		 x->listener ? x->listener : "-", *client ? client : "-", x->peer ? " peer=" : "",
		 x->peer ? x->peer : "", x->auth_user ? " user=" : "",
		 x->auth_user ? x->auth_user : "", x->sender, x->tls ? x->tls : "none");
	add(h, &e, x->id);
	note_rcpts(h, x);
}

/* --- asking --- */

struct found {
	struct history_event e;
	size_t which; /* of the letters */
};

struct search {
	const uint8_t (*id)[LETTER_ID_LEN];
	size_t ids;
	struct found *found;
	size_t count, cap;
	size_t *of; /* how many, by letter */
};

static void look(const struct history_event *e, uint32_t slot, void *arg)
{
	struct search *s = arg;
	size_t i = 0;

	(void)slot;
	while (i < s->ids && memcmp(e->id, s->id[i], LETTER_ID_LEN) != 0)
		i++;
	if (i == s->ids || s->of[i] == FIND_MAX)
		return;
	if (s->count == s->cap) {
		size_t cap = s->cap ? 2 * s->cap : 64;
		struct found *bigger = realloc(s->found, cap * sizeof(*bigger));

		if (!bigger)
			return;
		s->found = bigger;
		s->cap = cap;
	}
	s->found[s->count++] = (struct found){ .e = *e, .which = i };
	s->of[i]++;
}

/* Some were written again behind others. */
static int by_order(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	if (x->which != y->which)
		return x->which < y->which ? -1 : 1;
	return x->e.order < y->e.order ? -1 : x->e.order > y->e.order;
}

void history_each(struct history *h, const uint8_t id[][LETTER_ID_LEN], size_t count,
		  void (*fn)(const struct history_event *e, size_t which, void *arg), void *arg)
{
	struct search s = { .id = id, .ids = count };

	if (!h || !count)
		return;
	history_tick(h);
	s.of = calloc(count, sizeof(*s.of));
	if (!s.of)
		return;
	each_slot(h, look, &s);
	if (s.count)
		qsort(s.found, s.count, sizeof(*s.found), by_order);
	for (size_t i = 0; i < s.count; i++)
		fn(&s.found[i].e, s.found[i].which, arg);
	free(s.found);
	free(s.of);
}

struct find {
	const uint8_t *id;
	uint8_t (*own)[LETTER_ID_LEN];
	size_t count, max;
	bool first; /* own[0] is @id itself */
};

bool history_reply_id(const char *text, uint8_t id[static LETTER_ID_LEN])
{
	static const char hex[] = "0123456789abcdef";
	const char *p = strstr(text, "reply=");
	char word[LETTER_ID_STR_MAX];

	while (p && *p) {
		size_t n = strspn(p, hex);

		if (n == LETTER_ID_STR_MAX - 1 && !strncmp(p + n, " queued", 7)) {
			memcpy(word, p, n);
			word[n] = 0;
			return !letter_id_parse(word, id);
		}
		p += n ? n : 1;
	}
	return false;
}

static bool is_tied(const struct find *f, const struct history_event *e)
{
	uint8_t there[LETTER_ID_LEN];

	return !memcmp(e->peer_id, f->id, LETTER_ID_LEN) ||
	       (e->kind == HISTORY_DELIVERED && history_reply_id(e->text, there) &&
		!memcmp(there, f->id, LETTER_ID_LEN));
}

static void find_one(const struct history_event *e, uint32_t slot, void *arg)
{
	struct find *f = arg;

	(void)slot;
	if (!memcmp(e->id, f->id, LETTER_ID_LEN)) {
		if (!f->first) { /* whatever stood there is another letter, which makes room */
			if (f->count && f->count < f->max)
				memcpy(f->own[f->count], f->own[0], LETTER_ID_LEN);
			f->count += f->count < f->max;
			memcpy(f->own[0], e->id, LETTER_ID_LEN);
			f->first = true;
		}
		return;
	}
	if (f->count == f->max || !is_tied(f, e))
		return;
	for (size_t i = 0; i < f->count; i++)
		if (!memcmp(f->own[i], e->id, LETTER_ID_LEN))
			return;
	memcpy(f->own[f->count++], e->id, LETTER_ID_LEN);
}

size_t history_find(struct history *h, const uint8_t id[static LETTER_ID_LEN],
		    uint8_t own[][LETTER_ID_LEN], size_t max)
{
	static const uint8_t none[LETTER_ID_LEN];
	struct find f = { .id = id, .own = own, .max = max };

	if (!h || !memcmp(id, none, LETTER_ID_LEN))
		return 0;
	history_tick(h);
	each_slot(h, find_one, &f);
	return f.count;
}
