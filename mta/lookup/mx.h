/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_LOOKUP_MX_H
#define MTA_LOOKUP_MX_H

/* From DNS answers to the list of hosts (RFC 5321 s5.1, RFC 7505); no sockets, no resolver. */

#include "lookup.h"
#include "resolver.h"

/**
 * mx_name() - An uncompressed name of RDATA as text, lower case, without the final dot.
 * "" for the root. The count of bytes read, or -EBADMSG for what is no host name.
 */
int mx_name(const uint8_t *p, size_t len, char out[static MTA_DOMAIN_MAX]);

/**
 * mx_hosts() - The answer to an MX question.
 * @domain: that was asked.
 * @host: LOOKUP_MX_MAX; filled with names and preferences, sorted, equal ones in random order.
 * @count: of them; their addresses are still to be had.
 * @out: status (OK, NONE, TEMPFAIL, NULL_MX), implicit, secure and more are set.
 *
 * Records that are broken, or that name an address instead of a host, are passed over.
 */
void mx_hosts(const char *domain, const struct resolver_answer *a,
	      struct lookup_host host[static LOOKUP_MX_MAX], size_t *count, struct lookup_mx *out);

/**
 * mx_finish() - When the addresses are there: hosts without any go, the whole may have none. That is no
 * firm no while there are hosts past the bound: one of them may have an address tomorrow, or come up.
 * @host: in place; @count: changed.
 */
void mx_finish(struct lookup_host *host, size_t *count, struct lookup_mx *out);

/** mx_addrs() - Add the addresses of an A or AAAA answer to @h. */
void mx_addrs(struct lookup_host *h, int type, const struct resolver_answer *a);

/** mx_reverse() - "2.0.0.192.in-addr.arpa" and the like; 0 or -E2BIG. */
int mx_reverse(const struct addr *a, char *out, size_t cap);

#endif
