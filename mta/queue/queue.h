/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_QUEUE_QUEUE_H
#define MTA_QUEUE_QUEUE_H

/*
 * Theory: the queue process. It accepts letters from smtpd (accept.c), hands them to relay
 * (attempt.c), ends them (finish.c: bounces, expiry, dead letters) and answers the admin (verbs.c).
 * It has the journal directory and no network. One thread runs all this; a helper syncs.
 */

#include <jansson.h>

#include "config.h"
#include "ipc.h"
#include "loop.h"
#include "msg.h"
#include "proc_mta.h"
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
#define QUEUE_ROUTE_CHUNK    2000 /* letters routed anew per turn of the loop after a reload */
#define QUEUE_RESERVE_INODES 1000
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
	struct hash_table txns; /* by id */
	uint32_t next_file;
	uint32_t refused[QUEUE_REFUSED]; /* ids whose last chunks may still come; 0 is none */
	uint32_t refused_at;
	struct hash_table attempts; /* by id */
	uint32_t next_attempt;
	uint32_t credits;
	uint32_t relay_generation; /* answers for older links go nowhere */
	struct timer tick, pump;
	uint64_t started_ms, expire_ms;
	bool accepting; /* as last told to smtpd */
	bool told;
	uint64_t told_room;
	char (*full)[MTA_NAME_MAX]; /* homes told to be full */
	size_t full_count;
	/* A reload routes all letters anew, in pieces: from here on they still are to be. */
	uint64_t reroute_seq;
	bool rerouting; /* and @pump is its timer meanwhile */
	uint32_t reloads;
	bool failed_alert;
};

/* accept.c */
void accept_attach(struct queue *q, int fd);
/** accept_state() - Tell smtpd what changed. */
void accept_state(struct queue *q);
void accept_close(struct queue *q);

/* attempt.c */
void attempt_attach(struct queue *q, int fd);
/** attempt_pump() - Hand out what may go now, and arm the timer for the rest. */
void attempt_pump(struct queue *q);
/** attempt_reroute() - Way of all of it that is not in flight, by the configuration of now. */
void attempt_reroute(struct queue *q, struct letter *l);
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
 * sender gets no DSN. Then its legs are gone too.
 */
void finish_rcpts(struct queue *q, struct store_change *c, struct letter *l, const uint16_t *bad,
		  size_t count);
/** finish_letter() - Forget it (@dead false) or keep it as dead. */
void finish_letter(struct queue *q, struct store_change *c, struct letter *l, bool dead);
/** finish_expired() - Look through all letters. */
void finish_expired(struct queue *q, uint64_t now_ms);

/* verbs.c */
void verbs_run(struct queue *q, uint32_t id, const char *json, size_t len);

#endif
