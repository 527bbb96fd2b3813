/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "measure.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wire.h"

#define VERSION 1
#define SAY_MAX 112

enum word { ASK = 1, YES, NO, STOP, REPORT, DONE };
enum refusal { NO_CONSENT = 1, NO_BUSY, NO_CANNOT, NO_LONGER };

/* version 1 | word 1 | id 8 | what the word has */
static struct wr begin_word(uint8_t out[static SAY_MAX], enum word word, uint64_t id)
{
	struct wr w = wr_init(out, SAY_MAX);

	wr_u8(&w, VERSION);
	wr_u8(&w, (uint8_t)word);
	wr_be64(&w, id);
	return w;
}

static bool say(struct measure *m, uint32_t peer, const uint8_t *raw, const struct wr *w)
{
	size_t len;

	return !wr_finish(w, &len) && m->ops->tell(m->arg, peer, raw, len);
}

static bool say_word(struct measure *m, uint32_t peer, enum word word, uint64_t id)
{
	uint8_t raw[SAY_MAX];
	struct wr w = begin_word(raw, word, id);

	return say(m, peer, raw, &w);
}

static void refuse(struct measure *m, uint32_t peer, uint64_t id, enum refusal why)
{
	uint8_t raw[SAY_MAX];
	struct wr w = begin_word(raw, NO, id);

	wr_u8(&w, (uint8_t)why);
	(void)say(m, peer, raw, &w);
}

static bool say_ask(struct measure *m)
{
	uint8_t raw[SAY_MAX];
	struct wr w = begin_word(raw, ASK, m->id);

	wr_u8(&w, (uint8_t)m->phase);
	wr_be32(&w, m->phase == MEASURE_IDLE ? MEASURE_IDLE_MS : m->ms);
	wr_be64(&w, m->rate);
	return say(m, m->peer, raw, &w);
}

static bool say_report(struct measure *m, const struct measure_figures *f)
{
	const uint64_t v[] = { f->rx_pkts,  f->rx_bytes, f->rx_lost, f->rx_us,	   f->tx_pkts,
			       f->tx_bytes, f->wall_us,	 f->cpu_us,  f->crypto_us, f->send_us, f->read_us };
	uint8_t raw[SAY_MAX];
	struct wr w = begin_word(raw, REPORT, m->id);

	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++)
		wr_be64(&w, v[i]);
	return say(m, m->peer, raw, &w);
}

static bool read_report(struct rd *r, struct measure_figures *f)
{
	uint64_t *const v[] = { &f->rx_pkts,  &f->rx_bytes, &f->rx_lost, &f->rx_us,	&f->tx_pkts,
				&f->tx_bytes, &f->wall_us,  &f->cpu_us,	 &f->crypto_us, &f->send_us };

	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++)
		*v[i] = rd_be64(r);
	f->read_us = rd_left(r) ? rd_be64(r) : 0; /* an older one does not time it */
	return !r->bad;
}

void measure_init(struct measure *m, const struct measure_ops *ops, void *arg)
{
	memset(m, 0, sizeof(*m));
	m->ops = ops;
	m->arg = arg;
}

/* ---- the asker ---- */

static void nobody(struct measure *m)
{
	m->ops->end(m->arg);
	m->role = MEASURE_NOBODY;
}

/* @why: NULL when all phases are done. */
static void finish(struct measure *m, const char *why)
{
	if (m->role == MEASURE_ASKER)
		(void)say_word(m, m->peer, DONE, m->id);
	nobody(m);
	m->ops->over(m->arg, &m->r, why);
}

static int begin(struct measure *m, bool load)
{
	const struct measure_load l = { m->peer, m->id, load ? m->ms : 0, m->rate };

	m->ops->end(m->arg);
	return m->ops->begin(m->arg, &l);
}

/* What the other side sends may come with its answer, or before: so we are ready for it. */
static int ask(struct measure *m, uint64_t now_ms)
{
	int rc = begin(m, false);

	if (!rc && !say_ask(m))
		rc = -ENOTCONN;
	m->step = MEASURE_ASKING;
	m->until_ms = now_ms + MEASURE_ANSWER_MS;
	m->due_ms = now_ms + MEASURE_PING_MS;
	return rc;
}

int measure_start(struct measure *m, uint32_t peer, uint64_t id, uint32_t ms, uint64_t rate, uint64_t now_ms)
{
	int rc;

	if (m->role != MEASURE_NOBODY)
		return -EBUSY;
	memset(&m->r, 0, sizeof(m->r));
	m->peer = peer;
	m->id = id;
	m->ms = ms < MEASURE_MS_MAX ? ms : MEASURE_MS_MAX;
	m->rate = rate;
	m->phase = MEASURE_IDLE;
	rc = ask(m, now_ms);
	if (rc)
		m->ops->end(m->arg);
	else
		m->role = MEASURE_ASKER;
	return rc;
}

static void on_yes(struct measure *m, uint64_t now_ms)
{
	if (m->step != MEASURE_ASKING)
		return;
	if (m->phase == MEASURE_OUT && begin(m, true)) {
		finish(m, "the tunnel to it has gone down");
		return;
	}
	m->step = MEASURE_RUNNING;
	m->began_ms = m->told_ms = now_ms;
	m->until_ms = now_ms + (m->phase == MEASURE_IDLE ? MEASURE_IDLE_MS : m->ms) + MEASURE_DRAIN_MS;
	m->due_ms = now_ms;
	m->ops->progress(m->arg, m->phase, 0, 0);
}

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void sum_up(struct measure *m)
{
	struct measure_rtt *s = &m->r.rtt[m->phase];
	unsigned n = m->ops->rtts(m->arg, m->rtt_us, MEASURE_RTTS);

	m->ops->read(m->arg, &m->r.own[m->phase]);
	s->count = n;
	if (!n)
		return;
	qsort(m->rtt_us, n, sizeof(m->rtt_us[0]), by_size);
	s->least_us = m->rtt_us[0];
	s->median_us = m->rtt_us[n / 2];
	s->p99_us = m->rtt_us[(n - 1) * 99 / 100];
	s->most_us = m->rtt_us[n - 1];
}

static void on_report(struct measure *m, struct rd *r, uint64_t now_ms)
{
	if (m->step != MEASURE_WAITING || !read_report(r, &m->r.far[m->phase]))
		return;
	m->phase++;
	if (m->phase == MEASURE_PHASES)
		finish(m, NULL);
	else if (ask(m, now_ms))
		finish(m, "the tunnel to it has gone down");
}

static const char *refusal_text(enum refusal why)
{
	switch (why) {
	case NO_CONSENT:
		return "its configuration does not allow it; its operator would have to write `bench = allow` "
		       "into the section that stands for us there, and `postern reload`";
	case NO_BUSY:
		return "another measurement is on there; try again when it is over";
	case NO_LONGER:
		return "its configuration does not allow it any more";
	default:
		return "it cannot: it has no tunnel with us";
	}
}

static void asker_tick(struct measure *m, uint64_t now_ms)
{
	struct measure_figures f;

	m->due_ms = now_ms + MEASURE_PING_MS;
	if (!m->ops->wanted(m->arg)) {
		finish(m, "nobody waits for it any more");
		return;
	}
	if (m->step != MEASURE_RUNNING) {
		if (now_ms >= m->until_ms)
			finish(m, m->phase == MEASURE_IDLE && m->step == MEASURE_ASKING
				      ? "it gives no answer: its Postern is older than this, or just not reached"
				      : "it gives no answer any more");
		return;
	}
	m->ops->read(m->arg, &f);
	if (now_ms - m->began_ms >= MEASURE_QUIET_MS && now_ms >= f.heard_ms + MEASURE_QUIET_MS) {
		finish(m, "it gives no answer any more");
		return;
	}
	if (now_ms >= m->until_ms) {
		sum_up(m);
		m->step = MEASURE_WAITING;
		m->until_ms = now_ms + MEASURE_ANSWER_MS;
		if (!say_word(m, m->peer, STOP, m->id))
			finish(m, "the tunnel to it has gone down");
		return;
	}
	if (now_ms + MEASURE_DRAIN_MS / 2 < m->until_ms) {
		m->ops->ping(m->arg);
		m->r.rtt[m->phase].sent++;
	}
	if (now_ms - m->told_ms >= MEASURE_TELL_MS) {
		m->told_ms = now_ms;
		m->ops->progress(m->arg, m->phase, (uint32_t)(now_ms - m->began_ms),
				 m->phase == MEASURE_OUT ? f.tx_bytes : f.rx_bytes);
	}
}

/* ---- the asked ---- */

static void on_ask(struct measure *m, uint32_t peer, uint64_t id, struct rd *r, uint64_t now_ms)
{
	struct measure_load l = { .peer = peer, .id = id };
	enum measure_phase phase = (enum measure_phase)rd_u8(r);
	uint32_t ms = rd_be32(r);

	l.rate = rd_be64(r);
	if (r->bad || !id || phase >= MEASURE_PHASES)
		return;
	if (!m->ops->consents(m->arg, peer)) {
		refuse(m, peer, id, NO_CONSENT);
		return;
	}
	/* The peer itself may begin anew: it was started again, and does not know of the one before. */
	if (m->role == MEASURE_ASKER || (m->role == MEASURE_ASKED && m->peer != peer)) {
		refuse(m, peer, id, NO_BUSY);
		return;
	}
	if (ms > MEASURE_MS_MAX)
		ms = MEASURE_MS_MAX;
	l.load_ms = phase == MEASURE_IN ? ms : 0;
	m->ops->end(m->arg);
	m->role = MEASURE_NOBODY;
	if (m->ops->begin(m->arg, &l)) {
		refuse(m, peer, id, NO_CANNOT);
		return;
	}
	m->role = MEASURE_ASKED;
	m->peer = peer;
	m->id = id;
	m->step = MEASURE_RUNNING;
	m->due_ms = now_ms + ms + MEASURE_SPARE_MS;
	(void)say_word(m, peer, YES, id);
}

static void on_stop(struct measure *m, uint64_t now_ms)
{
	struct measure_figures f;

	if (m->step != MEASURE_RUNNING)
		return;
	m->ops->read(m->arg, &f);
	m->ops->end(m->arg);
	m->step = MEASURE_WAITING;
	m->due_ms = now_ms + MEASURE_SPARE_MS;
	(void)say_report(m, &f);
}

/* ---- both ---- */

void measure_heard(struct measure *m, uint32_t peer, const uint8_t *bytes, size_t len, uint64_t now_ms)
{
	struct rd r = rd_init(bytes, len);
	uint8_t version = rd_u8(&r);
	enum word word = (enum word)rd_u8(&r);
	uint64_t id = rd_be64(&r);

	if (r.bad || version != VERSION)
		return;
	if (word == ASK) {
		on_ask(m, peer, id, &r, now_ms);
		return;
	}
	if (m->role == MEASURE_NOBODY || m->peer != peer || m->id != id)
		return;
	if (m->role == MEASURE_ASKED) {
		if (word == STOP)
			on_stop(m, now_ms);
		else if (word == DONE)
			nobody(m);
		return;
	}
	if (word == YES)
		on_yes(m, now_ms);
	else if (word == NO)
		finish(m, refusal_text((enum refusal)rd_u8(&r)));
	else if (word == REPORT)
		on_report(m, &r, now_ms);
}

void measure_reload(struct measure *m)
{
	if (m->role != MEASURE_ASKED || m->ops->consents(m->arg, m->peer))
		return;
	nobody(m);
	refuse(m, m->peer, m->id, NO_LONGER);
}

void measure_forget(struct measure *m, uint32_t peer)
{
	if (m->role == MEASURE_NOBODY || m->peer != peer)
		return;
	if (m->role == MEASURE_ASKER)
		finish(m, "it is no peer any more");
	else
		nobody(m);
}

void measure_tick(struct measure *m, uint64_t now_ms)
{
	if (m->role == MEASURE_ASKER)
		asker_tick(m, now_ms);
	else if (m->role == MEASURE_ASKED && now_ms >= m->due_ms)
		nobody(m);
}
