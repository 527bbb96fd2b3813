/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PEER_MAPPING_H
#define PEER_MAPPING_H

/*
 * Theory: how long does the NAT remember a mapping that is silent? Asked of a second mapping, so that
 * a wrong guess costs nothing. C is the side behind the NAT, S the other; both are Posterns.
 *
 *	C, second socket	ESP dummy {token A} x 3				opens a mapping
 *	C, live tuple		INFORMATIONAL {PROBE_ECHO 0 s, A}
 *	S			ESP dummy {A} to where A came from		that works at all
 *	C, second socket	3 s later: ESP dummy {token B} x 3		a mapping in use for a while
 *	C, live tuple		INFORMATIONAL {PROBE_ECHO g s, B}		lives longer with most NATs
 *	S			after g s: ESP dummy {B} to where B came from	arrives: it lived
 *
 * No answer to A: nothing can be found out (another port is filtered). None to B: all once more,
 * since packets are lost for other reasons too; then it died.
 *
 * S answers an authenticated wish with one dummy to a tuple from which that peer itself sent an
 * authenticated one, keeps four of them at most for each peer, and forgets what is not asked for in 10 s.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine_path.h"

#define MAPPING_TOKEN_LEN 16
#define MAPPING_MARK	  0x4b /* first byte of our tokens: others probe by dummies too */
#define MAPPING_PENDING	  4
#define MAPPING_MAX_S	  300
#define MAPPING_NOTIFY_LEN (2 + MAPPING_TOKEN_LEN)

/* ---- C ---- */

struct mapping_ops {
	void (*dummy)(void *arg, const uint8_t token[static MAPPING_TOKEN_LEN]);
	void (*ask)(void *arg, uint16_t seconds, const uint8_t token[static MAPPING_TOKEN_LEN]);
	void (*random)(void *arg, uint8_t *p, size_t len);
};

enum mapping_step { MAPPING_IDLE, MAPPING_OPEN, MAPPING_SETTLE, MAPPING_SILENT };

struct mapping {
	enum mapping_step step;
	uint8_t token[MAPPING_TOKEN_LEN];
	uint8_t copies;	  /* of the dummy that have been sent */
	bool again;	  /* one silence was not survived, or a packet was lost */
	uint32_t gap_ms;
	uint64_t last_ms; /* when the last copy was sent */
	uint64_t due_ms;
};

enum mapping_verdict { MAPPING_GOES_ON, MAPPING_LIVED, MAPPING_DIED, MAPPING_UNKNOWN };

/** mapping_begin() - Measure a silence of @gap_ms, a multiple of a second. */
void mapping_begin(struct mapping *m, uint32_t gap_ms, uint64_t now_ms,
		   const struct mapping_ops *ops, void *arg);
/** mapping_tick() - At @m->due_ms or later. Any verdict but GOES_ON ends it. */
enum mapping_verdict mapping_tick(struct mapping *m, uint64_t now_ms,
				  const struct mapping_ops *ops, void *arg);
/** mapping_echoed() - An authenticated dummy with a token of ours came. */
enum mapping_verdict mapping_echoed(struct mapping *m, const uint8_t *token, uint64_t now_ms);
/** mapping_stop() - Without a verdict. */
void mapping_stop(struct mapping *m);
/** mapping_is_token() - Could it be one of these, and not another mechanism's? */
bool mapping_is_token(const uint8_t *token, size_t len);

/* ---- S ---- */

struct echo {
	bool used, asked, placed; /* placed: it is known where the token came from */
	uint8_t token[MAPPING_TOKEN_LEN];
	struct engine_path path;
	uint64_t due_ms; /* asked and placed: when to send; else when to forget it */
	uint32_t wait_ms;
	uint8_t copies;
};

struct echoes {
	struct echo v[MAPPING_PENDING];
};

/** echo_token() - An authenticated dummy with @token came by @path. False: no room, ignored. */
bool echo_token(struct echoes *e, const uint8_t *token, const struct engine_path *path,
		uint64_t now_ms);
/** echo_asked() - The notify's content. False: malformed, too long a time, no room. */
bool echo_asked(struct echoes *e, const uint8_t *bytes, size_t len, uint64_t now_ms);
/** echo_next() - One dummy that is due now; false: none is. */
bool echo_next(struct echoes *e, uint64_t now_ms, uint8_t token[static MAPPING_TOKEN_LEN],
	       struct engine_path *path);
/** echo_due_ms() - UINT64_MAX: nothing is pending. */
uint64_t echo_due_ms(const struct echoes *e);

#endif
