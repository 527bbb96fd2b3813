/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: letters go out. The schedule says which leg may go, the letter is read back from
 * the journal, relay gets what it needs and nothing else. What its result means is land.c's affair.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "land.h"
#include "log.h"
#include "outgoing.h"
#include "queue.h"

#define PUMP_MAX       64	  /* attempts per turn of the loop */
#define LINK_BYTES_MAX (2u << 20) /* under way to relay */
#define PUT_OFF_MS     10000	  /* until a letter that could not be opened is tried again */

struct attempt {
	struct hash_node node;
	uint32_t id;
	struct leg *leg;   /* NULL: the letter was removed */
	uint32_t reroutes; /* of the queue, when it left */
	const char *why;   /* a probe that ends here; NULL: relay has it */
	struct land_to to; /* @to.again: its result is here, and could not be written yet */
};

static struct attempt *find(struct queue *q, uint32_t id)
{
	return (struct attempt *)(void *)hash_first(&q->attempts, id);
}

static void forget(struct queue *q, struct attempt *a)
{
	hash_remove(&q->attempts, &a->node);
	free(a);
}

/* --- handing out --- */

/* MSG_R_REPEAT, if any of them was in an attempt before. */
static uint8_t put_rcpts(struct wr *w, const struct leg *g, const struct envelope *e,
			 uint16_t *count, uint32_t *prior)
{
	const struct letter *l = g->letter;
	bool tried = false;

	*count = 0;
	*prior = 0;
	for (size_t i = 0; i < l->rcpt_count; i++) {
		struct msg_r_rcpt m = { .index = (uint16_t)i,
					.notify = e->rcpt[i].notify,
					.addr = e->rcpt[i].addr,
					.orcpt = e->rcpt[i].orcpt };

		if (l->rcpt[i].leg != g || !l->rcpt[i].flying)
			continue;
		msg_r_rcpt_put(w, &m);
		++*count;
		tried |= l->rcpt[i].tried;
		if (l->rcpt[i].attempts > *prior)
			*prior = l->rcpt[i].attempts;
	}
	return tried ? MSG_R_REPEAT : 0;
}

static void note_tried(struct leg *g)
{
	struct letter *l = g->letter;

	for (size_t i = 0; i < l->rcpt_count; i++)
		l->rcpt[i].tried |= l->rcpt[i].leg == g && l->rcpt[i].flying;
}

/* 0: sent. Else nothing happened. */
static int send_attempt(struct queue *q, uint32_t id, struct leg *g, const struct store_reading *r,
			uint8_t families, bool probe)
{
	static uint8_t rcpts[128 * 1024];
	struct wr wr = wr_init(rcpts, sizeof(rcpts));
	struct msg_r_attempt m = {
		.route = g->dest->route,
		.next_hop = g->dest->hop,
		.families = families,
		.seq = g->letter->seq,
		.low_seq = store_low_seq(q->store),
		.age_s = r->env.age_s,
		.body = r->body,
		.body_len = r->body_len,
	};
	int fd = -1, rc;

	m.flags = put_rcpts(&wr, g, &r->env, &m.rcpt_count, &m.prior);
	if (wr.bad)
		return -EMSGSIZE;
	m.rcpts = rd_init(rcpts, wr.len);
	m.flags |= probe ? MSG_R_PROBE : 0;
	if (!r->body) {
		fd = store_open_body(q->store, g->letter);
		if (fd < 0)
			return fd;
	}
	rc = outgoing_send(q->relay, id, &m, &r->env, fd);
	if (fd >= 0)
		close(fd);
	return rc;
}

/*
 * It cannot be sent: listed, told in the log, in nobody's way, until finish.c finds that it can be read. What of it is
 * in flight lands as ever, and comes back here if anything is left of it.
 */
static void set_aside(struct queue *q, struct leg *g, uint64_t now_ms)
{
	struct letter *l = g->letter;

	l->unreadable = true;
	l->bad_reads += l->bad_reads < FINISH_BAD_READS;
	schedule_landed(q->schedule, g, now_ms);
	schedule_remove_idle(q->schedule, l);
}

/*
 * It cannot be opened now, or there is no memory for it. That is its own affair: it waits a while, charged
 * with nothing, and whoever stands behind it goes.
 */
static void put_off(struct queue *q, struct leg *g, int rc, uint64_t now_ms)
{
	static struct log_limit quiet;
	struct letter *l = g->letter;
	char hex[LETTER_ID_STR_MAX];
	uint32_t swallowed;

	if (log_limited(&quiet, 0, now_ms, &swallowed))
		log_err(NULL, "letter=%s msg=\"cannot be sent now, it waits: %s\"",
			letter_id_str(l->id, hex), strerror(-rc));
	for (size_t i = 0; i < l->rcpt_count; i++)
		if (l->rcpt[i].leg == g && l->rcpt[i].flying)
			l->rcpt[i].next_s = (uint32_t)((now_ms + PUT_OFF_MS) / 1000 + 1);
	schedule_landed(q->schedule, g, now_ms);
}

static void landed(struct queue *q, struct attempt *a, const struct msg_r_result *m);

/* A probe that goes no further: as if somebody had taken it. */
static void end_probe(struct queue *q, struct attempt *a)
{
	uint8_t buf[1024];
	struct wr w = wr_init(buf, sizeof(buf));
	struct msg_r_result m = { .host = "", .tls = "" };
	struct leg *g = a->leg;

	for (uint16_t i = 0; i < g->letter->rcpt_count; i++) {
		struct msg_r_rcpt_result x = { .index = i,
					       .result = RCPT_RES_DELIVERED,
					       .report = REPORT_PROBED,
					       .code = 250,
					       .enhanced = "2.1.5",
					       .text = a->why };
		struct wr before = w;

		if (g->letter->rcpt[i].leg != g || !g->letter->rcpt[i].flying)
			continue;
		msg_r_rcpt_result_put(&w, &x);
		if (w.bad) { /* the rest has its next turn */
			w = before;
			break;
		}
		m.rcpt_count++;
	}
	m.rcpts = rd_init(buf, w.len);
	landed(q, a, &m);
}

static void end_probes(struct timer *t, uint64_t now_ms)
{
	struct queue *q = t->arg;

	(void)now_ms;
	for (size_t i = 0; i < q->probes.end_count; i++) {
		struct attempt *a = find(q, q->probes.ends[i]);

		if (a && a->leg)
			end_probe(q, a);
		else if (a)
			forget(q, a);
	}
	q->probes.end_count = 0;
	attempt_pump(q);
}

static int end_later(struct queue *q, uint32_t id)
{
	if (q->probes.end_count == PROBE_ENDS)
		return -EAGAIN;
	q->probes.ends[q->probes.end_count++] = id;
	q->probes.timer.fire = end_probes;
	q->probes.timer.arg = q;
	return timer_set(loop_timers(q->loop), &q->probes.timer, loop_now_ms(q->loop));
}

/* It went nowhere. False: neither will any other one now. */
static bool not_started(struct queue *q, struct leg *g, int rc, uint64_t now_ms)
{
	char hex[LETTER_ID_STR_MAX];

	switch (rc) {
	case -EPIPE: /* the link, and its end is told */
	case -EAGAIN:
		schedule_landed(q->schedule, g, now_ms);
		return false;
	case -EMSGSIZE:
	case -ENOENT:
		log_err(NULL, "letter=%s msg=\"cannot be sent: %s\"",
			letter_id_str(g->letter->id, hex), strerror(-rc));
		set_aside(q, g, now_ms);
		return true;
	default:
		put_off(q, g, rc, now_ms);
		return true;
	}
}

/* False: the link cannot take more now. */
static bool start(struct queue *q, struct leg *g, uint8_t families, bool probe, uint64_t now_ms)
{
	struct letter *l = g->letter;
	struct attempt *a = calloc(1, sizeof(*a));
	struct store_reading r;
	int rc = a ? store_read(q->store, l, &r) : -ENOMEM;

	if (rc == -ENOMEM) {
		free(a);
		put_off(q, g, rc, now_ms);
		return true;
	}
	if (rc) {
		free(a);
		set_aside(q, g, now_ms);
		return true;
	}
	do
		a->id = ++q->next_attempt;
	while (!a->id || find(q, a->id));
	a->leg = g;
	a->reroutes = q->reroutes;
	a->why = probe_ends(q, g, &r.env);
	a->to = (struct land_to){ .id = a->why ? 0 : a->id, .generation = q->relay_generation };
	rc = hash_insert(&q->attempts, &a->node, a->id);
	if (!rc) {
		rc = a->why ? end_later(q, a->id) : send_attempt(q, a->id, g, &r, families, probe);
		if (rc)
			hash_remove(&q->attempts, &a->node);
	}
	store_reading_clear(&r);
	if (rc) {
		free(a);
		return not_started(q, g, rc, now_ms);
	}
	l->bad_reads = 0;
	note_tried(g);
	q->credits -= !a->why;
	return true;
}

void attempt_pump(struct queue *q)
{
	uint64_t now_ms = loop_now_ms(q->loop), due;
	struct leg *g = NULL;
	uint8_t families;
	bool probe;
	int n = 0;

	pressure_release(q);
	if (q->rerouting) /* the timer is its */
		return;
	timer_clear(loop_timers(q->loop), &q->pump);
	if (!q->relay)
		return;
	while (q->credits && n < PUMP_MAX && ipc_queued(q->relay) < LINK_BYTES_MAX &&
	       (g = schedule_next(q->schedule, now_ms, &families, &probe))) {
		n++;
		if (!start(q, g, families, probe, now_ms)) {
			timer_set(loop_timers(q->loop), &q->pump, now_ms + 100);
			return;
		}
	}
	if (!q->credits || ipc_queued(q->relay) >= LINK_BYTES_MAX) {
		/* A credit or the tick comes; the socket drains by itself meanwhile. */
		if (q->credits)
			timer_set(loop_timers(q->loop), &q->pump, now_ms + 5);
		return;
	}
	due = schedule_due(q->schedule, now_ms);
	if (due != UINT64_MAX)
		timer_set(loop_timers(q->loop), &q->pump,
			  due > now_ms ? due : now_ms + (n ? 0 : 50));
}

/* --- results --- */

void attempt_reroute(struct queue *q, struct letter *l)
{
	struct store_reading r;
	int rc = l->state == LETTER_QUEUED && !l->unreadable ? store_read(q->store, l, &r) : -EINVAL;

	if (!rc || rc == -ENOMEM) /* without a way it is found within a minute, with the old one never */
		schedule_remove_idle(q->schedule, l);
	if (rc)
		return;
	if (schedule_add(q->schedule, l, &r.env, loop_now_ms(q->loop)))
		log_err(NULL, "msg=\"out of memory: a letter waits a minute\"");
	store_reading_clear(&r);
}

/* It was in flight when all others were routed anew, so its way is still the old one. */
static void after_reroute(struct queue *q, struct letter *l, uint32_t reroutes)
{
	if (reroutes != q->reroutes)
		attempt_reroute(q, l);
}

static void after_landing(struct queue *q, struct attempt *a, struct letter *l, int rc)
{
	uint32_t reroutes = a->reroutes;

	q->unwritten += !!rc - a->to.again;
	a->to.again = rc;
	if (rc)
		return;
	forget(q, a);
	after_reroute(q, l, reroutes);
}

/* Ends @a, unless it is to be written yet that somebody has the letter. */
static void landed(struct queue *q, struct attempt *a, const struct msg_r_result *m)
{
	struct letter *l = a->leg->letter;

	after_landing(q, a, l, land_result(q, a->leg, &a->to, m, loop_now_ms(q->loop)));
}

static void on_result(struct queue *q, struct ipc_msg *m)
{
	struct rd r = rd_init(m->data, m->len);
	struct attempt *a = find(q, m->id);
	struct msg_r_result res;

	if (!a || a->why || a->to.again) {
		log_err(NULL, "msg=\"result for no attempt\"");
		return;
	}
	if (!a->leg) {
		land_told(q, &a->to);
		return forget(q, a);
	}
	if (msg_r_result_get(&r, &res)) {
		log_err(NULL, "msg=\"bad result from relay\"");
		res = (struct msg_r_result){ .host = "" };
	}
	landed(q, a, &res);
	attempt_pump(q);
}

static void write_again(struct hash_node *n, void *arg)
{
	struct attempt *a = (struct attempt *)(void *)n;
	struct queue *q = arg;
	struct letter *l;

	if (!a->to.again)
		return;
	l = a->leg->letter;
	after_landing(q, a, l, land_again(q, a->leg, &a->to, loop_now_ms(q->loop)));
}

void attempt_write(struct queue *q)
{
	if (q->unwritten)
		hash_each(&q->attempts, write_again, q);
}

static void on_message(struct ipc *ipc, struct ipc_msg *m, void *arg)
{
	struct queue *q = arg;
	struct rd r = rd_init(m->data, m->len);
	uint32_t n;

	(void)ipc;
	switch (m->type) {
	case MSG_R_CREDIT:
		n = rd_be32(&r);
		if (r.bad)
			return;
		q->credits =
		    n > QUEUE_CREDITS_MAX - q->credits ? QUEUE_CREDITS_MAX : q->credits + n;
		return attempt_pump(q);
	case MSG_R_RESULT:
		return on_result(q, m);
	case MSG_R_TRACED:
		return ask_answered(q, m);
	default:
		log_err(NULL, "unknown message type=%u from relay", m->type);
	}
}

struct lost {
	struct queue *q;
	const struct letter *letter;
};

static void lose(struct hash_node *n, void *arg)
{
	struct attempt *a = (struct attempt *)(void *)n;
	struct queue *q = ((struct lost *)arg)->q;
	struct letter *l = a->leg ? a->leg->letter : NULL;

	if (a->to.again) /* it did arrive */
		return;
	if (l) {
		schedule_landed(q->schedule, a->leg, loop_now_ms(q->loop));
		after_reroute(q, l, a->reroutes);
	}
	forget(q, a);
}

void attempt_close(struct queue *q)
{
	struct lost x = { .q = q };

	if (!q->relay)
		return;
	ipc_free(q->relay);
	q->relay = NULL;
	q->relay_generation++;
	q->credits = 0;
	hash_each(&q->attempts, lose, &x);
	ask_relay_lost(q);
}

static void on_closed(struct ipc *ipc, void *arg)
{
	(void)ipc;
	log_warn(NULL, "msg=\"relay is gone: what it had under way will be tried again\"");
	attempt_close(arg);
}

void attempt_attach(struct queue *q, int fd)
{
	static const struct ipc_ops ops = { .message = on_message, .closed = on_closed };

	attempt_close(q);
	q->relay = ipc_new(q->loop, fd, &ops, q);
}

static void unlink_leg(struct hash_node *n, void *arg)
{
	struct attempt *a = (struct attempt *)(void *)n;
	struct lost *x = arg;

	if (!a->leg || a->leg->letter != x->letter)
		return;
	if (a->to.again) {
		x->q->unwritten--;
		return forget(x->q, a);
	}
	if (x->q->relay)
		ipc_send(x->q->relay, MSG_R_CANCEL, a->id, NULL, 0);
	a->leg = NULL;
}

void attempt_forget(struct queue *q, const struct letter *l)
{
	struct lost x = { .q = q, .letter = l };

	for (const struct leg *g = l->legs; g; g = g->next)
		if (g->flying)
			return hash_each(&q->attempts, unlink_leg, &x);
}
