/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: what relay says of an attempt is written down before relay hears so (MSG_R_COMMITTED); a letter whose
 * recipients are all settled ends in the same record.
 *
 *	result -> what it means for host and recipients -> record -> durable -> MSG_R_COMMITTED
 *	                       ^                             |
 *	                       +--- "delivered" alone -------+ it could not be made: no memory
 *
 * The record waits for LAND_LATER_MS, or until a letter comes in, or some more results: then one sync serves for
 * both, and who sends letters one after the other costs one sync each and not two. What a crash meanwhile brings
 * about is what it brings about during a sync: who has the letter gets it once more, once a crash, and a hop of
 * ours knows it again. For no more letters than before: relay sends no dot to any other hop while it knows of
 * more than its window of results that are not durable, and the letter keeps store_low_seq() down until it is.
 *
 * Memory never says what the journal does not: what could not be put into a record is undone. Then who was
 * refused is simply tried again. But who has the letter must not get it again: such recipients stay in flight,
 * "owed" says with which report, and land_again() makes their record anew until it can be made. So does the
 * history: that they have it is noted when relay says so, all else with its record.
 */
#include "land.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "secret.h"

#define LAND_LATER_MS 10   /* a result waits for a letter that comes in, to share its sync */
#define UNWRITTEN_MS 10000 /* until who was refused is tried again, when that could not be written */

/* A result on its way to disk. */
struct landing {
	struct store_waiter w;
	struct queue *q;
	struct land_to to;
};

void land_told(struct queue *q, const struct land_to *to)
{
	if (to->id && q->relay && to->generation == q->relay_generation)
		ipc_send(q->relay, MSG_R_COMMITTED, to->id, NULL, 0);
}

static void committed(struct store_waiter *w, int rc, struct letter *l)
{
	struct landing *x = (struct landing *)(void *)w;

	(void)l;
	if (!rc)
		land_told(x->q, &x->to);
	attempt_pump(x->q);
	free(x);
}

static void log_rcpt(const struct letter *l, const struct leg *g, uint16_t index,
		     const struct msg_r_rcpt_result *res, const char *host)
{
	static const char *const words[RCPT_RESULTS] = { "delivered", "deferred", "failed",
							 "not-tried" };
	char hex[LETTER_ID_STR_MAX], text[160], quoted[320];

	if (res->result == RCPT_RES_NOT_TRIED)
		return;
	snprintf(text, sizeof(text), "%s", res->text);
	/* The event is the relay's, which has told it. */
	log_debug(NULL, "letter=%s rcpt=%u route=%s hop=%s host=%s result=%s code=%u reply=\"%s\"",
		  letter_id_str(l->id, hex), index, g->dest->route, g->dest->hop, host,
		  words[res->result], res->code,
		  log_quote(quoted, sizeof(quoted), text, strlen(text)));
}

/* What counts: charged to it, or its end. */
static void note_rcpt(struct queue *q, const struct leg *g, uint16_t index,
		      const struct msg_r_rcpt_result *res, uint16_t attempts, const char *host)
{
	static const uint8_t kinds[RCPT_RESULTS] = { HISTORY_DELIVERED, HISTORY_DEFERRED,
						     HISTORY_FAILED };

	if (kinds[res->result])
		history_rcpt(q->history, (enum history_kind)kinds[res->result], g->letter->id,
			     index, res->code, attempts,
			     "route=%.40s hop=%.48s host=%.40s reply=%s%s%s", g->dest->route,
			     g->dest->hop, *host ? host : "-", res->enhanced,
			     *res->enhanced ? " " : "", res->text);
}

static const char *reply_text(const struct msg_r_rcpt_result *res, char out[static STORE_TEXT_MAX])
{
	if (res->code)
		snprintf(out, STORE_TEXT_MAX, "%u %s%s%s", res->code, res->enhanced,
			 *res->enhanced ? " " : "", res->text);
	else
		snprintf(out, STORE_TEXT_MAX, "%s%s%s", res->enhanced, *res->enhanced ? " " : "",
			 res->text);
	return out;
}

struct outcome {
	bool fault, worked;
	char text[STORE_TEXT_MAX];
};

static void look_at_host(struct rd rcpts, uint16_t count, struct outcome *o)
{
	struct msg_r_rcpt_result res;

	memset(o, 0, sizeof(*o));
	while (count-- && !msg_r_rcpt_result_get(&rcpts, &res)) {
		bool failed = res.result == RCPT_RES_TEMPFAIL || res.result == RCPT_RES_PERMFAIL;

		if (failed && res.scope == SCOPE_HOST) {
			o->fault = true;
			reply_text(&res, o->text);
		}
		o->worked |=
		    res.result == RCPT_RES_DELIVERED || (failed && res.scope != SCOPE_HOST);
	}
}

/* Ends that senders may be told of. */
struct ends {
	uint16_t bad[FINISH_SLICE], good[FINISH_SLICE];
	size_t bad_count, good_count;
	uint8_t report; /* enum rcpt_report, of all that are good: they came by one session */
};

static void add_end(struct ends *e, const struct msg_r_rcpt_result *res, enum rcpt_state state)
{
	if (state == RCPT_FAILED) {
		e->bad[e->bad_count++] = res->index;
	} else if (state == RCPT_DELIVERED && res->report != REPORT_NONE) {
		e->good[e->good_count++] = res->index;
		e->report = res->report;
	}
}

static int tell_ends(struct queue *q, struct store_change *c, struct letter *l, struct ends *e)
{
	int rc = finish_success(q, c, l, e->good, e->good_count,
				e->report == REPORT_RELAYED  ? DSN_RELAYED
				: e->report == REPORT_PROBED ? DSN_PROBED
							     : DSN_DELIVERED);

	if (!rc)
		rc = finish_rcpts(q, c, l, e->bad, e->bad_count);
	e->bad_count = e->good_count = 0;
	return rc;
}

/* A record, with the ends that it will tell of. */
struct slice {
	struct store_change *c; /* NULL: nothing is to be written */
	struct ends ends;
	size_t count;  /* of recipients in it */
	uint64_t mark; /* history: what is noted since is in no record yet */
};

static int slice_begin(struct queue *q, struct letter *l, struct slice *s)
{
	s->ends = (struct ends){ .bad_count = 0 };
	s->count = 0;
	s->c = store_begin(q->store);
	return s->c ? store_remember(s->c, l) : -ENOMEM;
}

static void flush(struct timer *t, uint64_t now_ms)
{
	struct queue *q = t->arg;

	(void)now_ms;
	store_flush(q->store);
}

static int commit(struct queue *q, struct store_change *c, struct store_waiter *w)
{
	int rc = store_commit_later(c, w);

	if (rc || timer_armed(&q->flush))
		return rc;
	q->flush.fire = flush;
	q->flush.arg = q;
	if (timer_set(loop_timers(q->loop), &q->flush, loop_now_ms(q->loop) + LAND_LATER_MS))
		store_flush(q->store);
	return 0;
}

/* Not 0: what it changed in memory is undone. */
static int slice_end(struct queue *q, struct letter *l, struct slice *s, struct store_waiter *w)
{
	struct store_change *c = s->c;
	int rc = tell_ends(q, c, l, &s->ends);

	s->c = NULL;
	if (rc)
		store_cancel(c);
	else
		rc = commit(q, c, w);
	if (!rc)
		s->mark = history_mark(q->history);
	return rc;
}

/* One recipient into the record. */
static int put_rcpt(struct queue *q, struct leg *g, struct slice *s, const struct msg_r_result *m,
		    struct msg_r_rcpt_result *res, uint64_t now_ms)
{
	struct letter *l = g->letter;
	struct letter_rcpt *r = &l->rcpt[res->index];
	struct schedule_verdict v;
	char text[STORE_TEXT_MAX];
	uint16_t attempts;
	uint32_t random;
	int rc = 0;

	if (l->flags & ENV_PROBE)
		probe_landed(q, g, m, res);
	secret_random(&random, sizeof(random));
	v = schedule_rcpt(q->schedule, g, res->index, res, random, now_ms);
	log_rcpt(l, g, res->index, res, m->host);
	if (v.state == RCPT_PENDING && !v.charged)
		return 0;
	if (s->count == FINISH_SLICE)
		rc = slice_end(q, l, s, NULL);
	if (!rc && !s->c)
		rc = slice_begin(q, l, s);
	if (rc)
		return rc;
	attempts = (uint16_t)(r->attempts + (v.charged && r->attempts < UINT16_MAX));
	if (res->result != RCPT_RES_DELIVERED)
		note_rcpt(q, g, res->index, res, attempts, m->host);
	s->count++;
	add_end(&s->ends, res, v.state);
	return store_put_rcpt(s->c, l, res->index, v.state, attempts,
			      l->flags & ENV_PROBE ? probe_reply(m, res, text)
						   : reply_text(res, text));
}

/* All that it says, in records of FINISH_SLICE ends; @s is the last one, which the caller ends or drops. */
static int put_all(struct queue *q, struct leg *g, const struct msg_r_result *m, struct slice *s,
		   uint64_t now_ms)
{
	struct msg_r_rcpt_result res;
	struct rd rcpts = m->rcpts;
	int rc = 0;

	for (uint16_t n = 0; !rc && n < m->rcpt_count && !msg_r_rcpt_result_get(&rcpts, &res); n++) {
		if (res.index >= g->letter->rcpt_count)
			break;
		if (g->letter->rcpt[res.index].leg != g || !g->letter->rcpt[res.index].flying)
			continue;
		rc = put_rcpt(q, g, s, m, &res, now_ms);
	}
	return rc;
}

/* Who is left out of a result was not tried; not at once again. */
static void land_rest(struct queue *q, struct leg *g, uint64_t now_ms)
{
	static const struct msg_r_rcpt_result none = { .result = RCPT_RES_NOT_TRIED };

	for (uint16_t i = 0; i < g->letter->rcpt_count; i++)
		if (g->letter->rcpt[i].leg == g && g->letter->rcpt[i].flying)
			schedule_rcpt(q->schedule, g, i, &none, 0, now_ms);
}

/* Who has the letter now, as long as that is not written; what his host said is known only once. */
static void mark_owed(struct queue *q, struct leg *g, const struct msg_r_result *m)
{
	struct msg_r_rcpt_result res;
	struct rd rcpts = m->rcpts;

	for (uint16_t n = 0; n < m->rcpt_count && !msg_r_rcpt_result_get(&rcpts, &res); n++) {
		struct letter_rcpt *r =
		    res.index < g->letter->rcpt_count ? &g->letter->rcpt[res.index] : NULL;

		if (!r || r->leg != g || !r->flying || res.result != RCPT_RES_DELIVERED)
			continue;
		if (!r->owed)
			note_rcpt(q, g, res.index, &res,
				  (uint16_t)(r->attempts + (r->attempts < UINT16_MAX)), m->host);
		r->owed = res.report + 1u;
	}
}

/* It is in a record, or was never to be: true. Else it stays in flight. */
static bool keep_owed(struct leg *g, uint64_t now_ms)
{
	uint32_t later_s = (uint32_t)((now_ms + UNWRITTEN_MS) / 1000 + 1);
	bool any = false;

	for (size_t i = 0; i < g->letter->rcpt_count; i++) {
		struct letter_rcpt *r = &g->letter->rcpt[i];

		if (r->leg != g || r->state != RCPT_PENDING)
			continue;
		r->flying = r->owed;
		any |= r->flying;
		if (!r->flying && r->next_s < later_s)
			r->next_s = later_s;
	}
	return any;
}

static void clear_owed(struct leg *g)
{
	for (size_t i = 0; i < g->letter->rcpt_count; i++)
		if (g->letter->rcpt[i].leg == g)
			g->letter->rcpt[i].owed = 0;
}

static void complain(const struct letter *l, int rc, uint64_t now_ms)
{
	static struct log_limit quiet;
	char hex[LETTER_ID_STR_MAX];
	uint32_t swallowed;

	if (!log_limited(&quiet, 0, now_ms, &swallowed))
		log_err(NULL, "letter=%s msg=\"a result could not be written, it will be again: %s\"",
			letter_id_str(l->id, hex), strerror(-rc));
}

int land_result(struct queue *q, struct leg *g, const struct land_to *to, const struct msg_r_result *m,
		uint64_t now_ms)
{
	struct landing *x = calloc(1, sizeof(*x));
	struct letter *l = g->letter;
	struct slice s = { .c = NULL };
	struct outcome o;
	bool write;
	int rc;

	mark_owed(q, g, m);
	look_at_host(m->rcpts, m->rcpt_count, &o);
	if (!to->again)
		schedule_host(q->schedule, g, m, o.fault, o.worked && to->id, o.text, now_ms);
	s.mark = history_mark(q->history);
	rc = x ? put_all(q, g, m, &s, now_ms) : -ENOMEM;
	write = !rc && s.c;
	if (x)
		*x = (struct landing){ .w.done = committed, .q = q, .to = *to };
	if (write)
		rc = slice_end(q, l, &s, &x->w);
	store_cancel(s.c);
	if (rc || !write)
		free(x);
	if (rc) {
		history_take_back(q->history, s.mark);
		complain(l, rc, now_ms);
		if (keep_owed(g, now_ms))
			return rc;
	}
	clear_owed(g);
	land_rest(q, g, now_ms);
	if (l->state == LETTER_QUEUED)
		schedule_landed(q->schedule, g, now_ms);
	else
		schedule_remove(q->schedule, l);
	if (rc || !write)
		land_told(q, to);
	return 0;
}

int land_again(struct queue *q, struct leg *g, const struct land_to *to, uint64_t now_ms)
{
	static uint8_t buf[64 * ENVELOPE_RCPTS_MAX];
	struct wr w = wr_init(buf, sizeof(buf));
	struct msg_r_result m = { .host = "", .tls = "" };

	for (uint16_t i = 0; i < g->letter->rcpt_count; i++) {
		const struct letter_rcpt *r = &g->letter->rcpt[i];
		struct msg_r_rcpt_result x = { .index = i,
					       .result = RCPT_RES_DELIVERED,
					       .report = (uint8_t)(r->owed - 1u),
					       .code = 250,
					       .enhanced = "2.0.0",
					       .text = "" };

		if (r->leg != g || !r->flying || !r->owed)
			continue;
		msg_r_rcpt_result_put(&w, &x);
		m.rcpt_count++;
	}
	m.rcpts = rd_init(buf, w.len);
	return land_result(q, g, to, &m, now_ms);
}
