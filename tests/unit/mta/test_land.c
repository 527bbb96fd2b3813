/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Results of attempts in a process whose memory runs out at any place: who has the letter does not get it again,
 * and everybody else's end comes a little later. Linked so that each malloc() and its like pass here, and the time.
 */
#include <fcntl.h>
#include <unistd.h>

#include "queue_hand.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *s);
uint64_t __real_loop_now_ms(const struct loop *l);
int __real_msg_r_result_get(struct rd *r, struct msg_r_result *m);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *s);
uint64_t __wrap_loop_now_ms(const struct loop *l);
int __wrap_msg_r_result_get(struct rd *r, struct msg_r_result *m);

static bool armed, arm_at_result;
static long asked, fail_at, fail_for;
static uint64_t passed_ms;

static bool fails(void)
{
	if (!armed)
		return false;
	asked++;
	return asked >= fail_at && asked - fail_at < fail_for;
}

void *__wrap_malloc(size_t n)
{
	return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	return fails() ? NULL : __real_realloc(p, n);
}

char *__wrap_strdup(const char *s)
{
	return fails() ? NULL : __real_strdup(s);
}

uint64_t __wrap_loop_now_ms(const struct loop *l)
{
	return __real_loop_now_ms(l) + passed_ms;
}

/* The result is there: from here on the queue has no memory, until the turn of the loop is over. */
int __wrap_msg_r_result_get(struct rd *r, struct msg_r_result *m)
{
	armed = arm_at_result;
	return __real_msg_r_result_get(r, m);
}

/* The relay: what it was given, and what it heard. */
static struct {
	struct ipc *ipc;
	uint32_t id;
	uint16_t index[80];
	size_t count;	/* of the recipients of the attempt that waits for its answer; 0: none waits */
	size_t attempts, told; /* MSG_R_COMMITTED of them */
	size_t sent[80]; /* by recipient of letter 1 */
	size_t reports;	/* letters from the null sender */
} relay;

static void answer(uint32_t id, const uint16_t *index, size_t count);

static void on_attempt(struct ipc *ipc, struct ipc_msg *m, void *arg)
{
	struct rd r = rd_init(m->data, m->len);
	struct msg_r_attempt a;
	struct msg_r_rcpt one;
	struct envelope e;

	(void)ipc, (void)arg;
	if (m->type == MSG_R_COMMITTED)
		relay.told++;
	if (m->type != MSG_R_ATTEMPT)
		return;
	assert_int_equal(msg_r_attempt_get(&r, &a), 0);
	assert_int_equal(envelope_parse(&e, a.env, a.env_len), 0);
	relay.attempts++;
	if (*e.sender) {
		assert_int_equal(relay.count, 0);
		relay.id = m->id;
	}
	for (uint16_t i = 0; *e.sender && i < a.rcpt_count; i++) {
		assert_int_equal(msg_r_rcpt_get(&a.rcpts, &one), 0);
		relay.index[relay.count++] = one.index;
		relay.sent[one.index]++;
	}
	if (!*e.sender) {
		relay.reports++;
		answer(m->id, (const uint16_t[]){ 0 }, 1);
	}
	envelope_clear(&e);
}

static void on_end(struct ipc *ipc, void *arg)
{
	(void)ipc, (void)arg;
	fail_msg("the link to relay broke");
}

static void relay_up(struct hand *h)
{
	static const struct ipc_ops ops = { .message = on_attempt, .closed = on_end };
	uint8_t four[4] = { 0, 0, 0, 200 };
	int fds[2];

	relay.count = 0;
	assert_int_equal(ipc_pair(fds), 0);
	relay.ipc = ipc_new(h->ch.loop, fds[0], &ops, NULL);
	attempt_attach(&h->q, fds[1]);
	ipc_send(relay.ipc, MSG_R_CREDIT, 0, four, sizeof(four));
	hand_settle(h);
}

static void relay_down(struct hand *h)
{
	attempt_close(&h->q);
	ipc_free(relay.ipc);
	relay.ipc = NULL;
}

/* Every third recipient is refused, the others have the letter. */
static enum rcpt_result fate(uint16_t index)
{
	return index % 3 == 1 ? RCPT_RES_PERMFAIL : RCPT_RES_DELIVERED;
}

static void answer(uint32_t id, const uint16_t *index, size_t count)
{
	static uint8_t list[16384], msg[20000];
	struct wr l = wr_init(list, sizeof(list)), w = wr_init(msg, sizeof(msg));
	struct msg_r_result r = { .host = "there", .tls = "", .rcpt_count = (uint16_t)count };

	for (size_t i = 0; i < count; i++) {
		struct msg_r_rcpt_result x = { .index = index[i],
					       .result = (uint8_t)fate(index[i]),
					       .scope = SCOPE_RECIPIENT,
					       .report = REPORT_RELAYED,
					       .code = 250,
					       .enhanced = "",
					       .text = "as the test says" };

		if (x.result == RCPT_RES_PERMFAIL) {
			x.code = 550;
			x.report = REPORT_NONE;
		}
		msg_r_rcpt_result_put(&l, &x);
	}
	r.rcpts = rd_init(list, l.len);
	msg_r_result_put(&w, &r);
	assert_false(w.bad);
	ipc_send(relay.ipc, MSG_R_RESULT, id, msg, w.len);
}

static void answer_waiting(void)
{
	answer(relay.id, relay.index, relay.count);
	relay.count = 0;
}

/* A letter of a user of home 0, who wants to hear of all that becomes of it. */
static void store_letter(struct hand *h, size_t rcpts)
{
	static char name[80][32];
	struct env_rcpt to[80];
	struct envelope e = { .flags = ENV_LOCAL,
			      .sender = "us@h0.example",
			      .rcpt = to,
			      .rcpt_count = rcpts };
	struct store_change *c = store_begin(h->q.store);

	for (size_t i = 0; i < rcpts; i++) {
		snprintf(name[i], sizeof(name[i]), "r%zu@h0.example", i);
		to[i] = (struct env_rcpt){ .addr = name[i],
					   .notify = ENV_NOTIFY_SUCCESS | ENV_NOTIFY_FAILURE };
	}
	hand_id(1, e.id);
	assert_int_equal(store_put_letter(c, &e, (const uint8_t *)"A: b\r\n\r\nc\r\n", 11), 0);
	assert_int_equal(store_commit(c, true, NULL), 0);
	hand_settle(h);
}

static struct letter *the_letter(struct hand *h)
{
	uint8_t id[LETTER_ID_LEN];

	hand_id(1, id);
	return store_find(h->q.store, id);
}

/* A second and more passes, as the process would see it. */
static void later(struct hand *h, uint64_t ms)
{
	passed_ms += ms;
	h->now_ms += ms;
	store_tick(h->q.store, h->now_ms);
	attempt_write(&h->q);
	hand_settle(h);
	attempt_pump(&h->q);
	hand_settle(h);
	store_flush(h->q.store);
	hand_settle(h);
}

static struct hand *begin(void)
{
	struct hand *h = hand_new(1, 1);

	passed_ms = 0;
	memset(&relay, 0, sizeof(relay));
	h->config.routes[0].bounce = BOUNCE_ALL;
	h->peers[0].state = TUNNEL_UP;
	assert_int_equal(hand_start(h), 0);
	relay_up(h);
	return h;
}

/* Until nothing waits: all is answered as fate() has it. */
static void finish(struct hand *h)
{
	later(h, 1000);
	for (int i = 0; i < 40 && store_count(h->q.store, LETTER_QUEUED) + h->q.attempts.count; i++) {
		if (relay.count)
			answer_waiting();
		hand_settle(h);
		later(h, 11000);
		if (the_letter(h) && schedule_misses(the_letter(h))) /* as finish_expired() does */
			attempt_reroute(&h->q, the_letter(h));
	}
	assert_int_equal(store_count(h->q.store, LETTER_QUEUED), 0);
}

/* The history has a real disk: the other one needs memory for what is written. */
static struct vfs_dir disk;

/* What the history has of the letter. */
static struct {
	size_t delivered[80], failed[80], dead, bounced;
} noted;

static bool nothing_waits(void *arg, const uint8_t id[static LETTER_ID_LEN])
{
	(void)arg, (void)id;
	return false;
}

static void count_event(const struct history_event *e, size_t which, void *arg)
{
	(void)which, (void)arg;
	noted.dead += e->kind == HISTORY_DEAD;
	noted.bounced += e->kind == HISTORY_BOUNCED;
	if (e->kind != HISTORY_DELIVERED && e->kind != HISTORY_FAILED)
		return;
	assert_true(e->rcpt < 80);
	++(e->kind == HISTORY_DELIVERED ? noted.delivered : noted.failed)[e->rcpt];
	assert_non_null(strstr(e->text, "host=there "));
	assert_non_null(strstr(e->text, "as the test says"));
}

/* Each end once, with what was said of it, as often as it had to be written. */
static void look_at_history(struct hand *h, size_t rcpts)
{
	uint8_t id[1][LETTER_ID_LEN];

	hand_id(1, id[0]);
	memset(&noted, 0, sizeof(noted));
	history_each(h->q.history, (const uint8_t(*)[LETTER_ID_LEN])id, 1, count_event, NULL);
	for (uint16_t i = 0; i < rcpts; i++) {
		assert_int_equal(noted.delivered[i], fate(i) == RCPT_RES_DELIVERED);
		assert_int_equal(noted.failed[i], fate(i) == RCPT_RES_PERMFAIL);
	}
	assert_true(noted.dead <= 1);
	assert_true(noted.bounced <= relay.reports);
	history_close(h->q.history);
	h->q.history = NULL;
	assert_int_equal(unlinkat(disk.dirfd, "history", 0), 0);
}

/* False: no allocation failed any more. */
static bool run(size_t rcpts, long at, long how_many, bool crash)
{
	struct hand *h = begin();
	size_t bad = 0, left = 0;
	struct letter *l;
	bool more;

	if (!crash)
		h->q.history = history_open(&disk.vfs, 600, nothing_waits, NULL);
	store_letter(h, rcpts);
	attempt_pump(&h->q);
	hand_settle(h);
	assert_int_equal(relay.count, rcpts);
	answer_waiting();
	asked = 0;
	fail_at = at;
	fail_for = how_many;
	arm_at_result = true;
	loop_once(h->ch.loop, 0);
	armed = arm_at_result = false;
	assert_true(asked > 0);
	more = asked >= at;
	for (int i = 0; i < 3 && how_many > 1; i++) { /* nor is there any in the next seconds */
		asked = 0;
		armed = true;
		attempt_write(&h->q);
		armed = false;
	}
	hand_settle(h);
	if (crash) { /* not before it was to be made good */
		later(h, 1500);
		relay_down(h);
		hand_die(h, false);
		assert_int_equal(hand_start(h), 0);
		for (l = store_oldest(h->q.store); l; l = l->newer)
			queue_settle(&h->q, l, h->now_ms);
		l = the_letter(h);
		for (uint16_t i = 0; l && i < rcpts; i++) {
			if (fate(i) == RCPT_RES_DELIVERED)
				assert_int_equal(l->rcpt[i].state, RCPT_DELIVERED);
			left += l->rcpt[i].state == RCPT_PENDING;
		}
		assert_true(!l || left || l->state == LETTER_DEAD);
		relay_up(h);
		attempt_pump(&h->q);
		hand_settle(h);
	}
	finish(h);
	for (uint16_t i = 0; i < rcpts; i++) {
		bad += fate(i) == RCPT_RES_PERMFAIL;
		if (fate(i) == RCPT_RES_DELIVERED)
			assert_int_equal(relay.sent[i], 1);
	}
	assert_int_equal(h->q.unwritten, 0);
	assert_int_equal(h->q.attempts.count, 0);
	if (!crash)
		assert_int_equal(relay.told, relay.attempts);
	/* Somebody hears of each of them, or it is kept. */
	assert_true(the_letter(h) ? the_letter(h)->state == LETTER_DEAD : relay.reports >= (bad > 0));
	if (!crash)
		look_at_history(h, rcpts);
	relay_down(h);
	hand_free(h);
	return more;
}

static void each_allocation_of_a_result_may_fail(void **state)
{
	(void)state;
	for (long at = 1; run(3, at, 1, false); at++)
		;
	for (long at = 1; run(3, at, 1, true); at++)
		;
}

static void no_memory_for_a_while_loses_and_doubles_nothing(void **state)
{
	(void)state;
	for (long at = 1; run(3, at, 1L << 40, false); at++)
		;
	for (long at = 1; run(3, at, 1L << 40, true); at++)
		;
}

static void so_it_is_where_a_result_needs_two_records(void **state)
{
	(void)state;
	for (long at = 1; run(70, at, 1, true); at += 3)
		;
	for (long at = 1; run(70, at, 1L << 40, false); at += 3)
		;
}

/* The relay goes, and with it nothing of what it had delivered. */
static void a_result_that_is_not_written_outlives_its_relay(void **state)
{
	struct hand *h = begin();

	(void)state;
	store_letter(h, 3);
	attempt_pump(&h->q);
	hand_settle(h);
	answer_waiting();
	fail_at = 1;
	asked = 0;
	fail_for = 1L << 40;
	arm_at_result = true;
	loop_once(h->ch.loop, 0);
	armed = arm_at_result = false;
	assert_int_equal(h->q.unwritten, 1);
	assert_int_equal(the_letter(h)->rcpt[0].state, RCPT_PENDING);
	relay_down(h);
	relay_up(h);
	finish(h);
	assert_int_equal(relay.sent[0], 1);
	assert_int_equal(relay.sent[1], 2);
	assert_int_equal(h->q.unwritten, 0);
	relay_down(h);
	hand_free(h);
}

/* One letter after the other, each at its home before the next one comes: one sync for each. */
static void one_session_costs_one_sync_a_letter(void **state)
{
	struct hand *h = begin();
	const uint32_t many = 50;
	struct journal_stats before, after;
	uint8_t id[LETTER_ID_LEN];

	(void)state;
	passed_ms = 1000000; /* what is set by this clock is not due for long: the machine may be slow */
	store_journal_stats(h->q.store, &before);
	for (uint32_t txn = 1; txn <= many; txn++) {
		hand_store(h, txn, "a@h0.example", 100, false);
		hand_settle(h);
		assert_int_equal(h->code[txn], 250);
		attempt_pump(&h->q);
		hand_settle(h);
		assert_int_equal(relay.count, 1);
		if (txn == many) { /* the last one does not wait for more */
			store_journal_stats(h->q.store, &after);
			timer_clear(loop_timers(h->ch.loop), &h->q.flush);
			passed_ms = 0;
		}
		answer_waiting();
		hand_settle(h);
	}
	assert_int_equal(after.batches - before.batches, many);
	while (timer_armed(&h->q.flush))
		loop_once(h->ch.loop, 50);
	hand_settle(h);
	assert_int_equal(relay.told, many);
	for (uint32_t txn = 1; txn <= many; txn++) {
		hand_id(txn, id);
		assert_null(store_find(h->q.store, id));
	}
	relay_down(h);
	hand_free(h);
}

/* The old way may be none any more: rather none. */
static void a_letter_that_cannot_be_read_for_a_new_way_has_none(void **state)
{
	struct hand *h = begin();
	struct letter *l;

	(void)state;
	relay_down(h);
	hand_store(h, 1, "b@h0.example", 10, false);
	hand_settle(h);
	l = the_letter(h);
	asked = 0;
	fail_at = 1;
	fail_for = 1L << 40;
	armed = true;
	attempt_reroute(&h->q, l);
	armed = false;
	assert_true(asked > 0);
	assert_true(schedule_misses(l));
	finish_expired(&h->q, h->now_ms);
	hand_settle(h);
	assert_false(schedule_misses(l));
	hand_free(h);
}

/* It is on the disk, and there is no memory for anything more. */
static int sync_and_arm(struct vfs *v, int fd)
{
	int rc = h_sync(v, fd);

	armed = true;
	return rc;
}

/* A letter whose sender has his 250 is known to the process, whatever memory there is then. */
static void what_is_stored_is_known(void **state)
{
	struct hand *h = begin();
	struct store_change *c;
	struct env_rcpt to = { .addr = "a@h0.example" };
	struct envelope e = { .sender = "x@out.example", .rcpt = &to, .rcpt_count = 1 };

	(void)state;
	relay_down(h);
	hand_store(h, 2, "b@h0.example", 10, false); /* a count of its segment's letters is there */
	hand_settle(h);
	h->no_memory = true;
	hand_id(1, e.id);
	c = store_begin(h->q.store);
	assert_int_equal(store_put_letter(c, &e, (const uint8_t *)"A: b\r\n\r\nc\r\n", 11), 0);
	assert_int_equal(store_commit(c, true, NULL), 0);
	asked = 0;
	fail_at = 1;
	fail_for = 1L << 40;
	h->q.dir.vfs.sync = sync_and_arm;
	assert_true(worker_step(h->q.worker));
	armed = false;
	h->q.dir.vfs.sync = h_sync;
	assert_true(asked > 0);
	assert_non_null(the_letter(h));
	/* And it finds its way, at the latest when letters are looked through. */
	h->no_memory = false;
	finish_expired(&h->q, h->now_ms);
	hand_settle(h);
	assert_non_null(the_letter(h)->legs);
	assert_true(the_letter(h)->legs->node.slot);
	hand_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_allocation_of_a_result_may_fail),
		cmocka_unit_test(no_memory_for_a_while_loses_and_doubles_nothing),
		cmocka_unit_test(so_it_is_where_a_result_needs_two_records),
		cmocka_unit_test(a_result_that_is_not_written_outlives_its_relay),
		cmocka_unit_test(one_session_costs_one_sync_a_letter),
		cmocka_unit_test(what_is_stored_is_known),
		cmocka_unit_test(a_letter_that_cannot_be_read_for_a_new_way_has_none),
	};

	char dir[] = "/tmp/postern-land-XXXXXX";
	int rc;

	log_setup("test_land", LOG_LVL_ERR, -1);
	if (!mkdtemp(dir))
		return 1;
	vfs_dir_init(&disk, open(dir, O_RDONLY | O_DIRECTORY));
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	close(disk.dirfd);
	rmdir(dir);
	return rc;
}
