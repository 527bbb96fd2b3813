/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PEER_HOP_H
#define PEER_HOP_H

#include "supervisor.h"

/*
 * Theory: a NAT may hold on to a mapping that leads nowhere, and our own packets keep it alive. What the
 * start side has asked for 2 s without an answer therefore goes out from another socket too, the same
 * bytes, by turns with the usual one: the request of the live IKE SA, and those of calls. Which
 * socket that is changes each 20 s, for all peers at once, so that one rests while the other is used: what
 * rests for 10 s and is nobody's live one gets a new source port (hop_renew.c), so there is always one
 * that no NAT has seen. The socket that answers becomes the live one.
 */

/** hop_tick() - Send what is due to go another way; returns when the next is, UINT64_MAX: none. */
uint64_t hop_tick(struct supervisor *s, uint64_t now_ms);

#endif
