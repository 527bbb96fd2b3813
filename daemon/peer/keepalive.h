/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PEER_KEEPALIVE_H
#define PEER_KEEPALIVE_H

/*
 * Theory: who may be behind a NAT or a firewall with state keeps the way back open, and that is who
 * calls, always. What is sent after a silence is an authenticated dummy, which also teaches the far side
 * our new port; each fourth is a question instead, as is one due when the last answer is old. Other
 * implementations get 0xFF: they would believe a dummy that somebody replays.
 *
 * How long a silence may be is the WAN's affair (wan.h), and this file tells it what became of
 * each: the answer to what ended a silence came by the same port, or (NAT detection in the same
 * exchange, or in the question that the far side asks from where we are now) by another.
 */

#include <stdbool.h>
#include <stdint.h>

#include "addr.h"

#define KEEPALIVE_ROW	   4	/* one in so many is a question */
#define KEEPALIVE_GAPS	   7	/* remembered, on the answering side */
#define KEEPALIVE_SETTLE_MS 3000 /* after a new port: Linux keeps a mapping longer that is in use for 2 s */
#define KEEPALIVE_QUIET_MS 5000 /* after a change of our own path its new port is no news */

struct supervisor;
struct sup_activity;
struct sup_hook;
struct wan;

extern const struct sup_hook keepalive_hook;

struct keepalive {
	struct wan *wan; /* by which it is reached; NULL: not known (yet) */
	bool counted;	 /* among wan->users */
	bool answered;	 /* what ended the silence was; judged with the next look */
	bool doubt;	 /* ... but not at once */
	uint8_t row;	 /* since the last question */
	uint8_t gap_count;
	uint64_t seen_ms, looked_ms; /* last packet that is known to have left, as of the last look */
	uint64_t gap_ms, gap_at_ms;  /* the last silence, and when it ended; 0: judged */
	uint64_t settle_ms;	     /* one more keepalive is due then; 0: none */
	uint64_t quiet_ms;
	uint32_t sock; /* our end, as of the last look */
	struct addr local;
	uint16_t rebind_gap_s[KEEPALIVE_GAPS]; /* silences before which it came from another port */
};

enum keepalive_what { KEEPALIVE_NONE, KEEPALIVE_DUMMY, KEEPALIVE_ASK, KEEPALIVE_0XFF };

/** keepalive_interval_ms() - Silence that is allowed towards this peer. */
uint64_t keepalive_interval_ms(const struct supervisor *s);
/** keepalive_next_ms() - When the next one is due; UINT64_MAX: none is ever. */
uint64_t keepalive_next_ms(struct supervisor *s, const struct sup_activity *a, uint64_t now_ms);
/** keepalive_look() - What is to be sent now; judges the last silence. */
enum keepalive_what keepalive_look(struct supervisor *s, const struct sup_activity *a,
				   uint64_t now_ms);
/** keepalive_use() - The peer is reached by @w now (NULL: nobody knows). */
void keepalive_use(struct supervisor *s, struct wan *w, uint64_t now_ms);
/** keepalive_left() - IKE of ours leaves now by the live path: it reminds the NAT as well. */
void keepalive_left(struct supervisor *s, uint64_t now_ms);
/** keepalive_rebound() - Answering side: it moved; remembers after which silence. */
void keepalive_rebound(struct supervisor *s, uint64_t now_ms);
/** keepalive_rebind_median_ms() - Of those silences; 0: it never moved. */
uint64_t keepalive_rebind_median_ms(const struct supervisor *s);
/** keepalive_retry_max_ms() - `retry-max`, or more where a budget asks for it. */
uint64_t keepalive_retry_max_ms(const struct supervisor *s);

#endif
