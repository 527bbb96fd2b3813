/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proposal.h"

#include <errno.h>

#define LAST	       0
#define MORE_PROPOSALS 2
#define MORE_TRANSFORM 3
#define ATTR_SHORT     0x8000 /* attribute format: type and value (s3.3.5) */

struct proposal *proposal_add(struct proposals *ps, uint8_t proto)
{
	struct proposal *p;

	if (ps->count == PROPOSALS_MAX)
		return NULL;
	p = &ps->p[ps->count++];
	*p = (struct proposal){ .number = ps->count, .proto = proto };
	return p;
}

void transform_add(struct proposal *p, uint8_t type, uint16_t id, uint16_t bits)
{
	if (p->count == TRANSFORMS_MAX) {
		p->bad = "too many transforms";
		return;
	}
	p->t[p->count++] = (struct transform){ type, id, bits };
}

static bool proposal_equal(const struct proposal *a, const struct proposal *b)
{
	bool same = a->proto == b->proto && a->count == b->count && !a->bad == !b->bad;

	for (unsigned i = 0; same && i < a->count; i++)
		same = a->t[i].type == b->t[i].type && a->t[i].id == b->t[i].id &&
		       a->t[i].bits == b->t[i].bits;
	return same;
}

bool proposals_equal(const struct proposals *a, const struct proposals *b)
{
	bool same = a == b || (a && b && a->count == b->count);

	for (unsigned i = 0; same && a != b && i < a->count; i++)
		same = proposal_equal(&a->p[i], &b->p[i]);
	return same;
}

void proposals_set_spi(struct proposals *ps, const void *spi, uint8_t len)
{
	for (unsigned i = 0; i < ps->count; i++) {
		ps->p[i].spi_len = len;
		memset(ps->p[i].spi, 0, sizeof(ps->p[i].spi));
		if (len && len <= sizeof(ps->p[i].spi))
			memcpy(ps->p[i].spi, spi, len);
	}
}

/*
 * Attributes of one transform: at most one, Key Length, of an ENCR. Anything else makes this transform
 * unusable, not its proposal (s3.3.6). Returns false on broken framing.
 */
static bool parse_attrs(struct rd *r, struct transform *t)
{
	bool seen = false;

	while (rd_left(r)) {
		uint16_t type = rd_be16(r), value = rd_be16(r);

		if (type == (ATTR_SHORT | TRANSFORM_ATTR_KEY_LENGTH) && !seen && value &&
		    t->type == TRANSFORM_ENCR) {
			t->bits = value;
			seen = true;
			continue;
		}
		t->id = TRANSFORM_UNUSABLE;
		if (!(type & ATTR_SHORT))
			rd_skip(r, value); /* it was the length */
	}
	return !r->bad;
}

static bool type_belongs(uint8_t proto, uint8_t type)
{
	switch (type) {
	case TRANSFORM_ENCR:
	case TRANSFORM_INTEG:
	case TRANSFORM_KE:
		return true;
	case TRANSFORM_PRF:
		return proto == PROTO_IKE;
	case TRANSFORM_ESN:
		return proto == PROTO_ESP;
	default:
		return false;
	}
}

static int parse_transforms(struct rd *r, unsigned count, struct proposal *p)
{
	for (unsigned i = 0; i < count; i++) {
		uint8_t more = rd_u8(r);
		struct transform t = { 0 };
		struct rd body;
		uint16_t len;

		rd_skip(r, 1);
		len = rd_be16(r);
		if (r->bad || len < 8 || more != (i + 1 < count ? MORE_TRANSFORM : LAST))
			return -EBADMSG;
		body = rd_sub(r, len - 4u);
		t.type = rd_u8(&body);
		rd_skip(&body, 1);
		t.id = rd_be16(&body);
		if (!parse_attrs(&body, &t))
			return -EBADMSG;
		if (!type_belongs(p->proto, t.type))
			p->bad = "transform type unknown or out of place";
		transform_add(p, t.type, t.id, t.bits);
	}
	return r->bad || rd_left(r) ? -EBADMSG : 0;
}

static void check_spi(struct proposal *p)
{
	bool ok = p->proto == PROTO_IKE ? !p->spi_len || p->spi_len == 8 : p->spi_len == 4;

	if (p->proto != PROTO_IKE && p->proto != PROTO_ESP)
		p->bad = "protocol";
	else if (!ok)
		p->bad = "SPI length";
}

int sa_parse(struct span body, struct proposals *out)
{
	struct rd r = rd_init(body.p, body.len);
	struct proposal spare;
	unsigned n = 0;
	uint8_t more;

	out->count = 0;
	out->by_cpu = false;
	do {
		struct proposal *p = out->count < PROPOSALS_MAX ? &out->p[out->count] : &spare;
		const uint8_t *spi;
		struct rd sub;
		unsigned count;
		uint16_t len;

		more = rd_u8(&r);
		rd_skip(&r, 1);
		len = rd_be16(&r);
		if (r.bad || len < 8 || (more != LAST && more != MORE_PROPOSALS))
			return -EBADMSG;
		sub = rd_sub(&r, len - 4u);
		*p = (struct proposal){ .number = rd_u8(&sub) };
		p->proto = rd_u8(&sub);
		p->spi_len = rd_u8(&sub);
		count = rd_u8(&sub);
		spi = rd_take(&sub, p->spi_len);
		if (sub.bad || !p->number || ((n || more != LAST) && p->number != n + 1))
			return -EBADMSG;
		n++;
		if (p->spi_len <= sizeof(p->spi))
			memcpy(p->spi, spi, p->spi_len);
		check_spi(p);
		if (parse_transforms(&sub, count, p))
			return -EBADMSG;
		if (p != &spare)
			out->count++;
	} while (more == MORE_PROPOSALS);
	return rd_left(&r) ? -EBADMSG : 0;
}

int sa_parse_offer(struct span body, struct proposals *out)
{
	int rc = sa_parse(body, out);

	return !rc && out->p[0].number != 1 ? -EBADMSG : rc;
}

static void add_transform(struct wr *w, const struct transform *t, bool last)
{
	size_t at;

	wr_u8(w, last ? LAST : MORE_TRANSFORM);
	wr_u8(w, 0);
	at = wr_len16_begin(w);
	wr_u8(w, t->type);
	wr_u8(w, 0);
	wr_be16(w, t->id);
	if (t->bits) {
		wr_be16(w, ATTR_SHORT | TRANSFORM_ATTR_KEY_LENGTH);
		wr_be16(w, t->bits);
	}
	wr_len16_end(w, at);
}

static void add_proposal(struct wr *w, const struct proposal *p, uint8_t number, bool last)
{
	size_t at;

	wr_u8(w, last ? LAST : MORE_PROPOSALS);
	wr_u8(w, 0);
	at = wr_len16_begin(w);
	wr_u8(w, number);
	wr_u8(w, p->proto);
	wr_u8(w, p->spi_len);
	wr_u8(w, p->count);
	if (p->spi_len > sizeof(p->spi))
		w->bad = true;
	else
		wr_bytes(w, p->spi, p->spi_len);
	for (unsigned i = 0; i < p->count; i++)
		add_transform(w, &p->t[i], i + 1u == p->count);
	wr_len16_end(w, at);
}

void sa_add(struct ike_build *b, const struct proposals *ps)
{
	struct wr *w = ike_pld_begin(b, PLD_SA);

	for (unsigned i = 0; i < ps->count; i++)
		add_proposal(w, &ps->p[i], (uint8_t)(i + 1), i + 1u == ps->count);
	ike_pld_end(b);
}

void sa_add_choice(struct ike_build *b, const struct sa_choice *c, const void *spi, uint8_t spi_len)
{
	struct wr *w = ike_pld_begin(b, PLD_SA);
	struct proposal p = { .proto = c->proto, .spi_len = spi_len };

	if (spi_len > sizeof(p.spi))
		w->bad = true;
	else if (spi_len)
		memcpy(p.spi, spi, spi_len);
	transform_add(&p, TRANSFORM_ENCR, c->encr, c->encr_bits);
	if (c->proto == PROTO_IKE)
		transform_add(&p, TRANSFORM_PRF, c->prf, 0);
	if (c->integ != INTEG_NONE)
		transform_add(&p, TRANSFORM_INTEG, c->integ, 0);
	if (c->ke != KE_NONE)
		transform_add(&p, TRANSFORM_KE, c->ke, 0);
	if (c->proto == PROTO_ESP)
		transform_add(&p, TRANSFORM_ESN, c->esn, 0);
	add_proposal(w, &p, c->number, true);
	ike_pld_end(b);
}

static bool has_type(const struct proposal *p, uint8_t type)
{
	for (unsigned i = 0; i < p->count; i++) {
		if (p->t[i].type == type)
			return true;
	}
	return false;
}

/* A proposal without INTEG or KE says NONE (s3.3.3). */
static bool has(const struct proposal *p, uint8_t type, uint16_t id, uint16_t bits)
{
	bool none = type == TRANSFORM_INTEG || type == TRANSFORM_KE;

	if (none && !id && !has_type(p, type))
		return true;
	for (unsigned i = 0; i < p->count; i++) {
		const struct transform *t = &p->t[i];

		if (t->type == type && t->id == id && t->bits == bits && id != TRANSFORM_UNUSABLE)
			return true;
	}
	return false;
}

/* First transform of a type, by our order, that the offer has too. */
static bool pick(const struct proposal *ours, const struct proposal *offer, uint8_t type,
		 uint16_t *id)
{
	for (unsigned i = 0; i < ours->count; i++) {
		const struct transform *t = &ours->t[i];

		if (t->type == type && has(offer, type, t->id, t->bits)) {
			*id = t->id;
			return true;
		}
	}
	*id = 0;
	return !has_type(ours, type) && has(offer, type, 0, 0);
}

/* Cipher and integrity together: an AEAD goes with INTEG NONE, others with anything but (RFC 5282). */
static bool take_cipher(const struct proposal *ours, const struct proposal *offer, const struct transform *t,
			struct sa_choice *c)
{
	struct encr_info info;

	if (t->type != TRANSFORM_ENCR || !has(offer, t->type, t->id, t->bits) || encr_info(t->id, t->bits, &info))
		return false;
	c->encr = t->id;
	c->encr_bits = t->bits;
	c->integ = INTEG_NONE;
	if (info.aead)
		return has(offer, TRANSFORM_INTEG, INTEG_NONE, 0);
	return pick(ours, offer, TRANSFORM_INTEG, &c->integ) && c->integ != INTEG_NONE;
}

/* @first: this one before those that are before it; 0: in order. */
static bool pick_cipher(const struct proposal *ours, const struct proposal *offer, uint16_t first,
			struct sa_choice *c)
{
	for (unsigned i = 0; first && i < ours->count; i++) {
		if (ours->t[i].id == first && take_cipher(ours, offer, &ours->t[i], c))
			return true;
	}
	for (unsigned i = 0; i < ours->count; i++) {
		if (take_cipher(ours, offer, &ours->t[i], c))
			return true;
	}
	return false;
}

/* What is asked for before any other; 0: no cipher. */
static uint16_t first_cipher(const struct proposals *ps)
{
	for (unsigned i = 0; ps->count && i < ps->p[0].count; i++) {
		if (ps->p[0].t[i].type == TRANSFORM_ENCR)
			return ps->p[0].t[i].id;
	}
	return 0;
}

static bool match(const struct proposal *ours, const struct proposal *offer, uint16_t first_encr, uint16_t ke_hint,
		  bool no_ke, struct sa_choice *c)
{
	*c = (struct sa_choice){ .number = offer->number, .proto = offer->proto };
	if (offer->bad || ours->bad || ours->proto != offer->proto)
		return false;
	if (!pick_cipher(ours, offer, first_encr, c))
		return false;
	if (c->proto == PROTO_IKE && (!pick(ours, offer, TRANSFORM_PRF, &c->prf) || !c->prf))
		return false;
	if (c->proto == PROTO_ESP &&
	    (!has_type(ours, TRANSFORM_ESN) || !pick(ours, offer, TRANSFORM_ESN, &c->esn)))
		return false;
	if (!no_ke) {
		if (ke_hint && has(ours, TRANSFORM_KE, ke_hint, 0) &&
		    has(offer, TRANSFORM_KE, ke_hint, 0))
			c->ke = ke_hint;
		else if (!pick(ours, offer, TRANSFORM_KE, &c->ke))
			return false;
		if (c->proto == PROTO_IKE && c->ke == KE_NONE)
			return false;
	}
	c->spi_len = offer->spi_len;
	memcpy(c->spi, offer->spi, sizeof(c->spi));
	return true;
}

int sa_choose(const struct proposals *ours, const struct proposals *offer, uint16_t ke_hint,
	      bool no_ke, struct sa_choice *out)
{
	bool weak = ours->by_cpu && first_cipher(offer) == ENCR_CHACHA20_POLY1305;
	uint16_t first = weak ? ENCR_CHACHA20_POLY1305 : 0;

	for (unsigned i = 0; i < ours->count; i++) {
		for (unsigned j = 0; j < offer->count; j++) {
			if (match(&ours->p[i], &offer->p[j], first, ke_hint, no_ke, out))
				return 0;
		}
	}
	*out = (struct sa_choice){ 0 };
	return -ENOENT;
}

/* No more than one of each type, and each of them ours. */
static bool subset(const struct proposal *ours, const struct proposal *reply, bool no_ke)
{
	for (unsigned i = 0; i < reply->count; i++) {
		const struct transform *t = &reply->t[i];

		for (unsigned j = 0; j < i; j++) {
			if (reply->t[j].type == t->type)
				return false;
		}
		if (no_ke && t->type == TRANSFORM_KE)
			continue;
		if (!has(ours, t->type, t->id, t->bits))
			return false;
	}
	return true;
}

int sa_check_reply(const struct proposals *ours, const struct proposals *reply, bool no_ke,
		   struct sa_choice *out)
{
	const struct proposal *p, *q = &reply->p[0];

	*out = (struct sa_choice){ 0 };
	if (reply->count != 1 || q->bad || q->number > ours->count)
		return -EPROTO;
	p = &ours->p[q->number - 1];
	if (p->spi_len != q->spi_len || !subset(p, q, no_ke) || !match(p, q, 0, 0, no_ke, out)) {
		*out = (struct sa_choice){ 0 };
		return -EPROTO;
	}
	return 0;
}

void proposals_keep(struct proposals *out, const struct proposals *from, uint8_t type, uint16_t id)
{
	out->count = 0;
	out->by_cpu = from->by_cpu;
	for (unsigned i = 0; i < from->count; i++) {
		const struct proposal *p = &from->p[i];
		struct proposal *kept;

		if (!has(p, type, id, 0))
			continue;
		kept = &out->p[out->count++];
		*kept = *p;
		kept->number = out->count;
		kept->count = 0;
		for (unsigned k = 0; k < p->count; k++) {
			if (p->t[k].type != type || p->t[k].id == id)
				kept->t[kept->count++] = p->t[k];
		}
	}
}

static void add_ciphers(struct proposal *p, bool aes_fast)
{
	if (!aes_fast)
		transform_add(p, TRANSFORM_ENCR, ENCR_CHACHA20_POLY1305, 0);
	transform_add(p, TRANSFORM_ENCR, ENCR_AES_GCM_16, 128);
	transform_add(p, TRANSFORM_ENCR, ENCR_AES_GCM_16, 256);
	if (aes_fast)
		transform_add(p, TRANSFORM_ENCR, ENCR_CHACHA20_POLY1305, 0);
}

static void add_cbc(struct proposal *p)
{
	transform_add(p, TRANSFORM_ENCR, ENCR_AES_CBC, 128);
	transform_add(p, TRANSFORM_ENCR, ENCR_AES_CBC, 256);
	transform_add(p, TRANSFORM_INTEG, AUTH_HMAC_SHA2_256_128, 0);
	transform_add(p, TRANSFORM_INTEG, AUTH_HMAC_SHA2_384_192, 0);
	transform_add(p, TRANSFORM_INTEG, AUTH_HMAC_SHA2_512_256, 0);
}

static void add_groups(struct proposal *p)
{
	static const uint16_t groups[] = { KE_CURVE25519, KE_ECP_256,	KE_ECP_384,  KE_ECP_521,
					   KE_MODP_2048,  KE_MODP_3072, KE_MODP_4096 };

	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++)
		transform_add(p, TRANSFORM_KE, groups[i], 0);
}

void proposals_default_ike(struct proposals *ps, bool aes_fast)
{
	ps->count = 0;
	ps->by_cpu = true;
	for (int cbc = 0; cbc < 2; cbc++) {
		struct proposal *p = proposal_add(ps, PROTO_IKE);

		if (cbc)
			add_cbc(p);
		else
			add_ciphers(p, aes_fast);
		transform_add(p, TRANSFORM_PRF, PRF_HMAC_SHA2_256, 0);
		transform_add(p, TRANSFORM_PRF, PRF_HMAC_SHA2_384, 0);
		transform_add(p, TRANSFORM_PRF, PRF_HMAC_SHA2_512, 0);
		add_groups(p);
	}
}

void proposals_default_esp(struct proposals *ps, bool aes_fast, bool pfs)
{
	ps->count = 0;
	ps->by_cpu = true;
	for (int cbc = 0; cbc < 2; cbc++) {
		struct proposal *p = proposal_add(ps, PROTO_ESP);

		if (cbc)
			add_cbc(p);
		else
			add_ciphers(p, aes_fast);
		if (pfs) {
			add_groups(p);
			transform_add(p, TRANSFORM_KE, KE_NONE, 0);
		}
		transform_add(p, TRANSFORM_ESN, ESN_YES, 0);
		transform_add(p, TRANSFORM_ESN, ESN_NO, 0);
	}
}

struct ike_suite sa_choice_ike(const struct sa_choice *c)
{
	return (struct ike_suite){ .encr = c->encr,
				   .encr_bits = c->encr_bits,
				   .integ = c->integ,
				   .prf = c->prf,
				   .ke = c->ke };
}

struct esp_suite sa_choice_esp(const struct sa_choice *c)
{
	return (struct esp_suite){ .encr = c->encr,
				   .encr_bits = c->encr_bits,
				   .integ = c->integ,
				   .esn = c->esn,
				   .ke = c->ke };
}
