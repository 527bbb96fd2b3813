/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef POLICY_ERE_H
#define POLICY_ERE_H

/*
 * Theory: POSIX extended regular expressions, matched without ever going back. The expression becomes
 * a list of at most ERE_STATES_MAX states when the configuration is read; matching walks the text once
 * and keeps the set of states that are possible so far. So a match costs at most
 *
 *	(length of the text + 1) x states
 *
 * steps and no memory beyond its stack frame, whatever a stranger sends: nothing is tried twice, and no
 * automaton is made on the way that could grow. The C library's regexec() promises neither: it
 * follows back-references, and glibc's keeps each new state of the automaton that a text brings.
 *
 *	(a|b)*c    0 split 1 6   1 split 2 4   2 'a'   3 jump 5   4 'b'   5 jump 0   6 'c'   7 match
 *
 * What POSIX leaves undefined is refused, and so are back-references and the escapes of other
 * languages (\d, \w), which would silently mean something else. Letters are compared without regard to
 * ASCII case; "." and brackets take single bytes. An expression speaks of the whole text.
 */

#include <stdbool.h>
#include <stddef.h>

#define ERE_PATTERN_MAX 255  /* bytes */
#define ERE_STATES_MAX	1000 /* after {n,m} is written out */
#define ERE_REPEAT_MAX	100  /* of n and m */
#define ERE_TEXT_MAX	1024 /* of what is matched; longer texts do not match */

struct ere;

/**
 * ere_new() - Compile @pattern.
 * @why: on failure a clause that says what is wrong and, where it helps, what to write.
 * Returns the expression, ere_free()d by the caller; NULL on failure.
 */
struct ere *ere_new(const char *pattern, char *why, size_t cap);
void ere_free(struct ere *e);
/** ere_match() - Is the whole of @text (@len bytes) one of what the expression describes? */
bool ere_match(const struct ere *e, const char *text, size_t len);
/** ere_match_steps() - The same; @steps: set to how many states were looked at. */
bool ere_match_steps(const struct ere *e, const char *text, size_t len, size_t *steps);
/** ere_states() - How many states the expression has. */
size_t ere_states(const struct ere *e);
/** ere_pattern() - As it was written. */
const char *ere_pattern(const struct ere *e);
/**
 * ere_domain() - The one domain in which all addresses lie that the expression describes.
 *
 * Known only where the expression says so plainly: no "|" outside of parentheses, and its end is
 * "@" and a domain of literal characters ("list-.*@example\.net"). @out: lower case, terminated;
 * at least ERE_PATTERN_MAX + 1 bytes. False: the expression may describe addresses anywhere.
 */
bool ere_domain(const struct ere *e, char out[static ERE_PATTERN_MAX + 1]);

#endif
