/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The header section of a letter: the first byte picks what is cut and added, the rest is the letter.
 * It goes in whole and in small pieces; what comes out and what was counted must be the same, and what
 * comes out is what went in but for whole fields that were cut and lines that were added.
 */
#include <stdlib.h>
#include <string.h>

#include "header.h"

#define OUT_MAX (256u << 10)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct run {
	struct header h;
	uint8_t *out;
	size_t len;
	unsigned addresses;
	int rc;
};

static void sink(void *arg, const uint8_t *p, size_t len)
{
	struct run *r = arg;

	if (len > OUT_MAX - r->len)
		abort();
	memcpy(r->out + r->len, p, len);
	r->len += len;
}

static int count(const struct address *a, void *arg)
{
	struct run *r = arg;

	if (!*a->text || strlen(a->text) > 320)
		abort();
	return ++r->addresses > 100000;
}

static void feed(struct run *r, const struct header_conf *conf, const uint8_t *p, size_t size,
		 size_t step)
{
	memset(r, 0, sizeof(*r));
	r->out = malloc(OUT_MAX);
	if (!r->out)
		abort();
	header_begin(&r->h, conf, sink, r);
	for (size_t at = 0; at < size; at += step)
		header_feed(&r->h, p + at, size - at < step ? size - at : step);
	header_end(&r->h);
	r->rc = header_from_each(&r->h, count, r);
}

/* @part can be had from @whole by leaving bytes out. */
static bool left_from(const uint8_t *part, size_t part_len, const uint8_t *whole, size_t len)
{
	size_t i = 0;

	for (size_t k = 0; k < len && i < part_len; k++)
		i += part[i] == whole[k];
	return i == part_len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct header_conf conf = { 0 };
	struct run a, b, c;

	if (!size || size > OUT_MAX / 2)
		return 0;
	conf.cut_authserv_id = data[0] & 1 ? "mx.example" : NULL;
	conf.add_date = data[0] & 2 ? "Date: now\r\n" : NULL;
	conf.add_message_id = data[0] & 4 ? "Message-ID: <1@x>\r\n" : NULL;
	data++;
	size--;
	feed(&a, &conf, data, size, size ? size : 1);
	feed(&b, &conf, data, size, 1);
	feed(&c, &conf, data, size, 7);
	if (a.len != b.len || memcmp(a.out, b.out, a.len) || a.len != c.len ||
	    memcmp(a.out, c.out, a.len))
		abort();
	if (a.h.received != b.h.received || a.h.lines != b.h.lines || a.h.bytes != b.h.bytes ||
	    a.h.from_count != b.h.from_count || a.addresses != b.addresses || a.rc != b.rc ||
	    a.rc != c.rc)
		abort();
	if (!conf.add_date && !conf.add_message_id &&
	    (!left_from(a.out, a.len, data, size) || (!conf.cut_authserv_id && a.len != size)))
		abort();
	header_clear(&a.h);
	header_clear(&b.h);
	header_clear(&c.h);
	free(a.out);
	free(b.out);
	free(c.out);
	return 0;
}
