/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DAEMON_PROC_POLICY_H
#define DAEMON_PROC_POLICY_H

/*
 * What the parent lets its child do, decided from the parent's own parse of the configuration. Pure:
 * nothing is asked of the kernel but through @local.
 */

#include "config.h"
#include "proc_msg.h"

#define POLICY_WHY_MAX 256

struct policy {
	const struct config *cfg;
	/* A subnet of another interface that overlaps @p; false: none. */
	bool (*local)(const struct prefix *p, struct prefix *which, void *arg);
	void *arg;
};

/**
 * policy_addr() - May @peer's assigned address stand on the TUN?
 *
 * Only as /32 or /128, inside the peer's accept-assigned, not inside a local subnet, not the
 * outer address of any peer, not a host that a peer's networks or assign name (it is someone else),
 * and only from a peer that we ask for addresses.
 * 0, or -EPROTO with @why for the log. @q has passed proc_check_request().
 */
int policy_addr(const struct policy *p, const struct pq_addr *q, char why[static POLICY_WHY_MAX]);
/** policy_route() - Only inside the peer's networks or its assigned addresses; 0 or -EPROTO. */
int policy_route(const struct policy *p, const struct pq_route *q, char why[static POLICY_WHY_MAX]);
/** policy_hook() - Only about a peer that we ask for addresses, and with unicast servers. */
int policy_hook(const struct policy *p, const struct pq_hook *q, char why[static POLICY_WHY_MAX]);
/** policy_stream() - Only a peer that we call, at one of its tcp-ports. */
int policy_stream(const struct policy *p, const struct pq_stream *q, char why[static POLICY_WHY_MAX]);
/** policy_pool() - Is it one of the prefixes of a pool? Those are always routed. */
bool policy_pool(const struct policy *p, const struct prefix *dst);
/** policy_adopt() - Could a peer have assigned this address (found on the TUN at start)? */
bool policy_adopt(const struct policy *p, const struct addr *a);

#endif
