/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: the queue of a running postern-mta into one file (archive.h). The queue gives letters out piece by
 * piece and this program writes them: it never holds more than one answer. With --take the order is
 *
 *	all letters -> sync -> the queue lets go of those that are still as they were -> VOID for the others
 *	-> END -> sync
 *
 * so that each letter is durable in the file before it leaves the queue, and stands in one of the two
 * afterwards. Whatever breaks off in between leaves a file without an end, and says so.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "archive.h"
#include "archive_verbs.h"
#include "base64.h"

#define ANSWER_MS    60000
#define REMOVE_MAX   256
#define REMOVE_TRY   5
#define BASE64_CHUNK (64 * 1024)

struct given {
	char id[2 * ARCHIVE_ID_LEN + 1];
	json_int_t mark;
	bool out; /* the queue let go of it */
};

struct export
{
	struct cli *cli;
	struct archive_writer w;
	const char *path; /* NULL: standard output */
	bool take;
	uint8_t frame[ARCHIVE_PAYLOAD_MAX];
	size_t frame_len;
	uint8_t id[ARCHIVE_ID_LEN]; /* of the letter that is being written */
	struct given *given;
	size_t count, cap;
	size_t unreadable, voided;
};

static json_t *ask(struct export *x, const char *verb, json_t *args)
{
	return cli_call(x->cli, "mta.sock", "postern-mta", verb, args, ANSWER_MS);
}

static int hex_id(const char *s, uint8_t id[static ARCHIVE_ID_LEN])
{
	if (strlen(s) != 2 * ARCHIVE_ID_LEN)
		return -EBADMSG;
	for (size_t i = 0; i < ARCHIVE_ID_LEN; i++)
		if (sscanf(s + 2 * i, "%2hhx", &id[i]) != 1)
			return -EBADMSG;
	return 0;
}

static int add_given(struct export *x, const char *id, json_int_t mark)
{
	if (x->count == x->cap) {
		size_t cap = x->cap ? 2 * x->cap : 256;
		struct given *g = realloc(x->given, cap * sizeof(*g));

		if (!g)
			return -ENOMEM;
		x->given = g;
		x->cap = cap;
	}
	x->given[x->count] = (struct given){ .mark = mark };
	snprintf(x->given[x->count++].id, sizeof(x->given->id), "%s", id);
	return 0;
}

static void write_void(struct export *x, const uint8_t id[static ARCHIVE_ID_LEN])
{
	archive_frame(&x->w, ARCHIVE_VOID, id, ARCHIVE_ID_LEN);
	x->voided++;
}

/* Bytes of a letter's frame, or of its body. */
static int on_bytes(struct export *x, const char *kind, const char *text)
{
	static uint8_t buf[BASE64_CHUNK];
	int n = base64_decode(text, strlen(text), buf, sizeof(buf));

	if (n < 0)
		return n;
	if (*kind == 'b') {
		for (int at = 0; at < n; at += ARCHIVE_BODY_MAX)
			archive_frame(
			    &x->w, ARCHIVE_BODY, buf + at,
			    (size_t)(n - at < ARCHIVE_BODY_MAX ? n - at : ARCHIVE_BODY_MAX));
		return 0;
	}
	if (x->frame_len + (size_t)n > sizeof(x->frame))
		return -EBADMSG;
	memcpy(x->frame + x->frame_len, buf, (size_t)n);
	x->frame_len += (size_t)n;
	if (*kind == 'L')
		return 0;
	if (x->frame_len < ARCHIVE_ID_LEN)
		return -EBADMSG;
	memcpy(x->id, x->frame, ARCHIVE_ID_LEN);
	archive_frame(&x->w, ARCHIVE_LETTER, x->frame, x->frame_len);
	x->frame_len = 0;
	return 0;
}

static int on_item(struct export *x, const json_t *o)
{
	const char *kind = json_string_value(json_object_get(o, "k")),
		   *text = json_string_value(json_object_get(o, "d")),
		   *id = json_string_value(json_object_get(o, "id"));

	if (!kind || strlen(kind) != 1)
		return -EBADMSG;
	if (strchr("Llb", *kind))
		return text ? on_bytes(x, kind, text) : -EBADMSG;
	if (*kind == 'v') {
		write_void(x, x->id);
		return 0;
	}
	if (*kind == 'u') {
		x->unreadable++;
		fprintf(stderr, "postern %s: letter %s cannot be read and stays in the queue\n",
			x->cli->verb, id ? id : "?");
		return 0;
	}
	return *kind == 'e' && id ? add_given(x, id, json_integer_value(json_object_get(o, "mark")))
				  : -EBADMSG;
}

/* All letters there are; the exit status. */
static int copy(struct export *x)
{
	json_t *args = json_pack("{s:i,s:b}", "after", 0, "take", x->take), *reply, *o;
	bool done = false;
	size_t i;
	int rc;

	while (!done) {
		const char *amid;

		reply = ask(x, "export", args);
		if (!reply)
			return x->cli->status;
		rc = 0;
		json_array_foreach(json_object_get(reply, "items"), i, o) rc =
		    rc ? rc : on_item(x, o);
		if (!rc && x->w.failed)
			rc = -EIO;
		done = json_is_true(json_object_get(reply, "done"));
		amid = json_string_value(json_object_get(reply, "id"));
		args = json_pack("{s:O,s:O,s:b}", "after", json_object_get(reply, "after"),
				 "offset", json_object_get(reply, "offset"), "take", x->take);
		if (amid && *amid)
			json_object_set_new(args, "id", json_string(amid));
		json_decref(reply);
		if (rc || !args) {
			json_decref(args);
			return cli_fail(x->cli,
					rc == -EIO ? "%s: it cannot be written"
						   : "%s: an answer is not understood",
					x->path ? x->path : "standard output");
		}
	}
	json_decref(args);
	return 0;
}

static int sync_file(struct export *x)
{
	if (x->w.failed || fflush(x->w.f) ||
	    (fsync(fileno(x->w.f)) && errno != EINVAL && errno != EROFS))
		return cli_fail(x->cli, "%s: it cannot be written: %s",
				x->path ? x->path : "standard output", strerror(errno));
	return 0;
}

/* --- --take --- */

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct given *)a)->id, ((const struct given *)b)->id);
}

static void set_out(struct given *g, size_t n, const json_t *ids, bool out)
{
	const json_t *id;
	size_t i;

	json_array_foreach(ids, i, id)
	{
		struct given key = { 0 }, *found;

		snprintf(key.id, sizeof(key.id), "%s", json_string_value(id));
		found = bsearch(&key, g, n, sizeof(*g), compare);
		if (found)
			found->out = out;
	}
}

static int take_slice(struct export *x, struct given *g, size_t n)
{
	json_t *letters = json_array(), *reply = NULL;
	int try;

	for (size_t i = 0; i < n; i++)
		json_array_append_new(letters,
				      json_pack("{s:s,s:I}", "id", g[i].id, "mark", g[i].mark));
	for (try = 0; try < REMOVE_TRY && !reply; try++) {
		if (try)
			sleep(1);
		reply = ask(x, "export-remove", json_pack("{s:O}", "letters", letters));
	}
	json_decref(letters);
	if (!reply)
		return x->cli->status;
	/* An answer was lost: what the queue does not have may have left with it. */
	for (size_t i = 0; i < n; i++)
		g[i].out = try > 1;
	set_out(g, n, json_object_get(reply, "kept"), false);
	set_out(g, n, json_object_get(reply, "removed"), true);
	json_decref(reply);
	return 0;
}

/* What is durable in the file leaves the queue; what does not is no part of the file. */
static int take(struct export *x)
{
	int rc = 0;

	qsort(x->given, x->count, sizeof(*x->given), compare);
	for (size_t at = 0; at < x->count && !rc; at += REMOVE_MAX)
		rc = take_slice(x, x->given + at,
				x->count - at < REMOVE_MAX ? x->count - at : REMOVE_MAX);
	if (rc)
		return rc;
	for (size_t i = 0; i < x->count; i++) {
		uint8_t id[ARCHIVE_ID_LEN];

		if (!x->given[i].out && !hex_id(x->given[i].id, id))
			write_void(x, id);
	}
	return 0;
}

/* --- the file --- */

/* A folder gets a file named by host and time. */
static char *name_of(const char *path)
{
	char host[128] = "queue", when[32], *out;
	time_t now = time(NULL);
	struct stat st;
	struct tm tm;

	if (stat(path, &st) || !S_ISDIR(st.st_mode))
		return strdup(path);
	gethostname(host, sizeof(host) - 1);
	strftime(when, sizeof(when), "%Y%m%dT%H%M%SZ", gmtime_r(&now, &tm));
	return asprintf(&out, "%s/%s-%s.queue", path, host, when) < 0 ? NULL : out;
}

static int sync_folder(const char *path)
{
	char *copy = strdup(path);
	int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	int rc = fd < 0 ? -1 : fsync(fd);

	if (fd >= 0)
		close(fd);
	free(copy);
	return rc && errno != EINVAL ? -errno : 0;
}

static int report(const struct export *x)
{
	uint64_t kept = x->w.letters - x->voided;

	if (x->cli->json && x->path) {
		json_t *o = json_pack("{s:s,s:I,s:I,s:I,s:b}", "file", x->path, "letters",
				      (json_int_t)kept, "bytes", (json_int_t)x->w.bytes,
				      "unreadable", (json_int_t)x->unreadable, "taken", x->take);

		cli_print_json(o);
		json_decref(o);
	} else {
		fprintf(x->path ? stdout : stderr, "%" PRIu64 " letter%s %s %s\n", kept,
			kept == 1 ? "" : "s", x->take ? "moved to" : "copied to",
			x->path ? x->path : "standard output");
	}
	if (x->take && x->voided)
		fprintf(stderr,
			"%zu more were sent or changed meanwhile, or are just being sent: they are "
			"not in the file\n",
			x->voided);
	return x->unreadable ? 1 : 0;
}

static int run(struct export *x)
{
	bool gone = false; /* letters may have left the queue: the file must stay */
	int rc;

	archive_begin(&x->w, x->w.f ? x->w.f : stdout);
	rc = copy(x);
	if (!rc && x->take)
		rc = sync_file(x);
	if (!rc && x->take && sync_folder(x->path))
		rc = cli_fail(x->cli, "%s: its folder cannot be synced: %s", x->path,
			      strerror(errno));
	if (!rc && x->take) {
		gone = true;
		rc = take(x);
	}
	if (!rc) {
		archive_end(&x->w);
		rc = sync_file(x);
	}
	if (!rc)
		return report(x);
	if (gone)
		fprintf(
		    stderr,
		    "%s has no end, but letters that are in no queue any more; keep it, and take "
		    "them with: postern mail import --cut %s\n",
		    x->path, x->path);
	else if (x->path)
		unlink(x->path);
	return rc;
}

int export_verb(struct cli *cli, int argc, char **argv)
{
	bool take = argc > 1 && !strcmp(argv[1], "--take");
	struct export *x;
	char *path = NULL;
	FILE *f = stdout;
	int fd, rc;

	if (argc != 2 + take || (*argv[argc - 1] == '-' && argv[argc - 1][1]))
		return cli_usage(cli, "a file, a folder, or - for standard output is needed");
	if (strcmp(argv[argc - 1], "-")) {
		path = name_of(argv[argc - 1]);
		fd = path ? open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
		f = fd < 0 ? NULL : fdopen(fd, "w");
		if (!f) {
			rc = cli_fail(cli, "%s: %s", argv[argc - 1], strerror(errno));
			free(path);
			return rc;
		}
	} else if (take) {
		return cli_usage(cli, "--take needs a file: what is written to a pipe may be lost");
	}
	x = calloc(1, sizeof(*x));
	if (!x)
		rc = cli_fail(cli, "out of memory");
	else {
		x->cli = cli;
		x->path = path;
		x->take = take;
		x->w.f = f;
		rc = run(x);
		free(x->given);
	}
	free(x);
	if (path)
		fclose(f);
	free(path);
	return rc;
}
