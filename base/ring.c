/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RING_OPS_MAX 16

static int reg(int fd, unsigned op, void *arg, unsigned n)
{
	return syscall(__NR_io_uring_register, fd, op, arg, n) < 0 ? -errno : 0;
}

int ring_open(struct ring *r, unsigned entries, bool plain)
{
	static const unsigned wish[] = {
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
		0,
	};
	int rc = -EINVAL;

	memset(r, 0, sizeof(*r));
	for (int i = plain ? 1 : 0; i < 2; i++) {
		struct io_uring_params p = {
			.flags = IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE |
				 IORING_SETUP_CLAMP | wish[i],
			.cq_entries = 4 * entries,
		};

		rc = io_uring_queue_init_params(entries, &r->u, &p);
		if (!rc) {
			r->open = true;
			r->deferred = wish[i] != 0;
			return 0;
		}
		if (rc != -EINVAL)
			break;
	}
	return rc;
}

int ring_files(struct ring *r, const int *fds, unsigned count)
{
	return reg(r->u.ring_fd, IORING_REGISTER_FILES, (void *)(uintptr_t)fds, count);
}

int ring_restrict(struct ring *r, const uint8_t *ops, unsigned count)
{
	struct io_uring_restriction res[RING_OPS_MAX + 2];
	unsigned n = 0;

	if (!count || count > RING_OPS_MAX)
		return -EINVAL;
	memset(res, 0, sizeof(res));
	for (; n < count; n++) {
		res[n].opcode = IORING_RESTRICTION_SQE_OP;
		res[n].sqe_op = ops[n];
	}
	res[n].opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED;
	res[n++].sqe_flags = IOSQE_FIXED_FILE;
	res[n].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
	res[n++].sqe_flags = IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT | IOSQE_IO_LINK;
	return reg(r->u.ring_fd, IORING_REGISTER_RESTRICTIONS, res, n);
}

int ring_enable(struct ring *r)
{
	return reg(r->u.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

void ring_close(struct ring *r)
{
	if (r->open)
		io_uring_queue_exit(&r->u);
	r->open = false;
}

bool ring_has_op(struct ring *r, uint8_t op)
{
	union {
		struct io_uring_probe p;
		uint8_t
		    space[sizeof(struct io_uring_probe) + 256 * sizeof(struct io_uring_probe_op)];
	} *probe = calloc(1, sizeof(*probe));
	bool has = false;

	if (!probe)
		return false;
	if (!reg(r->u.ring_fd, IORING_REGISTER_PROBE, probe, 256) && op <= probe->p.last_op)
		has = probe->p.ops[op].flags & IO_URING_OP_SUPPORTED;
	free(probe);
	return has;
}

int ring_bufs_new(struct ring *r, struct ring_bufs *b, uint16_t group, unsigned count, unsigned given,
		  size_t size)
{
	struct io_uring_buf_reg breg = { .ring_entries = count, .bgid = group };
	void *p;
	int rc;

	memset(b, 0, sizeof(*b));
	if (!count || (count & (count - 1)) || count > 1024)
		return -EINVAL;
	b->br_bytes = count * sizeof(struct io_uring_buf);
	b->mem_bytes = count * size;
	b->size = size;
	b->count = count;
	b->group = group;
	p = mmap(NULL, b->br_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return -ENOMEM;
	b->br = p;
	p = mmap(NULL, b->mem_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED) {
		ring_bufs_free(b);
		return -ENOMEM;
	}
	b->mem = p;
	breg.ring_addr = (uintptr_t)b->br;
	rc = reg(r->u.ring_fd, IORING_REGISTER_PBUF_RING, &breg, 1);
	if (rc) {
		ring_bufs_free(b);
		return rc;
	}
	b->br->tail = 0;
	for (unsigned i = 0; i < given && i < count; i++)
		ring_buf_return(b, i);
	return 0;
}

void ring_buf_return(struct ring_bufs *b, unsigned id)
{
	struct io_uring_buf *slot;

	/* The kernel overlays the ring's tail on the reserved field of entry 0. */
	slot = (struct io_uring_buf *)b->br + (b->br->tail & (b->count - 1));
	slot->addr = (uintptr_t)ring_buf(b, id);
	slot->len = (uint32_t)b->size;
	slot->bid = (uint16_t)id;
	__atomic_store_n(&b->br->tail, (uint16_t)(b->br->tail + 1), __ATOMIC_RELEASE);
}

void ring_bufs_rest(struct ring_bufs *b)
{
	(void)madvise(b->mem, b->mem_bytes, MADV_DONTNEED);
}

void ring_bufs_free(struct ring_bufs *b)
{
	if (b->br)
		munmap(b->br, b->br_bytes);
	if (b->mem)
		munmap(b->mem, b->mem_bytes);
	b->br = NULL;
	b->mem = NULL;
}
