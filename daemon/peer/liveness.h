/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PEER_LIVENESS_H
#define PEER_LIVENESS_H

#include "supervisor.h"

/** liveness_due() - Is a request for proof of life due (design.md section 4, triggers 1 to 3)? Notes which it was. */
bool liveness_due(struct supervisor *s, const struct sup_activity *a, uint64_t now_ms);
/** liveness_next_ms() - When triggers 1 to 3 ask, should nothing more be heard; @a as it is now. */
uint64_t liveness_next_ms(const struct supervisor *s, const struct sup_activity *a);
/** liveness_heard() - Keep account of how often a waiting-side peer is usually heard. */
void liveness_heard(struct supervisor *s, uint64_t rx_auth_ms);

#endif
