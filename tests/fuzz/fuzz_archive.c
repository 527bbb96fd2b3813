/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A file of exported letters. As it is, where the checksums let nearly nothing through; and as frames
 * { type 8 | length 16 | payload } to which right checksums are added. What reads must not read past a frame.
 */
#include <stdlib.h>

#include "archive.h"
#include "envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void look(const struct archive_letter *a)
{
	struct rd way = a->way;
	struct envelope e;

	for (uint32_t i = 0; i < 2u * a->way_count; i++)
		if (strlen(archive_text(&way)) > 65535)
			abort();
	if (way.bad || rd_left(&way) || rd_left(&a->told) != 2u * a->told_count)
		abort();
	if (!envelope_parse(&e, a->env, a->env_len))
		envelope_clear(&e);
}

static int read_file(FILE *f)
{
	static struct archive_reader r;
	int rc = archive_open(&r, f);

	while (!rc) {
		rc = archive_next(&r);
		if (!rc && r.type == ARCHIVE_LETTER)
			look(&r.letter);
	}
	if (rc < 0 && !r.why[0])
		abort();
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct rd in = rd_init(data, len);
	struct archive_writer w;
	char *made = NULL;
	size_t made_len;
	FILE *f;

	if (!len)
		return 0;
	f = fmemopen((void *)(uintptr_t)data, len, "rb");
	read_file(f);
	fclose(f);
	f = open_memstream(&made, &made_len);
	archive_begin(&w, f);
	while (rd_left(&in)) {
		uint8_t type = rd_u8(&in);
		size_t n = rd_be16(&in);
		const uint8_t *p = rd_take(&in, n);

		if (in.bad)
			break;
		archive_frame(&w, (enum archive_type)type, p, n);
	}
	archive_end(&w);
	fclose(f);
	f = fmemopen(made, made_len, "rb");
	read_file(f);
	fclose(f);
	free(made);
	return 0;
}
