/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Cases 26 to 37: IKE_SA_INIT among floods, forgers, networks that repeat, and peers that can less or more. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "odd.h"

/* The linker puts these before the real ones. */
int __real_dh_shared(const struct dh *dh, const void *peer, size_t len, struct secret *out);
int __wrap_dh_shared(const struct dh *dh, const void *peer, size_t len, struct secret *out);
void __real_pld_notify_add(struct ike_build *b, uint16_t type, struct span data);
void __wrap_pld_notify_add(struct ike_build *b, uint16_t type, struct span data);
void __real_pld_hashes_add(struct ike_build *b, unsigned hashes);
void __wrap_pld_hashes_add(struct ike_build *b, unsigned hashes);

static unsigned dh_done;
/* What the engine that speaks next leaves out (two types), says wrongly, or adds to IKE_SA_INIT; 0: nothing. */
static uint16_t left_out[2], cut_short, added;

int __wrap_dh_shared(const struct dh *dh, const void *peer, size_t len, struct secret *out)
{
	dh_done++;
	return __real_dh_shared(dh, peer, len, out);
}

void __wrap_pld_notify_add(struct ike_build *b, uint16_t type, struct span data)
{
	if (type == left_out[0] || type == left_out[1])
		return;
	if (type == cut_short)
		data.len = 0;
	__real_pld_notify_add(b, type, data);
}

void __wrap_pld_hashes_add(struct ike_build *b, unsigned hashes)
{
	if (added)
		__real_pld_notify_add(b, added, (struct span){ NULL, 0 });
	__real_pld_hashes_add(b, hashes);
}

static struct odd f;

static struct engine_counters counters(struct world *w, int host)
{
	struct engine_counters n;

	engine_counters_get(w->host[host].e, &n);
	return n;
}

static void over(struct world *w)
{
	world_run(w, 60000);
	world_no_leaks(w);
	world_free(w);
}

static void init_from(struct world *w, const struct engine_path *p, uint64_t spi,
		      const void *cookie, size_t len)
{
	odd_init(&f, spi);
	if (cookie)
		pld_notify_add(&f.b, COOKIE, (struct span){ cookie, len });
	odd_rest(&f);
	odd_end(&f);
	odd_inject(w, VPS, p, &f);
}

/* <-- IKE_SA_INIT of the test's making, to home's call */
static void init_answer(struct world *w, uint16_t notify, const void *data, size_t len)
{
	odd_begin(&f, &(struct ike_hdr){ .spi_i = odd_calling(w),
					 .exchange = IKE_SA_INIT,
					 .flags = IKE_FLAG_RESPONSE });
	__real_pld_notify_add(&f.b, notify, (struct span){ data, len });
	odd_end(&f);
	odd_inject(w, HOME, &w->host[HOME].path, &f);
}

struct cookie {
	uint8_t b[64];
	size_t len;
};

/* <-- N(COOKIE) and nothing else? */
static bool cookie_of(struct world *w, struct cookie *c)
{
	const struct ike_msg *m = odd_answer(w, HOME, NULL);

	assert_non_null(m);
	if (!odd_notify_only(m, COOKIE))
		return false;
	assert_in_range(m->notifies[0].len, 1, 64);
	c->len = m->notifies[0].len;
	memcpy(c->b, m->notifies[0].data, c->len);
	return true;
}

/* So many half-open exchanges of strangers that the next one is asked for a cookie. */
static unsigned load(struct world *w)
{
	struct cookie c;
	unsigned n = 0;

	for (;; n++) {
		struct engine_path p = odd_stranger(n);

		assert_true(n < 1000);
		init_from(w, &p, 1000 + n, NULL, 0);
		if (cookie_of(w, &c))
			break;
	}
	assert_true(n > 0);
	assert_int_equal(counters(w, VPS).half_open, n);
	return n;
}

/* RFC 7296 s2.6 */
static void ike_case_026_under_load_a_cookie_is_asked_for_and_nothing_is_kept(void **s)
{
	struct world *w = world_new(26, STYLE_PSK);
	struct engine_path p = odd_stranger(500);
	const struct ike_msg *m;
	struct cookie c;
	unsigned n;

	(void)s;
	world_start(w);
	n = load(w);
	dh_done = 0;
	for (unsigned i = 0; i < 1000; i++) {
		p = odd_stranger(500 + i);
		init_from(w, &p, i + 1, NULL, 0);
		assert_true(cookie_of(w, &c));
	}
	assert_int_equal(counters(w, VPS).half_open, n);
	assert_int_equal(dh_done, 0);
	init_from(w, &p, 1000, c.b, c.len);
	m = odd_answer(w, HOME, NULL);
	assert_true(m && m->sa.p && m->ke.data && m->nonce.p);
	assert_int_equal(counters(w, VPS).half_open, n + 1);
	/* Our own call returns it as the first payload, beside the same SA, KE and Ni. */
	world_call(w, HOME);
	world_deliver(w, VPS);
	assert_int_equal(world_in_flight(w, HOME), 1);
	world_deliver(w, HOME);
	assert_int_equal(world_in_flight(w, VPS), 1);
	assert_int_equal(w->flight[0].bytes[16], PLD_NOTIFY);
	assert_memory_equal(w->flight[0].bytes + 28 + 6, "\x40\x06", 2); /* 16390 */
	world_run(w, 3000);
	assert_int_equal(w->host[HOME].up, 1);
	over(w);
}

static void refused_cookie(struct world *w, const struct engine_path *p, uint64_t spi,
			   const void *b, size_t len)
{
	unsigned before = counters(w, VPS).half_open;
	struct cookie c;

	init_from(w, p, spi, b, len);
	assert_true(!world_in_flight(w, HOME) || cookie_of(w, &c));
	assert_int_equal(counters(w, VPS).half_open, before);
}

static void cookies_that_we_made_or_not(void)
{
	struct world *w = world_new(27, STYLE_PSK);
	struct engine_path p = odd_stranger(500), other = p;
	struct cookie c, wrong;
	uint8_t big[300] = { 0 };

	world_start(w);
	load(w);
	init_from(w, &p, 5, NULL, 0);
	assert_true(cookie_of(w, &c));
	for (size_t i = 0; i < c.len; i++) { /* each byte of it counts */
		wrong = c;
		wrong.b[i] ^= 1;
		refused_cookie(w, &p, 5, wrong.b, wrong.len);
	}
	refused_cookie(w, &p, 5, c.b, 0);
	refused_cookie(w, &p, 5, c.b, c.len - 1);
	memcpy(big, c.b, c.len);
	refused_cookie(w, &p, 5, big, c.len + 1);
	refused_cookie(w, &p, 5, big, 64);
	refused_cookie(w, &p, 5, big, 65);
	refused_cookie(w, &p, 5, big, sizeof(big));
	refused_cookie(w, &p, 6, c.b, c.len); /* for another SPI */
	other.remote.addr.b[3] ^= 1;
	refused_cookie(w, &other, 5, c.b, c.len);
	other = p;
	other.remote.port++;
	refused_cookie(w, &other, 5, c.b, c.len);
	/* Secrets change; after two changes it is worth nothing, under load or not. */
	for (int ms = 0; ms < 3 * COOKIE_SECRET_MS; ms += 20000) {
		w->now_ms += 20000;
		DO(w, VPS, engine_on_timer(e, now, fx));
		if (!counters(w, VPS).half_open)
			load(w);
		init_from(w, &other, 1, NULL, 0);
		assert_true(cookie_of(w, &wrong));
	}
	refused_cookie(w, &p, 5, c.b, c.len);
	over(w);
}

/* The other way: whatever a responder calls a cookie, if it has 1 to 64 bytes. */
static void cookies_that_we_return(void)
{
	static const uint8_t bytes[300] = { 0xc0, 0x01 };
	static const size_t lens[] = { 1, 2, 17, 63, 64, 0, 65, 300 };

	for (size_t i = 0; i < sizeof(lens) / sizeof(*lens); i++) {
		struct world *w = world_new(27, STYLE_PSK);
		const struct ike_msg *m;

		world_start(w);
		world_call(w, HOME);
		world_lose(w, VPS);
		init_answer(w, COOKIE, bytes, lens[i]);
		m = odd_answer(w, VPS, NULL);
		if (lens[i] >= 1 && lens[i] <= 64) {
			assert_true(m && m->n_notifies && m->notifies[0].type == COOKIE);
			assert_int_equal(m->notifies[0].len, lens[i]);
			assert_memory_equal(m->notifies[0].data, bytes, lens[i]);
		} else {
			assert_null(m);
		}
		world_run(w, 10000);
		world_agree(w);
		over(w);
	}
}

/* RFC 7296 s2.6 */
static void ike_case_027_only_the_right_cookie_opens_and_we_return_any(void **s)
{
	(void)s;
	cookies_that_we_made_or_not();
	cookies_that_we_return();
}

enum { COOKIES = 1, GROUPS = 2 }; /* 1 to 3: both are alternated */

/* What home sends in @ms to somebody who answers each message by one of these. */
static unsigned ping_pong(struct world *w, uint64_t ms, unsigned what)
{
	uint64_t end = w->now_ms + ms;
	unsigned n = 0;

	while (w->now_ms < end) {
		while (world_lose(w, VPS)) {
			bool other = what == GROUPS ? n % 2 : n / 2 % 2;

			assert_true(n++ < 100000);
			if (what == COOKIES || (what == (COOKIES | GROUPS) && n % 2))
				init_answer(w, COOKIE, &n, sizeof(n));
			else
				init_answer(w, INVALID_KE_PAYLOAD, other ? "\0\x1f" : "\0\x13", 2);
		}
		w->delay_min = w->delay_max = 60000; /* it stays in flight until it is looked at */
		world_run(w, 10);
	}
	w->delay_min = w->delay_max = 10;
	return n;
}

/* RFC 7296 s2.6.1: somebody has to stop, and that are we. */
static void ike_case_028_endless_cookies_and_groups_end_after_five_rounds(void **s)
{
	(void)s;
	for (unsigned what = COOKIES; what <= (COOKIES | GROUPS); what++) {
		struct world *w = world_new(28, STYLE_PSK);
		unsigned n;

		world_start(w);
		world_call(w, HOME);
		n = ping_pong(w, 300, what); /* before the first retransmission */
		assert_in_range(n, 2, 1 + CALL_ROUNDS);
		/* From then on a few at each retransmission, of which there are 20 in a minute. */
		n = ping_pong(w, 60000, what);
		assert_in_range(n, 10, 30 * (1 + CALL_ROUNDS));
		assert_int_equal(w->host[HOME].up, 0);
		world_run(w, 30000); /* it stops: the call goes on as if nothing had been */
		world_agree(w);
		over(w);
	}
}

/* RFC 7296 s1.2, s2.7 */
static void ike_case_029_a_group_that_we_offered_is_taken_with_the_same_proposals(void **s)
{
	static const char not_offered[][2] = { "\0\0",	 "\0\x01",   "\0\x02", "\0\x05",
					       "\0\x16", "\xff\xff", "\0\x20" };
	struct world *w = world_new(29, STYLE_PSK);
	static uint8_t first[2048];
	struct ike_msg *was = calloc(1, sizeof(*was));
	const struct ike_msg *m;

	(void)s;
	world_start(w);
	world_call(w, HOME);
	memcpy(first, w->flight[0].bytes, w->flight[0].len);
	assert_int_equal(0, ike_msg_parse(first, w->flight[0].len, was));
	world_lose(w, VPS);
	for (size_t i = 0; i < sizeof(not_offered) / sizeof(*not_offered); i++)
		init_answer(w, INVALID_KE_PAYLOAD, not_offered[i], 2);
	init_answer(w, INVALID_KE_PAYLOAD, "\0\x1f", 2); /* that is what we have sent */
	init_answer(w, INVALID_KE_PAYLOAD, "\0\x13", 1);
	init_answer(w, INVALID_KE_PAYLOAD, "\0\0\0\x13", 4);
	init_answer(w, INVALID_KE_PAYLOAD, "", 0);
	assert_int_equal(world_in_flight(w, VPS), 0);
	init_answer(w, INVALID_KE_PAYLOAD, "\0\x13", 2);
	m = odd_answer(w, VPS, NULL);
	assert_non_null(m);
	assert_true(m->hdr.spi_i == was->hdr.spi_i);
	assert_int_equal(m->ke.group, KE_ECP_256);
	assert_int_equal(m->ke.len, 64);
	assert_int_equal(m->sa.len, was->sa.len); /* or a forger could talk us down (s2.7) */
	assert_memory_equal(m->sa.p, was->sa.p, was->sa.len);
	assert_int_equal(m->nonce.len, was->nonce.len);
	assert_memory_equal(m->nonce.p, was->nonce.p, was->nonce.len);
	free(was);
	world_run(w, 30000);
	world_agree(w);
	over(w);
}

/* RFC 7296 s2.21.1: anybody could have said it. */
static void ike_case_030_an_unauthenticated_refusal_waits_for_a_better_answer(void **s)
{
	static const uint16_t types[] = { NO_PROPOSAL_CHOSEN,	 INVALID_SYNTAX,
					  AUTHENTICATION_FAILED, INVALID_MAJOR_VERSION,
					  INVALID_IKE_SPI,	 8000 };

	(void)s;
	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
		struct world *w = world_new(30, STYLE_PSK);

		/* The true answer comes 500 ms later. */
		world_start(w);
		w->delay_min = w->delay_max = 250;
		world_call(w, HOME);
		init_answer(w, types[i], NULL, 0);
		assert_int_equal(w->host[HOME].down, 0);
		world_run(w, 5000);
		assert_int_equal(w->host[HOME].failed, 0);
		world_agree(w);
		over(w);
		/* It never comes: told, once, as what was said; and a new call is as good as ever. */
		w = world_new(30, STYLE_PSK);
		world_start(w);
		world_call(w, HOME);
		world_lose(w, VPS);
		for (int k = 0; k < 10; k++)
			init_answer(w, types[i], NULL, 0);
		w->cut[VPS] = true;
		world_run(w, REFUSAL_GRACE_MS - 100);
		assert_int_equal(w->host[HOME].down, 0);
		world_run(w, 200);
		assert_int_equal(w->host[HOME].down, 1);
		assert_int_equal(w->host[HOME].failed, 1);
		assert_true(w->host[HOME].last_failed.failed.by_peer);
		assert_int_equal(w->host[HOME].last_down.down.why, types[i] == NO_PROPOSAL_CHOSEN
								       ? ENGINE_WHY_NO_PROPOSAL
								       : ENGINE_WHY_REFUSED);
		w->cut[VPS] = false;
		world_call(w, HOME);
		world_run(w, 0);
		world_agree(w);
		over(w);
	}
}

/* <-- SAr1, KEr, Nr of somebody who has seen our request. */
static void forged_keys(struct world *w, uint64_t spi_r, bool good_ke)
{
	static const uint8_t zero[32];

	odd_begin(&f, &(struct ike_hdr){ .spi_i = odd_calling(w),
					 .spi_r = spi_r,
					 .exchange = IKE_SA_INIT,
					 .flags = IKE_FLAG_RESPONSE });
	odd_choice(&f);
	if (good_ke)
		odd_ke(&f);
	else
		pld_ke_add(&f.b, KE_CURVE25519, (struct span){ zero, sizeof(zero) });
	odd_nonce(&f, 32);
	odd_end(&f);
	odd_inject(w, HOME, &w->host[HOME].path, &f);
}

/* RFC 7296 s2.4: the initiator may keep several, until one of them is authentic. */
static void ike_case_031_forged_answers_before_the_true_one_do_not_stop_it(void **s)
{
	(void)s;
	for (unsigned forged = 1; forged <= 40; forged += forged < 5 ? 1 : 35)
		for (int good = 0; good < 2; good++) {
			struct world *w = world_new(31, STYLE_PSK);

			world_start(w);
			world_call(w, HOME);
			for (unsigned i = 0; i < forged; i++)
				forged_keys(w, 100 + i, good);
			assert_true(counters(w, HOME).ike_sas <= 1 + CALL_CANDIDATES);
			world_run(w, forged < CALL_CANDIDATES ? 10000 : 60000);
			world_agree(w);
			assert_int_equal(w->host[HOME].failed, 0);
			over(w);
		}
}

/* RFC 7296 s2.1, s2.2 */
static void ike_case_032_a_repeated_init_is_answered_by_the_same_bytes(void **s)
{
	struct world *w = world_new(32, STYLE_PSK);
	struct engine_path p = odd_stranger(1), q = p;
	uint8_t answer[2048];
	uint64_t spi_r;
	struct flight *a;
	size_t len;

	(void)s;
	world_start(w);
	init_from(w, &p, 7, NULL, 0);
	assert_int_equal(world_in_flight(w, HOME), 1);
	a = &w->flight[0];
	len = a->len;
	memcpy(answer, a->bytes, len);
	memcpy(&spi_r, answer + 8, 8);
	world_lose(w, HOME);
	for (int i = 0; i < 20; i++) {
		init_from(w, &p, 7, NULL, 0);
		assert_int_equal(world_in_flight(w, HOME), 1);
		assert_int_equal(w->flight[0].len, len);
		assert_memory_equal(w->flight[0].bytes, answer, len);
		world_lose(w, HOME);
		w->now_ms += 1000;
	}
	assert_int_equal(counters(w, VPS).half_open, 1);
	assert_int_equal(counters(w, VPS).in_retransmits, 20);
	/* The same SPIi by chance: another address or port is another caller. */
	q.remote.addr.b[3]++;
	for (int i = 0; i < 2; i++) {
		init_from(w, &q, 7, NULL, 0);
		assert_int_equal(world_in_flight(w, HOME), 1);
		assert_memory_not_equal(w->flight[0].bytes + 8, &spi_r, 8);
		assert_int_equal(w->flight[0].bytes[16], PLD_SA);
		world_lose(w, HOME);
		assert_int_equal(counters(w, VPS).half_open, 2 + i);
		q = p;
		q.remote.port++;
	}
	/* Other bytes from the same caller: neither answered nor a second SA. */
	odd_init(&f, 7);
	odd_rest(&f);
	odd_end(&f);
	f.buf[f.len - 1] ^= 1;
	odd_inject(w, VPS, &p, &f);
	assert_int_equal(world_in_flight(w, HOME), 0);
	assert_int_equal(counters(w, VPS).half_open, 3);
	over(w);
}

/* ---- floods ---- */

/* Cookies are asked for, nothing is computed, and who is up does not notice. */
static void spoofed_from_everywhere(void)
{
	struct world *w = world_new(33, STYLE_PSK);
	unsigned replies, answered = 0, most = 0;

	world_up(w);
	odd_init(&f, 1);
	odd_rest(&f);
	odd_end(&f);
	dh_done = 0;
	replies = w->host[HOME].replies;
	for (unsigned i = 0; i < 100000; i++) {
		struct engine_path p = odd_stranger(0);

		memcpy(p.remote.addr.b,
		       (uint8_t[]){ (uint8_t)(i % 200 + 11), (uint8_t)(i >> 16), (uint8_t)(i >> 8),
				    (uint8_t)i },
		       4);
		memcpy(f.buf + 4, &i, 4);
		odd_inject(w, VPS, &p, &f);
		answered += !odd_notify_only(odd_answer(w, HOME, NULL), COOKIE);
		most = counters(w, VPS).half_open > most ? counters(w, VPS).half_open : most;
		if (i % 100 == 99)
			w->now_ms++;
		if (i % 10000 == 9999) { /* ten times in this second: proof of life */
			DO(w, HOME,
			   assert_int_equal(0, engine_liveness(e, now, w->host[HOME].ike, fx)));
			world_deliver(w, VPS);
			world_deliver(w, HOME);
		}
		if (i == 50000) {
			DO(w, HOME,
			   assert_int_equal(0, engine_rekey_ike(e, now, w->host[HOME].ike, fx)));
			while (world_deliver(w, VPS) || world_deliver(w, HOME))
				;
		}
	}
	assert_int_equal(w->host[HOME].replies - replies, 10 + 1); /* and that of the rekey */
	assert_int_equal(w->host[HOME].ike_rekeyed, 1);
	assert_int_equal(dh_done, 2); /* of the rekey, on both sides */
	assert_in_range(most, 1, 64);
	assert_in_range(answered, 1, 64);
	assert_in_range(counters(w, VPS).ike_sas, 1,
			2); /* the rekeyed one repeats its last answer */
	assert_int_equal(w->host[HOME].down + w->host[VPS].down, 0);
	assert_int_equal(w->host[HOME].unanswered, 0);
	/* Whoever returns a cookie gets in at once, while it goes on. */
	world_call(w, HOME);
	world_run(w, 100);
	assert_int_equal(w->host[HOME].up, 2);
	world_run(w, 60000);
	world_agree(w);
	over(w);
}

/* A thousand in a second by one network, all of which return their cookie. */
static void from_one_prefix(const char *net, const char *other_net)
{
	struct world *w = world_new(33, STYLE_PSK);
	struct engine_path p = odd_stranger(0);
	struct prefix inside, elsewhere;
	unsigned got = 0, others = 0, at_first;
	size_t low;

	assert_int_equal(0, prefix_parse(net, &inside));
	assert_int_equal(0, prefix_parse(other_net, &elsewhere));
	low = addr_len(&inside.addr) - 1;
	world_start(w);
	at_first = load(w);
	for (unsigned i = 0; i < 1000; i++) {
		struct cookie c;

		p.remote.addr = inside.addr;
		p.remote.addr.b[low] = (uint8_t)i;
		p.remote.addr.b[low - 2] |= low > 4 ? (uint8_t)(i >> 8) : 0; /* below /56 */
		p.remote.port = (uint16_t)(1024 + i);
		init_from(w, &p, 5000 + i, NULL, 0);
		assert_true(cookie_of(w, &c));
		init_from(w, &p, 5000 + i, c.b, c.len);
		if (world_in_flight(w, HOME)) {
			assert_false(cookie_of(w, &c));
			got++;
		}
		if (i % 50)
			continue;
		/* Meanwhile another network calls, and is not kept waiting. */
		p.remote.addr = elsewhere.addr;
		p.remote.addr.b[low] = (uint8_t)i;
		init_from(w, &p, 5000 + i, NULL, 0);
		assert_true(cookie_of(w, &c));
		init_from(w, &p, 5000 + i, c.b, c.len);
		assert_false(cookie_of(w, &c));
		others++;
		w->now_ms += 50;
	}
	assert_int_equal(others, 20);
	assert_in_range(got, 1, 200); /* of 1000 */
	assert_in_range(counters(w, VPS).half_open, at_first, at_first + 64 + others);
	over(w);
}

/* RFC 7296 s2.6; a /24 and a /56 are what one customer's machines may share. */
static void ike_case_033_floods_meet_cookies_and_one_network_its_limit(void **s)
{
	(void)s;
	spoofed_from_everywhere();
	from_one_prefix("203.0.113.0/24", "203.0.112.0/24");
	from_one_prefix("2001:db8:1:100::/56", "2001:db8:1:200::/56");
}

/* RFC 7296 s2.21.2 */
static void ike_case_034_garbage_for_ike_auth_costs_one_dh_and_ends_nothing(void **s)
{
	struct world *w = world_new(34, STYLE_PSK);
	struct engine_path p = odd_stranger(3);
	uint8_t garbage[600];
	struct ike_hdr h;

	(void)s;
	odd_until_auth(w);
	dh_done = 0;
	assert_int_equal(0, ike_hdr_parse(w->flight[0].bytes, w->flight[0].len, &h));
	for (unsigned i = 0; i < 1000; i++) {
		for (size_t k = 0; k < sizeof(garbage); k++)
			garbage[k] = (uint8_t)world_random(w);
		odd_begin(&f, &h);
		odd_payload(&f, PLD_SK, 0, garbage, 20 + i % 580);
		odd_end(&f);
		odd_inject(w, VPS, i % 2 ? &p : &w->host[VPS].path, &f);
	}
	assert_int_equal(world_in_flight(w, HOME), 0);
	assert_int_equal(counters(w, VPS).half_open, 1);
	assert_in_range(dh_done, 0, 1);
	assert_true(counters(w, VPS).in_unauthenticated > 900);
	world_run(w, 0);
	world_agree(w);
	assert_int_equal(dh_done, 1);
	over(w);
}

/* ---- what the other side can ---- */

/* RFC 7296 s2.23: both notifies are optional. ESP is encapsulated in UDP as always here. */
static void ike_case_035_without_nat_detection_all_the_rest_works(void **s)
{
	(void)s;
	for (unsigned who = 1; who < 8; who++) {
		struct world *w = world_new(35, STYLE_PSK);

		world_start(w);
		for (int a = 0; a < 2; a++) {
			bool absent = who & (1u << a);

			left_out[0] = absent && who < 4 ? NAT_DETECTION_SOURCE_IP : 0;
			left_out[1] = absent ? NAT_DETECTION_DESTINATION_IP : 0;
			cut_short = absent && who >= 4 ? NAT_DETECTION_SOURCE_IP : 0;
			if (a == 0)
				world_call(w, HOME);
			else
				world_deliver(w, VPS);
		}
		left_out[0] = left_out[1] = cut_short = 0;
		world_run(w, 0);
		world_agree(w);
		if (who == 3)
			assert_false(w->host[HOME].last_up.up.nat_local);
		EACH_HOST(a)
		{
			DO(w, a, assert_int_equal(0, engine_liveness(e, now, w->host[a].ike, fx)));
			world_run(w, 100);
			DO(w, a, assert_int_equal(0, engine_rekey_ike(e, now, w->host[a].ike, fx)));
			world_run(w, 1000);
		}
		assert_int_equal(w->host[HOME].ike_rekeyed, 2);
		world_agree(w);
		over(w);
	}
}

/* The one packet in flight arrives at the VPS by @p; what it answers goes back there. */
static void by_path(struct world *w, const struct engine_path *p)
{
	struct engine_path back;

	assert_int_equal(w->flights, 1);
	assert_int_equal(w->flight[0].to, VPS);
	w->flight[0].path = *p;
	world_deliver(w, VPS);
	assert_int_equal(w->flights, 1);
	assert_int_equal(w->flight[0].to, HOME);
	back = w->flight[0].path;
	assert_int_equal(back.sock, p->sock);
	assert_true(endpoint_eq(&back.local, &p->remote));
	assert_true(endpoint_eq(&back.remote, &p->local));
	w->flight[0].path = w->host[HOME].path;
	world_deliver(w, HOME);
}

/* RFC 7296 s2.11, s2.23 */
static void ike_case_036_each_request_is_answered_where_it_came_from(void **s)
{
	struct world *w = world_new(36, STYLE_PSK);
	struct engine_path p = { .sock = 5 };

	(void)s;
	w->host[HOME].never_set_path = w->host[VPS].never_set_path = true;
	world_start(w);
	endpoint_parse("192.0.2.1:500", 0, &p.local);
	endpoint_parse("10.0.0.2:500", 0, &p.remote);
	world_call(w, HOME);
	by_path(w, &p); /* IKE_SA_INIT on 500 */
	p.sock = 3;
	p.local.port = 4500;
	p.remote.port = 4500;
	by_path(w, &p); /* IKE_AUTH on 4500 */
	world_agree(w);
	EACH_HOST(a)
	odd_sa_of(w, a)->mobike = false; /* or home would say after each where it is: test_mobike.c */
	for (int i = 0; i < 6; i++) { /* and from wherever a NAT puts it */
		DO(w, HOME, assert_int_equal(0, engine_liveness(e, now, w->host[HOME].ike, fx)));
		p.sock = i % 2 ? 3 : 5;
		p.local.port = i % 2 ? 4500 : 500;
		p.remote.port = (uint16_t)(i == 3 ? 1 : 20000 + i);
		p.remote.addr.b[3] = (uint8_t)(2 + i / 3);
		by_path(w, &p);
	}
	assert_true(w->host[VPS].from_other_path > 0);
	/* The same bytes again, from somewhere else: there the stored answer goes too. */
	DO(w, HOME, assert_int_equal(0, engine_liveness(e, now, w->host[HOME].ike, fx)));
	world_deliver(w, VPS);
	world_lose(w, HOME);
	DO(w, HOME, assert_int_equal(0, engine_retransmit(e, now, w->host[HOME].ike, NULL, fx)));
	p.remote.port = 33333;
	by_path(w, &p);
	assert_false(odd_sa_of(w, HOME)->win.outstanding);
	world_agree(w);
	over(w);
}

static void drop_mobike(struct odd *out, uint8_t type, uint8_t flags, struct span body,
			const void *arg)
{
	struct pld_notify n;

	if (type != PLD_NOTIFY || pld_notify_parse(body, &n) || n.type != MOBIKE_SUPPORTED)
		odd_keep(out, type, flags, body, arg);
}

static bool has_notify(const struct flight *fl, uint16_t type)
{
	struct ike_msg *m = calloc(1, sizeof(*m));
	bool r;

	assert_non_null(m);
	assert_int_equal(0, ike_msg_parse(fl->bytes, fl->len, m));
	r = ike_msg_notify(m, type);
	free(m);
	return r;
}

/* RFC 7383 s2.3: a responder says it only to who said it; then whole messages are all there is. */
static void no_fragments_for_who_cannot(void)
{
	struct world *w = world_new(37, STYLE_CERT_RSA);

	world_start(w);
	left_out[0] = IKEV2_FRAGMENTATION_SUPPORTED;
	world_call(w, HOME);
	left_out[0] = 0;
	world_deliver(w, VPS);
	assert_int_equal(w->flights, 1);
	assert_false(has_notify(&w->flight[0], IKEV2_FRAGMENTATION_SUPPORTED));
	world_deliver(w, HOME);
	assert_int_equal(w->flights, 1); /* IKE_AUTH in one piece, however large */
	assert_true(w->flight[0].len > MSG_FIRST_MAX);
	assert_int_equal(w->flight[0].bytes[16], PLD_SK);
	world_run(w, 0);
	world_agree(w);
	over(w);
	/* And the other way: the responder cannot. */
	w = world_new(37, STYLE_CERT_RSA);
	world_start(w);
	world_call(w, HOME);
	assert_true(has_notify(&w->flight[0], IKEV2_FRAGMENTATION_SUPPORTED));
	left_out[0] = IKEV2_FRAGMENTATION_SUPPORTED;
	world_deliver(w, VPS);
	left_out[0] = 0;
	world_deliver(w, HOME);
	assert_int_equal(w->flights, 1);
	assert_int_equal(w->flight[0].bytes[16], PLD_SK);
	over(w);
}

/* RFC 7383 s2.3, RFC 4555 s3.1, RFC 9242 s3.1: what one side alone says changes nothing. */
static void ike_case_037_notifies_that_nobody_offered_are_ignored(void **s)
{
	static const uint16_t unsolicited[] = { INTERMEDIATE_EXCHANGE_SUPPORTED, MOBIKE_SUPPORTED,
						REDIRECT_SUPPORTED, USE_PPK,
						ADDITIONAL_KEY_EXCHANGE };
	struct ike_hdr h;

	(void)s;
	for (size_t i = 0; i < 2 * sizeof(unsolicited) / sizeof(*unsolicited); i++) {
		struct world *w = world_new(37, STYLE_PSK);

		world_start(w);
		added = i % 2 ? unsolicited[i / 2] : 0; /* in the request, which may say so, */
		world_call(w, HOME);
		added = i % 2 ? 0 : unsolicited[i / 2]; /* or in the answer, which may not */
		world_deliver(w, VPS);
		added = 0;
		assert_int_equal(w->flights, 1);
		assert_true(has_notify(&w->flight[0], unsolicited[i / 2]) == !(i % 2));
		world_deliver(w, HOME);
		assert_int_equal(w->flights, 1);
		assert_int_equal(0, ike_hdr_parse(w->flight[0].bytes, w->flight[0].len, &h));
		assert_int_equal(h.exchange, IKE_AUTH); /* not IKE_INTERMEDIATE */
		assert_int_equal(h.id, 1);
		if (i % 2)
			odd_change(w, VPS, odd_candidate(w, HOME), drop_mobike, NULL);
		world_deliver(w, VPS);
		if (!(i % 2))
			odd_change(w, HOME, w->host[VPS].e->peers->sas, drop_mobike, NULL);
		world_run(w, 0);
		world_agree(w);
		assert_false(odd_sa_of(w, HOME)->mobike);
		assert_false(w->host[HOME].last_up.up.mobike);
		assert_true(odd_sa_of(w, VPS)->mobike == !(i % 2)); /* it was offered */
		over(w);
	}
	no_fragments_for_who_cannot();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ike_case_026_under_load_a_cookie_is_asked_for_and_nothing_is_kept),
		cmocka_unit_test(ike_case_027_only_the_right_cookie_opens_and_we_return_any),
		cmocka_unit_test(ike_case_028_endless_cookies_and_groups_end_after_five_rounds),
		cmocka_unit_test(
		    ike_case_029_a_group_that_we_offered_is_taken_with_the_same_proposals),
		cmocka_unit_test(ike_case_030_an_unauthenticated_refusal_waits_for_a_better_answer),
		cmocka_unit_test(ike_case_031_forged_answers_before_the_true_one_do_not_stop_it),
		cmocka_unit_test(ike_case_032_a_repeated_init_is_answered_by_the_same_bytes),
		cmocka_unit_test(ike_case_033_floods_meet_cookies_and_one_network_its_limit),
		cmocka_unit_test(ike_case_034_garbage_for_ike_auth_costs_one_dh_and_ends_nothing),
		cmocka_unit_test(ike_case_035_without_nat_detection_all_the_rest_works),
		cmocka_unit_test(ike_case_036_each_request_is_answered_where_it_came_from),
		cmocka_unit_test(ike_case_037_notifies_that_nobody_offered_are_ignored),
	};

	log_setup("exchange", LOG_LVL_ERR, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
