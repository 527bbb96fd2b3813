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
#define LOSS_OF	      32    /* one of so many lost is too much */
#define WAIT_LITTLE_US 5000 /* on the way, beyond the least there ever was: it is free */
#define WAIT_LONG_US   15000
#define STEP	       32 /* a small step is one part of so many */
#define STEP_WIDER     4
#define GOOD_STEPS     4 /* small ones in a row: the line has more than it had */

void bench_head_build(const struct bench_head *h, uint8_t out[static BENCH_HEAD])
{
	struct wr w = wr_init(out, BENCH_HEAD);

	wr_bytes(&w, MARK, 8);
	wr_be64(&w, h->id);
	wr_u8(&w, (uint8_t)h->kind);
	wr_u8(&w, h->flags);
	wr_zero(&w, 2);
	wr_be32(&w, h->waited_us);
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
	h->flags = rd_u8(&r);
	(void)rd_take(&r, 2);
	h->waited_us = rd_be32(&r);
	h->number = rd_be64(&r);
	h->stamp_us = rd_be64(&r);
	h->rx_pkts = rd_be64(&r);
	h->rx_top = rd_be64(&r);
	return !r.bad && !memcmp(mark, MARK, 8) && h->id && h->kind >= BENCH_LOAD && h->kind <= BENCH_PONG;
}

void bench_pace_init(struct bench_pace *p, uint64_t max, uint64_t load_us, uint64_t now_us)
{
	*p = (struct bench_pace){ .max = max && max < DP_BENCH_RATE_MAX ? max : DP_BENCH_RATE_MAX,
				  .due_ns = now_us * 1000,
				  .seen_us = now_us,
				  .until_us = now_us + load_us * 11 / 16 };
	p->rate = p->max < BENCH_RATE_FIRST ? p->max : BENCH_RATE_FIRST;
}

static void set_rate(struct bench_pace *p, uint64_t rate, uint64_t next)
{
	p->asked_top = next - 1;
	if (rate < BENCH_RATE_LEAST)
		rate = BENCH_RATE_LEAST;
	p->rate = rate < p->max ? rate : p->max;
}

/* On a slow line a few packets take longer than on a fast one a queue. */
static uint64_t at_least(uint64_t us, unsigned pkts, const struct bench_pace *p, size_t bytes)
{
	uint64_t take = pkts * bytes * 8000000 / p->rate;

	return take > us ? take : us;
}

static void seek(struct bench_pace *p, uint64_t arrives, bool waits, bool lossy, uint64_t next)
{
	bool less = arrives < p->rate - p->rate / 8;

	p->line = arrives > p->line ? arrives : p->line;
	if (less && !waits && !lossy && !p->doubt) {
		p->doubt = true; /* we may have been disturbed in sending: that again */
		return;
	}
	p->doubt = false;
	if (p->rate == p->max && !lossy && !less) {
		p->phase = BENCH_CRUISE;
	} else if (lossy || less) {
		p->phase = BENCH_DRAIN;
		set_rate(p, arrives / 2, next);
	} else {
		set_rate(p, p->rate * 2, next);
	}
}

static void cruise(struct bench_pace *p, uint64_t arrives, uint64_t waited, bool lossy, uint64_t next, size_t bytes)
{
	uint64_t below = p->line - p->line / STEP;

	if (lossy || waited > at_least(WAIT_LONG_US, 12, p, bytes)) {
		p->good = 0;
		/* No further down at once: one round that was disturbed is no smaller line. */
		p->line = arrives > p->line - p->line / 8 ? arrives : p->line - p->line / 8;
		set_rate(p, p->line - p->line / 8, next);
	} else if (waited > at_least(WAIT_LITTLE_US, 4, p, bytes)) {
		p->good = 0;
		if (p->rate > below)
			set_rate(p, below, next);
	} else if (arrives < p->rate - p->rate / 8) { /* we do not send as fast, or were disturbed */
		p->good = 0;
		set_rate(p, (p->rate + arrives) / 2, next);
	} else if (p->rate < below) {
		set_rate(p, below, next);
	} else {
		p->good++;
		set_rate(p, p->rate + p->rate / (p->good > GOOD_STEPS ? STEP_WIDER : STEP), next);
		if (arrives > p->line)
			p->line = arrives;
	}
}

void bench_pace_heard(struct bench_pace *p, const struct bench_word *word, uint64_t next, size_t bytes,
		      uint64_t now_us)
{
	uint64_t pkts, got, lost, took = now_us - p->seen_us, far_took = word->far_us - p->seen_far_us, arrives;
	bool fresh, lossy;

	if (word->top < p->seen_top || word->rx < p->seen_rx || word->top >= next)
		return; /* overtaken by a later one, or a lie */
	pkts = word->top - p->seen_top;
	got = word->rx - p->seen_rx < pkts ? word->rx - p->seen_rx : pkts;
	if (took < ROUND_US || (took < LONG_ROUND_US && pkts < ROUND_PKTS))
		return;
	if (p->seen_far_us && word->far_us > p->seen_far_us && far_took > took / 2 && far_took < took * 2)
		took = far_took; /* its clock does not see how long the word was under way */
	fresh = p->seen_top && p->seen_top >= p->asked_top; /* the first were under way for part of the time */
	p->seen_rx = word->rx;
	p->seen_top = word->top;
	p->seen_us = now_us;
	p->seen_far_us = word->far_us;
	if (!pkts)
		return;
	lost = pkts - got;
	lossy = lost > 1 && lost * LOSS_OF > pkts; /* one alone is chance */
	arrives = got * bytes * 8000000 / took;
	if (p->phase == BENCH_DRAIN) {
		/* What waited was sent before: of that it is asked, not of what was sent since. */
		if (word->waited_us > at_least(WAIT_LITTLE_US, 4, p, bytes) && now_us < p->until_us)
			return;
		p->phase = BENCH_CRUISE;
		set_rate(p, p->line - p->line / STEP, next);
	} else if (fresh && p->phase == BENCH_SEEK) {
		seek(p, arrives, word->waited_us > at_least(WAIT_LITTLE_US, 4, p, bytes), lossy, next);
	} else if (fresh) {
		cruise(p, arrives, word->waited_us, lossy, next, bytes);
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
