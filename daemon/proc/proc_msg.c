/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proc_msg.h"

#include <errno.h>
#include <string.h>

#include "prf.h"
#include "sign.h"
#include "wire.h"

int proc_name_set(char *field, size_t cap, const char *name)
{
	size_t len = strlen(name);

	if (!len || len >= cap)
		return -ENAMETOOLONG;
	memset(field, 0, cap);
	memcpy(field, name, len);
	return 0;
}

/* Terminated, not empty, and zeros behind: one name has one form. */
static bool name_ok(const char *field, size_t cap)
{
	size_t len = strnlen(field, cap);

	if (!len || len == cap)
		return false;
	for (size_t i = len; i < cap; i++) {
		if (field[i])
			return false;
	}
	return true;
}

static bool addr_ok(const struct addr *a)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	static const uint8_t zero[12];

	if (a->family == AF_INET)
		return !memcmp(a->b + 4, zero, 12);
	return a->family == AF_INET6 && memcmp(a->b, mapped, 12);
}

static bool addr_none(const struct addr *a)
{
	static const struct addr none;

	return !memcmp(a, &none, sizeof(none));
}

static bool prefix_ok(const struct prefix *p)
{
	struct prefix cut;

	if (!addr_ok(&p->addr) || p->len > addr_bits(&p->addr))
		return false;
	cut = prefix_of(&p->addr, p->len);
	return addr_eq(&cut.addr, &p->addr);
}

static const char *check_addr(const void *data, size_t len)
{
	const struct pq_addr *q = data;

	(void)len;
	if (!name_ok(q->peer, sizeof(q->peer)))
		return "peer name not terminated";
	return prefix_ok(&q->addr) ? NULL : "address not canonical";
}

static const char *check_route(const void *data, size_t len)
{
	const struct pq_route *q = data;

	(void)len;
	if (!name_ok(q->peer, sizeof(q->peer)))
		return "peer name not terminated";
	if (!prefix_ok(&q->dst))
		return "destination not canonical";
	if (!addr_none(&q->src) && (!addr_ok(&q->src) || q->src.family != q->dst.addr.family))
		return "source not canonical";
	return NULL;
}

static bool zero_or(uint32_t v, uint32_t min, uint32_t max)
{
	return !v || (v >= min && v <= max);
}

static const char *check_link_set(const void *data, size_t len)
{
	const struct pq_link_set *q = data;

	(void)len;
	if (!zero_or(q->mtu, 576, 65535))
		return "mtu out of range";
	if (!zero_or(q->gso_max_size, 1280, 65536) || !zero_or(q->gso_max_segs, 1, 65535))
		return "gso limit out of range";
	return q->pad ? "padding not zero" : NULL;
}

static const char *check_path(const void *data, size_t len)
{
	const struct pq_path *q = data;

	(void)len;
	if (q->pad)
		return "padding not zero";
	return addr_ok(&q->dst) ? NULL : "address not canonical";
}

static const char *check_wan(const void *data, size_t len)
{
	const struct pq_wan *q = data;

	(void)len;
	if (!q->ifindex || q->pad)
		return "interface";
	return addr_ok(&q->src) && (addr_none(&q->gateway) || addr_ok(&q->gateway))
		   ? NULL
		   : "address not canonical";
}

static const char *check_wan_reply(const void *data, size_t len)
{
	const struct pr_wan *r = data;

	(void)len;
	return r->head.status || (name_ok(r->ifname, sizeof(r->ifname)) &&
				  (!r->prefix.addr.family || prefix_ok(&r->prefix)))
		   ? NULL
		   : "not the name of an interface, or no prefix";
}

static const char *check_hop(const void *data, size_t len)
{
	const struct pq_hop *q = data;

	(void)len;
	return q->index < PROC_HOPS && !q->pad ? NULL : "index out of range";
}

static const char *check_drain(const void *data, size_t len)
{
	const struct pm_drain *d = data;

	(void)len;
	return d->on <= 1 && !d->pad ? NULL : "neither on nor off";
}

static const char *check_hook(const void *data, size_t len)
{
	const struct pq_hook *q = data;

	(void)len;
	if (!name_ok(q->peer, sizeof(q->peer)))
		return "peer name not terminated";
	if (q->up > 1 || q->dns_count > PROC_DNS_MAX)
		return "number out of range";
	for (size_t i = 0; i < PROC_DNS_MAX; i++)
		if (i < q->dns_count ? !addr_ok(&q->dns[i]) : !addr_none(&q->dns[i]))
			return "address not canonical";
	return NULL;
}

static const char *check_stream(const void *data, size_t len)
{
	const struct pq_stream *q = data;

	(void)len;
	if (!name_ok(q->peer, sizeof(q->peer)))
		return "peer name not terminated";
	if (!q->port || q->port > 65535 || q->tls > 1)
		return "number out of range";
	return addr_ok(&q->to) ? NULL : "address not canonical";
}

static const char *check_sign(const void *data, size_t len)
{
	const struct kq_sign *q = data;

	if (!name_ok(q->peer, sizeof(q->peer)))
		return "peer name not terminated";
	if (q->scheme == SIG_NONE || q->scheme >= SIG_SCHEMES)
		return "no such scheme";
	return q->len && q->len <= PROC_OCTETS_MAX && q->len == len - sizeof(*q)
		   ? NULL
		   : "length of the octets";
}

static const char *check_psk(const void *data, size_t len)
{
	const struct kq_psk *q = data;

	if (!name_ok(q->peer, sizeof(q->peer)))
		return "peer name not terminated";
	if (q->prf < PRF_HMAC_SHA2_256 || q->prf > PRF_HMAC_SHA2_512)
		return "no such PRF";
	return q->len && q->len <= PROC_OCTETS_MAX && q->len == len - sizeof(*q)
		   ? NULL
		   : "length of the octets";
}

static const char *check_public(const void *data, size_t len)
{
	const struct kq_public *q = data;

	(void)len;
	return name_ok(q->peer, sizeof(q->peer)) ? NULL : "peer name not terminated";
}

static const char *check_lookup(const void *data, size_t len)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789-_.";
	const struct rq_lookup *q = data;

	(void)len;
	if (!name_ok(q->name, sizeof(q->name)) || q->name[strspn(q->name, allowed)])
		return "not a host name";
	if (q->name[0] == '.' || q->name[0] == '-')
		return "not a host name";
	return q->timeout_ms >= 100 && q->timeout_ms <= 60000 && !q->pad ? NULL
									 : "time-out out of range";
}

static const char *check_reload_reply(const void *data, size_t len)
{
	const struct pr_reload *r = data;

	return r->text_len <= PROC_TEXT_MAX && r->text_len == len - sizeof(*r) ? NULL
									       : "text length";
}

static const char *check_key_reply(const void *data, size_t len)
{
	const struct kr_reply *r = data;

	return r->len <= PROC_RESULT_MAX && r->len == len - sizeof(*r) ? NULL : "result length";
}

static const char *check_resolver_reply(const void *data, size_t len)
{
	const struct rr_reply *r = data;

	(void)len;
	if (r->count > PROC_ADDRS_MAX)
		return "too many addresses";
	for (size_t i = 0; i < r->count; i++) {
		if (!addr_ok(&r->addr[i]))
			return "address not canonical";
	}
	return NULL;
}

static const char *check_addresses(const void *data, size_t len)
{
	const struct pm_addresses *m = data;

	(void)len;
	if (m->count > PROC_ADDRS_MAX)
		return "too many addresses";
	for (size_t i = 0; i < m->count; i++) {
		if (!addr_ok(&m->addr[i]))
			return "address not canonical";
	}
	return NULL;
}

static const char *check_tun(const void *data, size_t len)
{
	const struct pm_tun *t = data;

	(void)len;
	if (!t->count || t->count > PROC_WORKERS_MAX || t->index >= t->count)
		return "queue index";
	return name_ok(t->name, sizeof(t->name)) ? NULL : "name not terminated";
}

static const char *check_socket(const void *data, size_t len)
{
	const struct pm_socket *s = data;
	uint32_t max = s->kind == PROC_SOCKET_HOP    ? PROC_HOPS
		       : s->kind >= PROC_SOCKET_PORT ? PROC_PORTS
						     : PROC_WORKERS_MAX;

	(void)len;
	if (s->kind >= PROC_SOCKETS || !s->count || s->count > max || s->index >= s->count)
		return "socket index";
	return (s->family == AF_INET || s->family == AF_INET6) && s->port <= 65535 ? NULL
										   : "family";
}

static const char *check_hop_reply(const void *data, size_t len)
{
	const struct pr_hop *r = data;

	(void)len;
	if (r->head.status)
		return NULL;
	return r->socket.kind == PROC_SOCKET_HOP ? check_socket(&r->socket, sizeof(r->socket)) : "kind";
}

static const char *check_ways_reply(const void *data, size_t len)
{
	const struct pr_ways *r = data;

	(void)len;
	if (r->count > PROC_WAYS_MAX)
		return "too many ways";
	for (size_t i = 0; i < r->count; i++)
		if (!r->way[i].ifindex || !addr_ok(&r->way[i].src) ||
		    !name_ok(r->way[i].name, sizeof(r->way[i].name)))
			return "way";
	return NULL;
}

static const char *check_listener(const void *data, size_t len)
{
	(void)len;
	return ((const struct pm_listener *)data)->kind < PROC_LISTENERS ? NULL : "kind";
}

static const char *check_state(const void *data, size_t len)
{
	const struct pm_state *s = data;

	(void)len;
	return s->count == PROC_STATE_FILES && s->index < s->count ? NULL : "index";
}

static const char *check_link(const void *data, size_t len)
{
	(void)len;
	return ((const struct pm_link *)data)->to < PROC_IDS ? NULL : "process";
}

struct shape {
	uint32_t type;
	uint32_t request; /* replies: to what; 0: any */
	size_t len;	  /* exact, or the least when .tail */
	bool tail;
	int fds;
	const char *(*check)(const void *data, size_t len);
};

static const struct shape requests[] = {
	{ PQ_ADDR_ADD, 0, sizeof(struct pq_addr), false, 0, check_addr },
	{ PQ_ADDR_DEL, 0, sizeof(struct pq_addr), false, 0, check_addr },
	{ PQ_ROUTE_ADD, 0, sizeof(struct pq_route), false, 0, check_route },
	{ PQ_ROUTE_DEL, 0, sizeof(struct pq_route), false, 0, check_route },
	{ PQ_LINK_SET, 0, sizeof(struct pq_link_set), false, 0, check_link_set },
	{ PQ_PATH, 0, sizeof(struct pq_path), false, 0, check_path },
	{ PQ_HOP, 0, sizeof(struct pq_hop), false, 0, check_hop },
	{ PQ_WAN, 0, sizeof(struct pq_wan), false, 0, check_wan },
	{ PQ_RELOAD, 0, 0, false, 0, NULL },
	{ PQ_HOOK, 0, sizeof(struct pq_hook), false, 0, check_hook },
	{ PQ_STREAM, 0, sizeof(struct pq_stream), false, 0, check_stream },
	{ PQ_WAYS, 0, sizeof(struct pq_path), false, 0, check_path },
	{ PQ_DRAIN, 0, sizeof(struct pm_drain), false, 0, check_drain },
	{ 0 },
};

static const struct shape key_requests[] = {
	{ KQ_SIGN, 0, sizeof(struct kq_sign), true, 0, check_sign },
	{ KQ_PSK_AUTH, 0, sizeof(struct kq_psk), true, 0, check_psk },
	{ KQ_PUBLIC, 0, sizeof(struct kq_public), false, 0, check_public },
	{ 0 },
};

static const struct shape resolver_requests[] = {
	{ RQ_LOOKUP, 0, sizeof(struct rq_lookup), false, 0, check_lookup },
	{ RQ_FLUSH, 0, 0, false, 0, NULL },
	{ 0 },
};

static const struct shape replies[] = {
	{ PM_CONFIG, 0, sizeof(struct pm_config), false, 1, NULL },
	{ PM_LINK, 0, sizeof(struct pm_link), false, 1, check_link },
	{ PM_GO, 0, 0, false, 0, NULL },
	{ PM_TUN, 0, sizeof(struct pm_tun), false, 1, check_tun },
	{ PM_SOCKET, 0, sizeof(struct pm_socket), false, 1, check_socket },
	{ PM_LISTENER, 0, sizeof(struct pm_listener), false, 1, check_listener },
	{ PM_STATE, 0, sizeof(struct pm_state), false, 1, check_state },
	{ PM_PATH_CHANGED, 0, 0, false, 0, NULL },
	{ PM_QCD, 0, sizeof(struct pm_qcd), false, 0, NULL },
	{ PM_ADDRESSES, 0, sizeof(struct pm_addresses), false, 0, check_addresses },
	{ PM_DRAIN, 0, sizeof(struct pm_drain), false, 0, check_drain },
	{ PM_STOP, 0, 0, false, 0, NULL },
	{ PM_SECRETS, 0, 0, false, 1, NULL },
	{ PR_REPLY, PQ_PATH, sizeof(struct pr_path), false, 0, NULL },
	{ PR_REPLY, PQ_WAN, sizeof(struct pr_wan), false, 0, check_wan_reply },
	{ PR_REPLY, PQ_WAYS, sizeof(struct pr_ways), false, 0, check_ways_reply },
	{ PR_REPLY, PQ_HOP, sizeof(struct pr_hop), false, 1, check_hop_reply },
	{ PR_REPLY, PQ_RELOAD, sizeof(struct pr_reload), true, 0, check_reload_reply },
	{ PR_REPLY, PQ_ADDR_ADD, sizeof(struct pr_reply), false, 0, NULL },
	{ PR_REPLY, PQ_ADDR_DEL, sizeof(struct pr_reply), false, 0, NULL },
	{ PR_REPLY, PQ_ROUTE_ADD, sizeof(struct pr_reply), false, 0, NULL },
	{ PR_REPLY, PQ_ROUTE_DEL, sizeof(struct pr_reply), false, 0, NULL },
	{ PR_REPLY, PQ_LINK_SET, sizeof(struct pr_reply), false, 0, NULL },
	{ PR_REPLY, PQ_HOOK, sizeof(struct pr_reply), false, 0, NULL },
	{ PR_REPLY, PQ_DRAIN, sizeof(struct pr_reply), false, 0, NULL },
	{ PR_REPLY, PQ_STREAM, sizeof(struct pr_reply), false, 1, NULL },
	{ KR_REPLY, 0, sizeof(struct kr_reply), true, 0, check_key_reply },
	{ RR_REPLY, 0, sizeof(struct rr_reply), false, 0, check_resolver_reply },
	{ 0 },
};

static int check(const struct shape *table, const struct ipc_msg *m, const char **why)
{
	/* Aligned copy: a message's bytes may stand anywhere. */
	union {
		uint64_t align;
		uint8_t bytes[sizeof(struct rr_reply) + sizeof(struct rq_lookup) +
			      sizeof(struct pr_reload) + sizeof(struct pq_hook) +
			      sizeof(struct pr_ways)];
	} head;
	uint32_t request = 0;

	if (m->type == PR_REPLY && m->len >= sizeof(struct pr_reply))
		memcpy(&request, m->data + offsetof(struct pr_reply, request), sizeof(request));
	for (; table->type; table++) {
		int fds = table->fds;

		if (table->type != m->type || table->request != request)
			continue;
		*why = "length";
		if (table->tail ? m->len < table->len : m->len != table->len)
			return -EBADMSG;
		*why = "descriptors";
		/* A failed PQ_HOP brings no socket. */
		if (m->type == PR_REPLY && fds && m->fd_count <= fds)
			fds = m->fd_count;
		if (m->fd_count != fds)
			return -EBADMSG;
		*why = NULL;
		if (!table->check)
			return 0;
		memcpy(head.bytes, m->data, table->len);
		*why = table->check(head.bytes, m->len);
		return *why ? -EBADMSG : 0;
	}
	*why = "unknown type";
	return -EBADMSG;
}

int proc_check_request(const struct ipc_msg *m, const char **why)
{
	return check(requests, m, why);
}

int proc_check_keys(const struct ipc_msg *m, const char **why)
{
	return check(key_requests, m, why);
}

#define IKE_HDR	       28
#define PAYLOAD_HDR    4
#define IKE_SA_INIT    34
#define FLAG_INITIATOR 0x08
#define FLAG_RESPONSE  0x20
#define TAIL_MIN       (NONCE_LEN_MIN + 32) /* PRF_HMAC_SHA2_256 */
#define TAIL_MAX       (NONCE_LEN_MAX + PRF_LEN_MAX)

int proc_check_octets(const void *octets, size_t len)
{
	/* RFC 7296 s3.1, by hand: the parser of the wire is not for the process that has the keys. */
	struct rd r = rd_init(octets, len);
	uint64_t spi_i = rd_be64(&r);
	uint8_t next, version, exchange, flags;
	uint32_t id, length;

	(void)rd_be64(&r); /* SPIr: 0 in the initiator's */
	next = rd_u8(&r);
	version = rd_u8(&r);
	exchange = rd_u8(&r);
	flags = rd_u8(&r);
	id = rd_be32(&r);
	length = rd_be32(&r);
	if (r.bad || length < IKE_HDR + PAYLOAD_HDR || length > len)
		return -EBADMSG;
	if (len - length < TAIL_MIN || len - length > TAIL_MAX)
		return -EBADMSG;
	return spi_i && next && version == 0x20 && exchange == IKE_SA_INIT &&
		       !(flags & ~(FLAG_INITIATOR | FLAG_RESPONSE)) && !id
		   ? 0
		   : -EBADMSG;
}

int proc_check_resolver(const struct ipc_msg *m, const char **why)
{
	return check(resolver_requests, m, why);
}

int proc_check_reply(const struct ipc_msg *m, const char **why)
{
	return check(replies, m, why);
}
