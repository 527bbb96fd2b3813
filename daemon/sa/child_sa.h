/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SA_CHILD_SA_H
#define SA_CHILD_SA_H

/*
 * Theory: one CHILD SA, both directions. Its keys are not here: they are handed to the data plane
 * and wiped. The life of one that we rekey (R: the peer does):
 *
 *	NEW --in and out installed--> UP --successor up--> REKEYED --Delete answered--> LINGER --10 s--> gone
 *	NEW --R: in installed---> HALF --first packet, or Delete of the old--> UP
 *
 * LINGER keeps the inbound half for packets that were under way (RFC 7296 s2.8).
 */

#include "clock.h"
#include "hash.h"
#include "prf.h"
#include "selector.h"
#include "suite.h"

#define CHILD_LINGER_MS 10000
#define CHILD_NONCE_CMP NONCE_LEN_MAX

enum child_state {
	CHILD_NEW,  /* SPI drawn, request under way */
	CHILD_HALF, /* inbound installed, outbound waits for the peer to be ready */
	CHILD_UP,
	CHILD_REKEYED, /* a successor sends; waits for its Delete */
	CHILD_CLOSING, /* our Delete is under way */
	CHILD_LINGER,  /* deleted; inbound kept a while */
};

struct ike_sa;

struct child_sa {
	struct hash_node by_spi; /* of the engine, by spi_in */
	bool indexed;
	struct child_sa *next; /* of its IKE SA */
	struct ike_sa *sa;
	enum child_state state;
	uint32_t spi_in, spi_out; /* host order values */
	uint32_t conf;		  /* engine_child_conf.id */
	uint32_t line;		  /* spi_in of the first of its row of rekeys */
	uint8_t jitter;		  /* of its limits in bytes and packets */
	bool condemned;		  /* a reload made it one against our policy */
	struct esp_suite suite;
	/* Owned; once agreed on, cut to their count: not to be copied as a whole. */
	struct ts_list *local_ts, *remote_ts;
	uint32_t replaces;		      /* spi_in of the one that this rekeys, 0 */
	uint32_t replaced_by;
	uint32_t window_out; /* the peer's replay window, as it told; 0: it did not */
	bool in_installed, out_installed;
	bool announced;		    /* FX_CHILD_UP or _REKEYED was told */
	uint64_t since_ms;	    /* installed */
	uint64_t rekey_at_ms;	    /* UINT64_MAX: not by time */
	struct timer life;	    /* rekey, linger, patience for the peer's Delete */
	struct child_keys out_keys; /* HALF: kept until outbound is installed */
	bool exch_initiator;	    /* we started the exchange that made it */
};

/** child_sa_new() - Zeroed, with empty selectors; NULL: out of memory. */
struct child_sa *child_sa_new(struct ike_sa *sa);
/** child_sa_free() - Wipes; the timer must be off and the list must not hold it. */
void child_sa_free(struct child_sa *c);
/** child_sa_trim() - The selectors are final: give back the room for more, 5 KiB. */
void child_sa_trim(struct child_sa *c);
/** child_sa_usable() - Does it count as a working CHILD SA of its IKE SA? */
bool child_sa_usable(const struct child_sa *c);

#endif
