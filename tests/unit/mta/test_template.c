/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "template.h"

static struct template_values v = { .user = "joe",
				    .home = "/home/joe",
				    .local = "joe",
				    .extension = "lists",
				    .domain = "d.example",
				    .recipient = "joe+lists@d.example",
				    .sender = "",
				    .id = "00ff" };
static struct template_argv out;
static char why[200], dir[64];

static int fill(const char *command)
{
	return template_command(command, &v, &out, why, sizeof(why));
}

static int place(const char *text)
{
	return template_dir(text, &v, dir, sizeof(dir), why, sizeof(why));
}

static void words_are_split_before_they_are_filled_in(void **state)
{
	(void)state;
	v.recipient = "\"a b\"@d.example";
	assert_int_equal(fill("  /bin/x %r\t-f%s  'a  %e' --to=%l@%d 100%% %i "), 0);
	assert_string_equal(out.argv[0], "/bin/x");
	assert_string_equal(out.argv[1], "\"a b\"@d.example");
	assert_string_equal(out.argv[2], "-f");
	assert_string_equal(out.argv[3], "a  lists");
	assert_string_equal(out.argv[4], "--to=joe@d.example");
	assert_string_equal(out.argv[5], "100%");
	assert_string_equal(out.argv[6], "00ff");
	assert_null(out.argv[7]);
	assert_int_equal(fill("/bin/x %s"), 0); /* an empty word is a word */
	assert_string_equal(out.argv[1], "");
	assert_null(out.argv[2]);
	assert_int_equal(fill("/home/%u/bin/x"), 0);
	assert_string_equal(out.argv[0], "/home/joe/bin/x");
}

static void an_address_becomes_no_option(void **state)
{
	(void)state;
	v.sender = "-x@far.example";
	assert_int_equal(fill("/bin/x %s"), -EBADMSG);
	assert_string_equal(why, "\"-x@far.example\" would be an option of the command");
	assert_int_equal(fill("/bin/x '%s'"), -EBADMSG);
	v.extension = "";
	assert_int_equal(fill("/bin/x %e%s"), -EBADMSG);
	assert_int_equal(fill("/bin/x -f %s"), -EBADMSG);
	assert_int_equal(fill("/bin/x -f%s <%s>"), 0);
	v.sender = "";
	v.extension = "lists";
}

static void bad_commands_are_refused_beforehand(void **state)
{
	static const char *const bad[] = { "",		" ",	   "bin/x",    "%h",
					   "/bin/%l",	"/bin/%r", "/bin/x %", "/bin/x %z",
					   "/bin/x 'y", "/bin/%s" };
	char *many = calloc(1, 3 * TEMPLATE_TEXT_MAX);

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(template_command_check(bad[i], why, sizeof(why)), -EINVAL);
	strcpy(many, "/bin/x");
	for (int i = 1; i < TEMPLATE_WORDS_MAX; i++)
		strcat(many, " y");
	assert_int_equal(template_command_check(many, why, sizeof(why)), 0);
	strcat(many, " y");
	assert_int_equal(template_command_check(many, why, sizeof(why)), -EINVAL);
	memset(many, 'x', TEMPLATE_TEXT_MAX + 10);
	many[0] = '/';
	assert_int_equal(template_command_check(many, why, sizeof(why)), -EINVAL);
	/* Exactly full, and one more. */
	memset(many, 'x', TEMPLATE_TEXT_MAX);
	many[0] = '/';
	many[TEMPLATE_TEXT_MAX - 1] = 0;
	assert_int_equal(fill(many), 0);
	many[TEMPLATE_TEXT_MAX - 1] = 'x';
	many[TEMPLATE_TEXT_MAX] = 0;
	assert_int_equal(fill(many), -EBADMSG);
	free(many);
}

static void a_directory_lies_below_the_home(void **state)
{
	static const char *const bad[] = { "",	 "/x",	  "..",	    "../x",    "a/../b", "a/..",
					   "%h", "%h/",	  "%h/../", "%h//etc", "%e",	 "%r",
					   "a%", "%h/%h", "x/%s",   "%i" };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(template_dir_check(bad[i], why, sizeof(why)), -EINVAL);
	assert_int_equal(template_dir_check("%h/Maildir", why, sizeof(why)), 0);
	assert_int_equal(place("%h/Maildir"), 0);
	assert_string_equal(dir, "Maildir");
	assert_int_equal(place("mail/%d/%l/%u/50%%"), 0);
	assert_string_equal(dir, "mail/d.example/joe/joe/50%");
}

static void an_address_makes_no_other_directory(void **state)
{
	static const char *const bad[] = { "", ".", "..", ".ssh", "a/b", "/etc", "../x" };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		v.local = bad[i];
		assert_int_equal(place("mail/%l"), -EBADMSG);
	}
	v.local = "a..b";
	assert_int_equal(place("mail/%l"), 0);
	assert_string_equal(dir, "mail/a..b");
	v.local = "x23456789012345678901234567890123456789012345678901234567890123456789";
	assert_int_equal(place("mail/%l"), -EBADMSG);
	v.local = "joe";
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_are_split_before_they_are_filled_in),
		cmocka_unit_test(an_address_becomes_no_option),
		cmocka_unit_test(bad_commands_are_refused_beforehand),
		cmocka_unit_test(a_directory_lies_below_the_home),
		cmocka_unit_test(an_address_makes_no_other_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
