/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: letters go out. The schedule says which leg may go, the letter is read back from
 * the journal, relay gets what it needs and nothing else. Its result is written down before it
 * is told so (MSG_R_COMMITTED); a letter whose recipients are all settled ends in the same record.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "log.h"
#include "queue.h"
#include "secret.h"

#define PUMP_MAX       64	  /* attempts per turn of the loop */
#define LINK_BYTES_MAX (2u << 20) /* under way to relay */
#define FRAME	       4096	  /* of an attempt, beside envelope, recipients and body */

struct attempt {
	struct hash_node node;
	uint32_t id;
	struct leg *leg;  /* NULL: the letter was removed */
	uint32_t reloads; /* of the queue, when it left */
};

/* A result on its way to disk. */
struct landing {
	struct store_waiter w;
	struct queue *q;
	uint32_t id, generation;
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

static void send_committed(struct queue *q, uint32_t id, uint32_t generation)
{
	if (q->relay && generation == q->relay_generation)
		ipc_send(q->relay, MSG_R_COMMITTED, id, NULL, 0);
}

static void committed(struct store_waiter *w, int rc, struct letter *l)
{
	struct landing *x = (struct landing *)(void *)w;

	(void)l;
	if (!rc)
		send_committed(x->q, x->id, x->generation);
	attempt_pump(x->q);
	free(x);
}

/* --- handing out --- */

static int memfd_of(const uint8_t *p, size_t len)
{
	int fd = memfd_create("letter", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;
	for (size_t at = 0; at < len;) {
		ssize_t n = write(fd, p + at, len - at);

		if (n <= 0) {
			close(fd);
			return -EIO;
		}
		at += (size_t)n;
	}
	fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
	return fd;
}

static void put_rcpts(struct wr *w, const struct leg *g, const struct envelope *e, uint16_t *count,
		      uint32_t *prior)
{
	const struct letter *l = g->letter;

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
		if (l->rcpt[i].attempts > *prior)
			*prior = l->rcpt[i].attempts;
	}
}

/* 0: sent. Else nothing happened. */
static int send_attempt(struct queue *q, uint32_t id, struct leg *g, const struct store_reading *r,
			uint8_t families, bool probe)
{
	static uint8_t env[ENVELOPE_MAX + 1], rcpts[128 * 1024], msg[IPC_PAYLOAD_MAX];
	struct wr we = wr_init(env, sizeof(env)), wr = wr_init(rcpts, sizeof(rcpts));
	struct wr w = wr_init(msg, sizeof(msg));
	struct envelope e = r->env;
	struct msg_r_attempt m = {
		.route = g->dest->route,
		.next_hop = g->dest->hop,
		.families = families,
		.seq = g->letter->seq,
		.low_seq = store_low_seq(q->store),
		.age_s = r->env.age_s,
		.body_len = r->body_len,
		.env = env,
	};
	int fd = -1, rc;

	e.rcpt_count = 0;
	envelope_build(&e, &we);
	put_rcpts(&wr, g, &r->env, &m.rcpt_count, &m.prior);
	if (we.bad || wr.bad)
		return -EMSGSIZE;
	m.env_len = we.len;
	m.rcpts = rd_init(rcpts, wr.len);
	m.flags = probe ? MSG_R_PROBE : 0;
	if (r->body && r->body_len + we.len + wr.len + FRAME <= sizeof(msg)) {
		m.flags |= MSG_R_INLINE;
		m.body = r->body;
	} else {
		fd =
		    r->body ? memfd_of(r->body, r->body_len) : store_open_body(q->store, g->letter);
		if (fd < 0)
			return fd;
	}
	msg_r_attempt_put(&w, &m);
	rc =
	    w.bad ? -EMSGSIZE : ipc_send_fds(q->relay, MSG_R_ATTEMPT, id, msg, w.len, &fd, fd >= 0);
	if (fd >= 0)
		close(fd);
	return rc;
}

/*
 * It cannot be sent: listed, told in the log, in nobody's way. What of it is in flight lands as ever,
 * and comes back here if anything is left of it.
 */
static void set_aside(struct queue *q, struct leg *g, uint64_t now_ms)
{
	struct letter *l = g->letter;

	l->unreadable = true;
	schedule_landed(q->schedule, g, now_ms);
	schedule_remove_idle(q->schedule, l);
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
		schedule_landed(q->schedule, g, now_ms);
		return false;
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
	a->reloads = q->reloads;
	rc = send_attempt(q, a->id, g, &r, families, probe);
	store_reading_clear(&r);
	if (!rc)
		rc = hash_insert(&q->attempts, &a->node, a->id);
	if (!rc) {
		q->credits--;
		return true;
	}
	free(a);
	if (rc == -EMSGSIZE || rc == -ENOENT) {
		char hex[LETTER_ID_STR_MAX];

		log_err(NULL, "letter=%s msg=\"cannot be sent: %s\"", letter_id_str(l->id, hex),
			strerror(-rc));
		set_aside(q, g, now_ms);
		return true;
	}
	schedule_landed(q->schedule, g, now_ms);
	return false;
}

void attempt_pump(struct queue *q)
{
	uint64_t now_ms = loop_now_ms(q->loop), due;
	struct leg *g = NULL;
	uint8_t families;
	bool probe;
	int n = 0;

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

static void log_rcpt(const struct letter *l, const struct leg *g, uint16_t index,
		     const struct msg_r_rcpt_result *res, const char *host)
{
	static const char *const words[RCPT_RESULTS] = { "delivered", "deferred", "failed",
							 "not-tried" };
	char hex[LETTER_ID_STR_MAX], text[160], quoted[320];

	if (res->result == RCPT_RES_NOT_TRIED)
		return;
	snprintf(text, sizeof(text), "%s", res->text);
	log_info(NULL, "letter=%s rcpt=%u route=%s hop=%s host=%s result=%s code=%u reply=\"%s\"",
		 letter_id_str(l->id, hex), index, g->dest->route, g->dest->hop, host,
		 words[res->result], res->code,
		 log_quote(quoted, sizeof(quoted), text, strlen(text)));
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
	char text[256];
};

static void look_at_host(struct rd rcpts, uint16_t count, struct outcome *o)
{
	struct msg_r_rcpt_result res;

	memset(o, 0, sizeof(*o));
	while (count-- && !msg_r_rcpt_result_get(&rcpts, &res)) {
		bool failed = res.result == RCPT_RES_TEMPFAIL || res.result == RCPT_RES_PERMFAIL;

		if (failed && res.scope == SCOPE_HOST) {
			o->fault = true;
			snprintf(o->text, sizeof(o->text), "%u %s %s", res.code, res.enhanced,
				 res.text);
		}
		o->worked |=
		    res.result == RCPT_RES_DELIVERED || (failed && res.scope != SCOPE_HOST);
	}
}

/* A record holds so many bad ends and no more. NULL: no memory for another one. */
static struct store_change *next_slice(struct queue *q, struct store_change *c, struct letter *l,
				       const uint16_t *bad, size_t count)
{
	finish_rcpts(q, c, l, bad, count);
	if (store_commit(c, true, NULL))
		log_err(NULL, "msg=\"a result could not be written\"");
	return store_begin(q->store);
}

static void land(struct queue *q, struct leg *g, uint32_t id, struct msg_r_result *m,
		 uint64_t now_ms)
{
	uint16_t bad[FINISH_SLICE];
	struct store_change *c = store_begin(q->store);
	struct letter *l = g->letter;
	struct msg_r_rcpt_result res;
	struct landing *x = calloc(1, sizeof(*x));
	char text[STORE_TEXT_MAX];
	size_t bad_count = 0;
	struct outcome o;
	bool write = false;
	uint32_t random;

	if (!c || !x) { /* as if it had not happened: at worst a duplicate */
		store_cancel(c);
		free(x);
		schedule_landed(q->schedule, g, now_ms);
		return send_committed(q, id, q->relay_generation);
	}
	look_at_host(m->rcpts, m->rcpt_count, &o);
	schedule_host(q->schedule, g, m, o.fault, o.worked, o.text, now_ms);
	for (uint16_t n = 0; n < m->rcpt_count && !msg_r_rcpt_result_get(&m->rcpts, &res); n++) {
		struct schedule_verdict v;
		struct letter_rcpt *r;

		if (res.index >= l->rcpt_count)
			break;
		r = &l->rcpt[res.index];
		if (r->leg != g || !r->flying)
			continue;
		if (bad_count == FINISH_SLICE) {
			c = next_slice(q, c, l, bad, bad_count);
			bad_count = 0;
			write = false;
			if (!c)
				break;
		}
		secret_random(&random, sizeof(random));
		v = schedule_rcpt(q->schedule, g, res.index, &res, random, now_ms);
		log_rcpt(l, g, res.index, &res, m->host);
		if (v.state == RCPT_PENDING && !v.charged)
			continue;
		write = true;
		store_put_rcpt(c, l, res.index, v.state,
			       (uint16_t)(r->attempts + (v.charged && r->attempts < UINT16_MAX)),
			       reply_text(&res, text));
		if (v.state == RCPT_FAILED)
			bad[bad_count++] = res.index;
	}
	if (write)
		finish_rcpts(q, c, l, bad, bad_count);
	if (l->state == LETTER_QUEUED)
		schedule_landed(q->schedule, g, now_ms);
	if (!write) {
		store_cancel(c);
		free(x);
		return send_committed(q, id, q->relay_generation);
	}
	*x = (struct landing){
		.w.done = committed, .q = q, .id = id, .generation = q->relay_generation
	};
	if (store_commit(c, true, &x->w)) {
		log_err(NULL, "msg=\"a result could not be written\"");
		free(x);
		/* Or the relay would miss the credit for ever. */
		send_committed(q, id, q->relay_generation);
	}
}

void attempt_reroute(struct queue *q, struct letter *l)
{
	struct store_reading r;

	if (l->state != LETTER_QUEUED || l->unreadable || store_read(q->store, l, &r))
		return;
	schedule_remove_idle(q->schedule, l);
	if (schedule_add(q->schedule, l, &r.env, loop_now_ms(q->loop)))
		log_err(NULL, "msg=\"out of memory: a letter waits for the next restart\"");
	store_reading_clear(&r);
}

/* A reload found it in flight, so its way is still the old one. */
static void after_reload(struct queue *q, struct letter *l, uint32_t reloads)
{
	if (reloads != q->reloads)
		attempt_reroute(q, l);
}

static void on_result(struct queue *q, struct ipc_msg *m)
{
	struct rd r = rd_init(m->data, m->len);
	struct attempt *a = find(q, m->id);
	struct msg_r_result res;
	struct letter *l;
	uint32_t reloads;
	struct leg *g;

	if (!a) {
		log_err(NULL, "msg=\"result for no attempt\"");
		return;
	}
	g = a->leg;
	reloads = a->reloads;
	forget(q, a);
	if (!g)
		return send_committed(q, m->id, q->relay_generation);
	l = g->letter;
	if (msg_r_result_get(&r, &res)) {
		log_err(NULL, "msg=\"bad result from relay\"");
		res = (struct msg_r_result){ .host = "" };
	}
	land(q, g, m->id, &res, loop_now_ms(q->loop));
	after_reload(q, l, reloads);
	attempt_pump(q);
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

	if (l) {
		schedule_landed(q->schedule, a->leg, loop_now_ms(q->loop));
		after_reload(q, l, a->reloads);
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

	if (a->leg && a->leg->letter == x->letter) {
		if (x->q->relay)
			ipc_send(x->q->relay, MSG_R_CANCEL, a->id, NULL, 0);
		a->leg = NULL;
	}
}

void attempt_forget(struct queue *q, const struct letter *l)
{
	struct lost x = { .q = q, .letter = l };

	for (const struct leg *g = l->legs; g; g = g->next)
		if (g->flying)
			return hash_each(&q->attempts, unlink_leg, &x);
}
