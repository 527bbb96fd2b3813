/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A library that says yes to what was forged, as OpenSSL did for ChaCha20-Poly1305 by one of its calls. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <openssl/evp.h>

#include "aead.h"

int __real_EVP_DecryptFinal_ex(EVP_CIPHER_CTX *ctx, unsigned char *out, int *len);
int __wrap_EVP_DecryptFinal_ex(EVP_CIPHER_CTX *ctx, unsigned char *out, int *len);
static bool lies;

int __wrap_EVP_DecryptFinal_ex(EVP_CIPHER_CTX *ctx, unsigned char *out, int *len)
{
	int rc = __real_EVP_DecryptFinal_ex(ctx, out, len);

	return lies ? 1 : rc;
}

static void a_library_that_opens_what_was_forged_serves_nothing(void **state)
{
	static const uint8_t key[32];

	(void)state;
	lies = true;
	assert_int_equal(aead_choose(DP_CRYPTO_OPENSSL), 0);
	for (int c = 0; c < AEAD_COUNT; c++)
		assert_null(aead_new((enum dp_cipher)c, key, 1));
	assert_false(aead_prefers_aes());
	lies = false;
	assert_int_equal(aead_choose(DP_CRYPTO_OPENSSL), 0);
	for (int c = 0; c < AEAD_COUNT; c++) {
		struct aead *a = aead_new((enum dp_cipher)c, key, 1);

		assert_non_null(a);
		aead_free(a);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_library_that_opens_what_was_forged_serves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
