/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Addresses that peers give us by CP, and the routes that use them as source. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "child_int.h"

static void on_done(int status, void *arg)
{
	/* The parent has logged which rule it was; -ECONNRESET comes when we end. */
	(void)arg;
	if (status && status != -ECONNRESET)
		log_warn(NULL, "the parent did not do what was asked: %s", strerror(-status));
}

/* Packets to the peer's networks shall come from the address that it knows us by. */
static void route_from(struct peer *p, const struct addr *src)
{
	for (size_t i = 0; i < p->cfg->network_count; i++)
		if (p->cfg->networks[i].addr.family == src->family)
			(void)priv_route_add(p->child->priv, p->cfg->name, &p->cfg->networks[i],
					     src, on_done, NULL);
}

struct grant {
	struct child *child;
	uint32_t peer;
	struct addr addr;
};

/*
 * Refused (accept-assigned, a local subnet, another peer's): then it is not ours, nobody is told that it is, and
 * a CHILD SA for it is of no use: the IKE SA that brought it ends.
 */
static void refused(struct peer *p, const struct addr *a, int status)
{
	struct child *c = p->child;
	char text[ADDR_STR_MAX];

	for (int i = 0; i < 2; i++) {
		if (!addr_eq(&p->assigned[i], a))
			continue;
		log_warn(&p->log, "the address %s that it gave us is not taken: %s",
			 addr_str(a, text), strerror(-status));
		memset(&p->assigned[i], 0, sizeof(p->assigned[i]));
		telling_send(c, telling_addresses(c, "addresses"));
		engine_address_refused(c->engine, child_now(c), p->id, a, &c->fx);
	}
}

static void on_granted(int status, void *arg)
{
	struct grant *g = arg;
	struct child *c = g->child;
	struct peer *p = status != -ECONNRESET ? child_peer(c, g->peer) : NULL;

	if (p) {
		if (status)
			refused(p, &g->addr, status);
		effects_apply(c); /* what ended has ended before the hold is over */
		sup_hold(&p->sup, false, child_now(c));
		peer_arm(p);
	}
	free(g);
}

static void add_addr(struct peer *p, const struct addr *a)
{
	struct grant *g = calloc(1, sizeof(*g));
	int rc = -ENOMEM;

	if (g) {
		*g = (struct grant){ .child = p->child, .peer = p->cfg->id, .addr = *a };
		rc = priv_addr_add(p->child->priv, p->cfg->name, a, on_granted, g);
	}
	if (rc) {
		free(g);
		refused(p, a, rc);
		return;
	}
	sup_hold(&p->sup, true, child_now(p->child));
}

static bool take_one(struct peer *p, struct addr *held, const struct addr *given)
{
	char text[ADDR_STR_MAX];

	if (addr_eq(held, given) || (!held->family && !given->family))
		return false;
	if (held->family)
		(void)priv_addr_del(p->child->priv, p->cfg->name, held, on_done, NULL);
	*held = *given;
	if (!given->family)
		return true; /* it gives us none any more */
	log_info(&p->log, "it gave us the address %s", addr_str(given, text));
	add_addr(p, given);
	route_from(p, given);
	return true;
}

void lease_changed(struct peer *p, bool up)
{
	if (p->cfg->request_address && p->child->cfg->hook)
		(void)priv_hook(p->child->priv, p->cfg->name, up, p->dns, up ? p->dns_count : 0,
				on_done, NULL);
}

/* True: they are others than before. */
static bool take_dns(struct peer *p, const struct addr *dns, size_t count)
{
	struct addr *list;

	if (p->dns_count == count && (!count || !memcmp(p->dns, dns, count * sizeof(*dns))))
		return false;
	list = count ? malloc(count * sizeof(*list)) : NULL;
	if (count && !list)
		return false; /* what it said before holds until it says more */
	if (count)
		memcpy(list, dns, count * sizeof(*list));
	free(p->dns);
	p->dns = list;
	p->dns_count = count;
	return true;
}

void lease_take(struct peer *p, const struct fx *fx)
{
	bool changed = take_one(p, &p->assigned[0], &fx->addresses.v4);

	changed = take_one(p, &p->assigned[1], &fx->addresses.v6) || changed;
	if (take_dns(p, fx->addresses.dns, fx->addresses.dns_count)) {
		/* While it is up; else it is told with that. */
		if (sup_is_up(&p->sup, child_now(p->child)))
			lease_changed(p, true);
	}
	if (changed)
		telling_send(p->child, telling_addresses(p->child, "addresses"));
}

void lease_drop(struct peer *p)
{
	for (int i = 0; i < 2; i++) {
		if (p->assigned[i].family)
			(void)priv_addr_del(p->child->priv, p->cfg->name, &p->assigned[i], on_done,
					    NULL);
		memset(&p->assigned[i], 0, sizeof(p->assigned[i]));
	}
}
