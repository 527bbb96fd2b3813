/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Probes of the way of mail, as the queue process has them: asked here, on their way, at their end. */
#include "hop/probe.h"
#include "queue_bench.h"

static const uint8_t token[LETTER_ID_LEN] = { 0xab, 1, 2, 3 };

/* The last attempt, and how many reports went. */
static struct {
	char rcpt[128], route[64];
	uint32_t flags;
	uint8_t probe[LETTER_ID_LEN];
	int count, reports;
} seen;

static void look(struct driver *d, uint32_t id, const struct msg_r_attempt *m, int fd)
{
	struct bench *b = d->arg;
	struct rd rcpts = m->rcpts;
	struct msg_r_rcpt r;
	struct envelope e;

	assert_int_equal(msg_r_rcpt_get(&rcpts, &r), 0);
	assert_int_equal(envelope_parse(&e, m->env, m->env_len), 0);
	snprintf(seen.rcpt, sizeof(seen.rcpt), "%s", r.addr);
	snprintf(seen.route, sizeof(seen.route), "%s", m->route);
	seen.flags = e.flags;
	memcpy(seen.probe, e.probe, LETTER_ID_LEN);
	if (!*e.sender) { /* what is reported of the first is not what becomes of the report */
		b->answer = RCPT_RES_DELIVERED;
		b->reply = 250;
		seen.reports++;
	}
	envelope_clear(&e);
	on_attempt(d, id, m, fd);
	seen.count++;
}

static struct driver *begin(struct bench *b, const char *extra)
{
	struct driver *d = start(b, extra);

	memset(&seen, 0, sizeof(seen));
	d->attempt = look;
	return d;
}

static uint16_t store(struct driver *d, struct bench *b, uint32_t txn, const char *rcpt)
{
	static const char text[] = "Received: from x\r\nSubject: y\r\n\r\nsecret\r\n";

	driver_store(d, txn, rcpt, text, sizeof(text) - 1, b->id[txn]);
	wait_code(d, b, txn);
	return b->code[txn];
}

/* As smtpd stores what a tunnel peer brings. */
static void from_home(struct driver *d, uint32_t flags, const char *sender)
{
	d->flags = ENV_TUNNEL | flags;
	d->peer = "home";
	d->sender = sender;
	d->probe = token;
}

static void a_probe_is_asked_and_its_report_taken_once(void **state)
{
	char id[LETTER_ID_STR_MAX] = "", verb[128], to[PROBE_ADDRESS_MAX];
	struct bench b;
	struct driver *d = begin(&b, NULL);
	const char *s;

	(void)state;
	s = driver_verb(d, "{\"verb\":\"path-test\",\"args\":{\"address\":\"a@home.example\"}}");
	assert_non_null(strstr(s, "\"sender\":\"postern-probe@mx.example.net\""));
	s = strstr(s, "\"id\":\"");
	assert_non_null(s);
	snprintf(id, sizeof(id), "%.32s", s + 6);
	wait_for(d, &b.committed, 1);
	assert_string_equal(seen.rcpt, "a@home.example");
	assert_string_equal(seen.route, "home");
	assert_true(seen.flags & ENV_PROBE);
	assert_false(seen.flags & ENV_PROBE_MAILBOX);
	snprintf(verb, sizeof(verb), "{\"verb\":\"path-test-report\",\"args\":{\"id\":\"%s\"}}",
		 id);
	s = driver_verb(d, verb);
	assert_non_null(strstr(s, "\"state\":\"gone-on\""));
	assert_non_null(strstr(s, "\"report_due\":true"));
	assert_non_null(strstr(s, "\"report\":null"));
	/* A report on another one, one from nowhere, one that is for two. */
	from_home(d, 0, "");
	assert_int_equal(store(d, &b, 1, probe_address(token, to)), 550);
	assert_int_equal(store(d, &b, 2, "x@" PROBE_DOMAIN), 550);
	probe_address(seen.probe, to);
	d->also = "b@home.example";
	assert_int_equal(store(d, &b, 3, to), 550);
	d->also = NULL;
	assert_non_null(strstr(driver_verb(d, verb), "\"report\":null"));
	assert_int_equal(store(d, &b, 4, to), 250);
	assert_non_null(strstr(driver_verb(d, verb), "secret\\n\""));
	assert_int_equal(store(d, &b, 5, to), 550);
	assert_string_equal(driver_verb(d, "{\"verb\":\"queue\",\"args\":{}}"), "{\"letters\":[]}");
	assert_int_equal(seen.count, 1);
	driver_free(d);
}

/* What a home's probe met outside goes back to that home, and to nobody else; one attempt is all it gets. */
static void the_last_hop_reports_what_a_host_outside_said(void **state)
{
	char to[PROBE_ADDRESS_MAX];
	struct bench b;
	struct driver *d = begin(&b, NULL);

	(void)state;
	from_home(d, ENV_PROBE, "a@home.example");
	b.answer = RCPT_RES_TEMPFAIL;
	b.scope = SCOPE_HOST;
	b.reply = 451;
	assert_int_equal(store(d, &b, 1, "x@far.example"), 250);
	wait_for(d, &seen.reports, 1);
	assert_string_equal(seen.rcpt, probe_address(token, to));
	assert_string_equal(seen.route, "home");
	assert_memory_equal(seen.probe, token, LETTER_ID_LEN);
	assert_non_null(strstr(b.body, "Action: failed\r\n"));
	assert_non_null(strstr(
	    b.body, "Diagnostic-Code: smtp; 451 said the test of it [host=mx.test tls=none]\r\n"));
	assert_non_null(strstr(b.body, "Received: from x\r\n"));
	assert_null(strstr(b.body, "secret"));
	b.answer = RCPT_RES_DELIVERED;
	b.reply = 250;
	assert_int_equal(store(d, &b, 2, "y@other.example"), 250);
	wait_for(d, &seen.reports, 2);
	assert_non_null(strstr(b.body, "Action: relayed\r\n"));
	turns(d, 200);
	assert_string_equal(driver_verb(d, "{\"verb\":\"queue\",\"args\":{\"dead\":true}}"),
			    "{\"letters\":[]}");
	assert_int_equal(seen.count, 4);
	driver_free(d);
}

static void a_probe_ends_before_a_mailbox_unless_asked(void **state)
{
	struct bench b;
	struct driver *d = begin(&b, "[deliver]\ndomains = here.example\n");

	(void)state;
	from_home(d, ENV_PROBE, "a@home.example");
	assert_int_equal(store(d, &b, 1, "u@here.example"), 250);
	wait_for(d, &seen.reports, 1);
	assert_int_equal(seen.count, 1);
	assert_non_null(strstr(b.body, "Action: delivered\r\n"));
	assert_non_null(
	    strstr(b.body, "250 2.1.5 The probe ends here, before the mailbox [host=- tls=none]"));
	from_home(d, ENV_PROBE | ENV_PROBE_MAILBOX, "a@home.example");
	assert_int_equal(store(d, &b, 2, "u@here.example"), 250);
	wait_for(d, &seen.reports, 2);
	assert_int_equal(seen.count, 3);
	assert_non_null(strstr(b.body, "Action: delivered\r\n"));
	driver_free(d);
}

/* Between two hops, of which the next one is not up now: the report goes to who brought the probe, once. */
static void a_report_goes_back_by_the_way_of_its_probe(void **state)
{
	char to[PROBE_ADDRESS_MAX];
	struct bench b;
	struct driver *d =
	    begin(&b, "[route on]\nkind = tunnel\npeer = beyond\ndomains = on.example\n");

	(void)state;
	from_home(d, ENV_PROBE, "a@home.example");
	assert_int_equal(store(d, &b, 1, "u@on.example"), 250);
	from_home(d, 0, "");
	d->peer = "beyond";
	probe_address(token, to);
	assert_int_equal(store(d, &b, 2, to), 250);
	wait_for(d, &seen.reports, 1);
	assert_string_equal(seen.rcpt, to);
	assert_memory_equal(seen.probe, token, LETTER_ID_LEN);
	assert_int_equal(store(d, &b, 3, to), 550);
	driver_free(d);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_probe_is_asked_and_its_report_taken_once),
		cmocka_unit_test(the_last_hop_reports_what_a_host_outside_said),
		cmocka_unit_test(a_probe_ends_before_a_mailbox_unless_asked),
		cmocka_unit_test(a_report_goes_back_by_the_way_of_its_probe),
	};

	driver_child(argc, argv);
	log_setup("test_probe", LOG_LVL_ERR, 2);
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
