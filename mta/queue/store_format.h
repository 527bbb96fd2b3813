/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_QUEUE_STORE_FORMAT_H
#define MTA_QUEUE_STORE_FORMAT_H

/* What the files of the store share. */

#include <sys/queue.h>

#include "store.h"
#include "wire.h"

enum item {
	ITEM_CLEAN = 0,
	ITEM_LETTER = 1,
	ITEM_RESULT = 2,
	ITEM_STATE = 3,
	ITEM_CLOCK = 4,
	ITEM_SEEN = 5,
	ITEM_BIRTH = 6,
	ITEM_TOLD = 7,
	ITEM_WAY = 8,
	ITEM_OWNER = 9,
};

/* No peer of posternd: see note_import(). */
#define STORE_IMPORT_PEER ".import"

#define BODY_INLINE   0
#define BODY_OWN_FILE 1

struct item_letter {
	uint8_t id[LETTER_ID_LEN];
	uint64_t seq, born, body_len;
	uint8_t state, body_kind;
	const uint8_t *env, *body;
	uint32_t env_len;
};

struct seen_peer {
	struct seen_peer *next;
	uint64_t low;
	size_t count; /* of its entries */
	char name[];
};

/* One (peer, id, recipient). */
struct seen {
	struct hash_node node;
	TAILQ_ENTRY(seen) all; /* in order of age */
	struct seen_peer *peer;
	uint8_t peer_id[LETTER_ID_LEN];
	uint64_t rcpt;
	uint64_t seq;
	uint64_t clock;
	uint64_t owner; /* beginning of its letter's id; 0: not known */
	uint32_t segment;
	bool pending; /* not durable yet */
	bool void_;   /* its letter was not stored */
};

struct store {
	struct store_config cfg;
	struct journal *journal;
	struct hash_table index;
	struct hash_table storing; /* new letters on their way to the disk: struct part */
	struct letter *oldest, *newest;
	size_t count[LETTER_STATES];
	uint64_t bytes[LETTER_STATES]; /* of bodies */
	struct store_walk *walks;      /* under way */
	uint64_t live_bytes;
	uint64_t next_seq;
	/* Queue clock: @clock at @clock_ms. */
	uint64_t clock, clock_ms, clock_put;
	bool replayed; /* index complete */
	int replay_rc;

	uint32_t *refs; /* of segments, from ref_base on: letters and seen entries */
	uint32_t ref_base;
	size_t ref_count;

	struct hash_table seen;
	TAILQ_HEAD(, seen) seen_all;
	struct seen *seen_at, *seen_move_at; /* where seen_expire() and seen_move() go on; NULL: at the first */
	bool seen_over;			     /* there were too many when seen_expire() was at the first */
	uint32_t seen_moving;		     /* the segment that seen_move() last was asked for */
	size_t seen_count;
	struct seen_peer *peers;

	uint64_t room;
	uint32_t closing; /* orphan removal and the like done */
	struct store_walk compact; /* through the letters, for those in @compacting */
	uint32_t compacting;

	struct rescue *rescue; /* store_rescue.c */
	uint32_t bad_segment;  /* whose letters compaction cannot read, since when */
	uint64_t bad_since;
};

/* Part of a change that waits for its commit. */
struct part {
	struct hash_node node; /* of a new letter */
	struct part *next;
	struct item_letter it; /* a new letter; env NULL: not one */
	uint8_t *env;
	struct envelope *read; /* of @env */
	struct letter *letter; /* as it will be: what is durable needs no memory to be known */
	uint32_t rec_len;
	bool is_new; /* in store.storing */
	char *peer;  /* with ENV_PEER_ID */
	uint8_t peer_id[LETTER_ID_LEN];
	uint64_t *hash;
	size_t hash_count;
	struct letter *gone;
	struct letter *moved;
	struct letter_was *was;
};

struct store_change {
	struct journal_waiter w;
	struct store *s;
	uint8_t *buf;
	struct wr wr;
	struct part *parts, **last;
	struct store_waiter *waiter;
};

void store_ref(struct store *s, uint32_t segment, int by);
uint32_t store_refs(const struct store *s, uint32_t segment);
/** letter_make() - In no index yet; NULL without memory. letter_free() - Its memory alone; NULL does nothing. */
struct letter *letter_make(const struct store *s, const struct item_letter *it,
			   const struct envelope *e);
void letter_free(struct letter *l);
/** letter_enter() - Into the index; 0 or -ENOMEM, never that after letter_room(). */
int letter_enter(struct store *s, struct letter *l);
int letter_room(struct store *s);
void letter_link(struct store *s, struct letter *l);
/** letter_forget() - Out of the index and memory, body file removed. */
void letter_forget(struct store *s, struct letter *l);
void letter_set_rcpt(struct letter *l, uint16_t index, uint8_t state, uint16_t attempts,
		     const char *text);
void letter_set_birth(struct letter *l, uint64_t clock);
/** letter_count() - It is one of those of its state, or (@by -1) not any more. */
void letter_count(struct store *s, const struct letter *l, int by);
void letter_set_state(struct store *s, struct letter *l, uint8_t state);
int item_letter_get(struct rd *v, struct item_letter *it);
/** store_record() - One record of the replay. */
int store_record(void *arg, struct journal_pos pos, uint64_t rid, const uint8_t *data, size_t len);
/** store_replay_end() - Sort, count, remove orphans. */
int store_replay_end(struct store *s);

struct seen *seen_find(struct store *s, const struct envelope *e, const char *rcpt);
/** seen_add() - 0 or -ENOMEM. */
int seen_add(struct store *s, const struct envelope *e, const char *rcpt, uint64_t clock,
	     uint32_t segment, bool pending);
/** seen_elsewhere() - Was this recipient of the letter that @e is sent before, as another letter's? */
bool seen_elsewhere(struct store *s, const struct envelope *e, const char *rcpt);
/** seen_hash() - What an entry keeps of a recipient. */
uint64_t seen_hash(const char *rcpt);
/** seen_settle() - What was pending for this letter is durable in @segment, or void. */
void seen_settle(struct store *s, const char *peer, const uint8_t id[static LETTER_ID_LEN],
		 const uint64_t *rcpt, size_t count, bool ok, uint32_t segment);
void seen_low(struct store *s, const char *peer, uint64_t low);
/** seen_expire() - Forget what is old enough; a part of all of them each time. */
void seen_expire(struct store *s);
/** seen_item() - Read an ITEM_SEEN. */
int seen_item(struct store *s, struct rd *v, uint32_t segment);
/** seen_owner() - Read an ITEM_OWNER; @s: NULL to look only whether it can be read. */
int seen_owner(struct store *s, struct rd *v);
/** seen_move() - Write again what stands in @segment; a part of it each time. */
void seen_move(struct store *s, uint32_t segment);
void seen_free(struct store *s);
/** put_seen() - An item for one recipient of one letter. */
void put_seen(struct wr *w, const char *peer, const uint8_t id[static LETTER_ID_LEN], uint64_t seq,
	      uint64_t clock, uint64_t rcpt);
/** put_item() - Header of an item; returns where its length stands, for end_item(). */
size_t put_item(struct wr *w, enum item type);
void end_item(struct wr *w, size_t at);
/** change_room() - The cursor of a change, with room for @n bytes more; without it, it turns bad by itself. */
struct wr *change_room(struct store_change *c, size_t n);

/** part_new() - One more of a change, at its end; NULL without memory. */
struct part *part_new(struct store_change *c);

/* store_letter.c */
/** put_letter() - The item of a letter, new or written again. */
void put_letter(struct store_change *c, const struct item_letter *it);

/* store_rescue.c */
/**
 * store_rescue() - Compaction met @l, which cannot be read: out of the queue, after a while.
 * From then on it is in nobody's way (store_config.removed).
 */
void store_rescue(struct store *s, struct letter *l);
/** store_rescuing() - It is being copied: leave it alone. */
bool store_rescuing(const struct store *s, const struct letter *l);

/* store_undo.c */
/** letter_undo() - A change that remembered its letter is given up. */
void letter_undo(struct store *s, struct letter_was *was);
/** letter_was_free() - NULL does nothing. */
void letter_was_free(struct letter_was *was);

/* store_mark.c */
/** store_put_marks() - All of them, beside a letter that is written again. */
int store_put_marks(struct store_change *c, struct letter *l);
/** put_told() and put_way() - Their items alone. */
int put_told(struct store_change *c, const uint8_t id[static LETTER_ID_LEN], const uint16_t *which,
	     size_t count);
int put_way(struct store_change *c, const uint8_t id[static LETTER_ID_LEN], const char *way);
/** store_told() - Read an ITEM_TOLD; @s: NULL to look only whether it can be read. */
int store_told(struct store *s, struct rd *v);
/** store_way() - The same for an ITEM_WAY. */
int store_way(struct store *s, struct rd *v);

#endif
