/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_DATAPLANE_PAIR_H
#define TESTS_DATAPLANE_PAIR_H

/* Two data planes in one process, peers of each other: their TUNs are socket pairs, their sockets loopback. */
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dp.h"
#include "esp.h"
#include "loopback.h"
#include "packets.h"

#define PAIR_WORKERS 8

struct end {
	struct dp *dp;
	unsigned workers;
	int tun[PAIR_WORKERS][2]; /* ours, the data plane's */
	int sock[PAIR_WORKERS], hop_sock, ike_sock;
	struct endpoint at, hop, ike;
	uint32_t spi;
};

struct world {
	struct end e[2];
	unsigned workers;
};

static enum dp_io backend;
static unsigned workers_wanted = 1;
static const uint8_t key[2][36] = { { 1, 2, 3 }, { 4, 5, 6 } };

static inline void make_end(struct end *e, unsigned workers)
{
	struct dp_sock socks[PAIR_WORKERS + 2];
	int tuns[PAIR_WORKERS];
	struct dp_config cfg = { .workers = workers,
				 .tun_fds = tuns,
				 .socks = socks,
				 .io = backend,
				 .tun_mtu = 1400,
				 .peers_max = 8 };
	size_t n = 0;

	e->workers = workers;
	for (unsigned i = 0; i < workers; i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, e->tun[i]), 0);
		tuns[i] = e->tun[i][1];
		e->sock[i] = bound(&e->at, 1);
		socks[n++] = (struct dp_sock){ e->sock[i], 0, (uint8_t)i, DP_SOCK_MAIN };
	}
	e->hop_sock = bound(&e->hop, 0);
	socks[n++] = (struct dp_sock){ e->hop_sock, 1, 0, DP_SOCK_HOP };
	e->ike_sock = bound(&e->ike, 0);
	socks[n++] = (struct dp_sock){ e->ike_sock, 2, 0, DP_SOCK_IKE };
	cfg.sock_count = n;
	assert_int_equal(dp_new(&cfg, &e->dp), 0);
	assert_int_equal(dp_start(e->dp), 0);
	assert_int_equal(dp_spi_alloc(e->dp, &e->spi), 0);
}

static inline struct dp_ts any(void)
{
	struct dp_ts t = { .port_to = 65535 };

	addr_parse("10.0.0.0", &t.from);
	addr_parse("10.0.255.255", &t.to);
	return t;
}

static inline struct dp_sa sa_of(struct world *w, int from, const struct dp_ts *t)
{
	return (struct dp_sa){ .peer = 1,
			       .spi = w->e[!from].spi,
			       .generation = 1,
			       .cipher = DP_AES_256_GCM_16,
			       .key = key[from],
			       .key_len = 36,
			       .esn = true,
			       .local = t,
			       .local_count = 1,
			       .remote = t,
			       .remote_count = 1 };
}

static inline int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct dp_ts t = any();

	*state = w;
	w->workers = workers_wanted;
	make_end(&w->e[0], w->workers);
	make_end(&w->e[1], w->workers);
	for (int i = 0; i < 2; i++) {
		struct dp_path path = { .sock = 0, .remote = w->e[!i].at };
		struct dp_sa in = sa_of(w, !i, &t), out = sa_of(w, i, &t);

		assert_int_equal(dp_peer_set(w->e[i].dp, 1, &path, false, 0), 0);
		assert_int_equal(dp_sa_install_in(w->e[i].dp, &in), 0);
		assert_int_equal(dp_sa_install_out(w->e[i].dp, &out), 0);
	}
	return 0;
}

static inline int teardown(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < 2; i++) {
		struct end *e = &w->e[i];

		dp_free(e->dp);
		for (unsigned k = 0; k < e->workers; k++) {
			close(e->tun[k][0]);
			close(e->tun[k][1]);
			close(e->sock[k]);
		}
		close(e->hop_sock);
		close(e->ike_sock);
	}
	free(w);
	return 0;
}

/* From any queue of that end's TUN. */
static inline size_t tun_read(struct world *w, struct end *e, uint8_t *buf, int ms)
{
	struct pollfd p[PAIR_WORKERS];
	unsigned i = 0;

	(void)w;
	for (unsigned k = 0; k < e->workers; k++)
		p[k] = (struct pollfd){ .fd = e->tun[k][0], .events = POLLIN };
	if (poll(p, e->workers, ms) <= 0)
		return 0;
	while (!p[i].revents)
		i++;
	return (size_t)read(p[i].fd, buf, 65536);
}

static const struct made inner = { 4, PKT_UDP, 0x0a000001, 0x0a000002, 7, 8, 1, 0, 1, 0, 0 };

static inline void put_in(struct world *w, int from, const struct made *m, size_t payload)
{
	uint8_t *p = malloc(65536);
	size_t len = make_packet(m, p, payload);
	unsigned queue = (unsigned)(m->sport % w->workers);

	assert_int_equal(write(w->e[from].tun[queue][0], p, len), len);
	free(p);
}

static inline size_t through(struct world *w, int from, const struct made *m, size_t payload, uint8_t *out)
{
	put_in(w, from, m, payload);
	return tun_read(w, &w->e[!from], out, PATIENCE_MS);
}

static inline bool nothing_through(struct world *w, int from, const struct made *m, size_t payload)
{
	uint8_t got[65536];

	put_in(w, from, m, payload);
	return !tun_read(w, &w->e[!from], got, 60);
}

/* One sealed packet from a stranger's socket, with an outer TOS. */
static inline void inject_at(const struct endpoint *at, uint32_t spi, uint64_t seq, uint8_t nh,
		      const uint8_t *text, size_t n, int tos)
{
	struct esp_key k;
	struct sockaddr_storage to;
	socklen_t len = endpoint_to_sockaddr(at, AF_INET, &to);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	uint8_t in[2000], out[2000];

	memcpy(in, text, n);
	assert_int_equal(esp_key_init(&k, DP_AES_256_GCM_16, key[0], spi, true, true), 0);
	assert_int_equal(esp_seal(&k, seq, nh, in, n, out), 0);
	assert_int_equal(setsockopt(fd, IPPROTO_IP, IP_TOS, &tos, sizeof(tos)), 0);
	assert_true(sendto(fd, out, esp_len(&k.shape, n), 0, (struct sockaddr *)&to, len) > 0);
	close(fd);
	esp_key_clear(&k);
}

static inline void inject(struct world *w, uint64_t seq, uint8_t nh, const uint8_t *text, size_t n,
		   int tos)
{
	inject_at(&w->e[1].at, w->e[1].spi, seq, nh, text, n, tos);
}

#endif
