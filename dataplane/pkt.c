/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pkt.h"

#include <errno.h>

#define IPV6_EXT_MAX 8 /* headers that we walk over before giving up */

static uint64_t get64(const uint8_t *p)
{
	return (uint64_t)get32(p) << 32 | get32(p + 4);
}

static int parse4(const uint8_t *p, size_t len, struct pkt *k)
{
	size_t ihl = (p[0] & 15) * 4u;
	uint16_t frag;

	if (len < 20 || ihl < 20 || ihl > len)
		return -EBADMSG;
	k->total = get16(p + 2);
	if (k->total < ihl || k->total > len)
		return -EBADMSG;
	frag = get16(p + 6);
	k->fragment = frag & 0x3fff;
	k->later_fragment = frag & 0x1fff;
	k->plain = ihl == 20 && !k->fragment;
	k->proto = p[9];
	k->l4 = (uint16_t)ihl;
	k->src[1] = get32(p + 12);
	k->dst[1] = get32(p + 16);
	return 0;
}

static int parse6(const uint8_t *p, size_t len, struct pkt *k)
{
	size_t at = 40;
	uint8_t nh = p[6];

	if (len < 40)
		return -EBADMSG;
	k->total = 40u + get16(p + 4); /* a jumbogram (0) does not go through a tunnel */
	if (k->total > len)
		return -EBADMSG;
	for (int i = 0; i < IPV6_EXT_MAX && !k->later_fragment; i++) {
		if (nh != 0 && nh != 43 && nh != 44 && nh != 60)
			break;
		if (at + 8 > k->total)
			return -EBADMSG;
		if (nh == 44) {
			k->fragment = true;
			k->later_fragment = get16(p + at + 2) & 0xfff8;
			nh = p[at];
			at += 8;
		} else {
			size_t n = 8 * (p[at + 1] + 1u);

			if (at + n > k->total)
				return -EBADMSG;
			nh = p[at];
			at += n;
		}
	}
	k->plain = at == 40;
	k->proto = nh;
	k->l4 = (uint16_t)at;
	k->src[0] = get64(p + 8);
	k->src[1] = get64(p + 16);
	k->dst[0] = get64(p + 24);
	k->dst[1] = get64(p + 32);
	return 0;
}

int pkt_parse(const uint8_t *p, size_t len, struct pkt *k)
{
	int rc;

	memset(k, 0, sizeof(*k));
	if (!len)
		return -EBADMSG;
	k->ver = p[0] >> 4;
	if (len >= 20 && k->ver == 4)
		rc = parse4(p, len, k);
	else if (len >= 40 && k->ver == 6)
		rc = parse6(p, len, k);
	else
		return -EBADMSG;
	if (rc || k->later_fragment)
		return rc;
	if (k->proto == PKT_TCP || k->proto == PKT_UDP || k->proto == 132 || k->proto == 136 ||
	    k->proto == 33) {
		if (k->l4 + 4u <= k->total) {
			k->ports = true;
			k->sport = get16(p + k->l4);
			k->dport = get16(p + k->l4 + 2);
		}
	} else if (k->proto == PKT_ICMP || k->proto == PKT_ICMPV6) {
		if (k->l4 + 2u <= k->total) {
			k->ports = true;
			k->sport = k->dport = get16(p + k->l4);
		}
	}
	return 0;
}

static uint64_t sum_words(const uint8_t *p, size_t words, uint64_t sum)
{
	uint64_t a = 0, b = 0;

	for (; words >= 4; words -= 4, p += 16) {
		uint64_t x, y;

		memcpy(&x, p, 8);
		memcpy(&y, p + 8, 8);
		a += (x & 0xffffffff) + (x >> 32);
		b += (y & 0xffffffff) + (y >> 32);
	}
	for (; words; words--, p += 4) {
		uint32_t x;

		memcpy(&x, p, 4);
		a += x;
	}
	return sum + a + b;
}

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

__attribute__((target("avx2"))) static uint64_t sum_words_avx2(const uint8_t *p, size_t words,
							       uint64_t sum)
{
	const __m256i low = _mm256_set1_epi64x(0xffffffff);
	__m256i a = _mm256_setzero_si256(), b = a;
	uint64_t out[4];

	for (; words >= 16; words -= 16, p += 64) {
		__m256i x = _mm256_loadu_si256((const __m256i *)p);
		__m256i y = _mm256_loadu_si256((const __m256i *)(p + 32));

		a = _mm256_add_epi64(a, _mm256_and_si256(x, low));
		b = _mm256_add_epi64(b, _mm256_srli_epi64(x, 32));
		a = _mm256_add_epi64(a, _mm256_and_si256(y, low));
		b = _mm256_add_epi64(b, _mm256_srli_epi64(y, 32));
	}
	_mm256_storeu_si256((__m256i *)out, _mm256_add_epi64(a, b));
	return sum_words(p, words, sum + out[0] + out[1] + out[2] + out[3]);
}

static uint64_t sum_best(const uint8_t *p, size_t words, uint64_t sum)
{
	if (words >= 32 && __builtin_cpu_supports("avx2"))
		return sum_words_avx2(p, words, sum);
	return sum_words(p, words, sum);
}
#elif defined(__aarch64__) && BYTE_ORDER == LITTLE_ENDIAN
#include <arm_neon.h> /* of every CPU of this kind: nothing to ask for */

static uint64_t sum_best(const uint8_t *p, size_t words, uint64_t sum)
{
	uint64x2_t a = vdupq_n_u64(0), b = a;

	/* Bytes are loaded, which need no alignment; then neighbours among four words are added to two sums. */
	for (; words >= 16; words -= 16, p += 64) {
		a = vpadalq_u32(a, vreinterpretq_u32_u8(vld1q_u8(p)));
		b = vpadalq_u32(b, vreinterpretq_u32_u8(vld1q_u8(p + 16)));
		a = vpadalq_u32(a, vreinterpretq_u32_u8(vld1q_u8(p + 32)));
		b = vpadalq_u32(b, vreinterpretq_u32_u8(vld1q_u8(p + 48)));
	}
	return sum_words(p, words, sum + vaddvq_u64(vaddq_u64(a, b)));
}
#else
#define sum_best sum_words
#endif

static uint64_t add_tail(const uint8_t *p, size_t len, uint64_t sum)
{
	uint8_t tail[4] = { 0 };
	uint32_t x;

	memcpy(tail, p + (len & ~(size_t)3), len & 3);
	memcpy(&x, tail, 4);
	return sum + x;
}

uint64_t csum_add(const uint8_t *p, size_t len, uint64_t sum)
{
	sum = sum_best(p, len / 4, sum);
	return len & 3 ? add_tail(p, len, sum) : sum;
}

uint64_t csum_add_portable(const uint8_t *p, size_t len, uint64_t sum)
{
	return add_tail(p, len, sum_words(p, len / 4, sum));
}

uint64_t csum_pseudo(const uint8_t *ip, uint8_t proto, size_t l4_len)
{
	uint8_t tail[8] = { 0 };

	put32(tail, (uint32_t)l4_len);
	tail[7] = proto;
	if (ip[0] >> 4 == 4)
		return csum_add(tail, 8, csum_add(ip + 12, 8, 0));
	return csum_add(tail, 8, csum_add(ip + 8, 32, 0));
}

void csum_ipv4_header(uint8_t *ip)
{
	put16(ip + 10, 0);
	csum_put(ip + 10, csum_add(ip, (ip[0] & 15) * 4u, 0));
}

/* RFC 1624: HC' = ~(~HC + ~m + m'), for one aligned 16-bit word. */
static void csum_change(uint8_t *sum, uint16_t from, uint16_t to)
{
	uint32_t s = (uint16_t)~get16(sum);

	s += (uint16_t)~from;
	s += to;
	s = (s & 0xffff) + (s >> 16);
	s = (s & 0xffff) + (s >> 16);
	put16(sum, (uint16_t)~s);
}

bool pkt_clamp_mss(uint8_t *p, const struct pkt *k, uint16_t mtu, bool partial)
{
	uint16_t head = k->ver == 4 ? 40 : 60, most, was;
	uint8_t *tcp = p + k->l4, *opt, *end;

	if (k->proto != PKT_TCP || k->fragment || k->l4 + 20u > k->total || !(tcp[13] & 2))
		return false;
	if (mtu < head + 88)
		return false;
	most = (uint16_t)(mtu - head);
	end = tcp + (tcp[12] >> 4) * 4;
	if (end > p + k->total)
		return false;
	for (opt = tcp + 20; opt < end;) {
		if (opt[0] == 0)
			break;
		if (opt[0] == 1) {
			opt++;
			continue;
		}
		if (end - opt < 2 || opt[1] < 2 || opt[1] > end - opt)
			break;
		if (opt[0] == 2 && opt[1] == 4) {
			was = get16(opt + 2);
			if (was <= most)
				return false;
			put16(opt + 2, most);
			if (partial)
				return true; /* the whole is summed after us */
			if ((opt - tcp) & 1) {
				/* An odd place: the two bytes straddle words. */
				csum_change(tcp + 16, (uint16_t)(was << 8 | was >> 8),
					    (uint16_t)(most << 8 | most >> 8));
			} else {
				csum_change(tcp + 16, was, most);
			}
			return true;
		}
		opt += opt[1];
	}
	return false;
}

void pkt_set_ecn(uint8_t *p, uint8_t ecn)
{
	uint16_t was = get16(p), now;

	if (p[0] >> 4 == 4) {
		now = (uint16_t)((was & ~3) | ecn);
		csum_change(p + 10, was, now);
	} else {
		now = (uint16_t)((was & ~0x30) | ecn << 4);
	}
	put16(p, now);
}
