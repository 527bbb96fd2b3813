/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The TUN as a link: created, found again, brought up, sized, removed.
 *
 * Measured on Linux 6.18: attaching with IFF_MULTI_QUEUE to a single-queue device is EINVAL, so
 * the flag is always there, for one worker too.
 */
#include "net_int.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "log.h"

#define BUSY_TRIES    20
#define BUSY_MS	      50
#define ADDR_GEN_NONE 1 /* IN6_ADDR_GEN_MODE_NONE */

static int open_queue(const char *name)
{
	struct ifreq ifr = { .ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK), rc;

	if (fd < 0)
		return -errno;
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	for (int i = 0; ioctl(fd, TUNSETIFF, &ifr) < 0; i++) {
		/* A killed predecessor's ring lets go of its descriptors late. */
		if (errno != EBUSY || i == BUSY_TRIES) {
			rc = -errno;
			close(fd);
			return rc;
		}
		poll(NULL, 0, BUSY_MS);
	}
	if (ioctl(fd, TUNSETPERSIST, 1) < 0) {
		rc = -errno;
		close(fd);
		return rc;
	}
	return fd;
}

int net_tun_open(const char *name, unsigned queues, int *fds)
{
	for (unsigned i = 0; i < queues; i++) {
		fds[i] = open_queue(name);
		if (fds[i] < 0) {
			int rc = fds[i];

			while (i-- > 0)
				close(fds[i]);
			return rc;
		}
	}
	return 0;
}

static struct nlmsghdr *link_msg(uint8_t *buf, uint16_t type, uint32_t ifindex)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct ifinfomsg *ifi;

	nlh->nlmsg_type = type;
	ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));
	ifi->ifi_family = AF_UNSPEC;
	ifi->ifi_index = (int)ifindex;
	return nlh;
}

struct link_view {
	uint32_t ifindex;
	bool tun;
	char name[IFNAMSIZ];
	char alias[256];
};

static void view(const struct nlmsghdr *nlh, struct link_view *v)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *tb[IFLA_LINKINFO + 8], *info[IFLA_INFO_KIND + 1];

	nl_attrs(nlh, sizeof(*ifi), tb, IFLA_LINKINFO + 7);
	nl_nested(tb[IFLA_LINKINFO], info, IFLA_INFO_KIND);
	memset(v, 0, sizeof(*v));
	v->ifindex = (uint32_t)ifi->ifi_index;
	v->tun = info[IFLA_INFO_KIND] && !strcmp(mnl_attr_get_str(info[IFLA_INFO_KIND]), "tun");
	if (tb[IFLA_IFNAME])
		snprintf(v->name, sizeof(v->name), "%s", mnl_attr_get_str(tb[IFLA_IFNAME]));
	if (tb[IFLA_IFALIAS])
		snprintf(v->alias, sizeof(v->alias), "%s", mnl_attr_get_str(tb[IFLA_IFALIAS]));
}

static int on_link(const struct nlmsghdr *nlh, void *arg)
{
	view(nlh, arg);
	return MNL_CB_OK;
}

int net_link_find(struct nl *nl, const char *name, uint32_t *ifindex, bool *is_tun)
{
	uint8_t buf[NL_BUF];
	struct nlmsghdr *nlh = link_msg(buf, RTM_GETLINK, 0);
	struct link_view v = { 0 };
	int rc;

	mnl_attr_put_strz(nlh, IFLA_IFNAME, name);
	rc = nl_talk(nl, nlh, on_link, &v);
	*ifindex = rc ? 0 : v.ifindex;
	*is_tun = !rc && v.tun;
	return rc;
}

static int on_mtu(const struct nlmsghdr *nlh, void *arg)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *tb[IFLA_MTU + 1];

	nl_attrs(nlh, sizeof(*ifi), tb, IFLA_MTU);
	*(uint32_t *)arg = nl_u32(tb[IFLA_MTU]);
	return MNL_CB_OK;
}

uint32_t net_link_mtu(struct net *n, uint32_t ifindex)
{
	uint8_t buf[NL_BUF];
	uint32_t mtu = 0;

	return nl_talk(&n->rt, link_msg(buf, RTM_GETLINK, ifindex), on_mtu, &mtu) ? 0 : mtu;
}

static int set_addr_gen(struct net *n)
{
	uint8_t buf[NL_BUF];
	struct nlmsghdr *nlh = link_msg(buf, RTM_SETLINK, n->ifindex);
	struct nlattr *spec = mnl_attr_nest_start(nlh, IFLA_AF_SPEC);
	struct nlattr *v6 = mnl_attr_nest_start(nlh, AF_INET6);

	mnl_attr_put_u8(nlh, IFLA_INET6_ADDR_GEN_MODE, ADDR_GEN_NONE);
	mnl_attr_nest_end(nlh, v6);
	mnl_attr_nest_end(nlh, spec);
	return nl_talk(&n->rt, nlh, NULL, NULL);
}

static int set_gso(struct net *n)
{
	uint8_t buf[NL_BUF];
	struct nlmsghdr *nlh = link_msg(buf, RTM_SETLINK, n->ifindex);

	if (!n->gso_max_size && !n->gso_max_segs)
		return 0;
	if (n->gso_max_segs)
		mnl_attr_put_u32(nlh, IFLA_GSO_MAX_SEGS, n->gso_max_segs);
	if (n->gso_max_size)
		mnl_attr_put_u32(nlh, IFLA_GSO_MAX_SIZE, n->gso_max_size);
	return nl_talk(&n->rt, nlh, NULL, NULL);
}

int net_link_apply(struct net *n)
{
	uint8_t buf[NL_BUF];
	struct nlmsghdr *nlh;
	uint32_t ifindex;
	bool is_tun;
	int rc = net_link_find(&n->rt, n->p.tun, &ifindex, &is_tun);

	if (rc) {
		net_lose_tun(n);
		return rc;
	}
	n->nft_dirty |= ifindex != n->ifindex; /* the guard names the device by its index */
	n->ifindex = ifindex;
	if (!is_tun) {
		log_err(NULL, "tun=%s is an interface of another kind; set another `tun`",
			n->p.tun);
		return -EEXIST;
	}
	nlh = link_msg(buf, RTM_SETLINK, n->ifindex);
	mnl_attr_put_strz(nlh, IFLA_IFALIAS, n->p.alias);
	if (n->mtu)
		mnl_attr_put_u32(nlh, IFLA_MTU, n->mtu);
	rc = nl_talk(&n->rt, nlh, NULL, NULL);
	if (rc) {
		log_err(NULL, "tun=%s mtu=%u: %s", n->p.tun, n->mtu, strerror(-rc));
		return rc;
	}
	/* No link-local address of its own making; where IPv6 is absent this fails, and well so. */
	(void)set_addr_gen(n);
	rc = set_gso(n);
	if (rc) /* older kernels refuse; the data plane cuts such packets itself */
		log_debug(NULL, "tun=%s gso limits: %s", n->p.tun, strerror(-rc));
	nlh = link_msg(buf, RTM_SETLINK, n->ifindex);
	((struct ifinfomsg *)mnl_nlmsg_get_payload(nlh))->ifi_flags = IFF_UP;
	((struct ifinfomsg *)mnl_nlmsg_get_payload(nlh))->ifi_change = IFF_UP;
	rc = nl_talk(&n->rt, nlh, NULL, NULL);
	if (rc)
		log_err(NULL, "tun=%s up: %s", n->p.tun, strerror(-rc));
	return rc;
}

static int delete_link(struct nl *nl, uint32_t ifindex)
{
	uint8_t buf[NL_BUF];

	return nl_talk(nl, link_msg(buf, RTM_DELLINK, ifindex), NULL, NULL);
}

int net_tun_remove(const char *name)
{
	uint32_t ifindex;
	struct nl nl;
	bool is_tun;
	int rc = nl_open(&nl, NETLINK_ROUTE);

	if (rc)
		return rc;
	rc = net_link_find(&nl, name, &ifindex, &is_tun);
	if (!rc)
		rc = is_tun ? delete_link(&nl, ifindex) : -EEXIST;
	nl_close(&nl);
	return rc == -ENODEV ? 0 : rc;
}

#define STALE_MAX 32

struct stale {
	const struct net_params *p;
	bool all;
	uint32_t ifindex[STALE_MAX];
	char name[STALE_MAX][IFNAMSIZ];
	size_t count;
};

static int on_stale(const struct nlmsghdr *nlh, void *arg)
{
	struct stale *s = arg;
	struct link_view v;

	view(nlh, &v);
	if (!v.tun || strcmp(v.alias, s->p->alias) != 0 || s->count == STALE_MAX)
		return MNL_CB_OK;
	if (!s->all && !strcmp(v.name, s->p->tun))
		return MNL_CB_OK;
	s->ifindex[s->count] = v.ifindex;
	memcpy(s->name[s->count++], v.name, sizeof(v.name));
	return MNL_CB_OK;
}

int net_link_remove_stale(struct nl *nl, const struct net_params *p, bool all)
{
	struct stale s = { .p = p, .all = all };
	uint8_t buf[NL_BUF];
	struct nlmsghdr *nlh = link_msg(buf, RTM_GETLINK, 0);
	int rc;

	nlh->nlmsg_flags = NLM_F_DUMP;
	rc = nl_talk(nl, nlh, on_stale, &s);
	for (size_t i = 0; i < s.count; i++) {
		int one = delete_link(nl, s.ifindex[i]);

		log_info(NULL, "removed tun=%s, which the configuration names no more: %s",
			 s.name[i], one ? strerror(-one) : "done");
		if (one && !rc)
			rc = one;
	}
	return rc;
}
