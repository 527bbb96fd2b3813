/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The store on a disk that is cut off, full, or has lost what it had. */
#include "store_bench.h"

static void check_big(struct bench *b, struct letter *l)
{
	struct vfs *v = &b->disk->vfs;
	static uint8_t body[70001];
	int fd = store_open_body(b->s, l);

	assert_true(fd >= 0);
	assert_int_equal(v->pread(v, fd, body, sizeof(body), 0), 70000);
	for (size_t i = 0; i < 70000; i++)
		if (body[i] != l->id[1])
			fail_msg("body of letter %u differs at %zu", l->id[1], i);
	v->close(v, fd);
}

static void work(struct bench *b)
{
	for (uint32_t n = 1; n < 24; n++) {
		struct envelope e = plain();

		if (n % 5 == 0)
			put_big(b, n, &b->stored[n]);
		else
			put(b, n, &e, "small\r\n", &b->stored[n], NULL);
		if (n % 3 == 0)
			worker_drain(b->worker);
		if (n > 8)
			deliver(b, n - 6);
		if (n % 7 == 0) {
			b->now_ms += 2000;
			store_tick(b->s, b->now_ms);
		}
	}
	worker_drain(b->worker);
}

static bool cut_at(uint32_t seed, long at, bool power)
{
	struct bench *b = bench_new(seed);
	size_t own = 0;
	bool cut;

	assert_int_equal(start(b), 0);
	worker_drain(b->worker);
	b->disk->ops = 0;
	b->disk->die_at = at;
	work(b);
	cut = b->disk->dead;
	cut_off(b);
	simvfs_restart(b->disk, power);
	b->now_ms += 1000;
	assert_int_equal(start(b), 0);
	for (uint32_t n = 1; n < 24; n++) {
		uint8_t id[LETTER_ID_LEN];
		struct store_reading r;
		struct letter *l;

		name(n, id);
		l = store_find(b->s, id);
		/* After 250 always there, unless its end was asked for (that may have reached the
		 * disk before the word of it came back). */
		if (b->stored[n] && !b->asked[n] && !l)
			fail_msg("seed %u cut at %ld: letter %u is lost", seed, at, n);
		if (b->delivered[n] && l)
			fail_msg("seed %u cut at %ld: letter %u comes back", seed, at, n);
		if (!l)
			continue;
		/* Before 250 absent or complete. */
		assert_false(l->unreadable);
		assert_int_equal(store_read(b->s, l, &r), 0);
		assert_int_equal(r.env.rcpt_count, 2);
		store_reading_clear(&r);
		if (l->own_file) {
			check_big(b, l);
			own++;
		}
	}
	assert_int_equal(simvfs_count(b->disk, "body/"), own); /* none that nobody owns */
	bench_free(b);
	return cut;
}

static void mail_case_062_kill_at_every_operation_keeps_every_letter(void **state)
{
	long at = 1;

	while (cut_at(3, at, false))
		at++;
	assert_true(at > 50);
}

static void mail_case_063_power_cut_at_every_operation_keeps_every_letter(void **state)
{
	for (uint32_t seed = 1; seed <= 2; seed++)
		for (long at = 1; cut_at(seed, at, true); at++)
			;
}

static void no_room_refuses_and_room_takes_again(void **state)
{
	struct bench *b = bench_new(7);
	struct envelope e = plain();
	int rc = 0;

	assert_int_equal(start(b), 0);
	worker_drain(b->worker);
	store_set_reserve(b->s, 1 << 20, 100);
	assert_true(store_room(b->s) > 0);
	b->disk->inodes = 50;
	store_tick(b->s, b->now_ms);
	assert_int_equal(store_room(b->s), 0);
	b->disk->inodes = 0;
	b->disk->space = 1 << 20;
	store_tick(b->s, b->now_ms);
	assert_int_equal(store_room(b->s), 0);
	b->disk->space = 16 << 20;
	store_tick(b->s, b->now_ms);
	assert_true(store_room(b->s) > 0);
	b->disk->fail_sync_at = b->disk->syncs + 1;
	assert_int_equal(put(b, 1, &e, "x", NULL, &rc), 0);
	worker_drain(b->worker);
	assert_int_equal(rc, -EIO);
	assert_int_equal(store_count(b->s, LETTER_QUEUED), 0);
	assert_int_equal(put(b, 1, &e, "x", NULL, &rc), 0); /* the client tries again */
	worker_drain(b->worker);
	assert_int_equal(rc, 0);
	bench_free(b);
}

static void orphaned_bodies_are_removed_at_start(void **state)
{
	struct bench *b = bench_new(8);
	struct vfs *v = &b->disk->vfs;
	bool ok = false;

	assert_int_equal(start(b), 0);
	worker_drain(b->worker);
	assert_int_equal(put_big(b, 9, &ok), 0);
	worker_drain(b->worker);
	v->close(v, v->open(v, "body/in-77", true));
	v->close(v, v->open(v, "body/00000000000000000000000000000001", true));
	cut_off(b);
	simvfs_restart(b->disk, false);
	assert_int_equal(simvfs_count(b->disk, "body/"), 3);
	assert_int_equal(start(b), 0);
	assert_int_equal(simvfs_count(b->disk, "body/"), 1);
	deliver(b, 9);
	worker_drain(b->worker);
	assert_int_equal(simvfs_count(b->disk, "body/"), 0);
	bench_free(b);
}

static void a_body_whose_letter_cannot_be_read_is_kept(void **state)
{
	struct bench *b = bench_new(9);
	struct journal_pos pos;
	uint8_t id[LETTER_ID_LEN];
	bool ok = false;
	size_t len;

	assert_int_equal(start(b), 0);
	worker_drain(b->worker);
	assert_int_equal(put_big(b, 9, &ok), 0);
	worker_drain(b->worker);
	assert_true(ok);
	name(9, id);
	pos = store_find(b->s, id)->pos;
	store_close(b->s);
	b->s = NULL;
	simvfs_restart(b->disk, false);
	simvfs_data(b->disk, "00000001.seg", &len)[pos.offset + 44 + 60] ^= 1;
	assert_int_equal(start(b), 0);
	assert_int_equal(store_count(b->s, LETTER_QUEUED), 0);
	assert_int_equal(simvfs_count(b->disk, "body/"), 0);
	assert_int_equal(simvfs_count(b->disk, "quarantine/body-"), 1);
	bench_free(b);
}

/* A write that the disk had confirmed is not there, and nothing else says that there was a letter. */
static void a_body_whose_letter_is_missing_is_kept(void **state)
{
	struct bench *b = bench_new(18);
	struct envelope e = plain();
	struct journal_pos pos;
	uint8_t id[LETTER_ID_LEN];
	bool ok = false;
	size_t len;

	assert_int_equal(start(b), 0);
	worker_drain(b->worker);
	assert_int_equal(put(b, 1, &e, "x", NULL, NULL), 0);
	worker_drain(b->worker);
	assert_int_equal(put_big(b, 9, &ok), 0);
	worker_drain(b->worker);
	assert_int_equal(put(b, 2, &e, "x", NULL, NULL), 0);
	worker_drain(b->worker);
	assert_true(ok);
	name(9, id);
	pos = store_find(b->s, id)->pos;
	store_close(b->s);
	b->s = NULL;
	simvfs_restart(b->disk, false);
	memset(simvfs_data(b->disk, "00000001.seg", &len) + pos.offset, 0, 4096);
	assert_int_equal(start(b), 0);
	assert_int_equal(store_count(b->s, LETTER_QUEUED), 2);
	assert_int_equal(simvfs_count(b->disk, "body/"), 0);
	assert_int_equal(simvfs_count(b->disk, "quarantine/body-"), 1);
	bench_free(b);
}

/* The start that finds the letter unreadable dies at @at; the next one tells nobody of it any more. */
static bool cut_while_rescuing(uint32_t seed, long at, bool power)
{
	struct bench *b = bench_new(seed);
	struct journal_pos pos;
	uint8_t id[LETTER_ID_LEN];
	bool ok = false, cut;
	size_t len;

	assert_int_equal(start(b), 0);
	worker_drain(b->worker);
	assert_int_equal(put_big(b, 9, &ok), 0);
	worker_drain(b->worker);
	name(9, id);
	pos = store_find(b->s, id)->pos;
	store_close(b->s);
	b->s = NULL;
	simvfs_restart(b->disk, false);
	simvfs_data(b->disk, "00000001.seg", &len)[pos.offset + 44 + 60] ^= 1;
	b->disk->die_at = at;
	start(b);
	worker_drain(b->worker);
	cut = b->disk->dead;
	if (b->s)
		cut_off(b);
	simvfs_restart(b->disk, power);
	simvfs_data(b->disk, "00000001.seg", &len)[pos.offset + 44 + 60] = 0xee;
	assert_int_equal(start(b), 0);
	assert_int_equal(store_count(b->s, LETTER_QUEUED), 0);
	if (simvfs_count(b->disk, "quarantine/body-") != 1)
		fail_msg("seed %u cut at %ld: the body is not kept", seed, at);
	bench_free(b);
	return cut;
}

static void a_start_that_dies_keeps_what_it_was_to_rescue(void **state)
{
	(void)state;
	for (uint32_t seed = 1; seed <= 6; seed++)
		for (long at = 1; cut_while_rescuing(seed, at, seed & 1); at++)
			;
}

static int none(void *arg, struct journal_pos pos, uint64_t rid, const uint8_t *data, size_t len)
{
	(void)arg, (void)pos, (void)rid, (void)data, (void)len;
	return 0;
}

/* One record past the store: the end of letter 1, and then an item that makes no sense. */
static void write_nonsense(struct bench *b)
{
	struct journal_config cfg = {
		.vfs = &b->disk->vfs, .worker = b->worker, .segment_bytes = SEG, .record = none
	};
	uint8_t rec[64] = { 3, 0, 0, 0, LETTER_ID_LEN + 1 };
	struct journal *j;

	name(1, rec + 5);
	rec[5 + LETTER_ID_LEN] = LETTER_GONE;
	rec[6 + LETTER_ID_LEN] = 1; /* a letter of two bytes */
	rec[10 + LETTER_ID_LEN] = 2;
	assert_int_equal(journal_open(&j, &cfg), 0);
	assert_int_equal(journal_append(j, rec, 13 + LETTER_ID_LEN, false, NULL), 0);
	journal_close(j);
}

static void a_record_not_understood_goes_to_quarantine_whole(void **state)
{
	struct bench *b = bench_new(12);
	struct envelope e = plain();
	struct journal_stats st;
	uint8_t id[LETTER_ID_LEN];

	assert_int_equal(start(b), 0);
	assert_int_equal(put(b, 1, &e, "x", NULL, NULL), 0);
	store_close(b->s);
	b->s = NULL;
	write_nonsense(b);
	name(1, id);
	for (int round = 0; round < 2; round++) {
		assert_int_equal(start(b), 0);
		assert_non_null(store_find(b->s, id)); /* nothing of it counted */
		store_journal_stats(b->s, &st);
		assert_int_equal(st.quarantined, round == 0); /* told once */
		assert_int_equal(simvfs_count(b->disk, "quarantine/"), 1);
		store_close(b->s);
		b->s = NULL;
	}
	/* Its segment goes like others. */
	assert_int_equal(start(b), 0);
	deliver(b, 1);
	for (int i = 0; i < 10; i++) {
		worker_drain(b->worker);
		b->now_ms += 1000;
		store_tick(b->s, b->now_ms);
	}
	worker_drain(b->worker);
	assert_null(simvfs_data(b->disk, "00000002.seg", &(size_t){ 0 }));
	bench_free(b);
}

static void what_quarantine_has_no_room_for_stays(void **state)
{
	static char body[30000];
	struct bench *b = bench_new(13);
	struct journal_stats st;
	struct vfs_space sp;
	bool ok = false;

	assert_int_equal(start(b), 0);
	store_close(b->s);
	b->s = NULL;
	write_nonsense(b);
	b->disk->vfs.unlink(&b->disk->vfs, "spare");
	b->disk->space = UINT64_MAX / 4;
	b->disk->vfs.space(&b->disk->vfs, &sp);
	b->disk->space = UINT64_MAX / 4 - sp.bytes + 10;
	assert_int_equal(start(b), 0);
	assert_int_equal(store_room(b->s), 0);
	b->disk->space = 0;
	memset(body, 'x', sizeof(body) - 1);
	for (uint32_t i = 0; i < 40; i++) { /* some segments further */
		struct envelope e = plain();

		worker_drain(b->worker);
		b->now_ms += 1000;
		store_tick(b->s, b->now_ms);
		worker_drain(b->worker);
		put(b, i, &e, body, &ok, NULL);
		worker_drain(b->worker);
		deliver(b, i);
		worker_drain(b->worker);
	}
	assert_true(ok);
	assert_non_null(simvfs_data(b->disk, "00000002.seg", &(size_t){ 0 }));
	store_close(b->s);
	b->s = NULL;
	assert_int_equal(simvfs_count(b->disk, "quarantine/"), 0);
	assert_int_equal(start(b), 0);
	assert_int_equal(simvfs_count(b->disk, "quarantine/"), 1);
	store_journal_stats(b->s, &st);
	assert_int_equal(st.quarantined, 1);
	bench_free(b);
}

/* Its body is gone: it can never be sent, but the journal must not grow because of it. */
static void an_unsendable_letter_holds_no_segment(void **state)
{
	static char body[30000];
	struct bench *b = bench_new(10);
	struct envelope e = plain();
	struct journal_stats st;
	uint8_t id[LETTER_ID_LEN];
	struct store_change *c;
	bool ok = false;

	memset(body, 'x', sizeof(body) - 1);
	assert_int_equal(start(b), 0);
	worker_drain(b->worker);
	assert_int_equal(put_big(b, 1, &ok), 0);
	worker_drain(b->worker);
	name(1, id);
	store_find(b->s, id)->unreadable = true;
	for (uint32_t i = 0; i < 200; i++) {
		assert_int_equal(put(b, 2 + i % 50, &e, body, NULL, NULL), 0);
		worker_drain(b->worker);
		name(2 + i % 50, id);
		c = store_begin(b->s);
		store_put_state(c, store_find(b->s, id), LETTER_GONE);
		store_commit(c, true, NULL);
		worker_drain(b->worker);
		b->now_ms += 1000;
		store_tick(b->s, b->now_ms);
		worker_drain(b->worker);
	}
	store_journal_stats(b->s, &st);
	assert_true(st.segments <= 8);
	name(1, id);
	assert_non_null(store_find(b->s, id));
	bench_free(b);
}

/* A sector of the disk that is gone: what lies there cannot be read. */
static ssize_t (*whole_pread)(struct vfs *v, int fd, void *buf, size_t len, uint64_t off);
static uint64_t gone_from, gone_to;

static ssize_t pread_but_sector(struct vfs *v, int fd, void *buf, size_t len, uint64_t off)
{
	return off < gone_to && off + len > gone_from ? -EIO : whole_pread(v, fd, buf, len, off);
}

/* Letters come and go for @seconds; what stays is letter 1. */
static void traffic(struct bench *b, struct envelope *e, const char *body, uint32_t seconds)
{
	struct store_change *c;
	uint8_t id[LETTER_ID_LEN];

	for (uint32_t i = 0; i < seconds; i++) {
		assert_int_equal(put(b, 2 + i % 50, e, body, NULL, NULL), 0);
		worker_drain(b->worker);
		name(2 + i % 50, id);
		c = store_begin(b->s);
		store_put_state(c, store_find(b->s, id), LETTER_GONE);
		store_commit(c, true, NULL);
		worker_drain(b->worker);
		b->now_ms += 1000;
		store_tick(b->s, b->now_ms);
		worker_drain(b->worker);
	}
}

/* @big: with a body of its own, @sector: the disk does not give it back, else a bit flips. */
static void goes_bad(bool big, bool sector, bool crash)
{
	static char body[30000], mark[] = "what the second sector of it says";
	struct bench *b = bench_new(11);
	struct envelope e = plain();
	struct journal_stats st;
	uint8_t id[LETTER_ID_LEN], *seg, *copy;
	struct letter *l;
	size_t len;
	bool ok = false;
	char path[64];

	memset(body, 'x', sizeof(body) - 1);
	memcpy(body + 9000, mark, sizeof(mark) - 1);
	assert_int_equal(start(b), 0);
	worker_drain(b->worker);
	assert_int_equal(big ? put_big(b, 1, &ok) : put(b, 1, &e, body, &ok, NULL), 0);
	worker_drain(b->worker);
	assert_true(ok);
	name(1, id);
	l = store_find(b->s, id);
	snprintf(path, sizeof(path), "quarantine/%08x-%u", l->pos.segment, l->pos.offset);
	if (sector) {
		whole_pread = b->disk->vfs.pread;
		b->disk->vfs.pread = pread_but_sector;
		gone_from = l->pos.offset;
		gone_to = gone_from + 100;
	} else {
		seg = simvfs_data(b->disk, "00000001.seg", &len);
		seg[l->pos.offset + 100] ^= 0x10;
	}
	/* Soon found, and given a while: a path to the disk can come back. */
	traffic(b, &e, body, 50);
	assert_non_null(store_find(b->s, id));
	assert_int_equal(simvfs_count(b->disk, "quarantine/"), 0);
	traffic(b, &e, body, 150);
	assert_null(store_find(b->s, id));
	store_journal_stats(b->s, &st);
	assert_true(st.segments <= 8);
	copy = simvfs_data(b->disk, path, &len);
	assert_non_null(copy);
	if (!big)
		assert_non_null(memmem(copy, len, mark, sizeof(mark) - 1));
	assert_int_equal(simvfs_count(b->disk, "quarantine/body-"), big);
	assert_int_equal(simvfs_count(b->disk, "body/"), 0);
	b->disk->vfs.pread = sector ? whole_pread : b->disk->vfs.pread;
	if (crash) {
		cut_off(b);
		simvfs_restart(b->disk, true);
	} else {
		store_close(b->s);
		b->s = NULL;
	}
	assert_int_equal(start(b), 0);
	assert_null(store_find(b->s, id));
	assert_int_equal(simvfs_count(b->disk, "quarantine/"), 1 + big);
	bench_free(b);
}

static void mail_case_064_a_letter_that_goes_bad_meanwhile_is_kept_aside_and_holds_no_segment(void **state)
{
	(void)state;
	for (int i = 0; i < 8; i++)
		goes_bad(i & 1, i & 2, i & 4);
}

/* Without room for the copy it stays, and with it its segment: better so than lost. */
static void a_letter_that_goes_bad_on_a_full_disk_stays(void **state)
{
	static char body[30000];
	struct bench *b = bench_new(12);
	struct envelope e = plain();
	uint8_t id[LETTER_ID_LEN], *seg;
	size_t len;

	(void)state;
	memset(body, 'x', sizeof(body) - 1);
	assert_int_equal(start(b), 0);
	worker_drain(b->worker);
	assert_int_equal(put(b, 1, &e, body, NULL, NULL), 0);
	worker_drain(b->worker);
	name(1, id);
	seg = simvfs_data(b->disk, "00000001.seg", &len);
	seg[store_find(b->s, id)->pos.offset + 100] ^= 0x10;
	traffic(b, &e, body, 55);
	b->disk->space = 1;
	for (int i = 0; i < 100; i++) {
		b->now_ms += 1000;
		store_tick(b->s, b->now_ms);
		worker_drain(b->worker);
	}
	assert_non_null(store_find(b->s, id));
	assert_int_equal(simvfs_count(b->disk, "quarantine/"), 0);
	b->disk->space = 0;
	traffic(b, &e, body, 5);
	assert_null(store_find(b->s, id));
	assert_int_equal(simvfs_count(b->disk, "quarantine/"), 1);
	bench_free(b);
}

/* What it lands as must find it; one that is being copied leaves by no other way. */
static void a_letter_that_goes_bad_in_flight_lands_first(void **state)
{
	static char body[30000];
	struct bench *b = bench_new(13);
	struct envelope e = plain();
	uint8_t id[LETTER_ID_LEN], *seg;
	struct letter *l;
	size_t len;

	(void)state;
	memset(body, 'x', sizeof(body) - 1);
	assert_int_equal(start(b), 0);
	worker_drain(b->worker);
	assert_int_equal(put(b, 1, &e, body, NULL, NULL), 0);
	worker_drain(b->worker);
	name(1, id);
	l = store_find(b->s, id);
	l->rcpt[0].flying = true;
	seg = simvfs_data(b->disk, "00000001.seg", &len);
	seg[l->pos.offset + 100] ^= 0x10;
	traffic(b, &e, body, 200);
	assert_ptr_equal(store_find(b->s, id), l);
	assert_int_equal(simvfs_count(b->disk, "quarantine/"), 0);
	l->rcpt[0].flying = false;
	traffic(b, &e, body, 5);
	assert_null(store_find(b->s, id));
	assert_int_equal(simvfs_count(b->disk, "quarantine/"), 1);
	bench_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mail_case_062_kill_at_every_operation_keeps_every_letter),
		cmocka_unit_test(mail_case_063_power_cut_at_every_operation_keeps_every_letter),
		cmocka_unit_test(no_room_refuses_and_room_takes_again),
		cmocka_unit_test(orphaned_bodies_are_removed_at_start),
		cmocka_unit_test(a_body_whose_letter_cannot_be_read_is_kept),
		cmocka_unit_test(a_body_whose_letter_is_missing_is_kept),
		cmocka_unit_test(a_start_that_dies_keeps_what_it_was_to_rescue),
		cmocka_unit_test(a_record_not_understood_goes_to_quarantine_whole),
		cmocka_unit_test(what_quarantine_has_no_room_for_stays),
		cmocka_unit_test(an_unsendable_letter_holds_no_segment),
		cmocka_unit_test(
		    mail_case_064_a_letter_that_goes_bad_meanwhile_is_kept_aside_and_holds_no_segment),
		cmocka_unit_test(a_letter_that_goes_bad_on_a_full_disk_stays),
		cmocka_unit_test(a_letter_that_goes_bad_in_flight_lands_first),
	};

	log_setup("test_store_disk", LOG_LVL_ERR, -1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
