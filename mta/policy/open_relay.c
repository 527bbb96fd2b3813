/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: who relays from anybody to anywhere is used for spam within the hour, so such a configuration
 * is refused, whichever way it comes to be. A rule that accepts is safe when it names
 *
 *	somebody	a login, a tunnel peer, listeners whose clients are known by either or by
 *			client-pins, or networks that are not a large part of the internet
 *	or somewhere	recipients in domains that stand there, not whole top-level domains, and
 *			expressions only where the end of the expression is a domain
 *
 * HELO, sender and TLS are what the client says: they name nobody. Tables count as if their lines stood
 * in the file.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ere.h"
#include "match.h"
#include "ruleset.h"

/* Such a share of a family's addresses, a /7 or /16, is no network of one owner, however it is cut up. */
#define V4_SHARE_BITS 7
#define V6_SHARE_BITS 16

/* Where all of IPv4 stands inside of IPv6: 6to4, Teredo by its servers, NAT64. */
static const struct {
	uint8_t net[12];
	uint8_t len;
} embeds[] = {
	{ { 0x20, 0x02 }, 16 },
	{ { 0x20, 0x01, 0, 0 }, 32 },
	{ { 0, 0x64, 0xff, 0x9b }, 96 },
};

static bool is_private(const struct prefix *p)
{
	struct addr last = p->addr;

	for (unsigned i = p->len; i < addr_bits(&p->addr); i++)
		last.b[i / 8] |= (uint8_t)(0x80 >> i % 8);
	return addr_is_private(&p->addr) && addr_is_private(&last);
}

/* In units of 2^-32. */
static uint64_t share_of(unsigned len)
{
	return len > 32 ? 0 : 1ull << (32 - len);
}

/* How much of IPv4 this IPv6 prefix holds. */
static uint64_t embedded(const struct prefix *p)
{
	for (size_t i = 0; i < sizeof(embeds) / sizeof(*embeds); i++) {
		if (p->len >= embeds[i].len && !memcmp(p->addr.b, embeds[i].net, embeds[i].len / 8))
			return share_of(p->len - embeds[i].len);
	}
	return 0;
}

/* Do these prefixes together hold so much of the internet that they name nobody? */
static bool anybody(const struct prefix *p, size_t count)
{
	uint64_t v4 = 0, v6 = 0;

	for (size_t i = 0; i < count; i++) {
		if (is_private(&p[i]) || addr_is_loopback(&p[i].addr))
			continue;
		if (p[i].addr.family == AF_INET) {
			v4 += share_of(p[i].len);
			continue;
		}
		v4 += embedded(&p[i]);
		v6 += share_of(p[i].len);
	}
	return v4 >= 1ull << (32 - V4_SHARE_BITS) || v6 >= 1ull << (32 - V6_SHARE_BITS);
}

/* Are the clients of every listener that the rule names known before a rule is asked? */
static bool known_listeners(const struct mta_config *c, const struct mta_rule *r)
{
	for (size_t i = 0; i < c->listener_count; i++) {
		const struct mta_listener *l = &c->listeners[i];

		/* Keys that are written down are somebody's; an authority may sign for the whole world. */
		bool pinned = l->client_cert == CLIENT_CERT_VERIFY && !l->client_ca;

		if ((l->class == LISTEN_MX || l->class == LISTEN_LAN) && !pinned &&
		    ruleset_names_listener(r, l))
			return false;
	}
	return r->listeners.count;
}

static bool names_somebody(const struct mta_config *c, const struct mta_rule *r)
{
	if (r->peers.count || r->authenticated == 1 || known_listeners(c, r))
		return true;
	return match_written(&r->clients) &&
	       !anybody(r->clients.list.prefix, r->clients.list.prefix_count);
}

/* NULL: recipients are named. Else what names none of them. */
static const char *names_nowhere(const struct mta_rule *r, char *out, size_t cap)
{
	const struct mta_match *m = &r->recipients;
	char domain[ERE_PATTERN_MAX + 1];

	out[0] = 0;
	if (!match_written(m))
		return out;
	for (size_t i = 0; i < m->list.word_count; i++) {
		const char *w = m->list.word[i];

		if (w[0] == '.' && !strchr(w + 1, '.')) {
			snprintf(out, cap, "recipients \"@%s\" are a whole top-level domain; ", w);
			return out;
		}
	}
	for (size_t i = 0; i < m->ere_count; i++) {
		if (ere_domain(m->ere[i], domain))
			continue;
		snprintf(out, cap,
			 "recipients-regex \"%.100s\" may mean any domain, end it with one, as "
			 "\".*@example[.]net\"; ",
			 ere_pattern(m->ere[i]));
		return out;
	}
	return NULL;
}

int ruleset_check(const struct mta_config *c, unsigned *line, char *why, size_t cap)
{
	char nowhere[300];

	for (size_t i = 0; i < c->listener_count; i++) {
		const struct mta_listener *l = &c->listeners[i];

		if (l->class != LISTEN_LAN || !anybody(l->networks, l->network_count))
			continue;
		*line = l->line;
		snprintf(why, cap,
			 "listener \"%s\" relays for the whole internet (an open relay); write the "
			 "networks of your own",
			 l->name);
		return -EPERM;
	}
	for (size_t i = 0; i < c->rule_count; i++) {
		const struct mta_rule *r = &c->rules[i];

		if (r->action != RULE_ACCEPT || names_somebody(c, r) ||
		    !names_nowhere(r, nowhere, sizeof(nowhere)))
			continue;
		*line = r->line;
		snprintf(why, cap,
			 "rule \"%s\" accepts from anyone to anyone (an open relay); %swrite at "
			 "least one "
			 "of clients of your own, peers, authenticated = yes, recipients",
			 r->name, nowhere);
		return -EPERM;
	}
	return 0;
}
