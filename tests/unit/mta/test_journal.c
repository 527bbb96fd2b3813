/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crc32c.h"
#include "journal.h"
#include "log.h"
#include "simvfs.h"

#define SEG	 (256 * 1024)
#define RECS_MAX 4096

/* A record of the tests: number, length by number, bytes by number. */
struct bench {
	struct simvfs *disk;
	struct worker *worker;
	struct journal *j;
	int seen[RECS_MAX];    /* by replay */
	int acked[RECS_MAX];   /* waiter said 0 */
	int refused[RECS_MAX]; /* waiter said < 0, or append did */
	bool keep[RECS_MAX];
	struct journal_pos pos[RECS_MAX];
	int strange;
};

struct wait {
	struct journal_waiter w;
	struct bench *b;
	uint32_t n;
};

static size_t length(uint32_t n)
{
	static const size_t sizes[] = { 4, 100, 4000, 32768 - 4096 - 44, 32768 - 44, 33000, 90000 };

	return sizes[n % 7];
}

static void fill(uint8_t *p, uint32_t n)
{
	memcpy(p, &n, 4);
	for (size_t i = 4; i < length(n); i++)
		p[i] = (uint8_t)(n * 31 + i * 7);
}

static int on_record(void *arg, struct journal_pos pos, uint64_t rid, const uint8_t *data,
		     size_t len)
{
	static uint8_t want[128 * 1024];
	struct bench *b = arg;
	uint32_t n;

	(void)pos;
	(void)rid;
	if (len == 1 && !data[0])
		return 0; /* clean end */
	memcpy(&n, data, 4);
	fill(want, n);
	if (len < 4 || n >= RECS_MAX || len != length(n) || memcmp(want, data, len))
		b->strange++;
	else
		b->seen[n]++;
	return 0;
}

static int start(struct bench *b)
{
	struct journal_config cfg = { .vfs = &b->disk->vfs,
				      .worker = b->worker,
				      .segment_bytes = SEG,
				      .record = on_record,
				      .arg = b };

	memset(b->seen, 0, sizeof(b->seen));
	b->strange = 0;
	b->j = NULL;
	return journal_open(&b->j, &cfg);
}

static struct bench *bench_new(uint32_t seed)
{
	struct bench *b = calloc(1, sizeof(*b));

	b->disk = simvfs_new(seed);
	b->worker = worker_new(NULL);
	return b;
}

static void bench_free(struct bench *b)
{
	journal_abandon(b->j);
	worker_free(b->worker);
	simvfs_free(b->disk);
	free(b);
}

static void on_done(struct journal_waiter *w, int rc, struct journal_pos pos)
{
	struct wait *x = (struct wait *)(void *)w;

	x->b->pos[x->n] = pos;
	if (rc)
		x->b->refused[x->n]++;
	else
		x->b->acked[x->n]++;
	free(x);
}

static void append(struct bench *b, uint32_t n, bool keep)
{
	static uint8_t buf[128 * 1024];
	struct wait *x = calloc(1, sizeof(*x));

	x->w.done = on_done;
	x->b = b;
	x->n = n;
	b->keep[n] = keep;
	fill(buf, n);
	if (journal_append(b->j, buf, length(n), keep, &x->w)) {
		b->refused[n]++;
		free(x);
	}
}

/* The dead process's memory: its waiters never come back. */
static void cut_off(struct bench *b)
{
	worker_drain(b->worker); /* all fails, except what is already done */
	journal_abandon(b->j);
	b->j = NULL;
}

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

static void kill_at_every_operation_loses_nothing_acknowledged(void **state)
{
	long at = 1;

	while (run_and_cut(7, at, false))
		at++;
	assert_true(at > 30);
}

static void power_cut_at_every_operation_loses_nothing_acknowledged(void **state)
{
	for (uint32_t seed = 1; seed <= 2; seed++)
		for (long at = 1; run_and_cut(seed, at, true); at++)
			;
}

static void power_cut_while_starting_loses_nothing(void **state)
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

static void flipped_bits_cost_their_record_only(void **state)
{
	for (uint32_t k = 0; k < 300; k++) {
		struct bench *b = bench_new(k + 1);
		struct journal_stats st;
		int missing = 0;
		uint8_t *p;
		size_t len, at;

		assert_int_equal(start(b), 0);
		for (uint32_t n = 0; n < 12; n++) {
			append(b, n, false);
			worker_drain(b->worker);
		}
		journal_close(b->j);
		b->j = NULL;
		simvfs_restart(b->disk, false);
		p = simvfs_data(b->disk, "00000001.seg", &len);
		at = (k * 7919u) % len;
		p[at] ^= (uint8_t)(1 << k % 8);
		assert_int_equal(start(b), 0);
		assert_int_equal(b->strange, 0);
		for (uint32_t n = 0; n < 12; n++)
			missing += !b->seen[n];
		journal_stats(b->j, &st);
		/* A bad header takes the rest of its block with it. */
		assert_true(missing <= 6);
		assert_true(!missing || st.quarantined >= 1);
		assert_int_equal(st.tails, 0);
		cut_off(b);
		simvfs_restart(b->disk, false);
		assert_int_equal(start(b), 0);
		journal_stats(b->j, &st);
		assert_int_equal(st.quarantined, 0); /* told once */
		bench_free(b);
	}
}

static void payload_damage_leaves_the_neighbours_alone(void **state)
{
	struct bench *b = bench_new(3);
	struct journal_stats st;
	size_t len;

	assert_int_equal(start(b), 0);
	for (uint32_t n = 0; n < 35; n += 7)
		append(b, n + 1, false); /* small ones, in one block */
	worker_drain(b->worker);
	journal_close(b->j);
	b->j = NULL;
	simvfs_restart(b->disk, false);
	simvfs_data(b->disk, "00000001.seg", &len)[b->pos[15].offset + 44 + 50] ^= 1;
	assert_int_equal(start(b), 0);
	assert_int_equal(b->seen[8] + b->seen[15] * 10 + b->seen[22] + b->seen[29], 3);
	journal_stats(b->j, &st);
	assert_int_equal(st.quarantined, 1);
	assert_int_equal(simvfs_count(b->disk, "quarantine/"), 1);
	bench_free(b);
}

static void failed_sync_is_never_taken_back(void **state)
{
	for (uint32_t seed = 1; seed < 40; seed++) {
		struct bench *b = bench_new(seed);
		struct journal_stats st;

		assert_int_equal(start(b), 0);
		worker_drain(b->worker);
		append(b, 1, false); /* its batch runs; the next three share the one that fails */
		append(b, 7, false);
		append(b, 14, true); /* this one must not be lost */
		append(b, 21, false);
		b->disk->fail_sync_at = b->disk->syncs + 2;
		worker_drain(b->worker);
		assert_int_equal(b->acked[1], 1);
		assert_int_equal(b->refused[7], 1);
		assert_int_equal(b->refused[21], 1);
		assert_int_equal(b->acked[14], 1);
		append(b, 5, false);
		worker_drain(b->worker);
		assert_int_equal(b->acked[5], 1);
		journal_stats(b->j, &st);
		assert_int_equal(st.failed_syncs, 1);
		cut_off(b);
		simvfs_restart(b->disk, seed & 1);
		assert_int_equal(start(b), 0);
		assert_int_equal(b->seen[1], 1);
		assert_int_equal(b->seen[7], 0); /* refused is void, whatever the disk has */
		assert_int_equal(b->seen[21], 0);
		assert_int_equal(b->seen[14], 1);
		assert_int_equal(b->seen[5], 1);
		assert_int_equal(b->strange, 0);
		bench_free(b);
	}
}

static void full_disk_refuses_letters_keeps_results_and_recovers(void **state)
{
	struct bench *b = bench_new(5);
	uint32_t n, before;

	assert_int_equal(start(b), 0);
	worker_drain(b->worker);
	b->disk->space = 4 * SEG;
	for (n = 0; n < 100 && journal_ready(b->j); n++) {
		append(b, n, false);
		worker_drain(b->worker);
	}
	assert_true(n < 100);
	append(b, 1000, false);
	worker_drain(b->worker);
	assert_int_equal(b->refused[1000], 1);
	append(b, 1001, true);
	worker_drain(b->worker);
	assert_int_equal(b->acked[1001], 1); /* there is room for what must be written */
	before = journal_oldest(b->j);
	assert_int_equal(journal_drop_oldest(b->j), 0);
	worker_drain(b->worker);
	assert_int_equal(journal_oldest(b->j), before + 1);
	journal_tick(b->j);
	worker_drain(b->worker);
	assert_true(journal_ready(b->j));
	append(b, 1002, false);
	worker_drain(b->worker);
	assert_int_equal(b->acked[1002], 1);
	bench_free(b);
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
		cmocka_unit_test(one_sync_serves_all_who_wait),
		cmocka_unit_test(kill_at_every_operation_loses_nothing_acknowledged),
		cmocka_unit_test(power_cut_at_every_operation_loses_nothing_acknowledged),
		cmocka_unit_test(power_cut_while_starting_loses_nothing),
		cmocka_unit_test(flipped_bits_cost_their_record_only),
		cmocka_unit_test(payload_damage_leaves_the_neighbours_alone),
		cmocka_unit_test(failed_sync_is_never_taken_back),
		cmocka_unit_test(full_disk_refuses_letters_keeps_results_and_recovers),
		cmocka_unit_test(newer_versions_are_refused),
	};

	log_setup("test_journal", LOG_LVL_ERR, -1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
