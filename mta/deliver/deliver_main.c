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
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server.h"
#include "confine.h"
#include "log.h"
#include "loop.h"
#include "proc.h"

#define LISTEN_FD 3 /* sd_listen_fds(3) */

/* ---- configuration ---- */

static int load_users(const char *path, struct table *users)
{
	char *text = NULL, why[CONF_WHY_MAX];
	size_t len;
	int rc = conf_file_read(path, 0, &text, &len, why, sizeof(why));

	if (!rc)
		rc = table_parse(users, text, len, "=", why, sizeof(why));
	if (!rc)
		rc = table_users_check(users, why, sizeof(why));
	if (rc)
		log_err(NULL, "%s: %s", path, why);
	free(text);
	return rc;
}

static int load(struct server *s)
{
	struct conf *conf = conf_load(&config_schema, s->path);
	struct mta_config *c = conf && conf_ok(conf) ? config_new(conf) : NULL;
	struct table users = { 0 };
	uint64_t sum = 0;
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
		sum = conf_file_mark(c->deliver.users); /* before it is read: what changes meanwhile is seen later */
		rc = load_users(c->deliver.users, &users);
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
	s->users_sum = sum;
	s->asker = uid;
	return 0;
}

/* The MTA takes letters by the table as it is now, so they are given by no other. */
static void refresh_users(struct server *s)
{
	uint64_t sum = conf_file_mark(s->config->deliver.users);
	struct table users = { 0 };

	if (!s->config->deliver.users || sum == s->users_sum)
		return;
	s->users_sum = sum; /* a fault in it is told once */
	if (load_users(s->config->deliver.users, &users)) {
		log_err(NULL, "table refused, the old one stays in force");
		table_clear(&users);
		return;
	}
	log_info(NULL, "file=%s read anew", s->config->deliver.users);
	table_clear(&s->users);
	s->users = users;
}

static void on_sighup(int signo, void *arg)
{
	(void)signo;
	if (load(arg))
		log_err(NULL, "reload refused, the old configuration stays in force");
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
	char why[DELIVER_TEXT_MAX];
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
		close(body);
		free(w);
		return rc;
	}
	refresh_users(s);
	rc = resolve_mailbox(s->config, &s->users, &w->request, &w->mailbox, why, sizeof(why));
	if (rc)
		work_refuse(w, rc == -EBADMSG ? "5.1.3" : NULL, why);
	else
		work_add(s, w);
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
	uint32_t swallowed;

	(void)events;
	if (fd < 0)
		return;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0 ||
	    (cred.uid && cred.uid != s->asker)) {
		if (log_limited(&s->quiet, cred.uid, loop_now_ms(s->loop), &swallowed))
			log_err(NULL,
				"a connection by uid %u is refused; allowed: uid %u and root (%u more "
				"not told)",
				cred.uid, s->asker, swallowed);
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
	mode_t mask;

	if (strlen(path) >= sizeof(un.sun_path))
		die("%s: the path is too long for a socket", path);
	memcpy(un.sun_path, path, strlen(path));
	unlink(path);
	/* Everybody may connect; SO_PEERCRED decides. By the mask: a name may lead elsewhere a moment later. */
	mask = umask(0111);
	if (fd < 0 || bind(fd, (struct sockaddr *)&un, sizeof(un)) < 0 || listen(fd, CLIENTS_MAX) < 0)
		die("cannot listen at %s: %s", path, strerror(errno));
	umask(mask);
	return fd;
}

static bool activated(void)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");

	return pid && fds && atol(pid) == (long)getpid() && !strcmp(fds, "1");
}

static int inherited(void)
{
	if (!activated())
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
	if (confine_start(activated()))
		die("cannot start");
	signal(SIGPIPE, SIG_IGN);
	work_init(&s);
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
	if (confine_server())
		die("cannot start");
	log_info(NULL, "ready");
	loop_run(s.loop);
	config_free(s.config);
	table_clear(&s.users);
	loop_free(s.loop);
	return 0;
}
