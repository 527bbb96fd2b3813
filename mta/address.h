/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_ADDRESS_H
#define MTA_ADDRESS_H

/*
 * Theory: an address is parsed once, strictly, and carried as the bytes that the client sent, minus
 * brackets and source route. Nothing is cut, folded or rewritten, so the envelope that
 * leaves equals the one that came (RFC 5321 s4.1.2).
 *
 *	<@relay.example:"joe b"@Example.ORG>	->  "joe b"@Example.ORG
 *	                                            ^text   ^text[at]
 *
 * Beyond the grammar these are refused wherever they stand, quoted too: control characters, and the
 * characters that separate commands or start an expansion in a shell or an alias
 * (| ; $ ` and, inside quotes, < > ( ) and backslash pairs of them). No part of Postern hands an
 * address to a shell; this is the second wall (CVE-2020-7247). & ' ! % / = stay: they stand in
 * addresses of real people, lists and forwarders.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"

#define ADDRESS_MAX	   254 /* RFC 5321 s4.5.3.1.3: 256 with the brackets */
#define ADDRESS_DOMAIN_MAX 253
#define ADDRESS_LABEL_MAX  63

enum address_kind {
	ADDRESS_NULL,	 /* <>, the sender of bounces */
	ADDRESS_BARE,	 /* <postmaster>, no domain (RFC 5321 s4.5.1) */
	ADDRESS_DOMAIN,	 /* local@domain */
	ADDRESS_LITERAL, /* local@[192.0.2.1], local@[IPv6:2001:db8::1] */
};

enum address_flags {
	ADDRESS_ALLOW_NULL = 1,
	ADDRESS_ALLOW_BARE = 2, /* only "postmaster", in any case of letters */
	ADDRESS_ALLOW_UTF8 = 4, /* SMTPUTF8 was asked for (RFC 6531) */
};

struct address {
	char text[ADDRESS_MAX + 1]; /* as it came, terminated; "" for the null sender */
	uint8_t len;
	uint8_t at; /* index of the '@' that parts local and domain; len when there is no domain */
	uint8_t kind;
	bool utf8;
	struct addr literal; /* for ADDRESS_LITERAL */
};

/**
 * address_parse() - A mailbox without brackets, the whole of @s.
 * @flags: of enum address_flags.
 * Returns 0; -EBADMSG (not the grammar), -EPROTO (grammar holds, but a forbidden character stands
 * in it), -ENAMETOOLONG, -EILSEQ (not UTF-8, or UTF-8 without the flag). @a is zeroed on failure.
 */
int address_parse(const char *s, size_t len, unsigned flags, struct address *a);

/**
 * address_parse_path() - A path in brackets at the start of @s (RFC 5321 s4.1.2).
 * @used: set to the bytes read, the closing bracket included.
 * A source route is checked and dropped. Errors as address_parse().
 */
int address_parse_path(const char *s, size_t len, unsigned flags, struct address *a, size_t *used);

/** address_domain() - What stands after the '@' ("" without one). */
const char *address_domain(const struct address *a);

/**
 * address_local() - The local part as meant: quotes and quoting backslashes taken off.
 * @out: at least ADDRESS_MAX + 1 bytes; terminated. Returns the length.
 */
size_t address_local(const struct address *a, char out[static ADDRESS_MAX + 1]);

/** address_equal() - Domains as domain_spell() has them, local parts as meant, byte by byte. */
bool address_equal(const struct address *a, const struct address *b);

/** address_domain_valid() - A host or domain name: labels of letters, digits, '-' and '_'. */
bool address_domain_valid(const char *s, size_t len, bool allow_utf8);

/**
 * address_literal_parse() - "[192.0.2.1]" or "[IPv6:2001:db8::1]", the whole of @s.
 * Returns 0 or -EBADMSG.
 */
int address_literal_parse(const char *s, size_t len, struct addr *out);

/** address_routed_local() - Has the local part a route of its own: % ! or @ (RFC 5321 s3.6)? */
bool address_routed_local(const struct address *a);

/** address_utf8_valid() - Well-formed UTF-8 without C0, DEL or C1 controls. */
bool address_utf8_valid(const char *s, size_t len);

#endif
