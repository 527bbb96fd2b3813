/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store_bench.h"
#include "way.h"

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

static void mail_case_018_what_a_peer_sends_again_is_known_and_stored_once(void **state)
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
	/* A connection that its relay died with may still bring it, for a while. */
	e.peer_id[0] = 7;
	e.peer_seq = 10;
	assert_int_equal(put(b, 5, &e, "x", NULL, NULL), -EEXIST);
	b->now_ms += STORE_SEEN_LEAST_S * 1000;
	store_tick(b->s, b->now_ms);
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
	const uint16_t second = 1;
	struct letter *l;

	memset(body, 'x', sizeof(body) - 1);
	assert_int_equal(start(b), 0);
	worker_drain(b->worker);
	assert_int_equal(put(b, 1, &e, "stays", NULL, NULL), 0);
	worker_drain(b->worker);
	name(1, id);
	c = store_begin(b->s);
	assert_int_equal(store_put_told(c, store_find(b->s, id), &second, 1), 0);
	assert_int_equal(store_put_way(c, store_find(b->s, id), way_add(NULL, "home", "other")), 0);
	assert_int_equal(store_commit(c, true, NULL), 0);
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
	l = store_find(b->s, id);
	assert_int_equal(store_age(b->s, l), 200);
	/* What was noted of it moved with it. */
	assert_true(l->rcpt[1].told && !l->rcpt[0].told);
	assert_memory_equal(l->way, "home\0other\0", 12);
	/* With a new age it may be delayed once more. */
	c = store_begin(b->s);
	store_put_birth(c, l);
	store_commit(c, true, NULL);
	assert_false(l->rcpt[1].told);
	cut_off(b);
	simvfs_restart(b->disk, true);
	assert_int_equal(start(b), 0);
	assert_false(store_find(b->s, id)->rcpt[1].told);
	assert_non_null(store_find(b->s, id)->way);
	bench_free(b);
}

/* Each was stored in a second of its own; those that are moved in one need less. */
static void letters_that_shrink_as_they_move_hold_no_segment(void **state)
{
	static char body[30000];
	struct bench *b = bench_new(15);
	struct envelope e = plain();
	struct journal_stats st;
	uint8_t id[LETTER_ID_LEN];
	struct store_change *c;

	(void)state;
	memset(body, 'x', sizeof(body) - 1);
	assert_int_equal(start(b), 0);
	worker_drain(b->worker);
	for (uint32_t i = 0; i < 400; i++) {
		bool stays = i < 5;

		assert_int_equal(put(b, stays ? i : 5 + i % 50, &e, stays ? "stays" : body, NULL, NULL), 0);
		worker_drain(b->worker);
		name(stays ? i : 5 + i % 50, id);
		c = store_begin(b->s);
		if (!stays)
			store_put_state(c, store_find(b->s, id), LETTER_GONE);
		store_commit(c, true, NULL);
		worker_drain(b->worker);
		b->now_ms += 1000;
		store_tick(b->s, b->now_ms);
		worker_drain(b->worker);
	}
	store_journal_stats(b->s, &st);
	assert_true(st.segments <= 8);
	assert_int_equal(store_count(b->s, LETTER_QUEUED), 5);
	bench_free(b);
}

/* A session sends a letter, waits for its 250, and sends the next; each letter is delivered and done. */
struct session {
	struct store_waiter w;
	struct bench *b;
	struct letter *todo;
	bool free;
};

static void session_stored(struct store_waiter *w, int rc, struct letter *l)
{
	struct session *x = (struct session *)(void *)w;

	assert_int_equal(rc, 0);
	x->todo = l;
	x->free = true;
}

static void fifty_sessions_share_their_syncs(void **state)
{
	static char body[4096];
	struct bench *b = bench_new(14);
	struct session s[50] = { 0 };
	uint32_t n = 0;
	long before;

	memset(body, 'x', sizeof(body) - 1);
	assert_int_equal(start(b), 0);
	worker_drain(b->worker);
	before = b->disk->syncs;
	for (size_t i = 0; i < 50; i++)
		s[i] = (struct session){ .w.done = session_stored, .b = b, .free = true };
	while (n < 2000) {
		for (size_t i = 0; i < 50; i++) {
			struct envelope e = plain();
			struct store_change *c;

			if (s[i].todo) {
				c = store_begin(b->s);
				store_put_state(c, s[i].todo, LETTER_GONE);
				assert_int_equal(store_commit(c, true, NULL), 0);
				s[i].todo = NULL;
			}
			if (!s[i].free)
				continue;
			s[i].free = false;
			n++;
			memcpy(e.id, &n, sizeof(n));
			c = store_begin(b->s);
			assert_int_equal(store_put_letter(c, &e, (uint8_t *)body, sizeof(body)), 0);
			assert_int_equal(store_commit(c, false, &s[i].w), 0);
		}
		worker_step(b->worker); /* letters come while the disk works */
		if (n % 500 == 0)
			store_tick(b->s, b->now_ms += 1000);
	}
	worker_drain(b->worker);
	/* All of them, those of the segments too: at most 0.2 for a message. */
	assert_true((b->disk->syncs - before) * 5 <= (long)n);
	bench_free(b);
}

static void mail_case_061_age_counts_the_seconds_of_one_boot_and_no_wall_clock(void **state)
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

static struct envelope from_home(void)
{
	struct envelope e = plain();

	e.flags = ENV_TUNNEL | ENV_PEER_ID;
	e.peer = "home";
	e.peer_id[0] = 7;
	e.peer_seq = e.peer_low = 10;
	return e;
}

/* Letters of a peer, each with so many recipients that no more are needed than the bench can tell apart. */
static void pour(struct bench *b, const char *peer, size_t letters)
{
	static char addr[ENVELOPE_RCPTS_MAX][40];
	static struct env_rcpt rcpt[ENVELOPE_RCPTS_MAX];
	struct envelope e = from_home();

	e.peer = peer;
	e.rcpt = rcpt;
	e.rcpt_count = ENVELOPE_RCPTS_MAX;
	for (size_t i = 0; i < e.rcpt_count; i++) {
		snprintf(addr[i], sizeof(addr[i]), "%zu@home.example", i);
		rcpt[i].addr = addr[i];
	}
	for (size_t i = 0; i < letters; i++) {
		e.peer_id[1] = (uint8_t)i;
		e.peer_id[2] = (uint8_t)(i >> 8);
		assert_int_equal(put(b, 40, &e, "x", NULL, NULL), 0);
		worker_drain(b->worker);
		deliver(b, 40);
		worker_drain(b->worker);
	}
	b->now_ms += 1000;
	store_tick(b->s, b->now_ms);
	worker_drain(b->worker);
}

static void what_one_peer_sends_makes_nobody_forget_another(void **state)
{
	struct bench *b = bench_new(17);
	struct env_rcpt rcpt = { .addr = "0@home.example" };
	struct envelope e = from_home();

	assert_int_equal(start(b), 0);
	assert_int_equal(put(b, 1, &e, "x", NULL, NULL), 0);
	worker_drain(b->worker);
	pour(b, "loud", STORE_SEEN_MAX / ENVELOPE_RCPTS_MAX + 2);
	assert_int_equal(put(b, 2, &e, "x", NULL, NULL), -EEXIST);
	/* Its own oldest went. */
	e.peer = "loud";
	e.rcpt = &rcpt;
	e.rcpt_count = 1;
	e.peer_id[1] = 0;
	assert_int_equal(put(b, 2, &e, "x", NULL, NULL), 0);
	e.peer_id[1] = 200;
	assert_int_equal(put(b, 3, &e, "x", NULL, NULL), -EEXIST);
	bench_free(b);
}

static void numbered(uint32_t n, uint8_t id[static LETTER_ID_LEN])
{
	memset(id, 0, LETTER_ID_LEN);
	memcpy(id, &n, sizeof(n));
}

/* More letters than compaction looks at in one turn; every third one stays, and none is lost or passed over. */
static void a_long_queue_is_compacted_in_pieces(void **state)
{
	static char body[600];
	const uint32_t many = 54000;
	struct bench *b = bench_new(18);
	struct envelope e = plain();
	uint8_t id[LETTER_ID_LEN];
	struct journal_stats st;
	struct store_change *c;
	uint32_t full;

	(void)state;
	memset(body, 'x', sizeof(body));
	assert_int_equal(start(b), 0);
	for (uint32_t n = 1; n <= many; n++) {
		c = store_begin(b->s);
		numbered(n, e.id);
		assert_int_equal(store_put_letter(c, &e, (uint8_t *)body, n % 3 ? sizeof(body) : 1), 0);
		assert_int_equal(store_commit(c, true, NULL), 0);
		if (n % 50 == 0)
			worker_drain(b->worker);
	}
	for (uint32_t n = 1; n <= many; n++) {
		if (n % 3 == 0)
			continue;
		numbered(n, id);
		c = store_begin(b->s);
		store_put_state(c, store_find(b->s, id), LETTER_GONE);
		assert_int_equal(store_commit(c, true, NULL), 0);
		if (n % 50 == 0)
			worker_drain(b->worker);
	}
	worker_drain(b->worker);
	store_journal_stats(b->s, &st);
	full = st.segments;
	for (int i = 0; i < 1500; i++) {
		b->now_ms += 1000;
		store_tick(b->s, b->now_ms);
		worker_drain(b->worker);
	}
	store_journal_stats(b->s, &st);
	assert_true(st.segments < full / 2);
	assert_int_equal(store_count(b->s, LETTER_QUEUED), many / 3);
	cut_off(b);
	simvfs_restart(b->disk, true);
	assert_int_equal(start(b), 0);
	assert_int_equal(store_count(b->s, LETTER_QUEUED), many / 3);
	bench_free(b);
}

/* A letter of another queue, with the states of its recipients. */
static int take(struct bench *b, uint32_t n, struct envelope *e, enum letter_state state)
{
	struct store_import x = { .age_s = 3600, .state = state };
	struct store_change *c = store_begin(b->s);
	int rc;

	name(n, e->id);
	rc = store_put_import(c, e, (const uint8_t *)"x", 1, &x);
	if (rc) {
		store_cancel(c);
		return rc;
	}
	rc = commit(c, false, waiter(NULL, NULL));
	worker_drain(b->worker);
	return rc;
}

static struct letter *letter(struct bench *b, uint32_t n)
{
	uint8_t id[LETTER_ID_LEN];

	name(n, id);
	return store_find(b->s, id);
}

static void again(struct bench *b)
{
	cut_off(b);
	simvfs_restart(b->disk, true);
	assert_int_equal(start(b), 0);
}

/* The old edge has it in its export, and home, which never had its 250, sent it to this one too. */
static void what_home_repeated_here_an_import_does_not_bring_again(void **state)
{
	for (int round = 0; round < 2; round++) {
		struct bench *b = bench_new(15);
		struct envelope e = from_home();
		struct env_rcpt rcpt[3] = { two[0], two[1], { .addr = "c@home.example" } };

		assert_int_equal(start(b), 0);
		e.rcpt_count = 1;
		assert_int_equal(put(b, 1, &e, "x", NULL, NULL), 0);
		worker_drain(b->worker);
		if (round) { /* sent meanwhile, and the process is a new one */
			deliver(b, 1);
			worker_drain(b->worker);
			again(b);
		}
		assert_int_equal(take(b, 2, &e, LETTER_QUEUED), -EEXIST);
		assert_null(letter(b, 2));
		/* Its other recipient came to the old edge alone. */
		e.rcpt = rcpt;
		e.rcpt_count = 3;
		rcpt[2].state = RCPT_DELIVERED;
		assert_int_equal(take(b, 2, &e, LETTER_QUEUED), 0);
		for (int i = 0; i < 2; i++) {
			assert_int_equal(letter(b, 2)->rcpt_count, 3);
			assert_int_equal(letter(b, 2)->open, 1);
			assert_int_equal(letter(b, 2)->rcpt[0].state, RCPT_REMOVED);
			assert_int_equal(letter(b, 2)->rcpt[1].state, RCPT_PENDING);
			assert_int_equal(letter(b, 2)->rcpt[2].state, RCPT_DELIVERED);
			again(b);
		}
		/* And what came by the import home may not bring again. */
		assert_int_equal(put(b, 3, &e, "x", NULL, NULL), -EEXIST);
		/* A failure that the admin has to hear of is kept, although nothing is left to be sent. */
		rcpt[2].state = RCPT_EXPIRED;
		assert_int_equal(take(b, 4, &e, LETTER_QUEUED), 0);
		assert_int_equal(letter(b, 4)->state, LETTER_DEAD);
		bench_free(b);
	}
}

static void a_letter_that_left_by_an_export_may_come_back(void **state)
{
	struct bench *b = bench_new(16);
	struct envelope e = from_home();
	struct store_change *c;

	assert_int_equal(start(b), 0);
	assert_int_equal(put(b, 1, &e, "x", NULL, NULL), 0);
	worker_drain(b->worker);
	for (uint16_t moves = 1; moves < 4; moves++) {
		c = store_begin(b->s);
		store_put_state(c, letter(b, 1), LETTER_GONE);
		assert_int_equal(store_commit(c, true, NULL), 0);
		worker_drain(b->worker);
		/* What is known of it moves on with the segments. */
		for (int i = 0; i < 10; i++) {
			again(b);
			for (int k = 0; k < 3; k++) {
				b->now_ms += 1000;
				store_tick(b->s, b->now_ms);
				worker_drain(b->worker);
			}
		}
		assert_null(letter(b, 1));
		/* Home did not hear that it was taken. */
		assert_int_equal(put(b, 2, &e, "x", NULL, NULL), -EEXIST);
		e.moves = moves;
		assert_int_equal(take(b, 1, &e, LETTER_QUEUED), 0);
		assert_int_equal(letter(b, 1)->open, 2);
	}
	assert_null(simvfs_data(b->disk, "00000001.seg", &(size_t){ 0 }));
	/* But the same as another letter's, from another edge that home had tried: no. */
	assert_int_equal(take(b, 3, &e, LETTER_QUEUED), -EEXIST);
	bench_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(letters_results_and_states_survive_restarts),
		cmocka_unit_test(mail_case_018_what_a_peer_sends_again_is_known_and_stored_once),
		cmocka_unit_test(old_segments_are_emptied_and_removed),
		cmocka_unit_test(letters_that_shrink_as_they_move_hold_no_segment),
		cmocka_unit_test(mail_case_061_age_counts_the_seconds_of_one_boot_and_no_wall_clock),
		cmocka_unit_test(fifty_sessions_share_their_syncs),
		cmocka_unit_test(what_may_come_again_keeps_the_low_mark_down),
		cmocka_unit_test(a_peer_whose_queue_was_made_anew_is_still_known),
		cmocka_unit_test(what_one_peer_sends_makes_nobody_forget_another),
		cmocka_unit_test(a_long_queue_is_compacted_in_pieces),
		cmocka_unit_test(what_home_repeated_here_an_import_does_not_bring_again),
		cmocka_unit_test(a_letter_that_left_by_an_export_may_come_back),
	};

	log_setup("test_store", LOG_LVL_ERR, -1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
