/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_RELAY_PUBLISHER_H
#define MTA_RELAY_PUBLISHER_H

/*
 * Theory: the home's side of hop/publication.h. Whom this machine has is asked of lookup, when the
 * tunnel to [mta] edge comes up, after a reload, and each PUBLISHER_LOOK_MS (accounts of the system come
 * and go without a word to us). A set that the edge has taken since the tunnel came up is not sent
 * again. What is to be sent goes over a connection of its own, so that the serial in the edge's EHLO is
 * of now, and no letter waits behind it.
 *
 *	state	 event				then
 *	IDLE	 timer, edge is there		ASKING	  lookup_own()
 *	ASKING	 a set that was not taken yet	SENDING	  connection to the edge
 *	ASKING	 the same set, or no answer	IDLE	  look again later
 *	SENDING	 READY, edge offers PUBLISH	SENDING	  XPUBLISH with the serial after the edge's
 *	SENDING	 READY, XPOSTERN without it	IDLE	  a file there, or an older edge: again in an hour
 *	SENDING	 READY, no XPOSTERN		IDLE	  it does not know us yet: as for "else"
 *	SENDING	 2xx				IDLE	  taken
 *	SENDING	 else, or the connection ended	IDLE	  again after 2 s, 4 s .. PUBLISHER_RETRY_MAX_MS
 *	any	 tunnel down			as it is  the connection ends by itself
 *
 * Nothing of it is on disk: the edge knows the serial.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lookup.h"
#include "loop.h"
#include "reply.h"

#define PUBLISHER_SOON_MS      500
#define PUBLISHER_LOOK_MS      60000
#define PUBLISHER_RETRY_MIN_MS 2000
#define PUBLISHER_RETRY_MAX_MS 300000
#define PUBLISHER_UNWANTED_MS  3600000

struct relay;
struct conn;

enum publisher_state { PUBLISHER_IDLE, PUBLISHER_ASKING, PUBLISHER_SENDING };

struct publisher {
	struct relay *relay;
	enum publisher_state state;
	struct timer timer;
	struct lookup_req lookup;
	char *lines; /* asked of lookup last */
	size_t lines_len, count;
	char subaddress; /* as it was said with them */
	uint64_t size_max_bytes;
	char *taken; /* by the edge since the tunnel came up; NULL: nothing */
	size_t taken_len;
	char taken_subaddress;
	uint64_t taken_size_max_bytes;
	char *text;  /* on its way */
	size_t text_len;
	uint64_t retry_ms;
	uint64_t up_ms; /* changed_ms of the edge's tunnel when we looked last */
	bool up;
	bool unwanted;
};

void publisher_init(struct publisher *p, struct relay *r);
/** publisher_soon() - Something may have changed: look again in PUBLISHER_SOON_MS. */
void publisher_soon(struct publisher *p);
/** publisher_tunnel() - The tunnel table changed. */
void publisher_tunnel(struct publisher *p);
/** publisher_ready() - Its connection takes a command: publish, or QUIT. */
void publisher_ready(struct publisher *p, struct conn *c);
/** publisher_answer() - The edge's word on the set. */
void publisher_answer(struct publisher *p, const struct reply *r);
/** publisher_ended() - Its connection is no more. */
void publisher_ended(struct publisher *p);

#endif
