/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "envelope.h"

#include <ctype.h>
#include <stdlib.h>

#include "secret.h"

/* Never renumber: these lie on disks. */
enum tag {
	TAG_ID = 1,
	TAG_FLAGS = 2,
	TAG_RECEIVED = 3,
	TAG_AGE = 4,
	TAG_CLIENT = 5,
	TAG_ORIGIN = 6,
	TAG_HELO = 7,
	TAG_TLS = 8,
	TAG_AUTH_USER = 9,
	TAG_LISTENER = 10,
	TAG_PEER = 11,
	TAG_SENDER = 12,
	TAG_ENVID = 13,
	TAG_SIZE = 14,
	TAG_HOPS = 15,
	TAG_PEER_ID = 16,
	TAG_PEER_SEQ = 17,
	TAG_PEER_LOW = 18,
	TAG_RCPT = 19,
	TAG_MOVES = 20,
	TAG_PROBE = 21,
	TAG_KNOWN = TAG_PROBE,
};

enum rcpt_tag {
	RTAG_ADDR = 1,
	RTAG_ORCPT = 2,
	RTAG_LAST = 3,
	RTAG_NOTIFY = 4,
	RTAG_STATE = 5,
	RTAG_ATTEMPTS = 6,
	RTAG_KNOWN = RTAG_ATTEMPTS,
};

#define TLV_HDR 6

int envelope_new_id(uint8_t id[static LETTER_ID_LEN])
{
	return secret_random(id, LETTER_ID_LEN);
}

const char *letter_id_str(const uint8_t id[static LETTER_ID_LEN],
			  char out[static LETTER_ID_STR_MAX])
{
	static const char hex[] = "0123456789abcdef";

	for (size_t i = 0; i < LETTER_ID_LEN; i++) {
		out[2 * i] = hex[id[i] >> 4];
		out[2 * i + 1] = hex[id[i] & 15];
	}
	out[2 * LETTER_ID_LEN] = 0;
	return out;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int letter_id_parse(const char *s, uint8_t id[static LETTER_ID_LEN])
{
	uint8_t out[LETTER_ID_LEN];

	for (size_t i = 0; i < LETTER_ID_LEN; i++) {
		int hi = hex_digit(s[2 * i]);
		int lo = hi < 0 ? -1 : hex_digit(s[2 * i + 1]);

		if (lo < 0)
			return -EINVAL;
		out[i] = (uint8_t)(hi << 4 | lo);
	}
	if (s[2 * LETTER_ID_LEN])
		return -EINVAL;
	memcpy(id, out, sizeof(out));
	return 0;
}

/* --- writing --- */

static void put_hdr(struct wr *w, uint16_t tag, size_t len)
{
	wr_be16(w, tag);
	wr_be32(w, (uint32_t)len);
}

static void put_text(struct wr *w, uint16_t tag, const char *s, size_t max)
{
	size_t len;

	if (!s)
		return;
	len = strlen(s);
	if (len > max || strpbrk(s, "\r\n")) {
		w->bad = true;
		return;
	}
	put_hdr(w, tag, len + 1);
	wr_bytes(w, s, len + 1);
}

static void put_u64(struct wr *w, uint16_t tag, uint64_t v)
{
	put_hdr(w, tag, 8);
	wr_be64(w, v);
}

static void put_endpoint(struct wr *w, uint16_t tag, const struct endpoint *e)
{
	size_t n = addr_len(&e->addr);

	if (!n)
		return;
	put_hdr(w, tag, 2 + n);
	wr_be16(w, e->port);
	wr_bytes(w, e->addr.b, n);
}

static size_t text_bytes(const char *s)
{
	return s ? TLV_HDR + strlen(s) + 1 : 0;
}

size_t envelope_rcpt_bytes(const struct env_rcpt *r)
{
	size_t n = TLV_HDR + text_bytes(r->addr) + text_bytes(r->orcpt) + text_bytes(r->last);

	n += r->notify ? TLV_HDR + 1 : 0;
	n += r->state ? TLV_HDR + 1 : 0;
	n += r->attempts ? TLV_HDR + 2 : 0;
	return n;
}

size_t envelope_base_bytes(const struct envelope *e)
{
	size_t n = 512; /* more than all the fixed-size ones together */

	n += text_bytes(e->helo) + text_bytes(e->tls) + text_bytes(e->auth_user);
	n += text_bytes(e->listener) + text_bytes(e->peer) + text_bytes(e->sender);
	n += text_bytes(e->envid);
	for (size_t i = 0; i < e->unknown_count; i++)
		n += TLV_HDR + e->unknown[i].len;
	return n;
}

static void put_rcpt(struct wr *w, const struct env_rcpt *r)
{
	if (!r->addr || r->state >= RCPT_STATES) {
		w->bad = true;
		return;
	}
	put_hdr(w, TAG_RCPT, envelope_rcpt_bytes(r) - TLV_HDR);
	put_text(w, RTAG_ADDR, r->addr, ENVELOPE_PATH_MAX);
	put_text(w, RTAG_ORCPT, r->orcpt, ENVELOPE_PATH_MAX);
	put_text(w, RTAG_LAST, r->last, ENVELOPE_TEXT_MAX);
	if (r->notify) {
		put_hdr(w, RTAG_NOTIFY, 1);
		wr_u8(w, r->notify);
	}
	if (r->state) {
		put_hdr(w, RTAG_STATE, 1);
		wr_u8(w, r->state);
	}
	if (r->attempts) {
		put_hdr(w, RTAG_ATTEMPTS, 2);
		wr_be16(w, r->attempts);
	}
}

void envelope_build(const struct envelope *e, struct wr *w)
{
	size_t start = w->len;

	put_hdr(w, TAG_ID, LETTER_ID_LEN);
	wr_bytes(w, e->id, LETTER_ID_LEN);
	put_hdr(w, TAG_FLAGS, 4);
	wr_be32(w, e->flags);
	put_u64(w, TAG_RECEIVED, (uint64_t)e->received_s);
	if (e->age_s)
		put_u64(w, TAG_AGE, e->age_s);
	put_endpoint(w, TAG_CLIENT, &e->client);
	put_endpoint(w, TAG_ORIGIN, &e->origin);
	put_text(w, TAG_HELO, e->helo, ENVELOPE_TEXT_MAX);
	put_text(w, TAG_TLS, e->tls, ENVELOPE_TEXT_MAX);
	put_text(w, TAG_AUTH_USER, e->auth_user, ENVELOPE_TEXT_MAX);
	put_text(w, TAG_LISTENER, e->listener, ENVELOPE_TEXT_MAX);
	put_text(w, TAG_PEER, e->peer, ENVELOPE_TEXT_MAX);
	put_text(w, TAG_SENDER, e->sender ? e->sender : "", ENVELOPE_PATH_MAX);
	put_text(w, TAG_ENVID, e->envid, ENVELOPE_TEXT_MAX);
	put_u64(w, TAG_SIZE, e->size);
	put_hdr(w, TAG_HOPS, 2);
	wr_be16(w, e->hops);
	if (e->moves) {
		put_hdr(w, TAG_MOVES, 2);
		wr_be16(w, e->moves);
	}
	if (e->flags & ENV_PEER_ID) {
		put_hdr(w, TAG_PEER_ID, LETTER_ID_LEN);
		wr_bytes(w, e->peer_id, LETTER_ID_LEN);
		put_u64(w, TAG_PEER_SEQ, e->peer_seq);
		put_u64(w, TAG_PEER_LOW, e->peer_low);
	}
	if (e->flags & ENV_PROBE) {
		put_hdr(w, TAG_PROBE, LETTER_ID_LEN);
		wr_bytes(w, e->probe, LETTER_ID_LEN);
	}
	for (size_t i = 0; i < e->rcpt_count; i++)
		put_rcpt(w, &e->rcpt[i]);
	for (size_t i = 0; i < e->unknown_count; i++) {
		put_hdr(w, e->unknown[i].tag, e->unknown[i].len);
		wr_bytes(w, e->unknown[i].data, e->unknown[i].len);
	}
	if (e->rcpt_count > ENVELOPE_RCPTS_MAX || w->len - start > ENVELOPE_MAX)
		w->bad = true;
}

/* --- reading --- */

static const char *get_text(struct rd *v, size_t max)
{
	size_t n = rd_left(v);
	const uint8_t *p = rd_take(v, n);

	if (!p || !n || n - 1 > max || p[n - 1] != 0 || memchr(p, 0, n - 1) || memchr(p, '\r', n) ||
	    memchr(p, '\n', n)) {
		v->bad = true;
		return NULL;
	}
	return (const char *)p;
}

static void get_endpoint(struct rd *v, struct endpoint *e)
{
	size_t n;

	e->port = rd_be16(v);
	n = rd_left(v);
	if (v->bad || addr_from_bytes(&e->addr, rd_take(v, n), n))
		v->bad = true;
}

/* Next TLV of @r; false at the end or after a fault (r->bad). */
static bool next_tlv(struct rd *r, uint16_t *tag, struct rd *v)
{
	if (!rd_left(r))
		return false;
	*tag = rd_be16(r);
	*v = rd_sub(r, rd_be32(r));
	return !r->bad;
}

static bool get_rcpt(struct rd *v, struct env_rcpt *out)
{
	uint32_t seen = 0;
	uint16_t tag;
	struct rd f;

	memset(out, 0, sizeof(*out));
	while (next_tlv(v, &tag, &f)) {
		if (tag >= 1 && tag <= RTAG_KNOWN) {
			if (seen & 1u << tag)
				return false;
			seen |= 1u << tag;
		}
		switch (tag) {
		case RTAG_ADDR:
			out->addr = get_text(&f, ENVELOPE_PATH_MAX);
			break;
		case RTAG_ORCPT:
			out->orcpt = get_text(&f, ENVELOPE_PATH_MAX);
			break;
		case RTAG_LAST:
			out->last = get_text(&f, ENVELOPE_TEXT_MAX);
			break;
		case RTAG_NOTIFY:
			out->notify = rd_u8(&f);
			break;
		case RTAG_STATE:
			out->state = rd_u8(&f);
			break;
		case RTAG_ATTEMPTS:
			out->attempts = rd_be16(&f);
			break;
		default:
			rd_skip(&f, rd_left(&f));
		}
		if (f.bad || rd_left(&f))
			return false;
	}
	return !v->bad && out->addr && out->addr[0] && out->state < RCPT_STATES;
}

/* Grows by doubling; the counts are bounded by the callers. */
static void *grow(void *array, size_t count, size_t size)
{
	if (count & (count - 1) && count)
		return array;
	if (count && count < 4)
		return array;
	return realloc(array, (count ? 2 * count : 4) * size);
}

static int add_rcpt(struct envelope *e, struct rd *v)
{
	struct env_rcpt *a;

	if (e->rcpt_count == ENVELOPE_RCPTS_MAX)
		return -EBADMSG;
	a = grow(e->rcpt, e->rcpt_count, sizeof(*a));
	if (!a)
		return -ENOMEM;
	e->rcpt = a;
	if (!get_rcpt(v, &a[e->rcpt_count]))
		return -EBADMSG;
	e->rcpt_count++;
	return 0;
}

static int add_unknown(struct envelope *e, uint16_t tag, struct rd *v)
{
	struct env_unknown *a;

	if (e->unknown_count == ENVELOPE_UNKNOWN_MAX)
		return -EBADMSG;
	a = grow(e->unknown, e->unknown_count, sizeof(*a));
	if (!a)
		return -ENOMEM;
	e->unknown = a;
	a += e->unknown_count++;
	a->tag = tag;
	a->len = (uint32_t)rd_left(v);
	a->data = rd_take(v, a->len);
	return 0;
}

static int get_field(struct envelope *e, uint16_t tag, struct rd *v)
{
	switch (tag) {
	case TAG_ID:
		rd_copy(v, e->id, LETTER_ID_LEN);
		break;
	case TAG_FLAGS:
		e->flags = rd_be32(v);
		break;
	case TAG_RECEIVED:
		e->received_s = (int64_t)rd_be64(v);
		break;
	case TAG_AGE:
		e->age_s = rd_be64(v);
		break;
	case TAG_CLIENT:
		get_endpoint(v, &e->client);
		break;
	case TAG_ORIGIN:
		get_endpoint(v, &e->origin);
		break;
	case TAG_HELO:
		e->helo = get_text(v, ENVELOPE_TEXT_MAX);
		break;
	case TAG_TLS:
		e->tls = get_text(v, ENVELOPE_TEXT_MAX);
		break;
	case TAG_AUTH_USER:
		e->auth_user = get_text(v, ENVELOPE_TEXT_MAX);
		break;
	case TAG_LISTENER:
		e->listener = get_text(v, ENVELOPE_TEXT_MAX);
		break;
	case TAG_PEER:
		e->peer = get_text(v, ENVELOPE_TEXT_MAX);
		break;
	case TAG_SENDER:
		e->sender = get_text(v, ENVELOPE_PATH_MAX);
		break;
	case TAG_ENVID:
		e->envid = get_text(v, ENVELOPE_TEXT_MAX);
		break;
	case TAG_SIZE:
		e->size = rd_be64(v);
		break;
	case TAG_HOPS:
		e->hops = rd_be16(v);
		break;
	case TAG_MOVES:
		e->moves = rd_be16(v);
		break;
	case TAG_PEER_ID:
		rd_copy(v, e->peer_id, LETTER_ID_LEN);
		break;
	case TAG_PEER_SEQ:
		e->peer_seq = rd_be64(v);
		break;
	case TAG_PEER_LOW:
		e->peer_low = rd_be64(v);
		break;
	case TAG_PROBE:
		rd_copy(v, e->probe, LETTER_ID_LEN);
		break;
	case TAG_RCPT:
		return add_rcpt(e, v);
	default:
		return add_unknown(e, tag, v);
	}
	return 0;
}

int envelope_parse(struct envelope *e, const void *buf, size_t len)
{
	const uint32_t peer_tags = 1u << TAG_PEER_ID | 1u << TAG_PEER_SEQ | 1u << TAG_PEER_LOW;
	struct rd r = rd_init(buf, len);
	uint32_t seen = 0;
	struct rd v;
	uint16_t tag;
	int rc = 0;

	memset(e, 0, sizeof(*e));
	if (len > ENVELOPE_MAX)
		return -EBADMSG;
	while (!rc && next_tlv(&r, &tag, &v)) {
		if (tag >= 1 && tag <= TAG_KNOWN && tag != TAG_RCPT) {
			if (seen & 1u << tag)
				rc = -EBADMSG;
			seen |= 1u << tag;
		}
		if (!rc)
			rc = get_field(e, tag, &v);
		if (!rc && (v.bad || rd_left(&v)))
			rc = -EBADMSG;
	}
	if (!rc && (r.bad || !(seen & 1u << TAG_ID) || !e->sender))
		rc = -EBADMSG;
	if (!rc && (seen & peer_tags) != (e->flags & ENV_PEER_ID ? peer_tags : 0))
		rc = -EBADMSG;
	if (!rc && !(seen & 1u << TAG_PROBE) != !(e->flags & ENV_PROBE))
		rc = -EBADMSG;
	if (rc)
		envelope_clear(e);
	return rc;
}

void envelope_clear(struct envelope *e)
{
	free(e->rcpt);
	free(e->unknown);
	memset(e, 0, sizeof(*e));
}
