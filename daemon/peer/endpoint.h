/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PEER_ENDPOINT_H
#define PEER_ENDPOINT_H

/*
 * Theory: where a peer is, as a rule without I/O. A move is offered by an authentic packet from
 * another tuple. A new port at the same address is used at once. A new address is used at once too,
 * but on trial: the data plane sends it at most three times what came from it, and without an
 * answer to a request of ours within 3 s the old path is taken again and the address is not
 * listened to for a minute, unless the old path does not answer either. At most one move a second.
 *
 * What leaves from a new place at the same moment can get several mappings of the NAT there, of which one
 * lives on: an UPDATE_SA_ADDRESSES by the one, ESP by the other. So who has just come to an address may come
 * from two more ports of it at once, and an answer from whichever port proves the address and is the newest word.
 */

#include <stdbool.h>
#include <stdint.h>

#include "engine_path.h"

#define ENDPOINT_TRIAL_MS  3000
#define ENDPOINT_IGNORE_MS 60000
#define ENDPOINT_PACE_MS   1000
#define ENDPOINT_PORTS	   2 /* moves to other ports, not paced, after one to another address */
#define ENDPOINT_IGNORED   4

struct endpoint_ignored {
	struct addr addr;
	uint64_t until_ms;
};

struct endpoint_rule {
	struct engine_path path; /* in use */
	struct engine_path old;	 /* to go back to, while on trial */
	uint64_t trial_until_ms; /* 0: path is sure */
	uint64_t moved_ms;
	unsigned ports; /* moves within the address that need not wait */
	struct endpoint_ignored *ignored; /* owned: ENDPOINT_IGNORED of them; NULL: no trial was lost */
};

enum endpoint_verdict {
	ENDPOINT_STAY,	/* nothing to do */
	ENDPOINT_MOVE,	/* path has changed and is sure: same address, other port or socket */
	ENDPOINT_TRIAL, /* path has changed, on trial: limit the data, ask for proof */
};

/** endpoint_clear() - Frees; all zero, as at first. */
void endpoint_clear(struct endpoint_rule *r);
/** endpoint_set() - A path that the IKE SA itself proved; forgets trial and ignored ones. */
void endpoint_set(struct endpoint_rule *r, const struct engine_path *path);
/**
 * endpoint_offer() - An authentic packet came from @path. @silent: a request has had no answer for longer
 * than a trial, so the path in use is no better than one that was left: what it was left for may be over.
 */
enum endpoint_verdict endpoint_offer(struct endpoint_rule *r, const struct engine_path *path,
				     bool silent, uint64_t now_ms);
/**
 * endpoint_told() - The peer itself says, under its keys, that it is there now (RFC 4555): nothing is too soon
 * and no address is ignored. True: on trial, or still so: @unproved is as the IKE SA sees it, which follows ESP.
 */
bool endpoint_told(struct endpoint_rule *r, const struct engine_path *path, bool unproved,
		   uint64_t now_ms);
/**
 * endpoint_proved() - An answer to a request of ours came from @path; true: the trial is won, and that is the
 * path, from whichever port of the address. One that comes when the trial is over already (loss, a copy of the
 * request) is as good: the address is listened to again.
 */
bool endpoint_proved(struct endpoint_rule *r, const struct engine_path *path);
/** endpoint_expired() - True: the trial is lost, path is the old one again. */
bool endpoint_expired(struct endpoint_rule *r, uint64_t now_ms);

#endif
