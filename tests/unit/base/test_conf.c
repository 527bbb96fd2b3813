/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bundle.h"
#include "conf.h"

static const char *const starts[] = { "always", "on-demand", "no", NULL };

static int no_foo(const struct conf_value *v, char *why, size_t cap)
{
	if (strcmp(v->text, "foo"))
		return 0;
	snprintf(why, cap, "foo is taken");
	return -1;
}

static const struct conf_key main_keys[] = {
	{ .name = "identity", .type = CONF_IDENTITY, .flags = CONF_REQUIRED },
	{ .name = "mtu", .type = CONF_UINT, .min = 576, .max = 65535, .dflt = "1400" },
	{ .name = "quiet", .type = CONF_BOOL, .dflt = "no" },
	{ .name = "lifetime", .type = CONF_DURATION, .min = 1000, .max = 86400000, .dflt = "1h" },
	{ .name = "queue-max", .type = CONF_SIZE, .min = 1024, .dflt = "10M" },
	{ .name = "text", .type = CONF_STRING, .max = 4000, .check = no_foo },
	{ .name = "words", .type = CONF_STRING, .flags = CONF_LIST, .max = 4000 },
	{ .name = "private-key", .type = CONF_PATH, .flags = CONF_SECRET_FILE },
	{ .name = "listen", .type = CONF_ENDPOINT, .flags = CONF_LIST, .min = 25 },
};
static const struct conf_key peer_keys[] = {
	{ .name = "address", .type = CONF_HOST, .flags = CONF_LIST },
	{ .name = "networks", .type = CONF_PREFIX, .flags = CONF_LIST },
	{ .name = "assign", .type = CONF_ADDR, .flags = CONF_LIST },
	{ .name = "start", .type = CONF_ENUM, .words = starts, .dflt = "no" },
	{ .name = "public-key", .type = CONF_PATH, .flags = CONF_PUBLIC_FILE },
	{ .name = "domain", .type = CONF_DOMAIN },
};
static const struct conf_key rule_keys[] = {
	{ .name = "action", .type = CONF_STRING },
};
static const struct conf_kind kinds[] = {
	{ "main", CONF_NEEDED, CONF_STRING, main_keys, CONF_COUNT(main_keys), "the program" },
	{ "peer", CONF_NAMED, CONF_DOMAIN, peer_keys, CONF_COUNT(peer_keys), NULL },
	{ "rule", CONF_NAMED, CONF_STRING, rule_keys, CONF_COUNT(rule_keys), NULL },
	{ "extra", CONF_MANY, CONF_STRING, rule_keys, CONF_COUNT(rule_keys), NULL },
};
static const struct conf_schema schema = { kinds, CONF_COUNT(kinds) };

#define MAIN "[main]\nidentity = home.example.net\n"

static struct conf *parse(const char *text)
{
	struct conf *c = conf_parse(&schema, "/etc/postern/p.conf", text, strlen(text));

	assert_non_null(c);
	return c;
}

static struct conf *good(const char *text)
{
	struct conf *c = parse(text);

	if (!conf_ok(c))
		fail_msg("%s", c->errors);
	return c;
}

/* @want without the leading file name and colon. */
static void bad(const char *text, const char *want)
{
	struct conf *c = parse(text);
	char full[2048];

	snprintf(full, sizeof(full), "/etc/postern/p.conf:%s", want);
	assert_false(conf_ok(c));
	assert_string_equal(c->errors, full);
	conf_free(c);
}

static const char *text_of(const struct conf *c, const char *key)
{
	return conf_text(conf_find(c, "main", ""), key);
}

static void reads_every_type(void **state)
{
	struct conf *c =
	    good(MAIN "mtu = 1280\nquiet = yes\nlifetime = 90s\nqueue-max = 2K\n"
		      "text = a b\nwords = x, \"y, z\" ,w\nprivate-key = keys/home.key\n"
		      "listen = 192.0.2.1, [2001:db8::1]:587\n"
		      "[peer vps]\naddress = VPS.example.net, 2001:db8::2\n"
		      "networks = 10.99.0.0/24, fd99::1\nassign = 10.99.0.2\n"
		      "start = on-demand\n");
	const struct conf_section *m = conf_find(c, "main", ""), *p = conf_find(c, "peer", "vps");
	const struct conf_entry *e;
	char s[ENDPOINT_STR_MAX];

	(void)state;
	assert_int_equal(conf_uint(m, "mtu"), 1280);
	assert_true(conf_bool(m, "quiet"));
	assert_int_equal(conf_uint(m, "lifetime"), 90000);
	assert_int_equal(conf_uint(m, "queue-max"), 2048);
	assert_string_equal(conf_text(m, "text"), "a b");
	assert_string_equal(conf_text(m, "private-key"), "/etc/postern/keys/home.key");
	e = conf_get(m, "words");
	assert_int_equal(e->count, 3);
	assert_string_equal(e->values[1].text, "y, z");
	assert_string_equal(e->values[2].text, "w");
	e = conf_get(m, "listen");
	assert_string_equal(endpoint_str(&e->values[0].endpoint, s), "192.0.2.1:25");
	assert_string_equal(endpoint_str(&e->values[1].endpoint, s), "[2001:db8::1]:587");
	e = conf_get(p, "address");
	assert_string_equal(e->values[0].text, "vps.example.net");
	assert_int_equal(e->values[0].addr.family, 0);
	assert_int_equal(e->values[1].addr.family, AF_INET6);
	e = conf_get(p, "networks");
	assert_int_equal(e->values[0].prefix.len, 24);
	assert_int_equal(e->values[1].prefix.len, 128);
	assert_int_equal(conf_uint(p, "start"), 1);
	conf_free(c);
}

static void gives_defaults_with_line_zero(void **state)
{
	struct conf *c = good(MAIN);
	const struct conf_section *m = conf_find(c, "main", "");

	(void)state;
	assert_int_equal(conf_uint(m, "mtu"), 1400);
	assert_int_equal(conf_uint(m, "lifetime"), 3600000);
	assert_false(conf_is_set(m, "mtu"));
	assert_int_equal(conf_line(m, "mtu"), 1);
	assert_int_equal(conf_line(m, "identity"), 2);
	assert_null(conf_text(m, "text"));
	assert_int_equal(conf_get(m, "words")->count, 0);
	conf_free(c);
}

static void keeps_sections_in_file_order(void **state)
{
	struct conf *c =
	    good("[rule b]\n" MAIN "[rule a]\n[extra]\n[extra]\naction = x\n[rule c]\n");
	const struct conf_section *s = NULL;
	char order[8] = "";

	(void)state;
	while ((s = conf_next(c, "rule", s)))
		strcat(order, s->name);
	assert_string_equal(order, "bac");
	s = conf_next(c, "extra", conf_next(c, "extra", NULL));
	assert_int_equal(s->line, 6);
	assert_null(conf_next(c, "extra", s));
	conf_free(c);
}

/* ---- the traps of inih ---- */

static void a_line_of_3000_bytes_arrives_whole(void **state)
{
	char text[4000], want[3001];
	struct conf *c;

	(void)state;
	for (int i = 0; i < 3000; i++)
		want[i] = "abc def;=:#[]\xc3\xa9"[i % 15];
	want[2999] = 'x';
	want[3000] = '\0';
	/* no half character at the end */
	for (int i = 2996; i < 3000; i++)
		want[i] = 'x';
	snprintf(text, sizeof(text), MAIN "text = \"%s\"\n", want);
	c = good(text);
	assert_string_equal(text_of(c, "text"), want);
	conf_free(c);
}

static void a_list_of_200_networks_on_one_line_arrives_whole(void **state)
{
	char text[8000] = MAIN "[peer vps]\nnetworks = ";
	struct conf *c;
	const struct conf_entry *e;
	size_t at = strlen(text);

	(void)state;
	for (int i = 0; i < 200; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s10.%d.0.0/16",
				       i ? ", " : "", i);
	c = good(text);
	e = conf_get(conf_find(c, "peer", "vps"), "networks");
	assert_int_equal(e->count, 200);
	assert_int_equal(e->values[199].prefix.addr.b[1], 199);
	conf_free(c);
}

static void a_section_name_of_200_bytes_is_not_cut(void **state)
{
	char text[600], name[201];
	struct conf *c;

	(void)state;
	memset(name, 'n', 200);
	name[200] = '\0';
	snprintf(text, sizeof(text), MAIN "[rule %s]\naction = one\n[rule %.199s]\naction = two\n",
		 name, name);
	c = good(text);
	assert_string_equal(conf_text(conf_find(c, "rule", name), "action"), "one");
	name[199] = '\0';
	assert_string_equal(conf_text(conf_find(c, "rule", name), "action"), "two");
	conf_free(c);
}

static void an_indented_key_is_a_key_and_no_continuation(void **state)
{
	struct conf *c =
	    good(MAIN "text = one\n\t  mtu = 1300\n  [peer vps]\n    domain = x.example\n");

	(void)state;
	assert_string_equal(text_of(c, "text"), "one");
	assert_int_equal(conf_uint(conf_find(c, "main", ""), "mtu"), 1300);
	assert_string_equal(conf_text(conf_find(c, "peer", "vps"), "domain"), "x.example");
	conf_free(c);
}

static void an_indented_line_without_a_key_is_refused(void **state)
{
	(void)state;
	bad(MAIN "words = one,\n   two\n",
	    "3: words = : empty; allowed: text\n"
	    "/etc/postern/p.conf:4: \"two\" is neither [section] nor key = value");
}

static void a_semicolon_in_quotes_does_not_cut(void **state)
{
	struct conf *c = good(MAIN "text = \"a ; b # c\" ; a comment\nwords = x # y\n");

	(void)state;
	assert_string_equal(text_of(c, "text"), "a ; b # c");
	assert_int_equal(conf_get(conf_find(c, "main", ""), "words")->count, 1);
	conf_free(c);
}

static void a_semicolon_inside_of_a_bare_value_is_refused(void **state)
{
	(void)state;
	bad(MAIN "text = ^a;b$\n", "3: ';' inside of a value; put the value in double quotes, or a "
				   "space before a comment");
	bad(MAIN "text = pass#word\n", "3: '#' inside of a value; put the value in double quotes, "
				       "or a space before a comment");
}

static void a_colon_does_not_separate(void **state)
{
	struct conf *c = good(MAIN "text = a:b = c\n");

	(void)state;
	assert_string_equal(text_of(c, "text"), "a:b = c");
	conf_free(c);
	bad(MAIN "mtu: 1300\n", "3: \"mtu: 1300\" is neither [section] nor key = value; ':' does "
				"not separate, write '='");
	bad(MAIN "fd99::1 = x\n", "3: \"fd99::1\" is not a key; a key is made of a-z, 0-9 and '-', "
				  "and stands before '='");
}

static void an_empty_section_is_seen(void **state)
{
	struct conf *c = good(MAIN "[peer vps]\n[peer home]\n");

	(void)state;
	assert_non_null(conf_find(c, "peer", "vps"));
	assert_int_equal(conf_find(c, "peer", "home")->line, 4);
	conf_free(c);
	bad("[main]\n[peer a]\n", "1: [main] lacks key \"identity\"; allowed: a domain name, "
				  "user@domain or an address");
}

static void a_repeated_section_is_refused(void **state)
{
	(void)state;
	bad(MAIN "[peer vps]\n[peer home]\n[peer VPS]\nstart = nonsense\n",
	    "5: section [peer vps] stands twice; first at line 3");
}

static void a_repeated_key_is_refused_unless_it_is_a_list(void **state)
{
	struct conf *c;

	(void)state;
	bad(MAIN "mtu = 1300\nmtu = 1400\n",
	    "4: key \"mtu\" stands twice in [main]; first at line 3");
	c = good(MAIN "words = a, b\nwords = c\n");
	assert_int_equal(conf_get(conf_find(c, "main", ""), "words")->count, 3);
	assert_int_equal(conf_get(conf_find(c, "main", ""), "words")->values[2].line, 4);
	conf_free(c);
}

static void line_numbers_count_comments_and_crlf(void **state)
{
	(void)state;
	bad("# one\r\n\r\n; three\r\n[main]\r\nidentity = a.example\r\n\r\nmtu = x\r\n",
	    "7: mtu = x: not a number; allowed: 576 to 65535");
}

static void a_byte_order_mark_is_skipped(void **state)
{
	struct conf *c = good("\xef\xbb\xbf" MAIN);

	(void)state;
	conf_free(c);
}

static void the_last_line_needs_no_newline(void **state)
{
	struct conf *c = good(MAIN "mtu = 1301");

	(void)state;
	assert_int_equal(conf_uint(conf_find(c, "main", ""), "mtu"), 1301);
	conf_free(c);
}

static void bytes_that_are_no_text_are_refused(void **state)
{
	struct conf *c = conf_parse(&schema, "f", "[main]\nidentity = a\0b.example\n", 29);

	(void)state;
	assert_non_null(strstr(c->errors, "f:2: control character 0x00; allowed: text"));
	conf_free(c);
	bad(MAIN "text = \xff\n", "3: byte 0xff is not UTF-8; allowed: UTF-8 text");
	bad(MAIN "text = \xc3\n", "3: byte 0xc3 is not UTF-8; allowed: UTF-8 text");
	bad(MAIN "text = \xed\xa0\x80\n", "3: byte 0xed is not UTF-8; allowed: UTF-8 text");
}

/* ---- messages ---- */

static void unknown_names_are_answered_with_the_nearest(void **state)
{
	(void)state;
	bad(MAIN "[per vps]\nx = y\n", "3: unknown section [per vps]; did you mean [peer NAME]?");
	bad(MAIN "[zzzzzz]\n",
	    "3: unknown section [zzzzzz]; allowed: [main], [peer NAME], [rule NAME], [extra]");
	bad(MAIN "privat-key = x\n",
	    "3: unknown key \"privat-key\" in [main]; did you mean \"private-key\"?");
	bad(MAIN "mut = 1400\n", "3: unknown key \"mut\" in [main]; did you mean \"mtu\"?");
	bad(MAIN "networks = 10.0.0.0/8\n",
	    "3: key \"networks\" does not belong in [main]; it belongs in [peer NAME]");
	bad(MAIN "[rule x]\ncolour = red\n",
	    "4: unknown key \"colour\" in [rule x]; allowed: action");
	bad(MAIN "[peer vps]\nstart = alway\n", "4: start = alway: no such word, did you mean "
						"\"always\"?; allowed: always, on-demand or no");
}

static void bad_values_say_what_is_allowed(void **state)
{
	(void)state;
	bad(MAIN "mtu = 99\n", "3: mtu = 99: out of range; allowed: 576 to 65535");
	bad(MAIN "mtu = -1\n", "3: mtu = -1: not a number; allowed: 576 to 65535");
	bad(MAIN "mtu = 99999999999999999999999\n",
	    "3: mtu = 99999999999999999999999: out of range; allowed: 576 to 65535");
	bad(MAIN "mtu =\n", "3: mtu has no value; allowed: 576 to 65535");
	bad(MAIN "mtu = 1300, 1400\n",
	    "3: mtu = 1300, 1400: takes one value; a value with a comma stands in double quotes");
	bad(MAIN "quiet = maybe\n", "3: quiet = maybe: not yes or no; allowed: yes or no");
	bad(MAIN "lifetime = 60\n",
	    "3: lifetime = 60: not a duration; allowed: a duration (ms, s, m, h, d), 1s to 1d");
	bad(MAIN "lifetime = 1ms\n",
	    "3: lifetime = 1ms: out of range; allowed: a duration (ms, s, m, h, d), 1s to 1d");
	bad(MAIN "queue-max = 5T\n",
	    "3: queue-max = 5T: not a size; allowed: a size (K, M, G), 1K or more");
	bad(MAIN "text = foo\n", "3: text = foo: foo is taken; allowed: text");
	bad(MAIN "text = \"open\n",
	    "3: text = \"open: the closing double quote is missing; allowed: text");
	bad(MAIN "text = \"a\" b\n",
	    "3: text = \"a\" b: text behind the closing double quote; allowed: text");
	bad(MAIN "text = \"a\\n\"\n",
	    "3: text = \"a\\n\": only \\\" and \\\\ are escapes; allowed: text");
	bad(MAIN "text = a \"b\"\n",
	    "3: text = a \"b\": a double quote inside; the whole value stands "
	    "in quotes; allowed: text");
	bad(MAIN "listen = 192.0.2.1:99999\n",
	    "3: listen = 192.0.2.1:99999: not an address with a port; "
	    "allowed: ADDRESS:PORT or [IPV6]:PORT");
	bad(MAIN "[peer a]\nnetworks = 10.0.0.1/8\n",
	    "4: networks = 10.0.0.1/8: has bits set behind its length, did you mean 10.0.0.0/8?; "
	    "allowed: an address or prefix such as 192.0.2.0/24 or 2001:db8::/64");
	bad(MAIN "[peer a]\nassign = fd99::1::2\n",
	    "4: assign = fd99::1::2: not an address; allowed: an IPv4 or IPv6 address");
	bad(MAIN "[peer a]\naddress = 192.0.2.256\n",
	    "4: address = 192.0.2.256: neither a name nor an address; allowed: a host name or an "
	    "address");
	bad(MAIN "[peer a]\ndomain = -x.example\n",
	    "4: domain = -x.example: not a domain name; allowed: a domain name");
}

static void headers_are_checked(void **state)
{
	(void)state;
	bad(MAIN "[peer vps\n", "3: section header \"[peer vps\" does not end with ']'");
	bad(MAIN "[peer]\n", "3: [peer] needs a name: [peer NAME]");
	bad(MAIN "[extra x]\n", "3: [extra x]: this section takes no name; allowed: [extra]");
	bad(MAIN "[peer a b]\n",
	    "3: [peer a b]; a name with spaces or [ ] , \" stands in double quotes");
	bad(MAIN "[peer a_!]\n", "3: [peer a_!]: not a domain name; allowed: a domain name");
	bad("mtu = 1400\n" MAIN, "1: key \"mtu\" stands before the first section");
	bad("", " section [main] is missing");
	conf_free(good(MAIN "[ peer   vps ]  # a comment\n[rule \"^a ;b]$\"]\n"));
}

/* Of many faults the first ones whole, and how many more there are; never half a character. */
static void what_is_wrong_is_told_in_whole_lines(void **state)
{
	char text[4096] = MAIN, told[400], *line;
	size_t lines = 0;
	struct conf *c;

	(void)state;
	for (int i = 0; i < 60; i++)
		sprintf(text + strlen(text), "unheard-of-%d = \"y\xc3\xa9s\"\n", i);
	for (size_t cap = 256; cap <= sizeof(told); cap++) {
		c = parse(text);
		lines = 0;
		memset(told, 'x', sizeof(told));
		conf_told(c, told, cap);
		assert_true(strlen(told) < cap);
		for (char *rest = told; (line = strsep(&rest, "\n")); lines++) {
			const char *key = strstr(c->errors, line);
			char more[40];

			if (rest) {
				assert_non_null(key);
				assert_true(key[strlen(line)] == '\n');
				continue;
			}
			sprintf(more, "... and %zu more", 60 - lines);
			assert_string_equal(line, more);
		}
		assert_true(lines > 1);
		conf_free(c);
	}
	c = parse(MAIN "mtu = 5\n");
	conf_told(c, told, sizeof(told));
	assert_string_equal(told, c->errors);
	conf_error(c, 0, "one more");
	conf_told(c, told, sizeof(told));
	assert_string_equal(told, c->errors);
	conf_free(c);
	for (size_t n = 200; n < 206; n++) { /* one that is too long by itself */
		c = good(MAIN);
		memset(text, 0, sizeof(text));
		memset(text, 'a', n);
		for (int i = 0; i < 200; i++)
			strcat(text, "\xc3\xa9");
		conf_error(c, 0, "%s", text);
		conf_told(c, told, 256);
		assert_true(strlen(told) < 256);
		line = strstr(told, "...");
		assert_non_null(line);
		assert_string_equal(line, "...");
		assert_true(line[-1] == 'a' || line[-1] == '\xa9');
		conf_free(c);
	}
	conf_told(NULL, told, sizeof(told));
	assert_string_equal(told, "out of memory");
}

static void errors_are_collected_up_to_a_bound(void **state)
{
	char text[4096] = MAIN;
	struct conf *c;
	unsigned lines = 1;

	(void)state;
	for (int i = 0; i < 80; i++)
		strcat(text, "zz = 1\n");
	c = parse(text);
	assert_int_equal(c->error_count, 80);
	for (const char *p = c->errors; (p = strchr(p, '\n')); p++)
		lines++;
	assert_int_equal(lines, CONF_ERRORS_MAX);
	conf_free(c);
}

/* ---- files ---- */

static char dir[] = "/tmp/postern-conf-XXXXXX";

static const char *file(const char *name, const char *text, mode_t mode)
{
	static char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
	return path;
}

static void a_file_that_others_can_write_is_refused(void **state)
{
	struct conf *c;
	char want[512];
	const char *path = file("w.conf", MAIN, 0664);

	(void)state;
	c = conf_load(&schema, path);
	snprintf(want, sizeof(want), "%s: is writable by others (mode 0664); chmod go-w", path);
	assert_string_equal(c->errors, want);
	conf_free(c);
	c = conf_load(&schema, file("w.conf", MAIN, 0644));
	assert_true(conf_ok(c));
	conf_free(c);
	c = conf_load(&schema, "/nonexistent/p.conf");
	assert_string_equal(c->errors,
			    "/nonexistent/p.conf: cannot be opened: No such file or directory");
	conf_free(c);
	c = conf_load(&schema, "/dev/null");
	assert_string_equal(c->errors, "/dev/null: is not a regular file");
	conf_free(c);
}

static void a_bundle_carries_public_files_and_no_secret(void **state)
{
	char text[512];
	const char *path;
	struct conf *c, *again;
	struct bundle *b;
	size_t len;
	int fd;

	(void)state;
	file("pub.pem", "PUBLIC", 0644);
	file("key.pem", "SECRET", 0600);
	snprintf(text, sizeof(text),
		 MAIN "private-key = key.pem\n[peer vps]\npublic-key = pub.pem\n"
		      "[peer two]\npublic-key = pub.pem\n");
	path = file("p.conf", text, 0644);
	c = conf_load(&schema, path);
	assert_true(conf_ok(c));
	fd = bundle_make(c, text, strlen(text), NULL);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "x", 1), -1);
	b = bundle_open(fd);
	assert_non_null(b);
	again = bundle_conf(b, &schema);
	assert_true(conf_ok(again));
	assert_string_equal(again->path, path);
	assert_string_equal(
	    bundle_file(b, conf_text(conf_find(again, "peer", "two"), "public-key"), &len),
	    "PUBLIC");
	assert_int_equal(len, 6);
	assert_null(bundle_file(b, conf_text(conf_find(again, "main", ""), "private-key"), &len));
	conf_free(again);
	bundle_free(b);
	close(fd);

	file("key.pem", "SECRET", 0640);
	assert_true(bundle_make(c, text, strlen(text), NULL) < 0);
	assert_non_null(strstr(c->errors, "p.conf:3: private-key = "));
	assert_non_null(
	    strstr(c->errors, "is a secret readable by others (mode 0640); chmod 0600"));
	conf_free(c);
}

static uint64_t mark_of(const char *text, struct conf *c)
{
	int fd = bundle_make(c, text, strlen(text), NULL);
	struct bundle *b = bundle_open(fd);
	uint64_t mark;

	assert_non_null(b);
	mark = bundle_mark(b, conf_text(conf_find(c, "main", ""), "private-key"));
	assert_int_equal(bundle_mark(b, "/nowhere"), 0);
	bundle_free(b);
	close(fd);
	return mark;
}

static void a_bundle_tells_whether_a_secret_has_changed(void **state)
{
	static const char text[] = MAIN "private-key = key.pem\n";
	struct conf *c;
	uint64_t mark;

	(void)state;
	file("key.pem", "SECRET", 0600);
	c = conf_load(&schema, file("p.conf", text, 0644));
	assert_true(conf_ok(c));
	mark = mark_of(text, c);
	assert_true(mark != 0);
	assert_true(mark_of(text, c) == mark);
	file("key.pem", "SECRES", 0600);
	assert_true(mark_of(text, c) != mark);
	conf_free(c);
}

static char taken[64];
static int take_rc;

/* As if somebody wrote the file anew in the middle of a reload. */
static int take(void *arg, const struct conf_key *k, const struct conf_value *v, const char *data,
		size_t len)
{
	size_t at = strlen(taken);

	(void)arg;
	assert_string_equal(k->name, "private-key");
	assert_int_equal(v->line, 3);
	snprintf(taken + at, sizeof(taken) - at, "%.*s;", (int)len, data);
	file("key.pem", "OTHER", 0600);
	return take_rc;
}

static void a_secret_is_taken_as_it_was_marked(void **state)
{
	static const char text[] = MAIN "private-key = key.pem\n";
	const struct bundle_secrets secrets = { take, NULL };
	struct conf *c;
	struct bundle *b;
	uint64_t mark;
	int fd;

	(void)state;
	file("key.pem", "SECRET", 0600);
	c = conf_load(&schema, file("p.conf", text, 0644));
	mark = mark_of(text, c);
	taken[0] = '\0';
	fd = bundle_make(c, text, strlen(text), &secrets);
	b = bundle_open(fd);
	assert_non_null(b);
	assert_string_equal(taken, "SECRET;");
	assert_true(bundle_mark(b, conf_text(conf_find(c, "main", ""), "private-key")) == mark);
	assert_true(mark_of(text, c) != mark);
	bundle_free(b);
	close(fd);
	/* Who cannot take one ends it. */
	take_rc = -ENOSPC;
	assert_int_equal(bundle_make(c, text, strlen(text), &secrets), -ENOSPC);
	take_rc = 0;
	conf_free(c);
}

static void a_torn_bundle_is_refused(void **state)
{
	static const char whole[] = "\0\0\0\1p\0\0\0\2ab\0\0\0\1q\0\0\0\0";

	(void)state;
	for (size_t n = 0; n < sizeof(whole) - 1; n++) {
		struct bundle *b = bundle_parse(whole, n);

		if (n == 11) {
			assert_non_null(b);
			bundle_free(b);
		} else {
			assert_null(b);
		}
	}
}

static void every_key_is_printed(void **state)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	(void)state;
	conf_print_keys(&schema, f);
	fclose(f);
	assert_non_null(strstr(text, "mtu                  576 to 65535  default 1400"));
	assert_non_null(strstr(text, "[peer NAME]"));
	free(text);
}

static int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	static const char *const names[] = { "w.conf", "p.conf", "pub.pem", "key.pem" };
	char path[256];

	(void)state;
	for (size_t i = 0; i < CONF_COUNT(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_every_type),
		cmocka_unit_test(gives_defaults_with_line_zero),
		cmocka_unit_test(keeps_sections_in_file_order),
		cmocka_unit_test(a_line_of_3000_bytes_arrives_whole),
		cmocka_unit_test(a_list_of_200_networks_on_one_line_arrives_whole),
		cmocka_unit_test(a_section_name_of_200_bytes_is_not_cut),
		cmocka_unit_test(an_indented_key_is_a_key_and_no_continuation),
		cmocka_unit_test(an_indented_line_without_a_key_is_refused),
		cmocka_unit_test(a_semicolon_in_quotes_does_not_cut),
		cmocka_unit_test(a_semicolon_inside_of_a_bare_value_is_refused),
		cmocka_unit_test(a_colon_does_not_separate),
		cmocka_unit_test(an_empty_section_is_seen),
		cmocka_unit_test(a_repeated_section_is_refused),
		cmocka_unit_test(a_repeated_key_is_refused_unless_it_is_a_list),
		cmocka_unit_test(line_numbers_count_comments_and_crlf),
		cmocka_unit_test(a_byte_order_mark_is_skipped),
		cmocka_unit_test(the_last_line_needs_no_newline),
		cmocka_unit_test(bytes_that_are_no_text_are_refused),
		cmocka_unit_test(unknown_names_are_answered_with_the_nearest),
		cmocka_unit_test(bad_values_say_what_is_allowed),
		cmocka_unit_test(headers_are_checked),
		cmocka_unit_test(errors_are_collected_up_to_a_bound),
		cmocka_unit_test(what_is_wrong_is_told_in_whole_lines),
		cmocka_unit_test(a_file_that_others_can_write_is_refused),
		cmocka_unit_test(a_bundle_carries_public_files_and_no_secret),
		cmocka_unit_test(a_bundle_tells_whether_a_secret_has_changed),
		cmocka_unit_test(a_secret_is_taken_as_it_was_marked),
		cmocka_unit_test(a_torn_bundle_is_refused),
		cmocka_unit_test(every_key_is_printed),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
