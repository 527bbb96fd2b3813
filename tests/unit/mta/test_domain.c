/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Two spellings of one domain are one domain, wherever the server compares them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "domain.h"
#include "match.h"
#include "route.h"
#include "ruleset.h"
#include "tables.h"

#define U                                                                                          \
	"b\xc3\xbc"                                                                                \
	"cher.example"
#define A "xn--bcher-kva.example"

static const char *spelled(const char *s)
{
	static char out[MTA_DOMAIN_MAX];

	return domain_spell(s, out);
}

static void each_spelling_becomes_the_same_one(void **state)
{
	char longest[300], same[MTA_DOMAIN_MAX] = U;

	(void)state;
	assert_string_equal(spelled(U), A);
	assert_string_equal(spelled("B\xc3\x9c"
				    "CHER.Example"),
			    A);
	assert_string_equal(spelled("bu\xcc\x88"
				    "cher.example"),
			    A); /* u and a combining diaeresis */
	assert_string_equal(spelled("XN--BCHER-KVA.EXAMPLE"), A);
	assert_string_equal(spelled("Plain.Example"), "plain.example");
	assert_string_equal(spelled("_dmarc.plain.example"), "_dmarc.plain.example");
	assert_string_equal(spelled(""), "");
	assert_string_equal(spelled("*"), "*");
	/* A letter of its own, as browsers have it. */
	assert_string_equal(spelled("fa\xc3\x9f.example"), "xn--fa-hia.example");
	/* No name: it equals itself. */
	assert_string_equal(spelled("\xff\xfe.Example"), "\xff\xfe.example");
	assert_string_equal(spelled("a\xe2\x80\x8d"
				    "b.example"),
			    "a\xe2\x80\x8d"
			    "b.example");
	/* What would become nothing, a blank, an address in brackets, a name with a dot at its end. */
	assert_string_equal(spelled("\xc2\xad"), "\xc2\xad");
	assert_string_equal(spelled("a\xe3\x80\x80"
				    "b.example"),
			    "a\xe3\x80\x80"
			    "b.example");
	assert_string_equal(spelled("\xef\xbc\xbb"
				    "192.0.2.1\xef\xbc\xbd"),
			    "\xef\xbc\xbb"
			    "192.0.2.1\xef\xbc\xbd");
	assert_string_equal(spelled(U "\xe3\x80\x82"), U "\xe3\x80\x82");
	memset(longest, 'x', sizeof(longest));
	memcpy(longest, "\xc3\xbc", 2);
	longest[sizeof(longest) - 1] = 0;
	assert_int_equal(strlen(spelled(longest)), MTA_DOMAIN_MAX - 1);
	assert_string_equal(domain_spell(same, same), A);
}

static struct conf *conf;

static struct mta_config *parse(const char *text)
{
	struct mta_config *c;

	conf = conf_parse(&config_schema, "/etc/postern/mta.conf", text, strlen(text));
	c = conf && conf_ok(conf) ? config_new(conf) : NULL;
	assert_non_null(c);
	return c;
}

static const char *way(const struct mta_config *c, const char *rcpt)
{
	static char out[MTA_NAME_MAX + ROUTE_HOP_MAX + 1];
	char hop[ROUTE_HOP_MAX];
	struct envelope e = { .sender = "" };
	const struct mta_route *r = route_choose(c, &e, rcpt);

	snprintf(out, sizeof(out), "%s %s", r ? r->name : "none",
		 r ? route_next_hop(r, rcpt, hop) : "");
	return out;
}

#define EDGE "[mta]\nrole = edge\nhostname = mx.example.net\n"

static void routes_homes_and_own_domains_know_both(void **state)
{
	struct mta_config *c;

	(void)state;
	for (int i = 0; i < 2; i++) {
		char text[1024];

		snprintf(text, sizeof(text),
			 EDGE "[home h]\ndomains = h.%s\n[deliver]\ndomains = own.%s\n"
			      "[route r]\nkind = smarthost\naddress = 192.0.2.1\ndomains = r.%s\n",
			 i ? U : A, i ? U : A, i ? U : A);
		c = parse(text);
		for (int k = 0; k < 2; k++) {
			char to[100];

			snprintf(to, sizeof(to), "x@h.%s", k ? U : A);
			assert_string_equal(way(c, to), "h h");
			snprintf(to, sizeof(to), "x@own.%s", k ? U : A);
			assert_string_equal(way(c, to), "deliver local");
			snprintf(to, sizeof(to), "x@R.%s", k ? U : A);
			assert_string_equal(way(c, to), "r 192.0.2.1");
			/* What DNS is asked for. */
			snprintf(to, sizeof(to), "x@%s", k ? U : A);
			assert_string_equal(way(c, to), "internet " A);
			snprintf(to, sizeof(to), "own.%s", k ? U : A);
			assert_true(config_is_ours(c, to));
		}
		config_free(c);
		conf_free(conf);
	}
}

static void rules_know_both(void **state)
{
	static const char *const words[] = { "@" U, "@" A, "." U, "." A, "joe@" U, "joe@" A };

	(void)state;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		for (int k = 0; k < 2; k++) {
			char *word = (char *)words[i], to[100];
			struct strv one = { .v = &word, .count = 1 };
			struct address a;

			snprintf(to, sizeof(to), "joe@%s%s", *word == '.' ? "sub." : "", k ? U : A);
			assert_int_equal(address_parse(to, strlen(to), ADDRESS_ALLOW_UTF8, &a), 0);
			assert_true(match_address_words(&one, &a));
			snprintf(to, sizeof(to), "joe@other.%s.org", k ? U : A);
			assert_int_equal(address_parse(to, strlen(to), ADDRESS_ALLOW_UTF8, &a), 0);
			assert_false(match_address_words(&one, &a));
		}
}

static void tables_know_both(void **state)
{
	static const char *const lines[] = { "joe@" U ": ann\n", "joe@" A ": ann\n" };
	struct mta_config *c = parse(EDGE "[deliver]\ndomains = " U "\n");
	struct table_name n;
	char why[160];

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct table t = { 0 };

		assert_int_equal(table_parse(&t, lines[i], strlen(lines[i]), ":", why, sizeof(why)),
				 0);
		table_name("joe@" A, 0, &n);
		assert_string_equal(table_find(&t, c, &n), "ann");
		table_clear(&t);
	}
	config_free(c);
	conf_free(conf);
}

static void nobody_is_twice_in_an_alias_by_both(void **state)
{
	static const char lines[] = "team: joe@" U ", staff\nstaff: joe\n", users[] = "joe = joe\n";
	static char list[LOOKUP_EXPANSION_MAX][LOOKUP_ADDRESS_MAX];
	struct mta_config *c = parse(EDGE "[deliver]\ndomains = " U "\nusers = u\naliases = a\n");
	struct tables t = { 0 };
	struct lookup_rcpt a;
	char why[160];

	(void)state;
	assert_int_equal(table_parse(&t.aliases, lines, sizeof(lines) - 1, ":", why, sizeof(why)), 0);
	assert_int_equal(table_parse(&t.users, users, sizeof(users) - 1, "=", why, sizeof(why)), 0);
	tables_rcpt(&t, c, NULL, "team@" A, &a, list);
	assert_int_equal(a.status, LOOKUP_OK);
	assert_int_equal(a.to_count, 1);
	table_clear(&t.aliases);
	table_clear(&t.users);
	config_free(c);
	conf_free(conf);
}

static void addresses_are_equal_by_both(void **state)
{
	struct address a, b;

	(void)state;
	assert_int_equal(address_parse("j@" U, strlen("j@" U), ADDRESS_ALLOW_UTF8, &a), 0);
	assert_int_equal(address_parse("j@" A, strlen("j@" A), 0, &b), 0);
	assert_true(address_equal(&a, &b));
	/* And go on as they came. */
	assert_string_equal(a.text, "j@" U);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_spelling_becomes_the_same_one),
		cmocka_unit_test(routes_homes_and_own_domains_know_both),
		cmocka_unit_test(rules_know_both),
		cmocka_unit_test(tables_know_both),
		cmocka_unit_test(nobody_is_twice_in_an_alias_by_both),
		cmocka_unit_test(addresses_are_equal_by_both),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
