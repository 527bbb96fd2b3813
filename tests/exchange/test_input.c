/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What strangers, attackers and bad networks send; and what the caller does about load. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"
#include "log.h"
#include "message.h"
#include "payload.h"
#include "engine_int.h"
#include "sk.h"

/* All datagrams of a run, each with its receiver and path. */
static struct taped {
	int to;
	struct engine_path path;
	uint8_t bytes[2048];
	size_t len;
} tape[256];
static unsigned taped;

static bool record(struct world *w, int to, const struct engine_path *path, uint8_t *bytes,
		   size_t *len)
{
	struct taped *t = &tape[taped];

	assert_true(taped < 256 && *len <= sizeof(t->bytes));
	taped++;
	t->to = to;
	t->path = *path;
	memcpy(t->bytes, bytes, *len);
	t->len = *len;
	return true;
}

static void play(struct world *w, enum auth_style style)
{
	uint32_t ike;

	(void)style;
	taped = 0;
	w->filter = record;
	world_up(w);
	EACH_HOST(a)
	{
		ike = w->host[a].ike;
		DO(w, a, engine_liveness(e, now, ike, fx));
		world_run(w, 0);
	}
	w->filter = NULL;
	ike = w->host[HOME].ike;
	w->host[HOME].never_set_path = w->host[VPS].never_set_path = true;
}

static void replayed_requests_get_the_stored_answer_and_move_nothing(void **s)
{
	struct world *w = world_new(1, STYLE_PSK);
	struct engine_ike_info before, after;

	(void)s;
	play(w, STYLE_PSK);
	engine_ike_info(w->host[VPS].e, w->host[VPS].ike, &before);
	for (int round = 0; round < 3; round++)
		for (unsigned i = 0; i < taped; i++)
			world_inject(w, tape[i].to, &tape[i].path, tape[i].bytes, tape[i].len);
	engine_ike_info(w->host[VPS].e, w->host[VPS].ike, &after);
	assert_memory_equal(&before, &after, sizeof(before));
	EACH_HOST(a)
	{
		assert_int_equal(w->host[a].up, 1);
		assert_int_equal(w->host[a].down, 0);
	}
	world_run(w, 60000);
	world_agree(w);
	world_no_leaks(w);
	world_free(w);
}

static void the_last_request_again_gives_the_same_bytes(void **s)
{
	struct world *w = world_new(2, STYLE_PSK);
	struct taped request, answer;

	(void)s;
	play(w, STYLE_PSK);
	request = tape[taped - 4]; /* home's liveness */
	answer = tape[taped - 3];
	assert_int_equal(request.to, VPS);
	taped = 0;
	w->filter = record;
	world_inject(w, VPS, &request.path, request.bytes, request.len);
	assert_int_equal(taped, 1);
	assert_int_equal(tape[0].len, answer.len);
	assert_memory_equal(tape[0].bytes, answer.bytes, answer.len);
	/* From another address the answer goes there, and the endpoint stays. */
	request.path.remote.port++;
	world_inject(w, VPS, &request.path, request.bytes, request.len);
	assert_int_equal(taped, 2);
	assert_int_equal(tape[1].path.local.port, request.path.remote.port);
	assert_int_equal(w->host[VPS].from_other_path, 0);
	/* Same message ID, other bytes: nothing. */
	request.bytes[request.len - 1] ^= 1;
	world_inject(w, VPS, &request.path, request.bytes, request.len);
	assert_int_equal(taped, 2);
	w->filter = NULL;
	world_no_leaks(w);
	world_free(w);
}

static void unchanged(struct world *w)
{
	EACH_HOST(a)
	{
		assert_int_equal(w->host[a].up, 1);
		assert_int_equal(w->host[a].down, 0);
		assert_int_equal(w->host[a].child_down, 0);
		assert_int_equal(w->host[a].from_other_path, 0);
	}
	world_agree(w);
}

static void every_truncation_and_byte_change_is_harmless(void **s)
{
	(void)s;
	for (int style = STYLE_PSK; style <= STYLE_CERT_ED25519; style += 2) {
		struct world *w = world_new(3, (enum auth_style)style);
		unsigned n;

		play(w, (enum auth_style)style);
		n = taped;
		for (unsigned i = 0; i < n; i++) {
			struct taped t = tape[i];

			for (size_t len = 0; len < t.len; len++)
				world_inject(w, t.to, &t.path, t.bytes, len);
			for (size_t at = 0; at < t.len; at++) {
				t.bytes[at] ^= (uint8_t)(1u << at % 8);
				world_inject(w, t.to, &t.path, t.bytes, t.len);
				t.bytes[at] ^= (uint8_t)(1u << at % 8);
			}
			while (w->flights)
				world_lose(w, w->flight[0].to);
		}
		unchanged(w);
		world_run(w, 60000);
		world_agree(w);
		world_no_leaks(w);
		world_free(w);
	}
}

/* The same while the handshake is under way: what is changed is ignored, the true bytes still count. */
static bool change_before(struct world *w, int to, const struct engine_path *path, uint8_t *bytes,
			  size_t *len)
{
	for (size_t at = 0; at < *len; at += 3) {
		bytes[at] ^= 0x55;
		DO(w, to, engine_on_datagram(e, now, path, bytes, *len, fx));
		bytes[at] ^= 0x55;
	}
	return true;
}

static void a_handshake_survives_changed_copies_of_each_packet(void **s)
{
	struct world *w = world_new(4, STYLE_PSK);

	(void)s;
	w->filter = change_before;
	world_start(w);
	world_call(w, HOME);
	world_run(w, 30000);
	w->filter = NULL;
	world_run(w, 60000);
	world_agree(w);
	world_no_leaks(w);
	world_free(w);
}

static bool forge_answer(struct world *w, int to, const struct engine_path *path, uint8_t *bytes,
			 size_t *len)
{
	struct ike_hdr h;

	assert_int_equal(0, ike_hdr_parse(bytes, *len, &h));
	if (to == HOME && h.exchange == IKE_SA_INIT) {
		/* <-- IKE_SA_INIT with another SPIr and a nonce of the attacker's */
		uint8_t copy[2048];

		memcpy(copy, bytes, *len);
		copy[8] ^= 0xff;
		copy[*len / 2] ^= 1;
		world_inject(w, HOME, path, copy, *len);
	}
	return true;
}

static void a_forged_init_answer_does_not_stop_the_true_one(void **s)
{
	struct world *w = world_new(5, STYLE_RAW);

	(void)s;
	w->filter = forge_answer;
	world_start(w);
	world_call(w, HOME);
	world_run(w, 20000);
	w->filter = NULL;
	world_agree(w);
	world_no_leaks(w);
	world_free(w);
}

static void init_answer(struct world *w, uint64_t spi_i, uint16_t notify, const void *data,
			size_t len)
{
	struct engine_path path = { .sock = 3,
				    .local = w->host[HOME].path.local,
				    .remote = w->host[HOME].path.remote };
	struct ike_hdr h = { .spi_i = spi_i, .exchange = IKE_SA_INIT, .flags = IKE_FLAG_RESPONSE };
	struct ike_build b;
	uint8_t buf[200];
	size_t n;

	ike_build_begin(&b, buf, sizeof(buf), &h);
	pld_notify_add(&b, notify, (struct span){ data, len });
	assert_int_equal(0, ike_build_end(&b, &n));
	world_inject(w, HOME, &path, buf, n);
}

static uint64_t calling_spi(struct world *w)
{
	struct engine_ike_info i;
	uint32_t ike;

	assert_int_equal(1, engine_peer_ikes(w->host[HOME].e, w->host[HOME].peer.id, &ike, 1));
	engine_ike_info(w->host[HOME].e, ike, &i);
	return i.spi_i;
}

static void a_forged_refusal_does_not_stop_the_true_answer(void **s)
{
	static const uint16_t forged[] = { NO_PROPOSAL_CHOSEN, INVALID_SYNTAX, INVALID_IKE_SPI };

	(void)s;
	for (size_t i = 0; i < 3; i++) {
		struct world *w = world_new(6, STYLE_PSK);

		world_start(w);
		world_call(w, HOME);
		init_answer(w, calling_spi(w), forged[i], NULL, 0);
		world_run(w, 2000);
		world_agree(w);
		assert_int_equal(w->host[HOME].failed, 0);
		world_no_leaks(w);
		world_free(w);
	}
}

static void endless_cookies_and_groups_are_bounded(void **s)
{
	struct world *w = world_new(7, STYLE_PSK);
	unsigned sent;

	(void)s;
	world_start(w);
	w->cut[VPS] = true;
	world_call(w, HOME);
	sent = w->host[HOME].sent;
	for (int i = 0; i < 200; i++) {
		init_answer(w, calling_spi(w), COOKIE, &i, sizeof(i));
		init_answer(w, calling_spi(w), INVALID_KE_PAYLOAD, i & 1 ? "\x00\x13" : "\x00\x1f",
			    2);
	}
	assert_true(w->host[HOME].sent - sent <= 5);
	init_answer(w, calling_spi(w), INVALID_KE_PAYLOAD, "\x00\x02", 2); /* never offered */
	init_answer(w, calling_spi(w), COOKIE, "", 0);
	w->cut[VPS] = false;
	world_run(w, 30000);
	world_agree(w);
	world_no_leaks(w);
	world_free(w);
}

/* ---- load ---- */

static size_t init_request(uint8_t *buf, size_t cap, uint64_t spi, const void *cookie, size_t len)
{
	struct ike_hdr h = { .spi_i = spi, .exchange = IKE_SA_INIT, .flags = IKE_FLAG_INITIATOR };
	struct proposals ps = { 0 };
	struct ike_build b;
	uint8_t key[32] = { 9 }, nonce[32] = { 7 };
	size_t n;

	proposals_default_ike(&ps, true);
	ike_build_begin(&b, buf, cap, &h);
	if (len)
		pld_notify_add(&b, COOKIE, (struct span){ cookie, len });
	sa_add(&b, &ps);
	pld_ke_add(&b, KE_CURVE25519, (struct span){ key, sizeof(key) });
	pld_nonce_add(&b, (struct span){ nonce, sizeof(nonce) });
	assert_int_equal(0, ike_build_end(&b, &n));
	return n;
}

static struct engine_path stranger(unsigned i)
{
	struct engine_path p = { .sock = 3 };

	endpoint_parse("192.0.2.1:4500", 0, &p.local);
	endpoint_parse("198.51.100.1:1024", 0, &p.remote);
	p.remote.addr.b[2] = (uint8_t)(i >> 8);
	p.remote.addr.b[3] = (uint8_t)i;
	p.remote.port = (uint16_t)(1024 + i % 60000);
	return p;
}

static void a_flood_gets_cookies_and_the_peer_still_comes_in(void **s)
{
	struct world *w = world_new(8, STYLE_PSK);
	struct engine_counters n;
	uint8_t buf[2048];

	(void)s;
	world_start(w);
	for (unsigned i = 0; i < 5000; i++) {
		struct engine_path p = stranger(i);

		world_inject(w, VPS, &p, buf, init_request(buf, sizeof(buf), 1000 + i, NULL, 0));
		world_lose(w, HOME);
	}
	engine_counters_get(w->host[VPS].e, &n);
	assert_int_equal(n.half_open, 32);
	assert_int_equal(n.cookies_sent, 5000 - 32);
	/* IKE_SA_INIT -->  <-- N(COOKIE)  N(COOKIE), IKE_SA_INIT --> */
	world_call(w, HOME);
	world_run(w, 3000);
	world_agree(w);
	world_run(w, 40000);
	engine_counters_get(w->host[VPS].e, &n);
	assert_int_equal(n.half_open, 0);
	world_no_leaks(w);
	world_free(w);
}

static bool cookie_of(struct world *w, uint8_t *out, size_t *len)
{
	static struct ike_msg m;
	bool ok = false;

	assert_int_equal(w->flights, 1);
	if (!ike_msg_parse(w->flight[0].bytes, w->flight[0].len, &m) &&
	    ike_msg_notify(&m, COOKIE)) {
		*len = ike_msg_notify(&m, COOKIE)->len;
		memcpy(out, ike_msg_notify(&m, COOKIE)->data, *len);
		ok = true;
	}
	world_lose(w, HOME);
	return ok;
}

static void only_the_right_cookie_opens(void **s)
{
	struct world *w = world_new(9, STYLE_PSK);
	struct engine_counters n;
	uint8_t buf[2048], cookie[64], wrong[64];
	struct engine_path p, q;
	size_t len = 0, x;

	(void)s;
	world_start(w);
	for (unsigned i = 0; i < 32; i++) {
		p = stranger(i);
		world_inject(w, VPS, &p, buf, init_request(buf, sizeof(buf), 1000 + i, NULL, 0));
		world_lose(w, HOME);
	}
	p = stranger(777);
	world_inject(w, VPS, &p, buf, init_request(buf, sizeof(buf), 5, NULL, 0));
	assert_true(cookie_of(w, cookie, &len));
	/* changed, cut, from another address, for another SPI */
	memcpy(wrong, cookie, len);
	wrong[len - 1] ^= 1;
	world_inject(w, VPS, &p, buf, init_request(buf, sizeof(buf), 5, wrong, len));
	assert_true(cookie_of(w, wrong, &x));
	world_inject(w, VPS, &p, buf, init_request(buf, sizeof(buf), 5, cookie, len - 1));
	assert_true(cookie_of(w, wrong, &x));
	q = stranger(778);
	world_inject(w, VPS, &q, buf, init_request(buf, sizeof(buf), 5, cookie, len));
	assert_true(cookie_of(w, wrong, &x));
	world_inject(w, VPS, &p, buf, init_request(buf, sizeof(buf), 6, cookie, len));
	assert_true(cookie_of(w, wrong, &x));
	engine_counters_get(w->host[VPS].e, &n);
	assert_int_equal(n.half_open, 32);
	/* the right one, while the secret has changed once; then not any more */
	w->now_ms += 61000;
	DO(w, VPS, engine_on_timer(e, now, fx));
	for (unsigned i = 0; i < 32; i++) {
		q = stranger(2000 + i);
		world_inject(w, VPS, &q, buf, init_request(buf, sizeof(buf), 3000 + i, NULL, 0));
		world_lose(w, HOME);
	}
	world_inject(w, VPS, &p, buf, init_request(buf, sizeof(buf), 5, cookie, len));
	assert_false(cookie_of(w, wrong, &x));
	engine_counters_get(w->host[VPS].e, &n);
	assert_int_equal(n.half_open, 33);
	w->now_ms += 20000;
	world_inject(w, VPS, &p, buf, init_request(buf, sizeof(buf), 6, cookie, len));
	assert_true(cookie_of(w, wrong, &x));
	world_run(w, 40000);
	world_no_leaks(w);
	world_free(w);
}

static void one_prefix_cannot_fill_the_table_even_with_cookies(void **s)
{
	struct world *w = world_new(10, STYLE_PSK);
	struct engine_counters n;
	uint8_t buf[2048], cookie[64];
	size_t len;

	(void)s;
	world_start(w);
	for (unsigned i = 0; i < 250; i++) {
		struct engine_path p = stranger(i);

		world_inject(w, VPS, &p, buf, init_request(buf, sizeof(buf), 1000 + i, NULL, 0));
		if (!cookie_of(w, cookie, &len))
			continue;
		world_inject(w, VPS, &p, buf,
			     init_request(buf, sizeof(buf), 1000 + i, cookie, len));
		world_lose(w, HOME);
	}
	engine_counters_get(w->host[VPS].e, &n);
	assert_int_equal(n.half_open, 32 + 64);
	world_run(w, 40000);
	world_no_leaks(w);
	world_free(w);
}

static void strays_are_answered_at_a_bounded_rate(void **s)
{
	struct world *w = world_new(11, STYLE_PSK);
	struct engine_path p = stranger(1);

	(void)s;
	play(w, STYLE_PSK);
	for (int i = 0; i < 1000; i++) {
		struct taped t = tape[2]; /* IKE_AUTH --> of an SA that nobody has */

		t.bytes[8] ^= 0xaa;
		world_inject(w, VPS, &p, t.bytes, t.len);
	}
	assert_int_equal(world_in_flight(w, HOME), 10); /* <-- N(INVALID_IKE_SPI) */
	while (world_lose(w, HOME))
		;
	unchanged(w);
	world_no_leaks(w);
	world_free(w);
}

static void an_unauthenticated_invalid_ike_spi_is_only_a_hint(void **s)
{
	struct world *w = world_new(12, STYLE_PSK);
	uint32_t ike;

	(void)s;
	world_up(w);
	world_restart(w, VPS);
	ike = w->host[HOME].ike;
	DO(w, HOME, engine_liveness(e, now, ike, fx));
	world_run(w, 400);
	assert_int_equal(w->host[HOME].hints, 1);
	assert_int_equal(w->host[HOME].down, 0);
	/* The supervisor calls in parallel; the new IKE SA replaces the dead one. */
	world_call(w, HOME);
	world_run(w, 100);
	world_agree(w);
	world_run(w, 90000);
	assert_true(w->host[HOME].last_down.down.replaced);
	world_no_leaks(w);
	world_free(w);
}

/* <-- CREATE_CHILD_SA { SA, Nr, TSi, TSr } with a TSr of the peer's own choice, sealed by its keys */
static void answer_with_selectors(struct world *w, const char *tsr)
{
	struct ike_sa *sa = w->host[VPS].e->peers->sas;
	struct ike_hdr h = { .spi_i = sa->spi_i,
			     .spi_r = sa->spi_r,
			     .exchange = CREATE_CHILD_SA,
			     .flags = IKE_FLAG_RESPONSE,
			     .id = sa->win.next_in };
	struct engine_path path = { .sock = 3,
				    .local = w->host[HOME].path.local,
				    .remote = w->host[HOME].path.remote };
	static struct ts_list l[2];
	static struct proposals offer;
	uint8_t inner[1000], out[1200], spi[4] = { 0xaa, 1, 2, 3 }, nonce[32] = { 1 };
	struct sa_choice c;
	struct ike_build b;
	struct prefix p;
	size_t n;

	offer = w->host[VPS].esp_ps;
	proposals_set_spi(&offer, spi, 4);
	assert_int_equal(0, sa_choose(&w->host[VPS].esp_ps, &offer, 0, false, &c));
	memset(l, 0, sizeof(l));
	prefix_parse("10.99.0.2", &p);
	ts_append(&l[0], &(struct ts){ 0 });
	l[0].ts[0] = ts_from_prefix(&p);
	prefix_parse(tsr, &p);
	ts_append(&l[1], &(struct ts){ 0 });
	l[1].ts[0] = ts_from_prefix(&p);
	ike_build_inner(&b, inner, sizeof(inner));
	sa_add_choice(&b, &c, spi, 4);
	pld_nonce_add(&b, (struct span){ nonce, sizeof(nonce) });
	ts_add(&b, PLD_TSI, &l[0]);
	ts_add(&b, PLD_TSR, &l[1]);
	assert_int_equal(0, ike_build_end(&b, &n));
	assert_int_equal(0, sk_seal(sa->aead_out, &h, b.first, inner, n, out, sizeof(out), &n));
	world_inject(w, HOME, &path, out, n);
}

static void a_peer_cannot_widen_the_selectors(void **s)
{
	static const char *const tsr[] = { "10.99.0.1", "0.0.0.0/0", "10.99.0.0/31", "10.99.0.77" };

	(void)s;
	for (int i = 0; i < 4; i++) {
		struct world *w = world_new(15, STYLE_PSK);
		uint32_t ike;

		EACH_HOST(a)
		proposals_default_esp(&w->host[a].esp_ps, true, false);
		world_up(w);
		ike = w->host[HOME].ike;
		DO(w, HOME, engine_create_child(e, now, ike, fx));
		world_lose(w, VPS);
		answer_with_selectors(w, tsr[i]);
		assert_int_equal(w->host[HOME].child_up, i ? 1 : 2);
		assert_int_equal(w->host[HOME].failed, i ? 1 : 0);
		world_free(w);
	}
}

static bool limit_size(struct world *w, int to, const struct engine_path *path, uint8_t *bytes,
		       size_t *len)
{
	size_t max = *(size_t *)w->filter_arg;

	return *len <= max;
}

static void large_messages_travel_in_fragments_and_get_smaller(void **s)
{
	size_t sizes[] = { 1280, 600 };

	(void)s;
	for (int i = 0; i < 2; i++) {
		struct world *w = world_new(13, STYLE_CERT_RSA);

		w->filter = limit_size;
		w->filter_arg = &sizes[i];
		world_start(w);
		world_call(w, HOME);
		w->delay_max = 60; /* fragments overtake each other */
		w->dup = 30;
		world_run(w, 60000);
		world_agree(w);
		w->filter = NULL;
		world_no_leaks(w);
		world_free(w);
	}
}

static void nat_is_judged_from_true_hashes(void **s)
{
	(void)s;
	for (int nat = 0; nat < 2; nat++) {
		struct world *w = world_new(14, STYLE_PSK);

		/* Behind NAT home's own address is not what the VPS sees. */
		if (nat)
			endpoint_parse("192.168.7.7:40000", 0, &w->host[HOME].path.local);
		w->filter = NULL;
		world_start(w);
		world_call(w, HOME);
		if (nat) {
			w->flight[0].path.remote.addr.b[3] = 99;
			world_deliver(w, VPS);
			w->flight[0].path.local = w->host[HOME].path.local;
		}
		world_deliver(w, HOME);
		if (nat)
			w->flight[0].path.remote.addr.b[3] = 99;
		world_run(w, 0);
		assert_int_equal(w->host[HOME].last_up.up.nat_local, nat);
		assert_false(w->host[HOME].last_up.up.nat_remote);
		assert_false(w->host[VPS].last_up.up.nat_local);
		assert_true(w->host[VPS].last_up.up.nat_remote); /* assumed of a caller */
		world_free(w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(replayed_requests_get_the_stored_answer_and_move_nothing),
		cmocka_unit_test(the_last_request_again_gives_the_same_bytes),
		cmocka_unit_test(every_truncation_and_byte_change_is_harmless),
		cmocka_unit_test(a_handshake_survives_changed_copies_of_each_packet),
		cmocka_unit_test(a_forged_init_answer_does_not_stop_the_true_one),
		cmocka_unit_test(a_forged_refusal_does_not_stop_the_true_answer),
		cmocka_unit_test(endless_cookies_and_groups_are_bounded),
		cmocka_unit_test(a_flood_gets_cookies_and_the_peer_still_comes_in),
		cmocka_unit_test(only_the_right_cookie_opens),
		cmocka_unit_test(one_prefix_cannot_fill_the_table_even_with_cookies),
		cmocka_unit_test(strays_are_answered_at_a_bounded_rate),
		cmocka_unit_test(an_unauthenticated_invalid_ike_spi_is_only_a_hint),
		cmocka_unit_test(a_peer_cannot_widen_the_selectors),
		cmocka_unit_test(large_messages_travel_in_fragments_and_get_smaller),
		cmocka_unit_test(nat_is_judged_from_true_hashes),
	};

	log_setup("exchange", LOG_LVL_ERR, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
