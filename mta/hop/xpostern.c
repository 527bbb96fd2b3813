/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "xpostern.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum key { KEY_ID, KEY_CLIENT, KEY_HELO, KEY_TLS, KEY_FACTS, KEYS };

#define FACTS_MAX 96

static const char *const keys[KEYS] = {
	[KEY_ID] = "XPOSTERN-ID",   [KEY_CLIENT] = "XPOSTERN-CLIENT", [KEY_HELO] = "XPOSTERN-HELO",
	[KEY_TLS] = "XPOSTERN-TLS", [KEY_FACTS] = "XPOSTERN-FACTS",
};

static const struct {
	const char *word;
	uint32_t flag;
} facts[] = { { "auth", ENV_AUTHENTICATED },
	      { "verified", ENV_VERIFIED },
	      { "mailbox", ENV_PROBE_MAILBOX } };

#define FACTS (sizeof(facts) / sizeof(*facts))
#define PROBE "probe-" /* and its token */

int xpostern_xtext_encode(const char *s, size_t len, char *out, size_t cap)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t n = 0;

	if (!cap)
		return -EMSGSIZE;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];
		bool plain = c > 32 && c < 127 && c != '+' && c != '=';

		if (n + (plain ? 1 : 3) >= cap) {
			out[0] = 0;
			return -EMSGSIZE;
		}
		if (plain) {
			out[n++] = (char)c;
		} else {
			out[n++] = '+';
			out[n++] = hex[c >> 4];
			out[n++] = hex[c & 15];
		}
	}
	out[n] = 0;
	return 0;
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int xpostern_xtext_decode(const char *s, size_t len, char *out, size_t cap)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c == '+') {
			int hi = i + 2 < len ? hex_digit(s[i + 1]) : -1;
			int lo = i + 2 < len ? hex_digit(s[i + 2]) : -1;

			if (hi < 0 || lo < 0)
				return -EBADMSG;
			c = (unsigned char)(hi << 4 | lo);
			i += 2;
		} else if (c <= 32 || c == '=' || c == 127) {
			return -EBADMSG;
		}
		if (c < 32 || c == 127)
			return -EBADMSG;
		if (n + 1 >= cap)
			return -EMSGSIZE;
		out[n++] = (char)c;
	}
	out[n] = 0;
	return 0;
}

/* Append " KEY=xtext". */
static int add(char *out, size_t *n, enum key key, const char *value)
{
	int len = snprintf(out + *n, XPOSTERN_PARAMS_MAX - *n, " %s=", keys[key]);

	if (len < 0 || *n + (size_t)len >= XPOSTERN_PARAMS_MAX)
		return -EMSGSIZE;
	*n += (size_t)len;
	if (xpostern_xtext_encode(value, strlen(value), out + *n, XPOSTERN_PARAMS_MAX - *n))
		return -EMSGSIZE;
	*n += strlen(out + *n);
	return 0;
}

/* "auth,verified,probe-0123.."; "" when there is none. */
static void fact_words(const struct envelope *e, char out[static FACTS_MAX])
{
	char hex[LETTER_ID_STR_MAX];
	size_t n = 0;

	out[0] = 0;
	for (size_t i = 0; i < FACTS; i++)
		if (e->flags & facts[i].flag)
			n += (size_t)snprintf(out + n, FACTS_MAX - n, "%s%s", n ? "," : "",
					      facts[i].word);
	if (e->flags & ENV_PROBE && !(e->flags & ENV_BOUNCE)) /* a report is none */
		snprintf(out + n, FACTS_MAX - n, "%s" PROBE "%s", n ? "," : "",
			 letter_id_str(e->probe, hex));
}

int xpostern_params(const struct envelope *e, uint64_t seq, uint64_t low,
		    char out[static XPOSTERN_PARAMS_MAX])
{
	const struct endpoint *client = e->origin.addr.family ? &e->origin : &e->client;
	char id[LETTER_ID_STR_MAX], text[ENDPOINT_STR_MAX + 64];
	size_t n = 0;
	int err;

	snprintf(text, sizeof(text), "%s.%" PRIu64 ".%" PRIu64, letter_id_str(e->id, id), seq, low);
	err = add(out, &n, KEY_ID, text);
	if (!err && client->addr.family)
		err = add(out, &n, KEY_CLIENT, endpoint_str(client, text));
	if (!err && e->helo && *e->helo && strlen(e->helo) < sizeof(((struct mail_hop *)0)->helo))
		err = add(out, &n, KEY_HELO, e->helo);
	if (!err && e->tls && *e->tls && strlen(e->tls) < sizeof(((struct mail_hop *)0)->tls))
		err = add(out, &n, KEY_TLS, e->tls);
	fact_words(e, text);
	if (!err && text[0])
		err = add(out, &n, KEY_FACTS, text);
	if (err)
		out[0] = 0;
	return err;
}

int xpostern_key(const char *key, size_t len)
{
	for (int i = 0; i < KEYS; i++) {
		if (strlen(keys[i]) == len && !strncasecmp(keys[i], key, len))
			return i;
	}
	return -1;
}

/* Decimal, at most 20 digits, ends at @stop or at the end of the text. */
static int decimal(const char **p, char stop, uint64_t *out)
{
	const char *from = *p;
	uint64_t v = 0;

	for (; **p >= '0' && **p <= '9'; (*p)++) {
		unsigned d = (unsigned)(**p - '0');

		if (v > (UINT64_MAX - d) / 10)
			return -EBADMSG;
		v = v * 10 + d;
	}
	*out = v;
	if (*p == from || **p != stop)
		return -EBADMSG;
	if (stop)
		(*p)++;
	return 0;
}

/* hex "." seq "." low */
static int read_id(const char *s, struct mail_hop *hop)
{
	char hex[LETTER_ID_STR_MAX];
	const char *dot = strchr(s, '.');

	if (!dot || dot - s != LETTER_ID_STR_MAX - 1)
		return -EBADMSG;
	memcpy(hex, s, sizeof(hex) - 1);
	hex[sizeof(hex) - 1] = 0;
	s = dot + 1;
	if (letter_id_parse(hex, hop->id) || decimal(&s, '.', &hop->seq) ||
	    decimal(&s, 0, &hop->low))
		return -EBADMSG;
	hop->given = true;
	return 0;
}

static void read_probe(const char *s, size_t n, struct mail_hop *hop)
{
	char hex[LETTER_ID_STR_MAX];

	if (n != strlen(PROBE) + LETTER_ID_STR_MAX - 1 || memcmp(s, PROBE, strlen(PROBE)))
		return;
	memcpy(hex, s + strlen(PROBE), sizeof(hex) - 1);
	hex[sizeof(hex) - 1] = 0;
	if (!letter_id_parse(hex, hop->probe))
		hop->flags |= ENV_PROBE;
}

static int read_facts(const char *s, struct mail_hop *hop)
{
	while (*s) {
		size_t n = strcspn(s, ",");

		/* A word that a newer peer knows and we do not is no fault. */
		for (size_t i = 0; i < FACTS; i++) {
			if (strlen(facts[i].word) == n && !memcmp(s, facts[i].word, n))
				hop->flags |= facts[i].flag;
		}
		read_probe(s, n, hop);
		s += n;
		s += *s == ',';
	}
	return 0;
}

int xpostern_read(int key, const char *value, size_t len, struct mail_hop *hop)
{
	char text[512];

	if (xpostern_xtext_decode(value, len, text, sizeof(text)))
		return -EBADMSG;
	switch (key) {
	case KEY_ID:
		return read_id(text, hop);
	case KEY_CLIENT:
		return endpoint_parse(text, 0, &hop->client) ? -EBADMSG : 0;
	case KEY_HELO:
		if (strlen(text) >= sizeof(hop->helo))
			return -EBADMSG;
		strcpy(hop->helo, text);
		return 0;
	case KEY_TLS:
		if (strlen(text) >= sizeof(hop->tls))
			return -EBADMSG;
		strcpy(hop->tls, text);
		return 0;
	case KEY_FACTS:
		return read_facts(text, hop);
	default:
		return -EBADMSG;
	}
}
