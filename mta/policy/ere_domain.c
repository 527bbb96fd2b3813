/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Where the addresses lie that an expression describes; read off its text. */
#include <ctype.h>
#include <string.h>

#include "ere.h"

/* Has the pattern a "|" outside of parentheses and brackets? */
static bool has_choice(const char *p)
{
	unsigned depth = 0;

	for (; *p; p++) {
		if (*p == '\\' && p[1]) {
			p++;
		} else if (*p == '[') {
			p += 1 + (p[1] == '^');
			p += *p == ']';
			while (*p && *p != ']') {
				const char *end =
				    p[0] == '[' && p[1] == ':' ? strstr(p, ":]") : NULL;

				p = end ? end + 2 : p + 1;
			}
			if (!*p)
				return true; /* not reached: ere_new() refused it */
		} else if (*p == '(') {
			depth++;
		} else if (*p == ')') {
			depth--;
		} else if (*p == '|' && !depth) {
			return true;
		}
	}
	return false;
}

/* Where the byte of a domain begins whose spelling ends before @at: a letter, "\\.", "[.]". @at: none does. */
static size_t back(const char *p, size_t at)
{
	const char *end = p + at;

	if (at && (isalnum((unsigned char)end[-1]) || end[-1] == '-'))
		return at - 1;
	if (at > 2 && !memcmp(end - 2, "\\.", 2) && end[-3] != '\\')
		return at - 2;
	if (at > 3 && !memcmp(end - 3, "[.]", 3) && end[-4] != '\\')
		return at - 3;
	return at;
}

bool ere_domain(const struct ere *e, char out[static ERE_PATTERN_MAX + 1])
{
	const char *p = ere_pattern(e);
	size_t n = strlen(p), at, next, len = 0;

	out[0] = 0;
	if (has_choice(p))
		return false;
	if (n && p[n - 1] == '$' && !(n > 1 && p[n - 2] == '\\'))
		n--;
	for (at = n; (next = back(p, at)) != at; at = next)
		;
	if (!at || p[at - 1] != '@' || at == n)
		return false;
	for (size_t i = at; i < n; i++) {
		if (!strchr("\\[]", p[i]))
			out[len++] = (char)(p[i] >= 'A' && p[i] <= 'Z' ? p[i] + 32 : p[i]);
	}
	out[len] = 0;
	return true;
}
