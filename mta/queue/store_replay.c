/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The index of letters, as replay builds it and as changes keep it: see store.h. */
#include "store_format.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "msg.h"

/* --- segments that something refers to --- */

void store_ref(struct store *s, uint32_t segment, int by)
{
	size_t i;

	if (!segment) /* pending or void: nowhere */
		return;
	if (!s->ref_count)
		s->ref_base = segment;
	if (segment < s->ref_base)
		return; /* gone already */
	i = segment - s->ref_base;
	if (i >= s->ref_count) {
		size_t n = i + 64;
		uint32_t *a = realloc(s->refs, n * sizeof(*a));

		if (!a) {
			/* Uncounted, a segment could go too early: better die than lose mail. */
			log_err(NULL, "msg=\"out of memory\"");
			abort();
		}
		memset(a + s->ref_count, 0, (n - s->ref_count) * sizeof(*a));
		s->refs = a;
		s->ref_count = n;
	}
	s->refs[i] += (uint32_t)by;
}

uint32_t store_refs(const struct store *s, uint32_t segment)
{
	if (segment < s->ref_base || segment - s->ref_base >= s->ref_count)
		return 0;
	return s->refs[segment - s->ref_base];
}

/* --- letters in memory --- */

struct letter *letter_make(const struct store *s, const struct item_letter *it,
			   const struct envelope *e)
{
	struct letter *l = calloc(1, sizeof(*l) + e->rcpt_count * sizeof(l->rcpt[0]));

	if (!l)
		return NULL;
	memcpy(l->id, it->id, LETTER_ID_LEN);
	l->seq = it->seq;
	l->born = it->born;
	l->body_len = it->body_len;
	l->own_file = it->body_kind == BODY_OWN_FILE;
	l->state = it->state;
	l->flags = e->flags;
	l->rcpt_count = (uint16_t)e->rcpt_count;
	for (size_t i = 0; i < e->rcpt_count; i++) {
		l->rcpt[i].state = e->rcpt[i].state;
		l->rcpt[i].attempts = e->rcpt[i].attempts;
		l->rcpt[i].tried = !s->replayed;
		if (e->rcpt[i].last)
			l->rcpt[i].last = strdup(e->rcpt[i].last);
		l->open += e->rcpt[i].state == RCPT_PENDING;
	}
	return l;
}

void letter_free(struct letter *l)
{
	for (size_t i = 0; l && i < l->rcpt_count; i++)
		free(l->rcpt[i].last);
	if (l)
		free(l->way);
	free(l);
}

int letter_enter(struct store *s, struct letter *l)
{
	int rc = hash_insert(&s->index, &l->node, hash_bytes(l->id, LETTER_ID_LEN));

	if (!rc)
		letter_count(s, l, 1);
	return rc;
}

int letter_room(struct store *s)
{
	struct hash_node any;
	int rc = hash_insert(&s->index, &any, 0); /* only the first one can fail */

	if (!rc)
		hash_remove(&s->index, &any);
	return rc;
}

/* Nearly always at the end. */
void letter_link(struct store *s, struct letter *l)
{
	struct letter *after = s->newest;

	while (after && after->seq > l->seq)
		after = after->older;
	l->older = after;
	l->newer = after ? after->newer : s->oldest;
	if (l->older)
		l->older->newer = l;
	else
		s->oldest = l;
	if (l->newer)
		l->newer->older = l;
	else
		s->newest = l;
}

void letter_count(struct store *s, const struct letter *l, int by)
{
	s->count[l->state] += (size_t)by;
	s->bytes[l->state] += by > 0 ? l->body_len : -l->body_len;
}

void letter_forget(struct store *s, struct letter *l)
{
	char name[48];

	for (struct store_walk *w = s->walks; w; w = w->other)
		w->at = w->at == l ? l->newer : w->at;
	if (s->cfg.removed)
		s->cfg.removed(s->cfg.arg, l);
	if (l->own_file && s->replayed)
		s->cfg.vfs->unlink(s->cfg.vfs, store_body_name(l->id, name));
	if (l->older || s->oldest == l) {
		if (l->older)
			l->older->newer = l->newer;
		else
			s->oldest = l->newer;
		if (l->newer)
			l->newer->older = l->older;
		else
			s->newest = l->older;
	}
	hash_remove(&s->index, &l->node);
	store_ref(s, l->pos.segment, -1);
	s->live_bytes -= l->rec_len;
	letter_count(s, l, -1);
	letter_free(l);
}

void letter_set_rcpt(struct letter *l, uint16_t index, uint8_t state, uint16_t attempts,
		     const char *text)
{
	struct letter_rcpt *r = &l->rcpt[index];

	l->open = (uint16_t)(l->open - (r->state == RCPT_PENDING) + (state == RCPT_PENDING));
	r->state = state;
	r->attempts = attempts;
	if (text && *text) {
		free(r->last);
		r->last = strndup(text, STORE_TEXT_MAX);
	}
}

void letter_set_birth(struct letter *l, uint64_t clock)
{
	l->born = clock;
	for (size_t i = 0; i < l->rcpt_count; i++)
		l->rcpt[i].told = false;
}

void letter_set_state(struct store *s, struct letter *l, uint8_t state)
{
	letter_count(s, l, -1);
	l->state = state;
	letter_count(s, l, 1);
}

/* --- replay --- */

int item_letter_get(struct rd *v, struct item_letter *it)
{
	rd_copy(v, it->id, LETTER_ID_LEN);
	it->seq = rd_be64(v);
	it->born = rd_be64(v);
	it->state = rd_u8(v);
	it->body_kind = rd_u8(v);
	it->body_len = rd_be64(v);
	it->env_len = rd_be32(v);
	it->env = rd_take(v, it->env_len);
	it->body = it->body_kind == BODY_INLINE ? rd_take(v, rd_left(v)) : NULL;
	if (v->bad || rd_left(v) || it->state >= LETTER_GONE || it->body_kind > BODY_OWN_FILE)
		return -EBADMSG;
	return 0;
}

static int read_letter(struct rd *v, struct item_letter *it, struct envelope *e)
{
	int rc = item_letter_get(v, it);

	if (!rc && it->body_kind == BODY_INLINE && (size_t)(v->end - it->body) != it->body_len)
		rc = -EBADMSG;
	return rc ? rc : envelope_parse(e, it->env, it->env_len);
}

static int on_letter(struct store *s, struct journal_pos pos, struct rd *v, size_t len)
{
	struct item_letter it;
	struct envelope e;
	struct letter *l;
	int rc = read_letter(v, &it, &e);

	if (rc)
		return rc;
	l = store_find(s, it.id);
	if (l) /* moved: the newer record has it all */
		letter_forget(s, l);
	l = letter_make(s, &it, &e);
	if (!l || letter_enter(s, l)) {
		letter_free(l);
		envelope_clear(&e);
		return -ENOMEM;
	}
	l->pos = pos;
	l->rec_len = (uint32_t)len;
	s->live_bytes += l->rec_len;
	store_ref(s, pos.segment, 1);
	letter_link(s, l);
	if (l->seq >= s->next_seq)
		s->next_seq = l->seq + 1;
	if (e.flags & ENV_PEER_ID) {
		for (size_t i = 0; !rc && i < e.rcpt_count; i++)
			rc = seen_add(s, &e, e.rcpt[i].addr, it.born, pos.segment, false);
		if (!e.moves) /* said to this queue */
			seen_low(s, e.peer ? e.peer : "", e.peer_low);
	}
	if (s->cfg.added)
		s->cfg.added(s->cfg.arg, l, &e);
	envelope_clear(&e);
	return rc;
}

/* @s: NULL to look only whether it can be read. */
static int on_result(struct store *s, struct rd *v)
{
	uint8_t id[LETTER_ID_LEN];
	struct letter *l;
	uint16_t n;

	rd_copy(v, id, sizeof(id));
	n = rd_be16(v);
	l = s ? store_find(s, id) : NULL;
	while (n--) {
		uint16_t index = rd_be16(v);
		uint8_t state = rd_u8(v);
		uint16_t attempts = rd_be16(v);
		const char *text = msg_text_get(v);

		if (v->bad || state >= RCPT_STATES)
			return -EBADMSG;
		if (l && index < l->rcpt_count)
			letter_set_rcpt(l, index, state, attempts, text);
	}
	return 0;
}

static int on_state(struct store *s, struct rd *v)
{
	uint8_t id[LETTER_ID_LEN], state;
	struct letter *l;

	rd_copy(v, id, sizeof(id));
	state = rd_u8(v);
	if (v->bad || state >= LETTER_STATES)
		return -EBADMSG;
	l = store_find(s, id);
	if (l && state == LETTER_GONE)
		letter_forget(s, l);
	else if (l)
		letter_set_state(s, l, state);
	return 0;
}

static int on_birth(struct store *s, struct rd *v)
{
	uint8_t id[LETTER_ID_LEN];
	struct letter *l;
	uint64_t born;

	rd_copy(v, id, sizeof(id));
	born = rd_be64(v);
	if (v->bad)
		return -EBADMSG;
	l = store_find(s, id);
	if (l)
		letter_set_birth(l, born);
	return 0;
}

static int on_clock(struct store *s, struct rd *v)
{
	uint64_t clock = rd_be64(v), ms;
	const uint8_t *boot = rd_take(v, 16);

	ms = rd_be64(v);
	if (v->bad)
		return -EBADMSG;
	/* The same boot: the time between the processes counts. */
	if (!memcmp(boot, s->cfg.boot_id, 16) && ms <= s->clock_ms)
		clock += (s->clock_ms - ms) / 1000;
	if (clock > s->clock)
		s->clock = clock;
	return 0;
}

static int on_item(struct store *s, struct journal_pos pos, uint8_t type, struct rd *v, size_t len)
{
	struct rd copy = *v;

	switch (type) {
	case ITEM_LETTER:
		return on_letter(s, pos, v, len);
	case ITEM_RESULT:
		return on_result(NULL, &copy) ? -EBADMSG : on_result(s, v);
	case ITEM_STATE:
		return on_state(s, v);
	case ITEM_CLOCK:
		return on_clock(s, v);
	case ITEM_SEEN:
		return seen_item(s, v, pos.segment);
	case ITEM_OWNER:
		return seen_owner(s, v);
	case ITEM_BIRTH:
		return on_birth(s, v);
	case ITEM_TOLD:
		return store_told(s, v);
	case ITEM_WAY:
		return store_way(NULL, &copy) ? -EBADMSG : store_way(s, v);
	default: /* a newer version's */
		return 0;
	}
}

/* Can it be read? Looks deeper into those that could fail behind another one that was taken. */
static int check_item(uint8_t type, struct rd v)
{
	struct item_letter it;
	struct envelope e;
	uint8_t state;
	uint16_t n;
	int rc;

	switch (type) {
	case ITEM_LETTER:
		rc = read_letter(&v, &it, &e);
		if (!rc)
			envelope_clear(&e);
		return rc;
	case ITEM_RESULT:
		return on_result(NULL, &v);
	case ITEM_STATE:
		rd_take(&v, LETTER_ID_LEN);
		state = rd_u8(&v);
		return v.bad || state >= LETTER_STATES ? -EBADMSG : 0;
	case ITEM_CLOCK:
		rd_take(&v, 8 + 16 + 8);
		break;
	case ITEM_BIRTH:
		rd_take(&v, LETTER_ID_LEN + 8);
		break;
	case ITEM_TOLD:
		return store_told(NULL, &v);
	case ITEM_WAY:
		return store_way(NULL, &v);
	case ITEM_OWNER:
		return seen_owner(NULL, &v);
	case ITEM_SEEN:
		msg_text_get(&v);
		rd_take(&v, LETTER_ID_LEN + 8 + 8);
		n = rd_be16(&v);
		if (rd_left(&v) != 8u * n)
			return -EBADMSG;
		break;
	default:
		break;
	}
	return v.bad ? -EBADMSG : 0;
}

/* All items of a record count, or none: none is taken of a record with one that cannot be read. */
static int check_record(const uint8_t *data, size_t len)
{
	struct rd r = rd_init(data, len);
	size_t later = 0; /* those behind which something could fail; the clock harms nobody */
	int rc = 0;

	while (!r.bad && rd_left(&r)) {
		later += rd_u8(&r) != ITEM_CLOCK;
		rd_take(&r, rd_be32(&r));
	}
	if (r.bad)
		return -EBADMSG;
	for (r = rd_init(data, len); !rc && later > 1 && rd_left(&r);) {
		uint8_t type = rd_u8(&r);

		rc = check_item(type, rd_sub(&r, rd_be32(&r)));
	}
	return rc;
}

int store_record(void *arg, struct journal_pos pos, uint64_t rid, const uint8_t *data, size_t len)
{
	struct store *s = arg;
	struct rd r = rd_init(data, len), v;
	int rc;

	if (rid >= s->next_seq)
		s->next_seq = rid + 1;
	if (len && data[0] == ITEM_CLEAN)
		return 0;
	rc = check_record(data, len);
	while (!rc && rd_left(&r)) {
		uint8_t type = rd_u8(&r);

		v = rd_sub(&r, rd_be32(&r));
		rc = r.bad ? -EBADMSG : on_item(s, pos, type, &v, len);
	}
	return rc;
}

struct orphans {
	struct store *s;
	char (*name)[48];
	size_t count, cap;
};

static void on_body(const char *name, uint64_t size, void *arg)
{
	struct orphans *o = arg;
	uint8_t id[LETTER_ID_LEN];
	struct letter *l = letter_id_parse(name, id) ? NULL : store_find(o->s, id);

	if (l && l->own_file && size == l->body_len)
		return;
	if (l && l->own_file) {
		log_err(NULL, "letter=%s msg=\"its body file has %llu bytes, not %llu\"", name,
			(unsigned long long)size, (unsigned long long)l->body_len);
		l->unreadable = true;
		return;
	}
	if (o->count == o->cap) {
		size_t cap = o->cap ? 2 * o->cap : 64;
		char(*a)[48] = realloc(o->name, cap * sizeof(*a));

		if (!a)
			return;
		o->name = a;
		o->cap = cap;
	}
	snprintf(o->name[o->count++], sizeof(o->name[0]), "body/%.40s", name);
}

static void on_copy(const char *name, uint64_t size, void *arg)
{
	(void)size;
	*(bool *)arg |= strncmp(name, "body-", 5) != 0;
}

/*
 * May a body without a letter be that of one that could not be read, or is missing? That is told once, and the start
 * that was told may have died before it came to the bodies: what lies in quarantine says it too.
 */
static bool letters_were_lost(struct store *s)
{
	struct journal_stats st;
	bool any = false;

	journal_stats(s->journal, &st);
	return st.quarantined || st.gaps || s->cfg.vfs->list(s->cfg.vfs, "quarantine", on_copy, &any) || any;
}

int store_replay_end(struct store *s)
{
	struct orphans o = { .s = s };
	uint8_t id[LETTER_ID_LEN];
	char to[64];
	bool keep;
	int rc;

	s->replayed = true;
	rc = s->cfg.vfs->list(s->cfg.vfs, "body", on_body, &o);
	keep = o.count && letters_were_lost(s);
	for (size_t i = 0; i < o.count; i++) {
		const char *name = o.name[i] + strlen("body/");

		/* Its letter may be the one that could not be read: then this is what is left of it. */
		snprintf(to, sizeof(to), "quarantine/body-%.40s", name);
		if (keep && !letter_id_parse(name, id) &&
		    !s->cfg.vfs->rename(s->cfg.vfs, o.name[i], to))
			log_err(NULL,
				"letter=%s msg=\"body without a letter, moved to quarantine\"",
				name);
		else /* never acknowledged, or done with */
			s->cfg.vfs->unlink(s->cfg.vfs, o.name[i]);
	}
	free(o.name);
	return rc;
}
