/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The unprivileged process: start ladder, loop, reverse teardown. See child_int.h. */
#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "child_int.h"
#include "procs.h"

#define INVENTORY_MS 30000
#define CONTROL_NICE 5

uint64_t child_now(const struct child *c)
{
	return loop_now_ms(c->loop);
}

/* ---- the parent's word ---- */

static void on_config(struct bundle *b, uint64_t generation, void *arg)
{
	struct child *c = arg;
	struct config *cfg;

	if (!c->engine) { /* a reload while we start: start() comes back to it */
		bundle_free(c->early);
		c->early = b;
		c->early_generation = generation;
		return;
	}
	cfg = config_from_bundle(b);
	if (!cfg || !conf_ok(cfg->conf)) {
		/* The parent has read the same text by the same code; a fault here is a bug or no memory. */
		log_err(NULL, "configuration not taken: %s",
			cfg ? cfg->conf->errors : "out of memory");
		config_free(cfg);
		bundle_free(b);
		return;
	}
	bundle_free(c->inv.bundle);
	bundle_forget_conf(b);
	c->inv.bundle = b;
	c->inv.generation = generation;
	if (cfg->log_level != c->cfg->log_level)
		log_setup("posternd/child", cfg->log_level, STDERR_FILENO);
	peers_reload(c, cfg);
	telling_send(c, telling_addresses(c, "addresses"));
	for (struct peer *p = NULL; (p = child_peer_next(c, p));)
		telling_send(c, telling_peer_event(p));
}

static void on_path_changed(void *arg)
{
	struct child *c = arg;

	if (!c->engine)
		return; /* we only start: all paths are looked up anyway */
	priv_resolve_flush(c->priv);
	nat64_network_changed(c);
	for (struct peer *p = NULL; (p = child_peer_next(c, p));) {
		sup_on_path_change(&p->sup, child_now(c));
		peer_arm(p);
	}
	effects_apply(c);
}

static void on_addresses(const struct addr *a, size_t count, void *arg)
{
	struct child *c = arg;

	if (!c->engine)
		return; /* start_engine() takes the newest */
	engine_local_addresses(c->engine, child_now(c), a, count, &c->fx);
	effects_apply(c);
}

static void on_wake(uint64_t slept_ms, void *arg)
{
	struct child *c = arg;

	log_info(NULL, "this machine slept for %llu s", (unsigned long long)slept_ms / 1000);
	for (struct peer *p = NULL; (p = child_peer_next(c, p));) {
		sup_on_wake(&p->sup, child_now(c));
		peer_arm(p);
	}
	effects_apply(c);
}

static void on_stop(void *arg)
{
	struct child *c = arg;

	if (c->engine && !c->stopping) {
		c->stopping = true;
		engine_delete_all(c->engine, child_now(c), &c->fx);
		effects_apply(c);
	}
	loop_stop(c->loop);
}

static void on_gone(void *arg)
{
	struct child *c = arg;

	loop_stop(c->loop);
}

static const struct priv_ops priv_ops = {
	.config = on_config,
	.path_changed = on_path_changed,
	.addresses = on_addresses,
	.stop = on_stop,
	.gone = on_gone,
};

/* ---- timers and descriptors ---- */

static void on_engine_timer(struct timer *t, uint64_t now_ms)
{
	struct child *c = t->arg;

	engine_on_timer(c->engine, now_ms, &c->fx);
	effects_apply(c);
}

static void on_save_timer(struct timer *t, uint64_t now_ms)
{
	(void)now_ms;
	peers_save_now(t->arg);
}

static void on_dp(struct loop_fd *lf, uint32_t events)
{
	(void)events;
	effects_on_dp(lf->arg);
}

static void on_signal(int signo, void *arg)
{
	(void)signo;
	on_stop(arg);
}

/* ---- start ---- */

static int start_dp(struct child *c)
{
	const struct priv_inventory *inv = &c->inv;
	struct dp_sock socks[PROC_WORKERS_MAX + 1 + PROC_HOPS + PROC_PORTS];
	struct dp_config cfg = {
		.workers = (unsigned)inv->outer_count,
		.tun_fds = inv->tun_fd,
		.socks = socks,
		.io = c->cfg->io == CONFIG_IO_URING   ? DP_IO_URING
		      : c->cfg->io == CONFIG_IO_EPOLL ? DP_IO_EPOLL
						      : DP_IO_AUTO,
		.crypto = c->cfg->crypto == CONFIG_CRYPTO_OPENSSL    ? DP_CRYPTO_OPENSSL
			  : c->cfg->crypto == CONFIG_CRYPTO_IPSEC_MB ? DP_CRYPTO_IPSEC_MB
								      : DP_CRYPTO_AUTO,
		.tun_mtu = (uint16_t)inv->tun_mtu,
		.peers_max = DP_PEERS_MAX, /* a reload may add any number; what is not used is no memory */
	};
	size_t n = 0;
	int rc;

	for (size_t i = 0; i < inv->outer_count; i++)
		socks[n++] =
		    (struct dp_sock){ inv->outer[i].fd, SOCK_MAIN, (uint8_t)i, DP_SOCK_MAIN };
	if (inv->port500.fd >= 0)
		socks[n++] = (struct dp_sock){ inv->port500.fd, SOCK_IKE, 0, DP_SOCK_IKE };
	for (size_t i = 0; i < inv->hop_count; i++)
		socks[n++] =
		    (struct dp_sock){ inv->hop[i].fd, (uint8_t)(SOCK_HOP0 + i), 0, DP_SOCK_HOP };
	for (size_t i = 0; i < inv->port_count; i++)
		socks[n++] = (struct dp_sock){ inv->port[i].fd, (uint8_t)(SOCK_PORT0 + i), 0,
					       DP_SOCK_MAIN };
	cfg.sock_count = n;
	rc = dp_new(&cfg, &c->dp);
	if (rc) {
		log_err(NULL, "data plane: %s",
			rc == -ENOTSUP ? "crypto = ipsec-mb: this build or this CPU does not have it; leave it at auto"
				       : strerror(-rc));
		return rc;
	}
	dp_info(c->dp, &c->dp_info);
	c->tun_mtu = inv->tun_mtu;
	c->mtu_fixed = c->cfg->mtu != 0;
	c->dp_fd = (struct loop_fd){ .fd = dp_event_fd(c->dp), .ready = on_dp, .arg = c };
	return loop_add(c->loop, &c->dp_fd, EPOLLIN);
}

static void sup_sock(struct child *c, uint32_t number, uint8_t set, const struct priv_socket *s)
{
	size_t i = c->env.sock_count;

	if (s->fd < 0 || i == SUP_SOCKS_MAX)
		return;
	c->env.sock_number[i] = number;
	c->env.sock_set[i] = set;
	c->env.sock_port[i] = s->port;
	c->env.sock_family[i] = (uint8_t)s->family;
	c->env.sock_count++;
}

static int start_engine(struct child *c)
{
	struct engine_config cfg = { .ops = &child_engine_ops, .arg = c, .built_s = POSTERN_BUILT_S,
				     .qcd_secret = c->inv.qcd,
				     /* Who has several processors may hear from one that has too. */
				     .replay_window = c->inv.outer_count > 1 ? DP_WINDOW_SHARED : 0 };

	c->env.ops = &child_sup_ops;
	c->env.arg = c;
	sup_sock(c, SOCK_MAIN, 0, &c->inv.outer[0]);
	for (size_t i = 0; i < c->inv.hop_count; i++)
		sup_sock(c, SOCK_HOP0 + (uint32_t)i,
			 i < PROC_HOPS_OWN ? 0 : (uint8_t)(1 + (i - PROC_HOPS_OWN) / PROC_MARK_SOCKS),
			 &c->inv.hop[i]);
	view_proposals(&c->ike, &c->esp, c->dp_info.aes_fast);
	bench_init(c);
	c->engine_timer = (struct timer){ .fire = on_engine_timer, .arg = c };
	c->save_timer = (struct timer){ .fire = on_save_timer, .arg = c };
	c->engine = engine_new(&cfg);
	if (!c->engine)
		return -errno;
	engine_local_addresses(c->engine, child_now(c), c->inv.addresses.addr,
			       c->inv.addresses.count, &c->fx);
	return 0;
}

static gid_t group_of(const char *name)
{
	char *end;
	unsigned long n = strtoul(name, &end, 10);
	struct group *gr;

	if (*name && !*end)
		return (gid_t)n;
	gr = getgrnam(name);
	return gr ? gr->gr_gid : (gid_t)-1;
}

static int start_control(struct child *c)
{
	struct control_config cfg = { .verbs = child_verbs,
				      .admin_gid = c->admin_gid,
				      .arg = c,
				      .subscribed = telling_greet };
	int *listener = c->inv.listener;

	if (listener[PROC_LISTENER_CONTROL] >= 0) {
		c->control = control_server_new(c->loop, listener[PROC_LISTENER_CONTROL], &cfg);
		if (!c->control)
			return -errno;
	}
	if (listener[PROC_LISTENER_EVENTS] >= 0) {
		cfg.subscribed = NULL;
		cfg.greet = telling_greet;
		c->events = control_server_new(c->loop, listener[PROC_LISTENER_EVENTS], &cfg);
		if (!c->events)
			return -errno;
	}
	if (listener[PROC_LISTENER_METRICS] >= 0)
		c->metrics = metrics_server_new(c->loop, listener[PROC_LISTENER_METRICS],
						telling_metrics, c);
	return 0;
}

/*
 * When processor time is short, as under a flood of IKE_SA_INITs, packets of tunnels go before those who want
 * one: the control thread, this one, gives way to the workers, and still gets about a quarter.
 */
static void yield_to_workers(void)
{
	if (setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), CONTROL_NICE))
		log_warn(NULL, "setpriority: %s", strerror(errno));
}

/* Everything that needs a file by name or a system call that is gone afterwards. */
static int start(struct child *c)
{
	int rc = priv_wait(c->priv, INVENTORY_MS, &c->inv);

	if (rc) {
		log_err(NULL, "the parent did not hand over all: %s", strerror(-rc));
		return rc;
	}
	c->cfg = config_from_bundle(c->inv.bundle);
	if (!c->cfg || !conf_ok(c->cfg->conf)) {
		log_err(NULL, "configuration: %s", c->cfg ? c->cfg->conf->errors : "out of memory");
		return -EINVAL;
	}
	bundle_forget_conf(c->inv.bundle);
	if (!c->inv.outer_count || c->inv.tun_count < c->inv.outer_count)
		return -EBADMSG;
	c->admin_gid = group_of(c->cfg->admin_group);
	if (c->admin_gid == (gid_t)-1)
		log_warn(NULL, "no group %s: control.sock is for root alone", c->cfg->admin_group);
	rc = sandbox_opened(&posternd_roles[PROC_CHILD], NULL, 0);
	if (!rc)
		rc = start_dp(c);
	if (!rc)
		rc = start_engine(c);
	if (!rc)
		rc = loop_on_wake(c->loop, on_wake, c);
	if (!rc)
		rc = streams_start(c);
	if (!rc)
		rc = start_control(c);
	if (!rc)
		rc = peers_start(c);
	if (!rc && c->inv.drain)
		drain_start(c);
	if (!rc)
		rc = dp_start(c->dp);
	if (!rc)
		yield_to_workers();
	if (!rc)
		rc = sandbox_run(&posternd_roles[PROC_CHILD]);
	return rc;
}

static void stop(struct child *c)
{
	if (c->engine && c->memory.serial)
		peers_save_now(c);
	control_server_free(c->control);
	control_server_free(c->events);
	metrics_server_free(c->metrics);
	if (c->dp) {
		loop_del(c->loop, &c->dp_fd);
		dp_stop(c->dp);
	}
	if (c->loop) {
		timer_clear(loop_timers(c->loop), &c->engine_timer);
		timer_clear(loop_timers(c->loop), &c->save_timer);
		timer_clear(loop_timers(c->loop), &c->hop_timer);
	}
	/* Before the peers: what ends with it names them once more. */
	engine_free(c->engine);
	c->engine = NULL;
	if (c->loop) {
		peers_free(c);
		wans_free(c);
	}
	streams_free(c);
	dp_free(c->dp);
	fx_list_free(&c->fx);
	free(c->refused);
	priv_free(c->priv);
	bundle_free(c->inv.bundle);
	bundle_free(c->early);
	config_free(c->cfg);
	loop_free(c->loop);
}

int child_main(void)
{
	struct child c = { 0 };
	int rc = proc_enter(PROC_CHILD);

	if (rc) {
		log_err(NULL, "start: %s", strerror(-rc));
		return 1;
	}
	memset(c.inv.listener, 0xff, sizeof(c.inv.listener));
	c.loop = loop_new();
	c.priv = c.loop ? priv_new(c.loop, &priv_ops, &c) : NULL;
	rc = c.priv ? 0 : -errno;
	if (!rc)
		rc = loop_signal(c.loop, SIGTERM, on_signal, &c);
	if (!rc)
		rc = start(&c);
	if (!rc) {
		struct dp_info *i = &c.dp_info;

		c.started_ms = child_now(&c);
		effects_apply(&c);
		if (c.early) {
			struct bundle *b = c.early;

			c.early = NULL;
			on_config(b, c.early_generation, &c);
		}
		log_info(NULL, "ready: %zu peers, tun=%s, port %u, %s, %u worker%s, %s",
			 c.cfg->peer_count, c.inv.tun_name, c.inv.outer[0].port,
			 i->io == DP_IO_URING ? "io_uring" : "epoll", i->workers,
			 i->workers == 1 ? "" : "s", i->crypto);
		rc = loop_run(c.loop);
	}
	if (rc)
		log_err(NULL, "ends: %s", strerror(-rc));
	stop(&c);
	return rc ? 1 : 0;
}
