/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "domain.h"

#include "address.h"

#include <idn2.h>
#include <stdio.h>
#include <string.h>

static void lower(char *s)
{
	for (; *s; s++)
		*s = (char)(*s >= 'A' && *s <= 'Z' ? *s + ('a' - 'A') : *s);
}

static bool ascii(const char *s)
{
	while (*s && !(*s & 0x80))
		s++;
	return !*s;
}

char *domain_spell(const char *domain, char out[static MTA_DOMAIN_MAX])
{
	/* As in a browser: ß is a letter of its own and not ss, capitals and compositions are one. */
	const int how = IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL;
	char *a = NULL;

	/* Some letters vanish, and some become what no name has: blanks, brackets, a dot at the end. */
	if (!ascii(domain) &&
	    idn2_lookup_u8((const uint8_t *)domain, (uint8_t **)&a, how) == IDN2_OK &&
	    strlen(a) < MTA_DOMAIN_MAX && address_domain_valid(a, strlen(a), false))
		domain = a;
	if (domain != out)
		snprintf(out, MTA_DOMAIN_MAX, "%s", domain);
	lower(out);
	if (a)
		idn2_free(a);
	return out;
}
