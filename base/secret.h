/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_SECRET_H
#define BASE_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Largest secret that any caller holds: SK_* key block, a PSK line, a PEM private key (RSA 8192). */
#define SECRET_MAX 8192

/**
 * struct secret - Bytes that must not outlive their use.
 *
 * Owned by exactly one place; secret_clear() wipes and frees. Never logged, never sent to another
 * process but through the ipc functions that take a struct secret.
 */
struct secret {
	uint8_t *data;
	size_t len;
};

/** secret_set() - Replace @s by a copy of @len bytes; -ENOMEM or -EINVAL (len > SECRET_MAX). */
int secret_set(struct secret *s, const void *data, size_t len);
/** secret_alloc() - @len zero bytes to be filled by the caller; same errors. */
int secret_alloc(struct secret *s, size_t len);
void secret_clear(struct secret *s);
/** secret_move() - @to takes what @from holds; @from is empty afterwards. */
void secret_move(struct secret *to, struct secret *from);
/** secret_equal() - Constant time in the contents; the length is not secret. */
bool secret_equal(const void *a, size_t alen, const void *b, size_t blen);
/** secret_wipe() - Overwrite @len bytes in a way that the compiler keeps. */
void secret_wipe(void *p, size_t len);
/** secret_random() - Fill with bytes from the kernel's generator, which wants no memory; 0 or -EIO. */
int secret_random(void *p, size_t len);
/** secret_process_harden() - No core dump, not traceable (PR_SET_DUMPABLE 0, RLIMIT_CORE 0). */
void secret_process_harden(void);

#endif
