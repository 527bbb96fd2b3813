/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_QUEUE_ARCHIVE_H
#define MTA_QUEUE_ARCHIVE_H

/*
 * Theory: letters of a queue in one file, for another machine or another day. Written by `postern
 * mail export`, read by `postern mail import`; postern-queue.5 has it for people. Big endian:
 *
 *	"PosternQ" | version 32 | 0 32
 *	frames: type 8 | length 32 | payload | crc32c 32
 *
 *	LETTER	id 16 bytes | age in seconds 64 | state 8 | body length 64 |
 *		told count 16, indices of recipients 16 | way count 16, { from, to } | envelope (envelope.h)
 *	BODY	next bytes of the body of the letter above, until it has its length
 *	VOID	id 16 bytes: that letter is no part of the file, whatever was read of it
 *	END	count of LETTERs 64 | bytes of all bodies 64
 *
 * The checksum goes over that of the frame before (of the first one: of the 16 bytes of the head),
 * type, length and payload: a frame that was lost, doubled or moved is seen like a flipped bit.
 * Texts are a 16-bit length that counts their NUL, and the bytes. A file without END was cut.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "wire.h"

#define ARCHIVE_VERSION	    1
#define ARCHIVE_ID_LEN	    16
#define ARCHIVE_HEAD_LEN    16
#define ARCHIVE_PAYLOAD_MAX (96 * 1024)
#define ARCHIVE_BODY_MAX    (32 * 1024) /* in one frame, as we write them */
#define ARCHIVE_STATES	    3		/* queued, held, dead: enum letter_state */

enum archive_type {
	ARCHIVE_LETTER = 1,
	ARCHIVE_BODY = 2,
	ARCHIVE_VOID = 3,
	ARCHIVE_END = 4,
};

struct archive_letter {
	uint8_t id[ARCHIVE_ID_LEN];
	uint64_t age_s;
	uint64_t body_len;
	uint8_t state;
	uint16_t told_count, way_count;
	struct rd told, way; /* their items */
	const uint8_t *env;
	size_t env_len;
};

/** archive_letter_put() - A payload; @a->told and @a->way hold what is to stand there. */
void archive_letter_put(struct wr *w, const struct archive_letter *a);
/** archive_letter_get() - Views into @buf; 0 or -EBADMSG. The envelope is not looked into. */
int archive_letter_get(struct archive_letter *a, const void *buf, size_t len);
/** archive_text() - A text at @r; "" and a bad cursor after a fault. */
const char *archive_text(struct rd *r);

struct archive_writer {
	FILE *f;
	uint32_t crc;
	uint64_t letters, bytes;
	bool failed; /* errno is lost; the disk is full, mostly */
};

void archive_begin(struct archive_writer *w, FILE *f);
/** archive_frame() - One frame; LETTERs and the bytes of BODYs are counted for the END. */
void archive_frame(struct archive_writer *w, enum archive_type type, const void *data, size_t len);
void archive_end(struct archive_writer *w);

struct archive_reader {
	FILE *f;
	uint64_t offset; /* of what is read next */
	uint32_t crc;
	bool ended, inside; /* @inside: a letter's body is not complete */
	uint64_t letters, bytes;
	struct archive_letter letter; /* the last one; its views are gone with the next frame */
	uint64_t body_left;
	uint8_t type; /* of the frame that was read */
	size_t len;
	char why[160];
	uint8_t data[ARCHIVE_PAYLOAD_MAX];
};

/** archive_open() - Reads the head of @f, which stays the caller's; 0, or -errno and @r->why. */
int archive_open(struct archive_reader *r, FILE *f);
/**
 * archive_next() - One frame into @r->type, @r->data, @r->len.
 *
 * 0; 1: there is none, the file was complete; -EBADMSG (nothing behind it can be read), -ENODATA (the
 * file ends without an END), -EIO: @r->why says what, and at which byte.
 */
int archive_next(struct archive_reader *r);

#endif
