/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The queue process, whole, with its sandbox, its disk and its helper thread. */
#include <fcntl.h>

#include "queue_bench.h"

static void small_letter_is_stored_sent_and_forgotten(void **state)
{
	struct bench b;
	struct driver *d = start(&b, NULL);

	b.sent[1] = true;
	driver_store(d, 1, "a@home.example", "Subject: x\r\n\r\nhello\r\n", 21, b.id[1]);
	wait_code(d, &b, 1);
	assert_int_equal(b.code[1], 250);
	wait_for(d, &b.committed, 1);
	assert_int_equal(b.delivered[1], 1);
	assert_string_equal(b.body, "Subject: x\r\n\r\nhello\r\n");
	assert_string_equal(driver_verb(d, "{\"verb\":\"queue\",\"args\":{}}"), "{\"letters\":[]}");
	driver_free(d);
}

static void large_letter_streams_with_credit(void **state)
{
	static uint8_t chunk[MSG_BODY_CHUNK];
	const uint64_t total = 40 * sizeof(chunk);
	uint64_t sent = 0;
	struct bench b;
	struct driver *d = start(&b, NULL);

	memset(chunk, 3, sizeof(chunk));
	while (sent < total) {
		if (sent - b.credit + sizeof(chunk) <= MSG_BODY_WINDOW) {
			driver_body(d, 1, chunk, sizeof(chunk));
			sent += sizeof(chunk);
		} else {
			driver_turn(d, 100);
		}
		assert_int_equal(b.code[1], 0);
	}
	b.sent[1] = true;
	driver_store_streamed(d, 1, "a@home.example", total, b.id[1]);
	wait_code(d, &b, 1);
	assert_int_equal(b.code[1], 250);
	wait_for(d, &b.committed, 1);
	assert_int_equal(b.body_len, total);
	assert_int_equal(b.body_sum, 3 * total);
	/* Given up in the middle, and a length that is not what came: nothing is left over. */
	driver_body(d, 2, chunk, sizeof(chunk));
	ipc_send(d->smtpd, MSG_Q_ABORT, 2, NULL, 0);
	driver_body(d, 3, chunk, 100);
	driver_store_streamed(d, 3, "a@home.example", 99, b.id[3]);
	wait_code(d, &b, 3);
	assert_int_equal(b.code[3], 451);
	assert_string_equal(driver_verb(d, "{\"verb\":\"queue\",\"args\":{}}"), "{\"letters\":[]}");
	driver_free(d);
}

static void stream(struct driver *d, struct bench *b, uint32_t txn, uint8_t fill)
{
	static uint8_t chunk[MSG_BODY_CHUNK];

	memset(chunk, fill, sizeof(chunk));
	driver_body(d, txn, chunk, sizeof(chunk));
	driver_body(d, txn, chunk, sizeof(chunk));
	driver_store_streamed(d, txn, "a@home.example", 2 * sizeof(chunk), b->id[txn]);
}

/* An smtpd in a stranger's hands knows the ids of letters and names its own by them. */
static void an_id_names_one_letter_only(void **state)
{
	struct bench b;
	struct driver *d = start(&b, NULL);
	uint32_t won;

	(void)state;
	driver_set_tunnel(d, TUNNEL_DOWN);
	driver_verb(d, "{\"verb\":\"routes\",\"args\":{}}");
	stream(d, &b, 1, 3);
	wait_code(d, &b, 1);
	assert_int_equal(b.code[1], 250);
	d->id = b.id[1];
	stream(d, &b, 2, 4);
	driver_store(d, 3, "a@home.example", "x\r\n", 3, b.id[3]);
	wait_code(d, &b, 2);
	wait_code(d, &b, 3);
	assert_int_equal(b.code[2], 554);
	assert_int_equal(b.code[3], 554);
	/* Both at once: one of them is the letter. */
	envelope_new_id(b.id[0]);
	d->id = b.id[0];
	stream(d, &b, 4, 5);
	stream(d, &b, 5, 6);
	driver_store(d, 6, "a@home.example", "x\r\n", 3, b.id[6]);
	driver_store(d, 7, "a@home.example", "y\r\n", 3, b.id[7]);
	for (uint32_t i = 4; i <= 7; i++)
		wait_code(d, &b, i);
	assert_int_equal(b.code[4] + b.code[5] + b.code[6] + b.code[7], 250 + 3 * 554);
	envelope_new_id(b.id[10]);
	d->id = b.id[10];
	stream(d, &b, 8, 7);
	stream(d, &b, 9, 8);
	wait_code(d, &b, 8);
	wait_code(d, &b, 9);
	assert_int_equal(b.code[8] + b.code[9], 250 + 554);
	won = b.code[8] == 250 ? 8 : 9;
	driver_kill(d, SIGKILL);
	d->tunnel = TUNNEL_UP;
	b.sent[1] = b.sent[won] = true;
	assert_true(driver_start(d));
	wait_for(d, &b.committed, 3); /* the letter, one of the four and one of the two */
	assert_int_equal(b.delivered[1], 1);
	assert_int_equal(b.sum_of[1], 3ull * 2 * MSG_BODY_CHUNK);
	assert_int_equal(b.delivered[won], 1);
	assert_int_equal(b.sum_of[won], (won - 1ull) * 2 * MSG_BODY_CHUNK);
	assert_int_equal(b.attempts, 3);
	driver_free(d);
}

static void tunnel_down_holds_and_up_releases(void **state)
{
	struct bench b;
	struct driver *d = start(&b, NULL);
	const char *list;

	driver_set_tunnel(d, TUNNEL_DOWN);
	driver_verb(d, "{\"verb\":\"routes\",\"args\":{}}"); /* it has been heard */
	for (uint32_t i = 1; i <= 20; i++)
		driver_store(d, i, "a@home.example", "x\r\n", 3, b.id[i]);
	wait_code(d, &b, 20);
	for (int i = 0; i < 20; i++)
		driver_turn(d, 20);
	assert_int_equal(b.attempts, 0);
	list = driver_verb(d, "{\"verb\":\"routes\",\"args\":{}}");
	assert_non_null(strstr(list, "\"state\":\"down\""));
	assert_non_null(strstr(list, "\"ready\":20"));
	driver_set_tunnel(d, TUNNEL_UP);
	wait_for(d, &b.committed, 20);
	driver_free(d);
}

static void failure_is_told_to_own_users_and_kept_for_others(void **state)
{
	struct bench b;
	struct driver *d = start(&b, NULL);
	char verb[128], hex[LETTER_ID_STR_MAX];

	b.answer = RCPT_RES_PERMFAIL;
	b.scope = SCOPE_RECIPIENT;
	b.reply = 550;
	driver_store(d, 1, "nobody@home.example", "Subject: x\r\n\r\nsecret\r\n", 22, b.id[1]);
	wait_for(d, &b.committed, 1);
	/* An outsider's letter: no bounce, but a dead letter that can be released. */
	assert_string_equal(driver_verb(d, "{\"verb\":\"queue\",\"args\":{}}"), "{\"letters\":[]}");
	assert_non_null(
	    strstr(driver_verb(d, "{\"verb\":\"queue\",\"args\":{\"dead\":true}}"), "\"dead\""));
	b.answer = RCPT_RES_DELIVERED;
	b.scope = SCOPE_NONE;
	snprintf(verb, sizeof(verb), "{\"verb\":\"release\",\"args\":{\"id\":\"%s\"}}",
		 letter_id_str(b.id[1], hex));
	assert_non_null(strstr(driver_verb(d, verb), "\"count\":1"));
	wait_for(d, &b.committed, 2);
	assert_string_equal(driver_verb(d, "{\"verb\":\"queue\",\"args\":{\"dead\":true}}"),
			    "{\"letters\":[]}");
	assert_non_null(strstr(driver_verb(d, verb), "error"));
	driver_free(d);
}

static void full_queue_reserve_refuses(void **state)
{
	struct bench b;
	struct driver *d = start(&b, "queue-reserve = 900000G");

	driver_store(d, 1, "a@home.example", "x\r\n", 3, b.id[1]);
	wait_code(d, &b, 1);
	assert_int_equal(b.code[1], 452);
	driver_free(d);
}

static void a_second_process_is_kept_out(void **state)
{
	struct bench b;
	struct driver *d = start(&b, NULL), *e = driver_new(NULL);
	char dir[64];

	memcpy(dir, e->dir, sizeof(dir));
	memcpy(e->dir, d->dir, sizeof(dir));
	assert_false(driver_start(e));
	memcpy(e->dir, dir, sizeof(dir));
	driver_free(e);
	driver_free(d);
}

/* kill -9 at random moments while letters flow, with small and streamed ones. */
static void mail_case_062_kills_lose_nothing_and_double_little(void **state)
{
	static uint8_t chunk[MSG_BODY_CHUNK];
	struct bench b;
	struct driver *d = start(&b, NULL);
	uint32_t next = 1, kills = 0, seed = 12345;
	int twice = 0;

	while (next <= FLOW || kills < 15) {
		uint32_t turns;

		seed = seed * 1103515245 + 12345;
		turns = 1 + (seed >> 16) % 30;
		for (uint32_t i = 0; i < turns; i++) {
			if (next <= FLOW) {
				if (next % 10 == 0) {
					driver_body(d, next, chunk, sizeof(chunk));
					driver_body(d, next, chunk, sizeof(chunk));
					driver_store_streamed(d, next, "a@home.example",
							      2 * sizeof(chunk), b.id[next]);
				} else {
					driver_store(d, next, "a@home.example", "small\r\n", 7,
						     b.id[next]);
				}
				b.sent[next++] = true;
			}
			driver_turn(d, 1);
		}
		driver_kill(d, SIGKILL);
		kills++;
		assert_true(driver_start(d));
	}
	for (int i = 0; i < 300; i++) {
		driver_turn(d, 20);
		if (i % 25 == 24 &&
		    !strcmp(driver_verb(d, "{\"verb\":\"queue\",\"args\":{}}"), "{\"letters\":[]}"))
			break;
	}
	for (uint32_t i = 1; i <= FLOW; i++) {
		if (b.code[i] == 250 && !b.delivered[i])
			fail_msg("letter %u was acknowledged and is lost", i);
		twice += b.delivered[i] > 1;
		assert_true(b.delivered[i] <= 1 + (int)kills);
	}
	assert_int_equal(b.strange, 0);
	/* What was in an attempt when the process died, at most the credits of each life. */
	assert_true(twice <= (int)(kills * d->credits));
	driver_free(d);
}

static void orderly_stop_commits_and_exits(void **state)
{
	struct bench b;
	struct driver *d = start(&b, NULL);

	driver_set_tunnel(d, TUNNEL_DOWN);
	driver_verb(d, "{\"verb\":\"routes\",\"args\":{}}");
	for (uint32_t i = 1; i <= 10; i++)
		driver_store(d, i, "a@home.example", "x\r\n", 3, b.id[i]);
	wait_code(d, &b, 10);
	driver_kill(d, SIGTERM);
	d->tunnel = TUNNEL_UP;
	assert_true(driver_start(d));
	wait_for(d, &b.committed, 10);
	driver_free(d);
}

/* Flips a bit in the text of letter @n, and tears what follows the last letter. */
static void spoil(struct driver *d, uint32_t n, uint32_t last)
{
	char path[200], mark[32];
	static uint8_t seg[1 << 20];
	uint8_t *at;
	ssize_t len;
	int fd;

	snprintf(path, sizeof(path), "%s/queue/00000001.seg", d->dir);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	len = pread(fd, seg, sizeof(seg), 0);
	assert_true(len > 0);
	snprintf(mark, sizeof(mark), "letter-%u-", n);
	at = memmem(seg, (size_t)len, mark, strlen(mark));
	assert_non_null(at);
	assert_int_equal(pwrite(fd, "L", 1, at - seg), 1);
	snprintf(mark, sizeof(mark), "letter-%u-", last);
	at = memmem(seg, (size_t)len, mark, strlen(mark));
	assert_non_null(at);
	/* Behind its page: as much of a batch as reached the disk. */
	assert_int_equal(pwrite(fd, "\x7f\x45torn", 6, ((at - seg) / 4096 + 1) * 4096), 6);
	close(fd);
}

static void
mail_case_064_a_queue_with_a_flipped_bit_and_a_torn_tail_starts_with_all_others(void **state)
{
	struct bench b;
	struct driver *d = start(&b, NULL);
	char text[64], cmd[200];

	(void)state;
	driver_set_tunnel(d, TUNNEL_DOWN);
	driver_verb(d, "{\"verb\":\"routes\",\"args\":{}}");
	for (uint32_t i = 1; i <= 9; i++) {
		snprintf(text, sizeof(text), "letter-%u-\r\n", i);
		driver_store(d, i, "a@home.example", text, strlen(text), b.id[i]);
		wait_code(d, &b, i);
		assert_int_equal(b.code[i], 250);
		b.sent[i] = true;
	}
	driver_kill(d, SIGKILL);
	spoil(d, 4, 9);
	d->tunnel = TUNNEL_UP;
	assert_true(driver_start(d));
	wait_for(d, &b.committed, 8);
	turns(d, 100);
	for (uint32_t i = 1; i <= 9; i++)
		assert_int_equal(b.delivered[i], i != 4);
	assert_int_equal(b.strange, 0);
	snprintf(cmd, sizeof(cmd), "test $(ls %s/queue/quarantine | wc -l) = 1", d->dir);
	assert_int_equal(system(cmd), 0);
	/* It takes letters again. */
	driver_store(d, 10, "a@home.example", "x\r\n", 3, b.id[10]);
	wait_code(d, &b, 10);
	assert_int_equal(b.code[10], 250);
	driver_free(d);
}

static void a_reload_amid_traffic_does_not_stop_the_queue(void **state)
{
	struct bench b;
	struct driver *d = start(&b, NULL);

	(void)state;
	driver_set_tunnel(d, TUNNEL_DOWN);
	driver_verb(d, "{\"verb\":\"routes\",\"args\":{}}");
	for (uint32_t i = 1; i <= 20; i++)
		driver_store(d, i, "a@home.example", "x\r\n", 3, b.id[i]);
	wait_code(d, &b, 20);
	/* All of it is there in one turn of the queue's loop. */
	kill(d->pid, SIGSTOP);
	driver_reload(d);
	driver_grant(d, 1);
	driver_set_tunnel(d, TUNNEL_UP);
	kill(d->pid, SIGCONT);
	wait_for(d, &b.committed, 20);
	driver_free(d);
}

static void answer_kept(struct driver *d, size_t i, enum rcpt_result res)
{
	struct msg_r_attempt m = { .rcpt_count = 1 };
	uint8_t buf[64];
	struct wr w = wr_init(buf, sizeof(buf));
	struct msg_r_rcpt one = { .addr = "", .orcpt = "" };

	msg_r_rcpt_put(&w, &one);
	m.rcpts = rd_init(buf, w.len);
	driver_result(d, kept.id[i], &m, res, SCOPE_NONE, 250);
}

static void a_letter_in_flight_at_a_reload_goes_the_new_way(void **state)
{
	struct bench b;
	struct driver *d = start(&b, NULL);

	(void)state;
	kept.count = 0;
	d->attempt = keep_attempt;
	driver_store(d, 1, "a@away.example", "x\r\n", 3, b.id[1]);
	wait_kept(d, 1);
	assert_string_equal(kept.route[0], "internet");
	d->extra = "[route other]\nkind = smarthost\naddress = 192.0.2.9\ndomains = away.example\n";
	driver_reload(d);
	assert_non_null(strstr(driver_verb(d, "{\"verb\":\"routes\",\"args\":{}}"), "internet"));
	answer_kept(d, 0, RCPT_RES_NOT_TRIED);
	wait_kept(d, 2);
	assert_string_equal(kept.route[1], "other");
	driver_free(d);
}

static void a_letter_that_loses_its_body_in_flight_harms_nobody(void **state)
{
	static uint8_t chunk[MSG_BODY_CHUNK];
	struct bench b;
	struct driver *d = driver_new(NULL);
	char path[200], hex[LETTER_ID_STR_MAX];
	const char *list;

	(void)state;
	memset(&b, 0, sizeof(b));
	kept.count = 0;
	d->arg = &b;
	d->stored = on_stored;
	d->committed = on_committed;
	d->attempt = keep_attempt;
	d->credits = 1;
	assert_true(driver_start(d));
	d->also = "a@away.example";
	driver_body(d, 1, chunk, sizeof(chunk));
	driver_body(d, 1, chunk, sizeof(chunk));
	driver_store_streamed(d, 1, "a@home.example", 2 * sizeof(chunk), b.id[1]);
	wait_kept(d, 1);
	snprintf(path, sizeof(path), "%s/queue/body/%s", d->dir, letter_id_str(b.id[1], hex));
	assert_int_equal(unlink(path), 0);
	driver_grant(d, 1); /* for the other half */
	for (int i = 0; i < 20; i++)
		driver_turn(d, 10);
	list = driver_verb(d, "{\"verb\":\"queue\",\"args\":{}}");
	assert_non_null(strstr(list, "unreadable"));
	assert_non_null(strstr(list, "trying"));
	answer_kept(d, 0, RCPT_RES_NOT_TRIED);
	wait_for(d, &b.committed, 1);
	list = driver_verb(d, "{\"verb\":\"queue\",\"args\":{}}");
	assert_non_null(strstr(list, "unreadable"));
	assert_null(strstr(list, "trying"));
	assert_int_equal(kept.count, 1);
	driver_free(d);
}

/* A link that leads to itself in the place of the file: neither there nor away. */
static void a_body_that_cannot_be_opened_now_holds_up_nobody_else(void **state)
{
	static uint8_t chunk[MSG_BODY_CHUNK];
	struct bench b;
	struct driver *d = driver_new(NULL);
	char path[200], hex[LETTER_ID_STR_MAX], away[210];

	(void)state;
	memset(&b, 0, sizeof(b));
	b.answer = RCPT_RES_DELIVERED;
	b.reply = 250;
	d->arg = &b;
	d->stored = on_stored;
	d->committed = on_committed;
	d->attempt = on_attempt;
	d->tunnel = TUNNEL_DOWN;
	assert_true(driver_start(d));
	for (uint32_t i = 1; i <= 2; i++) {
		driver_body(d, i, chunk, sizeof(chunk));
		driver_body(d, i, chunk, sizeof(chunk));
		driver_store_streamed(d, i, "a@home.example", 2 * sizeof(chunk), b.id[i]);
		b.sent[i] = true;
		wait_code(d, &b, i);
	}
	snprintf(path, sizeof(path), "%s/queue/body/%s", d->dir, letter_id_str(b.id[1], hex));
	snprintf(away, sizeof(away), "%s.away", path);
	assert_int_equal(rename(path, away), 0);
	assert_int_equal(symlink(path, path), 0);
	driver_set_tunnel(d, TUNNEL_UP);
	wait_for(d, &b.delivered[2], 1);
	assert_int_equal(b.delivered[1], 0);
	/* It waits, and is none that nobody can read: as soon as it can be opened it goes. */
	assert_null(strstr(driver_verb(d, "{\"verb\":\"queue\",\"args\":{}}"), "unreadable"));
	assert_int_equal(rename(away, path), 0);
	driver_verb(d, "{\"verb\":\"flush\",\"args\":{}}");
	wait_for(d, &b.delivered[1], 1);
	driver_free(d);
}

static void a_thousand_failures_are_all_told(void **state)
{
	static uint8_t chunk[MSG_BODY_CHUNK];
	struct bench b;
	struct driver *d = start(&b, NULL);

	(void)state;
	for (size_t i = 0; i + 20 < sizeof(chunk); i += 20)
		memcpy(chunk + i, "X-Header: 123456789\n", 20);
	d->many = ENVELOPE_RCPTS_MAX;
	d->flags = ENV_AUTHENTICATED;
	b.answer = RCPT_RES_PERMFAIL;
	b.scope = SCOPE_RECIPIENT;
	b.reply = 550;
	driver_body(d, 1, chunk, sizeof(chunk));
	driver_store_streamed(d, 1, "@a-long-name-of-a-domain-far-away.example", sizeof(chunk),
			      b.id[1]);
	wait_for(d, &b.attempts, 1);
	b.answer = RCPT_RES_DELIVERED;
	b.scope = SCOPE_NONE;
	b.reply = 250;
	for (int i = 0; i < 3000 && b.committed < 13; i++)
		driver_turn(d, 20);
	assert_true(b.committed >= 13);
	assert_string_equal(b.sender, "");
	driver_kill(d, SIGTERM);
	b.attempts = 0;
	assert_true(driver_start(d));
	assert_string_equal(driver_verb(d, "{\"verb\":\"queue\",\"args\":{}}"), "{\"letters\":[]}");
	assert_int_equal(b.attempts, 0);
	driver_free(d);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(small_letter_is_stored_sent_and_forgotten),
		cmocka_unit_test(large_letter_streams_with_credit),
		cmocka_unit_test(an_id_names_one_letter_only),
		cmocka_unit_test(tunnel_down_holds_and_up_releases),
		cmocka_unit_test(failure_is_told_to_own_users_and_kept_for_others),
		cmocka_unit_test(full_queue_reserve_refuses),
		cmocka_unit_test(a_second_process_is_kept_out),
		cmocka_unit_test(mail_case_062_kills_lose_nothing_and_double_little),
		cmocka_unit_test(orderly_stop_commits_and_exits),
		cmocka_unit_test(
		    mail_case_064_a_queue_with_a_flipped_bit_and_a_torn_tail_starts_with_all_others),
		cmocka_unit_test(a_reload_amid_traffic_does_not_stop_the_queue),
		cmocka_unit_test(a_letter_in_flight_at_a_reload_goes_the_new_way),
		cmocka_unit_test(a_letter_that_loses_its_body_in_flight_harms_nobody),
		cmocka_unit_test(a_body_that_cannot_be_opened_now_holds_up_nobody_else),
		cmocka_unit_test(a_thousand_failures_are_all_told),
	};

	driver_child(argc, argv);
	log_setup("test_queue", LOG_LVL_ERR, 2);
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
