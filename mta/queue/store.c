/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store_format.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "msg.h"

#define CLOCK_EVERY_S 600 /* when nothing else writes it */
#define KEEP_SEGMENTS 4	  /* no compaction below */
#define MOVE_LETTERS  64  /* letters moved per tick */
#define MOVE_LOOKS    16384 /* letters looked at for it, a millisecond or two */

const char *store_body_name(const uint8_t id[static LETTER_ID_LEN], char out[static 48])
{
	char hex[LETTER_ID_STR_MAX];

	snprintf(out, 48, "body/%s", letter_id_str(id, hex));
	return out;
}

size_t put_item(struct wr *w, enum item type)
{
	wr_u8(w, (uint8_t)type);
	wr_be32(w, 0);
	return w->len;
}

void end_item(struct wr *w, size_t at)
{
	struct wr len;

	if (w->bad)
		return;
	len = wr_init(w->base + at - 4, 4);
	wr_be32(&len, (uint32_t)(w->len - at));
}

/* --- looking --- */

struct letter *store_find(const struct store *s, const uint8_t id[static LETTER_ID_LEN])
{
	uint64_t h = hash_bytes(id, LETTER_ID_LEN);

	for (struct hash_node *n = hash_first(&s->index, h); n; n = hash_next(n)) {
		struct letter *l = (struct letter *)(void *)n;

		if (!memcmp(l->id, id, LETTER_ID_LEN))
			return l;
	}
	return NULL;
}

uint64_t store_clock(const struct store *s)
{
	return s->clock;
}

uint64_t store_age(const struct store *s, const struct letter *l)
{
	int64_t age = (int64_t)(s->clock - l->born);

	return age > 0 ? (uint64_t)age : 0;
}

uint64_t store_low_seq(const struct store *s)
{
	/* One that is gone stays in the list until that is durable: a crash would bring it back. */
	return s->oldest ? s->oldest->seq : s->next_seq;
}

uint64_t store_next_seq(const struct store *s)
{
	return s->next_seq;
}

struct letter *store_oldest(const struct store *s)
{
	return s->oldest;
}

void store_walk_end(struct store_walk *w)
{
	struct store_walk **at;

	if (!w->s)
		return;
	for (at = &w->s->walks; *at != w; at = &(*at)->other)
		;
	*at = w->other;
	*w = (struct store_walk){ .at = NULL };
}

void store_walk_begin(struct store *s, struct store_walk *w)
{
	store_walk_end(w);
	*w = (struct store_walk){ .other = s->walks, .s = s, .at = s->oldest };
	s->walks = w;
}

struct letter *store_walk_next(struct store_walk *w)
{
	struct letter *l = w->at;

	if (l)
		w->at = l->newer;
	else
		store_walk_end(w);
	return l;
}

uint64_t store_bytes(const struct store *s, enum letter_state state)
{
	return s->bytes[state];
}

size_t store_count(const struct store *s, enum letter_state state)
{
	return s->count[state];
}

void store_journal_stats(const struct store *s, struct journal_stats *out)
{
	journal_stats(s->journal, out);
}

uint64_t store_room(const struct store *s)
{
	return journal_ready(s->journal) ? s->room : 0;
}

static void look_at_space(struct store *s)
{
	struct vfs_space sp;

	s->room = 0;
	if (s->cfg.vfs->space(s->cfg.vfs, &sp))
		return;
	if (sp.inodes <= s->cfg.reserve_inodes || sp.bytes <= s->cfg.reserve_bytes)
		return;
	s->room = sp.bytes - s->cfg.reserve_bytes;
}

void store_set_reserve(struct store *s, uint64_t bytes, uint64_t inodes)
{
	s->cfg.reserve_bytes = bytes;
	s->cfg.reserve_inodes = inodes;
	look_at_space(s);
}

/* --- changes --- */

static void put_clock(struct store *s, struct wr *w)
{
	size_t at = put_item(w, ITEM_CLOCK);

	wr_be64(w, s->clock);
	wr_bytes(w, s->cfg.boot_id, 16);
	wr_be64(w, s->clock_ms);
	end_item(w, at);
	s->clock_put = s->clock;
}

/* Room for @n more bytes; without it the cursor turns bad by itself. */
static void want(struct store_change *c, size_t n)
{
	size_t cap = c->wr.cap;
	uint8_t *a;

	if (cap - c->wr.len >= n || c->wr.len + n > JOURNAL_RECORD_MAX)
		return;
	cap = 2 * cap > c->wr.len + n ? 2 * cap : c->wr.len + n;
	a = realloc(c->buf, cap);
	if (!a)
		return;
	c->buf = c->wr.base = a;
	c->wr.cap = cap;
}

struct wr *change_room(struct store_change *c, size_t n)
{
	want(c, n);
	return &c->wr;
}

struct store_change *store_begin(struct store *s)
{
	struct store_change *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->s = s;
	c->last = &c->parts;
	want(c, 1024);
	if (!c->buf) {
		free(c);
		return NULL;
	}
	if (s->clock != s->clock_put)
		put_clock(s, &c->wr);
	return c;
}

static void part_free(struct store *s, struct part *p)
{
	if (p->is_new)
		hash_remove(&s->storing, &p->node);
	letter_was_free(p->was);
	letter_free(p->letter);
	if (p->read)
		envelope_clear(p->read);
	free(p->read);
	free(p->env);
	free(p->peer);
	free(p->hash);
	free(p);
}

static void change_free(struct store_change *c)
{
	struct part *p;

	while ((p = c->parts)) {
		c->parts = p->next;
		part_free(c->s, p);
	}
	free(c->buf);
	free(c);
}

static void settle(struct store *s, const struct part *p, bool ok, uint32_t segment)
{
	if (p->peer)
		seen_settle(s, p->peer, p->peer_id, p->hash, p->hash_count, ok, segment);
}

void store_cancel(struct store_change *c)
{
	if (!c)
		return;
	for (struct part *p = c->parts; p; p = p->next) {
		settle(c->s, p, false, 0);
		if (p->was)
			letter_undo(c->s, p->was);
	}
	change_free(c);
}

struct part *part_new(struct store_change *c)
{
	struct part *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	*c->last = p;
	c->last = &p->next;
	return p;
}

int store_put_rcpt(struct store_change *c, struct letter *l, uint16_t index, enum rcpt_state state,
		   uint16_t attempts, const char *text)
{
	char cut[STORE_TEXT_MAX + 1];
	size_t at;

	if (index >= l->rcpt_count)
		return -EINVAL;
	snprintf(cut, sizeof(cut), "%s", text ? text : "");
	want(c, 64 + sizeof(cut));
	at = put_item(&c->wr, ITEM_RESULT);
	wr_bytes(&c->wr, l->id, LETTER_ID_LEN);
	wr_be16(&c->wr, 1);
	wr_be16(&c->wr, index);
	wr_u8(&c->wr, (uint8_t)state);
	wr_be16(&c->wr, attempts);
	msg_text_put(&c->wr, cut);
	end_item(&c->wr, at);
	letter_set_rcpt(l, index, (uint8_t)state, attempts, cut);
	return c->wr.bad ? -EMSGSIZE : 0;
}

int store_put_state(struct store_change *c, struct letter *l, enum letter_state state)
{
	struct part *p = NULL;
	size_t at;

	if (state == LETTER_GONE) {
		p = part_new(c);
		if (!p)
			return -ENOMEM;
		p->gone = l;
	}
	want(c, 64);
	at = put_item(&c->wr, ITEM_STATE);
	wr_bytes(&c->wr, l->id, LETTER_ID_LEN);
	wr_u8(&c->wr, (uint8_t)state);
	end_item(&c->wr, at);
	letter_set_state(c->s, l, (uint8_t)state);
	return c->wr.bad ? -EMSGSIZE : 0;
}

/* It is durable now, whatever else fails. */
static struct letter *stored(struct store *s, struct part *p, struct journal_pos pos)
{
	struct letter *l = p->letter;

	p->letter = NULL;
	letter_enter(s, l);
	l->pos = pos;
	l->rec_len = p->rec_len;
	s->live_bytes += l->rec_len;
	store_ref(s, pos.segment, 1);
	letter_link(s, l);
	if (s->cfg.added)
		s->cfg.added(s->cfg.arg, l, p->read);
	return l;
}

static void committed(struct journal_waiter *w, int rc, struct journal_pos pos)
{
	struct store_change *c = (struct store_change *)(void *)w;
	struct letter *first = NULL, *l;
	struct store *s = c->s;

	for (struct part *p = c->parts; p; p = p->next) {
		settle(s, p, !rc, pos.segment);
		if (rc)
			continue;
		if (p->letter) {
			l = stored(s, p, pos);
			first = first ? first : l;
		} else if (p->gone) {
			letter_forget(s, p->gone);
		} else if (p->moved) {
			store_ref(s, p->moved->pos.segment, -1);
			p->moved->pos = pos;
			s->live_bytes += p->rec_len;
			s->live_bytes -= p->moved->rec_len;
			p->moved->rec_len = p->rec_len;
			store_ref(s, pos.segment, 1);
			p->moved->moving = false;
		}
	}
	if (c->waiter)
		c->waiter->done(c->waiter, rc, first);
	change_free(c);
}

static void doubted(struct journal_waiter *w, int rc)
{
	struct store_change *c = (struct store_change *)(void *)w;

	if (c->waiter && c->waiter->doubt)
		c->waiter->doubt(c->waiter, rc);
}

static int commit(struct store_change *c, bool keep, bool later, struct store_waiter *w)
{
	struct journal *j = c->s->journal;
	int rc = c->wr.bad ? -EMSGSIZE : 0;

	c->waiter = w;
	c->w = (struct journal_waiter){ .done = committed, .doubt = doubted };
	for (struct part *p = c->parts; p; p = p->next)
		p->rec_len = (uint32_t)c->wr.len;
	if (!rc)
		rc = later ? journal_append_later(j, c->buf, c->wr.len, &c->w)
			   : journal_append(j, c->buf, c->wr.len, keep, &c->w);
	if (rc) {
		store_cancel(c);
		return rc;
	}
	free(c->buf); /* the journal has its copy */
	c->buf = NULL;
	return 0;
}

int store_commit(struct store_change *c, bool keep, struct store_waiter *w)
{
	return commit(c, keep, false, w);
}

int store_commit_later(struct store_change *c, struct store_waiter *w)
{
	return commit(c, true, true, w);
}

void store_flush(struct store *s)
{
	journal_flush(s->journal);
}

/* --- reading --- */

/* The item of @id in a record: a bounce shares its record with the letter that it is about. */
static int find_letter_item(const uint8_t *rec, size_t len, const uint8_t *id,
			    struct item_letter *it)
{
	struct rd r = rd_init(rec, len);

	while (rd_left(&r)) {
		uint8_t type = rd_u8(&r);
		struct rd v = rd_sub(&r, rd_be32(&r));

		if (!r.bad && type == ITEM_LETTER && !item_letter_get(&v, it) &&
		    !memcmp(it->id, id, LETTER_ID_LEN))
			return 0;
	}
	return -EBADMSG;
}

int store_read(struct store *s, struct letter *l, struct store_reading *r)
{
	struct item_letter it;
	size_t len;
	int rc;

	memset(r, 0, sizeof(*r));
	rc = journal_read(s->journal, l->pos, &r->record, &len);
	if (!rc)
		rc = find_letter_item(r->record, len, l->id, &it);
	if (!rc)
		rc = envelope_parse(&r->env, it.env, it.env_len);
	if (!rc && r->env.rcpt_count != l->rcpt_count) {
		envelope_clear(&r->env);
		rc = -EBADMSG;
	}
	if (rc) {
		char hex[LETTER_ID_STR_MAX];

		free(r->record);
		r->record = NULL;
		if (rc == -ENOMEM)
			return rc;
		if (!l->unreadable)
			log_err(NULL,
				"letter=%s segment=%08x offset=%u msg=\"cannot be read from the "
				"journal: %s\"",
				letter_id_str(l->id, hex), l->pos.segment, l->pos.offset,
				strerror(-rc));
		l->unreadable = true;
		return rc;
	}
	for (size_t i = 0; i < l->rcpt_count; i++) {
		r->env.rcpt[i].state = l->rcpt[i].state;
		r->env.rcpt[i].attempts = l->rcpt[i].attempts;
		r->env.rcpt[i].last = l->rcpt[i].last;
	}
	r->env.age_s = store_age(s, l);
	r->body = it.body_kind == BODY_INLINE ? it.body : NULL;
	r->body_len = it.body_len;
	return 0;
}

void store_reading_clear(struct store_reading *r)
{
	envelope_clear(&r->env);
	free(r->record);
	memset(r, 0, sizeof(*r));
}

int store_open_body(struct store *s, const struct letter *l)
{
	char name[48];

	return s->cfg.vfs->open_read(s->cfg.vfs, store_body_name(l->id, name));
}

/* There, and as long as it should be. */
static int look_at_body(struct store *s, const struct letter *l)
{
	struct vfs *v = s->cfg.vfs;
	int fd = store_open_body(s, l);
	ssize_t last = 1, more = 0;
	uint8_t byte;

	if (fd < 0)
		return fd;
	if (l->body_len)
		last = v->pread(v, fd, &byte, 1, l->body_len - 1);
	if (last == 1)
		more = v->pread(v, fd, &byte, 1, l->body_len);
	v->close(v, fd);
	return last < 0 ? (int)last : more < 0 ? (int)more : last == 1 && !more ? 0 : -EBADMSG;
}

int store_retry(struct store *s, struct letter *l)
{
	char hex[LETTER_ID_STR_MAX];
	struct store_reading r;
	int rc = store_rescuing(s, l) ? -EBUSY : store_read(s, l, &r);

	if (rc)
		return rc;
	rc = r.body ? 0 : look_at_body(s, l);
	store_reading_clear(&r);
	if (rc)
		return rc;
	l->unreadable = false;
	log_warn(NULL, "letter=%s msg=\"can be read again\"", letter_id_str(l->id, hex));
	return 0;
}

/* --- segments come and go --- */

static int move_letter(struct store *s, struct letter *l)
{
	struct store_reading r;
	struct store_change *c;
	struct part *p;
	struct wr w;
	int rc = store_read(s, l, &r);

	if (rc)
		return rc;
	c = store_begin(s);
	p = c ? part_new(c) : NULL;
	rc = p ? 0 : -ENOMEM;
	if (p) {
		uint8_t *env = malloc(ENVELOPE_MAX + 1);

		if (env) {
			w = wr_init(env, ENVELOPE_MAX + 1);
			/* Last replies may push it over the bound: they are told in the log too. */
			envelope_build(&r.env, &w);
			for (size_t i = 0; w.bad && i < r.env.rcpt_count; i++)
				r.env.rcpt[i].last = NULL;
			if (w.bad) {
				w = wr_init(env, ENVELOPE_MAX + 1);
				envelope_build(&r.env, &w);
			}
			p->it = (struct item_letter){
				.seq = l->seq,
				.born = l->born,
				.body_len = r.body_len,
				.state = l->state,
				.body_kind = r.body ? BODY_INLINE : BODY_OWN_FILE,
				.env = env,
				.env_len = (uint32_t)w.len,
				.body = r.body,
			};
			memcpy(p->it.id, l->id, LETTER_ID_LEN);
			put_letter(c, &p->it);
			if (w.bad || store_put_marks(c, l))
				c->wr.bad = true;
		}
		p->moved = l;
		free(env);
		if (!env)
			rc = -ENOMEM;
	}
	store_reading_clear(&r);
	if (rc) {
		store_cancel(c);
		return rc;
	}
	rc = store_commit(c, true, NULL);
	l->moving = !rc;
	return rc;
}

/*
 * Letters that still stand in the oldest segment are written again, some each tick. One that was moved before
 * stands in a later segment than its age says, so all are looked at, and in pieces.
 */
static void compact(struct store *s)
{
	uint32_t oldest = journal_oldest(s->journal);
	struct letter *l;
	int n = 0;

	if (s->compacting != oldest || !store_walk_on(&s->compact)) {
		store_walk_begin(s, &s->compact);
		s->compacting = oldest;
	}
	for (int looks = 0; looks < MOVE_LOOKS && n < MOVE_LETTERS; looks++) {
		int rc;

		l = store_walk_next(&s->compact);
		if (!l)
			break;
		if (l->pos.segment != oldest || l->state == LETTER_GONE || l->moving ||
		    store_rescuing(s, l))
			continue;
		/* One that lacks its body is moved all the same: its segment holds all newer ones. */
		rc = move_letter(s, l);
		if (rc == -EBADMSG || rc == -EIO)
			store_rescue(s, l);
		else if (!rc && s->bad_segment == oldest)
			s->bad_segment = 0; /* the disk gives again */
		n += !rc;
	}
	seen_move(s, oldest);
}

void store_tick(struct store *s, uint64_t now_ms)
{
	struct journal_stats st;

	if (now_ms > s->clock_ms) {
		s->clock += (now_ms - s->clock_ms) / 1000;
		s->clock_ms += (now_ms - s->clock_ms) / 1000 * 1000;
	}
	journal_tick(s->journal);
	look_at_space(s);
	if (s->oldest && s->clock - s->clock_put >= CLOCK_EVERY_S) {
		struct store_change *c = store_begin(s);

		if (c)
			store_commit(c, true, NULL);
	}
	seen_expire(s);
	if (journal_oldest(s->journal) == journal_current(s->journal))
		return;
	if (!store_refs(s, journal_oldest(s->journal))) {
		journal_drop_oldest(s->journal);
		return;
	}
	journal_stats(s->journal, &st);
	if (st.segments > KEEP_SEGMENTS && s->live_bytes < st.bytes / 2)
		compact(s);
}

/* --- life --- */

static void free_letter(struct hash_node *n, void *arg)
{
	(void)arg;
	letter_free((struct letter *)(void *)n);
}

static void store_free(struct store *s)
{
	hash_each(&s->index, free_letter, NULL);
	hash_free(&s->index);
	hash_free(&s->storing);
	seen_free(s);
	free(s->rescue);
	store_walk_end(&s->compact);
	free(s->refs);
	free(s);
}

int store_open(struct store **out, const struct store_config *cfg, uint64_t now_ms)
{
	struct store *s = calloc(1, sizeof(*s));
	struct journal_config jc = { .vfs = cfg->vfs,
				     .worker = cfg->worker,
				     .segment_bytes = cfg->segment_bytes,
				     .record = store_record };
	int rc;

	if (!s)
		return -ENOMEM;
	s->cfg = *cfg;
	TAILQ_INIT(&s->seen_all);
	s->clock_ms = now_ms;
	s->next_seq = 1;
	jc.arg = s;
	rc = cfg->vfs->mkdir(cfg->vfs, "body");
	if (!rc)
		rc = cfg->vfs->sync_dir(cfg->vfs, ".");
	if (!rc)
		rc = journal_open(&s->journal, &jc);
	if (!rc)
		rc = store_replay_end(s);
	if (rc) {
		journal_abandon(s->journal);
		store_free(s);
		return rc;
	}
	s->clock_put = UINT64_MAX; /* the first change writes it */
	look_at_space(s);
	*out = s;
	return 0;
}

void store_close(struct store *s)
{
	struct store_change *c;

	if (!s)
		return;
	c = store_begin(s);
	if (c) {
		if (s->clock == s->clock_put)
			put_clock(s, &c->wr);
		store_commit(c, true, NULL);
	}
	journal_close(s->journal);
	store_free(s);
}

void store_abandon(struct store *s)
{
	if (!s)
		return;
	journal_abandon(s->journal);
	store_free(s);
}
