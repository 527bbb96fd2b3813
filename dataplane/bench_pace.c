/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What packets of a measurement look like, and how fast they leave. */
#include <string.h>

#include "bench.h"
#include "wire.h"

#define MARK	      "PSTNbch1"
#define BEHIND_US     4000 /* so much that could have left before may leave at once */
#define NAP_US	      1000 /* shorter waits cost more than they smooth */
#define ROUND_US      20000
#define ROUND_PKTS    24
#define LONG_ROUND_US 250000
#define LOSS_OF	      32 /* one of so many lost is too much */
#define STEP_NEXT     4
#define STEP_LAST     32

void bench_head_build(const struct bench_head *h, uint8_t out[static BENCH_HEAD])
{
	struct wr w = wr_init(out, BENCH_HEAD);

	wr_bytes(&w, MARK, 8);
	wr_be64(&w, h->id);
	wr_u8(&w, (uint8_t)h->kind);
	wr_zero(&w, 7);
	wr_be64(&w, h->number);
	wr_be64(&w, h->stamp_us);
	wr_be64(&w, h->rx_pkts);
	wr_be64(&w, h->rx_top);
}

bool bench_head_parse(const uint8_t *content, size_t len, struct bench_head *h)
{
	struct rd r = rd_init(content, len);
	const uint8_t *mark = rd_take(&r, 8);

	h->id = rd_be64(&r);
	h->kind = (enum bench_kind)rd_u8(&r);
	(void)rd_take(&r, 7);
	h->number = rd_be64(&r);
	h->stamp_us = rd_be64(&r);
	h->rx_pkts = rd_be64(&r);
	h->rx_top = rd_be64(&r);
	return !r.bad && !memcmp(mark, MARK, 8) && h->id && h->kind >= BENCH_LOAD && h->kind <= BENCH_PONG;
}

void bench_pace_init(struct bench_pace *p, uint64_t max, uint64_t now_us)
{
	*p = (struct bench_pace){ .max = max && max < DP_BENCH_RATE_MAX ? max : DP_BENCH_RATE_MAX,
				  .step = 1,
				  .due_ns = now_us * 1000,
				  .seen_us = now_us };
	p->rate = p->max < BENCH_RATE_FIRST ? p->max : BENCH_RATE_FIRST;
}

static void set_rate(struct bench_pace *p, uint64_t rate, uint64_t next)
{
	p->asked_top = next - 1;
	if (rate < BENCH_RATE_LEAST)
		rate = BENCH_RATE_LEAST;
	p->rate = rate < p->max ? rate : p->max;
}

void bench_pace_heard(struct bench_pace *p, uint64_t rx, uint64_t top, uint64_t next, size_t bytes,
		      uint64_t now_us)
{
	uint64_t pkts, got, lost, took = now_us - p->seen_us, arrives;
	bool fresh;

	if (top < p->seen_top || rx < p->seen_rx || top >= next)
		return; /* overtaken by a later one, or a lie */
	pkts = top - p->seen_top;
	got = rx - p->seen_rx < pkts ? rx - p->seen_rx : pkts;
	if (took < ROUND_US || (took < LONG_ROUND_US && pkts < ROUND_PKTS))
		return;
	fresh = p->seen_top >= p->asked_top;
	p->seen_rx = rx;
	p->seen_top = top;
	p->seen_us = now_us;
	if (!pkts || !fresh)
		return;
	lost = pkts - got;
	arrives = got * bytes * 8000000 / took;
	if (lost > 1 && lost * LOSS_OF > pkts) { /* one alone is chance */
		p->step = STEP_LAST;
		set_rate(p, arrives * 9 / 10, next);
	} else if (arrives < p->rate - p->rate * 3 / 16) {
		/* It waits somewhere, or we cannot send as fast: more would only make the queue longer. */
		if (p->step > 1)
			return;
		p->step = STEP_NEXT;
		set_rate(p, arrives, next);
	} else {
		set_rate(p, p->rate + p->rate / p->step, next);
	}
}

unsigned bench_pace_take(struct bench_pace *p, unsigned n, size_t bytes, uint64_t now_us, uint64_t *until_us)
{
	uint64_t now_ns = now_us * 1000, each = bytes * 8000000000ull / p->rate, may;

	if (p->due_ns + BEHIND_US * 1000 < now_ns)
		p->due_ns = now_ns - BEHIND_US * 1000;
	if (p->due_ns > now_ns) {
		*until_us = p->due_ns / 1000 + 1;
		if (*until_us < now_us + NAP_US)
			*until_us = now_us + NAP_US;
		return 0;
	}
	may = each ? (now_ns - p->due_ns) / each + 1 : n;
	if (may < n)
		n = (unsigned)may;
	p->due_ns += n * each;
	return n;
}
