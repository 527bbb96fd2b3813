/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PEER_WAN_H
#define PEER_WAN_H

/*
 * Theory: a WAN is a way out of this machine, told from others by its fingerprint (interface, and the
 * gateway's MAC or else its address and the prefix), and what was learnt about its NAT: how long it
 * remembers a mapping that is silent. All peers that are reached by it share that.
 *
 *	interval	15 s, and no more than 25 s, until the NAT was measured; then 0.6 x the longest silence
 *			that a mapping survived, at most 110 s; never below 5 s
 *	measured	by mapping.h, from another source port: 30 s, then 120 s, then 60 or 240 s
 *	lowered		to half of a silence after which the far side saw another port of ours; then measured
 *			anew, but not before 10 minutes have passed
 *	raised		by a tenth when three silences in a row were survived, within the bounds above
 *	rebinding	another port without such a silence, twice in 10 minutes: the NAT has an absolute
 *			lifetime, against which no keepalive helps. The interval is 15 s and left alone, the far
 *			side follows the first packet from the new port.
 *
 * Wake-ups are common to all peers of a WAN (a radio that is awake sends for all of them), an
 * interval apart less up to a tenth.
 *
 * On a metered line each byte that is no data counts against a budget for 30 days of being
 * awake; where it would not last, intervals and pauses are stretched.
 *
 * No I/O; time (milliseconds of CLOCK_BOOTTIME) and randomness come as arguments.
 */

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"

#define WAN_START_MS	  15000
#define WAN_UNMEASURED_MS 25000 /* at most, until measured */
#define WAN_FLOOR_MS	  5000
#define WAN_CEILING_MS	  110000
#define WAN_FOREIGN_MS	  20000 /* at most, towards peers that are no Postern */
#define WAN_REMEASURE_MS  600000
#define WAN_ODD_MS	  600000 /* two changes that no silence explains within this: rebinding */
#define WAN_FORGET_MS	  (24ull * 3600 * 1000) /* none of them for so long: no longer rebinding */
#define WAN_MONTH_MS	  (30ull * 24 * 3600 * 1000)
#define WAN_STRETCH_MS	  3600000 /* no budget makes an interval longer */
#define WAN_RETRY_MS	  300000  /* nor a pause between attempts */
#define WAN_COUNT_MAX	  32
#define WAN_MAC_LEN	  6

struct wan_id {
	char ifname[IFNAMSIZ];
	struct addr gateway; /* family 0: on link */
	struct prefix prefix; /* of the interface's own address; len 0: not known */
	uint8_t mac[WAN_MAC_LEN]; /* of the gateway; zeros: not known */
};

enum wan_use { WAN_KEEPALIVE, WAN_LIVENESS, WAN_RETRY, WAN_USES };

struct wan {
	struct wan_id id;
	/* what is kept over restarts, with id */
	uint64_t interval_ms, ok_ms, bad_ms; /* 0: nothing survived yet, nothing died yet */
	bool rebinding;
	uint8_t rung_ok, rung_bad; /* of the ladder: how many are known to live, the first that does not */
	uint64_t used_bytes[WAN_USES], month_ms; /* in this month, and how much of it has passed */
	uint64_t order; /* when it was last in use, among all */
	/* and what is not */
	unsigned refs;	/* peers that are reached by it */
	unsigned users; /* ... of which are up and get keepalives */
	unsigned in_row;
	uint64_t odd_ms; /* last change of port that no silence explains */
	uint64_t measure_ms; /* not before */
	uint64_t wake_ms[2]; /* the last common wake-up, and the next */
	uint64_t counted_ms; /* until when month_ms was counted */
	uint64_t rebinds;
	uint64_t budget_bytes; /* 0: none */
	bool metered;
	uint32_t dummy_bytes, ask_bytes; /* what one of them costs, with headers, both ways */
};

struct wan_table {
	struct wan wan[WAN_COUNT_MAX];
	size_t count;
	uint64_t serial, order;
	bool changed; /* there is something to save */
};

/** wan_same() - Is it the same network? With the gateway's MAC that decides, beside the interface. */
bool wan_same(const struct wan_id *a, const struct wan_id *b);
/**
 * wan_get() - The one with that fingerprint, a new one if there is none, in place of the one
 * unused for longest if the table is full; NULL only when all of them are in use.
 */
struct wan *wan_get(struct wan_table *t, const struct wan_id *id, uint64_t now_ms);

/** wan_revive() - What is not kept over a restart, for one that was read from disk. */
void wan_revive(struct wan *w);

/** wan_interval_ms() - Silence that is allowed on a mapping now; a budget may have stretched it. */
uint64_t wan_interval_ms(const struct wan *w);
/** wan_is_stretched() - A budget made it longer than the NAT asks for: recovery is slower. */
bool wan_is_stretched(const struct wan *w);
/**
 * wan_due_ms() - When the next keepalive is due on a mapping that was silent since @last_ms: at a common
 * wake-up where one lies early enough.
 * @random: as in struct sup_ops, for the jitter of wake-ups.
 */
uint64_t wan_due_ms(struct wan *w, uint64_t last_ms, uint64_t now_ms,
		    uint32_t (*random)(void *arg, uint32_t below), void *arg);

/** wan_gap_ms() - The silence to measure next, 0: none for now. */
uint64_t wan_gap_ms(const struct wan *w, uint64_t now_ms);
/** wan_measured() - A mapping lived through (@lives), or died in, a silence of @gap_ms. */
void wan_measured(struct wan *w, uint64_t gap_ms, bool lives);
/** wan_not_measured() - It could not be found out: again later. */
void wan_not_measured(struct wan *w, uint64_t now_ms);
/** wan_is_measured() - Is there nothing left to find out? */
bool wan_is_measured(const struct wan *w);
/** wan_port_changed() - The far side sees another port of ours, after a silence of @gap_ms. */
void wan_port_changed(struct wan *w, uint64_t gap_ms, uint64_t now_ms);
/** wan_kept() - A silence of @gap_ms ended with an answer, and with the same port. */
void wan_kept(struct wan *w, uint64_t gap_ms, uint64_t now_ms);

/** wan_spend() - @bytes, headers included, went over the line that are no data. */
void wan_spend(struct wan *w, enum wan_use use, uint64_t bytes, uint64_t now_ms);
/** wan_used() - In this month. */
uint64_t wan_used(const struct wan *w);
/** wan_projected() - What keepalives and liveness cost in 30 days as things are now. */
uint64_t wan_projected(const struct wan *w);
/** wan_retry_ms() - Least pause between attempts of @bytes each that the budget allows; 0: any. */
uint64_t wan_retry_ms(const struct wan *w, uint64_t bytes);

/*
 * On disk: as memory.h, in two files by turns.
 *
 *	"PSWN" be32 version, be64 serial, be32 count, be32 length of what follows
 *	count x { u8 length, ifname, addr gateway, addr and u8 prefix, mac, be64 interval, ok, bad,
 *		  u8 flags, u8 rung_ok, u8 rung_bad, be64 month, 3 be64 used, be64 order }
 *	SHA-256 of all before
 */
#define WAN_IMAGE_MAX 8192

/** wan_parse() - 0; -EBADMSG: torn, foreign, or with what no WAN can have. */
int wan_parse(const void *image, size_t len, struct wan_table *out);
/** wan_build() - Into @image; gives its length. */
int wan_build(const struct wan_table *t, uint8_t image[static WAN_IMAGE_MAX], size_t *len);
/** wan_load() - The newer whole one of two files; else an empty table. */
void wan_load(const int fds[static 2], struct wan_table *out);
/** wan_save() - Counts the serial up; into the file that is not the newest. 0 or -errno. */
int wan_save(const int fds[static 2], struct wan_table *t);

#endif
