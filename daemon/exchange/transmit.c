/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: how messages leave. A chain of payloads is written into e->build, sealed (whole, or as
 * RFC 7383 fragments) into datagrams, and those are kept: a request's until it is answered, an
 * answer's until the next request. A request that stays unanswered, and an answer after which the
 * request comes again and again, is cut smaller once, which makes other bytes under the same
 * message ID, as RFC 7383 s2.5.2 allows.
 */
#include "engine_int.h"

#include <stdlib.h>

struct ike_build *inner_begin(struct engine *e)
{
	ike_build_inner(&e->inner, e->build, sizeof(e->build));
	return &e->inner;
}

static int seal(struct engine *e, struct ike_sa *sa, const struct ike_hdr *h, uint8_t first,
		const uint8_t *inner, size_t len, struct datagrams *out)
{
	struct frag_plan plan;
	size_t n;
	int err;

	if (!sa->frag || sk_overhead(sa->aead_out) + len <= sa->frag_max) {
		err = sk_seal(sa->aead_out, h, first, inner, len, e->out, sizeof(e->out), &n);
		return err ? err : datagrams_add(out, e->out, n);
	}
	err = frag_plan(sa->aead_out, len, sa->frag_max, &plan);
	for (uint16_t i = 1; !err && i <= plan.total; i++) {
		err = skf_seal(sa->aead_out, h, &plan, i, first, inner, len, e->out, sizeof(e->out),
			       &n);
		if (!err)
			err = datagrams_add(out, e->out, n);
	}
	return err;
}

static struct ike_hdr header(const struct ike_sa *sa, uint8_t exchange, bool response, uint32_t id)
{
	return (struct ike_hdr){
		.spi_i = sa->spi_i,
		.spi_r = sa->spi_r,
		.version = IKE_VERSION,
		.exchange = exchange,
		.flags = (uint8_t)((sa->initiator ? IKE_FLAG_INITIATOR : 0) |
				   (response ? IKE_FLAG_RESPONSE : 0)),
		.id = id,
	};
}

static void send_all(struct engine *e, const struct ike_sa *sa, const struct engine_path *path,
		     const struct datagrams *d)
{
	for (size_t i = 0; i < d->count; i++)
		fx_send(e, path, d->v[i].bytes, d->v[i].len,
			ike_sa_peers(sa) ? sa->peer->p->id : 0);
}

void resend_arm(struct engine *e, struct ike_sa *sa)
{
	uint64_t alive = sa->peer ? sa->peer->alive_ms : 0;
	uint64_t gap_max = sa->peer ? sa->peer->p->retry_max_ms : 0;
	uint64_t due;

	/* An idle peer is not silent before it was asked. */
	if (sa->was_up && sa->out.rt.first_ms > alive)
		alive = sa->out.rt.first_ms;
	due = retransmit_due_ms(&sa->out.rt, alive, gap_max, engine_random32(e));
	timer_arm(e, &sa->resend, due);
}

int request_send(struct engine *e, struct ike_sa *sa, uint8_t exchange, struct task *task)
{
	struct ike_hdr h = header(sa, exchange, false, sa->win.next_out);
	size_t len;
	int err;

	err = ike_build_end(&e->inner, &len);
	if (!err && sa->win.next_out == UINT32_MAX)
		err = -EOVERFLOW;
	if (!err)
		err = seal(e, sa, &h, e->inner.first, e->build, len, &sa->out.datagrams);
	if (err) {
		log_err(&sa->log, "cannot seal a request: %s", strerror(-err));
		datagrams_clear(&sa->out.datagrams);
		task_clear(task);
		return err;
	}
	sa->out.exchange = exchange;
	sa->out.task = *task;
	memset(task, 0, sizeof(*task));
	sa->out.first = e->inner.first;
	if (sa->frag && sk_overhead(sa->aead_out) + len > MSG_SMALL_MAX) {
		sa->out.inner = malloc(len);
		if (sa->out.inner)
			memcpy(sa->out.inner, e->build, len);
		sa->out.inner_len = sa->out.inner ? len : 0;
	}
	secret_wipe(e->build, len);
	log_debug(&sa->log, "request %u: task %d about %08x", sa->win.next_out,
		  (int)sa->out.task.kind, sa->out.task.spi);
	sa->win.outstanding = true;
	retransmit_start(&sa->out.rt, e->now_ms);
	resend_arm(e, sa);
	send_all(e, sa, &sa->path, &sa->out.datagrams);
	return 0;
}

void request_once(struct engine *e, struct ike_sa *sa, uint8_t exchange)
{
	struct ike_hdr h = header(sa, exchange, false, sa->win.next_out);
	struct datagrams d = { 0 };
	size_t len;

	if (!ike_build_end(&e->inner, &len) && !seal(e, sa, &h, e->inner.first, e->build, len, &d))
		send_all(e, sa, &sa->path, &d);
	datagrams_clear(&d);
}

int reply_send(struct engine *e, struct ike_sa *sa, uint8_t exchange, uint32_t id,
	       const struct engine_path *path, uint64_t request_hash)
{
	struct ike_hdr h = header(sa, exchange, true, id);
	struct datagrams d = { 0 };
	size_t len;
	int err;

	err = ike_build_end(&e->inner, &len);
	if (!err)
		err = seal(e, sa, &h, e->inner.first, e->build, len, &d);
	if (err) {
		log_err(&sa->log, "cannot seal an answer: %s", strerror(-err));
		datagrams_clear(&d);
		sa->win.answering = false;
		return err;
	}
	secret_wipe(e->build, len);
	send_all(e, sa, path, &d);
	window_commit_request(&sa->win, &d, request_hash);
	return 0;
}

void reply_apart(struct engine *e, struct ike_sa *sa, uint8_t exchange, uint32_t id,
		 const struct engine_path *path, struct datagrams *d)
{
	struct ike_hdr h = header(sa, exchange, true, id);
	size_t len;

	if (ike_build_end(&e->inner, &len) || seal(e, sa, &h, e->inner.first, e->build, len, d))
		log_err(&sa->log, "cannot seal an answer");
	else
		send_all(e, sa, path, d);
}

/*
 * The answer goes to where the copy says that it comes from, and can be many times as large. Who has seen
 * a request of the peer could aim it at anybody; a peer that repeats itself needs a few in a second.
 */
void reply_again_apart(struct engine *e, struct ike_sa *sa, const struct engine_path *path,
		       const struct datagrams *d)
{
	e->n.in_retransmits++;
	if (!window_may_repeat(&sa->win, e->now_ms)) {
		e->n.in_dropped++;
		return;
	}
	send_all(e, sa, path, d);
}

void reply_again(struct engine *e, struct ike_sa *sa, const struct engine_path *path)
{
	reply_again_apart(e, sa, path, &sa->win.reply);
}

static void datagrams_replace(struct datagrams *d, struct datagrams *fresh, int err)
{
	if (err) {
		datagrams_clear(fresh);
		return;
	}
	datagrams_clear(d);
	*d = *fresh;
}

/* Smaller fragments for a request that may be too large for the path. */
static void cut_smaller(struct engine *e, struct ike_sa *sa)
{
	struct ike_hdr h = header(sa, sa->out.exchange, false, sa->win.next_out);
	struct datagrams d = { 0 };

	sa->frag_max = MSG_SMALL_MAX;
	if (!sa->out.inner)
		return;
	datagrams_replace(&sa->out.datagrams, &d,
			  seal(e, sa, &h, sa->out.first, sa->out.inner, sa->out.inner_len, &d));
	secret_wipe(sa->out.inner, sa->out.inner_len);
	free(sa->out.inner);
	sa->out.inner = NULL;
	sa->out.inner_len = 0;
}

/* What our stored answer says, in e->plain: nobody keeps the plaintext of every answer for this. */
static int reply_open(struct engine *e, struct ike_sa *sa, struct ike_hdr *h, uint8_t *first,
		      size_t *len)
{
	static struct ike_msg m; /* one thread; too large for a stack frame */
	int err = 0;

	*len = 0;
	for (size_t i = 0; !err && i < sa->win.reply.count; i++) {
		const struct datagram *d = &sa->win.reply.v[i];
		size_t n = 0;

		err = ike_msg_parse(d->bytes, d->len, &m);
		if (!err)
			err =
			    sk_open(sa->aead_out, &m, e->plain + *len, sizeof(e->plain) - *len, &n);
		if (!i)
			*first = m.sk.first;
		*h = m.hdr;
		*len += n;
	}
	return err;
}

void path_is_smaller(struct ike_sa *sa, size_t size)
{
	if (size < MSG_SMALL_MAX)
		size = MSG_SMALL_MAX;
	if (size < sa->frag_max)
		sa->frag_max = size;
}

void reply_cut_smaller(struct engine *e, struct ike_sa *sa)
{
	struct datagrams d = { 0 };
	size_t len, largest = 0;
	struct ike_hdr h;
	uint8_t first = 0;

	for (size_t i = 0; i < sa->win.reply.count; i++)
		if (sa->win.reply.v[i].len > largest)
			largest = sa->win.reply.v[i].len;
	if (!sa->frag || largest <= sa->frag_max)
		return;
	if (!reply_open(e, sa, &h, &first, &len))
		datagrams_replace(&sa->win.reply, &d, seal(e, sa, &h, first, e->plain, len, &d));
	secret_wipe(e->plain, len);
}

void request_resend(struct engine *e, struct ike_sa *sa, const struct engine_path *path)
{
	struct fx *f;

	retransmit_again(&sa->out.rt, e->now_ms);
	if (sa->out.rt.tries == RETRANSMIT_STEP_DOWN && sa->frag && sa->out.inner)
		cut_smaller(e, sa);
	e->n.out_retransmits++;
	if (path && !engine_path_eq(path, &sa->path))
		sa->out.strayed = true;
	send_all(e, sa, path ? path : &sa->path, &sa->out.datagrams);
	resend_arm(e, sa);
	f = fx_add(e, FX_UNANSWERED);
	f->unanswered.peer = sa->peer ? sa->peer->p->id : 0;
	f->unanswered.ike = sa->caller ? sa->caller->handle : sa->handle;
	f->unanswered.tries = sa->out.rt.tries;
	f->unanswered.since_ms = sa->out.rt.first_ms;
	f->unanswered.established = sa->was_up;
}

void sa_set_path(struct engine *e, struct ike_sa *sa, const struct engine_path *path)
{
	bool moved = !engine_path_eq(&sa->path, path) || sa->path.ifindex != path->ifindex;

	if (!addr_eq(&sa->path.remote.addr, &path->remote.addr))
		sa->unproved = false; /* back, or elsewhere by another's judgement */
	sa->path = *path;
	if (!moved || !sa->win.outstanding)
		return;
	sa->out.strayed = true;
	request_resend(e, sa, NULL);
}

/* Nobody answers its Delete, or the request that this waits for (task_queue() gave that as much time). */
static bool leaves(const struct ike_sa *sa)
{
	return sa->out.task.kind == TASK_DELETE_IKE ||
	       (sa->state == SA_UP && ike_sa_task_has(sa, TASK_DELETE_IKE, 0));
}

void on_resend(struct timer *t, uint64_t now_ms)
{
	struct ike_sa *sa = t->arg;
	struct engine *e = sa->engine;

	if (sa->state == SA_CALLING) {
		call_resend_due(e, sa);
		return;
	}
	if (!sa->win.outstanding)
		return;
	if (sa->state == SA_I_AUTH && sa->out.rt.tries >= CANDIDATE_TRIES) {
		log_info(&sa->log, "no answer to IKE_AUTH: back to IKE_SA_INIT");
		sa_end(e, sa, ENGINE_WHY_TIMEOUT, false);
		return;
	}
	if (beside_dead(sa, now_ms)) {
		log_info(&sa->log, "no answer, and another IKE SA of this peer is answered");
		sa_end(e, sa, ENGINE_WHY_REPLACED, true);
		return;
	}
	if (leaves(sa) && sa->out.rt.tries >= DELETE_TRIES) {
		sa_end(e, sa, ENGINE_WHY_ADMIN, sa->state != SA_UP);
		return;
	}
	request_resend(e, sa, NULL);
}

static bool task_allowed(const struct ike_sa *sa, enum task_kind kind)
{
	switch (sa->state) {
	case SA_UP:
		return true;
	case SA_REKEYED:
	case SA_RETIRED:
		return kind == TASK_DELETE_IKE;
	default:
		return false;
	}
}

/* It could not begin, for want of memory: what nobody would begin again must not be forgotten. */
static void task_failed(struct engine *e, struct ike_sa *sa, enum task_kind kind, uint32_t conf)
{
	if (kind == TASK_DELETE_IKE) { /* as when no Delete of several was answered */
		sa_end(e, sa, ENGINE_WHY_ADMIN, sa->state != SA_UP);
	} else if (kind == TASK_CREATE_CHILD) {
		child_want(e, sa, conf, 1000);
		child_want_lost(e, sa, conf);
	}
}

void tasks_run(struct engine *e, struct ike_sa *sa)
{
	while (!sa->win.outstanding && sa->task_count && task_allowed(sa, sa->tasks[0].kind)) {
		struct task t = ike_sa_task_next(sa);
		enum task_kind kind = t.kind;
		uint32_t conf = t.conf;
		int err = 0;

		switch (t.kind) {
		case TASK_DELETE_IKE:
		case TASK_DELETE_CHILD:
			err = delete_send(e, sa, &t);
			break;
		case TASK_REKEY_IKE:
			err = rekey_ike_send(e, sa, &t);
			break;
		case TASK_REKEY_CHILD:
		case TASK_CREATE_CHILD:
			err = create_child_send(e, sa, &t);
			break;
		case TASK_LIVENESS:
		case TASK_PRIVATE:
			err = liveness_send(e, sa, &t);
			break;
		case TASK_INVALID_SPI:
			err = invalid_spi_send(e, sa, &t);
			break;
		case TASK_UPDATE:
			err = mobike_update_send(e, sa, &t);
			break;
		case TASK_ADDRESSES:
			err = mobike_addresses_send(e, sa, &t);
			break;
		case TASK_NONE:
			break;
		}
		task_clear(&t);
		if (!err || err == -EALREADY)
			continue;
		log_warn(&sa->log, "cannot start an exchange: %s", strerror(-err));
		task_failed(e, sa, kind, conf);
	}
}

int task_queue(struct engine *e, struct ike_sa *sa, enum task_kind kind, uint32_t spi)
{
	struct task t = { .kind = kind, .spi = spi };
	int err = 0;

	if (!ike_sa_task_has(sa, kind, spi)) {
		if (kind == TASK_DELETE_IKE && sa->win.outstanding) {
			retransmit_start(&sa->out.rt, e->now_ms);
			resend_arm(e, sa);
		}
		err = ike_sa_task_add(sa, &t);
	}
	tasks_run(e, sa);
	return err;
}

bool stray_allowed(struct engine *e)
{
	if (e->now_ms - e->stray_since_ms >= 1000) {
		e->stray_since_ms = e->now_ms;
		e->stray_sent = 0;
	}
	return e->stray_sent++ < 10;
}

void answer_begin(struct ike_build *b, uint8_t *buf, size_t cap, const struct ike_hdr *h)
{
	struct ike_hdr r = *h;

	r.version = IKE_VERSION;
	r.flags =
	    (uint8_t)(IKE_FLAG_RESPONSE | (h->flags & IKE_FLAG_INITIATOR ? 0 : IKE_FLAG_INITIATOR));
	ike_build_begin(b, buf, cap, &r);
}

void answer_notify(struct engine *e, const struct ike_hdr *h, const struct engine_path *path,
		   uint16_t type, const void *data, size_t len)
{
	struct ike_build b;
	uint8_t buf[640];
	size_t n;

	answer_begin(&b, buf, sizeof(buf), h);
	pld_notify_add(&b, type, (struct span){ data, len });
	if (!ike_build_end(&b, &n))
		fx_send(e, path, buf, n, 0);
}
