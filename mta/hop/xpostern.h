/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HOP_XPOSTERN_H
#define HOP_XPOSTERN_H

/*
 * Theory: between two Posterns that speak over the tunnel, MAIL carries what the first one knows and
 * the second one could not see for itself. The keyword XPOSTERN stands in the EHLO reply only for a
 * verified tunnel peer; to anybody else the parameters are unknown and refused.
 *
 *	250-XPOSTERN 1
 *	MAIL FROM:<a@b> XPOSTERN-ID=0123456789abcdef0123456789abcdef.17.12
 *		XPOSTERN-CLIENT=[192.0.2.1]:4711 XPOSTERN-HELO=mx.example
 *		XPOSTERN-TLS=TLSv1.3+20TLS_AES_128_GCM_SHA256 XPOSTERN-FACTS=auth,verified
 *
 * ID is the letter's id at the sender, never used again, with its place in the sender's journal
 * and the lowest place that still waits there: the receiver forgets what lies below. It must be
 * given, the rest may lack. Texts are xtext (RFC 3461 s4). The receiver stores (peer, id, recipient) with
 * the letter and answers a repeat with "250 2.0.0 already have it".
 *
 * Facts are words; one that the receiver does not know is no fault. "probe-" and 32 hex digits make the letter a
 * probe with this token (probe.h), "mailbox" has it delivered where it ends.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "envelope.h"

#define XPOSTERN_KEYWORD    "XPOSTERN"
#define XPOSTERN_VERSION    "1"
#define XPOSTERN_PARAMS_MAX 1024

/* Facts of the hop before, from XPOSTERN-* parameters of MAIL. */
struct mail_hop {
	bool given;
	uint8_t id[LETTER_ID_LEN];
	uint64_t seq;
	uint64_t low;
	struct endpoint client;
	char helo[256];
	char tls[96];
	uint32_t flags; /* ENV_AUTHENTICATED | ENV_VERIFIED | ENV_PROBE | ENV_PROBE_MAILBOX */
	uint8_t probe[LETTER_ID_LEN]; /* with ENV_PROBE */
};

/**
 * xpostern_params() - The parameters for MAIL, each with a blank before it.
 * @e: the letter; its origin, where it has one, else its client, is told.
 * @seq and @low: place in our journal, and the lowest that still waits.
 * Returns 0, or -EMSGSIZE (then *@out is "").
 */
int xpostern_params(const struct envelope *e, uint64_t seq, uint64_t low,
		    char out[static XPOSTERN_PARAMS_MAX]);

/** xpostern_key() - Which parameter is that? 0.., or -1 for none of ours. */
int xpostern_key(const char *key, size_t len);
/** xpostern_read() - Read the value of parameter @key into @hop; 0 or -EBADMSG. */
int xpostern_read(int key, const char *value, size_t len, struct mail_hop *hop);

/** xpostern_xtext_encode() - 0, or -EMSGSIZE; terminated. */
int xpostern_xtext_encode(const char *s, size_t len, char *out, size_t cap);
/** xpostern_xtext_decode() - 0, -EBADMSG (not xtext, or a control character), -EMSGSIZE. */
int xpostern_xtext_decode(const char *s, size_t len, char *out, size_t cap);

#endif
