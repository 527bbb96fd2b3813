/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DATAPLANE_UDP_CLASSIFY_H
#define DATAPLANE_UDP_CLASSIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UDP_IKE_MIN 28 /* an IKE header (RFC 7296 s3.1), without the non-ESP marker */

enum udp_class {
	UDP_RUNT,	/* too short for anything */
	UDP_IKE,	/* on the IKE port: no marker */
	UDP_IKE_MARKED, /* four zero bytes, then IKE */
	UDP_KEEPALIVE,	/* one byte 0xFF, or nothing at all */
	UDP_RESERVED,	/* ESP with an SPI that nobody may use (RFC 4303 s2.1) */
	UDP_ESP,
};

/** udp_classify() - What one datagram is (RFC 3948 s2); @natt: not the IKE port. */
enum udp_class udp_classify(bool natt, const uint8_t *p, size_t len);

/**
 * udp_ike_opening() - Is this IKE message (without marker) an IKE_SA_INIT request that does not begin with a
 * Notify, as one with a cookie does (RFC 7296 s2.6)? Any address can be forged in such a one.
 */
bool udp_ike_opening(const uint8_t *p, size_t len);

#endif
