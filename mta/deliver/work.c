/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"

#define CHILDREN_MAX 16 /* that come along */
#define CHILDREN_ALL 96 /* with those that hang */
#define PER_BOX	     2	/* with those that hang */
#define PER_USER     12 /* of all his mailboxes, that come along */
#define HANG_USER    24 /* of all his mailboxes: then it is no mailbox that hangs, but all he has */
#define SLOW_MS	     10000 /* from then on a child is one that hangs */
#define LOOK_MS	     1000
#define LATE	     "the delivery took too long"

/* ---- answers ---- */

static void answer(struct work *w, enum deliver_status status, const char *text)
{
	static const char *const words[] = { "delivered", "deferred", "refused" };
	struct deliver_answer a = { .number = w->request.number, .status = status };
	uint8_t packet[DELIVER_PACKET_MAX];
	char id[LETTER_ID_STR_MAX], rcpt[600], quoted[500];
	size_t len;

	snprintf(a.text, sizeof(a.text), "%s", text);
	log_info(NULL, "letter=%s to=\"%s\" user=%s result=%s text=\"%s\"",
		 letter_id_str(w->request.id, id),
		 log_quote(rcpt, sizeof(rcpt), w->request.recipient, strlen(w->request.recipient)),
		 w->mailbox.user, words[status],
		 log_quote(quoted, sizeof(quoted), a.text, strlen(a.text)));
	/* A client that does not read its answers asks again after its own time. */
	if (w->client->open && w->client->generation == w->generation &&
	    !deliver_answer_build(&a, packet, &len))
		(void)!send(w->client->lf.fd, packet, len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void settle(struct work *w, enum deliver_status status, const char *text)
{
	if (!w->answered)
		answer(w, status, text);
	w->answered = true;
}

static void put_off(struct work *w, const char *why)
{
	settle(w, DELIVER_LATER, why);
}

static void work_free(struct work *w)
{
	if (w->body >= 0)
		close(w->body);
	free(w);
}

static void run_more(struct server *s);

static void pipe_close(struct work *w)
{
	if (!w->pipe.added)
		return;
	loop_del(w->server->loop, &w->pipe);
	close(w->pipe.fd);
}

/* The first line's worth is kept; a command may say as much as it likes. */
static bool listen_to(struct work *w)
{
	size_t have = strlen(w->text), room = DELIVER_TEXT_MAX - have;
	char chunk[4096];
	ssize_t n = read(w->pipe.fd, chunk, sizeof(chunk));

	if (n < 0)
		return errno == EINTR;
	for (ssize_t i = 0; i < n && (size_t)i < room; i++) {
		unsigned char ch = (unsigned char)chunk[i];

		w->text[have + (size_t)i] = (char)(ch == '\n'		     ? ' '
						   : ch < 0x20 || ch >= 0x7f ? '?'
									     : ch);
	}
	return n > 0;
}

static void on_pipe(struct loop_fd *lf, uint32_t events)
{
	struct work *w = lf->arg;

	(void)events;
	errno = 0;
	if (!listen_to(w) && errno != EAGAIN)
		pipe_close(w); /* it has closed its output; what counts is its end */
}

/* A code of its own is the command's to say; of the right class. */
static const char *told(const struct work *w, enum deliver_status verdict, const char *code,
			char out[static DELIVER_TEXT_MAX + 1])
{
	const char *text = *w->text ? w->text : "the delivery ended without a word";

	if (verdict == DELIVER_DONE)
		text = "delivered";
	if (verdict != DELIVER_NEVER || !strncmp(text, "5.", 2))
		code = "";
	snprintf(out, DELIVER_TEXT_MAX + 1, "%s%s%.*s", code, *code ? " " : "",
		 DELIVER_TEXT_MAX - 8, text);
	return out;
}

/* What it left behind is not waited for; what of that is still of its group ends with it. */
static void on_exit_of(struct loop_fd *lf, uint32_t events)
{
	struct work *w = lf->arg, **at;
	struct server *s = w->server;
	const char *code;
	char text[DELIVER_TEXT_MAX + 1];
	enum deliver_status verdict;
	int status = -1;
	size_t n;

	(void)events;
	for (int i = 0; w->pipe.added && i < 64 && listen_to(w); i++)
		;
	pipe_close(w);
	kill(-w->pid, SIGKILL); /* not reaped yet: the number is still its own */
	while (waitpid(w->pid, &status, 0) < 0 && errno == EINTR)
		;
	loop_del(s->loop, lf);
	close(lf->fd);
	timer_clear(loop_timers(s->loop), &w->limit);
	verdict = delivery_verdict(status, &code);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) /* by its own clock, delivery.h */
		snprintf(w->text, sizeof(w->text), LATE);
	for (n = strlen(w->text); n && w->text[n - 1] == ' '; n--)
		w->text[n - 1] = 0;
	settle(w, verdict, told(w, verdict, code, text));
	for (at = &s->running; *at != w; at = &(*at)->next)
		;
	*at = w->next;
	work_free(w);
	run_more(s);
}

static void on_limit(struct timer *t, uint64_t now_ms)
{
	struct work *w = t->arg;

	(void)now_ms;
	/* It ends now, or when the kernel lets go of it; a command's children with it. */
	if (kill(-w->pid, SIGKILL) < 0)
		kill(w->pid, SIGKILL);
	put_off(w, LATE);
}

/* ---- children ---- */

/* Watch what it says, and its end. */
static int watch(struct server *s, struct work *w, int out)
{
	int fd = (int)syscall(SYS_pidfd_open, w->pid, 0), rc = fd < 0 ? -errno : 0;

	w->exit = (struct loop_fd){ .fd = fd, .ready = on_exit_of, .arg = w };
	w->pipe = (struct loop_fd){ .fd = out, .ready = on_pipe, .arg = w };
	if (!rc)
		rc = loop_add(s->loop, &w->exit, EPOLLIN);
	if (!rc)
		rc = loop_add(s->loop, &w->pipe, EPOLLIN);
	if (!rc)
		return 0;
	loop_del(s->loop, &w->exit);
	if (fd >= 0)
		close(fd);
	return rc;
}

static int run(struct server *s, struct work *w)
{
	int fds[2], rc;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	/* Our end alone: a command that says more than the pipe holds waits, and does not fail after its work. */
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	w->pid = fork();
	if (!w->pid)
		delivery_run(&w->request, &w->mailbox, s->config, w->body, fds[1]);
	close(fds[1]);
	rc = w->pid < 0 ? -EAGAIN : watch(s, w, fds[0]);
	if (rc) {
		close(fds[0]);
		if (w->pid > 0) {
			kill(w->pid, SIGKILL);
			waitpid(w->pid, NULL, 0);
		}
		return rc;
	}
	w->limit = (struct timer){ .fire = on_limit, .arg = w };
	w->started_ms = loop_now_ms(s->loop);
	timer_set(loop_timers(s->loop), &w->limit, w->started_ms + (DELIVERY_S + 5) * 1000);
	w->next = s->running;
	s->running = w;
	return 0;
}

/* Children at work: of all, of one user, of one mailbox; those that come along and those that hang. */
struct census {
	struct {
		size_t come_along, hang;
	} all, user, box;
};

static bool same_box(const struct mailbox *a, const struct mailbox *b)
{
	return a->uid == b->uid && !a->dir[0] == !b->dir[0] && !strcmp(a->box, b->box);
}

static struct census count(struct server *s, const struct mailbox *m)
{
	uint64_t now_ms = loop_now_ms(s->loop);
	struct census c = { 0 };

	for (const struct work *w = s->running; w; w = w->next) {
		bool hangs = now_ms - w->started_ms >= SLOW_MS, his = w->mailbox.uid == m->uid,
		     box = same_box(&w->mailbox, m);

		c.all.hang += hangs;
		c.all.come_along += !hangs;
		c.user.hang += his && hangs;
		c.user.come_along += his && !hangs;
		c.box.hang += box && hangs;
		c.box.come_along += box && !hangs;
	}
	return c;
}

static const char *hangs(const struct census *c)
{
	if (c->box.hang >= PER_BOX)
		return "earlier deliveries to this mailbox hang";
	return c->user.hang >= HANG_USER ? "earlier deliveries to this user hang" : NULL;
}

static bool has_turn(const struct census *c)
{
	return c->box.hang + c->box.come_along < PER_BOX && c->user.come_along < PER_USER &&
	       c->all.come_along < CHILDREN_MAX && c->all.hang + c->all.come_along < CHILDREN_ALL;
}

static struct work *take(struct server *s, struct work **at)
{
	struct work *w = *at;

	*at = w->next;
	if (!*at)
		s->waiting_tail = at;
	s->waiting_count--;
	return w;
}

static void run_more(struct server *s)
{
	struct work **at = &s->waiting, *w;

	while ((w = *at)) {
		struct census c = count(s, &w->mailbox);
		const char *why = hangs(&c);
		int rc;

		/* Nobody would hear of it, and who asked asks again: it would come twice. */
		if (!w->client->open || w->client->generation != w->generation) {
			work_free(take(s, at));
		} else if (why) {
			put_off(w, why);
			work_free(take(s, at));
		} else if (!has_turn(&c)) {
			at = &w->next;
		} else {
			rc = run(s, take(s, at));
			if (!rc)
				continue;
			put_off(w, strerror(-rc));
			work_free(w);
		}
	}
	if (s->waiting && !timer_armed(&s->look))
		timer_set(loop_timers(s->loop), &s->look, loop_now_ms(s->loop) + LOOK_MS);
}

static void on_look(struct timer *t, uint64_t now_ms)
{
	(void)now_ms;
	run_more(t->arg);
}

static size_t waiting_for(const struct server *s, const struct mailbox *m)
{
	size_t n = 0;

	for (const struct work *w = s->waiting; w; w = w->next)
		n += same_box(&w->mailbox, m);
	return n;
}

void work_add(struct server *s, struct work *w)
{
	if (s->waiting_count >= WAITING_MAX || waiting_for(s, &w->mailbox) >= WAITING_BOX)
		return work_refuse(w, NULL, "too many deliveries at once");
	*s->waiting_tail = w;
	s->waiting_tail = &w->next;
	s->waiting_count++;
	run_more(s);
}

void work_refuse(struct work *w, const char *code, const char *why)
{
	enum deliver_status verdict = code ? DELIVER_NEVER : DELIVER_LATER;
	char text[DELIVER_TEXT_MAX + 1];

	snprintf(w->text, sizeof(w->text), "%s", why);
	settle(w, verdict, told(w, verdict, code, text));
	work_free(w);
}

void work_init(struct server *s)
{
	s->waiting_tail = &s->waiting;
	s->look = (struct timer){ .fire = on_look, .arg = s };
}
