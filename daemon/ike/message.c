/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "message.h"

#include <errno.h>

#include "payload.h"

static bool exchange_known(uint8_t exchange)
{
	switch (exchange) {
	case IKE_SA_INIT:
	case IKE_AUTH:
	case CREATE_CHILD_SA:
	case INFORMATIONAL:
	case IKE_INTERMEDIATE:
	case IKE_FOLLOWUP_KE:
		return true;
	default:
		return false;
	}
}

int ike_hdr_parse(const void *data, size_t len, struct ike_hdr *h)
{
	struct rd r = rd_init(data, len);

	h->spi_i = rd_be64(&r);
	h->spi_r = rd_be64(&r);
	h->next = rd_u8(&r);
	h->version = rd_u8(&r);
	h->exchange = rd_u8(&r);
	h->flags = rd_u8(&r);
	h->id = rd_be32(&r);
	h->length = rd_be32(&r);
	/* s3.1; s1.5 has the one exception: INVALID_SPI outside of any IKE SA */
	if (r.bad || h->length != len || (!h->spi_i && h->exchange != INFORMATIONAL))
		return -EBADMSG;
	if (h->version >> 4 > IKE_MAJOR)
		return -EPROTONOSUPPORT;
	if (h->version >> 4 < IKE_MAJOR || !exchange_known(h->exchange))
		return -EPROTO;
	/*
	 * IKE_SA_INIT has message ID 0, the initiator's flag on its side alone, and a request has no
	 * SPIr yet. An error response may lack it too (s2.6). Everything else needs both SPIs,
	 * but for that INVALID_SPI.
	 */
	if (h->exchange == IKE_SA_INIT) {
		bool request = !ike_hdr_is_response(h);

		if (h->id || request != !!(h->flags & IKE_FLAG_INITIATOR) || (request && h->spi_r))
			return -EPROTO;
	} else if (!h->spi_r && h->exchange != INFORMATIONAL) {
		return -EPROTO;
	}
	return 0;
}

void ike_hdr_build(struct wr *w, const struct ike_hdr *h)
{
	wr_be64(w, h->spi_i);
	wr_be64(w, h->spi_r);
	wr_u8(w, h->next);
	wr_u8(w, h->version ? h->version : IKE_VERSION);
	wr_u8(w, h->exchange);
	wr_u8(w, h->flags);
	wr_be32(w, h->id);
	wr_be32(w, h->length);
}

static int fail(struct ike_msg *m, uint8_t type, const char *why)
{
	m->bad = type;
	m->why = why;
	return -EBADMSG;
}

/* Only one of each makes sense (s1.2, and s3.x for each). */
static bool single(uint8_t type)
{
	switch (type) {
	case PLD_SA:
	case PLD_KE:
	case PLD_IDI:
	case PLD_IDR:
	case PLD_AUTH:
	case PLD_NONCE:
	case PLD_TSI:
	case PLD_TSR:
	case PLD_CP:
	case PLD_EAP:
		return true;
	default:
		return false;
	}
}

static int add_cert(struct span body, struct pld_cert *list, unsigned max, unsigned *count)
{
	struct pld_cert c;
	int rc = pld_cert_parse(body, &c);

	/* Of an encoding that we do not read: it takes no place from those that count. */
	if (!rc && c.encoding == CERT_X509_SIGNATURE && *count < max)
		list[(*count)++] = c;
	return rc;
}

/* One payload into its view; false: malformed. */
static bool take(struct ike_msg *m, uint8_t type, struct span body)
{
	switch (type) {
	case PLD_SA:
		m->sa = body;
		return body.len > 0;
	case PLD_KE:
		return !pld_ke_parse(body, &m->ke);
	case PLD_IDI:
		return !pld_id_parse(body, &m->idi);
	case PLD_IDR:
		return !pld_id_parse(body, &m->idr);
	case PLD_CERT:
		return !add_cert(body, m->certs, IKE_CERTS_MAX, &m->n_certs);
	case PLD_CERTREQ:
		return !add_cert(body, m->certreqs, IKE_CERTREQS_MAX, &m->n_certreqs);
	case PLD_AUTH:
		return !pld_auth_parse(body, &m->auth);
	case PLD_NONCE:
		return !pld_nonce_parse(body, &m->nonce);
	case PLD_NOTIFY:
		return m->n_notifies < IKE_NOTIFIES_MAX &&
		       !pld_notify_parse(body, &m->notifies[m->n_notifies++]);
	case PLD_DELETE:
		return m->n_deletes < IKE_DELETES_MAX &&
		       !pld_delete_parse(body, &m->deletes[m->n_deletes++]);
	case PLD_VENDOR:
		if (m->n_vendors < IKE_VENDORS_MAX)
			m->vendors[m->n_vendors++] = body;
		return true;
	case PLD_TSI:
		m->tsi = body;
		return body.len >= 4;
	case PLD_TSR:
		m->tsr = body;
		return body.len >= 4;
	case PLD_CP:
		m->cp = body;
		return body.len >= 4;
	case PLD_EAP:
		m->eap = body;
		return body.len >= 4;
	default:
		return false;
	}
}

static bool known(uint8_t type)
{
	return (type >= PLD_SA && type <= PLD_EAP) || type == PLD_SKF;
}

/* SK and SKF: only outside, last, and the bytes after the header are for sk_open(). */
static int take_sk(struct ike_msg *m, uint8_t type, uint8_t next, struct rd *body)
{
	m->sk.first = next;
	if (type == PLD_SKF) {
		m->sk.frag_number = rd_be16(body);
		m->sk.frag_total = rd_be16(body);
	}
	if (body->bad)
		return fail(m, type, "fragment header cut short");
	m->sk.body_at = (size_t)(body->p - (const uint8_t *)m->raw.p);
	m->sk.type = type;
	return 0;
}

/*
 * The chain (s3.2). A payload's Next Payload names the one after; SK's names the first within, so the
 * walk ends there.
 */
static int walk(struct ike_msg *m, uint8_t type, struct rd r, bool inner)
{
	while (type != PLD_NONE) {
		uint8_t next = rd_u8(&r);
		bool critical = rd_u8(&r) & 0x80;
		uint16_t len = rd_be16(&r);
		struct rd body;
		struct span view;

		if (r.bad || len < IKE_PLD_HDR_LEN)
			return fail(m, type, r.bad ? "chain ends in the middle" : "length below 4");
		body = rd_sub(&r, len - IKE_PLD_HDR_LEN);
		if (body.bad)
			return fail(m, type, "payload longer than the message");
		if (++m->n_payloads > IKE_PAYLOADS_MAX)
			return fail(m, type, "too many payloads");
		if (!known(type)) {
			if (critical) {
				m->bad = type;
				m->why = "unknown critical payload";
				return -EPROTO;
			}
			type = next;
			continue;
		}
		if (type == PLD_SK || type == PLD_SKF) {
			if (inner)
				return fail(m, type, "encrypted payload inside another");
			if (rd_left(&r))
				return fail(m, type, "bytes after the encrypted payload");
			return take_sk(m, type, next, &body);
		}
		if (single(type) && ike_msg_has(m, type))
			return fail(m, type, "payload given twice");
		view = (struct span){ body.p, rd_left(&body) };
		if (!take(m, type, view))
			return fail(m, type, "malformed payload");
		m->seen |= UINT64_C(1) << (type - 32);
		type = next;
	}
	return rd_left(&r) ? fail(m, PLD_NONE, "bytes after the last payload") : 0;
}

int ike_msg_parse(const void *data, size_t len, struct ike_msg *m)
{
	struct rd r = rd_init(data, len);
	int rc;

	*m = (struct ike_msg){ .raw = { data, len } };
	rc = ike_hdr_parse(data, len, &m->hdr);
	if (rc) {
		m->why = "header";
		return rc;
	}
	rd_skip(&r, IKE_HDR_LEN);
	return walk(m, m->hdr.next, r, false);
}

int ike_msg_parse_inner(struct ike_msg *m, uint8_t first, const void *plain, size_t len)
{
	*m = (struct ike_msg){ .hdr = m->hdr, .raw = m->raw, .sk = m->sk };
	return walk(m, first, rd_init(len ? plain : "", len), true);
}

const struct pld_notify *ike_msg_notify(const struct ike_msg *m, uint16_t type)
{
	for (unsigned i = 0; i < m->n_notifies; i++) {
		if (m->notifies[i].type == type)
			return &m->notifies[i];
	}
	return NULL;
}

const struct pld_notify *ike_msg_error(const struct ike_msg *m)
{
	for (unsigned i = 0; i < m->n_notifies; i++) {
		if (notify_is_error(m->notifies[i].type))
			return &m->notifies[i];
	}
	return NULL;
}

const struct pld_notify *ike_msg_unknown_error(const struct ike_msg *m)
{
	for (unsigned i = 0; i < m->n_notifies; i++) {
		if (notify_is_error(m->notifies[i].type) && !ike_notify_known(m->notifies[i].type))
			return &m->notifies[i];
	}
	return NULL;
}

bool ike_msg_vendor(const struct ike_msg *m, const void *id, size_t len)
{
	for (unsigned i = 0; i < m->n_vendors; i++) {
		if (m->vendors[i].len == len && !memcmp(m->vendors[i].p, id, len))
			return true;
	}
	return false;
}

bool ike_msg_is_postern(const struct ike_msg *m)
{
	return ike_msg_vendor(m, postern_vendor_id, sizeof(postern_vendor_id));
}
