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

#include "log.h"
#include "simvfs.h"
#include "store.h"

#define SEG	(256 * 1024)
#define LETTERS 64

struct bench {
	struct simvfs *disk;
	struct worker *worker;
	struct store *s;
	uint64_t now_ms;
	int added;
	/* What the outside was told: 250 for letter n; its recipient's delivery is committed. */
	bool stored[LETTERS], delivered[LETTERS], asked[LETTERS];
};

struct wait {
	struct store_waiter w;
	bool *flag;
	int *rc;
};

static void done(struct store_waiter *w, int rc, struct letter *l)
{
	struct wait *x = (struct wait *)(void *)w;

	(void)l;
	if (x->flag && !rc)
		*x->flag = true;
	if (x->rc)
		*x->rc = rc;
	free(x);
}

static struct store_waiter *waiter(bool *flag, int *rc)
{
	struct wait *x = calloc(1, sizeof(*x));

	x->w.done = done;
	x->flag = flag;
	x->rc = rc;
	return &x->w;
}

/* As store_commit(); a waiter that is not taken is freed. */
static int commit(struct store_change *c, bool keep, struct store_waiter *w)
{
	int rc = store_commit(c, keep, w);

	if (rc)
		free(w);
	return rc;
}

static void added(void *arg, struct letter *l, const struct envelope *e)
{
	assert_int_equal(l->rcpt_count, e->rcpt_count);
	((struct bench *)arg)->added++;
}

static int start(struct bench *b)
{
	struct store_config cfg = { .vfs = &b->disk->vfs,
				    .worker = b->worker,
				    .segment_bytes = SEG,
				    .boot_id = { 1 },
				    .added = added,
				    .arg = b };

	b->s = NULL;
	b->added = 0;
	return store_open(&b->s, &cfg, b->now_ms);
}

static struct bench *bench_new(uint32_t seed)
{
	struct bench *b = calloc(1, sizeof(*b));

	b->disk = simvfs_new(seed);
	b->worker = worker_new(NULL);
	b->now_ms = 1000000;
	return b;
}

static void cut_off(struct bench *b)
{
	worker_drain(b->worker);
	store_abandon(b->s);
	b->s = NULL;
}

static void bench_free(struct bench *b)
{
	store_abandon(b->s);
	worker_free(b->worker);
	simvfs_free(b->disk);
	free(b);
}

static void name(uint32_t n, uint8_t id[static LETTER_ID_LEN])
{
	memset(id, 0, LETTER_ID_LEN);
	id[0] = 0xaa;
	id[1] = (uint8_t)n;
}

static int put(struct bench *b, uint32_t n, struct envelope *e, const char *body, bool *flag,
	       int *rc)
{
	struct store_change *c = store_begin(b->s);
	int err;

	name(n, e->id);
	err = store_put_letter(c, e, (const uint8_t *)body, body ? strlen(body) : 0);
	if (err) {
		store_cancel(c);
		return err;
	}
	return commit(c, false, waiter(flag, rc));
}

static struct env_rcpt two[2] = { { .addr = "a@home.example" }, { .addr = "b@home.example" } };

static struct envelope plain(void)
{
	return (struct envelope){ .sender = "x@out.example", .rcpt = two, .rcpt_count = 2 };
}

static void letters_results_and_states_survive_restarts(void **state)
{
	struct bench *b = bench_new(1);
	struct envelope e = plain();
	struct store_reading r;
	struct store_change *c;
	struct letter *l;
	uint8_t id[LETTER_ID_LEN];
	bool ok = false;

	assert_int_equal(start(b), 0);
	worker_drain(b->worker);
	assert_int_equal(put(b, 1, &e, "Subject: 1\r\n\r\none\r\n", &ok, NULL), 0);
	assert_int_equal(put(b, 2, &e, "two\r\n", NULL, NULL), 0);
	assert_int_equal(put(b, 3, &e, "three\r\n", NULL, NULL), 0);
	assert_false(ok);
	worker_drain(b->worker);
	assert_true(ok);
	name(1, id);
	l = store_find(b->s, id);
	c = store_begin(b->s);
	assert_int_equal(store_put_rcpt(c, l, 1, RCPT_DELIVERED, 1, "250 2.0.0 ok"), 0);
	assert_int_equal(store_put_rcpt(c, l, 0, RCPT_PENDING, 4, "451 4.7.1 later"), 0);
	assert_int_equal(store_commit(c, true, NULL), 0);
	name(2, id);
	c = store_begin(b->s);
	store_put_state(c, store_find(b->s, id), LETTER_GONE);
	assert_int_equal(store_commit(c, true, NULL), 0);
	name(3, id);
	c = store_begin(b->s);
	store_put_state(c, store_find(b->s, id), LETTER_DEAD);
	assert_int_equal(store_commit(c, true, NULL), 0);
	worker_drain(b->worker);
	for (int round = 0; round < 2; round++) {
		if (round)
			store_close(b->s);
		else
			cut_off(b);
		b->s = NULL;
		simvfs_restart(b->disk, true);
		assert_int_equal(start(b), 0);
		assert_int_equal(store_count(b->s, LETTER_QUEUED), 1);
		assert_int_equal(store_count(b->s, LETTER_DEAD), 1);
		name(2, id);
		assert_null(store_find(b->s, id));
		name(1, id);
		l = store_find(b->s, id);
		assert_non_null(l);
		assert_int_equal(l->open, 1);
		assert_int_equal(store_read(b->s, l, &r), 0);
		assert_string_equal(r.env.sender, "x@out.example");
		assert_int_equal(r.env.rcpt[1].state, RCPT_DELIVERED);
		assert_int_equal(r.env.rcpt[0].attempts, 4);
		assert_string_equal(r.env.rcpt[0].last, "451 4.7.1 later");
		assert_int_equal(r.body_len, 19);
		assert_memory_equal(r.body, "Subject: 1\r\n\r\none\r\n", 19);
		store_reading_clear(&r);
	}
	bench_free(b);
}

/* Bodies in their own files, as accept.c makes them: written, synced, named, directory synced. */
static int put_big(struct bench *b, uint32_t n, bool *flag)
{
	struct vfs *v = &b->disk->vfs;
	struct envelope e = plain();
	struct store_change *c;
	char tmp[48], final[48];
	static uint8_t body[70000];
	int fd, rc;

	memset(body, (int)n, sizeof(body));
	name(n, e.id);
	snprintf(tmp, sizeof(tmp), "body/in-%u", n);
	store_body_name(e.id, final);
	fd = v->open(v, tmp, true);
	if (fd < 0)
		return fd;
	rc = vfs_write_all(v, fd, body, 40000, 0);
	if (!rc)
		rc = vfs_write_all(v, fd, body, 30000, 40000);
	if (!rc)
		rc = v->sync(v, fd);
	v->close(v, fd);
	if (!rc)
		rc = v->rename(v, tmp, final);
	if (!rc)
		rc = v->sync_dir(v, "body");
	if (rc)
		return rc;
	c = store_begin(b->s);
	rc = store_put_letter(c, &e, NULL, sizeof(body));
	if (rc) {
		store_cancel(c);
		return rc;
	}
	return commit(c, false, waiter(flag, NULL));
}

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

static void deliver(struct bench *b, uint32_t n)
{
	uint8_t id[LETTER_ID_LEN];
	struct store_change *c;
	struct letter *l;

	name(n, id);
	l = store_find(b->s, id);
	if (!l || l->state == LETTER_GONE)
		return;
	b->asked[n] = true;
	c = store_begin(b->s);
	store_put_rcpt(c, l, 0, RCPT_DELIVERED, 1, "250");
	store_put_rcpt(c, l, 1, RCPT_DELIVERED, 1, "250");
	store_put_state(c, l, LETTER_GONE);
	commit(c, true, waiter(&b->delivered[n], NULL));
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

static void kill_at_every_operation_keeps_every_letter(void **state)
{
	long at = 1;

	while (cut_at(3, at, false))
		at++;
	assert_true(at > 50);
}

static void power_cut_at_every_operation_keeps_every_letter(void **state)
{
	for (uint32_t seed = 1; seed <= 2; seed++)
		for (long at = 1; cut_at(seed, at, true); at++)
			;
}

static void repeated_letter_of_a_peer_is_known(void **state)
{
	struct bench *b = bench_new(4);
	struct envelope e = plain();
	uint8_t id[LETTER_ID_LEN];
	struct store_change *c;
	bool ok = false;

	e.flags = ENV_TUNNEL | ENV_PEER_ID;
	e.peer = "vps";
	e.peer_id[0] = 7;
	e.peer_seq = 10;
	assert_int_equal(start(b), 0);
	e.rcpt_count = 1;
	assert_int_equal(put(b, 1, &e, "x", &ok, NULL), 0);
	assert_int_equal(put(b, 2, &e, "x", NULL, NULL), -EAGAIN); /* not yet durable */
	worker_drain(b->worker);
	assert_true(ok);
	assert_int_equal(put(b, 2, &e, "x", NULL, NULL), -EEXIST);
	/* Gone, and the process restarted: known all the same. */
	name(1, id);
	c = store_begin(b->s);
	store_put_state(c, store_find(b->s, id), LETTER_GONE);
	store_commit(c, true, NULL);
	worker_drain(b->worker);
	cut_off(b);
	simvfs_restart(b->disk, true);
	assert_int_equal(start(b), 0);
	assert_int_equal(put(b, 2, &e, "x", NULL, NULL), -EEXIST);
	/* Its segment goes: the fact moves on. */
	for (int i = 0; i < 40; i++) {
		struct envelope f = plain();

		put(b, 30, &f, "0123456789", NULL, NULL);
		worker_drain(b->worker);
		name(30, id);
		c = store_begin(b->s);
		store_put_state(c, store_find(b->s, id), LETTER_GONE);
		store_commit(c, true, NULL);
		worker_drain(b->worker);
		cut_off(b);
		simvfs_restart(b->disk, true);
		assert_int_equal(start(b), 0);
		for (int k = 0; k < 3; k++) {
			b->now_ms += 1000;
			store_tick(b->s, b->now_ms);
			worker_drain(b->worker);
		}
	}
	assert_null(simvfs_data(b->disk, "00000001.seg", &(size_t){ 0 }));
	assert_int_equal(put(b, 2, &e, "x", NULL, NULL), -EEXIST);
	/* The other recipient of the same letter is new, and only it is stored. */
	e.rcpt_count = 2;
	assert_int_equal(put(b, 2, &e, "x", NULL, NULL), 0);
	worker_drain(b->worker);
	name(2, id);
	assert_int_equal(store_find(b->s, id)->rcpt_count, 1);
	/* Another peer's same id is another letter. */
	e.peer = "other";
	assert_int_equal(put(b, 3, &e, "x", NULL, NULL), 0);
	worker_drain(b->worker);
	/* The low-water mark passes. */
	e.peer = "vps";
	e.peer_id[0] = 8;
	e.peer_seq = e.peer_low = 11;
	assert_int_equal(put(b, 4, &e, "x", NULL, NULL), 0);
	worker_drain(b->worker);
	b->now_ms += 1000;
	store_tick(b->s, b->now_ms);
	e.peer_id[0] = 7;
	e.peer_seq = 10;
	assert_int_equal(put(b, 5, &e, "x", NULL, NULL), 0);
	worker_drain(b->worker);
	bench_free(b);
}

static void old_segments_are_emptied_and_removed(void **state)
{
	static char body[30000];
	struct bench *b = bench_new(5);
	struct envelope e = plain();
	struct journal_stats st;
	struct store_reading r;
	uint8_t id[LETTER_ID_LEN];
	struct store_change *c;

	memset(body, 'x', sizeof(body) - 1);
	assert_int_equal(start(b), 0);
	worker_drain(b->worker);
	assert_int_equal(put(b, 1, &e, "stays", NULL, NULL), 0);
	worker_drain(b->worker);
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
	assert_true(st.segments <= 8); /* of some 24 that were written */
	name(1, id);
	assert_int_equal(store_read(b->s, store_find(b->s, id), &r), 0);
	assert_memory_equal(r.body, "stays", 5);
	assert_int_equal(store_age(b->s, store_find(b->s, id)), 200);
	store_reading_clear(&r);
	cut_off(b);
	simvfs_restart(b->disk, true);
	assert_int_equal(start(b), 0);
	assert_int_equal(store_count(b->s, LETTER_QUEUED), 1);
	assert_int_equal(store_age(b->s, store_find(b->s, id)), 200);
	bench_free(b);
}

static void age_counts_the_seconds_of_one_boot_and_no_wall_clock(void **state)
{
	struct bench *b = bench_new(6);
	struct envelope e = plain();
	uint8_t id[LETTER_ID_LEN];

	assert_int_equal(start(b), 0);
	assert_int_equal(put(b, 1, &e, "x", NULL, NULL), 0);
	worker_drain(b->worker);
	b->now_ms += 100000;
	store_tick(b->s, b->now_ms);
	store_close(b->s);
	b->s = NULL;
	simvfs_restart(b->disk, false);
	b->now_ms += 50000; /* the process was away */
	assert_int_equal(start(b), 0);
	name(1, id);
	assert_int_equal(store_age(b->s, store_find(b->s, id)), 150);
	store_close(b->s);
	b->s = NULL;
	b->now_ms = 5000; /* another boot: its clock begins again */
	assert_int_equal(start(b), 0);
	assert_int_equal(store_age(b->s, store_find(b->s, id)), 150);
	bench_free(b);
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

static void what_may_come_again_keeps_the_low_mark_down(void **state)
{
	struct bench *b = bench_new(11);
	struct envelope e = plain();
	struct store_change *c;
	uint8_t id[LETTER_ID_LEN];
	uint64_t first;

	assert_int_equal(start(b), 0);
	worker_drain(b->worker);
	assert_int_equal(put(b, 1, &e, "x", NULL, NULL), 0);
	assert_int_equal(put(b, 2, &e, "x", NULL, NULL), 0);
	worker_drain(b->worker);
	name(1, id);
	first = store_find(b->s, id)->seq;
	c = store_begin(b->s);
	store_put_state(c, store_find(b->s, id), LETTER_GONE);
	assert_int_equal(store_commit(c, true, NULL), 0);
	/* A crash now brings it back, and it is sent again under this number. */
	assert_int_equal(store_low_seq(b->s), first);
	worker_drain(b->worker);
	assert_true(store_low_seq(b->s) > first);
	bench_free(b);
}

static void a_peer_whose_queue_was_made_anew_is_still_known(void **state)
{
	struct bench *b = bench_new(12);
	struct envelope e = plain();

	e.flags = ENV_TUNNEL | ENV_PEER_ID;
	e.peer = "vps";
	e.rcpt_count = 1;
	e.peer_id[0] = 1;
	e.peer_seq = e.peer_low = 100000;
	assert_int_equal(start(b), 0);
	assert_int_equal(put(b, 1, &e, "x", NULL, NULL), 0);
	worker_drain(b->worker);
	e.peer_id[0] = 2;
	e.peer_seq = e.peer_low = 1;
	assert_int_equal(put(b, 2, &e, "x", NULL, NULL), 0);
	worker_drain(b->worker);
	b->now_ms += 1000;
	store_tick(b->s, b->now_ms);
	assert_int_equal(put(b, 3, &e, "x", NULL, NULL), -EEXIST);
	bench_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(letters_results_and_states_survive_restarts),
		cmocka_unit_test(kill_at_every_operation_keeps_every_letter),
		cmocka_unit_test(power_cut_at_every_operation_keeps_every_letter),
		cmocka_unit_test(repeated_letter_of_a_peer_is_known),
		cmocka_unit_test(old_segments_are_emptied_and_removed),
		cmocka_unit_test(age_counts_the_seconds_of_one_boot_and_no_wall_clock),
		cmocka_unit_test(no_room_refuses_and_room_takes_again),
		cmocka_unit_test(orphaned_bodies_are_removed_at_start),
		cmocka_unit_test(a_body_whose_letter_cannot_be_read_is_kept),
		cmocka_unit_test(an_unsendable_letter_holds_no_segment),
		cmocka_unit_test(what_may_come_again_keeps_the_low_mark_down),
		cmocka_unit_test(a_peer_whose_queue_was_made_anew_is_still_known),
	};

	log_setup("test_store", LOG_LVL_ERR, -1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
