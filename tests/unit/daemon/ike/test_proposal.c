/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>

#include "hex.h"
#include "proposal_words.h"

static int parse(const char *text, struct proposals *ps)
{
	static struct hex h;

	h = hex(text);
	return sa_parse((struct span){ h.b, h.len }, ps);
}

/* Body of the SA payload that @ps makes, parsed again. */
static void through_the_wire(const struct proposals *ps, struct proposals *out)
{
	static uint8_t buf[8192];
	struct ike_build b;
	size_t len;

	ike_build_inner(&b, buf, sizeof(buf));
	sa_add(&b, ps);
	assert_int_equal(ike_build_end(&b, &len), 0);
	assert_int_equal(sa_parse((struct span){ buf + 4, len - 4 }, out), 0);
}

static struct proposals esp(uint16_t encr, uint16_t bits, uint16_t integ, int esn)
{
	struct proposals ps = { 0 };
	struct proposal *p = proposal_add(&ps, PROTO_ESP);

	transform_add(p, TRANSFORM_ENCR, encr, bits);
	if (integ != 0xffff)
		transform_add(p, TRANSFORM_INTEG, integ, 0);
	if (esn >= 0)
		transform_add(p, TRANSFORM_ESN, (uint16_t)esn, 0);
	proposals_set_spi(&ps, "\1\2\3\4", 4);
	return ps;
}

static void proposals_survive_the_wire(void **state)
{
	struct proposals ps, got;

	(void)state;
	for (int i = 0; i < 4; i++) {
		if (i < 2)
			proposals_default_ike(&ps, i);
		else
			proposals_default_esp(&ps, i, i == 3);
		if (i >= 2)
			proposals_set_spi(&ps, "\1\2\3\4", 4);
		through_the_wire(&ps, &got);
		assert_int_equal(got.count, ps.count);
		for (unsigned j = 0; j < ps.count; j++) {
			assert_null(got.p[j].bad);
			assert_int_equal(got.p[j].number, j + 1);
			assert_int_equal(got.p[j].count, ps.p[j].count);
			assert_memory_equal(got.p[j].t, ps.p[j].t,
					    ps.p[j].count * sizeof(ps.p[j].t[0]));
		}
	}
}

static void the_choice_follows_our_order(void **state)
{
	struct proposals ours, peer, wire;
	struct sa_choice c;
	char text[256];

	(void)state;
	proposals_default_ike(&ours, true);
	proposals_default_ike(&peer, false); /* ChaCha20 first */
	through_the_wire(&peer, &wire);
	ours.by_cpu = false; /* by the admin */
	assert_int_equal(sa_choose(&ours, &wire, 0, false, &c), 0);
	assert_int_equal(c.encr, ENCR_AES_GCM_16);
	assert_int_equal(c.ke, KE_CURVE25519);
	assert_int_equal(c.integ, INTEG_NONE);
	assert_string_equal(sa_choice_str(&c, text, sizeof(text)), "aes128gcm16-prfsha256-x25519");
	assert_int_equal(sa_choose(&peer, &wire, 0, false, &c), 0);
	assert_int_equal(c.encr, ENCR_CHACHA20_POLY1305);
	/* The group of the KE payload, when both have it. */
	assert_int_equal(sa_choose(&ours, &wire, KE_MODP_2048, false, &c), 0);
	assert_int_equal(c.ke, KE_MODP_2048);
	assert_int_equal(sa_choose(&ours, &wire, 2, false, &c), 0);
	assert_int_equal(c.ke, KE_CURVE25519);
}

static void who_has_no_aes_instructions_gets_chacha20(void **state)
{
	struct proposals ours, weak, strong, wire;
	struct sa_choice c;

	(void)state;
	for (int esp = 0; esp < 2; esp++) {
		if (esp) {
			proposals_default_esp(&ours, true, false);
			proposals_default_esp(&weak, false, false);
			proposals_default_esp(&strong, true, false);
			proposals_set_spi(&weak, "spi", 4);
			proposals_set_spi(&strong, "spi", 4);
		} else {
			proposals_default_ike(&ours, true);
			proposals_default_ike(&weak, false);
			proposals_default_ike(&strong, true);
		}
		through_the_wire(&weak, &wire);
		assert_int_equal(sa_choose(&ours, &wire, 0, esp, &c), 0);
		assert_int_equal(c.encr, ENCR_CHACHA20_POLY1305);
		/* Only who asks for it first. */
		through_the_wire(&strong, &wire);
		assert_int_equal(sa_choose(&ours, &wire, 0, esp, &c), 0);
		assert_int_equal(c.encr, ENCR_AES_GCM_16);
	}
}

static void a_reply_is_checked_against_the_offer(void **state)
{
	static uint8_t buf[1024];
	struct proposals ours, reply, changed;
	struct sa_choice c, again;
	struct ike_build b;
	size_t len;

	(void)state;
	proposals_default_ike(&ours, true);
	assert_int_equal(sa_choose(&ours, &ours, 0, false, &c), 0);
	ike_build_inner(&b, buf, sizeof(buf));
	sa_add_choice(&b, &c, NULL, 0);
	assert_int_equal(ike_build_end(&b, &len), 0);
	assert_int_equal(sa_parse((struct span){ buf + 4, len - 4 }, &reply), 0);
	assert_int_equal(sa_check_reply(&ours, &reply, false, &again), 0);
	assert_memory_equal(&c, &again, sizeof(c));

	changed = reply;
	changed.p[0].number = 3;
	assert_int_equal(sa_check_reply(&ours, &changed, false, &again), -EPROTO);
	changed.p[0].number = 2; /* an AEAD was not in that one */
	assert_int_equal(sa_check_reply(&ours, &changed, false, &again), -EPROTO);
	changed = reply;
	changed.count = 0;
	assert_int_equal(sa_check_reply(&ours, &changed, false, &again), -EPROTO);
	changed = reply;
	changed.p[changed.count++] = reply.p[0];
	assert_int_equal(sa_check_reply(&ours, &changed, false, &again), -EPROTO);
	changed = reply;
	transform_add(&changed.p[0], TRANSFORM_ENCR, ENCR_AES_GCM_16, 256);
	assert_int_equal(sa_check_reply(&ours, &changed, false, &again), -EPROTO);
	changed = reply;
	transform_add(&changed.p[0], TRANSFORM_INTEG, AUTH_HMAC_SHA2_256_128, 0);
	assert_int_equal(sa_check_reply(&ours, &changed, false, &again), -EPROTO);
	changed = reply;
	transform_add(&changed.p[0], TRANSFORM_INTEG, INTEG_NONE, 0);
	assert_int_equal(sa_check_reply(&ours, &changed, false, &again), 0);
	for (unsigned i = 0; i < reply.p[0].count; i++) { /* something not offered, or left out */
		changed = reply;
		changed.p[0].t[i].id = 1;
		assert_int_equal(sa_check_reply(&ours, &changed, false, &again), -EPROTO);
		changed = reply;
		changed.p[0].t[i] = changed.p[0].t[--changed.p[0].count];
		assert_int_equal(sa_check_reply(&ours, &changed, false, &again), -EPROTO);
	}
	changed = reply;
	changed.p[0].spi_len = 8;
	assert_int_equal(sa_check_reply(&ours, &changed, false, &again), -EPROTO);
}

static void aead_goes_with_no_integrity_and_cbc_with_some(void **state)
{
	struct proposals ours, peer;
	struct sa_choice c;

	(void)state;
	proposals_default_esp(&ours, true, false);
	peer = esp(ENCR_AES_GCM_16, 256, 0xffff, ESN_NO);
	assert_int_equal(sa_choose(&ours, &peer, 0, true, &c), 0);
	assert_int_equal(c.esn, ESN_NO);
	assert_memory_equal(c.spi, "\1\2\3\4", 4);
	peer = esp(ENCR_AES_GCM_16, 256, INTEG_NONE, ESN_YES);
	assert_int_equal(sa_choose(&ours, &peer, 0, true, &c), 0);
	peer = esp(ENCR_AES_GCM_16, 256, AUTH_HMAC_SHA2_256_128, ESN_NO);
	assert_int_equal(sa_choose(&ours, &peer, 0, true, &c), -ENOENT);
	peer = esp(ENCR_AES_CBC, 256, AUTH_HMAC_SHA2_512_256, ESN_NO);
	assert_int_equal(sa_choose(&ours, &peer, 0, true, &c), 0);
	assert_int_equal(c.integ, AUTH_HMAC_SHA2_512_256);
	peer = esp(ENCR_AES_CBC, 256, INTEG_NONE, ESN_NO);
	assert_int_equal(sa_choose(&ours, &peer, 0, true, &c), -ENOENT);
	peer = esp(ENCR_AES_CBC, 256, 0xffff, ESN_NO);
	assert_int_equal(sa_choose(&ours, &peer, 0, true, &c), -ENOENT);
	peer = esp(ENCR_AES_CBC, 256, 2 /* SHA1-96 */, ESN_NO);
	assert_int_equal(sa_choose(&ours, &peer, 0, true, &c), -ENOENT);
	peer = esp(ENCR_AES_GCM_16, 256, 0xffff, -1); /* ESN is mandatory */
	assert_int_equal(sa_choose(&ours, &peer, 0, true, &c), -ENOENT);
}

static void key_lengths_must_be_ours(void **state)
{
	static const uint16_t bits[] = { 0, 64, 192, 65535 };
	struct proposals ours, peer;
	struct sa_choice c;

	(void)state;
	proposals_default_esp(&ours, true, false);
	for (size_t i = 0; i < 4; i++) {
		peer = esp(ENCR_AES_GCM_16, bits[i], 0xffff, ESN_NO);
		assert_int_equal(sa_choose(&ours, &peer, 0, true, &c), -ENOENT);
		/* The good one beside it is still seen. */
		transform_add(&peer.p[0], TRANSFORM_ENCR, ENCR_AES_GCM_16, 128);
		assert_int_equal(sa_choose(&ours, &peer, 0, true, &c), 0);
		assert_int_equal(c.encr_bits, 128);
	}
	peer = esp(ENCR_CHACHA20_POLY1305, 256, 0xffff, ESN_NO);
	assert_int_equal(sa_choose(&ours, &peer, 0, true, &c), -ENOENT);
}

static void a_key_exchange_is_taken_left_or_ignored(void **state)
{
	struct proposals with, without, peer = esp(ENCR_AES_GCM_16, 128, 0xffff, ESN_NO);
	struct sa_choice c;

	(void)state;
	proposals_default_esp(&with, true, true);
	proposals_default_esp(&without, true, false);
	assert_int_equal(sa_choose(&with, &peer, 0, false, &c), 0); /* our list ends in NONE */
	assert_int_equal(c.ke, KE_NONE);
	transform_add(&peer.p[0], TRANSFORM_KE, KE_ECP_384, 0);
	assert_int_equal(sa_choose(&with, &peer, 0, false, &c), 0);
	assert_int_equal(c.ke, KE_ECP_384);
	assert_int_equal(sa_choose(&without, &peer, 0, false, &c), -ENOENT);
	assert_int_equal(sa_choose(&without, &peer, 0, true, &c), 0);
	assert_int_equal(c.ke, KE_NONE);
	transform_add(&peer.p[0], TRANSFORM_KE, KE_NONE, 0);
	assert_int_equal(sa_choose(&without, &peer, 0, false, &c), 0);
}

/* One ESP proposal, SPI 01020304: ENCR AES-GCM-16 with the given attributes, ESN 0. */
static void odd_transforms_are_of_no_use_but_no_error(void **state)
{
	static const struct {
		const char *sa;
		int choose;
	} t[] = {
		/* as it should be */
		{ "00000020 01030402 01020304 0300000c 01000014 800e0080 00000008 05000000", 0 },
		/* Key Length missing, 0, twice */
		{ "0000001c 01030402 01020304 03000008 01000014 00000008 05000000", -ENOENT },
		{ "00000020 01030402 01020304 0300000c 01000014 800e0000 00000008 05000000",
		  -ENOENT },
		{ "00000024 01030402 01020304 03000010 01000014 800e0080 800e0080 00000008 "
		  "05000000",
		  -ENOENT },
		/* unknown attribute, short and long form */
		{ "00000024 01030402 01020304 03000010 01000014 800e0080 80630001 00000008 "
		  "05000000",
		  -ENOENT },
		{ "00000026 01030402 01020304 03000012 01000014 800e0080 00630002 abcd 00000008"
		  "05000000",
		  -ENOENT },
		/* Key Length on the ESN: this one is unusable, and no other is there */
		{ "00000024 01030402 01020304 0300000c 01000014 800e0080 0000000c 05000000 "
		  "800e0080",
		  -ENOENT },
		/* unknown transform type; a PRF in ESP */
		{ "00000028 01030403 01020304 0300000c 01000014 800e0080 03000008 f0000000"
		  "00000008 05000000",
		  -ENOENT },
		{ "00000028 01030403 01020304 0300000c 01000014 800e0080 03000008 02000005"
		  "00000008 05000000",
		  -ENOENT },
		/* AH; protocol 9; SPI of 3 and of 9 bytes */
		{ "00000020 01020402 01020304 0300000c 01000014 800e0080 00000008 05000000",
		  -ENOENT },
		{ "00000020 01090402 01020304 0300000c 01000014 800e0080 00000008 05000000",
		  -ENOENT },
		{ "0000001f 01030302 010203 0300000c 01000014 800e0080 00000008 05000000",
		  -ENOENT },
		{ "00000025 01030902 010203040506070809 0300000c 01000014 800e0080 00000008 "
		  "05000000",
		  -ENOENT },
		/* reserved bytes */
		{ "00aa0020 01030402 01020304 03bb000c 01cc0014 800e0080 00dd0008 05ee0000", 0 },
	};
	struct proposals ours, got;
	struct sa_choice c;

	(void)state;
	proposals_default_esp(&ours, true, false);
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		assert_int_equal(parse(t[i].sa, &got), 0);
		assert_int_equal(sa_choose(&ours, &got, 0, true, &c), t[i].choose);
		/* An offer thrown back as if it were our own list is no way around it. */
		assert_int_equal(sa_choose(&got, &got, 0, true, &c), t[i].choose);
	}
}

static void broken_framing_is_malformed(void **state)
{
	static const char *const t[] = {
		"",
		"00000007 010304",
		"00000008 01030400", /* SPI missing */
		/* last flags: 1; "more" at the end; transform's "more" at the end; "last" before the end */
		"01000020 01030402 01020304 0300000c 01000014 800e0080 00000008 05000000",
		"02000020 01030402 01020304 0300000c 01000014 800e0080 00000008 05000000",
		"00000020 01030402 01020304 0300000c 01000014 800e0080 03000008 05000000",
		"00000020 01030402 01020304 0000000c 01000014 800e0080 00000008 05000000",
		/* counts: 1 and 3 transforms announced */
		"00000020 01030401 01020304 0300000c 01000014 800e0080 00000008 05000000",
		"00000020 01030403 01020304 0300000c 01000014 800e0080 00000008 05000000",
		/* number 0 */
		"00000020 00030402 01020304 0300000c 01000014 800e0080 00000008 05000000",
		/* lengths: transform 7, attribute cut, attribute longer than its transform */
		"00000020 01030402 01020304 03000007 01000014 800e0080 00000008 05000000",
		"0000001e 01030402 01020304 0300000a 01000014 800e 00000008 05000000",
		"00000020 01030402 01020304 0300000c 01000014 00630080 00000008 05000000",
		/* bytes after the last proposal */
		"00000020 01030402 01020304 0300000c 01000014 800e0080 00000008 05000000 00",
		/* two proposals, numbered 1, 1; 1, 3; 2, 3 */
		"0200000c 01030400 01020304 0000000c 01030400 01020304",
		"0200000c 01030400 01020304 0000000c 03030400 01020304",
		"0200000c 02030400 01020304 0000000c 03030400 01020304",
	};
	struct proposals ps;

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		assert_int_equal(parse(t[i], &ps), -EBADMSG);
	assert_int_equal(parse("0200000c 01030400 01020304 0000000c 02030400 01020304", &ps), 0);
	assert_int_equal(parse("0000000c 07030400 01020304", &ps), 0); /* a reply's number */
}

static void hundreds_of_proposals_and_transforms_are_bounded(void **state)
{
	static uint8_t buf[65536];
	struct proposals ours, ps;
	struct sa_choice c;
	struct wr w = wr_init(buf, sizeof(buf));

	(void)state;
	for (unsigned i = 1; i <= 200; i++) {
		wr_u8(&w, i < 200 ? 2 : 0);
		wr_u8(&w, 0);
		wr_be16(&w, 12);
		wr_be32(&w, i << 24 | 0x030400);
		wr_be32(&w, 1);
	}
	assert_int_equal(sa_parse((struct span){ buf, w.len }, &ps), 0);
	assert_int_equal(ps.count, PROPOSALS_MAX);
	w = wr_init(buf, sizeof(buf));
	wr_be32(&w, 12 + 255 * 8);
	wr_be32(&w, 0x010304ff);
	wr_be32(&w, 1);
	for (unsigned i = 0; i < 255; i++) {
		wr_be32(&w, (i < 254 ? 0x03000000u : 0) | 8);
		wr_be32(&w, 0x0100001c); /* ChaCha20-Poly1305 */
	}
	assert_int_equal(sa_parse((struct span){ buf, w.len }, &ps), 0);
	assert_int_equal(ps.p[0].count, TRANSFORMS_MAX);
	assert_non_null(ps.p[0].bad);
	proposals_default_esp(&ours, true, false);
	assert_int_equal(sa_choose(&ours, &ps, 0, true, &c), -ENOENT);
	for (unsigned i = 0; i < PROPOSALS_MAX + 3; i++)
		(void)proposal_add(&ps, PROTO_ESP);
	assert_int_equal(ps.count, PROPOSALS_MAX);
}

static void offers_can_be_read_by_people(void **state)
{
	struct proposals ps = esp(ENCR_AES_GCM_16, 256, 0xffff, ESN_NO);
	char text[200], small[12];

	(void)state;
	transform_add(&ps.p[0], TRANSFORM_ENCR, 999, 0);
	assert_string_equal(proposals_str(&ps, text, sizeof(text)), "aes256gcm16-noesn-1?999");
	assert_string_equal(proposals_str(&ps, small, sizeof(small)), "aes256gcm16");
	assert_string_equal(proposals_str(&ps, small, 8), "aes256g");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(proposals_survive_the_wire),
		cmocka_unit_test(the_choice_follows_our_order),
		cmocka_unit_test(who_has_no_aes_instructions_gets_chacha20),
		cmocka_unit_test(a_reply_is_checked_against_the_offer),
		cmocka_unit_test(aead_goes_with_no_integrity_and_cbc_with_some),
		cmocka_unit_test(key_lengths_must_be_ours),
		cmocka_unit_test(a_key_exchange_is_taken_left_or_ignored),
		cmocka_unit_test(odd_transforms_are_of_no_use_but_no_error),
		cmocka_unit_test(broken_framing_is_malformed),
		cmocka_unit_test(hundreds_of_proposals_and_transforms_are_bounded),
		cmocka_unit_test(offers_can_be_read_by_people),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
