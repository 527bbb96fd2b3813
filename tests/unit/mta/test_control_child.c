/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the parent asks children for the admin: an answer, or in a bounded time who gave none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "parent.h"

#define T0 1000000

static const struct proc_spec queue = { .name = "queue", .id = MTA_PROC_QUEUE };
static const struct control_question hold = { .who = MTA_PROC_QUEUE, .verb = "hold", .wait_ms = 15000 };
static const struct control_question slow = { .who = MTA_PROC_QUEUE, .verb = "export", .wait_ms = 50000 };
static struct parent p;
static int child; /* the other end: what does not answer by itself */
static struct {
	unsigned failed, replied;
	uint64_t client;
	char why[256];
	json_t *body;
} told;

void __wrap_control_fail(struct control_server *s, struct control_ref ref, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void __wrap_control_reply(struct control_server *s, struct control_ref ref, json_t *body);

void __wrap_control_fail(struct control_server *s, struct control_ref ref, const char *fmt, ...)
{
	va_list ap;

	(void)s;
	told.failed++;
	told.client = ref.client;
	va_start(ap, fmt);
	vsnprintf(told.why, sizeof(told.why), fmt, ap);
	va_end(ap);
}

void __wrap_control_reply(struct control_server *s, struct control_ref ref, json_t *body)
{
	(void)s;
	told.replied++;
	told.client = ref.client;
	json_decref(told.body);
	told.body = body;
}

static void on_message(struct ipc *ipc, struct ipc_msg *m, void *arg)
{
	(void)ipc;
	(void)m;
	(void)arg;
}

static int start(void **state)
{
	static const struct ipc_ops ops = { .message = on_message };
	int fds[2];

	(void)state;
	memset(&told, 0, sizeof(told));
	p = (struct parent){ .loop = loop_new() };
	p.table = (struct proc_table){ .loop = p.loop, .procs = p.procs, .count = 1 };
	assert_int_equal(ipc_pair(fds), 0);
	p.procs[0] = (struct proc){ .spec = &queue, .pid = 4321 };
	p.procs[0].ipc = ipc_new(p.loop, fds[0], &ops, &p.procs[0]);
	child = fds[1];
	return 0;
}

static int end(void **state)
{
	(void)state;
	ipc_free(p.procs[0].ipc);
	close(child);
	json_decref(told.body);
	control_abandon(&p, MTA_PROC_QUEUE);
	timer_clear(loop_timers(p.loop), &p.control_timer);
	loop_free(p.loop);
	return 0;
}

static uint32_t ask(uint64_t client, const struct control_question *q, uint64_t now_ms)
{
	json_t *args = json_object();

	control_ask(&p, (struct control_ref){ client }, q, args, now_ms);
	json_decref(args);
	return p.next_request;
}

static void answer(uint32_t id, const char *json, uint64_t now_ms)
{
	control_answer(&p, MTA_PROC_QUEUE, id, json, strlen(json), now_ms);
}

static size_t open_requests(void)
{
	size_t n = 0;

	for (size_t i = 0; i < REQUESTS_MAX; i++)
		n += p.requests[i].id != 0;
	return n;
}

static void a_child_that_does_not_answer_is_named_when_its_time_is_over(void **state)
{
	(void)state;
	ask(7, &hold, T0);
	control_expire(&p, T0 + 14999);
	assert_int_equal(told.failed, 0);
	control_expire(&p, T0 + 15000);
	assert_int_equal(told.failed, 1);
	assert_int_equal(told.client, 7);
	assert_string_equal(told.why, "the queue (pid 4321) gave no answer within 15 s; what was asked "
				      "of it may still be done");
	assert_int_equal(open_requests(), 0);
	assert_false(timer_armed(&p.control_timer));
}

static void the_timer_stands_at_the_nearest_end(void **state)
{
	(void)state;
	ask(1, &slow, T0);
	assert_int_equal(p.control_timer.at_ms, T0 + 50000);
	ask(2, &hold, T0 + 1000);
	assert_int_equal(p.control_timer.at_ms, T0 + 16000);
	p.control_timer.fire(&p.control_timer, T0 + 16000);
	assert_int_equal(told.failed, 1);
	assert_int_equal(told.client, 2);
	assert_int_equal(p.control_timer.at_ms, T0 + 50000);
}

static void a_late_answer_reaches_nobody(void **state)
{
	uint32_t late, next;

	(void)state;
	late = ask(1, &hold, T0);
	control_expire(&p, T0 + 15000);
	next = ask(2, &hold, T0 + 15001); /* in the same place */
	answer(late, "{\"count\":1}", T0 + 15002);
	assert_int_equal(told.replied, 0);
	answer(next, "{\"count\":2}", T0 + 15003);
	assert_int_equal(told.replied, 1);
	assert_int_equal(told.client, 2);
	assert_int_equal(json_integer_value(json_object_get(told.body, "count")), 2);
}

static void a_full_table_is_free_again(void **state)
{
	(void)state;
	for (size_t i = 0; i < REQUESTS_MAX; i++)
		ask(i + 1, &hold, T0);
	ask(100, &hold, T0 + 1);
	assert_int_equal(told.failed, 1);
	assert_string_equal(told.why, "too many requests");
	control_expire(&p, T0 + 15000);
	assert_int_equal(told.failed, 1 + REQUESTS_MAX);
	ask(101, &hold, T0 + 15001);
	assert_int_equal(told.failed, 1 + REQUESTS_MAX);
	assert_int_equal(open_requests(), 1);
}

static void a_long_answer_that_goes_on_is_not_cut(void **state)
{
	uint32_t id;

	(void)state;
	id = ask(1, &hold, T0);
	answer(id, "{\"a\":[1],\"more\":true}", T0 + 14000);
	control_expire(&p, T0 + 15000);
	assert_int_equal(told.failed, 0);
	assert_int_equal(p.control_timer.at_ms, T0 + 29000);
	answer(id, "{\"a\":[2]}", T0 + 28000);
	assert_int_equal(told.replied, 1);
	assert_int_equal(json_array_size(json_object_get(told.body, "a")), 2);
}

static void half_an_answer_is_none(void **state)
{
	uint32_t id;

	(void)state;
	id = ask(1, &hold, T0);
	answer(id, "{\"a\":[1],\"more\":true}", T0 + 14000);
	control_expire(&p, T0 + 29000);
	assert_int_equal(told.failed, 1);
	answer(id, "{\"a\":[2]}", T0 + 29001);
	assert_int_equal(told.replied, 0);
}

static void a_child_that_does_not_run_is_said_at_once(void **state)
{
	struct ipc *ipc = p.procs[0].ipc;

	(void)state;
	p.procs[0].ipc = NULL;
	ask(1, &hold, T0);
	p.procs[0].ipc = ipc;
	assert_int_equal(told.failed, 1);
	assert_string_equal(told.why, "the queue does not run now; try again");
	assert_int_equal(open_requests(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    a_child_that_does_not_answer_is_named_when_its_time_is_over, start, end),
		cmocka_unit_test_setup_teardown(the_timer_stands_at_the_nearest_end, start, end),
		cmocka_unit_test_setup_teardown(a_late_answer_reaches_nobody, start, end),
		cmocka_unit_test_setup_teardown(a_full_table_is_free_again, start, end),
		cmocka_unit_test_setup_teardown(a_long_answer_that_goes_on_is_not_cut, start, end),
		cmocka_unit_test_setup_teardown(half_an_answer_is_none, start, end),
		cmocka_unit_test_setup_teardown(a_child_that_does_not_run_is_said_at_once, start,
						end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
