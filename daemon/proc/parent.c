/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: the root process. It reads the configuration, opens what only root can open, keeps it for its
 * life, and gives duplicates to the processes that do the work; it reads no byte from the network. A
 * child that ends is started again with the same descriptors: the TUN keeps its carrier, addresses
 * and routes, the sockets their ports and their places in the group.
 *
 *	start:	sandbox_start, configuration, TUN, sockets, listeners, state files, net
 *		(reconcile), sandbox_run, keys, resolver, child, loop
 *	stop:	PM_STOP to the child, 3 s, SIGTERM; TUN, routes and addresses stay: nothing leaks
 *		while we are away. `posternd --cleanup` removes them.
 */
#include "parent_int.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control.h"
#include "log.h"
#include "metrics.h"

#define MTU_FIRST    1400 /* of a new TUN, until the data plane knows the path */
#define STOP_MS	     3000
#define GRACE_MS     500
#define HOOK_STOP_MS 3000
#define UNCLAIMED_MS 600000
#define EVENTS_MODE  0666 /* who is up and with which inner address: no secret on this machine */
#define CONTROL_MODE 0660

/* In this order: the child finds its siblings there. */
static const struct proc_spec specs[PARENT_CHILDREN] = {
	{ .name = "keys", .id = PROC_KEYS, .beside = true },
	{ .name = "resolver", .id = PROC_RESOLVER },
	{ .name = "child", .id = PROC_CHILD, .beside = true },
};

/* ---- handing out ---- */

static int send_one(struct proc *proc, uint32_t type, const void *data, size_t len, int fd)
{
	return ipc_send_fds(proc->ipc, type, 0, data, len, &fd, 1);
}

static int send_socket(struct proc *proc, enum proc_socket kind, size_t index, size_t count,
		       const struct outer_socket *s)
{
	struct pm_socket m = { .kind = kind,
			       .index = (uint32_t)index,
			       .count = (uint32_t)count,
			       .family = s->family,
			       .port = s->port };

	return s->fd >= 0 ? send_one(proc, PM_SOCKET, &m, sizeof(m), s->fd) : 0;
}

static uint32_t tun_mtu(const struct parent *p, const char *name)
{
	struct ifreq ifr = { 0 };
	int mtu = 0;

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (p->tun_ns_sock >= 0 && !ioctl(p->tun_ns_sock, SIOCGIFMTU, &ifr))
		mtu = ifr.ifr_mtu;
	return (uint32_t)mtu;
}

static void send_addresses(struct parent *p, struct proc *child, bool always)
{
	struct pm_addresses m = { 0 };
	int count = net_outer_addresses(p->net, m.addr, PROC_ADDRS_MAX), rc = 0;

	m.count = count > 0 ? (uint32_t)count : 0;
	if (count < 0)
		log_debug(NULL, "addresses of this machine: %s", strerror(-count));
	else if (always || memcmp(&m, &p->addresses, sizeof(m)) != 0)
		rc = ipc_send(child->ipc, PM_ADDRESSES, 0, &m, sizeof(m));
	if (count >= 0 && !rc)
		p->addresses = m;
}

static int send_inventory(struct parent *p, struct proc *proc)
{
	const struct config *cfg = p->now.cfg;
	struct pm_tun t = { .count = cfg->workers,
			    .ifindex = net_tun_ifindex(p->net),
			    .mtu = tun_mtu(p, cfg->tun) };
	int rc = proc_name_set(t.name, sizeof(t.name), cfg->tun);

	for (uint32_t i = 0; !rc && i < cfg->workers; i++) {
		t.index = i;
		rc = send_one(proc, PM_TUN, &t, sizeof(t), p->tun[i]);
	}
	for (size_t i = 0; !rc && i < p->outer.count; i++)
		rc = send_socket(proc, PROC_SOCKET_OUTER, i, p->outer.count, &p->outer.group[i]);
	if (!rc)
		rc = send_socket(proc, PROC_SOCKET_PORT500, 0, 1, &p->outer.port500);
	for (size_t i = 0; !rc && i < PROC_HOPS; i++)
		rc = send_socket(proc, PROC_SOCKET_HOP, i, PROC_HOPS, &p->outer.hop[i]);
	for (size_t i = 0; !rc && i < p->outer.port_count; i++)
		rc = send_socket(proc, PROC_SOCKET_PORT, i, p->outer.port_count, &p->outer.port[i]);
	for (size_t i = 0; !rc && i < p->outer.tcp_count; i++)
		rc = send_socket(proc, p->outer.tls[i] ? PROC_SOCKET_TLS : PROC_SOCKET_TCP, i,
				 p->outer.tcp_count, &p->outer.tcp[i]);
	for (uint32_t i = 0; !rc && i < PROC_LISTENERS; i++) {
		struct pm_listener l = { .kind = i };

		if (p->listener[i] >= 0)
			rc = send_one(proc, PM_LISTENER, &l, sizeof(l), p->listener[i]);
	}
	for (uint32_t i = 0; !rc && i < PROC_STATE_FILES; i++) {
		struct pm_state s = { .index = i, .count = PROC_STATE_FILES };

		rc = send_one(proc, PM_STATE, &s, sizeof(s), p->state[i]);
	}
	if (!rc)
		send_addresses(p, proc, true);
	if (!rc)
		rc = ipc_send(proc->ipc, PM_DRAIN, 0, &p->drain, sizeof(p->drain));
	return rc ? rc : ipc_send(proc->ipc, PM_QCD, 0, &p->qcd, sizeof(p->qcd));
}

/* A fresh pair for the child and one of its siblings, when both live. */
static int link_up(struct parent *p, int sibling)
{
	struct proc *child = proc_by_id(&p->table, PROC_CHILD);
	struct proc *other = proc_by_id(&p->table, sibling);
	struct pm_link to_child = { .to = (uint32_t)sibling }, to_other = { .to = PROC_CHILD };
	int fds[2], rc;

	if (!child->ipc || !other->ipc)
		return 0;
	rc = ipc_pair(fds);
	if (rc)
		return rc;
	rc = send_one(other, PM_LINK, &to_other, sizeof(to_other), fds[0]);
	if (!rc)
		rc = send_one(child, PM_LINK, &to_child, sizeof(to_child), fds[1]);
	close(fds[0]);
	close(fds[1]);
	return rc;
}

static void on_started(struct proc *proc, void *arg)
{
	struct parent *p = arg;
	int id = proc->spec->id, rc;
	struct pm_start s = { .uid = p->user[id].uid,
			      .gid = p->user[id].gid,
			      .log_level = (uint32_t)p->now.cfg->log_level };

	rc = ipc_send(proc->ipc, PM_START, 0, &s, sizeof(s));
	parent_send_config(p, proc);
	if (!rc && id == PROC_CHILD) {
		rc = send_inventory(p, proc);
		if (!rc)
			rc = link_up(p, PROC_KEYS);
		if (!rc)
			rc = link_up(p, PROC_RESOLVER);
	}
	if (!rc)
		rc = ipc_send(proc->ipc, PM_GO, 0, NULL, 0);
	if (!rc && id != PROC_CHILD)
		rc = link_up(p, id);
	if (rc)
		log_err(NULL, "proc=%s cannot be given what it needs: %s", proc->spec->name,
			strerror(-rc));
}

/* ---- stop ---- */

static void finish(struct parent *p)
{
	timer_clear(loop_timers(p->loop), &p->stop);
	proc_stop_all(&p->table, GRACE_MS);
	hook_end(p->hook, p->now.cfg->hook, HOOK_STOP_MS);
	net_close(p->net);
	loop_stop(p->loop);
}

static void on_ended(struct proc *proc, int status, void *arg)
{
	struct parent *p = arg;

	(void)status;
	if (proc->spec->id == PROC_CHILD && timer_armed(&p->stop))
		/* Not from within the reaping of it. */
		(void)timer_set(loop_timers(p->loop), &p->stop, loop_now_ms(p->loop));
	else if (proc->spec->id == PROC_CHILD && !p->table.stopping)
		hook_lost(p->hook, p->now.cfg->hook);
}

static void on_stop_timer(struct timer *t, uint64_t now_ms)
{
	(void)now_ms;
	finish(t->arg);
}

static void on_stop(int signo, void *arg)
{
	struct parent *p = arg;
	struct proc *child = proc_by_id(&p->table, PROC_CHILD);

	if (p->table.stopping) {
		finish(p); /* asked twice */
		return;
	}
	log_info(NULL, "stopping signal=%d; tun=%s and its routes stay, so that nothing leaks",
		 signo, p->now.cfg->tun);
	p->table.stopping = true;
	if (!child->ipc || ipc_send(child->ipc, PM_STOP, 0, NULL, 0) ||
	    timer_set(loop_timers(p->loop), &p->stop, loop_now_ms(p->loop) + STOP_MS))
		finish(p);
}

static void on_reload(int signo, void *arg)
{
	char text[PROC_TEXT_MAX];

	(void)signo;
	(void)parent_reload(arg, text, sizeof(text));
}

/* The device was removed under us: a new one, and a new child, since the old descriptors are dead. */
static void replace_tun(struct parent *p, struct proc *child)
{
	const struct config *cfg = p->now.cfg;
	int fds[PROC_WORKERS_MAX], rc;

	if (netns_apart(&p->netns)) {
		/* The way back to its namespace went with CAP_SYS_ADMIN: who starts us again opens it there. */
		log_err(NULL, "tun=%s was removed from its namespace: posternd ends, to be started again",
			cfg->tun);
		p->status = 1;
		loop_stop(p->loop);
		return;
	}
	rc = net_tun_open(cfg->tun, cfg->workers, fds);
	if (rc) {
		log_err(NULL, "tun=%s was removed and cannot be made again: %s", cfg->tun,
			strerror(-rc));
		return;
	}
	log_warn(NULL, "tun=%s was removed: made again", cfg->tun);
	for (uint32_t i = 0; i < cfg->workers; i++) {
		close(p->tun[i]);
		p->tun[i] = fds[i];
	}
	if (!cfg->mtu)
		(void)net_link_set(p->net, MTU_FIRST, 0, 0);
	rc = net_reconcile(p->net);
	if (rc)
		log_err(NULL, "not all stands in the kernel: %s", strerror(-rc));
	if (child->pid > 0)
		kill(child->pid, SIGKILL);
}

static void on_path_changed(void *arg)
{
	struct parent *p = arg;
	struct proc *child = proc_by_id(&p->table, PROC_CHILD);

	if (net_tun_lost(p->net)) {
		replace_tun(p, child);
		return;
	}
	if (!child->ipc)
		return;
	(void)ipc_send(child->ipc, PM_PATH_CHANGED, 0, NULL, 0);
	send_addresses(p, child, false);
}

static void on_forget(struct timer *t, uint64_t now_ms)
{
	(void)now_ms;
	parent_forget_unclaimed(t->arg);
}

/* ---- start ---- */

static int resolve_users(struct parent *p)
{
	const struct config *cfg = p->now.cfg;
	const struct {
		enum proc_id id;
		const char *key, *name;
	} users[] = { { PROC_CHILD, "user", cfg->user },
		      { PROC_KEYS, "keys-user", cfg->keys_user },
		      { PROC_RESOLVER, "resolver-user", cfg->resolver_user } };
	struct group *gr;
	char *end;

	for (size_t i = 0; i < sizeof(users) / sizeof(*users); i++) {
		uid_t *uid = &p->user[users[i].id].uid;

		if (proc_user(users[i].name, uid, &p->user[users[i].id].gid) || !*uid) {
			log_err(NULL,
				"%s = %s: no such user, or root; make it (systemd-sysusers) or "
				"name another",
				users[i].key, users[i].name);
			return -ENOENT;
		}
		for (size_t k = 0; k < i; k++) {
			if (p->user[users[k].id].uid == *uid) {
				log_err(NULL, "%s and %s are one user; each process needs its own",
					users[k].key, users[i].key);
				return -EINVAL;
			}
		}
	}
	p->name_uid_count = leak_guard_name_users(cfg, p->name_uid);
	p->admin_gid = (gid_t)strtoul(cfg->admin_group, &end, 10);
	if (!*end)
		return 0;
	gr = getgrnam(cfg->admin_group);
	p->admin_gid = gr ? gr->gr_gid : (gid_t)-1;
	if (!gr)
		log_warn(NULL, "admin-group = %s: no such group; control.sock is for root alone",
			 cfg->admin_group);
	return 0;
}

static int make_dir(const char *path, mode_t mode)
{
	struct stat st;

	if (mkdir(path, mode) < 0 && errno != EEXIST)
		return -errno;
	if (lstat(path, &st) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode))
		return -ENOTDIR;
	/* The mask is 077: what we made is ours alone until here. */
	if (st.st_uid == geteuid() && (st.st_mode & 0777) == (mode & 0700) && chmod(path, mode) < 0)
		return -errno;
	return 0;
}

static int open_listeners(struct parent *p)
{
	const struct config *cfg = p->now.cfg;
	char path[4096];
	int rc = make_dir(cfg->run_dir, 0755);

	if (rc) {
		log_err(NULL, "run-dir = %s: %s", cfg->run_dir, strerror(-rc));
		return rc;
	}
	snprintf(path, sizeof(path), "%s/control.sock", cfg->run_dir);
	rc = p->listener[PROC_LISTENER_CONTROL] = control_listen(path, CONTROL_MODE, p->admin_gid);
	if (rc >= 0) {
		snprintf(path, sizeof(path), "%s/events.sock", cfg->run_dir);
		rc = p->listener[PROC_LISTENER_EVENTS] =
		    control_listen(path, EVENTS_MODE, (gid_t)-1);
	}
	if (rc >= 0 && cfg->metrics) {
		snprintf(path, sizeof(path), "metrics = %s", cfg->metrics);
		rc = p->listener[PROC_LISTENER_METRICS] = metrics_listen(cfg->metrics);
	}
	if (rc < 0)
		log_err(NULL, "%s: %s", path, strerror(-rc));
	return rc < 0 ? rc : 0;
}

static int open_state(struct parent *p)
{
	const char *dir = p->now.cfg->state_dir;
	char path[4096];
	int rc = make_dir(dir, 0755);

	snprintf(path, sizeof(path), "%s", dir);
	for (int i = 0; !rc && i < PROC_STATE_FILES; i++) {
		snprintf(path, sizeof(path), "%s/child.%d", dir, i);
		p->state[i] = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		rc = p->state[i] < 0 ? -errno : 0;
	}
	if (rc)
		log_err(NULL, "state-dir: %s: %s", path, strerror(-rc));
	return rc ? rc : qcd_file(dir, p->qcd.secret);
}

void parent_params(const struct parent *p, struct net_params *np)
{
	const struct config *cfg = p->now.cfg;

	*np = (struct net_params){ .table = NET_TABLE, .mark = NET_MARK };
	snprintf(np->tun, sizeof(np->tun), "%s", cfg->tun);
	snprintf(np->alias, sizeof(np->alias), "postern %s", cfg->run_dir);
	np->bypass_uid[np->bypass_count++] = p->user[PROC_RESOLVER].uid;
	for (size_t i = 0; i < p->name_uid_count; i++)
		np->bypass_uid[np->bypass_count++] = p->name_uid[i];
}

static int open_tun(struct parent *p)
{
	const struct config *cfg = p->now.cfg;
	bool fresh = !if_nametoindex(cfg->tun);
	struct net_params np;
	int rc = net_tun_open(cfg->tun, cfg->workers, p->tun);

	if (rc) {
		log_err(NULL, "tun=%s: %s%s", cfg->tun, strerror(-rc),
			rc == -EINVAL
			    ? "; a device of this name without multi_queue stands: remove it "
			      "(ip link del) or name another"
			: rc == -ENOENT ? "; /dev/net/tun is missing: load the tun module"
			: rc == -EBUSY	? "; another process holds it"
					: "");
		return rc;
	}
	parent_params(p, &np);
	p->net = net_new(p->loop, &np);
	if (!p->net)
		return -errno;
	if (!cfg->mtu && fresh)
		(void)net_link_set(p->net, MTU_FIRST, 0, 0);
	parent_wish(p, cfg);
	(void)net_adopt(p->net, parent_adopt, p);
	rc = net_start(p->net);
	if (rc)
		log_err(NULL, "not all stands in the kernel: %s; tried again at the next change",
			strerror(-rc));
	/* Without the device there is no tunnel; all else can come later. */
	return net_tun_ifindex(p->net) ? 0 : rc;
}

static int open_program(struct proc_program *child)
{
	int rc = proc_program(PROC_CHILD_PROGRAM, child);

	if (rc)
		log_err(NULL, "%s cannot be run: %s; %s", child->path, strerror(-rc), proc_cure(rc));
	return rc;
}

static int open_all(struct parent *p)
{
	const struct config *cfg = p->now.cfg;
	char why[256];
	int rc = resolve_users(p);

	if (!rc)
		rc = open_program(&p->program);
	if (rc)
		return rc;
	rc = outer_open(&p->outer, cfg->port, cfg->workers, cfg->port_500, NET_MARK, why);
	if (!rc)
		rc = outer_ports(&p->outer, cfg, why);
	if (rc) {
		log_err(NULL, "%s", why);
		return rc;
	}
	rc = netns_tun(&p->netns, true);
	if (!rc)
		rc = open_listeners(p);
	if (!rc)
		rc = open_state(p);
	p->tun_ns_sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (!rc)
		rc = open_tun(p);
	if (!rc)
		rc = netns_tun(&p->netns, false);
	if (!rc && netns_apart(&p->netns))
		rc = net_watch_outer(p->net);
	return rc;
}

static void on_closed(struct ipc *ipc, void *arg)
{
	struct proc *proc = arg;

	/* At the end a child hangs up first and then tidies up; the stop timer watches over it. */
	if (!proc->table->stopping)
		proc_default_closed(ipc, arg);
}

static int start_processes(struct parent *p)
{
	static const struct ipc_ops ops = { .message = parent_on_message, .closed = on_closed };
	int rc;

	p->table = (struct proc_table){ .loop = p->loop,
					.program = "posternd",
					.beside = p->program,
					.procs = p->procs,
					.count = PARENT_CHILDREN,
					.ops = &ops,
					.started = on_started,
					.ended = on_ended,
					.arg = p };
	for (size_t i = 0; i < PARENT_CHILDREN; i++)
		p->procs[i] = (struct proc){ .spec = &specs[i] }; /* looked up while starting */
	net_on_change(p->net, on_path_changed, p);
	rc = sandbox_opened(&posternd_roles[PROC_PARENT], NULL, 0);
	if (!rc)
		rc = sandbox_run(&posternd_roles[PROC_PARENT]);
	if (!rc)
		rc = loop_signal(p->loop, SIGTERM, on_stop, p);
	if (!rc)
		rc = loop_signal(p->loop, SIGINT, on_stop, p);
	if (!rc)
		rc = loop_signal(p->loop, SIGHUP, on_reload, p);
	return rc ? rc : proc_start_all(&p->table, specs);
}

static void close_all(struct parent *p)
{
	hook_free(p->hook);
	net_free(p->net);
	for (size_t i = 0; i < PROC_WORKERS_MAX; i++) {
		if (p->tun[i] >= 0)
			close(p->tun[i]);
	}
	for (size_t i = 0; i < PROC_LISTENERS; i++) {
		if (p->listener[i] >= 0)
			close(p->listener[i]);
	}
	for (size_t i = 0; i < PROC_STATE_FILES; i++) {
		if (p->state[i] >= 0)
			close(p->state[i]);
	}
	if (p->program.fd >= 0)
		close(p->program.fd);
	outer_close(&p->outer);
	loaded_clear(&p->now);
	loop_free(p->loop);
}

static void init(struct parent *p)
{
	for (size_t i = 0; i < PROC_WORKERS_MAX; i++)
		p->tun[i] = -1;
	for (size_t i = 0; i < PROC_LISTENERS; i++)
		p->listener[i] = -1;
	for (size_t i = 0; i < PROC_STATE_FILES; i++)
		p->state[i] = -1;
	p->outer.port500.fd = -1;
	for (size_t i = 0; i < PROC_HOPS; i++)
		p->outer.hop[i].fd = -1;
	p->now.bundle = -1;
	p->netns = (struct netns){ -1, -1 };
	p->tun_ns_sock = -1;
	p->program.fd = -1;
	p->generation = 1;
	p->stop = (struct timer){ .fire = on_stop_timer, .arg = p };
	p->forget = (struct timer){ .fire = on_forget, .arg = p };
}

/* A configuration that cannot be read is no reason to leave things behind: they are where most are then. */
static int cleanup(struct parent *p)
{
	struct net_params np = { .table = NET_TABLE,
				 .mark = NET_MARK,
				 .tun = "postern0",
				 .alias = "postern /run/postern" };
	char why[256];
	int rc;

	if (p->now.cfg)
		parent_params(p, &np);
	if (p->now.cfg && netns_open(&p->netns, p->now.cfg, why))
		log_err(NULL, "%s", why);
	(void)netns_tun(&p->netns, true);
	rc = net_cleanup(&np);
	leak_guard_forget(p->now.cfg ? p->now.cfg->state_dir : NULL);
	if (rc)
		log_err(NULL, "cleanup: %s", strerror(-rc));
	return rc;
}

int parent_main(const struct parent_options *o)
{
	static struct parent p;
	char *errors = NULL, why[256];
	int rc;

	log_setup("posternd/parent", LOG_LVL_INFO, STDERR_FILENO);
	if (geteuid())
		die("posternd is started as root, and gives that up in all processes but one");
	if (sandbox_start(&posternd_roles[PROC_PARENT], 0, getegid(), STDERR_FILENO))
		return 1;
	init(&p);
	p.config_path = o->config;
	if (loaded_read(&p.now, o->config, &errors)) {
		parent_log_lines(errors);
		free(errors);
		return o->cleanup && !cleanup(&p) ? 0 : 1;
	}
	log_setup("posternd/parent", p.now.cfg->log_level, STDERR_FILENO);
	if (o->cleanup) {
		rc = cleanup(&p);
		loaded_clear(&p.now);
		return rc ? 1 : 0;
	}
	rc = netns_open(&p.netns, p.now.cfg, why);
	if (rc) {
		log_err(NULL, "%s", why);
		loaded_clear(&p.now);
		return 1;
	}
	p.loop = loop_new();
	p.hook = p.loop ? hook_new(p.loop, p.now.cfg->tun) : NULL;
	rc = p.hook ? open_all(&p) : -ENOMEM;
	if (!rc)
		rc = start_processes(&p);
	if (!rc && p.assigned_count)
		rc = timer_set(loop_timers(p.loop), &p.forget, clock_boot_ms() + UNCLAIMED_MS);
	if (!rc) {
		log_info(NULL, "running tun=%s port=%u peers=%zu workers=%u", p.now.cfg->tun,
			 p.outer.group[0].port, p.now.cfg->peer_count, p.now.cfg->workers);
		rc = loop_run(p.loop);
	} else {
		proc_stop_all(&p.table, 0);
	}
	close_all(&p);
	return rc || p.status ? 1 : 0;
}
