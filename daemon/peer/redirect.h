/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PEER_REDIRECT_H
#define PEER_REDIRECT_H

/*
 * Theory: a peer that we call sends us elsewhere (RFC 5685). Who is there has to prove that he is this
 * peer, so the word of IKE_SA_INIT, which anyone on the way can forge, costs no more than a packet
 * that he drops; at most REDIRECT_MAX_COUNT in REDIRECT_WINDOW_MS are followed (s8).
 *
 *	configured addresses ─ FX_REDIRECT ─► that address alone ─ up ─► there
 *	        ▲                                  │ REDIRECT_TRY_MS       │ lost
 *	        │                                  │ without success       │
 *	        └──────────────────────────────────┴───────────────────────┘
 *
 * An IKE SA that is up is left only when the new one stands (its coming up ends the old one).
 */

#include "supervisor.h"

#define REDIRECT_MAX_COUNT 5
#define REDIRECT_WINDOW_MS 300000
#define REDIRECT_TRY_MS	   20000

struct sup_redirect {
	struct addr addr; /* family 0: name */
	char name[256];
	bool active, leaving;
	uint64_t since_ms;
	uint64_t window_ms; /* begin of the present one, and how many came in it */
	unsigned count;
	uint64_t followed, refused;
};

extern const struct sup_hook redirect_hook;

/** redirect_active() - Is it called elsewhere than the configuration says? */
bool redirect_active(const struct supervisor *s);
/** redirect_leaving() - Its live IKE SA is to be followed by one elsewhere. */
bool redirect_leaving(const struct supervisor *s);
void redirect_free(struct supervisor *s);

#endif
