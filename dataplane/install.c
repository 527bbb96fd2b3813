/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Peers and SAs as the control thread sets them, and what it sends itself. */
#include <errno.h>
#include <stdlib.h>

#include "clock.h"
#include "fit.h"
#include "secret.h"
#include "stream.h"
#include "worker.h"

#define SPI_MIN	  256 /* RFC 4303 s2.1: 1..255 are reserved */
#define SPI_TRIES 64

struct spi_node {
	struct rtab_node node;
	struct rcu_node rcu;
};

void install_reap(struct dp *dp)
{
	struct rcu_reader *readers[DP_WORKERS_MAX];

	for (unsigned i = 0; i < dp->workers; i++)
		readers[i] = &dp->worker[i]->rcu;
	rcu_reap(&dp->rcu, readers, dp->workers);
}

static struct peer *get_peer(const struct dp *dp, uint32_t id)
{
	return id < dp->peers_max ? atomic_load_explicit(&dp->peers[id], memory_order_acquire)
				  : NULL;
}

/* A command for that worker about @p, emptied; NULL: no room. */
static struct cmd *inbox_room(struct dp *dp, unsigned worker, const struct peer *p)
{
	struct inbox *in = &dp->worker[worker]->inbox;
	uint32_t tail = atomic_load_explicit(&in->tail, memory_order_relaxed);
	struct cmd *c = &in->cmd[tail % INBOX_CMDS];

	if (tail - atomic_load_explicit(&in->head, memory_order_acquire) >= INBOX_CMDS)
		return NULL;
	memset(c, 0, sizeof(*c));
	c->peer = p->id;
	return c;
}

static void inbox_send(struct dp *dp, unsigned worker)
{
	struct worker *w = dp->worker[worker];
	uint32_t tail = atomic_load_explicit(&w->inbox.tail, memory_order_relaxed);

	atomic_store_explicit(&w->inbox.tail, tail + 1, memory_order_release);
	worker_wake(w);
}

/* ---- peers ---- */

static void ep_free(struct rcu_node *n)
{
	struct ep *ep = (struct ep *)((char *)n - offsetof(struct ep, rcu));

	if (ep->stream)
		stream_drop(ep->stream);
	free(ep);
}

static void peer_free(struct rcu_node *n)
{
	struct peer *p = (struct peer *)((char *)n - offsetof(struct peer, rcu));

	free(p->nets);
	free(p);
}

static int make_ep(const struct dp *dp, const struct dp_path *path, struct ep **out)
{
	struct stream *stream = stream_find(dp, path->sock);
	struct ep *ep;

	if (path->sock >= DP_STREAM_FIRST && !stream)
		return -ENOTCONN;
	if (!stream && (path->sock >= DP_SOCKS_MAX || !dp->group[path->sock].used || !path->remote.port))
		return -EINVAL;
	ep = calloc(1, sizeof(*ep));
	if (!ep)
		return -ENOMEM;
	ep->path = *path;
	if (ep_address(ep, stream ? stream->sock.family : dp->group[path->sock].family)) {
		free(ep);
		return -EINVAL;
	}
	ep->stream = stream;
	if (stream)
		stream_hold(stream);
	*out = ep;
	return 0;
}

int dp_peer_set(struct dp *dp, uint32_t id, const struct dp_path *path, bool limited,
		uint64_t credit_bytes)
{
	struct peer *p = get_peer(dp, id), *fresh = NULL;
	struct ep *ep = NULL, *old;
	int rc;

	if (id >= dp->peers_max)
		return -EINVAL;
	rc = path ? make_ep(dp, path, &ep) : 0;
	if (rc)
		return rc;
	if (!p) {
		fresh = p = calloc(1, sizeof(*p));
		if (!p) {
			if (ep)
				ep_free(&ep->rcu);
			return -ENOMEM;
		}
		p->id = id;
		p->owner = (uint8_t)(id % dp->workers);
	}
	old = atomic_load(&p->ep);
	if (ep) {
		ep->limited = limited;
		ep->credit_bytes = credit_bytes;
		/* Where it was already, what was sent stays charged, and what it was charged to goes with it. */
		if (old && old->path.sock == path->sock && old->limited >= limited &&
		    endpoint_eq(&old->path.remote, &path->remote)) {
			ep->credit_bytes += old->credit_bytes;
			atomic_store(&ep->rx_bytes, atomic_load(&old->rx_bytes));
			atomic_store(&ep->tx_bytes, atomic_load(&old->tx_bytes));
		}
	}
	atomic_store_explicit(&p->ep, ep, memory_order_release);
	if (fresh)
		atomic_store_explicit(&dp->peers[id], p, memory_order_release);
	if (id >= atomic_load(&dp->peers_end))
		atomic_store(&dp->peers_end, id + 1);
	if (old)
		rcu_retire(&dp->rcu, &old->rcu, ep_free);
	install_reap(dp);
	return 0;
}

static void drop_networks(struct dp *dp, struct peer *p)
{
	for (size_t i = 0; i < p->net_count && !p->passive; i++)
		spd_del_trap(&dp->spd, &dp->rcu, p, &p->nets[i]);
	free(p->nets);
	p->nets = NULL;
	p->net_count = 0;
}

static bool is_among(const struct prefix *net, const struct prefix *nets, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (nets[i].len == net->len && prefix_contains(&nets[i], &net->addr))
			return true;
	}
	return false;
}

/* Those of @nets, up to @end, that are not among the others: in @p's name, or no more. */
static int set_traps(struct dp *dp, struct peer *p, const struct prefix *nets, size_t end, const struct prefix *others,
		     size_t count, bool on)
{
	for (size_t i = 0; i < end && !p->passive; i++) {
		if (is_among(&nets[i], others, count))
			continue;
		if (!on) {
			spd_del_trap(&dp->spd, &dp->rcu, p, &nets[i]);
		} else if (spd_add_trap(&dp->spd, &dp->rcu, p, &nets[i])) {
			(void)set_traps(dp, p, nets, i, others, count, false);
			return -ENOMEM;
		}
	}
	return 0;
}

/* What stays is never gone: a packet for it would meanwhile be for a peer whose selectors are wider. */
int dp_peer_networks(struct dp *dp, uint32_t id, const struct prefix *nets, size_t count)
{
	struct peer *p = get_peer(dp, id);
	struct prefix *fresh;
	int rc;

	if (!p || count > DP_NETWORKS_MAX)
		return -EINVAL;
	for (size_t i = 0; i < count; i++) {
		if (!addr_len(&nets[i].addr) || nets[i].len > addr_bits(&nets[i].addr))
			return -EINVAL;
	}
	fresh = count ? malloc(count * sizeof(*nets)) : NULL;
	if (count && !fresh)
		return -ENOMEM;
	rc = set_traps(dp, p, nets, count, p->nets, p->net_count, true);
	if (rc) {
		free(fresh);
	} else {
		(void)set_traps(dp, p, p->nets, p->net_count, nets, count, false);
		free(p->nets);
		if (count)
			memcpy(fresh, nets, count * sizeof(*nets));
		p->nets = fresh;
		p->net_count = count;
	}
	install_reap(dp);
	return rc;
}

int dp_peer_passive(struct dp *dp, uint32_t id, bool on)
{
	struct peer *p = get_peer(dp, id);
	int rc = 0;

	if (!p || p->passive == on)
		return p ? 0 : -ENOENT;
	p->passive = on;
	for (size_t i = 0; i < p->net_count; i++) {
		if (on)
			spd_del_trap(&dp->spd, &dp->rcu, p, &p->nets[i]);
		else if (spd_add_trap(&dp->spd, &dp->rcu, p, &p->nets[i]))
			rc = -ENOMEM;
	}
	for (struct sa_out *sa = p->outs; sa; sa = sa->next) {
		if (on)
			spd_del_sa(&dp->spd, &dp->rcu, sa);
		else if (spd_add_sa(&dp->spd, &dp->rcu, sa))
			rc = -ENOMEM;
	}
	install_reap(dp);
	return rc;
}

void dp_peer_remove(struct dp *dp, uint32_t id)
{
	struct peer *p = get_peer(dp, id);
	struct ep *ep;

	if (!p)
		return;
	while (p->ins)
		dp_sa_remove_in(dp, p->ins->key.spi);
	while (p->outs)
		dp_sa_remove_out(dp, id, p->outs->key.spi);
	drop_networks(dp, p);
	atomic_store_explicit(&dp->peers[id], NULL, memory_order_release);
	ep = atomic_load(&p->ep);
	if (ep)
		rcu_retire(&dp->rcu, &ep->rcu, ep_free);
	rcu_retire(&dp->rcu, &p->rcu, peer_free);
	install_reap(dp);
}

int dp_peer_activity(const struct dp *dp, uint32_t id, struct dp_activity *a)
{
	struct peer *p = get_peer(dp, id);
	struct ep *ep;

	if (!p)
		return -ENOENT;
	ep = atomic_load_explicit(&p->ep, memory_order_acquire);
	a->tx_data_ms = count_get(&p->tx_data_ms);
	a->tx_first_ms = count_get(&p->tx_first_ms);
	a->tx_any_ms = count_get(&p->tx_any_ms);
	a->rx_auth_ms = count_get(&p->rx_auth_ms);
	a->rx_data_ms = count_get(&p->rx_data_ms);
	a->tx_pkts = count_get(&p->tx_pkts);
	a->tx_bytes = count_get(&p->tx_bytes);
	a->rx_pkts = count_get(&p->rx_pkts);
	a->rx_bytes = count_get(&p->rx_bytes);
	a->tx_limited_pkts = count_get(&p->out_limit.held_pkts);
	a->rx_limited_pkts = count_get(&p->in_limit.held_pkts);
	a->rx_path_bytes = ep ? count_get(&ep->rx_bytes) : 0;
	a->tx_path_bytes = ep ? count_get(&ep->tx_bytes) : 0;
	return 0;
}

int dp_peer_set_mtu(struct dp *dp, uint32_t id, uint16_t path_mtu)
{
	struct peer *p = get_peer(dp, id);
	uint16_t was;

	if (!p)
		return -ENOENT;
	was = atomic_exchange(&p->path_mtu, path_mtu);
	for (unsigned i = 0; i < dp->workers && path_mtu && (!was || path_mtu < was); i++) {
		struct cmd *c = inbox_room(dp, i, p);

		/* A full one is no matter: the next packet that does not fit says it too. */
		if (c) {
			c->shrunk = true;
			inbox_send(dp, i);
		}
	}
	return 0;
}

uint16_t dp_peer_inner_mtu(const struct dp *dp, uint32_t id)
{
	const struct peer *p = get_peer(dp, id);
	const struct sa_out *out = p ? atomic_load(&p->out) : NULL;
	uint16_t max = out ? fit_inner(p, atomic_load(&p->ep), &out->key.shape) : UINT16_MAX;

	return max == UINT16_MAX ? 0 : max;
}

int dp_peer_set_rate(struct dp *dp, uint32_t id, uint64_t out_bits_s, uint64_t in_bits_s)
{
	struct peer *p = get_peer(dp, id);

	if (!p)
		return -ENOENT;
	/* An unchanged one goes on from where it is. */
	if (count_get(&p->out_limit.bits_s) != out_bits_s)
		limit_set(&p->out_limit, out_bits_s);
	if (count_get(&p->in_limit.bits_s) != in_bits_s)
		limit_set(&p->in_limit, in_bits_s);
	return 0;
}

/* ---- SPIs ---- */

static struct spi_node *spi_find(const struct dp *dp, uint32_t spi)
{
	struct rtab_it it;

	return (struct spi_node *)rtab_first(&dp->spis, hash_mix(spi), &it);
}

static void spi_free(struct rcu_node *n)
{
	free((struct spi_node *)((char *)n - offsetof(struct spi_node, rcu)));
}

int dp_spi_alloc(struct dp *dp, uint32_t *spi)
{
	struct spi_node *n = calloc(1, sizeof(*n));

	if (!n)
		return -ENOMEM;
	for (int i = 0; i < SPI_TRIES; i++) {
		uint32_t v, be;

		if (secret_random(&v, sizeof(v)))
			break;
		v = (v & ~dp->spi_mask) | dp->next_spi_worker;
		be = htobe32(v);
		if (v < SPI_MIN || spi_find(dp, be))
			continue;
		n->node.h = hash_mix(be);
		if (rtab_add(&dp->spis, &dp->rcu, &n->node))
			break;
		dp->next_spi_worker = (dp->next_spi_worker + 1) % dp->workers;
		*spi = be;
		return 0;
	}
	free(n);
	return -ENOMEM;
}

int dp_spi_reserve(struct dp *dp, uint32_t spi)
{
	struct spi_node *n;

	if (be32toh(spi) < SPI_MIN)
		return -EINVAL;
	if (spi_find(dp, spi))
		return -EEXIST;
	n = calloc(1, sizeof(*n));
	if (!n)
		return -ENOMEM;
	n->node.h = hash_mix(spi);
	if (rtab_add(&dp->spis, &dp->rcu, &n->node)) {
		free(n);
		return -ENOMEM;
	}
	return 0;
}

void dp_spi_release(struct dp *dp, uint32_t spi)
{
	struct spi_node *n = spi_find(dp, spi);

	if (!n)
		return;
	rtab_del(&dp->spis, &n->node);
	rcu_retire(&dp->rcu, &n->rcu, spi_free);
	install_reap(dp);
}

/* ---- SAs ---- */

static void settle_newest_in(struct peer *p)
{
	for (struct sa_in *i = p->ins; i; i = i->next) {
		bool newest = true;

		for (struct sa_in *o = p->ins; o && newest; o = o->next)
			newest =
			    o->line != i->line || (int32_t)(o->generation - i->generation) <= 0;
		atomic_store(&i->newest, newest);
	}
}

static void settle_newest_out(struct peer *p)
{
	struct sa_out *best = NULL;

	for (struct sa_out *o = p->outs; o; o = o->next) {
		if (!best || (int32_t)(o->generation - best->generation) > 0)
			best = o;
	}
	atomic_store_explicit(&p->out, best, memory_order_release);
}

int dp_sa_install_in(struct dp *dp, const struct dp_sa *d)
{
	struct peer *p = get_peer(dp, d->peer);
	struct sa_in *sa;
	int rc;

	if (!p)
		return -EINVAL;
	if (!spi_find(dp, d->spi))
		return -ENOENT;
	if (sad_lookup(&dp->sad, d->spi))
		return -EEXIST;
	rc = sa_in_new(d, p, (uint8_t)worker_for_spi(dp, d->spi), &sa);
	if (rc)
		return rc;
	sa->next = p->ins;
	p->ins = sa;
	settle_newest_in(p);
	rc = rtab_add(&dp->sad, &dp->rcu, &sa->node);
	if (rc) {
		p->ins = sa->next;
		settle_newest_in(p);
		sa_in_free(&sa->rcu);
	}
	install_reap(dp);
	return rc;
}

int dp_sa_install_out(struct dp *dp, const struct dp_sa *d)
{
	struct peer *p = get_peer(dp, d->peer);
	struct sa_out *sa;
	int rc;

	if (!p || !d->spi)
		return -EINVAL;
	for (sa = p->outs; sa; sa = sa->next) {
		if (sa->key.spi == d->spi)
			return -EEXIST;
	}
	rc = sa_out_new(d, p, dp->workers, &sa);
	if (rc)
		return rc;
	rc = p->passive ? 0 : spd_add_sa(&dp->spd, &dp->rcu, sa);
	if (rc) {
		/* Some worker may have seen it for a moment. */
		rcu_retire(&dp->rcu, &sa->rcu, sa_out_free);
		return rc;
	}
	sa->next = p->outs;
	p->outs = sa;
	settle_newest_out(p);
	install_reap(dp);
	return 0;
}

void dp_sa_remove_in(struct dp *dp, uint32_t spi)
{
	struct sa_in *sa = sad_lookup(&dp->sad, spi), **at;

	if (sa) {
		for (at = &sa->peer->ins; *at != sa; at = &(*at)->next)
			;
		*at = sa->next;
		settle_newest_in(sa->peer);
		rtab_del(&dp->sad, &sa->node);
		rcu_retire(&dp->rcu, &sa->rcu, sa_in_free);
	}
	dp_spi_release(dp, spi);
}

void dp_sa_remove_out(struct dp *dp, uint32_t peer, uint32_t spi)
{
	struct peer *p = get_peer(dp, peer);
	struct sa_out *sa, **at;

	for (at = p ? &p->outs : NULL; at && *at && (*at)->key.spi != spi; at = &(*at)->next)
		;
	if (!at || !*at)
		return;
	sa = *at;
	*at = sa->next;
	settle_newest_out(p);
	if (!p->passive)
		spd_del_sa(&dp->spd, &dp->rcu, sa);
	rcu_retire(&dp->rcu, &sa->rcu, sa_out_free);
	install_reap(dp);
}

int dp_sa_counts_in(const struct dp *dp, uint32_t spi, struct dp_sa_counts *c)
{
	const struct sa_in *sa = sad_lookup(&dp->sad, spi);

	if (!sa)
		return -ENOENT;
	memset(c, 0, sizeof(*c));
	c->pkts = count_get(&sa->pkts);
	c->bytes = count_get(&sa->bytes);
	c->seq = count_get(&sa->top);
	c->replays = count_get(&sa->replays);
	c->bad_icv = count_get(&sa->bad_icv);
	c->last_ms = count_get(&sa->last_ms);
	return 0;
}

int dp_sa_counts_out(const struct dp *dp, uint32_t peer, uint32_t spi, struct dp_sa_counts *c)
{
	const struct peer *p = get_peer(dp, peer);
	const struct sa_out *sa = p ? p->outs : NULL;

	while (sa && sa->key.spi != spi)
		sa = sa->next;
	if (!sa)
		return -ENOENT;
	memset(c, 0, sizeof(*c));
	c->pkts = count_get(&sa->pkts);
	c->bytes = count_get(&sa->bytes);
	c->seq = count_get(&sa->seq);
	c->last_ms = count_get(&sa->last_ms);
	return 0;
}

/* ---- sending ---- */

static int send_on(struct dp *dp, const struct dp_path *path, struct iovec *iov, size_t iovs)
{
	_Alignas(8) uint8_t control[96];
	struct sockaddr_storage to;
	struct msghdr msg = { .msg_name = &to, .msg_iov = iov, .msg_iovlen = iovs };
	const struct group *g;

	if (path->sock >= DP_SOCKS_MAX || !dp->group[path->sock].used)
		return -EINVAL;
	g = &dp->group[path->sock];
	msg.msg_namelen = udp_path_sockaddr(path, g->family, &to);
	if (!msg.msg_namelen)
		return -EAFNOSUPPORT;
	msg.msg_controllen = udp_control(control, path, g->family, 0, 0);
	msg.msg_control = msg.msg_controllen ? control : NULL;
	/* The error of an earlier datagram may be told first: twice, then it is ours. */
	for (int i = 0; i < 2; i++) {
		if (sendmsg(g->fd[0], &msg, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
			return 0;
		if (errno == EAGAIN || errno == EMSGSIZE)
			break;
	}
	return -errno;
}

int dp_send_ike(struct dp *dp, const struct dp_path *path, const void *msg, size_t len)
{
	static const uint8_t marker[4]; /* RFC 3948 s2.2 */
	struct iovec iov[2] = { { (void *)(uintptr_t)marker, sizeof(marker) },
				{ (void *)(uintptr_t)msg, len } };
	bool plain;

	if (len > DP_IKE_MAX - sizeof(marker))
		return -EMSGSIZE;
	if (path->sock >= DP_STREAM_FIRST) {
		struct stream *s = stream_find(dp, path->sock);

		return s ? stream_send_ike(s, msg, len) : -ENOTCONN;
	}
	if (path->sock >= DP_SOCKS_MAX)
		return -EINVAL;
	plain = dp->group[path->sock].role == DP_SOCK_IKE;
	return send_on(dp, path, iov + plain, 2 - (size_t)plain);
}

int dp_send_nat_keepalive(struct dp *dp, uint32_t peer)
{
	struct peer *p = get_peer(dp, peer);
	struct ep *ep = p ? atomic_load(&p->ep) : NULL;
	uint8_t ff = 0xff;
	struct iovec iov = { &ff, 1 };
	int rc;

	if (!ep)
		return -ENOENT;
	/* RFC 9329 s7.6: a stream needs none; TCP's own keepalives are on. */
	rc = ep->stream ? 0 : send_on(dp, &ep->path, &iov, 1);
	if (!rc)
		atomic_store(&p->tx_any_ms, clock_boot_ms());
	return rc;
}

int dp_send_dummy(struct dp *dp, uint32_t peer, const struct dp_dummy *d)
{
	struct peer *p = get_peer(dp, peer);
	struct cmd *c;

	if (!p || !atomic_load(&p->out))
		return -ENOENT;
	if (d && (d->token_len > DP_TOKEN_MAX || d->udp_bytes > DUMMY_MAX))
		return -EMSGSIZE;
	if (d && d->via && (d->via->sock >= DP_SOCKS_MAX || !dp->group[d->via->sock].used))
		return -EINVAL;
	c = inbox_room(dp, p->owner, p);
	if (!c)
		return -EAGAIN;
	if (d) {
		c->has_via = d->via != NULL;
		if (d->via)
			c->via = *d->via;
		c->udp_bytes = d->udp_bytes;
		c->token_len = d->token_len;
		memcpy(c->token, d->token, d->token_len);
	}
	inbox_send(dp, p->owner);
	return 0;
}
