/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: the queue read out, for a file that the admin's program writes (archive.h). Who asks holds the
 * place, the queue holds nothing: each answer has some letters, in order of arrival, and where to go on; a
 * large body comes in several.
 *
 *	export	      {after, id, offset, take}		-> {items, after, id, offset, done}
 *	export-remove {letters: [{id, mark}, ...]}	-> {removed: [id, ...], kept: [id, ...]}
 *
 * An item is {k, d}: "L" bytes of a letter's frame, more follow; "l" the last of them; "b" bytes of its
 * body; "v" the body is gone, the letter was no part; "u" letter @id cannot be read. {k: "e", id, mark}
 * ends a letter.
 *
 * A mark is a checksum of what was given out. export-remove takes a letter away only if it is still that,
 * and answers when this is durable. So what was delivered meanwhile, or just flies, stays here,
 * and what is taken is in nobody's hands but the file's.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "answer.h"
#include "archive.h"
#include "base64.h"
#include "crc32c.h"
#include "log.h"
#include "way.h"

#define PIECE	   (36 * 1024) /* in one item, before base64 */
#define ANSWER_MAX (512 * 1024)
#define REMOVE_MAX 256

static void add_piece(struct answer *a, const char *kind, const void *data, size_t len)
{
	static char text[BASE64_ROOM(PIECE)];

	base64_encode(data, len, text);
	answer_add(a, json_pack("{s:s,s:s}", "k", kind, "d", text));
}

/* Texts and numbers that stand in the frame beside the envelope. */
static void put_marks(const struct letter *l, struct archive_letter *x, struct wr *told,
		      struct wr *way)
{
	const char *from, *to;

	for (uint16_t i = 0; i < l->rcpt_count; i++) {
		if (!l->rcpt[i].told)
			continue;
		wr_be16(told, i);
		x->told_count++;
	}
	for (const char *p = l->way; (p = way_next(p, &from, &to)); x->way_count++) {
		msg_text_put(way, from);
		msg_text_put(way, to);
	}
	x->told = rd_init(told->base, told->len);
	x->way = rd_init(way->base, way->len);
}

/* The frame of @l into @w; @take: it leaves this queue for another one. @mark: of all but its age. */
static int put_frame(struct queue *q, struct letter *l, bool take, struct store_reading *r,
		     struct wr *w, uint32_t *mark)
{
	static uint8_t env[ENVELOPE_MAX + 1], told[2 * ENVELOPE_RCPTS_MAX], way[32 * 1024];
	struct archive_letter x = { .state = l->state, .body_len = l->body_len, .env = env };
	struct wr e = wr_init(env, sizeof(env)), t = wr_init(told, sizeof(told)),
		  y = wr_init(way, sizeof(way));
	size_t age_at = w->len + ARCHIVE_ID_LEN;

	r->env.moves = (uint16_t)(r->env.moves + take);
	r->env.age_s = 0;
	envelope_build(&r->env, &e);
	for (size_t i = 0; e.bad && i < r->env.rcpt_count; i++)
		r->env.rcpt[i].last = NULL;
	if (e.bad) { /* without last replies, which stand in the log too */
		e = wr_init(env, sizeof(env));
		envelope_build(&r->env, &e);
	}
	x.env_len = e.len;
	memcpy(x.id, l->id, LETTER_ID_LEN);
	put_marks(l, &x, &t, &y);
	archive_letter_put(w, &x);
	if (w->bad || e.bad || t.bad || y.bad)
		return -EMSGSIZE;
	*mark = crc32c(0, w->base, w->len);
	x.age_s = store_age(q->store, l);
	e = wr_init(w->base + age_at, 8);
	wr_be64(&e, x.age_s);
	return 0;
}

/* What the file of @l holds from @offset on, until the answer is full; 1: that was the rest. */
static int add_own_file(struct answer *a, struct letter *l, uint64_t *offset, size_t *total)
{
	static uint8_t buf[PIECE];
	struct vfs *v = &a->q->dir.vfs;
	int fd = store_open_body(a->q->store, l), rc = fd < 0 ? fd : 0;

	while (!rc && *offset < l->body_len && *total < ANSWER_MAX) {
		size_t n = l->body_len - *offset < PIECE ? (size_t)(l->body_len - *offset) : PIECE;

		rc = vfs_read_all(v, fd, buf, n, *offset);
		if (rc)
			break;
		add_piece(a, "b", buf, n);
		*offset += n;
		*total += n;
	}
	if (fd >= 0)
		v->close(v, fd);
	return rc ? rc : *offset == l->body_len;
}

/* @l from @offset on; 1: all of it is in the answer; 0: the answer is full; -errno: it cannot be read. */
static int add_letter(struct answer *a, struct letter *l, bool take, uint64_t *offset,
		      size_t *total)
{
	static uint8_t frame[ARCHIVE_PAYLOAD_MAX];
	struct wr w = wr_init(frame, sizeof(frame));
	struct store_reading r;
	char hex[LETTER_ID_STR_MAX];
	uint32_t mark;
	int rc = store_read(a->q->store, l, &r);

	if (rc)
		return rc;
	rc = put_frame(a->q, l, take, &r, &w, &mark);
	for (size_t at = 0; !rc && !*offset && at < w.len; at += PIECE) {
		size_t n = w.len - at < PIECE ? w.len - at : PIECE;

		add_piece(a, at + n < w.len ? "L" : "l", frame + at, n);
		*total += n;
	}
	for (; !rc && r.body && *offset < r.body_len;) {
		size_t n = r.body_len - *offset < PIECE ? (size_t)(r.body_len - *offset) : PIECE;

		add_piece(a, "b", r.body + *offset, n);
		*offset += n;
		*total += n;
	}
	if (!rc)
		rc = r.body ? 1 : add_own_file(a, l, offset, total);
	store_reading_clear(&r);
	if (rc == 1)
		answer_add(a, json_pack("{s:s,s:s,s:I}", "k", "e", "id", letter_id_str(l->id, hex),
					"mark", (json_int_t)mark));
	return rc;
}

static bool wanted(const struct letter *l)
{
	/* The end of one that is settled is just being written. */
	return l->state != LETTER_GONE && (l->open || l->state != LETTER_QUEUED);
}

void export_run(struct queue *q, uint32_t id, const json_t *args)
{
	struct answer a = { .q = q, .id = id, .name = "items", .items = json_array() };
	uint64_t after = (uint64_t)json_integer_value(json_object_get(args, "after")),
		 offset = (uint64_t)json_integer_value(json_object_get(args, "offset"));
	const char *amid = json_string_value(json_object_get(args, "id"));
	bool take = json_is_true(json_object_get(args, "take"));
	struct letter *l = store_oldest(q->store);
	char hex[LETTER_ID_STR_MAX] = "";
	size_t total = 0;
	int rc;

	while (l && l->seq <= after)
		l = l->newer;
	if (amid && (!l || strcmp(letter_id_str(l->id, hex), amid))) {
		answer_add(&a, json_pack("{s:s}", "k", "v"));
		offset = 0;
	}
	for (*hex = 0; l && total < ANSWER_MAX; l = l->newer, offset = 0) {
		if (wanted(l)) {
			bool begun = offset > 0;

			rc = add_letter(&a, l, take, &offset, &total);
			letter_id_str(l->id, hex);
			if (!rc)
				break;
			if (rc < 0 && begun)
				answer_add(&a, json_pack("{s:s}", "k", "v"));
			if (rc < 0)
				answer_add(&a, json_pack("{s:s,s:s}", "k", "u", "id", hex));
			*hex = 0;
		}
		after = l->seq;
	}
	answer_end(&a, json_pack("{s:I,s:s,s:I,s:b}", "after", (json_int_t)after, "id", hex,
				 "offset", (json_int_t)offset, "done", !l));
}

/* --- what is in the file leaves --- */

struct removal {
	struct store_waiter w;
	struct queue *q;
	uint32_t id;
	json_t *removed, *kept;
};

static void removed(struct store_waiter *w, int rc, struct letter *l)
{
	struct removal *x = (struct removal *)(void *)w;

	(void)l;
	if (rc) { /* never: it is kept until it can be written */
		json_decref(x->removed);
		json_decref(x->kept);
		answer_fail(x->q, x->id, "it could not be written; look into the log");
	} else {
		answer_reply(x->q, x->id,
			     json_pack("{s:o,s:o}", "removed", x->removed, "kept", x->kept));
	}
	free(x);
}

/* Is it still what was given out, and in nobody's hands? */
static bool unchanged(struct queue *q, struct letter *l, uint32_t mark)
{
	static uint8_t frame[ARCHIVE_PAYLOAD_MAX];
	struct wr w = wr_init(frame, sizeof(frame));
	struct store_reading r;
	uint32_t now;
	int rc;

	for (size_t i = 0; i < l->rcpt_count; i++)
		if (l->rcpt[i].flying)
			return false;
	if (!wanted(l) || store_read(q->store, l, &r))
		return false;
	rc = put_frame(q, l, true, &r, &w, &now);
	store_reading_clear(&r);
	return !rc && now == mark;
}

static void remove_one(struct removal *x, struct store_change *c, const json_t *item)
{
	const char *hex = json_string_value(json_object_get(item, "id"));
	json_int_t mark = json_integer_value(json_object_get(item, "mark"));
	uint8_t id[LETTER_ID_LEN];
	struct letter *l = hex && !letter_id_parse(hex, id) ? store_find(x->q->store, id) : NULL;

	if (!l || l->state == LETTER_GONE)
		return;
	if (!unchanged(x->q, l, (uint32_t)mark) || store_remember(c, l) ||
	    store_put_state(c, l, LETTER_GONE))
		json_array_append_new(x->kept, json_string(hex));
	else
		json_array_append_new(x->removed, json_string(hex));
}

static void forget(struct queue *q, const char *hex)
{
	uint8_t id[LETTER_ID_LEN];
	struct letter *l = letter_id_parse(hex, id) ? NULL : store_find(q->store, id);

	if (!l)
		return;
	schedule_remove(q->schedule, l);
	attempt_forget(q, l);
	history_note(q->history, HISTORY_EXPORTED, l->id, "into a file");
	log_info(NULL, "letter=%s msg=\"taken out of the queue by an export\"", hex);
}

void export_remove(struct queue *q, uint32_t id, const json_t *args)
{
	const json_t *letters = json_object_get(args, "letters"), *item;
	struct removal *x = calloc(1, sizeof(*x));
	struct store_change *c = store_begin(q->store);
	size_t i;

	if (!x || !c || json_array_size(letters) > REMOVE_MAX) {
		free(x);
		store_cancel(c);
		return answer_fail(q, id, "too many letters at once");
	}
	*x = (struct removal){
		.w.done = removed, .q = q, .id = id, .removed = json_array(), .kept = json_array()
	};
	json_array_foreach(letters, i, item) remove_one(x, c, item);
	if (!json_array_size(x->removed)) {
		store_cancel(c);
		removed(&x->w, 0, NULL);
	} else if (store_commit(c, true, &x->w)) {
		removed(&x->w, -EIO, NULL);
	} else {
		json_array_foreach(x->removed, i, item) forget(q, json_string_value(item));
	}
}
