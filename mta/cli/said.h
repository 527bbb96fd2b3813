/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_CLI_SAID_H
#define MTA_CLI_SAID_H

/* What the queue says holds bytes from outside: no control character reaches the terminal. */

#include <jansson.h>
#include <stdio.h>

/** said() - The text of @key; "" where there is none. Borrowed. */
static inline const char *said(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

/** said_print() - NULL is nothing. Returns how many bytes were printed. */
static inline int said_print(const char *s)
{
	int n = 0;

	for (; s && *s; s++, n++)
		putchar((unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s);
	return n;
}

#endif
