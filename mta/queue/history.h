/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_QUEUE_HISTORY_H
#define MTA_QUEUE_HISTORY_H

/*
 * Theory: what happened to letters, for `postern mail trace`, also when they are gone. A ring of fixed slots
 * in one file, queue/history: the newest event takes the place of the oldest. The oldest of a letter that
 * still waits is written again instead of being lost, as long as they are not too many. Nothing
 * depends on it: it is not synced, a slot that a crash tore is left out, and where it cannot be
 * written there is none.
 *
 *	slot, 256 bytes, big endian:
 *	crc32c 32 | kind 8 | text length 8 | recipient 16 | seq 64 | order 64 | wall clock in ms 64 | letter 16 bytes |
 *	id of the tunnel peer's own 16 bytes, or zeros | code 16 | attempts 16 | text
 *
 * An event waits in memory until the next tick, or until a few are together: one write for all of them.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "envelope.h"
#include "vfs.h"

#define HISTORY_SLOT	 256
#define HISTORY_SLOTS	 65536 /* 16 MiB */
#define HISTORY_TEXT_MAX (HISTORY_SLOT - 70)
#define HISTORY_NO_RCPT	 0xffff

enum history_kind {
	HISTORY_ACCEPTED = 1,
	HISTORY_RCPTS, /* text: addresses, from recipient @rcpt on, '\\n' between them */
	HISTORY_DELIVERED,
	HISTORY_DEFERRED,
	HISTORY_FAILED,
	HISTORY_EXPIRED,
	HISTORY_DELAYED, /* its sender was told that it waits */
	HISTORY_BOUNCED, /* its sender was told that it failed */
	HISTORY_DEAD,
	HISTORY_HELD,
	HISTORY_RELEASED,
	HISTORY_REMOVED,
	HISTORY_MOVED,
	HISTORY_EXPORTED,
	HISTORY_IMPORTED,
	HISTORY_REPORTED, /* its sender was told that it arrived, as he had asked */
	HISTORY_PROBED,	  /* host and TLS of a probe's attempt */
	HISTORY_KINDS,
};

struct history_event {
	uint8_t kind;
	uint16_t rcpt; /* its number, or HISTORY_NO_RCPT */
	uint16_t code; /* of a reply; 0: none */
	uint16_t attempts;
	uint64_t seq;	/* of its writing */
	uint64_t order; /* of its first writing */
	int64_t at_ms;	/* wall clock; for people only */
	uint8_t id[LETTER_ID_LEN];
	uint8_t peer_id[LETTER_ID_LEN];
	char text[HISTORY_TEXT_MAX + 1];
};

struct history;

/**
 * history_open() - @slots: HISTORY_SLOTS, fewer in tests.
 * @waits: does this letter still wait?
 * NULL without memory; where the file cannot be used, events go nowhere.
 */
struct history *history_open(struct vfs *v, uint32_t slots,
			     bool (*waits)(void *arg, const uint8_t id[static LETTER_ID_LEN]),
			     void *arg);
/** history_close() - Writes what waits in memory. */
void history_close(struct history *h);
/** history_rcpt() - What happened to one recipient of letter @id; the text may be cut. */
void history_rcpt(struct history *h, enum history_kind kind, const uint8_t id[static LETTER_ID_LEN],
		  uint16_t rcpt, uint16_t code, uint16_t attempts, const char *fmt, ...)
    __attribute__((format(printf, 7, 8)));
/** history_note() - To the whole of it. */
void history_note(struct history *h, enum history_kind kind, const uint8_t id[static LETTER_ID_LEN],
		  const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/** history_accepted() - Where @e came from, and its recipients. */
void history_accepted(struct history *h, const struct envelope *e, enum history_kind kind);
/**
 * history_mark() - What is noted from here on can be taken back, in the same turn: what it tells of may prove not to
 * have happened. Some 100 events; of more the last ones.
 */
uint64_t history_mark(struct history *h);
void history_take_back(struct history *h, uint64_t mark);
/** history_tick() - Write what waits in memory. */
void history_tick(struct history *h);
/**
 * history_each() - All events of @count letters, by their own ids, in one pass over the ring.
 * Those of the first letter, oldest first, then those of the next; @which: its index in @id.
 */
void history_each(struct history *h, const uint8_t id[][LETTER_ID_LEN], size_t count,
		  void (*fn)(const struct history_event *e, size_t which, void *arg), void *arg);
/**
 * history_find() - Letters that are @id, or were @id at the hop that brought them, or are at one that they went
 * to, which said so in its reply.
 * @own: their own ids, at most @max of them, the one that is @id first.
 * Returns how many.
 */
size_t history_find(struct history *h, const uint8_t id[static LETTER_ID_LEN],
		    uint8_t own[][LETTER_ID_LEN], size_t max);
/** history_reply_id() - "2.0.0 ID queued", as every Postern says it, in @text. False: it stands not there. */
bool history_reply_id(const char *text, uint8_t id[static LETTER_ID_LEN]);
/** history_word() - Of a kind: "accepted", "delivered". */
const char *history_word(uint8_t kind);

#endif
