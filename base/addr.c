/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

int addr_from_bytes(struct addr *a, const void *bytes, size_t len)
{
	memset(a, 0, sizeof(*a));
	if (len == 4) {
		a->family = AF_INET;
		memcpy(a->b, bytes, 4);
	} else if (len == 16 && !memcmp(bytes, mapped, 12)) {
		a->family = AF_INET;
		memcpy(a->b, (const uint8_t *)bytes + 12, 4);
	} else if (len == 16) {
		a->family = AF_INET6;
		memcpy(a->b, bytes, 16);
	} else {
		return -EINVAL;
	}
	return 0;
}

int addr_parse(const char *s, struct addr *a)
{
	uint8_t b[16];

	if (inet_pton(AF_INET, s, b) == 1)
		return addr_from_bytes(a, b, 4);
	if (inet_pton(AF_INET6, s, b) == 1)
		return addr_from_bytes(a, b, 16);
	return -EINVAL;
}

static int parse_uint(const char *s, unsigned max, unsigned *v)
{
	char *end;
	unsigned long n;

	if (*s < '0' || *s > '9')
		return -EINVAL;
	n = strtoul(s, &end, 10);
	if (*end || n > max)
		return -EINVAL;
	*v = (unsigned)n;
	return 0;
}

int prefix_parse(const char *s, struct prefix *p)
{
	char text[ADDR_STR_MAX];
	const char *slash = strchr(s, '/');
	size_t n = slash ? (size_t)(slash - s) : strlen(s);
	struct prefix masked;
	unsigned len;

	if (n >= sizeof(text))
		return -EINVAL;
	memcpy(text, s, n);
	text[n] = '\0';
	if (addr_parse(text, &p->addr))
		return -EINVAL;
	len = addr_bits(&p->addr);
	if (slash && parse_uint(slash + 1, len, &len))
		return -EINVAL;
	p->len = (uint8_t)len;
	masked = prefix_of(&p->addr, p->len);
	return addr_eq(&masked.addr, &p->addr) ? 0 : -EDOM;
}

int endpoint_parse(const char *s, uint16_t dflt, struct endpoint *e)
{
	char text[ADDR_STR_MAX];
	const char *from = s, *to = s + strlen(s), *port = NULL, *colon = strchr(s, ':');
	unsigned v = dflt;

	if (*s == '[') {
		from = s + 1;
		to = strchr(s, ']');
		if (!to || (to[1] && to[1] != ':'))
			return -EINVAL;
		port = to[1] ? to + 2 : NULL;
	} else if (colon && !strchr(colon + 1, ':')) {
		to = colon;
		port = colon + 1;
	}
	if ((size_t)(to - from) >= sizeof(text))
		return -EINVAL;
	memcpy(text, from, (size_t)(to - from));
	text[to - from] = '\0';
	if (addr_parse(text, &e->addr) || (port && parse_uint(port, 65535, &v)))
		return -EINVAL;
	e->port = (uint16_t)v;
	return 0;
}

const char *addr_family_word(int family)
{
	switch (family) {
	case AF_INET:
		return "ipv4";
	case AF_INET6:
		return "ipv6";
	case AF_UNIX:
		return "unix";
	default:
		return "";
	}
}

const char *addr_str(const struct addr *a, char out[static ADDR_STR_MAX])
{
	if (!addr_len(a) || !inet_ntop(a->family, a->b, out, ADDR_STR_MAX))
		snprintf(out, ADDR_STR_MAX, "none");
	return out;
}

const char *prefix_str(const struct prefix *p, char out[static PREFIX_STR_MAX])
{
	char a[ADDR_STR_MAX];

	snprintf(out, PREFIX_STR_MAX, "%s/%u", addr_str(&p->addr, a), p->len);
	return out;
}

const char *endpoint_str(const struct endpoint *e, char out[static ENDPOINT_STR_MAX])
{
	char a[ADDR_STR_MAX];

	snprintf(out, ENDPOINT_STR_MAX, e->addr.family == AF_INET6 ? "[%s]:%u" : "%s:%u",
		 addr_str(&e->addr, a), e->port);
	return out;
}

size_t addr_len(const struct addr *a)
{
	return a->family == AF_INET ? 4 : a->family == AF_INET6 ? 16 : 0;
}

unsigned addr_bits(const struct addr *a)
{
	return (unsigned)addr_len(a) * 8;
}

bool addr_eq(const struct addr *a, const struct addr *b)
{
	return a->family == b->family && !memcmp(a->b, b->b, addr_len(a));
}

bool endpoint_eq(const struct endpoint *a, const struct endpoint *b)
{
	return a->port == b->port && addr_eq(&a->addr, &b->addr);
}

bool addr_is_unspecified(const struct addr *a)
{
	static const uint8_t zero[16];

	return !memcmp(a->b, zero, addr_len(a));
}

bool addr_is_loopback(const struct addr *a)
{
	static const uint8_t one[16] = { [15] = 1 };

	return a->family == AF_INET ? a->b[0] == 127
				    : a->family == AF_INET6 && !memcmp(a->b, one, 16);
}

bool addr_is_private(const struct addr *a)
{
	static const char *const local[] = { "10.0.0.0/8",     "172.16.0.0/12", "192.168.0.0/16",
					     "100.64.0.0/10", "169.254.0.0/16", "fc00::/7",
					     "fe80::/10" };

	for (size_t i = 0; i < sizeof(local) / sizeof(*local); i++) {
		struct prefix p;

		if (!prefix_parse(local[i], &p) && prefix_contains(&p, a))
			return true;
	}
	return false;
}

static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	unsigned whole = bits / 8, rest = bits % 8;

	if (memcmp(a, b, whole))
		return false;
	return !rest || !((a[whole] ^ b[whole]) >> (8 - rest));
}

bool prefix_contains(const struct prefix *p, const struct addr *a)
{
	return p->addr.family == a->family && same_bits(p->addr.b, a->b, p->len);
}

bool prefix_covers(const struct prefix *outer, const struct prefix *inner)
{
	return outer->len <= inner->len && prefix_contains(outer, &inner->addr);
}

bool prefix_overlaps(const struct prefix *a, const struct prefix *b)
{
	return prefix_covers(a, b) || prefix_covers(b, a);
}

struct prefix prefix_host(const struct addr *a)
{
	return (struct prefix){ .addr = *a, .len = (uint8_t)addr_bits(a) };
}

struct prefix prefix_of(const struct addr *a, uint8_t len)
{
	struct prefix p = { .addr = *a, .len = len };

	for (unsigned i = 0; i < addr_len(a); i++) {
		unsigned keep = len > i * 8 ? len - i * 8 : 0;

		if (keep < 8)
			p.addr.b[i] &= (uint8_t)(0xff00 >> keep);
	}
	return p;
}

int endpoint_from_sockaddr(struct endpoint *e, const struct sockaddr *sa)
{
	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)sa;

		e->port = ntohs(in->sin_port);
		return addr_from_bytes(&e->addr, &in->sin_addr, 4);
	}
	if (sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const void *)sa;

		e->port = ntohs(in6->sin6_port);
		return addr_from_bytes(&e->addr, &in6->sin6_addr, 16);
	}
	return -EAFNOSUPPORT;
}

socklen_t endpoint_to_sockaddr(const struct endpoint *e, int family, struct sockaddr_storage *ss)
{
	memset(ss, 0, sizeof(*ss));
	if (family == AF_INET && e->addr.family == AF_INET) {
		struct sockaddr_in *in = (void *)ss;

		in->sin_family = AF_INET;
		in->sin_port = htons(e->port);
		memcpy(&in->sin_addr, e->addr.b, 4);
		return sizeof(*in);
	}
	if (family == AF_INET6) {
		struct sockaddr_in6 *in6 = (void *)ss;

		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(e->port);
		if (e->addr.family == AF_INET) {
			memcpy(in6->sin6_addr.s6_addr, mapped, 12);
			memcpy(in6->sin6_addr.s6_addr + 12, e->addr.b, 4);
		} else {
			memcpy(&in6->sin6_addr, e->addr.b, 16);
		}
		return sizeof(*in6);
	}
	return 0;
}

uint32_t addr_hash(const struct addr *a, unsigned bits)
{
	struct prefix p = prefix_of(a, (uint8_t)(bits > addr_bits(a) ? addr_bits(a) : bits));
	uint32_t h = 2166136261u ^ a->family;

	for (size_t i = 0; i < addr_len(a); i++)
		h = (h ^ p.addr.b[i]) * 16777619u;
	return h;
}
