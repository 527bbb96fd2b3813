/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "outgoing.h"

#include <errno.h>
#include <unistd.h>

#define FRAME 4096 /* of an attempt, beside envelope, recipients and body */

int outgoing_send(struct ipc *relay, uint32_t id, struct msg_r_attempt *m, const struct envelope *e,
		  int fd)
{
	static uint8_t env[ENVELOPE_MAX + 1], msg[IPC_PAYLOAD_MAX];
	struct wr we = wr_init(env, sizeof(env)), w = wr_init(msg, sizeof(msg));
	struct envelope facts = *e;
	int made = -1, rc;

	facts.rcpt_count = 0;
	envelope_build(&facts, &we);
	if (we.bad)
		return -EMSGSIZE;
	m->env = env;
	m->env_len = we.len;
	if (m->body && m->body_len + we.len + rd_left(&m->rcpts) + FRAME <= sizeof(msg)) {
		m->flags |= MSG_R_INLINE;
	} else if (m->body) {
		made = fd = msg_memfd("letter", m->body, m->body_len);
		m->body = NULL;
	}
	if (!m->body && fd < 0)
		return fd;
	msg_r_attempt_put(&w, m);
	rc = w.bad ? -EMSGSIZE : ipc_send_fds(relay, MSG_R_ATTEMPT, id, msg, w.len, &fd, !m->body);
	if (made >= 0)
		close(made);
	return rc;
}
