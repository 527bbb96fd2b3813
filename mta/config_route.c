/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config_build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void route_defaults(struct mta_route *r, const struct mta_config *c, enum route_kind kind)
{
	bool quick = kind == ROUTE_TUNNEL || kind == ROUTE_DELIVER || kind == ROUTE_LMTP;

	r->kind = kind;
	r->tls = kind == ROUTE_SMARTHOST		       ? TLS_VERIFY
		 : kind == ROUTE_LMTP || kind == ROUTE_DELIVER ? TLS_NONE
							       : TLS_MAY;
	r->ttl_ms = (kind == ROUTE_TUNNEL ? 20ull : 5ull) * 86400000;
	r->schedule.kind = SCHEDULE_EXPONENTIAL;
	r->schedule.first_ms = quick ? 30000 : 300000;
	r->schedule.max_ms = kind == ROUTE_TUNNEL ? 600000 : quick ? 3600000 : 14400000;
	r->schedule.jitter_pct = 20;
	r->bounce = c->role == MTA_EDGE ? BOUNCE_VERIFIED : BOUNCE_AUTHENTICATED;
	r->sessions_max = kind == ROUTE_MX ? 5 : 4;
	r->letters_per_session = kind == ROUTE_MX ? 100 : 0;
}

static struct mta_route *route_new(struct builder *b, const char *name, enum route_kind kind)
{
	struct mta_config *c = b->c;
	struct mta_route *r = cb_grow(b, &c->routes, &c->route_count, sizeof(*r));

	if (!r)
		return NULL;
	snprintf(r->name, sizeof(r->name), "%s", name);
	route_defaults(r, c, kind);
	return r;
}

void config_preset_routes(struct builder *b)
{
	struct mta_config *c = b->c;
	struct mta_route *r;

	for (size_t i = 0; i < c->home_count; i++) {
		r = route_new(b, c->homes[i].name, ROUTE_TUNNEL);
		if (!r)
			return;
		r->preset = true;
		cb_set_text(b, &r->peer, c->homes[i].peer);
		for (size_t k = 0; k < c->homes[i].domains.count; k++)
			cb_strv_add(b, &r->domains, c->homes[i].domains.v[k]);
		for (size_t k = 0; k < c->homes[i].tls_pins.count; k++)
			cb_strv_add(b, &r->tls_pins, c->homes[i].tls_pins.v[k]);
	}
	if (c->deliver.domains.count) {
		r = route_new(b, "deliver", ROUTE_DELIVER);
		if (!r)
			return;
		r->preset = true;
		for (size_t k = 0; k < c->deliver.domains.count; k++)
			cb_strv_add(b, &r->domains, c->deliver.domains.v[k]);
	}
	if (c->role != MTA_EDGE && !c->edge)
		return;
	r = c->role == MTA_EDGE ? route_new(b, "internet", ROUTE_MX)
				: route_new(b, "edge", ROUTE_TUNNEL);
	if (!r)
		return;
	r->preset = true;
	cb_set_text(b, &r->peer, c->edge);
	cb_strv_add(b, &r->domains, "*");
}

static void route_check(struct builder *b, const struct conf_section *s, struct mta_route *r)
{
	static const char *const need[] = { "peer", NULL, "address", NULL, "address" };
	bool has[] = { r->peer, true, r->addresses.count, true, r->addresses.count };

	if (!has[r->kind])
		conf_error(b->conf, s->line, "route \"%s\" without %s; write %s = ...", r->name,
			   need[r->kind], need[r->kind]);
	if (r->tls == TLS_PIN && !r->tls_pins.count)
		conf_error(b->conf, conf_line(s, "tls"),
			   "tls = pin without tls-pins; write tls-pins = ...");
	if (!r->username != !r->password_file)
		conf_error(b->conf, conf_line(s, r->username ? "username" : "password-file"),
			   "username and password-file stand together or not at all");
	if (r->username && (r->tls == TLS_NONE || r->tls == TLS_MAY))
		conf_error(
		    b->conf, conf_line(s, "username"),
		    "username with tls = %s; a password goes over TLS only: encrypt, verify or pin",
		    r->tls == TLS_NONE ? "none" : "may");
	if (r->tls_implicit && (r->tls == TLS_NONE || r->tls == TLS_MAY))
		conf_error(b->conf, conf_line(s, "tls-implicit"),
			   "tls-implicit with tls = %s; allowed with encrypt, verify and pin",
			   r->tls == TLS_NONE ? "none" : "may");
	for (size_t i = 0; i < r->domains.count; i++) {
		const char *d = r->domains.v[i];

		if (strcmp(d, "*") &&
		    (strspn(d, "abcdefghijklmnopqrstuvwxyz0123456789-._") != strlen(d)))
			conf_error(b->conf, conf_line(s, "domains"),
				   "domains \"%s\"; allowed: a domain, or * for the rest", d);
		for (const struct mta_route *o = b->c->routes; o < r; o++) {
			if (strv_has(&o->domains, d))
				conf_error(
				    b->conf, conf_line(s, "domains"),
				    "domain %s goes by route \"%s\" already; allowed: one route", d,
				    o->name);
		}
	}
	if (b->c->role != MTA_EDGE && r->kind == ROUTE_MX)
		conf_error(
		    b->conf, conf_line(s, "kind"),
		    "route \"%s\" of kind mx; role home and workstation never send directly: "
		    "tunnel, smarthost, deliver or lmtp",
		    r->name);
}

static void route_source(struct builder *b, const struct conf_section *s, struct mta_route *r)
{
	const struct conf_entry *e = conf_get(s, "source");

	for (size_t i = 0; i < e->count; i++) {
		const struct addr *a = &e->values[i].addr;
		struct addr *to = a->family == AF_INET ? &r->source4 : &r->source6;

		if (to->family)
			conf_error(b->conf, e->values[i].line,
				   "source has two addresses of one family; allowed: one of each");
		*to = *a;
	}
	if (r->kind == ROUTE_TUNNEL && e->count)
		conf_error(b->conf, e->line,
			   "source on kind tunnel; the tunnel address is always used");
}

void config_build_route(struct builder *b, const struct conf_section *s)
{
	struct mta_config *c = b->c;
	struct mta_route *r = NULL;
	uint64_t kind = conf_uint(s, "kind");

	for (size_t i = 0; i < c->route_count && !r; i++) {
		if (!strcmp(c->routes[i].name, s->name))
			r = &c->routes[i];
	}
	if (r && conf_is_set(s, "kind") && kind != (uint64_t)r->kind)
		route_defaults(r, c, (enum route_kind)kind);
	if (!r && !conf_is_set(s, "kind")) {
		conf_error(b->conf, s->line,
			   "route \"%s\" without kind; allowed: tunnel, mx, smarthost, deliver, lmtp",
			   s->name);
		return;
	}
	if (!r && c->route_count == MTA_ROUTES_MAX) {
		conf_error(b->conf, s->line, "too many routes; allowed: %d", MTA_ROUTES_MAX);
		return;
	}
	if (!r)
		r = route_new(b, "", (enum route_kind)kind);
	if (!r)
		return;
	r->preset = false;
	cb_name_set(b, r->name, s);
	cb_key_text(b, &r->peer, s, "peer");
	cb_key_strv(b, &r->domains, s, "domains");
	for (size_t i = 0; i < r->domains.count; i++)
		cb_lower(r->domains.v[i]);
	cb_key_strv(b, &r->addresses, s, "address");
	cb_key_pins(b, &r->tls_pins, s);
	if (conf_is_set(s, "tls"))
		r->tls = (enum tls_policy)conf_uint(s, "tls");
	cb_key_bool(&r->tls_implicit, s, "tls-implicit");
	cb_key_text(b, &r->tls_name, s, "tls-name");
	cb_key_text(b, &r->username, s, "username");
	cb_key_text(b, &r->password_file, s, "password-file");
	r->family = (enum family_pref)conf_uint(s, "family");
	cb_key_u64(&r->ttl_ms, s, "ttl");
	r->schedule.kind = (enum schedule_kind)conf_uint(s, "schedule");
	cb_key_u64(&r->schedule.first_ms, s, "retry-first");
	cb_key_u64(&r->schedule.max_ms, s, "retry-max");
	r->schedule.jitter_pct = (uint8_t)conf_uint(s, "retry-jitter");
	if (conf_is_set(s, "bounce"))
		r->bounce = (enum bounce_policy)conf_uint(s, "bounce");
	cb_key_u32(&r->sessions_max, s, "sessions-max");
	cb_key_u32(&r->letters_per_session, s, "letters-per-session");
	r->delay_warning_ms = conf_uint(s, "delay-warning");
	r->required_8bitmime = conf_bool(s, "require-8bitmime");
	if (conf_is_set(s, "port"))
		r->port = (uint16_t)conf_uint(s, "port");
	route_source(b, s, r);
	route_check(b, s, r);
}

/* What follows from the rest of a route, preset or written. */
void config_finish_routes(struct builder *b)
{
	struct mta_config *c = b->c;

	for (size_t i = 0; i < c->route_count; i++) {
		struct mta_route *r = &c->routes[i];
		const struct conf_section *s = conf_find(b->conf, "route", r->name);

		if (r->tls_pins.count && r->tls == TLS_MAY && !(s && conf_is_set(s, "tls")))
			r->tls = TLS_PIN;
		if (!r->port)
			r->port = r->kind == ROUTE_LMTP	       ? 24
				  : r->kind != ROUTE_SMARTHOST ? 25
				  : r->tls_implicit	       ? 465
							       : 587;
		if (r->schedule.max_ms < r->schedule.first_ms)
			r->schedule.max_ms = r->schedule.first_ms;
	}
}
