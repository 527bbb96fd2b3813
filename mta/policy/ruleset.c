/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ruleset.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "domain.h"
#include "match.h"

bool ruleset_is_ours(const struct mta_config *c, const struct address *a)
{
	char domain[MTA_DOMAIN_MAX];

	if (a->kind == ADDRESS_BARE)
		return true;
	domain_spell(address_domain(a), domain);
	return a->kind == ADDRESS_DOMAIN &&
	       (config_is_local(c, domain) || config_home_by_domain(c, domain));
}

bool ruleset_home_sends(const struct mta_home *h, const struct address *a)
{
	char domain[MTA_DOMAIN_MAX];

	domain_spell(address_domain(a), domain);
	return a->kind == ADDRESS_DOMAIN && strv_has(&h->domains, domain);
}

bool ruleset_names_listener(const struct mta_rule *r, const struct mta_listener *l)
{
	static const char *const classes[] = {
		[LISTEN_MX] = "mx",
		[LISTEN_SUBMISSION] = "submission",
		[LISTEN_SUBMISSIONS] = "submissions",
		[LISTEN_TUNNEL] = "tunnel",
		[LISTEN_LAN] = "lan",
	};

	return strv_has(&r->listeners, l->name) || strv_has(&r->listeners, classes[l->class]);
}

static bool within(const struct prefix *p, size_t count, const struct addr *a)
{
	for (size_t i = 0; i < count; i++) {
		if (prefix_contains(&p[i], a))
			return true;
	}
	return false;
}

enum rule_condition ruleset_fails(const struct mta_rule *r, const struct rule_facts *f,
				  const struct address *rcpt, struct rule_hit *hit)
{
	struct rule_hit h = { 0 };
	enum rule_condition not = CONDITION_NONE;

	if (r->listeners.count && !ruleset_names_listener(r, f->listener))
		not = CONDITION_LISTENERS;
	else if (match_written(&r->clients) && !(h.client = match_client(&r->clients, &f->client)))
		not = CONDITION_CLIENTS;
	else if (r->peers.count && (!f->peer || !strv_has(&r->peers, f->peer)))
		not = CONDITION_PEERS;
	else if (r->authenticated >= 0 && r->authenticated != (f->user != NULL))
		not = CONDITION_AUTHENTICATED;
	else if (r->tls >= 0 && r->tls != f->tls)
		not = CONDITION_TLS;
	else if (match_written(&r->helo) && !(f->helo && (h.helo = match_name(&r->helo, f->helo))))
		not = CONDITION_HELO;
	else if (match_written(&r->senders) && !(h.sender = match_address(&r->senders, f->sender)))
		not = CONDITION_SENDERS;
	else if (match_written(&r->recipients) &&
		 !(rcpt && (h.recipient = match_address(&r->recipients, rcpt))))
		not = CONDITION_RECIPIENTS;
	else if (r->larger_bytes && f->size_bytes <= r->larger_bytes)
		not = CONDITION_SIZE;
	if (hit)
		*hit = h;
	return not ;
}

bool ruleset_enhanced(const char *text)
{
	const char *p = text + 1;

	if (*text != '4' && *text != '5')
		return false;
	for (int i = 0; i < 2; i++) {
		size_t digits = *p == '.' ? strspn(p + 1, "0123456789") : 0;

		if (!digits || digits > 3)
			return false;
		p += 1 + digits;
	}
	return *p == ' ';
}

static void say(struct rule_verdict *v, enum rule_ground ground, const char *text)
{
	v->ground = ground;
	v->way = RULE_REFUSED;
	v->code = 550;
	snprintf(v->text, sizeof(v->text), "%s", text);
}

const char *ruleset_text(const struct mta_rule *r, char *out, size_t cap)
{
	const char *text = r->message	     ? r->message
			   : r->larger_bytes ? "Letter is larger than policy allows"
					     : "Refused by policy";

	snprintf(out, cap, "%s%s",
		 ruleset_enhanced(text)	     ? ""
		 : r->action == RULE_TEMPFAIL ? "4.7.1 "
		 : r->larger_bytes	     ? "5.3.4 "
					     : "5.7.1 ",
		 text);
	return out;
}

static void say_rule(struct rule_verdict *v, const struct mta_rule *r)
{
	bool later = r->action == RULE_TEMPFAIL;

	v->rule = r;
	v->ground = GROUND_RULE;
	v->way = later ? RULE_LATER : RULE_REFUSED;
	v->code = later ? 450 : r->larger_bytes ? 552 : 550;
	ruleset_text(r, v->text, sizeof(v->text));
}

/* The rule would decide if the letter is larger than it allows. */
static void limit(struct rule_verdict *v, const struct mta_rule *r)
{
	if (v->size_rule && v->size_max_bytes <= r->larger_bytes)
		return;
	v->size_max_bytes = r->larger_bytes;
	v->size_rule = r;
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
	v->ground = GROUND_SENDER_FREE;
	for (size_t i = 0; i < c->rule_count; i++) {
		const struct mta_rule *r = &c->rules[i];

		/* It may decide at RCPT, so nothing behind it may decide now. */
		if (match_written(&r->recipients))
			break;
		if (ruleset_fails(r, f, NULL, NULL))
			continue;
		if (r->action != RULE_ACCEPT)
			return say_rule(v, r);
		v->rule = r;
		v->ground = GROUND_RULE;
		break;
	}
	v->way = RULE_RELAY;
	/* A tenant speaks for its own domains only, whatever the rules accept of others. */
	if (f->listener->class == LISTEN_TUNNEL && home && f->sender->kind != ADDRESS_NULL &&
	    !ruleset_home_sends(home, f->sender))
		say(v, GROUND_TENANT, "5.7.1 Sender is not in the domains of this home");
}

void ruleset_rcpt(const struct mta_config *c, const struct rule_facts *f,
		  const struct address *rcpt, struct rule_verdict *v)
{
	bool ours = ruleset_is_ours(c, rcpt);
	const struct mta_rule *r = NULL;
	char domain[MTA_DOMAIN_MAX];

	memset(v, 0, sizeof(*v));
	for (size_t i = 0; i < c->rule_count && !r; i++) {
		enum rule_condition not = ruleset_fails(&c->rules[i], f, rcpt, NULL);

		if (!not )
			r = &c->rules[i];
		else if (not == CONDITION_SIZE)
			limit(v, &c->rules[i]);
	}
	v->rule = r;
	if (r && r->action != RULE_ACCEPT)
		return say_rule(v, r);
	/* A route inside the local part is for those who may relay anyway, and nobody here follows it. */
	if (!class_relays(c, f) && address_routed_local(rcpt))
		return say(v, GROUND_ROUTED_LOCAL, "5.7.1 No routes inside of local parts");
	v->ground = r ? GROUND_RULE : ours ? GROUND_OURS : GROUND_CLASS;
	if (ours) {
		v->way = RULE_OURS;
		return;
	}
	if (!r && !class_relays(c, f))
		return say(v, GROUND_CLASS, "5.7.1 Relaying denied");
	domain_spell(address_domain(rcpt), domain);
	if (!(r && r->route) && !config_route_for_domain(c, domain))
		return say(v, GROUND_NO_ROUTE, "5.4.4 No route to that domain");
	v->way = RULE_RELAY;
}

static int load(struct mta_match *const *m, size_t count, const struct bundle *b, char *why,
		size_t cap)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < count; i++) {
		if (m[i]->tables.count)
			rc = match_load(m[i], b, why, cap);
	}
	return rc;
}

int ruleset_load(struct mta_config *c, const struct bundle *b, char *why, size_t cap)
{
	struct mta_match *all[] = { &c->door.allow, &c->door.deny };
	char what[400];
	unsigned line;
	int rc = load(all, 2, b, why, cap);

	for (size_t i = 0; !rc && i < c->listener_count; i++) {
		struct mta_door *d = &c->listeners[i].door;
		struct mta_match *of_door[] = { &d->allow, &d->deny };

		rc = load(of_door, 2, b, why, cap);
	}
	for (size_t i = 0; !rc && i < c->rule_count; i++) {
		struct mta_match *of_rule[] = { &c->rules[i].clients, &c->rules[i].helo,
						&c->rules[i].senders, &c->rules[i].recipients };

		rc = load(of_rule, 4, b, why, cap);
	}
	if (rc || !ruleset_check(c, &line, what, sizeof(what)))
		return rc;
	snprintf(why, cap, "%s:%u: %s", c->path ? c->path : "mta.conf", line, what);
	return -EPERM;
}
