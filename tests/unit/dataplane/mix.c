/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>

#include "mix.h"
#include "undo.h"

#define MEM_BYTES   (48u << 20)
#define NOISE_BYTES (1u << 18)

/* ---- the run ---- */

uint64_t mix_draw(struct run *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

void mix_fail(struct run *r, const char *why)
{
	fail_msg("seed %llu: %s (test_dataplane_differential %llu shows it)",
		 (unsigned long long)r->seed, why, (unsigned long long)r->seed);
}

void mix_say(struct run *r, const char *fmt, ...)
{
	va_list ap;

	if (!r->verbose)
		return;
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
}

uint8_t *mix_keep(struct run *r, const uint8_t *p, size_t len)
{
	uint8_t *at = r->mem + r->used;

	r->used += (len + 15) & ~(size_t)15;
	if (r->used > MEM_BYTES)
		mix_fail(r, "memory");
	if (p)
		memcpy(at, p, len);
	return at;
}

struct run *mix_new(void)
{
	struct run *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	r->mem = malloc(MEM_BYTES);
	r->noise = malloc(NOISE_BYTES);
	assert_true(r->mem && r->noise);
	for (size_t i = 0; i < NOISE_BYTES; i += 8) {
		uint64_t x = mix_draw(r);

		memcpy(r->noise + i, &x, 8);
	}
	return r;
}

void mix_free(struct run *r)
{
	free(r->mem);
	free(r->noise);
	free(r);
}

static void noise(struct run *r, uint8_t *p, size_t len)
{
	memcpy(p, r->noise + below(r, NOISE_BYTES - 65536), len);
}

/* ---- flows ---- */

static void draw_ext(struct run *r, struct flow *f)
{
	static const uint8_t kinds[] = { 60, 43, 60 };
	uint8_t *link = &f->ext_first;

	f->ext_len = 0;
	f->ext_first = f->proto;
	if (!one_in(r, 6))
		return;
	if (f->ver == 4) {
		f->ext_len = 4 * (1 + below(r, 10));
		memset(f->ext, 1, f->ext_len);
		memcpy(f->ext, "\x94\4\0", 4); /* Router Alert */
		return;
	}
	for (unsigned i = 0, n = 1 + below(r, 3); i < n; i++) {
		uint8_t *h = f->ext + f->ext_len;
		unsigned more = below(r, one_in(r, 8) ? 40 : 2);

		*link = !i && one_in(r, 2) ? 0 : kinds[i];
		memset(h, 0, 8 * (more + 1));
		h[1] = (uint8_t)more;
		h[2] = 1; /* PadN to the end, or almost; of a Routing header: its type */
		h[3] = (uint8_t)(more < 31 ? 8 * (more + 1) - 4 : 255);
		link = h;
		f->ext_len += 8 * (more + 1);
	}
	*link = f->proto;
}

static void draw_flow(struct run *r, struct flow *f)
{
	static const uint8_t protos[] = {
		PKT_TCP, PKT_TCP, PKT_TCP, PKT_UDP, PKT_UDP, PKT_ICMP, 47
	};
	static const uint16_t sizes[] = { 1, 36, 536, 1200, 1348, 1360, 8900 };

	/* Some differ from the one before in one thing alone. */
	if (r->flows && one_in(r, 3)) {
		*f = f[-1];
		switch (below(r, 3)) {
		case 0:
			f->sport++;
			break;
		case 1:
			f->dport++;
			break;
		default:
			f->src++;
			break;
		}
	} else {
		memset(f, 0, sizeof(*f));
		f->ver = one_in(r, 2) ? 4 : 6;
		f->proto = protos[below(r, sizeof(protos))];
		if (f->proto == PKT_ICMP && f->ver == 6)
			f->proto = PKT_ICMPV6;
		f->src = 0x0a000001 + below(r, 3);
		f->dst = 0x0a010001 + below(r, 3);
		f->sport = (uint16_t)below(r, 65536);
		f->dport = (uint16_t)below(r, 65536);
		f->tos = (uint8_t)(one_in(r, 2) ? 0 : below(r, 256));
		f->ttl = (uint8_t)(1 + below(r, 255));
		f->label = below(r, 1 << 20);
		f->df = !one_in(r, 3);
		f->ids = (uint8_t)below(r, 3);
		f->window = (uint16_t)below(r, 65536);
		f->ece = one_in(r, 5) ? 0x40 : 0;
		f->ae = one_in(r, 5);
		f->opt_len = one_in(r, 3) ? 0 : 4 * (1 + below(r, 9));
		memset(f->opt, 1, f->opt_len);
		draw_ext(r, f);
	}
	f->id = (uint16_t)(one_in(r, 4) ? 0xfff0 : below(r, 65536));
	f->seq = one_in(r, 4) ? 0xffffff00 : (uint32_t)mix_draw(r);
	f->ack = (uint32_t)mix_draw(r);
	f->size = sizes[below(r, 7)];
	f->head = NULL;
	f->tail = &f->head;
}

void mix_begin(struct run *r, uint64_t seed, bool verbose)
{
	r->seed = r->state = seed;
	r->verbose = verbose;
	r->used = r->wires = r->arrivals = r->flows = 0;
	memset(r->wire, 0, sizeof(r->wire));
	r->vnet = !one_in(r, 10);
	r->tcp = !one_in(r, 10);
	r->udp = !one_in(r, 10);
	for (unsigned n = 1 + below(r, FLOWS_MAX); r->flows < n; r->flows++)
		draw_flow(r, &r->flow[r->flows]);
}

/* ---- units ---- */

/* What of a packet is not as its flow's others are. */
struct odd {
	bool fragment, later, more;
	bool bad_l4, bad_ip, zero_udp, short_udp;
};

static size_t put_ip(struct run *r, struct flow *f, uint8_t *p, const struct odd *o)
{
	uint8_t tos = one_in(r, 40) ? f->tos ^ 1 : f->tos, ttl = (uint8_t)(f->ttl - one_in(r, 40));
	size_t l4;

	memset(p, 0, 40);
	if (f->ver == 4) {
		l4 = 20 + f->ext_len;
		p[0] = (uint8_t)(0x40 | l4 / 4);
		p[1] = tos;
		put16(p + 4, f->id);
		put16(p + 6,
		      (uint16_t)((f->df && !o->fragment ? 0x4000 : 0) | (o->more ? 0x2000 : 0) |
				 (o->later ? 1 + below(r, 5000) : 0)));
		if (one_in(r, 100))
			p[6] |= 0x80;
		p[8] = ttl;
		p[9] = f->proto;
		put32(p + 12, f->src);
		put32(p + 16, f->dst);
		memcpy(p + 20, f->ext, f->ext_len);
		return l4;
	}
	put32(p, 6u << 28 | (uint32_t)tos << 20 | f->label);
	p[6] = f->ext_first;
	p[7] = ttl;
	p[8] = p[24] = 0xfd;
	put32(p + 20, f->src);
	put32(p + 36, f->dst);
	l4 = 40 + f->ext_len;
	memcpy(p + 40, f->ext, f->ext_len);
	if (o->fragment) {
		uint8_t *h = p + l4;

		memset(h, 0, 8);
		h[0] = p[6];
		put16(h + 2, (uint16_t)((o->later ? 8 * (1 + below(r, 5000)) : 0) | o->more));
		put32(h + 4, (uint32_t)mix_draw(r));
		if (f->ext_len) {
			/* Behind the others: the last of them names it. */
			size_t at = 40;

			while (at + 8 * (p[at + 1] + 1u) < l4)
				at += 8 * (p[at + 1] + 1u);
			h[0] = p[at];
			p[at] = 44;
		} else {
			p[6] = 44;
		}
		l4 += 8;
	}
	return l4;
}

/* Returns where the header ends; *@mss: behind the packet's begin, 0: none. */
static size_t put_tcp(struct run *r, struct flow *f, uint8_t *p, size_t l4, uint8_t flags,
		      size_t *mss)
{
	uint8_t *t = p + l4;

	memset(t, 0, 20);
	put16(t, f->sport);
	put16(t + 2, f->dport);
	put32(t + 4, f->seq);
	put32(t + 8, f->ack);
	t[12] = (uint8_t)((20 + f->opt_len) / 4 << 4);
	t[12] |= f->ae;
	t[13] = flags | f->ece;
	put16(t + 14, f->window);
	if (flags & 0x20 || one_in(r, 50))
		put16(t + 18, (uint16_t)below(r, 65536));
	if (one_in(r, 100))
		t[12] ^= 1; /* RFC 9768 */
	memcpy(t + 20, f->opt, f->opt_len);
	if (f->opt_len && one_in(r, 30))
		t[20] = 0; /* End of Option List */
	*mss = 0;
	if (flags & 2 && f->opt_len >= 8) {
		*mss = l4 + 20 + below(r, 4);
		memset(t + 20, 1, 4);
		p[*mss] = 2;
		p[*mss + 1] = 4;
		put16(p + *mss + 2, (uint16_t)(1 + below(r, 9000)));
	}
	return l4 + 20 + f->opt_len;
}

static uint8_t draw_flags(struct run *r)
{
	static const uint8_t odd[] = { 0x11, 0x12, 0x02, 0x04, 0x14, 0x30,
				       0x50, 0x90, 0x00, 0x19, 0xd0 };

	if (one_in(r, 12))
		return odd[below(r, sizeof(odd))];
	return one_in(r, 6) ? 0x18 : 0x10;
}

/* The kernel leaves the checksum of what is below @l4 to us: the pseudo header's sum stands in its place. */
static void leave_checksum(struct unit *u, uint8_t *p, size_t at)
{
	uint16_t sum = csum_fold(csum_pseudo(p, u->flow->proto, u->len - u->l4));

	u->v.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	u->v.csum_start = (uint16_t)u->l4;
	u->v.csum_offset = (uint16_t)at;
	memcpy(p + u->l4 + at, &sum, 2);
}

static void next_id(struct run *r, struct flow *f, size_t packets)
{
	f->id = (uint16_t)(f->ids == 0 ? f->id + packets : f->ids == 1 ? f->id : below(r, 65536));
}

/* TSO or USO. */
static void super(struct run *r, struct unit *u, size_t payload, uint8_t flags)
{
	struct flow *f = u->flow;
	bool tcp = f->proto == PKT_TCP;

	u->v.gso_size = f->size;
	u->v.hdr_len = (uint16_t)u->head;
	u->v.gso_type = !tcp	      ? VIRTIO_NET_HDR_GSO_UDP_L4
			: f->ver == 4 ? VIRTIO_NET_HDR_GSO_TCPV4
				      : VIRTIO_NET_HDR_GSO_TCPV6;
	if (tcp && flags & 0x80)
		u->v.gso_type |= VIRTIO_NET_HDR_GSO_ECN;
	if (!tcp)
		put16(u->want + u->l4 + 4, (uint16_t)(u->len - u->l4));
	naive_finish(u->want, u->l4, u->len, f->proto, tcp ? 16 : 6);
	u->p = mix_keep(r, NULL, u->len + SPLIT_SPARE + MIX_TFC);
	memcpy(u->p, u->want, u->len);
	leave_checksum(u, u->p, tcp ? 16 : 6);
	next_id(r, f, (payload + f->size - 1) / f->size);
}

/* One packet, whose checksum is there, or left to us, or wrong. */
static void single(struct run *r, struct unit *u, const struct odd *o, size_t mss)
{
	struct flow *f = u->flow;
	size_t at = f->proto == PKT_TCP ? 16 : f->proto == PKT_UDP ? 6 : 0;
	uint16_t most = MIX_MTU - (f->ver == 4 ? 40 : 60);

	if (o->later)
		at = 0;
	if (o->short_udp)
		put16(u->want + u->l4 + 4,
		      (uint16_t)(8 + below(r, (unsigned)(u->len - u->l4 - 8))));
	naive_finish(u->want, u->l4, u->len, f->proto, at);
	if (o->zero_udp)
		put16(u->want + u->l4 + 6, 0);
	if (o->bad_l4 && at)
		u->want[u->l4 + at] ^= (uint8_t)(1 + below(r, 255));
	if (o->bad_ip && f->ver == 4)
		u->want[10] ^= (uint8_t)(1 + below(r, 255));
	u->bad_ip = o->bad_ip;
	u->p = mix_keep(r, NULL, u->len + SPLIT_SPARE + MIX_TFC);
	memcpy(u->p, u->want, u->len);
	u->has_v = !one_in(r, 8);
	if (at && u->has_v && !o->bad_l4 && !o->zero_udp && !o->short_udp && !o->fragment &&
	    one_in(r, 2))
		leave_checksum(u, u->p, at);
	if (mss && !o->fragment && get16(u->want + mss + 2) > most) {
		put16(u->want + mss + 2, most);
		naive_finish(u->want, u->l4, u->len, f->proto, at);
		u->bad_ip = false;
		u->p[10] = f->ver == 4 ? u->want[10] : u->p[10];
		u->p[11] = f->ver == 4 ? u->want[11] : u->p[11];
	}
	u->tfc = one_in(r, 10) ? 1 + below(r, MIX_TFC) : 0;
	next_id(r, f, 1);
}

static size_t draw_payload(struct run *r, const struct flow *f, size_t head, bool many)
{
	size_t most = 65535 - head, want = f->size;

	if (many) {
		want =
		    (size_t)f->size * (1 + below(r, one_in(r, 4) ? 44 : 6)) + 1 + below(r, f->size);
		return want < most ? want : most;
	}
	if (one_in(r, 6))
		want = below(r, f->size) + 1u;
	return want < most ? want : most;
}

void mix_unit(struct run *r, struct unit *u)
{
	struct flow *f = &r->flow[below(r, r->flows)];
	bool tcp = f->proto == PKT_TCP, ports = tcp || f->proto == PKT_UDP,
	     many = ports && one_in(r, 3);
	uint8_t flags = draw_flags(r);
	struct odd o = { 0 };
	size_t payload, mss = 0;

	if (!many) {
		o.fragment = one_in(r, 12);
		o.more = o.fragment && one_in(r, 2);
		o.later = o.fragment && (!o.more || one_in(r, 2));
		o.bad_l4 = one_in(r, 12) && !(flags & 2);
		o.bad_ip = one_in(r, 25);
		o.zero_udp = f->proto == PKT_UDP && !o.later && one_in(r, 12);
		o.short_udp = f->proto == PKT_UDP && !o.fragment && one_in(r, 20) && f->size > 1;
	} else {
		flags &= 0xfd;
		flags |= one_in(r, 8) ? 0x89 & (uint8_t)below(r, 256) : 0;
	}
	if (tcp && one_in(r, 20))
		f->seq += below(r, 3000); /* lost before us, or sent again */
	f->ack += one_in(r, 4) ? 1000 : 0;
	f->window = (uint16_t)(f->window + one_in(r, 10));
	memset(u, 0, sizeof(*u));
	u->flow = f;
	u->has_v = true;
	u->want = mix_keep(r, NULL, 65536 + 64);
	u->l4 = u->head = put_ip(r, f, u->want, &o);
	if (tcp && !o.later) {
		u->head = put_tcp(r, f, u->want, u->l4, flags, &mss);
	} else if (f->proto == PKT_UDP && !o.later) {
		u->head = u->l4 + 8;
		put16(u->want + u->l4, f->sport);
		put16(u->want + u->l4 + 2, f->dport);
	}
	payload = draw_payload(r, f, u->head, many);
	if (tcp && !many && one_in(r, 8) && !o.later)
		payload = 0; /* an ACK */
	u->len = u->head + payload;
	noise(r, u->want + u->head, payload);
	if (u->head == u->l4 + 8 && !tcp)
		put16(u->want + u->l4 + 4, (uint16_t)(8 + payload));
	if (many)
		super(r, u, payload, flags);
	else
		single(r, u, &o, mss);
	f->seq += (uint32_t)payload;
	mix_say(
	    r,
	    "unit: flow %d, IPv%d, protocol %d, %zu bytes, gso %d of kind %d, flags %02x%s%s%s%s\n",
	    (int)(f - r->flow), f->ver, f->proto, u->len, u->v.gso_size, u->v.gso_type, flags,
	    o.fragment ? ", fragment" : "", o.bad_l4 ? ", bad checksum" : "",
	    o.bad_ip ? ", bad IP checksum" : "", u->v.flags ? ", partial" : "");
}

/* ---- the network ---- */

void mix_due(struct wire *w)
{
	*w->flow->tail = w;
	w->flow->tail = &w->next;
}

void mix_network(struct run *r)
{
	unsigned bad = one_in(r, 4) ? 5 : 60;

	for (unsigned i = 0; i < r->wires; i++) {
		struct wire *w = &r->wire[i];

		if (one_in(r, bad))
			continue;
		if (one_in(r, bad)) {
			size_t at =
			    4 + below(r, (unsigned)w->len - 4); /* another SPI is another SA */

			w->spoilt = true;
			w->pkt[at] ^= (uint8_t)(1 + below(r, 255));
		}
		r->arrival[r->arrivals++] = w;
		if (one_in(r, bad))
			r->arrival[r->arrivals++] = w;
	}
	for (unsigned i = 1; i < r->arrivals; i++) {
		if (one_in(r, bad)) {
			struct wire *w = r->arrival[i];

			r->arrival[i] = r->arrival[i - 1];
			r->arrival[i - 1] = w;
		}
	}
	mix_say(r, "%u packets sent, %u arrive\n", r->wires, r->arrivals);
}
