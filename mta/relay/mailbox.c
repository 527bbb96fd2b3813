/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "relay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "domain.h"
#include "log.h"

#define ANSWER_MS	 180000 /* two rounds of deliver's children, 65 s each at most, and more */
#define MAILBOX_OPEN_MAX 32	/* requests under way; the rest waits in line */
#define COPY_CHUNK	 65536

/*
 * Theory: a request to postern-deliver for each recipient, all of one letter with the same sealed
 * memfd. An answer settles its recipient; without one in time, or when the connection ends, it is
 * "later". Nothing of what comes back is believed beyond enum deliver_status and a line of text.
 */
struct mailbox_wait {
	struct mailbox_wait *next;
	struct attempt *attempt;
	size_t rcpt;
	uint32_t number;
	int body;
	bool sent;
	uint64_t until_ms;
};

/* "5.2.2 the mailbox is full": the code, when it is of @class, and where the text begins. */
static const char *split_code(const char *text, char class, char code[static 12])
{
	unsigned subject, detail;
	int n = 0;

	if (text[0] == class && sscanf(text + 1, ".%3u.%3u %n", &subject, &detail, &n) == 2 && n) {
		snprintf(code, 12, "%c.%u.%u", class, subject % 1000, detail % 1000);
		return text + 1 + n;
	}
	snprintf(code, 12, "%c.2.0", class);
	return text;
}

static void take_answer(struct out_rcpt *rcpt, enum deliver_status status, enum fault_scope scope,
			const char *text)
{
	static const struct {
		enum rcpt_result result;
		uint16_t code;
		char class;
	} means[DELIVER_STATUSES] = { [DELIVER_DONE] = { RCPT_RES_DELIVERED, 250, '2' },
				      [DELIVER_LATER] = { RCPT_RES_TEMPFAIL, 0, '4' },
				      [DELIVER_NEVER] = { RCPT_RES_PERMFAIL, 550, '5' } };

	rcpt->settled = true;
	rcpt->result = means[status].result;
	rcpt->scope = (uint8_t)(status == DELIVER_DONE ? SCOPE_NONE : scope);
	rcpt->reply.code = means[status].code;
	text = split_code(text, means[status].class, rcpt->reply.enhanced);
	snprintf(rcpt->reply.text, sizeof(rcpt->reply.text), "%s", text);
}

static void finish(struct relay *r, struct mailbox_wait *w, enum deliver_status status,
		   enum fault_scope scope, const char *text)
{
	struct attempt *a = w->attempt;
	struct out_rcpt *rcpt = &a->letter.rcpt[w->rcpt];
	struct mailbox_wait **at = &r->mailbox_waits;

	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	close(w->body);
	free(w);
	if (!rcpt->settled)
		take_answer(rcpt, status, scope, text);
	if (--a->mailbox_open)
		return;
	if (a->orphan) {
		envelope_clear(&a->env);
		free(a->letter.rcpt);
		free(a->index);
		free(a->data);
		free(a);
		return;
	}
	relay_answer(a);
}

static void lost(struct relay *r, const char *why)
{
	struct mailbox_wait *w, *next;

	if (r->mailbox_open) {
		loop_del(r->ch->loop, &r->mailbox);
		close(r->mailbox.fd);
		r->mailbox_open = false;
	}
	/* What was not sent is not lost with the connection, but neither is there another now. */
	for (w = r->mailbox_waits; w; w = next) {
		next = w->next;
		finish(r, w, DELIVER_LATER, SCOPE_HOST, why);
	}
}

static int connect_to(struct relay *r);

/* postern-deliver runs as root, and shall not have to understand names of the wide world. */
static void address_spell(const char *address, char *out, size_t cap)
{
	const char *d = route_domain(address);
	char spelled[MTA_DOMAIN_MAX];
	int local = (int)(strlen(address) - strlen(d));

	if ((size_t)snprintf(out, cap, "%.*s%s", local, address, domain_spell(d, spelled)) >= cap)
		snprintf(out, cap, "%s", address);
}

static bool send_one(struct relay *r, struct mailbox_wait *w)
{
	struct attempt *a = w->attempt;
	struct deliver_request q = { .size = a->msg.body_len,
				     .number = w->number,
				     .received_s = a->env.received_s,
				     .repeat = a->msg.flags & MSG_R_REPEAT };
	uint8_t packet[DELIVER_PACKET_MAX];
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} ctl;
	struct iovec iov = { .iov_base = packet };
	struct msghdr mh = { .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = ctl.buf,
			     .msg_controllen = sizeof(ctl.buf) };
	struct cmsghdr *cm;

	memcpy(q.id, a->env.id, sizeof(q.id));
	if (strlen(a->letter.rcpt[w->rcpt].addr) >= sizeof(q.recipient) ||
	    strlen(a->letter.sender) >= sizeof(q.sender)) {
		finish(r, w, DELIVER_LATER, SCOPE_RECIPIENT, "the address is too long");
		return true;
	}
	address_spell(a->letter.rcpt[w->rcpt].addr, q.recipient, sizeof(q.recipient));
	snprintf(q.sender, sizeof(q.sender), "%s", a->letter.sender);
	if (deliver_request_build(&q, packet, &iov.iov_len)) {
		finish(r, w, DELIVER_LATER, SCOPE_RECIPIENT, "the addresses are too long");
		return true;
	}
	memset(&ctl, 0, sizeof(ctl));
	cm = CMSG_FIRSTHDR(&mh);
	cm->cmsg_level = SOL_SOCKET;
	cm->cmsg_type = SCM_RIGHTS;
	cm->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cm), &w->body, sizeof(int));
	if (sendmsg(r->mailbox.fd, &mh, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return false;
	w->sent = true;
	w->until_ms = loop_now_ms(r->ch->loop) + ANSWER_MS;
	return true;
}

/* In the order of arrival: the list is newest first, so the oldest unsent is the last. */
static void send_more(struct relay *r)
{
	for (;;) {
		struct mailbox_wait *w, *oldest = NULL;
		size_t open = 0;

		for (w = r->mailbox_waits; w; w = w->next) {
			open += w->sent;
			if (!w->sent)
				oldest = w;
		}
		if (!oldest || open >= MAILBOX_OPEN_MAX)
			break;
		if (!r->mailbox_open && connect_to(r)) {
			lost(r, "postern-deliver does not run");
			return;
		}
		if (!send_one(r, oldest)) {
			if (errno != EAGAIN)
				lost(r, "postern-deliver is gone");
			else
				loop_mod(r->ch->loop, &r->mailbox, EPOLLIN | EPOLLOUT);
			return;
		}
	}
	if (r->mailbox_open)
		loop_mod(r->ch->loop, &r->mailbox, EPOLLIN);
	if (r->mailbox_waits && !timer_armed(&r->mailbox_timer))
		timer_set(loop_timers(r->ch->loop), &r->mailbox_timer,
			  loop_now_ms(r->ch->loop) + ANSWER_MS / 4);
}

static void on_answer(struct relay *r, const void *data, size_t len)
{
	struct deliver_answer a;
	struct mailbox_wait *w = r->mailbox_waits;

	if (deliver_answer_parse(&a, data, len)) {
		lost(r, "postern-deliver's answer is not understood");
		return;
	}
	while (w && (w->number != a.number || !w->sent))
		w = w->next;
	if (w)
		finish(r, w, a.status, SCOPE_RECIPIENT, a.text);
}

static void on_ready(struct loop_fd *lf, uint32_t events)
{
	struct relay *r = lf->arg;
	uint8_t buf[DELIVER_PACKET_MAX];

	(void)events;
	while (r->mailbox_open) {
		ssize_t n = recv(lf->fd, buf, sizeof(buf), MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN)
			break;
		if (n <= 0) {
			lost(r, "postern-deliver ended");
			return;
		}
		on_answer(r, buf, (size_t)n);
	}
	send_more(r);
}

static int connect_to(struct relay *r)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	const char *path = r->ch->config->deliver.socket;
	int fd, size = 1 << 18;

	if (!path || strlen(path) >= sizeof(un.sun_path))
		return -EINVAL;
	memcpy(un.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	r->mailbox = (struct loop_fd){ .fd = fd, .ready = on_ready, .arg = r };
	if (connect(fd, (struct sockaddr *)&un, sizeof(un)) < 0 ||
	    loop_add(r->ch->loop, &r->mailbox, EPOLLIN)) {
		int rc = -errno;

		log_warn(NULL, "cannot reach postern-deliver at=%s: %s", path, strerror(-rc));
		close(fd);
		return rc ? rc : -EIO;
	}
	r->mailbox_open = true;
	return 0;
}

static void on_timer(struct timer *t, uint64_t now_ms)
{
	struct relay *r = t->arg;
	bool late = false;

	for (struct mailbox_wait *w = r->mailbox_waits; w; w = w->next)
		late |= w->sent && w->until_ms <= now_ms;
	if (late)
		lost(r, "postern-deliver did not answer in time");
	send_more(r);
}

void mailbox_init(struct relay *r)
{
	r->mailbox_timer = (struct timer){ .fire = on_timer, .arg = r };
}

/* A copy of this letter alone: the queue's file may hold others. */
static int body_copy(struct attempt *a)
{
	const int seals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	int fd = memfd_create("letter", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	char *buf = malloc(COPY_CHUNK);
	uint64_t off = 0;

	while (fd >= 0 && buf && off < a->msg.body_len) {
		ssize_t n = a->letter.read(&a->letter, off, buf,
					   a->msg.body_len - off < COPY_CHUNK
					       ? (size_t)(a->msg.body_len - off)
					       : COPY_CHUNK);

		if (n <= 0 || write(fd, buf, (size_t)n) != n)
			break;
		off += (uint64_t)n;
	}
	free(buf);
	if (fd >= 0 && (off < a->msg.body_len || fcntl(fd, F_ADD_SEALS, seals) < 0)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

void mailbox_deliver(struct attempt *a)
{
	struct relay *r = a->relay;
	int body = body_copy(a);

	/* The copy is all that is wanted, and one whose queue is gone is freed without a result. */
	if (a->body_fd >= 0)
		close(a->body_fd);
	a->body_fd = -1;
	a->mailbox_open = 0;
	for (size_t i = 0; body >= 0 && i < a->letter.rcpt_count; i++) {
		struct mailbox_wait *w = calloc(1, sizeof(*w));

		if (!w)
			break;
		w->attempt = a;
		w->rcpt = i;
		w->number = ++r->mailbox_number;
		w->body = fcntl(body, F_DUPFD_CLOEXEC, 0);
		if (w->body < 0) {
			free(w);
			break;
		}
		w->next = r->mailbox_waits;
		r->mailbox_waits = w;
		a->mailbox_open++;
	}
	if (body >= 0)
		close(body);
	if (a->mailbox_open < a->letter.rcpt_count) {
		/* Those without a request are settled now; the answer goes with the last of the others. */
		for (size_t i = a->mailbox_open; i < a->letter.rcpt_count; i++) {
			struct out_rcpt *o = &a->letter.rcpt[i];

			o->settled = true;
			o->result = RCPT_RES_TEMPFAIL;
			o->scope = SCOPE_HOST;
			snprintf(o->reply.enhanced, sizeof(o->reply.enhanced), "4.3.0");
			snprintf(o->reply.text, sizeof(o->reply.text),
				 "out of memory for the letter");
		}
		if (!a->mailbox_open) {
			relay_answer(a);
			return;
		}
	}
	send_more(r);
}

void mailbox_cancel(struct attempt *a)
{
	struct relay *r = a->relay;
	struct mailbox_wait *w, *next;
	size_t open = a->mailbox_open;

	for (w = r->mailbox_waits; w && open; w = next) {
		next = w->next;
		if (w->attempt != a)
			continue;
		open--; /* with the last one it is answered */
		if (w->sent)
			continue;
		a->letter.rcpt[w->rcpt].settled = true;
		a->letter.rcpt[w->rcpt].result = RCPT_RES_NOT_TRIED;
		finish(r, w, DELIVER_LATER, SCOPE_NONE, "");
	}
}
