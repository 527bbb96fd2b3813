/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DATAPLANE_IO_H
#define DATAPLANE_IO_H

/*
 * Theory: what a worker needs of the kernel, in eight functions, so that io_uring and epoll stand
 * side by side and can be measured against each other. A backend calls back into the worker:
 *
 *	tun_on_read(w, buf, len)	a TUN read; the buf is the worker's until buf_put()
 *	udp_on_recv(w, rx, buf)		a receive; likewise
 *	udp_on_sent(w, batch, res)	a send is over (0 or -errno); the batch is the worker's again
 *	tun_on_written(w, tunw, res)	a TUN write is over
 *	worker_end_turn(w)		nothing more is at hand: what is half full must leave
 */

#include <stdbool.h>

struct worker;
struct txbatch;
struct tunw;
struct sock;

struct io_ops {
	const char *name;
	/** open() - By the control thread in dp_new(): make, probe, register. 0 or -errno. */
	int (*open)(struct worker *w);
	/** start() - By the worker's thread, once: take possession. */
	int (*start)(struct worker *w);
	/** turn() - Wait until something is there, hand it over, end the turn. 0 or -errno: fatal. */
	int (*turn)(struct worker *w);
	/** send() - Takes @b; answers by udp_on_sent(), perhaps before it returns. */
	void (*send)(struct worker *w, struct txbatch *b);
	/** write() - Takes @t; answers by tun_on_written(), perhaps before it returns. */
	void (*write)(struct worker *w, struct tunw *t);
	/** blocked() - @s took no more: call udp_on_writable() when it does. */
	void (*blocked)(struct worker *w, struct sock *s);
	/** rest() - Nothing has moved for a while: give back the memory of buffers that hold nothing. */
	void (*rest)(struct worker *w);
	/** close() - Cancel, release. No callbacks. Also after a failed open(). */
	void (*close)(struct worker *w);
};

extern const struct io_ops io_epoll;
extern const struct io_ops io_uring_ops;

#endif
