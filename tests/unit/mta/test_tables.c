/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
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
				   "[deliver]\ndomains = local.example\nusers = u\naliases = a\n"
				   "virtual-domains = v.example, w.example\n";
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

static void letters_are_counted_by_the_mailbox_that_they_fill(void **state)
{
	(void)state;
	assert_string_equal(ask("joe@local.example").mailbox, "joe@local.example");
	assert_string_equal(ask("Ann+1@LOCAL.example").mailbox, "ann@local.example");
	assert_string_equal(ask("\"ann\"@local.example").mailbox, "ann@local.example");
	assert_string_equal(ask("info+x@local.example").mailbox, "info@local.example");
	assert_string_equal(ask("sys+2@local.example").mailbox, "sys@local.example");
	assert_string_equal(ask("kim+1@home.example").mailbox, "kim@home.example");
	assert_string_equal(ask("nobody@local.example").mailbox, "");

	/* A catch-all is one mailbox, unless its line makes one for each. */
	table(&tables.users, "joe = joe\n@v.example = joe\n@w.example = vmail shop/%l/Maildir\n", "=");
	assert_string_equal(ask("any1@v.example").mailbox, "@v.example");
	assert_string_equal(ask("any+2@v.example").mailbox, "@v.example");
	assert_string_equal(ask("any+2@w.example").mailbox, "any@w.example");
	config->deliver.catch_all = (char *)(uintptr_t)"joe";
	assert_string_equal(ask("any3@local.example").mailbox, "joe@local.example");
	config->deliver.catch_all = NULL;
	table(&tables.users, "joe = joe\n", "=");
	table(&tables.aliases, "@v.example: joe\n", ":");
	assert_string_equal(ask("any4@v.example").mailbox, "@v.example");
	/* So is a home's, besides those whom its set names. */
	table(&homes[0], "kim\n@home.example\nlee@home.example\n", "");
	assert_string_equal(ask("any5@home.example").mailbox, "@home.example");
	assert_string_equal(ask("any+6@HOME.example").mailbox, "@home.example");
	assert_string_equal(ask("Kim+1@home.example").mailbox, "kim@home.example");
	assert_string_equal(ask("lee+1@home.example").mailbox, "lee@home.example");
	assert_string_equal(ask("postmaster@home.example").mailbox, "postmaster@home.example");
	config->homes[0].recipients_any = true;
	assert_string_equal(ask("any7@home.example").mailbox, "any7@home.example");
	config->homes[0].recipients_any = false;
	end(NULL);
	assert_int_equal(start(NULL), 0);
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

/* Aliases of @levels levels, each of which names @width of the next: apart from each other, or one as often. */
static void grow(int levels, int width, bool same)
{
	static char text[3 << 20];
	char *p = text, *end = text + sizeof(text);

	for (int l = 0; l < levels; l++) {
		int lines = 1;

		for (int i = 0; i < l && !same; i++)
			lines *= width;
		for (int k = 0; k < lines; k++) {
			p += snprintf(p, (size_t)(end - p), "l%d-%d:", l, k);
			for (int i = 0; i < width; i++)
				p += snprintf(p, (size_t)(end - p), "%sl%d-%d%s", i ? "," : " ",
					      l + 1, same ? 0 : k * width + i,
					      l + 1 == levels ? "@e.ex" : "");
			p += snprintf(p, (size_t)(end - p), "\n");
		}
	}
	table(&tables.aliases, text, ":");
}

static void mail_case_081_an_alias_loop_and_a_flood_are_bounded(void **state)
{
	struct lookup_rcpt a;

	(void)state;
	assert_int_equal(ask("a@local.example").status, LOOKUP_LOOP);
	grow(1, 300, false);
	a = ask("l0-0@local.example");
	assert_int_equal(a.status, LOOKUP_LOOP);
	assert_int_equal(a.to_count, 0);
	grow(2, 100, false); /* ten thousand addresses */
	assert_int_equal(ask("l0-0@local.example").status, LOOKUP_LOOP);
	grow(15, 200, true); /* one address, 200^15 times */
	assert_int_equal(ask("l0-0@local.example").status, LOOKUP_LOOP);
	grow(30, 1, true);
	assert_int_equal(ask("l0-0@local.example").status, LOOKUP_LOOP);
	/* What is large and no flood goes through. */
	grow(2, 14, false);
	assert_int_equal(ask("l0-0@local.example").to_count, 196);
	grow(3, 10, true);
	a = ask("l0-0@local.example");
	assert_int_equal(a.status, LOOKUP_OK);
	assert_int_equal(a.to_count, 1);
	end(NULL);
	assert_int_equal(start(NULL), 0);
}

static void aliases(const char *text)
{
	table_clear(&tables.aliases);
	table(&tables.aliases, text, ":");
}

/* Himself, where he has no mailbox; and ten thousand on one line, which is longer than a line may be. */
static void mail_case_081_an_alias_of_itself_is_bounded(void **state)
{
	char *text = calloc(1, 200000), why[160];
	struct table t = { 0 };
	struct lookup_rcpt a;

	(void)state;
	assert_int_equal(ask("self@local.example").status, LOOKUP_LOOP);
	aliases("self: self@local.example, joe\n");
	assert_int_equal(ask("self@local.example").status, LOOKUP_LOOP);
	aliases("joe: joe@local.example, ann\n");
	a = ask("joe@local.example");
	assert_int_equal(a.status, LOOKUP_OK);
	assert_int_equal(a.to_count, 2);
	strcpy(text, "many: ");
	for (int i = 0, n = 6; i < 10000; i++)
		n += sprintf(text + n, "u%d@e.ex,", i);
	assert_int_equal(table_parse(&t, text, strlen(text), ":", why, sizeof(why)), -EBADMSG);
	assert_string_equal(why, "line 1: longer than allowed");
	table_clear(&t);
	free(text);
	end(NULL);
	assert_int_equal(start(NULL), 0);
}

/* There only who is written with the domain; everywhere the most precise line. */
static void a_virtual_domain_has_its_own_names(void **state)
{
	struct lookup_rcpt a;

	(void)state;
	table_clear(&tables.users);
	table(&tables.users,
	      "joe = joe\nann@local.example = ann\nkim@v.example = vmail v/%l\n@w.example = vmail "
	      "w/%l\n",
	      "=");
	aliases("info: joe\ninfo@v.example: kim@v.example, joe\n@v.example: kim@v.example\n"
		"sales@local.example: info\n");
	assert_int_equal(ask("joe@local.example").status, LOOKUP_OK);
	assert_int_equal(ask("ann+x@local.example").status, LOOKUP_OK);
	assert_int_equal(ask("ann@v.example").to_count, 1); /* by @v.example */
	assert_string_equal(ask("ann@v.example").to[0], "kim@v.example");
	assert_string_equal(ask("Kim+x@V.example").to[0], "Kim+x@V.example");
	a = ask("info@v.example");
	assert_int_equal(a.to_count, 2);
	assert_string_equal(a.to[1], "joe@local.example"); /* ours, not of the virtual domain */
	a = ask("anybody@w.example");
	assert_int_equal(a.status, LOOKUP_OK);
	assert_string_equal(a.to[0], "anybody@w.example");
	assert_string_equal(ask("sales@local.example").to[0], "joe@local.example");
	aliases("x: y\n");
	assert_int_equal(ask("joe@v.example").status, LOOKUP_NONE);
	assert_int_equal(ask("sys@v.example").status, LOOKUP_NONE);
	assert_int_equal(ask("sys@local.example").status, LOOKUP_OK);
	end(NULL);
	assert_int_equal(start(NULL), 0);
}

static void a_users_table_leads_nowhere_else(void **state)
{
	static const char *const bad[] = { "joe ../x", "joe /x", "joe | bin/x", "joe x/%r",
					   "joe |" };
	char line[100], why[160];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct table t = { 0 };

		snprintf(line, sizeof(line), "ann = ann\njoe = %s\n", bad[i]);
		table(&t, line, "=");
		assert_int_equal(table_users_check(&t, why, sizeof(why)), -EINVAL);
		assert_memory_equal(why, "\"joe\": ", 7);
		table_clear(&t);
	}
	assert_int_equal(table_users_check(&tables.users, why, sizeof(why)), 0);
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

static enum lookup_status ask_published(const struct table *published, const char *address)
{
	struct mta_home *h = &config->homes[0];
	struct lookup_rcpt a;
	char *file = h->recipients;

	h->recipients = NULL;
	tables_rcpt(&tables, config, published, address, &a, list);
	h->recipients = file;
	return a.status;
}

static void a_published_set_decides_where_it_speaks(void **state)
{
	struct table p = { 0 };

	(void)state;
	assert_int_equal(ask_published(&p, "kim@home.example"), LOOKUP_TEMPFAIL);
	assert_int_equal(ask_published(&p, "postmaster@home.example"), LOOKUP_OK);
	table(&p, "#recipients 1 1 2 +\nann@other.example\npostmaster@other.example\n", "");
	p.subaddress = '+';
	assert_int_equal(ask_published(&p, "ann@home.example"), LOOKUP_TEMPFAIL);
	table(&p, "#recipients 1 2 2 +\nkim@home.example\npostmaster@home.example\n", "");
	assert_int_equal(ask_published(&p, "ann@home.example"), LOOKUP_NONE);
	assert_int_equal(ask_published(&p, "Kim@home.example"), LOOKUP_OK);
	p.subaddress = '+';
	assert_int_equal(ask_published(&p, "kim+x@home.example"), LOOKUP_OK);
	p.subaddress = 0; /* home would refuse it */
	assert_int_equal(ask_published(&p, "kim+x@home.example"), LOOKUP_NONE);
	table(&p, "#recipients 1 3 1 +\n@home.example\n", "");
	assert_int_equal(ask_published(&p, "anybody@home.example"), LOOKUP_OK);
	table_clear(&p);
}

static void two_users(uint32_t uid_min, void (*fn)(const char *name, void *arg), void *arg)
{
	(void)uid_min;
	fn("sys", arg);
	fn("Joe", arg);
}

static void a_home_publishes_users_aliases_and_accounts(void **state)
{
	struct publication_list l = { 0 };
	size_t len;
	char *text;

	(void)state;
	tables.each_system_user = two_users;
	table(&tables.aliases,
	      "info: joe\nodd\"name: joe\nshop@v.example: joe\n@w.example: "
	      "joe\nx@elsewhere.example: joe\n",
	      ":");
	tables_own(&tables, config, &l);
	text = publication_text(&l, &len);
	assert_string_equal(text, "@w.example\nann@local.example\ninfo@local.example\n"
				  "joe@local.example\npostmaster@local.example\n"
				  "postmaster@v.example\npostmaster@w.example\nshop@v.example\n"
				  "sys@local.example\n");
	free(text);
	publication_list_clear(&l);
}

/* A bounce of what was sent on is for who wrote it; of others nothing is known. */
static void a_sender_that_we_made_leads_back(void **state)
{
	static const char secret[] = "0123456789abcdef";
	char address[LOOKUP_ADDRESS_MAX];
	struct srs_keys keys;
	struct lookup_rcpt a;

	(void)state;
	config->srs.domain = strdup("home.example");
	config->srs.max_age_days = 21;
	assert_int_equal(srs_keys_parse(&keys, secret, sizeof(secret) - 1), 0);
	assert_int_equal(srs_forward(&keys, "ann@far.example", "home.example",
				     srs_day(clock_wall_s()), address, sizeof(address)),
			 0);
	assert_int_equal(ask(address).status, LOOKUP_TEMPFAIL); /* no secret yet */
	tables.srs = &keys;
	a = ask(address);
	assert_int_equal(a.status, LOOKUP_OK);
	assert_false(a.local);
	assert_string_equal(a.home, "");
	assert_int_equal(a.to_count, 1);
	assert_string_equal(a.to[0], "ann@far.example");
	address[5] = address[5] == 'A' ? 'B' : 'A';
	assert_int_equal(ask(address).status, LOOKUP_NONE);
	assert_int_equal(srs_forward(&keys, "ann@far.example", "home.example",
				     srs_day(clock_wall_s()) - 22, address, sizeof(address)),
			 0);
	assert_int_equal(ask(address).status, LOOKUP_NONE); /* its day is over */
	assert_int_equal(ask("SRS0=x@local.example").status,
			 LOOKUP_NONE); /* not the domain of [srs] */
	tables.srs = NULL;
	srs_keys_clear(&keys);
	end(NULL);
	assert_int_equal(start(NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(users_aliases_and_the_system_have_mail),
		cmocka_unit_test(letters_are_counted_by_the_mailbox_that_they_fill),
		cmocka_unit_test(an_alias_may_name_itself),
		cmocka_unit_test(mail_case_081_an_alias_loop_and_a_flood_are_bounded),
		cmocka_unit_test(mail_case_081_an_alias_of_itself_is_bounded),
		cmocka_unit_test(a_virtual_domain_has_its_own_names),
		cmocka_unit_test(a_users_table_leads_nowhere_else),
		cmocka_unit_test(a_sender_that_we_made_leads_back),
		cmocka_unit_test(a_home_s_recipients_are_its_own),
		cmocka_unit_test(postmaster_needs_no_domain),
		cmocka_unit_test(bad_tables_name_the_line),
		cmocka_unit_test(a_published_set_decides_where_it_speaks),
		cmocka_unit_test(a_home_publishes_users_aliases_and_accounts),
	};

	return cmocka_run_group_tests(tests, start, end);
}
