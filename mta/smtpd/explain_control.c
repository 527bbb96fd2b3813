/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The verb "explain" of mta.sock, of the configuration and the tables that are in force. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "explain.h"
#include "smtpd.h"

#define WHY_PART 24 /* sentences in one message to the parent */

/* A question that waits for lookup. */
struct explaining {
	struct explaining *next;
	struct explain x;
	struct lookup_req lookup;
	struct smtpd *d;
	uint32_t id;
};

/* Takes @o. */
static void send_json(struct child *ch, uint32_t id, json_t *o)
{
	char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;

	if (text)
		child_reply(ch, id, text, strlen(text));
	free(text);
	json_decref(o);
}

static void send_error(struct child *ch, uint32_t id, const char *why)
{
	send_json(ch, id, json_pack("{s:s}", "error", why));
}

/* The sentences in parts, since hundreds of rules do not fit one message; the rest with the last. */
static void send_answer(struct child *ch, uint32_t id, struct explain *x)
{
	json_t *all = json_incref(x->why);
	size_t count = json_array_size(all);

	json_object_set_new(x->answer, "why", json_array());
	for (size_t i = 0; i < count;) {
		json_t *part = json_array();

		for (size_t k = 0; k < WHY_PART && i < count; k++, i++)
			json_array_append(part, json_array_get(all, i));
		send_json(ch, id, json_pack("{s:o,s:b}", "why", part, "more", 1));
	}
	json_decref(all);
	send_json(ch, id, x->answer);
	x->answer = NULL;
}

static void drop(struct explaining *e)
{
	struct explaining **at = &e->d->explaining;

	while (*at && *at != e)
		at = &(*at)->next;
	if (*at)
		*at = e->next;
	lookup_cancel(&e->lookup);
	json_decref(e->x.answer);
	free(e);
}

static void known(struct lookup_req *req, const struct lookup_rcpt *a)
{
	struct explaining *e = req->arg;

	explain_recipient(&e->x, a);
	explain_limits(&e->x, e->d->limits, loop_now_ms(e->d->ch->loop));
	send_answer(e->d->ch, e->id, &e->x);
	drop(e);
}

void explain_control(struct smtpd *d, uint32_t id, const char *json, size_t len)
{
	json_t *o = json_loadb(json, len, 0, NULL);
	const char *verb = json_string_value(json_object_get(o, "verb"));
	struct explaining *e = calloc(1, sizeof(*e));
	char why[200] = "out of memory";

	if (!e || !verb || strcmp(verb, "explain")) {
		send_error(d->ch, id, e ? "smtpd knows the verb explain alone" : why);
		free(e);
		json_decref(o);
		return;
	}
	e->d = d;
	e->id = id;
	e->next = d->explaining;
	d->explaining = e;
	if (explain_begin(&e->x, d->ch->config, &d->ch->tunnel, json_object_get(o, "args"), why,
			  sizeof(why))) {
		send_error(d->ch, id, why);
		drop(e);
	} else if (!e->x.ask) {
		explain_limits(&e->x, d->limits, loop_now_ms(d->ch->loop));
		send_answer(d->ch, id, &e->x);
		drop(e);
	} else {
		e->lookup.done.rcpt = known;
		e->lookup.arg = e;
		if (lookup_rcpt(d->lookup, &e->lookup, e->x.rcpt.text)) {
			send_error(d->ch, id, why);
			drop(e);
		}
	}
	json_decref(o);
}

void explain_abandon(struct smtpd *d)
{
	while (d->explaining) {
		send_error(d->ch, d->explaining->id, "the configuration was read anew; ask again");
		drop(d->explaining);
	}
}
