/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the admin is told of dead letters: the queue's own finish.c and report.c, and weeks in a moment. */
#include "queue_hand.h"

#define HOUR_MS 3600000ull
#define DAY_MS	86400000ull
#define ADMIN	"admin@out.example"

static bool no_letter; /* store_put_letter() has no memory */

int __real_store_put_letter(struct store_change *c, const struct envelope *e, const uint8_t *body,
			    uint64_t len);
int __wrap_store_put_letter(struct store_change *c, const struct envelope *e, const uint8_t *body,
			    uint64_t len);

int __wrap_store_put_letter(struct store_change *c, const struct envelope *e, const uint8_t *body,
			    uint64_t len)
{
	return no_letter ? -ENOMEM : __real_store_put_letter(c, e, body, len);
}

/* As the loop would: once a second there, once in a while here. */
static void later(struct hand *h, uint64_t ms)
{
	h->now_ms += ms;
	store_tick(h->q.store, h->now_ms);
	finish_expired(&h->q, h->now_ms);
	hand_settle(h);
	report_run(&h->q, h->now_ms);
	hand_settle(h);
}

static struct hand *begin(uint32_t seed, size_t homes, const char *admin)
{
	struct hand *h = hand_new(seed, homes);

	no_letter = false;
	h->config.dead_letter_report = (char *)admin;
	assert_int_equal(hand_start(h), 0);
	return h;
}

static void store(struct hand *h, uint32_t txn, const char *to)
{
	hand_store(h, txn, to, 100, false);
	hand_settle(h);
	assert_int_equal(h->code[txn], 250);
}

/* The next hop does not want it, and its sender is not told. */
static void refused(struct hand *h, uint32_t txn)
{
	const uint16_t bad[1] = { 0 };
	struct store_change *c = store_begin(h->q.store);
	uint8_t id[LETTER_ID_LEN];
	struct letter *l;

	hand_id(txn, id);
	l = store_find(h->q.store, id);
	assert_non_null(l);
	assert_int_equal(
	    store_put_rcpt(c, l, 0, RCPT_FAILED, 1, "550 5.1.1 nobody\r\nof \033 that name"), 0);
	assert_int_equal(finish_rcpts(&h->q, c, l, bad, 1), 0);
	assert_int_equal(store_commit(c, true, NULL), 0);
	schedule_remove(h->q.schedule, l);
	hand_settle(h);
	assert_int_equal(l->state, LETTER_DEAD);
}

static struct letter *newest_report(struct hand *h, size_t *count)
{
	struct letter *last = NULL;

	*count = 0;
	for (struct letter *l = store_oldest(h->q.store); l; l = l->newer) {
		if (!(l->flags & ENV_BOUNCE))
			continue;
		last = l;
		++*count;
	}
	return last;
}

static size_t reports(struct hand *h)
{
	size_t n;

	newest_report(h, &n);
	return n;
}

/* Text of the newest one, until the next call. */
static const char *text(struct hand *h)
{
	static char body[REPORT_BODY_MAX + 1];
	struct store_reading r;
	struct letter *l;
	size_t n;

	l = newest_report(h, &n);
	assert_non_null(l);
	assert_int_equal(store_read(h->q.store, l, &r), 0);
	assert_string_equal(r.env.sender, "");
	assert_int_equal(r.env.rcpt_count, 1);
	assert_string_equal(r.env.rcpt[0].addr, h->config.dead_letter_report);
	assert_true(r.body && r.body_len <= REPORT_BODY_MAX);
	memcpy(body, r.body, r.body_len);
	body[r.body_len] = 0;
	store_reading_clear(&r);
	for (const char *p = body; (p = strchr(p, '\n')); p++)
		assert_true(p > body && p[-1] == '\r');
	return body;
}

static size_t times_in(const char *s, const char *what)
{
	size_t n = 0;

	for (; (s = strstr(s, what)); s += strlen(what))
		n++;
	return n;
}

#define assert_has(text, what)	 assert_non_null(strstr(text, what))
#define assert_lacks(text, what) assert_null(strstr(text, what))

static void the_report_says_which_letter_died_of_what_and_what_to_do(void **state)
{
	struct hand *h = begin(1, 1, ADMIN);
	const char *s;

	(void)state;
	store(h, 1, "a@h0.example");
	store(h, 2, "b@h0.example");
	later(h, 1000);
	assert_int_equal(reports(h), 0);
	refused(h, 1);
	later(h, 1000);
	assert_int_equal(reports(h), 1);
	s = text(h);
	assert_has(s, "From: Mail Delivery System <MAILER-DAEMON@edge.example.net>\r\n");
	assert_has(s, "To: <" ADMIN ">\r\n");
	assert_has(s, "\r\nAuto-Submitted: auto-generated\r\n");
	assert_has(s, "bb000100000000000000000000000000  ");
	assert_has(s, "  from   <x@out.example>\r\n  to     <a@h0.example>\r\n"
		      "         refused, route h0: 550 5.1.1 nobody  of   that name\r\n");
	assert_has(s, "postern mail release ID");
	assert_has(s, "where 1 dead letters are kept");
	assert_lacks(s, "b@h0.example");
	for (int day = 0; day < 22; day++)
		later(h, DAY_MS);
	s = text(h);
	assert_has(s, "  to     <b@h0.example>\r\n         expired, route h0: no answer from the "
		      "next host\r\n");
	assert_lacks(s, "a@h0.example");
	hand_free(h);
}

static void nobody_is_told_where_no_address_is_written(void **state)
{
	struct hand *h = begin(2, 1, NULL);

	(void)state;
	store(h, 1, "a@h0.example");
	refused(h, 1);
	later(h, 1000);
	assert_int_equal(reports(h), 0);
	/* Nor, later, of what was before. */
	h->config.dead_letter_report = (char *)ADMIN;
	later(h, 1000);
	assert_int_equal(reports(h), 0);
	hand_free(h);
}

static void the_first_is_told_of_at_once_and_then_once_an_hour(void **state)
{
	struct hand *h = begin(3, 1, ADMIN);

	(void)state;
	for (uint32_t i = 1; i <= 4; i++)
		store(h, i, "a@h0.example");
	refused(h, 1);
	later(h, 1000);
	assert_int_equal(reports(h), 1);
	refused(h, 2);
	later(h, HOUR_MS - 2000);
	refused(h, 3);
	later(h, 1000);
	assert_int_equal(reports(h), 1);
	later(h, 1000);
	assert_int_equal(reports(h), 2);
	assert_int_equal(times_in(text(h), "<a@h0.example>"), 2);
	assert_has(text(h), "bb000200");
	assert_has(text(h), "bb000300");
	/* What is told of is told of once, and an hour without any gives no report. */
	later(h, HOUR_MS);
	later(h, HOUR_MS);
	assert_int_equal(reports(h), 2);
	refused(h, 4);
	later(h, 0);
	assert_int_equal(reports(h), 3);
	assert_int_equal(times_in(text(h), "<a@h0.example>"), 1);
	hand_free(h);
}

static void a_flood_makes_one_report_that_names_some(void **state)
{
	struct hand *h = begin(4, 1, ADMIN);
	char more[64];

	(void)state;
	for (uint32_t i = 1; i <= 1000; i++)
		store(h, i, "a@h0.example");
	for (int day = 0; day < 20; day++)
		later(h, DAY_MS);
	assert_int_equal(store_count(h->q.store, LETTER_DEAD), 1000);
	assert_int_equal(reports(h), 1);
	assert_int_equal(times_in(text(h), "<a@h0.example>"), REPORT_LETTERS_MAX);
	snprintf(more, sizeof(more), "And %d more.", 1000 - REPORT_LETTERS_MAX);
	assert_has(text(h), more);
	later(h, DAY_MS);
	assert_int_equal(reports(h), 1);
	hand_free(h);
}

static void a_report_that_is_given_up_makes_no_report_and_no_corpse(void **state)
{
	struct hand *h = begin(5, 1, ADMIN);

	(void)state;
	store(h, 1, "a@h0.example");
	refused(h, 1);
	later(h, 1000);
	assert_int_equal(reports(h), 1);
	for (int day = 0; day < 6; day++)
		later(h, DAY_MS);
	assert_int_equal(reports(h), 0);
	assert_int_equal(store_count(h->q.store, LETTER_DEAD), 1);
	/* Nor does one of another host, which is a letter without a sender here. */
	h->sender = "";
	store(h, 2, "a@h0.example");
	refused(h, 2);
	later(h, DAY_MS);
	assert_int_equal(reports(h), 0);
	assert_int_equal(store_count(h->q.store, LETTER_DEAD), 2);
	hand_free(h);
}

static void what_is_not_dead_any_more_is_not_told_of(void **state)
{
	struct hand *h = begin(6, 1, ADMIN);
	struct store_change *c;
	uint8_t id[LETTER_ID_LEN];

	(void)state;
	for (uint32_t i = 1; i <= 3; i++)
		store(h, i, "a@h0.example");
	refused(h, 1);
	refused(h, 2);
	c = store_begin(h->q.store);
	hand_id(1, id);
	store_put_state(c, store_find(h->q.store, id), LETTER_GONE);
	hand_id(2, id);
	store_put_state(c, store_find(h->q.store, id), LETTER_HELD);
	assert_int_equal(store_commit(c, true, NULL), 0);
	hand_settle(h);
	later(h, 1000);
	assert_int_equal(reports(h), 0);
	refused(h, 3); /* and no hour is lost by that */
	later(h, 1000);
	assert_int_equal(reports(h), 1);
	hand_free(h);
}

static void an_address_of_one_home_hears_nothing_of_the_others(void **state)
{
	struct hand *h = begin(7, 3, "joe@H1.example");
	const char *s;

	(void)state;
	store(h, 1, "secret@h0.example");
	store(h, 2, "own@h1.example");
	h->peer = "h2"; /* out of another home */
	h->flags = ENV_TUNNEL;
	store(h, 3, "hidden@far.example");
	h->peer = NULL;
	h->flags = 0;
	h->sender = "y@h2.example";
	store(h, 4, "quiet@h1.example");
	for (uint32_t i = 1; i <= 4; i++)
		refused(h, i);
	later(h, 1000);
	assert_int_equal(reports(h), 1);
	s = text(h);
	assert_has(s, "<own@h1.example>");
	assert_has(s, "\r\n3 of other homes than ");
	assert_lacks(s, "secret");
	assert_lacks(s, "hidden");
	assert_lacks(s, "quiet");
	assert_int_equal(times_in(s, "\r\nbb00"), 1);
	hand_free(h);
}

static void without_room_or_memory_the_report_waits_and_the_letter_is_kept(void **state)
{
	struct hand *h = begin(8, 1, ADMIN);

	(void)state;
	h->reserve_bytes = 1 << 20;
	store(h, 1, "a@h0.example");
	refused(h, 1);
	no_letter = true;
	later(h, 1000);
	assert_int_equal(reports(h), 0);
	assert_int_equal(store_count(h->q.store, LETTER_DEAD), 1);
	no_letter = false;
	store_set_reserve(h->q.store, UINT64_MAX, 0); /* 452 from now on */
	later(h, REPORT_AGAIN_MS);
	assert_int_equal(reports(h), 0);
	assert_int_equal(store_count(h->q.store, LETTER_DEAD), 1);
	store_set_reserve(h->q.store, 0, 0);
	later(h, REPORT_AGAIN_MS - 1000);
	assert_int_equal(reports(h), 0);
	later(h, 1000);
	assert_int_equal(reports(h), 1);
	assert_has(text(h), "<a@h0.example>");
	hand_free(h);
}

static void a_restart_tells_of_no_letter_twice_and_an_orderly_end_of_all(void **state)
{
	struct hand *h = begin(9, 1, ADMIN);

	(void)state;
	store(h, 1, "a@h0.example");
	store(h, 2, "b@h0.example");
	refused(h, 1);
	later(h, 1000);
	refused(h, 2);
	later(h, 1000);
	assert_int_equal(reports(h), 1);
	report_end(&h->q, h->now_ms);
	hand_settle(h);
	assert_int_equal(reports(h), 2);
	assert_has(text(h), "<b@h0.example>");
	assert_lacks(text(h), "<a@h0.example>");
	hand_die(h, true);
	assert_int_equal(hand_start(h), 0);
	later(h, HOUR_MS);
	later(h, HOUR_MS);
	assert_int_equal(store_count(h->q.store, LETTER_DEAD), 2);
	assert_int_equal(reports(h), 2);
	hand_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_report_says_which_letter_died_of_what_and_what_to_do),
		cmocka_unit_test(nobody_is_told_where_no_address_is_written),
		cmocka_unit_test(the_first_is_told_of_at_once_and_then_once_an_hour),
		cmocka_unit_test(a_flood_makes_one_report_that_names_some),
		cmocka_unit_test(a_report_that_is_given_up_makes_no_report_and_no_corpse),
		cmocka_unit_test(what_is_not_dead_any_more_is_not_told_of),
		cmocka_unit_test(an_address_of_one_home_hears_nothing_of_the_others),
		cmocka_unit_test(without_room_or_memory_the_report_waits_and_the_letter_is_kept),
		cmocka_unit_test(a_restart_tells_of_no_letter_twice_and_an_orderly_end_of_all),
	};

	log_setup("test_report", LOG_LVL_ERR, -1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
