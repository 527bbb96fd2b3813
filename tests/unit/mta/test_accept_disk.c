/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The whole way of a letter into the queue, from smtpd's messages to its 250, on a disk that fails at each of
 * the calls which that takes: small letters, and large ones that come in chunks.
 */
#include "hop/probe.h"
#include "queue_hand.h"

#define LETTERS 9
#define SMALL	700
#define LARGE	(2 * MSG_BODY_CHUNK + 5000)

static bool is_large(uint32_t txn)
{
	return txn % 3 == 0;
}

static size_t size_of(uint32_t txn)
{
	return is_large(txn) ? LARGE : SMALL;
}

/* All of one letter; the jobs of the helper come between as chance has it. */
static void send_letter(struct hand *h, uint32_t txn)
{
	static uint8_t body[LARGE];
	size_t len = size_of(txn);
	int waits = 0;

	h->code[txn] = 0;
	h->credit[txn] = 0;
	if (!is_large(txn))
		return hand_store(h, txn, "a@h0.example", len, false);
	hand_body(txn, body, len);
	for (size_t at = 0; at < len && !h->code[txn];) {
		size_t n = len - at < MSG_BODY_CHUNK ? len - at : MSG_BODY_CHUNK;

		if (at + n - h->credit[txn] > MSG_BODY_WINDOW) {
			assert_true(waits++ < 10);
			hand_settle(h);
			continue;
		}
		ipc_send(h->smtpd, MSG_Q_BODY, h->shift + txn, body + at, n);
		at += n;
		if (txn % 2)
			loop_once(h->ch.loop, 0);
	}
	if (!h->code[txn])
		hand_store(h, txn, "a@h0.example", len, true);
}

static void send_all(struct hand *h)
{
	for (uint32_t txn = 1; txn <= LETTERS; txn++) {
		send_letter(h, txn);
		if (txn % 4 == 0)
			hand_settle(h);
	}
	hand_settle(h);
	h->now_ms += 2000;
	store_tick(h->q.store, h->now_ms);
	accept_state(&h->q);
	hand_settle(h);
}

static void is_whole(struct hand *h, uint32_t txn, struct letter *l)
{
	static uint8_t want[LARGE], got[LARGE + 1];
	struct store_reading r;

	assert_false(l->unreadable);
	assert_int_equal(store_read(h->q.store, l, &r), 0);
	assert_string_equal(r.env.rcpt[0].addr, "a@h0.example");
	assert_int_equal(r.body_len, size_of(txn));
	hand_body(txn, want, size_of(txn));
	if (r.body) {
		assert_memory_equal(r.body, want, r.body_len);
	} else {
		struct vfs *v = &h->q.dir.vfs;
		int fd = store_open_body(h->q.store, l);

		assert_true(fd >= 0);
		assert_int_equal(v->pread(v, fd, got, sizeof(got), 0), size_of(txn));
		assert_memory_equal(got, want, size_of(txn));
		v->close(v, fd);
	}
	store_reading_clear(&r);
}

/* Each with a 250 is there, whole; each without one is whole or not there; and no file is nobody's. */
static void check_all(struct hand *h, const char *what, long at)
{
	size_t files = 0;

	for (uint32_t txn = 1; txn <= LETTERS; txn++) {
		uint8_t id[LETTER_ID_LEN];
		struct letter *l;

		hand_id(txn, id);
		l = store_find(h->q.store, id);
		if (h->code[txn] == 250 && !l)
			fail_msg("%s at %ld: letter %u had its 250 and is lost", what, at, txn);
		if (!l)
			continue;
		is_whole(h, txn, l);
		files += l->own_file;
	}
	assert_int_equal(simvfs_count(h->disk, "body/"), files);
}

static struct hand *begin(uint32_t seed)
{
	struct hand *h = hand_new(seed, 1);

	assert_int_equal(hand_start(h), 0);
	h->disk->ops = h->disk->syncs = 0;
	return h;
}

/* The client comes again with what has no 250; what is there already is told so, not stored twice. */
static void come_again(struct hand *h)
{
	h->shift += 1000;
	for (uint32_t txn = 1; txn <= LETTERS; txn++) {
		uint8_t id[LETTER_ID_LEN];

		hand_id(txn, id);
		if (!store_find(h->q.store, id))
			send_letter(h, txn);
	}
	hand_settle(h);
	assert_int_equal(store_count(h->q.store, LETTER_QUEUED), LETTERS);
}

static bool cut_at(uint32_t seed, long at, bool power)
{
	struct hand *h = begin(seed);
	bool cut;

	h->disk->die_at = at;
	send_all(h);
	cut = h->disk->dead;
	hand_die(h, power);
	assert_int_equal(hand_start(h), 0);
	check_all(h, power ? "power cut" : "kill", at);
	come_again(h);
	check_all(h, "after it", at);
	hand_free(h);
	return cut;
}

static void mail_case_062_kill_at_every_call_of_the_accept_path(void **state)
{
	long at = 1;

	(void)state;
	while (cut_at(1, at, false))
		at++;
	assert_true(at > 30); /* there were so many */
}

static void mail_case_063_power_cut_at_every_call_of_the_accept_path(void **state)
{
	(void)state;
	for (uint32_t seed = 1; seed <= 4; seed++)
		for (long at = 1; cut_at(seed, at, true); at++)
			;
}

/* After a fault service goes on by itself, with all letters. */
static void goes_on(struct hand *h, const char *what, long at)
{
	for (int i = 0; i < 20; i++) {
		h->now_ms += 1000;
		store_tick(h->q.store, h->now_ms);
		hand_settle(h);
	}
	h->shift += 1000;
	for (uint32_t txn = 1; txn <= LETTERS; txn++) {
		if (h->code[txn] == 250)
			continue;
		if (h->code[txn] != 451 && h->code[txn] != 452)
			fail_msg("%s at %ld: letter %u got %u", what, at, txn, h->code[txn]);
		send_letter(h, txn);
		hand_settle(h);
		if (h->code[txn] != 250)
			fail_msg("%s at %ld: letter %u got %u when it came again", what, at, txn,
				 h->code[txn]);
	}
	assert_int_equal(store_count(h->q.store, LETTER_QUEUED), LETTERS);
	check_all(h, what, at);
	hand_die(h, true);
	assert_int_equal(hand_start(h), 0);
	check_all(h, what, at);
	hand_free(h);
}

/* What a failed sync should have written is lost in part; that readers see it still must fool nobody. */
static void mail_case_066_each_failed_sync_is_451_and_never_taken_back(void **state)
{
	long at = 1;
	bool came = true;

	(void)state;
	for (; came; at++) {
		struct hand *h = begin(5);
		h->disk->fail_sync_at = at;
		send_all(h);
		came = h->disk->syncs >= at;
		goes_on(h, "failed sync", at);
	}
	assert_true(at > 8);
}

/* No sync works any more: who waits is told so soon, and what a crash brings back all the same is whole. */
static bool broken_at(uint32_t seed, long at, bool power)
{
	struct hand *h = begin(seed);
	bool came;

	h->disk->fail_sync_at = at;
	h->disk->fail_syncs = 1000;
	send_all(h);
	came = h->disk->syncs >= at;
	for (uint32_t txn = 1; txn <= LETTERS; txn++)
		if (h->code[txn] != 250 && h->code[txn] != 451 && h->code[txn] != 452)
			fail_msg("no sync from %ld on: letter %u got %u", at, txn, h->code[txn]);
	if (seed % 4 < 2)
		hand_die(h, power);
	else
		hand_end(h, true, power);
	assert_int_equal(hand_start(h), 0);
	check_all(h, "no sync", at);
	come_again(h);
	check_all(h, "no sync, and again", at);
	hand_free(h);
	return came;
}

static void mail_case_066_a_disk_that_syncs_no_more_brings_nothing_back_in_part(void **state)
{
	(void)state;
	for (uint32_t seed = 1; seed <= 16; seed++)
		for (long at = 1; broken_at(seed, at, seed & 1); at++)
			;
}

/* One call fails, or writes but a part, and the next one works. */
static void each_call_that_fails_alone_costs_at_most_a_451(void **state)
{
	bool came = true;

	(void)state;
	for (long at = 1; came; at++) {
		struct hand *h = begin(6);

		h->disk->fail_at = at;
		send_all(h);
		came = h->disk->ops >= at;
		h->disk->fail_at = 0;
		goes_on(h, "a failed call", at);
	}
}

/* Room ends at every few hundred bytes: 452, never 5xx, nothing in part, and more room is used at once. */
static void mail_case_057_no_room_anywhere_on_the_accept_path(void **state)
{
	uint64_t used, more;

	(void)state;
	for (more = 0; more < 700000; more += more < 20000 ? 500 : 7000) {
		struct hand *h = begin(7);
		struct vfs_space sp;

		h->disk->space = UINT64_MAX / 4;
		HAND_VFS->space(HAND_VFS, &sp);
		used = UINT64_MAX / 4 - sp.bytes;
		h->disk->space = used + more;
		send_all(h);
		for (uint32_t txn = 1; txn <= LETTERS; txn++)
			if (h->code[txn] != 250 && h->code[txn] != 452)
				fail_msg("%llu bytes: letter %u got %u", (unsigned long long)more,
					 txn, h->code[txn]);
		check_all(h, "no room", (long)more);
		h->disk->space = 0;
		goes_on(h, "no room", (long)more);
	}
}

/* That it could not be stored is "later", and later it passes: once. */
static void a_report_on_a_probe_passes_when_it_comes_again(void **state)
{
	struct envelope probe = { .flags = ENV_PROBE | ENV_TUNNEL,
				  .peer = "h0",
				  .probe = { 0xab } };
	struct hand *h = begin(8);
	char to[PROBE_ADDRESS_MAX];

	(void)state;
	probe_added(&h->q, &probe);
	probe_address(probe.probe, to);
	h->flags = ENV_TUNNEL;
	h->sender = "";
	h->peer = "beyond";
	h->disk->fail_sync_at = 1;
	hand_store(h, 1, to, SMALL, false);
	hand_settle(h);
	assert_int_equal(h->code[1], 451);
	for (int i = 0; i < 20; i++) {
		h->now_ms += 1000;
		store_tick(h->q.store, h->now_ms);
		hand_settle(h);
	}
	hand_store(h, 2, to, SMALL, false);
	hand_store(h, 3, to, SMALL, false); /* amid that */
	hand_settle(h);
	assert_int_equal(h->code[2], 250);
	assert_int_equal(h->code[3], 451);
	hand_store(h, 4, to, SMALL, false);
	hand_settle(h);
	assert_int_equal(h->code[4], 550);
	assert_int_equal(store_count(h->q.store, LETTER_QUEUED), 1);
	hand_free(h);
}

/* Does a report on the probe of that number pass now? */
static bool report_passes(struct hand *h, uint8_t number)
{
	uint8_t token[LETTER_ID_LEN] = { 0xac, number };
	uint32_t txn = number + 1u;
	char to[PROBE_ADDRESS_MAX];

	h->flags = ENV_TUNNEL;
	h->sender = "";
	h->peer = "beyond";
	hand_store(h, txn, probe_address(token, to), SMALL, false);
	hand_settle(h);
	assert_true(h->code[txn] == 250 || h->code[txn] == 550);
	return h->code[txn] == 250;
}

static void one_peer_s_probes_push_out_nobody_else_s(void **state)
{
	struct envelope probe = { .flags = ENV_PROBE | ENV_TUNNEL, .probe = { 0xac } };
	struct hand *h = hand_new(9, 2);

	(void)state;
	assert_int_equal(hand_start(h), 0);
	for (uint8_t i = 0; i < 100; i++) {
		probe.peer = i ? "h0" : "h1";
		probe.probe[1] = i;
		probe_added(&h->q, &probe);
	}
	assert_true(report_passes(h, 0));
	assert_false(report_passes(h, 99 - PROBE_PASSED_EACH)); /* its own oldest went */
	assert_true(report_passes(h, 100 - PROBE_PASSED_EACH));
	assert_true(report_passes(h, 99));
	/* What is free again counts for nobody. */
	probe.probe[1] = 100;
	probe_added(&h->q, &probe);
	assert_true(report_passes(h, 101 - PROBE_PASSED_EACH));
	hand_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mail_case_062_kill_at_every_call_of_the_accept_path),
		cmocka_unit_test(mail_case_063_power_cut_at_every_call_of_the_accept_path),
		cmocka_unit_test(mail_case_066_each_failed_sync_is_451_and_never_taken_back),
		cmocka_unit_test(
		    mail_case_066_a_disk_that_syncs_no_more_brings_nothing_back_in_part),
		cmocka_unit_test(each_call_that_fails_alone_costs_at_most_a_451),
		cmocka_unit_test(mail_case_057_no_room_anywhere_on_the_accept_path),
		cmocka_unit_test(a_report_on_a_probe_passes_when_it_comes_again),
		cmocka_unit_test(one_peer_s_probes_push_out_nobody_else_s),
	};

	log_setup("test_accept_disk", LOG_LVL_ERR, -1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
