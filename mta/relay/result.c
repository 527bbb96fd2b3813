/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What became of an attempt: for the log, for the metrics, and for the queue.
 *
 * Theory: an attempt without a result would keep its letter, and a place of ours, until one of us starts
 * anew. So each one has a result, also where memory is short: an attempt that there is no room for is
 * answered by its id alone, and what the link does not take is told again, as are credits.
 */
#include "relay.h"

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"

#define AGAIN_MS 100
#define TIMERS                                                                                     \
	(CONNS_MAX * 6 + ASKER_QUESTIONS_MAX +                                                     \
	 64) /* of connections, with their dials and lookups, of questions, and our own */

#define RESULT_MAX IPC_PAYLOAD_MAX

void relay_settle(struct attempt *a, enum rcpt_result result, enum fault_scope scope, uint16_t code,
		  const char *enhanced, const char *text)
{
	for (size_t i = 0; i < a->letter.rcpt_count; i++) {
		struct out_rcpt *r = &a->letter.rcpt[i];

		if (r->settled)
			continue;
		r->settled = true;
		r->result = (uint8_t)result;
		r->scope = (uint8_t)scope;
		r->reply.code = code;
		snprintf(r->reply.enhanced, sizeof(r->reply.enhanced), "%s", enhanced);
		snprintf(r->reply.text, sizeof(r->reply.text), "%s", text);
	}
}

static void log_result(const struct attempt *a, size_t i, const char *host, int family,
		       const char *tls)
{
	static const char *const words[] = { "delivered", "deferred", "failed", "not-tried" };
	const struct out_rcpt *r = &a->letter.rcpt[i];
	char id[LETTER_ID_STR_MAX], rcpt[400], text[1100];

	if (r->result == RCPT_RES_NOT_TRIED)
		return;
	log_info(
	    NULL,
	    "letter=%s rcpt=%u to=\"%s\" route=%s hop=%s host=%s family=%s tls=\"%s\" result=%s "
	    "code=%u reply=\"%s\"",
	    letter_id_str(a->env.id, id), a->index[i],
	    log_quote(rcpt, sizeof(rcpt), r->addr, strlen(r->addr)), a->msg.route, a->msg.next_hop,
	    host, addr_family_word(family), tls, words[r->result], r->reply.code,
	    log_quote(text, sizeof(text), r->reply.text, strlen(r->reply.text)));
}

/* Of the address that it went to, or of all that could not be reached; 0: none, or both. */
static int family_of(const struct conn *c)
{
	const struct dial_target *t = c && c->dial.count ? &c->dial.target[c->target] : NULL;

	if (!t)
		return 0;
	if (t->path[0])
		return AF_UNIX;
	if (c->dial.ok)
		return t->at.addr.family;
	return c->dial.failed == MSG_R_FAMILY4	 ? AF_INET
	       : c->dial.failed == MSG_R_FAMILY6 ? AF_INET6
						 : 0;
}

static void count_result(const struct attempt *a, const struct out_rcpt *r, int family)
{
	static const enum counter_word words[RCPT_RESULTS] = {
		[RCPT_RES_DELIVERED] = WORD_DELIVERED,
		[RCPT_RES_TEMPFAIL] = WORD_DEFERRED,
		[RCPT_RES_PERMFAIL] = WORD_FAILED,
	};
	struct counter_labels l = { .name = a->msg.route, .family = family };

	if (r->result == RCPT_RES_NOT_TRIED)
		return;
	if (r->result == RCPT_RES_DELIVERED)
		counters_add(a->relay->ch->counters, COUNTER_WAITED, &l, a->msg.age_s);
	else
		l.reason = counters_reason(r->reply.code, r->reply.enhanced);
	l.result = words[r->result];
	counters_add(a->relay->ch->counters, COUNTER_RECIPIENTS, &l, 1);
}

static enum rcpt_report report_of(const struct attempt *a, const struct out_rcpt *r)
{
	const struct mta_route *route = config_route(a->relay->ch->config, a->msg.route);

	if (r->result != RCPT_RES_DELIVERED || !(r->notify & ENV_NOTIFY_SUCCESS) || r->notified)
		return REPORT_NONE;
	return route && (route->kind == ROUTE_DELIVER || route->kind == ROUTE_LMTP)
		   ? REPORT_DELIVERED
		   : REPORT_RELAYED;
}

static const char *host_of(const struct conn *c)
{
	const struct dial_target *t = c && c->dial.count ? &c->dial.target[c->target] : NULL;

	return !t ? "" : t->path[0] ? t->path : t->name;
}

/* By what it went, or would have gone. */
static const char *tls_text(const struct conn *c, char out[static 128])
{
	out[0] = 0;
	if (c->tls && c->session.tls_done)
		snprintf(out, 128, "%s %s%s", tls_version(c->tls), tls_cipher(c->tls),
			 tls_verified(c->tls) ? " verified" : "");
	return out;
}

/* 0, or -errno: the queue has not heard it. */
static int send_result(struct relay *r, uint32_t id, struct msg_r_result *m)
{
	static uint8_t out[IPC_PAYLOAD_MAX];
	struct wr w = wr_init(out, sizeof(out));
	size_t len;
	int rc;

	msg_r_result_put(&w, m);
	if (wr_finish(&w, &len)) { /* who is left out was not tried */
		log_err(NULL, "a result does not fit");
		m->rcpt_count = 0;
		m->rcpts = rd_init(NULL, 0);
		w = wr_init(out, sizeof(out));
		msg_r_result_put(&w, m);
		wr_finish(&w, &len);
	}
	rc = r->queue ? ipc_send(r->queue, MSG_R_RESULT, id, out, len) : 0;
	if (rc)
		timer_set(loop_timers(r->ch->loop), &r->again, loop_now_ms(r->ch->loop) + AGAIN_MS);
	return rc;
}

static int tell(const struct attempt *a)
{
	static uint8_t rcpts[IPC_PAYLOAD_MAX];
	struct wr rw = wr_init(rcpts, sizeof(rcpts));
	struct msg_r_result m = { .host = "" };
	struct conn *c = a->conn;
	/* 512 bytes of text for each of 1000 recipients do not fit; less for each then. */
	size_t text_max = a->letter.rcpt_count > 60 ? 20 : 500;
	char tls[128];
	int rc;

	if (c && c->dial.count) {
		const struct dial_target *t = &c->dial.target[c->target];

		m.host = host_of(c);
		m.address = t->at.addr;
		m.tls = tls_text(c, tls);
		m.families_failed = c->dial.failed;
		m.families_ok = c->dial.ok;
	}
	for (size_t i = 0; i < a->letter.rcpt_count; i++) {
		const struct out_rcpt *r = &a->letter.rcpt[i];
		char text[REPLY_TEXT_MAX + 1];
		struct msg_r_rcpt_result one = { .index = a->index[i],
						 .result = r->result,
						 .scope = r->scope,
						 .report = report_of(a, r),
						 .code = r->reply.code,
						 .enhanced = r->reply.enhanced,
						 .text = text };

		snprintf(text, sizeof(text), "%.*s", (int)text_max, r->reply.text);
		msg_r_rcpt_result_put(&rw, &one);
	}
	m.rcpt_count = rw.bad ? 0 : (uint16_t)a->letter.rcpt_count;
	m.rcpts = rd_init(rcpts, rw.bad ? 0 : rw.len);
	rc = send_result(a->relay, a->id, &m);
	if (!rc && c)
		c->dial.failed = 0; /* told once, not by each letter of the session */
	return rc;
}

void relay_answer(struct attempt *a)
{
	int family = family_of(a->conn);
	char tls[128] = "";

	if (a->answered)
		return;
	a->answered = true;
	if (a->conn)
		tls_text(a->conn, tls);
	for (size_t i = 0; i < a->letter.rcpt_count; i++) {
		log_result(a, i, host_of(a->conn), family, tls);
		count_result(a, &a->letter.rcpt[i], family);
	}
	if (a->body_fd >= 0)
		close(a->body_fd);
	a->body_fd = -1;
	if (a->conn)
		a->conn->uncommitted++;
	a->untold = tell(a) != 0;
}

/* ---- attempts that there is nothing of ---- */

static void tell_refusal(struct relay *r, struct refusal *f)
{
	struct msg_r_result nobody = { .host = "" };

	f->untold = send_result(r, f->id, &nobody) != 0;
}

void relay_refuse(struct relay *r, uint32_t id)
{
	struct refusal *f = &r->refusal[r->refusal_count];

	if (r->refusal_count == CREDITS) {
		log_err(NULL, "the queue has more attempts with us than we gave it credits for");
		return;
	}
	f->id = id;
	r->refusal_count++;
	tell_refusal(r, f);
}

bool relay_refused(struct relay *r, uint32_t id)
{
	size_t i = 0;

	while (i < r->refusal_count && r->refusal[i].id != id)
		i++;
	if (i == r->refusal_count)
		return false;
	r->refusal[i] = r->refusal[--r->refusal_count];
	return true;
}

static void tell_again(struct hash_node *n, void *arg)
{
	struct attempt *a = (struct attempt *)n;

	(void)arg;
	if (a->untold)
		a->untold = tell(a) != 0;
}

static void on_again(struct timer *t, uint64_t now_ms)
{
	struct relay *r = t->arg;

	(void)now_ms;
	hash_each(&r->attempts, tell_again, NULL);
	for (size_t i = 0; i < r->refusal_count; i++)
		if (r->refusal[i].untold)
			tell_refusal(r, &r->refusal[i]);
	relay_grant(r, 0);
}

void relay_grant(struct relay *r, uint32_t n)
{
	uint8_t b[4];
	struct wr w = wr_init(b, sizeof(b));

	r->owed += n;
	wr_be32(&w, r->owed);
	if (!r->queue || !r->owed)
		return;
	if (ipc_send(r->queue, MSG_R_CREDIT, 0, b, sizeof(b)))
		timer_set(loop_timers(r->ch->loop), &r->again, loop_now_ms(r->ch->loop) + AGAIN_MS);
	else
		r->owed = 0;
}

int results_init(struct relay *r)
{
	r->again = (struct timer){ .fire = on_again, .arg = r };
	return timers_reserve(loop_timers(r->ch->loop), TIMERS);
}

void results_forget(struct relay *r)
{
	r->refusal_count = 0;
	r->owed = 0;
}
