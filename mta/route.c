/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "route.h"

#include <stdio.h>
#include <string.h>

#include "address.h"
#include "ruleset.h"

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

const char *route_domain(const char *address)
{
	const char *at = strrchr(address, '@');

	return at ? at + 1 : "";
}

static void lower_domain(const char *address, char out[static MTA_DOMAIN_MAX])
{
	const char *d = route_domain(address);
	size_t i;

	for (i = 0; d[i] && i + 1 < MTA_DOMAIN_MAX; i++)
		out[i] = lower(d[i]);
	out[i] = 0;
}

static const struct mta_listener *listener(const struct mta_config *c, const char *name)
{
	for (size_t i = 0; name && i < c->listener_count; i++)
		if (!strcmp(c->listeners[i].name, name))
			return &c->listeners[i];
	return NULL;
}

/* The rule that smtpd would go by now, if its listener still exists. Our own DSNs have none. */
static const struct mta_route *by_rule(const struct mta_config *c, const struct envelope *e,
				       const char *rcpt)
{
	const unsigned any = ADDRESS_ALLOW_NULL | ADDRESS_ALLOW_BARE | ADDRESS_ALLOW_UTF8;
	struct rule_verdict v;
	struct address from, to;
	struct rule_facts f = {
		.listener = listener(c, e->listener),
		.client = e->client.addr,
		.peer = e->peer,
		.user = e->auth_user,
		.tls = e->tls != NULL,
		.sender = &from,
	};

	if (!c->rule_count || !f.listener ||
	    address_parse(e->sender, strlen(e->sender), any, &from) ||
	    address_parse(rcpt, strlen(rcpt), any, &to))
		return NULL;
	ruleset_rcpt(c, &f, &to, &v);
	return v.rule && v.rule->action == RULE_ACCEPT && v.rule->route
		   ? config_route(c, v.rule->route)
		   : NULL;
}

static const struct mta_route *of_kind(const struct mta_config *c, enum route_kind kind,
				       const char *peer)
{
	for (size_t i = 0; i < c->route_count; i++)
		if (c->routes[i].kind == kind &&
		    (!peer || (c->routes[i].peer && !strcmp(c->routes[i].peer, peer))))
			return &c->routes[i];
	return NULL;
}

const struct mta_route *route_choose(const struct mta_config *c, const struct envelope *e,
				     const char *rcpt)
{
	const struct mta_route *r = by_rule(c, e, rcpt);
	const struct mta_home *h;
	char domain[MTA_DOMAIN_MAX];

	if (r)
		return r;
	lower_domain(rcpt, domain);
	if (!domain[0])
		return of_kind(c, ROUTE_DELIVER, NULL);
	r = config_route_for_domain(c, domain);
	if (r && !strv_has(&r->domains, "*"))
		return r; /* it names the domain */
	if (config_is_local(c, domain))
		return of_kind(c, ROUTE_DELIVER, NULL);
	h = config_home_by_domain(c, domain);
	if (h)
		return of_kind(c, ROUTE_TUNNEL, h->peer);
	return r;
}

const char *route_next_hop(const struct mta_route *r, const char *rcpt,
			   char out[static ROUTE_HOP_MAX])
{
	const char *s = "local";
	size_t i;

	switch (r->kind) {
	case ROUTE_MX:
		s = route_domain(rcpt);
		break;
	case ROUTE_TUNNEL:
		s = r->peer ? r->peer : "";
		break;
	case ROUTE_SMARTHOST:
	case ROUTE_LMTP:
		s = r->addresses.count ? r->addresses.v[0] : "";
		break;
	case ROUTE_DELIVER:
		break;
	}
	for (i = 0; s[i] && i + 1 < ROUTE_HOP_MAX; i++)
		out[i] = lower(s[i]);
	out[i] = 0;
	return out;
}

uint64_t route_wait_ms(const struct mta_schedule *s, uint32_t failures, uint32_t random)
{
	uint64_t ms = s->first_ms, spread;

	if (!failures)
		failures = 1;
	if (s->kind == SCHEDULE_LINEAR)
		ms = failures > s->max_ms / (ms ? ms : 1) ? s->max_ms : ms * failures;
	else if (s->kind == SCHEDULE_EXPONENTIAL)
		for (uint32_t i = 1; i < failures && ms < s->max_ms; i++)
			ms *= 2;
	if (ms > s->max_ms)
		ms = s->max_ms;
	spread = ms * s->jitter_pct / 100;
	return spread ? ms - spread + random % (2 * spread + 1) : ms;
}
