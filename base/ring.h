/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_RING_H
#define BASE_RING_H

/*
 * Theory: seccomp does not see what io_uring does, so a ring is a way round it. Every ring of
 * ours is therefore born disabled, told which few operations it will ever accept, and on which
 * descriptors (those registered before), and only then enabled by the thread that will own it:
 *
 *	ring_open	IORING_SETUP_R_DISABLED		any thread, before the sandbox
 *	  ring_files, ring_bufs_new			registers while the ring still takes all
 *	ring_restrict	IORING_REGISTER_RESTRICTIONS	opcode list, IOSQE_FIXED_FILE required,
 *							no further registration of any kind
 *	ring_enable	IORING_REGISTER_ENABLE_RINGS	the owner; from here on it is locked
 *
 * After the last ring_enable seccomp may deny io_uring_setup and io_uring_register as a whole.
 * liburing 2.3 (Debian 12) lacks some helpers that newer ones have; they are here by raw call.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <liburing.h>

#define RING_OP_READ_MULTISHOT 49 /* IORING_OP_READ_MULTISHOT, Linux 6.7, not in old headers */

struct ring {
	struct io_uring u;
	bool open;
	bool deferred; /* SINGLE_ISSUER | DEFER_TASKRUN were taken */
};

/**
 * ring_open() - Make a disabled ring of @entries submissions (completions: four times as many).
 * Tries SINGLE_ISSUER | DEFER_TASKRUN first (Linux 6.1) unless @plain. 0 or -errno (-EPERM or
 * -ENOSYS where io_uring is forbidden or absent).
 */
int ring_open(struct ring *r, unsigned entries, bool plain);
/** ring_files() - Register @count descriptors as fixed files 0.. ; 0 or -errno. */
int ring_files(struct ring *r, const int *fds, unsigned count);
/**
 * ring_restrict() - Allow @ops and nothing else, each with IOSQE_FIXED_FILE; no registering.
 * Of the submission flags only FIXED_FILE, BUFFER_SELECT and IO_LINK stay allowed. Before ring_enable() only.
 */
int ring_restrict(struct ring *r, const uint8_t *ops, unsigned count);
/** ring_enable() - By the owning thread; the restrictions hold from here on. */
int ring_enable(struct ring *r);
/** ring_close() - Idempotent. Pending requests are cancelled by the kernel. */
void ring_close(struct ring *r);
/** ring_has_op() - Does the kernel know this opcode? Before ring_restrict() takes effect only. */
bool ring_has_op(struct ring *r, uint8_t op);

/* A ring of provided buffers, all of one size, in one mapping. */
struct ring_bufs {
	struct io_uring_buf_ring *br;
	size_t br_bytes;
	uint8_t *mem;
	size_t mem_bytes;
	size_t size;	/* of one buffer */
	unsigned count; /* a power of two */
	uint16_t group;
};

/** ring_bufs_new() - @count (a power of two) buffers of @size bytes as group @group, the first @given handed in. */
int ring_bufs_new(struct ring *r, struct ring_bufs *b, uint16_t group, unsigned count, unsigned given,
		  size_t size);
/** ring_bufs_rest() - Give back the memory, until it is written again; what any buffer holds is gone. */
void ring_bufs_rest(struct ring_bufs *b);
/** ring_bufs_free() - After ring_close(). */
void ring_bufs_free(struct ring_bufs *b);
static inline uint8_t *ring_buf(const struct ring_bufs *b, unsigned id)
{
	return b->mem + (size_t)id * b->size;
}
/** ring_buf_return() - Give buffer @id back to the kernel; no system call. */
void ring_buf_return(struct ring_bufs *b, unsigned id);

#endif
