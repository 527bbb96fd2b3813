/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Decrypted packets on their way to the TUN. A first byte says what may be merged; then records:
 *
 *	0x00-0x3f	a packet: 16 bits of length, its bytes
 *	0x40-0x7f	the packet before as its flow would go on, with right checksums; low bits: payload byte to drop
 *	0x80-0xbf	the packet before with one byte changed: 16 bits of place, the byte; odd: checksums made right
 *	0xc0-0xff	all leaves
 *
 * What is written, cut again as the kernel cuts it, has to be what came, and no flow may change its order.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "undo.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define PKTS_MAX 200
#define MEM	 (1u << 20)

struct came {
	uint8_t *want;
	size_t len;
	struct pkt k;
	bool out;
};

static struct {
	struct came came[PKTS_MAX];
	unsigned n;
	uint8_t *mem;
	size_t used;
	struct tunw w[MERGE_FLOWS + 1];
	bool busy[MERGE_FLOWS + 1];
	bool vnet;
} f;

static uint8_t *room(size_t len)
{
	uint8_t *p = f.mem + f.used + VNET_LEN;

	f.used += VNET_LEN + len;
	return p;
}

/* Two zeros of one's complement: a right checksum may have been the other one. */
static void one_zero(uint8_t *p, size_t len, const struct pkt *k)
{
	size_t at = k->l4 + (k->proto == PKT_TCP ? 16u : 6u);

	if ((k->proto == PKT_TCP || k->proto == PKT_UDP) && at + 2 <= len &&
	    get16(p + at) == 0xffff)
		put16(p + at, 0);
	if (k->ver == 4 && get16(p + 10) == 0xffff)
		put16(p + 10, 0);
}

static bool same_flow(const struct pkt *a, const struct pkt *b)
{
	return a->ver == b->ver && a->proto == b->proto && a->sport == b->sport &&
	       a->dport == b->dport && !memcmp(a->src, b->src, sizeof(a->src)) &&
	       !memcmp(a->dst, b->dst, sizeof(a->dst));
}

static bool same(const struct came *c, const uint8_t *p, size_t len, bool joined)
{
	uint8_t a[65536], b[65536];

	if (c->out || c->len != len)
		return false;
	if (!joined)
		return !memcmp(c->want, p, len);
	memcpy(a, c->want, len);
	memcpy(b, p, len);
	one_zero(a, len, &c->k);
	one_zero(b, len, &c->k);
	return undo_same(a, b, len, true) || undo_same(a, p, len, true);
}

static void arrived(void *arg, const uint8_t *p, size_t len, bool joined)
{
	(void)arg;
	for (unsigned i = 0; i < f.n; i++) {
		struct came *c = &f.came[i];

		if (!same(c, p, len, joined))
			continue;
		for (unsigned j = 0; j < i; j++) {
			if (!f.came[j].out && same_flow(&f.came[j].k, &c->k))
				abort(); /* one before it is still to come */
		}
		c->out = true;
		return;
	}
	abort(); /* nobody sent that */
}

static struct tunw *get(void *arg)
{
	(void)arg;
	for (int i = 0; i <= MERGE_FLOWS; i++) {
		if (!f.busy[i]) {
			f.busy[i] = true;
			return &f.w[i];
		}
	}
	abort();
}

static void ready(void *arg, struct tunw *w)
{
	static uint8_t flat[VNET_LEN + 65536];
	size_t at = 0;

	(void)arg;
	for (unsigned i = 0; i < w->iovs; i++) {
		if (at + w->iov[i].iov_len > sizeof(flat))
			abort();
		memcpy(flat + at, w->iov[i].iov_base, w->iov[i].iov_len);
		at += w->iov[i].iov_len;
	}
	if (undo_write(flat, at, f.vnet, arrived, NULL))
		abort();
	for (unsigned i = 0; i < w->bufs; i++)
		w->buf[i]->refs--;
	f.busy[w - f.w] = false;
}

static void hold(struct buf *b)
{
	b->refs++;
}

static size_t csum_at(const struct pkt *k)
{
	return k->fragment ? 0 : k->proto == PKT_TCP ? 16 : k->proto == PKT_UDP ? 6 : 0;
}

/* Where the packet has room for the checksum of its kind. */
static void finish(uint8_t *p, size_t len, const struct pkt *k)
{
	size_t at = csum_at(k);

	naive_finish(p, k->l4, len, k->proto, k->l4 + at + 2 <= len ? at : 0);
}

/* The next segment or datagram of what stands at @p; the new length. */
static size_t go_on(uint8_t *p, size_t len, const struct pkt *k, size_t less)
{
	size_t head;

	if (k->ver == 4)
		put16(p + 4, (uint16_t)(get16(p + 4) + 1));
	if (k->proto == PKT_TCP && !k->fragment && k->l4 + 20u <= len) {
		head = k->l4 + (p[k->l4 + 12] >> 4) * 4u;
		if (head < len) {
			put32(p + k->l4 + 4, get32(p + k->l4 + 4) + (uint32_t)(len - head));
			len -= less < len - head ? less : 0;
		}
	} else if (k->proto == PKT_UDP && !k->fragment && k->l4 + 8u < len) {
		len -= less < len - k->l4 - 8 ? less : 0;
		put16(p + k->l4 + 4, (uint16_t)(len - k->l4));
	}
	finish(p, len, k);
	return len;
}

static void add(struct merge *m, uint8_t *p, size_t len, struct buf *b)
{
	struct came *c = &f.came[f.n];

	if (pkt_parse(p, len, &c->k))
		return;
	c->len = c->k.total;
	c->out = false;
	c->want = room(c->len);
	memcpy(c->want, p, c->len);
	f.n++;
	merge_add(m, p, &c->k, b);
}

/* One record; what is left behind it, NULL: the end. */
static const uint8_t *record(struct merge *m, struct buf *b, const uint8_t *d, const uint8_t *end)
{
	const struct came *was = f.n ? &f.came[f.n - 1] : NULL;
	uint8_t op = *d++, *p;
	size_t n;

	if (op >= 0xc0) {
		merge_flush(m);
		return d;
	}
	if (op < 0x40) {
		if (end - d < 2 || end - d - 2 < get16(d))
			return NULL;
		n = get16(d);
		p = room(n);
		memcpy(p, d + 2, n);
		add(m, p, n, b);
		return d + 2 + n;
	}
	if (!was)
		return d;
	n = was->len;
	p = room(n);
	memcpy(p, was->want, n);
	if (op < 0x80) {
		add(m, p, go_on(p, n, &was->k, op & 0x3f), b);
		return d;
	}
	if (end - d < 3)
		return NULL;
	p[get16(d) % n] = d[2];
	if (op & 1) {
		struct pkt k;

		if (!pkt_parse(p, n, &k) && k.total == n)
			finish(p, n, &k);
	}
	add(m, p, n, b);
	return d + 3;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const struct merge_ops ops = { get, ready, hold };
	struct merge m = { .ops = &ops };
	struct buf buf[PKTS_MAX / 16 + 1] = { 0 };
	const uint8_t *d = data + 1, *end = data + len;

	if (!len || len > 65536)
		return 0;
	if (!f.mem)
		f.mem = malloc(MEM);
	if (!f.mem)
		abort();
	f.used = f.n = 0;
	m.vnet = f.vnet = !(data[0] & 4);
	m.tcp = !(data[0] & 1);
	m.udp = !(data[0] & 2);
	while (d && d < end && f.n < PKTS_MAX && f.used < MEM - 3 * 65536)
		d = record(&m, &buf[f.n / 16], d, end);
	merge_flush(&m);
	for (unsigned i = 0; i < f.n; i++) {
		if (!f.came[i].out)
			abort();
	}
	for (unsigned i = 0; i < sizeof(buf) / sizeof(buf[0]); i++) {
		if (buf[i].refs)
			abort();
	}
	return 0;
}
