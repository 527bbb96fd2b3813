/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_DOMAIN_H
#define MTA_DOMAIN_H

/*
 * Theory: a domain of an internationalised name has two spellings (RFC 5890 s2.3.2.1): U-labels, as
 * people read it, and A-labels (xn--...), as the DNS has it. Both stand in envelopes (RFC 6531 s3.2), so a
 * domain is compared by one of them alone, the A-labels, which every other program understands too. What is
 * sent on keeps the spelling in which it came.
 */

#include "config.h"

/**
 * domain_spell() - The one spelling of a domain: lower case, A-labels. @out may be @domain.
 *
 * What is no name by IDNA 2008 (RFC 5891 s5) stays as it is, in lower case as far as it is ASCII: it equals
 * nothing but itself. Returns @out.
 */
char *domain_spell(const char *domain, char out[static MTA_DOMAIN_MAX]);

#endif
