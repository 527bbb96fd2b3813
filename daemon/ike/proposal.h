/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef IKE_PROPOSAL_H
#define IKE_PROPOSAL_H

/*
 * Theory: an SA payload (RFC 7296 s3.3) is a list of proposals, numbered from 1, each a list of
 * transforms; within one proposal transforms of one type are alternatives. The responder picks
 * one transform of each type from one proposal.
 *
 * A proposal that holds something unknown (transform type, protocol, attribute) or out of place
 * is kept but marked; only broken framing makes the payload malformed.
 */

#include "message.h"

#define PROPOSALS_MAX  16 /* kept; further ones are checked for syntax and dropped */
#define TRANSFORMS_MAX 64 /* per proposal; one with more is marked */

struct transform {
	uint8_t type; /* enum transform_type */
	uint16_t id;
	uint16_t bits; /* Key Length attribute; 0: none */
};

/* ID of a parsed transform that nobody can choose: bad or unknown attribute. Its type counts. */
#define TRANSFORM_UNUSABLE 0xffff

struct proposal {
	uint8_t number; /* 1..n */
	uint8_t proto;	/* enum ike_protocol */
	uint8_t spi_len;
	uint8_t spi[8];	 /* as on the wire: 0, 4 (ESP) or 8 (IKE rekey) bytes */
	const char *bad; /* why it cannot be chosen, static text; NULL: may be */
	uint8_t count;
	struct transform t[TRANSFORMS_MAX];
};

struct proposals {
	uint8_t count;
	bool by_cpu; /* ours, in the order that this CPU likes; nobody has asked for it */
	struct proposal p[PROPOSALS_MAX];
};

/* The outcome. Unused fields are 0: prf for ESP, esn for IKE. */
struct sa_choice {
	uint8_t number;
	uint8_t proto;
	uint8_t spi_len;
	uint8_t spi[8]; /* the peer's */
	uint16_t encr, encr_bits, integ, prf, ke, esn;
};

/**
 * sa_parse() - Body of an SA payload. 0 or -EBADMSG (framing, numbering, last flags).
 * Several proposals are numbered 1..n; a single one, as in a responder's answer, as it likes.
 */
int sa_parse(struct span body, struct proposals *out);
/** sa_parse_offer() - The same of a request, where a single proposal has number 1 too (s3.3.1). */
int sa_parse_offer(struct span body, struct proposals *out);
/** sa_add() - An SA payload; numbers are given 1..n in order. The SPIs are those in @p. */
void sa_add(struct ike_build *b, const struct proposals *p);
/** sa_add_choice() - The responder's SA payload. @spi, @spi_len: our own SPI (0 for INIT). */
void sa_add_choice(struct ike_build *b, const struct sa_choice *c, const void *spi,
		   uint8_t spi_len);

/**
 * sa_choose() - The responder's choice: first match by *our* order of proposals, then of
 * transforms (design.md s4: order follows the CPU). But who asks for ChaCha20 before anything else has no AES
 * instructions: it gets that, where nobody has asked for our order (@ours->by_cpu), for we lose less by it.
 * @ours: what we accept. @offer: what the peer sent.
 * @ke_hint: group of the peer's KE payload (0: none); taken when both lists hold it, which saves
 * the INVALID_KE_PAYLOAD round.
 * @no_ke: an IKE_AUTH exchange: KE transforms on both sides are ignored (s1.2).
 * Returns 0 or -ENOENT (NO_PROPOSAL_CHOSEN). A choice with ke != @ke_hint asks for
 * INVALID_KE_PAYLOAD(ke).
 */
int sa_choose(const struct proposals *ours, const struct proposals *offer, uint16_t ke_hint,
	      bool no_ke, struct sa_choice *out);
/**
 * sa_check_reply() - The initiator's check of the responder's answer against what it offered:
 * one proposal, of a number that we sent, one transform for each type, each of them offered, the same
 * protocol, an SPI of the right length. @no_ke as above. 0 or -EPROTO.
 */
int sa_check_reply(const struct proposals *ours, const struct proposals *reply, bool no_ke,
		   struct sa_choice *out);

/** proposal_add() - Append an empty proposal of @proto; NULL when full. */
struct proposal *proposal_add(struct proposals *ps, uint8_t proto);
/** transform_add() - Append; a full proposal marks itself. */
void transform_add(struct proposal *p, uint8_t type, uint16_t id, uint16_t bits);
/** proposals_equal() - The same transforms in the same order, SPIs aside; NULL is equal to NULL. */
bool proposals_equal(const struct proposals *a, const struct proposals *b);
/**
 * proposals_keep() - Those of @from that hold transform @id of @type, with that one alone of its type;
 * @out->count is 0 when there is none.
 */
void proposals_keep(struct proposals *out, const struct proposals *from, uint8_t type, uint16_t id);
/** proposals_set_spi() - The same SPI into each: 4 bytes for ESP, 8 for an IKE rekey. */
void proposals_set_spi(struct proposals *ps, const void *spi, uint8_t len);
/**
 * proposals_default_ike() - design.md s4. @aes_fast: the CPU has AES instructions; without them
 * ChaCha20 comes first.
 */
void proposals_default_ike(struct proposals *ps, bool aes_fast);
/** proposals_default_esp() - @pfs: with KE transforms, and NONE last (CREATE_CHILD_SA). */
void proposals_default_esp(struct proposals *ps, bool aes_fast, bool pfs);
/** sa_choice_ike() and sa_choice_esp() - In the types of crypto/. */
struct ike_suite sa_choice_ike(const struct sa_choice *c);
struct esp_suite sa_choice_esp(const struct sa_choice *c);

#endif
