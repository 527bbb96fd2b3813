/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_QUEUE_STORE_FORMAT_H
#define MTA_QUEUE_STORE_FORMAT_H

/* What store.c, store_replay.c and store_seen.c share. */

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
};

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
	char name[];
};

/* One (peer, id, recipient). */
struct seen {
	struct hash_node node;
	struct seen *next; /* in order of age */
	struct seen_peer *peer;
	uint8_t peer_id[LETTER_ID_LEN];
	uint64_t rcpt;
	uint64_t seq;
	uint64_t clock;
	uint32_t segment;
	bool pending; /* not durable yet */
	bool void_;   /* its letter was not stored */
};

struct store {
	struct store_config cfg;
	struct journal *journal;
	struct hash_table index;
	struct letter *oldest, *newest;
	size_t count[LETTER_STATES];
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
	struct seen *seen_first, *seen_last;
	size_t seen_count;
	struct seen_peer *peers;

	uint64_t room;
	uint32_t closing; /* orphan removal and the like done */
};

void store_ref(struct store *s, uint32_t segment, int by);
uint32_t store_refs(const struct store *s, uint32_t segment);
struct letter *letter_new(struct store *s, const struct item_letter *it, const struct envelope *e);
void letter_link(struct store *s, struct letter *l);
/** letter_forget() - Out of the index and memory, body file removed. */
void letter_forget(struct store *s, struct letter *l);
void letter_set_rcpt(struct letter *l, uint16_t index, uint8_t state, uint16_t attempts,
		     const char *text);
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
/** seen_hash() - What an entry keeps of a recipient. */
uint64_t seen_hash(const char *rcpt);
/** seen_settle() - What was pending for this letter is durable in @segment, or void. */
void seen_settle(struct store *s, const char *peer, const uint8_t id[static LETTER_ID_LEN],
		 const uint64_t *rcpt, size_t count, bool ok, uint32_t segment);
void seen_low(struct store *s, const char *peer, uint64_t low);
void seen_expire(struct store *s);
/** seen_item() - Read an ITEM_SEEN. */
int seen_item(struct store *s, struct rd *v, uint32_t segment);
/** seen_move() - Write again what stands in @segment; number of entries under way. */
int seen_move(struct store *s, uint32_t segment);
void seen_free(struct store *s);
/** put_item() - Header of an item; returns where its length stands, for end_item(). */
size_t put_item(struct wr *w, enum item type);
void end_item(struct wr *w, size_t at);

#endif
