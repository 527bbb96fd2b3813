/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A generator of small datagrams and its sink: what a benchmark of packets a second needs and iperf3 does not do.
 *
 *	udp_load sink ADDRESS PORT			until SIGTERM or end of input; one JSON line
 *	udp_load send ADDRESS PORT BYTES PPS SECONDS SEGMENTS
 *
 * send: @PPS datagrams of @BYTES (>= 16) each, in small bursts on a schedule of 100 us; 0: as fast as they are taken.
 * @SEGMENTS: so many of them in one UDP_SEGMENT send; 1: sendmmsg() of single ones. Each carries its number and the
 * time of sending, network order; the sink counts what came, and those that came behind a later one.
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

static int sink(int fd)
{
	static uint8_t buf[65536];
	struct pollfd p[2] = { { .fd = fd, .events = POLLIN }, { .fd = 0 } };
	struct seen s = { 0 };

	while (!ended) {
		_Alignas(8) uint8_t control[64];
		struct iovec iov = { buf, sizeof(buf) };
		struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
		ssize_t n = recvmsg(fd, &m, MSG_DONTWAIT);
		size_t seg;

		if (n < 0) {
			if (poll(p, 2, 100) > 0 && (p[1].revents & POLLHUP))
				break;
			continue;
		}
		s.last_ns = now_ns();
		if (!s.first_ns)
			s.first_ns = s.last_ns;
		seg = gro_size(&m, (size_t)n);
		for (size_t at = 0; at < (size_t)n; at += seg)
			take(&s, buf + at, (size_t)n - at < seg ? (size_t)n - at : seg);
	}
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
	uint64_t number, refused;
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

static int send_main(int fd, char **argv)
{
	struct gen g = { .fd = fd, .bytes = strtoul(argv[0], NULL, 10), .segs = (unsigned)atoi(argv[3]) };
	int rc;

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
	bool send = argc == 8 && !strcmp(argv[1], "send");
	struct sockaddr_storage to;
	int fd, on = 1, size = SOCKBUF, rc;
	socklen_t len;

	if (!send && !(argc == 4 && !strcmp(argv[1], "sink"))) {
		fprintf(stderr, "usage: udp_load sink ADDRESS PORT | send ADDRESS PORT BYTES PPS SECONDS SEGMENTS\n");
		return 2;
	}
	len = address(argv[2], argv[3], &to);
	fd = len ? socket(to.ss_family, SOCK_DGRAM, 0) : -1;
	if (fd < 0)
		return fail(argv[2]);
	(void)setsockopt(fd, SOL_SOCKET, send ? SO_SNDBUF : SO_RCVBUFFORCE, &size, sizeof(size));
	signal(SIGTERM, on_end);
	signal(SIGINT, on_end);
	if (send ? connect(fd, (struct sockaddr *)&to, len) : bind(fd, (struct sockaddr *)&to, len))
		return fail(argv[2]);
	if (!send)
		(void)setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof(on));
	rc = send ? send_main(fd, argv + 4) : sink(fd);
	close(fd);
	return rc;
}
