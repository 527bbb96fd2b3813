/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>

#include "hex.h"
#include "vectors/ike_sample.h"

static uint8_t inner[FRAG_BYTES_MAX + 100], joined[FRAG_BYTES_MAX], plain[FRAG_BYTES_MAX];

static struct ike_msg skf(uint16_t number, uint16_t total, uint32_t id)
{
	struct ike_msg m = { .hdr = sample_hdr(IKE_AUTH, IKE_FLAG_RESPONSE, id) };

	m.sk.type = PLD_SKF;
	m.sk.first = number == 1 ? PLD_IDR : 0;
	m.sk.frag_number = number;
	m.sk.frag_total = total;
	return m;
}

static int add(struct frag_set *s, uint16_t number, uint16_t total, const char *text,
	       uint64_t now_ms)
{
	struct ike_msg m = skf(number, total, 1);

	return frag_add(s, &m, text, strlen(text), now_ms);
}

static void joins_to(struct frag_set *s, const char *want)
{
	uint8_t first;
	size_t len;

	assert_int_equal(frag_join(s, joined, sizeof(joined), &len, &first), 0);
	assert_int_equal(first, PLD_IDR);
	assert_int_equal(len, strlen(want));
	assert_memory_equal(joined, want, len);
	assert_false(s->active);
}

static void sealed_fragments_join_in_any_order(void **state)
{
	struct ike_hdr h = sample_hdr(IKE_AUTH, IKE_FLAG_RESPONSE, 1);
	static const size_t sizes[] = { 576, 626, 1280 };
	static uint8_t msgs[FRAGS_MAX][1500];
	size_t lens[FRAGS_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(inner); i++)
		inner[i] = (uint8_t)(i * 7 + i / 251);
	for (size_t k = 0; k < 3; k++) {
		struct ike_aead *a = sample_aead();
		struct frag_set s = { 0 };
		struct frag_plan plan;
		size_t n = 20000, len;
		uint8_t first;

		assert_int_equal(frag_plan(a, n, sizes[k], &plan), 0);
		assert_true(plan.total > 15);
		for (uint16_t i = 1; i <= plan.total; i++) {
			assert_int_equal(skf_seal(a, &h, &plan, i, PLD_IDR, inner, n, msgs[i - 1],
						  sizeof(msgs[0]), &lens[i - 1]),
					 0);
			assert_true(lens[i - 1] <= sizes[k]);
		}
		assert_int_equal(lens[0], sizes[k]); /* the room is used */
		assert_int_equal(skf_seal(a, &h, &plan, 0, 0, inner, n, plain, sizeof(plain), &len),
				 -EINVAL);
		assert_int_equal(skf_seal(a, &h, &plan, (uint16_t)(plan.total + 1), 0, inner, n,
					  plain, sizeof(plain), &len),
				 -EINVAL);
		for (uint16_t i = plan.total; i > 0; i--) { /* reversed, each twice */
			struct ike_msg m;

			assert_int_equal(ike_msg_parse(msgs[i - 1], lens[i - 1], &m), 0);
			assert_int_equal(frag_check(&s, &m), 0);
			assert_int_equal(sk_open(a, &m, plain, sizeof(plain), &len), 0);
			assert_int_equal(frag_add(&s, &m, plain, len, 5), i == 1);
			if (i > 1)
				assert_int_equal(frag_check(&s, &m), -EEXIST);
		}
		assert_int_equal(frag_join(&s, joined, sizeof(joined), &len, &first), 0);
		assert_int_equal(len, n);
		assert_memory_equal(joined, inner, n);
		assert_int_equal(first, PLD_IDR);
		ike_aead_free(a);
	}
}

static void one_bad_fragment_among_good_is_dropped_alone(void **state)
{
	struct ike_hdr h = sample_hdr(IKE_AUTH, IKE_FLAG_RESPONSE, 1);
	struct ike_aead *a = sample_aead();
	struct frag_plan plan;
	struct ike_msg m;
	uint8_t msg[600];
	size_t len, got;

	(void)state;
	assert_int_equal(frag_plan(a, 1000, 576, &plan), 0);
	assert_int_equal(skf_seal(a, &h, &plan, 2, PLD_IDR, inner, 1000, msg, sizeof(msg), &len),
			 0);
	assert_int_equal(ike_msg_parse(msg, len, &m), 0);
	assert_int_equal(m.sk.frag_number, 2);
	assert_int_equal(m.sk.frag_total, 2);
	assert_int_equal(sk_open(a, &m, plain, sizeof(plain), &got), 0);
	/* Number and total are authenticated. */
	for (size_t i = 32; i < len; i++) {
		msg[i] ^= 1;
		assert_int_equal(ike_msg_parse(msg, len, &m), 0);
		assert_int_equal(sk_open(a, &m, plain, sizeof(plain), &got), -EKEYREJECTED);
		msg[i] ^= 1;
	}
	ike_aead_free(a);
}

static void numbers_and_totals_are_checked_before_any_work(void **state)
{
	static const struct {
		uint16_t number, total;
		uint8_t first;
		int rc;
	} t[] = {
		{ 1, 1, PLD_IDR, 0 },
		{ 1, 64, PLD_IDR, 0 },
		{ 64, 64, 0, 0 },
		{ 0, 2, PLD_IDR, -EPROTO },
		{ 3, 2, 0, -EPROTO },
		{ 0, 0, 0, -EPROTO },
		{ 1, 0, PLD_IDR, -EPROTO },
		{ 1, 65, PLD_IDR, -EPROTO },
		{ 1, 65535, PLD_IDR, -EPROTO },
		{ 2, 2, PLD_IDR, -EPROTO },
		{ 1, 2, 0, -EPROTO },
	};
	struct frag_set s = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct ike_msg m = skf(t[i].number, t[i].total, 1);

		m.sk.first = t[i].first;
		assert_int_equal(frag_check(&s, &m), t[i].rc);
		if (t[i].rc)
			assert_int_equal(frag_add(&s, &m, "x", 1, 0), t[i].rc);
		m.sk.type = PLD_SK;
		assert_int_equal(frag_check(&s, &m), -EPROTO);
	}
	assert_false(s.active);
	assert_int_equal(add(&s, 1, 2, "", 0), -EPROTO); /* an empty fragment */
}

static void a_larger_total_starts_anew_and_a_smaller_is_dropped(void **state)
{
	struct frag_set s = { 0 };

	(void)state;
	assert_int_equal(add(&s, 1, 2, "ab", 0), 0);
	assert_int_equal(add(&s, 2, 3, "x", 0), 0); /* smaller fragments: the set is a new one */
	assert_int_equal(s.have, 1);
	assert_int_equal(add(&s, 2, 2, "cd", 0), -ESTALE);
	assert_int_equal(add(&s, 3, 3, "y", 0), 0);
	assert_int_equal(add(&s, 3, 3, "z", 0), -EEXIST);
	assert_int_equal(add(&s, 1, 3, "w", 0), 1);
	joins_to(&s, "wxy");
}

static void another_message_id_drops_the_set(void **state)
{
	struct frag_set s = { 0 };
	struct ike_msg other = skf(1, 2, 2);
	uint8_t first;
	size_t len;

	(void)state;
	assert_int_equal(add(&s, 1, 2, "ab", 0), 0);
	assert_int_equal(frag_add(&s, &other, "cd", 2, 0), 0);
	assert_int_equal(s.id, 2);
	assert_int_equal(s.have, 1);
	assert_int_equal(frag_join(&s, joined, sizeof(joined), &len, &first), -EAGAIN);
	/* A request of the same number is another message, too. */
	other.hdr.flags = 0;
	other.sk.frag_number = 2;
	other.sk.first = 0;
	assert_int_equal(frag_add(&s, &other, "ef", 2, 0), 0);
	assert_int_equal(s.have, 1);
	frag_clear(&s);
}

static void a_set_lives_ten_seconds(void **state)
{
	struct frag_set s = { 0 };

	(void)state;
	assert_int_equal(add(&s, 1, 2, "ab", 1000), 0);
	assert_false(frag_expire(&s, 10999));
	assert_true(frag_expire(&s, 11000));
	assert_false(s.active);
	assert_int_equal(add(&s, 1, 2, "ab", 1000), 0);
	assert_int_equal(add(&s, 2, 2, "cd", 11000), 0); /* the first half is gone */
	assert_int_equal(add(&s, 1, 2, "ab", 20999), 1);
	joins_to(&s, "abcd");
}

static void memory_is_bounded(void **state)
{
	struct frag_set s = { 0 };
	struct ike_msg m;

	(void)state;
	for (uint16_t i = 1; i <= 63; i++) {
		m = skf(i, 64, 1);
		assert_int_equal(frag_add(&s, &m, inner, 952, 0), 0);
	}
	m = skf(64, 64, 1);
	assert_int_equal(frag_add(&s, &m, inner, 25, 0), -EMSGSIZE);
	assert_false(s.active);
	assert_int_equal(s.bytes, 0);
}

static void sets_that_share_a_pool_are_bounded_together(void **state)
{
	size_t pool = 0;
	struct frag_set a = { .pool = &pool, .pool_max = 5 }, b = a;

	(void)state;
	assert_int_equal(add(&a, 1, 2, "abc", 0), 0);
	assert_int_equal(add(&b, 1, 2, "def", 0), -ENOBUFS);
	assert_int_equal(add(&b, 1, 2, "de", 0), 0);
	assert_int_equal(pool, 5);
	assert_int_equal(add(&b, 2, 2, "f", 0), -ENOBUFS);
	assert_true(b.active); /* what it has stays */
	assert_true(frag_expire(&a, 10000));
	assert_int_equal(pool, 2);
	assert_int_equal(add(&b, 2, 2, "f", 1), 1);
	joins_to(&b, "def");
	assert_int_equal(pool, 0);
}

static void plans_that_cannot_work_are_refused(void **state)
{
	struct ike_aead *a = sample_aead();
	struct frag_plan plan;

	(void)state;
	assert_int_equal(frag_plan(a, 1000, 40, &plan), -EMSGSIZE);
	assert_int_equal(frag_plan(a, 0, 576, &plan), -EMSGSIZE);
	assert_int_equal(frag_plan(a, 64 * 515, 576, &plan), 0);
	assert_int_equal(plan.total, 64);
	assert_int_equal(frag_plan(a, 64 * 515 + 1, 576, &plan), -EMSGSIZE);
	for (size_t max = 0; max < 1300; max++) {
		if (!frag_plan(a, 3000, max, &plan))
			assert_true(plan.chunk * plan.total >= 3000 &&
				    plan.chunk * (plan.total - 1u) < 3000);
	}
	ike_aead_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sealed_fragments_join_in_any_order),
		cmocka_unit_test(one_bad_fragment_among_good_is_dropped_alone),
		cmocka_unit_test(numbers_and_totals_are_checked_before_any_work),
		cmocka_unit_test(a_larger_total_starts_anew_and_a_smaller_is_dropped),
		cmocka_unit_test(another_message_id_drops_the_set),
		cmocka_unit_test(a_set_lives_ten_seconds),
		cmocka_unit_test(memory_is_bounded),
		cmocka_unit_test(sets_that_share_a_pool_are_bounded_together),
		cmocka_unit_test(plans_that_cannot_work_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
