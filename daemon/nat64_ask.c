/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The prefixes of this network's NAT64 (RFC 7050): asked for when an IPv4 address has no way, kept, asked anew. */
#include <errno.h>
#include <stdio.h>

#include "child_int.h"

#define LOOKUP_MS 5000
#define AGAIN_MS  2000	  /* between two questions, while calls want it */
#define FRESH_MS  3600000 /* what is known is asked about again after so long */

static void say(const struct nat64 *n)
{
	char text[NAT64_PREFIXES_MAX * (PREFIX_STR_MAX + 2)] = "", one[PREFIX_STR_MAX];
	size_t at = 0;

	for (size_t i = 0; i < n->count; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s", i ? ", " : "",
				       prefix_str(&n->prefix[i], one));
	log_info(NULL, "NAT64: %s%s", n->count ? "IPv4 is reached by " : "none here", text);
}

static bool same(const struct nat64 *a, const struct nat64 *b)
{
	bool eq = a->count == b->count;

	for (size_t i = 0; eq && i < a->count; i++)
		eq = a->prefix[i].len == b->prefix[i].len &&
		     addr_eq(&a->prefix[i].addr, &b->prefix[i].addr);
	return eq;
}

static void on_known(int status, const struct addr *addr, size_t count, void *arg)
{
	struct child *c = arg;
	struct nat64 was = c->nat64;

	c->nat64_asking = false;
	if (status == -ECANCELED) {
		c->nat64_asked_ms = 0; /* the network changed under the question */
		nat64_ask(c);
	}
	/* No answer is not the answer that there is none: what is known stays. */
	if (status && status != -ENOENT)
		return;
	nat64_learn(&c->nat64, addr, status ? 0 : count);
	if (same(&was, &c->nat64))
		return;
	say(&c->nat64);
	for (struct peer *p = NULL; (p = child_peer_next(c, p));) {
		sup_on_nat64(&p->sup, child_now(c));
		peer_arm(p);
	}
	effects_apply(c);
}

void nat64_ask(struct child *c)
{
	uint64_t now = child_now(c), wait = c->nat64.count ? FRESH_MS : AGAIN_MS;

	c->nat64_wanted = true;
	if (c->nat64_asking || (c->nat64_asked_ms && now - c->nat64_asked_ms < wait))
		return;
	c->nat64_asked_ms = now;
	c->nat64_asking = !priv_resolve(c->priv, NAT64_NAME, LOOKUP_MS, on_known, c);
}

void nat64_network_changed(struct child *c)
{
	if (!c->nat64_wanted)
		return;
	c->nat64_asked_ms = 0;
	nat64_ask(c);
}
