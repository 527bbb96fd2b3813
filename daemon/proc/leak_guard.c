/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "leak_guard.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "proc.h"
#include "procs.h"
#include "sandbox.h"

#define KEPT	  "leak-guard"
#define KEPT_MAX  (CONFIG_LEAK_MAX * (PREFIX_STR_MAX + 8) + 1024)
/* Where a configuration that cannot be read most likely keeps it: here, and where /var is not kept. */
#define STATE_DIR  "/var/lib/postern"
#define STATE_DIR2 "/etc/postern/state"

/* ---- what a configuration guards ---- */

struct guarded {
	struct prefix *v;
	size_t count, cap;
};

static int push(struct guarded *g, const struct prefix *p)
{
	if (g->count == g->cap) {
		size_t cap = g->cap ? 2 * g->cap : 16;
		struct prefix *v = realloc(g->v, cap * sizeof(*v));

		if (!v)
			return -ENOMEM;
		g->v = v;
		g->cap = cap;
	}
	g->v[g->count++] = *p;
	return 0;
}

static int collect(const struct config *cfg, struct guarded *g)
{
	int rc = 0;

	for (size_t i = 0; i < cfg->peer_count && !rc; i++) {
		const struct config_peer *p = &cfg->peers[i];

		if (!p->leak_never)
			continue;
		for (size_t k = 0; k < p->network_count && !rc; k++)
			rc = push(g, &p->networks[k]);
		for (size_t k = 0; k < p->assign_count && !rc; k++) {
			struct prefix host = prefix_host(&p->assign[k]);

			rc = push(g, &host);
		}
		for (size_t k = 0; p->pool && k < p->pool->prefix_count && !rc; k++)
			rc = push(g, &p->pool->prefixes[k]);
	}
	return rc;
}

/* ---- what is kept ---- */

/*
 *	postern leak guard 1
 *	tun NAME
 *	uid NUMBER	as many as there are
 *	prefix PREFIX	as many as there are
 */
static int keep(const char *dir, const struct net_params *np, const struct guarded *g)
{
	char path[4096], fresh[4096 + 8], s[PREFIX_STR_MAX];
	FILE *f;
	int fd, rc;

	snprintf(path, sizeof(path), "%s/" KEPT, dir);
	if (!g->count)
		return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
	/* Before the daemon's first start. The mask is 077: 0755 once it is ours and made. */
	if (!mkdir(dir, 0700))
		(void)chmod(dir, 0755);
	snprintf(fresh, sizeof(fresh), "%s.new", path);
	fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	f = fd < 0 ? NULL : fdopen(fd, "w");
	if (!f) {
		rc = -errno;
		if (fd >= 0)
			close(fd);
		return rc;
	}
	fprintf(f, "postern leak guard 1\ntun %s\n", np->tun);
	for (size_t i = 0; i < np->bypass_count; i++)
		fprintf(f, "uid %u\n", (unsigned)np->bypass_uid[i]);
	for (size_t i = 0; i < g->count; i++)
		fprintf(f, "prefix %s\n", prefix_str(&g->v[i], s));
	rc = fflush(f) || fsync(fd) ? -errno : 0;
	if (fclose(f) && !rc)
		rc = -errno;
	if (!rc && rename(fresh, path) < 0)
		rc = -errno;
	if (rc)
		(void)unlink(fresh);
	return rc;
}

static int take_line(char *line, struct net_params *np, struct guarded *g)
{
	char *value = strchr(line, ' ');
	struct prefix p;

	line[strcspn(line, "\n")] = '\0';
	if (!value)
		return -EBADMSG;
	*value++ = '\0';
	if (!strcmp(line, "tun")) {
		if (!*value || strlen(value) >= sizeof(np->tun))
			return -EBADMSG;
		snprintf(np->tun, sizeof(np->tun), "%s", value);
		return 0;
	}
	if (!strcmp(line, "uid")) {
		char *endp;
		unsigned long v = strtoul(value, &endp, 10);

		if (*endp || !v || v >= UINT32_MAX || np->bypass_count == NET_BYPASS_MAX)
			return -EBADMSG;
		np->bypass_uid[np->bypass_count++] = (uid_t)v;
		return 0;
	}
	if (strcmp(line, "prefix") || prefix_parse(value, &p) || g->count >= CONFIG_LEAK_MAX)
		return -EBADMSG;
	return push(g, &p);
}

static int recall(const char *dir, struct net_params *np, struct guarded *g)
{
	char path[4096], line[256];
	struct stat st;
	FILE *f;
	int rc = 0;

	snprintf(path, sizeof(path), "%s/" KEPT, dir);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	/* Ours alone to write, or not ours. */
	if (fstat(fileno(f), &st) || !S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
	    st.st_mode & (S_IWGRP | S_IWOTH) || st.st_size > KEPT_MAX)
		rc = -EPERM;
	if (!rc && (!fgets(line, sizeof(line), f) || strcmp(line, "postern leak guard 1\n")))
		rc = -EBADMSG;
	while (!rc && fgets(line, sizeof(line), f))
		rc = take_line(line, np, g);
	fclose(f);
	return rc ? rc : np->tun[0] ? 0 : -EBADMSG;
}

static void forget(const char *dir)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/" KEPT, dir);
	(void)unlink(path);
}

void leak_guard_forget(const char *state_dir)
{
	forget(state_dir ? state_dir : STATE_DIR);
	if (!state_dir)
		forget(STATE_DIR2);
}

/* [wan] sections, and the devices of single peers. */
static void tell_outside(struct net *n, const struct config *cfg)
{
	const char *name[NET_OUTSIDE_MAX];
	size_t count = 0;

	for (size_t i = 0; i < cfg->wan_count && count < NET_OUTSIDE_MAX; i++)
		name[count++] = cfg->wans[i].interface;
	for (size_t i = 0; i < cfg->peer_count && count < NET_OUTSIDE_MAX; i++)
		if (cfg->peers[i].interface)
			name[count++] = cfg->peers[i].interface;
	net_outside_set(n, name, count);
}

int leak_guard_wish(struct net *n, const struct config *cfg, const struct net_params *p)
{
	struct guarded g = { 0 };
	uint32_t mark[CONFIG_MARKS_MAX];
	int rc = collect(cfg, &g), kept;

	net_marks_set(n, mark, config_marks(cfg, mark));
	tell_outside(n, cfg);
	if (!rc)
		rc = net_leak_set(n, g.v, g.count);
	if (!rc) {
		kept = keep(cfg->state_dir, p, &g);
		if (kept)
			log_warn(NULL,
				 "%s/" KEPT ": %s; a configuration with errors would not be "
				 "guarded at the next boot",
				 cfg->state_dir, strerror(-kept));
	}
	free(g.v);
	return rc;
}

/* ---- posternd --leak-guard ---- */

_Static_assert(CONFIG_MARKS_MAX <= NET_MARKS_MAX && CONFIG_OWN_MARK == NET_MARK, "mark of peers");
_Static_assert(CONFIG_NAME_USERS_MAX + 1 <= NET_BYPASS_MAX, "resolver-user and name-users");

size_t leak_guard_name_users(const struct config *cfg, uid_t *uid)
{
	size_t count = 0;
	gid_t gid;

	for (size_t i = 0; i < cfg->name_user_count; i++) {
		if (proc_user(cfg->name_users[i], &uid[count], &gid) || !uid[count])
			log_warn(NULL, "name-users = %s: no such user", cfg->name_users[i]);
		else
			count++;
	}
	return count;
}

static void params(const struct config *cfg, struct net_params *np)
{
	uid_t uid;
	gid_t gid;

	*np = (struct net_params){ .table = NET_TABLE, .mark = NET_MARK };
	if (!cfg)
		return;
	snprintf(np->tun, sizeof(np->tun), "%s", cfg->tun);
	if (!proc_user(cfg->resolver_user, &uid, &gid))
		np->bypass_uid[np->bypass_count++] = uid;
	np->bypass_count += leak_guard_name_users(cfg, np->bypass_uid + np->bypass_count);
}

/* Without its routes a rule for 0/0 would be judged superfluous, and a running daemon's taken away. */
static int wish_default(struct net *n, const struct config *cfg)
{
	int rc = 0;

	for (size_t i = 0; i < cfg->peer_count && !rc; i++)
		for (size_t k = 0; k < cfg->peers[i].network_count && !rc; k++)
			if (!cfg->peers[i].networks[k].len)
				rc = net_route_add(n, &(struct net_route){
							  .dst = cfg->peers[i].networks[k] });
	return rc;
}

static int apply(struct loop *l, struct config *cfg)
{
	struct guarded g = { 0 };
	struct net_params np;
	struct net *n;
	int rc;

	params(cfg, &np);
	if (!cfg) {
		rc = recall(STATE_DIR, &np, &g);
		if (rc == -ENOENT)
			rc = recall(STATE_DIR2, &np, &g);
		if (rc == -ENOENT)
			return 0;
		if (rc) {
			log_err(NULL, "what was kept of the guard: %s", strerror(-rc));
			free(g.v);
			return rc;
		}
	}
	n = net_new(l, &np);
	rc = n ? 0 : -errno;
	if (!rc && cfg)
		rc = wish_default(n, cfg);
	for (size_t i = 0; !rc && i < g.count; i++)
		if (!g.v[i].len)
			rc = net_route_add(n, &(struct net_route){ .dst = g.v[i] });
	if (!rc)
		rc = cfg ? leak_guard_wish(n, cfg, &np) : net_leak_set(n, g.v, g.count);
	if (!rc)
		rc = net_leak_early(n);
	net_free(n);
	free(g.v);
	return rc;
}

static int take_away(struct loop *l, struct config *cfg)
{
	struct net_params np;
	struct net *n;
	int rc;

	params(cfg, &np);
	n = net_new(l, &np);
	rc = n ? net_leak_remove(n) : -errno;
	net_free(n);
	leak_guard_forget(cfg ? cfg->state_dir : NULL);
	return rc;
}

int leak_guard_main(enum leak_guard what, const char *path)
{
	struct config *cfg;
	bool broken;
	struct loop *l;
	int rc;

	log_setup("posternd/leak-guard", LOG_LVL_INFO, STDERR_FILENO);
	if (geteuid())
		die("--leak-guard is for root");
	umask(077);
	if (sandbox_start(&posternd_roles[PROC_PARENT], 0, getegid(), STDERR_FILENO))
		return 1;
	cfg = config_load(path);
	broken = !cfg || !conf_ok(cfg->conf);
	if (broken) {
		log_err(NULL, "%s has errors: %s", path,
			what == LEAK_GUARD_APPLY ? "the networks that it guarded last are guarded"
						 : "see `postern check`");
		config_free(cfg);
		cfg = NULL;
	}
	l = loop_new();
	rc = !l ? -ENOMEM : what == LEAK_GUARD_APPLY ? apply(l, cfg) : take_away(l, cfg);
	if (rc)
		log_err(NULL, "leak guard: %s", strerror(-rc));
	loop_free(l);
	config_free(cfg);
	return rc || (broken && what == LEAK_GUARD_APPLY);
}
