/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A tunnel end without IKE, for tests and benchmarks of the data plane: keys, SPIs and the peer come
 * from the command line. Prints one line when it is up, counters on SIGUSR1 and
 * SIGTERM, with a line "counters told" behind them.
 *
 *	dp_static --tun t0 --bind 192.0.2.1:4500 --peer 192.0.2.2:4500 --spi-in 1000 --spi-out 2000
 *		  [--io io_uring|epoll|auto] [--without tso,uso,...] [--workers N] [--cipher N]
 *		  [--no-esn] [--no-vnet] [--no-follow] [--mtu N] [--dummy-ms N]
 *		  [--peers N --inner 10.100.0.1 [--crowd]]
 *
 * With --peers there are so many of them at the one tuple, each with SPIs and an inner address of its own, which
 * count up; --crowd: it is they who are here, and the first of them alone sends.
 *
 * The key of an SA is made of its SPI, so both ends agree. It opens the TUN itself, as a parent
 * process would. An authentic packet from another tuple moves the peer (--no-follow: it does not).
 */
#include <errno.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "dp.h"

struct options {
	const char *tun;
	struct endpoint bind, peer;
	uint32_t spi_in, spi_out;
	enum dp_io io;
	unsigned without, workers;
	enum dp_cipher cipher;
	int no_esn, no_vnet, no_follow;
	unsigned mtu, dummy_ms, peers;
	struct addr inner;
	bool crowd;
};

static void die_errno(const char *what, int rc)
{
	fprintf(stderr, "%s: %s\n", what, strerror(rc < 0 ? -rc : errno));
	exit(1);
}

static int open_tun(const struct options *o)
{
	struct ifreq ifr = { 0 };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		die_errno("/dev/net/tun", -1);
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", o->tun);
	ifr.ifr_flags =
	    (short)(IFF_TUN | IFF_NO_PI | IFF_MULTI_QUEUE | (o->no_vnet ? 0 : IFF_VNET_HDR));
	if (ioctl(fd, TUNSETIFF, &ifr))
		die_errno("TUNSETIFF", -1);
	return fd;
}

static int open_sock(const struct options *o)
{
	struct sockaddr_storage ss;
	int family = o->bind.addr.family, one = 1;
	socklen_t len = endpoint_to_sockaddr(&o->bind, family, &ss);
	int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) ||
	    bind(fd, (struct sockaddr *)&ss, len))
		die_errno("socket", -1);
	return fd;
}

static unsigned words(char *list)
{
	unsigned mask = 0;

	for (char *w = strtok(list, ","); w; w = strtok(NULL, ",")) {
		unsigned bit = 0;

		while (bit < DP_F_COUNT && strcmp(w, dp_feature_word(1u << bit)))
			bit++;
		if (bit == DP_F_COUNT) {
			fprintf(stderr, "no such feature: %s\n", w);
			exit(2);
		}
		mask |= 1u << bit;
	}
	return mask;
}

static void parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = { { "tun", 1, NULL, 't' },
					       { "bind", 1, NULL, 'b' },
					       { "peer", 1, NULL, 'p' },
					       { "spi-in", 1, NULL, 'i' },
					       { "spi-out", 1, NULL, 'o' },
					       { "io", 1, NULL, 'I' },
					       { "without", 1, NULL, 'w' },
					       { "workers", 1, NULL, 'n' },
					       { "cipher", 1, NULL, 'c' },
					       { "no-esn", 0, NULL, 'E' },
					       { "no-vnet", 0, NULL, 'V' },
					       { "no-follow", 0, NULL, 'F' },
					       { "mtu", 1, NULL, 'm' },
					       { "dummy-ms", 1, NULL, 'd' },
					       { "peers", 1, NULL, 'P' },
					       { "inner", 1, NULL, 'a' },
					       { "crowd", 0, NULL, 'C' },
					       { 0 } };
	int c, bad = 0;

	*o = (struct options){ .tun = "t0", .workers = 1, .mtu = 1400, .peers = 1 };
	while ((c = getopt_long(argc, argv, "", longs, NULL)) >= 0) {
		switch (c) {
		case 't':
			o->tun = optarg;
			break;
		case 'b':
			bad |= endpoint_parse(optarg, 4500, &o->bind);
			break;
		case 'p':
			bad |= endpoint_parse(optarg, 4500, &o->peer);
			break;
		case 'i':
			o->spi_in = (uint32_t)strtoul(optarg, NULL, 0);
			break;
		case 'o':
			o->spi_out = (uint32_t)strtoul(optarg, NULL, 0);
			break;
		case 'I':
			o->io = !strcmp(optarg, "epoll")      ? DP_IO_EPOLL
				: !strcmp(optarg, "io_uring") ? DP_IO_URING
							      : DP_IO_AUTO;
			break;
		case 'w':
			o->without = words(optarg);
			break;
		case 'n':
			o->workers = (unsigned)atoi(optarg);
			break;
		case 'c':
			o->cipher = (enum dp_cipher)atoi(optarg);
			break;
		case 'E':
			o->no_esn = 1;
			break;
		case 'V':
			o->no_vnet = 1;
			break;
		case 'F':
			o->no_follow = 1;
			break;
		case 'm':
			o->mtu = (unsigned)atoi(optarg);
			break;
		case 'd':
			o->dummy_ms = (unsigned)atoi(optarg);
			break;
		case 'P':
			o->peers = (unsigned)atoi(optarg);
			break;
		case 'a':
			bad |= addr_parse(optarg, &o->inner);
			break;
		case 'C':
			o->crowd = true;
			break;
		default:
			bad = 1;
		}
	}
	bad |= o->peers < 1 || o->peers > DP_PEERS_MAX || (o->peers > 1 && o->inner.family != AF_INET);
	if (bad || o->workers < 1 || o->workers > DP_WORKERS_MAX || !o->bind.addr.family)
		exit(2);
}

static void make_key(uint32_t spi, uint8_t key[DP_CIPHER_KEY_LEN_MAX])
{
	for (int i = 0; i < DP_CIPHER_KEY_LEN_MAX; i++)
		key[i] = (uint8_t)(spi * 2654435761u >> (i % 4 * 8)) ^ (uint8_t)i;
}

/* Of the @n-th, alone. */
static struct dp_ts inner_ts(const struct options *o, unsigned n)
{
	struct dp_ts ts = { .from = o->inner, .port_to = 65535 };
	uint32_t a;

	memcpy(&a, o->inner.b, 4);
	a = htonl(ntohl(a) + n);
	memcpy(ts.from.b, &a, 4);
	ts.to = ts.from;
	return ts;
}

static void install(struct dp *dp, const struct options *o, unsigned n)
{
	static const struct dp_ts any[2] = {
		{ .from = { AF_INET, { 0 } },
		  .to = { AF_INET, { 255, 255, 255, 255 } },
		  .port_to = 65535 },
		{ .from = { AF_INET6, { 0 } },
		  .to = { AF_INET6,
			  { 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
			    255, 255 } },
		  .port_to = 65535 },
	};
	struct dp_ts one = inner_ts(o, n);
	bool only = o->inner.family;
	uint8_t key[DP_CIPHER_KEY_LEN_MAX];
	struct dp_sa sa = { .peer = n,
			    .generation = 1,
			    .cipher = o->cipher,
			    .key = key,
			    .key_len = dp_cipher_key_len(o->cipher),
			    .esn = !o->no_esn,
			    .local = only && o->crowd ? &one : any,
			    .local_count = only ? 1 : 2,
			    .remote = only && !o->crowd ? &one : any,
			    .remote_count = only ? 1 : 2 };
	struct dp_path path = { .remote = o->peer };
	int rc = dp_peer_set(dp, n, o->peer.addr.family ? &path : NULL, false, 0);

	if (rc)
		die_errno("dp_peer_set", rc);
	sa.spi = htonl(o->spi_in + n);
	make_key(o->spi_in + n, key);
	rc = dp_spi_reserve(dp, sa.spi);
	if (!rc)
		rc = dp_sa_install_in(dp, &sa);
	sa.spi = htonl(o->spi_out + n);
	make_key(o->spi_out + n, key);
	if (!rc && (!o->crowd || !n))
		rc = dp_sa_install_out(dp, &sa);
	if (rc)
		die_errno("install", rc);
}

static void events(struct dp *dp, const struct options *o)
{
	struct dp_event ev;
	char from[ENDPOINT_STR_MAX];

	while (dp_event_next(dp, &ev)) {
		printf("event kind=%d peer=%u from=%s bytes=%u len=%zu dummy=%d errno=%u\n",
		       ev.kind, ev.peer, endpoint_str(&ev.path.remote, from), ev.bytes, ev.len,
		       ev.dummy, ev.icmp_errno);
		if (ev.kind == DP_EV_ENDPOINT && !o->no_follow)
			(void)dp_peer_set(dp, ev.peer, &ev.path, false, 0);
		/* An IKE datagram is answered by itself: the tests look for it. */
		if (ev.kind == DP_EV_IKE)
			(void)dp_send_ike(dp, &ev.path, ev.data, ev.len);
	}
	fflush(stdout);
}

static void print_stats(const struct dp *dp)
{
	struct dp_stats s;

	dp_stats(dp, &s);
	for (int i = 0; i < DP_VERDICT_COUNT; i++) {
		if (s.n[i])
			printf("%s=%llu\n", dp_verdict_word((enum dp_verdict)i),
			       (unsigned long long)s.n[i]);
	}
	printf("counters told\n");
	fflush(stdout);
}

int main(int argc, char **argv)
{
	int tuns[DP_WORKERS_MAX], rc;
	struct dp_sock socks[DP_WORKERS_MAX];
	struct dp_config cfg = { .tun_fds = tuns, .socks = socks };
	struct options o;
	struct dp_info info;
	struct dp *dp;
	sigset_t mask;
	struct pollfd p[2];

	parse(argc, argv, &o);
	for (unsigned i = 0; i < o.workers; i++) {
		tuns[i] = open_tun(&o);
		socks[i] = (struct dp_sock){ .fd = open_sock(&o), .worker = (uint8_t)i };
	}
	cfg.workers = o.workers;
	cfg.sock_count = o.workers;
	cfg.io = o.io;
	cfg.without = o.without;
	cfg.tun_mtu = (uint16_t)o.mtu;
	cfg.peers_max = o.peers;
	rc = dp_new(&cfg, &dp);
	if (rc)
		die_errno("dp_new", rc);
	rc = dp_start(dp);
	if (rc)
		die_errno("dp_start", rc);
	for (unsigned n = 0; n < o.peers; n++)
		install(dp, &o, n);
	dp_info(dp, &info);
	printf("up io=%s workers=%u crypto=\"%s\" features=",
	       info.io == DP_IO_URING ? "io_uring" : "epoll", info.workers, info.crypto);
	for (unsigned b = 0; b < DP_F_COUNT; b++) {
		if (info.features & 1u << b)
			printf("%s,", dp_feature_word(1u << b));
	}
	printf("\n");
	fflush(stdout);
	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGUSR1);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	p[0] = (struct pollfd){ .fd = signalfd(-1, &mask, 0), .events = POLLIN };
	p[1] = (struct pollfd){ .fd = dp_event_fd(dp), .events = POLLIN };
	for (;;) {
		struct signalfd_siginfo si;

		rc = poll(p, 2, o.dummy_ms ? (int)o.dummy_ms : -1);
		if (rc == 0)
			(void)dp_send_dummy(dp, 0, NULL);
		events(dp, &o);
		if (!(p[0].revents & POLLIN) || read(p[0].fd, &si, sizeof(si)) != sizeof(si))
			continue;
		print_stats(dp);
		if (si.ssi_signo == SIGTERM)
			break;
	}
	dp_free(dp);
	for (unsigned i = 0; i < o.workers; i++) {
		close(tuns[i]);
		close(socks[i].fd);
	}
	close(p[0].fd);
	return 0;
}
