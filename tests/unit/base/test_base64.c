/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base64.h"

/* RFC 4648 s10 */
static void vectors(void **state)
{
	static const char *const v[][2] = { { "", "" },
					    { "f", "Zg==" },
					    { "fo", "Zm8=" },
					    { "foo", "Zm9v" },
					    { "foob", "Zm9vYg==" },
					    { "fooba", "Zm9vYmE=" },
					    { "foobar", "Zm9vYmFy" } };
	char text[BASE64_ROOM(6)], back[10];

	(void)state;
	for (size_t i = 0; i < sizeof(v) / sizeof(*v); i++) {
		assert_int_equal(base64_encode(v[i][0], strlen(v[i][0]), text), strlen(v[i][1]));
		assert_string_equal(text, v[i][1]);
		assert_int_equal(base64_decode(text, strlen(text), back, sizeof(back)),
				 strlen(v[i][0]));
		assert_string_equal(back, v[i][0]);
	}
}

static void all_bytes_come_back(void **state)
{
	uint8_t in[256], out[256 + 4];
	char text[BASE64_ROOM(256)];

	(void)state;
	for (size_t i = 0; i < 256; i++)
		in[i] = (uint8_t)(i * 7);
	for (size_t len = 0; len <= 256; len++) {
		size_t n = base64_encode(in, len, text);

		assert_int_equal(n + 1, BASE64_ROOM(len));
		assert_int_equal(base64_decode(text, n, out, sizeof(out)), len);
		assert_memory_equal(in, out, len);
	}
}

static void what_is_not_whole_is_refused(void **state)
{
	static const char *const bad[] = { "Z",	       "Zg",   "Zg=",	 "Zh==",     "Zm9=", "====",
					   "Zg==Zg==", "Z=g=", "Zm9v\n", "Zm 9v===", "Zm-_" };
	char out[64];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(base64_decode(bad[i], strlen(bad[i]), out, sizeof(out)), -EBADMSG);
	assert_int_equal(base64_decode("Zm9v", 4, out, 3), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vectors),
		cmocka_unit_test(all_bytes_come_back),
		cmocka_unit_test(what_is_not_whole_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
