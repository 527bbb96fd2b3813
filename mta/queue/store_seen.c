/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What tunnel peers have sent us before: see store.h.
 *
 * Theory: an entry belongs to its peer, by the name that our own posternd gives it. By a letter's id alone it
 * must not go: ids are no secret (each 250 tells one), so any tenant could send something under another one's id
 * first, and what is then "already have it" would never arrive. The home that a letter is for does not mend that,
 * since whoever may send to it may do so under any id; the key that a peer has at the hop would, but who moves an
 * edge to another host makes a new one there. A server that takes over from another keeps its name instead
 * (postern-queue.5), and its letters, imported, their ids.
 */
#include "store_format.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "msg.h"

#define SEEN_LOOKS 16384 /* entries looked at in one turn, a millisecond or two */

/* FNV-1a, the same in every process. Only recipients of one letter of one peer can meet in it. */
uint64_t seen_hash(const char *s)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (; *s; s++)
		h = (h ^ (uint8_t)*s) * 0x100000001b3u;
	return h;
}

static uint64_t key(const struct seen_peer *p, const uint8_t id[static LETTER_ID_LEN],
		    uint64_t rcpt)
{
	uint8_t b[sizeof(p) + LETTER_ID_LEN + 8];

	memcpy(b, &p, sizeof(p));
	memcpy(b + sizeof(p), id, LETTER_ID_LEN);
	memcpy(b + sizeof(p) + LETTER_ID_LEN, &rcpt, 8);
	return hash_bytes(b, sizeof(b));
}

static struct seen_peer *peer_of(struct store *s, const char *name, bool make)
{
	struct seen_peer *p;
	size_t len;

	for (p = s->peers; p; p = p->next)
		if (!strcmp(p->name, name))
			return p;
	if (!make)
		return NULL;
	len = strlen(name) + 1;
	p = calloc(1, sizeof(*p) + len);
	if (!p)
		return NULL;
	memcpy(p->name, name, len);
	p->next = s->peers;
	s->peers = p;
	return p;
}

static struct seen *find(struct store *s, const struct seen_peer *p, const uint8_t *id,
			 uint64_t rcpt)
{
	for (struct hash_node *n = hash_first(&s->seen, key(p, id, rcpt)); n; n = hash_next(n)) {
		struct seen *e = (struct seen *)(void *)n;

		if (e->peer == p && e->rcpt == rcpt && !memcmp(e->peer_id, id, LETTER_ID_LEN) &&
		    !e->void_)
			return e;
	}
	return NULL;
}

struct seen *seen_find(struct store *s, const struct envelope *e, const char *rcpt)
{
	struct seen_peer *p = e->peer && e->flags & ENV_PEER_ID ? peer_of(s, e->peer, false) : NULL;

	return p ? find(s, p, e->peer_id, seen_hash(rcpt)) : NULL;
}

static uint64_t owner_of(const uint8_t id[static LETTER_ID_LEN])
{
	struct rd r = rd_init(id, 8);

	return rd_be64(&r);
}

bool seen_elsewhere(struct store *s, const struct envelope *e, const char *rcpt)
{
	const struct seen *x = seen_find(s, e, rcpt);

	return x && x->owner && x->owner != owner_of(e->id);
}

static int add(struct store *s, struct seen_peer *p, const uint8_t *id, uint64_t rcpt, uint64_t seq,
	       uint64_t clock, uint64_t owner, uint32_t segment, bool pending)
{
	struct seen *e = find(s, p, id, rcpt);

	if (e) { /* moved, or the letter was */
		store_ref(s, e->segment, -1);
		e->segment = segment;
		store_ref(s, segment, 1);
		return 0;
	}
	e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	*e = (struct seen){ .peer = p,
			    .rcpt = rcpt,
			    .seq = seq,
			    .clock = clock,
			    .owner = owner,
			    .segment = segment,
			    .pending = pending };
	memcpy(e->peer_id, id, LETTER_ID_LEN);
	if (hash_insert(&s->seen, &e->node, key(p, id, rcpt))) {
		free(e);
		return -ENOMEM;
	}
	TAILQ_INSERT_TAIL(&s->seen_all, e, all);
	s->seen_count++;
	p->count++;
	store_ref(s, segment, 1);
	return 0;
}

int seen_add(struct store *s, const struct envelope *e, const char *rcpt, uint64_t clock,
	     uint32_t segment, bool pending)
{
	struct seen_peer *p = peer_of(s, e->peer ? e->peer : "", true);

	return p ? add(s, p, e->peer_id, seen_hash(rcpt), e->peer_seq, clock, owner_of(e->id),
		       segment, pending)
		 : -ENOMEM;
}

void seen_settle(struct store *s, const char *peer, const uint8_t id[static LETTER_ID_LEN],
		 const uint64_t *rcpt, size_t count, bool ok, uint32_t segment)
{
	struct seen_peer *p = peer_of(s, peer, false);

	for (size_t i = 0; p && i < count; i++) {
		struct seen *e = find(s, p, id, rcpt[i]);

		if (!e || !e->pending)
			continue;
		e->pending = false;
		e->void_ = !ok;
		store_ref(s, e->segment, -1);
		e->segment = ok ? segment : 0;
		store_ref(s, e->segment, 1);
	}
}

void seen_low(struct store *s, const char *peer, uint64_t low)
{
	struct seen_peer *p = peer_of(s, peer, false);

	/* Lower than before: its queue was made anew, and what counts begins again. */
	if (p)
		p->low = low;
}

static size_t share(const struct store *s)
{
	size_t peers = 0;

	for (const struct seen_peer *p = s->peers; p; p = p->next)
		peers += p->count > 0;
	return STORE_SEEN_MAX / (peers ? peers : 1);
}

static bool keeps(const struct store *s, const struct seen *e, size_t most_count)
{
	uint64_t most_s = e->seq >= e->peer->low ? STORE_SEEN_S : STORE_SEEN_LEAST_S;

	return e->pending ||
	       (!e->void_ && s->clock - e->clock < most_s &&
		(!s->seen_over || s->seen_count <= STORE_SEEN_MAX || e->peer->count <= most_count));
}

static void forget(struct store *s, struct seen *e)
{
	TAILQ_REMOVE(&s->seen_all, e, all);
	if (s->seen_move_at == e)
		s->seen_move_at = NULL;
	hash_remove(&s->seen, &e->node);
	store_ref(s, e->segment, -1);
	s->seen_count--;
	e->peer->count--;
	free(e);
}

void seen_expire(struct store *s)
{
	struct seen *e = s->seen_at ? s->seen_at : TAILQ_FIRST(&s->seen_all), *next;
	size_t most = share(s);

	if (!s->seen_at)
		s->seen_over = s->seen_count > STORE_SEEN_MAX;
	for (int looks = 0; e && looks < SEEN_LOOKS; e = next, looks++) {
		next = TAILQ_NEXT(e, all);
		if (!keeps(s, e, most)) {
			forget(s, e);
		} else if (!e->pending && e->segment && e->seq < e->peer->low) {
			store_ref(s, e->segment, -1);
			e->segment = 0;
		}
	}
	s->seen_at = e;
}

int seen_item(struct store *s, struct rd *v, uint32_t segment)
{
	const char *name = msg_text_get(v);
	uint8_t id[LETTER_ID_LEN];
	struct seen_peer *p;
	uint64_t seq, clock;
	uint16_t n;

	rd_copy(v, id, sizeof(id));
	seq = rd_be64(v);
	clock = rd_be64(v);
	n = rd_be16(v);
	if (v->bad || rd_left(v) != 8u * n)
		return -EBADMSG;
	p = peer_of(s, name, true);
	while (p && n--)
		if (add(s, p, id, rd_be64(v), seq, clock, 0, segment, false))
			return -ENOMEM;
	return p ? 0 : -ENOMEM;
}

int seen_owner(struct store *s, struct rd *v)
{
	const char *name = msg_text_get(v);
	uint8_t id[LETTER_ID_LEN];
	uint64_t rcpt, owner;
	struct seen_peer *p;
	struct seen *e;

	rd_copy(v, id, sizeof(id));
	rcpt = rd_be64(v);
	owner = rd_be64(v);
	if (v->bad)
		return -EBADMSG;
	p = s ? peer_of(s, name, false) : NULL;
	e = p ? find(s, p, id, rcpt) : NULL;
	if (e)
		e->owner = owner;
	return 0;
}

static void put_owner(struct wr *w, const struct seen *e)
{
	size_t at = put_item(w, ITEM_OWNER);

	msg_text_put(w, e->peer->name);
	wr_bytes(w, e->peer_id, LETTER_ID_LEN);
	wr_be64(w, e->rcpt);
	wr_be64(w, e->owner);
	end_item(w, at);
}

void put_seen(struct wr *w, const char *peer, const uint8_t id[static LETTER_ID_LEN], uint64_t seq,
	      uint64_t clock, uint64_t rcpt)
{
	size_t at = put_item(w, ITEM_SEEN);

	msg_text_put(w, peer);
	wr_bytes(w, id, LETTER_ID_LEN);
	wr_be64(w, seq);
	wr_be64(w, clock);
	wr_be16(w, 1);
	wr_be64(w, rcpt);
	end_item(w, at);
}

struct move {
	struct journal_waiter w;
	struct store *s;
	struct seen_peer *peer;
	uint8_t id[LETTER_ID_LEN];
	uint64_t rcpt;
};

static void moved(struct journal_waiter *w, int rc, struct journal_pos pos)
{
	struct move *m = (struct move *)(void *)w;
	struct seen *e = find(m->s, m->peer, m->id, m->rcpt);

	if (e) {
		store_ref(m->s, e->segment, -1);
		e->segment = pos.segment;
		store_ref(m->s, e->segment, 1);
		e->pending = false;
	}
	(void)rc; /* kept records do not fail */
	free(m);
}

#define MOVE_MAX 256

/* False: not now. */
static bool move(struct store *s, struct seen *e)
{
	uint8_t buf[1024];
	struct wr w = wr_init(buf, sizeof(buf));
	struct move *m = calloc(1, sizeof(*m));

	if (!m)
		return false;
	*m = (struct move){ .w.done = moved, .s = s, .peer = e->peer, .rcpt = e->rcpt };
	memcpy(m->id, e->peer_id, LETTER_ID_LEN);
	put_seen(&w, e->peer->name, e->peer_id, e->seq, e->clock, e->rcpt);
	if (e->owner)
		put_owner(&w, e);
	if (w.bad || journal_append(s->journal, buf, w.len, true, &m->w)) {
		free(m);
		return false;
	}
	e->pending = true;
	return true;
}

void seen_move(struct store *s, uint32_t segment)
{
	struct seen *e = s->seen_moving == segment ? s->seen_move_at : NULL;
	int n = 0;

	s->seen_moving = segment;
	e = e ? e : TAILQ_FIRST(&s->seen_all);
	for (int looks = 0; e && looks < SEEN_LOOKS && n < MOVE_MAX; looks++, e = TAILQ_NEXT(e, all)) {
		if (e->segment != segment || e->pending)
			continue;
		if (!move(s, e))
			break;
		n++;
	}
	s->seen_move_at = e;
}

void seen_free(struct store *s)
{
	struct seen *e;
	struct seen_peer *p;

	while ((e = TAILQ_FIRST(&s->seen_all))) {
		TAILQ_REMOVE(&s->seen_all, e, all);
		free(e);
	}
	while ((p = s->peers)) {
		s->peers = p->next;
		free(p);
	}
	hash_free(&s->seen);
}
