/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "archive.h"

static uint8_t file[8192];
static size_t file_len;

static void put_letter(struct archive_writer *w, uint8_t id, const char *body)
{
	static const uint8_t told[] = { 0, 1, 0, 3 }, way[] = { 0, 2, 'a', 0, 0, 3, 'b', 'c', 0 };
	uint8_t buf[256];
	struct wr x = wr_init(buf, sizeof(buf));
	struct archive_letter a = { .age_s = 77,
				    .state = id & 1,
				    .body_len = strlen(body),
				    .told_count = 2,
				    .told = rd_init(told, sizeof(told)),
				    .way_count = 1,
				    .way = rd_init(way, sizeof(way)),
				    .env = (const uint8_t *)"envelope",
				    .env_len = 8 };

	memset(a.id, id, sizeof(a.id));
	archive_letter_put(&x, &a);
	assert_false(x.bad);
	archive_frame(w, ARCHIVE_LETTER, buf, x.len);
	for (size_t at = 0; at < strlen(body); at += 4)
		archive_frame(w, ARCHIVE_BODY, body + at,
			      strlen(body) - at < 4 ? strlen(body) - at : 4);
}

/* Three letters, the second one void, and the last void in the middle. */
static int make(void **state)
{
	static const uint8_t
	    two[ARCHIVE_ID_LEN] = { 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2 },
	    four[ARCHIVE_ID_LEN] = { 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4 };
	FILE *f = fmemopen(file, sizeof(file), "wb");
	struct archive_writer w;

	(void)state;
	archive_begin(&w, f);
	put_letter(&w, 1, "a body");
	put_letter(&w, 2, "another");
	put_letter(&w, 3, "");
	put_letter(&w, 4, "cut");
	archive_frame(&w, ARCHIVE_VOID, two, sizeof(two));
	archive_frame(&w, ARCHIVE_VOID, four, sizeof(four));
	archive_end(&w);
	file_len = (size_t)ftell(f);
	fclose(f);
	return w.failed;
}

static struct archive_reader reader;

/* Reads @len bytes of @data to whatever end: what archive_next() said at last. */
static int read_all(const void *data, size_t len, int *letters, size_t *body)
{
	FILE *f = fmemopen((void *)(uintptr_t)data, len ? len : 1, "rb");
	int rc;

	if (!len)
		fgetc(f);
	*letters = 0;
	*body = 0;
	rc = archive_open(&reader, f);
	while (!rc && !(rc = archive_next(&reader))) {
		*letters += reader.type == ARCHIVE_LETTER;
		*body += reader.type == ARCHIVE_BODY ? reader.len : 0;
	}
	fclose(f);
	return rc;
}

static void what_was_written_is_read(void **state)
{
	FILE *f = fmemopen(file, file_len, "rb");
	const struct archive_letter *a = &reader.letter;
	struct rd r;

	(void)state;
	assert_int_equal(archive_open(&reader, f), 0);
	assert_int_equal(archive_next(&reader), 0);
	assert_int_equal(reader.type, ARCHIVE_LETTER);
	assert_int_equal(a->id[15], 1);
	assert_int_equal(a->age_s, 77);
	assert_int_equal(a->state, 1);
	assert_int_equal(a->body_len, 6);
	assert_int_equal(a->env_len, 8);
	assert_memory_equal(a->env, "envelope", 8);
	r = a->told;
	assert_int_equal(rd_be16(&r), 1);
	assert_int_equal(rd_be16(&r), 3);
	r = a->way;
	assert_string_equal(archive_text(&r), "a");
	assert_string_equal(archive_text(&r), "bc");
	assert_int_equal(archive_next(&reader), 0);
	assert_int_equal(reader.type, ARCHIVE_BODY);
	assert_memory_equal(reader.data, "a bo", 4);
	while (!archive_next(&reader))
		;
	assert_true(reader.ended);
	assert_int_equal(reader.letters, 4);
	assert_int_equal(reader.bytes, 6 + 7 + 3);
	fclose(f);
}

static void every_cut_is_seen_and_where(void **state)
{
	char where[64];
	int letters;
	size_t body;

	(void)state;
	assert_int_equal(read_all(file, file_len, &letters, &body), 1);
	assert_int_equal(letters, 4);
	for (size_t n = 1; n < file_len; n++) {
		assert_int_equal(read_all(file, n, &letters, &body), -ENODATA);
		snprintf(where, sizeof(where), "byte %zu: ", n);
		assert_non_null(strstr(reader.why, where));
	}
}

static void every_flipped_bit_is_seen(void **state)
{
	int letters;
	size_t body;

	(void)state;
	for (size_t bit = 0; bit < 8 * file_len; bit++) {
		file[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_true(read_all(file, file_len, &letters, &body) < 0);
		file[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	file[file_len] = 0;
	assert_int_equal(read_all(file, file_len + 1, &letters, &body), -EBADMSG);
	assert_non_null(strstr(reader.why, "behind the end"));
}

/* A frame that is taken out, or stands twice, has its own checksum still. */
static void frames_in_another_order_are_seen(void **state)
{
	uint8_t other[sizeof(file)];
	int letters;
	size_t body, at = ARCHIVE_HEAD_LEN;

	(void)state;
	while (at < file_len) {
		struct rd r = rd_init(file + at + 1, 4);
		size_t n = 5 + rd_be32(&r) + 4;

		memcpy(other, file, at);
		memcpy(other + at, file + at + n, file_len - at - n);
		assert_true(read_all(other, file_len - n, &letters, &body) < 0);
		memcpy(other, file, at + n);
		memcpy(other + at + n, file + at, file_len - at);
		assert_int_equal(read_all(other, file_len + n, &letters, &body), -EBADMSG);
		at += n;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_written_is_read),
		cmocka_unit_test(every_cut_is_seen_and_where),
		cmocka_unit_test(every_flipped_bit_is_seen),
		cmocka_unit_test(frames_in_another_order_are_seen),
	};

	return cmocka_run_group_tests(tests, make, NULL);
}
