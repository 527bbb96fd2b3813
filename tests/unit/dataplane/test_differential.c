/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: every random mix of packets through split, seal, open and merge; what comes out, cut again as the kernel cuts
 * what is written to a TUN, is what went in, byte by byte, and each flow keeps its order.
 *
 *	units of some flows --split--> pieces --seal--> a network that loses, repeats, swaps, spoils, marks
 *	      |                                                      |
 *	  undo.h cuts them                            replay, open, merge, and undo.h cuts them
 *	      |                                                      |
 *	      +--> queue of each flow: must be equal to <------------+
 *
 *	test_dataplane_differential			the seeds 1 to 3000
 *	test_dataplane_differential FIRST LAST
 *	test_dataplane_differential SEED		says what it does
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>

#include "buf.h"
#include "esp.h"
#include "mix.h"
#include "replay.h"
#include "undo.h"

#define BATCH_MAX 64 /* packets of one UDP_GRO receive */

struct sink {
	struct run *r;
	struct tunw w[MERGE_FLOWS + 1];
	bool busy[MERGE_FLOWS + 1];
	uint8_t flat[VNET_LEN + 65536];
};

static unsigned long merged[2][2]; /* [IPv6][UDP] packets that left joined, of all seeds */

/* ---- out ---- */

/* What has to come out; it is @u's packet or one piece of it. */
static void wanted(void *arg, const uint8_t *p, size_t len, bool cut)
{
	struct run *r = arg;
	struct wire *w = &r->wire[r->wires++];

	(void)cut;
	if (r->wires > WIRES_MAX)
		mix_fail(r, "too many packets");
	w->want = mix_keep(r, p, len);
	w->want_len = len;
}

static void send_unit(struct run *r, struct esp_key *k, struct unit *u)
{
	struct wire *w = &r->wire[r->wires];
	struct piece piece;
	struct split s;
	bool clamped;

	if (u->v.gso_type)
		ref_segment(u->want, u->len, u->l4, u->head, u->v.gso_size,
			    u->flow->proto == PKT_TCP, wanted, r);
	else
		wanted(r, u->want, u->len, false);
	if (split_parse(&s, u->p, u->len) != DP_OUT_PKT ||
	    split_init(&s, u->has_v ? &u->v : NULL, MIX_MTU, &clamped) != DP_OUT_PKT)
		mix_fail(r, "split refuses what the kernel gives");
	for (; split_next(&s, &piece); w++) {
		uint8_t save[ESP_TRAILER_MAX + MIX_TFC], *behind = piece.data + piece.len;
		size_t tfc = s.count == 1 ? u->tfc : 0;

		if (w == &r->wire[r->wires] || piece.len != w->want_len ||
		    memcmp(piece.data, w->want, piece.len))
			mix_fail(r, "a piece is not what the kernel would have cut");
		w->flow = u->flow;
		w->no_mark = u->bad_ip;
		w->seq = r->seq++;
		w->len = esp_len(&k->shape, piece.len + tfc);
		w->pkt = mix_keep(r, NULL, w->len);
		memcpy(save, behind, sizeof(save));
		memset(behind, 0xcc, tfc);
		if (esp_seal(k, w->seq, s.k.ver == 4 ? ESP_NH_IPV4 : ESP_NH_IPV6, piece.data,
			     piece.len + tfc, w->pkt))
			mix_fail(r, "seal");
		memcpy(behind, save, sizeof(save));
	}
	if (w != &r->wire[r->wires])
		mix_fail(r, "split gives too few pieces");
}

/* ---- in ---- */

static void arrived(void *arg, const uint8_t *p, size_t len, bool joined)
{
	struct run *r = arg;

	for (unsigned i = 0; i < r->flows; i++) {
		struct flow *f = &r->flow[i];
		struct wire *w = f->head;

		if (!w || w->want_len != len || !undo_same(w->want, p, len, joined))
			continue;
		f->head = w->next;
		if (!f->head)
			f->tail = &f->head;
		merged[f->ver == 6][f->proto == PKT_UDP] += joined;
		return;
	}
	for (unsigned i = 0; i < r->flows; i++) {
		const struct wire *w = r->flow[i].head;
		size_t at = 0;

		while (w && at < len && at < w->want_len && p[at] == w->want[at])
			at++;
		if (w)
			mix_say(r,
				"flow %u is due number %llx, %zu bytes; this one has %zu and "
				"differs at %zu\n",
				i, (unsigned long long)w->seq, w->want_len, len, at);
	}
	mix_fail(r, joined ? "a packet of a joined write is none that is due"
			   : "a packet is none that is due");
}

static struct tunw *get(void *arg)
{
	struct sink *s = arg;

	for (int i = 0; i <= MERGE_FLOWS; i++) {
		if (!s->busy[i]) {
			s->busy[i] = true;
			return &s->w[i];
		}
	}
	mix_fail(s->r, "more writes than flows");
	return NULL;
}

static void ready(void *arg, struct tunw *w)
{
	struct sink *s = arg;
	const char *wrong;
	size_t at = 0;

	for (unsigned i = 0; i < w->iovs; i++) {
		if (at + w->iov[i].iov_len > sizeof(s->flat))
			mix_fail(s->r, "a write of more than 65535 bytes");
		memcpy(s->flat + at, w->iov[i].iov_base, w->iov[i].iov_len);
		at += w->iov[i].iov_len;
	}
	mix_say(s->r, "  write of %u packets, %zu bytes\n", w->pkts, at);
	wrong = undo_write(s->flat, at, s->r->vnet, arrived, s->r);
	if (wrong)
		mix_fail(s->r, wrong);
	for (unsigned i = 0; i < w->bufs; i++)
		w->buf[i]->refs--;
	s->busy[w - s->w] = false;
}

static void hold(struct buf *b)
{
	b->refs++;
}

/* RFC 6040: a router marks the outer header, and decapsulation the inner one. */
static void mark(struct run *r, const struct wire *w, uint8_t *p)
{
	if (w->no_mark || !pkt_ecn(p) || !one_in(r, 10))
		return;
	pkt_set_ecn(p, 3);
	if (p[0] >> 4 == 4) {
		w->want[1] |= 3;
		put16(w->want + 10, 0);
		put16(w->want + 10, naive_head(w->want));
	} else {
		w->want[1] |= 0x30;
	}
}

static void receive_one(struct run *r, struct esp_key *k, struct replay *win, struct merge *m,
			struct wire *w, uint8_t *pkt, struct buf *b)
{
	uint64_t seq = replay_infer(win, get32(pkt + 4));
	bool fresh = replay_check(win, seq) == REPLAY_NEW;
	struct esp_inner in;
	struct pkt p;

	if (!w->spoilt && fresh == w->arrived)
		mix_fail(r, fresh ? "a copy is new" : "a new number is old");
	if (!fresh)
		return;
	if (esp_open(k, seq, pkt, w->len, &in) != DP_IN_PKT) {
		if (!w->spoilt)
			mix_fail(r, "open");
		return;
	}
	if (w->spoilt)
		mix_fail(r, "a spoilt packet is opened");
	(void)replay_commit(win, seq);
	w->arrived = true;
	if (pkt_parse(in.data, in.len, &p) || p.total != w->want_len)
		mix_fail(r, "parse");
	mark(r, w, in.data);
	mix_due(w);
	merge_add(m, in.data, &p, b);
}

static void receive_all(struct run *r, struct esp_key *k, struct replay *win)
{
	static const struct merge_ops ops = { get, ready, hold };
	static struct sink s;
	struct merge m = { .ops = &ops, .arg = &s, .vnet = r->vnet, .tcp = r->tcp, .udp = r->udp };
	struct buf buf[64] = { 0 };
	unsigned bufs = 0;

	memset(s.busy, 0, sizeof(s.busy));
	s.r = r;
	for (unsigned i = 0; i < r->arrivals; bufs++) {
		unsigned n = 1 + below(r, BATCH_MAX);
		uint8_t *mem;
		size_t at = 0;

		for (unsigned j = i; j < r->arrivals && j < i + n; j++)
			at += r->arrival[j]->len;
		mem = mix_keep(r, NULL, at);
		for (at = 0; n && i < r->arrivals; n--, i++) {
			struct wire *w = r->arrival[i];

			memcpy(mem + at, w->pkt, w->len);
			receive_one(r, k, win, &m, w, mem + at, &buf[bufs % 64]);
			at += w->len;
		}
		if (one_in(r, 2) || bufs % 64 == 63)
			merge_flush(&m);
	}
	merge_flush(&m);
	for (unsigned i = 0; i < 64; i++) {
		if (buf[i].refs)
			mix_fail(r, "a buffer is not given back");
	}
	for (unsigned i = 0; i < r->flows; i++) {
		if (r->flow[i].head)
			mix_fail(r, "a packet has not come out");
	}
}

/* ---- seeds ---- */

static void keys(struct run *r, struct esp_key *seal, struct esp_key *open, struct replay **win)
{
	enum dp_cipher c = (enum dp_cipher)below(r, DP_CIPHER_COUNT);
	static const uint64_t starts[] = { 1, 1u << 20, 0xffffff80, 1ull << 40 };
	uint32_t windows[] = { 64, 256, 4096, REPLAY_WINDOW_MAX };
	uint8_t key[DP_CIPHER_KEY_LEN_MAX];
	bool esn = one_in(r, 2);

	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)below(r, 256);
	r->seq = starts[below(r, esn ? 4 : 2)];
	if (esp_key_init(seal, c, key, 0x01020304, esn, true) ||
	    esp_key_init(open, c, key, 0x01020304, esn, false))
		mix_fail(r, "keys");
	*win = replay_new(windows[below(r, 4)], esn);
	if (r->seq > 1)
		(void)replay_commit(*win, r->seq - 1);
	mix_say(r, "cipher %d, ESN %d, from number %llx\n", c, esn, (unsigned long long)r->seq);
}

static void one_seed(struct run *r, uint64_t seed, bool verbose)
{
	struct esp_key seal, open;
	struct replay *win;

	mix_begin(r, seed, verbose);
	/* Where there are two libraries, one may seal for the other. */
	(void)aead_choose(one_in(r, 2) ? DP_CRYPTO_IPSEC_MB : DP_CRYPTO_OPENSSL);
	keys(r, &seal, &open, &win);
	for (unsigned n = 20 + below(r, 60); n; n--) {
		struct unit u;

		mix_unit(r, &u);
		if (r->wires + 80 > WIRES_MAX)
			break;
		send_unit(r, &seal, &u);
	}
	mix_network(r);
	receive_all(r, &open, win);
	esp_key_clear(&seal);
	esp_key_clear(&open);
	replay_free(win);
}

static uint64_t first = 1, last = 3000;

static void what_comes_out_is_what_went_in(void **state)
{
	struct run *r = mix_new();

	(void)state;
	for (uint64_t seed = first; seed <= last; seed++)
		one_seed(r, seed, first == last);
	mix_free(r);
	if (last - first < 100)
		return;
	/* It was about something. */
	for (int i = 0; i < 4; i++)
		assert_true(merged[i / 2][i % 2] > last - first);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(what_comes_out_is_what_went_in) };

	if (argc > 1)
		first = last = strtoull(argv[1], NULL, 10);
	if (argc > 2)
		last = strtoull(argv[2], NULL, 10);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
