/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: the admin's verbs, passed on by the parent as {"verb":..,"args":{..}}:
 *
 *	queue   {limit, from, dead}	 letters, oldest first      show {id}	       one letter
 *		-> {letters, next}	 next: where to go on; none: these were all
 *	trace   {id, local}		 ask.c
 *	path-test {address, from, mailbox}, path-test-report {id}		probe.c
 *	flush   {id | route, force}	 clear waits; with force one attempt whatever the state
 *	hold, release {id | route}	 release brings a dead letter back, its age at 0; "ROUTE/HOP" is
 *					 one next hop of a route; {quiet}: no sender is told of the delay
 *	remove  {id}			 without a bounce	     routes {}	       state of next hops
 *	export, export-remove		 export.c		      import		import.c
 *	move    {id | route, to}	 goes by another route	     stats {}	       how old it is
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answer.h"
#include "holds.h"
#include "log.h"

#define LIST_LIMIT 1000

json_t *text_json(const char *s)
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

json_t *letter_json(struct queue *q, struct letter *l, bool all)
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
	uint64_t from = (uint64_t)json_integer_value(json_object_get(args, "from"));
	bool dead = json_is_true(json_object_get(args, "dead"));
	struct answer a = { .q = q, .id = id, .name = "letters", .items = json_array() };
	struct letter *l = store_oldest(q->store);

	while (l && l->seq < from)
		l = l->newer;
	if (limit <= 0 || limit > 100000)
		limit = LIST_LIMIT;
	for (; l && limit && !answer_full(&a); l = l->newer) {
		if (l->state == LETTER_GONE || (l->state == LETTER_DEAD) != dead)
			continue;
		answer_add(&a, letter_json(q, l, false));
		limit--;
	}
	answer_end(&a, l ? json_pack("{s:I}", "next", (json_int_t)l->seq) : NULL);
}

static void one_route(const struct dest *d, void *arg)
{
	struct answer *a = arg;
	uint64_t now_ms = loop_now_ms(a->q->loop);
	const char *backup = d->policy ? d->policy->backup : NULL;

	if (answer_full(a))
		return;
	answer_add(a, json_pack("{s:s,s:s,s:s,s:b,s:s?,s:b,s:I,s:I,s:I,s:I,s:I,s:I,s:o}", "route",
				d->route, "hop", d->hop, "state",
				d->admin_hold ? "held" : dest_state_word(d->state), "admin_hold",
				d->admin_hold, "backup", backup, "on_backup", d->on_backup,
				"by_backup", (json_int_t)d->diverted_count, "ready",
				(json_int_t)d->ready.count, "waiting", (json_int_t)d->waiting.count,
				"in_flight", (json_int_t)d->flying, "bytes", (json_int_t)d->bytes,
				"next_ms",
				(json_int_t)(d->until_ms > now_ms ? d->until_ms - now_ms : 0),
				"fault", text_json(d->fault[0] ? d->fault : NULL)));
}

struct holds_json {
	json_t *all, *quiet;
};

static void one_hold(const char *route, const char *hop, bool quiet, void *arg)
{
	struct holds_json *h = arg;
	json_t *name = json_sprintf("%s%s%s", route, *hop ? "/" : "", hop);

	if (quiet)
		json_array_append(h->quiet, name);
	json_array_append_new(h->all, name);
}

static void run_routes(struct queue *q, uint32_t id)
{
	struct answer a = { .q = q, .id = id, .name = "routes", .items = json_array() };
	struct holds_json h = { json_array(), json_array() };

	schedule_each(q->schedule, one_route, &a);
	schedule_holds(q->schedule, one_hold, &h);
	answer_end(&a, json_pack("{s:b,s:o,s:o}", "cut", answer_full(&a), "holds", h.all,
				 "quiet_holds", h.quiet));
}

static void done(struct queue *q, uint32_t id, size_t n, const char *text)
{
	answer_reply(q, id, json_pack("{s:I,s:s}", "count", (json_int_t)n, "text", text));
	attempt_pump(q);
}

/* Into @c: what @l is then, as if it were that already. */
static int put_state(struct store_change *c, struct letter *l, enum letter_state st)
{
	int rc = store_remember(c, l);

	/* A dead one that was held since is no less dead: nothing of it is open. */
	if (!rc && st == LETTER_QUEUED && (l->state == LETTER_DEAD || !l->open)) {
		rc = store_put_birth(c, l);
		for (uint16_t i = 0; !rc && i < l->rcpt_count; i++) {
			l->rcpt[i].next_s = 0;
			if (l->rcpt[i].state == RCPT_EXPIRED || l->rcpt[i].state == RCPT_FAILED)
				rc = store_put_rcpt(c, l, i, RCPT_PENDING, 0, NULL);
		}
	}
	return rc ? rc : store_put_state(c, l, st);
}

static void set_state(struct queue *q, uint32_t id, const char *verb, struct letter *l,
		      enum letter_state st)
{
	struct answer_later *a = answer_later(q, id);
	struct store_change *c = a ? store_begin(q->store) : NULL;
	struct store_reading r;
	int rc = c ? put_state(c, l, st) : -ENOMEM;

	if (rc)
		store_cancel(c);
	else
		rc = answer_commit(a, c);
	if (rc)
		return answer_not(a, q, id, "it could not be written, and is as it was");
	if (st == LETTER_GONE)
		attempt_forget(q, l);
	schedule_remove(q->schedule, l);
	history_note(q->history,
		     st == LETTER_GONE	 ? HISTORY_REMOVED
		     : st == LETTER_HELD ? HISTORY_HELD
					 : HISTORY_RELEASED,
		     l->id, "by the admin");
	if (st == LETTER_QUEUED && !store_read(q->store, l, &r)) {
		schedule_add(q->schedule, l, &r.env, loop_now_ms(q->loop));
		store_reading_clear(&r);
	}
	answer_count(a, 1, verb);
	attempt_pump(q);
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
	if (!strcmp(verb, "flush") && l->unreadable && l->state == LETTER_QUEUED &&
	    !store_retry(q->store, l))
		attempt_reroute(q, l);
	if (!strcmp(verb, "flush") && l->unreadable)
		return answer_fail(q, id,
				   "it cannot be read now; the log says why, and it is tried again");
	if (!strcmp(verb, "flush"))
		return done(q, id,
			    schedule_flush_letter(q->schedule, NULL, l, loop_now_ms(q->loop)),
			    "its waits are cleared; a route that is held or down still holds it");
	if (flies(l))
		return answer_fail(q, id, "the letter is just being sent; ask again in a moment");
	set_state(q, id, verb, l,
		  !strcmp(verb, "hold")	     ? LETTER_HELD
		  : !strcmp(verb, "release") ? LETTER_QUEUED
					     : LETTER_GONE);
}

static void on_route(struct queue *q, uint32_t id, const char *verb, const char *route,
		     const json_t *args)
{
	bool force = json_is_true(json_object_get(args, "force"));
	uint64_t now_ms = loop_now_ms(q->loop);

	bool hold = !strcmp(verb, "hold");

	if (route && (hold || !strcmp(verb, "release")))
		return holds_change(q, id, route, hold,
				    json_is_true(json_object_get(args, "quiet")));
	if (route && !config_route(q->ch->config, route))
		return answer_fail(q, id,
				   "no such route in mta.conf; postern mail routes lists them");
	if (!strcmp(verb, "flush") && force && route)
		return done(q, id, schedule_force(q->schedule, route, now_ms),
			    "one attempt for each next hop of the route, whatever its state");
	if (!strcmp(verb, "flush"))
		return flush_run(q, id, route);
	answer_fail(q, id, "needs a letter id, or a route");
}

static void run_move(struct queue *q, uint32_t id, const json_t *args, struct letter *l)
{
	const char *to = json_string_value(json_object_get(args, "to"));
	const char *from = json_string_value(json_object_get(args, "route"));

	if (!to || (!l && !from))
		return answer_fail(q, id, "needs a route, or a letter, and the route to go by");
	if (!config_route(q->ch->config, to) || (!l && !config_route(q->ch->config, from)))
		return answer_fail(q, id,
				   "no such route in mta.conf; postern mail routes lists them");
	if (q->rerouting || q->move)
		return answer_fail(q, id,
				   "letters are just finding their routes; ask again in a moment");
	if (!l && !strcmp(from, to))
		return answer_fail(q, id, "that is the same route");
	if (l && l->state != LETTER_QUEUED)
		return answer_fail(q, id, "it does not wait for a route; release it first");
	if (l && flies(l))
		return answer_fail(q, id, "the letter is just being sent; ask again in a moment");
	move_run(q, id, l, from, to);
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
		answer_fail(q, id, "no verb");
	else if (!strcmp(verb, "queue"))
		run_list(q, id, args);
	else if (!strcmp(verb, "routes"))
		run_routes(q, id);
	else if (!strcmp(verb, "export"))
		export_run(q, id, args);
	else if (!strcmp(verb, "export-remove"))
		export_remove(q, id, args);
	else if (!strcmp(verb, "import"))
		import_run(q, id, args);
	else if (!strcmp(verb, "stats"))
		stats_run(q, id);
	else if (!strcmp(verb, "trace"))
		ask_admin(q, id, args);
	else if (!strcmp(verb, "path-test"))
		probe_ask(q, id, args);
	else if (!strcmp(verb, "path-test-report"))
		probe_answer(q, id, args);
	else if (letter && !l)
		answer_fail(q, id,
			    "no letter with this id is in the queue; its end stands in the log");
	else if (!strcmp(verb, "show") && l)
		answer_reply(q, id, json_pack("{s:o}", "letter", letter_json(q, l, true)));
	else if (!strcmp(verb, "show"))
		answer_fail(q, id, "needs the id of a letter");
	else if (!strcmp(verb, "move"))
		run_move(q, id, args, l);
	else if (!strcmp(verb, "flush") || !strcmp(verb, "hold") || !strcmp(verb, "release") ||
		 !strcmp(verb, "remove"))
		l ? on_letter(q, id, verb, l)
		  : on_route(q, id, verb, route, args);
	else
		answer_fail(q, id, "unknown verb");
	json_decref(o);
}
