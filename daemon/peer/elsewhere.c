/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: where else the peer can be reached, as it said itself under its keys (ADDITIONAL_IP4_ADDRESS and
 * ADDITIONAL_IP6_ADDRESS, RFC 4555 s3.6). When it does not answer where we have it, and so a round of calls
 * begins, these are called too, behind what the configuration names. They are few, each is called for a
 * minute at most, and the next list of the peer replaces them; a restart forgets them.
 */
#include "elsewhere.h"

#include <stdlib.h>
#include <string.h>

#include "call.h"

static void told(struct supervisor *s, const struct fx *fx, uint64_t now_ms)
{
	struct sup_elsewhere *e;

	(void)now_ms;
	if (fx->kind != FX_PEER_ADDRESSES || fx->peer_addresses.ike != s->ike)
		return;
	free(s->elsewhere);
	s->elsewhere = NULL;
	/* Who is called by us alone is no use of this: a waiting side calls nobody. */
	if (!fx->peer_addresses.count || s->cfg.start == SUP_WAIT)
		return;
	e = calloc(1, sizeof(*e));
	if (!e)
		return;
	e->count = fx->peer_addresses.count;
	memcpy(e->addr, fx->peer_addresses.addr, sizeof(e->addr));
	s->elsewhere = e;
}

static void round_begins(struct supervisor *s, uint64_t now_ms)
{
	for (size_t i = 0; s->elsewhere && i < s->elsewhere->count; i++) {
		struct endpoint to = { s->elsewhere->addr[i], s->cfg.port };

		call_add(s, &to, SUP_HOSTS_MAX, now_ms + (i + 1) * SUP_STAGGER_MS);
	}
}

const struct sup_hook elsewhere_hook = { .fx = told, .round = round_begins };
