/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ruleset.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Wider than these, a prefix is not "somebody": no network of one owner is a /7 or a /15. */
#define V4_BITS_LEAST 8
#define V6_BITS_LEAST 16

static void lower_domain(const struct address *a, char out[static ADDRESS_MAX + 1])
{
	const char *d = address_domain(a);
	size_t i = 0;

	for (; d[i]; i++)
		out[i] = (char)tolower((unsigned char)d[i]);
	out[i] = 0;
}

static bool pattern_holds(const char *p, const struct address *a)
{
	const char *at = strrchr(p, '@'), *domain = at ? at + 1 : p;
	const char *have = address_domain(a);
	char local[ADDRESS_MAX + 1];

	if (!strcmp(p, "<>"))
		return a->kind == ADDRESS_NULL;
	if (a->kind == ADDRESS_NULL)
		return false;
	if (domain[0] == '.') {
		size_t n = strlen(domain), m = strlen(have);

		if (m <= n || strcasecmp(have + m - n, domain))
			return false;
	} else if (strcasecmp(have, domain)) {
		return false;
	}
	if (!at || at == p)
		return true;
	/* Local parts that we compare are those of mailboxes, which know no case. */
	address_local(a, local);
	return strlen(local) == (size_t)(at - p) && !strncasecmp(local, p, (size_t)(at - p));
}

bool ruleset_match(const struct strv *patterns, const struct address *a)
{
	for (size_t i = 0; i < patterns->count; i++) {
		if (pattern_holds(patterns->v[i], a))
			return true;
	}
	return false;
}

bool ruleset_is_ours(const struct mta_config *c, const struct address *a)
{
	char domain[ADDRESS_MAX + 1];

	if (a->kind == ADDRESS_BARE)
		return true;
	lower_domain(a, domain);
	return a->kind == ADDRESS_DOMAIN &&
	       (config_is_local(c, domain) || config_home_by_domain(c, domain));
}

bool ruleset_home_sends(const struct mta_home *h, const struct address *a)
{
	char domain[ADDRESS_MAX + 1];

	lower_domain(a, domain);
	return a->kind == ADDRESS_DOMAIN && strv_has(&h->domains, domain);
}

static bool listener_named(const struct strv *names, const struct mta_listener *l)
{
	static const char *const classes[] = {
		[LISTEN_MX] = "mx",
		[LISTEN_SUBMISSION] = "submission",
		[LISTEN_SUBMISSIONS] = "submissions",
		[LISTEN_TUNNEL] = "tunnel",
		[LISTEN_LAN] = "lan",
	};

	return strv_has(names, l->name) || strv_has(names, classes[l->class]);
}

static bool within(const struct prefix *p, size_t count, const struct addr *a)
{
	for (size_t i = 0; i < count; i++) {
		if (prefix_contains(&p[i], a))
			return true;
	}
	return false;
}

/* Every condition that is written must hold. @rcpt NULL: at MAIL. */
static bool rule_holds(const struct mta_rule *r, const struct rule_facts *f,
		       const struct address *rcpt)
{
	if (r->listeners.count && !listener_named(&r->listeners, f->listener))
		return false;
	if (r->client_count && !within(r->clients, r->client_count, &f->client))
		return false;
	if (r->peers.count && (!f->peer || !strv_has(&r->peers, f->peer)))
		return false;
	if (r->authenticated >= 0 && r->authenticated != (f->user != NULL))
		return false;
	if (r->tls >= 0 && r->tls != f->tls)
		return false;
	if (r->senders.count && !ruleset_match(&r->senders, f->sender))
		return false;
	return !r->recipients.count || (rcpt && ruleset_match(&r->recipients, rcpt));
}

static void say(struct rule_verdict *v, enum rule_way way, uint16_t code, const char *text)
{
	v->way = way;
	v->code = code;
	snprintf(v->text, sizeof(v->text), "%s", text);
}

static void say_rule(struct rule_verdict *v, const struct mta_rule *r)
{
	bool later = r->action == RULE_TEMPFAIL;

	v->rule = r;
	v->way = later ? RULE_LATER : RULE_REFUSED;
	v->code = later ? 450 : 550;
	snprintf(v->text, sizeof(v->text), "%s %s", later ? "4.7.1" : "5.7.1",
		 r->message ? r->message : "Refused by policy");
}

/* May this client relay, as far as its class goes? */
static bool class_relays(const struct mta_config *c, const struct rule_facts *f)
{
	const struct mta_listener *l = f->listener;

	switch (l->class) {
	case LISTEN_SUBMISSION:
	case LISTEN_SUBMISSIONS:
		return f->user != NULL;
	case LISTEN_TUNNEL:
		return f->peer && config_home_by_peer(c, f->peer);
	case LISTEN_LAN:
		return f->user ||
		       (l->network_count ? within(l->networks, l->network_count, &f->client)
					 : addr_is_loopback(&f->client));
	default:
		return false;
	}
}

void ruleset_sender(const struct mta_config *c, const struct rule_facts *f, struct rule_verdict *v)
{
	const struct mta_home *home = f->peer ? config_home_by_peer(c, f->peer) : NULL;

	memset(v, 0, sizeof(*v));
	for (size_t i = 0; i < c->rule_count; i++) {
		const struct mta_rule *r = &c->rules[i];

		if (r->recipients
			.count) /* may decide at RCPT, so nothing after it may decide now */
			break;
		if (!rule_holds(r, f, NULL))
			continue;
		if (r->action != RULE_ACCEPT)
			return say_rule(v, r);
		v->rule = r;
		break;
	}
	v->way = RULE_RELAY;
	/* A tenant speaks for its own domains only, whatever the rules accept of others. */
	if (f->listener->class == LISTEN_TUNNEL && home && f->sender->kind != ADDRESS_NULL &&
	    !ruleset_home_sends(home, f->sender))
		say(v, RULE_REFUSED, 550, "5.7.1 Sender is not in the domains of this home");
}

void ruleset_rcpt(const struct mta_config *c, const struct rule_facts *f,
		  const struct address *rcpt, struct rule_verdict *v)
{
	bool ours = ruleset_is_ours(c, rcpt);
	const struct mta_rule *r = NULL;
	char domain[ADDRESS_MAX + 1];

	memset(v, 0, sizeof(*v));
	for (size_t i = 0; i < c->rule_count && !r; i++)
		r = rule_holds(&c->rules[i], f, rcpt) ? &c->rules[i] : NULL;
	v->rule = r;
	if (r && r->action != RULE_ACCEPT)
		return say_rule(v, r);
	/* A route inside the local part is for those who may relay anyway, and nobody here follows it. */
	if (f->listener->class == LISTEN_MX && address_routed_local(rcpt))
		return say(v, RULE_REFUSED, 550, "5.7.1 No routes inside of local parts");
	if (ours) {
		v->way = RULE_OURS;
		return;
	}
	if (!r && !class_relays(c, f))
		return say(v, RULE_REFUSED, 550, "5.7.1 Relaying denied");
	lower_domain(rcpt, domain);
	if (!(r && r->route) && !config_route_for_domain(c, domain))
		return say(v, RULE_REFUSED, 550, "5.4.4 No route to that domain");
	v->way = RULE_RELAY;
}

static bool anybody(const struct prefix *p, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (p[i].len < (p[i].addr.family == AF_INET ? V4_BITS_LEAST : V6_BITS_LEAST))
			return true;
	}
	return false;
}

int ruleset_check(const struct mta_config *c, char *why, size_t cap)
{
	for (size_t i = 0; i < c->listener_count; i++) {
		const struct mta_listener *l = &c->listeners[i];

		if (l->class == LISTEN_LAN && anybody(l->networks, l->network_count)) {
			snprintf(
			    why, cap,
			    "listener \"%s\" relays for the whole internet (an open relay); write "
			    "the networks of your own",
			    l->name);
			return -EPERM;
		}
	}
	for (size_t i = 0; i < c->rule_count; i++) {
		const struct mta_rule *r = &c->rules[i];
		bool narrow = r->peers.count || r->authenticated == 1 ||
			      (r->client_count && !anybody(r->clients, r->client_count));

		/* A recipient condition makes it somewhere instead of anywhere. */
		if (r->action != RULE_ACCEPT || narrow || r->recipients.count)
			continue;
		snprintf(why, cap,
			 "rule \"%s\" accepts from anyone to anyone (an open relay); write clients "
			 "of your own, peers, authenticated = yes or recipients",
			 r->name);
		return -EPERM;
	}
	return 0;
}
