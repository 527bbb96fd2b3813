/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What tunnel peers have sent us before: see store.h. */
#include "store_format.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "msg.h"

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

static int add(struct store *s, struct seen_peer *p, const uint8_t *id, uint64_t rcpt, uint64_t seq,
	       uint64_t clock, uint32_t segment, bool pending)
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
			    .segment = segment,
			    .pending = pending };
	memcpy(e->peer_id, id, LETTER_ID_LEN);
	if (hash_insert(&s->seen, &e->node, key(p, id, rcpt))) {
		free(e);
		return -ENOMEM;
	}
	if (s->seen_last)
		s->seen_last->next = e;
	else
		s->seen_first = e;
	s->seen_last = e;
	s->seen_count++;
	store_ref(s, segment, 1);
	return 0;
}

int seen_add(struct store *s, const struct envelope *e, const char *rcpt, uint64_t clock,
	     uint32_t segment, bool pending)
{
	struct seen_peer *p = peer_of(s, e->peer ? e->peer : "", true);

	return p ? add(s, p, e->peer_id, seen_hash(rcpt), e->peer_seq, clock, segment, pending)
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

void seen_expire(struct store *s)
{
	struct seen *prev = NULL, *e = s->seen_first, *next;

	for (; e; e = next) {
		next = e->next;
		if (e->pending ||
		    (!e->void_ && e->seq >= e->peer->low && s->clock - e->clock < STORE_SEEN_S &&
		     s->seen_count < STORE_SEEN_MAX)) {
			prev = e;
			continue;
		}
		if (prev)
			prev->next = next;
		else
			s->seen_first = next;
		if (s->seen_last == e)
			s->seen_last = prev;
		hash_remove(&s->seen, &e->node);
		store_ref(s, e->segment, -1);
		s->seen_count--;
		free(e);
	}
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
		if (add(s, p, id, rd_be64(v), seq, clock, segment, false))
			return -ENOMEM;
	return p ? 0 : -ENOMEM;
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

int seen_move(struct store *s, uint32_t segment)
{
	int n = 0;

	for (struct seen *e = s->seen_first; e && n < MOVE_MAX; e = e->next) {
		uint8_t buf[1024];
		struct wr w = wr_init(buf, sizeof(buf));
		struct move *m;
		size_t at;

		if (e->segment != segment)
			continue;
		n++;
		if (e->pending)
			continue;
		m = calloc(1, sizeof(*m));
		if (!m)
			break;
		*m = (struct move){ .w.done = moved, .s = s, .peer = e->peer, .rcpt = e->rcpt };
		memcpy(m->id, e->peer_id, LETTER_ID_LEN);
		at = put_item(&w, ITEM_SEEN);
		msg_text_put(&w, e->peer->name);
		wr_bytes(&w, e->peer_id, LETTER_ID_LEN);
		wr_be64(&w, e->seq);
		wr_be64(&w, e->clock);
		wr_be16(&w, 1);
		wr_be64(&w, e->rcpt);
		end_item(&w, at);
		if (w.bad || journal_append(s->journal, buf, w.len, true, &m->w)) {
			free(m);
			break;
		}
		e->pending = true;
	}
	return n;
}

void seen_free(struct store *s)
{
	struct seen *e;
	struct seen_peer *p;

	while ((e = s->seen_first)) {
		s->seen_first = e->next;
		free(e);
	}
	while ((p = s->peers)) {
		s->peers = p->next;
		free(p);
	}
	hash_free(&s->seen);
}
