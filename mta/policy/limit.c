/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "limit.h"

#include <stdlib.h>
#include <string.h>

#include "limit_table.h"

#define MILLI	    1000
#define HOUR_MS	    3600000
#define NAME_MAX_BYTES 512 /* longer than any address or login */
#define PERIODS_MAX (1u << 20) /* pay off any debt, and cannot overflow */

struct limit {
	struct limit_table *table;
	uint32_t sessions;
};

int limit_memfd(void)
{
	return limit_table_memfd(LIMIT_ENTRIES_MAX);
}

struct limit *limit_new(size_t entries_max, int fd, uint64_t now_ms)
{
	struct limit *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->table =
	    limit_table_new(entries_max ? entries_max : LIMIT_ENTRIES_MAX, fd, now_ms);
	if (l->table)
		return l;
	free(l);
	return NULL;
}

void limit_free(struct limit *l)
{
	if (l)
		limit_table_free(l->table);
	free(l);
}

/* A bucket of @burst that gets @per in each @period_ms, as it is now. */
static void refill(struct limit_bucket *b, uint32_t burst, uint32_t per, uint64_t period_ms,
		   uint64_t now_ms)
{
	uint64_t gone = now_ms > b->filled_ms ? now_ms - b->filled_ms : 0;
	int64_t full = (int64_t)burst * MILLI;

	if (gone > period_ms * (burst / per + 1)) {
		uint64_t times = gone / period_ms; /* a debt may be more than one bucket */

		b->tokens_milli +=
		    (int64_t)((times < PERIODS_MAX ? times : PERIODS_MAX) * per * MILLI);
		b->filled_ms = now_ms;
	} else {
		uint64_t add = gone * per * MILLI / period_ms;

		b->tokens_milli += (int64_t)add;
		b->filled_ms += add * period_ms / (per * (uint64_t)MILLI); /* the rest counts on */
	}
	if (b->tokens_milli > full)
		b->tokens_milli = full;
}

/* Take one token of it. */
static bool take(struct limit_bucket *b, uint32_t burst, uint32_t per, uint64_t period_ms,
		 uint64_t now_ms)
{
	refill(b, burst, per, period_ms, now_ms);
	if (b->tokens_milli < MILLI)
		return false;
	b->tokens_milli -= MILLI;
	return true;
}

/* ---- prefixes ---- */

static const uint8_t *bits_key(enum limit_kind kind, const struct addr *a, unsigned bits,
			       uint8_t key[static LIMIT_KEY_LEN])
{
	struct prefix p = prefix_of(a, bits);

	memset(key, 0, LIMIT_KEY_LEN);
	key[0] = (uint8_t)kind;
	key[1] = p.addr.family;
	memcpy(key + 2, p.addr.b, 16);
	key[18] = (uint8_t)bits;
	return key;
}

static const uint8_t *prefix_key(enum limit_kind kind, const struct addr *a,
				 uint8_t key[static LIMIT_KEY_LEN])
{
	return bits_key(kind, a, a->family == AF_INET ? LIMIT_V4_BITS : LIMIT_V6_BITS, key);
}

enum limit_verdict limit_open(struct limit *l, const struct limit_conf *c, const struct addr *a,
			      uint64_t now_ms)
{
	uint32_t burst = c->burst ? c->burst : LIMIT_BURST;
	uint8_t key[LIMIT_KEY_LEN];
	struct limit_entry *e;

	if (c->sessions_max && l->sessions >= c->sessions_max)
		return LIMIT_TOTAL;
	e = limit_table_get(l->table, prefix_key(LIMIT_DOOR, a, key), burst, now_ms);
	if (!e)
		return LIMIT_TOTAL;
	if (c->sessions_per_prefix && e->sessions >= c->sessions_per_prefix)
		return LIMIT_PREFIX;
	if (c->per_minute && !take(e->b, burst, c->per_minute, 60000, now_ms))
		return LIMIT_RATE;
	e->sessions++;
	l->sessions++;
	return LIMIT_OK;
}

void limit_close(struct limit *l, const struct addr *a, uint64_t now_ms)
{
	uint8_t key[LIMIT_KEY_LEN];
	struct limit_entry *e = limit_table_find(l->table, prefix_key(LIMIT_DOOR, a, key));

	(void)now_ms;
	if (e && e->sessions) {
		e->sessions--;
		l->sessions--;
	}
}

uint32_t limit_sessions(const struct limit *l)
{
	return l->sessions;
}

/* ---- names ---- */

#define NAME_LEN (LIMIT_KEY_LEN - 1 - sizeof(uint64_t))

/* How it begins, and the sum of all of it, which nobody outside can choose. */
static const uint8_t *name_key(const struct limit *l, uint8_t kind, const char *name,
			       uint8_t key[static LIMIT_KEY_LEN])
{
	char lower[NAME_MAX_BYTES];
	size_t len = strlen(name);
	uint64_t sum;

	if (len > sizeof(lower))
		len = sizeof(lower);
	for (size_t i = 0; i < len; i++)
		lower[i] = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] + 'a' - 'A') : name[i];
	sum = limit_table_sum(l->table, lower, len);
	memset(key, 0, LIMIT_KEY_LEN);
	key[0] = kind;
	memcpy(key + 1, lower, len < NAME_LEN ? len : NAME_LEN);
	memcpy(key + LIMIT_KEY_LEN - sizeof(sum), &sum, sizeof(sum));
	return key;
}

bool limit_letters(struct limit *l, enum limit_what what, const char *name, uint32_t per_hour,
		   uint64_t now_ms)
{
	uint8_t key[LIMIT_KEY_LEN];
	struct limit_entry *e;

	if (!per_hour)
		return true;
	e = limit_table_get(l->table, name_key(l, (uint8_t)what, name, key), per_hour, now_ms);
	return e && take(e->b, per_hour, per_hour, HOUR_MS, now_ms);
}

#define KIB 1024

uint32_t limit_kib(uint64_t bytes)
{
	uint32_t kib = bytes / KIB > UINT32_MAX / 4 ? UINT32_MAX / 4 : (uint32_t)(bytes / KIB);

	return kib ? kib : 1;
}

uint32_t limit_left(struct limit *l, enum limit_what what, const char *name, uint32_t per_hour,
		    uint64_t now_ms)
{
	uint8_t key[LIMIT_KEY_LEN];
	struct limit_entry *e = limit_table_find(l->table, name_key(l, (uint8_t)what, name, key));
	struct limit_bucket b;

	if (!e || !per_hour)
		return per_hour;
	b = *e->b;
	refill(&b, per_hour, per_hour, HOUR_MS, now_ms);
	return b.tokens_milli > 0 ? (uint32_t)(b.tokens_milli / MILLI) : 0;
}

static uint8_t bytes_kind(enum limit_what what)
{
	switch (what) {
	case LIMIT_LOGIN:
		return LIMIT_LOGIN_BYTES;
	case LIMIT_RECIPIENT:
		return LIMIT_RECIPIENT_BYTES;
	default:
		return LIMIT_SENDER_BYTES;
	}
}

/* The bucket of the bytes of a sender or a recipient, in KiB: what 32 bits of tokens count up to 4 TiB. */
static struct limit_bucket *bytes_of(struct limit *l, enum limit_what what, const char *name,
				     uint64_t per_hour, uint64_t now_ms, uint32_t *full)
{
	uint8_t key[LIMIT_KEY_LEN];
	struct limit_entry *e;

	*full = limit_kib(per_hour);
	e = limit_table_get(l->table, name_key(l, bytes_kind(what), name, key), *full, now_ms);
	if (!e)
		return NULL;
	refill(e->b, *full, *full, HOUR_MS, now_ms);
	return e->b;
}

bool limit_room(struct limit *l, enum limit_what what, const char *name, uint64_t bytes,
		uint64_t per_hour, uint64_t now_ms)
{
	uint32_t full;
	struct limit_bucket *b = per_hour ? bytes_of(l, what, name, per_hour, now_ms, &full) : NULL;
	uint64_t want = bytes / KIB ? bytes / KIB : 1;

	if (!per_hour)
		return true;
	if (b && want > full)
		want = full;
	return b && b->tokens_milli >= (int64_t)want * MILLI;
}

void limit_bytes(struct limit *l, enum limit_what what, const char *name, uint64_t bytes,
		 uint64_t per_hour, uint64_t now_ms)
{
	uint32_t full;
	struct limit_bucket *b = per_hour ? bytes_of(l, what, name, per_hour, now_ms, &full) : NULL;

	if (!b)
		return;
	b->tokens_milli -= (int64_t)(bytes / KIB + 1) * MILLI;
	if (what != LIMIT_LOGIN && b->tokens_milli < -(int64_t)full * MILLI)
		b->tokens_milli = -(int64_t)full * MILLI;
}

/* ---- wrong passwords ---- */

/* The keys of failures that @a stands in, narrowest first, and how many each has in an hour. */
static size_t failure_keys(const struct addr *a, uint32_t per_hour, uint8_t key[2][LIMIT_KEY_LEN],
			   uint32_t max[static 2])
{
	prefix_key(LIMIT_FAILURES, a, key[0]);
	max[0] = per_hour;
	if (a->family == AF_INET)
		return 1;
	bits_key(LIMIT_FAILURES, a, LIMIT_SITE_BITS, key[1]);
	max[1] =
	    per_hour > UINT32_MAX / LIMIT_SITE_TIMES ? UINT32_MAX : per_hour * LIMIT_SITE_TIMES;
	return 2;
}

bool limit_may_try(struct limit *l, const struct addr *a, uint32_t per_hour, uint64_t now_ms)
{
	uint8_t key[2][LIMIT_KEY_LEN];
	uint32_t max[2];
	size_t n = per_hour ? failure_keys(a, per_hour, key, max) : 0;

	for (size_t i = 0; i < n; i++) {
		struct limit_entry *e = limit_table_find(l->table, key[i]);

		if (!e)
			continue;
		refill(e->b, max[i], max[i], HOUR_MS, now_ms);
		if (e->b->tokens_milli < MILLI)
			return false;
	}
	return true;
}

uint32_t limit_failed(struct limit *l, const struct addr *a, uint32_t per_hour, uint64_t now_ms)
{
	uint8_t key[2][LIMIT_KEY_LEN];
	uint32_t max[2], failed = per_hour;
	size_t n = per_hour ? failure_keys(a, per_hour, key, max) : 0;

	for (size_t i = 0; i < n; i++) {
		struct limit_entry *e = limit_table_get(l->table, key[i], max[i], now_ms);

		if (!e)
			continue;
		refill(e->b, max[i], max[i], HOUR_MS, now_ms);
		e->b->tokens_milli -= e->b->tokens_milli < MILLI ? e->b->tokens_milli : MILLI;
		if (!i)
			failed = per_hour - (uint32_t)(e->b->tokens_milli / MILLI);
	}
	return failed;
}
