/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "hop_keys.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "hash.h"
#include "msg.h"
#include "wire.h"

#define HEAD	  "postern hop keys 1 "
#define HEX_LEN	  (2 * HOP_KEY_LEN)
#define SUM_LEN	  16
#define END_LEN	  (4 + SUM_LEN + 1) /* "end SUM\n" */
#define SHORT_HEX 16

static const char *hex_of(const uint8_t *b, size_t digits, char out[static HEX_LEN + 1])
{
	for (size_t i = 0; i < digits / 2; i++)
		snprintf(out + 2 * i, 3, "%02x", b[i]);
	return out;
}

struct hop_key *hop_keys_find(const struct hop_keys *s, const char *identity)
{
	for (size_t i = 0; i < s->count; i++) {
		if (!strcmp(s->v[i].identity, identity))
			return &s->v[i];
	}
	return NULL;
}

static bool identity_ok(const char *s)
{
	size_t n = strlen(s);

	if (!n || n >= HOP_IDENTITY_MAX)
		return false;
	for (; *s; s++) {
		if ((unsigned char)*s < ' ' || *s == 127)
			return false;
	}
	return true;
}

int hop_keys_add(struct hop_keys *s, const char *identity, const uint8_t sha256[static HOP_KEY_LEN])
{
	struct hop_key *k;

	if (!identity_ok(identity))
		return -EINVAL;
	if (hop_keys_find(s, identity))
		return -EEXIST;
	if (s->count == HOP_KEYS_MAX)
		return -E2BIG;
	if (s->count == s->cap) {
		size_t cap = s->cap ? 2 * s->cap : 8;

		k = realloc(s->v, cap * sizeof(*k));
		if (!k)
			return -ENOMEM;
		s->v = k;
		s->cap = cap;
	}
	k = &s->v[s->count++];
	memset(k, 0, sizeof(*k));
	memcpy(k->identity, identity, strlen(identity));
	memcpy(k->sha256, sha256, HOP_KEY_LEN);
	return 0;
}

bool hop_keys_remove(struct hop_keys *s, const char *identity)
{
	struct hop_key *k = hop_keys_find(s, identity);

	if (!k)
		return false;
	s->count--;
	memmove(k, k + 1, (size_t)(s->v + s->count - k) * sizeof(*k));
	return true;
}

bool hop_key_note(struct hop_key *k, enum hop_trouble trouble,
		  const uint8_t other[static HOP_KEY_LEN])
{
	if (k->trouble == trouble &&
	    (trouble != HOP_OTHER_KEY || !memcmp(k->other, other, HOP_KEY_LEN)))
		return false;
	k->trouble = (uint8_t)trouble;
	memcpy(k->other, other, HOP_KEY_LEN);
	return true;
}

const char *hop_key_words(const struct hop_key *k, const char *peer, char *out, size_t cap)
{
	char was[HEX_LEN + 1], is[HEX_LEN + 1];

	hex_of(k->sha256, SHORT_HEX, was);
	hex_of(k->other, SHORT_HEX, is);
	if (k->trouble == HOP_OTHER_KEY)
		snprintf(out, cap,
			 "peer %s shows key %s.., not %s.. as before; if it was installed anew: "
			 "postern mail forget-key %s",
			 peer, is, was, peer);
	else if (k->trouble == HOP_NO_TLS)
		snprintf(out, cap,
			 "peer %s offers no TLS, but had key %s..; if that is meant: "
			 "postern mail forget-key %s",
			 peer, was, peer);
	else
		*out = 0;
	return out;
}

/* ---- text ---- */

/* Of what a crash tears: who could write it otherwise is root. For that OpenSSL need not be in use. */
static const char *sum_of(const char *text, size_t len, char out[static SUM_LEN + 1])
{
	static const uint64_t key[2] = { 0x706f737465726e20, 0x686f70206b657973 };

	snprintf(out, SUM_LEN + 1, "%016" PRIx64, hash_keyed(key, text, len));
	return out;
}

/* A line without its end, of which @text has so much left; NULL: there is none. */
static const char *line_of(const char **text, size_t *left, char *out, size_t cap)
{
	const char *end = memchr(*text, '\n', *left);
	size_t n = end ? (size_t)(end - *text) : 0;

	if (!end || n >= cap || memchr(*text, 0, n))
		return NULL;
	memcpy(out, *text, n);
	out[n] = 0;
	*text += n + 1;
	*left -= n + 1;
	return out;
}

static int add_line(struct hop_keys *s, char *line)
{
	uint8_t sha256[HOP_KEY_LEN];
	int rc;

	if (strlen(line) < HEX_LEN + 2 || line[HEX_LEN] != ' ')
		return -EBADMSG;
	line[HEX_LEN] = 0;
	if (pin_parse(line, sha256))
		return -EBADMSG;
	rc = hop_keys_add(s, line + HEX_LEN + 1, sha256);
	return rc == -ENOMEM || !rc ? rc : -EBADMSG;
}

/* The number behind HEAD; false: it is not one. */
static bool edition_of(const char *line, uint64_t *out)
{
	const char *digits = line + sizeof(HEAD) - 1;

	if (strncmp(line, HEAD, sizeof(HEAD) - 1) || !*digits || strlen(digits) > 18 ||
	    digits[strspn(digits, "0123456789")])
		return false;
	*out = strtoull(digits, NULL, 10);
	return true;
}

static bool end_holds(const char *text, size_t len)
{
	char sum[SUM_LEN + 1];

	return len > END_LEN && !memcmp(text + len - END_LEN, "end ", 4) && text[len - 1] == '\n' &&
	       !memcmp(text + len - END_LEN + 4, sum_of(text, len - END_LEN, sum), SUM_LEN);
}

int hop_keys_parse(struct hop_keys *s, const char *text, size_t len)
{
	char line[HEX_LEN + 1 + HOP_IDENTITY_MAX];
	size_t left = len - END_LEN;
	int rc = 0;

	if (!end_holds(text, len) || !line_of(&text, &left, line, sizeof(line)) ||
	    !edition_of(line, &s->edition))
		return -EBADMSG;
	while (!rc && left)
		rc = line_of(&text, &left, line, sizeof(line)) ? add_line(s, line) : -EBADMSG;
	if (rc)
		hop_keys_clear(s);
	return rc;
}

char *hop_keys_build(const struct hop_keys *s, size_t *len)
{
	size_t cap = 64 + s->count * (HEX_LEN + 2 + HOP_IDENTITY_MAX) + END_LEN + 1, n;
	char *text = malloc(cap), hex[HEX_LEN + 1], sum[SUM_LEN + 1];

	if (!text)
		return NULL;
	n = (size_t)snprintf(text, cap, HEAD "%" PRIu64 "\n", s->edition);
	for (size_t i = 0; i < s->count; i++)
		n += (size_t)snprintf(text + n, cap - n, "%s %s\n",
				      hex_of(s->v[i].sha256, HEX_LEN, hex), s->v[i].identity);
	n += (size_t)snprintf(text + n, cap - n, "end %s\n", sum_of(text, n, sum));
	*len = n;
	return text;
}

void hop_keys_clear(struct hop_keys *s)
{
	free(s->v);
	*s = (struct hop_keys){ 0 };
}

/* ---- between relay and the parent ---- */

void hop_seen_put(struct wr *w, const struct hop_seen *m)
{
	static const uint8_t none[HOP_KEY_LEN];

	msg_text_put(w, m->identity);
	wr_u8(w, m->first);
	wr_u8(w, m->trouble);
	wr_bytes(w, m->sha256 ? m->sha256 : none, HOP_KEY_LEN);
}

int hop_seen_get(struct rd *r, struct hop_seen *m)
{
	uint8_t first;

	m->identity = msg_text_get(r);
	first = rd_u8(r);
	m->first = first;
	m->trouble = rd_u8(r);
	m->sha256 = rd_take(r, HOP_KEY_LEN);
	return r->bad || rd_left(r) || m->trouble >= HOP_TROUBLES || first > 1 ||
		       (first && m->trouble != HOP_FINE)
		   ? -EBADMSG
		   : 0;
}
