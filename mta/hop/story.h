/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HOP_STORY_H
#define HOP_STORY_H

/*
 * Theory: what happened to a letter is known in pieces: each Postern on its way has its own (queue/history.h). One
 * of them asks the next one, or the one before, for its piece:
 *
 *	250-XTRACE 1
 *	XTRACE 0123456789abcdef0123456789abcdef HOPS=2 MS=7000
 *	250-[{"host":"home.example","letter":"89ab.."},{"at_ms":1795305396000,"event":"accepted","text":".."}]
 *	250-[{"at_ms":1795305396050,"event":"delivered","recipient":0,"address":"joe@home.example","code":250,..}]
 *	250 2.0.0 That is all
 *
 * The keyword stands in the EHLO reply for a tunnel peer that posternd names, and on class lan for the addresses
 * of trace-clients, there after TLS; to anybody else the command is unknown. The id is the letter's here, or at the
 * hop that brought it, or at the one that it went to. Told is what concerns who asks, and nothing else:
 *
 *	who brought the letter		all of it, and what the hops behind us know
 *	whom it went to			where it came from, his recipients, and what the hops before us know of these
 *	anybody else			550, as for a letter that never was
 *
 * A tenant of an edge learns of other peers nothing but that the letter went there, or came from there.
 *
 * HOPS says over how many hops more the question may be handed on, MS how long the answer may take. A key that is not
 * known is no fault. Each line of the answer is a JSON array of objects, STORY_LINE_MAX bytes at most:
 *
 *	host, letter	what follows happened there, to the letter of that id
 *	event, at_ms	one event; text, recipient, address, attempts, code and peer_id may stand with it
 *	hop, why	a hop that did not answer; id: by which it knows the letter
 *	cut		there was more than STORY_MAX bytes
 *
 * What a peer says is not trusted: the reader takes these members, of their type, within their bounds,
 * without control characters, and nothing else.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "envelope.h"

#define XTRACE_KEYWORD	"XTRACE"
#define XTRACE_VERSION	"1"
#define XTRACE_HOPS_MAX 3
#define XTRACE_MS_MAX	10000
#define XTRACE_MS_MIN	1000 /* less is not asked */
#define XTRACE_MS_STEP	3000 /* kept back at each hop for the way there and back */
#define XTRACE_ARGS_MAX 80

#define STORY_LINE_MAX	 1800
#define STORY_MAX	 60000 /* of a whole answer */
#define STORY_EVENTS_MAX 1000  /* of one answer */
#define STORY_SILENT_MAX 16
#define STORY_HOST_MAX	 256
#define STORY_WORD_MAX	 32 /* of an event */
#define STORY_TEXT_MAX	 512

struct xtrace {
	uint8_t id[LETTER_ID_LEN];
	unsigned hops;
	unsigned ms;
};

/** xtrace_build() - What stands behind XTRACE; returns @out. */
const char *xtrace_build(const struct xtrace *x, char out[static XTRACE_ARGS_MAX]);
/** xtrace_parse() - 0 with all in their bounds (too much is cut to them), or -EBADMSG. */
int xtrace_parse(const char *s, size_t len, struct xtrace *x);

/* Events in a row, each with "host" and "letter"; hops that said nothing. */
struct story {
	json_t *events;
	json_t *silent;
	bool cut;
};

/** story_init() - 0 or -ENOMEM. */
int story_init(struct story *s);
void story_clear(struct story *s);
/** story_silent() - Hop @hop, which knows the letter as @id ("" or NULL: we do not know), did not answer. */
void story_silent(struct story *s, const char *hop, const char *id, const char *why);
/** story_join() - What @from holds, behind what @s holds, hops that are silent up to STORY_SILENT_MAX; @from is empty then. */
void story_join(struct story *s, struct story *from);
/** story_sort() - In the order of time; what is of the same moment stays as it was. 0 or -ENOMEM. */
int story_sort(struct story *s);
/**
 * story_write() - The lines of an answer, each with '\n'.
 * Past @cap, or STORY_EVENTS_MAX events, it is cut. Returns the length.
 */
size_t story_write(const struct story *s, char *out, size_t cap);
/**
 * story_read() - What a hop answered, added to @s, which is story_init()ed.
 * @own: our host's name, which nobody else has; @via: what such a hop, or one with a name that is none, is called.
 * 0, -EBADMSG (what was read up to there stands in @s) or -ENOMEM.
 */
int story_read(struct story *s, const char *text, size_t len, const char *own, const char *via);

#endif
