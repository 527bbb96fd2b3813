/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fragment.h"

#include <errno.h>
#include <stdlib.h>

#include "secret.h"
#include "sk_int.h"

static bool same_message(const struct frag_set *s, const struct ike_msg *m)
{
	return s->active && s->id == m->hdr.id && s->exchange == m->hdr.exchange &&
	       s->response == ike_hdr_is_response(&m->hdr);
}

int frag_check(const struct frag_set *s, const struct ike_msg *m)
{
	uint16_t n = m->sk.frag_number, total = m->sk.frag_total;

	if (m->sk.type != PLD_SKF || !n || n > total || total > FRAGS_MAX)
		return -EPROTO;
	/*
	 * Next Payload is that of the first inner payload in fragment 1, zero in the others (RFC 7383
	 * s2.5). An empty message has no reason to be fragmented.
	 */
	if ((n == 1) != (m->sk.first != PLD_NONE))
		return -EPROTO;
	if (!same_message(s, m) || total > s->total)
		return 0;
	if (total < s->total)
		return -ESTALE;
	return s->frag[n - 1].p ? -EEXIST : 0;
}

void frag_clear(struct frag_set *s)
{
	for (unsigned i = 0; i < FRAGS_MAX; i++) {
		if (s->frag[i].p) {
			secret_wipe(s->frag[i].p, s->frag[i].len);
			free(s->frag[i].p);
		}
	}
	if (s->pool)
		*s->pool -= s->bytes;
	*s = (struct frag_set){ .max = s->max, .pool = s->pool, .pool_max = s->pool_max };
}

bool frag_expire(struct frag_set *s, uint64_t now_ms)
{
	if (!s->active || now_ms - s->since_ms < FRAG_TIMEOUT_MS)
		return false;
	frag_clear(s);
	return true;
}

int frag_add(struct frag_set *s, const struct ike_msg *m, const void *plain, size_t len,
	     uint64_t now_ms)
{
	unsigned i = m->sk.frag_number - 1u;
	size_t max = s->max ? s->max : FRAG_BYTES_MAX;
	uint8_t *copy;
	int rc;

	frag_expire(s, now_ms);
	rc = frag_check(s, m);
	if (rc)
		return rc;
	if (!len)
		return -EPROTO;
	if (!same_message(s, m) || m->sk.frag_total > s->total)
		frag_clear(s);
	if (len > max || s->bytes > max - len) {
		frag_clear(s);
		return -EMSGSIZE;
	}
	if (s->pool && (*s->pool > s->pool_max || len > s->pool_max - *s->pool))
		return -ENOBUFS;
	copy = malloc(len);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, plain, len);
	if (!s->active) {
		s->active = true;
		s->id = m->hdr.id;
		s->exchange = m->hdr.exchange;
		s->response = ike_hdr_is_response(&m->hdr);
		s->total = m->sk.frag_total;
		s->since_ms = now_ms;
	}
	if (m->sk.frag_number == 1)
		s->first = m->sk.first;
	s->frag[i].p = copy;
	s->frag[i].len = (uint16_t)len;
	s->bytes += len;
	if (s->pool)
		*s->pool += len;
	return ++s->have == s->total;
}

int frag_join(struct frag_set *s, uint8_t *out, size_t cap, size_t *len, uint8_t *first)
{
	struct wr w = wr_init(out, cap);
	int rc;

	*len = 0;
	*first = s->first;
	if (!s->active || s->have != s->total)
		return -EAGAIN;
	for (unsigned i = 0; i < s->total; i++)
		wr_bytes(&w, s->frag[i].p, s->frag[i].len);
	rc = wr_finish(&w, len);
	frag_clear(s);
	return rc;
}

int frag_plan(const struct ike_aead *a, size_t inner_len, size_t max_msg, struct frag_plan *out)
{
	size_t fixed = SKF_HDR_LEN + ike_aead_iv_len(a) + ike_aead_icv_len(a);
	size_t block = ike_aead_block(a), room, total;

	*out = (struct frag_plan){ 0 };
	if (max_msg < fixed + block + 1)
		return -EMSGSIZE;
	room = (max_msg - fixed) / block * block; /* chunk, padding, pad length */
	if (room < 2)
		return -EMSGSIZE;
	total = (inner_len + room - 2) / (room - 1);
	if (!total || total > FRAGS_MAX || inner_len > FRAG_BYTES_MAX)
		return -EMSGSIZE;
	out->chunk = room - 1;
	out->total = (uint16_t)total;
	return 0;
}

int skf_seal(struct ike_aead *a, const struct ike_hdr *h, const struct frag_plan *plan,
	     uint16_t number, uint8_t first, const void *inner, size_t inner_len, uint8_t *out,
	     size_t cap, size_t *len)
{
	struct wr w = wr_init(out, cap);
	struct ike_hdr fresh = *h;
	size_t at, take;

	*len = 0;
	if (!number || number > plan->total || !plan->chunk)
		return -EINVAL;
	at = (size_t)(number - 1) * plan->chunk;
	if (at >= inner_len)
		return -EINVAL;
	take = inner_len - at < plan->chunk ? inner_len - at : plan->chunk;
	fresh.next = PLD_SKF;
	fresh.length = 0;
	ike_hdr_build(&w, &fresh);
	wr_u8(&w, number == 1 ? first : PLD_NONE);
	wr_u8(&w, 0);
	wr_be16(&w, 0);
	wr_be16(&w, number);
	wr_be16(&w, plan->total);
	return sk_seal_body(a, &w, (const uint8_t *)inner + at, take, len);
}
