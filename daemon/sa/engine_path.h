/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SA_ENGINE_PATH_H
#define SA_ENGINE_PATH_H

#include <stdbool.h>
#include <stdint.h>

#include "addr.h"

/* Numbers of sockets from here on are streams (RFC 9329): each one connection, never used again. */
#define ENGINE_SOCK_STREAM 256u

/* How a datagram travels: the caller's number of a socket, the interface, and both ends. */
struct engine_path {
	uint32_t sock;
	uint32_t ifindex; /* it leaves by that one only; 0: the kernel's choice */
	struct endpoint local, remote;
};

/* Who leaves the interface to the kernel has nothing to compare: only another one is another path. */
static inline bool engine_path_eq(const struct engine_path *a, const struct engine_path *b)
{
	return a->sock == b->sock && endpoint_eq(&a->local, &b->local) &&
	       endpoint_eq(&a->remote, &b->remote) &&
	       (a->ifindex == b->ifindex || !a->ifindex || !b->ifindex);
}

#endif
