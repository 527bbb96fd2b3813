/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * postern bench between two engines: who asks for consent gets his answer through the IKE SA. What measure.c does with
 * it stands in tests/unit/daemon/test_measure.c.
 *
 *	HDR, SK {N(POSTERN_BENCH) ASK} -->		<--  HDR, SK {}
 *							<--  HDR, SK {N(POSTERN_BENCH) YES or NO}
 *	HDR, SK {} -->
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "measure.h"
#include "world.h"

static struct world *w;
static struct side {
	struct measure m;
	int host;
	bool consents, loads;
	unsigned heard, agreed, over;
	const char *why;
} side[2];
static bool foreign;

void __wrap_pld_vendor_add(struct ike_build *b, struct span id);
void __real_pld_vendor_add(struct ike_build *b, struct span id);

void __wrap_pld_vendor_add(struct ike_build *b, struct span id)
{
	static const uint8_t other[16] = { 1 };

	__real_pld_vendor_add(b, foreign ? (struct span){ other, sizeof(other) } : id);
}

static bool f_consents(void *arg, uint32_t peer)
{
	const struct side *s = arg;

	return s->consents && peer == w->host[s->host].peer.id;
}

static bool f_tell(void *arg, uint32_t peer, const uint8_t *bytes, size_t len)
{
	const struct side *s = arg;
	int rc = -1;

	(void)peer;
	DO(w, s->host, rc = engine_private(e, now, w->host[s->host].ike, POSTERN_BENCH, bytes, len, fx));
	return !rc;
}

static int f_begin(void *arg, const struct measure_load *l)
{
	((struct side *)arg)->loads = l->load_ms > 0;
	return 0;
}

static void f_end(void *arg)
{
	((struct side *)arg)->loads = false;
}

static void f_ping(void *arg)
{
	(void)arg;
}

static void f_read(void *arg, struct measure_figures *f)
{
	(void)arg;
	*f = (struct measure_figures){ .rx_pkts = 5, .heard_ms = w->now_ms };
}

static unsigned f_rtts(void *arg, uint32_t *us, unsigned n)
{
	(void)arg;
	(void)us;
	return n ? 0 : 1;
}

static bool f_wanted(void *arg)
{
	(void)arg;
	return true;
}

static void f_progress(void *arg, enum measure_phase phase, uint32_t ms, uint64_t bytes)
{
	(void)phase;
	(void)bytes;
	((struct side *)arg)->agreed += !ms;
}

static void f_over(void *arg, const struct measure_result *r, const char *why)
{
	struct side *s = arg;

	s->over++;
	s->why = why;
	if (!why)
		assert_int_equal(r->far[MEASURE_OUT].rx_pkts, 5);
}

static const struct measure_ops ops = { f_consents, f_tell, f_begin,  f_end,	  f_ping,
					f_read,	    f_rtts, f_wanted, f_progress, f_over };

static void begin(bool consents)
{
	w = world_new(21, STYLE_PSK);
	world_up(w);
	EACH_HOST(h) {
		side[h] = (struct side){ .host = h };
		measure_init(&side[h].m, &ops, &side[h]);
	}
	side[VPS].consents = consents;
	assert_int_equal(measure_start(&side[HOME].m, w->host[HOME].peer.id, 77, 2000, 0, w->now_ms), 0);
}

static void run(uint64_t ms)
{
	for (uint64_t end = w->now_ms + ms; w->now_ms < end;) {
		world_run(w, 10);
		EACH_HOST(h) {
			struct host *host = &w->host[h];
			struct side *s = &side[h];

			if (s->heard != host->private_count) {
				s->heard = host->private_count;
				assert_int_equal(host->last_private.private_notify.type, POSTERN_BENCH);
				measure_heard(&s->m, host->last_private.private_notify.peer, host->private_bytes,
					      host->last_private.private_notify.len, w->now_ms);
			}
			if (measure_due_ms(&s->m) <= w->now_ms)
				measure_tick(&s->m, w->now_ms);
		}
	}
}

static void consent_is_given_for_each_phase(void **s)
{
	(void)s;
	begin(true);
	run(12000);
	assert_int_equal(side[HOME].agreed, 3);
	assert_int_equal(side[HOME].over, 1);
	assert_null(side[HOME].why);
	world_free(w);
}

static void refusal_says_what_to_write(void **s)
{
	(void)s;
	begin(false);
	run(1000);
	assert_int_equal(side[HOME].agreed, 0);
	assert_int_equal(side[HOME].over, 1);
	assert_non_null(strstr(side[HOME].why, "`bench = allow`"));
	world_free(w);
}

static void it_goes_on_over_new_keys_of_ike(void **s)
{
	(void)s;
	begin(true);
	run(2500);
	DO(w, VPS, engine_rekey_ike(e, now, w->host[VPS].ike, fx));
	run(9500);
	assert_int_equal(side[HOME].over, 1);
	assert_null(side[HOME].why);
	world_free(w);
}

static void between_others_than_posterns_it_means_nothing(void **s)
{
	(void)s;
	foreign = true;
	begin(true);
	foreign = false;
	run(9000);
	assert_int_equal(side[VPS].heard, 0);
	assert_int_equal(side[HOME].over, 1);
	assert_non_null(side[HOME].why);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(consent_is_given_for_each_phase),
		cmocka_unit_test(refusal_says_what_to_write),
		cmocka_unit_test(it_goes_on_over_new_keys_of_ike),
		cmocka_unit_test(between_others_than_posterns_it_means_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
