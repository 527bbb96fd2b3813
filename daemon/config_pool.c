/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Sections [pool NAME], and what a peer takes from them. */
#include "config.h"
#include "config_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- taking ---- */

static int take_addrs(const struct conf_section *s, const char *key, struct addr **list,
		      size_t *count)
{
	const struct conf_entry *e = conf_get(s, key);

	*count = e->count;
	*list = e->count ? calloc(e->count, sizeof(**list)) : NULL;
	for (size_t i = 0; *list && i < e->count; i++)
		(*list)[i] = e->values[i].addr;
	return *list || !e->count ? 0 : -ENOMEM;
}

int config_take_pools(struct config *cfg)
{
	const struct conf_section *s = NULL;
	size_t n = 0;

	while ((s = conf_next(cfg->conf, "pool", s)))
		n++;
	cfg->pools = calloc(n + 1, sizeof(*cfg->pools));
	if (!cfg->pools)
		return -ENOMEM;
	while ((s = conf_next(cfg->conf, "pool", s))) {
		struct config_pool *p = &cfg->pools[cfg->pool_count++];
		const struct conf_entry *e = conf_get(s, "addresses");

		p->name = s->name;
		p->line = s->line;
		p->prefix_count = e->count;
		p->prefixes = calloc(e->count + 1, sizeof(*p->prefixes));
		if (!p->prefixes || take_addrs(s, "dns", &p->dns, &p->dns_count))
			return -ENOMEM;
		for (size_t i = 0; i < e->count; i++)
			p->prefixes[i] = e->values[i].prefix;
	}
	return 0;
}

int config_take_pool(struct config *cfg, struct config_peer *p, const struct conf_section *s)
{
	const char *name = conf_text(s, "pool");

	for (size_t i = 0; name && i < cfg->pool_count; i++)
		if (!strcmp(cfg->pools[i].name, name))
			p->pool = &cfg->pools[i];
	if (take_addrs(s, "dns", &p->own_dns, &p->dns_count))
		return -ENOMEM;
	p->dns = p->own_dns;
	if (!p->dns_count && p->pool) {
		p->dns = p->pool->dns;
		p->dns_count = p->pool->dns_count;
	}
	return 0;
}

void config_free_pools(struct config *cfg)
{
	for (size_t i = 0; i < cfg->pool_count; i++) {
		free(cfg->pools[i].prefixes);
		free(cfg->pools[i].dns);
	}
	free(cfg->pools);
}

bool config_pool_has(const struct config_pool *p, int family)
{
	for (size_t i = 0; p && i < p->prefix_count; i++)
		if (p->prefixes[i].addr.family == family)
			return true;
	return false;
}

/* ---- judging ---- */

bool config_addr_unicast(const struct addr *a)
{
	return !addr_is_unspecified(a) && !addr_is_loopback(a) && a->b[0] != 0xff &&
	       !(a->family == AF_INET && a->b[0] >= 224);
}

static void check_dns(struct config *cfg, const struct conf_section *s, const char *kind)
{
	const struct conf_entry *e = conf_get(s, "dns");
	char text[ADDR_STR_MAX];

	if (e->count > CONFIG_DNS_MAX)
		conf_error(cfg->conf, conf_line(s, "dns"),
			   "%zu name servers for [%s %s]; allowed: "
			   "up to %d",
			   e->count, kind, s->name, CONFIG_DNS_MAX);
	for (size_t i = 0; i < e->count; i++) {
		if (!config_addr_unicast(&e->values[i].addr))
			conf_error(cfg->conf, e->values[i].line,
				   "dns = %s: no address at which a peer could ask",
				   addr_str(&e->values[i].addr, text));
	}
}

void config_check_pools(struct config *cfg)
{
	const struct conf_section *s = NULL;

	while ((s = conf_next(cfg->conf, "pool", s))) {
		const struct conf_entry *e = conf_get(s, "addresses");
		char text[PREFIX_STR_MAX];

		for (size_t i = 0; i < e->count; i++) {
			const struct prefix *p = &e->values[i].prefix;

			if (p->addr.family == AF_INET6 && p->len < CONFIG_POOL_V6_LEN)
				conf_error(
				    cfg->conf, e->values[i].line,
				    "addresses = %s: too many; allowed: IPv6 prefixes of /%d "
				    "to /128",
				    prefix_str(p, text), CONFIG_POOL_V6_LEN);
			else if (!config_addr_unicast(&p->addr) || !p->len)
				conf_error(cfg->conf, e->values[i].line,
					   "addresses = %s: no addresses for a tunnel; allowed: "
					   "private ones, such as 10.99.1.0/24 or fd99:1::/64",
					   prefix_str(p, text));
		}
		check_dns(cfg, s, "pool");
	}
}

void config_check_peer_pool(struct config *cfg, const struct config_peer *p,
			    const struct conf_section *s)
{
	const char *name = conf_text(s, "pool");

	if (name && !p->pool)
		conf_error(cfg->conf, conf_line(s, "pool"),
			   "pool = %s: there is no section [pool %s]", name, name);
	if (name && p->start != CONFIG_START_NO)
		conf_error(cfg->conf, conf_line(s, "pool"),
			   "pool is for peers that call us, and we call [peer %s]; what lies there "
			   "stands in networks",
			   p->name);
	if (conf_get(s, "dns")->count && p->start != CONFIG_START_NO)
		conf_error(cfg->conf, conf_line(s, "dns"),
			   "dns is told to peers that call us, and we call [peer %s]", p->name);
	check_dns(cfg, s, "peer");
}
