/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A letter traced over several hops, as the queue process has it: who may know what, and whom it asks. */
#include "hop/story.h"
#include "queue_bench.h"

#define EXTRA                                                                                      \
	"[listener lan]\nclass = lan\n"                                                            \
	"[route ws]\nkind = smarthost\naddress = 192.0.2.9\nport = 25\ntls = none\n"               \
	"domains = ws.example\ntrace = yes\n"                                                      \
	"[route far]\nkind = smarthost\naddress = 192.0.2.8\nport = 25\ntls = none\n"              \
	"domains = far.example\n"                                                                  \
	"[home second]\ndomains = second.example\ncheck-recipients = no\n"                         \
	"[route secondtoo]\nkind = tunnel\npeer = second\ndomains = too.example\n"

static const uint8_t theirs[LETTER_ID_LEN] = { 0xee, 1 };

/* What smtpd was told, and what relay was asked last. */
static struct {
	int traced, asked;
	uint16_t code;
	char story[STORY_MAX + 1];
	uint32_t id;
	char route[64], hop[64], args[XTRACE_ARGS_MAX];
} seen;

static void on_traced(struct driver *d, uint32_t id, const struct msg_traced *m)
{
	(void)d;
	(void)id;
	seen.code = m->code;
	memcpy(seen.story, m->story, m->len);
	seen.story[m->len] = 0;
	seen.traced++;
}

static void on_trace(struct driver *d, uint32_t id, const struct msg_r_trace *m)
{
	(void)d;
	seen.id = id;
	snprintf(seen.route, sizeof(seen.route), "%s", m->route);
	snprintf(seen.hop, sizeof(seen.hop), "%s", m->next_hop);
	snprintf(seen.args, sizeof(seen.args), "%s", m->args);
	seen.asked++;
}

static struct driver *begin(struct bench *b)
{
	struct driver *d = start(b, EXTRA);

	memset(&seen, 0, sizeof(seen));
	d->traced = on_traced;
	d->trace = on_trace;
	return d;
}

/* As @peer brings it, or a stranger (NULL). Returns when all its attempts are on disk. */
static void store(struct driver *d, struct bench *b, uint32_t txn, const char *peer, const char *rcpt,
		  const char *also)
{
	int before = b->committed;

	d->flags = peer ? ENV_TUNNEL | ENV_PEER_ID : 0;
	d->peer = peer;
	d->peer_id = peer ? theirs : NULL;
	d->also = also;
	driver_store(d, txn, rcpt, "x\r\n", 3, b->id[txn]);
	wait_code(d, b, txn);
	assert_int_equal(b->code[txn], 250);
	wait_for(d, &b->committed, before + 1);
}

static void ask(struct driver *d, const char *peer, const char *client, const uint8_t *id, unsigned hops)
{
	struct xtrace x = { .hops = hops, .ms = 5000 };
	char args[XTRACE_ARGS_MAX];
	struct msg_q_trace m = { peer, client, xtrace_build(&x, args) };
	uint8_t buf[512];
	struct wr w = wr_init(buf, sizeof(buf));

	memcpy(x.id, id, LETTER_ID_LEN);
	xtrace_build(&x, args);
	msg_q_trace_put(&w, &m);
	assert_false(w.bad);
	ipc_send(d->smtpd, MSG_Q_TRACE, 7, buf, w.len);
}

static const char *told(struct driver *d, const char *peer, const char *client, const uint8_t *id)
{
	int before = seen.traced;

	ask(d, peer, client, id, 0);
	wait_for(d, &seen.traced, before + 1);
	return seen.story;
}

static void answer(struct driver *d, uint16_t code, const char *text, const char *story)
{
	struct msg_traced m = { code, text, (const uint8_t *)story, strlen(story) };
	uint8_t buf[4096];
	struct wr w = wr_init(buf, sizeof(buf));

	msg_traced_put(&w, &m);
	assert_false(w.bad);
	ipc_send(d->relay, MSG_R_TRACED, seen.id, buf, w.len);
}

static void who_brought_a_letter_is_told_of_it_and_nobody_else(void **state)
{
	struct bench b;
	struct driver *d = begin(&b);
	const char *s;

	(void)state;
	store(d, &b, 1, "home", "x@far.example", NULL);
	s = told(d, "home", "", b.id[1]); /* by our id, and by his */
	assert_int_equal(seen.code, 250);
	assert_non_null(strstr(s, "\"accepted\""));
	assert_non_null(strstr(s, "\"address\":\"x@far.example\""));
	assert_non_null(strstr(s, "said the test of it"));
	assert_non_null(strstr(told(d, "home", "", theirs), "x@far.example"));
	assert_string_equal(told(d, "second", "", b.id[1]), "");
	assert_int_equal(seen.code, 550);
	assert_string_equal(told(d, "second", "", theirs), "");
	assert_string_equal(told(d, "", "192.0.2.9", b.id[1]), "");
	assert_string_equal(told(d, "hom", "", b.id[1]), "");
	assert_string_equal(told(d, "home", "", (const uint8_t[LETTER_ID_LEN]){ 1 }), "");
	/* One that takes another's id for his own letter learns of his own letter. */
	d->id = NULL;
	store(d, &b, 2, NULL, "y@far.example", NULL);
	d->flags = ENV_TUNNEL | ENV_PEER_ID;
	d->peer = "second";
	d->peer_id = b.id[2];
	driver_store(d, 3, "z@far.example", "x\r\n", 3, b.id[3]);
	wait_code(d, &b, 3);
	wait_for(d, &b.committed, 3);
	s = told(d, "second", "", b.id[2]);
	assert_non_null(strstr(s, "z@far.example"));
	assert_null(strstr(s, "y@far.example"));
	driver_free(d);
}

static void whom_it_went_to_is_told_of_his_recipients(void **state)
{
	struct bench b;
	struct driver *d = begin(&b);
	const char *s;

	(void)state;
	store(d, &b, 1, NULL, "a@home.example", "bcc@second.example");
	wait_for(d, &b.committed, 2);
	s = told(d, "home", "", b.id[1]);
	assert_int_equal(seen.code, 250);
	assert_non_null(strstr(s, "a@home.example"));
	assert_null(strstr(s, "bcc@"));
	assert_null(strstr(s, "second"));
	s = told(d, "second", "", b.id[1]);
	assert_non_null(strstr(s, "bcc@second.example"));
	assert_null(strstr(s, "a@home"));
	store(d, &b, 2, NULL, "a@ws.example", NULL);
	assert_non_null(strstr(told(d, "", "192.0.2.9", b.id[2]), "a@ws.example"));
	assert_string_equal(told(d, "", "192.0.2.8", b.id[2]), "");
	store(d, &b, 3, NULL, "a@far.example", NULL); /* no hop of ours */
	assert_string_equal(told(d, "", "192.0.2.8", b.id[3]), "");
	driver_free(d);
}

static void one_tenant_learns_nothing_of_another(void **state)
{
	struct bench b;
	struct driver *d = begin(&b);
	const char *s;

	(void)state;
	store(d, &b, 1, "home", "a@second.example", "b@far.example");
	wait_for(d, &b.committed, 2);
	s = told(d, "home", "", b.id[1]);
	assert_non_null(strstr(s, "\"text\":\"to another home\""));
	assert_null(strstr(s, "route=second"));
	assert_non_null(strstr(s, "route=far"));
	s = told(d, "second", "", b.id[1]);
	assert_non_null(strstr(s, "\"text\":\"from another home\""));
	assert_null(strstr(s, "peer=home"));
	assert_null(strstr(s, "peer_id"));
	assert_null(strstr(s, "b@far.example"));
	/* Neither is asked for the other. */
	ask(d, "home", "", b.id[1], 2);
	ask(d, "second", "", b.id[1], 2);
	wait_for(d, &seen.traced, 4);
	assert_int_equal(seen.asked, 0);
	driver_free(d);
}

/* Whoever has a route's name, or a home's, by now has no part in what happened before. */
static void who_has_the_name_of_one_that_is_gone_is_told_nothing(void **state)
{
	struct bench b;
	struct driver *d = begin(&b);
	const char *s;

	(void)state;
	store(d, &b, 1, NULL, "a@too.example", NULL);
	store(d, &b, 2, "home", "a@too.example", NULL);
	assert_non_null(strstr(told(d, "second", "", b.id[1]), "a@too.example"));
	d->extra = "[route secondtoo]\nkind = tunnel\npeer = third\ndomains = too.example\n"
		   "[home third]\ndomains = third.example\n";
	driver_reload(d);
	turns(d, 100);
	assert_string_equal(told(d, "third", "", b.id[1]), "");
	assert_int_equal(seen.code, 550);
	s = told(d, "home", "", b.id[2]);
	assert_non_null(strstr(s, "\"text\":\"by a route that is no more\""));
	assert_null(strstr(s, "hop=second"));
	driver_free(d);
}

static void a_question_goes_on_and_its_answer_is_read(void **state)
{
	static const char more[] =
	    "[{\"host\":\"ws.example\",\"letter\":\"0102030405060708090a0b0c0d0e0f10\"},"
	    "{\"event\":\"delivered\",\"at_ms\":5,\"text\":\"be\\u001bhind\",\"address\":\"x@y\"}]\n";
	struct bench b;
	struct driver *d = begin(&b);

	(void)state;
	store(d, &b, 1, "home", "a@too.example", NULL);
	ask(d, "other", "", b.id[1], 2); /* may not know, so nobody is asked */
	wait_for(d, &seen.traced, 1);
	assert_int_equal(seen.asked, 0);
	store(d, &b, 2, NULL, "a@home.example", NULL);
	d->reply_done = false;
	free(d->reply);
	d->reply = NULL;
	{
		char verb[128], hex[LETTER_ID_STR_MAX];

		snprintf(verb, sizeof(verb), "{\"verb\":\"trace\",\"args\":{\"id\":\"%s\"}}",
			 letter_id_str(b.id[2], hex));
		ipc_send(d->parent, MTA_CONTROL, 99, verb, strlen(verb));
		wait_for(d, &seen.asked, 1);
		assert_string_equal(seen.route, "home");
		assert_string_equal(seen.hop, "home");
		assert_true(!strncmp(seen.args, hex, 32));
		assert_non_null(strstr(seen.args, " HOPS=2 MS=7000"));
	}
	assert_null(d->reply);
	answer(d, 250, "", more);
	for (int i = 0; i < 500 && !d->reply_done; i++)
		driver_turn(d, 20);
	assert_non_null(strstr(d->reply, "be?hind"));
	assert_non_null(strstr(d->reply, "\"host\":\"ws.example\""));
	assert_non_null(strstr(d->reply, "\"host\":\"mx.example.net\""));
	assert_non_null(strstr(d->reply, "\"silent\":[]"));
	driver_free(d);
}

/* What a hop before us tells is for who asks as far as it is about his recipients. */
static void what_comes_from_before_is_told_of_his_recipients_alone(void **state)
{
	static const char more[] =
	    "[{\"host\":\"before.example\",\"letter\":\"0102030405060708090a0b0c0d0e0f10\"},"
	    "{\"event\":\"accepted\",\"at_ms\":4,\"text\":\"there\"},"
	    "{\"event\":\"delivered\",\"at_ms\":5,\"text\":\"one\",\"address\":\"a@ws.example\"},"
	    "{\"event\":\"delivered\",\"at_ms\":5,\"text\":\"two\",\"address\":\"bcc@x.example\"}]\n";
	struct bench b;
	struct driver *d = begin(&b);
	char hex[LETTER_ID_STR_MAX];

	(void)state;
	store(d, &b, 1, "home", "a@ws.example", NULL);
	ask(d, "", "192.0.2.9", b.id[1], 2);
	wait_for(d, &seen.asked, 1);
	assert_string_equal(seen.route, "home");
	assert_true(!strncmp(seen.args, letter_id_str(theirs, hex), 32));
	assert_non_null(strstr(seen.args, " HOPS=1 MS=2500"));
	assert_int_equal(seen.traced, 0);
	answer(d, 250, "", more);
	wait_for(d, &seen.traced, 1);
	assert_int_equal(seen.code, 250);
	assert_non_null(strstr(seen.story, "there"));
	assert_non_null(strstr(seen.story, "\"one\""));
	assert_null(strstr(seen.story, "bcc@"));
	driver_free(d);
}

static const char *verb_end(struct driver *d)
{
	for (int i = 0; i < 500 && !d->reply_done; i++)
		driver_turn(d, 20);
	assert_true(d->reply_done);
	return d->reply;
}

static void verb_begin(struct driver *d, const uint8_t *id, const char *more)
{
	char verb[160], hex[LETTER_ID_STR_MAX];

	d->reply_done = false;
	free(d->reply);
	d->reply = NULL;
	snprintf(verb, sizeof(verb), "{\"verb\":\"trace\",\"args\":{\"id\":\"%s\"%s}}",
		 letter_id_str(id, hex), more);
	ipc_send(d->parent, MTA_CONTROL, 99, verb, strlen(verb));
}

static void a_hop_that_does_not_answer_is_named(void **state)
{
	struct bench b;
	struct driver *d = begin(&b);

	(void)state;
	store(d, &b, 1, NULL, "a@home.example", NULL);
	verb_begin(d, b.id[1], "");
	wait_for(d, &seen.asked, 1);
	answer(d, 0, "connect to 10.0.0.2: no route", "");
	assert_non_null(strstr(verb_end(d), "\"why\":\"connect to 10.0.0.2: no route\""));
	assert_non_null(strstr(d->reply, "said the test of it"));
	verb_begin(d, b.id[1], "");
	wait_for(d, &seen.asked, 2);
	answer(d, 250, "", "[{\"host\":\n");
	assert_non_null(strstr(verb_end(d), "\"why\":\"its answer cannot be read\""));
	verb_begin(d, b.id[1], ",\"local\":true");
	assert_non_null(strstr(verb_end(d), "\"silent\":[]"));
	driver_set_tunnel(d, TUNNEL_DOWN);
	turns(d, 100);
	verb_begin(d, b.id[1], "");
	assert_non_null(strstr(verb_end(d), "\"why\":\"the tunnel is down\""));
	assert_int_equal(seen.asked, 2);
	driver_set_tunnel(d, TUNNEL_UP);
	turns(d, 100);
	verb_begin(d, b.id[1], ""); /* and one that says nothing at all, when time is over */
	wait_for(d, &seen.asked, 3);
	assert_false(d->reply_done);
	for (int i = 0; i < 1500 && !d->reply_done; i++)
		driver_turn(d, 20);
	assert_non_null(strstr(d->reply, "\"why\":\"no answer in time\""));
	answer(d, 250, "", "[]\n"); /* too late: nobody minds */
	verb_begin(d, b.id[1], ",\"local\":true");
	verb_end(d);
	driver_free(d);
}

/* Questions that were told no, or that nothing is known, and not to come again. */
static int answered;

static void on_refused(struct driver *d, uint32_t id, const struct msg_traced *m)
{
	answered += m->code != 450;
	on_traced(d, id, m);
}

static void who_asks_without_end_is_sent_away(void **state)
{
	struct bench b;
	struct driver *d = begin(&b);

	(void)state;
	answered = 0;
	d->traced = on_refused;
	for (int i = 0; i < 100; i++)
		ask(d, "home", "", theirs, 0);
	wait_for(d, &seen.traced, 100);
	assert_in_range(answered, ASK_BURST, 50);
	assert_int_equal(seen.code, 450);
	told(d, "second", "", theirs);
	assert_int_equal(seen.code, 550);
	turns(d, ASK_GAP_MS + 500);
	told(d, "home", "", theirs);
	assert_int_equal(seen.code, 550);
	driver_free(d);
}

/* Each of many asks a little. */
static void all_together_ask_no_more_than_the_queue_has_time_for(void **state)
{
	struct bench b;
	struct driver *d = begin(&b);

	(void)state;
	answered = 0;
	d->traced = on_refused;
	for (int i = 0; i < 200; i++) {
		char from[32];

		snprintf(from, sizeof(from), "192.0.2.%d", i + 1);
		ask(d, "", from, theirs, 0);
	}
	wait_for(d, &seen.traced, 200);
	assert_in_range(answered, ASK_ALL_BURST, 150);
	assert_int_equal(seen.code, 450);
	turns(d, ASK_ALL_GAP_MS + 500);
	told(d, "home", "", theirs);
	assert_int_equal(seen.code, 550);
	driver_free(d);
}

static void what_hops_ask_leaves_the_admin_his_part(void **state)
{
	struct bench b;
	struct driver *d = begin(&b);

	(void)state;
	store(d, &b, 1, NULL, "a@home.example", NULL);
	for (int i = 1; i < ASK_MAX - ASK_ADMIN; i++)
		verb_begin(d, b.id[1], "");
	wait_for(d, &seen.asked, ASK_MAX - ASK_ADMIN - 1);
	told(d, "second", "", theirs);
	assert_int_equal(seen.code, 550);
	verb_begin(d, b.id[1], "");
	wait_for(d, &seen.asked, ASK_MAX - ASK_ADMIN);
	told(d, "second", "", theirs);
	assert_int_equal(seen.code, 450);
	for (int i = 0; i < ASK_ADMIN; i++)
		verb_begin(d, b.id[1], "");
	wait_for(d, &seen.asked, ASK_MAX);
	assert_null(d->reply);
	verb_begin(d, b.id[1], "");
	assert_non_null(strstr(verb_end(d), "too many traces"));
	driver_free(d);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_brought_a_letter_is_told_of_it_and_nobody_else),
		cmocka_unit_test(whom_it_went_to_is_told_of_his_recipients),
		cmocka_unit_test(one_tenant_learns_nothing_of_another),
		cmocka_unit_test(who_has_the_name_of_one_that_is_gone_is_told_nothing),
		cmocka_unit_test(a_question_goes_on_and_its_answer_is_read),
		cmocka_unit_test(what_comes_from_before_is_told_of_his_recipients_alone),
		cmocka_unit_test(a_hop_that_does_not_answer_is_named),
		cmocka_unit_test(who_asks_without_end_is_sent_away),
		cmocka_unit_test(all_together_ask_no_more_than_the_queue_has_time_for),
		cmocka_unit_test(what_hops_ask_leaves_the_admin_his_part),
	};

	driver_child(argc, argv);
	log_setup("test_trace", LOG_LVL_ERR, 2);
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
