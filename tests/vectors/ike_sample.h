/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef VECTORS_IKE_SAMPLE_H
#define VECTORS_IKE_SAMPLE_H

/*
 * The messages of one exchange, built by our own builder, with every kind of payload in them: what
 * the tests cut and bend, and what the fuzz corpora start from. Keys are fixed (zeros).
 */

#include "fragment.h"
#include "payload.h"
#include "proposal.h"
#include "selector.h"

#define SAMPLE_SPI_I UINT64_C(0x1122334455667788)
#define SAMPLE_SPI_R UINT64_C(0x99aabbccddeeff00)

static inline struct ike_hdr sample_hdr(uint8_t exchange, uint8_t flags, uint32_t id)
{
	return (struct ike_hdr){ .spi_i = SAMPLE_SPI_I,
				 .spi_r = exchange == IKE_SA_INIT && !(flags & IKE_FLAG_RESPONSE)
					      ? 0
					      : SAMPLE_SPI_R,
				 .exchange = exchange,
				 .flags = flags,
				 .id = id };
}

/* HDR, N(COOKIE), SAi1, KEi, Ni, N(NAT_DETECTION_*_IP), N(...), V --> */
static inline size_t sample_init(uint8_t *buf, size_t cap)
{
	struct ike_hdr h = sample_hdr(IKE_SA_INIT, IKE_FLAG_INITIATOR, 0);
	uint8_t fill[64];
	struct proposals ps;
	struct ike_build b;
	size_t len;

	memset(fill, 0x42, sizeof(fill));
	proposals_default_ike(&ps, true);
	ike_build_begin(&b, buf, cap, &h);
	pld_notify_add(&b, COOKIE, (struct span){ fill, 16 });
	sa_add(&b, &ps);
	pld_ke_add(&b, KE_CURVE25519, (struct span){ fill, 32 });
	pld_nonce_add(&b, (struct span){ fill, 32 });
	pld_notify_add(&b, NAT_DETECTION_SOURCE_IP, (struct span){ fill, 20 });
	pld_notify_add(&b, NAT_DETECTION_DESTINATION_IP, (struct span){ fill, 20 });
	pld_notify_add(&b, IKEV2_FRAGMENTATION_SUPPORTED, (struct span){ NULL, 0 });
	pld_hashes_add(&b, 1u << 2 | 1u << 3 | 1u << 4 | 1u << 5);
	pld_vendor_add(&b, (struct span){ postern_vendor_id, sizeof(postern_vendor_id) });
	return ike_build_end(&b, &len) ? 0 : len;
}

/* The inside of HDR, SK {IDi, CERT, CERTREQ, IDr, AUTH, CP, SA, TSi, TSr, N, D, EAP} --> */
static inline size_t sample_inner(uint8_t *buf, size_t cap, uint8_t *first)
{
	const uint8_t spi[4] = { 0xca, 0xfe, 0xba, 0xbe };
	const uint32_t deleted[2] = { 0x01020304, 0xa0b0c0d0 };
	struct addr v4 = { .family = AF_INET, .b = { 10, 99, 0, 2 } };
	struct addr v6 = { .family = AF_INET6, .b = { 0xfd, 0x99, [15] = 2 } };
	struct addr none = { 0 };
	struct prefix net4 = { v4, 32 }, net6 = { v6, 128 };
	struct ts_list tsi = { 0 }, tsr = { 0 };
	struct ts t = ts_from_prefix(&net4);
	struct proposals ps;
	struct ike_build b;
	uint8_t fill[96];
	struct wr *w;
	size_t len;

	memset(fill, 0x24, sizeof(fill));
	ts_append(&tsi, &t);
	t.proto = IPPROTO_TCP;
	t.port_lo = t.port_hi = 25;
	ts_append(&tsr, &t);
	t = ts_from_prefix(&net6);
	ts_append(&tsi, &t);
	ts_append(&tsr, &t);
	proposals_default_esp(&ps, true, false);
	proposals_set_spi(&ps, spi, sizeof(spi));
	ike_build_inner(&b, buf, cap);
	pld_id_add(&b, PLD_IDI, ID_FQDN, (struct span){ "home.example.net", 16 });
	pld_cert_add(&b, CERT_X509_SIGNATURE, (struct span){ fill, 90 });
	pld_certreq_add(&b, CERT_X509_SIGNATURE, (struct span){ fill, 40 });
	pld_id_add(&b, PLD_IDR, ID_RFC822_ADDR, (struct span){ "vps@example.net", 15 });
	pld_auth_add(&b, 14, (struct span){ fill, 72 });
	w = cp_begin(&b, CFG_REQUEST);
	cp_attr_add_addr(w, &v4, 0);
	cp_attr_add_addr(w, &v6, 128);
	cp_attr_add_addr(w, &none, 0);
	cp_attr_add(w, INTERNAL_IP4_DNS, (struct span){ NULL, 0 });
	cp_end(&b);
	sa_add(&b, &ps);
	ts_add(&b, PLD_TSI, &tsi);
	ts_add(&b, PLD_TSR, &tsr);
	pld_notify_add(&b, INITIAL_CONTACT, (struct span){ NULL, 0 });
	pld_notify_add(&b, POSTERN_INSTANCE_ID, (struct span){ fill, POSTERN_INSTANCE_ID_LEN });
	pld_notify_add_spi(&b, REKEY_SA, PROTO_ESP, 0xcafebabe, (struct span){ NULL, 0 });
	pld_notify_add_be16(&b, INVALID_KE_PAYLOAD, KE_ECP_256);
	pld_delete_add_esp(&b, deleted, 2);
	pld_delete_add_ike(&b);
	w = ike_pld_begin(&b, PLD_EAP);
	wr_bytes(w, "\x01\x02\x00\x05\x01", 5);
	ike_pld_end(&b);
	*first = b.first;
	return ike_build_end(&b, &len) ? 0 : len;
}

/* AES-GCM-128 under a zero key; NULL when out of memory. */
static inline struct ike_aead *sample_aead(void)
{
	const struct ike_suite suite = { .encr = ENCR_AES_GCM_16, .encr_bits = 128 };
	uint8_t zero[20] = { 0 };
	struct secret e = { zero, sizeof(zero) }, none = { 0 };
	struct ike_aead *a;

	return ike_aead_new(&suite, &e, &none, &a) ? NULL : a;
}

#endif
