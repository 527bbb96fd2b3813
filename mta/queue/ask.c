/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ask.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answer.h"
#include "log.h"
#include "queue.h"

#define NO_LETTER "5.1.1 Nothing is known here of such a letter of yours"

/* ------------------------------------------------------------------ the end ------- */

static void tell_smtpd(struct queue *q, uint32_t id, uint16_t code, const char *text,
		       const struct story *s)
{
	static uint8_t buf[IPC_PAYLOAD_MAX];
	static char lines[STORY_MAX];
	struct msg_traced m = { .code = code, .text = text, .story = (const uint8_t *)lines };
	struct wr w = wr_init(buf, sizeof(buf));

	if (s)
		m.len = story_write(s, lines, sizeof(lines));
	msg_traced_put(&w, &m);
	if (q->smtpd)
		ipc_send(q->smtpd, MSG_Q_TRACED, id, buf, w.len);
}

static void tell_admin(struct inquiry *x)
{
	struct answer a = { .q = x->q, .id = x->id, .name = "events", .items = json_array() };
	struct letter *l = store_find(x->q->store, x->letter);
	char own[LETTER_ID_STR_MAX];
	json_t *e;
	size_t i;

	if (l && l->state == LETTER_GONE)
		l = NULL;
	story_sort(&x->t.story);
	json_array_foreach(x->t.story.events, i, e)
	{
		if (answer_full(&a)) {
			x->t.story.cut = true;
			break;
		}
		answer_add(&a, json_incref(e));
	}
	answer_end(&a, json_pack("{s:s,s:s,s:o,s:O,s:O,s:b}", "id", letter_id_str(x->letter, own),
				 "host", x->q->ch->config->hostname, "letter",
				 l ? letter_json(x->q, l, true) : json_null(), "next", x->t.next,
				 "silent", x->t.story.silent, "cut", x->t.story.cut));
}

static void end(struct inquiry *x)
{
	struct queue *q = x->q;

	timer_clear(loop_timers(q->loop), &x->timer);
	if (x->who.admin)
		tell_admin(x);
	else if (x->generation == q->smtpd_generation)
		tell_smtpd(q, x->id, 250, "", &x->t.story);
	trace_clear(&x->t);
	x->used = false;
}

static void end_if_whole(struct inquiry *x)
{
	for (size_t i = 0; i < x->open_count; i++)
		if (x->open[i].id)
			return;
	end(x);
}

/* ------------------------------------------------------------------ other hops ---- */

static void silent(struct inquiry *x, struct ask_open *o, const char *why)
{
	char hex[LETTER_ID_STR_MAX];

	o->id = 0;
	story_silent(&x->t.story, o->hop, letter_id_str(o->letter, hex), why);
}

static void on_timer(struct timer *t, uint64_t now_ms)
{
	struct inquiry *x = t->arg;

	(void)now_ms;
	for (size_t i = 0; i < x->open_count; i++)
		if (x->open[i].id)
			silent(x, &x->open[i], "no answer in time");
	end(x);
}

/* What speaks against asking; NULL: nothing. */
static const char *cannot_ask(struct queue *q, const struct trace_target *to,
			      const struct xtrace *x)
{
	const struct mta_route *r = config_route(q->ch->config, to->route);
	const struct tunnel_peer *p;

	if (x->ms < XTRACE_MS_MIN)
		return "there was no time left to ask";
	if (!q->relay || !r)
		return "the relay does not run now";
	if (r->kind != ROUTE_TUNNEL)
		return NULL;
	p = tunnel_peer(&q->ch->tunnel, r->peer);
	return !p ? "it is no peer of the tunnel" : p->state == TUNNEL_DOWN ? "the tunnel is down" : NULL;
}

static void ask_one(struct inquiry *x, const struct trace_target *to, struct xtrace question)
{
	struct queue *q = x->q;
	struct ask_open *o = &x->open[x->open_count++];
	char args[XTRACE_ARGS_MAX];
	struct msg_r_trace m = { .route = to->route, .next_hop = to->next_hop, .ms = question.ms };
	uint8_t buf[MTA_NAME_MAX + ROUTE_HOP_MAX + XTRACE_ARGS_MAX + 16];
	struct wr w = wr_init(buf, sizeof(buf));
	const char *why = cannot_ask(q, to, &question);

	snprintf(o->hop, sizeof(o->hop), "%s", to->next_hop);
	memcpy(o->letter, to->id, LETTER_ID_LEN);
	if (!why) {
		memcpy(question.id, to->id, LETTER_ID_LEN);
		question.ms -= question.ms < 2 * XTRACE_MS_STEP ? question.ms / 2 : XTRACE_MS_STEP;
		m.args = xtrace_build(&question, args);
		msg_r_trace_put(&w, &m);
		o->id = ++q->asks.next_id ? q->asks.next_id : ++q->asks.next_id;
		if (w.bad || ipc_send(q->relay, MSG_R_TRACE, o->id, buf, w.len))
			why = "the relay does not run now";
	}
	if (why)
		silent(x, o, why);
}

/* @hops, @ms: how far and for how long it may be asked. Ends @x when there is nobody to ask. */
static void ask_all(struct inquiry *x, unsigned hops, unsigned ms)
{
	struct xtrace question = { .hops = hops ? hops - 1 : 0, .ms = ms };

	timer_set(loop_timers(x->q->loop), &x->timer, loop_now_ms(x->q->loop) + ms);
	for (size_t i = 0; hops && i < x->t.target_count; i++)
		ask_one(x, &x->t.target[i], question);
	end_if_whole(x);
}

/* Who asks may know of his recipients alone, whatever another hop tells us. */
static void keep_known(const struct trace *t, struct story *s)
{
	for (size_t i = json_array_size(s->events); t->rcpts && i--;) {
		const json_t *a = json_object_get(json_array_get(s->events, i), "address");

		if (a && !json_object_get(t->rcpts, json_string_value(a)))
			json_array_remove(s->events, i);
	}
}

static void take_story(struct inquiry *x, struct ask_open *o, const struct msg_traced *m)
{
	const char *own = x->q->ch->config->hostname;
	struct story s;

	if (story_init(&s))
		return silent(x, o, "out of memory");
	if (m->code != 250)
		silent(x, o, m->text);
	else if (story_read(&s, (const char *)m->story, m->len, own, o->hop))
		silent(x, o, "its answer cannot be read");
	o->id = 0;
	keep_known(&x->t, &s);
	story_join(&x->t.story, &s);
	story_clear(&s);
}

void ask_answered(struct queue *q, const struct ipc_msg *msg)
{
	struct rd in = rd_init(msg->data, msg->len);
	struct msg_traced m;

	if (msg_traced_get(&in, &m) || !msg->id)
		return;
	for (size_t i = 0; i < ASK_MAX; i++) {
		struct inquiry *x = &q->asks.inquiry[i];

		for (size_t k = 0; x->used && k < x->open_count; k++) {
			if (x->open[k].id != msg->id)
				continue;
			take_story(x, &x->open[k], &m);
			return end_if_whole(x);
		}
	}
}

void ask_relay_lost(struct queue *q)
{
	for (size_t i = 0; i < ASK_MAX; i++) {
		struct inquiry *x = &q->asks.inquiry[i];

		if (!x->used)
			continue;
		for (size_t k = 0; k < x->open_count; k++)
			if (x->open[k].id)
				silent(x, &x->open[k], "the relay was restarted");
		end_if_whole(x);
	}
}

void asks_clear(struct queue *q)
{
	for (size_t i = 0; i < ASK_MAX; i++) {
		struct inquiry *x = &q->asks.inquiry[i];

		if (!x->used)
			continue;
		timer_clear(loop_timers(q->loop), &x->timer);
		trace_clear(&x->t);
		x->used = false;
	}
}

/* ------------------------------------------------------------------ questions ----- */

static size_t room(const struct asks *a)
{
	size_t n = 0;

	for (size_t i = 0; i < ASK_MAX; i++)
		n += !a->inquiry[i].used;
	return n;
}

static struct inquiry *inquiry_new(struct queue *q, uint32_t id)
{
	for (size_t i = 0; i < ASK_MAX; i++) {
		struct inquiry *x = &q->asks.inquiry[i];

		if (x->used)
			continue;
		*x = (struct inquiry){ .q = q, .id = id, .generation = q->smtpd_generation };
		x->timer = (struct timer){ .fire = on_timer, .arg = x };
		x->used = !trace_init(&x->t);
		return x->used ? x : NULL;
	}
	return NULL;
}

static void give_up(struct inquiry *x)
{
	trace_clear(&x->t);
	x->used = false;
}

/* All letters that @id may mean; the first one that may be told is x->letter. */
static bool look_up(struct inquiry *x, const uint8_t id[static LETTER_ID_LEN])
{
	uint8_t own[TRACE_LETTERS_MAX][LETTER_ID_LEN];
	size_t n = history_find(x->q->history, id, own, TRACE_LETTERS_MAX);
	size_t first = trace_letters(x->q, (const uint8_t(*)[LETTER_ID_LEN])own, n, &x->who, &x->t);

	if (first == n)
		return false;
	memcpy(x->letter, own[first], LETTER_ID_LEN);
	return true;
}

void ask_admin(struct queue *q, uint32_t id, const json_t *args)
{
	const char *hex = json_string_value(json_object_get(args, "id"));
	bool local = json_is_true(json_object_get(args, "local"));
	uint8_t lid[LETTER_ID_LEN];
	struct inquiry *x;
	struct letter *l;

	if (!hex || letter_id_parse(hex, lid))
		return answer_fail(q, id, "needs the id of a letter");
	x = inquiry_new(q, id);
	if (!x)
		return answer_fail(q, id, "too many traces are under way; ask again in a moment");
	x->who.admin = true;
	memcpy(x->letter, lid, LETTER_ID_LEN);
	l = store_find(q->store, lid);
	if (!look_up(x, lid) && (!l || l->state == LETTER_GONE)) {
		give_up(x);
		return answer_fail(q, id,
				   "nothing is known here of such a letter, or not any more; its "
				   "end stands in the log");
	}
	ask_all(x, local ? 0 : XTRACE_HOPS_MAX, XTRACE_MS_MAX);
}

/* Whose quota is the oldest makes room. */
static struct ask_quota *quota_of(struct asks *a, const char *who)
{
	struct ask_quota *u;

	for (size_t i = 0; i < ASK_WHO; i++)
		if (!strcmp(a->quota[i].who, who))
			return &a->quota[i];
	u = &a->quota[a->next_quota++ % ASK_WHO];
	*u = (struct ask_quota){ .at_ms = 0 };
	snprintf(u->who, sizeof(u->who), "%s", who);
	return u;
}

/* What is left of @burst questions, of which one comes back in @gap_ms. */
static uint32_t left(struct ask_quota *u, uint64_t now_ms, uint32_t burst, uint64_t gap_ms)
{
	uint64_t back;

	if (!u->at_ms) {
		u->at_ms = now_ms;
		u->left = burst;
	}
	back = (now_ms - u->at_ms) / gap_ms;
	u->at_ms += back * gap_ms;
	u->left = back + u->left < burst ? (uint32_t)back + u->left : burst;
	return u->left;
}

/* Has this hop asked too often of late, or all together? Else this question is counted. */
static bool asks_too_often(struct queue *q, const char *who)
{
	uint64_t now_ms = loop_now_ms(q->loop);
	struct ask_quota *u = quota_of(&q->asks, who), *all = &q->asks.all;

	if (!left(u, now_ms, ASK_BURST, ASK_GAP_MS) ||
	    !left(all, now_ms, ASK_ALL_BURST, ASK_ALL_GAP_MS))
		return true;
	u->left--;
	all->left--;
	return false;
}

static bool read_who(struct trace_asker *who, const struct msg_q_trace *m)
{
	*who = (struct trace_asker){ 0 };
	snprintf(who->peer, sizeof(who->peer), "%s", m->peer);
	return *m->peer || !addr_parse(m->client, &who->addr);
}

void ask_peer(struct queue *q, const struct ipc_msg *msg)
{
	struct rd in = rd_init(msg->data, msg->len);
	struct trace_asker who;
	struct msg_q_trace m;
	struct inquiry *x;
	struct xtrace t;

	if (msg_q_trace_get(&in, &m) || !read_who(&who, &m) ||
	    xtrace_parse(m.args, strlen(m.args), &t))
		return tell_smtpd(q, msg->id, 451, "4.3.0 Queue and server disagree", NULL);
	if (asks_too_often(q, *m.peer ? m.peer : m.client))
		return tell_smtpd(q, msg->id, 450, "4.7.0 You have just asked, come again", NULL);
	x = room(&q->asks) > ASK_ADMIN ? inquiry_new(q, msg->id) : NULL;
	if (!x)
		return tell_smtpd(q, msg->id, 450, "4.3.2 Too many ask, come again", NULL);
	x->who = who;
	if (!look_up(x, t.id)) {
		give_up(x);
		return tell_smtpd(q, msg->id, 550, NO_LETTER, NULL);
	}
	ask_all(x, t.hops, t.ms);
}
