/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_TEMPLATE_H
#define MTA_TEMPLATE_H

/*
 * Theory: what the administrator writes once and what is filled in for each letter.
 *
 *	command		/usr/lib/dovecot/dovecot-lda -f %s -a %r	argv of a program, never a shell
 *	directory	mail/%d/%l/Maildir				below the home
 *
 * Words are split first (at blanks; what stands in '' is one word) and filled in after that, so that
 * nothing in an address makes a second argument, an option or another directory: an argument that
 * would begin with "-" by what was filled in, and a part of a path that is empty, begins with "." or has a "/"
 * in it, are errors.
 */

#include <stddef.h>

#define TEMPLATE_WORDS_MAX 32
#define TEMPLATE_TEXT_MAX  4096

/* What %x stands for. None is NULL. */
struct template_values {
	const char *user;      /* %u */
	const char *home;      /* %h; of a directory only in front, and without meaning there */
	const char *local;     /* %l, in lower case, without the subaddress */
	const char *extension; /* %e, the subaddress without its sign; commands alone */
	const char *domain;    /* %d, in lower case */
	const char *recipient; /* %r, as it came; commands alone */
	const char *sender;    /* %s, "" for the null sender; commands alone */
	const char *id;	       /* %i, of the letter; commands alone */
};

struct template_argv {
	char *argv[TEMPLATE_WORDS_MAX + 1]; /* into text; ended by NULL */
	char text[TEMPLATE_TEXT_MAX];
};

/** template_command_check() - 0, or -EINVAL with @why a clause. */
int template_command_check(const char *command, char *why, size_t cap);
/** template_command() - Fill @out; 0, -EINVAL (not a template) or -EBADMSG (what was filled in does not fit). */
int template_command(const char *command, const struct template_values *v,
		     struct template_argv *out, char *why, size_t cap);
/** template_dir_check() - A directory that can only lie below the home; 0, or -EINVAL with @why. */
int template_dir_check(const char *dir, char *why, size_t cap);
/** template_dir() - Fill @out, a path without "%h/"; errors as template_command(). */
int template_dir(const char *dir, const struct template_values *v, char *out, size_t out_cap,
		 char *why, size_t cap);

#endif
