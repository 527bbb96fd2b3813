/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_SRS_H
#define MTA_SRS_H

/*
 * Theory: an alias to somewhere else sends on what a stranger has written, and the next hop asks the
 * stranger's domain (SPF) whether we may. So the envelope sender becomes an address of ours, from which
 * that of the stranger can be had again when a bounce comes back (the Sender Rewriting Scheme):
 *
 *	ann@far.example				   who wrote
 *	SRS0=HHHHHHHH=TT=far.example=ann@us	   what we send: a hash, the day, domain, local part
 *	SRS1=HHHHHHHH=us==HHHHHHHH=TT=far...@next  what the next forwarder makes of that: its bounces go to
 *						   us at once, and no third one makes it longer
 *
 * TT are the days since 1970 modulo 1024 in base 32. The hash is HMAC-SHA-256 over the lower-cased rest,
 * 40 bits in base 32, so that it survives who changes case on the way. Without the secret nobody can
 * make an address that we would send on; an old one ends by its day. After SRS0 and SRS1 of others "+" and
 * "-" are separators too.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SRS_SECRETS_MAX	   8
#define SRS_SECRET_LEN_MIN 16
#define SRS_HASH_LEN	   8

struct srs_keys {
	char *secret[SRS_SECRETS_MAX]; /* the first signs, all are known again */
	size_t count;
};

/** srs_keys_parse() - One a line, "#" begins a comment; 0, -EINVAL (none, too short, too many), -ENOMEM. */
int srs_keys_parse(struct srs_keys *k, const char *text, size_t len);
void srs_keys_clear(struct srs_keys *k);
/** srs_keys_take() - Instead of those that are there; a bad file is logged and changes nothing. */
void srs_keys_take(struct srs_keys *k, const char *text, size_t len);
/** srs_day() - Of wall-clock seconds. */
uint32_t srs_day(int64_t wall_s);
/** srs_is() - Does @address begin as one of ours would? In any case of letters. */
bool srs_is(const char *address);
/**
 * srs_forward() - What to send instead of @sender.
 * @domain: ours.
 * 0; -EINVAL (the null sender, or a local part with quotes), -ENAMETOOLONG, -ENOKEY.
 */
int srs_forward(const struct srs_keys *k, const char *sender, const char *domain, uint32_t day,
		char *out, size_t cap);
/**
 * srs_reverse() - Whom a letter to @address is for: the writer, or the first forwarder.
 * @max_age: days that an SRS0 counts.
 * 0; -EBADMSG (not of that form), -EKEYREJECTED (another's hash), -ETIME (its day is over), -ENOKEY.
 */
int srs_reverse(const struct srs_keys *k, const char *address, uint32_t day, unsigned max_age,
		char *out, size_t cap);

#endif
