/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A generator of small datagrams and its sink: what a benchmark of packets a second needs and iperf3 does not do.
 *
 *	udp_load sink ADDRESS PORT			until SIGTERM or end of input; one JSON line
 *	udp_load send ADDRESS PORT BYTES PPS SECONDS SEGMENTS [SPREAD]
 *
 * send: @PPS datagrams of @BYTES (>= 16) each, in small bursts on a schedule of 100 us; 0: as fast as they are taken.
 * @SEGMENTS: so many of them in one UDP_SEGMENT send; 1: sendmmsg() of single ones. @SPREAD: the sends go to so many
 * addresses in turn, from ADDRESS on. Each datagram carries its number and the time of sending, network order; the
 * sink counts what came, and those that came behind a later one.
 */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <netinet/udp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#define UDP_GRO	    104
#endif

#define BURST	  64
#define TAKEN	  32 /* in one call of the sink */
#define BYTES_MAX 1472
#define SEGS_MAX  44
#define SLOT_NS	  100000
#define SOCKBUF	  (4 << 20)

static volatile sig_atomic_t ended;

static void on_end(int signo)
{
	(void)signo;
	ended = 1;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int fail(const char *what)
{
	fprintf(stderr, "udp_load: %s: %s\n", what, strerror(errno));
	return 1;
}

static socklen_t address(const char *host, const char *port, struct sockaddr_storage *to)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)to;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)to;

	memset(to, 0, sizeof(*to));
	v4->sin_port = htons((uint16_t)atoi(port));
	if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		return sizeof(*v4);
	}
	if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		return sizeof(*v6);
	}
	return 0;
}

/* ---- sink ---- */

struct seen {
	uint64_t pkts, bytes, top, late, first_ns, last_ns;
};

static void take(struct seen *s, const uint8_t *p, size_t len)
{
	uint64_t n;

	if (len < 16)
		return;
	memcpy(&n, p, 8);
	n = be64toh(n);
	s->late += s->pkts && n <= s->top;
	s->top = n > s->top ? n : s->top;
	s->pkts++;
	s->bytes += len;
}

static size_t gro_size(struct msghdr *m, size_t len)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
			int seg;

			memcpy(&seg, CMSG_DATA(c), sizeof(seg));
			return seg > 0 ? (size_t)seg : len;
		}
	}
	return len;
}

struct taker {
	struct mmsghdr msg[TAKEN];
	struct iovec iov[TAKEN];
	_Alignas(8) uint8_t control[TAKEN][64];
	uint8_t buf[TAKEN][65536];
};

/* What has come; nothing has: waits. False: it is over. */
static bool take_all(struct taker *t, int fd, struct seen *s)
{
	struct pollfd p[2] = { { .fd = fd, .events = POLLIN }, { .fd = 0 } };
	int n;

	for (int i = 0; i < TAKEN; i++) {
		t->iov[i] = (struct iovec){ t->buf[i], sizeof(t->buf[i]) };
		t->msg[i].msg_hdr = (struct msghdr){ .msg_iov = &t->iov[i],
						     .msg_iovlen = 1,
						     .msg_control = t->control[i],
						     .msg_controllen = sizeof(t->control[i]) };
	}
	n = recvmmsg(fd, t->msg, TAKEN, MSG_DONTWAIT, NULL);
	if (n <= 0)
		return poll(p, 2, 100) <= 0 || !(p[1].revents & POLLHUP);
	s->last_ns = now_ns();
	s->first_ns = s->first_ns ? s->first_ns : s->last_ns;
	for (int i = 0; i < n; i++) {
		size_t len = t->msg[i].msg_len, seg = gro_size(&t->msg[i].msg_hdr, len);

		for (size_t at = 0; at < len; at += seg)
			take(s, t->buf[i] + at, len - at < seg ? len - at : seg);
	}
	return true;
}

static int sink(int fd)
{
	static struct taker t;
	struct seen s = { 0 };

	while (!ended && take_all(&t, fd, &s))
		;
	printf("{\"packets\": %llu, \"bytes\": %llu, \"late\": %llu, \"seconds\": %.6f}\n",
	       (unsigned long long)s.pkts, (unsigned long long)s.bytes, (unsigned long long)s.late,
	       (double)(s.last_ns - s.first_ns) / 1e9);
	return 0;
}

/* ---- generator ---- */

struct gen {
	int fd;
	size_t bytes;
	unsigned segs;
	unsigned spread, turn; /* addresses, and whose turn it is */
	struct sockaddr_storage first;
	socklen_t first_len;
	uint64_t number, refused;
	struct sockaddr_storage to[BURST];
	struct mmsghdr msg[BURST];
	struct iovec iov[BURST];
	uint8_t (*mem)[SEGS_MAX * BYTES_MAX];
};

static void number(struct gen *g, uint8_t *p, uint64_t at_ns)
{
	uint64_t n = htobe64(++g->number), t = htobe64(at_ns);

	memcpy(p, &n, 8);
	memcpy(p + 8, &t, 8);
}

/* The next of the addresses; the last 32 bits count. */
static void aim(struct gen *g, unsigned n)
{
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&g->to[n];
	uint8_t *low = v6->sin6_family == AF_INET6 ? v6->sin6_addr.s6_addr + 12
						   : (uint8_t *)&((struct sockaddr_in *)v6)->sin_addr;
	uint32_t a;

	g->to[n] = g->first;
	memcpy(&a, low, 4);
	a = htonl(ntohl(a) + g->turn);
	memcpy(low, &a, 4);
	g->turn = (g->turn + 1) % g->spread;
	g->msg[n].msg_hdr.msg_name = &g->to[n];
	g->msg[n].msg_hdr.msg_namelen = g->first_len;
}

/* At most @want datagrams; returns how many were numbered, lost or not. */
static unsigned burst(struct gen *g, unsigned want)
{
	unsigned n = 0, made = 0;
	uint64_t at = now_ns();
	int sent;

	for (; n < BURST && made < want; n++) {
		unsigned k = want - made < g->segs ? want - made : g->segs;

		for (unsigned i = 0; i < k; i++)
			number(g, g->mem[n] + i * g->bytes, at);
		g->iov[n] = (struct iovec){ g->mem[n], k * g->bytes };
		g->msg[n].msg_hdr.msg_iov = &g->iov[n];
		g->msg[n].msg_hdr.msg_iovlen = 1;
		if (g->spread > 1)
			aim(g, n);
		made += k;
	}
	sent = sendmmsg(g->fd, g->msg, n, 0);
	for (unsigned i = sent < 0 ? 0 : (unsigned)sent; i < n; i++)
		g->refused += g->iov[i].iov_len / g->bytes;
	return made;
}

static int generate(struct gen *g, uint64_t pps, double seconds)
{
	uint64_t began = now_ns(), end = began + (uint64_t)(seconds * 1e9), now;
	uint64_t done = 0;

	while (!ended && (now = now_ns()) < end) {
		uint64_t due = pps ? (uint64_t)((double)(now - began) * (double)pps / 1e9) + 1 : done + BURST * g->segs;

		if (due > done) {
			done += burst(g, due - done < 100000 ? (unsigned)(due - done) : 100000);
		} else {
			struct timespec t = { .tv_nsec = SLOT_NS };

			nanosleep(&t, NULL);
		}
	}
	printf("{\"packets\": %llu, \"refused\": %llu, \"seconds\": %.6f}\n", (unsigned long long)g->number,
	       (unsigned long long)g->refused, (double)(now_ns() - began) / 1e9);
	return 0;
}

static int send_main(int fd, char **argv, const struct sockaddr_storage *to, socklen_t len)
{
	static struct gen g;
	int rc;

	g.fd = fd;
	g.bytes = strtoul(argv[0], NULL, 10);
	g.segs = (unsigned)atoi(argv[3]);
	g.spread = argv[4] ? (unsigned)atoi(argv[4]) : 1;
	g.first = *to;
	g.first_len = len;
	/* Each message has an address of its own, or the socket has the only one. */
	if (g.spread <= 1 && connect(fd, (const struct sockaddr *)to, len))
		return fail("connect");
	if (g.bytes < 16 || g.bytes > BYTES_MAX || !g.segs || g.segs > SEGS_MAX) {
		fprintf(stderr, "udp_load: 16 to %d bytes, 1 to %d segments\n", BYTES_MAX, SEGS_MAX);
		return 1;
	}
	if (g.segs > 1) {
		int seg = (int)g.bytes;

		if (setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &seg, sizeof(seg)))
			return fail("UDP_SEGMENT");
	}
	g.mem = calloc(BURST, sizeof(*g.mem));
	if (!g.mem)
		return fail("memory");
	rc = generate(&g, strtoull(argv[1], NULL, 10), atof(argv[2]));
	free(g.mem);
	return rc;
}

int main(int argc, char **argv)
{
	bool send = (argc == 8 || argc == 9) && !strcmp(argv[1], "send");
	struct sockaddr_storage to;
	int fd, on = 1, size = SOCKBUF, rc;
	socklen_t len;

	if (!send && !(argc == 4 && !strcmp(argv[1], "sink"))) {
		fprintf(stderr, "usage: udp_load sink ADDRESS PORT | send ADDRESS PORT BYTES PPS SECONDS SEGMENTS [SPREAD]\n");
		return 2;
	}
	len = address(argv[2], argv[3], &to);
	fd = len ? socket(to.ss_family, SOCK_DGRAM, 0) : -1;
	if (fd < 0)
		return fail(argv[2]);
	/* The sink is not to be what loses: where root of a namespace may not force it, as much as all may have. */
	if (send || setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)))
		(void)setsockopt(fd, SOL_SOCKET, send ? SO_SNDBUF : SO_RCVBUF, &size, sizeof(size));
	signal(SIGTERM, on_end);
	signal(SIGINT, on_end);
	if (!send && bind(fd, (struct sockaddr *)&to, len))
		return fail(argv[2]);
	if (!send)
		(void)setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof(on));
	rc = send ? send_main(fd, argv + 4, &to, len) : sink(fd);
	close(fd);
	return rc;
}
