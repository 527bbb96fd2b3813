/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "psk.h"
#include "secret.h"

static const char *fault(const char *text)
{
	return psk_fault((const uint8_t *)text, strlen(text));
}

static void what_people_make_up_is_refused(void **state)
{
	static const char *const guessed[] = {
		"passwordpassword",
		"correct horse battery staple",
		"Passw0rd!Passw0rd!",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		"0123456789abcdef0123456789abcdef",
		"abcdefghijklmnopqrstuvwxyz0123456789",
		"ZYXWVUTSRQPONMLKJIHGFEDCBA9876543210",
		"qwertzuiopasdfghjkl1234",
		"01011970010119700101197001011970",
		"x1x2x1x2x1x2x1x2x1x2x1x2x1x2x1x2",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(guessed) / sizeof(guessed[0]); i++)
		if (!fault(guessed[i]))
			fail_msg("taken: %s", guessed[i]);
	assert_string_equal(fault("passwordpassword"),
			    "can be guessed; make one with postern keygen --psk");
	assert_string_equal(fault("Vq0rS8hVn1hTgkX"),
			    "is too short a secret; make one with postern keygen --psk");
}

static void chance_is_taken(void **state)
{
	static const char *const good[] = {
		"Vq0rS8hVn1hTgkXk2m5bM1sQm6q2j7d8kqYp3z4w5x6y", /* as keygen --psk */
		"891c58588665da4f0aa7ce2c7e436871",		/* 16 bytes in hex */
		"pXNUUVQy6THTBcpGEkVZuA==",			/* in base64 */
		"cleft cam synod lacy yr wok beryl",		/* seven dice words */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (fault(good[i]))
			fail_msg("%s: %s", good[i], fault(good[i]));
}

/* 16 random bytes in hex are enough whatever they are, but for a chance that nobody meets. */
static void random_hex_is_never_refused(void **state)
{
	uint8_t raw[16];
	char text[33];

	(void)state;
	for (int n = 0; n < 2000; n++) {
		assert_int_equal(secret_random(raw, sizeof(raw)), 0);
		for (size_t i = 0; i < sizeof(raw); i++)
			sprintf(text + 2 * i, "%02x", raw[i]);
		if (fault(text))
			fail_msg("%s: %u", text, psk_bits((uint8_t *)text, 32));
	}
}

static void the_end_of_the_line_is_not_part_of_it(void **state)
{
	(void)state;
	assert_int_equal(psk_trim((const uint8_t *)"abc\r\n\n", 6), 3);
	assert_int_equal(psk_trim((const uint8_t *)"\n", 1), 0);
	assert_int_equal(psk_trim((const uint8_t *)"a\nb", 3), 3);
}

static void any_bytes_and_any_length_are_judged(void **state)
{
	static uint8_t big[4096];

	(void)state;
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (uint8_t)(i * i * 31 + i / 7);
	assert_int_equal(psk_bits(NULL, 0), 0);
	assert_null(psk_fault(big, sizeof(big)));
	memset(big, 0, sizeof(big));
	assert_non_null(psk_fault(big, sizeof(big)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_people_make_up_is_refused),
		cmocka_unit_test(chance_is_taken),
		cmocka_unit_test(random_hex_is_never_refused),
		cmocka_unit_test(the_end_of_the_line_is_not_part_of_it),
		cmocka_unit_test(any_bytes_and_any_length_are_judged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
