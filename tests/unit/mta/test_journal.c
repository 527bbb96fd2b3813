/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "journal_bench.h"

static void crc32c_has_the_rfc_3720_values(void **state)
{
	uint8_t b[32] = { 0 };

	assert_int_equal(crc32c(0, b, 32), 0x8a9136aa);
	memset(b, 0xff, 32);
	assert_int_equal(crc32c(0, b, 32), 0x62a8ab43);
	for (int i = 0; i < 32; i++)
		b[i] = (uint8_t)i;
	assert_int_equal(crc32c(0, b, 32), 0x46dd794e);
	assert_int_equal(crc32c(crc32c(0, b, 5), b + 5, 27), 0x46dd794e);
}

static void records_come_back_in_order_after_restarts(void **state)
{
	struct bench *b = bench_new(1);
	uint8_t *p;
	size_t len;

	for (uint32_t round = 0; round < 3; round++) {
		assert_int_equal(start(b), 0);
		for (uint32_t n = 0; n < round * 40; n++)
			assert_int_equal(b->seen[n], 1);
		for (uint32_t n = round * 40; n < round * 40 + 40; n++) {
			append(b, n, false);
			if (n % 3)
				worker_drain(b->worker);
		}
		worker_drain(b->worker);
		for (uint32_t n = round * 40; n < round * 40 + 40; n++) {
			assert_int_equal(b->acked[n], 1);
			assert_int_equal(journal_read(b->j, b->pos[n], &p, &len), 0);
			assert_int_equal(len, length(n));
			free(p);
		}
		journal_close(b->j);
		b->j = NULL;
		simvfs_restart(b->disk, round & 1);
	}
	assert_int_equal(start(b), 0);
	assert_int_equal(b->strange, 0);
	bench_free(b);
}

/* A batch ends k bytes before a page does, and the next begins at the page: less than a header lies
 * between, which must not be read as one. */
static void batches_may_end_anywhere_in_a_page(void **state)
{
	static uint8_t rec[4096];
	struct bench *b = bench_new(9);
	struct journal_stats st;

	assert_int_equal(start(b), 0);
	worker_drain(b->worker);
	memset(rec, 0, sizeof(rec));
	for (size_t k = 0; k < 100; k++) {
		assert_int_equal(journal_append(b->j, rec, 4096 - 44 - k, false, NULL), 0);
		worker_drain(b->worker);
		append(b, (uint32_t)k * 7, false);
		worker_drain(b->worker);
	}
	cut_off(b);
	simvfs_restart(b->disk, true);
	assert_int_equal(start(b), 0);
	journal_stats(b->j, &st);
	assert_int_equal(st.quarantined + st.tails, 0);
	assert_int_equal(b->strange, 100); /* the fillers */
	for (size_t k = 1; k < 100; k++)
		assert_int_equal(b->seen[k * 7], 1);
	bench_free(b);
}

static size_t done_later;

static void later_done(struct journal_waiter *w, int rc, struct journal_pos pos)
{
	(void)w, (void)pos;
	done_later += !rc;
}

/* @n records that nobody waits for; and how many of all such are durable. */
static size_t later(struct bench *b, int n)
{
	static struct journal_waiter w = { .done = later_done };

	while (n--)
		assert_int_equal(journal_append_later(b->j, "z", 1, &w), 0);
	worker_drain(b->worker);
	return done_later;
}

static void what_nobody_waits_for_goes_with_what_somebody_does(void **state)
{
	struct bench *b = bench_new(21);
	long before;

	done_later = 0;
	assert_int_equal(start(b), 0);
	worker_drain(b->worker);
	before = b->disk->syncs;
	assert_int_equal(later(b, 2), 0);
	append(b, 1, false);
	worker_drain(b->worker);
	assert_int_equal(later(b, 0), 2);
	assert_int_equal(b->disk->syncs - before, 1);
	/* So many of them are company enough. */
	assert_int_equal(later(b, JOURNAL_LATER_MAX - 1), 2);
	assert_int_equal(later(b, 1), 2 + JOURNAL_LATER_MAX);
	assert_int_equal(b->disk->syncs - before, 2);
	/* Those that come while a batch is written wait for the next one. */
	append(b, 2, false);
	assert_int_equal(later(b, 1), 2 + JOURNAL_LATER_MAX);
	assert_int_equal(b->disk->syncs - before, 3);
	journal_flush(b->j);
	assert_int_equal(later(b, 0), 3 + JOURNAL_LATER_MAX);
	later(b, 1);
	journal_tick(b->j);
	assert_int_equal(later(b, 0), 4 + JOURNAL_LATER_MAX);
	journal_flush(b->j); /* of nothing: the next one waits as ever */
	assert_int_equal(later(b, 1), 4 + JOURNAL_LATER_MAX);
	journal_flush(b->j);
	assert_int_equal(later(b, 0), 5 + JOURNAL_LATER_MAX);
	/* A sync that fails loses none of them, and an orderly end has them all. */
	later(b, 1);
	b->disk->fail_sync_at = b->disk->syncs + 1;
	append(b, 3, true);
	worker_drain(b->worker);
	assert_int_equal(later(b, 1), 6 + JOURNAL_LATER_MAX);
	journal_close(b->j);
	b->j = NULL;
	assert_int_equal(done_later, 7 + JOURNAL_LATER_MAX);
	simvfs_restart(b->disk, true);
	assert_int_equal(start(b), 0);
	assert_int_equal(b->strange, 7 + JOURNAL_LATER_MAX);
	bench_free(b);
}

static void one_sync_serves_all_who_wait(void **state)
{
	struct bench *b = bench_new(2);
	long before;

	assert_int_equal(start(b), 0);
	worker_drain(b->worker);
	before = b->disk->syncs;
	for (uint32_t n = 0; n < 700; n += 7)
		append(b, n, false); /* the first begins a batch, 99 gather behind it */
	worker_drain(b->worker);
	assert_int_equal(b->disk->syncs - before, 2);
	assert_int_equal(b->acked[693], 1);
	bench_free(b);
}

/* Cut at operation @at; false when the run ended before. */
static bool run_and_cut(uint32_t seed, long at, bool power)
{
	struct bench *b = bench_new(seed);
	struct journal_stats st;
	bool cut;

	assert_int_equal(start(b), 0);
	for (uint32_t n = 0; n < 20; n++)
		append(b, n, false);
	worker_drain(b->worker);
	b->disk->ops = 0;
	b->disk->die_at = at;
	for (uint32_t n = 20; n < 60; n++) {
		append(b, n, n & 1);
		if (n % 4 == 0)
			worker_step(b->worker);
	}
	worker_drain(b->worker);
	cut = b->disk->dead;
	cut_off(b);
	simvfs_restart(b->disk, power);
	assert_int_equal(start(b), 0);
	assert_int_equal(b->strange, 0);
	for (uint32_t n = 0; n < 60; n++) {
		if (b->seen[n] > 1 || (b->acked[n] && !b->seen[n]))
			fail_msg("cut at %ld power=%d: record %u acked=%d seen=%d", at, power, n,
				 b->acked[n], b->seen[n]);
	}
	journal_stats(b->j, &st);
	assert_int_equal(st.quarantined, 0); /* a crash is no corruption */
	/* Once more: what was judged stays judged. */
	worker_drain(b->worker);
	append(b, 100, false);
	worker_drain(b->worker);
	assert_int_equal(b->acked[100], 1);
	cut_off(b);
	simvfs_restart(b->disk, power);
	assert_int_equal(start(b), 0);
	journal_stats(b->j, &st);
	assert_int_equal(st.quarantined, 0);
	assert_int_equal(st.tails, 0);
	assert_int_equal(b->seen[100], 1);
	for (uint32_t n = 0; n < 60; n++)
		assert_true(b->seen[n] || !b->acked[n]);
	bench_free(b);
	return cut;
}

static void mail_case_062_kill_at_every_operation_loses_nothing_acknowledged(void **state)
{
	long at = 1;

	while (run_and_cut(7, at, false))
		at++;
	assert_true(at > 30);
}

static void mail_case_063_power_cut_at_every_operation_loses_nothing_acknowledged(void **state)
{
	for (uint32_t seed = 1; seed <= 2; seed++)
		for (long at = 1; run_and_cut(seed, at, true); at++)
			;
}

/*
 * A killed process leaves writes that no disk has. What a start has read once may have been acted
 * on (a peer is told "already have it"): a power cut later must not take it away again.
 */
static bool kill_start_and_cut(uint32_t seed, long at, long bad_sync)
{
	struct bench *b = bench_new(seed);
	int seen[60];
	bool cut;

	assert_int_equal(start(b), 0);
	worker_drain(b->worker);
	b->disk->ops = 0;
	b->disk->die_at = at;
	b->disk->fail_sync_at = bad_sync ? b->disk->syncs + bad_sync : 0;
	for (uint32_t n = 0; n < 60; n++) {
		append(b, n, n & 1);
		if (n % 4 == 0)
			worker_step(b->worker);
	}
	worker_drain(b->worker);
	cut = b->disk->dead;
	cut_off(b);
	simvfs_restart(b->disk, false);
	assert_int_equal(start(b), 0);
	memcpy(seen, b->seen, sizeof(seen));
	cut_off(b);
	simvfs_restart(b->disk, true);
	assert_int_equal(start(b), 0);
	assert_int_equal(b->strange, 0);
	for (uint32_t n = 0; n < 60; n++) {
		if (b->seen[n] != seen[n] || (b->acked[n] && !seen[n]))
			fail_msg("seed %u cut at %ld: record %u acked=%d, seen %d times, then %d",
				 seed, at, n, b->acked[n], seen[n], b->seen[n]);
	}
	bench_free(b);
	return cut;
}

static void what_a_start_has_read_stays(void **state)
{
	for (uint32_t seed = 1; seed <= 3; seed++) {
		for (long at = 1; kill_start_and_cut(seed, at, 0); at++)
			;
		for (long at = 1; kill_start_and_cut(seed, at, 3); at++)
			;
	}
}

static void mail_case_063_power_cut_while_starting_loses_nothing(void **state)
{
	for (long at = 1;; at++) {
		struct bench *b = bench_new((uint32_t)at);
		bool cut;

		assert_int_equal(start(b), 0);
		for (uint32_t n = 0; n < 30; n++)
			append(b, n, false);
		worker_drain(b->worker);
		cut_off(b);
		simvfs_restart(b->disk, true);
		b->disk->die_at = at;
		cut = start(b) != 0;
		if (!cut) {
			worker_drain(b->worker);
			cut_off(b);
		}
		cut |= b->disk->dead;
		simvfs_restart(b->disk, true);
		assert_int_equal(start(b), 0);
		for (uint32_t n = 0; n < 30; n++)
			assert_int_equal(b->seen[n], 1);
		bench_free(b);
		if (!cut)
			break;
	}
}

static void newer_versions_are_refused(void **state)
{
	struct bench *b = bench_new(6);
	uint8_t *p;
	size_t len;
	uint32_t crc;

	assert_int_equal(start(b), 0);
	worker_drain(b->worker);
	cut_off(b);
	simvfs_restart(b->disk, false);
	p = simvfs_data(b->disk, "00000001.seg", &len);
	p[11] = 2;
	crc = crc32c(0, p, 4092);
	p[4092] = (uint8_t)(crc >> 24);
	p[4093] = (uint8_t)(crc >> 16);
	p[4094] = (uint8_t)(crc >> 8);
	p[4095] = (uint8_t)crc;
	assert_int_equal(start(b), -EPROTONOSUPPORT);
	bench_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(crc32c_has_the_rfc_3720_values),
		cmocka_unit_test(records_come_back_in_order_after_restarts),
		cmocka_unit_test(batches_may_end_anywhere_in_a_page),
		cmocka_unit_test(what_nobody_waits_for_goes_with_what_somebody_does),
		cmocka_unit_test(one_sync_serves_all_who_wait),
		cmocka_unit_test(mail_case_062_kill_at_every_operation_loses_nothing_acknowledged),
		cmocka_unit_test(mail_case_063_power_cut_at_every_operation_loses_nothing_acknowledged),
		cmocka_unit_test(what_a_start_has_read_stays),
		cmocka_unit_test(mail_case_063_power_cut_while_starting_loses_nothing),
		cmocka_unit_test(newer_versions_are_refused),
	};

	log_setup("test_journal", LOG_LVL_ERR, -1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
