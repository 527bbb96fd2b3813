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

#include "lean.h"
#include "limit.h"
#include "log.h"
#include "metrics.h"
#include "ruleset.h"
#include "sandbox.h"
#include "secret.h"
#include "tables.h"

#define GRACE_MS    10000
#define DESCRIPTORS 16384
#define SETTLE_MS   500

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
	conf_told(*conf, why, cap);
	conf_free(*conf);
	*conf = NULL;
	free(*text);
	*text = NULL;
	return -EINVAL;
}

/* A table that children would refuse never reaches them: the old ones stay in force everywhere. */
static int check_tables(struct mta_config *c, int fd, char *why, size_t cap)
{
	struct bundle *b = bundle_open(fd);
	int rc = b ? ruleset_load(c, b, why, cap) : -errno;

	if (!b)
		snprintf(why, cap, "%s", strerror(-rc));
	if (!rc)
		ruleset_load(c, NULL, why, cap); /* nobody asks rules here */
	bundle_free(b);
	return rc;
}

static int make_bundle(struct conf *conf, struct mta_config *c, const char *text, size_t len,
		       char *why, size_t cap)
{
	int fd = bundle_make(conf, text, len, NULL), rc;

	if (fd < 0) {
		if (conf->errors)
			conf_told(conf, why, cap);
		else
			snprintf(why, cap, "%s", strerror(-fd));
		return fd;
	}
	rc = check_tables(c, fd, why, cap);
	if (!rc)
		return fd;
	close(fd);
	return rc;
}

/*
 * Lookup, too, keeps its old tables when one is bad, but they know nothing of a domain, a home or a file that only
 * the new configuration has: whoever is there would be refused for good. (A table that changes alone is
 * lookup's own to judge.)
 */
static int check_recipients(const struct mta_config *c, int fd, char *why, size_t cap)
{
	struct bundle *b = bundle_open(fd);
	struct tables *t = b ? tables_new(c, b, why, cap) : NULL;

	if (!b)
		snprintf(why, cap, "%s", strerror(errno));
	tables_free(t);
	bundle_free(b);
	return t ? 0 : -EINVAL;
}

/* ---- what children are told ---- */

void parent_send_memfd(struct proc *to, uint32_t type, uint32_t id, const void *data, size_t len)
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
			parent_send_memfd(&p->procs[i], MTA_TUNNEL, 0, b, len);
	}
	free(b);
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

/* A table of its own for each process that counts; smtpd, which serves them, may read the others. */
static void send_counters(struct parent *p, struct proc *to)
{
	for (size_t i = 0; i < MTA_PROCS; i++) {
		bool own = (int)i == to->spec->id;
		int *fd = own ? &p->counters_fd[i] : &p->counters_read_fd[i];

		if (*fd >= 0 && (own || to->spec->id == MTA_PROC_SMTPD))
			ipc_send_fds(to->ipc, MTA_COUNTERS, (uint32_t)i, NULL, 0, fd, 1);
	}
}

static void on_started(struct proc *pr, void *arg)
{
	struct parent *p = arg;

	send_counters(p, pr);
	if (pr->spec->id == MTA_PROC_SMTPD && p->limits_fd >= 0)
		ipc_send_fds(pr->ipc, MTA_LIMITS, 0, NULL, 0, &p->limits_fd, 1);
	ipc_send_fds(pr->ipc, MTA_CONFIG, 0, NULL, 0, &p->bundle_fd, 1);
	keys_send(p, pr);
	parent_send_tunnel(p, pr);
	for (size_t i = 0; i < CONF_COUNT(pairs); i++) {
		if ((int)pairs[i][0] == pr->spec->id || (int)pairs[i][1] == pr->spec->id)
			send_pair(p, pairs[i][0], pairs[i][1]);
	}
	if (pr->spec->id != MTA_PROC_SMTPD)
		return;
	listen_send(p);
	if (p->metrics_fd >= 0)
		ipc_send_fds(pr->ipc, MTA_METRICS, 0, NULL, 0, &p->metrics_fd, 1);
}

static void on_ended(struct proc *pr, int status, void *arg)
{
	(void)status;
	control_abandon(arg, (enum mta_proc)pr->spec->id);
}

static void on_message(struct ipc *ipc, struct ipc_msg *m, void *arg)
{
	struct proc *pr = arg;

	(void)ipc;
	if (m->type == MTA_READY)
		log_info(NULL, "ready proc=%s", pr->spec->name);
	else if (m->type == MTA_HOP_SEEN && pr->spec->id == MTA_PROC_RELAY)
		hop_seen(pr->table->arg, m->data, m->len);
	else if (m->type == MTA_CONTROL_REPLY)
		control_answer(pr->table->arg, (enum mta_proc)pr->spec->id, m->id,
			       (const char *)m->data, m->len,
			       loop_now_ms(pr->table->loop));
	else if (m->type == MTA_LISTENER_TLS && pr->spec->id == MTA_PROC_SMTPD)
		listen_tls(pr->table->arg, m->id, m->data, m->len);
	else
		log_err(NULL, "unknown message type=%u from proc=%s", m->type, pr->spec->name);
}

/* ---- reload ---- */

static void resend(struct parent *p, int bundle_fd)
{
	hop_read_own(p);
	close(p->bundle_fd);
	p->bundle_fd = bundle_fd;
	memset(p->tls, 0, sizeof(p->tls)); /* smtpd says it anew, with the indexes of now */
	for (size_t i = 0; i < MTA_PROCS; i++) {
		if (!p->procs[i].ipc)
			continue;
		ipc_send_fds(p->procs[i].ipc, MTA_CONFIG, 0, NULL, 0, &p->bundle_fd, 1);
		keys_send(p, &p->procs[i]);
	}
	listen_update(p);
	listen_send(p); /* indexes may have moved */
	watch_files(p);
}

void parent_resend(struct parent *p)
{
	char why[PARENT_WHY_MAX];
	int fd = make_bundle(p->conf, p->config, p->text, p->text_len, why, sizeof(why));

	if (fd < 0) {
		log_err(NULL, "changed files refused, the old ones stay in force: %s", why);
		/* A table with a mistake, left for weeks, must not keep renewed certificates out. */
		hop_read_own(p);
		for (size_t i = 0; i < MTA_PROCS; i++) {
			if (p->procs[i].ipc)
				keys_send(p, &p->procs[i]);
		}
		watch_files(p); /* told once for each change */
		return;
	}
	resend(p, fd);
}

/* What a running daemon cannot change: it was settled while it was root. */
static const char *fixed_change(const struct parent *p, const struct mta_config *b)
{
	const struct mta_config *a = p->config;

	if (strcmp(a->run_dir, b->run_dir))
		return "run-dir";
	if (strcmp(a->state_dir, b->state_dir))
		return "state-dir";
	if (strcmp(a->user, b->user))
		return "user";
	if (a->cut_through != b->cut_through)
		return "queue";
	if (strcmp(a->queue_user, b->queue_user))
		return "queue-user";
	if (strcmp(a->metrics ? a->metrics : "", b->metrics ? b->metrics : ""))
		return "metrics";
	if (b->tunnel && !p->hop_opened) /* keys of peers that were learned before are not known */
		return "tunnel";
	return NULL;
}

/* Everything that would make the new configuration serve less than the old one; the bundle of it, or -errno. */
static int judge(const struct parent *p, struct conf *conf, struct mta_config *c, const char *text,
		 size_t len, char *why, size_t cap)
{
	const char *fixed = fixed_change(p, c);
	int fd;

	if (fixed) {
		snprintf(why, cap, "%s: a change of %s needs a restart", p->path, fixed);
		return -EINVAL;
	}
	fd = make_bundle(conf, c, text, len, why, cap);
	if (fd < 0)
		return fd;
	if (check_recipients(c, fd, why, cap) || listen_check(p, text, len, c, fd, why, cap)) {
		close(fd);
		return -EINVAL;
	}
	return fd;
}

/* Each line of @why, which is taken apart, is one of the log. */
static void log_lines(const char *head, char *why)
{
	for (char *line; (line = strsep(&why, "\n"));)
		log_err(NULL, "%s%s", head, line);
}

static int reload(struct parent *p, char *why, size_t cap)
{
	struct mta_config *config = NULL;
	struct conf *conf = NULL;
	char *text = NULL;
	size_t len;
	int fd, rc = load(p->path, &text, &len, &conf, &config, why, cap);
	bool events;

	if (rc)
		return rc;
	fd = judge(p, conf, config, text, len, why, cap);
	if (fd < 0) {
		config_free(config);
		conf_free(conf);
		free(text);
		return fd;
	}
	listen_gone(p->config, config);
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

int parent_reload(struct parent *p, char *why, size_t cap)
{
	int rc = reload(p, why, cap);
	char lines[PARENT_WHY_MAX];

	if (!rc)
		return 0;
	snprintf(lines, sizeof(lines), "%s", why);
	log_lines("reload refused, the old configuration stays in force: ", lines);
	return rc;
}

static void on_sighup(int signo, void *arg)
{
	char why[PARENT_WHY_MAX];

	(void)signo;
	(void)parent_reload(arg, why, sizeof(why));
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
	if (c->cut_through)
		return;
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
 * It listens to nobody but mta.sock and posternd. Its filter of calls is its children's too.
 */
static void become(const struct mta_config *c)
{
	uid_t uid;
	gid_t gid;

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
	secret_process_harden();
}

/* It starts programs, and reads whatever is a key: of calls it loses what nobody here has a use for. */
static const struct sandbox_role role = {
	.name = "mta parent",
	.calls = SANDBOX_DENY_ONLY,
	.ring_register = { -1 },
};

static void drop(const struct mta_config *c)
{
	if (!geteuid()) /* an ordinary user runs everything as himself */
		become(c);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || sandbox_run(&role))
		die("cannot give up system calls");
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

/* While the socket may be bound and /proc/self is still ours; smtpd, which serves, has neither. */
static void open_metrics(struct parent *p)
{
	const char *where = p->config->metrics;

	if (!where)
		return;
	p->metrics_fd = metrics_listen(where);
	if (p->metrics_fd < 0)
		die("metrics = %s: %s", where, strerror(-p->metrics_fd));
	for (int i = 0; i < MTA_PROCS; i++) {
		if (i == MTA_PROC_LOOKUP) /* who asks it counts */
			continue;
		p->counters_fd[i] = counters_memfd(&p->counters_read_fd[i]);
		if (p->counters_fd[i] < 0)
			die("metrics = %s: no memory to count in: %s", where,
			    strerror(-p->counters_fd[i]));
	}
}

static void close_metrics(struct parent *p)
{
	for (int i = 0; i < MTA_PROCS; i++) {
		if (p->counters_fd[i] >= 0) {
			close(p->counters_fd[i]);
			close(p->counters_read_fd[i]);
		}
	}
	if (p->metrics_fd >= 0)
		close(p->metrics_fd);
}

static void on_listen(struct timer *t, uint64_t now_ms)
{
	(void)now_ms;
	listen_update(t->arg);
}

static void check_listeners(struct parent *p)
{
	char why[4096];

	if (!listen_check(p, p->text, p->text_len, p->config, p->bundle_fd, why, sizeof(why)))
		return;
	log_lines("", why);
	die("not started: a listener or route would not have the TLS that it must have");
}

static void on_settled(struct timer *t, uint64_t now_ms)
{
	(void)t;
	(void)now_ms;
	lean_settle();
}

static void start(struct parent *p)
{
	static const struct ipc_ops ops = { .message = on_message, .closed = proc_default_closed };
	uid_t queue_uid = geteuid();
	gid_t queue_gid = getegid(), admin_gid;
	char why[PARENT_WHY_MAX];
	int control_fd;

	if (!geteuid() && proc_user(p->config->queue_user, &queue_uid, &queue_gid))
		die("queue-user \"%s\" does not exist; create it or write queue-user = NAME",
		    p->config->queue_user);
	make_dirs(p->config, queue_uid, queue_gid);
	p->bundle_fd = make_bundle(p->conf, p->config, p->text, p->text_len, why, sizeof(why));
	if (p->bundle_fd < 0)
		die("%s", why);
	check_listeners(p);
	control_fd = control_open(p->config, &admin_gid);
	if (control_fd < 0)
		die("%s/mta.sock: %s", p->config->run_dir, strerror(-control_fd));
	open_metrics(p);
	p->limits_fd = limit_memfd();
	if (p->limits_fd < 0)
		die("no memory for limits: %s", strerror(-p->limits_fd));
	hop_open(p);
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
	p->settle_timer = (struct timer){ .fire = on_settled };
	timer_set(loop_timers(p->loop), &p->settle_timer, loop_now_ms(p->loop) + SETTLE_MS);
}

int parent_run(const char *path)
{
	struct parent p = {
		.path = path, .bundle_fd = -1, .metrics_fd = -1, .limits_fd = -1, .hop.fd = { -1, -1 }
	};
	enum log_level level;
	char why[4096];
	int rc;

	memset(p.counters_fd, -1, sizeof(p.counters_fd));
	memset(p.counters_read_fd, -1, sizeof(p.counters_read_fd));
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
	free(p.watched);
	close_metrics(&p);
	close(p.limits_fd);
	hop_close(&p);
	close(p.bundle_fd);
	tunnel_clear(&p.tunnel);
	config_free(p.config);
	conf_free(p.conf);
	free(p.text);
	loop_free(p.loop);
	return rc ? 1 : 0;
}
