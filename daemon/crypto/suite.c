/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "suite.h"

#include <errno.h>

static const struct {
	uint16_t id;
	uint16_t bits; /* Key Length attribute */
	struct encr_info info;
} ciphers[] = {
	{ ENCR_AES_GCM_16, 128, { .key_len = 16, 4, 8, 16, 1, true } },
	{ ENCR_AES_GCM_16, 256, { .key_len = 32, 4, 8, 16, 1, true } },
	{ ENCR_CHACHA20_POLY1305, 0, { .key_len = 32, 4, 8, 16, 1, true } },
	{ ENCR_AES_CBC, 128, { .key_len = 16, 0, 16, 0, 16, false } },
	{ ENCR_AES_CBC, 256, { .key_len = 32, 0, 16, 0, 16, false } },
};

int encr_info(uint16_t encr, uint16_t bits, struct encr_info *info)
{
	*info = (struct encr_info){ 0 };
	for (size_t i = 0; i < sizeof(ciphers) / sizeof(ciphers[0]); i++) {
		if (ciphers[i].id != encr || ciphers[i].bits != bits)
			continue;
		*info = ciphers[i].info;
		return 0;
	}
	return -ENOTSUP;
}

int integ_info(uint16_t integ, struct integ_info *info)
{
	*info = (struct integ_info){ 0 };
	switch (integ) {
	case INTEG_NONE:
		return 0;
	case AUTH_HMAC_SHA2_256_128:
		*info = (struct integ_info){ 32, 16 };
		return 0;
	case AUTH_HMAC_SHA2_384_192:
		*info = (struct integ_info){ 48, 24 };
		return 0;
	case AUTH_HMAC_SHA2_512_256:
		*info = (struct integ_info){ 64, 32 };
		return 0;
	default:
		return -ENOTSUP;
	}
}

size_t prf_len(uint16_t prf)
{
	switch (prf) {
	case PRF_HMAC_SHA2_256:
		return 32;
	case PRF_HMAC_SHA2_384:
		return 48;
	case PRF_HMAC_SHA2_512:
		return 64;
	default:
		return 0;
	}
}
