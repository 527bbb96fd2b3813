/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: letters from a file of `postern mail export` into the running queue. The file is read twice: first
 * to its end, so that nothing is taken of one that is damaged, and to learn which letters are void; then letter by
 * letter, a request at a time. The queue knows what it took before: an import that broke off is begun again.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "archive.h"
#include "archive_verbs.h"
#include "base64.h"

#define ANSWER_MS 120000
#define PIECE	  (30 * 1024) /* of one item, before base64 */
#define BATCH	  (56 * 1024) /* of all items of a request, behind base64 */

typedef uint8_t letter_id[ARCHIVE_ID_LEN];

struct import {
	struct cli *cli;
	const char *path;
	FILE *f;
	struct archive_reader r;
	letter_id *voided;
	size_t void_count, void_cap;
	uint64_t whole; /* letters that may be taken; the last of a cut file is not */
	json_int_t session, taken, known;
	json_t *items;
	size_t batch;
};

static int add_void(struct import *m, const uint8_t *id)
{
	if (m->void_count == m->void_cap) {
		size_t cap = m->void_cap ? 2 * m->void_cap : 64;
		letter_id *a = realloc(m->voided, cap * sizeof(*a));

		if (!a)
			return -ENOMEM;
		m->voided = a;
		m->void_cap = cap;
	}
	memcpy(m->voided[m->void_count++], id, ARCHIVE_ID_LEN);
	return 0;
}

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, ARCHIVE_ID_LEN);
}

static bool is_void(const struct import *m, const uint8_t *id)
{
	return m->void_count && bsearch(id, m->voided, m->void_count, sizeof(*m->voided), compare);
}

/* To the end; 0, or the exit status. @cut: what stands before the damage will do. */
static int look_through(struct import *m, bool cut)
{
	int rc = archive_open(&m->r, m->f);

	while (!rc) {
		rc = archive_next(&m->r);
		if (!rc && m->r.type == ARCHIVE_VOID && add_void(m, m->r.data))
			return cli_fail(m->cli, "out of memory");
	}
	m->whole = m->r.letters - m->r.inside;
	if (m->void_count)
		qsort(m->voided, m->void_count, sizeof(*m->voided), compare);
	if (rc == 1)
		return 0;
	if (cut && m->whole) {
		fprintf(stderr,
			"postern %s: %s: %s; the %" PRIu64 " letters before that are taken\n",
			m->cli->verb, m->path, m->r.why, m->whole);
		return 0;
	}
	return cli_fail(m->cli,
			"%s: %s; nothing is taken (--cut takes the %" PRIu64
			" whole letters before that)",
			m->path, m->r.why, m->whole);
}

static json_t *ask(struct import *m, json_t *args)
{
	return cli_call(m->cli, "mta.sock", "postern-mta", "import", args, ANSWER_MS);
}

static int send_batch(struct import *m, bool end)
{
	json_t *args =
		   json_pack("{s:I,s:o,s:b}", "session", m->session, "items", m->items, "end", end),
	       *reply = ask(m, args);

	m->items = json_array();
	m->batch = 0;
	if (!reply)
		return m->cli->status;
	m->taken = json_integer_value(json_object_get(reply, "taken"));
	m->known = json_integer_value(json_object_get(reply, "known"));
	json_decref(reply);
	return 0;
}

static int add(struct import *m, const char *kind, const uint8_t *data, size_t len)
{
	static char text[BASE64_ROOM(PIECE)];
	size_t n = base64_encode(data, len, text) + 32;
	int rc = m->batch + n > BATCH ? send_batch(m, false) : 0;

	m->batch += n;
	json_array_append_new(m->items, json_pack("{s:s,s:s}", "k", kind, "d", text));
	return rc;
}

/* What a frame means to the queue. */
static int send_frame(struct import *m)
{
	const struct archive_reader *r = &m->r;
	int rc = 0;

	if (r->type != ARCHIVE_LETTER && r->type != ARCHIVE_BODY)
		return 0;
	for (size_t at = 0; at < r->len && !rc; at += PIECE) {
		size_t n = r->len - at < PIECE ? r->len - at : PIECE;
		const char *kind = r->type == ARCHIVE_BODY ? "b" : at + n < r->len ? "L" : "l";

		rc = add(m, kind, r->data + at, n);
	}
	return rc;
}

static int send_all(struct import *m)
{
	bool skip = false;
	int rc = 0;

	rewind(m->f);
	if (archive_open(&m->r, m->f))
		return cli_fail(m->cli, "%s: it has changed", m->path);
	while (!rc) {
		int got = archive_next(&m->r);

		if (got == 1 || (got && m->r.letters >= m->whole))
			break;
		if (got)
			return cli_fail(m->cli, "%s: it has changed: %s", m->path, m->r.why);
		if (m->r.letters > m->whole)
			break;
		if (m->r.type == ARCHIVE_LETTER)
			skip = is_void(m, m->r.letter.id);
		if (!skip)
			rc = send_frame(m);
	}
	return rc ? rc : send_batch(m, true);
}

static int run(struct import *m, bool cut)
{
	json_t *reply;
	int rc = look_through(m, cut);

	if (rc)
		return rc;
	reply = ask(m, json_pack("{s:b}", "begin", true));
	if (!reply)
		return m->cli->status;
	m->session = json_integer_value(json_object_get(reply, "session"));
	json_decref(reply);
	m->items = json_array();
	rc = send_all(m);
	json_decref(m->items);
	if (rc)
		return rc;
	if (m->cli->json) {
		reply = json_pack("{s:I,s:I}", "taken", m->taken, "known", m->known);
		cli_print_json(reply);
		json_decref(reply);
	} else {
		printf("%" PRId64 " letter%s taken, %" PRId64 " known before\n", (int64_t)m->taken,
		       m->taken == 1 ? "" : "s", (int64_t)m->known);
	}
	return 0;
}

/* A pipe cannot be read twice. */
static FILE *spool(FILE *from)
{
	static char buf[65536];
	FILE *to = tmpfile();
	size_t n;

	while (to && (n = fread(buf, 1, sizeof(buf), from)))
		if (fwrite(buf, 1, n, to) != n)
			break;
	if (to && (!feof(from) || ferror(from) || fflush(to))) {
		fclose(to);
		to = NULL;
	}
	if (to)
		rewind(to);
	return to;
}

int import_verb(struct cli *cli, int argc, char **argv)
{
	bool cut = argc > 1 && !strcmp(argv[1], "--cut");
	const char *path = argc == 2 + cut ? argv[argc - 1] : "-x";
	struct import *m;
	struct stat st;
	FILE *f, *spooled = NULL;
	int rc;

	if (*path == '-' && path[1])
		return cli_usage(cli, "a file, or - for standard input is needed");
	f = strcmp(path, "-") ? fopen(path, "re") : stdin;
	if (!f || fstat(fileno(f), &st))
		return cli_fail(cli, "%s: %s", path, strerror(errno));
	if (S_ISDIR(st.st_mode)) {
		fclose(f);
		return cli_fail(cli, "%s is a folder; name the file in it", path);
	}
	if (!S_ISREG(st.st_mode) && !(spooled = spool(f)))
		return cli_fail(cli, "%s: it cannot be read, or there is no room to keep it: %s",
				path, strerror(errno));
	m = calloc(1, sizeof(*m));
	if (!m) {
		rc = cli_fail(cli, "out of memory");
	} else {
		m->cli = cli;
		m->path = path;
		m->f = spooled ? spooled : f;
		rc = run(m, cut);
		free(m->voided);
	}
	free(m);
	if (spooled)
		fclose(spooled);
	if (f != stdin)
		fclose(f);
	return rc;
}
