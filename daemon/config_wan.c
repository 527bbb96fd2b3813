/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Sections [wan NAME]: the lines by which this machine reaches the peers. */
#include "config.h"
#include "config_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int config_take_wans(struct config *cfg)
{
	const struct conf_section *s = NULL;
	size_t n = 0;

	while ((s = conf_next(cfg->conf, "wan", s)))
		n++;
	cfg->wans = calloc(n + 1, sizeof(*cfg->wans));
	if (!cfg->wans)
		return -ENOMEM;
	while ((s = conf_next(cfg->conf, "wan", s))) {
		struct config_wan *w = &cfg->wans[cfg->wan_count++];

		w->name = s->name;
		w->line = s->line;
		w->interface = conf_text(s, "interface");
		w->priority = (uint32_t)conf_uint(s, "priority");
		w->metered = conf_bool(s, "metered");
		w->budget_bytes = w->metered ? conf_uint(s, "budget") : 0;
	}
	return 0;
}

const struct config_wan *config_wan_on(const struct config *cfg, const char *interface)
{
	for (size_t i = 0; i < cfg->wan_count; i++)
		if (!strcmp(cfg->wans[i].interface, interface))
			return &cfg->wans[i];
	return NULL;
}

void config_check_wans(struct config *cfg)
{
	if (cfg->wan_count > CONFIG_WANS_MAX)
		conf_error(cfg->conf, cfg->wans[CONFIG_WANS_MAX].line,
			   "%zu sections [wan NAME]; allowed: up to %d", cfg->wan_count,
			   CONFIG_WANS_MAX);
	for (size_t i = 0; i < cfg->wan_count; i++) {
		const struct config_wan *w = &cfg->wans[i];
		const struct config_wan *first = config_wan_on(cfg, w->interface);
		unsigned line = conf_line(conf_find(cfg->conf, "wan", w->name), "interface");

		if (first != w)
			conf_error(cfg->conf, line,
				   "interface = %s is that of [wan %s] too (line %u); each has its own",
				   w->interface, first->name, first->line);
		if (!w->metered && conf_is_set(conf_find(cfg->conf, "wan", w->name), "budget"))
			conf_error(cfg->conf,
				   conf_line(conf_find(cfg->conf, "wan", w->name), "budget"),
				   "budget without metered = yes: nothing is held back on a line that "
				   "costs nothing; add it, or remove the budget");
		if (!strcmp(w->interface, cfg->tun))
			conf_error(cfg->conf, line,
				   "interface = %s is the tunnel device itself; name the one that leads "
				   "to the internet",
				   w->interface);
	}
}

void config_check_peer_ways(struct config *cfg, const struct config_peer *p,
			    const struct conf_section *s)
{
	if (p->leak_never && (cfg->outer_netns || cfg->tun_netns))
		conf_error(cfg->conf, conf_line(s, "leak"),
			   "leak = never keeps one namespace alone, and outer-netns or tun-netns makes two: "
			   "what is in that of the tunnel has no other way out anyway; remove leak");
	if (p->interface && !strcmp(p->interface, cfg->tun))
		conf_error(cfg->conf, conf_line(s, "interface"),
			   "interface = %s is the tunnel device itself; name the one that leads to "
			   "[peer %s]",
			   p->interface, p->name);
	else if (p->interface && cfg->wan_count && !config_wan_on(cfg, p->interface))
		conf_error(cfg->conf, conf_line(s, "interface"),
			   "interface = %s: no [wan NAME] has it; add one, or remove the sections: "
			   "without any, each interface counts",
			   p->interface);
}
