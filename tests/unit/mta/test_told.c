/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "told.h"

static uint32_t tell(struct told *t, enum told_what what, bool networks, int count)
{
	uint32_t told = 0;
	char text[64];
	struct addr a;

	for (int i = 0; i < count; i++) {
		snprintf(text, sizeof(text), "2001:db8:1:%x::%x", networks ? i : 0, networks ? 0 : i);
		assert_int_equal(addr_parse(text, &a), 0);
		told += told_may(t, what, &a);
	}
	return told;
}

static void strangers_have_so_many_lines_and_the_rest_is_one(void **state)
{
	int fd = memfd_create("log", 0);
	struct loop *l = loop_new();
	struct told t;
	char text[4096] = "";

	(void)state;
	log_setup("test", LOG_LVL_INFO, fd);
	told_init(&t, l);
	assert_int_equal(tell(&t, TOLD_AUTH, false, 1000), LOG_LIMIT_BURST);
	assert_in_range(tell(&t, TOLD_TLS, true, 5000), 64, TOLD_PER_MINUTE);
	assert_int_equal(t.lines, TOLD_PER_MINUTE);
	assert_false(told_may(&t, TOLD_AWAY, NULL));
	told_summary(&t);
	assert_true(pread(fd, text, sizeof(text) - 1, 0) > 0);
	assert_non_null(strstr(text, "turned_away=1 tls="));
	assert_non_null(strstr(text, " auth=995 refused=0 sessions=0 msg=\"more of the last minute"));
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
	/* A new minute, and nothing to say of it. */
	assert_true(told_may(&t, TOLD_AWAY, NULL));
	told_summary(&t);
	assert_int_equal(pread(fd, text, sizeof(text) - 1, 0), strlen(text));
	timer_clear(loop_timers(l), &t.timer);
	loop_free(l);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(strangers_have_so_many_lines_and_the_rest_is_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
