/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a hop tells of a letter: written, read, and what a peer may not make of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "story.h"

#define ID   "000102030405060708090a0b0c0d0e0f"
#define ID2  "ff0102030405060708090a0b0c0d0e0f"
#define HEAD "[{\"host\":\"home.example\",\"letter\":\"" ID "\"}]\n"

static char text[STORY_MAX + 4096];

static const char *word(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static json_t *event(const char *host, const char *letter, int at_ms, const char *said)
{
	return json_pack("{s:s,s:s,s:i,s:s,s:s,s:i,s:s,s:i}", "host", host, "letter", letter, "at_ms",
			 at_ms, "event", "delivered", "text", said, "recipient", 3, "address",
			 "joe@home.example", "code", 250);
}

static int read_it(struct story *s, const char *said)
{
	assert_int_equal(story_init(s), 0);
	return story_read(s, said, strlen(said), "vps.example", "home");
}

static void a_question_is_read_as_it_was_built(void **state)
{
	struct xtrace x = { .hops = 2, .ms = 7000 }, y;
	char args[XTRACE_ARGS_MAX];

	(void)state;
	assert_int_equal(letter_id_parse(ID, x.id), 0);
	assert_string_equal(xtrace_build(&x, args), ID " HOPS=2 MS=7000");
	assert_int_equal(xtrace_parse(args, strlen(args), &y), 0);
	assert_memory_equal(&x, &y, sizeof(x));
	for (size_t n = 0; n < strlen(ID); n++)
		assert_int_equal(xtrace_parse(args, n, &y), -EBADMSG);
}

static void a_question_has_its_bounds(void **state)
{
	static const char *const bad[] = { "", ID "0", ID "x", ID " HOPS=-1", ID " HOPS=1x", ID " more",
					   "0001", ID "\tHOPS=1", ("g" ID) };
	static const char far[] = ID "  hops=99999999999999999999   MS=88888 LATER=x ";
	struct xtrace x;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(xtrace_parse(bad[i], strlen(bad[i]), &x), -EBADMSG);
	assert_int_equal(xtrace_parse(far, strlen(far), &x), 0);
	assert_int_equal(x.hops, XTRACE_HOPS_MAX);
	assert_int_equal(x.ms, XTRACE_MS_MAX);
	assert_int_equal(xtrace_parse(ID, strlen(ID), &x), 0);
	assert_int_equal(x.hops, 0);
}

static void a_story_is_read_as_it_was_written(void **state)
{
	struct story s, back;
	size_t len;

	(void)state;
	assert_int_equal(story_init(&s), 0);
	json_array_append_new(s.events, event("home.example", ID, 10, "gr\u00fc\u00dfe"));
	json_array_append_new(s.events, event("home.example", ID, 11, "x"));
	json_array_append_new(s.events, event("ws.example", ID2, 9, "y"));
	story_silent(&s, "third", ID2, "the tunnel is down");
	len = story_write(&s, text, STORY_MAX);
	text[len] = 0;
	for (size_t i = 0; i < len; i++)
		assert_true(text[i] == '\n' || (text[i] >= 0x20 && text[i] < 0x7f));
	assert_int_equal(read_it(&back, text), 0);
	assert_true(json_equal(s.events, back.events));
	assert_true(json_equal(s.silent, back.silent));
	assert_false(back.cut);
	assert_int_equal(story_sort(&back), 0);
	assert_string_equal(word(json_array_get(back.events, 0), "host"), "ws.example");
	assert_string_equal(word(json_array_get(back.events, 1), "text"), "gr\u00fc\u00dfe");
	story_clear(&s);
	story_clear(&back);
}

/* Every line keeps its bound, and what does not fit is told to be missing. */
static void a_long_story_is_cut(void **state)
{
	char said[STORY_TEXT_MAX + 1];
	struct story s, back;
	size_t len;

	(void)state;
	assert_int_equal(story_init(&s), 0);
	memset(said, 'x', sizeof(said) - 1);
	said[sizeof(said) - 1] = 0;
	for (int i = 0; i < 300; i++)
		json_array_append_new(s.events, event("home.example", i % 2 ? ID : ID2, i, said));
	for (size_t cap = 0; cap < 4000; cap += 37)
		assert_true(story_write(&s, text, cap) <= cap);
	len = story_write(&s, text, STORY_MAX);
	assert_true(len <= STORY_MAX);
	text[len] = 0;
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		assert_true(strlen(line) <= STORY_LINE_MAX);
	len = story_write(&s, text, STORY_MAX);
	text[len] = 0;
	assert_int_equal(read_it(&back, text), 0);
	assert_true(back.cut);
	assert_in_range(json_array_size(back.events), 50, 200);
	story_clear(&s);
	story_clear(&back);
}

/* More than a line of it: its words go, it stays. */
static void an_event_too_long_for_a_line_loses_its_words(void **state)
{
	char *said = calloc(1, 3000);
	struct story s, back;

	(void)state;
	memset(said, 'x', 2999);
	assert_int_equal(story_init(&s), 0);
	json_array_append_new(s.events, event("home.example", ID, 1, said));
	text[story_write(&s, text, STORY_MAX)] = 0;
	assert_int_equal(read_it(&back, text), 0);
	assert_int_equal(json_array_size(back.events), 1);
	assert_string_equal(word(json_array_get(back.events, 0), "text"), "");
	assert_int_equal(json_integer_value(json_object_get(json_array_get(back.events, 0), "code")), 250);
	story_clear(&s);
	story_clear(&back);
	free(said);
}

static void what_is_no_story_is_refused(void **state)
{
	static const char *const bad[] = {
		"{}\n", "[1]\n", "[\n", "[]]\n", "x\n", "\n", "[{\"event\":\"accepted\",\"at_ms\":1}]\n",
		HEAD "[{\"event\":\"accepted\"}]\n", HEAD "[{\"event\":\"accepted\",\"at_ms\":\"1\"}]\n",
		HEAD "[{\"event\":\"accepted\",\"at_ms\":-1}]\n",
		HEAD "[{\"event\":\"accepted\",\"at_ms\":253402300800000}]\n",
		HEAD "[{\"event\":\"ACC\",\"at_ms\":1}]\n", HEAD "[{\"event\":\"\",\"at_ms\":1}]\n",
		HEAD "[{\"event\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\",\"at_ms\":1}]\n",
		HEAD "[{\"event\":7,\"at_ms\":1}]\n", "[{\"host\":\"h\"}]\n",
		"[{\"host\":\"h\",\"letter\":\"0001\"}]\n",
		HEAD "[{\"event\":\"accepted\",\"event\":\"x\",\"at_ms\":1}]\n",
		HEAD "[{\"event\":\"accepted\",\"at_ms\":1,\"text\":\"\xff\"}]\n",
	};
	struct story s;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(read_it(&s, bad[i]), -EBADMSG);
		assert_int_equal(json_array_size(s.events), 0);
		story_clear(&s);
	}
	memset(text, ' ', 3000);
	text[3000] = 0;
	memcpy(text, "[]", 2);
	assert_int_equal(read_it(&s, text), -EBADMSG);
	story_clear(&s);
}

static void what_a_peer_says_is_bounded_and_plain(void **state)
{
	static const char said[] =
		HEAD "[{\"event\":\"newer-word\",\"at_ms\":1,\"text\":\"a\\u001b[2J\\u009bb\\u007f\\n\","
		     "\"address\":7,\"code\":70000000,\"recipient\":-1,\"attempts\":2,"
		     "\"peer_id\":\"short\",\"host\":\"vps.example\",\"more\":{\"deep\":[]}}]\n"
		     "[{\"hop\":\"x\\u001b\",\"why\":\"no\\nmore\",\"id\":\"zz\"},{\"later\":1}]\n";
	const json_t *e;
	struct story s;

	(void)state;
	assert_int_equal(read_it(&s, said), 0);
	e = json_array_get(s.events, 0);
	assert_string_equal(word(e, "text"), "a?[2J?b??");
	assert_string_equal(word(e, "host"), "home.example");
	assert_string_equal(word(e, "letter"), ID);
	assert_int_equal(json_integer_value(json_object_get(e, "attempts")), 2);
	assert_int_equal(json_object_size(e), 6);
	e = json_array_get(s.silent, 0);
	assert_string_equal(word(e, "hop"), "x?");
	assert_string_equal(word(e, "why"), "no?more");
	assert_null(json_object_get(e, "id"));
	story_clear(&s);
}

/* Nobody speaks as we, nor under a name that is none. */
static void a_host_that_takes_a_name_that_is_not_its_own_is_called_as_we_call_it(void **state)
{
	static const char *const names[] = { "vps.example", "VPS.example", "a b", "a\\u001b", "<x>" };
	struct story s;

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		snprintf(text, sizeof(text),
			 "[{\"host\":\"%s\",\"letter\":\"" ID "\"},{\"event\":\"held\",\"at_ms\":1}]",
			 names[i]);
		assert_int_equal(read_it(&s, text), 0);
		assert_string_equal(word(json_array_get(s.events, 0), "host"), "home");
		story_clear(&s);
	}
}

static void no_more_is_taken_than_fits(void **state)
{
	char *said = calloc(1, 400000), *at;
	struct story s;

	(void)state;
	at = said + sprintf(said, HEAD);
	for (int i = 0; i < STORY_EVENTS_MAX + 5; i++)
		at += sprintf(at, "[{\"event\":\"held\",\"at_ms\":1},{\"hop\":\"h\",\"why\":\"w\"}]\n");
	assert_int_equal(read_it(&s, said), 0);
	assert_int_equal(json_array_size(s.events), STORY_EVENTS_MAX);
	assert_int_equal(json_array_size(s.silent), STORY_SILENT_MAX);
	assert_true(s.cut);
	story_clear(&s);
	/* Cut between two characters. */
	at = said + sprintf(said, HEAD "[{\"event\":\"held\",\"at_ms\":1,\"text\":\"x");
	for (int i = 0; i < STORY_TEXT_MAX; i++)
		at += sprintf(at, "\u00fc");
	sprintf(at, "\"}]\n");
	assert_int_equal(read_it(&s, said), 0);
	assert_int_equal(strlen(word(json_array_get(s.events, 0), "text")), STORY_TEXT_MAX - 1);
	story_clear(&s);
	free(said);
}

static void of_hops_that_are_silent_no_more_are_joined_than_fit(void **state)
{
	struct story s, more;

	(void)state;
	assert_int_equal(story_init(&s), 0);
	for (int times = 0; times < 3; times++) {
		assert_int_equal(story_init(&more), 0);
		for (int i = 0; i < STORY_SILENT_MAX / 2; i++)
			story_silent(&more, "h", ID, "w");
		assert_false(s.cut);
		story_join(&s, &more);
		assert_int_equal(json_array_size(more.silent), 0);
		story_clear(&more);
	}
	assert_true(s.cut);
	assert_int_equal(json_array_size(s.silent), STORY_SILENT_MAX);
	story_clear(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_question_is_read_as_it_was_built),
		cmocka_unit_test(a_question_has_its_bounds),
		cmocka_unit_test(a_story_is_read_as_it_was_written),
		cmocka_unit_test(a_long_story_is_cut),
		cmocka_unit_test(an_event_too_long_for_a_line_loses_its_words),
		cmocka_unit_test(what_is_no_story_is_refused),
		cmocka_unit_test(what_a_peer_says_is_bounded_and_plain),
		cmocka_unit_test(
		    a_host_that_takes_a_name_that_is_not_its_own_is_called_as_we_call_it),
		cmocka_unit_test(no_more_is_taken_than_fits),
		cmocka_unit_test(of_hops_that_are_silent_no_more_are_joined_than_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
