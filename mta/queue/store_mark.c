/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is noted of a letter beside its states: see TOLD, WAY and BIRTH in store.h. A version that does not know
 * these items skips them. */
#include "store_format.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "msg.h"
#include "way.h"

int put_told(struct store_change *c, const uint8_t id[static LETTER_ID_LEN], const uint16_t *which,
	     size_t count)
{
	struct wr *w = change_room(c, 64 + 2 * count);
	size_t at = put_item(w, ITEM_TOLD);

	wr_bytes(w, id, LETTER_ID_LEN);
	wr_be16(w, (uint16_t)count);
	for (size_t i = 0; i < count; i++)
		wr_be16(w, which[i]);
	end_item(w, at);
	return w->bad ? -EMSGSIZE : 0;
}

int store_put_told(struct store_change *c, struct letter *l, const uint16_t *which, size_t count)
{
	for (size_t i = 0; i < count; i++)
		l->rcpt[which[i]].told = true;
	return put_told(c, l->id, which, count);
}

static int put_all_told(struct store_change *c, struct letter *l)
{
	static uint16_t which[ENVELOPE_RCPTS_MAX];
	size_t n = 0;

	for (uint16_t i = 0; i < l->rcpt_count; i++)
		if (l->rcpt[i].told)
			which[n++] = i;
	return n ? store_put_told(c, l, which, n) : 0;
}

int put_way(struct store_change *c, const uint8_t id[static LETTER_ID_LEN], const char *way)
{
	const char *p, *from, *to;
	size_t n = 0, bytes = 64;
	struct wr *w;
	size_t at;

	for (p = way; (p = way_next(p, &from, &to)); n++)
		bytes += strlen(from) + strlen(to) + 6;
	w = change_room(c, bytes);
	at = put_item(w, ITEM_WAY);
	wr_bytes(w, id, LETTER_ID_LEN);
	wr_be16(w, (uint16_t)n);
	for (p = way; (p = way_next(p, &from, &to));) {
		msg_text_put(w, from);
		msg_text_put(w, to);
	}
	end_item(w, at);
	return w->bad ? -EMSGSIZE : 0;
}

int store_put_way(struct store_change *c, struct letter *l, char *way)
{
	free(l->way);
	l->way = way;
	return put_way(c, l->id, way);
}

int store_put_birth(struct store_change *c, struct letter *l)
{
	struct wr *w = change_room(c, 64);
	size_t at = put_item(w, ITEM_BIRTH);

	wr_bytes(w, l->id, LETTER_ID_LEN);
	wr_be64(w, c->s->clock);
	end_item(w, at);
	letter_set_birth(l, c->s->clock);
	return w->bad ? -EMSGSIZE : 0;
}

int store_put_marks(struct store_change *c, struct letter *l)
{
	int rc = put_all_told(c, l);

	return rc || !l->way ? rc : put_way(c, l->id, l->way);
}

int store_told(struct store *s, struct rd *v)
{
	uint8_t id[LETTER_ID_LEN];
	struct letter *l;
	uint16_t n;

	rd_copy(v, id, sizeof(id));
	n = rd_be16(v);
	if (v->bad || rd_left(v) != 2u * n)
		return -EBADMSG;
	l = s ? store_find(s, id) : NULL;
	while (n--) {
		uint16_t index = rd_be16(v);

		if (l && index < l->rcpt_count)
			l->rcpt[index].told = true;
	}
	return 0;
}

/* One name of a route; what is none cannot have been written. */
static const char *name_get(struct rd *v)
{
	const char *s = msg_text_get(v);

	v->bad |= !*s || strlen(s) >= MTA_NAME_MAX;
	return s;
}

int store_way(struct store *s, struct rd *v)
{
	uint8_t id[LETTER_ID_LEN];
	struct letter *l;
	uint16_t n;

	rd_copy(v, id, sizeof(id));
	n = rd_be16(v);
	l = s ? store_find(s, id) : NULL;
	if (l) {
		free(l->way);
		l->way = NULL;
	}
	while (n-- && !v->bad) {
		const char *from = name_get(v), *to = name_get(v);
		char *way = l && !v->bad ? way_add(l->way, from, to) : NULL;

		if (l && !v->bad && !way)
			return -ENOMEM;
		if (way) {
			free(l->way);
			l->way = way;
		}
	}
	return v->bad ? -EBADMSG : 0;
}
