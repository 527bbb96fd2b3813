/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "netns.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#define HERE "/proc/self/ns/net"

/* A name as `ip netns` has it, or a path. */
static int open_one(const char *name, const char *key, int *fd, char why[static 256])
{
	char path[CONFIG_NETNS_MAX + 16];

	snprintf(path, sizeof(path), "%s%s", *name == '/' ? "" : "/run/netns/", name);
	*fd = open(path, O_RDONLY | O_CLOEXEC);
	if (*fd >= 0)
		return 0;
	snprintf(why, 256, "%s = %s: %s; make it first (ip netns add)", key, name, strerror(errno));
	return -errno;
}

int netns_open(struct netns *n, const struct config *cfg, char why[static 256])
{
	int rc = 0;

	n->outer = n->tun = -1;
	if (!cfg->outer_netns && !cfg->tun_netns)
		return 0;
	rc = cfg->tun_netns ? open_one(cfg->tun_netns, "tun-netns", &n->tun, why)
			    : open_one(HERE, "tun-netns", &n->tun, why);
	if (!rc)
		rc = cfg->outer_netns ? open_one(cfg->outer_netns, "outer-netns", &n->outer, why)
				      : open_one(HERE, "outer-netns", &n->outer, why);
	if (rc)
		return rc;
	if (setns(n->outer, CLONE_NEWNET) < 0 || setns(n->tun, CLONE_NEWNET) < 0 ||
	    setns(n->outer, CLONE_NEWNET) < 0) {
		rc = -errno;
		snprintf(why, 256, "outer-netns, tun-netns: %s%s", strerror(errno),
			 errno == EPERM ? "; this needs CAP_SYS_ADMIN at start, see posternd(8)" : "");
	}
	return rc;
}

int netns_tun(const struct netns *n, bool in)
{
	if (!netns_apart(n))
		return 0;
	return setns(in ? n->tun : n->outer, CLONE_NEWNET) < 0 ? -errno : 0;
}
