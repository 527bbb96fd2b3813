/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

#include "hex.h"
#include "vectors/ike_sample.h"

static uint8_t buf[4096];

static void an_init_request_comes_back_as_built(void **state)
{
	size_t len = sample_init(buf, sizeof(buf));
	struct proposals ps;
	struct ike_msg m;

	(void)state;
	assert_true(len > 0);
	assert_int_equal(ike_msg_parse(buf, len, &m), 0);
	assert_true(m.hdr.spi_i == SAMPLE_SPI_I && m.hdr.spi_r == 0);
	assert_int_equal(m.hdr.exchange, IKE_SA_INIT);
	assert_int_equal(m.hdr.next, PLD_NOTIFY);
	assert_int_equal(m.hdr.length, len);
	assert_false(ike_hdr_is_response(&m.hdr));
	assert_int_equal(m.n_payloads, 9);
	assert_int_equal(m.ke.group, KE_CURVE25519);
	assert_int_equal(m.ke.len, 32);
	assert_int_equal(m.nonce.len, 32);
	assert_int_equal(sa_parse(m.sa, &ps), 0);
	assert_int_equal(m.n_notifies, 5);
	assert_non_null(ike_msg_notify(&m, COOKIE));
	assert_int_equal(ike_msg_notify(&m, COOKIE)->len, 16);
	assert_null(ike_msg_notify(&m, REDIRECT));
	assert_null(ike_msg_error(&m));
	assert_int_equal(pld_hashes_parse(ike_msg_notify(&m, SIGNATURE_HASH_ALGORITHMS)),
			 1u << 2 | 1u << 3 | 1u << 4 | 1u << 5);
	assert_true(ike_msg_is_postern(&m));
	assert_false(ike_msg_vendor(&m, postern_vendor_id, 15));
	assert_true(ike_msg_has(&m, PLD_SA) && !ike_msg_has(&m, PLD_IDI));
	assert_int_equal(m.sk.type, 0);
}

static void inner_payloads_come_back_as_built(void **state)
{
	struct ike_msg m = { 0 };
	struct pld_cp cp;
	struct ts_list ts;
	struct addr a;
	uint8_t first;
	size_t len = sample_inner(buf, sizeof(buf), &first);

	(void)state;
	assert_int_equal(ike_msg_parse_inner(&m, first, buf, len), 0);
	assert_int_equal(m.idi.type, ID_FQDN);
	assert_memory_equal(m.idi.data, "home.example.net", m.idi.len);
	assert_int_equal(m.idi.body.len, 20);
	assert_int_equal(m.idr.type, ID_RFC822_ADDR);
	assert_int_equal(m.n_certs, 1);
	assert_int_equal(m.certs[0].len, 90);
	assert_int_equal(m.certreqs[0].len, 40);
	assert_int_equal(m.auth.method, 14);
	assert_int_equal(m.auth.len, 72);
	assert_int_equal(cp_parse(m.cp, &cp), 0);
	assert_int_equal(cp.type, CFG_REQUEST);
	assert_int_equal(cp.count, 3);
	assert_int_equal(cp_attr_addr(&cp.attrs[0], &a), 0);
	assert_int_equal(a.family, AF_INET);
	assert_int_equal(cp_attr_addr(&cp.attrs[1], &a), 0);
	assert_int_equal(a.family, AF_INET6);
	assert_int_equal(cp_attr_addr(&cp.attrs[2], &a), -ENOENT);
	assert_int_equal(ts_parse(m.tsi, &ts), 0);
	assert_int_equal(ts.count, 2);
	assert_int_equal(ts_parse(m.tsr, &ts), 0);
	assert_int_equal(ts.ts[0].port_lo, 25);
	assert_int_equal(pld_notify_spi(ike_msg_notify(&m, REKEY_SA)), 0xcafebabe);
	assert_int_equal(ike_msg_error(&m)->type, INVALID_KE_PAYLOAD);
	assert_int_equal(m.n_deletes, 2);
	assert_int_equal(pld_delete_spi(&m.deletes[0], 1), 0xa0b0c0d0);
	assert_int_equal(pld_delete_spi(&m.deletes[0], 2), 0);
	assert_int_equal(m.deletes[1].proto, PROTO_IKE);
	assert_int_equal(m.eap.len, 5);
}

/* An exact heap copy with its length field set right, so that only the chain is at fault. */
static int parse_cut(const uint8_t *data, size_t len, struct ike_msg *m)
{
	uint8_t *copy = malloc(len ? len : 1);
	int rc;

	memcpy(copy, data, len);
	if (len >= IKE_HDR_LEN) {
		memset(copy + 24, 0, 4);
		copy[26] = (uint8_t)(len >> 8);
		copy[27] = (uint8_t)len;
	}
	rc = ike_msg_parse(copy, len, m);
	free(copy);
	return rc;
}

static void every_truncation_of_a_message_is_malformed(void **state)
{
	size_t len = sample_init(buf, sizeof(buf));
	struct ike_msg m;

	(void)state;
	for (size_t n = 0; n < len; n++) {
		assert_int_equal(parse_cut(buf, n, &m), -EBADMSG);
		assert_non_null(m.why);
		assert_int_equal(ike_msg_parse(buf, n, &m), -EBADMSG); /* header says more */
	}
	buf[len] = 0;
	assert_int_equal(ike_msg_parse(buf, len + 1, &m), -EBADMSG);
	assert_int_equal(parse_cut(buf, len + 1, &m), -EBADMSG);
}

static void every_truncation_of_the_inner_chain_is_malformed(void **state)
{
	uint8_t first;
	size_t len = sample_inner(buf, sizeof(buf), &first);

	(void)state;
	for (size_t n = 0; n < len; n++) {
		uint8_t *copy = malloc(n ? n : 1);
		struct ike_msg m = { 0 };

		memcpy(copy, buf, n);
		assert_int_equal(ike_msg_parse_inner(&m, first, copy, n), -EBADMSG);
		free(copy);
	}
}

/* Every body cut at every place, with lengths that agree: the payload's own parser must see it. */
static void every_truncated_payload_parses_or_fails_cleanly(void **state)
{
	struct ike_msg one;
	uint8_t first, type;
	size_t len = sample_inner(buf, sizeof(buf), &first);
	struct rd r = rd_init(buf, len);

	(void)state;
	for (type = first; type;) {
		uint8_t next = rd_u8(&r);
		uint16_t n;
		struct rd body;

		rd_skip(&r, 1);
		n = rd_be16(&r);
		body = rd_sub(&r, n - 4u);
		for (size_t cut = 0; cut < n - 4u; cut++) {
			uint8_t *copy = malloc(cut + 4);
			struct proposals ps;
			struct ts_list ts;
			struct pld_cp cp;
			int rc;

			copy[0] = copy[1] = 0;
			copy[2] = (uint8_t)((cut + 4) >> 8);
			copy[3] = (uint8_t)(cut + 4);
			memcpy(copy + 4, body.p, cut);
			one = (struct ike_msg){ 0 };
			rc = ike_msg_parse_inner(&one, type, copy, cut + 4);
			if (!rc && type == PLD_SA)
				rc = sa_parse(one.sa, &ps);
			if (!rc && (type == PLD_TSI || type == PLD_TSR))
				rc = ts_parse(type == PLD_TSI ? one.tsi : one.tsr, &ts);
			if (!rc && type == PLD_CP)
				rc = cp_parse(one.cp, &cp);
			if (type == PLD_SA || type == PLD_TSI || type == PLD_TSR)
				assert_int_equal(rc, -EBADMSG);
			if (cut < 1 || (type != PLD_CERT && type != PLD_CERTREQ && cut < 4))
				assert_int_equal(rc, -EBADMSG);
			free(copy);
		}
		type = next;
	}
}

static void header_faults_are_told_apart(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
		int rc;
	} t[] = {
		{ 17, 0x30, -EPROTONOSUPPORT }, /* version 3.0 */
		{ 17, 0x10, -EPROTO },		/* IKEv1 */
		{ 17, 0x2f, 0 },		/* minor version is no matter */
		{ 18, 33, -EPROTO },
		{ 18, 38, -EPROTO },
		{ 19, 0x28, -EPROTO }, /* initiator and response in an INIT */
		{ 19, 0x00, -EPROTO },
		{ 19, 0xdf & ~0x20, 0 }, /* reserved flags */
		{ 23, 1, -EPROTO },	 /* message ID of an INIT */
		{ 15, 1, -EPROTO },	 /* SPIr in an INIT request */
		{ 24, 1, -EBADMSG },	 /* length */
		{ 24, 0xff, -EBADMSG },
		{ 27, 0, -EBADMSG },
	};
	size_t len = sample_init(buf, sizeof(buf));
	struct ike_msg m;

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		uint8_t was = buf[t[i].at];

		buf[t[i].at] = t[i].value;
		assert_int_equal(ike_msg_parse(buf, len, &m), t[i].rc);
		buf[t[i].at] = was;
	}
	memset(buf, 0, 8);
	assert_int_equal(ike_msg_parse(buf, len, &m), -EBADMSG);
	sample_init(buf, sizeof(buf));
	buf[18] = IKE_AUTH; /* now it needs an SPIr */
	assert_int_equal(ike_msg_parse(buf, len, &m), -EPROTO);
}

static int chain(const char *text, uint8_t first, struct ike_msg *m)
{
	static struct hex h;

	h = hex(text);
	*m = (struct ike_msg){ 0 };
	return ike_msg_parse_inner(m, first, h.b, h.len);
}

static void unknown_payloads_are_skipped_unless_critical(void **state)
{
	struct ike_msg m;

	(void)state;
	assert_int_equal(chain("29000006 beef 00000008 00004000", 99, &m), 0);
	assert_non_null(ike_msg_notify(&m, INITIAL_CONTACT));
	assert_int_equal(chain("29800006 beef 00000008 00004000", 99, &m), -EPROTO);
	assert_int_equal(m.bad, 99);
	/* reserved bits beside it; critical on a known payload */
	assert_int_equal(chain("297f0006 beef 00000008 00004000", 200, &m), 0);
	assert_int_equal(chain("00ff0008 00004000", PLD_NOTIFY, &m), 0);
	assert_int_equal(chain("", PLD_NONE, &m), 0);
}

static void broken_chains_are_malformed(void **state)
{
	struct ike_msg m;

	(void)state;
	assert_int_equal(chain("00000000", PLD_VENDOR, &m), -EBADMSG);
	assert_int_equal(chain("00000003", PLD_VENDOR, &m), -EBADMSG);
	assert_int_equal(chain("00000005", PLD_VENDOR, &m), -EBADMSG);
	assert_int_equal(chain("0000ffff 00", PLD_VENDOR, &m), -EBADMSG);
	assert_int_equal(chain("2b000004", PLD_VENDOR, &m), -EBADMSG);
	assert_int_equal(chain("00000004 00", PLD_VENDOR, &m), -EBADMSG);
	assert_int_equal(chain("00", PLD_NONE, &m), -EBADMSG);
	/* SK inside SK */
	assert_int_equal(chain("00000008 00000000", PLD_SK, &m), -EBADMSG);
	assert_int_equal(m.bad, PLD_SK);
}

static void what_may_come_once_comes_once(void **state)
{
	static const uint8_t types[] = { PLD_SA,    PLD_KE,  PLD_IDI, PLD_IDR, PLD_AUTH,
					 PLD_NONCE, PLD_TSI, PLD_TSR, PLD_CP,  PLD_EAP };
	uint8_t two[40] = { 0 };
	struct ike_msg m;

	(void)state;
	for (size_t i = 0; i < sizeof(types); i++) {
		memset(two, 0x11, sizeof(two));
		two[0] = types[i];
		two[1] = two[2] = two[21] = two[22] = two[20] = 0;
		two[3] = two[23] = 20;
		m = (struct ike_msg){ 0 };
		assert_int_equal(ike_msg_parse_inner(&m, types[i], two, 40), -EBADMSG);
		assert_string_equal(m.why, "payload given twice");
		two[0] = 0;
		m = (struct ike_msg){ 0 };
		assert_int_equal(ike_msg_parse_inner(&m, types[i], two, 20), 0);
	}
}

static void the_number_of_payloads_is_bounded(void **state)
{
	struct ike_msg m = { 0 };
	struct ike_build b;
	size_t len;

	(void)state;
	for (unsigned n = 64; n <= 65; n++) {
		for (size_t i = 0; i < n; i++) {
			buf[4 * i] = i + 1 < n ? PLD_VENDOR : 0;
			buf[4 * i + 1] = buf[4 * i + 2] = 0;
			buf[4 * i + 3] = 4;
		}
		assert_int_equal(ike_msg_parse_inner(&m, PLD_VENDOR, buf, 4 * n),
				 n == 64 ? 0 : -EBADMSG);
		assert_int_equal(m.n_vendors, IKE_VENDORS_MAX);
	}
	ike_build_inner(&b, buf, sizeof(buf));
	for (unsigned i = 0; i < IKE_NOTIFIES_MAX + 1; i++)
		pld_notify_add(&b, INITIAL_CONTACT, (struct span){ NULL, 0 });
	assert_int_equal(ike_build_end(&b, &len), 0);
	assert_int_equal(ike_msg_parse_inner(&m, b.first, buf, len), -EBADMSG);
	assert_int_equal(m.bad, PLD_NOTIFY);
	ike_build_inner(&b, buf, sizeof(buf));
	for (unsigned i = 0; i < 20; i++)
		pld_cert_add(&b, CERT_X509_SIGNATURE, (struct span){ "x", 1 });
	assert_int_equal(ike_build_end(&b, &len), 0);
	assert_int_equal(ike_msg_parse_inner(&m, b.first, buf, len), 0);
	assert_int_equal(m.n_certs, IKE_CERTS_MAX);
}

static void nonces_have_16_to_256_bytes(void **state)
{
	struct ike_msg m;

	(void)state;
	for (size_t n = 14; n < 260; n++) {
		struct ike_build b;
		uint8_t fill[260] = { 0 };
		size_t len;

		ike_build_inner(&b, buf, sizeof(buf));
		pld_nonce_add(&b, (struct span){ fill, n });
		assert_int_equal(ike_build_end(&b, &len), 0);
		m = (struct ike_msg){ 0 };
		assert_int_equal(ike_msg_parse_inner(&m, b.first, buf, len),
				 n >= 16 && n <= 256 ? 0 : -EBADMSG);
	}
}

static void deletes_that_do_not_add_up_delete_nothing(void **state)
{
	static const char *const t[] = {
		"0000000c 03040002 01020304", /* two announced, one there */
		"0000000c 03040000 01020304", /* none announced */
		"0000000c 03020002 01020304", /* two SPIs of two bytes */
		"0000000c 01040001 01020304", /* an IKE SA by a 4-byte SPI */
		"00000008 09040000",
	};
	struct ike_msg m;

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		assert_int_equal(chain(t[i], PLD_DELETE, &m), 0);
		if (i < 4)
			assert_int_equal(m.deletes[0].proto, PROTO_NONE);
		assert_int_equal(m.deletes[0].count, 0);
		assert_int_equal(pld_delete_spi(&m.deletes[0], 0), 0);
	}
	assert_int_equal(chain("00000007 030400", PLD_DELETE, &m), -EBADMSG);
}

static void cp_attributes_of_wrong_length_are_left_out(void **state)
{
	struct pld_cp cp;
	struct ike_msg m;
	struct addr a;

	(void)state;
	/* IP4_ADDRESS of 3 bytes, then of 4 (reserved bit set), IP6_ADDRESS of 16 */
	assert_int_equal(chain("00000031 02000000 00010003 0a0000 80010004 0a000001"
			       "00080010 fd000000000000000000000000000001 00190002 6162",
			       PLD_CP, &m),
			 0);
	assert_int_equal(cp_parse(m.cp, &cp), 0);
	assert_int_equal(cp.count, 2);
	assert_int_equal(cp.attrs[0].type, INTERNAL_IP4_ADDRESS);
	assert_int_equal(cp_attr_addr(&cp.attrs[0], &a), 0);
	assert_int_equal(cp_attr_addr(&cp.attrs[1], &a), -EINVAL);
	/* an attribute longer than the payload */
	assert_int_equal(chain("0000000e 02000000 00010004 0a00", PLD_CP, &m), 0);
	assert_int_equal(cp_parse(m.cp, &cp), -EBADMSG);
	/* a v4-mapped one is no IPv6 address */
	assert_int_equal(
	    chain("0000001d 02000000 00080011 00000000000000000000ffff0a00000180", PLD_CP, &m), 0);
	assert_int_equal(cp_parse(m.cp, &cp), 0);
	assert_int_equal(cp_attr_addr(&cp.attrs[0], &a), -EINVAL);
}

static void identities_are_read_written_and_compared(void **state)
{
	static const struct {
		const char *text;
		uint8_t type;
		size_t len;
	} t[] = {
		{ "home.example.net", ID_FQDN, 16 },   { "@10.0.0.1", ID_FQDN, 8 },
		{ "10.0.0.1", ID_IPV4_ADDR, 4 },       { "fd99::1", ID_IPV6_ADDR, 16 },
		{ "a@b.example", ID_RFC822_ADDR, 11 },
	};
	uint8_t id[256], type;
	char text[600];
	size_t len;

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		assert_int_equal(pld_id_from_text(t[i].text, &type, id, sizeof(id), &len), 0);
		assert_int_equal(type, t[i].type);
		assert_int_equal(len, t[i].len);
		pld_id_str(type, (struct span){ id, len }, text, sizeof(text));
		assert_string_equal(text, t[i].text[0] == '@' ? t[i].text + 1 : t[i].text);
	}
	assert_int_equal(pld_id_from_text("", &type, id, sizeof(id), &len), -EINVAL);
	assert_int_equal(pld_id_from_text("@", &type, id, sizeof(id), &len), -EINVAL);
	assert_int_equal(pld_id_from_text("a b", &type, id, sizeof(id), &len), -EINVAL);
	assert_true(
	    pld_id_equal(ID_FQDN, (struct span){ "A.b", 3 }, ID_FQDN, (struct span){ "a.B", 3 }));
	assert_false(
	    pld_id_equal(ID_FQDN, (struct span){ "a.b", 3 }, ID_FQDN, (struct span){ "a.bc", 4 }));
	assert_false(
	    pld_id_equal(ID_FQDN, (struct span){ "a\0b", 3 }, ID_FQDN, (struct span){ "a\0b", 3 }));
	assert_false(
	    pld_id_equal(ID_FQDN, (struct span){ "", 0 }, ID_FQDN, (struct span){ "", 0 }));
	assert_false(
	    pld_id_equal(ID_KEY_ID, (struct span){ "A", 1 }, ID_KEY_ID, (struct span){ "a", 1 }));
	assert_false(pld_id_equal(ID_FQDN, (struct span){ "a", 1 }, ID_RFC822_ADDR,
				  (struct span){ "a", 1 }));
	pld_id_str(ID_FQDN, (struct span){ "a\n\"b", 4 }, text, sizeof(text));
	assert_string_equal(text, "a\\x0a\\x22b");
	memset(id, '\n', sizeof(id));
	assert_true(strlen(pld_id_str(ID_FQDN, (struct span){ id, 256 }, text, 32)) < 32);
}

static void a_full_buffer_is_told_once_at_the_end(void **state)
{
	size_t want = sample_init(buf, sizeof(buf));
	uint8_t first;

	(void)state;
	for (size_t cap = 0; cap < want; cap++)
		assert_int_equal(sample_init(buf, cap), 0);
	assert_int_equal(sample_init(buf, want), want);
	want = sample_inner(buf, sizeof(buf), &first);
	for (size_t cap = 0; cap < want; cap++)
		assert_int_equal(sample_inner(buf, cap, &first), 0);
}

static void numbers_have_names(void **state)
{
	(void)state;
	assert_string_equal(ike_notify_name(TS_UNACCEPTABLE), "TS_UNACCEPTABLE");
	assert_string_equal(ike_notify_name(POSTERN_INSTANCE_ID), "POSTERN_INSTANCE_ID");
	assert_string_equal(ike_notify_name(40000), "unknown");
	assert_string_equal(ike_exchange_name(IKE_AUTH), "IKE_AUTH");
	assert_string_equal(ike_payload_name(PLD_SKF), "SKF");
	assert_string_equal(ike_transform_name(TRANSFORM_KE, 31), "CURVE25519");
	assert_string_equal(ike_transform_name(9, 31), "unknown");
	assert_true(POSTERN_INSTANCE_ID >= NOTIFY_PRIVATE_STATUS);
	assert_false(notify_is_error(INITIAL_CONTACT));
	assert_true(notify_is_error(STATE_NOT_FOUND));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_init_request_comes_back_as_built),
		cmocka_unit_test(inner_payloads_come_back_as_built),
		cmocka_unit_test(every_truncation_of_a_message_is_malformed),
		cmocka_unit_test(every_truncation_of_the_inner_chain_is_malformed),
		cmocka_unit_test(every_truncated_payload_parses_or_fails_cleanly),
		cmocka_unit_test(header_faults_are_told_apart),
		cmocka_unit_test(unknown_payloads_are_skipped_unless_critical),
		cmocka_unit_test(broken_chains_are_malformed),
		cmocka_unit_test(what_may_come_once_comes_once),
		cmocka_unit_test(the_number_of_payloads_is_bounded),
		cmocka_unit_test(nonces_have_16_to_256_bytes),
		cmocka_unit_test(deletes_that_do_not_add_up_delete_nothing),
		cmocka_unit_test(cp_attributes_of_wrong_length_are_left_out),
		cmocka_unit_test(identities_are_read_written_and_compared),
		cmocka_unit_test(a_full_buffer_is_told_once_at_the_end),
		cmocka_unit_test(numbers_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
