/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PEER_ELSEWHERE_H
#define PEER_ELSEWHERE_H

#include "supervisor.h"

/* Further addresses of the peer (RFC 4555 s3.6); see elsewhere.c. */
struct sup_elsewhere {
	struct addr addr[ENGINE_ADDRS_MAX];
	size_t count;
};

extern const struct sup_hook elsewhere_hook;

#endif
