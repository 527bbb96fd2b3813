/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a hop says of a letter, and how it asks: what is taken is plain, in its bounds, and read again as it was. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "story.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void plain(const json_t *o, const char *key, size_t max)
{
	const char *s = json_string_value(json_object_get(o, key));

	assert(!s || strlen(s) <= max);
	for (; s && *s; s++)
		assert((unsigned char)*s >= 0x20 && *s != 0x7f &&
		       !((unsigned char)*s == 0xc2 && (unsigned char)s[1] < 0xa0));
}

static void story(const char *text, size_t len)
{
	static char out[STORY_MAX], again[STORY_MAX];
	struct story s, back;
	const json_t *e;
	size_t i, n;

	assert(!story_init(&s) && !story_init(&back));
	story_read(&s, text, len, "own.example", "via");
	assert(json_array_size(s.events) <= STORY_EVENTS_MAX);
	assert(json_array_size(s.silent) <= STORY_SILENT_MAX);
	json_array_foreach(s.events, i, e)
	{
		assert(json_string_value(json_object_get(e, "host"))[0]);
		assert(strcmp(json_string_value(json_object_get(e, "host")), "own.example"));
		plain(e, "host", STORY_HOST_MAX);
		plain(e, "event", STORY_WORD_MAX);
		plain(e, "text", STORY_TEXT_MAX);
		plain(e, "address", ENVELOPE_PATH_MAX);
	}
	json_array_foreach(s.silent, i, e)
	{
		plain(e, "hop", STORY_HOST_MAX);
		plain(e, "why", STORY_TEXT_MAX);
	}
	n = story_write(&s, out, sizeof(out));
	assert(n <= sizeof(out));
	assert(!story_read(&back, out, n, "own.example", "via"));
	assert(json_array_size(back.events) == json_array_size(s.events) || back.cut);
	assert(story_write(&back, again, sizeof(again)) == n && !memcmp(out, again, n));
	assert(!story_sort(&s));
	story_clear(&s);
	story_clear(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *text = malloc(len ? len : 1), args[XTRACE_ARGS_MAX];
	struct xtrace x, y;

	assert(text);
	if (len)
		memcpy(text, data, len); /* of its exact size, for the sanitizer */
	if (!xtrace_parse(text, len, &x)) {
		assert(x.hops <= XTRACE_HOPS_MAX && x.ms <= XTRACE_MS_MAX);
		xtrace_build(&x, args);
		assert(!xtrace_parse(args, strlen(args), &y) && !memcmp(&x, &y, sizeof(x)));
	}
	story(text, len);
	free(text);
	return 0;
}
