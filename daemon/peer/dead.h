/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PEER_DEAD_H
#define PEER_DEAD_H

/* A way that is told and carries nothing: noticed, and left for another one. Part of path.h. */

#include "path.h"

/** dead_tick() - Look whether @cur (may be NULL) carries what is sent; returns when to look again. */
uint64_t dead_tick(struct supervisor *s, struct path_way *cur, uint64_t now_ms);

#endif
