/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "lookup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "msg.h"
#include "secret.h"
#include "wire_lookup.h"

#define QUESTION_MAX 2048

struct lookup {
	struct loop *loop;
	struct ipc *ipc;
	struct lookup_req *open; /* asked, or waiting for a connection */
	uint32_t next_id;
	struct lookup_host host[LOOKUP_MX_MAX]; /* of the answer that is being told */
	char (*list)[LOOKUP_ADDRESS_MAX];	/* LOOKUP_EXPANSION_MAX of them */
};

static void unlink_req(struct lookup_req *r)
{
	struct lookup_req **at = &r->lookup->open;

	while (*at != r)
		at = &(*at)->next;
	*at = r->next;
	timer_clear(loop_timers(r->lookup->loop), &r->timer);
	if (r->pending)
		secret_wipe(r->pending, r->pending_len);
	free(r->pending);
	r->pending = NULL;
	r->lookup = NULL;
}

static void fail(struct lookup_req *r)
{
	struct lookup_rcpt rcpt = { .status = LOOKUP_TEMPFAIL };
	struct lookup_auth auth = { .status = LOOKUP_TEMPFAIL };
	struct lookup_mx mx = { .status = LOOKUP_TEMPFAIL };
	struct lookup_own own = { .status = LOOKUP_TEMPFAIL };

	unlink_req(r);
	if (r->type == LK_RCPT)
		r->done.rcpt(r, &rcpt);
	else if (r->type == LK_AUTH || r->type == LK_SENDERS)
		r->done.auth(r, &auth);
	else if (r->type == LK_OWN)
		r->done.own(r, &own);
	else
		r->done.mx(r, &mx);
}

/* A callback may ask and cancel as it likes, so the list is walked from its head each time. */
static void fail_asked(struct lookup *lk)
{
	for (;;) {
		struct lookup_req *r = lk->open;

		while (r && r->pending)
			r = r->next;
		if (!r)
			return;
		fail(r);
	}
}

static void on_timeout(struct timer *t, uint64_t now_ms)
{
	(void)now_ms;
	fail(t->arg);
}

static bool answer_list(struct lookup *lk, struct lookup_req *r, struct rd *in)
{
	enum lookup_status status = (enum lookup_status)rd_u8(in);
	struct lookup_rcpt rcpt = { .status = status, .local = rd_u8(in) };
	size_t count;

	lk_text_get(in, rcpt.home, sizeof(rcpt.home));
	lk_text_get(in, rcpt.mailbox, sizeof(rcpt.mailbox));
	count = rd_be16(in);
	if (in->bad || count > LOOKUP_EXPANSION_MAX || status > LOOKUP_DENIED)
		return false;
	for (size_t i = 0; i < count; i++)
		lk_text_get(in, lk->list[i], LOOKUP_ADDRESS_MAX);
	if (in->bad || rd_left(in))
		return false;
	unlink_req(r);
	if (r->type != LK_RCPT) {
		struct lookup_auth auth = { .status = status,
					    .senders = (const char(*)[LOOKUP_ADDRESS_MAX])lk->list,
					    .sender_count = count };

		r->done.auth(r, &auth);
		return true;
	}
	rcpt.to = (const char(*)[LOOKUP_ADDRESS_MAX])lk->list;
	rcpt.to_count = count;
	r->done.rcpt(r, &rcpt);
	return true;
}

static bool answer_own(struct lookup_req *r, struct rd *in, const struct ipc_msg *m)
{
	struct lookup_own own = { .status = (enum lookup_status)rd_u8(in) };
	struct stat st = { 0 };
	void *p = NULL;

	if (in->bad || rd_left(in) || own.status > LOOKUP_DENIED)
		return false;
	if (own.status == LOOKUP_OK) {
		if (m->fd_count != 1 || fstat(m->fd[0], &st) || st.st_size <= 0)
			return false;
		p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, m->fd[0], 0);
		if (p == MAP_FAILED)
			return false;
		own.text = p;
		own.len = (size_t)st.st_size;
		for (size_t i = 0; i < own.len; i++)
			own.count += own.text[i] == '\n';
	}
	unlink_req(r);
	r->done.own(r, &own);
	if (p)
		munmap(p, (size_t)st.st_size);
	return true;
}

static void on_message(struct ipc *ipc, struct ipc_msg *m, void *arg)
{
	struct lookup *lk = arg;
	struct rd in = rd_init(m->data, m->len);
	struct lookup_req *r = lk->open;
	struct lookup_mx mx;
	uint32_t type;

	(void)ipc;
	while (r && (r->id != m->id || r->pending))
		r = r->next;
	type = LK_RCPT + rd_u8(&in);
	if (m->type != LK_ANSWER || !r) {
		if (m->type != LK_ANSWER)
			log_err(NULL, "unknown message type=%u from lookup", m->type);
		return; /* an answer to what was cancelled */
	}
	if (type != r->type) {
		log_err(NULL, "lookup answered another question");
		fail(r);
	} else if (type == LK_RCPT || type == LK_AUTH || type == LK_SENDERS) {
		if (!answer_list(lk, r, &in)) {
			log_err(NULL, "lookup's answer is not understood");
			fail(r);
		}
	} else if (type == LK_OWN) {
		if (!answer_own(r, &in, m)) {
			log_err(NULL, "lookup's answer is not understood");
			fail(r);
		}
	} else if (lk_mx_get(&in, &mx, lk->host)) {
		log_err(NULL, "lookup's answer is not understood");
		fail(r);
	} else {
		unlink_req(r);
		r->done.mx(r, &mx);
	}
}

static void on_closed(struct ipc *ipc, void *arg)
{
	struct lookup *lk = arg;

	ipc_free(ipc);
	lk->ipc = NULL;
	fail_asked(lk);
}

struct lookup *lookup_new(struct loop *l)
{
	struct lookup *lk = calloc(1, sizeof(*lk));

	if (!lk)
		return NULL;
	lk->loop = l;
	lk->list = malloc(LOOKUP_EXPANSION_MAX * sizeof(*lk->list)); /* no page before a long answer */
	if (!lk->list) {
		free(lk);
		return NULL;
	}
	return lk;
}

static int send_pending(struct lookup *lk, struct lookup_req *r)
{
	int rc = ipc_send(lk->ipc, r->type, r->id, r->pending, r->pending_len);

	if (rc)
		return rc;
	secret_wipe(r->pending, r->pending_len);
	free(r->pending);
	r->pending = NULL;
	return 0;
}

int lookup_attach(struct lookup *lk, int fd)
{
	static const struct ipc_ops ops = { .message = on_message, .closed = on_closed };

	ipc_free(lk->ipc);
	lk->ipc = NULL;
	fail_asked(lk);
	lk->ipc = ipc_new(lk->loop, fd, &ops, lk);
	if (!lk->ipc)
		return -errno;
	for (struct lookup_req *r = lk->open; r; r = r->next) {
		if (r->pending)
			send_pending(lk, r); /* what cannot be sent runs into its timer */
	}
	return 0;
}

void lookup_free(struct lookup *lk)
{
	if (!lk)
		return;
	while (lk->open)
		unlink_req(lk->open);
	ipc_free(lk->ipc);
	free(lk->list);
	free(lk);
}

static int ask(struct lookup *lk, struct lookup_req *r, uint32_t type, const struct wr *w)
{
	size_t len;
	int rc = wr_finish(w, &len) ? -E2BIG : 0;

	if (rc)
		return rc;
	r->pending = malloc(len ? len : 1);
	if (!r->pending)
		return -ENOMEM;
	memcpy(r->pending, w->base, len);
	r->pending_len = len;
	r->type = type;
	r->id = ++lk->next_id ? lk->next_id : ++lk->next_id;
	r->timer = (struct timer){ .fire = on_timeout, .arg = r };
	rc = timer_set(loop_timers(lk->loop), &r->timer, loop_now_ms(lk->loop) + LOOKUP_TIMEOUT_MS);
	if (rc) {
		free(r->pending);
		r->pending = NULL;
		return rc;
	}
	r->lookup = lk;
	r->next = lk->open;
	lk->open = r;
	if (lk->ipc)
		send_pending(lk, r); /* not now: it waits for its timer or the next connection */
	return 0;
}

static int ask_text(struct lookup *lk, struct lookup_req *r, uint32_t type, const char *text,
		    size_t cap)
{
	uint8_t buf[QUESTION_MAX];
	struct wr w = wr_init(buf, sizeof(buf));

	if (strlen(text) >= cap)
		return -E2BIG;
	lk_text_put(&w, text);
	return ask(lk, r, type, &w);
}

int lookup_rcpt(struct lookup *lk, struct lookup_req *r, const char *address)
{
	return ask_text(lk, r, LK_RCPT, address, LOOKUP_ADDRESS_MAX);
}

int lookup_auth(struct lookup *lk, struct lookup_req *r, const char *login, const char *password)
{
	uint8_t buf[QUESTION_MAX];
	struct wr w = wr_init(buf, sizeof(buf));
	int rc;

	lk_text_put(&w, login);
	lk_text_put(&w, password);
	rc = ask(lk, r, LK_AUTH, &w);
	secret_wipe(buf, sizeof(buf));
	return rc;
}

int lookup_senders(struct lookup *lk, struct lookup_req *r, const char *login)
{
	return ask_text(lk, r, LK_SENDERS, login, LOOKUP_ADDRESS_MAX);
}

int lookup_mx(struct lookup *lk, struct lookup_req *r, const char *domain)
{
	return ask_text(lk, r, LK_MX, domain, MTA_DOMAIN_MAX);
}

int lookup_addr(struct lookup *lk, struct lookup_req *r, const char *host)
{
	return ask_text(lk, r, LK_ADDR, host, MTA_DOMAIN_MAX);
}

int lookup_ptr(struct lookup *lk, struct lookup_req *r, const struct addr *a)
{
	uint8_t buf[LK_ADDRESS_BYTES];
	struct wr w = wr_init(buf, sizeof(buf));

	lk_addr_put(&w, a);
	return ask(lk, r, LK_PTR, &w);
}

int lookup_own(struct lookup *lk, struct lookup_req *r)
{
	uint8_t none[1];
	struct wr w = wr_init(none, sizeof(none));

	return ask(lk, r, LK_OWN, &w);
}

void lookup_cancel(struct lookup_req *r)
{
	if (!r->lookup)
		return;
	if (!r->pending && r->lookup->ipc)
		ipc_send(r->lookup->ipc, LK_CANCEL, r->id, NULL, 0);
	unlink_req(r);
}

int lookup_publish(struct lookup *lk, const char *home, const char *text, size_t len)
{
	uint8_t buf[QUESTION_MAX];
	struct wr w = wr_init(buf, sizeof(buf));
	size_t head;
	int fd, rc;

	lk_text_put(&w, home);
	if (wr_finish(&w, &head))
		return -E2BIG;
	if (!lk->ipc)
		return -EPIPE;
	fd = msg_memfd("recipients", text, len);
	if (fd < 0)
		return fd;
	rc = ipc_send_fds(lk->ipc, LK_PUBLISH, 0, buf, head, &fd, 1);
	close(fd);
	return rc;
}
