/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DAEMON_PROC_OUTER_H
#define DAEMON_PROC_OUTER_H

/*
 * The outer UDP sockets (parent only). The reuseport group is made once, in order, and kept for the
 * parent's life: a worker's index in it never moves (measured: when one closes, the kernel moves the last
 * one into the gap). All are marked, have large buffers and never fragment by themselves.
 */

#include "proc_msg.h"

struct outer_socket {
	int fd;
	sa_family_t family;
	uint16_t port;
};

struct outer {
	uint32_t mark;
	struct outer_socket group[PROC_WORKERS_MAX];
	size_t count;
	struct outer_socket port500; /* fd -1: none */
	struct outer_socket hop[PROC_HOPS];
	struct outer_socket port[PROC_PORTS]; /* further UDP ports */
	size_t port_count;
	struct outer_socket tcp[PROC_PORTS]; /* listening */
	bool tls[PROC_PORTS];
	size_t tcp_count;
	uint32_t marks[PROC_MARKS]; /* which of the peers' marks these hop sockets have; 0: none */
};

/**
 * outer_open() - @port 0: any free one, the same for the whole group.
 * 0 or -errno with @why, a sentence for the admin. -EADDRINUSE is tried again for two seconds: a killed
 * predecessor's child may still hold the port.
 */
int outer_open(struct outer *o, uint16_t port, size_t workers, bool port500, uint32_t mark,
	       char why[static 256]);
/**
 * outer_hop() - Another source port for hop @i: the same socket, so that whoever has a duplicate, in a ring
 * or a set of descriptors, goes on with it. 0 or -errno.
 */
int outer_hop(struct outer *o, size_t i);
/**
 * outer_marks() - Peers want these marks (at most PROC_MARKS): who had one keeps its sockets, and what is nobody's
 * any more is as before.
 */
void outer_marks(struct outer *o, const uint32_t *mark, size_t count);
void outer_close(struct outer *o);

/* outer_tcp.c */
struct config;
/**
 * outer_ports() - The further UDP ports and the listening TCP ones, after outer_open(). 0 or -errno with
 * @why. A TCP port that nobody asked for, but is there by default, is left out when another has it.
 */
int outer_ports(struct outer *o, const struct config *cfg, char why[static 256]);
/** outer_connect() - A TCP socket with @mark (0: our own) that connects to @to, or -errno. Never waits. */
int outer_connect(const struct outer *o, const struct endpoint *to, uint32_t mark);
/* outer.c, for outer_tcp.c */
/** outer_one() - A UDP socket at @port, when it is free within two seconds. */
int outer_one(struct outer_socket *s, sa_family_t family, uint16_t port, uint32_t mark);

#endif
