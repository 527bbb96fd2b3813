/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

#include "hex.h"
#include "vectors/ike_kdf.h"
#include "vectors/ike_sample.h"

static uint8_t inner[70000], msg[70000], plain[70000];

static struct ike_aead *keyed(uint16_t encr, uint16_t bits, uint16_t integ, const char *e,
			      const char *a)
{
	struct ike_suite s = { .encr = encr, .encr_bits = bits, .integ = integ };
	struct hex he = hex(e), ha = hex(a);
	struct secret sk_e = { he.b, he.len }, sk_a = { ha.b, ha.len };
	struct ike_aead *aead;

	assert_int_equal(ike_aead_new(&s, &sk_e, &sk_a, &aead), 0);
	return aead;
}

static struct ike_aead *cbc(void)
{
	return keyed(ENCR_AES_CBC, 256, AUTH_HMAC_SHA2_384_192, SK_CBC256_KEY, SK_CBC256_AUTH);
}

static void opens_as(const char *text, struct ike_aead *a, const char *want)
{
	struct hex h = hex(text);
	struct ike_msg m;
	size_t len;

	assert_int_equal(ike_msg_parse(h.b, h.len, &m), 0);
	assert_int_equal(sk_open(a, &m, plain, sizeof(plain), &len), 0);
	assert_hex(plain, len, want);
	assert_int_equal(ike_msg_parse_inner(&m, m.sk.first, plain, len), 0);
	assert_non_null(ike_msg_notify(&m, INITIAL_CONTACT));
	ike_aead_free(a);
}

static void messages_of_another_implementation_open(void **state)
{
	(void)state;
	opens_as(SK_GCM128, keyed(ENCR_AES_GCM_16, 128, 0, SK_GCM128_KEY, ""), SK_INNER);
	opens_as(SKF_GCM128, keyed(ENCR_AES_GCM_16, 128, 0, SK_GCM128_KEY, ""), SK_INNER);
	opens_as(SK_CBC256, cbc(), SK_INNER); /* with more padding than needed */
}

static void rfc_7634_appendix_b(void **state)
{
	struct ike_aead *a =
	    keyed(ENCR_CHACHA20_POLY1305, 0, 0,
		  "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f"
		  "a0a1a2a3",
		  "");
	struct hex h = hex("c0c1c2c3c4c5c6c7d0d1d2d3d4d5d6d72e202500000000090000004529000029"
			   "1011121314151617"
			   "610394701f8d017f7c129248896b71bfe25236efd7cdc67066906315b2");
	struct ike_msg m;
	size_t len;

	(void)state;
	assert_int_equal(ike_msg_parse(h.b, h.len, &m), 0);
	assert_int_equal(sk_open(a, &m, plain, sizeof(plain), &len), 0);
	assert_int_equal(ike_msg_parse_inner(&m, m.sk.first, plain, len), 0);
	assert_int_equal(m.notifies[0].type, SET_WINDOW_SIZE);
	assert_hex(m.notifies[0].data, m.notifies[0].len, "0000000a");
	ike_aead_free(a);
}

static void sealed_messages_open_for_every_length(void **state)
{
	struct ike_hdr h = sample_hdr(INFORMATIONAL, IKE_FLAG_INITIATOR, 5);

	(void)state;
	for (int c = 0; c < 2; c++) {
		struct ike_aead *a = c ? cbc() : sample_aead();

		for (size_t n = 0; n < 70; n++) {
			struct ike_msg m;
			size_t len, got;

			memset(inner, 0xab, n);
			assert_int_equal(
			    sk_seal(a, &h, n ? PLD_VENDOR : 0, inner, n, msg, sizeof(msg), &len),
			    0);
			assert_true(len <= n + sk_overhead(a));
			assert_int_equal(ike_msg_parse(msg, len, &m), 0);
			assert_int_equal(m.sk.first, n ? PLD_VENDOR : 0);
			assert_int_equal(m.hdr.id, 5);
			assert_int_equal(sk_open(a, &m, plain, sizeof(plain), &got), 0);
			assert_int_equal(got, n);
			assert_memory_equal(plain, inner, n);
			for (size_t cap = 0; cap < len; cap++)
				assert_int_equal(sk_seal(a, &h, 0, inner, n, msg, cap, &got),
						 -EMSGSIZE);
		}
		ike_aead_free(a);
	}
}

static void every_changed_byte_and_every_cut_is_rejected(void **state)
{
	struct ike_hdr h = sample_hdr(IKE_AUTH, IKE_FLAG_INITIATOR, 1);
	struct ike_aead *a = sample_aead();
	struct ike_msg m;
	uint8_t first;
	size_t n = sample_inner(inner, sizeof(inner), &first), len, got;

	(void)state;
	assert_int_equal(sk_seal(a, &h, first, inner, n, msg, sizeof(msg), &len), 0);
	for (size_t i = 0; i < len; i++) {
		msg[i] ^= 0x40;
		if (!ike_msg_parse(msg, len, &m))
			assert_true(sk_open(a, &m, plain, sizeof(plain), &got) < 0);
		msg[i] ^= 0x40;
	}
	assert_int_equal(ike_msg_parse(msg, len, &m), 0);
	assert_int_equal(sk_open(a, &m, plain, n, &got), -EMSGSIZE); /* the pad length needs room */
	assert_int_equal(sk_open(a, &m, plain, n + 1, &got), 0);
	assert_int_equal(ike_msg_parse_inner(&m, m.sk.first, plain, got), 0);
	assert_int_equal(m.auth.len, 72);
	for (size_t i = 0; i < len; i++) {
		uint8_t *copy = malloc(i + 1);

		memcpy(copy, msg, i);
		if (i >=
		    IKE_HDR_LEN + 4) { /* lengths that agree, so that only the bytes are missing */
			copy[26] = (uint8_t)(i >> 8);
			copy[27] = (uint8_t)i;
			copy[30] = (uint8_t)((i - 28) >> 8);
			copy[31] = (uint8_t)(i - 28);
			assert_int_equal(ike_msg_parse(copy, i, &m), 0);
			assert_true(sk_open(a, &m, plain, sizeof(plain), &got) < 0);
		} else {
			assert_int_equal(ike_msg_parse(copy, i, &m), -EBADMSG);
		}
		free(copy);
	}
	ike_aead_free(a);
}

static void a_pad_length_beyond_the_payload_is_malformed(void **state)
{
	struct ike_aead *a = sample_aead();
	struct ike_hdr h = sample_hdr(INFORMATIONAL, 0, 2);
	uint8_t out[128];
	struct wr w = wr_init(out, sizeof(out));
	struct ike_msg m;
	size_t got;

	(void)state;
	h.next = PLD_SK;
	h.length = 28 + 4 + 8 + 2 + 16;
	ike_hdr_build(&w, &h);
	wr_be32(&w, 4 + 8 + 2 + 16);
	wr_zero(&w, 8);
	wr_be16(&w, 0x0002); /* two bytes, of which three are padding */
	wr_zero(&w, 16);
	assert_int_equal(ike_aead_seal(a, out, 32, 2), 0);
	assert_int_equal(ike_msg_parse(out, w.len, &m), 0);
	assert_int_equal(sk_open(a, &m, plain, sizeof(plain), &got), -EBADMSG);
	ike_aead_free(a);
}

static void sk_is_last_and_outer_payloads_do_not_count(void **state)
{
	/* N(INITIAL_CONTACT) in the clear before an SK payload that ends the message. */
	struct hex h = hex("0102030405060708a1a2a3a4a5a6a7a8 29202508 00000007 0000002c"
			   "2e000008 00004000 00000008 00000000");
	struct ike_msg m;

	(void)state;
	assert_int_equal(ike_msg_parse(h.b, h.len, &m), 0);
	assert_int_equal(m.sk.type, PLD_SK);
	assert_int_equal(m.sk.body_at, 40);
	assert_non_null(ike_msg_notify(&m, INITIAL_CONTACT));
	assert_int_equal(ike_msg_parse_inner(&m, 0, NULL, 0), 0);
	assert_null(ike_msg_notify(&m, INITIAL_CONTACT));
	assert_int_equal(m.sk.type, PLD_SK);
	h = hex("0102030405060708a1a2a3a4a5a6a7a8 2e202508 00000007 0000002c"
		"00000008 00000000 00000008 00004000");
	assert_int_equal(ike_msg_parse(h.b, h.len, &m), -EBADMSG);
	assert_int_equal(m.bad, PLD_SK);
}

static void too_long_for_one_payload_is_refused(void **state)
{
	struct ike_hdr h = sample_hdr(INFORMATIONAL, 0, 2);
	struct ike_aead *a = sample_aead();
	size_t len;

	(void)state;
	assert_int_equal(
	    sk_seal(a, &h, PLD_VENDOR, inner, 65535 - 4 - 8 - 1 - 16, msg, sizeof(msg), &len), 0);
	assert_int_equal(
	    sk_seal(a, &h, PLD_VENDOR, inner, 65535 - 4 - 8 - 16, msg, sizeof(msg), &len),
	    -EMSGSIZE);
	ike_aead_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_of_another_implementation_open),
		cmocka_unit_test(rfc_7634_appendix_b),
		cmocka_unit_test(sealed_messages_open_for_every_length),
		cmocka_unit_test(every_changed_byte_and_every_cut_is_rejected),
		cmocka_unit_test(a_pad_length_beyond_the_payload_is_malformed),
		cmocka_unit_test(sk_is_last_and_outer_payloads_do_not_count),
		cmocka_unit_test(too_long_for_one_payload_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
