/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "nl.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

int nl_open(struct nl *nl, int family)
{
	struct timeval tv = { .tv_sec = 5 };
	int one = 1;

	memset(nl, 0, sizeof(*nl));
	nl->s = mnl_socket_open2(family, SOCK_CLOEXEC);
	if (!nl->s)
		return -errno;
	if (mnl_socket_bind(nl->s, 0, MNL_SOCKET_AUTOPID) < 0) {
		int rc = -errno;

		nl_close(nl);
		return rc;
	}
	nl->portid = mnl_socket_get_portid(nl->s);
	nl->seq = (uint32_t)time(NULL);
	setsockopt(mnl_socket_get_fd(nl->s), SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	/* Dumps are then filtered by the kernel, where it can (5.0 on); we check all the same. */
	(void)mnl_socket_setsockopt(nl->s, NETLINK_GET_STRICT_CHK, &one, sizeof(one));
	return 0;
}

void nl_close(struct nl *nl)
{
	if (nl->s)
		mnl_socket_close(nl->s);
	nl->s = NULL;
}

int nl_talk(struct nl *nl, struct nlmsghdr *nlh, mnl_cb_t cb, void *arg)
{
	static uint8_t buf[32768] __attribute__((aligned(8)));
	bool dump = (nlh->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;

	nlh->nlmsg_seq = ++nl->seq;
	nlh->nlmsg_flags |= NLM_F_REQUEST | (dump ? 0 : NLM_F_ACK);
	if (mnl_socket_sendto(nl->s, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	for (;;) {
		ssize_t n = mnl_socket_recvfrom(nl->s, buf, sizeof(buf));
		int rc;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		/* An answer to an earlier request, left behind by a time-out. */
		if ((size_t)n >= sizeof(*nlh) &&
		    ((struct nlmsghdr *)(void *)buf)->nlmsg_seq != nl->seq)
			continue;
		rc = mnl_cb_run(buf, (size_t)n, nl->seq, nl->portid, cb, arg);
		if (rc < 0)
			return -errno;
		if (rc == MNL_CB_STOP)
			return 0;
	}
}

struct attr_table {
	const struct nlattr **tb;
	unsigned max;
};

static int collect(const struct nlattr *a, void *arg)
{
	struct attr_table *t = arg;
	unsigned type = mnl_attr_get_type(a);

	if (type <= t->max)
		t->tb[type] = a;
	return MNL_CB_OK;
}

void nl_attrs(const struct nlmsghdr *nlh, unsigned off, const struct nlattr **tb, unsigned max)
{
	struct attr_table t = { .tb = tb, .max = max };

	memset(tb, 0, sizeof(*tb) * (max + 1));
	mnl_attr_parse(nlh, off, collect, &t);
}

void nl_nested(const struct nlattr *nest, const struct nlattr **tb, unsigned max)
{
	struct attr_table t = { .tb = tb, .max = max };

	memset(tb, 0, sizeof(*tb) * (max + 1));
	if (nest)
		mnl_attr_parse_nested(nest, collect, &t);
}

struct addr nl_addr(const struct nlattr *a)
{
	struct addr out = { 0 };

	if (a)
		(void)addr_from_bytes(&out, mnl_attr_get_payload(a), mnl_attr_get_payload_len(a));
	return out;
}

uint32_t nl_u32(const struct nlattr *a)
{
	uint32_t v = 0;

	if (a && mnl_attr_get_payload_len(a) >= sizeof(v))
		memcpy(&v, mnl_attr_get_payload(a), sizeof(v));
	return v;
}

void nl_put_addr(struct nlmsghdr *nlh, uint16_t type, const struct addr *a)
{
	mnl_attr_put(nlh, type, addr_len(a), a->b);
}
