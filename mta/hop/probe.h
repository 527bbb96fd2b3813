/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HOP_PROBE_H
#define HOP_PROBE_H

/*
 * Theory: a probe is a letter that looks at its own way (`postern mail path-test`). What makes it one are facts
 * of XPOSTERN, which verified tunnel peers alone can give (xpostern.h); a header field makes nobody a probe.
 * Its token, 128 random bits, names the question. The last Postern on the way answers by a report,
 * which is a DSN with the null sender, to
 *
 *	TOKEN@probe.postern.invalid
 *
 * This domain is in nobody's DNS (RFC 6761 s6.4): a report goes to the tunnel peer that brought the probe, or
 * nowhere. At a hop between it is handed on, once, to the peer that the probe came from; where the
 * question was asked it is not stored, but taken by who waits for it. Anybody else's is refused.
 */

#include <stdbool.h>

#include "envelope.h"

#define PROBE_DOMAIN	  "probe.postern.invalid"
#define PROBE_ADDRESS_MAX (LETTER_ID_STR_MAX + sizeof(PROBE_DOMAIN))

/** probe_address() - Where the report on probe @token goes; returns @out. */
const char *probe_address(const uint8_t token[static LETTER_ID_LEN],
			  char out[static PROBE_ADDRESS_MAX]);
/** probe_is_address() - Is the domain that of reports, in any case of letters? */
bool probe_is_address(const char *address);
/** probe_token() - Of such an address; -EINVAL for every other. */
int probe_token(const char *address, uint8_t token[static LETTER_ID_LEN]);

#endif
