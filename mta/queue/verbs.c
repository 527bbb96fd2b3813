/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: the admin's verbs, passed on by the parent as {"verb":..,"args":{..}}:
 *
 *	queue   {limit, after, dead}	 letters, oldest first      show/trace {id}   one letter
 *	flush   {id | route, force}	 clear waits; with force one attempt whatever the state
 *	hold, release {id | route}	 release brings a dead letter back, its age at 0
 *	remove  {id}			 without a bounce	     routes {}	       state of next hops
 *
 * A long answer goes in parts, all but the last with "more".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "queue.h"

#define PART_MAX   (IPC_PAYLOAD_MAX - 4096)
#define LIST_LIMIT 1000

struct answer {
	struct queue *q;
	uint32_t id;
	const char *name; /* of the array */
	json_t *items;
	size_t bytes;
};

static void reply(struct queue *q, uint32_t id, json_t *o)
{
	char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;

	if (text)
		child_reply(q->ch, id, text, strlen(text));
	else
		child_reply(q->ch, id, "{\"error\":\"out of memory\"}", 25);
	free(text);
	json_decref(o);
}

static void fail(struct queue *q, uint32_t id, const char *why)
{
	reply(q, id, json_pack("{s:s}", "error", why));
}

static void flush_part(struct answer *a, bool more)
{
	json_t *o = json_object();

	json_object_set_new(o, a->name, a->items);
	if (more)
		json_object_set_new(o, "more", json_true());
	reply(a->q, a->id, o);
	a->items = more ? json_array() : NULL;
	a->bytes = 0;
}

static void add_item(struct answer *a, json_t *item)
{
	char *text = item ? json_dumps(item, JSON_COMPACT) : NULL;
	size_t n = text ? strlen(text) + 1 : 0;

	free(text);
	if (!n || n > PART_MAX) {
		json_decref(item);
		return;
	}
	if (a->bytes + n > PART_MAX)
		flush_part(a, true);
	a->bytes += n;
	json_array_append_new(a->items, item);
}

/* Addresses and replies are mostly UTF-8; what is not must not make the answer vanish. */
static json_t *text_json(const char *s)
{
	json_t *j = s ? json_string(s) : json_null();
	char *copy;

	if (j || !(copy = strdup(s)))
		return j ? j : json_null();
	for (char *p = copy; *p; p++)
		if (*p & 0x80)
			*p = '?';
	j = json_string(copy);
	free(copy);
	return j ? j : json_null();
}

static json_t *rcpt_json(const struct letter *l, const struct store_reading *r, size_t i,
			 uint64_t now_ms)
{
	static const char *const states[RCPT_STATES] = { "waiting", "delivered", "failed",
							 "expired", "removed" };
	const struct letter_rcpt *x = &l->rcpt[i];
	const struct dest *d = x->leg ? x->leg->dest : NULL;
	uint64_t at = (uint64_t)x->next_s * 1000;

	return json_pack("{s:o,s:s,s:i,s:o,s:s,s:s,s:s,s:I}", "address",
			 text_json(r ? r->env.rcpt[i].addr : NULL), "state",
			 x->flying ? "trying" : states[x->state], "attempts", x->attempts, "last",
			 text_json(x->last), "route", d ? d->route : "", "hop", d ? d->hop : "",
			 "route_state", d ? dest_state_word(d->state) : "", "next_s",
			 (json_int_t)(at > now_ms ? (at - now_ms + 999) / 1000 : 0));
}

static json_t *letter_json(struct queue *q, struct letter *l, bool all)
{
	static const char *const states[LETTER_STATES] = { "queued", "held", "dead", "gone" };
	uint64_t now_ms = loop_now_ms(q->loop);
	json_t *rcpts = json_array(), *o;
	char hex[LETTER_ID_STR_MAX];
	struct store_reading r;
	bool read = !store_read(q->store, l, &r);

	for (size_t i = 0; i < l->rcpt_count && (all || i < 10); i++)
		json_array_append_new(rcpts, rcpt_json(l, read ? &r : NULL, i, now_ms));
	o = json_pack("{s:s,s:s,s:I,s:I,s:o,s:i,s:o}", "id", letter_id_str(l->id, hex), "state",
		      l->unreadable ? "unreadable" : states[l->state], "size",
		      (json_int_t)l->body_len, "age_s", (json_int_t)store_age(q->store, l),
		      "sender", text_json(read ? r.env.sender : NULL), "recipient_count",
		      l->rcpt_count, "recipients", rcpts);
	if (o && all && read) {
		char ep[ENDPOINT_STR_MAX];

		json_object_set_new(o, "received_s", json_integer(r.env.received_s));
		json_object_set_new(o, "helo", text_json(r.env.helo));
		json_object_set_new(o, "tls", text_json(r.env.tls));
		json_object_set_new(o, "auth_user", text_json(r.env.auth_user));
		json_object_set_new(o, "listener", text_json(r.env.listener));
		json_object_set_new(o, "peer", text_json(r.env.peer));
		json_object_set_new(o, "hops", json_integer(r.env.hops));
		if (r.env.client.addr.family)
			json_object_set_new(o, "client",
					    json_string(endpoint_str(&r.env.client, ep)));
		if (r.env.flags & ENV_PEER_ID)
			json_object_set_new(o, "peer_id",
					    json_string(letter_id_str(r.env.peer_id, hex)));
	}
	if (read)
		store_reading_clear(&r);
	return o;
}

static void run_list(struct queue *q, uint32_t id, const json_t *args)
{
	json_int_t limit = json_integer_value(json_object_get(args, "limit"));
	const char *after = json_string_value(json_object_get(args, "after"));
	bool dead = json_is_true(json_object_get(args, "dead"));
	struct answer a = { .q = q, .id = id, .name = "letters", .items = json_array() };
	uint8_t from[LETTER_ID_LEN];
	struct letter *l = store_oldest(q->store);

	if (after) {
		l = letter_id_parse(after, from) ? NULL : store_find(q->store, from);
		l = l ? l->newer : NULL;
	}
	if (limit <= 0 || limit > 100000)
		limit = LIST_LIMIT;
	for (; l && limit; l = l->newer) {
		if (l->state == LETTER_GONE || (l->state == LETTER_DEAD) != dead)
			continue;
		add_item(&a, letter_json(q, l, false));
		limit--;
	}
	flush_part(&a, false);
}

static void one_route(const struct dest *d, void *arg)
{
	struct answer *a = arg;
	uint64_t now_ms = loop_now_ms(a->q->loop);

	add_item(a, json_pack("{s:s,s:s,s:s,s:b,s:I,s:I,s:I,s:I,s:I,s:o}", "route", d->route, "hop",
			      d->hop, "state", d->admin_hold ? "held" : dest_state_word(d->state),
			      "admin_hold", d->admin_hold, "ready", (json_int_t)d->ready.count,
			      "waiting", (json_int_t)d->waiting.count, "in_flight",
			      (json_int_t)d->flying, "bytes", (json_int_t)d->bytes, "next_ms",
			      (json_int_t)(d->until_ms > now_ms ? d->until_ms - now_ms : 0),
			      "fault", text_json(d->fault[0] ? d->fault : NULL)));
}

static void run_routes(struct queue *q, uint32_t id)
{
	struct answer a = { .q = q, .id = id, .name = "routes", .items = json_array() };

	schedule_each(q->schedule, one_route, &a);
	flush_part(&a, false);
}

static void done(struct queue *q, uint32_t id, size_t n, const char *text)
{
	reply(q, id, json_pack("{s:I,s:s}", "count", (json_int_t)n, "text", text));
	attempt_pump(q);
}

static void set_state(struct queue *q, struct letter *l, enum letter_state st)
{
	struct store_change *c = store_begin(q->store);
	struct store_reading r;

	if (!c)
		return;
	schedule_remove(q->schedule, l);
	if (st == LETTER_QUEUED && l->state == LETTER_DEAD) {
		store_put_birth(c, l);
		for (uint16_t i = 0; i < l->rcpt_count; i++) {
			l->rcpt[i].next_s = 0;
			if (l->rcpt[i].state == RCPT_EXPIRED || l->rcpt[i].state == RCPT_FAILED)
				store_put_rcpt(c, l, i, RCPT_PENDING, 0, NULL);
		}
	}
	if (st == LETTER_GONE)
		attempt_forget(q, l);
	store_put_state(c, l, st);
	store_commit(c, true, NULL);
	if (st == LETTER_QUEUED && !store_read(q->store, l, &r)) {
		schedule_add(q->schedule, l, &r.env, loop_now_ms(q->loop));
		store_reading_clear(&r);
	}
}

static bool flies(const struct letter *l)
{
	for (size_t i = 0; i < l->rcpt_count; i++)
		if (l->rcpt[i].flying)
			return true;
	return false;
}

static void on_letter(struct queue *q, uint32_t id, const char *verb, struct letter *l)
{
	if (!strcmp(verb, "flush"))
		return done(q, id, schedule_flush(q->schedule, NULL, l, loop_now_ms(q->loop)),
			    "its waits are cleared; a route that is held or down still holds it");
	if (flies(l))
		return fail(q, id, "the letter is just being sent; ask again in a moment");
	if (!strcmp(verb, "hold"))
		set_state(q, l, LETTER_HELD);
	else if (!strcmp(verb, "release"))
		set_state(q, l, LETTER_QUEUED);
	else
		set_state(q, l, LETTER_GONE);
	done(q, id, 1, verb);
}

static void on_route(struct queue *q, uint32_t id, const char *verb, const char *route, bool force)
{
	uint64_t now_ms = loop_now_ms(q->loop);
	ssize_t n;

	if (route && !config_route(q->ch->config, route))
		return fail(q, id, "no such route in mta.conf; postern mail routes lists them");
	if (!strcmp(verb, "flush") && force && route)
		return done(q, id, schedule_force(q->schedule, route, now_ms),
			    "one attempt for each next hop of the route, whatever its state");
	if (!strcmp(verb, "flush"))
		return done(q, id, schedule_flush(q->schedule, route, NULL, now_ms),
			    "waits are cleared; holds, down routes and the pace still count");
	if (!route || !strcmp(verb, "remove"))
		return fail(q, id, "needs a letter id, or a route");
	n = schedule_hold(q->schedule, route, NULL, !strcmp(verb, "hold"), now_ms);
	if (n < 0)
		return fail(q, id, "no room for one more hold");
	done(q, id, (size_t)n, verb);
}

void verbs_run(struct queue *q, uint32_t id, const char *json, size_t len)
{
	json_t *o = json_loadb(json, len, JSON_REJECT_DUPLICATES, NULL);
	const char *verb = json_string_value(json_object_get(o, "verb"));
	const json_t *args = json_object_get(o, "args");
	const char *letter = json_string_value(json_object_get(args, "id"));
	const char *route = json_string_value(json_object_get(args, "route"));
	uint8_t lid[LETTER_ID_LEN];
	struct letter *l = NULL;

	if (letter && !letter_id_parse(letter, lid))
		l = store_find(q->store, lid);
	if (l && l->state == LETTER_GONE)
		l = NULL;
	if (!verb)
		fail(q, id, "no verb");
	else if (!strcmp(verb, "queue"))
		run_list(q, id, args);
	else if (!strcmp(verb, "routes"))
		run_routes(q, id);
	else if (letter && !l)
		fail(q, id, "no letter with this id is in the queue; its end stands in the log");
	else if ((!strcmp(verb, "show") || !strcmp(verb, "trace")) && l)
		reply(q, id, json_pack("{s:o}", "letter", letter_json(q, l, true)));
	else if (!strcmp(verb, "show") || !strcmp(verb, "trace"))
		fail(q, id, "needs the id of a letter");
	else if (!strcmp(verb, "flush") || !strcmp(verb, "hold") || !strcmp(verb, "release") ||
		 !strcmp(verb, "remove"))
		l ? on_letter(q, id, verb, l)
		  : on_route(q, id, verb, route, json_is_true(json_object_get(args, "force")));
	else
		fail(q, id, "unknown verb");
	json_decref(o);
}
