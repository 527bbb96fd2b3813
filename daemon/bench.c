/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * postern bench: the rules are measure.h's, the load is the data plane's. Who asked is answered when the peer has
 * agreed, then told how it goes by events of his own connection, and the end of it is the last one; when he goes the
 * measurement ends.
 */
#include <errno.h>
#include <string.h>

#include "child_int.h"
#include "secret.h"

#define FIGURE_MAX ((json_int_t)1 << 53) /* what every reader of JSON takes, and so does a sum of two */

/* ---- what the rules ask for ---- */

static bool o_consents(void *arg, uint32_t peer)
{
	const struct peer *p = child_peer(arg, peer);

	return p && p->cfg->bench_allowed;
}

static bool o_tell(void *arg, uint32_t peer, const uint8_t *bytes, size_t len)
{
	struct child *c = arg;
	const struct peer *p = child_peer(c, peer);

	return p && p->sup.ike &&
	       !engine_private(c->engine, child_now(c), p->sup.ike, POSTERN_BENCH, bytes, len, &c->fx);
}

static int o_begin(void *arg, const struct measure_load *l)
{
	const struct dp_bench b = { .peer = l->peer, .id = l->id, .load_ms = l->load_ms, .rate_bits_s = l->rate };
	struct child *c = arg;
	const struct peer *p = child_peer(c, l->peer);

	if (p && l->load_ms)
		log_info(&p->log, "measured: we load it for %u ms", l->load_ms);
	return dp_bench_begin(c->dp, &b);
}

static void o_end(void *arg)
{
	struct child *c = arg;

	dp_bench_end(c->dp);
}

static void o_ping(void *arg)
{
	struct child *c = arg;

	dp_bench_ping(c->dp);
}

static void o_read(void *arg, struct measure_figures *f)
{
	struct child *c = arg;
	struct dp_bench_counts n;

	dp_bench_read(c->dp, &n);
	*f = (struct measure_figures){ .rx_pkts = n.rx_pkts,
				       .rx_bytes = n.rx_bytes,
				       .rx_lost = n.rx_lost,
				       .rx_us = n.rx_us,
				       .tx_pkts = n.tx_pkts,
				       .tx_bytes = n.tx_bytes,
				       .wall_us = n.wall_us,
				       .cpu_us = n.cpu_us,
				       .crypto_us = n.crypto_us,
				       .send_us = n.send_us,
				       .read_us = n.read_us,
				       .heard_ms = n.heard_ms };
}

static unsigned o_rtts(void *arg, uint32_t *us, unsigned n)
{
	struct child *c = arg;

	return dp_bench_rtts(c->dp, us, n);
}

static bool o_wanted(void *arg)
{
	struct child *c = arg;

	return control_here(c->control, c->bench_for);
}

static void o_progress(void *arg, enum measure_phase phase, uint32_t ms, uint64_t bytes)
{
	static const char *const words[] = { "idle", "out", "in" };
	struct child *c = arg;

	if (!c->bench_answered)
		control_reply(c->control, c->bench_for, NULL);
	c->bench_answered = true;
	control_event_to(c->control, c->bench_for,
			 json_pack("{s:s, s:s, s:I, s:I}", "event", "bench", "phase", words[phase], "ms",
				   (json_int_t)ms, "bytes", (json_int_t)bytes));
}

/* ---- the end of it ---- */

static json_t *ms_json(uint32_t us)
{
	return json_real((double)us / 1000);
}

static json_t *rtt_json(const struct measure_rtt *r)
{
	if (!r->count)
		return json_pack("{s:i, s:i}", "sent", r->sent, "answered", 0);
	return json_pack("{s:i, s:i, s:o, s:o, s:o, s:o}", "sent", r->sent, "answered", r->count, "least",
			 ms_json(r->least_us), "median", ms_json(r->median_us), "p99", ms_json(r->p99_us), "most",
			 ms_json(r->most_us));
}

/* Samples and clocks: their sum can be a little more than the whole. */
static json_t *work_json(const struct measure_figures *f)
{
	uint64_t crypto = f->crypto_us < f->cpu_us ? f->crypto_us : f->cpu_us, left = f->cpu_us - crypto,
		 send = f->send_us < left ? f->send_us : left, read = f->read_us < left - send ? f->read_us : left - send;
	double all = f->cpu_us ? (double)f->cpu_us : 1, wall = f->wall_us ? (double)f->wall_us : 1;

	return json_pack("{s:f, s:f, s:f, s:f, s:f}", "cores", (double)f->cpu_us / wall, "read", (double)read / all,
			 "crypto", (double)crypto / all, "send", (double)send / all, "rest",
			 (double)(left - send - read) / all);
}

/* Half of these are what the peer says, and numbers of packets are what it wrote on them. */
static json_int_t figure(uint64_t v)
{
	return v < FIGURE_MAX ? (json_int_t)v : FIGURE_MAX;
}

static json_t *way_json(const struct measure_result *r, enum measure_phase phase)
{
	const struct measure_figures *tx = phase == MEASURE_OUT ? &r->own[phase] : &r->far[phase],
				     *rx = phase == MEASURE_OUT ? &r->far[phase] : &r->own[phase];
	double packets = (double)rx->rx_pkts + (double)rx->rx_lost;

	return json_pack("{s:f, s:f, s:I, s:I, s:f, s:I, s:o, s:o, s:o}", "bits_s",
			 rx->rx_us ? (double)rx->rx_bytes * 8e6 / (double)rx->rx_us : 0.0, "seconds",
			 (double)rx->rx_us / 1e6, "packets", figure(rx->rx_pkts), "lost", figure(rx->rx_lost),
			 "loss", packets > 0 ? (double)rx->rx_lost / packets : 0.0, "packet_bytes",
			 figure(tx->tx_pkts ? tx->tx_bytes / tx->tx_pkts : 0), "rtt_ms", rtt_json(&r->rtt[phase]),
			 "sender", work_json(tx), "receiver", work_json(rx));
}

static void o_over(void *arg, const struct measure_result *r, const char *why)
{
	struct child *c = arg;
	struct peer *p = child_peer(c, c->measure.peer);
	const char *name = p ? p->cfg->name : "?";

	if (p)
		log_info(&p->log, "measurement %s%s", why ? "ended: " : "is over", why ? why : "");
	if (!why) {
		control_event_to(c->control, c->bench_for,
				 json_pack("{s:s, s:{s:s, s:o, s:o, s:o}}", "event", "bench-done", "result", "peer",
					   name, "idle_rtt_ms", rtt_json(&r->rtt[MEASURE_IDLE]), "out",
					   way_json(r, MEASURE_OUT), "in", way_json(r, MEASURE_IN)));
	} else if (c->bench_answered) {
		control_event_to(c->control, c->bench_for,
				 json_pack("{s:s, s:s, s:s}", "event", "bench-failed", "peer", name, "error", why));
	} else {
		control_fail(c->control, c->bench_for, "peer \"%s\": %s", name, why);
	}
}

static const struct measure_ops ops = { o_consents, o_tell, o_begin,  o_end,	  o_ping,
					o_read,	    o_rtts, o_wanted, o_progress, o_over };

/* ---- what happens ---- */

static void arm(struct child *c)
{
	struct timers *ts = loop_timers(c->loop);

	if (measure_due_ms(&c->measure) == UINT64_MAX)
		timer_clear(ts, &c->bench_timer);
	else
		(void)timer_set(ts, &c->bench_timer, measure_due_ms(&c->measure));
}

static void on_timer(struct timer *t, uint64_t now_ms)
{
	struct child *c = t->arg;

	measure_tick(&c->measure, now_ms);
	arm(c);
	effects_apply(c);
}

void bench_init(struct child *c)
{
	measure_init(&c->measure, &ops, c);
	c->bench_timer = (struct timer){ .fire = on_timer, .arg = c };
}

void bench_on_private(struct peer *p, const struct fx *fx)
{
	struct child *c = p->child;

	if (fx->private_notify.type != POSTERN_BENCH)
		return;
	measure_heard(&c->measure, p->id, fx->private_notify.bytes, fx->private_notify.len, child_now(c));
	arm(c);
}

void bench_reload(struct child *c)
{
	measure_reload(&c->measure);
	arm(c);
}

void bench_forget(struct peer *p)
{
	measure_forget(&p->child->measure, p->id);
	arm(p->child);
}

void bench_ask(struct child *c, struct control_ref ref, struct peer *p, const json_t *args)
{
	json_int_t ms = json_integer_value(json_object_get(args, "ms")),
		   rate = json_integer_value(json_object_get(args, "rate"));
	uint64_t id = 0;
	int rc;

	/* The name of a peer with several servers means the one that carries its traffic. */
	if (!p->cfg->of && servers_active(p))
		p = servers_active(p);
	if (ms < 1000 || ms > MEASURE_MS_MAX || rate < 0 || rate > (json_int_t)DP_BENCH_RATE_MAX) {
		control_fail(c->control, ref, "\"ms\" is 1000 to %d and \"rate\" 0 to %llu bit/s", MEASURE_MS_MAX,
			     DP_BENCH_RATE_MAX);
		return;
	}
	if (!p->sup.ike || !p->sup.child) {
		control_fail(c->control, ref, "peer \"%s\": the tunnel to it is not up", p->cfg->name);
		return;
	}
	if (!p->sup.postern) {
		control_fail(c->control, ref, "peer \"%s\" is no Postern: only two Posterns can measure what is between "
			     "them", p->cfg->name);
		return;
	}
	if (c->measure.role != MEASURE_NOBODY) {
		control_fail(c->control, ref, "another measurement is on here; try again when it is over");
		return;
	}
	rc = secret_random(&id, sizeof(id));
	c->bench_for = ref;
	c->bench_answered = false;
	if (!rc)
		rc = measure_start(&c->measure, p->id, id ? id : 1, (uint32_t)ms, (uint64_t)rate, child_now(c));
	arm(c);
	effects_apply(c);
	if (rc)
		control_fail(c->control, ref, "peer \"%s\": %s", p->cfg->name, strerror(-rc));
}
