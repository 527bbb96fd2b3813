/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_LOOKUP_PASSWORD_H
#define MTA_LOOKUP_PASSWORD_H

/*
 * Theory: a password hash costs 50 to 500 ms on purpose, so one thread computes them beside the
 * loop, at most PASSWORD_QUEUE_MAX wait, and what comes on top is told to come later. The same work
 * is done for a login that does not exist. What cannot be computed is no wrong password: memory was short, or
 * this machine's crypt(3) does not know the kind of that hash.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loop.h"

#define PASSWORD_QUEUE_MAX 64
#define PASSWORD_MAX	   512
#define PASSWORD_HASH_MAX  384

struct passwords;

/** passwords_new() - Starts no thread before the first question. NULL on failure. */
struct passwords *passwords_new(struct loop *l);
/** passwords_free() - Waits for the hash under way; no callback comes any more. */
void passwords_free(struct passwords *p);
/**
 * passwords_usual() - From now on an unknown login costs what @hash costs, as one of the users has it.
 * @hash: NULL: as postern mail hash-password makes them.
 */
void passwords_usual(struct passwords *p, const char *hash);
/**
 * passwords_check() - Does @password give @hash (crypt(3))?
 * @hash: NULL for an unknown login: a hash is computed all the same and the result is 0.
 * @done: called from the loop, with @arg: 1, 0, or -errno when it cannot be told.
 *
 * 0, -EAGAIN (too many wait) or -EINVAL (too long).
 */
int passwords_check(struct passwords *p, const char *hash, const char *password,
		    void (*done)(int right, void *arg), void *arg);

#endif
