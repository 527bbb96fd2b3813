/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The configuration in the parent: read with all that it names, checked, handed to the children, told to
 * net. A reload reads the whole new set first and changes nothing when any of it is wrong.
 */
#include "parent_int.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "bundle.h"
#include "log.h"
#include "prefix_set.h"
#include "secret.h"
#include "wire.h"

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

/* ---- secret files: all in one memfd, as PM_SECRETS has them ---- */

static int write_secret(int fd, const char *path, const char *data, size_t len)
{
	uint8_t head[2 + PATH_MAX + 2];
	struct wr w = wr_init(head, sizeof(head));
	struct iovec v[2];

	wr_be16(&w, (uint16_t)strlen(path));
	wr_bytes(&w, path, strlen(path));
	wr_be16(&w, (uint16_t)len);
	if (w.bad)
		return -ENAMETOOLONG;
	v[0] = (struct iovec){ head, w.len };
	v[1] = (struct iovec){ (char *)(uintptr_t)data, len };
	errno = 0;
	return writev(fd, v, 2) == (ssize_t)(w.len + len) ? 0 : errno ? -errno : -EIO;
}

static int take_secret(void *arg, const struct conf_key *k, const struct conf_value *v,
		       const char *data, size_t len)
{
	struct loaded *l = arg;

	if (len && len <= SECRET_MAX)
		return write_secret(l->secrets, v->text, data, len);
	/* Errors are collected, so that the admin sees all of them at once. */
	conf_error(l->cfg->conf, v->line, "%s %s: holds %zu bytes; a key has 1 to %d", k->name,
		   v->text, len, SECRET_MAX);
	return 0;
}

/* The bundle, and beside it the secrets; all files are read once, their owner and mode checked. */
static int take_files(struct loaded *l, const char *text, size_t len)
{
	const struct bundle_secrets secrets = { take_secret, l };

	l->secrets = memfd_create("postern-secrets", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (l->secrets < 0)
		return -errno;
	l->bundle = bundle_make(l->cfg->conf, text, len, &secrets);
	if (l->bundle < 0)
		return l->bundle;
	return fcntl(l->secrets, F_ADD_SEALS, SEALS) < 0 ? -errno : 0;
}

void loaded_clear(struct loaded *l)
{
	config_free(l->cfg);
	if (l->bundle >= 0)
		close(l->bundle);
	if (l->secrets >= 0)
		close(l->secrets);
	*l = (struct loaded){ .bundle = -1, .secrets = -1 };
}

static char *errors_of(const struct loaded *l, int rc)
{
	const char *text = l->cfg && l->cfg->conf->errors ? l->cfg->conf->errors : strerror(-rc);

	return strdup(text);
}

int loaded_read(struct loaded *l, const char *path, char **text)
{
	char why[CONF_WHY_MAX], *data = NULL;
	struct conf *c;
	size_t len = 0;
	int rc;

	*text = NULL;
	*l = (struct loaded){ .bundle = -1, .secrets = -1 };
	rc = conf_file_read(path, 0, &data, &len, why, sizeof(why));
	if (rc) {
		if (asprintf(text, "%s: %s", path, why) < 0)
			*text = NULL;
		return rc;
	}
	c = conf_parse(&config_schema, path, data, len);
	l->cfg = c ? config_make(c) : NULL;
	rc = !l->cfg ? -ENOMEM : conf_ok(l->cfg->conf) ? 0 : -EINVAL;
	if (!rc)
		rc = take_files(l, data, len);
	if (!rc && l->cfg->hook && config_hook_check(l->cfg->hook, why, sizeof(why)))
		conf_error(l->cfg->conf, conf_line(conf_find(l->cfg->conf, "posternd", ""), "hook"),
			   "hook = %s: %s", l->cfg->hook, why);
	if (!rc && !conf_ok(l->cfg->conf))
		rc = -EINVAL;
	if (rc) {
		*text = errors_of(l, rc);
		loaded_clear(l);
	} else {
		config_settle(l->cfg);
	}
	free(data);
	return rc;
}

void parent_log_lines(const char *text)
{
	while (text && *text) {
		size_t n = strcspn(text, "\n");

		log_err(NULL, "%.*s", (int)n, text);
		text += n + (text[n] == '\n');
	}
}

/* ---- net ---- */

static struct addr source_for(const struct config *cfg, uint8_t family)
{
	for (size_t i = 0; i < cfg->tunnel_address_count; i++) {
		if (cfg->tunnel_address[i].family == family)
			return cfg->tunnel_address[i];
	}
	return (struct addr){ 0 }; /* the kernel takes what a peer assigned */
}

static void wish_route(struct net *n, const struct config *cfg, const struct prefix *dst)
{
	struct net_route r = { .dst = *dst, .src = source_for(cfg, dst->addr.family) };
	char s[PREFIX_STR_MAX];
	int rc = net_has_route(n, dst) ? 0 : net_route_add(n, &r);

	if (rc)
		log_warn(NULL, "route to %s: %s", prefix_str(dst, s), strerror(-rc));
}

/* What lies at the peers: their networks, and what is assigned to them. Ends when @fn gives an error. */
static int each_network(const struct config *cfg, int (*fn)(const struct prefix *p, void *arg),
			void *arg)
{
	int rc = 0;

	for (size_t i = 0; i < cfg->peer_count && !rc; i++) {
		const struct config_peer *peer = &cfg->peers[i];

		for (size_t k = 0; k < peer->network_count && !rc; k++)
			rc = fn(&peer->networks[k], arg);
		for (size_t k = 0; k < peer->assign_count && !rc; k++) {
			struct prefix host = prefix_host(&peer->assign[k]);

			rc = fn(&host, arg);
		}
	}
	return rc;
}

struct wishing {
	struct net *net;
	const struct config *cfg;
};

static int wish_network(const struct prefix *p, void *arg)
{
	const struct wishing *w = arg;

	wish_route(w->net, w->cfg, p);
	return 0;
}

void parent_wish(struct parent *p, const struct config *cfg)
{
	struct wishing w = { p->net, cfg };
	struct net_opening opening;
	uint32_t mark[CONFIG_MARKS_MAX];
	struct net_params np;
	int rc;

	for (size_t i = 0; i < cfg->tunnel_address_count; i++)
		(void)net_addr_add(p->net, &cfg->tunnel_address[i]);
	(void)each_network(cfg, wish_network, &w);
	/* Whole pools: what is given out is known to the child, what is not goes nowhere. */
	for (size_t i = 0; i < cfg->pool_count; i++)
		for (size_t k = 0; k < cfg->pools[i].prefix_count; k++)
			wish_route(p->net, cfg, &cfg->pools[i].prefixes[k]);
	if (cfg->mtu)
		(void)net_link_set(p->net, cfg->mtu, 0, 0);
	net_firewall_set(p->net, opening_of(cfg, &p->outer, &opening) ? &opening : NULL);
	outer_marks(&p->outer, mark, config_marks(cfg, mark));
	parent_params(p, &np);
	rc = leak_guard_wish(p->net, cfg, &np);
	if (rc)
		log_err(NULL, "leak guard: %s", strerror(-rc));
}

/* What a reload measures the addresses and routes that stand by. */
struct keeping {
	struct parent *p;
	struct prefix_set networks; /* of all peers, with what is assigned to them */
	bool whole;		    /* false: out of memory, nothing may be judged by it */
};

static int keep_network(const struct prefix *p, void *arg)
{
	return prefix_set_add(arg, p);
}

static bool keep_addr(const struct addr *a, void *arg)
{
	struct parent *p = ((struct keeping *)arg)->p;
	struct policy policy = parent_policy(p);

	for (size_t i = 0; i < p->now.cfg->tunnel_address_count; i++) {
		if (addr_eq(&p->now.cfg->tunnel_address[i], a))
			return true;
	}
	for (size_t i = 0; i < p->assigned_count; i++) {
		if (!addr_eq(&p->assigned[i].addr, a))
			continue;
		if (policy_adopt(&policy, a))
			return true;
		p->assigned[i] = p->assigned[--p->assigned_count];
		break;
	}
	return false;
}

static bool keep_route(const struct net_route *r, void *arg)
{
	struct keeping *k = arg;
	struct policy policy = parent_policy(k->p);

	/* Narrower ones that the child asked for stay while a peer's networks still hold them. */
	return policy_pool(&policy, &r->dst) || !k->whole ||
	       prefix_set_covers(&k->networks, &r->dst);
}

/* Of a peer that is gone, or gives us nothing any more, the child may say nothing more. */
static bool keep_told(const char *peer, void *arg)
{
	struct policy policy = parent_policy(arg);
	char why[POLICY_WHY_MAX];
	struct pq_hook q = { 0 };

	return !proc_name_set(q.peer, sizeof(q.peer), peer) && !policy_hook(&policy, &q, why);
}

/* ---- handing on ---- */

void parent_send_config(struct parent *p, struct proc *proc)
{
	struct pm_config c = { .generation = p->generation };
	int rc;

	memcpy(c.mark, p->outer.marks, sizeof(c.mark));
	if (!proc->ipc)
		return;
	rc = ipc_send_fds(proc->ipc, PM_CONFIG, 0, &c, sizeof(c), &p->now.bundle, 1);
	if (!rc && proc->spec->id == PROC_KEYS)
		rc = ipc_send_fds(proc->ipc, PM_SECRETS, 0, NULL, 0, &p->now.secrets, 1);
	if (rc)
		log_err(NULL, "proc=%s does not take the configuration: %s", proc->spec->name,
			strerror(-rc));
}

int parent_reload(struct parent *p, char *text, size_t cap)
{
	struct keeping keeping = { .p = p };
	struct loaded next;
	char *errors = NULL;
	int rc = loaded_read(&next, p->config_path, &errors);

	text[0] = '\0';
	if (!rc && !config_reloadable(p->now.cfg, next.cfg)) {
		rc = -EINVAL;
		errors = errors_of(&next, rc);
		loaded_clear(&next);
	}
	if (rc) {
		snprintf(text, cap, "%s", errors ? errors : strerror(-rc));
		free(errors);
		parent_log_lines(text);
		log_err(NULL, "reload: not done, the old configuration stays");
		return rc;
	}
	loaded_clear(&p->now);
	p->now = next;
	p->generation++;
	keeping.whole = !each_network(p->now.cfg, keep_network, &keeping.networks);
	prefix_set_sort(&keeping.networks);
	net_keep_only(p->net, keep_addr, keep_route, &keeping);
	prefix_set_clear(&keeping.networks);
	hook_keep_only(p->hook, p->now.cfg->hook, keep_told, p);
	parent_wish(p, p->now.cfg);
	rc = net_reconcile(p->net);
	if (rc)
		log_warn(NULL, "reload: not all stands in the kernel yet: %s", strerror(-rc));
	log_setup("posternd/parent", p->now.cfg->log_level, STDERR_FILENO);
	/* Keys first: what the child asks about a new peer is then known there. */
	for (size_t i = 0; i < PARENT_CHILDREN; i++) {
		struct proc *proc = &p->procs[i];

		parent_send_config(p, proc);
		if (proc->ipc && proc->spec->id == PROC_KEYS)
			(void)ipc_send(proc->ipc, PM_GO, 0, NULL, 0);
	}
	log_info(NULL, "reloaded generation=%llu peers=%zu", (unsigned long long)p->generation,
		 p->now.cfg->peer_count);
	return 0;
}
