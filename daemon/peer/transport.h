/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PEER_TRANSPORT_H
#define PEER_TRANSPORT_H

/*
 * Theory: when UDP is blocked. A peer whose UDP port has not answered for 3 s, a live one a request for
 * 2 s, is called at its further UDP ports and by TCP (RFC 9329) as well, all in parallel:
 *
 *	idle ──► connecting ──► open ──► calling ──► up on a stream
 *		 10 s at most	0.7 s	   a new IKE SA beside what there is (call.c)
 *
 * In an open stream's first 0.7 s UDP is asked once more: after an outage of everything TCP may be
 * the first to notice that it is over, and would win for no good reason. What comes up retires the
 * IKE SA of before, so inner connections live on.
 *
 * While the live IKE SA is on a stream, a liveness request leaves by UDP first, at 5 s and then every 30 to
 * 60 s, and its copies by the stream. An answer by UDP moves the IKE SA there: the request and its
 * answer have both got through. The far side moves when data or a dummy of ours comes by UDP, not by the
 * request alone, which proves one direction. The stream stays for a while and brings what was in it.
 */

#include "supervisor.h"

#define TRANSPORT_AFTER_MS     3000 /* of calls in vain */
#define TRANSPORT_ASKED_MS     2000 /* of a request in vain: its first copies and those before it had time */
#define TRANSPORT_RETRY_MS     4000
#define TRANSPORT_CONNECT_MS   10000
#define TRANSPORT_HEADSTART_MS 700
#define TRANSPORT_HOP_WAIT_MS  1000 /* for the answer to a hop, before a live IKE SA gets a successor */
#define TRANSPORT_ALONE_MS     3000 /* of a call by a stream before the next one */
#define TRANSPORT_PROBE_FIRST_MS 5000
#define TRANSPORT_PROBE_SOON_MS 1000
#define TRANSPORT_PROBE_MS     30000 /* and up to as much again */
#define TRANSPORT_TRIES_MAX    6

extern const struct sup_hook transport_hook;

static inline bool transport_is_stream(const struct engine_path *p)
{
	return p->sock >= ENGINE_SOCK_STREAM;
}
/** transport_clear() - Frees; streams are closed by who removes the peer. */
void transport_clear(struct supervisor *s);

/** transport_udp_ms() - On a stream: when UDP is tried next. 0: on none, or that is not for us to try. */
uint64_t transport_udp_ms(const struct supervisor *s);

#endif
