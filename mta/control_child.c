/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "parent.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "parts.h"

/*
 * Theory: what the parent hands on to a child as {"verb":..,"args":{..}}, and what comes back, in one part or
 * in several. Each such request has a place in a table of few, from the question to the last part of the answer,
 * to the child's end, or to the end of its time: that is counted from the question and from each part, so a
 * long answer that goes on is not cut. A part that comes after it belongs to nobody.
 */

static const char *name_of(enum mta_proc who)
{
	return who == MTA_PROC_QUEUE ? "the queue" : "smtpd";
}

static struct control_request *request_new(struct parent *p, struct control_ref ref)
{
	for (size_t i = 0; i < REQUESTS_MAX; i++) {
		if (p->requests[i].id)
			continue;
		if (!++p->next_request)
			p->next_request = 1;
		p->requests[i] =
		    (struct control_request){ .id = p->next_request, .ref = ref, .body = NULL };
		return &p->requests[i];
	}
	return NULL;
}

static void request_done(struct control_request *r)
{
	json_decref(r->body);
	memset(r, 0, sizeof(*r));
}

/* The nearest end of all. */
static void arm(struct parent *p)
{
	uint64_t at_ms = UINT64_MAX;

	for (size_t i = 0; i < REQUESTS_MAX; i++) {
		if (p->requests[i].id && p->requests[i].until_ms < at_ms)
			at_ms = p->requests[i].until_ms;
	}
	if (at_ms == UINT64_MAX)
		timer_clear(loop_timers(p->loop), &p->control_timer);
	else
		timer_set(loop_timers(p->loop), &p->control_timer, at_ms);
}

static void on_timer(struct timer *t, uint64_t now_ms)
{
	control_expire(t->arg, now_ms);
}

void control_ask(struct parent *p, struct control_ref ref, const struct control_question *q,
		 const json_t *args, uint64_t now_ms)
{
	struct proc *to = proc_by_id(&p->table, (int)q->who);
	struct control_request *r;
	json_t *o = json_pack("{s:s,s:O}", "verb", q->verb, "args", (json_t *)(uintptr_t)args);
	char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	int rc = -ENOMEM;

	json_decref(o);
	r = text ? request_new(p, ref) : NULL;
	if (r) {
		r->asked = q;
		r->until_ms = now_ms + q->wait_ms;
		rc = to && to->ipc ? ipc_send(to->ipc, MTA_CONTROL, r->id, text, strlen(text))
				   : -EPIPE;
	}
	free(text);
	p->control_timer.fire = on_timer;
	p->control_timer.arg = p;
	if (!rc) {
		arm(p);
		return;
	}
	if (r)
		request_done(r);
	if (r)
		control_fail(p->control, ref, "%s does not run now; try again", name_of(q->who));
	else
		control_fail(p->control, ref, "too many requests");
}

void control_answer(struct parent *p, enum mta_proc who, uint32_t id, const char *json, size_t len,
		    uint64_t now_ms)
{
	struct control_request *r = NULL;
	const char *error;
	json_t *o;
	bool more;

	for (size_t i = 0; id && i < REQUESTS_MAX && !r; i++) {
		if (p->requests[i].id == id && p->requests[i].asked->who == who)
			r = &p->requests[i];
	}
	if (!r)
		return;
	o = json_loadb(json, len, 0, NULL);
	error = json_is_object(o) ? json_string_value(json_object_get(o, "error"))
				  : "an answer is not understood";
	if (error) {
		control_fail(p->control, r->ref, "%s", error);
		json_decref(o);
		request_done(r);
		return;
	}
	more = json_is_true(json_object_get(o, "more"));
	json_object_del(o, "more");
	if (!r->body) {
		r->body = o;
	} else {
		parts_join(r->body, o);
		json_decref(o);
	}
	if (more) {
		r->until_ms = now_ms + r->asked->wait_ms;
		return;
	}
	control_reply(p->control, r->ref, r->body);
	r->body = NULL;
	request_done(r);
}

void control_expire(struct parent *p, uint64_t now_ms)
{
	for (size_t i = 0; i < REQUESTS_MAX; i++) {
		struct control_request *r = &p->requests[i];
		const struct proc *to;

		if (!r->id || r->until_ms > now_ms)
			continue;
		to = proc_by_id(&p->table, (int)r->asked->who);
		log_warn(NULL, "proc=%s pid=%d msg=\"no answer to %s within %" PRIu32 " s\"",
			 to ? to->spec->name : "", to ? (int)to->pid : 0, r->asked->verb,
			 r->asked->wait_ms / 1000);
		control_fail(p->control, r->ref,
			     "%s (pid %d) gave no answer within %" PRIu32
			     " s; what was asked of it may still be done",
			     name_of(r->asked->who), to ? (int)to->pid : 0,
			     r->asked->wait_ms / 1000);
		request_done(r);
	}
	arm(p);
}

void control_abandon(struct parent *p, enum mta_proc who)
{
	for (size_t i = 0; i < REQUESTS_MAX; i++) {
		struct control_request *r = &p->requests[i];

		if (!r->id || r->asked->who != who)
			continue;
		control_fail(p->control, r->ref, "%s was restarted; try again", name_of(who));
		request_done(r);
	}
}
