/* SPDX-License-Identifier: GPL-3.0-or-later */
/* MOBIKE (RFC 4555): the IKE SA and its CHILD SAs move, and stay what they are. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forge.h"
#include "odd.h"

static struct endpoint at(const char *s)
{
	struct endpoint e;

	assert_int_equal(0, endpoint_parse(s, 4500, &e));
	return e;
}

/* Home's way to the VPS from another address of its own. */
static struct engine_path from(struct world *w, const char *local)
{
	struct engine_path p = w->host[HOME].path;

	p.local = at(local);
	return p;
}

static struct endpoint seen_at(struct world *w, int h)
{
	struct engine_ike_info i;

	assert_true(engine_ike_info(w->host[h].e, w->host[h].ike, &i));
	return i.path.remote;
}

static struct world *pair(uint64_t seed)
{
	struct world *w = world_new(seed, STYLE_PSK);

	world_up(w);
	EACH_HOST(h)
	w->host[h].never_set_path = true; /* the test is the supervisor */
	return w;
}

static void moves_to(struct world *w, const char *local)
{
	struct engine_path p = from(w, local);

	DO(w, HOME, assert_int_equal(0, engine_update_addresses(e, now, w->host[HOME].ike, &p, fx)));
}

static void over(struct world *w)
{
	world_run(w, 0);
	world_agree(w);
	world_no_leaks(w);
	world_free(w);
}

static void both_sides_say_that_they_have_it(void **s)
{
	struct world *w = pair(1);

	(void)s;
	EACH_HOST(h)
	{
		struct engine_ike_info i;

		assert_true(w->host[h].last_up.up.mobike);
		engine_ike_info(w->host[h].e, w->host[h].ike, &i);
		assert_true(i.mobike);
		DO(w, h, assert_int_equal(0, engine_rekey_ike(e, now, w->host[h].ike, fx)));
		world_run(w, 60000);
		engine_ike_info(w->host[h].e, w->host[h].ike, &i);
		assert_true(i.mobike); /* it belongs to the series */
	}
	over(w);
}

static void an_update_moves_ike_at_once_and_esp_by_fx_update(void **s)
{
	struct world *w = pair(2);

	(void)s;
	moves_to(w, "10.9.0.7:40001");
	world_deliver(w, VPS);
	assert_int_equal(w->host[VPS].updates, 1);
	assert_true(endpoint_eq(&w->host[VPS].last_update.update.path.remote,
				&(struct endpoint){ at("10.9.0.7:40001").addr, 40001 }));
	assert_true(w->host[VPS].last_update.update.unproved);
	assert_true(w->host[VPS].last_update.update.bytes > 28);
	assert_int_equal(w->host[VPS].replies, 0);
	world_run(w, 0);
	/* The VPS had COOKIE2 back from there. */
	assert_int_equal(w->host[VPS].replies, 1);
	assert_true(w->host[VPS].last_reply.reply.routable);
	assert_int_equal(w->host[HOME].updated, 1);
	assert_int_equal(w->host[HOME].last_updated.update.result, ENGINE_UPDATE_DONE);
	assert_int_equal(seen_at(w, VPS).port, 40001);
	/* Another port alone needs no proof. */
	moves_to(w, "10.9.0.7:40002");
	world_run(w, 0);
	assert_int_equal(w->host[VPS].updates, 2);
	assert_false(w->host[VPS].last_update.update.unproved);
	assert_int_equal(w->host[VPS].replies, 1);
	assert_int_equal(w->host[VPS].up + w->host[VPS].down + w->host[HOME].down, 1);
	over(w);
}

/* s3.8: whatever else comes from somewhere else is answered there, and moves nothing. */
static void no_other_request_moves_anything(void **s)
{
	struct world *w = pair(3);
	struct engine_path p = from(w, "10.9.0.7:40001");

	(void)s;
	DO(w, HOME, engine_set_path(e, now, w->host[HOME].ike, &p, fx));
	DO(w, HOME, engine_liveness(e, now, w->host[HOME].ike, fx));
	world_deliver(w, VPS);
	assert_int_equal(w->host[VPS].from_other_path, 1);
	assert_int_equal(w->host[VPS].updates, 0);
	assert_int_equal(seen_at(w, VPS).port, 40000);
	world_run(w, 0);
	/* The answer told home that it is seen elsewhere, so it said so. */
	assert_int_equal(w->host[HOME].nat_changed, 1);
	assert_int_equal(w->host[VPS].updates, 1);
	over(w);
}

static void a_request_under_way_keeps_its_bytes_and_the_update_is_next(void **s)
{
	struct world *w = pair(4);
	uint8_t first[2048];
	size_t len;

	(void)s;
	DO(w, HOME, engine_rekey_child(e, now, w->host[HOME].child[0].spi_in, fx));
	assert_int_equal(w->flights, 1);
	len = w->flight[0].len;
	assert_true(len <= sizeof(first));
	memcpy(first, w->flight[0].bytes, len);
	world_lose(w, VPS);
	moves_to(w, "10.9.0.7:40001");
	assert_int_equal(w->flights, 1);
	assert_int_equal(w->flight[0].len, len);
	assert_memory_equal(w->flight[0].bytes, first, len);
	assert_int_equal(w->flight[0].path.remote.port, 40001);
	world_deliver(w, VPS);
	assert_int_equal(w->host[VPS].updates, 0);
	world_deliver(w, HOME);
	world_deliver(w, VPS);
	assert_int_equal(w->host[VPS].updates, 1);
	world_run(w, 0);
	assert_int_equal(w->host[HOME].child_rekeyed, 1);
	over(w);
}

/* Only the last move is told, and only its answer counts. */
static void of_several_moves_the_last_is_said(void **s)
{
	struct world *w = pair(5);

	(void)s;
	moves_to(w, "10.9.0.7:40001");
	world_lose(w, VPS);
	moves_to(w, "10.9.0.8:40002");
	moves_to(w, "10.9.0.9:40003");
	world_run(w, 0);
	assert_int_equal(w->host[HOME].updated, 1);
	assert_int_equal(w->host[HOME].last_updated.update.path.local.port, 40003);
	assert_int_equal(seen_at(w, VPS).port, 40003);
	over(w);
}

/*
 * RFC 4555 s3.5. The older UPDATE is held back and comes after the newer one, and so does a copy of it that
 * took the old path: the newest message ID decides, whatever comes last.
 */
static void ike_case_086_the_update_with_the_newest_message_id_wins(void **s)
{
	struct world *w = pair(86);
	struct flight old, copy;

	(void)s;
	moves_to(w, "10.9.0.7:40001");
	old = world_take(w, 0);
	moves_to(w, "10.9.0.8:40002"); /* the same bytes by the new path, */
	copy = world_take(w, 0);
	world_put(w, copy);
	world_run(w, 0); /* and then the next message ID */
	assert_int_equal(seen_at(w, VPS).port, 40002);
	assert_int_equal(w->host[HOME].last_updated.update.result, ENGINE_UPDATE_DONE);
	world_put(w, old);
	world_run(w, 0);
	assert_int_equal(seen_at(w, VPS).port, 40002);
	moves_to(w, "10.9.0.9:40003");
	world_run(w, 0);
	assert_int_equal(seen_at(w, VPS).port, 40003);
	over(w);
}

/* What stands in the answer to home's request: COOKIE2 changed, or away. */
static bool spoil(struct world *w, struct chain *c, struct ike_hdr *h, void *arg)
{
	static uint8_t body[4 + IKE_COOKIE2_LEN] = { 0, 0, COOKIE2 >> 8, COOKIE2 & 255, 1 };

	(void)w;
	(void)h;
	for (unsigned i = 0; i < c->n; i++) {
		const uint8_t *b = c->v[i].body;

		if (c->v[i].type != PLD_NOTIFY || (b[2] << 8 | b[3]) != COOKIE2)
			continue;
		if (*(bool *)arg)
			c->v[i].body = body;
		else
			memmove(&c->v[i], &c->v[i + 1], (--c->n - i) * sizeof(c->v[0]));
		return true;
	}
	return false;
}

static void ike_case_085_without_its_cookie2_nothing_is_confirmed(void **s)
{
	(void)s;
	for (int wrong = 0; wrong < 2; wrong++)
		for (int who = 0; who < 2; who++) { /* whose COOKIE2 it is that does not come back */
			struct world *w = pair(85);
			bool swap = wrong;
			struct forgery f = { .from = !who,
					     .exchange = INFORMATIONAL,
					     .response = true,
					     .edit = spoil,
					     .arg = &swap };

			w->filter = forge_filter;
			w->filter_arg = &f;
			moves_to(w, "10.9.0.7:40001");
			world_run(w, 0);
			assert_int_equal(f.done, 1);
			assert_false(w->host[who].last_reply.reply.routable);
			if (who == HOME && !wrong)
				assert_int_equal(w->host[HOME].last_updated.update.result,
						 ENGINE_UPDATE_REFUSED);
			/* s3.7: a wrong one ends the IKE SA. Then the supervisor calls anew. */
			assert_int_equal(w->host[who].down, wrong);
			w->filter = NULL;
			if (wrong) {
				assert_int_equal(w->host[who].last_down.down.why,
						 ENGINE_WHY_PROTOCOL);
				world_call(w, HOME);
			}
			over(w);
		}
}

static void until_cookie2_is_back_little_goes_to_an_unknown_address(void **s)
{
	struct world *w = pair(7);
	size_t in, out = 0;

	(void)s;
	moves_to(w, "203.0.113.66:4500");
	in = w->flight[0].len;
	world_deliver(w, VPS);
	w->cut[HOME] = true; /* home is not there: it aims us at somebody else */
	for (unsigned i = 0; i < w->flights; i++)
		out += w->flight[i].len;
	assert_true(out <= 3 * in);
	world_run(w, 3000);
	assert_int_equal(w->host[VPS].replies, 0);
	assert_true(odd_sa_of(w, VPS)->unproved);
	/* The supervisor goes back after 3 s. */
	DO(w, VPS, engine_set_path(e, now, w->host[VPS].ike, &w->host[VPS].path, fx));
	assert_false(odd_sa_of(w, VPS)->unproved);
	w->cut[HOME] = false;
	over(w);
}

/* The answer to home's own request goes astray, and a copy by another socket is answered. */
static void copies_by_several_paths_make_the_update_doubtful(void **s)
{
	struct world *w = pair(8);
	struct engine_path second = from(w, "10.9.0.7:50002");

	(void)s;
	second.sock = 4;
	moves_to(w, "10.9.0.7:40001");
	world_deliver(w, VPS);
	while (world_lose(w, HOME))
		;
	DO(w, HOME, engine_retransmit(e, now, w->host[HOME].ike, &second, fx));
	world_run(w, 0);
	assert_int_equal(w->host[HOME].last_updated.update.result, ENGINE_UPDATE_AGAIN);
	assert_int_equal(seen_at(w, VPS).port, 40001); /* the first copy counted */
	DO(w, HOME, engine_update_addresses(e, now, w->host[HOME].ike, &second, fx));
	world_run(w, 0);
	assert_int_equal(w->host[HOME].last_updated.update.result, ENGINE_UPDATE_DONE);
	assert_int_equal(seen_at(w, VPS).port, 50002);
	over(w);
}

static void an_update_that_crosses_a_rekey_moves_what_lives_on(void **s)
{
	(void)s;
	for (int who = 0; who < 2; who++)
		for (unsigned order = 0; order < 64; order++) {
			struct world *w = pair(100 + order);

			DO(w, who, engine_rekey_ike(e, now, w->host[who].ike, fx));
			moves_to(w, "10.9.0.7:40001");
			for (int i = 0; i < 6; i++)
				world_deliver(w, order >> i & 1);
			world_run(w, 60000);
			assert_int_equal(seen_at(w, VPS).port, 40001);
			assert_int_equal(w->host[HOME].down + w->host[VPS].down, 0);
			over(w);
		}
}

/* Either of two Posterns may move; of others only who initiated (s3.5). */
static void only_the_initiator_moves_unless_both_are_posterns(void **s)
{
	(void)s;
	for (int postern = 0; postern < 2; postern++) {
		struct world *w = pair(9);
		struct engine_path p = w->host[VPS].path;

		EACH_HOST(h)
		odd_sa_of(w, h)->postern = postern;
		p.local = at("192.0.2.77:4500");
		DO(w, VPS,
		   assert_int_equal(postern ? 0 : -EOPNOTSUPP,
				    engine_update_addresses(e, now, w->host[VPS].ike, &p, fx)));
		world_run(w, 0);
		assert_int_equal(w->host[HOME].updates, postern);
		DO(w, HOME, engine_update_addresses(e, now, w->host[HOME].ike,
						    &(struct engine_path){ 0 }, fx));
		while (world_lose(w, VPS))
			;
		moves_to(w, "10.9.0.7:40001");
		world_run(w, 60000);
		assert_int_equal(w->host[VPS].updates, 1);
		over(w);
	}
}

static void a_caller_from_where_it_may_not_be_is_refused(void **s)
{
	struct world *w = world_new(10, STYLE_PSK);

	(void)s;
	assert_int_equal(0, prefix_parse("10.0.0.0/24", &w->host[VPS].from[0]));
	w->host[VPS].peer.from = w->host[VPS].from;
	w->host[VPS].peer.from_count = 1;
	world_up(w);
	moves_to(w, "10.9.0.7:40001");
	world_run(w, 0);
	assert_int_equal(w->host[VPS].updates, 0);
	assert_int_equal(w->host[HOME].last_updated.update.result, ENGINE_UPDATE_REFUSED);
	assert_int_equal(w->host[HOME].last_updated.update.notify, UNACCEPTABLE_ADDRESSES);
	assert_int_equal(seen_at(w, VPS).port, 40000);
	moves_to(w, "10.0.0.2:40000");
	over(w);
}

static bool forbid_nat(struct world *w, struct chain *c, struct ike_hdr *h, void *arg)
{
	(void)w;
	(void)h;
	chain_add(c, PLD_NOTIFY, arg, 4 + 12);
	return true;
}

/* s3.9: we never say it, and check what others say. */
static void nats_that_the_peer_forbids_are_told(void **s)
{
	static uint8_t body[2][16] = {
		{ 0, 0, NO_NATS_ALLOWED >> 8, NO_NATS_ALLOWED & 255, 10, 9, 0, 7, 192, 0, 2, 1,
		  40001 >> 8, 40001 & 255, 4500 >> 8, 4500 & 255 },
		{ 0, 0, NO_NATS_ALLOWED >> 8, NO_NATS_ALLOWED & 255, 10, 0, 0, 2, 192, 0, 2, 1,
		  40001 >> 8, 40001 & 255, 4500 >> 8, 4500 & 255 },
	};

	(void)s;
	for (int nat = 0; nat < 2; nat++) {
		struct world *w = pair(11);
		struct forgery f = { .from = HOME,
				     .exchange = INFORMATIONAL,
				     .edit = forbid_nat,
				     .arg = body[nat] };

		w->filter = forge_filter;
		w->filter_arg = &f;
		moves_to(w, "10.9.0.7:40001");
		world_run(w, 0);
		assert_int_equal(w->host[VPS].updates, !nat);
		if (nat)
			assert_int_equal(w->host[HOME].last_updated.update.notify,
					 UNEXPECTED_NAT_DETECTED);
		w->filter = NULL;
		over(w);
	}
}

static struct addr address(const char *s)
{
	struct addr a;

	assert_int_equal(0, addr_parse(s, &a));
	return a;
}

static void other_addresses_are_told_and_told_again_when_they_change(void **s)
{
	struct world *w = world_new(12, STYLE_PSK);
	struct addr list[12] = { address("192.0.2.1"), address("198.51.100.9"),
				 address("2001:db8::1"), address("10.0.0.9") };
	const struct fx *f = &w->host[HOME].last_others;

	(void)s;
	world_start(w);
	DO(w, VPS, engine_local_addresses(e, now, list, 4, fx));
	world_call(w, HOME);
	world_run(w, 0);
	/* Not the one that home knows, and not the private one. */
	assert_int_equal(f->peer_addresses.count, 2);
	assert_true(addr_eq(&f->peer_addresses.addr[0], &list[1]));
	assert_true(addr_eq(&f->peer_addresses.addr[1], &list[2]));
	DO(w, VPS, engine_local_addresses(e, now, list, 2, fx));
	world_run(w, 0);
	assert_int_equal(f->peer_addresses.count, 1);
	DO(w, VPS, engine_local_addresses(e, now, list, 1, fx));
	world_run(w, 0);
	assert_int_equal(f->peer_addresses.count, 0);
	/* Many are told in part. */
	for (uint8_t i = 0; i < 12; i++) {
		list[i] = address("198.51.100.0");
		list[i].b[3] = i;
	}
	DO(w, VPS, engine_local_addresses(e, now, list, 12, fx));
	world_run(w, 0);
	assert_int_equal(f->peer_addresses.count, ENGINE_ADDRS_MAX);
	DO(w, VPS, engine_rekey_ike(e, now, w->host[VPS].ike, fx));
	over(w);
}

/* Where a peer has called and authenticated, others can too. */
static void where_a_peer_reached_us_is_told_to_the_next(void **s)
{
	struct world *w = pair(14);
	const struct fx *f = &w->host[HOME].last_others;
	struct endpoint other = at("198.51.100.9:4500");

	(void)s;
	assert_int_equal(f->peer_addresses.count, 0);
	w->host[HOME].path.remote = other;
	world_call(w, HOME);
	world_run(w, 60000);
	assert_int_equal(f->peer_addresses.count, 1);
	assert_true(addr_eq(&f->peer_addresses.addr[0], &w->host[VPS].path.local.addr));
	over(w);
}

/* A NAT gives home another port: the peer's answer to a liveness shows it. */
static void a_changed_mapping_is_noticed_by_the_next_answer(void **s)
{
	struct world *w = pair(13);

	(void)s;
	DO(w, HOME, engine_liveness(e, now, w->host[HOME].ike, fx));
	world_run(w, 0);
	assert_int_equal(w->host[HOME].nat_changed, 0);
	w->nat_port = 61000;
	DO(w, HOME, engine_liveness(e, now, w->host[HOME].ike, fx));
	world_run(w, 0);
	assert_int_equal(w->host[HOME].nat_changed, 1);
	assert_int_equal(w->host[VPS].updates, 1);
	assert_int_equal(seen_at(w, VPS).port, 61000);
	w->nat_port = 0;
	DO(w, HOME, engine_liveness(e, now, w->host[HOME].ike, fx));
	world_run(w, 0);
	over(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_sides_say_that_they_have_it),
		cmocka_unit_test(an_update_moves_ike_at_once_and_esp_by_fx_update),
		cmocka_unit_test(no_other_request_moves_anything),
		cmocka_unit_test(a_request_under_way_keeps_its_bytes_and_the_update_is_next),
		cmocka_unit_test(of_several_moves_the_last_is_said),
		cmocka_unit_test(ike_case_086_the_update_with_the_newest_message_id_wins),
		cmocka_unit_test(ike_case_085_without_its_cookie2_nothing_is_confirmed),
		cmocka_unit_test(until_cookie2_is_back_little_goes_to_an_unknown_address),
		cmocka_unit_test(copies_by_several_paths_make_the_update_doubtful),
		cmocka_unit_test(an_update_that_crosses_a_rekey_moves_what_lives_on),
		cmocka_unit_test(only_the_initiator_moves_unless_both_are_posterns),
		cmocka_unit_test(a_caller_from_where_it_may_not_be_is_refused),
		cmocka_unit_test(nats_that_the_peer_forbids_are_told),
		cmocka_unit_test(other_addresses_are_told_and_told_again_when_they_change),
		cmocka_unit_test(where_a_peer_reached_us_is_told_to_the_next),
		cmocka_unit_test(a_changed_mapping_is_noticed_by_the_next_answer),
	};

	log_setup("mobike", LOG_LVL_ERR, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
