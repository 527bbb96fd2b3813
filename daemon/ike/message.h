/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef IKE_MESSAGE_H
#define IKE_MESSAGE_H

/*
 * Theory: an IKE message is a header and a chain of payloads, each naming the type of the next
 * (RFC 7296 s3.1, s3.2):
 *
 *	+------------------------------- 28 -------------------------------+
 *	| SPIi 8 | SPIr 8 | next 1 | version 1 | exchange 1 | flags 1 | ID 4 | length 4 |
 *	+------------------------------------------------------------------+
 *	| next 1 | C + reserved 1 | length 2 | body ... |   repeated
 *
 * Reading: ike_hdr_parse() looks at the header alone; ike_msg_parse() walks the outer chain up to SK
 * or SKF, which end it; what sk_open() or frag_add() gave back is walked by ike_msg_parse_inner().
 * struct ike_msg then holds const views, which live as long as the bytes that they were parsed
 * from. Bodies of SA, TS and CP are bounded views that proposal.h, selector.h and payload.h parse.
 *
 * Writing: struct ike_build chains the payloads, sticky like struct wr: add what you need, check
 * once at ike_build_end().
 */

#include "ike_num.h"
#include "wire.h"

#define IKE_HDR_LEN	 28
#define IKE_PLD_HDR_LEN	 4
#define IKE_MSG_MAX	 65535 /* bytes, reassembled */
#define IKE_PAYLOADS_MAX 64    /* in one message */
#define IKE_NOTIFIES_MAX 48
#define IKE_CERTS_MAX	 8 /* X.509; further ones, and other encodings, are ignored */
#define IKE_CERTREQS_MAX 8
#define IKE_DELETES_MAX	 8
#define IKE_VENDORS_MAX	 24
#define IKE_COOKIE_MAX	 64

struct ike_hdr {
	uint64_t spi_i; /* value of the eight octets read big-endian; so in prf.h and digest.h */
	uint64_t spi_r; /* 0 in the first message */
	uint8_t next;	/* first payload; filled by the builder */
	uint8_t version;
	uint8_t exchange;
	uint8_t flags;
	uint32_t id;	 /* message ID */
	uint32_t length; /* filled by the builder */
};

static inline bool ike_hdr_is_response(const struct ike_hdr *h)
{
	return h->flags & IKE_FLAG_RESPONSE;
}

/**
 * ike_hdr_parse() - The first 28 bytes of a datagram (without the non-ESP marker).
 * @len: of the datagram; the header's length must be exactly this.
 * Returns 0; -EBADMSG (short, wrong length, SPIi 0); -EPROTONOSUPPORT (major version above 2: @h is
 * filled, so that a *request* can be answered with INVALID_MAJOR_VERSION); -EPROTO (major version
 * below 2, unknown exchange, message ID or SPIr impossible for IKE_SA_INIT): drop.
 */
int ike_hdr_parse(const void *data, size_t len, struct ike_hdr *h);

struct pld_ke {
	uint16_t group;
	const uint8_t *data; /* NULL: not in the message */
	size_t len;
};

struct pld_id {
	uint8_t type; /* enum id_type */
	const uint8_t *data;
	size_t len;
	struct span body; /* for auth_octets_build(); p NULL: not in the message */
};

struct pld_cert { /* CERT and CERTREQ; in struct ike_msg only CERT_X509_SIGNATURE */
	uint8_t encoding;
	const uint8_t *data;
	size_t len;
};

struct pld_auth {
	uint8_t method; /* 0: not in the message */
	const uint8_t *data;
	size_t len;
};

struct pld_notify {
	uint16_t type;
	uint8_t proto;
	uint8_t spi_len;
	const uint8_t *spi;
	const uint8_t *data;
	size_t len; /* of data */
};

struct pld_delete {
	uint8_t proto;	 /* PROTO_NONE: inconsistent, deletes nothing */
	uint8_t spi_len; /* 0 for IKE, 4 for ESP */
	uint16_t count;
	const uint8_t *spis;
};

/* Where the protected part lies. */
struct pld_sk {
	uint8_t type;  /* PLD_SK, PLD_SKF, or 0: not in the message */
	uint8_t first; /* type of the first payload within (in SKF: of fragment 1, else 0) */
	uint16_t frag_number;
	uint16_t frag_total;
	size_t body_at; /* offset of the IV in the message: so much is AAD */
};

/*
 * One parsed message. An absent payload has p or data NULL, method or type 0, count 0. What comes
 * in repeated payloads beyond the MAX of its kind is dropped, except notifies, deletes and the payload
 * total, where it makes the message malformed.
 */
struct ike_msg {
	struct ike_hdr hdr;
	struct span raw; /* the datagram as it came */
	struct pld_sk sk;

	struct span sa; /* body: sa_parse() */
	struct pld_ke ke;
	struct span nonce;
	struct pld_id idi, idr;
	struct pld_auth auth;
	struct span tsi, tsr; /* body: ts_parse() */
	struct span cp;	      /* body: cp_parse() */
	struct span eap;
	struct pld_cert certs[IKE_CERTS_MAX];
	struct pld_cert certreqs[IKE_CERTREQS_MAX];
	struct pld_notify notifies[IKE_NOTIFIES_MAX];
	struct pld_delete deletes[IKE_DELETES_MAX];
	struct span vendors[IKE_VENDORS_MAX];
	unsigned n_certs, n_certreqs, n_notifies, n_deletes, n_vendors;
	unsigned n_payloads;

	uint64_t seen;	 /* bit (type - 32) for payload types 32..95 */
	uint8_t bad;	 /* payload type at which parsing failed, for the log and for N(1) */
	const char *why; /* static text beside it */
};

static inline bool ike_msg_has(const struct ike_msg *m, uint8_t type)
{
	return type >= 32 && type < 96 && (m->seen >> (type - 32) & 1);
}

/**
 * ike_msg_parse() - Header and outer payloads of one datagram, up to SK or SKF.
 * Views point into @data. Returns 0, what ike_hdr_parse() returns, and
 * -EBADMSG: malformed, @m->bad and @m->why say where; to a request with unprotected payloads the
 *	answer is at most INVALID_SYNTAX, before authentication: drop (RFC 7296 s2.21.1);
 * -EPROTO with @m->bad set: unknown payload with the critical bit: UNSUPPORTED_CRITICAL_PAYLOAD with
 *	@m->bad as data (s2.5).
 */
int ike_msg_parse(const void *data, size_t len, struct ike_msg *m);
/**
 * ike_msg_parse_inner() - The payloads that stood in SK or SKF.
 * @m: as ike_msg_parse() left it; views of outer payloads are dropped, hdr, raw and sk stay.
 * @first: type of the first payload. @plain must outlive the use of @m. Errors as above, now
 * authenticated: -EBADMSG is answered with INVALID_SYNTAX.
 */
int ike_msg_parse_inner(struct ike_msg *m, uint8_t first, const void *plain, size_t len);

/** ike_msg_notify() - First notify of that type, or NULL. */
const struct pld_notify *ike_msg_notify(const struct ike_msg *m, uint16_t type);
/** ike_msg_error() - First error notify (type < 16384), or NULL. */
const struct pld_notify *ike_msg_error(const struct ike_msg *m);
/** ike_msg_unknown_error() - First error notify of a type without a name here, or NULL (s3.10.1). */
const struct pld_notify *ike_msg_unknown_error(const struct ike_msg *m);
/** ike_msg_vendor() - Was exactly this Vendor ID there? */
bool ike_msg_vendor(const struct ike_msg *m, const void *id, size_t len);
/** ike_msg_is_postern() - Was postern_vendor_id there? */
bool ike_msg_is_postern(const struct ike_msg *m);
/** pld_delete_spi() - SPI number @i of an ESP Delete, host order value; 0 when out of range. */
uint32_t pld_delete_spi(const struct pld_delete *d, unsigned i);
/** pld_notify_spi() - The 4 byte SPI of a notify (REKEY_SA, CHILD_SA_NOT_FOUND); 0: none. */
uint32_t pld_notify_spi(const struct pld_notify *n);

struct ike_build {
	struct wr w;
	size_t next_at; /* offset of the Next Payload byte that the next payload fills */
	size_t len_at;	/* offset of the open payload's length; 0: none open */
	bool whole;	/* with IKE header */
	uint8_t first;	/* type of the first payload (without header: for sk_seal) */
	unsigned count;
};

/**
 * ike_build_begin() - A whole unprotected message (IKE_SA_INIT, errors outside an SA).
 * @h: next and length are filled in later; version 0 means 2.0.
 */
void ike_build_begin(struct ike_build *b, void *buf, size_t cap, const struct ike_hdr *h);
/** ike_build_inner() - A chain without header, to be given to sk_seal() with @b->first. */
void ike_build_inner(struct ike_build *b, void *buf, size_t cap);
/** ike_build_end() - Close; 0 and the length, or -EMSGSIZE. An empty chain is valid. */
int ike_build_end(struct ike_build *b, size_t *len);
/** ike_pld_begin() - Open a payload; its body is written through the result. */
struct wr *ike_pld_begin(struct ike_build *b, uint8_t type);
void ike_pld_end(struct ike_build *b);
/** ike_hdr_build() - 28 bytes as they stand in @h. */
void ike_hdr_build(struct wr *w, const struct ike_hdr *h);

#endif
