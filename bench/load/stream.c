/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Forged requests by a raw socket, and a paced stream of numbered datagrams. */
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "load.h"
#include "proposal.h"

#define BATCH 64

static void sleep_until(uint64_t ns)
{
	struct timespec t = { (time_t)(ns / 1000000000u), (long)(ns % 1000000000u) };

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

static uint16_t ip_sum(const void *p, size_t len)
{
	const uint8_t *b = p;
	uint32_t s = 0;

	for (size_t i = 0; i + 1 < len; i += 2)
		s += (uint32_t)b[i] << 8 | b[i + 1];
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return htons((uint16_t)~s);
}

struct forged {
	struct iphdr ip;
	struct udphdr udp;
	uint8_t ike[1400];
};

static size_t forge(struct forged *f, const struct load_args *a)
{
	static struct proposals offer;
	size_t mark = a->server.port == 500 ? 0 : 4, len;

	memset(f, 0, sizeof(*f));
	proposals_default_ike(&offer, true);
	len = mark + load_init(f->ike + mark, sizeof(f->ike) - mark, &offer);
	f->udp.dest = htons(a->server.port);
	f->udp.len = htons((uint16_t)(sizeof(f->udp) + len)); /* checksum 0: none */
	f->ip.version = 4;
	f->ip.ihl = 5;
	f->ip.ttl = 64;
	f->ip.protocol = IPPROTO_UDP;
	memcpy(&f->ip.daddr, a->server.addr.b, 4);
	f->ip.tot_len = htons((uint16_t)(sizeof(f->ip) + sizeof(f->udp) + len));
	return sizeof(f->ip) + sizeof(f->udp) + len;
}

/* Another address of the prefix, another port, another SPI. */
static void vary(struct forged *f, const struct load_args *a, uint64_t *seed)
{
	uint32_t host = 0, mask = a->from.len < 32 ? 0xffffffffu >> a->from.len : 0;
	size_t mark = a->server.port == 500 ? 0 : 4;

	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	memcpy(&host, a->from.addr.b, 4);
	f->ip.saddr = htonl(ntohl(host) | ((uint32_t)(*seed >> 33) & mask));
	f->udp.source = htons((uint16_t)(1024 + (*seed >> 20) % 60000));
	memcpy(f->ike + mark, seed, 8);
	f->ip.check = 0;
	f->ip.check = ip_sum(&f->ip, sizeof(f->ip));
}

int load_forge(const struct load_args *a)
{
	static struct forged f[BATCH];
	struct sockaddr_in to = { .sin_family = AF_INET };
	struct mmsghdr m[BATCH] = { 0 };
	struct iovec iov[BATCH];
	uint64_t start, seed = 88172645463325252u, sent = 0, total;
	int fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW), big = 4 << 20;

	if (fd < 0 || a->server.addr.family != AF_INET) {
		perror("forge: raw socket, IPv4");
		return 1;
	}
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &big, sizeof(big));
	memcpy(&to.sin_addr, a->server.addr.b, 4);
	for (int i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){ &f[i], forge(&f[i], a) };
		m[i].msg_hdr = (struct msghdr){ .msg_name = &to,
						.msg_namelen = sizeof(to),
						.msg_iov = &iov[i],
						.msg_iovlen = 1 };
	}
	total = (uint64_t)(a->seconds * a->rate);
	start = load_ns();
	for (uint64_t due = 0; due < total; due += BATCH) {
		int n;

		for (int i = 0; i < BATCH; i++)
			vary(&f[i], a, &seed);
		sleep_until(start + due * 1000000000u / a->rate);
		n = sendmmsg(fd, m, BATCH, 0);
		sent += n > 0 ? (uint64_t)n : 0;
	}
	printf("{\"what\": \"forge\", \"sent\": %llu, \"rate\": %.0f}\n", (unsigned long long)sent,
	       (double)sent * 1e9 / (double)(load_ns() - start));
	close(fd);
	return 0;
}

/* ---- numbered datagrams ---- */

static int udp_socket(const struct endpoint *ep, bool bound)
{
	struct sockaddr_storage ss;
	socklen_t len = endpoint_to_sockaddr(ep, AF_INET, &ss);
	int fd = socket(AF_INET, SOCK_DGRAM, 0), big = 4 << 20;

	if (fd < 0 || !len)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof(big));
	if ((bound ? bind : connect)(fd, (struct sockaddr *)&ss, len)) {
		perror("stream");
		close(fd);
		return -1;
	}
	return fd;
}

int load_stream_send(const struct load_args *a)
{
	uint8_t buf[1400] = { 0 };
	uint64_t start = load_ns(), n, total = (uint64_t)(a->seconds * a->rate), failed = 0;
	int fd = udp_socket(&a->server, false);

	if (fd < 0)
		return 1;
	for (n = 0; n < total; n++) {
		sleep_until(start + n * 1000000000u / a->rate);
		memcpy(buf, &n, 8);
		failed += send(fd, buf, a->bytes, 0) < 0;
	}
	printf("{\"what\": \"stream-send\", \"sent\": %llu, \"failed\": %llu}\n",
	       (unsigned long long)n, (unsigned long long)failed);
	close(fd);
	return 0;
}

int load_stream_receive(const struct load_args *a)
{
	uint64_t end = load_ns() + (uint64_t)(a->seconds * 1e9), got = 0, top = 0, seq;
	struct timeval patience = { .tv_usec = 100000 };
	int fd = udp_socket(&a->server, true);
	uint8_t buf[1500];

	if (fd < 0)
		return 1;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	while (load_ns() < end) {
		if (recv(fd, buf, sizeof(buf), 0) < 8)
			continue;
		memcpy(&seq, buf, 8);
		got++;
		top = seq + 1 > top ? seq + 1 : top;
	}
	printf("{\"what\": \"stream-receive\", \"got\": %llu, \"highest\": %llu}\n",
	       (unsigned long long)got, (unsigned long long)top);
	close(fd);
	return 0;
}
