/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "route.h"

#include <stdio.h>
#include <string.h>

#include "address.h"
#include "domain.h"
#include "ruleset.h"

const char *route_domain(const char *address)
{
	const char *at = strrchr(address, '@');

	return at ? at + 1 : "";
}

static const struct mta_listener *listener(const struct mta_config *c, const char *name)
{
	for (size_t i = 0; name && i < c->listener_count; i++)
		if (!strcmp(c->listeners[i].name, name))
			return &c->listeners[i];
	return NULL;
}

/*
 * Its listener is gone, or has another name now. Rules that ask for no listener decide all the same; behind one that
 * might have held for it nothing is sure.
 */
static const struct mta_rule *without_listener(const struct mta_config *c,
					       const struct rule_facts *f, const struct address *to)
{
	for (size_t i = 0; i < c->rule_count; i++) {
		struct mta_rule r = c->rules[i];

		r.listeners.count = 0;
		if (!ruleset_fails(&r, f, to, NULL))
			return c->rules[i].listeners.count ? NULL : &c->rules[i];
	}
	return NULL;
}

/* The rule that smtpd would go by now. Our own DSNs have none. */
static const struct mta_route *by_rule(const struct mta_config *c, const struct envelope *e,
				       const char *rcpt)
{
	const unsigned any = ADDRESS_ALLOW_NULL | ADDRESS_ALLOW_BARE | ADDRESS_ALLOW_UTF8;
	const struct mta_rule *r;
	struct rule_verdict v;
	struct address from, to;
	struct rule_facts f = {
		.listener = listener(c, e->listener),
		.client = e->client.addr,
		.peer = e->peer,
		.user = e->auth_user,
		.helo = e->helo,
		.tls = e->flags & ENV_ENCRYPTED || (e->tls && !(e->flags & ENV_PEER_ID)),
		.sender = &from,
	};

	if (!c->rule_count || !e->listener || !*e->listener ||
	    address_parse(e->sender, strlen(e->sender), any, &from) ||
	    address_parse(rcpt, strlen(rcpt), any, &to))
		return NULL;
	if (f.listener) {
		ruleset_rcpt(c, &f, &to, &v);
		r = v.rule;
	} else {
		r = without_listener(c, &f, &to);
	}
	return r && r->action == RULE_ACCEPT && r->route ? config_route(c, r->route) : NULL;
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
	const struct mta_route *r;
	const struct mta_home *h;
	char domain[MTA_DOMAIN_MAX];

	if (e->flags & ENV_PROBE && e->flags & ENV_BOUNCE)
		return e->peer ? of_kind(c, ROUTE_TUNNEL, e->peer) : NULL;
	r = by_rule(c, e, rcpt);
	if (r)
		return r;
	domain_spell(route_domain(rcpt), domain);
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

	switch (r->kind) {
	case ROUTE_MX:
		return domain_spell(route_domain(rcpt), out);
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
	snprintf(out, ROUTE_HOP_MAX, "%s", s);
	for (char *c = out; *c; c++)
		*c = (char)(*c >= 'A' && *c <= 'Z' ? *c + ('a' - 'A') : *c);
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
