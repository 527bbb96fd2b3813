/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CRYPTO_DIGEST_H
#define CRYPTO_DIGEST_H

#include "addr.h"
#include "suite.h"

#define SHA1_LEN   20
#define SHA256_LEN 32

/*
 * SHA-1 stands here for two things only, both not signatures and both fixed by RFC 7296: NAT
 * detection hashes (s2.23) and the key identifiers in CERTREQ (s3.7).
 */
int digest_sha1(const struct span *parts, size_t count, uint8_t out[static SHA1_LEN]);
int digest_sha256(const struct span *parts, size_t count, uint8_t out[static SHA256_LEN]);

/** nat_detection_hash() - SHA-1(SPIi | SPIr | IP | port), RFC 7296 s2.23; 0 or -EIO. */
int nat_detection_hash(uint64_t spi_i, uint64_t spi_r, const struct endpoint *e,
		       uint8_t out[static SHA1_LEN]);

/** ike_spi_random() - An IKE SPI, never 0; 0 means that the generator failed. */
uint64_t ike_spi_random(void);

#endif
