/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "charged.h"
#include "limit.h"

static struct addr ip(const char *s)
{
	struct addr a;

	assert_int_equal(addr_parse(s, &a), 0);
	return a;
}

static void mail_case_055_one_64_is_capped_and_other_prefixes_are_served(void **state)
{
	struct limit_conf c = { .sessions_per_prefix = 20 };
	struct limit *l = limit_new(0, -1, 0);
	char text[64];
	struct addr a;
	int ok = 0;

	(void)state;
	for (int i = 0; i < 10000; i++) {
		snprintf(text, sizeof(text), "2001:db8:0:7::%x", i + 1);
		a = ip(text);
		ok += limit_open(l, &c, &a, 1) == LIMIT_OK;
	}
	assert_int_equal(ok, 20);
	a = ip("2001:db8:0:8::1");
	assert_int_equal(limit_open(l, &c, &a, 1), LIMIT_OK);
	a = ip("192.0.2.1");
	assert_int_equal(limit_open(l, &c, &a, 1), LIMIT_OK);
	a = ip("2001:db8:0:7::ffff");
	assert_int_equal(limit_open(l, &c, &a, 1), LIMIT_PREFIX);
	limit_close(l, &a, 1);
	assert_int_equal(limit_open(l, &c, &a, 1), LIMIT_OK);
	assert_int_equal(limit_sessions(l), 22);
	limit_free(l);
}

static void new_sessions_refill_with_time(void **state)
{
	struct limit_conf c = { .per_minute = 60, .burst = 3 };
	struct limit *l = limit_new(0, -1, 0);
	struct addr a = ip("192.0.2.1");

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(limit_open(l, &c, &a, 1000), LIMIT_OK);
	assert_int_equal(limit_open(l, &c, &a, 1999), LIMIT_RATE);
	assert_int_equal(limit_open(l, &c, &a, 2000), LIMIT_OK);
	assert_int_equal(limit_open(l, &c, &a, 2000), LIMIT_RATE);
	assert_int_equal(limit_open(l, &c, &a, UINT64_MAX / 2), LIMIT_OK);
	limit_free(l);
}

static void a_full_table_forgets_the_quietest_but_never_one_with_sessions(void **state)
{
	struct limit_conf c = { .sessions_per_prefix = 1 };
	struct limit *l = limit_new(4, -1, 0);
	struct addr a;
	char text[32];

	(void)state;
	for (int i = 0; i < 4; i++) {
		snprintf(text, sizeof(text), "192.0.2.%d", i + 1);
		a = ip(text);
		assert_int_equal(limit_open(l, &c, &a, 1), LIMIT_OK);
	}
	a = ip("198.51.100.1");
	assert_int_equal(limit_open(l, &c, &a, 1), LIMIT_TOTAL);
	a = ip("192.0.2.3");
	limit_close(l, &a, 1);
	a = ip("198.51.100.1");
	assert_int_equal(limit_open(l, &c, &a, 1), LIMIT_OK);
	a = ip("192.0.2.1");
	assert_int_equal(limit_open(l, &c, &a, 1), LIMIT_PREFIX);
	limit_free(l);
}

static void a_tenant_has_its_letters_an_hour(void **state)
{
	struct limit *l = limit_new(0, -1, 0);
	int ok = 0;

	(void)state;
	for (int i = 0; i < 200; i++)
		ok += limit_letters(l, LIMIT_HOME, "home", 100, 5);
	assert_int_equal(ok, 100);
	assert_true(limit_letters(l, LIMIT_HOME, "other", 100, 5));
	assert_false(limit_letters(l, LIMIT_HOME, "home", 100, 5 + 35999));
	assert_true(limit_letters(l, LIMIT_HOME, "home", 100, 5 + 36000));
	assert_true(limit_letters(l, LIMIT_HOME, "home", 0, 5));
	limit_free(l);
}

static void wrong_passwords_of_a_network_are_counted_over_all_its_sessions(void **state)
{
	struct limit *l = limit_new(0, -1, 0);
	struct addr a = ip("192.0.2.1"), other = ip("192.0.2.2");

	(void)state;
	for (uint32_t i = 1; i <= 20; i++) {
		assert_true(limit_may_try(l, &a, 20, 1000));
		assert_int_equal(limit_failed(l, &a, 20, 1000), i);
	}
	assert_false(limit_may_try(l, &a, 20, 1000));
	assert_int_equal(limit_failed(l, &a, 20, 1000), 20);
	assert_true(limit_may_try(l, &other, 20, 1000));
	assert_true(limit_may_try(l, &a, 0, 1000));
	assert_false(limit_may_try(l, &a, 20, 1000 + 179999));
	assert_true(limit_may_try(l, &a, 20, 1000 + 180000)); /* an hour has 20 */
	assert_int_equal(limit_failed(l, &a, 20, 1000 + 2 * 3600000), 1);
	limit_free(l);
}

static void a_site_of_many_prefixes_has_five_times_as_many_failures(void **state)
{
	struct limit *l = limit_new(0, -1, 0);
	char text[64];
	struct addr a;
	int tried = 0;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		snprintf(text, sizeof(text), "2001:db8:7:%x::1", i);
		a = ip(text);
		if (!limit_may_try(l, &a, 20, 1))
			continue;
		tried++;
		limit_failed(l, &a, 20, 1);
	}
	assert_int_equal(tried, 100);
	a = ip("2001:db8:8::1");
	assert_true(limit_may_try(l, &a, 20, 1));
	limit_free(l);
}

static void each_kind_of_name_has_its_own_count_and_case_makes_no_other(void **state)
{
	struct limit *l = limit_new(0, -1, 0);
	char a[300], b[300];

	(void)state;
	assert_true(limit_letters(l, LIMIT_SENDER, "Joe@Example.net", 1, 5));
	assert_false(limit_letters(l, LIMIT_SENDER, "joe@example.net", 1, 5));
	assert_true(limit_letters(l, LIMIT_RECIPIENT, "joe@example.net", 1, 5));
	assert_true(limit_letters(l, LIMIT_HOME, "joe@example.net", 1, 5));
	memset(a, 'x', sizeof(a));
	a[sizeof(a) - 1] = 0;
	memcpy(b, a, sizeof(a));
	b[sizeof(b) - 2] = 'y'; /* they differ past what a key holds */
	assert_true(limit_letters(l, LIMIT_SENDER, a, 1, 5));
	assert_true(limit_letters(l, LIMIT_SENDER, b, 1, 5));
	assert_false(limit_letters(l, LIMIT_SENDER, a, 1, 5));
	a[200] = 'X';
	assert_false(limit_letters(l, LIMIT_SENDER, a, 1, 5));
	limit_free(l);
}

static void a_flood_of_one_kind_makes_no_other_forgotten(void **state)
{
	struct limit_conf c = { .per_minute = 1, .burst = 1 };
	struct limit *l = limit_new(4, -1, 0);
	struct addr a = ip("192.0.2.1"), other;
	char text[64];

	(void)state;
	assert_true(limit_letters(l, LIMIT_HOME, "home", 1, 5));
	assert_true(limit_letters(l, LIMIT_LOGIN, "ann@example.net", 1, 5));
	limit_bytes(l, LIMIT_LOGIN, "ann@example.net", 1 << 20, 1 << 20, 5);
	assert_true(limit_letters(l, LIMIT_RECIPIENT, "joe@example.net", 1, 5));
	limit_failed(l, &a, 1, 5);
	for (int i = 0; i < 100; i++) {
		snprintf(text, sizeof(text), "198.51.100.%d", i);
		other = ip(text);
		if (limit_open(l, &c, &other, 5) == LIMIT_OK)
			limit_close(l, &other, 5);
		limit_letters(l, LIMIT_SENDER, text, 1, 5);
	}
	assert_false(limit_letters(l, LIMIT_HOME, "home", 1, 5));
	assert_false(limit_letters(l, LIMIT_LOGIN, "ann@example.net", 1, 5));
	assert_false(limit_room(l, LIMIT_LOGIN, "ann@example.net", 1 << 19, 1 << 20, 5));
	assert_false(limit_letters(l, LIMIT_RECIPIENT, "joe@example.net", 1, 5));
	assert_false(limit_may_try(l, &a, 1, 5));
	/* Nor does who calls himself ann@example.net use up what she may send. */
	assert_true(limit_letters(l, LIMIT_SENDER, "ann@example.net", 1, 5));
	limit_free(l);
}

static void a_process_that_dies_takes_no_count_with_it(void **state)
{
	struct limit_conf c = { .per_minute = 1, .burst = 2, .sessions_per_prefix = 2 };
	struct addr a = ip("192.0.2.1"), b = ip("192.0.2.2");
	int fd = limit_memfd();
	struct limit *l = limit_new(0, fd, 1000), *next;
	char name[300];

	(void)state;
	memset(name, 'n', sizeof(name));
	name[sizeof(name) - 1] = 0;
	assert_int_equal(limit_open(l, &c, &a, 1000), LIMIT_OK);
	for (int i = 0; i < 3; i++)
		limit_failed(l, &b, 3, 1000);
	assert_true(limit_letters(l, LIMIT_LOGIN, name, 1, 1000));
	next = limit_new(0, fd, 2000); /* the first is dead, in the midst of whatever it did */
	assert_non_null(next);
	assert_int_equal(limit_sessions(next), 0);
	assert_int_equal(limit_open(next, &c, &a, 2000), LIMIT_OK);
	assert_int_equal(limit_open(next, &c, &a, 2000), LIMIT_RATE);
	assert_false(limit_may_try(next, &b, 3, 2000));
	assert_false(limit_letters(next, LIMIT_LOGIN, name, 1, 2000));
	limit_free(next);
	limit_free(l);
	/* An hour later all is well again, and memory of another size is none. */
	l = limit_new(0, fd, 3601000);
	assert_true(limit_letters(l, LIMIT_LOGIN, name, 1, 3601000));
	limit_free(l);
	assert_null(limit_new(4, fd, 1));
	close(fd);
}

static void what_it_left_is_believed_only_where_it_makes_sense(void **state)
{
	int fd = limit_memfd();
	struct addr a = ip("192.0.2.1");
	struct limit *l;
	uint64_t seed = 7;
	struct stat st;
	uint64_t *p;

	(void)state;
	assert_int_equal(fstat(fd, &st), 0);
	p = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	for (int round = 0; round < 60; round++) {
		for (size_t i = 0; i < 600; i++) {
			seed = seed * 6364136223846793005u + 1442695040888963407u;
			p[i] = round % 3 == 0 ? seed : round % 3 == 1 ? seed >> 50 : UINT64_MAX;
		}
		/* Few buckets, or all that there can be, begin with a kind. */
		p[2] = round % 2 ? 70 : 65536;
		for (size_t i = 0; i < 70; i++)
			memcpy((uint8_t *)(p + 7 + 6 * i), "d", 1);
		l = limit_new(0, fd, 5);
		assert_non_null(l);
		assert_true(limit_letters(l, LIMIT_HOME, "home", 1, 5));
		assert_false(limit_letters(l, LIMIT_HOME, "home", 1, 5));
		for (uint32_t i = 1; i <= 3; i++)
			assert_int_equal(limit_failed(l, &a, 3, 5), i);
		limit_free(l);
		memset(p, 0, 1 << 20);
		memset((char *)p + (size_t)st.st_size / 5, 0, (size_t)st.st_size / 5 * 4);
	}
	munmap(p, (size_t)st.st_size);
	close(fd);
}

static void bytes_are_counted_as_they_came_and_what_is_too_much_is_waited_for(void **state)
{
	const uint64_t hour = 3600000, mib = 1 << 20;
	struct limit *l = limit_new(0, -1, 0);

	(void)state;
	assert_true(limit_room(l, LIMIT_LOGIN, "joe", 0, 10 * mib, 0));
	assert_true(limit_room(l, LIMIT_LOGIN, "joe", 100 * mib, 10 * mib, 0)); /* or it could never go */
	limit_bytes(l, LIMIT_LOGIN, "joe", 4 * mib, 10 * mib, 0);
	assert_true(limit_room(l, LIMIT_LOGIN, "joe", 5 * mib, 10 * mib, 0));
	assert_false(limit_room(l, LIMIT_LOGIN, "joe", 7 * mib, 10 * mib, 0));
	assert_true(limit_room(l, LIMIT_LOGIN, "ann", 7 * mib, 10 * mib, 0));
	limit_bytes(l, LIMIT_LOGIN, "joe", 11 * mib, 10 * mib, 0); /* said to be small */
	assert_false(limit_room(l, LIMIT_LOGIN, "joe", 0, 10 * mib, hour / 4));
	assert_true(limit_room(l, LIMIT_LOGIN, "joe", 0, 10 * mib, hour * 6 / 10));
	limit_bytes(l, LIMIT_LOGIN, "ann", 100 * mib, 10 * mib, 0);
	assert_false(limit_room(l, LIMIT_LOGIN, "ann", 0, 10 * mib, 8 * hour)); /* nine hours' worth is owed */
	assert_true(limit_room(l, LIMIT_LOGIN, "ann", 0, 10 * mib, 10 * hour));
	assert_true(limit_room(l, LIMIT_LOGIN, "joe", 0, 0, 0));
	/* Who sends and who is sent to are counted apart. */
	limit_bytes(l, LIMIT_RECIPIENT, "joe", 11 * mib, 10 * mib, 10 * hour);
	assert_false(limit_room(l, LIMIT_RECIPIENT, "JOE", 0, 10 * mib, 10 * hour));
	assert_true(limit_room(l, LIMIT_LOGIN, "joe", 0, 10 * mib, 10 * hour));
	assert_true(limit_room(l, LIMIT_SENDER, "joe", 0, 10 * mib, 10 * hour));
	assert_true(limit_letters(l, LIMIT_RECIPIENT, "joe", 1, 10 * hour));
	assert_int_equal(limit_left(l, LIMIT_RECIPIENT_BYTES, "joe", limit_kib(10 * mib), 10 * hour), 0);
	assert_true(limit_room(l, LIMIT_RECIPIENT, "joe", mib, 10 * mib, 11 * hour));
	limit_free(l);
}

static void a_stranger_shuts_a_mailbox_for_two_hours_at_most(void **state)
{
	const uint64_t hour = 3600000, mib = 1 << 20;
	struct limit *l = limit_new(0, -1, 0);

	(void)state;
	for (int i = 0; i < 100; i++)
		limit_bytes(l, LIMIT_RECIPIENT, "joe", 50 * mib, 10 * mib, 0);
	limit_bytes(l, LIMIT_SENDER, "ann", 100 * mib, 10 * mib, 0); /* who is whom the stranger names */
	assert_false(limit_room(l, LIMIT_RECIPIENT, "joe", 0, 10 * mib, hour * 9 / 10));
	assert_true(limit_room(l, LIMIT_RECIPIENT, "joe", 0, 10 * mib, hour * 11 / 10));
	assert_false(limit_room(l, LIMIT_RECIPIENT, "joe", 10 * mib, 10 * mib, hour * 19 / 10));
	assert_true(limit_room(l, LIMIT_RECIPIENT, "joe", 10 * mib, 10 * mib, 2 * hour));
	assert_true(limit_room(l, LIMIT_SENDER, "ann", 0, 10 * mib, hour * 11 / 10));
	limit_free(l);
}

static void each_copy_in_a_mailbox_needs_room_behind_those_of_the_same_letter(void **state)
{
	const uint64_t mib = 1 << 20;
	struct limit *l = limit_new(0, -1, 0);
	struct charged c = { 0 };

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_true(charged_room(&c, l, "joe", 3 * mib, 10 * mib, 0));
		charged_add(&c, "joe");
	}
	assert_false(charged_room(&c, l, "JOE", 3 * mib, 10 * mib, 0));
	assert_false(charged_room(&c, l, "joe", UINT64_MAX, 10 * mib, 0));
	assert_true(charged_room(&c, l, "joe", 0, 10 * mib, 0)); /* it is not known */
	assert_true(charged_room(&c, l, "joe", 3 * mib, 0, 0));
	assert_true(charged_room(&c, l, "ann", 3 * mib, 10 * mib, 0));
	charged_add(&c, "ann");
	assert_int_equal(limit_left(l, LIMIT_RECIPIENT_BYTES, "joe", limit_kib(10 * mib), 0), 10240);
	charged_settle(&c, l, 2 * mib, 10 * mib, 0);
	assert_int_equal(limit_left(l, LIMIT_RECIPIENT_BYTES, "joe", limit_kib(10 * mib), 0), 4095);
	assert_int_equal(limit_left(l, LIMIT_RECIPIENT_BYTES, "ann", limit_kib(10 * mib), 0), 8191);
	charged_clear(&c);
	assert_true(charged_room(&c, l, "joe", 3 * mib, 10 * mib, 0));
	charged_add(&c, "joe");
	assert_false(charged_room(&c, l, "joe", 3 * mib, 10 * mib, 0));
	charged_clear(&c);
	/* One that is larger than all of an hour has a full bucket to itself. */
	assert_true(charged_room(&c, l, "bob", 50 * mib, 10 * mib, 0));
	charged_add(&c, "bob");
	assert_false(charged_room(&c, l, "bob", 50 * mib, 10 * mib, 0));
	charged_clear(&c);
	limit_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mail_case_055_one_64_is_capped_and_other_prefixes_are_served),
		cmocka_unit_test(new_sessions_refill_with_time),
		cmocka_unit_test(a_full_table_forgets_the_quietest_but_never_one_with_sessions),
		cmocka_unit_test(wrong_passwords_of_a_network_are_counted_over_all_its_sessions),
		cmocka_unit_test(a_site_of_many_prefixes_has_five_times_as_many_failures),
		cmocka_unit_test(each_kind_of_name_has_its_own_count_and_case_makes_no_other),
		cmocka_unit_test(a_flood_of_one_kind_makes_no_other_forgotten),
		cmocka_unit_test(a_process_that_dies_takes_no_count_with_it),
		cmocka_unit_test(what_it_left_is_believed_only_where_it_makes_sense),
		cmocka_unit_test(bytes_are_counted_as_they_came_and_what_is_too_much_is_waited_for),
		cmocka_unit_test(a_stranger_shuts_a_mailbox_for_two_hours_at_most),
		cmocka_unit_test(each_copy_in_a_mailbox_needs_room_behind_those_of_the_same_letter),
		cmocka_unit_test(a_tenant_has_its_letters_an_hour),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
