/* SPDX-License-Identifier: GPL-3.0-or-later */
/* New letters on their way into the journal: see store.h. */
#include "store_format.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void put_letter(struct store_change *c, const struct item_letter *it)
{
	struct wr *w =
	    change_room(c, 128 + it->env_len + (it->body_kind == BODY_INLINE ? it->body_len : 0));
	size_t at;

	at = put_item(w, ITEM_LETTER);
	wr_bytes(w, it->id, LETTER_ID_LEN);
	wr_be64(w, it->seq);
	wr_be64(w, it->born);
	wr_u8(w, it->state);
	wr_u8(w, it->body_kind);
	wr_be64(w, it->body_len);
	wr_be32(w, it->env_len);
	wr_bytes(w, it->env, it->env_len);
	if (it->body_kind == BODY_INLINE)
		wr_bytes(w, it->body, it->body_len);
	end_item(w, at);
}

bool store_has(const struct store *s, const uint8_t id[static LETTER_ID_LEN])
{
	struct hash_node *n = hash_first(&s->storing, hash_bytes(id, LETTER_ID_LEN));

	while (n && memcmp(((struct part *)(void *)n)->it.id, id, LETTER_ID_LEN))
		n = hash_next(n);
	return n || store_find(s, id);
}

/* Recipients that the peer has not sent before go to @out; what is new is noted as pending. */
static int new_rcpts(struct store *s, const struct envelope *e, struct env_rcpt *out, size_t *n)
{
	*n = 0;
	for (size_t i = 0; i < e->rcpt_count; i++) {
		const struct seen *old = seen_find(s, e, e->rcpt[i].addr);

		if (old && old->pending)
			return -EAGAIN;
		if (!old)
			out[(*n)++] = e->rcpt[i];
	}
	return *n ? 0 : -EEXIST;
}

static int note_rcpts(struct store *s, struct part *p, const struct envelope *e)
{
	if (!(e->flags & ENV_PEER_ID))
		return 0;
	p->hash = calloc(e->rcpt_count, sizeof(*p->hash));
	p->peer = strdup(e->peer ? e->peer : "");
	if (!p->hash || !p->peer)
		return -ENOMEM;
	memcpy(p->peer_id, e->peer_id, LETTER_ID_LEN);
	for (size_t i = 0; i < e->rcpt_count; i++) {
		/* The same recipient twice in one letter: one entry. */
		if (!seen_find(s, e, e->rcpt[i].addr) &&
		    seen_add(s, e, e->rcpt[i].addr, s->clock, 0, true))
			return -ENOMEM;
		p->hash[p->hash_count++] = seen_hash(e->rcpt[i].addr);
	}
	return 0;
}

/* All that needs memory when it is durable; a letter that is lost to memory then would be to its sender too. */
static int make_known(struct store *s, struct part *p)
{
	struct letter *l;

	p->read = malloc(sizeof(*p->read));
	if (!p->read || envelope_parse(p->read, p->env, p->it.env_len)) {
		free(p->read);
		p->read = NULL;
		return -ENOMEM;
	}
	l = letter_make(s, &p->it, p->read);
	if (!l || letter_room(s) ||
	    hash_insert(&s->storing, &p->node, hash_bytes(p->it.id, LETTER_ID_LEN))) {
		letter_free(l);
		return -ENOMEM;
	}
	p->is_new = true;
	p->letter = l;
	return 0;
}

/* The letter as it shall be stored, durable facts of its peer noted. */
static int put_new(struct store_change *c, struct envelope *e, const uint8_t *body,
		   uint64_t body_len, uint64_t born, enum letter_state state)
{
	struct part *p = part_new(c);
	struct store *s = c->s;
	uint8_t *env;
	struct wr w;
	int rc;

	if (p)
		p->env = malloc(ENVELOPE_MAX + 1);
	if (!p || !p->env)
		return -ENOMEM;
	e->age_s = 0;
	e->size = body_len;
	w = wr_init(p->env, ENVELOPE_MAX + 1);
	envelope_build(e, &w);
	rc = w.bad ? -EMSGSIZE : note_rcpts(s, p, e);
	if (rc)
		return rc;
	env = realloc(p->env, w.len);
	if (env) /* it waits for the commit: no more than it needs */
		p->env = env;
	memcpy(p->it.id, e->id, LETTER_ID_LEN);
	p->it.seq = s->next_seq++;
	p->it.born = born;
	p->it.state = (uint8_t)state;
	p->it.body_kind = body ? BODY_INLINE : BODY_OWN_FILE;
	p->it.body_len = body_len;
	p->it.env = p->env;
	p->it.env_len = (uint32_t)w.len;
	rc = make_known(s, p);
	if (rc)
		return rc;
	p->it.body = body;
	put_letter(c, &p->it);
	p->it.body = NULL; /* the caller's */
	return c->wr.bad ? -EMSGSIZE : 0;
}

int store_put_letter(struct store_change *c, const struct envelope *e, const uint8_t *body,
		     uint64_t body_len)
{
	struct envelope stored = *e;
	int rc;

	if (!e->rcpt_count || (body && body_len > STORE_BODY_INLINE) || store_has(c->s, e->id))
		return -EINVAL;
	stored.rcpt = calloc(e->rcpt_count, sizeof(*stored.rcpt));
	if (!stored.rcpt)
		return -ENOMEM;
	rc = new_rcpts(c->s, e, stored.rcpt, &stored.rcpt_count);
	if (!rc)
		rc = put_new(c, &stored, body, body_len, c->s->clock, LETTER_QUEUED);
	if (!rc && e->flags & ENV_PEER_ID) /* never by what a peer said long ago to another queue */
		seen_low(c->s, e->peer ? e->peer : "", e->peer_low);
	free(stored.rcpt);
	return rc;
}

/*
 * That a letter was taken from an export is kept as if a peer had sent it, for 30 days: its recipient is the
 * count of its moves, so that the same letter may come back after it has left again.
 */
static int note_import(struct store_change *c, const struct envelope *e)
{
	struct envelope as = { .flags = ENV_PEER_ID, .peer = STORE_IMPORT_PEER };
	struct part *p;
	char moves[8];

	snprintf(moves, sizeof(moves), "%u", e->moves);
	memcpy(as.peer_id, e->id, LETTER_ID_LEN);
	if (seen_find(c->s, &as, moves))
		return -EEXIST;
	p = part_new(c);
	if (!p || !(p->hash = calloc(1, sizeof(*p->hash))) || !(p->peer = strdup(as.peer)) ||
	    seen_add(c->s, &as, moves, c->s->clock, 0, true))
		return -ENOMEM;
	memcpy(p->peer_id, e->id, LETTER_ID_LEN);
	p->hash[p->hash_count++] = seen_hash(moves);
	put_seen(change_room(c, 128), as.peer, e->id, 0, c->s->clock, p->hash[0]);
	return 0;
}

/*
 * Recipients of @e for @out, in their places; what its peer repeated to this queue is left to the letter that
 * came so. -EEXIST: then there is nothing to be sent, nor a failure that somebody has to hear of.
 */
static int leave_repeated(struct store *s, const struct envelope *e, struct env_rcpt *out,
			  enum letter_state *state)
{
	bool open = false, repeated = false, failed = false;

	for (size_t i = 0; i < e->rcpt_count; i++) {
		out[i] = e->rcpt[i];
		failed |= out[i].state == RCPT_FAILED || out[i].state == RCPT_EXPIRED;
		if (out[i].state != RCPT_PENDING)
			continue;
		if (seen_elsewhere(s, e, out[i].addr))
			out[i].state = RCPT_REMOVED;
		repeated |= out[i].state == RCPT_REMOVED;
		open |= out[i].state == RCPT_PENDING;
	}
	if (!repeated || open)
		return 0;
	*state = LETTER_DEAD;
	return failed ? 0 : -EEXIST;
}

int store_put_import(struct store_change *c, const struct envelope *e, const uint8_t *body,
		     uint64_t body_len, const struct store_import *x)
{
	struct envelope stored = *e;
	enum letter_state state = x->state;
	int rc;

	if (store_has(c->s, e->id))
		return -EEXIST;
	if (!e->rcpt_count || (body && body_len > STORE_BODY_INLINE) || x->state >= LETTER_GONE)
		return -EINVAL;
	stored.rcpt = calloc(e->rcpt_count, sizeof(*stored.rcpt));
	if (!stored.rcpt)
		return -ENOMEM;
	rc = leave_repeated(c->s, e, stored.rcpt, &state);
	if (!rc)
		rc = note_import(c, e);
	if (!rc)
		rc = put_new(c, &stored, body, body_len, c->s->clock - x->age_s, state);
	if (!rc && x->told_count)
		rc = put_told(c, e->id, x->told, x->told_count);
	if (!rc && x->way)
		rc = put_way(c, e->id, x->way);
	free(stored.rcpt);
	return rc;
}
