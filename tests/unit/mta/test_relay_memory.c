/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The relay process, with a parent and a queue played by the test, and memory that runs out at any place: each
 * attempt has a result and gives its credit back. Linked so that malloc() and its like pass here; what counts and
 * fails them is memory that both processes share.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "ipc.h"
#include "msg.h"
#include "proc_mta.h"
#include "relay.h"

static struct shared {
	volatile bool armed;
	volatile long asked, fail_at, fail_for;
} * shared;
static bool in_relay;

static bool fails(void)
{
	if (!in_relay || !shared->armed)
		return false;
	shared->asked++;
	return shared->asked >= shared->fail_at &&
	       shared->asked < shared->fail_at + shared->fail_for;
}

#include "scarce.h"

struct bench {
	struct loop *loop;
	struct ipc *parent, *queue;
	pid_t pid;
	bool ready, closed;
	uint32_t credits, next_id;
	int results, strange;
	uint32_t answered; /* the last id */
	size_t named;	   /* recipients in its result */
	bool firm, delivered;
};

static void on_parent(struct ipc *ipc, struct ipc_msg *m, void *arg)
{
	(void)ipc;
	if (m->type == MTA_READY)
		((struct bench *)arg)->ready = true;
}

static void on_closed(struct ipc *ipc, void *arg)
{
	(void)ipc;
	((struct bench *)arg)->closed = true;
}

static void on_queue(struct ipc *ipc, struct ipc_msg *m, void *arg)
{
	struct rd r = rd_init(m->data, m->len);
	struct bench *b = arg;
	struct msg_r_result res;
	struct msg_r_rcpt_result one;

	if (m->type == MSG_R_CREDIT)
		b->credits += rd_be32(&r);
	if (m->type != MSG_R_RESULT)
		return;
	b->results++;
	b->answered = m->id;
	b->strange += msg_r_result_get(&r, &res) != 0;
	for (b->named = 0; b->named < res.rcpt_count; b->named++) {
		if (msg_r_rcpt_result_get(&res.rcpts, &one)) {
			b->strange++;
			break;
		}
		b->firm |= one.result == RCPT_RES_PERMFAIL;
		b->delivered |= one.result == RCPT_RES_DELIVERED;
	}
	ipc_send(ipc, MSG_R_COMMITTED, m->id, NULL, 0);
}

static void send_config(struct bench *b)
{
	static const char path[] = "mta.conf";
	static const char text[] =
	    "[mta]\nrole = edge\nhostname = mx.example.net\nuser = 2001\nqueue-user = 2002\n"
	    "state-dir = /var/tmp\nrun-dir = /var/tmp\nlog-level = err\n"
	    "[home home]\ndomains = home.example\ncheck-recipients = no\n"
	    /* Nobody listens there. */
	    "[route out]\nkind = smarthost\naddress = 127.0.0.1\nport = 1\ntls = none\n";
	uint8_t buf[4096];
	struct wr w = wr_init(buf, sizeof(buf));
	int fd;

	wr_be32(&w, sizeof(path) - 1);
	wr_bytes(&w, path, sizeof(path) - 1);
	wr_be32(&w, sizeof(text) - 1);
	wr_bytes(&w, text, sizeof(text) - 1);
	fd = msg_memfd("bundle", buf, w.len);
	assert_true(fd >= 0);
	ipc_send_fds(b->parent, MTA_CONFIG, 0, NULL, 0, &fd, 1);
	close(fd);
}

static void turn(struct bench *b)
{
	loop_once(b->loop, 20);
}

static void begin(struct bench *b)
{
	static const struct ipc_ops parent_ops = { .message = on_parent, .closed = on_closed };
	static const struct ipc_ops queue_ops = { .message = on_queue, .closed = on_closed };
	int fds[2];

	memset(b, 0, sizeof(*b));
	shared->armed = false;
	assert_int_equal(ipc_pair(fds), 0);
	b->pid = fork();
	if (!b->pid) {
		in_relay = true;
		if (fds[1] != PROC_IPC_FD)
			dup2(fds[1], PROC_IPC_FD);
		_exit(relay_main());
	}
	close(fds[1]);
	b->loop = loop_new();
	b->parent = ipc_new(b->loop, fds[0], &parent_ops, b);
	send_config(b);
	for (int i = 0; i < 1500 && !b->ready && !b->closed; i++)
		turn(b);
	assert_true(b->ready);
	assert_int_equal(ipc_pair(fds), 0);
	ipc_send_fds(b->parent, MTA_PEER, MTA_PROC_QUEUE, NULL, 0, &fds[1], 1);
	close(fds[1]);
	b->queue = ipc_new(b->loop, fds[0], &queue_ops, b);
	for (int i = 0; i < 1500 && !b->credits; i++)
		turn(b);
	assert_int_equal(b->credits, CREDITS);
}

static void end(struct bench *b)
{
	kill(b->pid, SIGKILL);
	waitpid(b->pid, NULL, 0);
	ipc_free(b->parent);
	ipc_free(b->queue);
	loop_free(b->loop);
}

static void attempt(struct bench *b, const char *route, const char *hop)
{
	static uint8_t env[ENVELOPE_MAX], rcpts[1024], msg[IPC_PAYLOAD_MAX];
	struct envelope e = { .sender = "x@out.example" };
	struct wr we = wr_init(env, sizeof(env)), wl = wr_init(rcpts, sizeof(rcpts)),
		  w = wr_init(msg, sizeof(msg));
	struct msg_r_rcpt one = { .addr = "a@away.example", .orcpt = "" };
	struct msg_r_attempt m = { .route = route,
				   .next_hop = hop,
				   .families = MSG_R_FAMILY4,
				   .flags = MSG_R_INLINE,
				   .body = (const uint8_t *)"x\r\n",
				   .body_len = 3,
				   .rcpt_count = 1 };

	envelope_new_id(e.id);
	envelope_build(&e, &we);
	msg_r_rcpt_put(&wl, &one);
	m.env = env;
	m.env_len = we.len;
	m.rcpts = rd_init(rcpts, wl.len);
	msg_r_attempt_put(&w, &m);
	assert_false(w.bad);
	b->credits--;
	assert_int_equal(ipc_send(b->queue, MSG_R_ATTEMPT, ++b->next_id, msg, w.len), 0);
}

/* One attempt while the @at-th allocation, and all of @count from it on, fail. */
static void one(struct bench *b, long at, long count)
{
	int before = b->results;

	shared->fail_at = at;
	shared->fail_for = count;
	shared->asked = 0;
	shared->armed = true;
	attempt(b, "out", "127.0.0.1");
	for (int i = 0; i < 1500 && b->results == before && !b->closed; i++)
		turn(b);
	shared->armed = false;
	assert_int_equal(b->results, before + 1);
	assert_int_equal(b->answered, b->next_id);
	for (int i = 0; i < 1500 && b->credits < CREDITS && !b->closed; i++)
		turn(b);
	assert_int_equal(b->credits, CREDITS);
	assert_int_equal(b->strange, 0);
	assert_false(b->firm);
	assert_false(b->delivered);
}

static void each_attempt_has_a_result_wherever_memory_ends(void **state)
{
	struct bench b;
	long n;

	(void)state;
	begin(&b);
	for (n = 1; n < 1000; n++) {
		one(&b, n, 1);
		if (shared->asked < n)
			break;
	}
	assert_in_range(n, 5, 999);
	for (n = 1; n < 1000; n++) {
		one(&b, n, 1L << 30);
		if (shared->asked < n)
			break;
	}
	assert_in_range(n, 5, 999);
	one(&b, 0, 0);
	assert_int_equal(b.named, 1);
	end(&b);
}

static void one_that_is_not_understood_has_a_result_too(void **state)
{
	struct bench b;

	(void)state;
	begin(&b);
	b.credits--;
	ipc_send(b.queue, MSG_R_ATTEMPT, ++b.next_id, "?", 1);
	for (int i = 0; i < 1500 && b.credits < CREDITS && !b.closed; i++)
		turn(&b);
	assert_int_equal(b.results, 1);
	assert_int_equal(b.named, 0);
	assert_int_equal(b.credits, CREDITS);
	end(&b);
}

/* Nobody answers questions about it here, so without a want of memory it waits until it is called back. */
static void no_memory_for_a_question_is_no_firm_no(void **state)
{
	struct bench b;

	(void)state;
	begin(&b);
	for (long n = 1; n < 12; n++) {
		int before = b.results;

		shared->fail_at = n;
		shared->fail_for = 1;
		shared->asked = 0;
		shared->armed = true;
		attempt(&b, "internet", "away.example");
		for (int i = 0; i < 10 && b.results == before; i++)
			loop_once(b.loop, 5);
		shared->armed = false;
		if (b.results == before)
			ipc_send(b.queue, MSG_R_CANCEL, b.next_id, NULL, 0);
		for (int i = 0; i < 1500 && b.results == before && !b.closed; i++)
			turn(&b);
		assert_int_equal(b.results, before + 1);
		assert_false(b.firm);
	}
	end(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_attempt_has_a_result_wherever_memory_ends),
		cmocka_unit_test(one_that_is_not_understood_has_a_result_too),
		cmocka_unit_test(no_memory_for_a_question_is_no_firm_no),
	};

	signal(SIGPIPE, SIG_IGN);
	shared =
	    mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
