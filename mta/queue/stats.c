/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: `postern mail stats`: how old is what waits, by route. A route with all its recipients in the
 * young columns is busy, one with all in the old ones is broken. Counted when it is asked, of the index in
 * memory; what happened since the start is not its business.
 */
#include <string.h>

#include "queue.h"

#define AGES 6

static const uint32_t bounds_s[AGES - 1] = { 300, 3600, 14400, 86400, 432000 };

/* What waits in one row: of a route, or of those that have none. */
struct row {
	const char *name;
	size_t recipients, ages[AGES];
	uint64_t oldest_s;
};

struct rows {
	struct row row[MTA_ROUTES_MAX + 3];
	size_t count;
	struct row *last; /* neighbours in the queue mostly go the same way */
};

static struct row *row_of(struct rows *t, const char *name)
{
	if (t->last && !strcmp(t->last->name, name))
		return t->last;
	t->last = NULL;
	for (size_t i = 0; i < t->count && !t->last; i++)
		if (!strcmp(t->row[i].name, name))
			t->last = &t->row[i];
	if (!t->last && t->count < sizeof(t->row) / sizeof(t->row[0])) {
		t->last = &t->row[t->count++];
		*t->last = (struct row){ .name = name };
	}
	return t->last;
}

/* In parentheses, which no name of a route has. */
static const char *way_name(const struct letter *l, const struct letter_rcpt *r)
{
	if (l->state == LETTER_HELD)
		return "(held)";
	if (!r->leg)
		return "(unreadable)";
	return *r->leg->dest->route ? r->leg->dest->route : "(no route)";
}

static void add_letter(struct rows *t, const struct letter *l, uint64_t age_s)
{
	for (size_t i = 0; i < l->rcpt_count; i++) {
		struct row *row;
		size_t k = 0;

		if (l->rcpt[i].state != RCPT_PENDING)
			continue;
		row = row_of(t, way_name(l, &l->rcpt[i]));
		if (!row)
			continue;
		while (k < AGES - 1 && age_s >= bounds_s[k])
			k++;
		row->recipients++;
		row->ages[k]++;
		if (age_s > row->oldest_s)
			row->oldest_s = age_s;
	}
}

static json_t *rows_json(const struct rows *t)
{
	json_t *all = json_array();

	for (size_t i = 0; i < t->count; i++) {
		const struct row *r = &t->row[i];
		json_t *ages = json_array();

		for (size_t k = 0; k < AGES; k++)
			json_array_append_new(ages, json_integer((json_int_t)r->ages[k]));
		json_array_append_new(all,
				      json_pack("{s:s,s:I,s:I,s:o}", "route", r->name, "recipients",
						(json_int_t)r->recipients, "oldest_s",
						(json_int_t)r->oldest_s, "ages", ages));
	}
	return all;
}

json_t *stats_json(struct queue *q)
{
	static struct rows t;
	json_t *bounds = json_array();
	struct journal_stats st;
	uint64_t bytes = 0;

	t.count = 0;
	t.last = NULL;
	for (const struct letter *l = store_oldest(q->store); l; l = l->newer) {
		if (l->state == LETTER_GONE)
			continue;
		bytes += l->body_len;
		if (l->state != LETTER_DEAD)
			add_letter(&t, l, store_age(q->store, l));
	}
	for (size_t k = 0; k < AGES - 1; k++)
		json_array_append_new(bounds, json_integer(bounds_s[k]));
	store_journal_stats(q->store, &st);
	return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:o,s:o}", "queued",
			 (json_int_t)store_count(q->store, LETTER_QUEUED), "held",
			 (json_int_t)store_count(q->store, LETTER_HELD), "dead",
			 (json_int_t)store_count(q->store, LETTER_DEAD), "bytes", (json_int_t)bytes,
			 "journal_segments", (json_int_t)st.segments, "journal_bytes",
			 (json_int_t)st.bytes, "bounds_s", bounds, "routes", rows_json(&t));
}
