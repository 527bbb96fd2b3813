/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Source ports for hops (peer/hop.h): what a NAT has seen of a hop socket may lead nowhere one day as well,
 * so one that was used, and is nobody's live one, gets another port from the parent once no answer can be
 * on its way to it any more.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "child_int.h"

#define REST_MS 10000 /* readable for so long after its last use */

static bool is_live(struct child *c, uint32_t sock)
{
	for (struct peer *p = NULL; (p = child_peer_next(c, p));)
		if (p->sup.ike && (p->sup.where.path.sock == sock ||
				   (p->sup.where.trial_until_ms && p->sup.where.old.sock == sock)))
			return true;
	return false;
}

static void arm(struct child *c)
{
	uint64_t at_ms = UINT64_MAX;

	for (size_t i = 0; i < c->inv.hop_count; i++)
		if (c->hop[i].used_ms && c->hop[i].used_ms + REST_MS < at_ms)
			at_ms = c->hop[i].used_ms + REST_MS;
	if (at_ms != UINT64_MAX)
		(void)timer_set(loop_timers(c->loop), &c->hop_timer, at_ms);
}

static void on_port(int status, const struct priv_socket *s, void *arg)
{
	struct request *r = arg;
	struct child *c = r->child;

	if (!status) {
		close(s->fd); /* of the socket that we have */
		log_debug(NULL, "hop socket %zu: source port %u -> %u", r->host,
			  c->inv.hop[r->host].port, s->port);
		c->inv.hop[r->host].port = s->port;
		for (size_t i = 0; i < c->env.sock_count; i++)
			if (c->env.sock_number[i] == SOCK_HOP0 + r->host)
				c->env.sock_port[i] = s->port;
	} else {
		log_warn(NULL, "no other source port for hop socket %zu: %s", r->host,
			 strerror(-status));
	}
	free(r);
}

static void renew(struct child *c, size_t i)
{
	struct request *r = request_new(c, 0);

	c->hop[i].used_ms = 0;
	if (!r)
		return;
	r->host = i;
	if (priv_hop(c->priv, (uint32_t)i, on_port, r))
		free(r); /* it is asked again after the next use */
}

static void on_timer(struct timer *t, uint64_t now_ms)
{
	struct child *c = t->arg;

	for (size_t i = 0; i < c->inv.hop_count; i++) {
		if (!c->hop[i].used_ms || now_ms < c->hop[i].used_ms + REST_MS)
			continue;
		if (is_live(c, SOCK_HOP0 + (uint32_t)i))
			c->hop[i].used_ms = now_ms;
		else
			renew(c, i);
	}
	arm(c);
}

void hop_used(struct child *c, uint32_t sock)
{
	if (sock < SOCK_HOP0 || sock - SOCK_HOP0 >= c->inv.hop_count)
		return;
	c->hop[sock - SOCK_HOP0].used_ms = child_now(c);
	if (timer_armed(&c->hop_timer))
		return;
	c->hop_timer = (struct timer){ .fire = on_timer, .arg = c };
	arm(c);
}
