/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The admin's verbs and the journal: what is answered has happened on the disk too, or the answer says that it
 * has not. The test is in the place of journal_append(), which can fail, and of child_reply().
 */
#include "answer.h"
#include "queue_hand.h"

static bool no_memory;
static char reply[4096]; /* of the last verb; "": none yet */

int __real_journal_append(struct journal *j, const void *data, size_t len, bool keep,
			  struct journal_waiter *w);
int __wrap_journal_append(struct journal *j, const void *data, size_t len, bool keep,
			  struct journal_waiter *w);
int __wrap_child_reply(struct child *ch, uint32_t id, const char *json, size_t len);

int __wrap_journal_append(struct journal *j, const void *data, size_t len, bool keep,
			  struct journal_waiter *w)
{
	return no_memory ? -ENOMEM : __real_journal_append(j, data, len, keep, w);
}

int __wrap_child_reply(struct child *ch, uint32_t id, const char *json, size_t len)
{
	(void)ch, (void)id;
	if (len > IPC_PAYLOAD_MAX)
		return -EMSGSIZE;
	assert_string_equal(reply, ""); /* one answer */
	snprintf(reply, sizeof(reply), "%.*s", (int)len, json);
	return 0;
}

static void verb(struct hand *h, const char *word, const char *args)
{
	char text[512];
	int n = snprintf(text, sizeof(text), "{\"verb\":\"%s\",\"args\":{%s}}", word, args);

	reply[0] = 0;
	verbs_run(&h->q, 1, text, (size_t)n);
}

static const char *id_arg(uint32_t txn)
{
	static char text[64];
	char hex[LETTER_ID_STR_MAX];
	uint8_t id[LETTER_ID_LEN];

	hand_id(txn, id);
	snprintf(text, sizeof(text), "\"id\":\"%s\"", letter_id_str(id, hex));
	return text;
}

static struct letter *letter(struct hand *h, uint32_t txn)
{
	uint8_t id[LETTER_ID_LEN];

	hand_id(txn, id);
	return store_find(h->q.store, id);
}

static struct hand *begin(void)
{
	struct hand *h = hand_new(1, 2);

	no_memory = false;
	assert_int_equal(hand_start(h), 0);
	for (uint32_t txn = 1; txn <= 4; txn++)
		hand_store(h, txn, "a@h0.example", 700, false);
	hand_settle(h);
	/* 3 is held, 4 is dead. */
	verb(h, "hold", id_arg(3));
	hand_settle(h);
	for (int i = 0; i < 2; i++) {
		struct store_change *c = store_begin(h->q.store);

		if (!i)
			assert_int_equal(store_put_rcpt(c, letter(h, 4), 0, RCPT_EXPIRED, 3, NULL), 0);
		else
			finish_letter(&h->q, c, letter(h, 4), true);
		assert_int_equal(store_commit(c, true, NULL), 0);
	}
	hand_settle(h);
	return h;
}

static void is_as_before(struct hand *h)
{
	assert_int_equal(store_count(h->q.store, LETTER_QUEUED), 2);
	for (uint32_t txn = 1; txn <= 2; txn++) {
		assert_int_equal(letter(h, txn)->state, LETTER_QUEUED);
		assert_string_equal(letter(h, txn)->legs->dest->route, "h0");
		assert_null(letter(h, txn)->way);
	}
	assert_int_equal(letter(h, 3)->state, LETTER_HELD);
	assert_int_equal(letter(h, 4)->state, LETTER_DEAD);
	assert_int_equal(letter(h, 4)->rcpt[0].state, RCPT_EXPIRED);
	assert_int_equal(letter(h, 4)->rcpt[0].attempts, 3);
	assert_int_equal(letter(h, 4)->open, 0);
}

static void what_cannot_be_written_is_told_and_not_done(void **state)
{
	static const struct {
		const char *verb;
		uint32_t txn; /* 0: args as given */
		const char *args;
	} all[] = {
		{ "hold", 1, NULL },
		{ "remove", 1, NULL },
		{ "remove", 4, NULL },
		{ "release", 3, NULL },
		{ "release", 4, NULL },
		{ "move", 0, "\"route\":\"h0\",\"to\":\"h1\"" },
		{ "move", 1, NULL },
	};
	struct hand *h = begin();

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		char args[128];

		snprintf(args, sizeof(args), "%s%s", all[i].txn ? id_arg(all[i].txn) : all[i].args,
			 all[i].txn && !strcmp(all[i].verb, "move") ? ",\"to\":\"h1\"" : "");
		no_memory = true;
		verb(h, all[i].verb, args);
		if (h->q.move)
			hand_settle(h);
		assert_non_null(strstr(reply, "\"error\""));
		no_memory = false;
		hand_settle(h);
		is_as_before(h);
	}
	hand_die(h, true);
	assert_int_equal(hand_start(h), 0);
	for (uint32_t txn = 1; txn <= 4; txn++)
		queue_settle(&h->q, letter(h, txn), h->now_ms);
	is_as_before(h);
	hand_free(h);
}

static void what_is_answered_is_durable(void **state)
{
	struct hand *h = begin();

	(void)state;
	verb(h, "remove", id_arg(1));
	assert_string_equal(reply, "");
	hand_settle(h);
	assert_non_null(strstr(reply, "\"count\":1"));
	verb(h, "hold", id_arg(2));
	assert_string_equal(reply, "");
	hand_settle(h);
	assert_non_null(strstr(reply, "\"count\":1"));
	verb(h, "release", id_arg(4));
	hand_settle(h);
	verb(h, "move", "\"route\":\"h0\",\"to\":\"h1\"");
	assert_string_equal(reply, "");
	hand_settle(h); /* queue_main.c would route them anew */
	assert_non_null(strstr(reply, "\"count\":1"));
	hand_die(h, true);
	assert_int_equal(hand_start(h), 0);
	assert_null(letter(h, 1));
	assert_int_equal(letter(h, 2)->state, LETTER_HELD);
	assert_int_equal(letter(h, 4)->state, LETTER_QUEUED);
	assert_int_equal(letter(h, 4)->open, 1);
	assert_non_null(letter(h, 4)->way);
	hand_free(h);
}

static uint32_t moved(struct hand *h, uint32_t from, uint32_t to)
{
	uint32_t n = 0;

	for (uint32_t txn = from; txn <= to; txn++)
		n += letter(h, txn) && letter(h, txn)->way;
	return n;
}

#define MANY	   1500
#define SLICE_MOST 256

/* Letters 1 to MANY wait on h0, and are to move; it has begun. */
static struct hand *move_many(void)
{
	struct hand *h = hand_new(1, 3);

	no_memory = false;
	assert_int_equal(hand_start(h), 0);
	for (uint32_t txn = 1; txn <= MANY; txn++) {
		hand_store(h, txn, "a@h0.example", 100, false);
		if (txn % 16 == 0)
			hand_settle(h);
	}
	hand_settle(h);
	verb(h, "move", "\"route\":\"h0\",\"to\":\"h1\"");
	assert_string_equal(reply, "");
	return h;
}

/* A route with very many letters is moved, and meanwhile the queue does its work. */
static void many_that_move_leave_turns_to_others(void **state)
{
	struct hand *h = move_many();
	uint32_t before, now = 0, turns = 0;
	struct store_change *c;
	struct letter *next;
	bool left = false;

	(void)state;
	hand_store(h, MANY + 1, "b@h0.example", 100, false);
	for (; !*reply; turns++) {
		before = now;
		loop_once(h->ch.loop, 0);
		worker_step(h->q.worker);
		now = moved(h, 1, MANY);
		assert_true(now - before <= SLICE_MOST);
		if (!now || left || !h->q.move)
			continue;
		/* The very next one leaves. */
		for (next = store_oldest(h->q.store); next->way; next = next->newer)
			;
		c = store_begin(h->q.store);
		left = true;
		assert_int_equal(finish_letter(&h->q, c, next, false), 0);
		assert_int_equal(store_commit(c, true, NULL), 0);
		worker_drain(h->q.worker);
	}
	assert_true(turns > MANY / SLICE_MOST);
	assert_int_equal(h->code[MANY + 1], 250);
	assert_non_null(strstr(reply, "\"count\":1499,"));
	/* What came meanwhile goes by the configuration. */
	assert_null(letter(h, MANY + 1)->way);
	hand_die(h, true);
	assert_int_equal(hand_start(h), 0);
	assert_int_equal(moved(h, 1, MANY), MANY - 1);
	assert_null(letter(h, MANY + 1)->way);
	hand_free(h);
}

/* So do a flush and a count of all that waits; both end with the process. */
static void a_flush_and_a_count_of_many_leave_turns_to_others(void **state)
{
	struct hand *h = hand_new(1, 2);
	const uint32_t many = 2040;
	uint32_t turns, waiting, before, most = 0;
	uint8_t id[LETTER_ID_LEN];

	(void)state;
	no_memory = false;
	assert_int_equal(hand_start(h), 0);
	for (uint32_t txn = 1; txn <= many; txn++) {
		struct env_rcpt to[4] = { { .addr = "a@h0.example" }, { .addr = "b@h0.example" },
					  { .addr = "c@h0.example" }, { .addr = "d@h1.example" } };
		struct envelope e = { .sender = "x@out.example", .rcpt = to, .rcpt_count = 4 };
		struct store_change *c = store_begin(h->q.store);

		hand_id(txn, e.id);
		assert_int_equal(store_put_letter(c, &e, (const uint8_t *)"A: b\r\n\r\nc\r\n", 11), 0);
		assert_int_equal(store_commit(c, true, NULL), 0);
		if (txn % 64 == 0)
			hand_settle(h);
	}
	hand_settle(h);
	for (struct letter *l = store_oldest(h->q.store); l; l = l->newer) {
		for (int i = 0; i < 4; i++)
			l->rcpt[i].next_s = UINT32_MAX / 1000;
		schedule_settle(h->q.schedule, l, h->now_ms);
	}
	verb(h, "flush", "\"route\":\"h0\"");
	for (turns = 0, before = many; !*reply; turns++, before = waiting) {
		waiting = 0;
		for (struct letter *l = store_oldest(h->q.store); l; l = l->newer)
			waiting += l->rcpt[0].next_s != 0;
		most = before - waiting > most ? before - waiting : most;
		if (turns == 1) {
			char args[] = "{\"verb\":\"flush\",\"args\":{}}";

			verbs_run(&h->q, 2, args, sizeof(args) - 1);
			assert_non_null(strstr(reply, "a flush is under way"));
			reply[0] = 0;
		}
		loop_once(h->ch.loop, 0);
	}
	assert_true(turns >= 2);
	assert_in_range(most, 1, 820); /* of five looks each */
	assert_non_null(strstr(reply, "\"count\":2040,"));
	for (struct letter *l = store_oldest(h->q.store); l; l = l->newer) {
		assert_int_equal(l->rcpt[0].next_s, 0);
		assert_false(l->rcpt[0].leg->waiting);
		assert_true(l->rcpt[3].next_s && l->rcpt[3].leg->waiting);
	}
	verb(h, "stats", "");
	for (turns = 0; !*reply; turns++) {
		if (turns == 1) { /* one that was not counted yet leaves */
			struct store_change *c = store_begin(h->q.store);

			hand_id(many, id);
			assert_int_equal(finish_letter(&h->q, c, store_find(h->q.store, id), false), 0);
			schedule_remove(h->q.schedule, store_find(h->q.store, id));
			assert_int_equal(store_commit(c, true, NULL), 0);
			worker_drain(h->q.worker);
		}
		loop_once(h->ch.loop, 0);
	}
	assert_true(turns >= 2);
	assert_non_null(strstr(reply, "\"queued\":2039,"));
	assert_non_null(strstr(reply, "{\"route\":\"h0\",\"recipients\":6117,"));
	assert_non_null(strstr(reply, "{\"route\":\"h1\",\"recipients\":2039,"));
	verb(h, "stats", "");
	assert_string_equal(reply, "");
	hand_free(h);
	assert_non_null(strstr(reply, "the queue stops"));
}

static void a_move_ends_with_its_route_and_with_the_process(void **state)
{
	struct hand *h = move_many();

	(void)state;
	while (!moved(h, 1, MANY))
		loop_once(h->ch.loop, 0);
	verb(h, "move", "\"route\":\"h0\",\"to\":\"h2\"");
	assert_non_null(strstr(reply, "ask again in a moment"));
	reply[0] = 0;
	memcpy(h->config.routes[1].name, "xx", 3); /* a reload */
	hand_settle(h);
	assert_non_null(strstr(reply, "a reload took the route away"));
	assert_non_null(strstr(reply, ": 256 letters are moved"));
	assert_int_equal(moved(h, 1, MANY), SLICE_MOST);
	memcpy(h->config.routes[1].name, "h1", 3);
	h->q.rerouting = false; /* queue_main.c's */
	verb(h, "move", "\"route\":\"h0\",\"to\":\"h1\"");
	assert_string_equal(reply, "");
	hand_free(h);
	assert_non_null(strstr(reply, "the queue stops"));
}

/* The disk fails when some are moved: the answer tells of these, and of the others that they follow. */
static void a_move_that_meets_a_full_disk_tells_how_far_it_is(void **state)
{
	struct hand *h = move_many();
	uint32_t so_far = 0;
	char count[32];

	(void)state;
	h->disk->fail_sync_at = h->disk->syncs + 1;
	h->disk->fail_syncs = 1000;
	while (!*reply) {
		loop_once(h->ch.loop, 0);
		so_far = moved(h, 1, MANY);
		worker_step(h->q.worker);
	}
	assert_true(so_far && so_far < MANY);
	snprintf(count, sizeof(count), "\"count\":%u,", so_far);
	assert_non_null(strstr(reply, count));
	assert_non_null(strstr(reply, "so far, and the others follow; but the disk takes nothing now"));
	h->disk->fail_sync_at = 0;
	hand_settle(h);
	assert_int_equal(moved(h, 1, MANY), MANY);
	/* What goes wrong later stands in the log. */
	h->q.rerouting = false;
	for (int i = 0; i < 3; i++) {
		h->now_ms += 1000;
		store_tick(h->q.store, h->now_ms);
		hand_settle(h);
	}
	h->disk->fail_sync_at = h->disk->syncs + 1;
	verb(h, "move", "\"route\":\"h1\",\"to\":\"h2\"");
	for (struct letter *l = store_oldest(h->q.store); l; l = l->newer)
		attempt_reroute(&h->q, l);
	while (!*reply) {
		loop_once(h->ch.loop, 0);
		worker_step(h->q.worker);
	}
	assert_non_null(h->q.move);
	memcpy(h->config.routes[2].name, "xx", 3); /* a reload */
	hand_settle(h);
	assert_null(h->q.move);
	memcpy(h->config.routes[2].name, "h2", 3);
	hand_free(h);
}

static size_t bad_reads, attempts;
static bool bad_disk;

static ssize_t pread_of_bad_disk(struct vfs *v, int fd, void *p, size_t n, uint64_t off)
{
	bad_reads += bad_disk;
	return bad_disk ? -EIO : h_pread(v, fd, p, n, off);
}

static void on_relay(struct ipc *ipc, struct ipc_msg *m, void *arg)
{
	(void)ipc, (void)arg;
	attempts += m->type == MSG_R_ATTEMPT;
}

/* A look through all letters, @s later. */
static void look(struct hand *h, uint32_t s)
{
	h->now_ms += s * 1000ull;
	store_tick(h->q.store, h->now_ms);
	finish_expired(&h->q, h->now_ms);
	hand_settle(h);
}

/* A relay; the tunnel is up, and the disk gives nothing: letters 1 and 2 should go, and cannot. */
static struct hand *cannot_read(struct ipc **relay)
{
	static const struct ipc_ops ops = { .message = on_relay, .closed = hand_closed };
	uint8_t ten[4] = { 0, 0, 0, 10 };
	struct hand *h = begin();
	int fds[2];

	bad_disk = true;
	bad_reads = attempts = 0;
	h->q.dir.vfs.pread = pread_of_bad_disk;
	h->peers[0].state = TUNNEL_UP;
	schedule_tunnel(h->q.schedule, &h->ch.tunnel, h->now_ms);
	assert_int_equal(ipc_pair(fds), 0);
	*relay = ipc_new(h->ch.loop, fds[0], &ops, NULL);
	attempt_attach(&h->q, fds[1]);
	ipc_send(*relay, MSG_R_CREDIT, 0, ten, sizeof(ten));
	hand_settle(h);
	attempt_pump(&h->q);
	hand_settle(h);
	for (uint32_t txn = 1; txn <= 2; txn++) {
		assert_true(letter(h, txn)->unreadable);
		assert_null(letter(h, txn)->legs);
	}
	assert_int_equal(attempts, 0);
	return h;
}

static void end_relay(struct hand *h, struct ipc *relay)
{
	attempt_close(&h->q);
	ipc_free(relay);
	hand_free(h);
}

/* A disk that comes back after a month: nobody was told anything, and what was late goes out. */
static void what_could_not_be_read_is_tried_again(void **state)
{
	struct ipc *relay;
	struct hand *h = cannot_read(&relay);
	size_t before, looks;

	(void)state;
	look(h, 60); /* soon, */
	assert_true(bad_reads >= 4);
	for (looks = 0; looks < 200; looks++)
		look(h, 60);
	before = bad_reads;
	for (looks = 0; looks < 640; looks++)
		look(h, 60);
	assert_in_range(bad_reads - before, 2 * 8, 2 * 12); /* and then ever more rarely */
	look(h, 30 * 86400);
	assert_int_equal(store_count(h->q.store, LETTER_QUEUED), 2);
	assert_int_equal(attempts, 0);
	bad_disk = false;
	for (looks = 0; looks < 64; looks++) {
		look(h, 60);
		attempt_pump(&h->q);
		hand_settle(h);
	}
	assert_int_equal(attempts, 2);
	for (uint32_t txn = 1; txn <= 2; txn++) {
		assert_false(letter(h, txn)->unreadable);
		assert_int_equal(letter(h, txn)->rcpt[0].state, RCPT_PENDING);
	}
	end_relay(h, relay);
}

static void a_flush_tries_at_once_what_could_not_be_read(void **state)
{
	struct ipc *relay;
	struct hand *h = cannot_read(&relay);

	(void)state;
	verb(h, "flush", id_arg(1));
	assert_non_null(strstr(reply, "it cannot be read now"));
	bad_disk = false;
	verb(h, "flush", id_arg(1));
	hand_settle(h);
	assert_non_null(strstr(reply, "\"count\":1"));
	assert_int_equal(attempts, 1);
	assert_true(letter(h, 2)->unreadable);
	end_relay(h, relay);
}

/* Hundreds of them cost a look no more than a few. */
static void of_many_that_cannot_be_read_few_are_tried_at_a_look(void **state)
{
	struct ipc *relay;
	struct hand *h = cannot_read(&relay);
	size_t before;

	(void)state;
	bad_disk = false;
	h->peers[0].state = TUNNEL_DOWN;
	schedule_tunnel(h->q.schedule, &h->ch.tunnel, h->now_ms);
	for (uint32_t txn = 5; txn <= 100; txn++) {
		hand_store(h, txn, "a@h0.example", 100, false);
		if (txn % 16 == 0)
			hand_settle(h);
	}
	hand_settle(h);
	bad_disk = true;
	for (struct letter *l = store_oldest(h->q.store); l; l = l->newer) {
		l->unreadable |= l->state == LETTER_QUEUED;
		schedule_remove(h->q.schedule, l);
	}
	for (int i = 0; i < 100; i++) {
		before = bad_reads;
		look(h, 60);
		assert_in_range(bad_reads - before, 0, 4);
	}
	bad_disk = false;
	for (int i = 0; i < 70; i++)
		look(h, 60);
	for (struct letter *l = store_oldest(h->q.store); l; l = l->newer)
		assert_false(l->unreadable && l->state == LETTER_QUEUED);
	end_relay(h, relay);
}

/* The same where nobody asked for it: its time is over, and the next look comes. */
static void an_end_that_cannot_be_written_has_not_come(void **state)
{
	struct hand *h = begin();

	(void)state;
	h->now_ms += 21 * 86400000ull;
	store_tick(h->q.store, h->now_ms);
	hand_settle(h);
	no_memory = true;
	finish_expired(&h->q, h->now_ms);
	hand_settle(h);
	is_as_before(h);
	no_memory = false;
	finish_expired(&h->q, h->now_ms);
	hand_settle(h);
	assert_int_equal(letter(h, 1)->state, LETTER_DEAD);
	assert_int_equal(letter(h, 2)->state, LETTER_DEAD);
	hand_free(h);
}

/* No more can be written, and nobody knows until when: the answer says that, and comes. */
static void a_full_disk_is_told_of_in_the_answer(void **state)
{
	struct hand *h = begin();

	(void)state;
	h->disk->fail_sync_at = h->disk->syncs + 1;
	h->disk->fail_syncs = 1000;
	verb(h, "hold", id_arg(1));
	hand_settle(h);
	assert_non_null(strstr(reply, "\"count\":1"));
	assert_non_null(strstr(reply, "undone by a restart"));
	/* And when it is known before. */
	verb(h, "hold", id_arg(2));
	h->now_ms += 1000;
	store_tick(h->q.store, h->now_ms);
	hand_settle(h);
	assert_non_null(strstr(reply, "undone by a restart"));
	h->disk->fail_sync_at = 0;
	for (int i = 0; i < 3; i++) {
		h->now_ms += 1000;
		store_tick(h->q.store, h->now_ms);
		hand_settle(h);
	}
	hand_die(h, true);
	assert_int_equal(hand_start(h), 0);
	assert_int_equal(letter(h, 1)->state, LETTER_HELD);
	assert_int_equal(letter(h, 2)->state, LETTER_HELD);
	hand_free(h);
}

/* Whoever asked would wait for it without end. */
static void an_answer_that_fits_into_no_message_is_an_error(void **state)
{
	char *text = calloc(1, IPC_PAYLOAD_MAX + 1);
	struct hand *h = begin();

	(void)state;
	memset(text, 'x', IPC_PAYLOAD_MAX);
	reply[0] = 0;
	answer_reply(&h->q, 1, json_pack("{s:{s:s}}", "letter", "last", text));
	assert_string_equal(reply, "{\"error\":\"the answer is too large\"}");
	free(text);
	hand_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_cannot_be_written_is_told_and_not_done),
		cmocka_unit_test(what_is_answered_is_durable),
		cmocka_unit_test(many_that_move_leave_turns_to_others),
		cmocka_unit_test(a_flush_and_a_count_of_many_leave_turns_to_others),
		cmocka_unit_test(a_move_ends_with_its_route_and_with_the_process),
		cmocka_unit_test(a_move_that_meets_a_full_disk_tells_how_far_it_is),
		cmocka_unit_test(what_could_not_be_read_is_tried_again),
		cmocka_unit_test(a_flush_tries_at_once_what_could_not_be_read),
		cmocka_unit_test(of_many_that_cannot_be_read_few_are_tried_at_a_look),
		cmocka_unit_test(an_end_that_cannot_be_written_has_not_come),
		cmocka_unit_test(a_full_disk_is_told_of_in_the_answer),
		cmocka_unit_test(an_answer_that_fits_into_no_message_is_an_error),
	};

	log_setup("test_verbs", LOG_LVL_ERR, -1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
