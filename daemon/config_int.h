/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DAEMON_CONFIG_INT_H
#define DAEMON_CONFIG_INT_H

#include "config.h"

/** config_ts_parse() - One selector; 0 or -EINVAL with @why. */
int config_ts_parse(const char *text, struct config_ts *ts, char *why, size_t cap);
/* config_pool.c */
int config_take_pools(struct config *cfg);
int config_take_pool(struct config *cfg, struct config_peer *p, const struct conf_section *s);
void config_free_pools(struct config *cfg);
void config_check_pools(struct config *cfg);
void config_check_peer_pool(struct config *cfg, const struct config_peer *p,
			    const struct conf_section *s);
/* config_ports.c */
int config_port_parse(const char *text, struct config_port *out);
int config_check_port(const struct conf_value *v, char *why, size_t cap);
bool config_ports_equal(const struct config_ports *a, const struct config_ports *b);
/** config_take_ports() - Of [posternd]; after all peers. */
void config_take_ports(struct config *cfg, const struct conf_section *s);
void config_take_peer_ports(struct config *cfg, struct config_peer *p,
			    const struct conf_section *s);
/* config_server.c */
/** config_take_server() - @p: as @of's section (@peer) made it; becomes what [server] @s makes of it. */
int config_take_server(struct config *cfg, struct config_peer *p, const struct config_peer *of,
		       const struct conf_section *s, const struct conf_section *peer);
void config_check_server(struct config *cfg, const struct config_peer *p);
/* config.c */
struct config_id config_take_id(const struct conf_section *s, const char *key);
int config_take_hosts(struct config *cfg, struct config_peer *p, const struct conf_section *s);
int config_take_public_keys(struct config *cfg, struct config_peer *p, const struct conf_section *s);
/** config_take_auth() - @proof: where its psk, ca or public-key stands; @s: its section, for our side. */
void config_take_auth(const struct config *cfg, struct config_peer *p,
		      const struct conf_section *proof, const struct conf_section *s);
/* config_wan.c */
int config_take_wans(struct config *cfg);
void config_check_wans(struct config *cfg);
/* config_mark.c */
void config_take_mark(struct config_peer *p, const struct conf_section *s);
int config_check_mark(const struct conf_value *v, char *why, size_t cap);
void config_check_peer_mark(struct config *cfg, const struct config_peer *p,
			    const struct conf_section *s);
void config_check_marks(struct config *cfg);
void config_check_peer_ways(struct config *cfg, const struct config_peer *p,
			    const struct conf_section *s);
/** config_check() - All that needs more than one key: adds errors to cfg->conf. */
void config_check(struct config *cfg);

#endif
