/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "window.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int datagrams_add(struct datagrams *d, const uint8_t *bytes, size_t len)
{
	struct datagram *v = realloc(d->v, (d->count + 1) * sizeof(*v));

	if (!v)
		return -ENOMEM;
	d->v = v;
	v[d->count].bytes = malloc(len ? len : 1);
	if (!v[d->count].bytes)
		return -ENOMEM;
	memcpy(v[d->count].bytes, bytes, len);
	v[d->count++].len = len;
	return 0;
}

size_t datagrams_bytes(const struct datagrams *d)
{
	size_t n = 0;

	for (size_t i = 0; i < d->count; i++)
		n += d->v[i].len;
	return n;
}

void datagrams_clear(struct datagrams *d)
{
	for (size_t i = 0; i < d->count; i++)
		free(d->v[i].bytes);
	free(d->v);
	memset(d, 0, sizeof(*d));
}

enum window_verdict window_check_request(const struct window *w, uint32_t id)
{
	if (w->next_in == UINT32_MAX)
		return WINDOW_STALE; /* one more would begin again at 0, where old requests would be new */
	if (id == w->next_in)
		return w->answering ? WINDOW_BUSY : WINDOW_NEW;
	if (w->next_in && id == w->next_in - 1 && w->reply.count)
		return WINDOW_DUPLICATE;
	return WINDOW_STALE;
}

bool window_check_response(const struct window *w, uint32_t id)
{
	return w->outstanding && id == w->next_out;
}

void window_commit_request(struct window *w, struct datagrams *reply, uint64_t request_hash)
{
	datagrams_clear(&w->reply);
	w->reply = *reply;
	memset(reply, 0, sizeof(*reply));
	w->request_hash = request_hash;
	w->repeated = 0;
	w->answering = false;
	w->next_in++;
}

bool window_may_repeat(struct window *w, uint64_t now_ms)
{
	if (now_ms - w->resent_ms >= 1000) {
		w->resent_ms = now_ms;
		w->resent = 0;
	}
	return w->resent++ < REPLIES_PER_S;
}

void window_commit_response(struct window *w)
{
	w->outstanding = false;
	w->next_out++;
}

bool window_exhausted(const struct window *w)
{
	return w->next_in >= UINT32_MAX - 64 || w->next_out >= UINT32_MAX - 64;
}

bool window_last(const struct window *w)
{
	return w->next_in >= UINT32_MAX - 1 || w->next_out >= UINT32_MAX - 1;
}

void window_clear(struct window *w)
{
	datagrams_clear(&w->reply);
	memset(w, 0, sizeof(*w));
}
