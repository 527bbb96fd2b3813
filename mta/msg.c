/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "msg.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define TEXT_MAX 4096

uint32_t msg_client(const struct addr *client)
{
	return addr_hash(client, client->family == AF_INET6 ? 64 : addr_bits(client));
}

int msg_memfd(const char *name, const void *p, size_t len)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int rc = 0;

	if (fd < 0)
		return -errno;
	if (len && write(fd, p, len) != (ssize_t)len)
		rc = -EIO;
	else if (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) <
		 0)
		rc = -errno;
	if (!rc)
		return fd;
	close(fd);
	return rc;
}

void msg_text_put(struct wr *w, const char *s)
{
	size_t len = s ? strlen(s) : 0;

	if (len > TEXT_MAX) {
		w->bad = true;
		return;
	}
	wr_be16(w, (uint16_t)(len + 1));
	wr_bytes(w, s ? s : "", len + 1);
}

const char *msg_text_get(struct rd *r)
{
	size_t n = rd_be16(r);
	const uint8_t *p = rd_take(r, n);

	if (!p || !n || n - 1 > TEXT_MAX || memchr(p, 0, n) != p + n - 1) {
		r->bad = true;
		return "";
	}
	return (const char *)p;
}

/* Whole message read, nothing left over. */
static int done(const struct rd *r)
{
	return r->bad || rd_left(r) ? -EBADMSG : 0;
}

void msg_q_state_put(struct wr *w, const struct msg_q_state *m)
{
	wr_u8(w, m->accepting);
	wr_be16(w, m->code);
	wr_be64(w, m->room_bytes);
	msg_text_put(w, m->text);
}

int msg_q_state_get(struct rd *r, struct msg_q_state *m)
{
	m->accepting = rd_u8(r);
	m->code = rd_be16(r);
	m->room_bytes = rd_be64(r);
	m->text = msg_text_get(r);
	return done(r);
}

void msg_q_home_put(struct wr *w, const struct msg_q_home *m)
{
	wr_u8(w, m->full);
	msg_text_put(w, m->home);
}

int msg_q_home_get(struct rd *r, struct msg_q_home *m)
{
	m->full = rd_u8(r);
	m->home = msg_text_get(r);
	return done(r);
}

void msg_q_store_put(struct wr *w, const struct msg_q_store *m)
{
	wr_u8(w, m->streamed);
	wr_be64(w, m->body_len);
	wr_be32(w, (uint32_t)m->env_len);
	wr_bytes(w, m->env, m->env_len);
	wr_bytes(w, m->body, m->inline_len);
}

int msg_q_store_get(struct rd *r, struct msg_q_store *m)
{
	m->streamed = rd_u8(r);
	m->body_len = rd_be64(r);
	m->env_len = rd_be32(r);
	m->env = rd_take(r, m->env_len);
	m->inline_len = rd_left(r);
	m->body = rd_take(r, m->inline_len);
	if (r->bad || m->streamed > 1 || (m->streamed && m->inline_len) ||
	    (!m->streamed && m->inline_len != m->body_len))
		return -EBADMSG;
	return 0;
}

void msg_q_stored_put(struct wr *w, const struct msg_q_stored *m)
{
	wr_be16(w, m->code);
	wr_u8(w, m->duplicate);
	msg_text_put(w, m->text);
}

int msg_q_stored_get(struct rd *r, struct msg_q_stored *m)
{
	m->code = rd_be16(r);
	m->duplicate = rd_u8(r);
	m->text = msg_text_get(r);
	return done(r);
}

void msg_q_trace_put(struct wr *w, const struct msg_q_trace *m)
{
	msg_text_put(w, m->peer);
	msg_text_put(w, m->client);
	msg_text_put(w, m->args);
}

int msg_q_trace_get(struct rd *r, struct msg_q_trace *m)
{
	m->peer = msg_text_get(r);
	m->client = msg_text_get(r);
	m->args = msg_text_get(r);
	return done(r);
}

void msg_r_trace_put(struct wr *w, const struct msg_r_trace *m)
{
	msg_text_put(w, m->route);
	msg_text_put(w, m->next_hop);
	wr_be32(w, m->ms);
	msg_text_put(w, m->args);
}

int msg_r_trace_get(struct rd *r, struct msg_r_trace *m)
{
	m->route = msg_text_get(r);
	m->next_hop = msg_text_get(r);
	m->ms = rd_be32(r);
	m->args = msg_text_get(r);
	return done(r);
}

void msg_traced_put(struct wr *w, const struct msg_traced *m)
{
	wr_be16(w, m->code);
	msg_text_put(w, m->text);
	wr_bytes(w, m->story, m->len);
}

int msg_traced_get(struct rd *r, struct msg_traced *m)
{
	m->code = rd_be16(r);
	m->text = msg_text_get(r);
	m->len = rd_left(r);
	m->story = rd_take(r, m->len);
	return done(r);
}

void msg_r_attempt_put(struct wr *w, const struct msg_r_attempt *m)
{
	msg_text_put(w, m->route);
	msg_text_put(w, m->next_hop);
	wr_u8(w, m->families);
	wr_u8(w, m->flags);
	wr_be64(w, m->seq);
	wr_be64(w, m->low_seq);
	wr_be64(w, m->age_s);
	wr_be32(w, m->prior);
	wr_be64(w, m->body_off);
	wr_be64(w, m->body_len);
	wr_be32(w, (uint32_t)m->env_len);
	wr_bytes(w, m->env, m->env_len);
	wr_be16(w, m->rcpt_count);
	wr_be32(w, (uint32_t)rd_left(&m->rcpts));
	wr_bytes(w, m->rcpts.p, rd_left(&m->rcpts));
	if (m->flags & MSG_R_INLINE)
		wr_bytes(w, m->body, m->body_len);
}

int msg_r_attempt_get(struct rd *r, struct msg_r_attempt *m)
{
	m->route = msg_text_get(r);
	m->next_hop = msg_text_get(r);
	m->families = rd_u8(r);
	m->flags = rd_u8(r);
	m->seq = rd_be64(r);
	m->low_seq = rd_be64(r);
	m->age_s = rd_be64(r);
	m->prior = rd_be32(r);
	m->body_off = rd_be64(r);
	m->body_len = rd_be64(r);
	m->env_len = rd_be32(r);
	m->env = rd_take(r, m->env_len);
	m->rcpt_count = rd_be16(r);
	m->rcpts = rd_sub(r, rd_be32(r));
	m->body = m->flags & MSG_R_INLINE ? rd_take(r, m->body_len) : NULL;
	return done(r);
}

void msg_r_rcpt_put(struct wr *w, const struct msg_r_rcpt *m)
{
	wr_be16(w, m->index);
	wr_u8(w, m->notify);
	msg_text_put(w, m->addr);
	msg_text_put(w, m->orcpt);
}

int msg_r_rcpt_get(struct rd *r, struct msg_r_rcpt *m)
{
	m->index = rd_be16(r);
	m->notify = rd_u8(r);
	m->addr = msg_text_get(r);
	m->orcpt = msg_text_get(r);
	return r->bad ? -EBADMSG : 0;
}

void msg_r_result_put(struct wr *w, const struct msg_r_result *m)
{
	size_t n = addr_len(&m->address);

	msg_text_put(w, m->host);
	wr_u8(w, (uint8_t)n);
	wr_bytes(w, m->address.b, n);
	msg_text_put(w, m->tls ? m->tls : "");
	wr_u8(w, m->families_failed);
	wr_u8(w, m->families_ok);
	wr_be16(w, m->rcpt_count);
	wr_bytes(w, m->rcpts.p, rd_left(&m->rcpts));
}

int msg_r_result_get(struct rd *r, struct msg_r_result *m)
{
	size_t n;
	const uint8_t *b;

	memset(&m->address, 0, sizeof(m->address));
	m->host = msg_text_get(r);
	n = rd_u8(r);
	b = rd_take(r, n);
	if (b && n && addr_from_bytes(&m->address, b, n))
		r->bad = true;
	m->tls = msg_text_get(r);
	m->families_failed = rd_u8(r);
	m->families_ok = rd_u8(r);
	m->rcpt_count = rd_be16(r);
	m->rcpts = rd_sub(r, rd_left(r));
	return r->bad ? -EBADMSG : 0;
}

void msg_r_rcpt_result_put(struct wr *w, const struct msg_r_rcpt_result *m)
{
	wr_be16(w, m->index);
	wr_u8(w, m->result);
	wr_u8(w, m->scope);
	wr_u8(w, m->report);
	wr_be16(w, m->code);
	msg_text_put(w, m->enhanced);
	msg_text_put(w, m->text);
}

int msg_r_rcpt_result_get(struct rd *r, struct msg_r_rcpt_result *m)
{
	m->index = rd_be16(r);
	m->result = rd_u8(r);
	m->scope = rd_u8(r);
	m->report = rd_u8(r);
	m->code = rd_be16(r);
	m->enhanced = msg_text_get(r);
	m->text = msg_text_get(r);
	return r->bad || m->result >= RCPT_RESULTS || m->scope >= SCOPES || m->report >= REPORTS
		   ? -EBADMSG
		   : 0;
}
