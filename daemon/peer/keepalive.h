/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PEER_KEEPALIVE_H
#define PEER_KEEPALIVE_H

#include "supervisor.h"

/** keepalive_interval_ms() - How long this peer's path may be without a packet of ours. */
uint64_t keepalive_interval_ms(const struct supervisor *s);
/** keepalive_due() - Should a NAT on our side be reminded of us now? */
bool keepalive_due(const struct supervisor *s, const struct sup_activity *a, uint64_t now_ms);
/** keepalive_next_ms() - When the next one would be due if nothing left before; UINT64_MAX: none. */
uint64_t keepalive_next_ms(const struct supervisor *s, const struct sup_activity *a);

#endif
