/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "tunnel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Lines of events.sock, then what they made through the way to a child and back. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tunnel_table t = { 0 }, u = { 0 };
	const char *p = (const char *)data, *end = p + size;
	uint8_t *b;
	size_t len;
	bool changed;

	while (p < end) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		const char *stop = nl ? nl : end;

		(void)tunnel_event(&t, p, (size_t)(stop - p), 1, &changed);
		p = stop + 1;
	}
	b = tunnel_encode(&t, &len);
	if (b && (tunnel_decode(&u, b, len) || u.peer_count != t.peer_count))
		abort();
	free(b);
	(void)tunnel_decode(&u, data, size);
	tunnel_clear(&t);
	tunnel_clear(&u);
	return 0;
}
