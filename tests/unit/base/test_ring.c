/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ring.h"

static const uint8_t ops[] = { IORING_OP_READ, IORING_OP_RECVMSG, RING_OP_READ_MULTISHOT };

struct fixture {
	struct ring r;
	int pipe[2];
};

static int make(void **state, bool locked)
{
	static struct fixture f;
	int rc = ring_open(&f.r, 8, false);

	*state = &f;
	if (rc == -EPERM || rc == -ENOSYS)
		return 0; /* each test then skips */
	if (rc || pipe(f.pipe))
		return -1;
	if (ring_files(&f.r, f.pipe, 1))
		return -1;
	if (locked && ring_restrict(&f.r, ops, sizeof(ops)))
		return -1;
	return ring_enable(&f.r);
}

static int locked(void **state)
{
	return make(state, true);
}

static int unlocked(void **state)
{
	return make(state, false);
}

static int clear(void **state)
{
	struct fixture *f = *state;

	ring_close(&f->r);
	if (f->pipe[1]) {
		close(f->pipe[0]);
		close(f->pipe[1]);
	}
	memset(f, 0, sizeof(*f));
	return 0;
}

#define NEED_RING(f)                                                                               \
	do {                                                                                       \
		if (!(f)->r.open)                                                                  \
			skip(); /* io_uring is forbidden on this machine */                        \
	} while (0)

static int run(struct ring *r)
{
	struct io_uring_cqe *cqe;
	int res;

	assert_int_equal(io_uring_submit_and_wait(&r->u, 1), 1);
	assert_int_equal(io_uring_peek_cqe(&r->u, &cqe), 0);
	res = cqe->res;
	io_uring_cqe_seen(&r->u, cqe);
	return res;
}

static int try_openat(struct ring *r, unsigned flags)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&r->u);

	io_uring_prep_openat(sqe, AT_FDCWD, "/etc/passwd", O_RDONLY, 0);
	sqe->flags |= flags;
	return run(r);
}

static int try_socket(struct ring *r)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&r->u);

	io_uring_prep_rw(IORING_OP_SOCKET, sqe, AF_INET, NULL, 0, SOCK_DGRAM);
	return run(r);
}

static void an_unrestricted_ring_opens_files_and_sockets(void **state)
{
	struct fixture *f = *state;
	int fd;

	NEED_RING(f);
	/* The control: what the next tests forbid does work when it is not forbidden. */
	fd = try_openat(&f->r, 0);
	assert_true(fd >= 0);
	close(fd);
	fd = try_socket(&f->r);
	assert_true(fd >= 0);
	close(fd);
}

static void a_restricted_ring_refuses_openat(void **state)
{
	struct fixture *f = *state;

	NEED_RING(f);
	assert_int_equal(try_openat(&f->r, 0), -EACCES);
	assert_int_equal(try_openat(&f->r, IOSQE_FIXED_FILE), -EACCES);
}

static void a_restricted_ring_refuses_socket(void **state)
{
	struct fixture *f = *state;

	NEED_RING(f);
	assert_int_equal(try_socket(&f->r), -EACCES);
}

static void a_restricted_ring_reads_registered_files_only(void **state)
{
	struct fixture *f = *state;
	struct io_uring_sqe *sqe;
	char c = 0;

	NEED_RING(f);
	assert_int_equal(write(f->pipe[1], "x", 1), 1);
	sqe = io_uring_get_sqe(&f->r.u);
	io_uring_prep_read(sqe, f->pipe[0], &c, 1, 0);
	assert_int_equal(run(&f->r), -EACCES);
	sqe = io_uring_get_sqe(&f->r.u);
	io_uring_prep_read(sqe, 0, &c, 1, 0);
	sqe->flags |= IOSQE_FIXED_FILE;
	assert_int_equal(run(&f->r), 1);
	assert_int_equal(c, 'x');
}

static void a_restricted_ring_registers_nothing_more(void **state)
{
	struct fixture *f = *state;

	NEED_RING(f);
	assert_int_equal(ring_files(&f->r, f->pipe, 2), -EACCES);
	assert_int_equal(ring_restrict(&f->r, ops, sizeof(ops)), -EACCES);
}

static void provided_buffers_come_back(void **state)
{
	struct fixture *f = *state;
	struct ring_bufs b;
	struct ring r;
	char c = 'a';

	NEED_RING(f);
	assert_int_equal(ring_open(&r, 8, false), 0);
	assert_int_equal(ring_files(&r, f->pipe, 1), 0);
	if (ring_bufs_new(&r, &b, 3, 2, 2, 64) == -EINVAL)
		skip(); /* before Linux 5.19 */
	assert_int_equal(ring_restrict(&r, ops, sizeof(ops)), 0);
	assert_int_equal(ring_enable(&r), 0);
	for (int i = 0; i < 9; i++, c++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&r.u);
		struct io_uring_cqe *cqe;
		unsigned id;

		assert_int_equal(write(f->pipe[1], &c, 1), 1);
		io_uring_prep_read(sqe, 0, NULL, 64, 0);
		sqe->flags |= IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT;
		sqe->buf_group = 3;
		assert_int_equal(io_uring_submit_and_wait(&r.u, 1), 1);
		assert_int_equal(io_uring_peek_cqe(&r.u, &cqe), 0);
		assert_int_equal(cqe->res, 1);
		assert_true(cqe->flags & IORING_CQE_F_BUFFER);
		id = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
		assert_int_equal(ring_buf(&b, id)[0], c);
		io_uring_cqe_seen(&r.u, cqe);
		ring_buf_return(&b, id);
	}
	ring_close(&r);
	ring_bufs_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_unrestricted_ring_opens_files_and_sockets,
						unlocked, clear),
		cmocka_unit_test_setup_teardown(a_restricted_ring_refuses_openat, locked, clear),
		cmocka_unit_test_setup_teardown(a_restricted_ring_refuses_socket, locked, clear),
		cmocka_unit_test_setup_teardown(a_restricted_ring_reads_registered_files_only,
						locked, clear),
		cmocka_unit_test_setup_teardown(a_restricted_ring_registers_nothing_more, locked,
						clear),
		cmocka_unit_test_setup_teardown(provided_buffers_come_back, locked, clear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
