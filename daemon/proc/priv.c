/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hash.h"
#include "log.h"
#include "proc.h"

union done {
	void (*plain)(int status, void *arg);
	void (*path)(int status, const struct pr_path *path, void *arg);
	void (*wan)(int status, const struct pr_wan *w, void *arg);
	void (*ways)(int status, const struct proc_way *way, size_t count, void *arg);
	void (*hop)(int status, const struct priv_socket *s, void *arg);
	void (*stream)(int status, int fd, void *arg);
	void (*reload)(int status, const char *text, void *arg);
	void (*octets)(int status, const uint8_t *data, size_t len, void *arg);
	void (*resolved)(int status, const struct addr *addr, size_t count, void *arg);
};

struct pending {
	struct hash_node node; /* comes first; hashed by token */
	uint32_t token;
	uint32_t request; /* PQ_, KQ_, RQ_ */
	enum proc_id to;
	union done done;
	void *arg;
};

struct link {
	struct priv *priv;
	struct ipc *ipc;
};

struct priv {
	struct loop *loop;
	const struct priv_ops *ops;
	void *arg;
	struct link link[PROC_IDS]; /* [PROC_PARENT], [PROC_KEYS], [PROC_RESOLVER] */
	struct hash_table pending;
	uint32_t token;
	struct priv_inventory inv;
	uint32_t mark[PROC_MARKS];
	bool go;
	int error;
};

/* ---- pending requests ---- */

static uint64_t hash_token(uint32_t token)
{
	return hash_bytes(&token, sizeof(token));
}

static struct pending *take(struct priv *p, uint32_t token, enum proc_id from)
{
	uint64_t h = hash_token(token);

	for (struct hash_node *n = hash_first(&p->pending, h); n; n = hash_next(n)) {
		struct pending *q = (struct pending *)(void *)n;

		if (q->token == token && q->to == from) {
			hash_remove(&p->pending, n);
			return q;
		}
	}
	return NULL;
}

static void finish(struct pending *q, int status)
{
	switch (q->request) {
	case PQ_PATH:
		q->done.path(status, NULL, q->arg);
		break;
	case PQ_WAN:
		q->done.wan(status, NULL, q->arg);
		break;
	case PQ_WAYS:
		q->done.ways(status, NULL, 0, q->arg);
		break;
	case PQ_HOP:
		q->done.hop(status, NULL, q->arg);
		break;
	case PQ_STREAM:
		q->done.stream(status, -1, q->arg);
		break;
	case PQ_RELOAD:
		q->done.reload(status, "the parent did not answer", q->arg);
		break;
	case KQ_SIGN:
	case KQ_PSK_AUTH:
	case KQ_PUBLIC:
		q->done.octets(status, NULL, 0, q->arg);
		break;
	case RQ_LOOKUP:
		q->done.resolved(status, NULL, 0, q->arg);
		break;
	default:
		q->done.plain(status, q->arg);
	}
	free(q);
}

static int request(struct priv *p, enum proc_id to, uint32_t type, const void *data, size_t len,
		   union done done, void *arg)
{
	struct pending *q;
	int rc;

	if (!p->link[to].ipc)
		return -ENOTCONN;
	q = calloc(1, sizeof(*q));
	if (!q)
		return -ENOMEM;
	if (!++p->token)
		p->token = 1;
	*q = (struct pending){
		.token = p->token, .request = type, .to = to, .done = done, .arg = arg
	};
	rc = hash_insert(&p->pending, &q->node, hash_token(q->token));
	if (rc) {
		free(q);
		return rc;
	}
	rc = ipc_send(p->link[to].ipc, type, q->token, data, len);
	if (rc) {
		hash_remove(&p->pending, &q->node);
		free(q);
	}
	return rc;
}

struct orphans {
	struct priv *p;
	enum proc_id of;
	struct pending *list[64];
	size_t count;
};

static void collect(struct hash_node *n, void *arg)
{
	struct pending *q = (struct pending *)(void *)n;
	struct orphans *o = arg;

	if (q->to == o->of && o->count < sizeof(o->list) / sizeof(*o->list)) {
		hash_remove(&o->p->pending, n);
		o->list[o->count++] = q;
	}
}

/* Callbacks may ask anew (and get -ENOTCONN, or the new link), so none runs during the walk. */
static void fail_all(struct priv *p, enum proc_id of, int status)
{
	struct orphans o = { .p = p, .of = of };

	do {
		o.count = 0;
		hash_each(&p->pending, collect, &o);
		for (size_t i = 0; i < o.count; i++)
			finish(o.list[i], status);
	} while (o.count);
}

/* ---- what comes in ---- */

static struct priv_socket take_socket(struct ipc_msg *m, const struct pm_socket *s)
{
	struct priv_socket out = { .fd = m->fd[0],
				   .family = (sa_family_t)s->family,
				   .port = (uint16_t)s->port };

	m->fd[0] = -1;
	return out;
}

static void on_socket(struct priv *p, struct ipc_msg *m)
{
	struct priv_inventory *inv = &p->inv;
	struct pm_socket s;

	memcpy(&s, m->data, sizeof(s));
	switch (s.kind) {
	case PROC_SOCKET_OUTER:
		inv->outer[s.index] = take_socket(m, &s);
		inv->outer_count = s.count;
		break;
	case PROC_SOCKET_PORT500:
		inv->port500 = take_socket(m, &s);
		break;
	case PROC_SOCKET_HOP:
		inv->hop[s.index] = take_socket(m, &s);
		inv->hop_count = s.count;
		break;
	case PROC_SOCKET_PORT:
		inv->port[s.index] = take_socket(m, &s);
		inv->port_count = s.count;
		break;
	case PROC_SOCKET_TCP:
	case PROC_SOCKET_TLS:
		inv->tcp[s.index] = take_socket(m, &s);
		inv->tls[s.index] = s.kind == PROC_SOCKET_TLS;
		inv->tcp_count = s.count;
		break;
	}
}

static void on_config(struct priv *p, struct ipc_msg *m)
{
	struct bundle *b = bundle_open(m->fd[0]);
	struct pm_config c;

	memcpy(&c, m->data, sizeof(c));
	if (!b) {
		log_err(NULL, "the parent's bundle cannot be read: %s", strerror(errno));
		p->error = -EBADMSG;
		return;
	}
	memcpy(p->mark, c.mark, sizeof(p->mark));
	if (p->go) {
		p->ops->config(b, c.generation, p->arg);
		return;
	}
	bundle_free(p->inv.bundle);
	p->inv.bundle = b;
	p->inv.generation = c.generation;
}

static const struct ipc_ops sibling_ops;

static void on_link(struct priv *p, struct ipc_msg *m)
{
	struct pm_link l;

	memcpy(&l, m->data, sizeof(l));
	if (l.to != PROC_KEYS && l.to != PROC_RESOLVER)
		return;
	if (p->link[l.to].ipc) {
		ipc_free(p->link[l.to].ipc);
		p->link[l.to].ipc = NULL;
		fail_all(p, (enum proc_id)l.to, -ECONNRESET);
	}
	p->link[l.to].ipc = ipc_new(p->loop, m->fd[0], &sibling_ops, &p->link[l.to]);
	m->fd[0] = -1;
	if (!p->link[l.to].ipc)
		log_err(NULL, "no link to process %u: %s", l.to, strerror(errno));
}

static void on_inventory(struct priv *p, struct ipc_msg *m)
{
	struct priv_inventory *inv = &p->inv;

	switch (m->type) {
	case PM_TUN: {
		struct pm_tun t;

		memcpy(&t, m->data, sizeof(t));
		memcpy(inv->tun_name, t.name, sizeof(inv->tun_name));
		inv->tun_ifindex = t.ifindex;
		inv->tun_mtu = t.mtu;
		inv->tun_count = t.count;
		inv->tun_fd[t.index] = m->fd[0];
		m->fd[0] = -1;
		break;
	}
	case PM_SOCKET:
		on_socket(p, m);
		break;
	case PM_LISTENER: {
		struct pm_listener l;

		memcpy(&l, m->data, sizeof(l));
		inv->listener[l.kind] = m->fd[0];
		m->fd[0] = -1;
		break;
	}
	case PM_STATE: {
		struct pm_state s;

		memcpy(&s, m->data, sizeof(s));
		inv->state_fd[s.index] = m->fd[0];
		m->fd[0] = -1;
		break;
	}
	case PM_DRAIN: {
		struct pm_drain d;

		memcpy(&d, m->data, sizeof(d));
		inv->drain = d.on;
		break;
	}
	case PM_QCD:
		memcpy(inv->qcd, m->data, sizeof(inv->qcd));
		break;
	}
}

static void on_parent_reply(struct priv *p, struct ipc_msg *m)
{
	struct pending *q = take(p, m->id, PROC_PARENT);
	struct pr_reply head;

	memcpy(&head, m->data, sizeof(head));
	if (!q || q->request != head.request) {
		if (q)
			finish(q, -EBADMSG);
		return;
	}
	if (q->request == PQ_PATH && !head.status) {
		struct pr_path path;

		memcpy(&path, m->data, sizeof(path));
		q->done.path(0, &path, q->arg);
	} else if (q->request == PQ_WAN && !head.status) {
		struct pr_wan wan;

		memcpy(&wan, m->data, sizeof(wan));
		q->done.wan(0, &wan, q->arg);
	} else if (q->request == PQ_WAYS && !head.status) {
		struct pr_ways ways;

		memcpy(&ways, m->data, sizeof(ways));
		q->done.ways(0, ways.way, ways.count, q->arg);
	} else if (q->request == PQ_HOP && !head.status && m->fd_count == 1) {
		struct pr_hop hop;
		struct priv_socket s;

		memcpy(&hop, m->data, sizeof(hop));
		s = take_socket(m, &hop.socket);
		q->done.hop(0, &s, q->arg);
	} else if (q->request == PQ_STREAM && !head.status && m->fd_count == 1) {
		int fd = m->fd[0];

		m->fd[0] = -1;
		q->done.stream(0, fd, q->arg);
	} else if (q->request == PQ_STREAM) {
		finish(q, head.status ? head.status : -EBADMSG);
		return;
	} else if (q->request == PQ_RELOAD) {
		char text[PROC_TEXT_MAX + 1] = "";

		memcpy(text, m->data + sizeof(struct pr_reload), m->len - sizeof(struct pr_reload));
		q->done.reload(head.status, text, q->arg);
	} else {
		finish(q, head.status);
		return;
	}
	free(q);
}

static void on_message(struct ipc *ipc, struct ipc_msg *m, void *arg)
{
	struct priv *p = ((struct link *)arg)->priv;
	const char *why;

	(void)ipc;
	if (proc_check_reply(m, &why)) {
		log_err(NULL, "parent: message type=%u refused: %s", m->type, why);
		p->error = -EBADMSG;
		return;
	}
	switch (m->type) {
	case PM_CONFIG:
		on_config(p, m);
		break;
	case PM_LINK:
		on_link(p, m);
		break;
	case PM_GO:
		p->go = true;
		break;
	case PM_PATH_CHANGED:
		if (p->go && p->ops->path_changed)
			p->ops->path_changed(p->arg);
		break;
	case PM_ADDRESSES:
		memcpy(&p->inv.addresses, m->data, sizeof(p->inv.addresses));
		if (p->go && p->ops->addresses)
			p->ops->addresses(p->inv.addresses.addr, p->inv.addresses.count, p->arg);
		break;
	case PM_STOP:
		p->ops->stop(p->arg);
		break;
	case PR_REPLY:
		on_parent_reply(p, m);
		break;
	default:
		if (!p->go)
			on_inventory(p, m);
	}
}

static void on_gone(struct ipc *ipc, void *arg)
{
	struct priv *p = ((struct link *)arg)->priv;

	(void)ipc;
	p->error = -EPIPE;
	p->ops->gone(p->arg);
}

static void on_sibling_message(struct ipc *ipc, struct ipc_msg *m, void *arg)
{
	struct link *l = arg;
	struct priv *p = l->priv;
	enum proc_id from = l == &p->link[PROC_KEYS] ? PROC_KEYS : PROC_RESOLVER;
	uint32_t want = from == PROC_KEYS ? KR_REPLY : RR_REPLY;
	struct pending *q;
	const char *why;

	(void)ipc;
	if (m->type != want || proc_check_reply(m, &why)) {
		log_err(NULL, "%s: message type=%u refused",
			from == PROC_KEYS ? "keys" : "resolver", m->type);
		return;
	}
	q = take(p, m->id, from);
	if (!q)
		return;
	if (from == PROC_KEYS) {
		struct kr_reply r;

		memcpy(&r, m->data, sizeof(r));
		if (r.status || r.request != q->request) {
			finish(q, r.status ? r.status : -EBADMSG);
			return;
		}
		q->done.octets(0, m->data + sizeof(r), r.len, q->arg);
	} else {
		struct rr_reply r;

		memcpy(&r, m->data, sizeof(r));
		if (r.status || !r.count) {
			finish(q, r.status ? r.status : -ENOENT);
			return;
		}
		q->done.resolved(0, r.addr, r.count, q->arg);
	}
	free(q);
}

static void on_sibling_gone(struct ipc *ipc, void *arg)
{
	struct link *l = arg;
	struct priv *p = l->priv;

	/* The parent restarts it and sends a new link. */
	l->ipc = NULL;
	ipc_free(ipc);
	fail_all(p, l == &p->link[PROC_KEYS] ? PROC_KEYS : PROC_RESOLVER, -ECONNRESET);
}

static const struct ipc_ops parent_ops = { .message = on_message, .closed = on_gone };
static const struct ipc_ops sibling_ops = { .message = on_sibling_message,
					    .closed = on_sibling_gone };

/* ---- life ---- */

struct priv *priv_new(struct loop *l, const struct priv_ops *ops, void *arg)
{
	struct priv *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->loop = l;
	p->ops = ops;
	p->arg = arg;
	for (int i = 0; i < PROC_IDS; i++)
		p->link[i].priv = p;
	for (int i = 0; i < PROC_WORKERS_MAX; i++)
		p->inv.tun_fd[i] = p->inv.outer[i].fd = -1;
	for (int i = 0; i < PROC_HOPS; i++)
		p->inv.hop[i].fd = -1;
	for (int i = 0; i < PROC_PORTS; i++)
		p->inv.port[i].fd = p->inv.tcp[i].fd = -1;
	for (int i = 0; i < PROC_LISTENERS; i++)
		p->inv.listener[i] = -1;
	for (int i = 0; i < PROC_STATE_FILES; i++)
		p->inv.state_fd[i] = -1;
	p->inv.port500.fd = -1;
	p->link[PROC_PARENT].ipc = ipc_new(l, PROC_IPC_FD, &parent_ops, &p->link[PROC_PARENT]);
	if (!p->link[PROC_PARENT].ipc) {
		free(p);
		return NULL;
	}
	return p;
}

static bool complete(const struct priv_inventory *inv)
{
	bool ok = inv->bundle && inv->tun_count && inv->outer_count;

	for (size_t i = 0; i < inv->tun_count; i++)
		ok &= inv->tun_fd[i] >= 0;
	for (size_t i = 0; i < inv->outer_count; i++)
		ok &= inv->outer[i].fd >= 0;
	for (size_t i = 0; i < inv->hop_count; i++)
		ok &= inv->hop[i].fd >= 0;
	for (size_t i = 0; i < inv->port_count; i++)
		ok &= inv->port[i].fd >= 0;
	for (size_t i = 0; i < inv->tcp_count; i++)
		ok &= inv->tcp[i].fd >= 0;
	return ok;
}

int priv_wait(struct priv *p, uint64_t timeout_ms, struct priv_inventory *inv)
{
	uint64_t until = clock_boot_ms() + timeout_ms;
	int rc = 0;

	while (!rc && !p->go && !p->error) {
		uint64_t now = clock_boot_ms();

		rc = now < until ? loop_once(p->loop, (int)(until - now)) : -ETIMEDOUT;
	}
	if (rc || p->error)
		return rc ? rc : p->error;
	if (!complete(&p->inv))
		return -EBADMSG;
	*inv = p->inv;
	return 0;
}

static void drop_pending(struct hash_node *n, void *arg)
{
	(void)arg;
	free(n); /* the node comes first */
}

void priv_free(struct priv *p)
{
	if (!p)
		return;
	for (int i = 0; i < PROC_IDS; i++)
		ipc_free(p->link[i].ipc);
	hash_each(&p->pending, drop_pending, NULL);
	hash_free(&p->pending);
	free(p);
}

/* ---- requests ---- */

static int addr_request(struct priv *p, uint32_t type, const char *peer, const struct addr *a,
			void (*done)(int status, void *arg), void *arg)
{
	struct pq_addr q = { 0 };
	int rc = proc_name_set(q.peer, sizeof(q.peer), peer);

	q.addr = prefix_host(a);
	return rc ? rc
		  : request(p, PROC_PARENT, type, &q, sizeof(q), (union done){ .plain = done },
			    arg);
}

int priv_addr_add(struct priv *p, const char *peer, const struct addr *a,
		  void (*done)(int status, void *arg), void *arg)
{
	return addr_request(p, PQ_ADDR_ADD, peer, a, done, arg);
}

int priv_addr_del(struct priv *p, const char *peer, const struct addr *a,
		  void (*done)(int status, void *arg), void *arg)
{
	return addr_request(p, PQ_ADDR_DEL, peer, a, done, arg);
}

static int route_request(struct priv *p, uint32_t type, const char *peer, const struct prefix *dst,
			 const struct addr *src, void (*done)(int status, void *arg), void *arg)
{
	struct pq_route q = { .dst = *dst };
	int rc = proc_name_set(q.peer, sizeof(q.peer), peer);

	if (src)
		q.src = *src;
	return rc ? rc
		  : request(p, PROC_PARENT, type, &q, sizeof(q), (union done){ .plain = done },
			    arg);
}

int priv_route_add(struct priv *p, const char *peer, const struct prefix *dst,
		   const struct addr *src, void (*done)(int status, void *arg), void *arg)
{
	return route_request(p, PQ_ROUTE_ADD, peer, dst, src, done, arg);
}

int priv_route_del(struct priv *p, const char *peer, const struct prefix *dst,
		   void (*done)(int status, void *arg), void *arg)
{
	return route_request(p, PQ_ROUTE_DEL, peer, dst, NULL, done, arg);
}

int priv_link_set(struct priv *p, uint32_t mtu, uint32_t gso_max_size, uint32_t gso_max_segs,
		  void (*done)(int status, void *arg), void *arg)
{
	struct pq_link_set q = { .mtu = mtu,
				 .gso_max_size = gso_max_size,
				 .gso_max_segs = gso_max_segs };

	return request(p, PROC_PARENT, PQ_LINK_SET, &q, sizeof(q), (union done){ .plain = done },
		       arg);
}

int priv_drain(struct priv *p, bool on, void (*done)(int status, void *arg), void *arg)
{
	struct pm_drain q = { .on = on };

	return request(p, PROC_PARENT, PQ_DRAIN, &q, sizeof(q), (union done){ .plain = done }, arg);
}

int priv_hook(struct priv *p, const char *peer, bool up, const struct addr *dns, size_t dns_count,
	      void (*done)(int status, void *arg), void *arg)
{
	struct pq_hook q = { .up = up };
	int rc = proc_name_set(q.peer, sizeof(q.peer), peer);

	for (size_t i = 0; i < dns_count && i < PROC_DNS_MAX; i++)
		q.dns[q.dns_count++] = dns[i];
	return rc ? rc
		  : request(p, PROC_PARENT, PQ_HOOK, &q, sizeof(q), (union done){ .plain = done },
			    arg);
}

const uint32_t *priv_marks(const struct priv *p)
{
	return p->mark;
}

int priv_path(struct priv *p, const struct addr *dst, uint32_t mark,
	      void (*done)(int status, const struct pr_path *path, void *arg), void *arg)
{
	struct pq_path q = { .dst = *dst, .mark = mark };

	return request(p, PROC_PARENT, PQ_PATH, &q, sizeof(q), (union done){ .path = done }, arg);
}

int priv_wan(struct priv *p, uint32_t ifindex, const struct addr *src, const struct addr *gateway,
	     void (*done)(int status, const struct pr_wan *w, void *arg), void *arg)
{
	struct pq_wan q = { .ifindex = ifindex, .src = *src, .gateway = *gateway };

	return request(p, PROC_PARENT, PQ_WAN, &q, sizeof(q), (union done){ .wan = done }, arg);
}

int priv_ways(struct priv *p, const struct addr *dst, uint32_t mark,
	      void (*done)(int status, const struct proc_way *way, size_t count, void *arg),
	      void *arg)
{
	struct pq_path q = { .dst = *dst, .mark = mark };

	return request(p, PROC_PARENT, PQ_WAYS, &q, sizeof(q), (union done){ .ways = done }, arg);
}

int priv_hop(struct priv *p, uint32_t index,
	     void (*done)(int status, const struct priv_socket *s, void *arg), void *arg)
{
	struct pq_hop q = { .index = index };

	return request(p, PROC_PARENT, PQ_HOP, &q, sizeof(q), (union done){ .hop = done }, arg);
}

int priv_stream(struct priv *p, const char *peer, const struct endpoint *to, bool tls,
		void (*done)(int status, int fd, void *arg), void *arg)
{
	struct pq_stream q = { .to = to->addr, .port = to->port, .tls = tls };
	int rc = proc_name_set(q.peer, sizeof(q.peer), peer);

	return rc ? rc
		  : request(p, PROC_PARENT, PQ_STREAM, &q, sizeof(q),
			    (union done){ .stream = done }, arg);
}

int priv_reload(struct priv *p, void (*done)(int status, const char *text, void *arg), void *arg)
{
	return request(p, PROC_PARENT, PQ_RELOAD, NULL, 0, (union done){ .reload = done }, arg);
}

/* A fixed head and the octets behind it, as one message. */
static int octets_request(struct priv *p, uint32_t type, const void *head, size_t head_len,
			  const void *octets, size_t len, union done done, void *arg)
{
	uint8_t *buf;
	int rc;

	if (!len || len > PROC_OCTETS_MAX)
		return -EMSGSIZE;
	buf = malloc(head_len + len);
	if (!buf)
		return -ENOMEM;
	memcpy(buf, head, head_len);
	memcpy(buf + head_len, octets, len);
	rc = request(p, PROC_KEYS, type, buf, head_len + len, done, arg);
	free(buf);
	return rc;
}

int priv_sign(struct priv *p, const char *peer, enum sig_scheme scheme, const void *octets,
	      size_t len, void (*done)(int status, const uint8_t *sig, size_t sig_len, void *arg),
	      void *arg)
{
	struct kq_sign q = { .scheme = scheme, .len = (uint32_t)len };
	int rc = proc_name_set(q.peer, sizeof(q.peer), peer);

	return rc ? rc
		  : octets_request(p, KQ_SIGN, &q, sizeof(q), octets, len,
				   (union done){ .octets = done }, arg);
}

int priv_psk_auth(struct priv *p, const char *peer, uint16_t prf, const void *octets, size_t len,
		  void (*done)(int status, const uint8_t *mac, size_t mac_len, void *arg),
		  void *arg)
{
	struct kq_psk q = { .prf = prf, .len = (uint32_t)len };
	int rc = proc_name_set(q.peer, sizeof(q.peer), peer);

	return rc ? rc
		  : octets_request(p, KQ_PSK_AUTH, &q, sizeof(q), octets, len,
				   (union done){ .octets = done }, arg);
}

int priv_public(struct priv *p, const char *peer,
		void (*done)(int status, const uint8_t *spki, size_t len, void *arg), void *arg)
{
	struct kq_public q = { 0 };
	int rc = proc_name_set(q.peer, sizeof(q.peer), peer);

	return rc ? rc
		  : request(p, PROC_KEYS, KQ_PUBLIC, &q, sizeof(q), (union done){ .octets = done },
			    arg);
}

int priv_resolve(struct priv *p, const char *name, uint32_t timeout_ms,
		 void (*done)(int status, const struct addr *addr, size_t count, void *arg),
		 void *arg)
{
	struct rq_lookup q = { .timeout_ms = timeout_ms };
	int rc = proc_name_set(q.name, sizeof(q.name), name);

	return rc ? rc
		  : request(p, PROC_RESOLVER, RQ_LOOKUP, &q, sizeof(q),
			    (union done){ .resolved = done }, arg);
}

void priv_resolve_flush(struct priv *p)
{
	if (p->link[PROC_RESOLVER].ipc)
		(void)ipc_send(p->link[PROC_RESOLVER].ipc, RQ_FLUSH, 0, NULL, 0);
}
