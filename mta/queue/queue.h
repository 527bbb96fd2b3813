/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_QUEUE_QUEUE_H
#define MTA_QUEUE_QUEUE_H

/*
 * Theory: the queue process. It accepts letters from smtpd (accept.c), keeps the recipients that homes
 * publish (homes.c), hands letters to relay (attempt.c), ends them (finish.c: bounces, expiry, dead
 * letters), tells of those that wait for long (delay.c) and the admin of dead ones (report.c), counts them
 * (levels.c) and answers the admin (verbs.c), who may trace a letter over all hops (ask.c) and move all of it
 * elsewhere (export.c, import.c). It has the journal directory and no network. One thread runs all this; a
 * helper syncs.
 */

#include <jansson.h>

#include "bounce.h"
#include "config.h"
#include "history.h"
#include "ipc.h"
#include "loop.h"
#include "msg.h"
#include "pressure.h"
#include "proc_mta.h"
#include "queue/ask.h"
#include "queue/probe.h"
#include "report.h"
#include "schedule.h"
#include "store.h"
#include "vfs.h"
#include "worker.h"

#define QUEUE_TXNS_MAX	     8192
#define QUEUE_REFUSED	     256
#define QUEUE_CREDITS_MAX    65536
#define QUEUE_DEAD_MAX	     2000
#define QUEUE_DEAD_BYTES     (1ull << 30)
#define QUEUE_EXPIRE_S	     60	  /* between two looks for letters whose time is over */
#define QUEUE_SWEEP_WAIT_MS  20	  /* while finish_waits() */
#define QUEUE_SWEEP_LOOKS    4096 /* letters that such a look takes in one turn of the loop */
#define QUEUE_SWEEP_ENDS     64	  /* and records that it writes in one, of expiry, delay or removal */
#define QUEUE_ROUTE_CHUNK    2000 /* letters routed anew per turn of the loop */
#define QUEUE_RESERVE_INODES 1000
#define FINISH_BAD_READS     7	  /* then a letter that cannot be read is tried at each 64th look */
#define FINISH_SLICE	     64 /* bad ends in one journal record, with the DSNs that tell of them */

struct txn;
struct attempt;

struct queue {
	struct child *ch;
	struct loop *loop;
	struct worker *worker;
	struct vfs_dir dir;
	struct store *store;
	struct schedule *schedule;
	struct ipc *smtpd, *relay;
	uint32_t smtpd_generation; /* answers for older links go nowhere */
	struct hash_table txns; /* by id */
	uint32_t next_file;
	uint32_t refused[QUEUE_REFUSED]; /* ids whose last chunks may still come; 0 is none */
	uint32_t refused_at;
	struct hash_table attempts; /* by id */
	uint32_t next_attempt;
	uint32_t credits;
	uint32_t unwritten; /* attempts whose results could not be written */
	uint32_t relay_generation; /* answers for older links go nowhere */
	struct timer tick, pump;
	struct timer flush; /* of results: land.c */
	struct pressure pressure;
	uint64_t started_ms, expire_ms;
	struct {
		struct timer timer;
		struct store_walk walk; /* ended: only dead ones are left to be looked at */
		uint64_t now_ms;	/* when it began */
		uint64_t number;	/* of them */
		size_t bad;		/* letters that could not be read at this one */
		bool on;
	} sweep; /* finish_expired() */
	struct dead *dead; /* dead.c; NULL before the first time */
	struct report report;
	struct move *move; /* move.c; NULL: none is under way */
	struct flush *flushing; /* flush.c; so is this */
	struct stats *stats;	/* stats.c; and this */
	bool accepting; /* as last told to smtpd */
	bool told;
	uint64_t told_room;
	char (*full)[MTA_NAME_MAX]; /* homes told to be full */
	size_t full_count;
	/* A reload, or a move, routes all letters anew, in pieces: from here on they still are to be. */
	struct store_walk reroute;
	bool rerouting; /* and @pump is its timer meanwhile */
	uint32_t reroutes;
	bool failed_alert;
	struct history *history; /* of letters, for trace; may be NULL */
	struct probes probes;
	struct asks asks;
	struct import *import; /* of letters of another queue; NULL: there was none */
	uint32_t imports;
};

/* queue_main.c */
/** queue_reroute() - All letters find their way anew, from the next turn on. */
void queue_reroute(struct queue *q);
/** queue_settle() - What was added as it came, and has states that decide what is left to be sent. */
void queue_settle(struct queue *q, struct letter *l, uint64_t now_ms);

/* accept.c */
void accept_attach(struct queue *q, int fd);
/** accept_state() - Tell smtpd what changed. */
void accept_state(struct queue *q);
void accept_close(struct queue *q);
/** accept_stored() - 250 for the letter of a transaction. */
void accept_stored(struct queue *q, uint32_t txn, const uint8_t id[static LETTER_ID_LEN]);

/* homes.c */
/** homes_publish() - smtpd has a home's set: on disk, then an answer. */
void homes_publish(struct queue *q, struct ipc_msg *m);
/** homes_tell() - All sets that are kept to smtpd; at the start of its link, and after a reload. */
void homes_tell(struct queue *q);

/* attempt.c */
void attempt_attach(struct queue *q, int fd);
/** attempt_pump() - Hand out what may go now, and arm the timer for the rest. */
void attempt_pump(struct queue *q);
/** attempt_reroute() - Way of all of it that is not in flight, by the configuration of now. */
void attempt_reroute(struct queue *q, struct letter *l);
/** attempt_write() - Once a second: results that could not be written. */
void attempt_write(struct queue *q);
/** attempt_forget() - The letter leaves memory. */
void attempt_forget(struct queue *q, const struct letter *l);
void attempt_close(struct queue *q);

/* finish.c */
/**
 * finish_rcpts() - Recipients of @l came to a bad end, or all of them to some end.
 * @c: holds their new states; DSNs and the end of the letter are added to it.
 * @bad: indices of those that failed or expired now; FINISH_SLICE at most, so that @c has room.
 *
 * A letter whose recipients are all settled is gone, or dead: when one expired, or failed and its
 * sender gets no DSN. The schedule does not know of it until @c is committed: that is the caller's to do.
 * 0, or -errno: @c is to be cancelled.
 */
int finish_rcpts(struct queue *q, struct store_change *c, struct letter *l, const uint16_t *bad,
		  size_t count);
/**
 * finish_success() - Before finish_rcpts(): recipients of @l were reached, and of their success a report
 * was asked for that nobody else makes.
 * @good: indices; FINISH_SLICE at most, those of finish_rcpts() with them. 0, or -errno as there.
 */
int finish_success(struct queue *q, struct store_change *c, struct letter *l, const uint16_t *good,
		    size_t count, enum dsn_kind kind);
/** finish_letter() - Forget it (@dead false) or keep it as dead; 0 or -errno, as finish_rcpts(). */
int finish_letter(struct queue *q, struct store_change *c, struct letter *l, bool dead);
/**
 * finish_expired() - Look through all letters, also for those whose senders are told of a delay.
 *
 * And for those that could not be read, ever more rarely, until they can be: they neither expire nor leave.
 * In slices, one a turn of the loop, from the next turn on; one that is under way goes on. Many letters may
 * have come together, and end so.
 */
void finish_expired(struct queue *q, uint64_t now_ms);

/** finish_waits() - What goes through all letters in slices had better wait a moment. */
bool finish_waits(const struct queue *q);

/* dead.c */
/** dead_whose() - A number for the home that the letter is for; 0: for none of ours. */
uint32_t dead_whose(const struct mta_config *c, const struct envelope *e);
/**
 * dead_bound() - Remove the oldest dead letters of homes with more than their share, if there are too many.
 *
 * A part of that, as much as a turn of the loop may take. False: there are no more than may be.
 */
bool dead_bound(struct queue *q);
/** dead_close() - Before the store is closed; so move_close(). */
void dead_close(struct queue *q);

/* dsn.c */
/**
 * dsn_send() - Tell the sender of the recipients @which in @c.
 * @waits_s: DSN_DELAYED: they are given up after so many seconds more.
 *
 * Returns how many recipients no DSN tells of.
 */
size_t dsn_send(struct queue *q, struct store_change *c, const struct letter *l,
		const struct store_reading *r, const uint16_t *which, size_t count,
		enum dsn_kind kind, uint64_t waits_s);

/* delay.c */
/** delay_letter() - Tell of some that wait for long, where that is wanted; false: there are none. */
bool delay_letter(struct queue *q, struct letter *l);

/* levels.c */
/** levels_count() - What waits now, and what the journal has counted itself. */
void levels_count(struct queue *q);

/* move.c */
/**
 * move_run() - All that waits of @l, of which nothing is in flight, goes by route @to; @l NULL: what waits on
 * route @from, in slices, one a turn of the loop, and one such move at a time. Answers request @id when all of
 * it is durable.
 */
void move_run(struct queue *q, uint32_t id, struct letter *l, const char *from, const char *to);
void move_close(struct queue *q);

/* flush.c */
/**
 * flush_run() - What waits on @route (NULL: on all) may be tried now; in slices, one such flush at a time. Answers
 * request @id when all is done.
 */
void flush_run(struct queue *q, uint32_t id, const char *route);
void flush_close(struct queue *q);

/* stats.c */
/**
 * stats_run() - How many letters there are, and what waits by route and age: in slices, then requests @id that came
 * meanwhile are answered all.
 */
void stats_run(struct queue *q, uint32_t id);
void stats_close(struct queue *q);

/* export.c */
void export_run(struct queue *q, uint32_t id, const json_t *args);
void export_remove(struct queue *q, uint32_t id, const json_t *args);

/* import.c */
void import_run(struct queue *q, uint32_t id, const json_t *args);
/** import_close() - After the store is closed. */
void import_close(struct queue *q);

/* verbs.c */
/** letter_json() - @all: each recipient, and where it came from. */
json_t *letter_json(struct queue *q, struct letter *l, bool all);
/** text_json() - Addresses and replies are mostly UTF-8; what is not must not make the answer vanish. */
json_t *text_json(const char *s);
void verbs_run(struct queue *q, uint32_t id, const char *json, size_t len);

#endif
