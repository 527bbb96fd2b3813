/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "selector.h"

#include <errno.h>
#include <stdio.h>

static bool is_opaque(const struct ts *t)
{
	return t->port_lo == 65535 && t->port_hi == 0;
}

static bool is_any_port(const struct ts *t)
{
	return t->port_lo == 0 && t->port_hi == 65535;
}

static int addr_order(const struct addr *a, const struct addr *b)
{
	return memcmp(a->b, b->b, sizeof(a->b));
}

/* One selector whose framing is right; false: of no use to us. */
static bool parse_one(uint8_t type, struct rd *body, struct ts *t)
{
	size_t n = type == TS_IPV4_ADDR_RANGE ? 4 : 16;

	if (type != TS_IPV4_ADDR_RANGE && type != TS_IPV6_ADDR_RANGE)
		return false;
	*t = (struct ts){ 0 };
	t->proto = rd_u8(body);
	rd_skip(body, 2);
	t->port_lo = rd_be16(body);
	t->port_hi = rd_be16(body);
	/* Not addr_from_bytes(): a range that begins at ::ffff:0:0 is still one of IPv6. */
	t->lo.family = t->hi.family = n == 4 ? AF_INET : AF_INET6;
	rd_copy(body, t->lo.b, n);
	rd_copy(body, t->hi.b, n);
	if (body->bad || rd_left(body) || addr_order(&t->lo, &t->hi) > 0)
		return false;
	return t->port_lo <= t->port_hi || is_opaque(t);
}

int ts_parse(struct span body, struct ts_list *out)
{
	struct rd r = rd_init(body.p, body.len);
	unsigned count = rd_u8(&r);

	out->count = out->skipped = 0;
	rd_skip(&r, 3);
	for (unsigned i = 0; i < count; i++) {
		struct rd peek = r, one;
		struct ts t;
		uint16_t len;
		uint8_t type = rd_u8(&peek);

		rd_skip(&peek, 1);
		len = rd_be16(&peek);
		if (peek.bad || len < 8)
			return -EBADMSG;
		one = rd_sub(&r, len);
		if (one.bad)
			return -EBADMSG;
		rd_skip(&one, 1);
		if (parse_one(type, &one, &t) && out->count < TS_MAX)
			out->ts[out->count++] = t;
		else
			out->skipped++;
	}
	return r.bad || rd_left(&r) ? -EBADMSG : 0;
}

void ts_add(struct ike_build *b, uint8_t pld, const struct ts_list *l)
{
	struct wr *w = ike_pld_begin(b, pld);

	wr_u8(w, (uint8_t)l->count);
	wr_zero(w, 3);
	for (unsigned i = 0; i < l->count; i++) {
		const struct ts *t = &l->ts[i];
		size_t n = addr_len(&t->lo), at;

		wr_u8(w, n == 4 ? TS_IPV4_ADDR_RANGE : TS_IPV6_ADDR_RANGE);
		wr_u8(w, t->proto);
		at = wr_len16_begin(w);
		wr_be16(w, t->port_lo);
		wr_be16(w, t->port_hi);
		wr_bytes(w, t->lo.b, n);
		wr_bytes(w, t->hi.b, n);
		wr_len16_end(w, at);
	}
	ike_pld_end(b);
}

struct ts ts_from_prefix(const struct prefix *p)
{
	struct ts t = { .port_hi = 65535, .lo = p->addr, .hi = p->addr };
	unsigned bits = addr_bits(&p->addr);

	for (unsigned i = p->len; i < bits; i++)
		t.hi.b[i / 8] |= (uint8_t)(0x80 >> i % 8);
	return t;
}

bool ts_to_prefix(const struct ts *t, struct prefix *out)
{
	unsigned bits = addr_bits(&t->lo), same = 0;
	struct ts whole;

	while (same < bits && !((t->lo.b[same / 8] ^ t->hi.b[same / 8]) & 0x80 >> same % 8))
		same++;
	*out = prefix_of(&t->lo, (uint8_t)same);
	whole = ts_from_prefix(out);
	return !addr_order(&whole.lo, &t->lo) && !addr_order(&whole.hi, &t->hi);
}

int ts_append(struct ts_list *l, const struct ts *t)
{
	if (l->count >= TS_MAX)
		return -ENOSPC;
	l->ts[l->count++] = *t;
	return 0;
}

static bool ports_intersect(const struct ts *a, const struct ts *b, struct ts *out)
{
	if (is_any_port(a) || is_any_port(b)) {
		const struct ts *narrow = is_any_port(a) ? b : a;

		out->port_lo = narrow->port_lo;
		out->port_hi = narrow->port_hi;
		return true;
	}
	if (is_opaque(a) || is_opaque(b)) {
		out->port_lo = 65535;
		out->port_hi = 0;
		return is_opaque(a) && is_opaque(b);
	}
	out->port_lo = a->port_lo > b->port_lo ? a->port_lo : b->port_lo;
	out->port_hi = a->port_hi < b->port_hi ? a->port_hi : b->port_hi;
	return out->port_lo <= out->port_hi;
}

bool ts_intersect(const struct ts *a, const struct ts *b, struct ts *out)
{
	struct ts t = { .proto = a->proto ? a->proto : b->proto };

	if (a->lo.family != b->lo.family || (a->proto && b->proto && a->proto != b->proto))
		return false;
	if (!ports_intersect(a, b, &t))
		return false;
	t.lo = addr_order(&a->lo, &b->lo) > 0 ? a->lo : b->lo;
	t.hi = addr_order(&a->hi, &b->hi) < 0 ? a->hi : b->hi;
	if (addr_order(&t.lo, &t.hi) > 0)
		return false;
	*out = t;
	return true;
}

bool ts_equal(const struct ts *a, const struct ts *b)
{
	return a->proto == b->proto && a->port_lo == b->port_lo && a->port_hi == b->port_hi &&
	       addr_eq(&a->lo, &b->lo) && addr_eq(&a->hi, &b->hi);
}

bool ts_covers(const struct ts *outer, const struct ts *inner)
{
	struct ts both;

	return ts_intersect(outer, inner, &both) && ts_equal(&both, inner);
}

static bool any_covers(const struct ts_list *l, const struct ts *t)
{
	for (unsigned i = 0; i < l->count; i++) {
		if (ts_covers(&l->ts[i], t))
			return true;
	}
	return false;
}

bool ts_list_covers(const struct ts_list *outer, const struct ts_list *inner)
{
	for (unsigned i = 0; i < inner->count; i++) {
		if (!any_covers(outer, &inner->ts[i]))
			return false;
	}
	return true;
}

bool ts_list_equal(const struct ts_list *a, const struct ts_list *b)
{
	if (a->count != b->count)
		return false;
	for (unsigned i = 0; i < a->count; i++) {
		if (!ts_equal(&a->ts[i], &b->ts[i]))
			return false;
	}
	return true;
}

int ts_narrow(const struct ts_list *offered, const struct ts_list *ours, struct ts_list *out)
{
	out->count = out->skipped = 0;
	for (unsigned i = 0; i < offered->count; i++) {
		for (unsigned j = 0; j < ours->count; j++) {
			unsigned kept = 0;
			struct ts t;

			if (!ts_intersect(&offered->ts[i], &ours->ts[j], &t) || any_covers(out, &t))
				continue;
			for (unsigned k = 0; k < out->count; k++) {
				if (!ts_covers(&t, &out->ts[k]))
					out->ts[kept++] = out->ts[k];
			}
			out->count = kept;
			if (ts_append(out, &t))
				out->skipped++;
		}
	}
	return out->count ? 0 : -ENOENT;
}

bool ts_match(const struct ts_list *l, const struct addr *a, uint8_t proto, int port)
{
	for (unsigned i = 0; i < l->count; i++) {
		const struct ts *t = &l->ts[i];

		if (t->lo.family != a->family || (t->proto && t->proto != proto))
			continue;
		if (addr_order(a, &t->lo) < 0 || addr_order(a, &t->hi) > 0)
			continue;
		if (is_any_port(t) || (port < 0 && is_opaque(t)))
			return true;
		if (port >= t->port_lo && port <= t->port_hi)
			return true;
	}
	return false;
}

static const char *proto_str(uint8_t proto, char buf[static 8])
{
	switch (proto) {
	case 0:
		return "any";
	case IPPROTO_ICMP:
		return "icmp";
	case IPPROTO_TCP:
		return "tcp";
	case IPPROTO_UDP:
		return "udp";
	case IPPROTO_ICMPV6:
		return "icmpv6";
	default:
		snprintf(buf, 8, "%u", proto);
		return buf;
	}
}

const char *ts_str(const struct ts *t, char out[static TS_STR_MAX])
{
	char lo[ADDR_STR_MAX], hi[ADDR_STR_MAX], net[PREFIX_STR_MAX], num[8];
	struct prefix p;
	int n;

	if (ts_to_prefix(t, &p))
		n = snprintf(out, TS_STR_MAX, "%s", prefix_str(&p, net));
	else
		n = snprintf(out, TS_STR_MAX, "%s-%s", addr_str(&t->lo, lo), addr_str(&t->hi, hi));
	if (!t->proto && is_any_port(t))
		return out;
	n += snprintf(out + n, TS_STR_MAX - (size_t)n, "[%s", proto_str(t->proto, num));
	if (is_opaque(t))
		n += snprintf(out + n, TS_STR_MAX - (size_t)n, "/opaque");
	else if (t->port_lo == t->port_hi)
		n += snprintf(out + n, TS_STR_MAX - (size_t)n, "/%u", t->port_lo);
	else if (!is_any_port(t))
		n += snprintf(out + n, TS_STR_MAX - (size_t)n, "/%u-%u", t->port_lo, t->port_hi);
	snprintf(out + n, TS_STR_MAX - (size_t)n, "]");
	return out;
}

const char *ts_list_str(const struct ts_list *l, char *out, size_t cap)
{
	char one[TS_STR_MAX];
	size_t at = 0;

	if (cap)
		out[0] = '\0';
	for (unsigned i = 0; i < l->count && at + 1 < cap; i++)
		at += (size_t)snprintf(out + at, cap - at, "%s%s", i ? ", " : "",
				       ts_str(&l->ts[i], one));
	return out;
}
