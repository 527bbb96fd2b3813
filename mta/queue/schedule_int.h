/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_QUEUE_SCHEDULE_INT_H
#define MTA_QUEUE_SCHEDULE_INT_H

/* What the schedule's files share. */

#include "hash.h"
#include "schedule.h"

#define PROBE_FIRST_MS	 200
#define UNKNOWN_FIRST_MS 1000

TAILQ_HEAD(dest_list, dest);

#define DEST_MEMORY    256	/* next hops that nobody has letters for */
#define BACKUP_KEEP_MS 86400000 /* then one that was on its backup has its whole time again */

struct dest_memory {
	uint64_t hash; /* of route and next hop; 0: free */
	struct dest_family family[2];
	uint64_t bad_ms, failed_ms; /* of one that was on its backup; else 0 */
};

/* LINE_SHARE: they have as many attempts as they may, until others land. */
enum turn_line { LINE_OWN, LINE_MX, LINE_SHARE, LINES };

struct hold {
	char route[MTA_NAME_MAX];
	char hop[ROUTE_HOP_MAX]; /* "": all of the route */
	bool quiet;
};

struct schedule {
	const struct mta_config *config;
	const struct tunnel_table *tunnel;
	struct hash_table index;
	struct dest_list all;
	size_t count;
	uint32_t flying, mx_flying;
	struct hold *held; /* what the admin holds, also for next hops to come */
	size_t held_count;
	/* schedule_turn.c */
	struct heap sleeping;
	struct dest_list turn[LINES]; /* those whose time has come */
	int served;		      /* of which list the last one was */
	struct dest_memory memory[DEST_MEMORY];
	bool returned; /* one that was on its backup works */
};

static inline bool dest_is_tunnel(const struct dest *d)
{
	return d->policy && d->policy->kind == ROUTE_TUNNEL;
}

static inline const struct leg *leg_at(const struct heap_node *n)
{
	return (const struct leg *)(const void *)((const char *)n - offsetof(struct leg, node));
}

static inline struct leg *leg_of(struct heap_node *n)
{
	return (struct leg *)(void *)((char *)n - offsetof(struct leg, node));
}

/* In flight next_ms says when it left, and whether to see if the host works. */
static inline uint64_t leg_launched_ms(const struct leg *g)
{
	return g->next_ms >> 1;
}

static inline bool leg_probed(const struct leg *g)
{
	return g->next_ms & 1;
}

static inline const struct dest *dest_at(const struct heap_node *n)
{
	return (const struct dest *)(const void *)((const char *)n - offsetof(struct dest, sleep));
}

static inline struct dest *dest_of_sleep(struct heap_node *n)
{
	return (struct dest *)(void *)((char *)n - offsetof(struct dest, sleep));
}

/** dest_enter() - The one place where a dest's state changes. The caller calls turn_touch(). */
void dest_enter(struct dest *d, enum dest_state st, uint64_t until_ms, const char *why);
enum tunnel_state dest_tunnel(const struct schedule *s, const struct dest *d);
/** leg_queue() - Into the heap that it belongs to. */
void leg_queue(struct schedule *s, struct leg *g, uint64_t now_ms);
/**
 * leg_drop() - Ends it, and its dest where that can be made anew.
 * @again: its letter is to find a way anew, so what ails the next hop stays known.
 */
void leg_drop(struct schedule *s, struct leg *g, bool again);

/* schedule_family.c */
/** family_note() - What an attempt says of the families. */
void family_note(struct dest *d, const struct msg_r_result *r, uint64_t now_ms);
/** family_usable() - MSG_R_FAMILY* to try: those that are not left out, or both when both are. */
uint8_t family_usable(const struct dest *d, uint64_t now_ms);

/* schedule_memory.c */
/** memory_keep() - @d is about to be freed; memory_recall() - it was made anew. */
void memory_keep(struct schedule *s, const struct dest *d);
void memory_recall(const struct schedule *s, struct dest *d, uint64_t now_ms);

/* schedule_backup.c */
#define BACKUP_TRY_LEAST_MS 1000
/** backup_fails() - A host-scope fault, or the tunnel is down; backup_works() - it is there. */
void backup_fails(struct dest *d, uint64_t now_ms);
void backup_works(struct schedule *s, struct dest *d);
/** backup_diverts() - Does a letter for @d go by its backup now? */
bool backup_diverts(const struct dest *d, uint64_t now_ms);
/** backup_patience() - With a backup a next hop is tried at least each backup-after: it shall return soon. */
uint64_t backup_patience(const struct dest *d, uint64_t wait_ms);
/** backup_join() - @g goes where it goes instead of by @instead (NULL: it does not). */
void backup_join(struct leg *g, struct dest *instead);
/** backup_leave() - It goes nowhere any more; whose it was, or NULL. */
struct dest *backup_leave(struct leg *g);

/**
 * turn_touch() - Something of @d changed that decides when it may start.
 *
 * Whose turn it is costs the logarithm of the number of next hops: each waits in one heap by the
 * time at which it could start, if no event comes first, and those whose time has come stand in line.
 */
void turn_touch(struct schedule *s, struct dest *d);
/** turn_again() - As turn_touch(), also when it stands in line: it may belong into the other one. */
void turn_again(struct schedule *s, struct dest *d);
/** turn_share() - Attempts have landed: those that waited for their share look again. */
void turn_share(struct schedule *s);
/** turn_leave() - It is about to be freed. */
void turn_leave(struct schedule *s, struct dest *d);
/** turn_next() - One that has a ready leg and may start it; in no line any more. */
struct dest *turn_next(struct schedule *s, uint64_t now_ms);

#endif
