/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Thousands return while others flood. Time is faked; what the server cannot take in time is lost, as its event
 * ring loses it: first of all requests without a cookie beyond TAKEN in a millisecond.
 *
 *	2 000 homes, 10.0.0.2:20000.. --- (10.0.0.0/24, which anybody forges) --- vps 192.0.2.1:4500
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "party.h"
#include "engine_int.h"
#include "udp_classify.h"

#define HOMES	2000
#define TAKEN	50 /* 50 000 in a second, half of what the flood brings */
#define LATENCY 20

struct packet {
	struct packet *next;
	uint64_t at_ms;
	bool to_server;
	struct engine_path path; /* the receiver's view */
	size_t len;
	uint8_t bytes[];
};

struct storm {
	struct party *server, *homes;
	struct packet *first, **last;
	uint64_t now_ms, lost, forged, answers;
	unsigned arrived;  /* at the server in this millisecond */
	unsigned per_ms;   /* forged IKE_SA_INITs */
	unsigned squat_ms; /* a neighbour opens one with a true cookie each so many; 0: none */
	uint64_t seed;
	uint64_t squat_spi, squatted;
};

static uint32_t rnd(struct storm *s)
{
	s->seed = s->seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(s->seed >> 33);
}

static struct engine_path server_path(uint8_t host, uint16_t port)
{
	struct engine_path p = { .sock = 1 };

	endpoint_parse("192.0.2.1:4500", 0, &p.local);
	endpoint_parse("10.0.0.2:1", 0, &p.remote);
	p.remote.addr.b[3] = host;
	p.remote.port = port;
	return p;
}

static struct engine_path turned(const struct engine_path *p)
{
	return (struct engine_path){ .sock = p->sock, .local = p->remote, .remote = p->local };
}

static void on_send(void *arg, struct party *from, const struct engine_path *path,
		    const uint8_t *bytes, size_t len)
{
	struct storm *s = arg;
	struct packet *k;

	/* To nobody's address: the answers to forged ones. The neighbour's go to squat(). */
	if (from == s->server && path->remote.addr.b[3] != 2) {
		s->answers++;
		if (path->remote.addr.b[3] != 9)
			return;
	}
	k = malloc(sizeof(*k) + len);
	assert_non_null(k);
	k->next = NULL;
	k->at_ms = s->now_ms + LATENCY;
	k->to_server = from == s->homes;
	k->path = turned(path);
	k->len = len;
	memcpy(k->bytes, bytes, len);
	*s->last = k;
	s->last = &k->next;
}

/* What a Postern sends first, with another SPI each time. */
static size_t forged_init(struct storm *s, uint8_t *out, size_t cap, uint64_t spi,
			  const uint8_t *cookie, size_t cookie_len)
{
	static uint8_t key[32] = { 9 }, nonce[32] = { 7 };
	struct ike_hdr h = { .spi_i = spi,
			     .version = IKE_VERSION,
			     .exchange = IKE_SA_INIT,
			     .flags = IKE_FLAG_INITIATOR };
	struct ike_build b;
	size_t len;

	ike_build_begin(&b, out, cap, &h);
	if (cookie_len)
		pld_notify_add(&b, COOKIE, (struct span){ cookie, cookie_len });
	sa_add(&b, s->homes->peer[0].ike);
	pld_ke_add(&b, KE_CURVE25519, (struct span){ key, sizeof(key) });
	pld_nonce_add(&b, (struct span){ nonce, sizeof(nonce) });
	assert_int_equal(0, ike_build_end(&b, &len));
	return len;
}

static void at_server(struct storm *s, const struct engine_path *path, const uint8_t *bytes,
		      size_t len)
{
	if (udp_ike_opening(bytes, len) && ++s->arrived > TAKEN && rnd(s) % s->arrived >= TAKEN) {
		s->lost++;
		return;
	}
	party_datagram(s->server, s->now_ms, path, bytes, len);
}

/* The neighbour does receive at its address, and opens and opens. */
static void squat(struct storm *s, const struct packet *k)
{
	struct engine_path p =
	    server_path(9, k ? k->path.local.port : (uint16_t)(1 + rnd(s) % 65000));
	static struct ike_msg m;
	uint8_t buf[2048];
	const struct pld_notify *n;

	if (!k) {
		party_datagram(s->server, s->now_ms, &p, buf,
			       forged_init(s, buf, sizeof(buf), ++s->squat_spi, NULL, 0));
		return;
	}
	memset(&m, 0, sizeof(m));
	if (ike_msg_parse(k->bytes, k->len, &m))
		return;
	n = ike_msg_notify(&m, COOKIE);
	if (!n) {
		s->squatted++;
		return;
	}
	party_datagram(s->server, s->now_ms, &p, buf,
		       forged_init(s, buf, sizeof(buf), m.hdr.spi_i, n->data, n->len));
}

static void shuffle(struct storm *s)
{
	struct packet *due[4096], *k = s->first;
	unsigned n = 0;

	for (; k && k->at_ms <= s->now_ms && n < 4096; k = k->next)
		due[n++] = k;
	for (unsigned i = n; i-- > 1;) {
		unsigned at = rnd(s) % (i + 1);
		struct packet *x = due[i];

		due[i] = due[at];
		due[at] = x;
	}
	for (unsigned i = 0; i < n; i++) {
		due[i]->next = i + 1 < n ? due[i + 1] : k;
		if (!due[i]->next)
			s->last = &due[i]->next;
	}
	s->first = n ? due[0] : s->first;
}

static void deliver(struct storm *s)
{
	while (s->first && s->first->at_ms <= s->now_ms) {
		struct packet *k = s->first;

		s->first = k->next;
		if (!s->first)
			s->last = &s->first;
		if (k->to_server)
			at_server(s, &k->path, k->bytes, k->len);
		else if (k->path.local.addr.b[3] == 9)
			squat(s, k);
		else
			party_datagram(s->homes, s->now_ms, &k->path, k->bytes, k->len);
		free(k);
	}
}

static void one_ms(struct storm *s)
{
	static uint8_t buf[2048];
	static size_t len;

	s->now_ms++;
	s->arrived = s->per_ms; /* they are there all the time, the homes' come among them */
	if (!len)
		len = forged_init(s, buf, sizeof(buf), 1, NULL, 0);
	for (unsigned i = 0; i < s->per_ms && i < TAKEN; i++) {
		struct engine_path p = server_path((uint8_t)(10 + rnd(s) % 200), (uint16_t)rnd(s));
		uint32_t spi[2] = { rnd(s), rnd(s) };

		memcpy(buf, spi, 8);
		party_datagram(s->server, s->now_ms, &p, buf, len);
		s->forged++;
	}
	if (s->squat_ms && s->now_ms % s->squat_ms == 0)
		squat(s, NULL);
	/* Who comes first within this millisecond is chance, also for those who have their cookies. */
	if (s->first)
		shuffle(s);
	deliver(s);
	party_timer(s->server, s->now_ms);
	party_timer(s->homes, s->now_ms);
}

static void storm_begin(struct storm *s, enum party_style style, uint64_t seed)
{
	struct party_config c = {
		.style = style, .homes = HOMES, .send = on_send, .arg = s, .seed = seed
	};

	memset(s, 0, sizeof(*s));
	s->last = &s->first;
	s->now_ms = 1000000;
	s->homes = party_new(&c);
	c.server = true;
	c.seed++;
	s->server = party_new(&c);
	assert_true(s->homes && s->server);
}

static void storm_end(struct storm *s)
{
	while (s->first) {
		struct packet *k = s->first;

		s->first = k->next;
		free(k);
	}
	party_free(s->homes);
	party_free(s->server);
}

static void everybody_calls(struct storm *s)
{
	for (uint32_t i = 0; i < HOMES; i++) {
		struct engine_path p = server_path(2, (uint16_t)(20000 + i));

		p = turned(&p);
		assert_int_equal(0, party_call(s->homes, s->now_ms, i, &p));
	}
}

static struct engine_counters counters(const struct storm *s)
{
	struct engine_counters n;

	engine_counters_get(s->server->e, &n);
	return n;
}

static unsigned up_within(struct storm *s, unsigned ms)
{
	uint64_t end = s->now_ms + ms;

	while (s->now_ms < end && (s->homes->up < HOMES || s->server->up < HOMES))
		one_ms(s);
	return s->server->up;
}

/* They were here before: the server knows their network. */
static void a_home_was_here_before(struct storm *s)
{
	struct engine_path p = server_path(2, 20000);

	p = turned(&p);
	assert_int_equal(0, party_call(s->homes, s->now_ms, 0, &p));
	for (int i = 0; i < 200; i++)
		one_ms(s);
	assert_int_equal(s->server->up, 1);
}

static void homes_behind_one_address_return_while_their_network_is_forged(void **state)
{
	struct storm s;

	(void)state;
	storm_begin(&s, PARTY_PSK, 1);
	s.per_ms = 100;
	everybody_calls(&s);
	assert_int_equal(up_within(&s, 60000), HOMES);
	/* nothing was kept for who is forged */
	assert_true(s.forged > 100000);
	assert_true(counters(&s).cookies_sent > s.forged / 2);
	assert_true(s.lost > 0);
	for (int i = 0; i < HALF_OPEN_MS + AFTER_REPLY_MS; i++) {
		s.per_ms = 0;
		one_ms(&s);
	}
	assert_int_equal(counters(&s).half_open, 0);
	assert_int_equal(counters(&s).ike_sas, HOMES);
	storm_end(&s);
}

static void a_neighbour_who_opens_and_opens_slows_them_and_locks_nobody_out(void **state)
{
	struct storm s;

	(void)state;
	storm_begin(&s, PARTY_PSK, 2);
	a_home_was_here_before(&s);
	s.squat_ms =
	    1; /* 1 000 in a second: all places of the network would be taken in half of one */
	for (int i = 0; i < 5000; i++)
		one_ms(&s);
	assert_true(s.squatted >= PREFIX_KNOWN_FACTOR * 64u);
	assert_true(counters(&s).half_open_refused > 0);
	everybody_calls(&s);
	assert_int_equal(up_within(&s, 600000), HOMES);
	assert_true(counters(&s).half_open_evicted > 0);
	assert_true(counters(&s).half_open <= PREFIX_KNOWN_FACTOR * 64u + 32);
	storm_end(&s);
}

static void a_strange_network_waits_for_its_own_and_not_for_ever(void **state)
{
	struct storm s;

	(void)state;
	storm_begin(&s, PARTY_PSK, 3);
	s.squat_ms = 10;
	for (int i = 0; i < 5000; i++)
		one_ms(&s);
	assert_true(counters(&s).half_open <= 64 + 32);
	everybody_calls(&s);
	assert_int_equal(up_within(&s, 120000), HOMES);
	storm_end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(homes_behind_one_address_return_while_their_network_is_forged),
		cmocka_unit_test(a_neighbour_who_opens_and_opens_slows_them_and_locks_nobody_out),
		cmocka_unit_test(a_strange_network_waits_for_its_own_and_not_for_ever),
	};

	log_setup("exchange", LOG_LVL_ERR, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
