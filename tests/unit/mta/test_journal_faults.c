/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The journal on a disk that fails, is full, or has lost what it had. */
#include "journal_bench.h"

static void mail_case_064_flipped_bits_cost_their_record_only(void **state)
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

static void mail_case_064_payload_damage_leaves_the_neighbours_alone(void **state)
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

static void mail_case_066_failed_sync_is_never_taken_back(void **state)
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

/* A crash between the failed sync and the next segment's first page, which says what is void. */
static bool fail_and_cut(uint32_t seed, long at, bool power)
{
	struct bench *b = bench_new(seed);
	bool cut;

	assert_int_equal(start(b), 0);
	worker_drain(b->worker);
	b->disk->ops = 0;
	b->disk->die_at = at;
	b->disk->fail_sync_at = b->disk->syncs + 2 + seed / 2 % 2;
	for (uint32_t n = 0; n < 20; n++) {
		append(b, n, !(n & 1));
		if (n % 4 == 0)
			worker_step(b->worker);
	}
	worker_drain(b->worker);
	cut = b->disk->dead;
	cut_off(b);
	simvfs_restart(b->disk, power);
	assert_int_equal(start(b), 0);
	assert_int_equal(b->strange, 0);
	for (uint32_t n = 0; n < 20; n++) {
		if (b->refused[n] && b->seen[n])
			fail_msg("seed %u cut at %ld: record %u was refused and is there", seed, at,
				 n);
		assert_true(b->seen[n] || !b->acked[n]);
		assert_false(b->keep[n] && b->refused[n]);
	}
	bench_free(b);
	return cut;
}

static void mail_case_066_what_was_told_void_is_void_already(void **state)
{
	for (uint32_t seed = 1; seed <= 8; seed++)
		for (long at = 1; fail_and_cut(seed, at, seed & 1); at++)
			;
}

/* No sync works any more, so nothing can say that what failed is void: nobody is told so either. */
static void mail_case_066_what_cannot_be_made_void_is_in_doubt(void **state)
{
	for (uint32_t seed = 1; seed < 40; seed++) {
		struct bench *b = bench_new(seed);
		bool again = seed % 4 < 2;

		assert_int_equal(start(b), 0);
		worker_drain(b->worker);
		b->disk->fail_sync_at = b->disk->syncs + 1;
		b->disk->fail_syncs = 1000;
		append(b, 1, false);
		append(b, 7, true);
		worker_drain(b->worker);
		for (int i = 0; i < 3; i++) {
			journal_tick(b->j);
			worker_drain(b->worker);
		}
		assert_int_equal(b->doubted[1], 1); /* once */
		assert_int_equal(b->refused[1], 0);
		assert_int_equal(b->doubted[7], 1); /* it waits */
		assert_int_equal(b->refused[7], 0);
		if (again) {
			b->disk->fail_sync_at = 0;
			for (int i = 0; i < 3; i++) {
				journal_tick(b->j);
				worker_drain(b->worker);
			}
			assert_int_equal(b->refused[1], 1);
			assert_int_equal(b->acked[7], 1);
		}
		cut_off(b);
		simvfs_restart(b->disk, seed & 1);
		assert_int_equal(start(b), 0);
		assert_int_equal(b->strange, 0);
		assert_false(again && b->seen[1]);
		assert_false(again && !b->seen[7]);
		bench_free(b);
	}
}

/* Leaves @room bytes, and no spare. */
static void fill_disk(struct bench *b, uint64_t room)
{
	struct vfs_space sp;

	b->disk->vfs.unlink(&b->disk->vfs, "spare");
	b->disk->space = UINT64_MAX / 4;
	b->disk->vfs.space(&b->disk->vfs, &sp);
	b->disk->space = UINT64_MAX / 4 - sp.bytes + room;
}

static void give_room(struct bench *b)
{
	b->disk->space = 0;
	journal_tick(b->j);
	worker_drain(b->worker);
	journal_tick(b->j);
	worker_drain(b->worker);
	assert_true(journal_ready(b->j));
	append(b, 200, false);
	worker_drain(b->worker);
	assert_int_equal(b->acked[200], 1);
}

static void a_start_on_a_full_disk_writes_on_in_the_last_segment(void **state)
{
	struct bench *b = bench_new(11);
	struct journal_stats st;

	assert_int_equal(start(b), 0);
	for (uint32_t n = 0; n < 10; n++)
		append(b, n, false);
	worker_drain(b->worker);
	for (uint32_t round = 0; round < 3; round++) {
		cut_off(b);
		simvfs_restart(b->disk, true);
		fill_disk(b, 1000);
		assert_int_equal(start(b), 0);
		for (uint32_t n = 0; n < 10; n++)
			assert_int_equal(b->seen[n], 1);
		for (uint32_t n = 0; n < round; n++)
			assert_int_equal(b->seen[14 + 7 * n], 1);
		worker_drain(b->worker);
		assert_false(journal_ready(b->j));
		append(b, 100 + round, false);
		append(b, 14 + 7 * round, true);
		worker_drain(b->worker);
		assert_int_equal(b->refused[100 + round], 1);
		assert_int_equal(b->acked[14 + 7 * round], 1);
		assert_int_equal(simvfs_count(b->disk, "0000000"), 1);
	}
	give_room(b);
	assert_int_equal(simvfs_count(b->disk, "0000000"), 1); /* the last one is not full yet */
	cut_off(b);
	simvfs_restart(b->disk, true);
	assert_int_equal(start(b), 0);
	for (uint32_t n = 0; n < 10; n++)
		assert_int_equal(b->seen[n], 1);
	assert_int_equal(b->seen[14] + b->seen[21] + b->seen[28] + b->seen[200], 4);
	journal_stats(b->j, &st);
	assert_int_equal(st.quarantined + st.tails, 0);
	bench_free(b);
}

/* Where something bad stands, or nothing at all, nothing is written until there is room. */
static void a_start_on_a_full_disk_opens_what_is_there(void **state)
{
	for (uint32_t bad = 0; bad < 2; bad++) {
		struct bench *b = bench_new(12);
		size_t len;

		if (bad) {
			assert_int_equal(start(b), 0);
			for (uint32_t n = 0; n < 3; n++) {
				append(b, n, false);
				worker_drain(b->worker);
			}
			cut_off(b);
			simvfs_restart(b->disk, true);
			simvfs_data(b->disk, "00000001.seg", &len)[b->pos[2].offset + 50] ^= 1;
		}
		fill_disk(b, 1000);
		assert_int_equal(start(b), 0);
		for (uint32_t n = 0; n < 2 * bad; n++)
			assert_int_equal(b->seen[n], 1);
		worker_drain(b->worker);
		assert_false(journal_ready(b->j));
		append(b, 100, false);
		append(b, 10, true);
		journal_tick(b->j);
		worker_drain(b->worker);
		assert_int_equal(b->refused[100], 1);
		assert_int_equal(b->acked[10] + b->refused[10], 0);
		give_room(b);
		assert_int_equal(b->acked[10], 1);
		cut_off(b);
		simvfs_restart(b->disk, true);
		assert_int_equal(start(b), 0);
		for (uint32_t n = 0; n < 2 * bad; n++)
			assert_int_equal(b->seen[n], 1);
		assert_int_equal(b->seen[10] + b->seen[200], 2);
		bench_free(b);
	}
}

/* More bad places than a first page can list, with good records between them. */
static void spoil_many(uint32_t seed)
{
	struct bench *b = bench_new(seed);
	size_t len;

	assert_int_equal(start(b), 0);
	worker_drain(b->worker);
	append(b, 1, false);
	for (uint32_t n = 7; n < 4000; n += 7)
		append(b, n, false); /* of 4 bytes each, in one batch */
	worker_drain(b->worker);
	journal_close(b->j);
	b->j = NULL;
	simvfs_restart(b->disk, false);
	for (uint32_t n = 7; n < 4000; n += 14)
		simvfs_data(b->disk, "00000001.seg", &len)[b->pos[n].offset + 45] ^= 1;
	for (int round = 0; round < 3; round++) {
		assert_int_equal(start(b), 0);
		for (uint32_t n = 7; n < 4000; n += 7)
			if (b->seen[n] != (n % 14 == 0))
				fail_msg("start %d: record %u seen %d times", round, n, b->seen[n]);
		worker_drain(b->worker);
		if (round == 1) { /* more of them elsewhere */
			for (uint32_t n = 8; n < 4000; n += 14)
				append(b, n, false);
			worker_drain(b->worker);
			for (uint32_t n = 8; n < 4000; n += 28)
				simvfs_data(b->disk, "00000003.seg", &len)[b->pos[n].offset + 50] ^=
				    1;
		}
		journal_close(b->j);
		b->j = NULL;
		simvfs_restart(b->disk, false);
	}
	/* A void batch finds its place all the same. */
	assert_int_equal(start(b), 0);
	worker_drain(b->worker);
	append(b, 14, true); /* begins a batch alone */
	append(b, 4004, false);
	append(b, 28, true);
	b->disk->fail_sync_at = b->disk->syncs + 2;
	worker_drain(b->worker);
	assert_int_equal(b->refused[4004], 1);
	cut_off(b);
	simvfs_restart(b->disk, false);
	assert_int_equal(start(b), 0);
	assert_int_equal(b->seen[4004], 0);
	assert_int_equal(b->seen[28], 2);
	bench_free(b);
}

static void many_bad_places_hide_no_good_record(void **state)
{
	for (uint32_t seed = 1; seed <= 6; seed++)
		spoil_many(seed);
}

/* Record 8 is not what it was; a power cut takes back what was not written through the disk. */
static uint8_t *spoil(struct bench *b)
{
	size_t len;
	uint8_t *rec = simvfs_data(b->disk, "00000001.seg", &len) + b->pos[8].offset;

	memset(rec + 44 + 50, 0xee, 4);
	return rec;
}

static bool cut_while_copying(uint32_t seed, long at)
{
	struct bench *b = bench_new(seed);
	uint8_t *copy, *rec;
	char name[64];
	size_t len;
	bool cut;

	assert_int_equal(start(b), 0);
	append(b, 8, false);
	worker_drain(b->worker);
	append(b, 15, false);
	worker_drain(b->worker);
	journal_close(b->j);
	b->j = NULL;
	simvfs_restart(b->disk, false);
	spoil(b);
	b->disk->die_at = at;
	start(b);
	worker_drain(b->worker);
	cut = b->disk->dead;
	cut_off(b);
	simvfs_restart(b->disk, true);
	rec = spoil(b);
	assert_int_equal(start(b), 0);
	snprintf(name, sizeof(name), "quarantine/00000001-%u", b->pos[8].offset);
	copy = simvfs_data(b->disk, name, &len);
	if (!copy || len != 44 + length(8) || memcmp(copy, rec, len))
		fail_msg("seed %u cut at %ld: the copy is not whole", seed, at);
	assert_int_equal(simvfs_count(b->disk, "quarantine/"), 1);
	bench_free(b);
	return cut;
}

static void a_copy_that_was_cut_short_is_made_again(void **state)
{
	for (uint32_t seed = 1; seed <= 8; seed++)
		for (long at = 1; cut_while_copying(seed, at); at++)
			;
}

/* A start copies so many; what it leaves lies where it was, and the next one takes it. */
static void what_is_too_much_for_one_start_stays(void **state)
{
	struct bench *b = bench_new(7);
	size_t len, bad = 0;

	assert_int_equal(start(b), 0);
	for (uint32_t n = 7; n < 4000; n += 7)
		append(b, n, false);
	worker_drain(b->worker);
	journal_close(b->j);
	b->j = NULL;
	simvfs_restart(b->disk, false);
	for (uint32_t n = 7; n < 4000; n += 14, bad++)
		simvfs_data(b->disk, "00000001.seg", &len)[b->pos[n].offset + 45] ^= 1;
	assert_int_equal(start(b), 0);
	assert_in_range(simvfs_count(b->disk, "quarantine/"), 1, bad - 1);
	assert_int_equal(journal_drop_oldest(b->j), -EBUSY);
	journal_close(b->j);
	b->j = NULL;
	simvfs_restart(b->disk, false);
	assert_int_equal(start(b), 0);
	assert_int_equal(simvfs_count(b->disk, "quarantine/"), bad);
	assert_int_equal(journal_drop_oldest(b->j), 0);
	worker_drain(b->worker);
	bench_free(b);
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

/* On a full disk each try would take what is left. */
static void a_segment_that_could_not_be_made_leaves_no_file(void **state)
{
	struct journal_stats st;
	uint32_t n = 0;

	(void)state;
	for (long at = 1; at <= 30; at++) {
		struct bench *b = bench_new(1);

		assert_int_equal(start(b), 0);
		worker_drain(b->worker);
		b->disk->fail_at = b->disk->ops + at;
		for (int i = 0; i < 12; i++, n = (n + 1) % 1000) {
			append(b, n, true);
			worker_drain(b->worker);
			journal_tick(b->j);
			worker_drain(b->worker);
		}
		journal_stats(b->j, &st);
		assert_true(st.segments > 1);
		assert_int_equal(simvfs_count(b->disk, "0000"), st.segments);
		bench_free(b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mail_case_064_flipped_bits_cost_their_record_only),
		cmocka_unit_test(mail_case_064_payload_damage_leaves_the_neighbours_alone),
		cmocka_unit_test(mail_case_066_failed_sync_is_never_taken_back),
		cmocka_unit_test(mail_case_066_what_was_told_void_is_void_already),
		cmocka_unit_test(mail_case_066_what_cannot_be_made_void_is_in_doubt),
		cmocka_unit_test(a_start_on_a_full_disk_writes_on_in_the_last_segment),
		cmocka_unit_test(a_start_on_a_full_disk_opens_what_is_there),
		cmocka_unit_test(many_bad_places_hide_no_good_record),
		cmocka_unit_test(a_copy_that_was_cut_short_is_made_again),
		cmocka_unit_test(what_is_too_much_for_one_start_stays),
		cmocka_unit_test(a_segment_that_could_not_be_made_leaves_no_file),
		cmocka_unit_test(full_disk_refuses_letters_keeps_results_and_recovers),
	};

	log_setup("test_journal_faults", LOG_LVL_ERR, -1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
