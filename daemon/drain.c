/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * postern drain: nobody is taken in any more, and who is here is told where else he is served
 * (redirect-to), a few at a time, so that the other gateway is not met by all at once.
 */
#include <string.h>

#include "child_int.h"

#define PACE_PEERS 50
#define PACE_MS	   500

static void on_pace(struct timer *t, uint64_t now_ms)
{
	struct child *c = t->arg;
	struct peer *p = child_peer(c, c->drain_next);
	struct engine_gateway to;
	unsigned n = 0;

	if (!c->drain || !view_gateway(&c->cfg->redirect_to, &to))
		return;
	if (!p)
		p = child_peer_next(c, NULL);
	for (; p && n < PACE_PEERS; p = child_peer_next(c, p))
		n += engine_redirect(c->engine, now_ms, p->id,
				     p->view && p->view->peer.redirect_to ? p->view->peer.redirect_to : &to,
				     &c->fx);
	c->drain_told += n;
	c->drain_next = p ? p->id : 0;
	if (p)
		(void)timer_set(loop_timers(c->loop), t, now_ms + PACE_MS);
	effects_apply(c);
}

static void begin(struct child *c, bool on)
{
	struct engine_gateway to;
	bool known = view_gateway(&c->cfg->redirect_to, &to);

	c->drain = on;
	c->drain_next = 0;
	c->drain_told = 0;
	timer_clear(loop_timers(c->loop), &c->drain_timer);
	c->drain_timer = (struct timer){ .fire = on_pace, .arg = c };
	engine_drain(c->engine, on, known ? &to : NULL);
	if (on && known)
		(void)timer_set(loop_timers(c->loop), &c->drain_timer, child_now(c));
	log_info(NULL, "drain %s%s%s", on ? "on" : "off",
		 on && known ? ", callers are sent to " : "",
		 on && known ? c->cfg->redirect_to.name : "");
}

static void on_kept(int status, void *arg)
{
	(void)arg;
	if (status)
		log_err(NULL, "drain: it would be forgotten if this process were started anew: %s",
			strerror(-status));
}

void drain_set(struct child *c, bool on)
{
	int rc = priv_drain(c->priv, on, on_kept, c);

	if (rc)
		on_kept(rc, c);
	begin(c, on);
}

void drain_start(struct child *c)
{
	begin(c, true);
}

void drain_reload(struct child *c)
{
	struct engine_gateway to;
	bool known = view_gateway(&c->cfg->redirect_to, &to);

	if (c->drain)
		engine_drain(c->engine, true, known ? &to : NULL);
}

json_t *drain_json(const struct child *c)
{
	size_t left = 0;

	for (struct peer *p = NULL; (p = child_peer_next(c, p));)
		left += p->cfg->start == CONFIG_START_NO && p->sup.ike;
	return json_pack("{s:b, s:o, s:I, s:I}", "on", c->drain, "to",
			 c->cfg->redirect_to.name ? json_string(c->cfg->redirect_to.name)
						  : json_null(),
			 "told", (json_int_t)c->drain_told, "left", (json_int_t)left);
}
