/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config_build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
	c->queue_volatile = conf_bool(s, "queue-volatile");
	c->received_max = (uint32_t)conf_uint(s, "received-max");
	cb_set_text(b, &c->log_level, levels[conf_uint(s, "log-level")]);
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
	cb_key_strv(b, &h->domains, s, "domains");
	cb_key_text(b, &h->recipients, s, "recipients");
	h->recipients_any = !conf_bool(s, "check-recipients");
	h->queue_max_bytes = conf_uint(s, "queue-max");
	h->rate_per_hour = (uint32_t)conf_uint(s, "rate-per-hour");
	h->subaddress = cb_key_subaddress(s);
	cb_key_pins(b, &h->tls_pins, s);
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

static bool below_home(const char *dir)
{
	return *dir && *dir != '/' && strcmp(dir, "..") && strncmp(dir, "../", 3) &&
	       !strstr(dir, "/../") && (strlen(dir) < 3 || strcmp(dir + strlen(dir) - 3, "/.."));
}

static void build_deliver(struct builder *b, const struct conf_section *s)
{
	struct mta_deliver *d = &b->c->deliver;
	char path[4096];

	cb_key_strv(b, &d->domains, s, "domains");
	cb_key_text(b, &d->users, s, "users");
	cb_key_text(b, &d->aliases, s, "aliases");
	d->system_users = conf_bool(s, "system-users");
	d->uid_min = (uint32_t)conf_uint(s, "uid-min");
	cb_key_text(b, &d->maildir, s, "maildir");
	d->subaddress = cb_key_subaddress(s);
	snprintf(path, sizeof(path), "%s/deliver.sock", b->c->run_dir);
	cb_set_text(b, &d->socket, conf_is_set(s, "socket") ? conf_text(s, "socket") : path);
	cb_key_text(b, &d->catch_all, s, "catch-all");
	if (d->maildir && !below_home(d->maildir))
		conf_error(b->conf, conf_line(s, "maildir"),
			   "maildir \"%s\"; allowed: a directory below the user's home",
			   d->maildir);
	if (!d->users && !d->system_users)
		conf_error(b->conf, conf_line(s, "system-users"),
			   "system-users = no without users; nobody could get mail");
	domains_claim(b, s, &d->domains, NULL);
}

/* ---- [rule] ---- */

static bool listener_word(const struct mta_config *c, const char *word)
{
	for (size_t i = 0; i < CONF_COUNT(class_names); i++) {
		if (!strcmp(class_names[i], word))
			return true;
	}
	for (size_t i = 0; i < c->listener_count; i++) {
		if (!strcmp(c->listeners[i].name, word))
			return true;
	}
	return false;
}

static void rule_check(struct builder *b, const struct conf_section *s, const struct mta_rule *r)
{
	for (size_t i = 0; i < r->listeners.count; i++) {
		if (!listener_word(b->c, r->listeners.v[i]))
			conf_error(b->conf, conf_line(s, "listeners"),
				   "listeners \"%s\"; allowed: the name of a listener or a class",
				   r->listeners.v[i]);
	}
	if (r->route && !config_route(b->c, r->route))
		conf_error(b->conf, conf_line(s, "route"),
			   "route \"%s\" does not exist; allowed: the name "
			   "of a [route]",
			   r->route);
	if (r->route && r->action != RULE_ACCEPT)
		conf_error(b->conf, conf_line(s, "route"), "route on a rule that does not accept");
	if (r->message && r->action == RULE_ACCEPT)
		conf_error(b->conf, conf_line(s, "message"), "message on a rule that accepts");
	/* Anyone to anyone is an open relay, whatever else was meant by it. */
	if (r->action == RULE_ACCEPT && !r->client_count && !r->peers.count &&
	    r->authenticated != 1 && !r->recipients.count)
		conf_error(
		    b->conf, s->line,
		    "rule \"%s\" accepts from anyone to anyone (an open relay); write at least "
		    "one of clients, peers, authenticated = yes, recipients",
		    r->name);
}

static void build_rule(struct builder *b, const struct conf_section *s)
{
	struct mta_config *c = b->c;
	struct mta_rule *r;

	if (c->rule_count == MTA_RULES_MAX) {
		conf_error(b->conf, s->line, "too many rules; allowed: %d", MTA_RULES_MAX);
		return;
	}
	r = cb_grow(b, &c->rules, &c->rule_count, sizeof(*r));
	if (!r)
		return;
	cb_name_set(b, r->name, s);
	r->line = s->line;
	r->action = (enum rule_action)conf_uint(s, "action");
	cb_key_strv(b, &r->listeners, s, "listeners");
	cb_key_prefixes(b, &r->clients, &r->client_count, s, "clients");
	cb_key_strv(b, &r->peers, s, "peers");
	r->authenticated = conf_is_set(s, "authenticated") ? conf_bool(s, "authenticated") : -1;
	r->tls = conf_is_set(s, "tls") ? conf_bool(s, "tls") : -1;
	cb_key_strv(b, &r->senders, s, "senders");
	cb_key_strv(b, &r->recipients, s, "recipients");
	cb_key_text(b, &r->route, s, "route");
	cb_key_text(b, &r->message, s, "message");
	rule_check(b, s, r);
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

	if (c->role != MTA_EDGE && !config_route_for_domain(c, "*"))
		conf_error(b->conf, s ? s->line : 0,
			   "no way out; write edge = PEER, or a [route] with domains = *");
	if (!c->tunnel && (c->edge || c->home_count))
		conf_error(b->conf, s ? conf_line(s, "tunnel") : 0,
			   "tunnel = no, but edge or [home] needs it");
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
	config_preset_routes(&b);
	each(&b, "route", config_build_route);
	config_finish_routes(&b);
	each(&b, "rule", build_rule);
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
