/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DAEMON_NET_NL_H
#define DAEMON_NET_NL_H

/*
 * Theory: one request socket per netlink family. The kernel answers a request before sendmsg()
 * returns, so asking is blocking code that never waits; a receive time-out guards against surprise.
 */

#include <libmnl/libmnl.h>
#include <stdbool.h>
#include <stdint.h>

#include "addr.h"

#define NL_BUF 8192

struct nl {
	struct mnl_socket *s;
	uint32_t seq;
	unsigned portid;
};

int nl_open(struct nl *nl, int family); /* NETLINK_ROUTE, NETLINK_NETFILTER; 0 or -errno */
void nl_close(struct nl *nl);
/**
 * nl_talk() - Send @nlh (acknowledged, or a dump) and run @cb over the answers.
 * @cb: may be NULL; returns MNL_CB_OK.
 * 0 or the kernel's -errno.
 */
int nl_talk(struct nl *nl, struct nlmsghdr *nlh, mnl_cb_t cb, void *arg);
/** nl_attrs() - Fill @tb[0..@max] with the attributes after a fixed header of @off bytes. */
void nl_attrs(const struct nlmsghdr *nlh, unsigned off, const struct nlattr **tb, unsigned max);
void nl_nested(const struct nlattr *nest, const struct nlattr **tb, unsigned max);
/** nl_addr() - family 0 when @a is NULL or of no known length. */
struct addr nl_addr(const struct nlattr *a);
uint32_t nl_u32(const struct nlattr *a); /* 0 when NULL or short */
void nl_put_addr(struct nlmsghdr *nlh, uint16_t type, const struct addr *a);

#endif
