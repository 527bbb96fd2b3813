/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "asker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relay.h"
#include "story.h"

#define CUT "[{\"cut\":true}]\n"

struct question {
	struct question *next; /* of relay.questions */
	struct relay *relay;
	uint32_t id; /* the queue's */
	struct conn *conn;
	struct timer timer;
	char args[XTRACE_ARGS_MAX];
	char story[STORY_MAX + sizeof(CUT)]; /* lines as they come */
	size_t len;
	bool cut; /* there were more */
};

static void tell(struct relay *r, uint32_t id, const struct msg_traced *m)
{
	static uint8_t buf[IPC_PAYLOAD_MAX];
	struct wr w = wr_init(buf, sizeof(buf));
	size_t n;

	msg_traced_put(&w, m);
	if (r->queue && !wr_finish(&w, &n))
		ipc_send(r->queue, MSG_R_TRACED, id, buf, n);
}

/* The queue has its answer: forget the question. Its connection lives on for its QUIT. */
static void settle(struct question *q, const struct msg_traced *m)
{
	struct relay *r = q->relay;
	struct question **at = &r->questions;

	while (*at != q)
		at = &(*at)->next;
	*at = q->next;
	timer_clear(loop_timers(r->ch->loop), &q->timer);
	if (q->conn)
		q->conn->question = NULL;
	tell(r, q->id, m);
	free(q);
}

static void fail(struct question *q, const char *why)
{
	struct msg_traced m = { .text = why };

	settle(q, &m);
}

static void on_timer(struct timer *t, uint64_t now_ms)
{
	struct question *q = t->arg;
	struct conn *c = q->conn;

	(void)now_ms;
	fail(q, "no answer in time");
	if (c)
		conn_close(c, "no answer in time");
}

static size_t count(const struct relay *r)
{
	size_t n = 0;

	for (const struct question *q = r->questions; q; q = q->next)
		n++;
	return n;
}

/* Over a connection of its own; NULL: it began. */
static const char *begin(struct question *q, const struct msg_r_trace *m)
{
	struct relay *r = q->relay;
	struct hop *h;

	if (!config_route(r->ch->config, m->route))
		return "the route is gone";
	if (r->conn_count >= CONNS_MAX)
		return "too many connections are open here";
	h = relay_hop(r, m->route, m->next_hop);
	if (!h || conn_new(h, MSG_R_FAMILY4 | MSG_R_FAMILY6))
		return "out of memory";
	q->conn = h->conns;
	q->conn->question = q;
	q->conn->old = true;
	return NULL;
}

void asker_ask(struct relay *r, const struct ipc_msg *m)
{
	struct rd in = rd_init(m->data, m->len);
	struct msg_traced no = { .text = "too many questions are under way here" };
	struct msg_r_trace t;
	struct question *q;
	const char *why;

	if (msg_r_trace_get(&in, &t))
		return;
	q = count(r) < ASKER_QUESTIONS_MAX ? calloc(1, sizeof(*q)) : NULL;
	if (!q)
		return tell(r, m->id, &no);
	q->relay = r;
	q->id = m->id;
	q->timer = (struct timer){ .fire = on_timer, .arg = q };
	snprintf(q->args, sizeof(q->args), "%s", t.args);
	q->next = r->questions;
	r->questions = q;
	timer_set(loop_timers(r->ch->loop), &q->timer, loop_now_ms(r->ch->loop) + t.ms);
	why = begin(q, &t);
	if (why)
		fail(q, why);
}

void asker_ready(struct conn *c)
{
	struct question *q = c->question;

	if (!c->session.may_trace) {
		fail(q, "it answers no such questions: an older Postern, none, or it does not know us");
		client_quit(&c->session);
		return;
	}
	q->len = 0;
	q->cut = false;
	client_trace(&c->session, q->args);
}

void asker_line(struct conn *c, const char *line)
{
	struct question *q = c->question;
	size_t n = strlen(line);

	if (!q || *line != '[') /* a refusal, or the last line, is in words */
		return;
	if (q->cut)
		return;
	if (n + 1 > STORY_MAX - q->len) {
		q->cut = true;
		memcpy(q->story + q->len, CUT, sizeof(CUT) - 1);
		q->len += sizeof(CUT) - 1;
		return;
	}
	memcpy(q->story + q->len, line, n);
	q->story[q->len + n] = '\n';
	q->len += n + 1;
}

void asker_answer(struct conn *c, const struct reply *r)
{
	struct question *q = c->question;
	struct msg_traced m = { .code = 250, .text = "" };
	char why[REPLY_TEXT_MAX + 32];

	if (!q)
		return;
	if (r->code == 250) {
		m.story = (const uint8_t *)q->story;
		m.len = q->len;
		settle(q, &m);
	} else {
		snprintf(why, sizeof(why), "%u %s %s", r->code, r->enhanced, r->text);
		m = (struct msg_traced){ .code = r->code, .text = why };
		settle(q, &m);
	}
	client_quit(&c->session);
}

void asker_ended(struct conn *c, const char *why)
{
	if (c->question)
		fail(c->question, why);
}
