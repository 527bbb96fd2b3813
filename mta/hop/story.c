/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "story.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define WHY_MAX	    200
#define AT_MS_MAX   253402300799999ll /* the last moment of the year 9999 */
#define NUMBER_MAX  1000000
#define CUT	    "{\"cut\":true}"
#define LINE_EXTRA  4 /* brackets, comma, end */
#define HOST_CHARS                                                                                 \
	"abcdefghijklmnopqrstuvwxyz"                                                               \
	"ABCDEFGHIJKLMNOPQRSTUVWXYZ"                                                               \
	"0123456789._-:[]"

/* ------------------------------------------------------------------ the question -- */

const char *xtrace_build(const struct xtrace *x, char out[static XTRACE_ARGS_MAX])
{
	char hex[LETTER_ID_STR_MAX];

	snprintf(out, XTRACE_ARGS_MAX, "%s HOPS=%u MS=%u", letter_id_str(x->id, hex), x->hops,
		 x->ms);
	return out;
}

/* At most @max is taken of it; -EBADMSG for what is no number. */
static int read_number(const char *s, size_t len, unsigned max, unsigned *out)
{
	unsigned n = 0;

	if (!len)
		return -EBADMSG;
	for (size_t i = 0; i < len; i++) {
		if (s[i] < '0' || s[i] > '9')
			return -EBADMSG;
		n = n * 10 + (unsigned)(s[i] - '0');
		n = n < max ? n : max;
	}
	*out = n;
	return 0;
}

static int read_word(const char *s, size_t len, struct xtrace *x)
{
	if (len > 5 && !strncasecmp(s, "HOPS=", 5))
		return read_number(s + 5, len - 5, XTRACE_HOPS_MAX, &x->hops);
	if (len > 3 && !strncasecmp(s, "MS=", 3))
		return read_number(s + 3, len - 3, XTRACE_MS_MAX, &x->ms);
	return memchr(s, '=', len) ? 0 : -EBADMSG;
}

int xtrace_parse(const char *s, size_t len, struct xtrace *x)
{
	char hex[LETTER_ID_STR_MAX];
	size_t at = LETTER_ID_STR_MAX - 1;

	memset(x, 0, sizeof(*x));
	x->ms = XTRACE_MS_MIN;
	if (len < at)
		return -EBADMSG;
	memcpy(hex, s, at);
	hex[at] = 0;
	if (letter_id_parse(hex, x->id))
		return -EBADMSG;
	while (at < len) {
		size_t from, n = 0;

		if (s[at] != ' ')
			return -EBADMSG;
		while (at < len && s[at] == ' ')
			at++;
		for (from = at; at < len && s[at] != ' '; at++)
			n++;
		if (n && read_word(s + from, n, x))
			return -EBADMSG;
	}
	return 0;
}

/* ------------------------------------------------------------------ a story ------- */

int story_init(struct story *s)
{
	*s = (struct story){ .events = json_array(), .silent = json_array() };
	if (s->events && s->silent)
		return 0;
	story_clear(s);
	return -ENOMEM;
}

void story_clear(struct story *s)
{
	json_decref(s->events);
	json_decref(s->silent);
	*s = (struct story){ 0 };
}

void story_silent(struct story *s, const char *hop, const char *id, const char *why)
{
	json_t *o;

	if (json_array_size(s->silent) >= STORY_SILENT_MAX) {
		s->cut = true;
		return;
	}
	o = json_pack("{s:s,s:s}", "hop", hop, "why", why);
	if (o && id && *id)
		json_object_set_new(o, "id", json_string(id));
	json_array_append_new(s->silent, o);
}

void story_join(struct story *s, struct story *from)
{
	size_t i, room = STORY_SILENT_MAX - json_array_size(s->silent);
	json_t *hop;

	json_array_extend(s->events, from->events);
	json_array_foreach(from->silent, i, hop)
	{
		if (i < room)
			json_array_append(s->silent, hop);
	}
	s->cut |= from->cut || i > room;
	json_array_clear(from->events);
	json_array_clear(from->silent);
}

static const char *word(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

struct place {
	json_t *event;
	json_int_t at_ms;
	size_t index;
};

static int by_time(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	if (x->at_ms != y->at_ms)
		return x->at_ms < y->at_ms ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index;
}

int story_sort(struct story *s)
{
	size_t n = json_array_size(s->events);
	struct place *p = calloc(n ? n : 1, sizeof(*p));
	json_t *sorted = json_array();

	if (!p || !sorted) {
		free(p);
		json_decref(sorted);
		return -ENOMEM;
	}
	for (size_t i = 0; i < n; i++) {
		p[i].event = json_array_get(s->events, i);
		p[i].at_ms = json_integer_value(json_object_get(p[i].event, "at_ms"));
		p[i].index = i;
	}
	qsort(p, n, sizeof(*p), by_time);
	for (size_t i = 0; i < n; i++)
		json_array_append(sorted, p[i].event);
	free(p);
	json_decref(s->events);
	s->events = sorted;
	return 0;
}

/* ------------------------------------------------------------------ to a peer ----- */

struct writer {
	char *out;
	size_t cap, len;
	char line[STORY_LINE_MAX + 1];
	size_t line_len; /* 0: none is begun */
	bool full;
};

static void end_line(struct writer *w)
{
	if (!w->line_len)
		return;
	memcpy(w->out + w->len, w->line, w->line_len);
	w->len += w->line_len;
	w->out[w->len++] = ']';
	w->out[w->len++] = '\n';
	w->line_len = 0;
}

/* One more object; behind the last one there is always room for the word that it is cut. */
static void put_text(struct writer *w, const char *text, size_t n, bool last)
{
	size_t spare = last ? 0 : sizeof(CUT) + LINE_EXTRA;

	if (w->full || w->len + w->line_len + n + LINE_EXTRA + spare > w->cap) {
		w->full = true;
		return;
	}
	if (w->line_len + n + LINE_EXTRA > STORY_LINE_MAX)
		end_line(w);
	w->line[w->line_len] = w->line_len ? ',' : '[';
	w->line_len++;
	memcpy(w->line + w->line_len, text, n);
	w->line_len += n;
}

/* False: it is too long for a line. */
static bool put(struct writer *w, const json_t *o)
{
	char *text = o ? json_dumps(o, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
	size_t n = text ? strlen(text) : 0;
	bool fits = n && n + LINE_EXTRA <= STORY_LINE_MAX;

	if (fits)
		put_text(w, text, n, false);
	free(text);
	return fits;
}

static void put_event(struct writer *w, const json_t *event)
{
	json_t *o = json_copy((json_t *)(uintptr_t)event);

	json_object_del(o, "host");
	json_object_del(o, "letter");
	if (!put(w, o)) { /* an event without its words is better than none */
		json_object_del(o, "text");
		json_object_del(o, "address");
		put(w, o);
	}
	json_decref(o);
}

size_t story_write(const struct story *s, char *out, size_t cap)
{
	struct writer *w = calloc(1, sizeof(*w));
	const char *host = NULL, *letter = "";
	const json_t *e;
	size_t i, len;

	if (!w || cap < sizeof(CUT) + LINE_EXTRA) {
		free(w);
		return 0;
	}
	w->out = out;
	w->cap = cap;
	json_array_foreach(s->silent, i, e) put(w, e);
	json_array_foreach(s->events, i, e)
	{
		if (!host || strcmp(host, word(e, "host")) || strcmp(letter, word(e, "letter"))) {
			json_t *o;

			host = word(e, "host");
			letter = word(e, "letter");
			o = json_pack("{s:s,s:s}", "host", host, "letter", letter);
			put(w, o);
			json_decref(o);
		}
		if (i == STORY_EVENTS_MAX)
			w->full = true;
		put_event(w, e);
	}
	if (w->full || s->cut) {
		w->full = false;
		put_text(w, CUT, sizeof(CUT) - 1, true);
	}
	end_line(w);
	len = w->len;
	free(w);
	return len;
}

/* ------------------------------------------------------------------ from a peer --- */

/*
 * At most @max bytes of what was said, which is UTF-8: no control character, of ASCII or of C1, and cut between two
 * characters. @out has room for @max + 1.
 */
static void plain(const char *s, char *out, size_t max)
{
	size_t n = 0;

	for (; *s && n < max; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == 0xc2 && (unsigned char)s[1] < 0xa0) {
			out[n++] = '?';
			s++;
		} else {
			out[n++] = (char)(c < 0x20 || c == 0x7f ? '?' : c);
		}
	}
	if (((unsigned char)*s & 0xc0) == 0x80) { /* in the middle of one */
		while (n && ((unsigned char)out[n - 1] & 0xc0) == 0x80)
			n--;
		n -= n != 0;
	}
	out[n] = 0;
}

static void take_text(json_t *to, const json_t *from, const char *key, size_t max)
{
	const char *s = json_string_value(json_object_get(from, key));
	char *out = s ? malloc(max + 1) : NULL;

	if (!out)
		return;
	plain(s, out, max);
	json_object_set_new(to, key, json_string(out));
	free(out);
}

static void take_number(json_t *to, const json_t *from, const char *key)
{
	const json_t *v = json_object_get(from, key);

	if (json_is_integer(v) && json_integer_value(v) >= 0 &&
	    json_integer_value(v) <= NUMBER_MAX)
		json_object_set_new(to, key, json_integer(json_integer_value(v)));
}

static void take_id(json_t *to, const json_t *from, const char *key)
{
	const char *s = json_string_value(json_object_get(from, key));
	uint8_t id[LETTER_ID_LEN];
	char hex[LETTER_ID_STR_MAX];

	if (s && !letter_id_parse(s, id))
		json_object_set_new(to, key, json_string(letter_id_str(id, hex)));
}

struct reader {
	struct story *s;
	const char *own, *via;
	char host[STORY_HOST_MAX];
	char letter[LETTER_ID_STR_MAX];
	bool begun;
	size_t events;
};

static int read_host(struct reader *r, const json_t *o)
{
	const char *host = word(o, "host");
	uint8_t id[LETTER_ID_LEN];
	size_t n = strlen(host);
	bool fair = n && n < STORY_HOST_MAX && strspn(host, HOST_CHARS) == n &&
		    strcasecmp(host, r->own) != 0;

	if (letter_id_parse(word(o, "letter"), id))
		return -EBADMSG;
	letter_id_str(id, r->letter);
	snprintf(r->host, sizeof(r->host), "%s", fair ? host : r->via);
	r->begun = true;
	return 0;
}

static bool is_event_word(const char *s)
{
	size_t n = strlen(s);

	return n && n <= STORY_WORD_MAX && strspn(s, "abcdefghijklmnopqrstuvwxyz-") == n;
}

static int read_event(struct reader *r, const json_t *o)
{
	const json_t *at = json_object_get(o, "at_ms");
	json_t *e;

	if (!r->begun || !json_is_integer(at) || json_integer_value(at) < 0 ||
	    json_integer_value(at) > AT_MS_MAX || !is_event_word(word(o, "event")))
		return -EBADMSG;
	if (r->events++ >= STORY_EVENTS_MAX) {
		r->s->cut = true;
		return 0;
	}
	e = json_pack("{s:s,s:s,s:I,s:s,s:s}", "host", r->host, "letter", r->letter, "at_ms",
		      json_integer_value(at), "event", word(o, "event"), "text", "");
	if (!e)
		return -ENOMEM;
	take_text(e, o, "text", STORY_TEXT_MAX);
	take_text(e, o, "address", ENVELOPE_PATH_MAX);
	take_number(e, o, "recipient");
	take_number(e, o, "attempts");
	take_number(e, o, "code");
	take_id(e, o, "peer_id");
	return json_array_append_new(r->s->events, e) ? -ENOMEM : 0;
}

static void read_silent(struct reader *r, const json_t *o)
{
	char hop[STORY_HOST_MAX], why[WHY_MAX + 1];
	uint8_t id[LETTER_ID_LEN];

	plain(word(o, "hop"), hop, sizeof(hop) - 1);
	plain(word(o, "why"), why, WHY_MAX);
	story_silent(r->s, hop, letter_id_parse(word(o, "id"), id) ? NULL : word(o, "id"), why);
}

static int read_object(struct reader *r, const json_t *o)
{
	if (!json_is_object(o))
		return -EBADMSG;
	if (json_object_get(o, "event"))
		return read_event(r, o);
	if (json_object_get(o, "host"))
		return read_host(r, o);
	if (json_object_get(o, "why"))
		read_silent(r, o);
	else if (json_is_true(json_object_get(o, "cut")))
		r->s->cut = true;
	return 0;
}

static int read_line(struct reader *r, const char *line, size_t len)
{
	json_t *all = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
	int rc = json_is_array(all) ? 0 : -EBADMSG;
	const json_t *o;
	size_t i;

	json_array_foreach(all, i, o)
	{
		if (!rc)
			rc = read_object(r, o);
	}
	json_decref(all);
	return rc;
}

int story_read(struct story *s, const char *text, size_t len, const char *own, const char *via)
{
	struct reader r = { .s = s, .own = own, .via = via };
	int rc = 0;

	while (len && !rc) {
		const char *end = memchr(text, '\n', len);
		size_t n = end ? (size_t)(end - text) : len;

		rc = n <= STORY_LINE_MAX + LINE_EXTRA ? read_line(&r, text, n) : -EBADMSG;
		n += end != NULL;
		text += n;
		len -= n;
	}
	return rc;
}
