/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>

#include "hex.h"
#include "ike_aead.h"
#include "vectors/ike_kdf.h"

static const struct ike_suite suites[] = {
	{ .encr = ENCR_AES_GCM_16, .encr_bits = 128 },
	{ .encr = ENCR_AES_GCM_16, .encr_bits = 256 },
	{ .encr = ENCR_CHACHA20_POLY1305 },
	{ .encr = ENCR_AES_CBC, .encr_bits = 128, .integ = AUTH_HMAC_SHA2_256_128 },
	{ .encr = ENCR_AES_CBC, .encr_bits = 256, .integ = AUTH_HMAC_SHA2_384_192 },
	{ .encr = ENCR_AES_CBC, .encr_bits = 256, .integ = AUTH_HMAC_SHA2_512_256 },
};
#define SUITES (sizeof(suites) / sizeof(suites[0]))

static struct ike_aead *make(const struct ike_suite *s)
{
	struct encr_info e;
	struct integ_info i;
	struct secret sk_e = { 0 }, sk_a = { 0 };
	struct ike_aead *a;

	assert_int_equal(encr_info(s->encr, s->encr_bits, &e), 0);
	assert_int_equal(integ_info(s->integ, &i), 0);
	assert_int_equal(secret_alloc(&sk_e, (size_t)e.key_len + e.salt_len), 0);
	assert_int_equal(secret_alloc(&sk_a, i.key_len), 0);
	memset(sk_e.data, 0x5a, sk_e.len);
	assert_int_equal(ike_aead_new(s, &sk_e, &sk_a, &a), 0);
	secret_clear(&sk_e);
	secret_clear(&sk_a);
	return a;
}

static void rfc_7634_appendix_b_message_opens(void **state)
{
	struct hex key = hex("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f"
			     "a0a1a2a3");
	struct hex msg = hex("c0c1c2c3c4c5c6c7d0d1d2d3d4d5d6d72e202500000000090000004529000029"
			     "1011121314151617"
			     "610394701f8d017f7c129248896b71bfe25236efd7cdc67066906315b2");
	struct secret sk_e = { key.b, key.len }, none = { 0 };
	struct ike_aead *a;
	uint8_t out[64];
	size_t len;

	(void)state;
	assert_int_equal(ike_aead_new(&suites[2], &sk_e, &none, &a), 0);
	assert_int_equal(ike_aead_open(a, msg.b, 32, msg.len, out, sizeof(out), &len), 0);
	/* N(SET_WINDOW_SIZE, 10) and the pad length */
	assert_hex(out, len, "0000000c000040010000000a00");
	ike_aead_free(a);
}

static void messages_of_another_implementation_open(void **state)
{
	struct hex key = hex(SK_GCM128_KEY), msg = hex(SK_GCM128), inner = hex(SK_INNER);
	struct hex ckey = hex(SK_CBC256_KEY), cauth = hex(SK_CBC256_AUTH), cmsg = hex(SK_CBC256);
	struct secret sk_e = { key.b, key.len }, none = { 0 };
	struct secret sk_ce = { ckey.b, ckey.len }, sk_ca = { cauth.b, cauth.len };
	struct ike_aead *a;
	uint8_t out[64];
	size_t len;

	(void)state;
	assert_int_equal(ike_aead_new(&suites[0], &sk_e, &none, &a), 0);
	assert_int_equal(ike_aead_open(a, msg.b, 32, msg.len, out, sizeof(out), &len), 0);
	assert_int_equal(len, inner.len + 1);
	assert_memory_equal(out, inner.b, inner.len);
	ike_aead_free(a);
	assert_int_equal(ike_aead_new(&suites[4], &sk_ce, &sk_ca, &a), 0);
	assert_int_equal(ike_aead_open(a, cmsg.b, 32, cmsg.len, out, sizeof(out), &len), 0);
	assert_int_equal(len, 32);
	assert_memory_equal(out, inner.b, inner.len);
	ike_aead_free(a);
}

static void sealed_bytes_open_and_any_changed_byte_does_not(void **state)
{
	(void)state;
	for (size_t i = 0; i < SUITES; i++) {
		struct ike_aead *a = make(&suites[i]);
		size_t iv = ike_aead_iv_len(a), icv = ike_aead_icv_len(a), len = 48, got;
		uint8_t buf[256] = { 0 }, out[256];
		size_t total = 32 + iv + len + icv;

		memset(buf + 32 + iv, 0x77, len);
		assert_int_equal(ike_aead_seal(a, buf, 32, len), 0);
		assert_int_equal(ike_aead_open(a, buf, 32, total, out, len, &got), 0);
		assert_int_equal(got, len);
		for (size_t k = 0; k < len; k++)
			assert_int_equal(out[k], 0x77);
		for (size_t k = 0; k < total; k++) {
			buf[k] ^= 1;
			assert_int_equal(ike_aead_open(a, buf, 32, total, out, len, &got),
					 -EKEYREJECTED);
			assert_int_equal(out[0], 0);
			buf[k] ^= 1;
		}
		for (size_t n = 32; n < total; n++)
			assert_true(ike_aead_open(a, buf, 32, n, out, len, &got) < 0);
		assert_int_equal(ike_aead_open(a, buf, 32, total, out, len - 1, &got), -EMSGSIZE);
		ike_aead_free(a);
	}
}

static void no_iv_is_used_twice(void **state)
{
	(void)state;
	for (size_t i = 0; i < SUITES; i++) {
		struct ike_aead *a = make(&suites[i]);
		uint8_t one[128] = { 0 }, two[128] = { 0 };

		assert_int_equal(ike_aead_seal(a, one, 4, 16), 0);
		assert_int_equal(ike_aead_seal(a, two, 4, 16), 0);
		assert_memory_not_equal(one + 4, two + 4, ike_aead_iv_len(a));
		ike_aead_free(a);
	}
}

static void cbc_refuses_what_is_not_a_whole_block(void **state)
{
	struct ike_aead *a = make(&suites[3]);
	uint8_t buf[128] = { 0 };

	(void)state;
	assert_int_equal(ike_aead_block(a), 16);
	assert_int_equal(ike_aead_seal(a, buf, 4, 15), -EINVAL);
	ike_aead_free(a);
}

static void keys_and_suites_are_checked(void **state)
{
	struct ike_suite odd = { .encr = ENCR_AES_GCM_16, .encr_bits = 192 };
	struct ike_suite both = { .encr = ENCR_AES_GCM_16,
				  .encr_bits = 128,
				  .integ = AUTH_HMAC_SHA2_256_128 };
	struct ike_suite none = { .encr = ENCR_AES_CBC, .encr_bits = 128 };
	uint8_t k[64] = { 0 };
	struct secret e = { k, 20 }, short_e = { k, 16 }, empty = { 0 }, i = { k, 32 };
	struct ike_aead *a;

	(void)state;
	assert_int_equal(ike_aead_new(&odd, &e, &empty, &a), -ENOTSUP);
	assert_int_equal(ike_aead_new(&both, &e, &i, &a), -ENOTSUP);
	assert_int_equal(ike_aead_new(&none, &short_e, &empty, &a), -ENOTSUP);
	assert_int_equal(ike_aead_new(&suites[0], &short_e, &empty, &a), -EINVAL);
	assert_int_equal(ike_aead_new(&suites[0], &e, &i, &a), -EINVAL);
	assert_null(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc_7634_appendix_b_message_opens),
		cmocka_unit_test(messages_of_another_implementation_open),
		cmocka_unit_test(sealed_bytes_open_and_any_changed_byte_does_not),
		cmocka_unit_test(no_iv_is_used_twice),
		cmocka_unit_test(cbc_refuses_what_is_not_a_whole_block),
		cmocka_unit_test(keys_and_suites_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
