/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef POLICY_LIMIT_H
#define POLICY_LIMIT_H

/*
 * Theory: how much one corner of the internet may take of us. A source is a prefix, not an address:
 * /32 of IPv4, /64 of IPv6, since whoever has one address of a /64 has them all. For each prefix:
 * sessions that stand now, and a bucket of new sessions that refills with time. The table is
 * bounded; when it is full the entry that was quiet longest goes, never one with open sessions,
 * and if there is none a new source is refused: that is a flood of sources.
 *
 * Wrong passwords have a table of their own, with a bucket for each prefix, and for IPv6 a larger
 * one for the /48 around it, out of which one owner could take 65,536 prefixes of /64.
 *
 * So have names: those that the configuration knows (homes, logins), those that strangers give themselves
 * (senders), and recipients. A flood of one kind makes no other forgotten (limit_table.h).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"

#define LIMIT_V4_BITS	  32
#define LIMIT_V6_BITS	  64
#define LIMIT_SITE_BITS	  48 /* of IPv6, for failures */
#define LIMIT_SITE_TIMES  5  /* as many of them as of one /64 */
#define LIMIT_ENTRIES_MAX 65536 /* of each table */
#define LIMIT_BURST	  60  /* new sessions of one prefix at once */
#define LIMIT_PER_MINUTE  120 /* and in the long run */

enum limit_verdict { LIMIT_OK, LIMIT_TOTAL, LIMIT_PREFIX, LIMIT_RATE };

struct limit_conf {
	uint32_t sessions_max;	      /* at a time, over all; 0: no limit */
	uint32_t sessions_per_prefix; /* at a time; 0: no limit */
	uint32_t per_minute;	      /* new sessions of a prefix; 0: no limit */
	uint32_t burst;
};

struct limit;

/** limit_memfd() - Memory for limit_new(), to be kept by who starts the process that counts. -errno. */
int limit_memfd(void);
/**
 * limit_new() - What stands in the memory goes on; sessions begin at none.
 * @entries_max: 0 for LIMIT_ENTRIES_MAX.
 * @fd: of limit_memfd(), then @entries_max is 0; it stays the caller's. -1: all is forgotten with the process.
 * @now_ms: monotonic, here as everywhere.
 *
 * NULL on an error (errno).
 */
struct limit *limit_new(size_t entries_max, int fd, uint64_t now_ms);
void limit_free(struct limit *l);
/** limit_open() - May a session from @a begin? On LIMIT_OK limit_close() must follow one day. */
enum limit_verdict limit_open(struct limit *l, const struct limit_conf *c, const struct addr *a,
			      uint64_t now_ms);
void limit_close(struct limit *l, const struct addr *a, uint64_t now_ms);
/** limit_sessions() - Open now, over all prefixes. */
uint32_t limit_sessions(const struct limit *l);
/* Whose letters are counted; each has names of its own. A sender is who he says, a login is known. */
enum limit_what {
	LIMIT_HOME = 'h',
	LIMIT_LOGIN = 'l',
	LIMIT_SENDER = 's',
	LIMIT_RECIPIENT = 'r',
	LIMIT_LOGIN_BYTES = 'L', /* for limit_left() alone */
	LIMIT_SENDER_BYTES = 'S',
	LIMIT_RECIPIENT_BYTES = 'R',
};

/**
 * limit_letters() - May one more letter go for @name within @per_hour?
 * 0 means no limit. Counted in a bucket of an hour's worth. ASCII letters of @name have no case.
 */
bool limit_letters(struct limit *l, enum limit_what what, const char *name, uint32_t per_hour,
		   uint64_t now_ms);
/**
 * limit_room() - May a letter of @bytes come from @name, or go to it, within @per_hour bytes?
 * @what: LIMIT_LOGIN, LIMIT_SENDER or LIMIT_RECIPIENT.
 * @bytes: as announced, 0: not. One that is larger than all of an hour waits for a full bucket.
 *
 * Counts nothing: limit_bytes() does, with what the letter turned out to be, and who went past the limit
 * by that has to wait until the rest is made up for. A stranger can bring that upon others, recipients and
 * senders, so they owe one hour's worth at most.
 */
bool limit_room(struct limit *l, enum limit_what what, const char *name, uint64_t bytes,
		uint64_t per_hour, uint64_t now_ms);
void limit_bytes(struct limit *l, enum limit_what what, const char *name, uint64_t bytes,
		 uint64_t per_hour, uint64_t now_ms);

/** limit_left() - Letters, or KiB, that @name has left of @per_hour; counts nothing. */
uint32_t limit_left(struct limit *l, enum limit_what what, const char *name, uint32_t per_hour,
		    uint64_t now_ms);
/** limit_kib() - How a limit of bytes is counted. */
uint32_t limit_kib(uint64_t bytes);

/**
 * limit_may_try() - May one more password from @a be tried?
 * @per_hour: wrong ones in an hour; 0: no limit.
 */
bool limit_may_try(struct limit *l, const struct addr *a, uint32_t per_hour, uint64_t now_ms);
/** limit_failed() - One was wrong. Returns how many of the last hour count against @a, this one included. */
uint32_t limit_failed(struct limit *l, const struct addr *a, uint32_t per_hour, uint64_t now_ms);

#endif
