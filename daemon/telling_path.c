/* SPDX-License-Identifier: GPL-3.0-or-later */
/* By which line a peer is reached, as JSON. */
#include "child_int.h"
#include "elsewhere.h"

static json_t *addr_json(const struct addr *a)
{
	char text[ADDR_STR_MAX];

	return a->family ? json_string(addr_str(a, text)) : json_null();
}

static json_t *rtt_json(uint32_t rtt_ms)
{
	return rtt_ms == UINT32_MAX ? json_null() : json_integer(rtt_ms);
}

static const char *line_name(const struct child *c, const char *interface)
{
	const struct config_wan *w = config_wan_on(c->cfg, interface);

	return w ? w->name : interface;
}

static json_t *way_json(const struct child *c, const struct path_way *w)
{
	return json_pack("{s:s, s:s, s:o, s:o, s:o, s:b}", "way", line_name(c, w->name), "interface",
			 w->name, "source", addr_json(&w->src), "to", addr_json(&w->remote.addr),
			 "rtt_ms", rtt_json(w->rtt_ms), "tests_well", w->good_ms != 0);
}

json_t *telling_path(const struct child *c, const struct peer *p)
{
	const struct path *path = p->sup.path;
	const struct path_way *cur = path_current(&p->sup);
	json_t *ways = json_array();

	for (size_t i = 0; path && i < path->count; i++)
		json_array_append_new(ways, way_json(c, &path->way[i]));
	return json_pack("{s:o, s:o, s:o, s:o, s:I, s:o, s:o}", "way",
			 cur ? json_string(line_name(c, cur->name)) : json_null(), "interface",
			 cur ? json_string(cur->name) : json_null(), "source",
			 cur ? addr_json(&cur->src) : addr_json(&p->sup.where.path.local.addr), "rtt_ms",
			 cur ? rtt_json(cur->rtt_ms) : json_null(), "moves",
			 (json_int_t)(path ? path->moves : 0), "last_move_reason",
			 path && path->moves ? json_string(path->why) : json_null(), "ways", ways);
}

json_t *telling_elsewhere(const struct peer *p)
{
	const struct sup_elsewhere *e = p->sup.elsewhere;
	json_t *list = json_array();

	for (size_t i = 0; e && i < e->count; i++)
		json_array_append_new(list, addr_json(&e->addr[i]));
	return list;
}
