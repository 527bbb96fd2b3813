/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "secret.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>

/*
 * Nothing here is the crypto library's: processes that only hand secrets on, or want a random number, need not
 * load it, which costs each of them a megabyte.
 */

int secret_alloc(struct secret *s, size_t len)
{
	uint8_t *p;

	if (len > SECRET_MAX)
		return -EINVAL;
	p = calloc(1, len ? len : 1);
	if (!p)
		return -ENOMEM;
	secret_clear(s);
	s->data = p;
	s->len = len;
	return 0;
}

int secret_set(struct secret *s, const void *data, size_t len)
{
	struct secret fresh = { 0 };
	int rc = secret_alloc(&fresh, len);

	if (rc)
		return rc;
	if (len)
		memcpy(fresh.data, data, len);
	secret_move(s, &fresh);
	return 0;
}

void secret_clear(struct secret *s)
{
	if (s->data)
		secret_wipe(s->data, s->len);
	free(s->data);
	s->data = NULL;
	s->len = 0;
}

void secret_move(struct secret *to, struct secret *from)
{
	if (to == from)
		return;
	secret_clear(to);
	*to = *from;
	from->data = NULL;
	from->len = 0;
}

bool secret_equal(const void *a, size_t alen, const void *b, size_t blen)
{
	const volatile uint8_t *x = a, *y = b;
	uint8_t differs = 0;

	if (alen != blen)
		return false;
	for (size_t i = 0; i < alen; i++)
		differs |= x[i] ^ y[i];
	return !differs;
}

void secret_wipe(void *p, size_t len)
{
	if (len)
		explicit_bzero(p, len);
}

int secret_random(void *p, size_t len)
{
	size_t at = 0;

	while (at < len) {
		ssize_t n = getrandom((uint8_t *)p + at, len - at, 0);

		if (n < 0 && errno != EINTR)
			return -EIO;
		at += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

void secret_process_harden(void)
{
	struct rlimit none = { 0, 0 };

	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	setrlimit(RLIMIT_CORE, &none);
}
