/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The queue process over days: its clocks are those of the test. Linked so that each reading of a clock passes
 * here, in the process and in its siblings alike.
 */
#include <sys/wait.h>

#include "queue_clock.h"

/* What the relay was given, and how it answers. */
#define RCPTS 4
static struct {
	enum rcpt_result result[RCPTS]; /* by recipient's index */
	enum fault_scope scope;
	uint16_t code;
	bool bounces_fail; /* those of the null sender get 550 */
	bool freeze;	   /* stop the process before its answers */
	bool keep;	   /* no answers; see cut() */
	uint32_t kept[64], kept_count;
	uint32_t attempts, delivered, dsns, repeats, early;
	uint64_t last_seq;
	bool in_order;
	uint32_t prior;
	int64_t at[256]; /* when, in seconds of the test */
	char dsn[8192];
	uint32_t times[6000]; /* by number in the recipient's address */
} out;

static void answer(struct driver *d, uint32_t id, const struct msg_r_attempt *m, bool bounce)
{
	static uint8_t list[64 * 1024], msg[66 * 1024];
	struct wr l = wr_init(list, sizeof(list)), w = wr_init(msg, sizeof(msg));
	struct msg_r_result r = { .host = "mx.test",
				  .families_ok = MSG_R_FAMILY4,
				  .rcpt_count = m->rcpt_count };
	struct rd rcpts = m->rcpts;
	struct msg_r_rcpt rc;

	for (size_t i = 0; i < m->rcpt_count && !msg_r_rcpt_get(&rcpts, &rc); i++) {
		enum rcpt_result res = bounce && !out.bounces_fail ? RCPT_RES_DELIVERED
				       : bounce			   ? RCPT_RES_PERMFAIL
								   : out.result[rc.index % RCPTS];
		struct msg_r_rcpt_result x = {
			.index = rc.index,
			.result = (uint8_t)res,
			.scope = res == RCPT_RES_DELIVERED || res == RCPT_RES_NOT_TRIED ? SCOPE_NONE
				 : bounce ? SCOPE_RECIPIENT
					  : (uint8_t)out.scope,
			.code = res == RCPT_RES_DELIVERED ? 250
				: bounce		  ? 550
							  : out.code,
			.enhanced = "",
			.text = "said the next hop",
		};

		msg_r_rcpt_result_put(&l, &x);
		if (res == RCPT_RES_DELIVERED && !bounce) {
			unsigned n = (unsigned)atoi(rc.addr);

			out.delivered++;
			if (n < 6000)
				out.times[n]++;
		}
	}
	r.rcpts = rd_init(list, l.len);
	msg_r_result_put(&w, &r);
	ipc_send(d->relay, MSG_R_RESULT, id, msg, w.len);
}

static void take(struct driver *d, uint32_t id, const struct msg_r_attempt *m, int fd)
{
	struct envelope e;
	bool bounce;

	(void)fd;
	assert_int_equal(envelope_parse(&e, m->env, m->env_len), 0);
	bounce = !e.sender[0];
	envelope_clear(&e);
	if (bounce) {
		out.dsns++;
		assert_true(m->flags & MSG_R_INLINE && m->body_len < sizeof(out.dsn));
		memcpy(out.dsn, m->body, m->body_len);
		out.dsn[m->body_len] = 0;
	} else {
		if (out.attempts < sizeof(out.at) / sizeof(*out.at))
			out.at[out.attempts] = shift->boot;
		out.attempts++;
		out.in_order &= m->seq > out.last_seq;
		out.last_seq = m->seq;
		out.repeats += (m->flags & MSG_R_REPEAT) != 0;
		out.prior = m->prior;
	}
	if (out.freeze) {
		kill(d->pid, SIGSTOP);
		waitpid(d->pid, NULL, WUNTRACED);
	}
	if (out.keep) {
		assert_true(out.kept_count < 64);
		out.kept[out.kept_count++] = id;
	} else {
		answer(d, id, m, bounce);
	}
}

/* The way of what is kept was cut before anything happened. */
static void cut(struct driver *d)
{
	struct msg_r_attempt m = { .rcpt_count = 1 };
	struct msg_r_rcpt one = { .addr = "", .orcpt = "" };
	uint8_t buf[64];

	while (out.kept_count) {
		struct wr w = wr_init(buf, sizeof(buf));

		msg_r_rcpt_put(&w, &one);
		m.rcpts = rd_init(buf, w.len);
		answer(d, out.kept[--out.kept_count], &m, false);
	}
}

static struct driver *begin(struct bench *b, const char *extra)
{
	struct driver *d;

	memset(&out, 0, sizeof(out));
	out.in_order = true;
	shift->boot = shift->wall = 0;
	d = start(b, extra);
	d->attempt = take;
	return d;
}

static void settle(struct driver *d)
{
	int before;

	do {
		before = (int)(out.attempts + out.dsns);
		for (int i = 0; i < 5; i++) {
			driver_turn(d, 10);
			driver_verb(d, "{\"verb\":\"routes\",\"args\":{}}");
		}
	} while ((int)(out.attempts + out.dsns) != before);
}

/* What has to come comes, however slow this machine is. */
static void await(struct driver *d, const uint32_t *n, uint32_t want)
{
	for (int i = 0; i < 3000 && *n < want && !d->closed; i++)
		driver_turn(d, 20);
	assert_true(*n >= want);
	settle(d);
	assert_int_equal(*n, want);
}

/* Does it become empty, or the contrary? */
static bool becomes(struct driver *d, bool dead, bool empty)
{
	for (int i = 0; i < 1000; i++) {
		const char *list =
		    driver_verb(d, dead ? "{\"verb\":\"queue\",\"args\":{\"dead\":true}}"
					: "{\"verb\":\"queue\",\"args\":{}}");

		if (!strcmp(list, "{\"letters\":[]}") == empty)
			return true;
		driver_turn(d, 20);
	}
	return false;
}

static size_t times_in(const char *text, const char *what)
{
	size_t n = 0;

	for (; (text = strstr(text, what)); text += strlen(what))
		n++;
	return n;
}

static void tunnel(struct driver *d, enum tunnel_state st)
{
	driver_set_tunnel(d, st);
	driver_verb(d, "{\"verb\":\"routes\",\"args\":{}}");
}

#define HOUR   3600
#define DAY    86400
#define MANY   5000
#define MTA_IN "[route internet]\nretry-jitter = 0\n"

static void store_numbered(struct driver *d, struct bench *b, uint32_t from, uint32_t to,
			   const char *body)
{
	char addr[64];

	for (uint32_t i = from; i <= to; i++) {
		snprintf(addr, sizeof(addr), "%u@home.example", i);
		driver_store(d, 1 + (i - from) % FLOW, addr, body, strlen(body), b->id[1]);
		if ((i - from) % FLOW == FLOW - 1 || i == to) {
			wait_code(d, b, 1 + (i - from) % FLOW);
			assert_int_equal(b->code[1 + (i - from) % FLOW], 250);
			memset(b->code, 0, sizeof(b->code));
		}
	}
}

/* Kilobytes of @d's process. */
static long memory_of(const struct driver *d, const char *key)
{
	char path[64], line[256];
	long kb = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)d->pid);
	f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)))
			kb = atol(line + strlen(key) + 1);
	fclose(f);
	assert_true(kb >= 0);
	return kb;
}

static void
mail_case_067_three_days_without_a_tunnel_cost_no_attempt_and_all_go_when_it_is_up(void **state)
{
	static char body[3000];
	struct bench b;
	struct driver *d = begin(&b, NULL);
	long before = memory_of(d, "VmHWM:");

	(void)state;
	memset(body, 'x', sizeof(body) - 3);
	memcpy(body + sizeof(body) - 3, "\r\n", 3);
	tunnel(d, TUNNEL_DOWN);
	store_numbered(d, &b, 0, MANY - 1, body);
	for (int hour = 0; hour < 72; hour++)
		later(d, HOUR);
	assert_int_equal(out.attempts, 0);
	assert_int_equal(out.dsns, 0);
	assert_true(becomes(d, true, true));
	tunnel(d, TUNNEL_UP);
	for (int i = 0; i < 100000 && out.delivered < MANY; i++) {
		driver_turn(d, 20);
		if (i % 50 == 49) /* the pace is by the second */
			later(d, 1);
	}
	settle(d);
	assert_int_equal(out.delivered, MANY);
	assert_int_equal(out.attempts, MANY);
	assert_true(out.in_order);
	assert_int_equal(out.prior, 0);
	assert_int_equal(out.dsns, 0);
	for (int i = 0; i < MANY; i++)
		assert_int_equal(out.times[i], 1);
	assert_true(becomes(d, false, true) && becomes(d, true, true));
#ifndef __SANITIZE_ADDRESS__
	/* 15 MB of mail, of which the index alone is kept. */
	assert_true(memory_of(d, "VmHWM:") - before < 8000);
#else
	(void)before;
#endif
	driver_free(d);
}

static void mail_case_068_a_tunnel_that_flaps_makes_no_storm_and_no_duplicate(void **state)
{
	struct bench b;
	struct driver *d = begin(&b, NULL);
	uint32_t storm;

	(void)state;
	tunnel(d, TUNNEL_DOWN);
	store_numbered(d, &b, 0, 399, "x\r\n");
	/* What was under way when it went down is answered by the relay: it was cut, and not tried. */
	for (size_t i = 0; i < RCPTS; i++)
		out.result[i] = RCPT_RES_NOT_TRIED;
	out.keep = true;
	for (int flap = 0; flap < 120; flap++) {
		later(d, 5);
		tunnel(d, TUNNEL_UP);
		later(d, 5);
		tunnel(d, TUNNEL_DOWN);
		for (int i = 0; i < 5; i++) /* what it sent before it heard of that */
			driver_turn(d, 1);
		cut(d);
	}
	storm = out.attempts;
	/* The first ups are acted on at once; then it is held down, and nothing is tried in 20 minutes. */
	if (storm > 6 * SCHEDULE_LIMIT_FIRST)
		fail_msg("%u attempts by 120 flaps", storm);
	memset(out.result, 0, sizeof(out.result)); /* RCPT_RES_DELIVERED */
	out.keep = false;
	tunnel(d, TUNNEL_UP);
	for (int i = 0; i < 120 && out.delivered < 400; i++) {
		later(d, 1);
		settle(d);
	}
	for (int i = 0; i < 400; i++)
		assert_int_equal(out.times[i], 1);
	assert_int_equal(out.attempts, storm + 400);
	assert_true(becomes(d, false, true) && becomes(d, true, true));
	driver_free(d);
}

static void mail_case_069_what_expires_while_the_tunnel_is_down_is_kept_and_no_outsider_hears_of_it(
    void **state)
{
	struct bench b;
	struct driver *d = begin(&b, "[route home]\nttl = 2d\n");
	char verb[128], hex[LETTER_ID_STR_MAX];
	const char *dead;

	(void)state;
	tunnel(d, TUNNEL_DOWN);
	driver_store(d, 1, "1@home.example", "Subject: x\r\n\r\nx\r\n", 17, b.id[1]);
	wait_code(d, &b, 1);
	d->flags = ENV_AUTHENTICATED;
	driver_store(d, 2, "2@home.example", "Subject: y\r\n\r\ny\r\n", 17, b.id[2]);
	wait_code(d, &b, 2);
	for (int i = 0; i < 47; i++)
		later(d, HOUR);
	assert_true(becomes(d, true, true));
	for (int i = 0; i < 3; i++)
		later(d, HOUR);
	/* The user who logged in hears of it, the stranger does not. */
	await(d, &out.dsns, 1);
	assert_int_equal(out.attempts, 0);
	assert_non_null(strstr(out.dsn, "2@home.example"));
	assert_null(strstr(out.dsn, "1@home.example"));
	assert_non_null(strstr(out.dsn, "Status: 4.4.7"));
	assert_true(becomes(d, false, true));
	dead = driver_verb(d, "{\"verb\":\"queue\",\"args\":{\"dead\":true}}");
	assert_non_null(strstr(dead, letter_id_str(b.id[1], hex)));
	assert_non_null(strstr(dead, "\"dead\""));
	/* Also after a restart; released, it has all its time again. */
	driver_kill(d, SIGKILL);
	d->tunnel = TUNNEL_UP;
	assert_true(driver_start(d));
	settle(d);
	assert_int_equal(out.attempts, 0);
	snprintf(verb, sizeof(verb), "{\"verb\":\"release\",\"args\":{\"id\":\"%s\"}}",
		 letter_id_str(b.id[1], hex));
	assert_non_null(strstr(driver_verb(d, verb), "\"count\":1"));
	await(d, &out.delivered, 1);
	driver_free(d);
}

static void mail_case_070_deferred_for_ever_follows_the_schedule_and_ends_in_one_dsn(void **state)
{
	static const int64_t waits[] = { 600, 1200, 2400, 2400, 2400 };
	struct bench b;
	struct driver *d = begin(&b, MTA_IN "ttl = 3h\nretry-first = 10m\nretry-max = 40m\n");

	(void)state;
	for (size_t i = 0; i < RCPTS; i++)
		out.result[i] = RCPT_RES_TEMPFAIL;
	out.scope = SCOPE_MESSAGE;
	out.code = 451;
	d->flags = ENV_AUTHENTICATED;
	driver_store(d, 1, "1@far.example", "Subject: x\r\n\r\nx\r\n", 17, b.id[1]);
	wait_code(d, &b, 1);
	for (int i = 0; i < 24 * 12 && !out.dsns; i++) {
		settle(d);
		later(d, 300);
	}
	settle(d);
	assert_in_range(out.attempts, 5, 8);
	for (size_t i = 1; i < out.attempts; i++) {
		int64_t want = waits[i - 1 < 5 ? i - 1 : 4], was = out.at[i] - out.at[i - 1];

		if (was + 300 < want || was > want + 600) /* by the step that this test takes */
			fail_msg("attempt %zu came after %lld s, wanted %lld", i + 1,
				 (long long)was, (long long)want);
	}
	assert_true(out.at[out.attempts - 1] <= 3 * HOUR + 600);
	assert_int_equal(out.dsns, 1);
	assert_int_equal(times_in(out.dsn, "Final-Recipient:"), 1);
	assert_non_null(strstr(out.dsn, "Diagnostic-Code: smtp; 451 said the next hop\r\n"));
	/* And that was all, for days. */
	for (int i = 0; i < 48; i++)
		later(d, HOUR);
	settle(d);
	assert_int_equal(out.dsns, 1);
	assert_true(becomes(d, false, true));
	driver_free(d);
}

static void mail_case_071_the_dsn_names_the_one_of_three_that_was_refused(void **state)
{
	struct bench b;
	struct driver *d = begin(&b, NULL);

	(void)state;
	out.result[1] = RCPT_RES_PERMFAIL;
	out.scope = SCOPE_RECIPIENT;
	out.code = 550;
	d->flags = ENV_AUTHENTICATED;
	d->many = 3;
	driver_store(d, 1, "@far.example", "Subject: x\r\n\r\nsecret\r\n", 22, b.id[1]);
	wait_code(d, &b, 1);
	await(d, &out.dsns, 1);
	assert_int_equal(out.delivered, 2);
	assert_int_equal(out.times[0] + out.times[2], 2);
	assert_int_equal(times_in(out.dsn, "Final-Recipient:"), 1);
	assert_non_null(strstr(
	    out.dsn, "Final-Recipient: rfc822; 1@far.example\r\nAction: failed\r\nStatus: 5."));
	assert_null(strstr(out.dsn, "secret"));
	assert_true(becomes(d, false, true) && becomes(d, true, true));
	driver_free(d);
}

static void mail_case_074_a_bounce_that_cannot_be_delivered_makes_no_bounce(void **state)
{
	struct bench b;
	struct driver *d = begin(&b, NULL);

	(void)state;
	for (size_t i = 0; i < RCPTS; i++)
		out.result[i] = RCPT_RES_PERMFAIL;
	out.scope = SCOPE_RECIPIENT;
	out.code = 550;
	out.bounces_fail = true;
	d->flags = ENV_AUTHENTICATED;
	driver_store(d, 1, "1@far.example", "x\r\n", 3, b.id[1]);
	wait_code(d, &b, 1);
	await(d, &out.dsns, 1);
	assert_true(becomes(d, false, true) && becomes(d, true, true));
	driver_free(d);
}

static void mail_case_082_a_recipient_gone_after_accept_is_told_or_kept_by_policy(void **state)
{
	struct bench b;
	struct driver *d = begin(&b, NULL);

	(void)state;
	for (size_t i = 0; i < RCPTS; i++)
		out.result[i] = RCPT_RES_PERMFAIL;
	out.scope = SCOPE_RECIPIENT;
	out.code = 550;
	driver_store(d, 1, "1@home.example", "x\r\n", 3, b.id[1]);
	wait_code(d, &b, 1);
	await(d, &out.attempts, 1);
	assert_int_equal(out.dsns, 0); /* of an outsider nobody knows whether he was the sender */
	assert_true(becomes(d, true, false));
	d->flags = ENV_VERIFIED;
	driver_store(d, 2, "2@home.example", "x\r\n", 3, b.id[2]);
	wait_code(d, &b, 2);
	await(d, &out.dsns, 1);
	assert_non_null(strstr(out.dsn, "2@home.example"));
	assert_true(becomes(d, false, true));
	/* bounce = none */
	driver_kill(d, SIGTERM);
	d->extra = "[route home]\nbounce = none\n";
	assert_true(driver_start(d));
	driver_store(d, 3, "3@home.example", "x\r\n", 3, b.id[3]);
	wait_code(d, &b, 3);
	await(d, &out.attempts, 3);
	assert_true(becomes(d, false, true));
	assert_int_equal(out.dsns, 1);
	assert_int_equal(
	    times_in(driver_verb(d, "{\"verb\":\"queue\",\"args\":{\"dead\":true}}"), "\"id\":"),
	    2);
	driver_free(d);
}

static void the_admin_is_told_of_dead_letters_once_an_hour_and_at_the_end(void **state)
{
	struct bench b;
	struct driver *d = begin(&b, "dead-letter-report = admin@far.example\n");

	(void)state;
	for (size_t i = 0; i < RCPTS; i++)
		out.result[i] = RCPT_RES_PERMFAIL;
	out.scope = SCOPE_RECIPIENT;
	out.code = 550;
	store_numbered(d, &b, 1, 1, "x\r\n");
	await(d, &out.dsns, 1);
	assert_non_null(strstr(out.dsn, "<1@home.example>"));
	store_numbered(d, &b, 2, 2, "x\r\n");
	await(d, &out.attempts, 2);
	later(d, HOUR / 2);
	assert_int_equal(out.dsns, 1);
	later(d, HOUR / 2);
	await(d, &out.dsns, 2);
	assert_non_null(strstr(out.dsn, "<2@home.example>"));
	store_numbered(d, &b, 3, 3, "x\r\n");
	await(d, &out.attempts, 3);
	driver_kill(d, SIGTERM);
	assert_true(driver_start(d));
	await(d, &out.dsns, 3);
	assert_true(strstr(out.dsn, "<3@home.example>") && !strstr(out.dsn, "<2@home.example>"));
	driver_free(d);
}

static void mail_case_061_a_wall_clock_that_jumps_expires_nothing_and_tries_nothing(void **state)
{
	static const int64_t jumps[] = { 400 * (int64_t)DAY, -20000 * (int64_t)DAY,
					 -3 * (int64_t)DAY, 30 * (int64_t)DAY };
	struct bench b;
	struct driver *d = begin(&b, MTA_IN "retry-first = 20m\nretry-max = 40m\n");
	uint32_t tried;

	(void)state;
	for (size_t i = 0; i < RCPTS; i++)
		out.result[i] = RCPT_RES_TEMPFAIL;
	out.scope = SCOPE_MESSAGE;
	out.code = 451;
	tunnel(d, TUNNEL_DOWN);
	store_numbered(d, &b, 1, 50, "x\r\n");
	d->many = 3;
	driver_store(d, 1, "@far.example", "x\r\n", 3, b.id[1]);
	wait_code(d, &b, 1);
	await(d, &out.attempts, 1);
	tried = out.attempts;
	for (size_t i = 0; i < 4; i++) {
		shift->wall = jumps[i];
		later(d, 120); /* within that it looks for what has expired */
		if (i == 2) {
			driver_kill(d, SIGKILL);
			d->tunnel = TUNNEL_DOWN;
			assert_true(driver_start(d));
		}
		settle(d);
		if (i < 2) /* a new process tries once */
			assert_int_equal(out.attempts, tried);
		assert_true(becomes(d, true, true));
	}
	assert_true(out.attempts <= tried + 1);
	assert_int_equal(out.dsns, 0);
	memset(out.result, 0, sizeof(out.result));
	tunnel(d, TUNNEL_UP);
	for (int i = 0; i < 60 && out.delivered < 53; i++) {
		later(d, 60);
		settle(d);
	}
	assert_int_equal(out.delivered, 53);
	driver_free(d);
}

static void
mail_case_065_a_crash_between_the_peer_s_250_and_our_commit_makes_one_duplicate(void **state)
{
	struct bench b;
	struct driver *d = begin(&b, NULL);

	(void)state;
	tunnel(d, TUNNEL_DOWN);
	store_numbered(d, &b, 1, 1, "x\r\n");
	tunnel(d, TUNNEL_UP);
	out.freeze = true; /* the peer has said 250, the relay tells of it, and it is never heard */
	for (uint32_t crash = 1; crash <= 3; crash++) {
		for (int i = 0; i < 3000 && out.attempts < crash; i++)
			driver_turn(d, 20);
		assert_int_equal(out.attempts, crash);
		driver_kill(d, SIGKILL);
		d->tunnel = TUNNEL_UP;
		out.freeze = crash < 3;
		assert_true(driver_start(d));
	}
	await(d, &out.attempts, 4);
	/* One for each crash, no more, and what follows says that it may be a repeat. */
	assert_int_equal(out.times[1], 1 + 3);
	assert_int_equal(out.repeats, out.attempts - 1);
	assert_true(becomes(d, false, true) && becomes(d, true, true));
	driver_free(d);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    mail_case_061_a_wall_clock_that_jumps_expires_nothing_and_tries_nothing),
		cmocka_unit_test(
		    mail_case_065_a_crash_between_the_peer_s_250_and_our_commit_makes_one_duplicate),
		cmocka_unit_test(
		    mail_case_067_three_days_without_a_tunnel_cost_no_attempt_and_all_go_when_it_is_up),
		cmocka_unit_test(mail_case_068_a_tunnel_that_flaps_makes_no_storm_and_no_duplicate),
		cmocka_unit_test(
		    mail_case_069_what_expires_while_the_tunnel_is_down_is_kept_and_no_outsider_hears_of_it),
		cmocka_unit_test(
		    mail_case_070_deferred_for_ever_follows_the_schedule_and_ends_in_one_dsn),
		cmocka_unit_test(mail_case_071_the_dsn_names_the_one_of_three_that_was_refused),
		cmocka_unit_test(mail_case_074_a_bounce_that_cannot_be_delivered_makes_no_bounce),
		cmocka_unit_test(
		    mail_case_082_a_recipient_gone_after_accept_is_told_or_kept_by_policy),
		cmocka_unit_test(the_admin_is_told_of_dead_letters_once_an_hour_and_at_the_end),
	};
	int rc;

	share_clocks();
	driver_child(argc, argv);
	log_setup("test_queue_time", LOG_LVL_ERR, 2);
	signal(SIGPIPE, SIG_IGN);
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(getenv(CLOCK_FILE));
	return rc;
}
