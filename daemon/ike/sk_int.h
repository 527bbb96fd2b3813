/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef IKE_SK_INT_H
#define IKE_SK_INT_H

/* What sk.c and fragment.c share. */

#include "sk.h"

#define SK_HDR_LEN  (IKE_HDR_LEN + IKE_PLD_HDR_LEN)
#define SKF_HDR_LEN (SK_HDR_LEN + 4)

/**
 * sk_seal_body() - Finish a message whose header up to the IV @w holds: room for the IV, @inner,
 * padding, ICV, then both lengths, then the seal.
 */
int sk_seal_body(struct ike_aead *a, struct wr *w, const void *inner, size_t inner_len,
		 size_t *len);

#endif
