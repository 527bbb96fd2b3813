/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PEER_PATH_H
#define PEER_PATH_H

/*
 * Theory: by which line, and to which of its addresses, a peer that we call is reached. The parent tells
 * for each address by which devices a route leads there (struct sup_way); from them, [wan] sections
 * and the peer's `interface` come the ways. While there is but one and the kernel takes it too, nothing
 * here does anything.
 *
 *	gone	the way in use is no longer told (device, carrier, address, route): the best other
 *		one is taken at once
 *	dead	a request of ours is unanswered for 2 s: the same bytes leave by the other ways, first by all
 *		and then by turns (RFC 4555 s3.5 has them be the same); whichever brings the answer is taken.
 *		When data leaves and nothing comes back for four round trips, 0.3 to 1 s, a request is made, and
 *		while that stays so the others have their turn as soon as its first copies should have been
 *		answered, and a Postern's dummies by the way in use as well: one that answers them keeps its 2 s.
 *		Data that is never answered, though the requests are, is asked about each second.
 *		Its names are looked up again meanwhile (call.c): a new address is one more way.
 *	better	a way of lesser priority is tried without touching the one in use: a Postern is sent
 *		authenticated dummies that it answers to where they came from, another peer is asked a
 *		request by that way. After 10 s without a loss it is taken; a way that fails within a minute
 *		after is to show twice as long the next time, up to 5 minutes.
 *	shorter	between addresses of the peer on the same line (IPv6, IPv4) the round trips of such
 *		dummies are compared once for each IKE SA
 *
 * The IKE SA, its CHILD SAs and all addresses in the tunnel stay what they are. Pure: time is an argument.
 */

#include "supervisor.h"

#define PATH_WAYS_MAX	12
#define PATH_TO_MAX	6 /* addresses of the peer that are asked about */
#define PATH_DUMB_MS	300    /* data has left and nothing came since: ask; at least */
#define PATH_DUMB_MAX	1000   /* ... at most */
#define PATH_ASK_MS	100    /* how often that is looked at while data leaves */
#define PATH_BUSY_MS	5000   /* ... and for so long after */
#define PATH_OTHER_MS	2000   /* a request is unanswered: the other ways */
#define PATH_SOON_MS	650    /* ... and data is too, and two round trips have gone: its first two copies */
#define PATH_FOREIGN_MS 1000   /* ... of a peer that answers no dummies */
#define PATH_PROVE_MS	1000   /* between dummies by a way that answers those and no requests */
#define PATH_TURN_MS	500    /* between two of them */
#define PATH_CALL_MS	2000   /* a call is unanswered: the other ways */
#define PATH_TEST_MS	1000   /* between two tests of a better way */
#define PATH_LOST_MS	1500   /* a test unanswered for so long is lost */
#define PATH_REST_MS	10000  /* between tests of one that has not answered for a minute */
#define PATH_RETURN_MS	10000  /* tests of a better way answered for so long: it is taken */
#define PATH_RETURN_MAX 300000 /* ... at most, after it failed again and again */
#define PATH_FAILED_MS	60000  /* it failed so soon after it was taken */
#define PATH_COMPARE	3      /* dummies by which round trips are compared */
#define PATH_TOKEN_LEN	16
#define PATH_ANSWERS_MAX 20 /* dummies answered in one second */

struct path_way {
	uint32_t ifindex;
	char name[16];
	struct addr src, gateway;
	struct endpoint remote;
	uint32_t rank;	       /* priority, then the kernel's order; the least is preferred */
	uint64_t since_ms;     /* told without a break since */
	uint64_t taken_ms;     /* last time that it came into use; 0: never */
	uint64_t need_ms;      /* how long tests must go well */
	uint64_t good_ms;      /* tests go well since; 0: they do not */
	uint64_t heard_ms;     /* last answer to a test */
	uint64_t sent_ms;      /* last test; 0: answered, or none yet */
	uint64_t next_ms;      /* when to test again */
	uint8_t nonce[8];
	unsigned compared;     /* answers for the comparison */
	uint32_t rtt_ms;       /* least seen; UINT32_MAX: not known */
	bool chosen;	       /* the kernel takes it without a wish */
	bool told;	       /* while a list is taken over */
};

struct path {
	struct path_way way[PATH_WAYS_MAX];
	size_t count;
	struct addr to[PATH_TO_MAX]; /* asked about */
	bool known[PATH_TO_MAX];     /* and answered */
	size_t to_count;
	bool pinned; /* there was a choice, or the configuration makes one: interfaces are named */
	bool denied; /* a call waits for the first answer */
	bool lost;   /* no way at all is left for the live IKE SA */
	char name[16];	     /* of the device in use, */
	struct addr gateway; /* and its gateway, */
	bool gateway_known;  /* once it was looked at */
	bool testing; /* a foreign peer is asked by a better way */
	uint64_t tested_ms;
	uint64_t out_ms;  /* data leaves and nothing came since */
	uint64_t alarm_ms; /* when that was a reason to ask, last time */
	unsigned vain;	   /* ... though nothing was wrong, in a row */
	uint64_t prove_ms; /* when a dummy by the way in use is to go once more; 0: none is */
	uint64_t tried_ms; /* the other ways, last time */
	size_t turn;
	unsigned compares; /* dummies still to be sent for the comparison */
	uint64_t compare_ms;
	uint64_t moves;
	char why[96]; /* of the last move */
};

/** path_on_ways() - The parent's answer about @to; @count 0: no way leads there. */
void path_on_ways(struct supervisor *s, const struct addr *to, const struct sup_way *way,
		  size_t count, uint64_t now_ms);
/** path_on_names() - Its names were looked up: addresses may be new. */
void path_on_names(struct supervisor *s);
/** path_on_probe() - An authenticated dummy with a token of ours came by @path. */
void path_on_probe(struct supervisor *s, const struct engine_path *path, const uint8_t *token,
		   size_t len, uint64_t now_ms);
/** path_leads() - The way of the live IKE SA is chosen here, not by the kernel. */
bool path_leads(const struct supervisor *s);
/** path_current() - The way in use, or NULL while it is the kernel's choice. */
const struct path_way *path_current(const struct supervisor *s);
void path_free(struct supervisor *s);
/** path_by() - How the live IKE SA is reached by @w. */
struct engine_path path_by(const struct supervisor *s, const struct path_way *w);
/** path_test() - Send a dummy by @w that a Postern answers: path_on_probe(). */
void path_test(struct supervisor *s, struct path_way *w, uint64_t now_ms);

extern const struct sup_hook path_hook;

#endif
