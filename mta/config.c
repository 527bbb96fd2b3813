/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config_build.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "domain.h"
#include "match.h"

bool strv_has(const struct strv *s, const char *word)
{
	for (size_t i = 0; i < s->count; i++) {
		if (!strcmp(s->v[i], word))
			return true;
	}
	return false;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int pin_parse(const char *hex, uint8_t sha256[static 32])
{
	for (size_t i = 0; i < 32; i++) {
		int hi, lo;

		if (i && *hex == ':')
			hex++;
		hi = hex_digit(hex[0]);
		lo = hi < 0 ? -1 : hex_digit(hex[1]);
		if (lo < 0)
			return -EINVAL;
		sha256[i] = (uint8_t)(hi << 4 | lo);
		hex += 2;
	}
	return *hex ? -EINVAL : 0;
}

void cb_strv_clear(struct strv *s)
{
	for (size_t i = 0; i < s->count; i++)
		free(s->v[i]);
	free(s->v);
	*s = (struct strv){ 0 };
}

static void free_listener(struct mta_listener *l)
{
	free(l->addresses);
	free(l->hostname);
	cb_strv_clear(&l->certificates);
	cb_strv_clear(&l->private_keys);
	cb_strv_clear(&l->tls_ciphers);
	free(l->client_ca);
	cb_strv_clear(&l->client_pins);
	for (size_t i = 0; i < l->client_login_count; i++) {
		free(l->client_logins[i].login);
		free(l->client_logins[i].name);
	}
	free(l->client_logins);
	match_clear(&l->door.allow);
	match_clear(&l->door.deny);
	free(l->networks);
	free(l->trace_clients);
}

static void free_route(struct mta_route *r)
{
	free(r->peer);
	cb_strv_clear(&r->domains);
	cb_strv_clear(&r->addresses);
	for (size_t i = 0; i < r->source_count; i++)
		free(r->sources[i].helo);
	free(r->sources);
	free(r->helo);
	free(r->tls_name);
	free(r->ca_file);
	cb_strv_clear(&r->tls_ciphers);
	free(r->backup);
	cb_strv_clear(&r->tls_pins);
	free(r->certificate);
	free(r->private_key);
	free(r->username);
	free(r->password_file);
}

static void free_rule(struct mta_rule *r)
{
	cb_strv_clear(&r->listeners);
	match_clear(&r->clients);
	cb_strv_clear(&r->peers);
	match_clear(&r->helo);
	match_clear(&r->senders);
	match_clear(&r->recipients);
	free(r->route);
	free(r->message);
}

void config_free(struct mta_config *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->listener_count; i++)
		free_listener(&c->listeners[i]);
	for (size_t i = 0; i < c->home_count; i++) {
		free(c->homes[i].peer);
		cb_strv_clear(&c->homes[i].domains);
		free(c->homes[i].recipients);
		cb_strv_clear(&c->homes[i].tls_pins);
	}
	for (size_t i = 0; i < c->route_count; i++)
		free_route(&c->routes[i]);
	for (size_t i = 0; i < c->rule_count; i++)
		free_rule(&c->rules[i]);
	free(c->listeners);
	free(c->homes);
	free(c->routes);
	free(c->rules);
	cb_strv_clear(&c->deliver.domains);
	cb_strv_clear(&c->deliver.virtual_domains);
	free(c->deliver.users);
	free(c->deliver.aliases);
	free(c->deliver.maildir);
	free(c->deliver.pipe);
	free(c->srs.domain);
	free(c->srs.secret_file);
	free(c->deliver.socket);
	free(c->deliver.catch_all);
	free(c->dns_servers);
	free(c->dns_root_hints);
	free(c->dns_trust_anchor);
	free(c->path);
	free(c->hostname);
	free(c->run_dir);
	free(c->state_dir);
	free(c->events);
	free(c->user);
	free(c->queue_user);
	free(c->admin_group);
	free(c->edge);
	free(c->users);
	free(c->certificate);
	free(c->private_key);
	free(c->ca_file);
	free(c->dead_letter_report);
	match_clear(&c->door.allow);
	match_clear(&c->door.deny);
	free(c->log_level);
	free(c->metrics);
	free(c);
}

const struct mta_route *config_route(const struct mta_config *c, const char *name)
{
	for (size_t i = 0; i < c->route_count; i++) {
		if (!strcmp(c->routes[i].name, name))
			return &c->routes[i];
	}
	return NULL;
}

const struct mta_home *config_home(const struct mta_config *c, const char *name)
{
	for (size_t i = 0; i < c->home_count; i++) {
		if (!strcmp(c->homes[i].name, name))
			return &c->homes[i];
	}
	return NULL;
}

const struct mta_home *config_home_by_peer(const struct mta_config *c, const char *peer)
{
	for (size_t i = 0; i < c->home_count; i++) {
		if (!strcmp(c->homes[i].peer, peer))
			return &c->homes[i];
	}
	return NULL;
}

const struct mta_home *config_home_by_domain(const struct mta_config *c, const char *domain)
{
	for (size_t i = 0; i < c->home_count; i++) {
		if (strv_has(&c->homes[i].domains, domain))
			return &c->homes[i];
	}
	return NULL;
}

const struct mta_route *config_route_for_domain(const struct mta_config *c, const char *domain)
{
	const struct mta_route *rest = NULL;

	for (size_t i = 0; i < c->route_count; i++) {
		if (strv_has(&c->routes[i].domains, domain))
			return &c->routes[i];
		if (strv_has(&c->routes[i].domains, "*"))
			rest = &c->routes[i];
	}
	return rest;
}

bool config_is_virtual(const struct mta_config *c, const char *domain)
{
	return strv_has(&c->deliver.virtual_domains, domain);
}

bool config_is_local(const struct mta_config *c, const char *domain)
{
	return strv_has(&c->deliver.domains, domain);
}

bool config_is_ours(const struct mta_config *c, const char *domain)
{
	char spelled[MTA_DOMAIN_MAX];

	if (strlen(domain) >= sizeof(spelled))
		return false;
	domain_spell(domain, spelled);
	return config_is_local(c, spelled) || config_home_by_domain(c, spelled);
}

bool config_user_gets_mail(uint32_t uid_min, uint32_t uid, uint32_t gid)
{
	/* 65535 and UINT32_MAX: "no user" of system calls, in 16 and in 32 bits. */
	return uid && gid && uid >= uid_min && uid != 65534 && uid != 65535 && uid != UINT32_MAX;
}
