/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Sections [server NAME]: further servers behind the peer that they name. Each becomes a peer of its own,
 * PEER/NAME, which has all from the peer's section but what its own says.
 */
#include "config.h"
#include "config_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int take_name(struct config *cfg, struct config_peer *p, const struct conf_section *s)
{
	char *name;

	if (asprintf(&name, "%s/%s", p->of->name, s->name) < 0)
		return -ENOMEM;
	if (strlen(name) > CONF_NAME_MAX)
		conf_error(cfg->conf, s->line,
			   "[server %.60s]: its name and that of its peer have %zu bytes; allowed: "
			   "up to %d",
			   s->name, strlen(name) - 1, CONF_NAME_MAX - 1);
	p->own_name = name;
	p->name = name;
	return 0;
}

int config_take_server(struct config *cfg, struct config_peer *p, const struct config_peer *of,
		       const struct conf_section *s, const struct conf_section *peer)
{
	bool proof = conf_is_set(s, "public-key") || conf_is_set(s, "psk") || conf_is_set(s, "ca");

	p->of = of;
	p->server = s->name;
	p->server_count = 0;
	p->line = s->line;
	p->remote_id = config_take_id(s, "identity");
	if (conf_is_set(s, "port"))
		p->port = (uint16_t)conf_uint(s, "port");
	if (take_name(cfg, p, s) || config_take_hosts(cfg, p, s))
		return -ENOMEM;
	if (!proof)
		return 0;
	if (config_take_public_keys(cfg, p, s))
		return -ENOMEM;
	config_take_auth(cfg, p, s, peer);
	return 0;
}

void config_check_server(struct config *cfg, const struct config_peer *p)
{
	if (p->server_count > CONFIG_SERVERS_MAX)
		conf_error(cfg->conf, p->line,
			   "%zu [server] sections for [peer %s]; allowed: up to %d",
			   p->server_count, p->name, CONFIG_SERVERS_MAX);
	if (p->of && p->start == CONFIG_START_NO)
		conf_error(cfg->conf, p->line,
			   "[server %s]: only a peer that we call has several servers; [peer %s] "
			   "needs start = always",
			   p->server, p->of->name);
}
