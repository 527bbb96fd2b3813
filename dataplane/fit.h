/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DATAPLANE_FIT_H
#define DATAPLANE_FIT_H

/*
 * Theory: peers behind one TUN have paths of different sizes, so what fits is decided for each unit
 * by the path to its peer and the cipher of its SA. What does not fit
 *
 *	TCP			is cut at a smaller segment size, as segmentation would have done; its
 *				sender is told by an error too, and sends smaller ones from then on
 *	IPv4 without DF		is fragmented before it is encrypted (RFC 4301 s8.2). Where selectors ask
 *				for ports, later fragments would not match them at the far end: there
 *				the outer datagram goes without DF instead
 *	IPv6 up to 1280		nobody may refuse it (RFC 8200 s5): the outer datagram is fragmented
 *	all else		is dropped and answered by ICMP or ICMPv6 with the size that fits
 */

#include "offload.h"
#include "spd.h"

#define FIT_IPV6_MIN 1280

struct worker;

/** fit_inner() - The largest inner packet for the path to @p; UINT16_MAX: not known. @ep may be NULL. */
uint16_t fit_inner(const struct peer *p, const struct ep *ep, const struct esp_shape *shape);
/**
 * fit_unit() - Between split_init() and split_next(): make @s fit @max.
 * DP_OUT_PKT, perhaps with s->whole set; or DP_DROP_INNER_BIG, then the sender was told as far as
 * allowed.
 */
enum dp_verdict fit_unit(struct worker *w, const struct sa_out *sa, struct split *s, uint16_t max);
/**
 * fit_shrunk() - The path to @peer takes less now: TCP that has sent again of late is told so.
 * Else it would wait for its timer, which doubles, before it learns it by another packet.
 */
void fit_shrunk(struct worker *w, uint32_t peer);
/** fit_watch() - Look for large packets that seem to get lost on the way: DP_EV_STALLED. */
void fit_watch(struct worker *w, struct peer *p, const struct split *s);

/** split_recut() - TCP in one or more segments: into ones of at most @max bytes. False: it cannot be. */
bool split_recut(struct split *s, size_t max);
/** split_fragment() - One IPv4 packet without DF: into fragments of at most @max bytes; or false. */
bool split_fragment(struct split *s, size_t max);

#endif
