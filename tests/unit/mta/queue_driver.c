/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "queue_driver.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"
#include "proc_mta.h"

#define QUEUE_USER 2002

void driver_child(int argc, char **argv)
{
	const char *name = proc_child_name(argc, argv);

	if (name && !strcmp(name, "queue"))
		exit(queue_main());
}

static int memfd(const void *p, size_t len)
{
	int fd = memfd_create("driver", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || write(fd, p, len) != (ssize_t)len)
		abort();
	lseek(fd, 0, SEEK_SET);
	fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
	return fd;
}

static int bundle(const struct driver *d)
{
	char text[2048], path[96];
	uint8_t buf[4096];
	struct wr w = wr_init(buf, sizeof(buf));

	snprintf(text, sizeof(text),
		 "[mta]\nrole = edge\nhostname = mx.example.net\nuser = 2001\nqueue-user = %d\n"
		 "state-dir = %s\nrun-dir = %s\nlog-level = err\nqueue-volatile = yes\n%s\n"
		 "[home home]\ndomains = home.example\ncheck-recipients = no\n",
		 QUEUE_USER, d->dir, d->dir, d->extra ? d->extra : "");
	snprintf(path, sizeof(path), "%s/mta.conf", d->dir);
	wr_be32(&w, (uint32_t)strlen(path));
	wr_bytes(&w, path, strlen(path));
	wr_be32(&w, (uint32_t)strlen(text));
	wr_bytes(&w, text, strlen(text));
	return memfd(buf, w.len);
}

struct driver *driver_new(const char *extra)
{
	struct driver *d = calloc(1, sizeof(*d));
	char path[96];

	d->extra = extra;
	d->tunnel = TUNNEL_UP;
	d->credits = 64;
	snprintf(d->dir, sizeof(d->dir), "%s/postern-queue-XXXXXX",
		 getenv("POSTERN_TEST_DIR") ? getenv("POSTERN_TEST_DIR") : "/var/tmp");
	if (!mkdtemp(d->dir))
		abort();
	chmod(d->dir, 0755);
	snprintf(path, sizeof(path), "%s/queue", d->dir);
	mkdir(path, 0700);
	if (!geteuid() && chown(path, QUEUE_USER, QUEUE_USER))
		abort();
	d->loop = loop_new();
	return d;
}

static void closed(struct ipc *ipc, void *arg)
{
	struct driver *d = arg;

	(void)ipc;
	d->closed = true;
}

static void on_parent(struct ipc *ipc, struct ipc_msg *m, void *arg)
{
	struct driver *d = arg;
	size_t old = d->reply ? strlen(d->reply) : 0;

	(void)ipc;
	if (m->type == MTA_READY)
		d->ready = true;
	if (m->type != MTA_CONTROL_REPLY)
		return;
	d->reply = realloc(d->reply, old + m->len + 1);
	memcpy(d->reply + old, m->data, m->len);
	d->reply[old + m->len] = 0;
	d->reply_done = !memmem(m->data, m->len, "\"more\":true", 11);
}

static void on_smtpd(struct ipc *ipc, struct ipc_msg *m, void *arg)
{
	struct rd r = rd_init(m->data, m->len);
	struct driver *d = arg;
	struct msg_q_stored stored;
	struct msg_q_state state;
	struct msg_traced traced;

	(void)ipc;
	if (m->type == MSG_Q_STORED && !msg_q_stored_get(&r, &stored) && d->stored)
		d->stored(d, m->id, &stored);
	if (m->type == MSG_Q_STATE && !msg_q_state_get(&r, &state) && d->state)
		d->state(d, &state);
	if (m->type == MSG_Q_TRACED && !msg_traced_get(&r, &traced) && d->traced)
		d->traced(d, m->id, &traced);
	if (m->type == MSG_Q_CREDIT && d->credit)
		d->credit(d, m->id, rd_be32(&r));
}

void driver_grant(struct driver *d, uint32_t n)
{
	uint8_t b[4];
	struct wr w = wr_init(b, 4);

	wr_be32(&w, n);
	ipc_send(d->relay, MSG_R_CREDIT, 0, b, 4);
}

static void on_relay(struct ipc *ipc, struct ipc_msg *m, void *arg)
{
	struct rd r = rd_init(m->data, m->len);
	struct driver *d = arg;
	struct msg_r_attempt a;
	struct msg_r_trace t;

	(void)ipc;
	if (m->type == MSG_R_ATTEMPT && !msg_r_attempt_get(&r, &a) && d->attempt)
		d->attempt(d, m->id, &a, m->fd_count ? m->fd[0] : -1);
	if (m->type == MSG_R_CANCEL && d->cancel)
		d->cancel(d, m->id);
	if (m->type == MSG_R_TRACE && !msg_r_trace_get(&r, &t) && d->trace)
		d->trace(d, m->id, &t);
	if (m->type == MSG_R_COMMITTED) {
		driver_grant(d, 1);
		if (d->committed)
			d->committed(d, m->id);
	}
}

static struct ipc *sibling(struct driver *d, enum mta_proc who, const struct ipc_ops *ops)
{
	int fds[2];

	if (ipc_pair(fds))
		abort();
	ipc_send_fds(d->parent, MTA_PEER, who, NULL, 0, &fds[1], 1);
	close(fds[1]);
	return ipc_new(d->loop, fds[0], ops, d);
}

void driver_set_tunnel(struct driver *d, enum tunnel_state st)
{
	struct tunnel_peer p[2] = { { .name = "home", .state = st, .dev = "tun0" },
				    { .name = "second", .state = st, .dev = "tun0" } };
	struct tunnel_table t = {
		.dev = "tun0", .connected = st != TUNNEL_UNKNOWN, .peers = p, .peer_count = 2
	};
	uint8_t *enc;
	size_t len;
	int fd;

	d->tunnel = st;
	p[0].changed_ms = p[1].changed_ms = clock_boot_ms();
	enc = tunnel_encode(&t, &len);
	fd = memfd(enc, len);
	ipc_send_fds(d->parent, MTA_TUNNEL, 0, NULL, 0, &fd, 1);
	close(fd);
	free(enc);
}

void driver_reload(struct driver *d)
{
	int fd = bundle(d);

	ipc_send_fds(d->parent, MTA_CONFIG, 0, NULL, 0, &fd, 1);
	close(fd);
}

bool driver_start(struct driver *d)
{
	static const struct ipc_ops parent_ops = { .message = on_parent, .closed = closed };
	static const struct ipc_ops smtpd_ops = { .message = on_smtpd, .closed = closed };
	static const struct ipc_ops relay_ops = { .message = on_relay, .closed = closed };
	char *argv[] = { (char *)"driver", (char *)"--proc", (char *)"queue", NULL };
	int fds[2];

	if (ipc_pair(fds))
		abort();
	d->ready = d->closed = false;
	d->pid = fork();
	if (!d->pid) {
		if (fds[1] == PROC_IPC_FD)
			fcntl(fds[1], F_SETFD, 0);
		else
			dup2(fds[1], PROC_IPC_FD);
		execv("/proc/self/exe", argv);
		_exit(127);
	}
	close(fds[1]);
	d->parent = ipc_new(d->loop, fds[0], &parent_ops, d);
	driver_reload(d);
	for (int i = 0; i < 1200 && !d->ready && !d->closed; i++)
		driver_turn(d, 50);
	if (!d->ready)
		return false;
	driver_set_tunnel(d, d->tunnel);
	d->smtpd = sibling(d, MTA_PROC_SMTPD, &smtpd_ops);
	d->relay = sibling(d, MTA_PROC_RELAY, &relay_ops);
	driver_grant(d, d->credits);
	return true;
}

void driver_kill(struct driver *d, int signo)
{
	if (!d->pid)
		return;
	kill(d->pid, signo);
	waitpid(d->pid, NULL, 0);
	d->pid = 0;
	ipc_free(d->parent);
	if (d->smtpd)
		ipc_free(d->smtpd);
	if (d->relay)
		ipc_free(d->relay);
	d->parent = d->smtpd = d->relay = NULL;
}

void driver_free(struct driver *d)
{
	char cmd[128];

	driver_kill(d, SIGKILL);
	loop_free(d->loop);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", d->dir);
	if (system(cmd))
		abort();
	free(d->reply);
	free(d);
}

void driver_turn(struct driver *d, int ms)
{
	loop_once(d->loop, ms);
}

static void send_store(struct driver *d, uint32_t txn, const char *rcpt, const char *body,
		       uint64_t len, bool streamed, uint8_t id[static LETTER_ID_LEN])
{
	static uint8_t env[ENVELOPE_MAX], msg[MSG_STORE_MAX];
	static char many[ENVELOPE_RCPTS_MAX][64];
	static struct env_rcpt r[ENVELOPE_RCPTS_MAX];
	struct envelope e = { .flags = d->flags,
			      .sender = d->sender ? d->sender : "x@out.example",
			      .peer = d->peer,
			      .rcpt = r,
			      .rcpt_count = d->many   ? d->many
					    : d->also ? 2
						      : 1,
			      .size = len };
	struct wr we = wr_init(env, sizeof(env)), w = wr_init(msg, sizeof(msg));
	struct msg_q_store m = { .streamed = streamed,
				 .body_len = len,
				 .env = env,
				 .body = streamed ? NULL : (const uint8_t *)body,
				 .inline_len = streamed ? 0 : len };

	r[0].addr = rcpt;
	r[1].addr = d->also;
	for (size_t i = 0; i < d->many; i++) {
		snprintf(many[i], sizeof(many[i]), "%zu%s", i, rcpt);
		r[i].addr = many[i];
	}
	if (d->probe)
		memcpy(e.probe, d->probe, LETTER_ID_LEN);
	if (d->peer_id) {
		memcpy(e.peer_id, d->peer_id, LETTER_ID_LEN);
		e.peer_seq = txn;
	}
	envelope_new_id(e.id);
	if (d->id)
		memcpy(e.id, d->id, LETTER_ID_LEN);
	memcpy(id, e.id, LETTER_ID_LEN);
	envelope_build(&e, &we);
	m.env_len = we.len;
	msg_q_store_put(&w, &m);
	if (w.bad)
		abort();
	ipc_send(d->smtpd, MSG_Q_STORE, txn, msg, w.len);
}

void driver_store(struct driver *d, uint32_t txn, const char *rcpt, const char *body, size_t len,
		  uint8_t id[static LETTER_ID_LEN])
{
	send_store(d, txn, rcpt, body, len, false, id);
}

void driver_body(struct driver *d, uint32_t txn, const void *p, size_t len)
{
	ipc_send(d->smtpd, MSG_Q_BODY, txn, p, len);
}

void driver_store_streamed(struct driver *d, uint32_t txn, const char *rcpt, uint64_t len,
			   uint8_t id[static LETTER_ID_LEN])
{
	send_store(d, txn, rcpt, NULL, len, true, id);
}

void driver_result(struct driver *d, uint32_t id, const struct msg_r_attempt *m,
		   enum rcpt_result res, enum fault_scope scope, uint16_t code)
{
	static uint8_t list[64 * 1024], msg[66 * 1024];
	struct wr l = wr_init(list, sizeof(list)), w = wr_init(msg, sizeof(msg));
	struct msg_r_result r = { .host = "mx.test",
				  .families_ok = MSG_R_FAMILY4,
				  .rcpt_count = m->rcpt_count };
	struct rd rcpts = m->rcpts;
	struct msg_r_rcpt rc;

	while (!msg_r_rcpt_get(&rcpts, &rc)) {
		struct msg_r_rcpt_result x = { .index = rc.index,
					       .result = (uint8_t)res,
					       .scope = (uint8_t)scope,
					       .code = code,
					       .enhanced = code == 550 ? "5.1.1" : "",
					       .text = "said the test of it" };

		msg_r_rcpt_result_put(&l, &x);
		if (!rd_left(&rcpts))
			break;
	}
	r.rcpts = rd_init(list, l.len);
	msg_r_result_put(&w, &r);
	ipc_send(d->relay, MSG_R_RESULT, id, msg, w.len);
}

const char *driver_verb(struct driver *d, const char *json)
{
	free(d->reply);
	d->reply = NULL;
	d->reply_done = false;
	ipc_send(d->parent, MTA_CONTROL, 1, json, strlen(json));
	for (int i = 0; i < 1200 && !d->reply_done && !d->closed; i++)
		driver_turn(d, 50);
	return d->reply ? d->reply : "";
}
