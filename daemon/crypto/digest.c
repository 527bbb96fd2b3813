/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "digest.h"

#include <errno.h>

#include "ossl.h"
#include "secret.h"
#include "wire.h"

static int digest(unsigned bits, const struct span *parts, size_t count, uint8_t *out)
{
	const EVP_MD *md = ossl_md(bits);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	int rc = -EIO;

	if (!ctx || !md || EVP_DigestInit_ex2(ctx, md, NULL) != 1)
		goto out;
	for (size_t i = 0; i < count; i++) {
		if (parts[i].len && EVP_DigestUpdate(ctx, parts[i].p, parts[i].len) != 1)
			goto out;
	}
	if (EVP_DigestFinal_ex(ctx, out, NULL) == 1)
		rc = 0;
out:
	EVP_MD_CTX_free(ctx);
	return rc;
}

int digest_sha1(const struct span *parts, size_t count, uint8_t out[static SHA1_LEN])
{
	return digest(1, parts, count, out);
}

int digest_sha256(const struct span *parts, size_t count, uint8_t out[static SHA256_LEN])
{
	return digest(256, parts, count, out);
}

int nat_detection_hash(uint64_t spi_i, uint64_t spi_r, const struct endpoint *e,
		       uint8_t out[static SHA1_LEN])
{
	uint8_t buf[8 + 8 + 16 + 2];
	struct wr w = wr_init(buf, sizeof(buf));
	struct span part;

	wr_be64(&w, spi_i);
	wr_be64(&w, spi_r);
	wr_bytes(&w, e->addr.b, addr_len(&e->addr));
	wr_be16(&w, e->port);
	part = (struct span){ buf, w.len };
	return digest_sha1(&part, 1, out);
}

uint64_t ike_spi_random(void)
{
	uint64_t spi;

	do {
		if (secret_random(&spi, sizeof(spi)))
			return 0;
	} while (!spi);
	return spi;
}
