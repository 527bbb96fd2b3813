/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config_build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void route_defaults(struct mta_route *r, const struct mta_config *c, enum route_kind kind)
{
	bool quick = kind == ROUTE_TUNNEL || kind == ROUTE_DELIVER || kind == ROUTE_LMTP;

	r->kind = kind;
	r->trace = kind == ROUTE_TUNNEL;
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

static const char *const kind_names[] = { "tunnel", "mx", "smarthost", "deliver", "lmtp" };

/* How we say who we are. */
static void route_auth(struct builder *b, const struct conf_section *s, struct mta_route *r)
{
	bool external = conf_is_set(s, "auth") && conf_uint(s, "auth") == 1;
	const char *what = external ? "auth = external" : "username";

	r->auth_external = external;
	if (!r->username != !r->password_file)
		conf_error(b->conf, conf_line(s, r->username ? "username" : "password-file"),
			   "username and password-file stand together or not at all");
	if (conf_is_set(s, "auth") && !external && !r->username)
		conf_error(b->conf, conf_line(s, "auth"),
			   "auth = password without username; write username and password-file");
	if (external && r->username)
		conf_error(b->conf, conf_line(s, "auth"),
			   "auth = external beside username; write one of them");
	if (external && !r->certificate)
		conf_error(
		    b->conf, conf_line(s, "auth"),
		    "auth = external without certificate; write certificate and private-key");
	if (external && r->kind != ROUTE_SMARTHOST)
		conf_error(b->conf, conf_line(s, "auth"),
			   "auth = external on kind %s; allowed on smarthost", kind_names[r->kind]);
	if ((external || r->username) && (r->tls == TLS_NONE || r->tls == TLS_MAY))
		conf_error(b->conf, conf_line(s, external ? "auth" : "username"),
			   "%s with tls = %s; a %s goes over TLS only: encrypt, verify or pin",
			   what, r->tls == TLS_NONE ? "none" : "may",
			   external ? "certificate" : "password");
}

static void route_check(struct builder *b, const struct conf_section *s, struct mta_route *r)
{
	static const char *const need[] = { "peer", NULL, "address", NULL, "address" };
	bool has[] = { r->peer, true, r->addresses.count, true, r->addresses.count };

	if (!has[r->kind])
		conf_error(b->conf, s->line, "route \"%s\" without %s; write %s = ...", r->name,
			   need[r->kind], need[r->kind]);
	if (r->trace && r->kind != ROUTE_TUNNEL && r->kind != ROUTE_SMARTHOST)
		conf_error(b->conf, conf_line(s, "trace"),
			   "trace on kind %s; allowed on tunnel and smarthost",
			   kind_names[r->kind]);
	if (r->tls == TLS_PIN && !r->tls_pins.count)
		conf_error(b->conf, conf_line(s, "tls"),
			   "tls = pin without tls-pins; write tls-pins = ...");
	if (!r->certificate != !r->private_key)
		conf_error(b->conf, conf_line(s, r->certificate ? "certificate" : "private-key"),
			   "certificate and private-key stand together or not at all");
	if (r->certificate && r->tls == TLS_NONE)
		conf_error(
		    b->conf, conf_line(s, "certificate"),
		    "certificate with tls = none; allowed with may, encrypt, verify and pin");
	route_auth(b, s, r);
	if (r->tls_implicit && (r->tls == TLS_NONE || r->tls == TLS_MAY))
		conf_error(b->conf, conf_line(s, "tls-implicit"),
			   "tls-implicit with tls = %s; allowed with encrypt, verify and pin",
			   r->tls == TLS_NONE ? "none" : "may");
	for (size_t i = 0; i < r->domains.count; i++) {
		const char *d = r->domains.v[i];

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

/* What is said of TLS holds for routes that never go without it. */
static void route_tls(struct builder *b, const struct conf_section *s, struct mta_route *r)
{
	bool pinned = r->tls_pins.count && !conf_is_set(s, "tls");
	bool certain = r->tls != TLS_NONE && (r->tls != TLS_MAY || pinned);
	const char *tls = r->tls == TLS_NONE ? "none" : "may";

	if (cb_key_versions(b, &r->tls_versions, s) && !certain)
		conf_error(b->conf, conf_line(s, "tls-versions"),
			   "tls-versions with tls = %s; allowed with encrypt, verify and pin: else "
			   "mail would go in clear where the version is wrong",
			   tls);
	cb_key_ciphers(b, &r->tls_ciphers, s);
	if (r->tls_ciphers.count && !certain)
		conf_error(b->conf, conf_line(s, "tls-ciphers"),
			   "tls-ciphers with tls = %s; allowed with encrypt, verify and pin: else "
			   "mail would go in clear where there is none in common",
			   tls);
	cb_key_text(b, &r->ca_file, s, "ca-file");
	if (r->ca_file && r->tls != TLS_VERIFY)
		conf_error(b->conf, conf_line(s, "ca-file"),
			   "ca-file without tls = verify: nothing would be verified by it");
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
		conf_error(
		    b->conf, s->line,
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
	cb_key_domains(b, &r->domains, s, "domains", true);
	cb_key_strv(b, &r->addresses, s, "address");
	cb_key_pins(b, &r->tls_pins, s, "tls-pins");
	if (conf_is_set(s, "tls"))
		r->tls = (enum tls_policy)conf_uint(s, "tls");
	cb_key_bool(&r->tls_implicit, s, "tls-implicit");
	cb_key_text(b, &r->tls_name, s, "tls-name");
	cb_key_text(b, &r->certificate, s, "certificate");
	cb_key_text(b, &r->private_key, s, "private-key");
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
	cb_key_u32(&r->sessions_total, s, "sessions-total");
	cb_key_u32(&r->letters_per_session, s, "letters-per-session");
	r->delay_warning_ms = conf_uint(s, "delay-warning");
	cb_key_text(b, &r->backup, s, "backup");
	r->backup_after_ms = conf_uint(s, "backup-after");
	r->backup_outside = conf_bool(s, "backup-outside-tunnel");
	if (!r->backup && (conf_is_set(s, "backup-after") || r->backup_outside))
		conf_error(
		    b->conf,
		    conf_line(s, r->backup_outside ? "backup-outside-tunnel" : "backup-after"),
		    "without backup; write backup = [route NAME]");
	r->required_8bitmime = conf_bool(s, "require-8bitmime");
	cb_key_bool(&r->trace, s, "trace");
	if (conf_is_set(s, "port"))
		r->port = (uint16_t)conf_uint(s, "port");
	config_build_ends(b, s, r);
	route_tls(b, s, r);
	route_check(b, s, r);
}

/* From backup to backup; a circle that @r is not in is told at its own routes. */
static bool leads_to(const struct mta_config *c, const struct mta_route *from,
		     const struct mta_route *r)
{
	for (size_t steps = 0; from && from != r && steps < c->route_count; steps++)
		from = from->backup ? config_route(c, from->backup) : NULL;
	return from == r;
}

/*
 * A letter for behind the tunnel is there to be seen by nobody on the way. When the tunnel is down it waits; to
 * send it around the tunnel through the open Internet is what somebody may want, and nobody by accident.
 */
static void backup_check(struct builder *b, const struct mta_route *r)
{
	const struct conf_section *s = conf_find(b->conf, "route", r->name);
	const struct mta_route *to = config_route(b->c, r->backup);
	unsigned line = conf_line(s, "backup");

	if (!to) {
		conf_error(b->conf, line, "backup = %s; allowed: the name of a [route]", r->backup);
		return;
	}
	if (leads_to(b->c, to, r))
		conf_error(b->conf, line, "backup = %s leads back to route \"%s\"", r->backup,
			   r->name);
	if (r->kind == ROUTE_DELIVER || to->kind == ROUTE_DELIVER)
		conf_error(b->conf, line,
			   "backup = %s; a route of kind deliver neither has a backup nor is one",
			   r->backup);
	if (r->kind == ROUTE_TUNNEL && to->kind != ROUTE_TUNNEL && !r->backup_outside)
		conf_error(
		    b->conf, line,
		    "backup = %s leads out of the tunnel, where others may read the letters; "
		    "if that shall be, write backup-outside-tunnel = yes",
		    r->backup);
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
		/* An address that is written may be that of a host behind the peer. */
		r->tls_learn = r->kind == ROUTE_TUNNEL && r->tls == TLS_MAY &&
			       !r->addresses.count && !(s && conf_is_set(s, "tls"));
		if (!r->port)
			r->port = r->kind == ROUTE_LMTP	       ? 24
				  : r->kind != ROUTE_SMARTHOST ? 25
				  : r->tls_implicit	       ? 465
							       : 587;
		if (r->schedule.max_ms < r->schedule.first_ms)
			r->schedule.max_ms = r->schedule.first_ms;
		if (r->backup)
			backup_check(b, r);
	}
}
