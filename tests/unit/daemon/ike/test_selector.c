/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>

#include "hex.h"
#include "selector.h"

static struct ts ts(const char *prefix, uint8_t proto, uint16_t lo, uint16_t hi)
{
	struct prefix p;
	struct ts t;

	assert_int_equal(prefix_parse(prefix, &p), 0);
	t = ts_from_prefix(&p);
	t.proto = proto;
	t.port_lo = lo;
	t.port_hi = hi;
	return t;
}

static struct ts all(const char *prefix)
{
	return ts(prefix, 0, 0, 65535);
}

static void add(struct ts_list *l, struct ts t)
{
	assert_int_equal(ts_append(l, &t), 0);
}

static int parse(const char *text, struct ts_list *l)
{
	static struct hex h;

	h = hex(text);
	return ts_parse((struct span){ h.b, h.len }, l);
}

static void selectors_survive_the_wire(void **state)
{
	struct ts_list l = { 0 }, got;
	struct ike_build b;
	uint8_t buf[512];
	size_t len;

	(void)state;
	add(&l, all("10.0.0.0/8"));
	add(&l, ts("10.99.0.1/32", IPPROTO_TCP, 25, 25));
	add(&l, ts("fd99::/64", IPPROTO_ICMPV6, 0x8000, 0x80ff));
	add(&l, ts("0.0.0.0/0", IPPROTO_UDP, 65535, 0));
	add(&l, all("::/0"));
	ike_build_inner(&b, buf, sizeof(buf));
	ts_add(&b, PLD_TSI, &l);
	assert_int_equal(ike_build_end(&b, &len), 0);
	assert_int_equal(ts_parse((struct span){ buf + 4, len - 4 }, &got), 0);
	assert_true(ts_list_equal(&l, &got));
	assert_int_equal(got.skipped, 0);
	for (size_t n = 0; n < len - 4; n++)
		assert_int_equal(ts_parse((struct span){ buf + 4, n }, &got), -EBADMSG);
}

static void unusable_selectors_are_skipped(void **state)
{
	static const struct {
		const char *text;
		unsigned count, skipped;
		int rc;
	} t[] = {
		{ "00000000", 0, 0, 0 },
		{ "01000000 07000010 0000ffff 0a000000 0a0000ff", 1, 0, 0 },
		{ "01aabbcc 07000010 0000ffff 0a000000 0a0000ff", 1, 0, 0 }, /* reserved */
		{ "01000000 09000010 0000ffff 0a000000 0a0000ff", 0, 1, 0 }, /* type (RFC 4595) */
		{ "01000000 07000010 0000ffff 0a0000ff 0a000000", 0, 1, 0 }, /* start > end */
		{ "01000000 07000010 00500019 0a000000 0a0000ff", 0, 1, 0 }, /* ports reversed */
		{ "01000000 07000010 ffff0000 0a000000 0a0000ff", 1, 0, 0 }, /* OPAQUE */
		{ "01000000 0700000c 0000ffff 0a000000", 0, 1, 0 },	     /* a v4 range cut */
		{ "01000000 08000010 0000ffff 0a000000 0a0000ff", 0, 1, 0 },
		{ "02000000 f0000008 00000000 07000010 0000ffff 0a000000 0a0000ff", 1, 1, 0 },
		/* framing */
		{ "02000000 07000010 0000ffff 0a000000 0a0000ff", 1, 0, -EBADMSG },
		{ "00000000 07000010 0000ffff 0a000000 0a0000ff", 0, 0, -EBADMSG },
		{ "01000000 07000007 0000ff", 0, 0, -EBADMSG },
		{ "01000000 07000011 0000ffff 0a000000 0a0000ff", 0, 0, -EBADMSG },
	};
	struct ts_list l;

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		assert_int_equal(parse(t[i].text, &l), t[i].rc);
		assert_int_equal(l.count, t[i].count);
		assert_int_equal(l.skipped, t[i].skipped);
	}
}

static void no_more_than_the_bound_is_kept_of_255(void **state)
{
	static uint8_t buf[4 + 255 * 16];
	struct ts_list l;

	(void)state;
	buf[0] = 255;
	for (size_t i = 0; i < 255; i++)
		memcpy(buf + 4 + 16 * i, "\7\0\0\x10\0\0\xff\xff\0\0\0\0\xff\xff\xff\xff", 16);
	assert_int_equal(ts_parse((struct span){ buf, sizeof(buf) }, &l), 0);
	assert_int_equal(l.count, TS_MAX);
	assert_int_equal(l.skipped, 255 - TS_MAX);
}

static void intersections(void **state)
{
	struct {
		struct ts a, b;
		const char *both; /* NULL: nothing */
	} t[] = {
		{ all("10.0.0.0/8"), all("10.99.0.0/16"), "10.99.0.0/16" },
		{ all("10.0.0.0/8"), all("11.0.0.0/8"), NULL },
		{ all("0.0.0.0/0"), all("::/0"), NULL },
		{ ts("10.0.0.0/8", 6, 0, 65535), all("10.1.0.0/16"), "10.1.0.0/16[tcp]" },
		{ ts("10.0.0.0/8", 6, 0, 65535), ts("10.0.0.0/8", 17, 0, 65535), NULL },
		{ ts("10.0.0.0/8", 6, 20, 30), ts("10.0.0.0/8", 6, 25, 100),
		  "10.0.0.0/8[tcp/25-30]" },
		{ ts("10.0.0.0/8", 6, 20, 24), ts("10.0.0.0/8", 6, 25, 100), NULL },
		{ ts("10.0.0.0/8", 6, 25, 25), ts("10.0.0.0/8", 0, 0, 65535),
		  "10.0.0.0/8[tcp/25]" },
		/* OPAQUE: within ANY, within itself, within no range */
		{ ts("10.0.0.0/8", 6, 65535, 0), ts("10.0.0.0/8", 6, 0, 65535),
		  "10.0.0.0/8[tcp/opaque]" },
		{ ts("10.0.0.0/8", 6, 65535, 0), ts("10.0.0.0/8", 6, 65535, 0),
		  "10.0.0.0/8[tcp/opaque]" },
		{ ts("10.0.0.0/8", 6, 65535, 0), ts("10.0.0.0/8", 6, 0, 65534), NULL },
		{ ts("fd99::/64", 58, 0x8000, 0x8000), all("::/0"), "fd99::/64[icmpv6/32768]" },
	};
	char text[TS_STR_MAX];
	struct ts both;

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		assert_int_equal(ts_intersect(&t[i].a, &t[i].b, &both), t[i].both != NULL);
		if (t[i].both)
			assert_string_equal(ts_str(&both, text), t[i].both);
		assert_int_equal(ts_intersect(&t[i].b, &t[i].a, &both), t[i].both != NULL);
		if (t[i].both)
			assert_string_equal(ts_str(&both, text), t[i].both);
	}
}

static void narrowing_keeps_what_both_want(void **state)
{
	struct ts_list offer = { 0 }, ours = { 0 }, out;
	char text[256];

	(void)state;
	/* 0/0 offered, two networks ours */
	add(&offer, all("0.0.0.0/0"));
	add(&offer, all("::/0"));
	add(&ours, all("10.99.0.1/32"));
	add(&ours, all("fd99::1/128"));
	assert_int_equal(ts_narrow(&offer, &ours, &out), 0);
	assert_string_equal(ts_list_str(&out, text, sizeof(text)), "10.99.0.1/32, fd99::1/128");
	assert_true(ts_list_covers(&offer, &out) && ts_list_covers(&ours, &out));
	assert_false(ts_list_covers(&out, &offer));

	/* The packet's own selector first (s2.9), then its network: one covers the other. */
	offer = ours = (struct ts_list){ 0 };
	add(&offer, ts("10.0.0.7/32", 6, 25, 25));
	add(&offer, all("10.0.0.0/24"));
	add(&ours, all("10.0.0.0/8"));
	assert_int_equal(ts_narrow(&offer, &ours, &out), 0);
	assert_string_equal(ts_list_str(&out, text, sizeof(text)), "10.0.0.0/24");

	offer = ours = (struct ts_list){ 0 };
	add(&offer, all("192.168.0.0/16"));
	add(&ours, all("10.0.0.0/8"));
	assert_int_equal(ts_narrow(&offer, &ours, &out), -ENOENT);
	assert_int_equal(out.count, 0);
	offer.count = 0;
	assert_int_equal(ts_narrow(&offer, &ours, &out), -ENOENT);
}

static void narrowing_stays_in_bounds(void **state)
{
	struct ts_list offer = { 0 }, ours = { 0 }, out;

	(void)state;
	for (uint16_t i = 0; i < TS_MAX; i++) {
		add(&offer, ts("10.0.0.0/8", 6, (uint16_t)(i * 100), (uint16_t)(i * 100 + 99)));
		add(&ours,
		    ts("10.0.0.0/8", 6, (uint16_t)(i * 100 + 50), (uint16_t)(i * 100 + 149)));
	}
	assert_int_equal(ts_append(&ours, &ours.ts[0]), -ENOSPC);
	assert_int_equal(ts_narrow(&offer, &ours, &out), 0);
	assert_int_equal(out.count, TS_MAX);
	assert_true(out.skipped > 0);
	assert_true(ts_list_covers(&offer, &out) && ts_list_covers(&ours, &out));
}

static void packets_match_by_address_protocol_and_port(void **state)
{
	struct ts_list l = { 0 };
	struct addr in, out, v6;

	(void)state;
	assert_int_equal(addr_parse("10.0.0.7", &in), 0);
	assert_int_equal(addr_parse("10.0.1.0", &out), 0);
	assert_int_equal(addr_parse("fd99::1", &v6), 0);
	add(&l, ts("10.0.0.0/24", 6, 25, 30));
	assert_true(ts_match(&l, &in, 6, 25) && ts_match(&l, &in, 6, 30));
	assert_false(ts_match(&l, &in, 6, 24) || ts_match(&l, &in, 6, 31));
	assert_false(ts_match(&l, &in, 17, 25) || ts_match(&l, &out, 6, 25));
	assert_false(ts_match(&l, &in, 6, -1) || ts_match(&l, &v6, 6, 25));
	add(&l, ts("10.0.0.0/24", 17, 65535, 0));
	assert_true(ts_match(&l, &in, 17, -1));
	assert_false(ts_match(&l, &in, 17, 53));
	add(&l, all("fd99::/16"));
	assert_true(ts_match(&l, &v6, 58, 0x8000) && ts_match(&l, &v6, 58, -1));
}

static void ranges_and_prefixes(void **state)
{
	struct ts t = all("10.0.0.0/30");
	char text[TS_STR_MAX];
	struct prefix p;

	(void)state;
	assert_true(ts_to_prefix(&t, &p));
	assert_int_equal(p.len, 30);
	t.hi.b[3] = 2;
	assert_false(ts_to_prefix(&t, &p));
	assert_int_equal(p.len, 30);
	assert_string_equal(ts_str(&t, text), "10.0.0.0-10.0.0.2");
	t = all("0.0.0.0/0");
	assert_true(ts_to_prefix(&t, &p));
	assert_int_equal(p.len, 0);
	/* A v4-mapped IPv6 range stays one of IPv6. */
	{
		struct ts_list l;

		assert_int_equal(parse("01000000 08000028 0000ffff"
				       "00000000000000000000ffff0a000000"
				       "00000000000000000000ffff0affffff",
				       &l),
				 0);
		assert_int_equal(l.ts[0].lo.family, AF_INET6);
		t = all("10.0.0.0/8");
		assert_false(ts_intersect(&l.ts[0], &t, &t));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(selectors_survive_the_wire),
		cmocka_unit_test(unusable_selectors_are_skipped),
		cmocka_unit_test(no_more_than_the_bound_is_kept_of_255),
		cmocka_unit_test(intersections),
		cmocka_unit_test(narrowing_keeps_what_both_want),
		cmocka_unit_test(narrowing_stays_in_bounds),
		cmocka_unit_test(packets_match_by_address_protocol_and_port),
		cmocka_unit_test(ranges_and_prefixes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
