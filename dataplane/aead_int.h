/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DATAPLANE_AEAD_INT_H
#define DATAPLANE_AEAD_INT_H

/* What a backend of aead.c gives. A context begins with struct aead and belongs to its backend. */

#include "aead.h"

struct aead_ops {
	/* "OpenSSL 3.0.15"; NULL: it cannot be had here. Called first; prepares what is global. */
	const char *(*name)(void);
	/* NULL when the cipher cannot be had. @key without the salt. */
	struct aead *(*new_ctx)(enum dp_cipher c, const uint8_t *key, int seal);
	void (*free_ctx)(struct aead *a); /* wipes */
	int (*seal)(struct aead *a, const uint8_t *nonce, const uint8_t *aad, size_t aad_len,
		    const uint8_t *in, size_t len, uint8_t *out);
	int (*open)(struct aead *a, const uint8_t *nonce, const uint8_t *aad, size_t aad_len,
		    uint8_t *text, size_t len);
};

struct aead {
	const struct aead_ops *ops;
};

extern const struct aead_ops aead_openssl;
#ifdef HAVE_IPSEC_MB
extern const struct aead_ops aead_ipsec_mb;
#endif

#endif
