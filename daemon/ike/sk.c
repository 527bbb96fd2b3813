/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sk.h"

#include <errno.h>

#include "sk_int.h"

/*
 *	| IKE header 28 | SK header 4 | IV | inner chain | padding | pad length 1 | ICV |
 *	|<------------ AAD ---------->|    |<------------ encrypted ------------>|
 */
size_t sk_overhead(const struct ike_aead *a)
{
	return SK_HDR_LEN + ike_aead_iv_len(a) + ike_aead_block(a) + ike_aead_icv_len(a);
}

int sk_seal_body(struct ike_aead *a, struct wr *w, const void *inner, size_t inner_len, size_t *len)
{
	size_t block = ike_aead_block(a), aad = w->len, pad, total;
	int rc;

	*len = 0;
	pad = (block - (inner_len + 1) % block) % block;
	wr_zero(w, ike_aead_iv_len(a));
	wr_bytes(w, inner, inner_len);
	wr_zero(w, pad);
	wr_u8(w, (uint8_t)pad);
	wr_zero(w, ike_aead_icv_len(a));
	rc = wr_finish(w, &total);
	if (rc)
		return rc;
	if (total - IKE_HDR_LEN > UINT16_MAX)
		return -EMSGSIZE;
	wr_patch16(w, 24, (uint16_t)(total >> 16));
	wr_patch16(w, 26, (uint16_t)total);
	wr_patch16(w, IKE_HDR_LEN + 2, (uint16_t)(total - IKE_HDR_LEN));
	rc = ike_aead_seal(a, w->base, aad, inner_len + pad + 1);
	if (!rc)
		*len = total;
	return rc;
}

int sk_seal(struct ike_aead *a, const struct ike_hdr *h, uint8_t first, const void *inner,
	    size_t inner_len, uint8_t *out, size_t cap, size_t *len)
{
	struct wr w = wr_init(out, cap);
	struct ike_hdr fresh = *h;

	fresh.next = PLD_SK;
	fresh.length = 0;
	ike_hdr_build(&w, &fresh);
	wr_u8(&w, first);
	wr_u8(&w, 0);
	wr_be16(&w, 0);
	return sk_seal_body(a, &w, inner, inner_len, len);
}

int sk_open(struct ike_aead *a, const struct ike_msg *m, uint8_t *plain, size_t cap, size_t *len)
{
	size_t n, pad;
	int rc;

	*len = 0;
	if (!m->sk.type)
		return -ENOENT;
	rc = ike_aead_open(a, m->raw.p, m->sk.body_at, m->raw.len, plain, cap, &n);
	if (rc)
		return rc;
	/* The sender may pad as it likes (s3.14); only the length byte must stay inside. */
	if (!n)
		return -EBADMSG;
	pad = (size_t)plain[n - 1] + 1;
	if (pad > n)
		return -EBADMSG;
	*len = n - pad;
	return 0;
}
