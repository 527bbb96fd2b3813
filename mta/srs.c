/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "srs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "address.h"
#include "log.h"
#include "secret.h"
#include "tls.h"

#define TAG_LEN	  5 /* "SRS0=" */
#define DAYS_BITS 10
#define DAYS_MASK ((1u << DAYS_BITS) - 1)

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/* ---- secrets ---- */

void srs_keys_clear(struct srs_keys *k)
{
	for (size_t i = 0; i < k->count; i++) {
		secret_wipe(k->secret[i], strlen(k->secret[i]));
		free(k->secret[i]);
	}
	memset(k, 0, sizeof(*k));
}

int srs_keys_parse(struct srs_keys *k, const char *text, size_t len)
{
	int rc = 0;

	memset(k, 0, sizeof(*k));
	while (len && !rc) {
		const char *nl = memchr(text, '\n', len);
		size_t line = nl ? (size_t)(nl - text) : len, n = line;

		while (n && strchr(" \t\r", text[n - 1]))
			n--;
		if (n && *text != '#') {
			if (n < SRS_SECRET_LEN_MIN || memchr(text, 0, n) ||
			    k->count == SRS_SECRETS_MAX)
				rc = -EINVAL;
			else if (!(k->secret[k->count] = strndup(text, n)))
				rc = -ENOMEM;
			else
				k->count++;
		}
		text += line + (nl != NULL);
		len -= line + (nl != NULL);
	}
	if (!rc && !k->count)
		rc = -EINVAL;
	if (rc)
		srs_keys_clear(k);
	return rc;
}

void srs_keys_take(struct srs_keys *k, const char *text, size_t len)
{
	struct srs_keys fresh;

	if (srs_keys_parse(&fresh, text, len)) {
		log_err(
		    NULL,
		    "[srs] secret-file refused; allowed: 1 to %d lines of %d characters or more",
		    SRS_SECRETS_MAX, SRS_SECRET_LEN_MIN);
		return;
	}
	srs_keys_clear(k);
	*k = fresh;
}

/* ---- hash and day ---- */

uint32_t srs_day(int64_t wall_s)
{
	return (uint32_t)(wall_s / 86400);
}

static int hash(const char *secret, const char *what, size_t len, char out[static SRS_HASH_LEN])
{
	char lower[2 * ADDRESS_MAX + 8];
	uint8_t mac[32];

	if (len > sizeof(lower))
		return -ENAMETOOLONG;
	for (size_t i = 0; i < len; i++)
		lower[i] = (char)(what[i] >= 'A' && what[i] <= 'Z' ? what[i] + 32 : what[i]);
	if (tls_hmac_sha256(secret, strlen(secret), lower, len, mac))
		return -EIO;
	for (size_t i = 0; i < SRS_HASH_LEN; i++) {
		size_t bit = 5 * i;
		unsigned two = (unsigned)mac[bit / 8] << 8 | mac[bit / 8 + 1];

		out[i] = alphabet[two >> (11 - bit % 8) & 31];
	}
	secret_wipe(mac, sizeof(mac));
	return 0;
}

/* Is @seen the hash of @what by any of the secrets? In any case of letters. */
static int verify(const struct srs_keys *k, const char *seen, const char *what)
{
	char upper[SRS_HASH_LEN], own[SRS_HASH_LEN];
	int rc;

	if (!k->count)
		return -ENOKEY;
	for (size_t i = 0; i < SRS_HASH_LEN; i++)
		upper[i] = (char)(seen[i] >= 'a' && seen[i] <= 'z' ? seen[i] - 32 : seen[i]);
	for (size_t i = 0; i < k->count; i++) {
		rc = hash(k->secret[i], what, strlen(what), own);
		if (rc)
			return rc;
		if (secret_equal(own, sizeof(own), upper, sizeof(upper)))
			return 0;
	}
	return -EKEYREJECTED;
}

static int digit(char c)
{
	const char *at = c ? strchr(alphabet, c >= 'a' && c <= 'z' ? c - 32 : c) : NULL;

	return at ? (int)(at - alphabet) : -1;
}

/* Days from "TT" to @day; tomorrow, of a clock that is ahead, is today. -1: no two digits. */
static int age(const char *tt, uint32_t day)
{
	int hi = digit(tt[0]), lo = hi < 0 ? -1 : digit(tt[1]);
	uint32_t days;

	if (lo < 0)
		return -1;
	days = (day - (uint32_t)(hi << 5 | lo)) & DAYS_MASK;
	return days == DAYS_MASK ? 0 : (int)days;
}

/* ---- forms ---- */

/* "SRS0" or "SRS1" and its separator: the digit, else 0. */
static char form(const char *s)
{
	if (strncasecmp(s, "SRS", 3) || (s[3] != '0' && s[3] != '1') || !s[4] ||
	    !strchr("=+-", s[4]))
		return 0;
	return s[3];
}

bool srs_is(const char *address)
{
	return form(address) != 0;
}

/* The local part of @address, when it is one that needs no quotes. */
static int local_of(const char *address, char local[static ADDRESS_MAX + 1], const char **domain)
{
	const char *at = strrchr(address, '@');
	size_t n = at ? (size_t)(at - address) : 0;

	if (!n || !at[1] || n > ADDRESS_MAX || memchr(address, '"', n) || strlen(at) > ADDRESS_MAX)
		return -EINVAL;
	memcpy(local, address, n);
	local[n] = 0;
	*domain = at + 1;
	return 0;
}

/*
 * Of "SRS1=hash=host=rest" host and rest, where rest begins with the separator that stood behind SRS0.
 * @local is cut. False: it has another form.
 */
static bool split_srs1(char *local, char **hash_at, char **host, char **rest)
{
	*hash_at = local + TAG_LEN;
	*host = strchr(*hash_at, '=');
	if (!*host)
		return false;
	*(*host)++ = 0;
	*rest = strchr(*host, '=');
	if (!*rest || *rest == *host || !strchr("=+-", (*rest)[1]) || !(*rest)[1])
		return false;
	*(*rest)++ = 0;
	return true;
}

/* Of snprintf(). */
static int fits(int n, size_t cap)
{
	return n < 0 || (size_t)n >= cap || n > ADDRESS_MAX ? -ENAMETOOLONG : 0;
}

/* What another has rewritten already: of the first forwarder nothing but its name is added. */
static int forward_again(const char *secret, const char *host, const char *rest, const char *domain,
			 char *out, size_t cap)
{
	char what[2 * ADDRESS_MAX + 8], h[SRS_HASH_LEN];
	int n = snprintf(what, sizeof(what), "1=%s=%s", host, rest), rc;

	rc = hash(secret, what, (size_t)n, h);
	if (rc)
		return rc;
	n = snprintf(out, cap, "SRS1=%.*s=%s=%s@%s", SRS_HASH_LEN, h, host, rest, domain);
	return fits(n, cap);
}

int srs_forward(const struct srs_keys *k, const char *sender, const char *domain, uint32_t day,
		char *out, size_t cap)
{
	char local[ADDRESS_MAX + 1], copy[ADDRESS_MAX + 1], what[2 * ADDRESS_MAX + 8];
	char h[SRS_HASH_LEN], *hash_at, *host, *rest;
	const char *from;
	int n, rc = local_of(sender, local, &from);

	if (rc)
		return rc;
	if (!k->count)
		return -ENOKEY;
	if (form(local) == '0')
		return forward_again(k->secret[0], from, local + 4, domain, out, cap);
	memcpy(copy, local, sizeof(copy));
	if (form(local) == '1' && split_srs1(copy, &hash_at, &host, &rest))
		return forward_again(k->secret[0], host, rest, domain, out, cap);
	n = snprintf(what, sizeof(what), "%c%c=%s=%s", alphabet[day >> 5 & 31], alphabet[day & 31],
		     from, local);
	rc = hash(k->secret[0], what, (size_t)n, h);
	if (rc)
		return rc;
	n = snprintf(out, cap, "SRS0=%.*s=%s@%s", SRS_HASH_LEN, h, what, domain);
	return fits(n, cap);
}

/* What comes out was written by a stranger once: it must be an address. */
static int give(const char *local, const char *domain, char *out, size_t cap)
{
	struct address a;
	int n = snprintf(out, cap, "%s@%s", local, domain);

	if (n < 0 || (size_t)n >= cap || address_parse(out, (size_t)n, ADDRESS_ALLOW_UTF8, &a) ||
	    a.kind == ADDRESS_BARE)
		return -EBADMSG;
	return 0;
}

static int reverse_again(const struct srs_keys *k, char *local, char *out, size_t cap)
{
	char what[2 * ADDRESS_MAX + 8], first[ADDRESS_MAX + 8], *hash_at, *host, *rest;
	int rc;

	if (!split_srs1(local, &hash_at, &host, &rest) || strlen(hash_at) != SRS_HASH_LEN)
		return -EBADMSG;
	snprintf(what, sizeof(what), "1=%s=%s", host, rest);
	rc = verify(k, hash_at, what);
	if (rc)
		return rc;
	snprintf(first, sizeof(first), "SRS0%s", rest);
	return give(first, host, out, cap);
}

int srs_reverse(const struct srs_keys *k, const char *address, uint32_t day, unsigned max_age,
		char *out, size_t cap)
{
	char local[ADDRESS_MAX + 1], *what, *host, *rest;
	const char *domain;
	int days, rc;

	if (local_of(address, local, &domain) || !form(local))
		return -EBADMSG;
	if (form(local) == '1')
		return reverse_again(k, local, out, cap);
	what = local + TAG_LEN + SRS_HASH_LEN;
	if (strlen(local) < TAG_LEN + SRS_HASH_LEN + 5 || what[0] != '=' || what[3] != '=')
		return -EBADMSG;
	what++;
	rc = verify(k, local + TAG_LEN, what);
	if (rc)
		return rc;
	days = age(what, day);
	host = what + 3;
	rest = strchr(host, '=');
	if (days < 0 || !rest)
		return -EBADMSG;
	*rest++ = 0;
	return (unsigned)days > max_age ? -ETIME : give(rest, host, out, cap);
}
