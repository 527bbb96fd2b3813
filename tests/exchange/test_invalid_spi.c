/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A CHILD SA that one side lost without a word: INVALID_SPI brings a new one (RFC 7296 s1.5, s2.21.4). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "engine_int.h"
#include "world.h"

/* All of its CHILD SAs are gone at @h, in the engine and in the data plane; nobody is told. */
static uint32_t lose(struct world *w, int h)
{
	struct ike_sa *sa = sa_by_handle(w->host[h].e, w->host[h].ike);
	uint32_t spi;

	assert_non_null(sa);
	assert_non_null(sa->children);
	spi = sa->children->spi_in;
	DO(w, h, {
		engine_enter(e, now, fx);
		while (sa->children)
			child_drop(e, sa->children, false);
		engine_leave(e);
	});
	return spi;
}

/* The other side goes on to send: ESP under @spi arrives at @h. */
static void esp(struct world *w, int h, uint32_t spi)
{
	DO(w, h,
	   engine_on_unknown_spi(e, now, w->host[h].peer.id, &w->host[h].path, spi, fx));
}

/* Started anew it does not know where its peers are: who still sends to it is told all the same. */
static void a_server_that_was_started_anew_is_noticed_by_the_first_packet(void **state)
{
	struct world *w = world_new(1, STYLE_PSK);
	struct engine_ike_info i;
	uint32_t spi;

	(void)state;
	world_up(w);
	assert_true(engine_ike_info(w->host[HOME].e, w->host[HOME].ike, &i));
	spi = i.child[0].spi_out;
	world_restart(w, VPS);
	DO(w, VPS, engine_on_unknown_spi(e, now, 0, &w->host[VPS].path, spi, fx));
	world_run(w, 100);
	assert_int_equal(w->host[HOME].hints, 1);
	/* a few in a second, whoever it is */
	for (int k = 0; k < 100; k++)
		DO(w, VPS, engine_on_unknown_spi(e, now, 0, &w->host[VPS].path, spi, fx));
	assert_in_range(world_in_flight(w, HOME), 1, 10);
	world_free(w);
}

static void a_lost_child_is_made_anew(void **state)
{
	(void)state;
	EACH_HOST(loser) {
		struct world *w = world_new(1, STYLE_PSK);
		uint32_t spi;

		world_up(w);
		world_run(w, 5000);
		spi = lose(w, loser);
		assert_false(paper_works(w, !loser));
		/* ESP -->  <-- SK {N(INVALID_SPI)} .. */
		esp(w, loser, spi);
		world_run(w, 2000);
		world_agree(w);
		assert_int_equal(w->host[HOME].ike_rekeyed + w->host[VPS].ike_rekeyed, 0);
		assert_int_equal(w->host[HOME].up + w->host[VPS].up, 2);
		world_no_leaks(w);
		world_free(w);
	}
}

/* The word comes late, or the data plane alone has lost it: then it goes by a Delete. */
static void a_child_that_is_not_lost_is_replaced(void **state)
{
	(void)state;
	EACH_HOST(h) {
		struct world *w = world_new(2, STYLE_PSK);
		struct ike_sa *sa;

		world_up(w);
		world_run(w, 5000);
		sa = sa_by_handle(w->host[h].e, w->host[h].ike);
		/* One that it has is not told about: the packet and the removal crossed in the worker. */
		esp(w, h, sa->children->spi_in);
		world_run(w, 100);
		assert_int_equal(w->host[HOME].child_up + w->host[VPS].child_up, 2);
		/* The peer says it all the same. */
		DO(w, h, {
			engine_enter(e, now, fx);
			task_queue(e, sa, TASK_INVALID_SPI, sa->children->spi_in);
			engine_leave(e);
		});
		world_run(w, 2000);
		world_agree(w);
		assert_int_equal(w->host[HOME].child_up, 2);
		assert_int_equal(w->host[VPS].child_up, 2);
		world_no_leaks(w);
		world_free(w);
	}
}

static void other_numbers_change_nothing(void **state)
{
	struct world *w = world_new(3, STYLE_PSK);
	struct ike_sa *sa;

	(void)state;
	world_up(w);
	sa = sa_by_handle(w->host[VPS].e, w->host[VPS].ike);
	for (int i = 0; i < 3; i++) {
		/* Nobody's, the peer's own, and none at all. */
		uint32_t spi = i == 0 ? 0x12345678 : i == 1 ? sa->children->spi_out : 0;

		DO(w, VPS, {
			engine_enter(e, now, fx);
			task_queue(e, sa, TASK_INVALID_SPI, spi);
			engine_leave(e);
		});
		world_run(w, 2000);
	}
	assert_int_equal(w->host[HOME].child_up + w->host[VPS].child_up, 2);
	world_agree(w);
	world_no_leaks(w);
	world_free(w);
}

/* Anybody can make such packets: one word a second, whatever comes. */
static void a_flood_of_unknown_numbers_is_one_word_a_second(void **state)
{
	struct world *w = world_new(4, STYLE_PSK);
	unsigned sent;

	(void)state;
	world_up(w);
	world_run(w, 100);
	sent = w->host[VPS].sent;
	for (int i = 0; i < 5000; i++) {
		esp(w, VPS, 0x70000000u + (unsigned)i);
		world_run(w, 1);
	}
	world_run(w, 100);
	assert_true(w->host[VPS].sent - sent >= 5 && w->host[VPS].sent - sent <= 6);
	world_agree(w);
	world_no_leaks(w);
	world_free(w);
}

static bool keep(struct world *w, int to, const struct engine_path *path, uint8_t *bytes,
		 size_t *len)
{
	struct span *last = w->filter_arg;
	static uint8_t copy[256];

	(void)to;
	(void)path;
	if (*len <= sizeof(copy)) {
		memcpy(copy, bytes, *len);
		*last = (struct span){ copy, *len };
	}
	return true;
}

/* No IKE SA: one word without protection a second, and it is a hint and nothing else. */
static void without_an_ike_sa_it_is_a_hint(void **state)
{
	struct world *w = world_new(5, STYLE_PSK);
	struct ike_msg m = { 0 };
	struct span last = { 0 };
	unsigned sent;
	uint32_t spi;

	(void)state;
	world_up(w);
	spi = sa_by_handle(w->host[HOME].e, w->host[HOME].ike)->children->spi_out;
	w->filter = keep;
	w->filter_arg = &last;
	world_restart(w, VPS);
	for (int i = 0; i < 90; i++) {
		esp(w, VPS, spi);
		world_run(w, 10);
	}
	/* HDR, N(INVALID_SPI): no response, and none comes. */
	assert_int_equal(w->host[VPS].sent, 3); /* two answers before it was started anew */
	assert_int_equal(ike_msg_parse(last.p, last.len, &m), 0);
	assert_int_equal(m.hdr.exchange, INFORMATIONAL);
	assert_int_equal(m.hdr.flags, IKE_FLAG_INITIATOR);
	assert_int_equal(w->host[HOME].hints, 1);
	assert_int_equal(w->host[HOME].down + w->host[HOME].child_down, 0);
	sent = w->host[HOME].sent;
	world_run(w, 3000);
	esp(w, VPS, spi);
	world_run(w, 100);
	assert_int_equal(w->host[HOME].hints, 2);
	assert_int_equal(w->host[HOME].sent, sent);
	/* From elsewhere, about nothing of ours, with zero SPIs as RFC 7296 s1.5 allows. */
	{
		struct engine_path other = w->host[HOME].path;
		uint8_t copy[256];

		memcpy(copy, last.p, last.len);
		other.remote.port++;
		world_inject(w, HOME, &other, copy, last.len);
		assert_int_equal(w->host[HOME].hints, 2);
		memset(copy, 0, 16);
		world_inject(w, HOME, &w->host[HOME].path, copy, last.len);
		assert_int_equal(w->host[HOME].hints, 3);
		copy[last.len - 1] ^= 1;
		world_inject(w, HOME, &w->host[HOME].path, copy, last.len);
		assert_int_equal(w->host[HOME].hints, 3);
		copy[last.len - 1] ^= 1;
		/* And a flood of them is looked at ten times a second. */
		world_run(w, 1000);
		for (int i = 0; i < 1000; i++)
			world_inject(w, HOME, &w->host[HOME].path, copy, last.len);
		assert_true(w->host[HOME].hints <= 13);
	}
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_lost_child_is_made_anew),
		cmocka_unit_test(a_server_that_was_started_anew_is_noticed_by_the_first_packet),
		cmocka_unit_test(a_child_that_is_not_lost_is_replaced),
		cmocka_unit_test(other_numbers_change_nothing),
		cmocka_unit_test(a_flood_of_unknown_numbers_is_one_word_a_second),
		cmocka_unit_test(without_an_ike_sa_it_is_a_hint),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
