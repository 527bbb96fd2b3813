/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef IKE_PAYLOAD_H
#define IKE_PAYLOAD_H

/*
 * One pair _parse/_add for each kind of payload; the file is pld_KIND.c. The _parse functions take the
 * body without generic header, 0 or -EBADMSG, and give views. ike_msg_parse() has called them already, but
 * for cp_parse(). The _add functions append to a builder and are sticky.
 */

#include "addr.h"
#include "message.h"

int pld_ke_parse(struct span body, struct pld_ke *out); /* RFC 7296 s3.4 */
void pld_ke_add(struct ike_build *b, uint16_t group, struct span public);

int pld_nonce_parse(struct span body, struct span *out); /* s3.9: 16..256 bytes */
void pld_nonce_add(struct ike_build *b, struct span nonce);

int pld_id_parse(struct span body, struct pld_id *out); /* s3.5 */
/** pld_id_add() - @pld is PLD_IDI or PLD_IDR. */
void pld_id_add(struct ike_build *b, uint8_t pld, uint8_t id_type, struct span id);
/**
 * pld_id_from_text() - An identity as a configuration writes it: an address, a name with '@' inside
 * (RFC822), "@name" or a name (FQDN). -EINVAL: empty, over 255 bytes, control characters.
 * @out: needs at least 16 bytes and strlen(@text).
 */
int pld_id_from_text(const char *text, uint8_t *type, uint8_t *out, size_t cap, size_t *len);
/** pld_id_str() - For logs: printable, anything else escaped, cut at @cap; returns @out. */
const char *pld_id_str(uint8_t type, struct span id, char *out, size_t cap);
/** pld_id_equal() - Type and bytes; FQDN and RFC822 without regard to ASCII case, exact length. */
bool pld_id_equal(uint8_t type_a, struct span a, uint8_t type_b, struct span b);

int pld_cert_parse(struct span body, struct pld_cert *out); /* s3.6, s3.7 */
void pld_cert_add(struct ike_build *b, uint8_t encoding, struct span data);
/** pld_certreq_add() - @data: concatenated 20-byte SHA-1 key identifiers for X.509. */
void pld_certreq_add(struct ike_build *b, uint8_t encoding, struct span data);

int pld_auth_parse(struct span body, struct pld_auth *out); /* s3.8 */
void pld_auth_add(struct ike_build *b, uint8_t method, struct span data);

int pld_notify_parse(struct span body, struct pld_notify *out); /* s3.10 */
/** pld_notify_add() - About the IKE SA: protocol 0, no SPI. */
void pld_notify_add(struct ike_build *b, uint16_t type, struct span data);
/** pld_notify_add_ike() - The same for those that say protocol 1 all the same (RFC 6290 s4.1). */
void pld_notify_add_ike(struct ike_build *b, uint16_t type, struct span data);
/** pld_notify_add_spi() - About a CHILD SA: REKEY_SA, CHILD_SA_NOT_FOUND. @spi: host order value. */
void pld_notify_add_spi(struct ike_build *b, uint16_t type, uint8_t proto, uint32_t spi,
			struct span data);
/** pld_notify_add_be16() - INVALID_KE_PAYLOAD and the like. */
void pld_notify_add_be16(struct ike_build *b, uint16_t type, uint16_t value);
/** pld_hashes_parse() - Bit mask for sig_scheme_pick() from SIGNATURE_HASH_ALGORITHMS data. */
unsigned pld_hashes_parse(const struct pld_notify *n);
/** pld_hashes_add() - The notify from such a mask (SIG_HASHES_ALL). */
void pld_hashes_add(struct ike_build *b, unsigned hashes);

int pld_delete_parse(struct span body, struct pld_delete *out); /* s3.11 */
/** pld_delete_add_ike() - The IKE SA itself. */
void pld_delete_add_ike(struct ike_build *b);
/** pld_delete_add_esp() - @spis: host order values of our inbound SPIs. */
void pld_delete_add_esp(struct ike_build *b, const uint32_t *spis, uint16_t count);

void pld_vendor_add(struct ike_build *b, struct span id); /* s3.12 */

#define CP_ATTRS_MAX 32

struct cp_attr {
	uint16_t type; /* enum cp_attr_type */
	uint16_t len;
	const uint8_t *value;
};

struct pld_cp {
	uint8_t type; /* enum cp_type; 0: none */
	unsigned count;
	struct cp_attr attrs[CP_ATTRS_MAX]; /* further ones are ignored */
};

/** cp_parse() - s3.15. Attributes of a known type but wrong length are left out. */
int cp_parse(struct span body, struct pld_cp *out);
/** cp_begin() to cp_end() - A CP payload; attributes in between. */
struct wr *cp_begin(struct ike_build *b, uint8_t type);
void cp_attr_add(struct wr *w, uint16_t type, struct span value);
/**
 * cp_attr_add_addr() - INTERNAL_IP4_ADDRESS or INTERNAL_IP6_ADDRESS by family; family 0 makes no
 * attribute. @prefix_len: for IPv6.
 */
void cp_attr_add_addr(struct wr *w, const struct addr *a, uint8_t prefix_len);
void cp_end(struct ike_build *b);
/**
 * cp_attr_addr() - Address in an INTERNAL_IP[46]_ADDRESS or _DNS attribute.
 * 0; -ENOENT (empty: "give me any"); -EINVAL (other attribute).
 */
int cp_attr_addr(const struct cp_attr *a, struct addr *out);

#endif
