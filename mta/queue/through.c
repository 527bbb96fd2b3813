/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: `queue = none`. Nothing is kept: a letter passes, in memory, while its client waits for the answer
 * to its last byte, and that answer is the next hop's.
 *
 *	BODY* STORE -> attempt for each next hop -> results -> the worst of them -> STORED -> forgotten
 *
 * So there is nothing to retry, to bounce or to lose: a client that hears 4xx, or nothing, has the letter
 * still. smtpd takes one recipient a letter, so that one answer says all; an alias may stand for several,
 * and then the letter has to reach them all.
 *
 * A client that hears 451 sends the letter again, so it hears that only of a letter that will not arrive. What
 * a next hop does not have after four minutes is called back, and the answer waits until that is done. What is
 * past its dot cannot be called back: the next hop's answer is waited for as long as the client waits for ours.
 */
#include "through.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "sandbox.h"
#include "through_int.h"

/* A published set is kept by smtpd alone: after its next start homes publish anew. */
static void on_publish(struct through *t, uint32_t id)
{
	struct msg_q_stored m = { .code = 250, .text = "2.0.0 Published" };
	uint8_t buf[64];
	struct wr w = wr_init(buf, sizeof(buf));

	msg_q_stored_put(&w, &m);
	ipc_send(t->smtpd, MSG_Q_PUBLISHED, id, buf, w.len);
}

static void on_smtpd(struct ipc *ipc, struct ipc_msg *m, void *arg)
{
	struct through *t = arg;
	struct passing *p;

	(void)ipc;
	switch (m->type) {
	case MSG_Q_FROM:
		return through_from(t, m);
	case MSG_Q_BODY:
		return through_body(t, m);
	case MSG_Q_STORE:
		return through_store(t, m);
	case MSG_Q_ABORT:
		p = through_find(t, m->id);
		if (p)
			through_forget(p);
		return;
	case MSG_Q_PUBLISH:
		return on_publish(t, m->id);
	default:
		log_err(NULL, "unknown message type=%u from smtpd", m->type);
	}
}

static void smtpd_close(struct through *t)
{
	struct passing *p;

	if (t->smtpd)
		ipc_free(t->smtpd);
	t->smtpd = NULL;
	while ((p = TAILQ_FIRST(&t->all)))
		through_forget(p);
	memset(t->refused, 0, sizeof(t->refused));
}

static void smtpd_closed(struct ipc *ipc, void *arg)
{
	(void)ipc;
	smtpd_close(arg);
}

static void smtpd_attach(struct through *t, int fd)
{
	static const struct ipc_ops ops = { .message = on_smtpd, .closed = smtpd_closed };
	struct msg_q_state m = { .accepting = 1,
				 .room_bytes = PASSING_BYTES_MAX - PASSING_SPARE,
				 .text = "" };
	uint8_t buf[256];
	struct wr w = wr_init(buf, sizeof(buf));

	smtpd_close(t);
	t->smtpd = ipc_new(t->ch->loop, fd, &ops, t);
	msg_q_state_put(&w, &m);
	if (!t->smtpd)
		return;
	ipc_send(t->smtpd, MSG_Q_STATE, 0, buf, w.len);
	ipc_send(t->smtpd, MSG_Q_PUBLICATIONS, 0, NULL, 0); /* none that was kept */
}

static void on_relay(struct ipc *ipc, struct ipc_msg *m, void *arg)
{
	struct rd r = rd_init(m->data, m->len);
	struct through *t = arg;
	uint32_t n;

	(void)ipc;
	switch (m->type) {
	case MSG_R_CREDIT:
		n = rd_be32(&r);
		if (!r.bad)
			t->credits += n;
		return through_pump(t);
	case MSG_R_RESULT:
		return through_result(t, m);
	default:
		log_err(NULL, "unknown message type=%u from relay", m->type);
	}
}

static void relay_close(struct through *t)
{
	if (t->relay)
		ipc_free(t->relay);
	t->relay = NULL;
	t->credits = 0;
	through_lost(t);
}

static void relay_closed(struct ipc *ipc, void *arg)
{
	(void)ipc;
	relay_close(arg);
}

static void on_peer(struct child *ch, enum mta_proc who, int fd)
{
	static const struct ipc_ops ops = { .message = on_relay, .closed = relay_closed };
	struct through *t = ch->state;

	if (who == MTA_PROC_SMTPD) {
		smtpd_attach(t, fd);
	} else if (who == MTA_PROC_RELAY) {
		relay_close(t);
		t->relay = ipc_new(ch->loop, fd, &ops, t);
	} else {
		close(fd);
	}
}

static void on_control(struct child *ch, uint32_t id, const char *json, size_t len)
{
	static const char none[] = "{\"error\":\"queue = none: no letter is kept here\"}";

	(void)json;
	(void)len;
	child_reply(ch, id, none, sizeof(none) - 1);
}

static void on_stop(struct child *ch)
{
	struct through *t = ch->state;

	smtpd_close(t);
	relay_close(t);
	hash_free(&t->letters);
	hash_free(&t->parts);
	loop_stop(ch->loop);
}

/* No network, no process, and no file at all. */
static const struct sandbox_role role = {
	.name = "queue",
	.calls = SANDBOX_IPC | SANDBOX_SYNC,
	.extra = { "memfd_create", "ftruncate", NULL },
	.ring_register = { -1 },
};

int through_start(struct child *ch)
{
	static const struct child_ops ops = {
		.peer = on_peer,
		.control = on_control,
		.stop = on_stop,
	};
	static struct through t; /* goes with the process */
	int rc = sandbox_opened(&role, NULL, 0);

	if (!rc)
		rc = sandbox_run(&role);
	if (rc)
		return rc;
	TAILQ_INIT(&t.all);
	TAILQ_INIT(&t.waiting);
	t.ch = ch;
	/* Another Postern remembers our numbers by their order, so they go on from life to life. */
	t.seq = (uint64_t)time(NULL) << 20;
	ch->ops = &ops;
	ch->state = &t;
	log_info(NULL, "msg=\"queue = none: letters pass, the next hop's answer is ours\"");
	return 0;
}
