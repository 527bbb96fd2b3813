/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Whom a route connects to, from which addresses of ours, and by what name. */
#include "config_build.h"

#include <stdlib.h>
#include <string.h>

#define DIGITS "0123456789"

static const char *const family_words[] = { "v6-first", "v4-first", "v6-only", "v4-only",
					    "balance" };

uint8_t route_families(const struct mta_route *r)
{
	uint8_t have = 0;

	for (size_t i = 0; i < r->source_count; i++)
		have |= r->sources[i].addr.family == AF_INET ? ROUTE_FAMILY4 : ROUTE_FAMILY6;
	if (!have)
		have = ROUTE_FAMILY4 | ROUTE_FAMILY6;
	if (r->family == FAMILY_V6_ONLY)
		have &= (uint8_t)~ROUTE_FAMILY4;
	if (r->family == FAMILY_V4_ONLY)
		have &= (uint8_t)~ROUTE_FAMILY6;
	return have;
}

static void source_check(struct builder *b, const struct mta_route *r, const struct conf_value *v)
{
	const struct addr *a = &v->addr;
	enum family_pref other = a->family == AF_INET ? FAMILY_V6_ONLY : FAMILY_V4_ONLY;

	if (addr_is_unspecified(a) || addr_is_loopback(a))
		conf_error(b->conf, v->line,
			   "source %s; allowed: addresses of this machine that the "
			   "world can answer to",
			   v->text);
	if (r->family == other)
		conf_error(b->conf, v->line,
			   "source %s with family = %s, which never uses it; "
			   "leave one of them out",
			   v->text, family_words[other]);
	for (size_t i = 0; i < r->source_count; i++)
		if (addr_eq(&r->sources[i].addr, a))
			conf_error(b->conf, v->line, "source %s stands twice", v->text);
}

static void build_sources(struct builder *b, const struct conf_section *s, struct mta_route *r)
{
	const struct conf_entry *e = conf_get(s, "source");

	if (e->count > ROUTE_SOURCES_MAX)
		conf_error(b->conf, e->line, "source has %zu addresses; allowed: at most %d",
			   e->count, ROUTE_SOURCES_MAX);
	for (size_t i = 0; i < e->count && i < ROUTE_SOURCES_MAX; i++) {
		struct route_source *to;

		source_check(b, r, &e->values[i]);
		to = cb_grow(b, &r->sources, &r->source_count, sizeof(*to));
		if (to)
			to->addr = e->values[i].addr;
	}
	if (r->kind == ROUTE_TUNNEL && e->count)
		conf_error(b->conf, e->line,
			   "source on kind tunnel; the tunnel address is always used");
	if (r->kind == ROUTE_DELIVER && e->count)
		conf_error(b->conf, e->line, "source on kind deliver, which connects to nobody");
}

static void build_helo(struct builder *b, const struct conf_section *s, struct mta_route *r)
{
	const struct conf_entry *e = conf_get(s, "helo");

	if (r->kind == ROUTE_DELIVER && e->count)
		conf_error(b->conf, e->line, "helo on kind deliver, which greets nobody");
	if (e->count > 1 && e->count != conf_get(s, "source")->count)
		conf_error(
		    b->conf, e->line,
		    "helo has %zu names and source %zu addresses; allowed: one name for all, "
		    "or one for each source in their order",
		    e->count, conf_get(s, "source")->count);
	if (e->count == 1)
		cb_set_text(b, &r->helo, e->values[0].text);
	for (size_t i = 0; e->count > 1 && i < e->count && i < r->source_count; i++)
		cb_set_text(b, &r->sources[i].helo, e->values[i].text);
}

int route_address_parse(const char *word, uint16_t port, struct endpoint *e,
			char name[static MTA_DOMAIN_MAX])
{
	const char *colon = strrchr(word, ':');
	size_t len = colon ? (size_t)(colon - word) : strlen(word);
	unsigned long p = port;

	name[0] = 0;
	*e = (struct endpoint){ .port = port };
	if (!endpoint_parse(word, port, e))
		return 0;
	if (colon && (!colon[1] || strspn(colon + 1, DIGITS) != strlen(colon + 1) ||
		      strlen(colon + 1) > 5 || !(p = strtoul(colon + 1, NULL, 10)) || p > 65535))
		return -1;
	if (!len || len >= MTA_DOMAIN_MAX || word[0] == '.' || word[0] == '-' ||
	    strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" DIGITS "-._") <
		len ||
	    strspn(word, DIGITS ".") >= len)
		return -1;
	memcpy(name, word, len);
	name[len] = 0;
	e->port = (uint16_t)p;
	return 0;
}

static void address_check(struct builder *b, const struct mta_route *r, const struct conf_value *v)
{
	char name[MTA_DOMAIN_MAX];
	struct endpoint e;

	if (r->kind == ROUTE_LMTP && v->text[0] == '/')
		return;
	if (route_address_parse(v->text, 25, &e, name) || (r->kind == ROUTE_TUNNEL && name[0])) {
		conf_error(b->conf, v->line,
			   "address \"%s\"; allowed: %s, with :PORT or without it", v->text,
			   r->kind == ROUTE_TUNNEL ? "an IP address behind the tunnel"
			   : r->kind == ROUTE_LMTP ? "a host, an IP address or the path of a socket"
						   : "a host or an IP address");
		return;
	}
	if (!name[0] &&
	    !(route_families(r) & (e.addr.family == AF_INET ? ROUTE_FAMILY4 : ROUTE_FAMILY6)))
		conf_error(
		    b->conf, v->line,
		    "address %s is of a family that the route does not use; see its family and "
		    "source",
		    v->text);
}

void config_build_ends(struct builder *b, const struct conf_section *s, struct mta_route *r)
{
	const struct conf_entry *e = conf_get(s, "address");

	build_sources(b, s, r);
	build_helo(b, s, r);
	if (e->count && (r->kind == ROUTE_MX || r->kind == ROUTE_DELIVER))
		conf_error(b->conf, e->line,
			   "address on kind %s; allowed with smarthost, lmtp and tunnel",
			   r->kind == ROUTE_MX ? "mx" : "deliver");
	else
		for (size_t i = 0; i < e->count; i++)
			address_check(b, r, &e->values[i]);
}
