/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tables.h"

static bool only_root_and_sys(const char *name, uint32_t uid_min)
{
	(void)uid_min;
	return !strcmp(name, "sys");
}

static char list[LOOKUP_EXPANSION_MAX][LOOKUP_ADDRESS_MAX];
static struct mta_config *config;
static struct table homes[1];
static struct tables tables = { .home = homes, .home_count = 1, .system_user = only_root_and_sys };

static void table(struct table *t, const char *text, const char *separators)
{
	char why[160];

	table_clear(t);
	assert_int_equal(table_parse(t, text, strlen(text), separators, why, sizeof(why)), 0);
}

static int start(void **state)
{
	static const char text[] = "[mta]\nrole = edge\nhostname = mx.example\n"
				   "[home h]\ndomains = home.example\nrecipients = x\n"
				   "[deliver]\ndomains = local.example\nusers = u\naliases = a\n";
	struct conf *c = conf_parse(&config_schema, "/c", text, sizeof(text) - 1);

	(void)state;
	config = config_new(c);
	conf_free(c);
	table(&tables.users, "joe = joe\nann = ann Mail/in\n", "=");
	table(&tables.aliases,
	      "info: joe, Ann, far@elsewhere.example # comment\n"
	      "a: b\nb: a\njoe: joe, ann\nself: self\npostmaster: joe\ndup: joe, joe\n",
	      ":");
	table(&homes[0], "kim\nlee@home.example\n", "");
	return !config;
}

static int end(void **state)
{
	(void)state;
	table_clear(&tables.users);
	table_clear(&tables.aliases);
	table_clear(&homes[0]);
	config_free(config);
	return 0;
}

static struct lookup_rcpt ask(const char *address)
{
	struct lookup_rcpt a;

	tables_rcpt(&tables, config, NULL, address, &a, list);
	return a;
}

static void users_aliases_and_the_system_have_mail(void **state)
{
	struct lookup_rcpt a = ask("Ann+lists@LOCAL.example");

	(void)state;
	assert_int_equal(a.status, LOOKUP_OK);
	assert_true(a.local);
	assert_int_equal(a.to_count, 1);
	assert_string_equal(a.to[0], "Ann+lists@LOCAL.example");
	assert_int_equal(ask("sys@local.example").status, LOOKUP_OK);
	assert_int_equal(ask("nobody@local.example").status, LOOKUP_NONE);
	assert_int_equal(ask("\"joe\"@local.example").status, LOOKUP_OK);
	a = ask("info@local.example");
	assert_int_equal(a.status, LOOKUP_OK);
	assert_int_equal(a.to_count, 3);
	assert_string_equal(a.to[2], "far@elsewhere.example");
	assert_int_equal(ask("dup@local.example").to_count, 2);
}

static void an_alias_may_name_itself(void **state)
{
	struct lookup_rcpt a = ask("joe@local.example");

	(void)state;
	assert_int_equal(a.status, LOOKUP_OK);
	assert_int_equal(a.to_count, 2);
}

/* Case 81 */
static void an_alias_loop_and_a_flood_are_bounded(void **state)
{
	char *text = malloc(4000);
	struct lookup_rcpt a;

	(void)state;
	assert_int_equal(ask("a@local.example").status, LOOKUP_LOOP);
	table_clear(&tables.aliases);
	strcpy(text, "many: ");
	for (int i = 0; i < 300; i++)
		sprintf(text + strlen(text), "u%d@e.ex,", i);
	strcat(text, "\n");
	table(&tables.aliases, text, ":");
	free(text);
	a = ask("many@local.example");
	assert_int_equal(a.status, LOOKUP_LOOP);
	assert_int_equal(a.to_count, 0);
	end(NULL);
	assert_int_equal(start(NULL), 0);
}

static void a_home_s_recipients_are_its_own(void **state)
{
	struct lookup_rcpt a = ask("kim+x@home.example");

	(void)state;
	assert_int_equal(a.status, LOOKUP_OK);
	assert_string_equal(a.home, "h");
	assert_false(a.local);
	assert_int_equal(ask("lee@home.example").status, LOOKUP_OK);
	assert_int_equal(ask("max@home.example").status, LOOKUP_NONE);
	assert_int_equal(ask("postmaster@home.example").status, LOOKUP_OK);
	a = ask("x@foreign.example");
	assert_int_equal(a.status, LOOKUP_NONE);
	assert_string_equal(a.home, "");
	assert_false(a.local);
}

static void postmaster_needs_no_domain(void **state)
{
	struct lookup_rcpt a = ask("postmaster");

	(void)state;
	assert_int_equal(a.status, LOOKUP_OK);
	assert_string_equal(a.to[0], "joe@local.example");
}

static void bad_tables_name_the_line(void **state)
{
	static const struct {
		const char *text, *separators, *why;
	} bad[] = {
		{ "a: b\nc\n", ":", "line 2: no separator" },
		{ "a:\n", ":", "line 1: nothing on one side of the separator" },
		{ "a b: c\n", ":", "line 1: white space inside of the name" },
		{ "x\n\n# c\nX\n", "", "line 4: the name stands twice" },
	};
	struct table t = { 0 };
	char why[160];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_not_equal(table_parse(&t, bad[i].text, strlen(bad[i].text),
						 bad[i].separators, why, sizeof(why)),
				     0);
		assert_string_equal(why, bad[i].why);
		table_clear(&t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(users_aliases_and_the_system_have_mail),
		cmocka_unit_test(an_alias_may_name_itself),
		cmocka_unit_test(an_alias_loop_and_a_flood_are_bounded),
		cmocka_unit_test(a_home_s_recipients_are_its_own),
		cmocka_unit_test(postmaster_needs_no_domain),
		cmocka_unit_test(bad_tables_name_the_line),
	};

	return cmocka_run_group_tests(tests, start, end);
}
