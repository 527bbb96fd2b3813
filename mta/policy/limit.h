/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef POLICY_LIMIT_H
#define POLICY_LIMIT_H

/*
 * Theory: how much one corner of the internet may take of us. A source is a prefix, not an address:
 * /32 of IPv4, /64 of IPv6, since whoever has one address of a /64 has them all. For each prefix:
 * sessions that stand now, and a bucket of new sessions that refills with time. The table is
 * bounded; when it is full the entry that was quiet longest goes, never one with open sessions,
 * and if there is none a new source is refused: that is a flood of sources.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"

#define LIMIT_V4_BITS	  32
#define LIMIT_V6_BITS	  64
#define LIMIT_ENTRIES_MAX 65536
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

/** limit_new() - NULL on ENOMEM. @entries_max: 0 for LIMIT_ENTRIES_MAX. */
struct limit *limit_new(size_t entries_max);
void limit_free(struct limit *l);
/** limit_open() - May a session from @a begin? On LIMIT_OK limit_close() must follow one day. */
enum limit_verdict limit_open(struct limit *l, const struct limit_conf *c, const struct addr *a,
			      uint64_t now_ms);
void limit_close(struct limit *l, const struct addr *a, uint64_t now_ms);
/** limit_sessions() - Open now, over all prefixes. */
uint32_t limit_sessions(const struct limit *l);
/**
 * limit_letters() - May one more letter go for @name (a tenant) within @per_hour?
 * 0 means no limit. Counted in a bucket of an hour's worth.
 */
bool limit_letters(struct limit *l, const char *name, uint32_t per_hour, uint64_t now_ms);

#endif
