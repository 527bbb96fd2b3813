/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What stands behind a valid ICV: trailer, inner headers, selectors, MSS, merging. */
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "esp.h"
#include "offload.h"
#include "probe.h"
#include "sad.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct tunw tunw;

static struct tunw *get(void *arg)
{
	(void)arg;
	return &tunw;
}

static void ready(void *arg, struct tunw *w)
{
	volatile uint8_t sum = 0; /* every byte is read, for the sanitizer */

	(void)arg;
	for (unsigned i = 0; i < w->iovs; i++) {
		const uint8_t *p = w->iov[i].iov_base;

		for (size_t k = 0; k < w->iov[i].iov_len; k++)
			sum ^= p[k];
	}
	(void)sum;
}

static void hold(struct buf *b)
{
	b->refs++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const struct merge_ops ops = { get, ready, hold };
	struct merge m = { .ops = &ops, .vnet = true, .tcp = true, .udp = true };
	uint8_t *copy = malloc(ESP_HEAD_LEN + len);
	struct buf b = { 0 };
	const uint8_t *token;
	struct esp_inner in;
	struct pkt k;

	if (!copy)
		abort();
	/* An empty input has no address to copy from. */
	if (len)
		memcpy(copy + ESP_HEAD_LEN, data, len);
	if (esp_unpad(copy + ESP_HEAD_LEN, len, &in) == DP_IN_PKT) {
		(void)probe_parse(in.data, in.len, &token);
		if (!pkt_parse(in.data, in.len, &k)) {
			(void)pkt_clamp_mss(in.data, &k, 1400, false);
			pkt_set_ecn(in.data, 3);
			/* The same twice: the second one meets the first one's flow. */
			merge_add(&m, in.data, &k, &b);
			merge_add(&m, in.data, &k, &b);
			merge_flush(&m);
		}
	}
	free(copy);
	return 0;
}
