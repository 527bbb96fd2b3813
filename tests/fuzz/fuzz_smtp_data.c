/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A letter's bytes, read whole, byte by byte, and by a reader that is too simple to be wrong: the
 * three must agree on where the letter ends, whether it is refused, and what is stored.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct store {
	uint8_t *p;
	size_t len, cap;
};

static void sink(void *arg, const uint8_t *p, size_t len)
{
	struct store *st = arg;

	assert(len && st->len + len <= st->cap);
	memcpy(st->p + st->len, p, len);
	st->len += len;
}

static size_t run(const uint8_t *p, size_t len, size_t step, struct data *d, struct store *st)
{
	const struct data_conf conf = { .received_max = 50,
					.header.cut_authserv_id = "mx.example" };
	size_t at = 0;

	*st = (struct store){ .p = malloc(len + HEADER_HOLD_MAX + HEADER_ADD_MAX),
			      .cap = len + HEADER_HOLD_MAX };
	data_begin(d, &conf, true, sink, st);
	while (at < len && !d->ended) {
		size_t n = len - at < step ? len - at : step;

		at += data_feed(d, p + at, n);
	}
	return at;
}

/* Where CRLF.CRLF ends it (the start counts as after a CRLF); SIZE_MAX when it does not. */
static size_t true_end(const uint8_t *p, size_t len)
{
	if (len >= 3 && !memcmp(p, ".\r\n", 3))
		return 3;
	for (size_t i = 0; i + 5 <= len; i++) {
		if (!memcmp(p + i, "\r\n.\r\n", 5))
			return i + 5;
	}
	return SIZE_MAX;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	size_t end = true_end(data, len), whole, bytes;
	struct store a, b;
	struct data da, db;

	whole = run(data, len, len, &da, &a);
	bytes = run(data, len, 1, &db, &b);
	assert(whole == bytes && da.ended == db.ended && da.fault == db.fault);
	assert(da.ended == (end != SIZE_MAX) && (!da.ended || whole == end));
	if (!da.fault) {
		assert(a.len == b.len && !memcmp(a.p, b.p, a.len));
		for (size_t i = 0; i < a.len; i++) {
			assert(a.p[i]);
			assert(a.p[i] != '\n' || (i && a.p[i - 1] == '\r'));
			assert(a.p[i] != '\r' || i + 1 == a.len || a.p[i + 1] == '\n');
		}
	}
	header_clear(&da.header);
	header_clear(&db.header);
	free(a.p);
	free(b.p);
	return 0;
}
