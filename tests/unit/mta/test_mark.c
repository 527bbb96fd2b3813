/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mark.h"

#define RECEIVED "Received: from x (x [192.0.2.1])\r\n\tby home.example.net (Postern) with ESMTP id 1\r\n\tfor <joe@d.example>;\r\n\tdate\r\n"
#define AWAY	 "Received: from home.example.net by list.example with ESMTP; date\r\n"
#define MARK	 "Delivered-To: joe@d.example\r\n"
#define REST	 "Subject: x\r\n\r\n"

static char own[] = "home.example.net", other_name[] = "lan.example.net";
static struct mta_listener listeners[] = { { .hostname = NULL }, { .hostname = other_name } };
static const struct mta_config config = { .hostname = own, .listeners = listeners,
					  .listener_count = 2 };

static bool looped(const char *text)
{
	return mark_found(text, strlen(text), "joe@d.example", &config);
}

static void a_letter_that_was_delivered_here_to_the_same_is_known(void **state)
{
	(void)state;
	assert_true(looped(AWAY "Return-Path: <a@b.example>\r\n" MARK RECEIVED REST));
	/* As the Maildir has it, and as others spell it. */
	assert_true(looped("Delivered-To: joe@d.example\nReceived: from x\n by home.example.net; date\n\n"));
	assert_true(looped("delivered-to:\tJoe@D.Example \r\nRECEIVED : by HOME.example.net\r\n\r\n"));
	assert_true(looped(MARK "Received: from by (by) by lan.example.net with X; d\r\n" REST));
	/* With others between, and more than one. */
	assert_true(looped("Delivered-To: list@d.example\r\n" AWAY MARK "X-A: b\r\n" AWAY RECEIVED REST));
}

static void a_letter_that_goes_on_to_others_passes(void **state)
{
	(void)state;
	assert_false(looped(RECEIVED REST));
	assert_false(looped("Delivered-To: ann@d.example\r\n" RECEIVED REST));
	assert_false(looped("Delivered-To: joe@d.example.net\r\n" RECEIVED REST));
	assert_false(looped("Delivered-To: joe@d.example, ann@d.example\r\n" RECEIVED REST));
	assert_false(looped("Delivered-To:\r\n" RECEIVED REST));
	assert_false(looped("X-Delivered-To: joe@d.example\r\n" RECEIVED REST));
}

static void the_mark_of_another_server_is_none(void **state)
{
	(void)state;
	assert_false(looped(MARK AWAY REST));
	assert_false(looped(RECEIVED MARK REST)); /* it had not come to us yet */
	assert_false(looped(MARK REST));
	assert_false(looped(MARK "Received: by home.example.net.evil.example; d\r\n" REST));
	assert_false(looped(MARK "Received: from home.example.net; d\r\n" REST));
}

static void a_body_is_no_header(void **state)
{
	(void)state;
	assert_false(looped(REST MARK RECEIVED));
	assert_false(looped("\r\n" MARK RECEIVED));
	assert_false(looped("\n" MARK RECEIVED));
	assert_false(looped("X: a\r\n " MARK RECEIVED REST)); /* folded: not a field of its own */
	assert_false(looped(""));
}

static void every_truncation_is_read(void **state)
{
	static const char text[] = MARK AWAY RECEIVED REST;
	size_t known = 0;

	(void)state;
	for (size_t n = 0; n < sizeof(text); n++) {
		char *p = malloc(n ? n : 1); /* of its exact size, for the sanitizer */

		memcpy(p, text, n);
		known += mark_found(p, n, "joe@d.example", &config);
		free(p);
	}
	assert_true(known > 0 && known < sizeof(text));
}

static void a_file_is_read_as_far_as_headers_go(void **state)
{
	static const char end[] = MARK RECEIVED REST;
	int fd = memfd_create("body", MFD_CLOEXEC);
	char line[1001];

	(void)state;
	memset(line, 'x', sizeof(line));
	memcpy(line, "X: ", 3);
	line[1000] = '\n';
	for (int i = 0; i < 200; i++)
		assert_int_equal(write(fd, line, sizeof(line)), sizeof(line));
	assert_int_equal(mark_in_file(fd, "joe@d.example", &config), 0);
	assert_int_equal(write(fd, end, sizeof(end) - 1), sizeof(end) - 1);
	assert_int_equal(mark_in_file(fd, "joe@d.example", &config), 1);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(mark_in_file(fd, "joe@d.example", &config), 0);
	close(fd);
	assert_true(mark_in_file(fd, "joe@d.example", &config) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_letter_that_was_delivered_here_to_the_same_is_known),
		cmocka_unit_test(a_letter_that_goes_on_to_others_passes),
		cmocka_unit_test(the_mark_of_another_server_is_none),
		cmocka_unit_test(a_body_is_no_header),
		cmocka_unit_test(every_truncation_is_read),
		cmocka_unit_test(a_file_is_read_as_far_as_headers_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
