/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "address.h"
#include "srs.h"

#define DAY 20000
#define AGE 21

static struct srs_keys keys, others;
static char out[ADDRESS_MAX + 1], back[ADDRESS_MAX + 1];

static int start(void **state)
{
	static const char own[] =
	    "# of this year\n0123456789abcdef-new\r\n\n0123456789abcdef-old\n";
	static const char foreign[] = "fedcba9876543210";

	(void)state;
	return srs_keys_parse(&keys, own, sizeof(own) - 1) ||
	       srs_keys_parse(&others, foreign, sizeof(foreign) - 1) || keys.count != 2;
}

static int end(void **state)
{
	(void)state;
	srs_keys_clear(&keys);
	srs_keys_clear(&others);
	return 0;
}

static int forward(const char *sender, const char *domain)
{
	return srs_forward(&keys, sender, domain, DAY, out, sizeof(out));
}

static int reverse(const char *address)
{
	return srs_reverse(&keys, address, DAY, AGE, back, sizeof(back));
}

/* The forms of the paper: SRS0 from whom wrote, with "=" in a local part, and back. */
static void a_sender_comes_back(void **state)
{
	static const char *const senders[] = {
		"ann@far.example",    "a=b=c@far.example",	"srs0@far.example",
		"SRS2=x@far.example", "ann+SRS0=x@[192.0.2.1]", "j\xc3\xb6rg@far.example"
	};

	(void)state;
	for (size_t i = 0; i < sizeof(senders) / sizeof(senders[0]); i++) {
		assert_int_equal(forward(senders[i], "us.example"), 0);
		assert_true(srs_is(out));
		assert_int_equal(reverse(out), 0);
		assert_string_equal(back, senders[i]);
	}
	assert_int_equal(forward("ann@far.example", "us.example"), 0);
	/* "SRS0=" hash "=" day "=far.example=ann@us.example"; day 20000 is 544 modulo 1024: RA */
	assert_memory_equal(out, "SRS0=", 5);
	assert_string_equal(out + 13, "=RA=far.example=ann@us.example");
	assert_int_equal(forward("", "us.example"), -EINVAL);
	assert_int_equal(forward("postmaster", "us.example"), -EINVAL);
	assert_int_equal(forward("\"a b\"@far.example", "us.example"), -EINVAL);
}

/* Who forwards what was forwarded adds the first forwarder's name; who forwards that adds nothing. */
static void three_forwarders_and_the_bounce_skips_the_second(void **state)
{
	char first[ADDRESS_MAX + 1], second[ADDRESS_MAX + 1];
	struct srs_keys saved = keys;

	(void)state;
	assert_int_equal(forward("ann@far.example", "one.example"), 0);
	strcpy(first, out);
	keys = others;
	assert_int_equal(forward(first, "two.example"), 0);
	strcpy(second, out);
	assert_memory_equal(second, "SRS1=", 5);
	assert_memory_equal(second + 13, "=one.example==", 14);
	keys = saved;
	assert_int_equal(forward(second, "three.example"), 0);
	assert_memory_equal(out + 13, "=one.example==", 14);
	assert_string_equal(strrchr(out, '@'), "@three.example");
	assert_int_equal(strlen(out), strlen(second) + 2); /* "three", "two": no longer than that */
	/* The third sends a bounce to the first, which knows it again. */
	assert_int_equal(reverse(out), 0);
	assert_string_equal(back, first);
	assert_int_equal(reverse(first), 0);
	assert_string_equal(back, "ann@far.example");
	/* Of another forwarder's address nothing is believed. */
	assert_int_equal(reverse(second), -EKEYREJECTED);
	/* Separators of others' SRS0 stay what they are. */
	assert_int_equal(forward("SRS0+XXXX=YY=far.example=ann@one.example", "two.example"), 0);
	assert_string_equal(out + 13, "=one.example=+XXXX=YY=far.example=ann@two.example");
	assert_int_equal(reverse(out), 0);
	assert_string_equal(back, "SRS0+XXXX=YY=far.example=ann@one.example");
}

static void case_may_be_lost_on_the_way(void **state)
{
	(void)state;
	assert_int_equal(forward("Ann@Far.example", "us.example"), 0);
	for (char *p = out; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	assert_int_equal(reverse(out), 0);
	assert_string_equal(back, "ann@far.example");
}

/* One character that is another, anywhere, and nothing goes out. */
static void a_forged_address_is_nobodys(void **state)
{
	char good[ADDRESS_MAX + 1];
	size_t n;

	(void)state;
	assert_int_equal(forward("ann@far.example", "us.example"), 0);
	strcpy(good, out);
	n = (size_t)(strchr(good, '@') - good);
	for (size_t i = 0; i < n; i++) {
		strcpy(out, good);
		out[i] = out[i] == 'Q' ? 'W' : 'Q';
		assert_int_not_equal(reverse(out), 0);
		memmove(out + i, good + i + 1, strlen(good + i + 1) + 1); /* one less */
		assert_int_not_equal(reverse(out), 0);
	}
	for (size_t i = 0; i < strlen(good); i++) {
		strcpy(out, good);
		out[i] = 0;
		if (i < n)
			assert_int_not_equal(reverse(out), 0);
	}
	assert_int_equal(srs_reverse(&others, good, DAY, AGE, back, sizeof(back)), -EKEYREJECTED);
	assert_int_equal(reverse("SRS0=@us.example"), -EBADMSG);
	assert_int_equal(reverse("SRS1=AAAAAAAA=@us.example"), -EBADMSG);
	assert_int_equal(reverse("SRS1=AAAAAAAA=x=y@us.example"), -EBADMSG);
	assert_int_equal(reverse("ann@us.example"), -EBADMSG);
}

static void its_day_is_over_at_last(void **state)
{
	(void)state;
	for (uint32_t day = 0; day < 3 * 1024; day += 101) {
		assert_int_equal(
		    srs_forward(&keys, "ann@far.example", "us.example", day, out, sizeof(out)), 0);
		for (uint32_t later = 0; later < 1023; later++)
			assert_int_equal(
			    srs_reverse(&keys, out, day + later, AGE, back, sizeof(back)),
			    later <= AGE ? 0 : -ETIME);
		/* A clock that is a day behind. */
		assert_int_equal(srs_reverse(&keys, out, day + 1023, AGE, back, sizeof(back)), 0);
	}
}

static void an_older_secret_is_known_still(void **state)
{
	struct srs_keys old = { .secret = { keys.secret[1] }, .count = 1 };

	(void)state;
	assert_int_equal(srs_forward(&old, "ann@far.example", "us.example", DAY, out, sizeof(out)),
			 0);
	assert_int_equal(reverse(out), 0);
	assert_int_equal(forward("ann@far.example", "us.example"), 0);
	assert_int_equal(srs_reverse(&old, out, DAY, AGE, back, sizeof(back)), -EKEYREJECTED);
}

static void what_gets_too_long_stays_as_it_is(void **state)
{
	char sender[ADDRESS_MAX + 1];

	(void)state;
	memset(sender, 'a', 64);
	for (int n = 150; n < ADDRESS_MAX - 64; n++) {
		int rc;

		memset(sender + 64, 'd', (size_t)n);
		sender[64] = '@';
		for (int i = 70; i < 64 + n; i += 30)
			sender[i] = '.';
		sender[63 + n] = 'e';
		sender[64 + n] = 0;
		rc = forward(sender, "us.example");
		assert_true(rc == 0 || rc == -ENAMETOOLONG);
		if (!rc)
			assert_int_equal(reverse(out), 0);
	}
}

static void secrets_are_lines_of_some_length(void **state)
{
	struct srs_keys k;
	char many[400] = "";

	(void)state;
	assert_int_equal(srs_keys_parse(&k, "", 0), -EINVAL);
	assert_int_equal(srs_keys_parse(&k, "# x\n", 4), -EINVAL);
	assert_int_equal(srs_keys_parse(&k, "short\n", 6), -EINVAL);
	for (int i = 0; i < SRS_SECRETS_MAX + 1; i++)
		strcat(many, "0123456789abcdef\n");
	assert_int_equal(srs_keys_parse(&k, many, strlen(many)), -EINVAL);
	assert_int_equal(srs_keys_parse(&k, many, strlen(many) - 17), 0);
	assert_int_equal(k.count, SRS_SECRETS_MAX);
	srs_keys_clear(&k);
	assert_int_equal(forward("ann@far.example", "us.example"), 0);
	assert_int_equal(srs_reverse(&k, out, DAY, AGE, back, sizeof(back)), -ENOKEY);
	assert_int_equal(srs_forward(&k, "ann@far.example", "us.example", DAY, out, sizeof(out)),
			 -ENOKEY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sender_comes_back),
		cmocka_unit_test(three_forwarders_and_the_bounce_skips_the_second),
		cmocka_unit_test(case_may_be_lost_on_the_way),
		cmocka_unit_test(a_forged_address_is_nobodys),
		cmocka_unit_test(its_day_is_over_at_last),
		cmocka_unit_test(an_older_secret_is_known_still),
		cmocka_unit_test(what_gets_too_long_stays_as_it_is),
		cmocka_unit_test(secrets_are_lines_of_some_length),
	};

	return cmocka_run_group_tests(tests, start, end);
}
