/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What waits in the queue process: who is told of it, and what the admin does with it. */
#include "parts.h"
#include "queue_bench.h"

/* Held and dead ones stay where they are when the process dies; of others only what is open is sent. */
static void what_rests_is_not_sent_after_a_restart(void **state)
{
	struct bench b;
	struct driver *d = start(&b, NULL);
	char verb[128], hex[LETTER_ID_STR_MAX];

	(void)state;
	b.answer = RCPT_RES_PERMFAIL;
	b.scope = SCOPE_RECIPIENT;
	b.reply = 550;
	driver_store(d, 1, "dead@home.example", "x\r\n", 3, b.id[1]);
	wait_for(d, &b.committed, 1);
	driver_set_tunnel(d, TUNNEL_DOWN);
	driver_verb(d, "{\"verb\":\"routes\",\"args\":{}}");
	driver_store(d, 2, "held@home.example", "x\r\n", 3, b.id[2]);
	wait_code(d, &b, 2);
	snprintf(verb, sizeof(verb), "{\"verb\":\"hold\",\"args\":{\"id\":\"%s\"}}",
		 letter_id_str(b.id[2], hex));
	assert_non_null(strstr(driver_verb(d, verb), "\"count\":1"));
	turns(d, 100);
	driver_kill(d, SIGKILL);
	b.attempts = 0;
	b.answer = RCPT_RES_DELIVERED;
	d->tunnel = TUNNEL_UP;
	assert_true(driver_start(d));
	turns(d, 500);
	assert_int_equal(b.attempts, 0);
	assert_non_null(
	    strstr(driver_verb(d, "{\"verb\":\"queue\",\"args\":{}}"), "\"state\":\"held\""));
	snprintf(verb, sizeof(verb), "{\"verb\":\"release\",\"args\":{\"id\":\"%s\"}}", hex);
	driver_verb(d, verb);
	wait_for(d, &b.attempts, 1);
	driver_free(d);
}

static void hold_in_file(const struct driver *d, const char *line)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/queue/holds", d->dir);
	f = fopen(path, "a");
	assert_non_null(f);
	assert_true(fputs(line, f) >= 0);
	fclose(f);
}

/* Routes and next hops stay held too, whatever dies; what is released is so for good. */
static void what_the_admin_holds_is_held_after_a_restart(void **state)
{
	struct bench b;
	struct driver *d = start(&b, NULL);

	(void)state;
	assert_non_null(strstr(driver_verb(d, "{\"verb\":\"hold\",\"args\":{\"route\":\"home\"}}"),
			       "\"count\":"));
	assert_non_null(strstr(
	    driver_verb(d, "{\"verb\":\"hold\",\"args\":{\"route\":\"internet/far.example\"}}"),
	    "\"count\":0"));
	assert_null(strstr(
	    driver_verb(d, "{\"verb\":\"hold\",\"args\":{\"route\":\"nowhere/far.example\"}}"),
	    "count"));
	assert_null(strstr(
	    driver_verb(d, "{\"verb\":\"hold\",\"args\":{\"route\":\"internet/a b\"}}"), "count"));
	assert_null(strstr(driver_verb(d, "{\"verb\":\"hold\",\"args\":{\"route\":\"internet/\"}}"),
			   "count"));
	driver_kill(d, SIGKILL);
	d->tunnel = TUNNEL_UP;
	assert_true(driver_start(d));
	assert_non_null(strstr(driver_verb(d, "{\"verb\":\"routes\",\"args\":{}}"),
			       "\"holds\":[\"home\",\"internet/far.example\"]"));
	driver_store(d, 1, "a@home.example", "x\r\n", 3, b.id[1]);
	driver_store(d, 2, "a@far.example", "x\r\n", 3, b.id[2]);
	wait_code(d, &b, 2);
	turns(d, 300);
	assert_int_equal(b.attempts, 0);
	driver_verb(d, "{\"verb\":\"release\",\"args\":{\"route\":\"internet/FAR.example\"}}");
	wait_for(d, &b.committed, 1);
	turns(d, 100);
	driver_kill(d, SIGKILL);
	hold_in_file(d, "gone\n");
	assert_true(driver_start(d));
	driver_store(d, 3, "b@far.example", "x\r\n", 3, b.id[3]);
	wait_for(d, &b.committed, 2);
	turns(d, 300);
	assert_int_equal(b.attempts, 2); /* home is held still */
	driver_verb(d, "{\"verb\":\"release\",\"args\":{\"route\":\"home\"}}");
	wait_for(d, &b.attempts, 3);
	/* The configuration has it no more; its hold can go all the same, once. */
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(!strstr(driver_verb(d, "{\"verb\":\"release\",\"args\":{\"route\":\"gone\"}}"),
					 "count"),
				 i);
	driver_free(d);
}

static void a_dead_letter_that_was_held_can_be_released(void **state)
{
	static const char *const verbs[] = { "hold", "release" };
	struct bench b;
	struct driver *d = start(&b, NULL);
	char verb[128], hex[LETTER_ID_STR_MAX];

	(void)state;
	b.answer = RCPT_RES_PERMFAIL;
	b.scope = SCOPE_RECIPIENT;
	b.reply = 550;
	driver_store(d, 1, "dead@home.example", "x\r\n", 3, b.id[1]);
	wait_for(d, &b.committed, 1);
	b.answer = RCPT_RES_DELIVERED;
	b.reply = 250;
	for (size_t i = 0; i < 2; i++) {
		snprintf(verb, sizeof(verb), "{\"verb\":\"%s\",\"args\":{\"id\":\"%s\"}}", verbs[i],
			 letter_id_str(b.id[1], hex));
		assert_non_null(strstr(driver_verb(d, verb), "\"count\":1"));
	}
	wait_for(d, &b.committed, 2);
	assert_string_equal(driver_verb(d, "{\"verb\":\"queue\",\"args\":{}}"), "{\"letters\":[]}");
	driver_free(d);
}

/* Letters in the answer, and where it goes on; 0: nowhere. */
static size_t list(struct driver *d, json_int_t from, json_int_t *next)
{
	char verb[128];
	json_t *o;
	size_t n;

	snprintf(verb, sizeof(verb),
		 "{\"verb\":\"queue\",\"args\":{\"limit\":100000,\"from\":%lld}}", (long long)from);
	driver_verb(d, verb);
	/* Parts follow each other; of each the letters. */
	n = 0;
	*next = 0;
	for (const char *p = d->reply; p && *p;) {
		size_t used;
		json_error_t e;

		o = json_loads(p, JSON_DISABLE_EOF_CHECK, &e);
		assert_non_null(o);
		used = (size_t)e.position;
		n += json_array_size(json_object_get(o, "letters"));
		*next = json_integer_value(json_object_get(o, "next"));
		json_decref(o);
		p += used;
	}
	return n;
}

/* More than one answer may hold: each says where the next one begins. */
static void a_long_queue_is_listed_in_several_answers(void **state)
{
	enum { LETTERS = 1500 };
	struct bench b;
	struct driver *d = start(&b, NULL);
	uint8_t id[LETTER_ID_LEN];
	json_int_t next = 0;
	size_t n = 0;
	int answers = 0;

	(void)state;
	driver_set_tunnel(d, TUNNEL_DOWN);
	driver_verb(d, "{\"verb\":\"routes\",\"args\":{}}");
	d->many = 10;
	for (uint32_t i = 0; i < LETTERS; i++) {
		driver_store(d, FLOW + 1 + i, "-a-recipient-with-a-long-name@home.example", "x\r\n", 3, id);
		if (i % 50 == 0) {
			driver_store(d, 1, "-@home.example", "x\r\n", 3, b.id[1]);
			b.code[1] = 0;
			wait_code(d, &b, 1);
		}
	}
	driver_store(d, 2, "-@home.example", "x\r\n", 3, b.id[2]);
	wait_code(d, &b, 2);
	do {
		n += list(d, next, &next);
		answers++;
	} while (next && answers < 20);
	assert_int_equal(n, LETTERS + LETTERS / 50 + 1);
	assert_int_equal(answers, 2);
	driver_free(d);
}

/* The answer as the parent has it, of how many parts. */
static json_t *whole(struct driver *d, const char *verb, size_t *parts)
{
	json_t *all = json_object(), *o;

	*parts = 0;
	for (const char *p = driver_verb(d, verb); *p; ++*parts) {
		json_error_t e;

		o = json_loads(p, JSON_DISABLE_EOF_CHECK, &e);
		assert_non_null(o);
		parts_join(all, o);
		json_decref(o);
		p += e.position;
	}
	return all;
}

static void a_letter_to_very_many_is_shown_whole(void **state)
{
	static const char *const verbs[] = { "show", "trace" };
	struct bench b;
	struct driver *d = start(&b, NULL);
	char verb[128], hex[LETTER_ID_STR_MAX];

	(void)state;
	driver_set_tunnel(d, TUNNEL_DOWN);
	driver_verb(d, "{\"verb\":\"routes\",\"args\":{}}");
	d->many = ENVELOPE_RCPTS_MAX;
	driver_store(d, 1, "-recipient@home.example", "x\r\n", 3, b.id[1]);
	wait_code(d, &b, 1);
	for (size_t i = 0; i < 2; i++) {
		json_t *o, *l, *rcpts;
		size_t parts;

		snprintf(verb, sizeof(verb), "{\"verb\":\"%s\",\"args\":{\"id\":\"%s\"}}", verbs[i],
			 letter_id_str(b.id[1], hex));
		o = whole(d, verb, &parts);
		l = json_object_get(o, "letter");
		rcpts = json_object_get(l, "recipients");
		assert_true(parts > 1);
		assert_int_equal(json_array_size(rcpts), ENVELOPE_RCPTS_MAX);
		for (size_t k = 0; k < ENVELOPE_RCPTS_MAX; k++) {
			const json_t *a = json_object_get(json_array_get(rcpts, k), "address");
			char addr[64];

			snprintf(addr, sizeof(addr), "%zu-recipient@home.example", k);
			assert_string_equal(json_string_value(a), addr);
		}
		assert_string_equal(json_string_value(json_object_get(l, "id")), hex);
		assert_string_equal(json_string_value(json_object_get(l, "sender")),
				    "x@out.example");
		assert_int_equal(json_array_size(json_object_get(o, "events")), i);
		json_decref(o);
	}
	driver_free(d);
}

/* What the queue itself sent, with its text, and how often. */
static struct {
	int count;
	char body[4096];
} notice;

static void on_notice(struct driver *d, uint32_t id, const struct msg_r_attempt *m, int fd)
{
	struct bench *b = d->arg;

	on_attempt(d, id, m, fd);
	if (*b->sender)
		return;
	notice.count++;
	memcpy(notice.body, b->body, sizeof(notice.body));
}

static void a_delay_is_told_once(void **state)
{
	static const char early[] = "[route home]\ndelay-warning = 1s\nttl = 1d\n";
	struct bench b;
	struct driver *d = start(&b, early);
	const char *seen;

	(void)state;
	notice.count = 0;
	d->attempt = on_notice;
	d->flags = ENV_AUTHENTICATED;
	driver_set_tunnel(d, TUNNEL_DOWN);
	driver_verb(d, "{\"verb\":\"routes\",\"args\":{}}");
	driver_store(d, 1, "a@home.example", "Subject: x\r\n\r\nsecret\r\n", 22, b.id[1]);
	d->flags = 0; /* an outsider's: nobody is told */
	driver_store(d, 2, "b@home.example", "x\r\n", 3, b.id[2]);
	wait_code(d, &b, 2);
	turns(d, 3000);
	driver_reload(d); /* has it look at once, not within a minute */
	wait_for(d, &notice.count, 1);
	seen = strstr(notice.body, "Action: delayed\r\n");
	assert_non_null(seen);
	assert_non_null(strstr(notice.body, "Final-Recipient: rfc822; a@home.example\r\n"));
	assert_non_null(strstr(seen, "Will-Retry-Until: "));
	assert_null(strstr(notice.body, "b@home.example"));
	assert_null(strstr(notice.body, "secret"));
	/* Not again: at the next look, or in the next life. */
	driver_reload(d);
	turns(d, 2500);
	driver_kill(d, SIGKILL);
	assert_true(driver_start(d));
	driver_set_tunnel(d, TUNNEL_DOWN);
	driver_reload(d);
	turns(d, 2500);
	assert_int_equal(notice.count, 1);
	/* Both letters wait as before. */
	driver_set_tunnel(d, TUNNEL_UP);
	b.committed = 0;
	wait_for(d, &b.committed, 2);
	assert_string_equal(driver_verb(d, "{\"verb\":\"queue\",\"args\":{}}"), "{\"letters\":[]}");
	driver_free(d);
}

/* An outage that was announced: nobody is told of it by each of his letters, whatever is restarted meanwhile. */
static void what_is_held_quietly_tells_nobody_of_the_delay(void **state)
{
	static const char early[] = "[route home]\ndelay-warning = 1s\nttl = 1d\n";
	struct bench b;
	struct driver *d = start(&b, early);
	char path[256], file[64] = "";
	FILE *f;

	(void)state;
	notice.count = 0;
	d->attempt = on_notice;
	d->flags = ENV_AUTHENTICATED;
	driver_verb(d, "{\"verb\":\"hold\",\"args\":{\"route\":\"home\",\"quiet\":true}}");
	assert_non_null(strstr(driver_verb(d, "{\"verb\":\"routes\",\"args\":{}}"),
			       "\"holds\":[\"home\"],\"quiet_holds\":[\"home\"]"));
	driver_store(d, 1, "a@home.example", "Subject: x\r\n\r\ny\r\n", 17, b.id[1]);
	wait_code(d, &b, 1);
	snprintf(path, sizeof(path), "%s/queue/holds", d->dir);
	f = fopen(path, "r");
	assert_non_null(f);
	assert_true(fread(file, 1, sizeof(file) - 1, f) > 0);
	fclose(f);
	assert_string_equal(file, "home\nhome quiet\n"); /* the first line is all that an older version knows */
	turns(d, 2500);
	driver_reload(d); /* has it look at once */
	turns(d, 500);
	driver_kill(d, SIGKILL);
	assert_true(driver_start(d));
	driver_reload(d);
	turns(d, 2500);
	assert_int_equal(notice.count, 0);
	assert_int_equal(b.attempts, 0);
	/* Held as usual it is late, and that is told. */
	driver_verb(d, "{\"verb\":\"hold\",\"args\":{\"route\":\"home\"}}");
	assert_non_null(strstr(driver_verb(d, "{\"verb\":\"routes\",\"args\":{}}"),
			       "\"holds\":[\"home\"],\"quiet_holds\":[]"));
	driver_reload(d);
	wait_for(d, &notice.count, 1);
	driver_free(d);
}

static const char *move_verb(struct driver *d, const char *key, const char *what, const char *to)
{
	char verb[256];

	snprintf(verb, sizeof(verb), "{\"verb\":\"move\",\"args\":{\"%s\":\"%s\",\"to\":\"%s\"}}",
		 key, what, to);
	return driver_verb(d, verb);
}

static void on_route_of(struct driver *d, uint32_t id, const struct msg_r_attempt *m, int fd)
{
	keep_attempt(d, id, m, fd);
	on_attempt(d, id, m, fd);
}

/* Of eight attempts at most, how many went by @route? */
static size_t gone_by(const char *route)
{
	size_t n = 0;

	for (size_t i = 0; i < kept.count; i++)
		n += !strcmp(kept.route[i], route);
	return n;
}

static void what_waits_is_moved_to_another_route(void **state)
{
	static const char other[] = "[route other]\nkind = smarthost\naddress = 192.0.2.9\n"
				    "[route third]\nkind = smarthost\naddress = 192.0.2.8\n";
	struct bench b;
	struct driver *d = start(&b, other);
	char hex[LETTER_ID_STR_MAX];

	(void)state;
	kept.count = 0;
	d->attempt = on_route_of;
	driver_set_tunnel(d, TUNNEL_DOWN);
	driver_verb(d, "{\"verb\":\"routes\",\"args\":{}}");
	for (uint32_t i = 1; i <= 3; i++)
		driver_store(d, i, "a@home.example", "x\r\n", 3, b.id[i]);
	wait_code(d, &b, 3);
	assert_non_null(strstr(move_verb(d, "route", "home", "none"), "no such route"));
	assert_non_null(strstr(move_verb(d, "route", "none", "other"), "no such route"));
	assert_non_null(strstr(move_verb(d, "route", "home", "home"), "the same route"));
	assert_non_null(strstr(move_verb(d, "route", "third", "home"), "\"count\":0"));
	turns(d, 100);
	/* One by its id, then the rest. */
	assert_non_null(
	    strstr(move_verb(d, "id", letter_id_str(b.id[1], hex), "third"), "\"count\":1"));
	wait_for(d, &b.committed, 1);
	assert_int_equal(gone_by("third"), 1);
	assert_non_null(strstr(move_verb(d, "route", "home", "internet"), "\"count\":2"));
	wait_for(d, &b.committed, 3);
	assert_int_equal(gone_by("internet"), 2);
	/* What comes later goes by the configuration. */
	driver_store(d, 4, "a@home.example", "x\r\n", 3, b.id[4]);
	wait_code(d, &b, 4);
	turns(d, 200);
	assert_int_equal(b.committed, 3);
	driver_set_tunnel(d, TUNNEL_UP);
	wait_for(d, &b.committed, 4);
	assert_int_equal(gone_by("home"), 1);
	assert_string_equal(driver_verb(d, "{\"verb\":\"queue\",\"args\":{}}"), "{\"letters\":[]}");
	driver_free(d);
}

/* A move outlives the process, and ends with the route that it was to. */
static void a_move_is_kept_until_its_route_is_gone(void **state)
{
	static const char held[] = "[route other]\nkind = tunnel\npeer = nobody\n";
	struct bench b;
	struct driver *d = start(&b, held);
	const char *list;

	(void)state;
	kept.count = 0;
	d->attempt = on_route_of;
	driver_set_tunnel(d, TUNNEL_DOWN);
	driver_verb(d, "{\"verb\":\"routes\",\"args\":{}}");
	driver_store(d, 1, "a@home.example", "x\r\n", 3, b.id[1]);
	driver_store(d, 2, "b@home.example", "x\r\n", 3, b.id[2]);
	wait_code(d, &b, 2);
	assert_non_null(strstr(move_verb(d, "route", "home", "other"), "\"count\":2"));
	turns(d, 100);
	driver_kill(d, SIGKILL);
	d->tunnel = TUNNEL_UP; /* of home; other's peer is unknown, so down */
	assert_true(driver_start(d));
	turns(d, 500);
	assert_int_equal(b.attempts, 0);
	list = driver_verb(d, "{\"verb\":\"queue\",\"args\":{}}");
	assert_non_null(strstr(list, "\"route\":\"other\""));
	assert_null(strstr(list, "\"route\":\"home\""));
	d->extra = NULL;
	driver_reload(d);
	wait_for(d, &b.committed, 2);
	assert_int_equal(gone_by("home"), 2);
	driver_free(d);
}

static void stats_count_what_waits_by_route_and_age(void **state)
{
	struct bench b;
	struct driver *d = start(&b, NULL);
	char verb[128], hex[LETTER_ID_STR_MAX];
	const char *seen;

	(void)state;
	driver_set_tunnel(d, TUNNEL_DOWN);
	driver_verb(d, "{\"verb\":\"routes\",\"args\":{}}");
	d->also = "b@home.example";
	for (uint32_t i = 1; i <= 3; i++)
		driver_store(d, i, "a@home.example", "x\r\n", 3, b.id[i]);
	wait_code(d, &b, 3);
	snprintf(verb, sizeof(verb), "{\"verb\":\"hold\",\"args\":{\"id\":\"%s\"}}",
		 letter_id_str(b.id[2], hex));
	driver_verb(d, verb);
	seen = driver_verb(d, "{\"verb\":\"stats\",\"args\":{}}");
	assert_non_null(strstr(seen, "\"queued\":2,\"held\":1,\"dead\":0,\"bytes\":9"));
	assert_non_null(strstr(seen, "{\"route\":\"home\",\"recipients\":4,\"oldest_s\":"));
	assert_non_null(strstr(seen, "\"ages\":[4,0,0,0,0,0]"));
	assert_non_null(strstr(seen, "{\"route\":\"(held)\",\"recipients\":2,"));
	driver_free(d);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_rests_is_not_sent_after_a_restart),
		cmocka_unit_test(what_the_admin_holds_is_held_after_a_restart),
		cmocka_unit_test(a_dead_letter_that_was_held_can_be_released),
		cmocka_unit_test(a_long_queue_is_listed_in_several_answers),
		cmocka_unit_test(a_letter_to_very_many_is_shown_whole),
		cmocka_unit_test(a_delay_is_told_once),
		cmocka_unit_test(what_is_held_quietly_tells_nobody_of_the_delay),
		cmocka_unit_test(what_waits_is_moved_to_another_route),
		cmocka_unit_test(a_move_is_kept_until_its_route_is_gone),
		cmocka_unit_test(stats_count_what_waits_by_route_and_age),
	};

	driver_child(argc, argv);
	log_setup("test_queue_admin", LOG_LVL_ERR, 2);
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
