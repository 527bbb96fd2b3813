/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: thousands of homes of one engine, each behind a UDP socket of its own as behind a carrier's NAT, call a
 * real posternd. Once up they do what a Postern does when idle (design.md section 4): every 15 s by
 * turns an authenticated ESP dummy and an IKE liveness request, and a new call when four transmissions got
 * no answer. All calls within one process and one thread; each second one line of JSON.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "load.h"

#define KEEPALIVE_MS 15000
#define LOST_TRIES   4

struct crowd {
	struct party *p;
	const struct load_args *a;
	int epfd, *fd;
	uint64_t now_ms, begun_ms, all_up_ms;
	uint32_t called, under_way;
	uint64_t last_up;
};

static uint64_t now_ms(void)
{
	return load_ns() / 1000000;
}

static void on_send(void *arg, struct party *p, const struct engine_path *path,
		    const uint8_t *bytes, size_t len)
{
	struct crowd *c = arg;
	uint8_t buf[2048] = { 0 }; /* non-ESP marker */

	(void)p;
	if (len + 4 > sizeof(buf))
		return;
	memcpy(buf + 4, bytes, len);
	/* A full socket loses it, as a line does. */
	if (send(c->fd[path->sock], buf, len + 4, MSG_DONTWAIT) < 0 && errno != EAGAIN &&
	    errno != ECONNREFUSED)
		perror("send");
}

/* RFC 4303 s2.6, RFC 4106: SPI, number, IV, {pad 1, 2, length 2, next header 59}, ICV; combined modes. */
static void dummy(struct crowd *c, uint32_t i)
{
	struct party_home *h = &c->p->home[i];
	size_t key = h->suite.encr == ENCR_CHACHA20_POLY1305 ? 32 : h->suite.encr_bits / 8u;
	const EVP_CIPHER *cipher = h->suite.encr == ENCR_CHACHA20_POLY1305 ? EVP_chacha20_poly1305()
				   : key == 16				   ? EVP_aes_128_gcm()
									   : EVP_aes_256_gcm();
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	static const uint8_t text[4] = { 1, 2, 2, 59 };
	uint8_t out[8 + 8 + 4 + 16], aad[12], nonce[12];
	struct wr w = wr_init(out, sizeof(out)), x = wr_init(aad, sizeof(aad));
	int n;

	if (!h->spi_out || !ctx) {
		EVP_CIPHER_CTX_free(ctx);
		return;
	}
	h->seq++;
	wr_be32(&w, h->spi_out);
	wr_be32(&w, (uint32_t)h->seq);
	wr_be64(&w, h->seq);
	wr_be32(&x, h->spi_out);
	if (h->suite.esn)
		wr_be32(&x, (uint32_t)(h->seq >> 32));
	wr_be32(&x, (uint32_t)h->seq);
	memcpy(nonce, h->key + key, 4);
	memcpy(nonce + 4, out + 8, 8);
	EVP_EncryptInit_ex(ctx, cipher, NULL, h->key, nonce);
	EVP_EncryptUpdate(ctx, NULL, &n, aad, (int)x.len);
	EVP_EncryptUpdate(ctx, out + 16, &n, text, sizeof(text));
	EVP_EncryptFinal_ex(ctx, out + 20, &n);
	EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, out + 20);
	EVP_CIPHER_CTX_free(ctx);
	if (send(c->fd[i], out, sizeof(out), MSG_DONTWAIT) < 0 && errno != EAGAIN)
		return;
}

static struct engine_path path_of(const struct crowd *c, uint32_t i)
{
	struct engine_path p = { .sock = i, .remote = c->a->server };
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	if (!getsockname(c->fd[i], (struct sockaddr *)&ss, &len))
		endpoint_from_sockaddr(&p.local, (struct sockaddr *)&ss);
	return p;
}

static int open_home(struct crowd *c, uint32_t i)
{
	const struct endpoint here = { .addr = c->a->from.addr };
	struct epoll_event ev = { .events = EPOLLIN, .data.u32 = i };
	struct sockaddr_storage from, to;
	socklen_t from_len = endpoint_to_sockaddr(&here, AF_INET, &from);
	socklen_t to_len = endpoint_to_sockaddr(&c->a->server, AF_INET, &to);

	c->fd[i] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	if (c->fd[i] < 0 || bind(c->fd[i], (struct sockaddr *)&from, from_len) ||
	    connect(c->fd[i], (struct sockaddr *)&to, to_len) ||
	    epoll_ctl(c->epfd, EPOLL_CTL_ADD, c->fd[i], &ev)) {
		fprintf(stderr, "home %u: %s\n", i, strerror(errno));
		return -1;
	}
	return 0;
}

static void call(struct crowd *c, uint32_t i)
{
	struct engine_path p = path_of(c, i);

	if (party_call(c->p, c->now_ms, i, &p))
		fprintf(stderr, "home %u cannot call\n", i);
}

/* What an idle home does; which ones are due goes round within KEEPALIVE_MS. */
static void keep(struct crowd *c, uint32_t i, bool dummy_turn)
{
	struct party_home *h = &c->p->home[i];
	struct fx_list fx = { 0 };

	if (!h->ike || h->tries >= LOST_TRIES) {
		if (c->now_ms - h->call_ms < 4000)
			return;
		h->tries = 0;
		call(c, i);
	} else if (dummy_turn) {
		dummy(c, i);
	} else {
		engine_liveness(c->p->e, c->now_ms, h->ike, &fx);
		party_apply(c->p, c->now_ms, &fx);
	}
}

static void keep_all(struct crowd *c, uint64_t from_ms, uint64_t to_ms)
{
	uint32_t n = c->a->homes;

	for (uint64_t t = from_ms; t < to_ms; t++) {
		uint64_t phase = t % KEEPALIVE_MS, turn = t / KEEPALIVE_MS;

		for (uint64_t i = phase * n / KEEPALIVE_MS; i < (phase + 1) * n / KEEPALIVE_MS; i++)
			if (i < c->called)
				keep(c, (uint32_t)i, turn % 2);
	}
	/* Who waits for an answer in vain calls sooner than at his next turn. */
	if (to_ms / 500 != from_ms / 500)
		for (uint32_t i = 0; i < c->called; i++)
			if (c->p->home[i].tries >= LOST_TRIES)
				keep(c, i, false);
}

static void receive(struct crowd *c, uint32_t i)
{
	struct engine_path p = { .sock = i, .remote = c->a->server };
	uint8_t buf[4096];
	ssize_t n;

	p.local = c->p->home[i].path.local;
	while ((n = recv(c->fd[i], buf, sizeof(buf), 0)) > 0)
		if (n > 4 && !buf[0] && !buf[1] && !buf[2] && !buf[3])
			party_datagram(c->p, c->now_ms, &p, buf + 4, (size_t)n - 4);
}

static void report(const struct crowd *c)
{
	printf("{\"t\": %.2f, \"up\": %u, \"ups\": %llu, \"downs\": %llu, \"failed\": %llu}\n",
	       (double)(c->now_ms - c->begun_ms) / 1e3, c->p->up, (unsigned long long)c->p->ups,
	       (unsigned long long)c->p->downs, (unsigned long long)c->p->failed);
}

static void run(struct crowd *c)
{
	uint64_t end = 0, told = now_ms(), kept = told;
	struct epoll_event ev[256];

	c->begun_ms = told;
	while (!end || c->now_ms < end) {
		int n = epoll_wait(c->epfd, ev, 256, 1);

		c->now_ms = now_ms();
		for (int i = 0; i < n; i++)
			receive(c, ev[i].data.u32);
		party_timer(c->p, c->now_ms);
		while (c->called < c->a->homes && c->called - c->p->ups < c->a->parallel)
			call(c, c->called++);
		if (!c->all_up_ms && c->p->up == c->a->homes) {
			c->all_up_ms = c->now_ms;
			end = c->now_ms + (uint64_t)(c->a->seconds * 1e3);
			printf("{\"what\": \"all-up\", \"homes\": %u, \"seconds\": %.3f}\n",
			       c->p->up, (double)(c->now_ms - c->begun_ms) / 1e3);
		}
		if (c->all_up_ms)
			keep_all(c, kept, c->now_ms);
		kept = c->now_ms;
		if (c->now_ms - told >= 1000) {
			report(c);
			told += 1000;
		}
		if (!c->all_up_ms && c->now_ms - c->begun_ms > 300000)
			break;
	}
	report(c);
}

int load_homes(const struct load_args *a)
{
	struct party_config pc = { .style = a->style,
				   .homes = a->homes,
				   .keys = a->keys,
				   .send = on_send,
				   .half_open_cookie_from = 1u << 30,
				   .half_open_max = 1u << 30,
				   .half_open_per_prefix = 1u << 15 };
	struct rlimit many = { a->homes + 64, a->homes + 64 };
	struct crowd c = { .a = a, .epfd = epoll_create1(0) };

	if (setrlimit(RLIMIT_NOFILE, &many))
		perror("RLIMIT_NOFILE");
	pc.arg = &c;
	c.p = party_new(&pc);
	c.fd = calloc(a->homes, sizeof(*c.fd));
	if (!c.p || !c.fd || c.epfd < 0)
		return 1;
	for (uint32_t i = 0; i < a->homes; i++)
		if (open_home(&c, i))
			return 1;
	printf("{\"what\": \"ready\"}\n");
	run(&c);
	party_free(c.p);
	for (uint32_t i = 0; i < a->homes; i++)
		close(c.fd[i]);
	free(c.fd);
	close(c.epfd);
	return c.all_up_ms ? 0 : 1;
}
