/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "publisher.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "publication.h"
#include "relay.h"

static void look_in(struct publisher *p, uint64_t ms)
{
	struct loop *l = p->relay->ch->loop;

	timer_set(loop_timers(l), &p->timer, loop_now_ms(l) + ms);
}

static void forget(char **text, size_t *len)
{
	free(*text);
	*text = NULL;
	*len = 0;
}

/* The tunnel route to [mta] edge; NULL: this machine has none, or nobody of its own. */
static const struct mta_route *edge_route(const struct publisher *p)
{
	const struct mta_config *c = p->relay->ch->config;

	if (!c->edge || !c->deliver.domains.count)
		return NULL;
	for (size_t i = 0; i < c->route_count; i++) {
		const struct mta_route *r = &c->routes[i];

		if (r->kind == ROUTE_TUNNEL && r->peer && !strcmp(r->peer, c->edge))
			return r;
	}
	return NULL;
}

/* The edge may come to any of the listeners for peers, so to the one that takes least. 0: to none. */
static uint64_t size_max(const struct mta_config *c)
{
	uint64_t least = 0;

	for (size_t i = 0; i < c->listener_count; i++) {
		const struct mta_listener *l = &c->listeners[i];

		if (l->class == LISTEN_TUNNEL && (!least || l->size_max_bytes < least))
			least = l->size_max_bytes;
	}
	return least;
}

static bool is_taken(const struct publisher *p)
{
	return p->taken && p->taken_len == p->lines_len && p->taken_subaddress == p->subaddress &&
	       p->taken_size_max_bytes == p->size_max_bytes &&
	       !memcmp(p->taken, p->lines, p->lines_len);
}

static void again(struct publisher *p)
{
	p->state = PUBLISHER_IDLE;
	look_in(p, p->retry_ms);
	p->retry_ms = p->retry_ms * 2 < PUBLISHER_RETRY_MAX_MS ? p->retry_ms * 2
							       : PUBLISHER_RETRY_MAX_MS;
}

static void settled(struct publisher *p)
{
	p->state = PUBLISHER_IDLE;
	p->retry_ms = PUBLISHER_RETRY_MIN_MS;
	look_in(p, PUBLISHER_LOOK_MS);
}

/* The edge has them: they are not sent again. */
static void take(struct publisher *p)
{
	forget(&p->taken, &p->taken_len);
	p->taken = p->lines;
	p->taken_len = p->lines_len;
	p->taken_subaddress = p->subaddress;
	p->taken_size_max_bytes = p->size_max_bytes;
	p->lines = NULL;
	p->lines_len = 0;
}

static void send_set(struct publisher *p)
{
	const struct mta_route *route = edge_route(p);
	char next_hop[ROUTE_HOP_MAX];
	struct hop *h;

	h = route ? relay_hop(p->relay, route->name, route_next_hop(route, "", next_hop)) : NULL;
	if (!h || conn_new(h, MSG_R_FAMILY4 | MSG_R_FAMILY6))
		return again(p);
	h->conns->publishes = h->conns->old = true;
	p->state = PUBLISHER_SENDING;
}

static void on_own(struct lookup_req *req, const struct lookup_own *a)
{
	struct publisher *p = req->arg;

	if (a->status != LOOKUP_OK)
		return again(p);
	forget(&p->lines, &p->lines_len);
	p->lines = malloc(a->len);
	if (!p->lines)
		return again(p);
	memcpy(p->lines, a->text, a->len);
	p->lines_len = a->len;
	p->count = a->count;
	p->subaddress = p->relay->ch->config->deliver.subaddress;
	p->size_max_bytes = size_max(p->relay->ch->config);
	if (is_taken(p))
		return settled(p);
	send_set(p);
}

/* Up, or so it may be: what is unknown is tried. */
static bool edge_there(struct publisher *p)
{
	const struct mta_route *route = edge_route(p);
	const struct tunnel_peer *peer =
	    route ? tunnel_peer(&p->relay->ch->tunnel, route->peer) : NULL;

	return peer && peer->state != TUNNEL_DOWN;
}

static void on_timer(struct timer *t, uint64_t now_ms)
{
	struct publisher *p = t->arg;

	(void)now_ms;
	if (p->state != PUBLISHER_IDLE)
		return;
	if (!edge_there(p))
		return; /* publisher_tunnel() or a reload wakes us */
	p->lookup.arg = p;
	p->lookup.done.own = on_own;
	p->state = PUBLISHER_ASKING;
	if (lookup_own(p->relay->lookup, &p->lookup))
		again(p);
}

void publisher_init(struct publisher *p, struct relay *r)
{
	p->relay = r;
	p->retry_ms = PUBLISHER_RETRY_MIN_MS;
	p->timer = (struct timer){ .fire = on_timer, .arg = p };
}

void publisher_soon(struct publisher *p)
{
	p->retry_ms = PUBLISHER_RETRY_MIN_MS;
	if (p->state == PUBLISHER_IDLE)
		look_in(p, PUBLISHER_SOON_MS);
}

void publisher_tunnel(struct publisher *p)
{
	const struct mta_route *route = edge_route(p);
	const struct tunnel_peer *peer =
	    route ? tunnel_peer(&p->relay->ch->tunnel, route->peer) : NULL;
	bool up = peer && peer->state == TUNNEL_UP;

	/* After a cut it may be another edge, or one that lost what it had: its EHLO tells. */
	if (up && (!p->up || p->up_ms != peer->changed_ms)) {
		forget(&p->taken, &p->taken_len);
		p->up_ms = peer->changed_ms;
		publisher_soon(p);
	}
	p->up = up;
}

void publisher_ready(struct publisher *p, struct conn *c)
{
	struct client *s = &c->session;
	char head[PUBLICATION_HEAD_MAX];
	size_t len;

	p->unwanted = s->postern && !s->may_publish;
	if (!s->may_publish || !p->lines || p->text) {
		client_quit(s);
		return;
	}
	len = publication_head(head, s->publish_serial + 1, p->count, p->subaddress,
			       p->size_max_bytes);
	p->text = malloc(len + p->lines_len);
	if (!p->text) {
		client_quit(s);
		return;
	}
	memcpy(p->text, head, len);
	memcpy(p->text + len, p->lines, p->lines_len);
	p->text_len = len + p->lines_len;
	client_publish(s, p->text, p->text_len);
}

void publisher_answer(struct publisher *p, const struct reply *r)
{
	if (r->code / 100 == 2) {
		log_info(NULL, "recipients published edge=%s count=%zu",
			 p->relay->ch->config->edge ? p->relay->ch->config->edge : "", p->count);
		take(p);
		return;
	}
	log_warn(NULL, "recipients not published, edge=%s says: %u %s %s",
		 p->relay->ch->config->edge ? p->relay->ch->config->edge : "", r->code, r->enhanced,
		 r->text);
}

void publisher_ended(struct publisher *p)
{
	forget(&p->text, &p->text_len);
	if (p->state != PUBLISHER_SENDING)
		return;
	if (!p->lines)
		settled(p); /* taken */
	else
		again(p);
	if (p->unwanted)
		look_in(p, PUBLISHER_UNWANTED_MS);
	p->unwanted = false;
}
