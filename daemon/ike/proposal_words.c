/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proposal_words.h"

#include <errno.h>
#include <stdio.h>

#include "conf.h"

#define WORD_MAX 24
#define IN_IKE	 1
#define IN_ESP	 2

static const struct word {
	const char *text;
	uint8_t in;
	struct transform t;
} words[] = {
	{ "aes128gcm16", IN_IKE | IN_ESP, { TRANSFORM_ENCR, ENCR_AES_GCM_16, 128 } },
	{ "aes256gcm16", IN_IKE | IN_ESP, { TRANSFORM_ENCR, ENCR_AES_GCM_16, 256 } },
	{ "chacha20poly1305", IN_IKE | IN_ESP, { TRANSFORM_ENCR, ENCR_CHACHA20_POLY1305, 0 } },
	{ "aes128", IN_IKE | IN_ESP, { TRANSFORM_ENCR, ENCR_AES_CBC, 128 } },
	{ "aes256", IN_IKE | IN_ESP, { TRANSFORM_ENCR, ENCR_AES_CBC, 256 } },
	{ "sha256", IN_IKE | IN_ESP, { TRANSFORM_INTEG, AUTH_HMAC_SHA2_256_128, 0 } },
	{ "sha384", IN_IKE | IN_ESP, { TRANSFORM_INTEG, AUTH_HMAC_SHA2_384_192, 0 } },
	{ "sha512", IN_IKE | IN_ESP, { TRANSFORM_INTEG, AUTH_HMAC_SHA2_512_256, 0 } },
	{ "prfsha256", IN_IKE, { TRANSFORM_PRF, PRF_HMAC_SHA2_256, 0 } },
	{ "prfsha384", IN_IKE, { TRANSFORM_PRF, PRF_HMAC_SHA2_384, 0 } },
	{ "prfsha512", IN_IKE, { TRANSFORM_PRF, PRF_HMAC_SHA2_512, 0 } },
	{ "x25519", IN_IKE | IN_ESP, { TRANSFORM_KE, KE_CURVE25519, 0 } },
	{ "ecp256", IN_IKE | IN_ESP, { TRANSFORM_KE, KE_ECP_256, 0 } },
	{ "ecp384", IN_IKE | IN_ESP, { TRANSFORM_KE, KE_ECP_384, 0 } },
	{ "ecp521", IN_IKE | IN_ESP, { TRANSFORM_KE, KE_ECP_521, 0 } },
	{ "modp2048", IN_IKE | IN_ESP, { TRANSFORM_KE, KE_MODP_2048, 0 } },
	{ "modp3072", IN_IKE | IN_ESP, { TRANSFORM_KE, KE_MODP_3072, 0 } },
	{ "modp4096", IN_IKE | IN_ESP, { TRANSFORM_KE, KE_MODP_4096, 0 } },
	{ "none", IN_ESP, { TRANSFORM_KE, KE_NONE, 0 } },
	{ "esn", IN_ESP, { TRANSFORM_ESN, ESN_YES, 0 } },
	{ "noesn", IN_ESP, { TRANSFORM_ESN, ESN_NO, 0 } },
};

/* Words of other programs for what Postern does not have on purpose: to say so, not "unknown". */
static const char *const weak[] = { "des",     "3des",	   "null",     "md5",
				    "sha1",    "sha",	   "prfmd5",   "prfsha1",
				    "modp768", "modp1024", "modp1536", "ecp192",
				    "ecp224",  "blowfish", "cast128",  "modp1024s160" };

/* ---- words to transforms ---- */

static const struct word *find(const char *text)
{
	for (size_t i = 0; i < CONF_COUNT(words); i++)
		if (!strcmp(words[i].text, text))
			return &words[i];
	return NULL;
}

static void unknown(const char *text, uint8_t in, char *why, size_t cap)
{
	const char *list[CONF_COUNT(words)], *near;
	size_t n = 0;

	for (size_t i = 0; i < CONF_COUNT(weak); i++) {
		if (strcmp(weak[i], text))
			continue;
		snprintf(why, cap, "\"%s\" is too weak, Postern does not have it", text);
		return;
	}
	for (size_t i = 0; i < CONF_COUNT(words); i++)
		if (words[i].in & in)
			list[n++] = words[i].text;
	near = conf_nearest(text, list, n);
	snprintf(why, cap,
		 near ? "unknown word \"%s\", did you mean \"%s\"?" : "unknown word \"%s\"", text,
		 near);
}

static unsigned count(const struct proposal *p, uint8_t type)
{
	unsigned n = 0;

	for (unsigned i = 0; i < p->count; i++)
		n += p->t[i].type == type;
	return n;
}

static bool holds(const struct proposal *p, const struct transform *t)
{
	for (unsigned i = 0; i < p->count; i++)
		if (p->t[i].type == t->type && p->t[i].id == t->id && p->t[i].bits == t->bits)
			return true;
	return false;
}

static int take(struct proposal *p, const char *text, uint8_t in, char *why, size_t cap)
{
	const struct word *w = find(text);

	if (!*text)
		snprintf(why, cap, "a word is missing beside a \"-\"");
	else if (!w)
		unknown(text, in, why, cap);
	else if (!(w->in & in))
		snprintf(why, cap, "\"%s\" belongs in %s", text,
			 in == IN_IKE ? "esp-proposals" : "ike-proposals");
	else if (holds(p, &w->t))
		snprintf(why, cap, "\"%s\" stands twice", text);
	else {
		transform_add(p, w->t.type, w->t.id, w->t.bits);
		return 0;
	}
	return -EINVAL;
}

/* The PRF that goes with the integrity transform, in the same order. */
static void derive_prf(struct proposal *p)
{
	unsigned n = p->count;

	for (unsigned i = 0; i < n; i++)
		if (p->t[i].type == TRANSFORM_INTEG)
			transform_add(
			    p, TRANSFORM_PRF,
			    (uint16_t)(p->t[i].id - AUTH_HMAC_SHA2_256_128 + PRF_HMAC_SHA2_256), 0);
}

/* Does it make sense as a whole? NULL, or why not. */
static const char *misfit(struct proposal *p)
{
	unsigned aead = 0, plain = 0;

	for (unsigned i = 0; i < p->count; i++) {
		struct encr_info info;

		if (p->t[i].type != TRANSFORM_ENCR || encr_info(p->t[i].id, p->t[i].bits, &info))
			continue;
		aead += info.aead;
		plain += !info.aead;
	}
	if (!aead && !plain)
		return "no cipher; add one, such as aes128gcm16";
	/* RFC 5282 s8: combined modes stand in proposals of their own. */
	if (aead && plain)
		return "aes128 and aes256 (CBC) cannot stand beside ciphers that bring their own "
		       "integrity; make two proposals of it";
	if (aead && count(p, TRANSFORM_INTEG))
		return "this cipher brings its own integrity; remove sha256, sha384, sha512";
	if (plain && !count(p, TRANSFORM_INTEG))
		return "aes128 and aes256 are CBC and need an integrity word, such as sha256";
	if (p->proto == PROTO_ESP)
		return NULL;
	if (!count(p, TRANSFORM_KE))
		return "no group; add one, such as x25519";
	if (aead && !count(p, TRANSFORM_PRF))
		return "no PRF, and this cipher has no hash to take it from; add one, such as "
		       "prfsha256";
	return NULL;
}

int proposal_from_words(const char *text, uint8_t proto, struct proposal *out, char *why,
			size_t cap)
{
	uint8_t in = proto == PROTO_IKE ? IN_IKE : IN_ESP;
	const char *fault;

	memset(out, 0, sizeof(*out));
	out->proto = proto;
	for (;;) {
		size_t n = strcspn(text, "-");
		char word[WORD_MAX];

		if (n >= sizeof(word)) {
			snprintf(why, cap, "unknown word \"%.*s...\"", WORD_MAX, text);
			return -EINVAL;
		}
		memcpy(word, text, n);
		word[n] = '\0';
		if (take(out, word, in, why, cap))
			return -EINVAL;
		text += n;
		if (!*text++)
			break;
	}
	fault = misfit(out);
	if (fault) {
		snprintf(why, cap, "%s", fault);
		return -EINVAL;
	}
	if (proto == PROTO_IKE && !count(out, TRANSFORM_PRF))
		derive_prf(out);
	if (proto == PROTO_ESP && !count(out, TRANSFORM_ESN)) {
		transform_add(out, TRANSFORM_ESN, ESN_YES, 0);
		transform_add(out, TRANSFORM_ESN, ESN_NO, 0);
	}
	return 0;
}

/* ---- transforms to words ---- */

/* snprintf() that goes on where the text ends, and stops quietly when it is full. */
static void put(char *out, size_t cap, const char *text)
{
	size_t at = strnlen(out, cap);

	if (at < cap)
		snprintf(out + at, cap - at, "%s", text);
}

static const char *word_of(uint8_t type, uint16_t id, uint16_t bits, char text[static 48])
{
	const char *name = ike_transform_name(type, id);

	for (size_t i = 0; i < CONF_COUNT(words); i++)
		if (words[i].t.type == type && words[i].t.id == id && words[i].t.bits == bits)
			return words[i].text;
	if (!strcmp(name, "unknown"))
		snprintf(text, 48, "%u?%u", type, id);
	else if (bits)
		snprintf(text, 48, "%s_%u", name, bits);
	else
		snprintf(text, 48, "%s", name);
	return text;
}

/* Joins with what stands there since @from. */
static void put_transform(char *out, size_t cap, size_t from, uint8_t type, uint16_t id,
			  uint16_t bits)
{
	char text[48];

	if (strnlen(out, cap) > from)
		put(out, cap, "-");
	put(out, cap, word_of(type, id, bits, text));
}

const char *proposals_str(const struct proposals *ps, char *out, size_t cap)
{
	if (!cap)
		return out;
	out[0] = '\0';
	for (unsigned i = 0; i < ps->count; i++) {
		const struct proposal *p = &ps->p[i];
		size_t from;

		if (i)
			put(out, cap, ", ");
		if (p->proto != PROTO_IKE && p->proto != PROTO_ESP) {
			put(out, cap, ike_protocol_name(p->proto));
			put(out, cap, ":");
		}
		from = strnlen(out, cap);
		for (unsigned j = 0; j < p->count; j++)
			put_transform(out, cap, from, p->t[j].type, p->t[j].id, p->t[j].bits);
	}
	return out;
}

const char *sa_choice_str(const struct sa_choice *c, char *out, size_t cap)
{
	if (!cap)
		return out;
	out[0] = '\0';
	put_transform(out, cap, 0, TRANSFORM_ENCR, c->encr, c->encr_bits);
	if (c->integ != INTEG_NONE)
		put_transform(out, cap, 0, TRANSFORM_INTEG, c->integ, 0);
	if (c->prf)
		put_transform(out, cap, 0, TRANSFORM_PRF, c->prf, 0);
	if (c->ke)
		put_transform(out, cap, 0, TRANSFORM_KE, c->ke, 0);
	if (c->proto == PROTO_ESP)
		put_transform(out, cap, 0, TRANSFORM_ESN, c->esn, 0);
	return out;
}

const char *ike_suite_str(const struct ike_suite *s, char *out, size_t cap)
{
	struct sa_choice c = { .proto = PROTO_IKE,
			       .encr = s->encr,
			       .encr_bits = s->encr_bits,
			       .integ = s->integ,
			       .prf = s->prf,
			       .ke = s->ke };

	return sa_choice_str(&c, out, cap);
}

const char *esp_suite_str(const struct esp_suite *s, char *out, size_t cap)
{
	struct sa_choice c = { .proto = PROTO_ESP,
			       .encr = s->encr,
			       .encr_bits = s->encr_bits,
			       .integ = s->integ,
			       .ke = s->ke,
			       .esn = s->esn };

	return sa_choice_str(&c, out, cap);
}

static bool known(const struct transform *t)
{
	for (size_t i = 0; i < CONF_COUNT(words); i++)
		if (words[i].t.type == t->type && words[i].t.id == t->id &&
		    words[i].t.bits == t->bits)
			return true;
	return t->type == TRANSFORM_INTEG && t->id == INTEG_NONE;
}

/* Of this type it offers something, and nothing that we know? */
static bool lacks(const struct proposal *p, uint8_t type)
{
	bool some = false;

	for (unsigned i = 0; i < p->count; i++) {
		if (p->t[i].type != type)
			continue;
		if (known(&p->t[i]))
			return false;
		some = true;
	}
	return some;
}

bool proposals_lack(const struct proposals *offer, char *out, size_t cap)
{
	static const uint8_t types[] = { TRANSFORM_ENCR, TRANSFORM_INTEG, TRANSFORM_PRF,
					 TRANSFORM_KE };
	char name[48];

	out[0] = '\0';
	for (unsigned i = 0; i < offer->count; i++) {
		const struct proposal *p = &offer->p[i];
		bool any = false;

		for (size_t k = 0; k < CONF_COUNT(types); k++) {
			if (!lacks(p, types[k]))
				continue;
			any = true;
			for (unsigned j = 0; j < p->count; j++) {
				const struct transform *t = &p->t[j];

				if (t->type != types[k])
					continue;
				word_of(t->type, t->id, t->bits, name);
				if (strstr(out, name))
					continue;
				if (out[0])
					put(out, cap, ", ");
				put(out, cap, name);
			}
		}
		if (!any)
			return false;
	}
	return offer->count > 0;
}
