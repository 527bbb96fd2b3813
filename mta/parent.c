/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "parent.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "secret.h"
#include "wire.h"

#define GRACE_MS    10000
#define DESCRIPTORS 16384

/* The order in which they start: who is asked stands before who asks. */
static const struct proc_spec specs[MTA_PROCS] = {
	{ "queue", MTA_PROC_QUEUE },
	{ "lookup", MTA_PROC_LOOKUP },
	{ "relay", MTA_PROC_RELAY },
	{ "smtpd", MTA_PROC_SMTPD },
};

static const enum mta_proc pairs[][2] = {
	{ MTA_PROC_SMTPD, MTA_PROC_QUEUE },
	{ MTA_PROC_SMTPD, MTA_PROC_LOOKUP },
	{ MTA_PROC_QUEUE, MTA_PROC_RELAY },
	{ MTA_PROC_RELAY, MTA_PROC_LOOKUP },
};

/* ---- configuration ---- */

static int load(const char *path, char **text, size_t *len, struct conf **conf,
		struct mta_config **config, char *why, size_t cap)
{
	char file_why[CONF_WHY_MAX];
	int rc = conf_file_read(path, 0, text, len, file_why, sizeof(file_why));

	if (rc) {
		snprintf(why, cap, "%s: %s", path, file_why);
		return rc;
	}
	*conf = conf_parse(&config_schema, path, *text, *len);
	*config = *conf && conf_ok(*conf) ? config_new(*conf) : NULL;
	if (*config)
		return 0;
	snprintf(why, cap, "%s", *conf && (*conf)->errors ? (*conf)->errors : "out of memory");
	conf_free(*conf);
	*conf = NULL;
	free(*text);
	*text = NULL;
	return -EINVAL;
}

static int make_bundle(struct conf *conf, const char *text, size_t len, char *why, size_t cap)
{
	int fd = bundle_make(conf, text, len, NULL);

	if (fd < 0)
		snprintf(why, cap, "%s", conf->errors ? conf->errors : strerror(-fd));
	return fd;
}

/* ---- what children are told ---- */

static void send_memfd(struct proc *to, uint32_t type, uint32_t id, const void *data, size_t len)
{
	int fd = memfd_create("postern", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || write(fd, data, len) != (ssize_t)len) {
		log_err(NULL, "cannot hand data to proc=%s: %s", to->spec->name, strerror(errno));
	} else {
		fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
		ipc_send_fds(to->ipc, type, id, NULL, 0, &fd, 1);
	}
	if (fd >= 0)
		close(fd);
}

void parent_send_tunnel(struct parent *p, struct proc *to)
{
	size_t len;
	uint8_t *b = tunnel_encode(&p->tunnel, &len);

	for (size_t i = 0; b && i < MTA_PROCS; i++) {
		if (p->procs[i].ipc && (!to || to == &p->procs[i]))
			send_memfd(&p->procs[i], MTA_TUNNEL, 0, b, len);
	}
	free(b);
}

static bool read_file(const char *path, unsigned flags, char **data, size_t *len)
{
	char why[CONF_WHY_MAX];

	if (!conf_file_read(path, flags, data, len, why, sizeof(why)))
		return true;
	log_err(NULL, "file=%s: %s", path, why);
	return false;
}

static void send_key(struct proc *to, uint32_t id, const char *certificate, const char *key)
{
	char *c = NULL, *k = NULL;
	uint8_t *buf = NULL;
	size_t clen = 0, klen = 0, len = 0;
	struct wr w;

	if (!read_file(certificate, 0, &c, &clen) || !read_file(key, CONF_SECRET_FILE, &k, &klen))
		goto out;
	buf = malloc(4 + clen + klen);
	if (!buf)
		goto out;
	w = wr_init(buf, 4 + clen + klen);
	wr_be32(&w, (uint32_t)clen);
	wr_bytes(&w, c, clen);
	wr_bytes(&w, k, klen);
	if (wr_finish(&w, &len) || ipc_send(to->ipc, MTA_KEY, id, buf, len))
		log_err(NULL, "certificate=%s is too large", certificate);
	secret_wipe(buf, 4 + clen + klen);
out:
	if (k)
		secret_wipe(k, klen);
	free(buf);
	free(c);
	free(k);
}

static void send_password(struct proc *to, uint32_t id, const char *path)
{
	char *s = NULL;
	size_t len = 0;

	if (!read_file(path, CONF_SECRET_FILE, &s, &len))
		return;
	ipc_send(to->ipc, MTA_KEY, id, s, strcspn(s, "\r\n"));
	secret_wipe(s, len);
	free(s);
}

#define SYSTEM_CA "/etc/ssl/certs/ca-certificates.crt"

/* Too large for every child's bundle; only who verifies gets it. */
static void send_authorities(struct parent *p, struct proc *to)
{
	const struct mta_config *c = p->config;
	char *s = NULL;
	size_t len = 0;
	bool wanted = false;

	for (size_t i = 0; i < c->route_count; i++)
		wanted |= c->routes[i].tls == TLS_VERIFY;
	if (!wanted || c->ca_file || !read_file(SYSTEM_CA, 0, &s, &len))
		return;
	send_memfd(to, MTA_KEY, MTA_KEY_CA, s, len);
	free(s);
}

/* Private files, each to the one process that has a use for it. */
static void send_keys(struct parent *p, struct proc *to)
{
	const struct mta_config *c = p->config;
	char *s = NULL;
	size_t len = 0;

	switch ((enum mta_proc)to->spec->id) {
	case MTA_PROC_SMTPD:
		for (size_t i = 0; i < c->listener_count; i++) {
			if (c->listeners[i].certificates.count)
				send_key(to, (uint32_t)i, c->listeners[i].certificates.v[0],
					 c->listeners[i].private_keys.v[0]);
		}
		break;
	case MTA_PROC_RELAY:
		if (c->certificate)
			send_key(to, MTA_KEY_CLIENT, c->certificate, c->private_key);
		send_authorities(p, to);
		for (size_t i = 0; i < c->route_count; i++) {
			if (c->routes[i].password_file)
				send_password(to, MTA_KEY_PASSWORD + (uint32_t)i,
					      c->routes[i].password_file);
		}
		break;
	case MTA_PROC_LOOKUP:
		if (c->users && read_file(c->users, CONF_SECRET_FILE, &s, &len)) {
			send_memfd(to, MTA_KEY, MTA_KEY_USERS, s, len);
			secret_wipe(s, len);
			free(s);
		}
		if (conf_file_read("/etc/resolv.conf", 0, &s, &len, (char[CONF_WHY_MAX]){ 0 },
				   CONF_WHY_MAX)) {
			send_memfd(to, MTA_KEY, MTA_KEY_RESOLV, "", 0);
		} else {
			send_memfd(to, MTA_KEY, MTA_KEY_RESOLV, s, len);
			free(s);
		}
		break;
	default:
		break;
	}
}

static void send_pair(struct parent *p, enum mta_proc a, enum mta_proc b)
{
	struct proc *pa = proc_by_id(&p->table, (int)a), *pb = proc_by_id(&p->table, (int)b);
	int fds[2];

	if (!pa->ipc || !pb->ipc)
		return;
	if (ipc_pair(fds)) {
		log_err(NULL, "cannot connect proc=%s and proc=%s: %s", pa->spec->name,
			pb->spec->name, strerror(errno));
		return;
	}
	ipc_send_fds(pa->ipc, MTA_PEER, b, NULL, 0, &fds[0], 1);
	ipc_send_fds(pb->ipc, MTA_PEER, a, NULL, 0, &fds[1], 1);
	close(fds[0]);
	close(fds[1]);
}

static void on_started(struct proc *pr, void *arg)
{
	struct parent *p = arg;

	ipc_send_fds(pr->ipc, MTA_CONFIG, 0, NULL, 0, &p->bundle_fd, 1);
	send_keys(p, pr);
	parent_send_tunnel(p, pr);
	for (size_t i = 0; i < CONF_COUNT(pairs); i++) {
		if ((int)pairs[i][0] == pr->spec->id || (int)pairs[i][1] == pr->spec->id)
			send_pair(p, pairs[i][0], pairs[i][1]);
	}
	if (pr->spec->id == MTA_PROC_SMTPD)
		listen_send(p);
}

static void on_ended(struct proc *pr, int status, void *arg)
{
	(void)status;
	if (pr->spec->id == MTA_PROC_QUEUE)
		control_abandon(arg);
}

static void on_message(struct ipc *ipc, struct ipc_msg *m, void *arg)
{
	struct proc *pr = arg;

	(void)ipc;
	if (m->type == MTA_READY)
		log_info(NULL, "ready proc=%s", pr->spec->name);
	else if (m->type == MTA_CONTROL_REPLY && pr->spec->id == MTA_PROC_QUEUE)
		control_answer(pr->table->arg, m->id, (const char *)m->data, m->len);
	else
		log_err(NULL, "unknown message type=%u from proc=%s", m->type, pr->spec->name);
}

/* ---- reload ---- */

static void resend(struct parent *p, int bundle_fd)
{
	close(p->bundle_fd);
	p->bundle_fd = bundle_fd;
	for (size_t i = 0; i < MTA_PROCS; i++) {
		if (!p->procs[i].ipc)
			continue;
		ipc_send_fds(p->procs[i].ipc, MTA_CONFIG, 0, NULL, 0, &p->bundle_fd, 1);
		send_keys(p, &p->procs[i]);
	}
	listen_update(p);
	listen_send(p); /* indexes may have moved */
	watch_files(p);
}

void parent_resend(struct parent *p)
{
	char why[1024];
	int fd = make_bundle(p->conf, p->text, p->text_len, why, sizeof(why));

	if (fd < 0) {
		log_err(NULL, "changed files refused, the old ones stay in force: %s", why);
		watch_files(p); /* told once for each change */
		return;
	}
	resend(p, fd);
}

/* What a running daemon cannot change: it was settled while it was root. */
static const char *fixed_change(const struct mta_config *a, const struct mta_config *b)
{
	if (strcmp(a->run_dir, b->run_dir))
		return "run-dir";
	if (strcmp(a->state_dir, b->state_dir))
		return "state-dir";
	if (strcmp(a->user, b->user))
		return "user";
	if (strcmp(a->queue_user, b->queue_user))
		return "queue-user";
	return NULL;
}

int parent_reload(struct parent *p, char *why, size_t cap)
{
	struct mta_config *config = NULL;
	struct conf *conf = NULL;
	char *text = NULL;
	const char *fixed;
	size_t len;
	int fd, rc = load(p->path, &text, &len, &conf, &config, why, cap);
	bool events;

	if (rc)
		return rc;
	fixed = fixed_change(p->config, config);
	fd = fixed ? -EINVAL : make_bundle(conf, text, len, why, cap);
	if (fixed)
		snprintf(why, cap, "%s: a change of %s needs a restart", p->path, fixed);
	if (fd < 0) {
		config_free(config);
		conf_free(conf);
		free(text);
		return fd;
	}
	events = strcmp(p->config->events, config->events) || p->config->tunnel != config->tunnel;
	config_free(p->config);
	conf_free(p->conf);
	free(p->text);
	p->config = config;
	p->conf = conf;
	p->text = text;
	p->text_len = len;
	resend(p, fd);
	if (events) {
		events_stop(p);
		events_start(p);
	}
	log_info(NULL, "configuration read anew");
	return 0;
}

static void on_sighup(int signo, void *arg)
{
	char why[1024];

	(void)signo;
	if (parent_reload(arg, why, sizeof(why)))
		log_err(NULL, "reload refused, the old configuration stays in force: %s", why);
}

/* ---- start ---- */

static int make_dir(const char *path, mode_t mode, uid_t uid, gid_t gid)
{
	struct stat st;

	if (mkdir(path, mode) < 0 && errno != EEXIST)
		return -errno;
	if (lstat(path, &st) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode))
		return -ENOTDIR;
	if (!geteuid() && (st.st_uid != uid || st.st_gid != gid) && lchown(path, uid, gid) < 0)
		return -errno;
	return 0;
}

static void make_dirs(const struct mta_config *c, uid_t queue_uid, gid_t queue_gid)
{
	char path[4096];
	int rc = make_dir(c->run_dir, 0755, 0, 0);

	if (rc && rc != -EPERM)
		die("run-dir %s: %s", c->run_dir, strerror(-rc));
	rc = make_dir(c->state_dir, 0755, 0, 0);
	if (rc && rc != -EPERM)
		die("state-dir %s: %s", c->state_dir, strerror(-rc));
	snprintf(path, sizeof(path), "%s/queue", c->state_dir);
	rc = make_dir(path, 0700, queue_uid, queue_gid);
	if (rc)
		die("%s: %s", path, strerror(-rc));
}

/*
 * Theory: of root's powers the parent keeps, as an ordinary user,
 *
 *	NET_BIND_SERVICE  to bind port 25 anew after a reload or a new TUN
 *	DAC_READ_SEARCH	  to read a renewed key that belongs to root
 *	SETUID, SETGID	  to start children as their users (ambient: a child has them until
 *			  its first act, see child.c)
 *	KILL		  to end the queue, which is another user's
 *
 * It listens to nobody but mta.sock and posternd.
 */
static void drop(const struct mta_config *c)
{
	uid_t uid;
	gid_t gid;

	if (geteuid())
		return; /* an ordinary user runs everything as himself */
	if (proc_user(c->user, &uid, &gid) || !uid)
		die("user \"%s\" does not exist or is root; create it or write user = NAME",
		    c->user);
	capng_clear(CAPNG_SELECT_ALL);
	capng_updatev(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET,
		      CAP_NET_BIND_SERVICE, CAP_DAC_READ_SEARCH, CAP_SETUID, CAP_SETGID, CAP_KILL,
		      -1);
	capng_updatev(CAPNG_ADD, CAPNG_INHERITABLE | CAPNG_AMBIENT, CAP_SETUID, CAP_SETGID, -1);
	if (capng_change_id((int)uid, (int)gid, CAPNG_DROP_SUPP_GRP | CAPNG_CLEAR_BOUNDING) ||
	    capng_apply(CAPNG_SELECT_CAPS) || capng_apply(CAPNG_SELECT_AMBIENT))
		die("cannot become user \"%s\"", c->user);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	secret_process_harden();
}

static void on_term(int signo, void *arg)
{
	struct parent *p = arg;

	(void)signo;
	loop_stop(p->loop);
}

/* A thousand sessions, and a file for each large letter: more than the usual 1024. */
static void more_descriptors(void)
{
	struct rlimit l;

	if (!getrlimit(RLIMIT_NOFILE, &l) && l.rlim_cur < DESCRIPTORS && l.rlim_cur < l.rlim_max) {
		l.rlim_cur = l.rlim_max < DESCRIPTORS ? l.rlim_max : DESCRIPTORS;
		setrlimit(RLIMIT_NOFILE, &l);
	}
}

static void on_listen(struct timer *t, uint64_t now_ms)
{
	(void)now_ms;
	listen_update(t->arg);
}

static void start(struct parent *p)
{
	static const struct ipc_ops ops = { .message = on_message, .closed = proc_default_closed };
	uid_t queue_uid = geteuid();
	gid_t queue_gid = getegid(), admin_gid;
	char why[1024];
	int control_fd;

	if (!geteuid() && proc_user(p->config->queue_user, &queue_uid, &queue_gid))
		die("queue-user \"%s\" does not exist; create it or write queue-user = NAME",
		    p->config->queue_user);
	make_dirs(p->config, queue_uid, queue_gid);
	p->bundle_fd = make_bundle(p->conf, p->text, p->text_len, why, sizeof(why));
	if (p->bundle_fd < 0)
		die("%s", why);
	control_fd = control_open(p->config, &admin_gid);
	if (control_fd < 0)
		die("%s/mta.sock: %s", p->config->run_dir, strerror(-control_fd));
	drop(p->config);
	p->listen_timer = (struct timer){ .fire = on_listen, .arg = p };
	listen_update(p);
	if (control_start(p, control_fd, admin_gid) || loop_signal(p->loop, SIGHUP, on_sighup, p) ||
	    loop_signal(p->loop, SIGTERM, on_term, p) || loop_signal(p->loop, SIGINT, on_term, p))
		die("cannot start: %s", strerror(errno));
	p->table = (struct proc_table){ .loop = p->loop,
					.program = "postern-mta",
					.procs = p->procs,
					.count = MTA_PROCS,
					.ops = &ops,
					.started = on_started,
					.ended = on_ended,
					.arg = p };
	if (proc_start_all(&p->table, specs))
		die("cannot start the processes: %s", strerror(errno));
	events_start(p);
	watch_files(p);
}

int parent_run(const char *path)
{
	struct parent p = { .path = path, .bundle_fd = -1 };
	enum log_level level;
	char why[4096];
	int rc;

	signal(SIGPIPE, SIG_IGN);
	umask(022);
	more_descriptors();
	if (load(path, &p.text, &p.text_len, &p.conf, &p.config, why, sizeof(why)))
		die("%s", why);
	if (!log_level_parse(p.config->log_level, &level))
		log_setup("postern-mta", level, STDERR_FILENO);
	p.loop = loop_new();
	if (!p.loop)
		die("no event loop: %s", strerror(errno));
	p.started_ms = loop_now_ms(p.loop);
	start(&p);
	rc = loop_run(p.loop);
	listen_close(&p);
	events_stop(&p);
	proc_stop_all(&p.table, GRACE_MS);
	control_server_free(p.control);
	for (size_t i = 0; i < p.watched_count; i++)
		free(p.watched[i].path);
	close(p.bundle_fd);
	tunnel_clear(&p.tunnel);
	config_free(p.config);
	conf_free(p.conf);
	free(p.text);
	loop_free(p.loop);
	return rc ? 1 : 0;
}
