/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_CLI_LEAK_H
#define MTA_CLI_LEAK_H

/*
 * Theory: what a header section tells of what lies behind the tunnel. It is read as words, runs of the letters,
 * digits and signs that addresses and names are made of, wherever in a field they stand:
 *
 *	an address that means nothing on the internet, or that lies in one of our own inner networks;
 *	a name that no DNS has (router.lan, x.home.arpa), also behind an '@';
 *	a word that is to be kept: the name of a tunnel peer, of a user. A whole word only: "jay" does not stand
 *	in jay@example.com, which is an address that a letter may bear, nor "vps" in vps.example.net.
 */

#include <stdbool.h>
#include <stddef.h>

#include "addr.h"

#define LEAK_TEXT_MAX 256
#define LEAK_NAME_MAX 40

enum leak_kind { LEAK_ADDRESS, LEAK_NAME, LEAK_WORD };

struct leak {
	enum leak_kind kind;
	size_t field;		  /* its number, the first is 0 */
	char name[LEAK_NAME_MAX]; /* "Received"; cut */
	char what[LEAK_TEXT_MAX]; /* the word; cut, without control characters */
};

struct leak_known {
	const struct prefix *inner; /* beside those that are private for everybody */
	size_t inner_count;
	const char *const *words; /* in any case of letters */
	size_t word_count;
};

/**
 * leak_find() - Look through a header section; it ends at its empty line, or at @len.
 * @out: gets @max of them at most; what stands twice in a field is told once.
 *
 * Returns how many there are, perhaps more than @max.
 */
size_t leak_find(const char *head, size_t len, const struct leak_known *known, struct leak *out,
		 size_t max);
/** leak_kind_word() - "address", "name" or "word". */
const char *leak_kind_word(enum leak_kind kind);

#endif
