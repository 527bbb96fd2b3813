/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DATAPLANE_TOO_BIG_H
#define DATAPLANE_TOO_BIG_H

#include "pkt.h"

#define TOO_BIG_V4_MAX 576  /* RFC 1812 s4.3.2.3: as much of the packet as fits into so much */
#define TOO_BIG_V6_MAX 1280 /* RFC 4443 s2.4 (c) */

/**
 * too_big_build() - The ICMP or ICMPv6 error that says how large a packet may be (RFC 1191 s4, RFC 4443 s3.2).
 * @p, @k: the packet that does not fit, parsed; only its first bytes are looked at.
 * @bytes: its length; in the quoted header it stands instead of what a super-packet says there.
 * @mtu: what would fit.
 * @out: TOO_BIG_V6_MAX bytes.
 *
 * It comes from the packet's own destination: an address of ours would be a martian on the device by which
 * the kernel gets it, and the destination is what lies behind that device. Returns its length, or 0
 * where no error may be sent (RFC 1122 s3.2.2, RFC 4443 s2.4 (e)): about an ICMP error, a later
 * fragment, multicast, a source that is nobody.
 */
size_t too_big_build(const uint8_t *p, const struct pkt *k, size_t bytes, uint16_t mtu,
		     uint8_t *out);

#endif
