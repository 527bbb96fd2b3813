/* SPDX-License-Identifier: GPL-3.0-or-later */
/* udp-ports and tcp-ports: further ports, for networks that block the usual one. */
#include "config.h"
#include "config_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int config_port_parse(const char *text, struct config_port *out)
{
	unsigned long n;
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno || !n || n > 65535 || (*end && strcmp(end, "/tls")))
		return -EINVAL;
	*out = (struct config_port){ .port = (uint16_t)n, .tls = *end };
	return 0;
}

int config_check_port(const struct conf_value *v, char *why, size_t cap)
{
	struct config_port p;

	if (!strcmp(v->text, "none") || !config_port_parse(v->text, &p))
		return 0;
	snprintf(why, cap, "neither a port, such as 4500 or 443/tls, nor the word none");
	return -1;
}

bool config_ports_equal(const struct config_ports *a, const struct config_ports *b)
{
	bool same = a->count == b->count;

	for (size_t i = 0; same && i < a->count; i++)
		same = a->port[i].port == b->port[i].port && a->port[i].tls == b->port[i].tls;
	return same;
}

bool config_ports_have(const struct config_ports *l, uint16_t port, bool tls)
{
	for (size_t i = 0; i < l->count; i++)
		if (l->port[i].port == port && l->port[i].tls == tls)
			return true;
	return false;
}

/* The same port twice is one; @but, the main one, need not be named and may be. */
static void take(struct config *cfg, const struct conf_section *s, const char *key, bool tcp,
		 uint16_t but, struct config_ports *to)
{
	const struct conf_entry *e = conf_get(s, key);
	const char *kind = s->kind->name;

	for (size_t i = 0; i < e->count; i++) {
		const struct conf_value *v = &e->values[i];
		struct config_port p;

		if (!strcmp(v->text, "none")) {
			if (e->count > 1)
				conf_error(cfg->conf, v->line, "%s: none stands beside others; remove one",
					   key);
			continue;
		}
		if (config_port_parse(v->text, &p) || (but && p.port == but && !tcp))
			continue;
		if (!tcp && p.tls) {
			conf_error(cfg->conf, v->line, "%s = %s: TLS needs TCP; allowed: a number", key,
				   v->text);
			continue;
		}
		for (size_t k = 0; k < to->count; k++) {
			if (to->port[k].port != p.port)
				continue;
			/* A client may try both on one port; who listens has to know. */
			if (to->port[k].tls == p.tls || !strcmp(kind, "posternd")) {
				conf_error(cfg->conf, v->line, "%s = %s: port %u is named twice", key,
					   v->text, p.port);
				return;
			}
		}
		if (to->count == CONFIG_OUTER_PORTS_MAX) {
			conf_error(cfg->conf, v->line, "%s: too many; allowed: up to %d", key,
				   CONFIG_OUTER_PORTS_MAX);
			return;
		}
		to->port[to->count++] = p;
	}
}

void config_take_ports(struct config *cfg, const struct conf_section *s)
{
	bool waits = config_waits(cfg);

	take(cfg, s, "udp-ports", false, cfg->port, &cfg->udp_ports);
	take(cfg, s, "tcp-ports", true, 0, &cfg->tcp_ports);
	cfg->tcp_wished = conf_is_set(s, "tcp-ports");
	if (cfg->tcp_wished || conf_is_set(s, "udp-ports")) {
		if (!waits && (cfg->tcp_ports.count || cfg->udp_ports.count))
			conf_error(cfg->conf,
				   conf_line(s, cfg->tcp_wished ? "tcp-ports" : "udp-ports"),
				   "%s is where we listen, and no peer calls us; what we call stands in "
				   "[peer NAME]",
				   cfg->tcp_wished ? "tcp-ports" : "udp-ports");
	}
	if (!waits) {
		cfg->tcp_ports.count = 0;
		cfg->udp_ports.count = 0;
	}
}

void config_take_peer_ports(struct config *cfg, struct config_peer *p, const struct conf_section *s)
{
	p->tcp = (enum config_tcp)conf_uint(s, "tcp");
	p->tls_name = conf_text(s, "tcp-tls-name");
	take(cfg, s, "udp-ports", false, p->port, &p->udp_ports);
	take(cfg, s, "tcp-ports", true, 0, &p->tcp_ports);
	if (p->start == CONFIG_START_NO &&
	    (conf_is_set(s, "tcp-ports") || conf_is_set(s, "udp-ports") || conf_is_set(s, "tcp")))
		conf_error(cfg->conf,
			   conf_line(s, conf_is_set(s, "tcp-ports")   ? "tcp-ports"
					: conf_is_set(s, "udp-ports") ? "udp-ports"
								      : "tcp"),
			   "[peer %s] calls us; the ports at which it finds us stand in [posternd]",
			   p->name);
	if (p->tcp == CONFIG_TCP_ALWAYS && !p->tcp_ports.count)
		conf_error(cfg->conf, conf_line(s, "tcp"), "tcp = always: [peer %s] has no tcp-ports",
			   p->name);
}
