/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the child asks of the parent. Each request is checked twice: for its form (proc_check_request)
 * and against the parent's own parse of the configuration (policy.h). A refused one is answered,
 * logged and without effect.
 */
#include "parent_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"

#define ASSIGNED_MAX (sizeof(((struct parent *)NULL)->assigned) / sizeof(struct assigned))

static bool local_subnet(const struct prefix *p, struct prefix *which, void *arg)
{
	return net_local_subnet(arg, p, which);
}

struct policy parent_policy(struct parent *p)
{
	return (struct policy){ .cfg = p->now.cfg, .local = local_subnet, .arg = p->net };
}

static bool own_address(const struct config *cfg, const struct addr *a)
{
	for (size_t i = 0; i < cfg->tunnel_address_count; i++) {
		if (addr_eq(&cfg->tunnel_address[i], a))
			return true;
	}
	return false;
}

/* ---- assigned addresses ---- */

static struct assigned *find_assigned(struct parent *p, const struct addr *a)
{
	for (size_t i = 0; i < p->assigned_count; i++) {
		if (addr_eq(&p->assigned[i].addr, a))
			return &p->assigned[i];
	}
	return NULL;
}

static int drop_assigned(struct parent *p, struct assigned *a)
{
	struct addr addr = a->addr;

	*a = p->assigned[--p->assigned_count];
	return net_addr_del(p->net, &addr);
}

bool parent_adopt(const struct addr *a, void *arg)
{
	struct parent *p = arg;
	struct policy policy = parent_policy(p);

	if (p->assigned_count == ASSIGNED_MAX || own_address(p->now.cfg, a) ||
	    !policy_adopt(&policy, a))
		return false;
	p->assigned[p->assigned_count++] = (struct assigned){ .addr = *a };
	return true;
}

void parent_forget_unclaimed(struct parent *p)
{
	for (size_t i = p->assigned_count; i-- > 0;) {
		if (!p->assigned[i].peer[0])
			(void)drop_assigned(p, &p->assigned[i]);
	}
}

static int addr_add(struct parent *p, const struct pq_addr *q, char *why)
{
	struct policy policy = parent_policy(p);
	int rc = policy_addr(&policy, q, why);
	struct assigned *a;

	if (rc || own_address(p->now.cfg, &q->addr.addr))
		return rc;
	a = find_assigned(p, &q->addr.addr);
	if (a && a->peer[0] && strcmp(a->peer, q->peer) != 0) {
		snprintf(why, POLICY_WHY_MAX, "peer %.63s gave us this address before", a->peer);
		return -EPROTO;
	}
	/* A peer gives one address of a family: a new one takes the place of the old. */
	for (size_t i = p->assigned_count; !a && i-- > 0;) {
		if (!strcmp(p->assigned[i].peer, q->peer) &&
		    p->assigned[i].addr.family == q->addr.addr.family)
			(void)drop_assigned(p, &p->assigned[i]);
	}
	if (!a) {
		if (p->assigned_count == ASSIGNED_MAX)
			return -ENOSPC;
		a = &p->assigned[p->assigned_count++];
		a->addr = q->addr.addr;
	}
	memcpy(a->peer, q->peer, sizeof(a->peer));
	return net_addr_add(p->net, &a->addr);
}

static int addr_del(struct parent *p, const struct pq_addr *q, char *why)
{
	struct assigned *a = find_assigned(p, &q->addr.addr);

	if (!a || q->addr.len != addr_bits(&q->addr.addr) || strcmp(a->peer, q->peer) != 0) {
		snprintf(why, POLICY_WHY_MAX, "not an address that this peer gave us");
		return -EPROTO;
	}
	return drop_assigned(p, a);
}

/* ---- routes ---- */

static bool configured_route(const struct config *cfg, const struct prefix *dst)
{
	for (size_t i = 0; i < cfg->peer_count; i++) {
		const struct config_peer *peer = &cfg->peers[i];

		for (size_t k = 0; k < peer->network_count; k++) {
			if (peer->networks[k].len == dst->len &&
			    addr_eq(&peer->networks[k].addr, &dst->addr))
				return true;
		}
		for (size_t k = 0; k < peer->assign_count; k++) {
			if (dst->len == addr_bits(&dst->addr) &&
			    addr_eq(&peer->assign[k], &dst->addr))
				return true;
		}
	}
	return false;
}

static int route_add(struct parent *p, const struct pq_route *q, char *why)
{
	struct policy policy = parent_policy(p);
	struct net_route r = { .dst = q->dst, .src = q->src };
	int rc = policy_route(&policy, q, why);

	if (!rc && q->src.family && !net_has_addr(p->net, &q->src)) {
		snprintf(why, POLICY_WHY_MAX, "the source is none of our tunnel addresses");
		rc = -EPROTO;
	}
	return rc ? rc : net_route_add(p->net, &r);
}

static int route_del(struct parent *p, const struct pq_route *q, char *why)
{
	struct policy policy = parent_policy(p);
	struct net_route r = { .dst = q->dst };
	int rc = policy_route(&policy, q, why);

	if (rc)
		return rc;
	/* What the configuration routes stays routed (and unreachable, while the tunnel is down). */
	if (configured_route(p->now.cfg, &q->dst))
		return net_route_add(p->net, &r);
	return net_route_del(p->net, &q->dst);
}

/* ---- the hook ---- */

static int hook_run(struct parent *p, const struct pq_hook *q, char *why)
{
	struct policy policy = parent_policy(p);
	struct hook_word w = { .up = q->up, .dns_count = q->dns_count };
	int rc = policy_hook(&policy, q, why);

	if (rc)
		return rc;
	memcpy(w.peer, q->peer, sizeof(w.peer));
	memcpy(w.dns, q->dns, sizeof(w.dns));
	for (size_t i = 0; i < p->assigned_count && w.address_count < 2; i++)
		if (!strcmp(p->assigned[i].peer, q->peer))
			w.address[w.address_count++] = p->assigned[i].addr;
	return hook_tell(p->hook, p->now.cfg->hook, &w);
}

/* ---- answers ---- */

static void say(struct ipc *ipc, uint32_t id, const void *data, size_t len, int fd)
{
	int rc = fd >= 0 ? ipc_send_fds(ipc, PR_REPLY, id, data, len, &fd, 1)
			 : ipc_send(ipc, PR_REPLY, id, data, len);

	if (rc)
		log_warn(NULL, "the child does not take an answer: %s", strerror(-rc));
}

static void refused(struct parent *p, const struct proc *proc, const struct ipc_msg *m,
		    const char *why);

/* For sockets of which peers is asked? 0, or -EPROTO with a line in the log. */
static int mark_allowed(struct parent *p, const struct proc *proc, const struct ipc_msg *m,
			uint32_t mark)
{
	uint32_t have[CONFIG_MARKS_MAX];
	size_t count = config_marks(p->now.cfg, have);

	for (size_t i = 0; i < count; i++)
		if (have[i] == mark)
			return 0;
	if (!mark)
		return 0;
	refused(p, proc, m, "no peer has this mark");
	return -EPROTO;
}

static void answer_path(struct parent *p, const struct proc *proc, struct ipc *ipc,
			const struct ipc_msg *m)
{
	struct pr_path r = { .head = { .request = PQ_PATH } };
	struct net_path path;
	struct pq_path q;

	memcpy(&q, m->data, sizeof(q));
	r.head.status = mark_allowed(p, proc, m, q.mark);
	if (!r.head.status)
		r.head.status = net_path_lookup(p->net, &q.dst, q.mark, 0, &path);
	if (!r.head.status) {
		r.ifindex = path.ifindex;
		r.mtu = path.mtu;
		r.src = path.src;
		r.gateway = path.gateway;
	}
	say(ipc, m->id, &r, sizeof(r), -1);
}

static void answer_wan(struct parent *p, struct ipc *ipc, const struct ipc_msg *m)
{
	struct pr_wan r = { .head = { .request = PQ_WAN } };
	struct net_path path = { 0 };
	struct net_wan wan;
	struct pq_wan q;

	memcpy(&q, m->data, sizeof(q));
	path.ifindex = q.ifindex;
	path.src = q.src;
	path.gateway = q.gateway;
	r.head.status = net_wan_lookup(p->net, &path, &wan);
	if (!r.head.status) {
		memcpy(r.ifname, wan.ifname, sizeof(r.ifname));
		memcpy(r.mac, wan.mac, sizeof(r.mac));
		r.prefix = wan.prefix;
	}
	say(ipc, m->id, &r, sizeof(r), -1);
}

static void answer_ways(struct parent *p, const struct proc *proc, struct ipc *ipc,
			const struct ipc_msg *m)
{
	struct pr_ways r = { .head = { .request = PQ_WAYS } };
	struct net_way way[PROC_WAYS_MAX];
	size_t count = 0;
	struct pq_path q;

	memcpy(&q, m->data, sizeof(q));
	r.head.status = mark_allowed(p, proc, m, q.mark);
	if (!r.head.status)
		r.head.status = net_ways(p->net, &q.dst, q.mark, way, PROC_WAYS_MAX, &count);
	for (size_t i = 0; !r.head.status && i < count; i++) {
		struct proc_way *w = &r.way[r.count++];

		w->ifindex = way[i].path.ifindex;
		w->mtu = way[i].path.mtu;
		w->chosen = way[i].chosen;
		w->src = way[i].path.src;
		w->gateway = way[i].path.gateway;
		memcpy(w->name, way[i].name, sizeof(w->name));
	}
	say(ipc, m->id, &r, sizeof(r), -1);
}

static void answer_hop(struct parent *p, struct ipc *ipc, const struct ipc_msg *m)
{
	struct pr_hop r = { .head = { .request = PQ_HOP } };
	const struct outer_socket *s;
	struct pq_hop q;

	memcpy(&q, m->data, sizeof(q));
	s = &p->outer.hop[q.index];
	r.head.status = outer_hop(&p->outer, q.index);
	if (!r.head.status)
		r.socket = (struct pm_socket){ .kind = PROC_SOCKET_HOP,
					       .index = q.index,
					       .count = PROC_HOPS,
					       .family = s->family,
					       .port = s->port };
	say(ipc, m->id, &r, sizeof(r), r.head.status ? -1 : s->fd);
}

static void answer_stream(struct parent *p, const struct proc *proc, struct ipc *ipc,
			  const struct ipc_msg *m)
{
	struct pr_reply r = { .request = PQ_STREAM };
	struct policy policy = parent_policy(p);
	char why[POLICY_WHY_MAX], line[2 * POLICY_WHY_MAX];
	struct pq_stream q;
	int fd = -1;

	memcpy(&q, m->data, sizeof(q));
	r.status = policy_stream(&policy, &q, why);
	if (r.status) {
		snprintf(line, sizeof(line), "peer=%.63s port %u: %s", q.peer, q.port, why);
		refused(p, proc, m, line);
	} else {
		struct endpoint to = { q.to, (uint16_t)q.port };

		fd = outer_connect(&p->outer, &to, config_peer_find(p->now.cfg, q.peer)->mark);
		r.status = fd < 0 ? fd : 0;
	}
	say(ipc, m->id, &r, sizeof(r), fd);
	if (fd >= 0)
		close(fd);
}

static void answer_reload(struct parent *p, struct ipc *ipc, const struct ipc_msg *m)
{
	struct {
		struct pr_reload r;
		char text[PROC_TEXT_MAX];
	} out = { .r = { .head = { .request = PQ_RELOAD } } };

	out.r.head.status = parent_reload(p, out.text, sizeof(out.text));
	out.r.text_len = (uint32_t)strlen(out.text);
	say(ipc, m->id, &out, sizeof(out.r) + out.r.text_len, -1);
}

/* Those that only say yes or no. */
static int run(struct parent *p, const struct ipc_msg *m, char *why)
{
	union {
		struct pq_addr addr;
		struct pq_route route;
		struct pq_link_set link;
		struct pq_hook hook;
		struct pm_drain drain;
	} q;

	memcpy(&q, m->data, m->len); /* exact: checked */
	switch (m->type) {
	case PQ_ADDR_ADD:
		return addr_add(p, &q.addr, why);
	case PQ_ADDR_DEL:
		return addr_del(p, &q.addr, why);
	case PQ_ROUTE_ADD:
		return route_add(p, &q.route, why);
	case PQ_ROUTE_DEL:
		return route_del(p, &q.route, why);
	case PQ_HOOK:
		return hook_run(p, &q.hook, why);
	case PQ_DRAIN:
		p->drain = q.drain;
		return 0;
	default:
		if (p->now.cfg->mtu && q.link.mtu && q.link.mtu != p->now.cfg->mtu) {
			snprintf(why, POLICY_WHY_MAX, "the configuration sets mtu = %u",
				 p->now.cfg->mtu);
			return -EPROTO;
		}
		return net_link_set(p->net, q.link.mtu, q.link.gso_max_size, q.link.gso_max_segs);
	}
}

static const char *request_name(uint32_t type)
{
	static const char *const names[] = {
		[PQ_ADDR_ADD - PQ_ADDR_ADD] = "addr-add",
		[PQ_ADDR_DEL - PQ_ADDR_ADD] = "addr-del",
		[PQ_ROUTE_ADD - PQ_ADDR_ADD] = "route-add",
		[PQ_ROUTE_DEL - PQ_ADDR_ADD] = "route-del",
		[PQ_LINK_SET - PQ_ADDR_ADD] = "link-set",
		[PQ_PATH - PQ_ADDR_ADD] = "path",
		[PQ_HOP - PQ_ADDR_ADD] = "hop",
		[PQ_RELOAD - PQ_ADDR_ADD] = "reload",
		[PQ_HOOK - PQ_ADDR_ADD] = "hook",
		[PQ_WAN - PQ_ADDR_ADD] = "wan",
		[PQ_STREAM - PQ_ADDR_ADD] = "stream",
		[PQ_WAYS - PQ_ADDR_ADD] = "ways",
		[PQ_DRAIN - PQ_ADDR_ADD] = "drain",
	};
	uint32_t i = type - PQ_ADDR_ADD;

	return i < sizeof(names) / sizeof(*names) ? names[i] : "unknown";
}

static void refused(struct parent *p, const struct proc *proc, const struct ipc_msg *m,
		    const char *why)
{
	uint32_t suppressed;

	if (!log_limited(&p->limit, m->type, loop_now_ms(p->loop), &suppressed))
		return;
	log_warn(NULL, "request=%s type=%u len=%zu of proc=%s refused: %s (%u like it not logged)",
		 request_name(m->type), m->type, m->len, proc->spec->name, why, suppressed);
}

/* About whom and what: the peer's name and the prefix begin all requests but one. */
static void describe(const struct ipc_msg *m, char *out, size_t cap, const char *why)
{
	char s[PREFIX_STR_MAX];
	struct pq_addr q;

	if (m->type == PQ_LINK_SET) {
		snprintf(out, cap, "%s", why);
		return;
	}
	if (m->type == PQ_HOOK) {
		snprintf(out, cap, "peer=%.63s %s", (const char *)m->data, why);
		return;
	}
	memcpy(&q, m->data, sizeof(q)); /* struct pq_route begins alike */
	snprintf(out, cap, "peer=%.63s %s: %s", q.peer, prefix_str(&q.addr, s), why);
}

_Static_assert(offsetof(struct pq_addr, addr) == offsetof(struct pq_route, dst), "describe()");
_Static_assert(sizeof(struct pq_addr) <= sizeof(struct pq_route), "describe()");

void parent_on_message(struct ipc *ipc, struct ipc_msg *m, void *arg)
{
	struct proc *proc = arg;
	struct parent *p = proc->table->arg;
	struct pr_reply r = { .request = m->type };
	char policy_why[POLICY_WHY_MAX] = "", line[2 * POLICY_WHY_MAX];
	const char *why;

	/* Keys and resolver have nothing to ask here. */
	if (proc->spec->id != PROC_CHILD) {
		refused(p, proc, m, "this process may ask for nothing");
		return;
	}
	r.status = proc_check_request(m, &why);
	if (r.status) {
		refused(p, proc, m, why);
		/* Our own stub may have passed on a value out of range; all else is nobody's request. */
		if (m->type < PQ_ADDR_ADD || m->type > PQ_LINK_SET)
			return;
	} else if (m->type == PQ_PATH) {
		answer_path(p, proc, ipc, m);
		return;
	} else if (m->type == PQ_WAN) {
		answer_wan(p, ipc, m);
		return;
	} else if (m->type == PQ_WAYS) {
		answer_ways(p, proc, ipc, m);
		return;
	} else if (m->type == PQ_HOP) {
		answer_hop(p, ipc, m);
		return;
	} else if (m->type == PQ_STREAM) {
		answer_stream(p, proc, ipc, m);
		return;
	} else if (m->type == PQ_RELOAD) {
		answer_reload(p, ipc, m);
		return;
	} else {
		r.status = run(p, m, policy_why);
		if (r.status == -EPROTO) {
			describe(m, line, sizeof(line), policy_why);
			refused(p, proc, m, line);
		}
	}
	say(ipc, m->id, &r, sizeof(r), -1);
}
