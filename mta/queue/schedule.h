/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_QUEUE_SCHEDULE_H
#define MTA_QUEUE_SCHEDULE_H

/*
 * Theory: which letter goes where, and when. Policy is in the routes of the configuration; the state is
 * here, in one struct dest per (route, next hop), with a part per address family. The recipients
 * of a letter that share a dest are a leg, and legs wait in one of two heaps of their dest:
 *
 *	waiting (by time) --due--> ready (oldest letter first) --pace, limit--> in flight
 *	   ^                                                                      |
 *	   +--------------- message- or recipient-scope failure ------------------+
 *
 * A host-scope fault moves no leg's time: it closes the dest itself.
 *
 *	state     may start                             what a failed connect costs
 *	UP        limit attempts at a time              -> PROBING
 *	PROBING   one, after 0.2 s doubling to 10 s     nothing is charged to letters (tunnel), or the
 *	          (tunnel); by the route's schedule     letters that the probe carried (other routes)
 *	UNKNOWN   one, after 1 s doubling to 30 s       nothing (posternd cannot be asked)
 *	DOWN      none                                  (posternd says so)
 *	HELD      none                                  by the admin, or no way in the configuration
 *
 * A success, and a tunnel that comes up, end the waits of that dest, never those of a letter or a
 * recipient (a greylisted one has to wait). Up is acted on at once; from the fourth up within 60 s on
 * it is held down first, 2 s doubling to 30 s. The limit of attempts starts at 4 after each
 * trouble and doubles with each success; release is paced besides. Of the relay's places a dest has no
 * more than are free: the first one that hangs keeps half of them, the next a quarter, and there is
 * always one left for whoever else has a letter.
 *
 * Time is an argument; the caller runs schedule_next() when schedule_due() says so.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "config.h"
#include "heap.h"
#include "msg.h"
#include "route.h"
#include "store.h"
#include "tunnel.h"

enum dest_state { DEST_UP, DEST_PROBING, DEST_UNKNOWN, DEST_DOWN, DEST_HELD, DEST_STATES };

#define SCHEDULE_HOLDS_MAX     256   /* routes and next hops that the admin holds */
#define SCHEDULE_RELEASE_PER_S 20000 /* legs per dest */
#define SCHEDULE_LIMIT_FIRST   4
#define SCHEDULE_AHEAD	       32 /* ready legs of a fast dest that make schedule_behind() */
#define SCHEDULE_FAST_PER_S    500
#define SCHEDULE_FLAPS	       4
#define SCHEDULE_FLAP_MS       60000
#define SCHEDULE_FLYING	       128 /* attempts of all, as many as the relay takes */
#define SCHEDULE_MX_FLYING     48  /* of these: a tarpit must not hold up the tunnel */
#define SCHEDULE_LETTER_BYTES                                                                      \
	1024 /* envelope, records and memory of a letter, as queue-max counts it */
#define SCHEDULE_EXPIRE_UP_S 86400 /* of uptime, where no attempt was made */

struct dest;

/* The recipients of one letter that go the same way. */
struct leg {
	struct heap_node node; /* of its dest's waiting or ready */
	struct leg *next;      /* of the same letter */
	struct letter *letter;
	struct dest *dest;
	struct dest *instead;	   /* by a backup: whose letter it is; NULL: its own dest's */
	TAILQ_ENTRY(leg) diverted; /* of that one */
	uint64_t next_ms;
	bool waiting; /* in the waiting heap, else ready or flying */
	bool flying;
	bool mx;       /* flying to a stranger's host */
	uint16_t open; /* recipients of it that are pending */
};

struct dest_family {
	uint32_t failures;
	uint64_t until_ms; /* not used before, while the other one works */
};

struct dest {
	struct hash_node node;
	TAILQ_ENTRY(dest) all;
	/* schedule_turn.c: asleep until due_ms, or in line, or neither, until an event. */
	struct heap_node sleep;
	uint64_t due_ms;
	TAILQ_ENTRY(dest) line;
	bool in_line;
	uint8_t line_of; /* enum turn_line */
	char route[MTA_NAME_MAX];
	char hop[ROUTE_HOP_MAX];
	const struct mta_route *policy; /* of this configuration; NULL: none any more */
	char home[MTA_NAME_MAX];	/* whose queue-max this counts against, or "" */
	enum dest_state state;
	bool admin_hold, force;
	bool quiet; /* and no sender is told of the delay */
	uint64_t until_ms;   /* PROBING, UNKNOWN, hold-down: not before */
	uint32_t failures;   /* host-scope, in a row */
	uint64_t changed_ms; /* the tunnel's last change that was acted on */
	uint64_t ups_ms[SCHEDULE_FLAPS];
	uint32_t hold_down_ms;
	struct dest_family family[2]; /* v4, v6 */
	uint32_t limit, flying;
	uint64_t pace_ms;	      /* release: start of the second, and legs released in it */
	bool catching_up;	      /* what lies ready is left from when it was closed */
	uint32_t paced, paced_before; /* in the second before */
	struct heap waiting, ready;
	uint64_t bytes;	 /* of letters with a leg here */
	char fault[256]; /* last host-scope fault, in words */
	/* schedule_backup.c */
	uint64_t bad_ms;    /* fails since; 0: it does not */
	uint64_t failed_ms; /* when it did so last */
	bool on_backup;
	TAILQ_HEAD(, leg) diverted; /* legs that go by a backup instead */
	size_t diverted_count, rechoose;
};

struct schedule;

/** schedule_new() - @c and @t are borrowed until schedule_reload() gives others. */
struct schedule *schedule_new(const struct mta_config *c, const struct tunnel_table *t);
void schedule_free(struct schedule *s);
/** schedule_reload() - New policy. The caller adds each letter again (schedule_remove, _add). */
void schedule_reload(struct schedule *s, const struct mta_config *c, const struct tunnel_table *t,
		     uint64_t now_ms);
/** schedule_tunnel() - The table changed. */
void schedule_tunnel(struct schedule *s, const struct tunnel_table *t, uint64_t now_ms);

/** schedule_add() - Make the legs of a queued letter; no effect on others. 0 or -ENOMEM. */
int schedule_add(struct schedule *s, struct letter *l, const struct envelope *e, uint64_t now_ms);
/** schedule_misses() - Is there something of it that schedule_add() had no memory for? */
bool schedule_misses(const struct letter *l);
/** schedule_remove() - Drop the legs of a letter; those in flight are forgotten too. */
void schedule_remove(struct schedule *s, struct letter *l);
/** schedule_remove_idle() - Drop those that are not in flight; for a new schedule_add(). */
void schedule_remove_idle(struct schedule *s, struct letter *l);
/** schedule_settle() - Recipients were settled otherwise (expiry): legs without open ones end. */
void schedule_settle(struct schedule *s, struct letter *l, uint64_t now_ms);
/**
 * schedule_next() - The next leg that may go now, marked as flying with the recipients that are due
 * (rcpt.flying); NULL when none may.
 * @families: MSG_R_FAMILY* to be tried. @probe: it is the only one of its dest.
 */
struct leg *schedule_next(struct schedule *s, uint64_t now_ms, uint8_t *families, bool *probe);
/** schedule_due() - When schedule_next() should be asked again; UINT64_MAX: not before an event. */
uint64_t schedule_due(const struct schedule *s, uint64_t now_ms);

/**
 * schedule_behind() - Does @l stand in a line that moves fast, and yet is longer than it should be?
 *
 * Then its sender had better wait a moment: letters come in faster than their next hop takes them.
 * Never where that hop is slow, closed, or busy with what an outage left.
 */
bool schedule_behind(const struct letter *l, uint64_t now_ms);

/* What became of one recipient, as the queue shall write it down. */
struct schedule_verdict {
	enum rcpt_state state;
	bool charged; /* count the attempt */
};

/**
 * schedule_host() - Outcome of the attempt for its dest.
 * @fault: a host-scope fault happened; @worked: some reply came from beyond EHLO.
 */
void schedule_host(struct schedule *s, struct leg *g, const struct msg_r_result *r, bool fault,
		   bool worked, const char *text, uint64_t now_ms);
/** schedule_rcpt() - Outcome for one recipient; sets its time of the next try. */
struct schedule_verdict schedule_rcpt(struct schedule *s, struct leg *g, uint16_t index,
				      const struct msg_r_rcpt_result *r, uint32_t random,
				      uint64_t now_ms);
/** schedule_landed() - After the last schedule_rcpt(): the leg waits again, or ends. */
void schedule_landed(struct schedule *s, struct leg *g, uint64_t now_ms);
/** schedule_lost() - The relay went away: what flew did not happen. */
void schedule_lost(struct schedule *s, struct letter *l, uint64_t now_ms);

/** schedule_expired() - Is a recipient's time over? @uptime_s of this process. */
bool schedule_expired(const struct leg *g, const struct letter_rcpt *r, uint64_t age_s,
		      uint64_t uptime_s);
/**
 * schedule_flush() - Next hops of @route (NULL: all) may be tried now; not holds, down or the pace. How many legs are
 * ready or wait there, whose waits are ended by schedule_flush_letter() of each letter.
 */
size_t schedule_flush(struct schedule *s, const char *route, uint64_t now_ms);
/** schedule_flush_letter() - End the waits of its legs on @route (NULL: of all); how many those are. */
size_t schedule_flush_letter(struct schedule *s, const char *route, struct letter *l, uint64_t now_ms);
/** schedule_force() - One attempt on each dest of this route now, whatever its state; how many. */
size_t schedule_force(struct schedule *s, const char *route, uint64_t now_ms);
/**
 * schedule_hold() - By the admin, until release.
 * @hop: of these next hops alone; NULL: all of @route, whose release ends the holds of single ones too.
 *
 * How many of them are there now, or -ENOMEM, or -ENOSPC: SCHEDULE_HOLDS_MAX stand.
 */
ssize_t schedule_hold(struct schedule *s, const char *route, const char *hop, bool hold,
		      uint64_t now_ms);
/** schedule_hush() - What of it is held just so, is held quietly: senders are told of no delay meanwhile. */
void schedule_hush(struct schedule *s, const char *route, const char *hop);
/** schedule_holds() - Each that stands; @hop is "" where it is of the whole route. */
void schedule_holds(const struct schedule *s,
		    void (*fn)(const char *route, const char *hop, bool quiet, void *arg), void *arg);
/** schedule_each() - Every dest, for status. */
void schedule_each(struct schedule *s, void (*fn)(const struct dest *d, void *arg), void *arg);
/** schedule_home_bytes() - Of all that waits for this home, with what each letter costs besides its body. */
uint64_t schedule_home_bytes(const struct schedule *s, const char *home);
/**
 * schedule_stranded() - Once a second: which next hops are on their backup from now on, or not any more.
 * @out: up to @max letters that are to find their way anew (schedule_remove_idle(), _add()), the same one
 * maybe twice. Returns how many; when it is @max, ask again soon.
 */
size_t schedule_stranded(struct schedule *s, uint64_t now_ms, struct letter **out, size_t max);
const char *dest_state_word(enum dest_state st);

#endif
