/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_ENVELOPE_H
#define MTA_ENVELOPE_H

/*
 * Theory: an envelope holds facts about one letter, never decisions. The route of a recipient is
 * computed from these facts and the configuration at each try, so that a repaired configuration
 * reaches the letters that already wait.
 *
 * It travels from smtpd to the queue and lies in the journal as a string of TLVs:
 *
 *	+--------+----------------+----------------------+
 *	| tag 16 | length 32      | value (length bytes) |	network byte order
 *	+--------+----------------+----------------------+
 *
 * Text values end with one NUL that is counted in the length and contain no other, no CR and no
 * LF, so that a parsed envelope points into the encoded bytes and its texts are C strings. A
 * recipient is a TLV whose value is again TLVs. An unknown tag is kept and written back: a letter
 * that a newer version stored survives a step back. A known tag that stands twice (recipients and
 * unknown ones apart), a missing id or sender, and anything over the limits below is -EBADMSG.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "wire.h"

#define LETTER_ID_LEN	  16
#define LETTER_ID_STR_MAX 33 /* 32 hex digits and NUL */

#define ENVELOPE_MAX	     (60 * 1024) /* encoded; smtpd answers 452 4.5.3 to a RCPT beyond it */
#define ENVELOPE_RCPTS_MAX   1000
#define ENVELOPE_UNKNOWN_MAX 64
#define ENVELOPE_PATH_MAX    1024 /* of an address, NUL not counted (RFC 5321 asks for 256) */
#define ENVELOPE_TEXT_MAX    1024 /* of any other text */

/* envelope.flags */
#define ENV_8BITMIME	  0x0001 /* BODY=8BITMIME */
#define ENV_SMTPUTF8	  0x0002
#define ENV_AUTHENTICATED 0x0004 /* by AUTH or by a client certificate */
#define ENV_VERIFIED	  0x0008 /* SPF pass or aligned DMARC pass recorded at accept */
#define ENV_TUNNEL	  0x0010 /* came over the tunnel; @peer says from whom */
#define ENV_BOUNCE	  0x0020 /* a DSN that our own queue made */
#define ENV_PEER_ID	  0x0040 /* @peer_id, @peer_seq and @peer_low were given by XPOSTERN */
#define ENV_RET_HDRS	  0x0080 /* RET=HDRS (RFC 3461 s4.3); ours are headers only anyway */
#define ENV_NO_FINAL_CRLF 0x0100 /* BDAT body that does not end in CRLF */
#define ENV_LOCAL	  0x0200 /* from this machine: loopback listener or our own queue */

#define ENV_ENCRYPTED 0x0400 /* the session that brought it to us; @tls may be of the one before */
#define ENV_PROBE                                                                                  \
	0x0800 /* a probe, or with ENV_BOUNCE the report on one; @probe is its token: hop/probe.h */
#define ENV_PROBE_MAILBOX 0x1000 /* a probe that is delivered where it ends */

/* env_rcpt.notify (RFC 3461 s4.1); 0: not given */
#define ENV_NOTIFY_NEVER   0x01
#define ENV_NOTIFY_SUCCESS 0x02
#define ENV_NOTIFY_FAILURE 0x04
#define ENV_NOTIFY_DELAY   0x08

enum rcpt_state {
	RCPT_PENDING,	/* 0: as smtpd stores it */
	RCPT_DELIVERED, /* next hop took it */
	RCPT_FAILED,	/* permanent failure */
	RCPT_EXPIRED,	/* ttl */
	RCPT_REMOVED,	/* another letter, by which it came too, has it */
	RCPT_STATES,
};

struct env_rcpt {
	const char
	    *addr; /* local@domain as given, no angle brackets; "postmaster" alone is allowed */
	const char *orcpt; /* ORCPT as given ("rfc822;a@b"), or NULL */
	const char *last;  /* last reply of a next hop, or NULL; the queue fills it */
	uint8_t notify;	   /* ENV_NOTIFY_* */
	uint8_t state;	   /* enum rcpt_state */
	uint16_t attempts; /* that were charged to it */
};

struct env_unknown {
	uint16_t tag;
	uint32_t len;
	const uint8_t *data;
};

/**
 * struct envelope - What is known of a letter.
 *
 * Text fields are NULL when absent, but @sender, which is "" for the null sender. Whoever fills
 * the struct owns what it points to; a parsed one points into the parsed bytes.
 */
struct envelope {
	uint8_t id[LETTER_ID_LEN]; /* made at accept by envelope_new_id(), never used again */
	uint32_t flags;		   /* ENV_* */
	int64_t received_s;	   /* wall clock at accept; for headers and people only */
	uint64_t age_s;		   /* monotonic seconds in the queue when this was written */
	struct endpoint client;	   /* as seen at accept; family 0 for our own letters */
	struct endpoint origin;	   /* client that the tunnel peer saw (XPOSTERN); family 0: none */
	const char *helo;	   /* as given, or as the tunnel peer saw it */
	const char *tls;	   /* "TLSv1.3 TLS_AES_256_GCM_SHA384", NULL: in clear */
	const char *auth_user;
	const char *listener; /* name of the configuration's listener */
	const char *peer;     /* posternd's name of the tunnel peer; with ENV_TUNNEL */
	const char *sender;
	const char *envid;		/* ENVID (RFC 3461 s4.4) */
	uint64_t size;			/* bytes of the body as stored (our Received included) */
	uint16_t hops;			/* count of Received fields, ours included */
	uint16_t moves;			/* from one queue to another by export and import */
	uint8_t peer_id[LETTER_ID_LEN]; /* with ENV_PEER_ID: the peer's own letter id */
	uint64_t peer_seq;		/* with ENV_PEER_ID: its place in the peer's journal */
	uint64_t peer_low; /* with ENV_PEER_ID: the peer will repeat nothing below this */
	uint8_t probe[LETTER_ID_LEN]; /* with ENV_PROBE */
	struct env_rcpt *rcpt;
	size_t rcpt_count;
	struct env_unknown *unknown;
	size_t unknown_count;
};

/** envelope_new_id() - 128 random bits; 0 or -EIO. */
int envelope_new_id(uint8_t id[static LETTER_ID_LEN]);
/** letter_id_str() - 32 lower-case hex digits; returns @out. */
const char *letter_id_str(const uint8_t id[static LETTER_ID_LEN],
			  char out[static LETTER_ID_STR_MAX]);
/** letter_id_parse() - Exactly 32 hex digits; -EINVAL. */
int letter_id_parse(const char *s, uint8_t id[static LETTER_ID_LEN]);

/**
 * envelope_build() - Append the encoding of @e to @w (borrows @e).
 *
 * A text over its limit or with a forbidden byte, or a result over ENVELOPE_MAX, makes @w bad.
 */
void envelope_build(const struct envelope *e, struct wr *w);
/**
 * envelope_rcpt_bytes() - What one more recipient adds to the encoding.
 *
 * smtpd sums these over a base of envelope_base_bytes() and refuses the RCPT that would pass
 * ENVELOPE_MAX.
 */
size_t envelope_rcpt_bytes(const struct env_rcpt *r);
/** envelope_base_bytes() - Upper bound of the encoding of @e without its recipients. */
size_t envelope_base_bytes(const struct envelope *e);
/**
 * envelope_parse() - Read an encoded envelope.
 * @e: overwritten; on success its texts point into @buf, which must outlive it, and the caller
 *	ends it with envelope_clear(). On failure it holds nothing.
 *
 * Returns 0, -EBADMSG or -ENOMEM.
 */
int envelope_parse(struct envelope *e, const void *buf, size_t len);
/** envelope_clear() - Free the arrays that envelope_parse() made. */
void envelope_clear(struct envelope *e);

#endif
