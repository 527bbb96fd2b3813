/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "mx.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "secret.h"

int mx_name(const uint8_t *p, size_t len, char out[static MTA_DOMAIN_MAX])
{
	size_t at = 0, n = 0;

	out[0] = 0;
	for (;;) {
		uint8_t label;

		if (at >= len)
			return -EBADMSG;
		label = p[at++];
		if (!label)
			break;
		if (label > 63 || at + label > len || n + label + 1 >= MTA_DOMAIN_MAX)
			return -EBADMSG;
		if (n)
			out[n++] = '.';
		for (uint8_t i = 0; i < label; i++) {
			uint8_t ch = p[at++];

			if (ch >= 'A' && ch <= 'Z')
				ch += 'a' - 'A';
			if (!((ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9') || ch == '-' ||
			      ch == '_'))
				return -EBADMSG;
			out[n++] = (char)ch;
		}
		out[n] = 0;
	}
	return (int)at;
}

/* Sorted by preference; past LOOKUP_MX_MAX the least preferred goes. False: one went. */
static bool insert(struct lookup_host *host, size_t *count, const char *name, uint16_t preference)
{
	bool full = *count == LOOKUP_MX_MAX;
	size_t i;

	for (i = 0; i < *count; i++) {
		if (!strcmp(host[i].name, name))
			return true;
	}
	for (i = *count; i && host[i - 1].preference > preference; i--)
		;
	if (i >= LOOKUP_MX_MAX)
		return false;
	if (full)
		(*count)--;
	memmove(&host[i + 1], &host[i], (*count - i) * sizeof(*host));
	memset(&host[i], 0, sizeof(*host));
	snprintf(host[i].name, sizeof(host[i].name), "%s", name);
	host[i].preference = preference;
	(*count)++;
	return !full;
}

/* Hosts of one preference share the load (RFC 5321 s5.1). */
static void shuffle(struct lookup_host *host, size_t count)
{
	for (size_t from = 0; from < count;) {
		size_t to = from + 1;

		while (to < count && host[to].preference == host[from].preference)
			to++;
		for (size_t i = to - from; i > 1; i--) {
			struct lookup_host h;
			uint32_t r;
			size_t k;

			secret_random(&r, sizeof(r));
			k = r % i;
			h = host[from + i - 1];
			host[from + i - 1] = host[from + k];
			host[from + k] = h;
		}
		from = to;
	}
}

void mx_hosts(const char *domain, const struct resolver_answer *a,
	      struct lookup_host host[static LOOKUP_MX_MAX], size_t *count, struct lookup_mx *out)
{
	bool null_mx = false;
	size_t records = 0;

	memset(out, 0, sizeof(*out));
	*count = 0;
	out->status = a->status;
	out->secure = a->secure;
	if (a->status == LOOKUP_NONE && a->exists) {
		insert(host, count, domain, 0);
		out->implicit = true;
		out->status = LOOKUP_OK;
		return;
	}
	if (a->status != LOOKUP_OK)
		return;
	for (size_t i = 0; a->data[i]; i++, records++) {
		char name[MTA_DOMAIN_MAX];
		struct addr literal;

		if (a->len[i] < 3 ||
		    mx_name(a->data[i] + 2, (size_t)a->len[i] - 2, name) != a->len[i] - 2)
			continue;
		if (!name[0])
			null_mx = true;
		else if (addr_parse(name, &literal))
			out->more |= !insert(host, count, name,
					     (uint16_t)(a->data[i][0] << 8 | a->data[i][1]));
	}
	if (*count)
		shuffle(host, *count);
	else
		out->status = null_mx && records == 1 ? LOOKUP_NULL_MX : LOOKUP_NONE;
}

void mx_addrs(struct lookup_host *h, int type, const struct resolver_answer *a)
{
	size_t want = type == RR_A ? 4 : 16;

	if (a->status == LOOKUP_TEMPFAIL)
		h->tempfail = true;
	for (size_t i = 0; a->status == LOOKUP_OK && a->data[i]; i++) {
		struct addr *to = &h->addr[h->addr_count];

		/* Half of the room for each family, whichever answer comes first. */
		if ((size_t)a->len[i] != want || h->addr_count == LOOKUP_ADDRS_MAX ||
		    i >= LOOKUP_ADDRS_MAX / 2)
			continue;
		if (addr_from_bytes(to, a->data[i], want) || addr_is_unspecified(to))
			continue;
		h->addr_count++;
	}
}

void mx_finish(struct lookup_host *host, size_t *count, struct lookup_mx *out)
{
	bool tempfail = out->more; /* of those that nobody asked about nothing is known */
	size_t kept = 0;

	for (size_t i = 0; i < *count; i++) {
		tempfail |= host[i].tempfail;
		if (host[i].addr_count || host[i].tempfail)
			host[kept++] = host[i];
	}
	*count = kept;
	for (size_t i = 0; i < kept; i++) {
		if (host[i].addr_count)
			return;
	}
	out->status = tempfail ? LOOKUP_TEMPFAIL : LOOKUP_NONE;
	*count = 0;
}

int mx_reverse(const struct addr *a, char *out, size_t cap)
{
	size_t n = 0;

	if (a->family == AF_INET)
		return (size_t)snprintf(out, cap, "%u.%u.%u.%u.in-addr.arpa", a->b[3], a->b[2],
					a->b[1], a->b[0]) < cap
			   ? 0
			   : -E2BIG;
	if (cap < 74)
		return -E2BIG;
	for (int i = 15; i >= 0; i--)
		n += (size_t)snprintf(out + n, cap - n, "%x.%x.", a->b[i] & 15, a->b[i] >> 4);
	snprintf(out + n, cap - n, "ip6.arpa");
	return 0;
}
