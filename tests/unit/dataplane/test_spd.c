/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "packets.h"
#include "sad.h"
#include "stats.h"

struct world {
	struct spd spd;
	struct rcu rcu;
	struct peer peer[3];
};

static uint8_t key[36];

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	*state = w;
	rcu_init(&w->rcu);
	for (uint32_t i = 0; i < 3; i++)
		w->peer[i].id = i;
	return spd_init(&w->spd);
}

static int teardown(void **state)
{
	struct world *w = *state;

	rcu_reap(&w->rcu, NULL, 0);
	spd_free(&w->spd);
	free(w);
	return 0;
}

static struct dp_ts ts(const char *net, uint8_t proto, uint16_t from, uint16_t to)
{
	struct dp_ts t = { .proto = proto, .port_from = from, .port_to = to };
	struct prefix p;

	assert_int_equal(prefix_parse(net, &p), 0);
	t.from = t.to = p.addr;
	for (unsigned i = p.len; i < addr_bits(&p.addr); i++)
		t.to.b[i / 8] |= (uint8_t)(0x80 >> (i & 7));
	return t;
}

static struct sa_out *add_sa(struct world *w, int peer, uint32_t gen, struct dp_ts local,
			     struct dp_ts remote)
{
	struct dp_sa d = { .spi = htonl(1000 + gen),
			   .generation = gen,
			   .key = key,
			   .key_len = 20,
			   .local = &local,
			   .local_count = 1,
			   .remote = &remote,
			   .remote_count = 1 };
	struct sa_out *sa;

	assert_int_equal(sa_out_new(&d, &w->peer[peer], 1, &sa), 0);
	assert_int_equal(spd_add_sa(&w->spd, &w->rcu, sa), 0);
	return sa;
}

static void drop_sa(struct world *w, struct sa_out *sa)
{
	spd_del_sa(&w->spd, &w->rcu, sa);
	rcu_retire(&w->rcu, &sa->rcu, sa_out_free);
}

static struct spd_hit look(struct world *w, const char *src, const char *dst, uint8_t proto,
			   uint16_t dport)
{
	struct dp_ts s = ts(src, 0, 0, 0), d = ts(dst, 0, 0, 0);
	struct ts a, b;
	struct pkt k = {
		.proto = proto, .ports = proto == 6 || proto == 17, .sport = 4000, .dport = dport
	};

	assert_int_equal(ts_set(&a, &s), 0);
	assert_int_equal(ts_set(&b, &d), 0);
	k.ver = a.ver;
	memcpy(k.src, a.from, 16);
	memcpy(k.dst, b.from, 16);
	return spd_lookup(&w->spd, &k);
}

#define ANY4 ts("0.0.0.0/0", 0, 0, 65535)
#define ANY6 ts("::/0", 0, 0, 65535)

static void lookup_takes_the_longest_then_the_most_specific(void **state)
{
	struct world *w = *state;
	struct sa_out *def = add_sa(w, 0, 1, ANY4, ANY4);
	struct sa_out *net = add_sa(w, 1, 2, ANY4, ts("10.99.0.0/24", 0, 0, 65535));
	struct sa_out *host = add_sa(w, 2, 3, ANY4, ts("10.99.0.2", 0, 0, 65535));
	struct sa_out *smtp = add_sa(w, 2, 4, ANY4, ts("10.99.0.2", 6, 25, 25));
	struct sa_out *six = add_sa(w, 2, 5, ANY6, ts("fd99::/64", 0, 0, 65535));

	assert_ptr_equal(look(w, "10.99.0.1", "10.99.0.2", 6, 25).sa, smtp);
	assert_ptr_equal(look(w, "10.99.0.1", "10.99.0.2", 6, 26).sa, host);
	assert_ptr_equal(look(w, "10.99.0.1", "10.99.0.2", 17, 25).sa, host);
	assert_ptr_equal(look(w, "10.99.0.1", "10.99.0.3", 6, 25).sa, net);
	assert_ptr_equal(look(w, "10.99.0.1", "8.8.8.8", 6, 25).sa, def);
	assert_ptr_equal(look(w, "fd99::1", "fd99::2", 6, 25).sa, six);
	assert_null(look(w, "fd99::1", "fd9a::2", 6, 25).peer);
	drop_sa(w, smtp);
	assert_ptr_equal(look(w, "10.99.0.1", "10.99.0.2", 6, 25).sa, host);
	drop_sa(w, host);
	assert_ptr_equal(look(w, "10.99.0.1", "10.99.0.2", 6, 25).sa, net);
	drop_sa(w, net);
	assert_ptr_equal(look(w, "10.99.0.1", "10.99.0.2", 6, 25).sa, def);
	drop_sa(w, def);
	assert_null(look(w, "10.99.0.1", "10.99.0.2", 6, 25).peer);
	drop_sa(w, six);
}

static void lookup_prefers_the_newest_of_equals(void **state)
{
	struct world *w = *state;
	struct sa_out *a = add_sa(w, 0, 0xffffffff, ANY4, ANY4), *b = add_sa(w, 0, 0, ANY4, ANY4);

	/* Generations wrap. */
	assert_ptr_equal(look(w, "10.0.0.1", "10.0.0.2", 6, 1).sa, b);
	drop_sa(w, b);
	assert_ptr_equal(look(w, "10.0.0.1", "10.0.0.2", 6, 1).sa, a);
	drop_sa(w, a);
}

static void lookup_checks_the_local_side(void **state)
{
	struct world *w = *state;
	struct sa_out *a = add_sa(w, 0, 1, ts("10.99.0.1", 0, 0, 65535), ANY4);

	assert_ptr_equal(look(w, "10.99.0.1", "1.2.3.4", 6, 1).sa, a);
	assert_null(look(w, "10.99.0.9", "1.2.3.4", 6, 1).sa);
	drop_sa(w, a);
}

static void a_trap_asks_for_its_peer_and_hides_wider_ones_of_others(void **state)
{
	struct world *w = *state;
	struct prefix home;
	struct sa_out *other = add_sa(w, 1, 1, ANY4, ANY4), *own;
	struct spd_hit h;

	prefix_parse("10.99.0.2", &home);
	assert_int_equal(spd_add_trap(&w->spd, &w->rcu, &w->peer[0], &home), 0);
	h = look(w, "10.99.0.1", "10.99.0.2", 6, 25);
	assert_null(h.sa);
	assert_ptr_equal(h.peer, &w->peer[0]);
	assert_ptr_equal(look(w, "10.99.0.1", "10.99.0.3", 6, 25).sa, other);
	own = add_sa(w, 0, 2, ANY4, ts("10.99.0.0/16", 0, 0, 65535));
	assert_ptr_equal(look(w, "10.99.0.1", "10.99.0.2", 6, 25).sa, own);
	drop_sa(w, own);
	spd_del_trap(&w->spd, &w->rcu, &w->peer[0], &home);
	assert_ptr_equal(look(w, "10.99.0.1", "10.99.0.2", 6, 25).sa, other);
	drop_sa(w, other);
}

static void ranges_that_are_no_prefix_match_exactly(void **state)
{
	struct world *w = *state;
	struct dp_ts r = ts("10.0.0.5", 0, 0, 65535);
	struct sa_out *a;

	addr_parse("10.0.1.7", &r.to);
	a = add_sa(w, 0, 1, ANY4, r);
	assert_null(look(w, "1.1.1.1", "10.0.0.4", 6, 1).sa);
	assert_ptr_equal(look(w, "1.1.1.1", "10.0.0.5", 6, 1).sa, a);
	assert_ptr_equal(look(w, "1.1.1.1", "10.0.1.7", 6, 1).sa, a);
	assert_null(look(w, "1.1.1.1", "10.0.1.8", 6, 1).sa);
	drop_sa(w, a);
}

static void ike_case_108_a_later_fragment_matches_only_without_ports(void **state)
{
	struct world *w = *state;
	struct sa_out *smtp = add_sa(w, 0, 1, ANY4, ts("10.0.0.0/8", 6, 25, 25));
	struct pkt k = { .ver = 4, .proto = 6, .fragment = true, .later_fragment = true };

	k.dst[1] = 0x0a000001;
	assert_null(spd_lookup(&w->spd, &k).sa);
	k.ports = true;
	k.dport = 25;
	assert_ptr_equal(spd_lookup(&w->spd, &k).sa, smtp);
	drop_sa(w, smtp);
}

/* As it is read from the wire; -1: @b is not of use. */
static struct spd_hit look_at(struct world *w, const uint8_t *b, size_t len, struct pkt *k)
{
	assert_int_equal(pkt_parse(b, len, k), 0);
	return spd_lookup(&w->spd, k);
}

static struct sa_in *mirror(struct world *w, const struct dp_ts *local, const struct dp_ts *remote)
{
	struct dp_sa d = { .spi = htonl(999),
			   .key = key,
			   .key_len = 20,
			   .local = local,
			   .local_count = 1,
			   .remote = remote,
			   .remote_count = 1 };
	struct sa_in *sa;

	assert_int_equal(sa_in_new(&d, &w->peer[0], 0, &sa), 0);
	return sa;
}

#define US   "10.0.0.1"
#define THEM "10.0.0.2"

/* The policies of the OpenBSD tutorial: SMTP each way and ping, three SAs to one peer. */
static void policies_by_port_take_their_own_sa(void **state)
{
	struct world *w = *state;
	struct sa_out *in = add_sa(w, 0, 1, ts(US, 6, 25, 25), ts(THEM, 6, 0, 65535));
	struct sa_out *out = add_sa(w, 0, 2, ts(US, 6, 0, 65535), ts(THEM, 6, 25, 25));
	struct sa_out *ping = add_sa(w, 0, 3, ts(US, 1, 0, 65535), ts(THEM, 1, 0, 65535));
	struct made m = { 4, PKT_TCP, 0x0a000001, 0x0a000002, 25, 4000, 1, 0x10, 1, 0, 0 };
	uint8_t b[200];
	struct pkt k;

	assert_ptr_equal(look_at(w, b, make_packet(&m, b, 20), &k).sa, in);
	m.sport = 4000;
	m.dport = 25;
	assert_ptr_equal(look_at(w, b, make_packet(&m, b, 20), &k).sa, out);
	m.dport = 80;
	assert_null(look_at(w, b, make_packet(&m, b, 20), &k).sa);
	m.proto = PKT_UDP;
	m.dport = 25;
	assert_null(look_at(w, b, make_packet(&m, b, 20), &k).sa);
	assert_int_equal(pkt_parse(b, make_packet(&m, b, 20), &k), 0);
	k.proto = PKT_ICMP;
	k.sport = k.dport = 8 << 8;
	assert_ptr_equal(spd_lookup(&w->spd, &k).sa, ping);
	drop_sa(w, in);
	drop_sa(w, out);
	drop_sa(w, ping);
}

/* RFC 4301 s4.4.1.3: a type is one that the side may send. We may ping them, they may not ping us. */
static void icmp_types_are_those_that_a_side_sends(void **state)
{
	struct world *w = *state;
	struct dp_ts ours = ts(US, 1, 8 << 8, 8 << 8 | 255), theirs = ts(THEM, 1, 0, 255);
	struct sa_out *sa = add_sa(w, 0, 1, ours, theirs);
	struct sa_in *in = mirror(w, &ours, &theirs);
	struct pkt k = { .ver = 4,
			 .proto = 1,
			 .ports = true,
			 .src = { 0, 0x0a000001 },
			 .dst = { 0, 0x0a000002 },
			 .sport = 8 << 8,
			 .dport = 8 << 8 };

	assert_ptr_equal(spd_lookup(&w->spd, &k).sa, sa);
	k.sport = k.dport = 0; /* echo reply */
	assert_null(spd_lookup(&w->spd, &k).sa);
	k.src[1] = 0x0a000002;
	k.dst[1] = 0x0a000001;
	assert_true(selector_check(in, &k));
	k.sport = k.dport = 8 << 8;
	assert_false(selector_check(in, &k));
	k.sport = k.dport = 0;
	k.ports = false; /* a later fragment shows no type */
	assert_false(selector_check(in, &k));
	drop_sa(w, sa);
	sa_in_free(&in->rcu);
	/* OPAQUE on their side: what we send, they send nothing. */
	theirs = ts(THEM, 1, 65535, 0);
	sa = add_sa(w, 0, 2, ours, theirs);
	in = mirror(w, &ours, &theirs);
	k = (struct pkt){ .ver = 4,
			  .proto = 1,
			  .ports = true,
			  .src = { 0, 0x0a000001 },
			  .dst = { 0, 0x0a000002 },
			  .sport = 8 << 8,
			  .dport = 8 << 8 };
	assert_ptr_equal(spd_lookup(&w->spd, &k).sa, sa);
	k.src[1] = 0x0a000002;
	k.dst[1] = 0x0a000001;
	assert_false(selector_check(in, &k));
	drop_sa(w, sa);
	sa_in_free(&in->rcu);
}

/* The rule of postern.conf(5): what shows no port passes where none is asked for, or by OPAQUE. */
static void ike_case_108_fragments_and_extension_headers_never_get_round_ports(void **state)
{
	struct world *w = *state;
	struct sa_out *smtp = add_sa(w, 0, 1, ts("fd00::1", 6, 0, 65535), ts("fd00::2", 6, 0, 25));
	struct made m = { 6, PKT_TCP, 1, 2, 4000, 25, 1, 0x10, 1, 0, 0 };
	struct dp_ts us = ts("fd00::1", 6, 0, 65535), them = ts("fd00::2", 6, 0, 25);
	struct sa_in *in = mirror(w, &them, &us);
	uint8_t b[200], e[300] = { 0 };
	size_t len = make_packet(&m, b, 40);
	struct sa_out *opaque;
	struct pkt k;

	b[8] = b[24] = 0xfd;
	memset(b + 9, 0, 11);
	memset(b + 25, 0, 11);
	/* Hop by hop, then a fragment header, then TCP to port 25. */
	memcpy(e, b, 40);
	e[6] = 0;
	e[40] = 44;
	e[48] = PKT_TCP;
	memcpy(e + 56, b + 40, len - 40);
	put16(e + 4, (uint16_t)(len - 40 + 16));
	put16(e + 50, 1); /* the first one, more to come */
	assert_ptr_equal(look_at(w, e, len + 16, &k).sa, smtp);
	assert_true(selector_check(in, &k));
	put16(e + 58, 80); /* destination port */
	assert_null(look_at(w, e, len + 16, &k).sa);
	assert_false(selector_check(in, &k));
	put16(e + 58, 25);
	put16(e + 50, 8 | 1); /* a later one, whose bytes look like port 25 */
	assert_null(look_at(w, e, len + 16, &k).sa);
	assert_false(selector_check(in, &k));
	/* A first one that ends before the ports. */
	put16(e + 50, 1);
	put16(e + 4, 16 + 2);
	assert_null(look_at(w, e, 58, &k).sa);
	assert_false(selector_check(in, &k));
	/* More extension headers than anybody needs are no TCP. */
	memset(e + 40, 0, 80);
	for (int i = 0; i < 9; i++)
		e[40 + 8 * i] = i < 8 ? 60 : PKT_TCP;
	e[6] = 60;
	memcpy(e + 112, b + 40, 20);
	put16(e + 4, 72 + 20);
	assert_null(look_at(w, e, 132, &k).sa);
	assert_false(selector_check(in, &k));
	/* OPAQUE takes the later ones, and none that shows its port. */
	opaque = add_sa(w, 0, 2, ts("fd00::1", 6, 65535, 0), ts("fd00::2", 6, 65535, 0));
	memset(e + 40, 0, 80);
	e[6] = 44;
	e[40] = PKT_TCP;
	put16(e + 42, 8);
	put16(e + 4, 8 + 20);
	assert_ptr_equal(look_at(w, e, 68, &k).sa, opaque);
	assert_ptr_equal(look_at(w, b, len, &k).sa, smtp);
	put16(b + 42, 80);
	assert_null(look_at(w, b, len, &k).sa);
	drop_sa(w, opaque);
	drop_sa(w, smtp);
	sa_in_free(&in->rcu);
}

static void many_peers_are_found_and_forgotten(void **state)
{
	enum { N = 3000 };
	struct world *w = *state;
	struct sa_out **sa = calloc(N, sizeof(*sa));
	char net[32];

	for (int i = 0; i < N; i++) {
		snprintf(net, sizeof(net), "10.%d.%d.1", i / 250, i % 250);
		sa[i] = add_sa(w, 0, (uint32_t)i + 1, ANY4, ts(net, 0, 0, 65535));
	}
	for (int i = 0; i < N; i++) {
		snprintf(net, sizeof(net), "10.%d.%d.1", i / 250, i % 250);
		assert_ptr_equal(look(w, "1.1.1.1", net, 6, 1).sa, sa[i]);
		if (i & 1) {
			drop_sa(w, sa[i]);
			assert_null(look(w, "1.1.1.1", net, 6, 1).sa);
		}
	}
	rcu_reap(&w->rcu, NULL, 0);
	for (int i = 0; i < N; i += 2)
		drop_sa(w, sa[i]);
	assert_int_equal(w->spd.tab.live, 0);
	free(sa);
}

static void malformed_selectors_are_refused(void **state)
{
	struct dp_ts t = ANY4;
	struct ts out;

	(void)state;
	t.port_from = 2;
	t.port_to = 1;
	assert_int_equal(ts_set(&out, &t), -EINVAL);
	t = ANY4;
	t.to.family = AF_INET6;
	assert_int_equal(ts_set(&out, &t), -EINVAL);
	t = ANY4;
	addr_parse("1.2.3.4", &t.from);
	addr_parse("1.2.3.3", &t.to);
	assert_int_equal(ts_set(&out, &t), -EINVAL);
}

static void ike_case_103_numbers_stop_before_they_wrap(void **state)
{
	struct world *w = *state;
	struct sa_out *sa = add_sa(w, 0, 1, ANY4, ANY4);
	uint64_t first;

	/* add_sa makes one without ESN: 2^32 - 1 is the last number (RFC 4303 s3.3.3). */
	atomic_store(&sa->seq, 0xfffffff0);
	assert_int_equal(sa_out_next_seq(sa, 15, 1, &first), DP_OUT_PKT);
	assert_true(first == 0xfffffff1);
	assert_int_equal(sa_out_next_seq(sa, 1, 1, &first), DP_DROP_SEQ_EXHAUSTED);
	atomic_store(&sa->seq, 0xfffffff0);
	assert_int_equal(sa_out_next_seq(sa, 16, 1, &first), DP_DROP_SEQ_EXHAUSTED);
	assert_int_equal(sa_out_next_seq(sa, 15, 1, &first), DP_OUT_PKT);
	sa->hard_bytes = 10;
	atomic_store(&sa->seq, 0);
	count_set(&sa->bytes, 10);
	assert_int_equal(sa_out_next_seq(sa, 1, 1, &first), DP_DROP_HARD_LIMIT);
	sa->hard_bytes = UINT64_MAX;
	sa->hard_pkts = 20;
	count_set(&sa->pkts, 19);
	assert_int_equal(sa_out_next_seq(sa, 1, 1, &first), DP_OUT_PKT);
	assert_int_equal(sa_out_next_seq(sa, 1, 1, &first), DP_DROP_HARD_LIMIT);
	drop_sa(w, sa);
}

/* RFC 4303 s3.3.3: a rekey is asked for long before the numbers end, with ESN and without. */
static void ike_case_103_the_rekey_is_due_at_half_of_the_numbers(void **state)
{
	struct world *w = *state;
	struct sa_out *sa = add_sa(w, 0, 1, ANY4, ANY4);
	struct dp_ts t = ANY4;
	struct sa_in *in = mirror(w, &t, &t);

	assert_true(sa->soft_pkts == 1ull << 31 && sa->hard_seq == UINT32_MAX);
	assert_true(in->soft_pkts == 1ull << 31);
	sa_in_free(&in->rcu);
	drop_sa(w, sa);
}

/* ---- several workers send by one SA ---- */

#define TAKERS 4
#define UNITS  100000

struct taker {
	struct sa_out *sa;
	uint64_t first[UNITS];
	uint8_t count[UNITS];
	unsigned seed;
	pthread_barrier_t *all;
};

static void *take_numbers(void *arg)
{
	struct taker *t = arg;

	pthread_barrier_wait(t->all); /* else one is done before the next is there */
	for (int i = 0; i < UNITS; i++) {
		t->count[i] = (uint8_t)(1 + rand_r(&t->seed) % 45);
		if (sa_out_next_seq(t->sa, t->count[i], 1, &t->first[i]) != DP_OUT_PKT)
			return t;
	}
	return NULL;
}

/* The number is the IV (esp.h), so this is RFC 4106 s3: each worker's unit has numbers that nobody else has. */
static void ike_case_113_workers_take_numbers_at_once_and_none_twice(void **state)
{
	struct world *w = *state;
	struct sa_out *sa = add_sa(w, 0, 1, ANY4, ANY4);
	struct taker *t = calloc(TAKERS, sizeof(*t));
	uint8_t *taken = calloc(1, TAKERS * UNITS * 45 + 1);
	pthread_t thread[TAKERS];
	pthread_barrier_t all;
	uint64_t sum = 0;

	assert_int_equal(pthread_barrier_init(&all, NULL, TAKERS), 0);
	for (unsigned i = 0; i < TAKERS; i++) {
		t[i].sa = sa;
		t[i].seed = i;
		t[i].all = &all;
		assert_int_equal(pthread_create(&thread[i], NULL, take_numbers, &t[i]), 0);
	}
	for (unsigned i = 0; i < TAKERS; i++) {
		void *failed;

		assert_int_equal(pthread_join(thread[i], &failed), 0);
		assert_null(failed);
		for (unsigned k = 0; k < UNITS; k++) {
			for (unsigned n = 0; n < t[i].count[k]; n++, sum++)
				assert_int_equal(taken[t[i].first[k] + n]++, 0);
		}
	}
	assert_int_equal(taken[0], 0);
	assert_true(sum == atomic_load(&sa->seq)); /* and none is left out */
	pthread_barrier_destroy(&all);
	free(taken);
	free(t);
	drop_sa(w, sa);
}

static void selector_check_needs_both_sides(void **state)
{
	struct dp_ts local[2] = { ts("10.0.0.1", 0, 0, 65535), ts("fd00::1", 0, 0, 65535) };
	struct dp_ts remote[2] = { ts("10.0.0.2", 6, 25, 25), ts("fd00::2", 0, 0, 65535) };
	struct dp_sa d = { .spi = htonl(999),
			   .key = key,
			   .key_len = 20,
			   .local = local,
			   .local_count = 2,
			   .remote = remote,
			   .remote_count = 2 };
	struct world *w = *state;
	struct made m = { 4, PKT_TCP, 0x0a000002, 0x0a000001, 25, 4000, 1, 0x10, 1, 0, 0 };
	uint8_t b[200];
	struct sa_in *sa;
	struct pkt k;

	assert_int_equal(sa_in_new(&d, &w->peer[0], 0, &sa), 0);
	pkt_parse(b, make_packet(&m, b, 20), &k);
	assert_true(selector_check(sa, &k));
	m.src = 0x0a000003;
	pkt_parse(b, make_packet(&m, b, 20), &k);
	assert_false(selector_check(sa, &k));
	m.src = 0x0a000002;
	m.dst = 0x0a000003;
	pkt_parse(b, make_packet(&m, b, 20), &k);
	assert_false(selector_check(sa, &k));
	m.dst = 0x0a000001;
	m.sport = 26;
	pkt_parse(b, make_packet(&m, b, 20), &k);
	assert_false(selector_check(sa, &k));
	m.sport = 25;
	m.proto = PKT_UDP;
	pkt_parse(b, make_packet(&m, b, 20), &k);
	assert_false(selector_check(sa, &k));
	sa_in_free(&sa->rcu);
}

static void readers_delay_freeing(void **state)
{
	struct world *w = *state;
	struct rcu_reader r = { 0 }, *readers[1] = { &r };
	struct sa_out *sa = add_sa(w, 0, 1, ANY4, ANY4);

	rcu_online(&w->rcu, &r);
	drop_sa(w, sa);
	rcu_reap(&w->rcu, readers, 1);
	assert_non_null(w->rcu.first); /* the reader may still look at it */
	assert_true(sa->generation == 1);
	rcu_online(&w->rcu, &r);
	rcu_reap(&w->rcu, readers, 1);
	assert_null(w->rcu.first);
	sa = add_sa(w, 0, 1, ANY4, ANY4);
	rcu_offline(&r);
	drop_sa(w, sa);
	rcu_reap(&w->rcu, readers, 1);
	assert_null(w->rcu.first);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(lookup_takes_the_longest_then_the_most_specific),
		T(lookup_prefers_the_newest_of_equals),
		T(lookup_checks_the_local_side),
		T(a_trap_asks_for_its_peer_and_hides_wider_ones_of_others),
		T(ranges_that_are_no_prefix_match_exactly),
		T(ike_case_108_a_later_fragment_matches_only_without_ports),
		T(policies_by_port_take_their_own_sa),
		T(icmp_types_are_those_that_a_side_sends),
		T(ike_case_108_fragments_and_extension_headers_never_get_round_ports),
		T(many_peers_are_found_and_forgotten),
		T(malformed_selectors_are_refused),
		T(ike_case_103_numbers_stop_before_they_wrap),
		T(ike_case_103_the_rekey_is_due_at_half_of_the_numbers),
		T(ike_case_113_workers_take_numbers_at_once_and_none_twice),
		T(selector_check_needs_both_sides),
		T(readers_delay_freeing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
