/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef IKE_PROPOSAL_WORDS_H
#define IKE_PROPOSAL_WORDS_H

/*
 * Theory: a proposal in words, as the configuration takes it and as log and status show it:
 *
 *	aes256gcm16-prfsha256-x25519		AEAD: cipher, PRF, group
 *	aes128-aes256-sha256-ecp256		several of a kind are alternatives; the first is preferred
 *	chacha20poly1305-x25519-none-esn	ESP: cipher, PFS groups, extended sequence numbers
 *
 * There is a word for each transform that Postern has and for nothing else.
 */

#include "proposal.h"

#define PROPOSAL_IKE_WORDS                                                                         \
	"aes128gcm16, aes256gcm16, chacha20poly1305, aes128, aes256, sha256, sha384, sha512, "     \
	"prfsha256, prfsha384, prfsha512, x25519, ecp256, ecp384, ecp521, modp2048, modp3072, "    \
	"modp4096, joined by \"-\""
#define PROPOSAL_ESP_WORDS                                                                         \
	"aes128gcm16, aes256gcm16, chacha20poly1305, aes128, aes256, sha256, sha384, sha512, "     \
	"x25519, ecp256, ecp384, ecp521, modp2048, modp3072, modp4096, none, esn, noesn, joined "  \
	"by \"-\""

/**
 * proposal_from_words() - One proposal from its words; @proto is PROTO_IKE or PROTO_ESP.
 * @out: number 0, without SPI. IKE without a PRF takes that of the integrity hash (CBC); ESP without
 * esn or noesn offers both, ESN first; without a group it has no key exchange of its own.
 * 0 or -EINVAL with @why, a clause: what is wrong with which word.
 */
int proposal_from_words(const char *text, uint8_t proto, struct proposal *out, char *why,
			size_t cap);

/**
 * proposals_str() - The words, proposals parted by ", ", cut at @cap; returns @out. What Postern does not
 * have (another's offer) stands as IANA calls it: "3DES-HMAC_SHA1_96-PRF_HMAC_SHA1-MODP_1024".
 */
const char *proposals_str(const struct proposals *ps, char *out, size_t cap);
const char *sa_choice_str(const struct sa_choice *c, char *out, size_t cap);
/**
 * proposals_lack() - Is there no proposal in @offer that some configuration of Postern could take, since of
 * some type of transform it has only such as Postern does not? Then true, and @out names those.
 */
bool proposals_lack(const struct proposals *offer, char *out, size_t cap);
const char *ike_suite_str(const struct ike_suite *s, char *out, size_t cap);
const char *esp_suite_str(const struct esp_suite *s, char *out, size_t cap);

#endif
