/* SPDX-License-Identifier: GPL-3.0-or-later */
/* queue = none: what the client is told is what the next hop says, and nothing is kept. */
#include <dirent.h>

#include "queue_clock.h"

static const char none[] = "queue = none\n";

static struct driver *begin(struct bench *b)
{
	return start(b, none);
}

static void a_letter_is_accepted_when_the_next_hop_has_it(void **state)
{
	struct bench b;
	struct driver *d = begin(&b);

	(void)state;
	driver_store(d, 1, "a@home.example", "Subject: x\r\n\r\nhi\r\n", 18, b.id[1]);
	b.sent[1] = true;
	wait_code(d, &b, 1);
	assert_int_equal(b.code[1], 250);
	assert_int_equal(b.delivered[1], 1);
	assert_string_equal(b.body, "Subject: x\r\n\r\nhi\r\n");
	wait_for(d, &b.committed, 1);
	driver_free(d);
}

static void its_refusals_are_ours(void **state)
{
	static const struct {
		enum rcpt_result result;
		enum fault_scope scope;
		uint16_t code, told;
	} rows[] = {
		{ RCPT_RES_PERMFAIL, SCOPE_RECIPIENT, 550, 550 },
		{ RCPT_RES_PERMFAIL, SCOPE_MESSAGE, 554, 554 },
		{ RCPT_RES_PERMFAIL, SCOPE_RECIPIENT, 0, 554 },
		{ RCPT_RES_PERMFAIL, SCOPE_HOST, 554, 451 }, /* it says so to everybody */
		{ RCPT_RES_TEMPFAIL, SCOPE_RECIPIENT, 452, 452 },
		{ RCPT_RES_TEMPFAIL, SCOPE_HOST, 0, 451 },
		{ RCPT_RES_TEMPFAIL, SCOPE_HOST, 421, 451 }, /* our session goes on */
		{ RCPT_RES_NOT_TRIED, SCOPE_NONE, 0, 451 },
	};
	struct bench b;
	struct driver *d = begin(&b);

	(void)state;
	for (uint32_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		b.answer = rows[i].result;
		b.scope = rows[i].scope;
		b.reply = rows[i].code;
		driver_store(d, i + 1, "a@home.example", "x\r\n", 3, b.id[i + 1]);
		wait_code(d, &b, i + 1);
		assert_int_equal(b.code[i + 1], rows[i].told);
	}
	wait_for(d, &b.committed, (int)(sizeof(rows) / sizeof(rows[0])));
	assert_int_equal(b.attempts, b.committed); /* no second try of its own */
	driver_free(d);
}

/* One of them by another route: each its own answer, and the client hears the worst. */
static void on_two_ways(struct driver *d, uint32_t id, const struct msg_r_attempt *m, int fd)
{
	struct bench *b = d->arg;
	bool home = !strcmp(m->route, "home");

	(void)fd;
	b->attempts++;
	driver_result(d, id, m, home ? RCPT_RES_DELIVERED : b->answer, home ? SCOPE_NONE : b->scope,
		      home ? 250 : b->reply);
}

static void of_several_recipients_the_worst_is_told(void **state)
{
	static const struct {
		enum rcpt_result result;
		uint16_t code;
	} rows[] = { { RCPT_RES_DELIVERED, 250 },
		     { RCPT_RES_PERMFAIL, 550 },
		     { RCPT_RES_TEMPFAIL, 450 } };
	struct bench b;
	struct driver *d = begin(&b);

	(void)state;
	d->attempt = on_two_ways;
	d->also = "b@far.example";
	b.scope = SCOPE_RECIPIENT;
	for (uint32_t i = 0; i < 3; i++) {
		b.answer = rows[i].result;
		b.reply = rows[i].code;
		driver_store(d, i + 1, "a@home.example", "x\r\n", 3, b.id[i + 1]);
		wait_code(d, &b, i + 1);
		assert_int_equal(b.code[i + 1], rows[i].code);
		assert_int_equal(b.attempts, 2 * (int)(i + 1));
	}
	driver_free(d);
}

static void a_large_body_passes_through_memory(void **state)
{
	static uint8_t chunk[MSG_BODY_CHUNK];
	struct bench b;
	struct driver *d = begin(&b);
	uint64_t sum = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(chunk); i++)
		chunk[i] = (uint8_t)('a' + i % 26);
	for (int i = 0; i < 40; i++) {
		for (size_t k = 0; k < sizeof(chunk); k++)
			sum += chunk[k];
		driver_body(d, 1, chunk, sizeof(chunk));
		while (b.credit < (uint64_t)(i + 1) * sizeof(chunk))
			driver_turn(d, 100);
	}
	b.sent[1] = true;
	driver_store_streamed(d, 1, "a@home.example", 40 * sizeof(chunk), b.id[1]);
	wait_code(d, &b, 1);
	assert_int_equal(b.code[1], 250);
	assert_true(b.body_len == 40 * sizeof(chunk));
	assert_true(b.sum_of[1] == sum);
	/* More than there is memory for: refused in the middle, and what comes late is nobody's. */
	b.credit = 0;
	for (int i = 0; !b.code[2]; i++) {
		assert_true(i < 3000);
		driver_body(d, 2, chunk, sizeof(chunk));
		while (!b.code[2] && b.credit < (uint64_t)(i + 1) * sizeof(chunk))
			driver_turn(d, 100);
	}
	assert_int_equal(b.code[2], 452);
	driver_body(d, 2, chunk, sizeof(chunk));
	driver_store(d, 3, "a@home.example", "x\r\n", 3, b.id[3]);
	wait_code(d, &b, 3);
	assert_int_equal(b.code[3], 250);
	driver_free(d);
}

static void mute(struct driver *d, uint32_t id, const struct msg_r_attempt *m, int fd)
{
	(void)id;
	(void)m;
	(void)fd;
	((struct bench *)d->arg)->attempts++;
}

static void without_an_answer_the_client_keeps_its_letter(void **state)
{
	struct bench b;
	struct driver *d = begin(&b);

	(void)state;
	d->attempt = mute;
	driver_store(d, 1, "a@home.example", "x\r\n", 3, b.id[1]);
	wait_for(d, &b.attempts, 1);
	assert_int_equal(b.code[1], 0);
	ipc_free(d->relay);
	d->relay = NULL;
	wait_code(d, &b, 1);
	assert_int_equal(b.code[1], 451);
	driver_free(d);
}

#define MIB ((uint64_t)1 << 20)

/* So much of a letter of @client; false: it was refused. */
static bool send_body(struct driver *d, uint32_t txn, uint32_t client, uint64_t len)
{
	static uint8_t chunk[MSG_BODY_CHUNK];
	struct bench *b = d->arg;
	uint8_t from[4];
	struct wr w = wr_init(from, sizeof(from));

	wr_be32(&w, client);
	ipc_send(d->smtpd, MSG_Q_FROM, txn, from, sizeof(from));
	b->credit = 0;
	for (uint64_t at = 0; at < len && !b->code[txn]; at += sizeof(chunk)) {
		driver_body(d, txn, chunk, sizeof(chunk));
		while (!b->code[txn] && b->credit <= at)
			driver_turn(d, 100);
	}
	return !b->code[txn];
}

static void one_client_leaves_room_for_the_others(void **state)
{
	struct bench b;
	struct driver *d = begin(&b);

	(void)state;
	assert_true(send_body(d, 1, 10, 40 * MIB));
	assert_false(send_body(d, 2, 10, 14 * MIB)); /* he has more than is left */
	assert_int_equal(b.code[2], 452);
	assert_true(send_body(d, 3, 11, 12 * MIB));
	assert_false(send_body(d, 4, 11, 4 * MIB));
	driver_store(d, 5, "a@home.example", "x\r\n", 3, b.id[5]);
	wait_code(d, &b, 5);
	assert_int_equal(b.code[5], 250);
	driver_store_streamed(d, 1, "a@home.example", 40 * MIB, b.id[1]);
	wait_code(d, &b, 1);
	assert_int_equal(b.code[1], 250);
	/* And then it is there for whoever comes. */
	assert_true(send_body(d, 6, 11, 10 * MIB));
	driver_free(d);
}

static void a_next_hop_that_hangs_leaves_memory_to_the_others(void **state)
{
	struct bench b;
	struct driver *d = begin(&b);

	(void)state;
	d->attempt = mute;
	assert_true(send_body(d, 1, 10, 30 * MIB));
	driver_store_streamed(d, 1, "a@home.example", 30 * MIB, b.id[1]);
	wait_for(d, &b.attempts, 1);
	assert_true(send_body(d, 2, 11, 20 * MIB));
	driver_store_streamed(d, 2, "b@home.example", 20 * MIB, b.id[2]);
	wait_code(d, &b, 2);
	assert_int_equal(b.code[2], 452);
	d->attempt = on_attempt;
	assert_true(send_body(d, 3, 11, 20 * MIB));
	driver_store_streamed(d, 3, "b@far.example", 20 * MIB, b.id[3]);
	wait_code(d, &b, 3);
	assert_int_equal(b.code[3], 250);
	assert_int_equal(b.code[1], 0);
	driver_free(d);
}

static uint32_t called_back[8];
static size_t calls;

static void on_cancel(struct driver *d, uint32_t id)
{
	(void)d;
	assert_true(calls < 8);
	called_back[calls++] = id;
}

static void answer(struct driver *d, uint32_t id, enum rcpt_result res)
{
	struct msg_r_attempt m = { .rcpt_count = 1 };
	struct msg_r_rcpt one = { .addr = "", .orcpt = "" };
	uint8_t buf[64];
	struct wr w = wr_init(buf, sizeof(buf));

	msg_r_rcpt_put(&w, &one);
	m.rcpts = rd_init(buf, w.len);
	driver_result(d, id, &m, res, SCOPE_NONE, 250);
}

/* Three letters, the next hop has two of them and is silent. */
static struct driver *begin_late(struct bench *b)
{
	struct driver *d;

	calls = kept.count = 0;
	shift->boot = shift->wall = 0;
	d = begin(b);
	d->attempt = keep_attempt;
	d->cancel = on_cancel;
	for (uint32_t i = 1; i <= 2; i++) {
		driver_store(d, i, "a@home.example", "x\r\n", 3, b->id[i]);
		wait_kept(d, i);
	}
	later(d, 200);
	assert_int_equal(calls, 0);
	later(d, 60);
	assert_int_equal(calls, 2);
	assert_int_equal(called_back[0] + called_back[1], kept.id[0] + kept.id[1]);
	return d;
}

/* Who hears 451 sends it again, so it must not arrive all the same. */
static void a_late_letter_is_called_back_and_the_answer_waits_for_that(void **state)
{
	struct bench b;
	struct driver *d = begin_late(&b);

	(void)state;
	turns(d, 50);
	assert_int_equal(b.code[1], 0);
	answer(d, kept.id[0], RCPT_RES_NOT_TRIED);
	wait_code(d, &b, 1);
	assert_int_equal(b.code[1], 451);
	assert_int_equal(b.code[2], 0);
	/* This one was past its dot. */
	answer(d, kept.id[1], RCPT_RES_DELIVERED);
	wait_code(d, &b, 2);
	assert_int_equal(b.code[2], 250);
	driver_free(d);
}

static void
a_next_hop_that_never_answers_is_not_waited_for_longer_than_the_client_waits(void **state)
{
	struct bench b;
	struct driver *d = begin_late(&b);

	(void)state;
	later(d, 300);
	assert_int_equal(b.code[1], 0);
	later(d, 20);
	wait_code(d, &b, 1);
	assert_int_equal(b.code[1], 451);
	answer(d, kept.id[0], RCPT_RES_DELIVERED);
	wait_for(d, &b.committed, 1);
	driver_free(d);
}

static void a_late_letter_that_the_relay_has_not_goes_no_more(void **state)
{
	struct bench b;
	struct driver *d = driver_new(none);

	(void)state;
	calls = kept.count = 0;
	shift->boot = shift->wall = 0;
	memset(&b, 0, sizeof(b));
	d->arg = &b;
	d->stored = on_stored;
	d->committed = on_committed;
	d->attempt = keep_attempt;
	d->credits = 1;
	assert_true(driver_start(d));
	driver_store(d, 1, "a@home.example", "x\r\n", 3, b.id[1]);
	wait_kept(d, 1);
	driver_store(d, 2, "a@home.example", "x\r\n", 3, b.id[2]);
	later(d, 0); /* it is there now */
	later(d, 260);
	wait_code(d, &b, 2);
	assert_int_equal(b.code[2], 451);
	assert_int_equal(b.code[1], 0);
	answer(d, kept.id[0], RCPT_RES_DELIVERED);
	wait_code(d, &b, 1);
	wait_for(d, &b.committed, 1);
	turns(d, 50);
	assert_int_equal(kept.count, 1);
	driver_free(d);
}

/* One way answers nothing, the other one does. */
static void on_home_alone(struct driver *d, uint32_t id, const struct msg_r_attempt *m, int fd)
{
	if (strcmp(m->route, "home"))
		on_attempt(d, id, m, fd);
	else
		mute(d, id, m, fd);
}

static void a_next_hop_that_hangs_leaves_places_to_the_others(void **state)
{
	struct bench b;
	struct driver *d = begin(&b);
	uint32_t i;

	(void)state;
	d->attempt = on_home_alone;
	for (i = 1; i <= d->credits + 10; i++)
		driver_store(d, i, "a@home.example", "x\r\n", 3, b.id[i]);
	wait_for(d, &b.attempts, (int)d->credits / 2);
	for (uint32_t n = 0; n < 3; n++, i++) {
		driver_store(d, i, "b@far.example", "x\r\n", 3, b.id[i]);
		wait_code(d, &b, i);
		assert_int_equal(b.code[i], 250);
	}
	assert_int_equal(b.code[1], 0);
	driver_free(d);
}

static void nothing_is_on_the_disk(void **state)
{
	struct bench b;
	struct driver *d = begin(&b);
	char path[128];
	struct dirent *e;
	DIR *dir;

	(void)state;
	driver_store(d, 1, "a@home.example", "x\r\n", 3, b.id[1]);
	wait_code(d, &b, 1);
	snprintf(path, sizeof(path), "%s/queue", d->dir);
	dir = opendir(path);
	while (dir && (e = readdir(dir)))
		assert_true(e->d_name[0] == '.');
	if (dir)
		closedir(dir);
	assert_non_null(
	    strstr(driver_verb(d, "{\"verb\":\"queue\",\"args\":{}}"), "no letter is kept here"));
	driver_free(d);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_letter_is_accepted_when_the_next_hop_has_it),
		cmocka_unit_test(its_refusals_are_ours),
		cmocka_unit_test(of_several_recipients_the_worst_is_told),
		cmocka_unit_test(a_large_body_passes_through_memory),
		cmocka_unit_test(without_an_answer_the_client_keeps_its_letter),
		cmocka_unit_test(one_client_leaves_room_for_the_others),
		cmocka_unit_test(a_next_hop_that_hangs_leaves_memory_to_the_others),
		cmocka_unit_test(a_late_letter_is_called_back_and_the_answer_waits_for_that),
		cmocka_unit_test(
		    a_next_hop_that_never_answers_is_not_waited_for_longer_than_the_client_waits),
		cmocka_unit_test(a_late_letter_that_the_relay_has_not_goes_no_more),
		cmocka_unit_test(a_next_hop_that_hangs_leaves_places_to_the_others),
		cmocka_unit_test(nothing_is_on_the_disk),
	};

	int rc;

	share_clocks();
	driver_child(argc, argv);
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(getenv(CLOCK_FILE));
	return rc;
}
