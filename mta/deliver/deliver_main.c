/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "deliver.h"
#include "log.h"
#include "loop.h"
#include "maildir.h"
#include "proc.h"
#include "resolve.h"

#define CLIENTS_MAX  8
#define CHILDREN_MAX 16
#define WAITING_MAX  256
#define CHILD_S	     60
#define LISTEN_FD    3 /* sd_listen_fds(3) */

/*
 * Theory: a small root process. A request is checked, its recipient resolved, and then a child is
 * forked that becomes that user for good before it touches a file; it tells the outcome by a line on
 * a pipe. Root itself opens nothing of a user's. Whatever goes wrong is "later": what comes after
 * an error of ours must not be a bounce.
 */

struct client {
	struct server *server;
	struct loop_fd lf;
	bool open;
	uint32_t generation;
};

struct work {
	struct server *server;
	struct work *next;
	struct client *client;
	uint32_t generation; /* of the client, when it asked */
	struct deliver_request request;
	struct mailbox mailbox;
	int body;
	pid_t pid;
	struct loop_fd pipe;
	struct timer limit;
	char text[DELIVER_TEXT_MAX + 1];
};

struct server {
	struct loop *loop;
	const char *path; /* of mta.conf */
	struct mta_config *config;
	struct table users;
	uid_t asker;
	struct loop_fd listen;
	struct client clients[CLIENTS_MAX];
	struct work *waiting, **waiting_tail;
	size_t running, waiting_count;
};

/* ---- configuration ---- */

static int load(struct server *s)
{
	struct conf *conf = conf_load(&config_schema, s->path);
	struct mta_config *c = conf && conf_ok(conf) ? config_new(conf) : NULL;
	struct table users = { 0 };
	char *text = NULL, why[CONF_WHY_MAX];
	size_t len;
	gid_t gid;
	uid_t uid;
	int rc = c ? 0 : -EINVAL;

	if (rc) {
		log_err(NULL, "%s", conf && conf->errors ? conf->errors : "out of memory");
	} else if (!c->deliver.domains.count) {
		log_err(NULL, "%s: no [deliver] section; nothing to do", s->path);
		rc = -EINVAL;
	} else if (proc_user(c->user, &uid, &gid)) {
		log_err(NULL, "user \"%s\" does not exist", c->user);
		rc = -ENOENT;
	}
	if (!rc && c->deliver.users) {
		rc = conf_file_read(c->deliver.users, 0, &text, &len, why, sizeof(why));
		if (!rc)
			rc = table_parse(&users, text, len, "=", why, sizeof(why));
		if (rc)
			log_err(NULL, "%s: %s", c->deliver.users, why);
		free(text);
	}
	conf_free(conf);
	if (rc) {
		table_clear(&users);
		config_free(c);
		return rc;
	}
	config_free(s->config);
	table_clear(&s->users);
	s->config = c;
	s->users = users;
	s->asker = uid;
	return 0;
}

static void on_sighup(int signo, void *arg)
{
	(void)signo;
	if (load(arg))
		log_err(NULL, "reload refused, the old configuration stays in force");
}

/* ---- the child: the user ---- */

static int deliver(const struct work *w, const char *hostname, char *why, size_t cap)
{
	struct maildir_letter l = { .body = w->body,
				    .size = w->request.size,
				    .sender = w->request.sender,
				    .recipient = w->request.recipient,
				    .hostname = hostname };
	int home, dir, rc;
	struct stat st;

	home = open(w->mailbox.home, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (home < 0 || fstat(home, &st) < 0) {
		rc = -errno;
		snprintf(why, cap, "cannot open the home directory: %s", strerror(-rc));
		return rc;
	}
	if (st.st_uid != w->mailbox.uid) {
		snprintf(why, cap, "the home directory belongs to another user");
		return -EPERM;
	}
	dir = maildir_open(home, w->mailbox.dir, w->mailbox.uid, why, cap);
	return dir < 0 ? dir : maildir_put(dir, &l, why, cap);
}

static void child(const struct work *w, const char *hostname, int out)
{
	struct rlimit none = { 0, 0 };
	char why[DELIVER_TEXT_MAX] = "";
	sigset_t empty;
	int rc;

	sigemptyset(&empty);
	sigprocmask(SIG_SETMASK, &empty, NULL);
	signal(SIGXFSZ, SIG_IGN);
	alarm(CHILD_S);
	umask(077);
	setrlimit(RLIMIT_CORE, &none);
	rc = proc_become(w->mailbox.uid, w->mailbox.gid);
	if (rc)
		snprintf(why, sizeof(why), "cannot become the user: %s", strerror(-rc));
	else
		rc = deliver(w, hostname, why, sizeof(why));
	if (rc && write(out, why, strlen(why)) < 0)
		_exit(2);
	_exit(rc ? 1 : 0);
}

/* ---- answers ---- */

static void answer(struct work *w, bool done, const char *text)
{
	struct deliver_answer a = { .number = w->request.number, .done = done };
	uint8_t packet[DELIVER_PACKET_MAX];
	char id[LETTER_ID_STR_MAX], rcpt[600], quoted[500];
	size_t len;

	snprintf(a.text, sizeof(a.text), "%s", text);
	log_info(NULL, "letter=%s to=%s user=%s result=%s text=\"%s\"",
		 letter_id_str(w->request.id, id),
		 log_quote(rcpt, sizeof(rcpt), w->request.recipient, strlen(w->request.recipient)),
		 w->mailbox.user, done ? "delivered" : "deferred",
		 log_quote(quoted, sizeof(quoted), a.text, strlen(a.text)));
	/* A client that does not read its answers asks again after its own time. */
	if (w->client->open && w->client->generation == w->generation &&
	    !deliver_answer_build(&a, packet, &len))
		(void)!send(w->client->lf.fd, packet, len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void work_free(struct work *w)
{
	if (w->body >= 0)
		close(w->body);
	free(w);
}

static void run_more(struct server *s);

static void on_pipe(struct loop_fd *lf, uint32_t events)
{
	struct work *w = lf->arg;
	struct server *s = w->server;
	size_t have = strlen(w->text);
	ssize_t n = read(lf->fd, w->text + have, DELIVER_TEXT_MAX - have);
	int status = -1;

	(void)events;
	if (n > 0) {
		w->text[have + (size_t)n] = 0;
		if (have + (size_t)n < DELIVER_TEXT_MAX)
			return;
	} else if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		return;
	}
	/* The pipe is closed: the child is at its end or past it. */
	loop_del(s->loop, lf);
	close(lf->fd);
	timer_clear(loop_timers(s->loop), &w->limit);
	kill(w->pid, n == 0 ? 0 : SIGKILL);
	while (waitpid(w->pid, &status, 0) < 0 && errno == EINTR)
		;
	for (char *p = w->text; *p; p++) {
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	}
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		answer(w, true, "delivered");
	else
		answer(w, false, *w->text ? w->text : "the delivery ended before its time");
	work_free(w);
	s->running--;
	run_more(s);
}

static void on_limit(struct timer *t, uint64_t now_ms)
{
	struct work *w = t->arg;

	(void)now_ms;
	kill(w->pid, SIGKILL); /* the pipe closes with it */
}

/* ---- requests ---- */

static int run(struct server *s, struct work *w)
{
	int fds[2], rc = resolve_mailbox(s->config, &s->users, w->request.recipient, &w->mailbox,
					 w->text, sizeof(w->text));

	if (rc)
		return rc;
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	w->pid = fork();
	if (!w->pid)
		child(w, s->config->hostname, fds[1]);
	close(fds[1]);
	w->pipe = (struct loop_fd){ .fd = fds[0], .ready = on_pipe, .arg = w };
	if (w->pid < 0 || loop_add(s->loop, &w->pipe, EPOLLIN)) {
		rc = -EAGAIN;
		close(fds[0]);
		if (w->pid > 0) {
			kill(w->pid, SIGKILL);
			waitpid(w->pid, NULL, 0);
		}
		return rc;
	}
	w->limit = (struct timer){ .fire = on_limit, .arg = w };
	timer_set(loop_timers(s->loop), &w->limit, loop_now_ms(s->loop) + (CHILD_S + 5) * 1000);
	s->running++;
	return 0;
}

static void run_more(struct server *s)
{
	while (s->waiting && s->running < CHILDREN_MAX) {
		struct work *w = s->waiting;
		int rc;

		s->waiting = w->next;
		if (!s->waiting)
			s->waiting_tail = &s->waiting;
		s->waiting_count--;
		/* Nobody would hear of it, and who asked asks again: it would come twice. */
		if (!w->client->open || w->client->generation != w->generation) {
			work_free(w);
			continue;
		}
		rc = run(s, w);
		if (!rc)
			continue;
		answer(w, false, *w->text ? w->text : strerror(-rc));
		work_free(w);
	}
}

static void client_close(struct client *c)
{
	loop_del(c->server->loop, &c->lf);
	close(c->lf.fd);
	c->open = false;
	c->generation++;
}

static int on_request(struct client *c, const uint8_t *packet, size_t len, int body)
{
	struct server *s = c->server;
	struct work *w = calloc(1, sizeof(*w));
	int rc = -ENOMEM;

	if (!w) {
		close(body);
		return rc;
	}
	w->server = s;
	w->client = c;
	w->generation = c->generation;
	w->body = body;
	rc = deliver_request_parse(&w->request, packet, len);
	if (!rc)
		rc = deliver_body_check(body, w->request.size);
	if (rc) {
		work_free(w);
		return rc;
	}
	if (s->waiting_count >= WAITING_MAX) {
		answer(w, false, "too many deliveries at once");
		work_free(w);
		return 0;
	}
	*s->waiting_tail = w;
	s->waiting_tail = &w->next;
	s->waiting_count++;
	run_more(s);
	return 0;
}

/* 1: a packet; 0: none now; -errno: the client is to go. */
static int receive(struct client *c)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(8 * sizeof(int))];
	} ctl;
	uint8_t packet[DELIVER_PACKET_MAX];
	struct iovec iov = { .iov_base = packet, .iov_len = sizeof(packet) };
	struct msghdr mh = { .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = ctl.buf,
			     .msg_controllen = sizeof(ctl.buf) };
	ssize_t n = recvmsg(c->lf.fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	int fd[8], count = 0;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		return n < 0 ? -errno : -EPIPE;
	for (struct cmsghdr *cm = CMSG_FIRSTHDR(&mh); cm; cm = CMSG_NXTHDR(&mh, cm)) {
		int got = (int)((cm->cmsg_len - CMSG_LEN(0)) / sizeof(int));

		if (cm->cmsg_level != SOL_SOCKET || cm->cmsg_type != SCM_RIGHTS)
			continue;
		for (int i = 0; i < got && count < 8; i++)
			memcpy(&fd[count++], CMSG_DATA(cm) + (size_t)i * sizeof(int), sizeof(int));
	}
	if (count == 1 && !(mh.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
		int rc = on_request(c, packet, (size_t)n, fd[0]);

		return rc ? rc : 1;
	}
	while (count)
		close(fd[--count]);
	return -EPROTO;
}

static void on_client(struct loop_fd *lf, uint32_t events)
{
	struct client *c = lf->arg;
	int rc = 1;

	(void)events;
	for (int i = 0; i < 32 && rc > 0; i++)
		rc = receive(c);
	if (rc >= 0)
		return;
	if (rc != -EPIPE && rc != -ECONNRESET)
		log_err(NULL, "a request is refused and its connection closed: %s", strerror(-rc));
	client_close(c);
}

static void on_connect(struct loop_fd *lf, uint32_t events)
{
	struct server *s = lf->arg;
	int fd = accept4(lf->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct ucred cred;
	socklen_t len = sizeof(cred);
	struct client *c = NULL;

	(void)events;
	if (fd < 0)
		return;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0 ||
	    (cred.uid && cred.uid != s->asker)) {
		log_err(NULL, "a connection by uid %u is refused; allowed: uid %u and root",
			cred.uid, s->asker);
		close(fd);
		return;
	}
	for (size_t i = 0; i < CLIENTS_MAX && !c; i++) {
		if (!s->clients[i].open)
			c = &s->clients[i];
	}
	if (!c) {
		close(fd);
		return;
	}
	c->server = s;
	c->open = true;
	c->lf = (struct loop_fd){ .fd = fd, .ready = on_client, .arg = c };
	if (loop_add(s->loop, &c->lf, EPOLLIN)) {
		close(fd);
		c->open = false;
	}
}

/* ---- start ---- */

static int listen_at(const char *path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(un.sun_path))
		die("%s: the path is too long for a socket", path);
	memcpy(un.sun_path, path, strlen(path));
	unlink(path);
	/* Everybody may connect; SO_PEERCRED decides. */
	if (fd < 0 || bind(fd, (struct sockaddr *)&un, sizeof(un)) < 0 || chmod(path, 0666) < 0 ||
	    listen(fd, CLIENTS_MAX) < 0)
		die("cannot listen at %s: %s", path, strerror(errno));
	return fd;
}

static int inherited(void)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");

	if (!pid || !fds || atol(pid) != (long)getpid() || strcmp(fds, "1"))
		return -1;
	fcntl(LISTEN_FD, F_SETFD, FD_CLOEXEC);
	fcntl(LISTEN_FD, F_SETFL, O_NONBLOCK);
	return LISTEN_FD;
}

static void on_term(int signo, void *arg)
{
	(void)signo;
	loop_stop(((struct server *)arg)->loop);
}

static int usage(FILE *to)
{
	fprintf(to,
		"usage: postern-deliver [-c FILE] [--listen PATH] [--version]\n"
		"  -c FILE        configuration, default /etc/postern/mta.conf\n"
		"  --listen PATH  socket, when systemd hands over none; default as configured\n");
	return to == stderr ? 64 : 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "config", required_argument, NULL, 'c' },
						 { "listen", required_argument, NULL, 'l' },
						 { "version", no_argument, NULL, 'V' },
						 { "help", no_argument, NULL, 'h' },
						 { NULL } };
	static struct server s = { .path = "/etc/postern/mta.conf" };
	const char *listen_path = NULL;
	int opt, fd;

	while ((opt = getopt_long(argc, argv, "c:l:h", options, NULL)) != -1) {
		if (opt == 'c')
			s.path = optarg;
		else if (opt == 'l')
			listen_path = optarg;
		else if (opt == 'V')
			return puts("postern-deliver " POSTERN_VERSION) < 0;
		else
			return usage(opt == 'h' ? stdout : stderr);
	}
	if (optind != argc)
		return usage(stderr);
	log_setup("postern-deliver", LOG_LVL_INFO, STDERR_FILENO);
	signal(SIGPIPE, SIG_IGN);
	s.waiting_tail = &s.waiting;
	s.loop = loop_new();
	if (!s.loop || load(&s))
		die("cannot start");
	fd = inherited();
	if (fd < 0)
		fd = listen_at(listen_path ? listen_path : s.config->deliver.socket);
	s.listen = (struct loop_fd){ .fd = fd, .ready = on_connect, .arg = &s };
	if (loop_add(s.loop, &s.listen, EPOLLIN) || loop_signal(s.loop, SIGHUP, on_sighup, &s) ||
	    loop_signal(s.loop, SIGTERM, on_term, &s) || loop_signal(s.loop, SIGINT, on_term, &s))
		die("cannot start: %s", strerror(errno));
	log_info(NULL, "ready");
	loop_run(s.loop);
	config_free(s.config);
	table_clear(&s.users);
	loop_free(s.loop);
	return 0;
}
