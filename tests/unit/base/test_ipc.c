/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ipc.h"
#include "log.h"

static struct loop *loop;
static struct ipc *a, *b;
static int fd_of_b;

static struct {
	int messages, closed, drained;
	uint32_t type, id;
	size_t len, bytes;
	uint8_t first, last;
	int fd, fd_count;
	bool in_order;
	bool take; /* the callee keeps the descriptor */
} got;

static void on_message(struct ipc *ipc, struct ipc_msg *m, void *arg)
{
	(void)ipc, (void)arg;
	got.in_order = got.in_order && m->id == (uint32_t)got.messages;
	got.messages++;
	got.type = m->type;
	got.id = m->id;
	got.len = m->len;
	got.bytes += m->len;
	got.first = m->len ? m->data[0] : 0;
	got.last = m->len ? m->data[m->len - 1] : 0;
	got.fd_count = m->fd_count;
	got.fd = m->fd_count ? m->fd[0] : -1;
	if (m->fd_count && got.take)
		m->fd[0] = -1;
}

static void on_closed(struct ipc *ipc, void *arg)
{
	(void)arg;
	got.closed++;
	if (ipc == a)
		a = NULL;
	else
		b = NULL;
	ipc_free(ipc);
}

static void on_drained(struct ipc *ipc, void *arg)
{
	(void)ipc, (void)arg;
	got.drained++;
}

static const struct ipc_ops ops = { on_message, on_closed, on_drained };

static int begin(void **state)
{
	int fds[2];

	(void)state;
	memset(&got, 0, sizeof(got));
	got.in_order = true;
	log_setup("test", LOG_LVL_ERR, 2);
	loop = loop_new();
	if (ipc_pair(fds))
		return -1;
	fd_of_b = fds[1];
	a = ipc_new(loop, fds[0], &ops, NULL);
	b = ipc_new(loop, fds[1], &ops, NULL);
	return a && b ? 0 : -1;
}

static int end(void **state)
{
	(void)state;
	ipc_free(a);
	ipc_free(b);
	loop_free(loop);
	return 0;
}

static void turn(int n)
{
	while (n--)
		loop_once(loop, 0);
}

static void a_message_arrives_whole(void **state)
{
	(void)state;
	assert_int_equal(ipc_send(a, 77, 5, "hello", 5), 0);
	turn(2);
	assert_int_equal(got.messages, 1);
	assert_true(got.type == 77 && got.id == 5 && got.len == 5 && got.first == 'h' &&
		    got.last == 'o');
	assert_int_equal(ipc_send(b, 1, 0, NULL, 0), 0);
	turn(2);
	assert_int_equal(got.messages, 2);
	assert_int_equal(got.len, 0);
}

static void the_largest_passes_and_a_larger_one_is_refused(void **state)
{
	uint8_t *p = calloc(1, IPC_PAYLOAD_MAX + 1);

	(void)state;
	p[IPC_PAYLOAD_MAX - 1] = 9;
	assert_int_equal(ipc_send(a, 1, 0, p, IPC_PAYLOAD_MAX), 0);
	turn(3);
	assert_int_equal(got.len, IPC_PAYLOAD_MAX);
	assert_int_equal(got.last, 9);
	assert_true(ipc_send(a, 1, 0, p, IPC_PAYLOAD_MAX + 1) < 0);
	free(p);
}

static void descriptors_pass_and_those_not_taken_are_closed(void **state)
{
	int p[2], fds[2];
	char c;

	(void)state;
	assert_int_equal(pipe(p), 0);
	fds[0] = p[0];
	fds[1] = p[1];
	got.take = true;
	assert_int_equal(ipc_send_fds(a, 1, 0, NULL, 0, fds, 2), 0);
	turn(2);
	assert_int_equal(got.fd_count, 2);
	assert_int_not_equal(got.fd, p[0]);
	assert_true(fcntl(got.fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(write(p[1], "z", 1), 1);
	assert_int_equal(read(got.fd, &c, 1), 1);
	assert_int_equal(c, 'z');
	/* the copy of the writing end was closed: when ours goes, the reader sees the end */
	close(p[1]);
	assert_int_equal(read(got.fd, &c, 1), 0);
	close(got.fd);
	close(p[0]);
}

static void what_the_socket_does_not_take_waits_in_order(void **state)
{
	uint8_t *p = calloc(1, 60000);
	uint32_t n = 0;
	int rc = 0;

	(void)state;
	while (!(rc = ipc_send(a, 1, n, p, 60000)))
		n++;
	assert_int_equal(rc, -EAGAIN);
	assert_in_range(ipc_queued(a), 1, IPC_QUEUE_MAX + IPC_PAYLOAD_MAX);
	for (int i = 0; i < 100000 && got.messages < (int)n; i++)
		turn(1);
	assert_int_equal(got.messages, n);
	assert_true(got.in_order);
	assert_int_equal(got.bytes, (size_t)n * 60000);
	assert_int_equal(ipc_queued(a), 0);
	assert_int_equal(got.drained, 1);
	free(p);
}

static void a_closed_peer_is_told_once(void **state)
{
	(void)state;
	ipc_free(b);
	b = NULL;
	turn(3);
	assert_int_equal(got.closed, 1);
	assert_null(a);
}

static void a_packet_that_is_no_message_ends_the_connection(void **state)
{
	(void)state;
	/* The socket under ipc, as a compromised sibling would use it. */
	assert_int_equal(send(fd_of_b, "abc", 3, 0), 3);
	turn(3);
	assert_int_equal(got.messages, 0);
	assert_int_equal(got.closed, 2); /* ours for the fault, and the sender's for that */
	assert_true(!a && !b);
}

static void a_length_that_lies_ends_the_connection(void **state)
{
	uint32_t head[4] = { 1, 2, 400, 0 };

	(void)state;
	assert_int_equal(send(fd_of_b, head, sizeof(head), 0), sizeof(head));
	turn(3);
	assert_int_equal(got.messages, 0);
	assert_int_equal(got.closed, 2); /* ours for the fault, and the sender's for that */
	assert_true(!a && !b);
}

int main(void)
{
#define T(x) cmocka_unit_test_setup_teardown(x, begin, end)
	const struct CMUnitTest tests[] = {
		T(a_message_arrives_whole),
		T(the_largest_passes_and_a_larger_one_is_refused),
		T(descriptors_pass_and_those_not_taken_are_closed),
		T(what_the_socket_does_not_take_waits_in_order),
		T(a_closed_peer_is_told_once),
		T(a_packet_that_is_no_message_ends_the_connection),
		T(a_length_that_lies_ends_the_connection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
