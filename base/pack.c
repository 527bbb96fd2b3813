/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pack.h"

#include <errno.h>
#include <string.h>

#define LITERALS_MAX 128
#define NEAR_MIN     3
#define FAR_MIN	     4
#define TAIL	     0x20
#define MORE	     0x1f
#define SLOTS	     1024

struct out {
	const uint8_t *in;
	uint8_t *to;
	size_t n;
	size_t token; /* where a match begins that a single byte may be hung on; 0: none */
};

static unsigned slot(const uint8_t *p)
{
	uint32_t v = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];

	return (v * 2654435761u >> 16) % SLOTS;
}

static void literals(struct out *o, size_t from, size_t to)
{
	if (to - from == 1 && o->token) {
		o->to[o->token] |= TAIL;
		o->to[o->n++] = o->in[from];
		from++;
	}
	while (from < to) {
		size_t n = to - from < LITERALS_MAX ? to - from : LITERALS_MAX;

		o->to[o->n++] = (uint8_t)(n - 1);
		memcpy(o->to + o->n, o->in + from, n);
		o->n += n;
		from += n;
	}
}

static void match(struct out *o, size_t back, size_t len)
{
	o->token = o->n;
	if (back <= 256) {
		o->to[o->n++] = (uint8_t)(0x80 | (len - NEAR_MIN));
		o->to[o->n++] = (uint8_t)(back - 1);
	} else {
		o->to[o->n++] = (uint8_t)(0xc0 | (len - FAR_MIN));
		o->to[o->n++] = (uint8_t)((back - 1) >> 8);
		o->to[o->n++] = (uint8_t)(back - 1);
	}
}

size_t pack_bytes(const void *in, size_t len, uint8_t *out)
{
	struct out o = { .in = in, .to = out };
	uint16_t last[SLOTS]; /* where such three bytes stood last */
	size_t done = 0, at = 0;

	memset(last, 0, sizeof(last));
	while (at + NEAR_MIN <= len) {
		unsigned s = slot(o.in + at);
		size_t from = last[s], n = 0, min, max;

		last[s] = (uint16_t)at;
		min = at - from <= 256 ? NEAR_MIN : FAR_MIN;
		max = min + MORE < len - at ? min + MORE : len - at;
		while (from < at && n < max && o.in[from + n] == o.in[at + n])
			n++;
		if (n < min) {
			at++;
			continue;
		}
		literals(&o, done, at);
		match(&o, at - from, n);
		/* A list of structures continues in the middle of what just matched. */
		for (size_t i = at + 1; i < at + n && i + NEAR_MIN <= len; i++)
			last[slot(o.in + i)] = (uint16_t)i;
		at += n;
		done = at;
	}
	literals(&o, done, len);
	return o.n;
}

int pack_open(const uint8_t *in, size_t in_len, void *out, size_t len)
{
	const uint8_t *end = in + in_len;
	uint8_t *to = out;
	size_t n = 0;

	while (in < end) {
		uint8_t t = *in++;
		size_t take, back;

		if (t < 0x80) {
			take = (size_t)t + 1;
			if (take > (size_t)(end - in) || take > len - n)
				return -EBADMSG;
			memcpy(to + n, in, take);
			in += take;
			n += take;
			continue;
		}
		if (end - in < (t & 0x40 ? 2 : 1))
			return -EBADMSG;
		take = (size_t)(t & MORE) + (t & 0x40 ? FAR_MIN : NEAR_MIN);
		back = t & 0x40 ? (size_t)in[0] << 8 | in[1] : in[0];
		in += t & 0x40 ? 2 : 1;
		if (++back > n || take > len - n)
			return -EBADMSG;
		for (size_t i = 0; i < take; i++, n++)
			to[n] = to[n - back];
		if (t & TAIL) {
			if (in == end || n == len)
				return -EBADMSG;
			to[n++] = *in++;
		}
	}
	return n == len ? 0 : -EBADMSG;
}
