/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_EXCHANGE_KIDS_H
#define TESTS_EXCHANGE_KIDS_H

/*
 * Several CHILD SAs with one peer. The policies are those of the OpenBSD tutorial that sends mail over
 * IPsec: SMTP each way and ping, by protocol and port, which met one section on the other side,
 * or three that did not match. Who uses this is linked with --wrap=pld_vendor_add.
 */

#include "world.h"

#define TCP    6
#define ICMPV6 58
#define SMTP   25

extern bool foreign; /* neither sends our Vendor ID: they are no Posterns to each other */
extern const char *const own[2];

/** sel() - A selector: prefix, protocol, port (0: any). Good until 64 more were made. */
struct engine_ts *sel(const char *prefix, uint8_t proto, uint16_t port);
/** conf() - A CHILD configuration with one selector on each side. */
struct engine_child_conf conf(uint32_t id, const char *name, const struct engine_ts *local,
			      const struct engine_ts *remote);
/** mail_policies() - "in", "out" and "ping" (1 to 3), as host @i sees them. */
void mail_policies(struct world *w, int i);
/** one_policy() - "all". */
void one_policy(struct world *w, int i);
/** three_and() - mail_policies() at home, @vps() at the VPS; not started. */
struct world *three_and(void (*vps)(struct world *w, int i));
/** start() - Home calls; a second later. */
void start(struct world *w);

/** changed - What go_over() takes @count of; changed_from() fills it with what there is. */
extern struct engine_child_conf changed[2][4];
void changed_from(struct world *w);
void go_over(struct world *w, int i, size_t count);

/** working() - CHILD SAs of @i that send, each opened by its other half with the same selectors. */
unsigned working(const struct world *w, int i);
/** expect() - Both have @n working ones. */
void expect(const struct world *w, unsigned n);
/** way() - The CHILD SA that sends for a packet: the newest that fits; NULL: none. */
const struct paper_child *way(const struct world *w, int i, uint8_t proto, int sport, int dport);
/** mail_passes() - SMTP each way and ping pass and nothing else, @each_its_own or not. */
void mail_passes(const struct world *w, bool each_its_own);
/** established() - IKE SAs of the peer that are up. */
size_t established(const struct world *w, int i);
uint32_t spi_of(const struct world *w, int i, uint8_t proto, int sport, int dport);
void finish(struct world *w);

#endif
