/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Start, stop, what was found; events and counters: the control thread's side. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <linux/filter.h>
#include <unistd.h>

#include "aead.h"
#include "stream.h"

#define PEERS_DEFAULT 1024
#define EVENT_RING    (256 * 1024)

#ifndef SO_ATTACH_REUSEPORT_CBPF
#define SO_ATTACH_REUSEPORT_CBPF 51
#endif

/*
 * The program sees the UDP payload. An SPI's low bits are its worker; the non-ESP marker (zero),
 * what is shorter than a word, and bits beyond the last worker go to socket 0.
 */
static int steer(int fd, uint32_t mask, unsigned workers)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, mask),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, workers, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_A, 0),
	};
	struct sock_fprog prog = { .len = sizeof(code) / sizeof(code[0]), .filter = code };

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &prog, sizeof(prog)) ? -errno
											 : 0;
}

static int check(const struct dp_config *c)
{
	unsigned workers = c->workers ? c->workers : 1;

	if (workers > DP_WORKERS_MAX || !c->tun_fds || !c->socks || !c->sock_count ||
	    c->sock_count > SOCKS_MAX * DP_WORKERS_MAX || c->tun_mtu < 576 ||
	    c->peers_max > DP_PEERS_MAX || c->crypto > DP_CRYPTO_IPSEC_MB)
		return -EINVAL;
	for (size_t i = 0; i < c->sock_count; i++) {
		if (c->socks[i].fd < 0 || c->socks[i].sock >= DP_SOCKS_MAX ||
		    c->socks[i].worker >= workers || c->socks[i].role > DP_SOCK_HOP)
			return -EINVAL;
	}
	return 0;
}

static int make_groups(struct dp *dp, const struct dp_config *c)
{
	unsigned count[DP_SOCKS_MAX] = { 0 };

	for (int g = 0; g < DP_SOCKS_MAX; g++) {
		for (int i = 0; i < DP_WORKERS_MAX; i++)
			dp->group[g].fd[i] = -1;
	}
	for (size_t i = 0; i < c->sock_count; i++) {
		const struct dp_sock *s = &c->socks[i];
		struct group *g = &dp->group[s->sock];
		int family;
		socklen_t len = sizeof(family);

		if (getsockopt(s->fd, SOL_SOCKET, SO_DOMAIN, &family, &len))
			return -errno;
		if ((family != AF_INET && family != AF_INET6) ||
		    (g->used && (g->role != s->role || g->family != family)) ||
		    g->fd[s->worker] >= 0)
			return -EINVAL;
		g->used = true;
		g->role = s->role;
		g->family = family;
		g->fd[s->worker] = s->fd;
		count[s->sock]++;
	}
	for (int g = 0; g < DP_SOCKS_MAX; g++) {
		int rc;

		if (!dp->group[g].used)
			continue;
		if (dp->group[g].fd[0] < 0 || (count[g] != 1 && count[g] != dp->workers))
			return -EINVAL;
		rc = count[g] > 1 && dp->group[g].role != DP_SOCK_IKE
			 ? steer(dp->group[g].fd[0], dp->spi_mask, dp->workers)
			 : 0;
		if (rc)
			return rc;
	}
	return 0;
}

/* The socket of each group that this worker sends by, whether it also receives on it or not. */
static int give_socks(struct worker *w)
{
	int found = DP_F_UDP_GSO | DP_F_UDP_GRO;

	for (int g = 0; g < DP_SOCKS_MAX; g++) {
		const struct group *grp = &w->dp->group[g];
		struct sock *s = &w->socks[w->sock_count];
		int rc;

		if (!grp->used)
			continue;
		s->mine = grp->fd[w->index] >= 0;
		s->fd = s->mine ? grp->fd[w->index] : grp->fd[0];
		s->group = (uint8_t)g;
		s->role = grp->role;
		s->family = grp->family;
		s->index = (uint8_t)w->sock_count++;
		s->waiting_end = &s->waiting;
		w->tx_sock[g] = s;
		rc = udp_setup(s, w->without);
		if (rc < 0)
			return rc;
		found &= rc;
	}
	return found;
}

static int open_io(struct dp *dp, struct worker *w, enum dp_io io)
{
	int rc;

	w->features = 0;
	w->io = io == DP_IO_URING ? &io_uring_ops : &io_epoll;
	rc = w->io->open(w);
	if (!rc)
		return 0;
	w->io->close(w);
	w->io = NULL;
	if (io == DP_IO_URING)
		snprintf(dp->why_not_uring, sizeof(dp->why_not_uring), "%s", strerror(-rc));
	return rc;
}

/*
 * auto: io_uring. In bulk it carries more for less CPU; with small packets epoll does, and beside bulk it answers a little
 * sooner (bench/results/io-ddc6325.md).
 */
static int make_io(struct dp *dp, const struct dp_config *c)
{
	enum dp_io io = c->io == DP_IO_EPOLL ? DP_IO_EPOLL : DP_IO_URING;
	int rc = 0;

	for (;;) {
		unsigned i;

		for (i = 0; i < dp->workers && !rc; i++)
			rc = open_io(dp, dp->worker[i], io);
		dp->io = io;
		if (!rc || c->io != DP_IO_AUTO || io == DP_IO_EPOLL)
			return rc;
		for (i = 0; i < dp->workers; i++) {
			if (dp->worker[i]->io)
				dp->worker[i]->io->close(dp->worker[i]);
		}
		io = DP_IO_EPOLL;
		rc = 0;
	}
}

static int make_worker(struct dp *dp, const struct dp_config *c, unsigned i)
{
	struct worker *w = worker_new(dp, i);
	int rc;

	if (!w)
		return -ENOMEM;
	dp->worker[i] = w;
	w->tun_fd = c->tun_fds[i];
	w->without = c->without;
	rc = evq_init(&w->evq, c->event_ring_bytes ? c->event_ring_bytes : EVENT_RING);
	if (rc)
		return rc;
	return give_socks(w);
}

/* What all workers have in common: their own backend's features and those of TUN and sockets. */
static void settle_features(struct dp *dp, unsigned common)
{
	if (common & DP_F_VNET_HDR) {
		common |= DP_F_MERGE_TCP;
		if (common & DP_F_USO)
			common |= DP_F_MERGE_UDP;
	}
	common &= ~(dp->worker[0]->without & (DP_F_MERGE_TCP | DP_F_MERGE_UDP));
	for (unsigned i = 0; i < dp->workers; i++) {
		struct worker *w = dp->worker[i];

		w->features |= common;
		w->merge.vnet = common & DP_F_VNET_HDR;
		w->merge.tcp = common & DP_F_MERGE_TCP;
		w->merge.udp = common & DP_F_MERGE_UDP;
	}
	dp->features = dp->worker[0]->features;
}

static int build(struct dp *dp, const struct dp_config *c)
{
	unsigned common = DP_F_UDP_GSO | DP_F_UDP_GRO, tun = 0;
	int rc;

	dp->workers = c->workers ? c->workers : 1;
	while (dp->spi_mask + 1 < dp->workers)
		dp->spi_mask = dp->spi_mask << 1 | 1;
	dp->peers_max = c->peers_max ? c->peers_max : PEERS_DEFAULT;
	atomic_init(&dp->tun_mtu, c->tun_mtu);
	dp->peers = calloc(dp->peers_max, sizeof(*dp->peers));
	if (dp->workers > 1)
		dp->flowq = calloc(1, sizeof(*dp->flowq));
	if (!dp->peers || (dp->workers > 1 && !dp->flowq) || rtab_init(&dp->sad) ||
	    rtab_init(&dp->spis) || spd_init(&dp->spd))
		return -ENOMEM;
	dp->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (dp->event_fd < 0)
		return -errno;
	rc = streams_open(dp);
	if (!rc)
		rc = make_groups(dp, c);
	for (unsigned i = 0; i < dp->workers && !rc; i++) {
		rc = make_worker(dp, c, i);
		if (rc < 0)
			return rc;
		common &= (unsigned)rc;
		rc = 0;
		tun = tun_probe(c->tun_fds[i], c->without);
	}
	if (!rc)
		rc = make_io(dp, c);
	if (!rc)
		settle_features(dp, common | tun);
	return rc;
}

int dp_new(const struct dp_config *cfg, struct dp **out)
{
	struct dp *dp;
	int rc = check(cfg);

	if (!rc)
		rc = aead_choose(cfg->crypto);
	if (rc)
		return rc;
	dp = calloc(1, sizeof(*dp));
	if (!dp)
		return -ENOMEM;
	dp->event_fd = -1;
	dp->stream_epfd = -1;
	rcu_init(&dp->rcu);
	rc = build(dp, cfg);
	if (rc) {
		dp_free(dp);
		return rc;
	}
	*out = dp;
	return 0;
}

int dp_start(struct dp *dp)
{
	int rc = 0;

	for (unsigned i = 0; i < dp->workers && !rc; i++)
		rc = worker_start(dp->worker[i]);
	if (rc)
		dp_stop(dp);
	dp->started = !rc;
	return rc;
}

void dp_stop(struct dp *dp)
{
	for (unsigned i = 0; i < dp->workers; i++) {
		if (dp->worker[i])
			worker_stop(dp->worker[i]);
	}
	dp->started = false;
}

void dp_free(struct dp *dp)
{
	if (!dp)
		return;
	dp_stop(dp);
	for (uint32_t i = 0; dp->peers && i < dp->peers_max; i++)
		dp_peer_remove(dp, i);
	streams_close(dp);
	for (unsigned i = 0; i < dp->workers; i++)
		worker_free(dp->worker[i]);
	if (atomic_load(&dp->spd.tab.arr))
		spd_free(&dp->spd);
	if (atomic_load(&dp->spis.arr)) {
		struct rtab_arr *a = atomic_load(&dp->spis.arr);

		for (size_t i = 0; i <= a->mask; i++) {
			struct rtab_node *n = atomic_load(&a->slot[i]);

			if ((uintptr_t)n > 1)
				free(n);
		}
	}
	rtab_free(&dp->spis);
	rtab_free(&dp->sad);
	if (dp->event_fd >= 0)
		close(dp->event_fd);
	free(dp->flowq);
	free(dp->peers);
	free(dp);
}

void dp_info(const struct dp *dp, struct dp_info *info)
{
	memset(info, 0, sizeof(*info));
	info->io = dp->io;
	info->features = dp->features;
	info->workers = dp->workers;
	info->crypto = aead_backend();
	info->aes_fast = aead_prefers_aes();
	memcpy(info->why_not_uring, dp->why_not_uring, sizeof(info->why_not_uring));
}

void dp_set_tun_mtu(struct dp *dp, uint16_t mtu)
{
	atomic_store(&dp->tun_mtu, mtu);
}

int dp_event_fd(const struct dp *dp)
{
	return dp->event_fd;
}

bool dp_event_next(struct dp *dp, struct dp_event *ev)
{
	for (int look = 0; look < 2; look++) {
		uint64_t v;
		ssize_t n;

		for (unsigned i = 0; i < dp->workers; i++) {
			struct worker *w = dp->worker[(dp->next_ring + i) % dp->workers];

			if (evq_pop(&w->evq, ev)) {
				dp->next_ring = w->index + 1;
				return true;
			}
		}
		if (evq_pop(&dp->stream_evq, ev))
			return true;
		/* Empty: reset the bell, then look once more for what came in between. */
		if (look)
			break;
		n = read(dp->event_fd, &v, sizeof(v));
		(void)n;
		atomic_exchange_explicit(&dp->event_told, false, memory_order_seq_cst);
	}
	install_reap(dp); /* what was removed while workers were busy, keys among it */
	return false;
}

void dp_stats(const struct dp *dp, struct dp_stats *s)
{
	memset(s, 0, sizeof(*s));
	for (unsigned i = 0; i < dp->workers; i++)
		stats_sum(&dp->worker[i]->stats, s);
	stats_sum(&dp->stats, s);
}
