/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "queue/trace.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "queue.h"

/* Of a route's name, and of its next hop, so much stands in an event: longer ones cannot be told apart. */
#define ROUTE_WORD_MAX 40
#define HOP_WORD_MAX   48

/* What who asks has to do with the letter. */
enum tie { TIE_NONE, TIE_ALL, TIE_BROUGHT, TIE_WENT_TO };

struct letter_trace {
	struct queue *q;
	const struct trace_asker *who;
	struct history_event *e;
	size_t count, cap;
	char **rcpt; /* addresses, as far as they are known */
	size_t rcpt_count;
	bool *theirs; /* TIE_WENT_TO: by recipient, did it go to who asks? */
	enum tie tie;
	/* Who brought it. */
	char peer[TUNNEL_NAME_MAX];
	struct addr client;
	uint8_t peer_id[LETTER_ID_LEN];
};

int trace_init(struct trace *t)
{
	*t = (struct trace){ .next = json_array() };
	if (t->next && !story_init(&t->story))
		return 0;
	trace_clear(t);
	return -ENOMEM;
}

void trace_clear(struct trace *t)
{
	story_clear(&t->story);
	json_decref(t->rcpts);
	json_decref(t->next);
	*t = (struct trace){ 0 };
}

/* ------------------------------------------------------------------ reading ------- */

static void take_event(const struct history_event *e, size_t which, void *arg)
{
	struct letter_trace *t = (struct letter_trace *)arg + which;

	if (t->count == t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 16;
		struct history_event *a = realloc(t->e, cap * sizeof(*a));

		if (!a)
			return;
		t->e = a;
		t->cap = cap;
	}
	t->e[t->count++] = *e;
}

/* The word behind @key, which stands at *@at; past it and its blank. False: another one stands there. */
static bool word_at(const char **at, const char *key, char *out, size_t cap)
{
	size_t k = strlen(key), n;

	if (strncmp(*at, key, k))
		return false;
	n = strcspn(*at + k, " ");
	snprintf(out, cap, "%.*s", (int)n, *at + k);
	*at += k + n;
	*at += **at == ' ';
	return true;
}

/* "listener=.. client=.. [peer=..] ..": in this order alone, since a login behind it may look like anything. */
static void read_origin(struct letter_trace *t, const struct history_event *e)
{
	char word[ENDPOINT_STR_MAX + MTA_NAME_MAX];
	const char *at = e->text;
	struct endpoint from;

	memcpy(t->peer_id, e->peer_id, LETTER_ID_LEN);
	if (!word_at(&at, "listener=", word, sizeof(word)) ||
	    !word_at(&at, "client=", word, sizeof(word)))
		return;
	if (!endpoint_parse(word, 0, &from))
		t->client = from.addr;
	word_at(&at, "peer=", t->peer, sizeof(t->peer));
	if (!*at) /* cut there: a part of a name may be another one's */
		t->peer[0] = 0, t->client.family = 0;
}

/* Addresses that a letter came with; one a line. */
static void read_rcpts(struct letter_trace *t, const struct history_event *e)
{
	char text[HISTORY_TEXT_MAX + 1], *save = NULL;
	size_t at = e->rcpt;

	memcpy(text, e->text, sizeof(text));
	for (char *w = strtok_r(text, "\n", &save); w && at < ENVELOPE_RCPTS_MAX;
	     w = strtok_r(NULL, "\n", &save), at++) {
		if (at >= t->rcpt_count) {
			char **a = realloc(t->rcpt, (at + 1) * sizeof(*a));

			if (!a)
				return;
			memset(a + t->rcpt_count, 0, (at + 1 - t->rcpt_count) * sizeof(*a));
			t->rcpt = a;
			t->rcpt_count = at + 1;
		}
		free(t->rcpt[at]);
		t->rcpt[at] = strdup(w);
	}
}

static const char *address(const struct letter_trace *t, const struct history_event *e)
{
	return e->rcpt < t->rcpt_count ? t->rcpt[e->rcpt] : NULL;
}

/* ------------------------------------------------------------------ who is who ---- */

/*
 * The route that an attempt went by; NULL: it is not known, or leads elsewhere by now: whoever has its name today has
 * no part in what happened then.
 */
static const struct mta_route *route_of(const struct letter_trace *t, const struct history_event *e)
{
	char name[MTA_NAME_MAX], hop[ROUTE_HOP_MAX] = "", now[ROUTE_HOP_MAX];
	const struct mta_route *r;
	const char *at = e->text;

	if (!word_at(&at, "route=", name, sizeof(name)) || strlen(name) >= ROUTE_WORD_MAX)
		return NULL;
	r = config_route(t->q->ch->config, name);
	if (!word_at(&at, "hop=", hop, sizeof(hop)))
		return e->kind == HISTORY_EXPIRED ? r : NULL; /* it went nowhere */
	if (strlen(hop) >= HOP_WORD_MAX)
		return NULL;
	if (r && (r->kind == ROUTE_TUNNEL || r->kind == ROUTE_SMARTHOST) &&
	    strcmp(route_next_hop(r, "", now), hop))
		return NULL;
	return r;
}

static bool has_address(const struct mta_route *r, const struct addr *a)
{
	struct endpoint e;

	for (size_t i = 0; i < r->addresses.count; i++)
		if (!endpoint_parse(r->addresses.v[i], r->port, &e) && addr_eq(&e.addr, a))
			return true;
	return false;
}

/* Does the route lead to who asks? */
static bool leads_to_asker(const struct letter_trace *t, const struct mta_route *r)
{
	if (t->who->admin)
		return false;
	if (t->who->peer[0])
		return r->kind == ROUTE_TUNNEL && r->peer && !strcmp(r->peer, t->who->peer);
	return r->kind == ROUTE_SMARTHOST && r->trace && has_address(r, &t->who->addr);
}

static bool brought_it(const struct letter_trace *t)
{
	if (t->who->peer[0])
		return !strcmp(t->peer, t->who->peer);
	return !t->peer[0] && t->client.family && addr_eq(&t->client, &t->who->addr);
}

static bool is_tenant(const struct letter_trace *t)
{
	return t->who->peer[0] && config_home_by_peer(t->q->ch->config, t->who->peer);
}

/* Who asks is a tenant, and @peer somebody else, who may be one too, or may have been. */
static bool is_foreign(const struct letter_trace *t, const char *peer)
{
	return is_tenant(t) && peer && *peer && strcmp(peer, t->who->peer) != 0;
}

static void find_theirs(struct letter_trace *t)
{
	const struct mta_route *r;

	t->theirs = calloc(ENVELOPE_RCPTS_MAX, sizeof(*t->theirs));
	for (size_t i = 0; t->theirs && i < t->count; i++) {
		const struct history_event *e = &t->e[i];

		r = e->kind == HISTORY_DELIVERED && e->rcpt < ENVELOPE_RCPTS_MAX ? route_of(t, e)
										: NULL;
		if (!r || !leads_to_asker(t, r))
			continue;
		t->theirs[e->rcpt] = true;
		t->tie = TIE_WENT_TO;
	}
}

/* ------------------------------------------------------------------ telling ------- */

/* Of a letter that went to others too, who asks learns of his own recipients. */
static bool may_know(const struct letter_trace *t, const struct history_event *e)
{
	if (t->tie != TIE_WENT_TO)
		return true;
	if (e->rcpt != HISTORY_NO_RCPT)
		return e->rcpt < ENVELOPE_RCPTS_MAX && t->theirs[e->rcpt];
	return e->kind == HISTORY_ACCEPTED || e->kind == HISTORY_HELD ||
	       e->kind == HISTORY_RELEASED || e->kind == HISTORY_IMPORTED;
}

/* Where it came from, or went to, is not for this tenant to know. */
static const char *veiled(const struct letter_trace *t, const struct history_event *e)
{
	const struct mta_route *r = e->rcpt != HISTORY_NO_RCPT ? route_of(t, e) : NULL;

	if (e->kind == HISTORY_ACCEPTED && is_foreign(t, t->peer))
		return "from another home";
	if (r && r->kind == ROUTE_TUNNEL && is_foreign(t, r->peer))
		return "to another home";
	if (!r && is_tenant(t) && !strncmp(e->text, "route=", 6))
		return "by a route that is no more";
	return NULL;
}

static json_t *event_json(const struct letter_trace *t, const struct history_event *e,
			  const char *letter)
{
	static const uint8_t none[LETTER_ID_LEN];
	const char *veil = veiled(t, e);
	char hex[LETTER_ID_STR_MAX];
	json_t *o = json_pack("{s:s,s:s,s:I,s:s,s:o}", "host", t->q->ch->config->hostname, "letter",
			      letter, "at_ms", (json_int_t)e->at_ms, "event", history_word(e->kind),
			      "text", text_json(veil ? veil : e->text));

	if (o && e->rcpt != HISTORY_NO_RCPT) {
		json_object_set_new(o, "recipient", json_integer(e->rcpt));
		json_object_set_new(o, "address", text_json(address(t, e)));
		json_object_set_new(o, "attempts", json_integer(e->attempts));
	}
	if (o && e->code)
		json_object_set_new(o, "code", json_integer(e->code));
	if (o && !veil && memcmp(e->peer_id, none, LETTER_ID_LEN))
		json_object_set_new(o, "peer_id", json_string(letter_id_str(e->peer_id, hex)));
	return o;
}

static void tell(const struct letter_trace *t, const uint8_t id[static LETTER_ID_LEN],
		 struct trace *out)
{
	char letter[LETTER_ID_STR_MAX];

	letter_id_str(id, letter);
	for (size_t i = 0; i < t->count; i++) {
		const struct history_event *e = &t->e[i];

		if (e->kind == HISTORY_RCPTS || !may_know(t, e))
			continue;
		json_array_append_new(out->story.events, event_json(t, e, letter));
	}
	if (t->tie != TIE_WENT_TO)
		return;
	if (!out->rcpts)
		out->rcpts = json_object();
	for (size_t i = 0; i < t->rcpt_count; i++)
		if (t->theirs[i] && t->rcpt[i])
			json_object_set_new(out->rcpts, t->rcpt[i], json_true());
}

/* ------------------------------------------------------------------ whom else ----- */

static void add_target(struct trace *out, const struct mta_route *r,
		       const uint8_t id[static LETTER_ID_LEN])
{
	struct trace_target *to = &out->target[out->target_count];

	for (size_t i = 0; i < out->target_count; i++)
		if (!strcmp(out->target[i].route, r->name) &&
		    !memcmp(out->target[i].id, id, LETTER_ID_LEN))
			return;
	if (out->target_count == TRACE_TARGETS_MAX) {
		out->story.cut = true;
		return;
	}
	snprintf(to->route, sizeof(to->route), "%s", r->name);
	route_next_hop(r, "", to->next_hop);
	memcpy(to->id, id, LETTER_ID_LEN);
	out->target_count++;
}

static void note_next(struct trace *out, const char *id, const char *hop)
{
	size_t i;
	json_t *o;

	json_array_foreach(out->next, i, o)
	{
		if (!strcmp(json_string_value(json_object_get(o, "id")), id))
			return;
	}
	json_array_append_new(out->next, json_pack("{s:s,s:s}", "id", id, "hop", hop));
}

/* A Postern behind us: its own id for the letter, if it told us, and by which it is asked. */
static void ask_behind(const struct letter_trace *t, const struct history_event *e,
		       const uint8_t own[static LETTER_ID_LEN], struct trace *out)
{
	const struct mta_route *r = route_of(t, e);
	const char *host = strstr(e->text, "hop=");
	char hex[LETTER_ID_STR_MAX], hop[HISTORY_TEXT_MAX + 1] = "";
	uint8_t there[LETTER_ID_LEN];
	bool told = history_reply_id(e->text, there);

	if (told) {
		if (host)
			word_at(&host, "hop=", hop, sizeof(hop));
		note_next(out, letter_id_str(there, hex), hop);
	}
	if (!r || !r->trace || leads_to_asker(t, r))
		return;
	/* Over the tunnel our id went with the letter; elsewhere it is theirs or none. */
	if (r->kind == ROUTE_TUNNEL && !is_foreign(t, r->peer))
		add_target(out, r, own);
	else if (r->kind == ROUTE_SMARTHOST && told)
		add_target(out, r, there);
}

static void ask_before(const struct letter_trace *t, const uint8_t own[static LETTER_ID_LEN],
		       struct trace *out)
{
	static const uint8_t none[LETTER_ID_LEN];
	const struct mta_config *c = t->q->ch->config;

	if (t->peer[0] && (is_foreign(t, t->peer) || !memcmp(t->peer_id, none, LETTER_ID_LEN)))
		return;
	for (size_t i = 0; i < c->route_count; i++) {
		const struct mta_route *r = &c->routes[i];

		if (!r->trace)
			continue;
		if (t->peer[0] && r->kind == ROUTE_TUNNEL && r->peer && !strcmp(r->peer, t->peer))
			return add_target(out, r, t->peer_id);
		if (!t->peer[0] && t->client.family && r->kind == ROUTE_SMARTHOST &&
		    has_address(r, &t->client))
			return add_target(out, r, own);
	}
}

static void find_targets(const struct letter_trace *t, const uint8_t own[static LETTER_ID_LEN],
			 struct trace *out)
{
	if (t->tie == TIE_ALL || t->tie == TIE_WENT_TO)
		ask_before(t, own, out);
	for (size_t i = 0; t->tie != TIE_WENT_TO && i < t->count; i++)
		if (t->e[i].kind == HISTORY_DELIVERED)
			ask_behind(t, &t->e[i], own, out);
}

/* False: there is nothing that who asks may know. */
static bool tell_letter(struct letter_trace *t, const uint8_t own[static LETTER_ID_LEN],
			struct trace *out)
{
	for (size_t i = 0; i < t->count; i++) {
		if (t->e[i].kind == HISTORY_ACCEPTED)
			read_origin(t, &t->e[i]);
		else if (t->e[i].kind == HISTORY_RCPTS)
			read_rcpts(t, &t->e[i]);
	}
	if (t->who->admin)
		t->tie = t->count ? TIE_ALL : TIE_NONE;
	else if (brought_it(t))
		t->tie = TIE_BROUGHT;
	else
		find_theirs(t);
	if (t->tie == TIE_NONE)
		return false;
	tell(t, own, out);
	find_targets(t, own, out);
	return true;
}

static void letter_clear(struct letter_trace *t)
{
	for (size_t i = 0; i < t->rcpt_count; i++)
		free(t->rcpt[i]);
	free(t->rcpt);
	free(t->theirs);
	free(t->e);
}

size_t trace_letters(struct queue *q, const uint8_t own[][LETTER_ID_LEN], size_t count,
		     const struct trace_asker *who, struct trace *out)
{
	struct letter_trace t[TRACE_LETTERS_MAX];
	size_t first = count;

	for (size_t i = 0; i < count; i++)
		t[i] = (struct letter_trace){ .q = q, .who = who, .tie = TIE_NONE };
	history_each(q->history, own, count, take_event, t);
	for (size_t i = 0; i < count; i++) {
		if (tell_letter(&t[i], own[i], out) && first == count)
			first = i;
		letter_clear(&t[i]);
	}
	return first;
}
