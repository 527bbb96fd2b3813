/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DAEMON_PROC_NETNS_H
#define DAEMON_PROC_NETNS_H

/*
 * Theory: outer packets in one network namespace, the TUN in another. The parent, and with it the
 * resolver and all sockets, lives in the outer one (`outer-netns`, or that in which it was started); what
 * belongs to the TUN is opened, before privileges go, in the other one (`tun-netns`, or that in which it
 * was started), and a descriptor keeps the namespace that it was opened in.
 */

#include "config.h"

struct netns {
	int outer, tun; /* -1, both: they are the same */
};

/** netns_open() - Go over to the outer one. 0, or -errno with @why. Needs CAP_SYS_ADMIN. */
int netns_open(struct netns *n, const struct config *cfg, char why[static 256]);
/** netns_tun() - @in: go to that of the TUN, else back; 0 or -errno. */
int netns_tun(const struct netns *n, bool in);
static inline bool netns_apart(const struct netns *n)
{
	return n->tun >= 0;
}

#endif
