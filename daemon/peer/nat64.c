/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "nat64.h"

#include <string.h>

#define U_BYTE 8 /* bits 64 to 71 */

static const uint8_t lengths[] = { 96, 64, 56, 48, 40, 32 };
static const uint8_t well_known[2][4] = { { 192, 0, 0, 170 }, { 192, 0, 0, 171 } };

/* The place of each byte of IPv4 behind a prefix of @len bits. */
static void places(uint8_t len, size_t at[static 4])
{
	size_t next = len / 8;

	for (int i = 0; i < 4; i++) {
		if (next == U_BYTE)
			next++;
		at[i] = next++;
	}
}

static bool embedded(const struct addr *v6, uint8_t len, uint8_t v4[static 4])
{
	size_t at[4];

	places(len, at);
	for (int i = 0; i < 4; i++)
		v4[i] = v6->b[at[i]];
	return len == 96 || !v6->b[U_BYTE];
}

static bool has(const struct nat64 *n, const struct prefix *p)
{
	for (size_t i = 0; i < n->count; i++)
		if (n->prefix[i].len == p->len && addr_eq(&n->prefix[i].addr, &p->addr))
			return true;
	return false;
}

void nat64_learn(struct nat64 *n, const struct addr *addr, size_t count)
{
	n->count = 0;
	for (size_t i = 0; i < count; i++) {
		for (size_t k = 0; addr[i].family == AF_INET6 && k < sizeof(lengths); k++) {
			struct prefix p = prefix_of(&addr[i], lengths[k]);
			uint8_t v4[4];

			if (!embedded(&addr[i], lengths[k], v4) ||
			    (memcmp(v4, well_known[0], 4) && memcmp(v4, well_known[1], 4)))
				continue;
			if (n->count < NAT64_PREFIXES_MAX && !has(n, &p))
				n->prefix[n->count++] = p;
			break;
		}
	}
}

struct addr nat64_make(const struct prefix *p, const struct addr *v4)
{
	struct addr out = p->addr;
	size_t at[4];

	places(p->len, at);
	for (int i = 0; i < 4; i++)
		out.b[at[i]] = v4->b[i];
	return out;
}

bool nat64_from(const struct nat64 *n, const struct addr *v6, struct addr *v4)
{
	for (size_t i = 0; v6->family == AF_INET6 && i < n->count; i++) {
		if (!prefix_contains(&n->prefix[i], v6))
			continue;
		*v4 = (struct addr){ .family = AF_INET };
		return embedded(v6, n->prefix[i].len, v4->b);
	}
	return false;
}
