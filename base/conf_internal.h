/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_CONF_INTERNAL_H
#define BASE_CONF_INTERNAL_H

#include "conf.h"

/* Between conf.c (lines, sections, keys) and conf_value.c (text to typed values). */

/**
 * conf_value_parse() - One unquoted value of key @k.
 * @v: @v->text is set by the caller (malloc'd) and may be replaced; the rest is filled.
 * @dir: what a relative CONF_PATH is joined to.
 * 0, or -EINVAL with @why a clause ("out of range"), or -ENOMEM.
 */
int conf_value_parse(const struct conf_key *k, const char *dir, struct conf_value *v, char *why,
		     size_t why_cap);

/**
 * conf_value_unquote() - Copy one element, edge spaces gone, quotes and escapes undone.
 * @len of @s. NULL with @why on a fault.
 */
char *conf_value_unquote(const char *s, size_t len, char *why, size_t why_cap);

/** conf_keep() - A copy of @text that lives as long as @c; takes @text (malloc'd). NULL without memory. */
char *conf_keep(struct conf *c, char *text);
/** conf_alloc() - @len bytes (@align: a power of two up to 8) that go with conf_chunks_free(); NULL without memory. */
void *conf_alloc(struct conf_chunk **list, size_t len, size_t align);
void conf_chunks_free(struct conf_chunk **list);

/** conf_by_name_add() - The last section becomes known to conf_find(), the first of equals wins; 0, -ENOMEM. */
int conf_by_name_add(struct conf *c);

/** conf_kind_str() - "[posternd]", "[peer NAME]". */
const char *conf_kind_str(const struct conf_kind *k, char *out, size_t cap);

#endif
