/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the engine alone costs the server: CPU of its calls, heap of what it keeps. No socket, no process. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

struct bed {
	struct party *homes, *server;
	uint64_t now_ms, server_ns;
	/* what is on its way */
	struct letter {
		bool to_server;
		struct engine_path path;
		size_t len;
		uint8_t bytes[2048];
	} letter[64];
	unsigned first, count;
	bool deaf; /* nothing reaches the homes */
};

static struct engine_path path_of(uint32_t i)
{
	struct engine_path p = { .sock = 1 };

	endpoint_parse("10.0.0.1:4500", 0, &p.local);
	endpoint_parse("192.0.2.1:4500", 0, &p.remote);
	p.local.addr.b[1] = (uint8_t)(i >> 8); /* each in a network of its own */
	p.local.addr.b[2] = (uint8_t)i;
	return p;
}

static void on_send(void *arg, struct party *from, const struct engine_path *path,
		    const uint8_t *bytes, size_t len)
{
	struct bed *b = arg;
	struct letter *l = &b->letter[(b->first + b->count) % 64];

	if (b->count == 64 || len > sizeof(l->bytes) || (b->deaf && from == b->server))
		return;
	b->count++;
	l->to_server = from == b->homes;
	l->path = (struct engine_path){ .sock = 1, .local = path->remote, .remote = path->local };
	l->len = len;
	memcpy(l->bytes, bytes, len);
}

static void deliver(struct bed *b)
{
	while (b->count) {
		struct letter *l = &b->letter[b->first];
		struct letter copy = *l;
		uint64_t t;

		b->first = (b->first + 1) % 64;
		b->count--;
		if (!copy.to_server) {
			party_datagram(b->homes, b->now_ms, &copy.path, copy.bytes, copy.len);
			continue;
		}
		t = load_cpu_ns();
		party_datagram(b->server, b->now_ms, &copy.path, copy.bytes, copy.len);
		b->server_ns += load_cpu_ns() - t;
	}
}

static size_t heap(void)
{
	return mallinfo2().uordblks;
}

static int bed_begin(struct bed *b, const struct load_args *a)
{
	struct party_config c = { .style = a->style,
				  .homes = a->homes,
				  .keys = a->keys,
				  .send = on_send,
				  .arg = b,
				  .half_open_cookie_from = 1u << 30,
				  .half_open_max = 1u << 30 };

	memset(b, 0, sizeof(*b));
	b->now_ms = 1000000;
	b->homes = party_new(&c);
	c.server = true;
	b->server = party_new(&c);
	return b->homes && b->server ? 0 : 1;
}

static void bed_end(struct bed *b)
{
	if (b->homes)
		party_free(b->homes);
	if (b->server)
		party_free(b->server);
}

static int handshakes(const struct load_args *a)
{
	uint32_t warm = a->homes / 4; /* tables and library caches have their size */
	size_t before = 0;
	struct bed b;
	int err = bed_begin(&b, a);

	for (uint32_t i = 0; !err && i < a->homes; i++) {
		struct engine_path p = path_of(i);

		if (i == warm) {
			b.server_ns = 0;
			before = heap();
		}
		b.now_ms += 1000; /* no load: no cookies */
		party_call(b.homes, b.now_ms, i, &p);
		deliver(&b);
		/* The home forgets it, so that what remains is the server's. */
		if (b.homes->home[i].ike) {
			struct fx_list fx = { 0 };

			engine_drop(b.homes->e, b.now_ms, b.homes->home[i].ike, &fx);
			party_apply(b.homes, b.now_ms, &fx);
		}
	}
	if (!err && b.server->ups != a->homes) {
		fprintf(stderr, "only %llu of %u came up\n", (unsigned long long)b.server->ups,
			a->homes);
		err = 1;
	}
	if (!err)
		printf("{\"what\": \"handshake\", \"style\": %d, \"server_us\": %.1f, "
		       "\"heap_bytes\": %zu}\n",
		       (int)a->style, (double)b.server_ns / 1e3 / (a->homes - warm),
		       (heap() - before) / (a->homes - warm));
	bed_end(&b);
	return err;
}

static int half_open(const struct load_args *a)
{
	uint8_t init[2048];
	size_t before, len;
	struct bed b;

	if (bed_begin(&b, a))
		return 1;
	len = load_init(init, sizeof(init), b.homes->peer[0].ike);
	b.deaf = true;
	before = heap();
	for (uint32_t i = 0; i < a->homes; i++) {
		struct engine_path p = path_of(i);
		uint64_t t = load_cpu_ns();

		b.now_ms += 10;
		if (b.now_ms % 25000 == 0)
			break; /* before the first gets old */
		memcpy(init, &i, 4);
		init[7] |= 1;
		party_datagram(b.server, b.now_ms, &p, init, len);
		b.server_ns += load_cpu_ns() - t;
	}
	printf("{\"what\": \"half-open\", \"server_us\": %.1f, \"heap_bytes\": %zu}\n",
	       (double)b.server_ns / 1e3 / a->homes, (heap() - before) / a->homes);
	bed_end(&b);
	return 0;
}

static int forged(const struct load_args *a)
{
	enum { MANY = 200000 };
	uint8_t init[2048];
	uint64_t t;
	size_t len;
	struct bed b;

	if (bed_begin(&b, a))
		return 1;
	len = load_init(init, sizeof(init), b.homes->peer[0].ike);
	b.deaf = true;
	for (uint32_t i = 0; i < 1000; i++) { /* now there is load */
		struct engine_path p = path_of(i);

		memcpy(init, &i, 4);
		init[7] |= 1;
		party_datagram(b.server, b.now_ms, &p, init, len);
	}
	t = load_cpu_ns();
	for (uint32_t i = 1000; i < MANY; i++) {
		struct engine_path p = path_of(i);

		b.now_ms += i % 100 == 0;
		memcpy(init, &i, 4);
		party_datagram(b.server, b.now_ms, &p, init, len);
	}
	printf("{\"what\": \"forged\", \"server_us\": %.2f}\n",
	       (double)(load_cpu_ns() - t) / 1e3 / MANY);
	bed_end(&b);
	return 0;
}

int load_engine(const struct load_args *a)
{
	struct load_args some = *a;

	some.homes = 500;
	some.style = PARTY_PSK;
	return handshakes(a) || half_open(&some) || forged(&some);
}
