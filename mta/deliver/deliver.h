/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_DELIVER_DELIVER_H
#define MTA_DELIVER_DELIVER_H

/*
 * Theory: the relay asks postern-deliver, which runs as root in a unit of its own, to put one
 * letter into the mailbox of one recipient. What a request can say is little: which letter, for
 * which address. Who that is, where his mail lies and whether he may have any, postern-deliver takes
 * from its own configuration. The answer is "done" or "later". "Never" comes of what the administrator
 * asked for alone: a full mailbox with over-quota = refuse, a command that says so (sysexits(3)), an
 * address that fits into no command and no directory.
 *
 * deliver.sock is SOCK_SEQPACKET; a request is one packet with one descriptor, the body:
 *
 *	"PDL2"  letter id (16 bytes)  be64 size  be32 number  be64 when it was received  u8 repeat
 *	be16 length, recipient   be16 length, envelope sender
 *	SCM_RIGHTS: a memfd with all seals, exactly size bytes
 *
 * and its answer, in any order:
 *
 *	"PDA1"  be32 number  u8 status (enum deliver_status)  be16 length, text
 *
 * The text may begin with an enhanced code (RFC 3463) of the status.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "envelope.h"

#define DELIVER_PACKET_MAX 2048
#define DELIVER_TEXT_MAX   200
#define DELIVER_SIZE_MAX   (1ull << 40)

struct deliver_request {
	uint8_t id[LETTER_ID_LEN];
	uint64_t size;
	uint32_t number;     /* the asker's, comes back */
	uint64_t received_s; /* the same each time the letter comes */
	bool repeat;	     /* it may have been delivered before, without word of it */
	char recipient[ENVELOPE_PATH_MAX / 2 + 1]; /* local@domain */
	char sender[ENVELOPE_PATH_MAX / 2 + 1];	   /* "" for the null sender */
};

enum deliver_status { DELIVER_DONE, DELIVER_LATER, DELIVER_NEVER, DELIVER_STATUSES };

struct deliver_answer {
	uint32_t number;
	enum deliver_status status;
	char text[DELIVER_TEXT_MAX + 1];
};

/** deliver_request_build() - 0 and the length, or -EMSGSIZE. */
int deliver_request_build(const struct deliver_request *r, uint8_t out[static DELIVER_PACKET_MAX],
			  size_t *len);
/** deliver_request_parse() - 0 or -EBADMSG: also for control characters and over-long texts. */
int deliver_request_parse(struct deliver_request *r, const void *data, size_t len);
int deliver_answer_build(const struct deliver_answer *a, uint8_t out[static DELIVER_PACKET_MAX],
			 size_t *len);
int deliver_answer_parse(struct deliver_answer *a, const void *data, size_t len);
/**
 * deliver_body_check() - Is @fd a memfd of @size bytes that nobody can change any more?
 *
 * 0 or -EPROTO: a body that its sender could still change, or that is not one letter.
 */
int deliver_body_check(int fd, uint64_t size);

#endif
