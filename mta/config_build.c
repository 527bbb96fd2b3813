/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config_build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ruleset.h"
#include "template.h"

#define DAY_MS 86400000u

/* ---- [mta] ---- */

static void build_mta(struct builder *b, const struct conf_section *s)
{
	static const char *const levels[] = { "err", "warn", "info", "debug" };
	struct mta_config *c = b->c;
	const struct conf_entry *servers = conf_get(s, "dns-servers");
	char path[4096];

	c->role = (enum mta_role)conf_uint(s, "role");
	cb_key_text(b, &c->hostname, s, "hostname");
	cb_key_text(b, &c->run_dir, s, "run-dir");
	cb_key_text(b, &c->state_dir, s, "state-dir");
	snprintf(path, sizeof(path), "%s/events.sock", c->run_dir ? c->run_dir : "");
	cb_set_text(b, &c->events, conf_is_set(s, "events") ? conf_text(s, "events") : path);
	c->tunnel = conf_bool(s, "tunnel");
	cb_key_text(b, &c->edge, s, "edge");
	cb_key_text(b, &c->user, s, "user");
	cb_key_text(b, &c->queue_user, s, "queue-user");
	cb_key_text(b, &c->admin_group, s, "admin-group");
	cb_key_text(b, &c->users, s, "users");
	cb_key_text(b, &c->certificate, s, "certificate");
	cb_key_text(b, &c->private_key, s, "private-key");
	cb_key_text(b, &c->ca_file, s, "ca-file");
	c->size_max_bytes = conf_uint(s, "size-max");
	c->queue_reserve_bytes = conf_uint(s, "queue-reserve");
	c->cut_through = conf_uint(s, "queue") == 1;
	c->queue_volatile = conf_bool(s, "queue-volatile");
	cb_key_text(b, &c->dead_letter_report, s, "dead-letter-report");
	c->received_max = (uint32_t)conf_uint(s, "received-max");
	cb_key_door(b, &c->door, s);
	cb_set_text(b, &c->log_level, levels[conf_uint(s, "log-level")]);
	cb_key_text(b, &c->metrics, s, "metrics");
	c->dns = conf_is_set(s, "dns") ? (enum dns_mode)conf_uint(s, "dns")
		 : c->role == MTA_EDGE ? DNS_RECURSE
				       : DNS_SYSTEM;
	cb_key_text(b, &c->dns_root_hints, s, "dns-root-hints");
	cb_key_text(b, &c->dns_trust_anchor, s, "dns-trust-anchor");
	c->dns_timeout_ms = (uint32_t)conf_uint(s, "dns-timeout");
	for (size_t i = 0; i < servers->count; i++) {
		struct endpoint *e = cb_grow(b, &c->dns_servers, &c->dns_server_count, sizeof(*e));

		if (e)
			*e = servers->values[i].endpoint;
	}
	if (c->dns == DNS_FORWARD && !servers->count)
		conf_error(b->conf, conf_line(s, "dns"),
			   "dns = forward without dns-servers; write dns-servers = ADDRESS");
	if (c->dns != DNS_FORWARD && servers->count)
		conf_error(b->conf, servers->line,
			   "dns-servers without dns = forward; write dns = forward");
	if (!c->certificate != !c->private_key)
		conf_error(b->conf, conf_line(s, c->certificate ? "certificate" : "private-key"),
			   "certificate and private-key stand together or not at all");
	if (c->dead_letter_report && c->cut_through)
		conf_error(b->conf, conf_line(s, "dead-letter-report"),
			   "dead-letter-report beside queue = none; that keeps no letters");
	if (c->edge && c->role == MTA_EDGE)
		conf_error(b->conf, conf_line(s, "edge"),
			   "edge = %s on role edge; allowed for home and workstation", c->edge);
	if (!strcmp(c->user ? c->user : "", c->queue_user ? c->queue_user : "-"))
		conf_error(
		    b->conf, conf_line(s, "queue-user"),
		    "queue-user is the same as user; the queue belongs to a user of its own");
}

/* ---- [home], [deliver] ---- */

/* Each domain has one owner, or mail for it would go by the order of a file. */
static void domains_claim(struct builder *b, const struct conf_section *s,
			  const struct strv *domains, const struct mta_home *self)
{
	const struct mta_config *c = b->c;

	for (size_t i = 0; i < domains->count; i++) {
		const struct mta_home *h = config_home_by_domain(c, domains->v[i]);

		if (h && h != self)
			conf_error(b->conf, conf_line(s, "domains"),
				   "domain %s belongs to [home %s] already; allowed: one owner",
				   domains->v[i], h->name);
		if (self && config_is_local(c, domains->v[i]))
			conf_error(b->conf, conf_line(s, "domains"),
				   "domain %s belongs to [deliver] already; allowed: one owner",
				   domains->v[i]);
	}
}

static void build_home(struct builder *b, const struct conf_section *s)
{
	struct mta_config *c = b->c;
	struct mta_home *h;

	if (c->role != MTA_EDGE)
		conf_error(b->conf, s->line, "[home %s] on role %s; allowed on role edge", s->name,
			   c->role == MTA_HOME ? "home" : "workstation");
	if (c->home_count == MTA_HOMES_MAX) {
		conf_error(b->conf, s->line, "too many homes; allowed: %d", MTA_HOMES_MAX);
		return;
	}
	h = cb_grow(b, &c->homes, &c->home_count, sizeof(*h));
	if (!h)
		return;
	cb_name_set(b, h->name, s);
	cb_set_text(b, &h->peer, conf_is_set(s, "peer") ? conf_text(s, "peer") : s->name);
	cb_key_domains(b, &h->domains, s, "domains", false);
	cb_key_text(b, &h->recipients, s, "recipients");
	h->recipients_any = !conf_bool(s, "check-recipients");
	h->queue_max_bytes = conf_uint(s, "queue-max");
	cb_key_u64(&h->size_max_bytes, s, "size-max");
	h->rate_per_hour = (uint32_t)conf_uint(s, "rate-per-hour");
	h->subaddress = cb_key_subaddress(s);
	cb_key_pins(b, &h->tls_pins, s, "tls-pins");
	if (h->recipients && h->recipients_any)
		conf_error(b->conf, conf_line(s, "check-recipients"),
			   "check-recipients = no beside recipients; write one of them");
	for (size_t i = 0; i + 1 < c->home_count; i++) {
		if (!strcmp(c->homes[i].peer ? c->homes[i].peer : "", h->peer ? h->peer : ""))
			conf_error(b->conf, conf_line(s, "peer"),
				   "peer %s is [home %s] already; allowed: one home for a peer",
				   h->peer, c->homes[i].name);
	}
	domains_claim(b, s, &h->domains, h);
}

static void build_deliver(struct builder *b, const struct conf_section *s)
{
	struct mta_deliver *d = &b->c->deliver;
	char path[4096], why[200];

	cb_key_domains(b, &d->domains, s, "domains", false);
	cb_key_domains(b, &d->virtual_domains, s, "virtual-domains", false);
	for (size_t i = 0; i < d->virtual_domains.count; i++) {
		if (!config_is_local(b->c, d->virtual_domains.v[i]))
			cb_strv_add(b, &d->domains, d->virtual_domains.v[i]);
	}
	cb_key_text(b, &d->users, s, "users");
	cb_key_text(b, &d->aliases, s, "aliases");
	d->system_users = conf_bool(s, "system-users");
	d->uid_min = (uint32_t)conf_uint(s, "uid-min");
	cb_key_text(b, &d->maildir, s, "maildir");
	d->subaddress = cb_key_subaddress(s);
	snprintf(path, sizeof(path), "%s/deliver.sock", b->c->run_dir);
	cb_set_text(b, &d->socket, conf_is_set(s, "socket") ? conf_text(s, "socket") : path);
	cb_key_text(b, &d->catch_all, s, "catch-all");
	cb_key_text(b, &d->pipe, s, "pipe");
	d->quota_bytes = conf_uint(s, "quota");
	d->quota_letters = conf_uint(s, "quota-letters");
	d->refuse_full = conf_uint(s, "over-quota");
	if (d->maildir && template_dir_check(d->maildir, why, sizeof(why)))
		conf_error(b->conf, conf_line(s, "maildir"),
			   "maildir \"%s\": %s; allowed: a directory below the user's home",
			   d->maildir, why);
	if (d->pipe && template_command_check(d->pipe, why, sizeof(why)))
		conf_error(b->conf, conf_line(s, "pipe"), "pipe: %s", why);
	if (!d->users && !d->system_users)
		conf_error(b->conf, conf_line(s, "system-users"),
			   "system-users = no without users; nobody could get mail");
	domains_claim(b, s, &d->domains, NULL);
}

static void build_srs(struct builder *b, const struct conf_section *s)
{
	struct mta_srs *r = &b->c->srs;

	cb_key_text(b, &r->domain, s, "domain");
	cb_key_text(b, &r->secret_file, s, "secret-file");
	r->max_age_days = (uint32_t)(conf_uint(s, "max-age") / DAY_MS);
	if (r->domain && !config_is_ours(b->c, r->domain))
		conf_error(
		    b->conf, conf_line(s, "domain"),
		    "domain %s is of no [deliver] and no [home]; what comes back would not be "
		    "known again",
		    r->domain);
}

/* ---- the whole ---- */

static void each(struct builder *b, const char *kind,
		 void (*fn)(struct builder *b, const struct conf_section *s))
{
	const struct conf_section *s = NULL;

	while ((s = conf_next(b->conf, kind, s)))
		fn(b, s);
}

static void check_whole(struct builder *b)
{
	const struct mta_config *c = b->c;
	const struct conf_section *s = conf_find(b->conf, "mta", "");
	char why[512];
	unsigned line;

	if (c->role != MTA_EDGE && !config_route_for_domain(c, "*"))
		conf_error(b->conf, s ? s->line : 0,
			   "no way out; write edge = PEER, or a [route] with domains = *");
	if (!c->tunnel && (c->edge || c->home_count))
		conf_error(b->conf, s ? conf_line(s, "tunnel") : 0,
			   "tunnel = no, but edge or [home] needs it");
	if (ruleset_check(c, &line, why, sizeof(why)))
		conf_error(b->conf, line, "%s", why);
}

struct mta_config *config_new(struct conf *conf)
{
	struct builder b = { .conf = conf };

	if (!conf_ok(conf))
		return NULL;
	b.c = calloc(1, sizeof(*b.c));
	if (!b.c)
		return NULL;
	cb_set_text(&b, &b.c->path, conf->path);
	each(&b, "mta", build_mta);
	each(&b, "listener", config_build_listener);
	if (conf_ok(conf))
		config_preset_listeners(&b);
	each(&b, "home", build_home);
	each(&b, "deliver", build_deliver);
	each(&b, "srs", build_srs);
	config_preset_routes(&b);
	each(&b, "route", config_build_route);
	config_finish_routes(&b);
	each(&b, "rule", config_build_rule);
	if (conf_ok(conf))
		check_whole(&b);
	if (!conf_ok(conf) || b.nomem) {
		if (b.nomem)
			conf_error(conf, 0, "out of memory");
		config_free(b.c);
		return NULL;
	}
	return b.c;
}
