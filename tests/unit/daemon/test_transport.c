/* SPDX-License-Identifier: GPL-3.0-or-later */
/* When UDP is blocked: which way is called when, and back. Time is faked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "sup_fake.h"
#include "transport.h"

static struct sup_ops with;
static struct sup_env mine;
static struct {
	int connects, disconnects, probes;
	struct endpoint to[32];
	bool tls[32];
	struct engine_path probe;
	bool tcp_open, udp_open;
	uint64_t first_ms;
} t;

static int t_connect(void *arg, uint32_t peer, const struct endpoint *to, bool tls)
{
	(void)arg, (void)peer;
	if (!t.connects)
		t.first_ms = now;
	if (t.connects < 32) {
		t.to[t.connects] = *to;
		t.tls[t.connects] = tls;
	}
	t.connects++;
	return 0;
}

static void t_disconnect(void *arg, uint32_t sock)
{
	(void)arg;
	assert_true(sock >= ENGINE_SOCK_STREAM);
	t.disconnects++;
}

static void t_probe(void *arg, uint32_t ike, const struct engine_path *via)
{
	(void)arg, (void)ike;
	t.probes++;
	t.probe = *via;
}

static void go(enum sup_tcp tcp)
{
	struct sup_config c = config(SUP_ALWAYS, "198.51.100.1");

	memset(&t, 0, sizeof(t));
	c.transport = (struct sup_transport_config){ .tcp = tcp,
						     .udp_count = 1,
						     .udp = { 443 },
						     .tcp_count = 2,
						     .tcp_port = { 4500, 443 },
						     .tls = 2 };
	with = *env.ops;
	with.connect = t_connect;
	with.disconnect = t_disconnect;
	with.probe = t_probe;
	mine = env;
	mine.ops = &with;
	sup_init(&s, &mine, &c, NULL, now);
}

static struct engine_path stream_path(uint32_t sock, uint16_t port)
{
	struct engine_path p = { .sock = sock, .local = { addr("192.168.1.2"), 50000 } };

	p.remote = (struct endpoint){ addr("198.51.100.1"), port };
	return p;
}

static void opens(uint32_t sock, uint16_t port, bool tls)
{
	struct engine_path p = stream_path(sock, port);

	sup_on_stream(&s, &p.remote, tls, 0, &p, now);
}

static void up_by(const struct engine_path *p, uint32_t ike)
{
	struct fx fx = { .kind = FX_PEER_UP };

	fx.up.peer = PEER;
	fx.up.ike = ike;
	fx.up.child = fx.up.postern = fx.up.nat_local = true;
	fx.up.path = *p;
	sup_on_fx(&s, &fx, now);
}

static void three_seconds_of_silence_bring_the_other_ports(void **state)
{
	uint64_t began = now;

	(void)state;
	go(SUP_TCP_AUTO);
	pass(TRANSPORT_AFTER_MS - 100);
	assert_int_equal(t.connects, 0);
	assert_string_equal(f.endpoints, "198.51.100.1:4500 ");
	pass(300);
	assert_in_range(t.first_ms - began, TRANSPORT_AFTER_MS, TRANSPORT_AFTER_MS + 100);
	assert_int_equal(t.connects, 2);
	assert_int_equal(t.to[0].port, 4500);
	assert_false(t.tls[0]);
	assert_int_equal(t.to[1].port, 443);
	assert_true(t.tls[1]);
	assert_string_equal(f.endpoints, "198.51.100.1:4500 198.51.100.1:443 "); /* UDP's other */
}

static void without_a_route_nothing_is_in_vain(void **state)
{
	(void)state;
	f.route_ok = false;
	go(SUP_TCP_NEVER);
	pass(60000);
	assert_int_equal(t.connects, 0);
}

static void an_answer_by_udp_is_no_silence(void **state)
{
	(void)state;
	f.answered = true;
	go(SUP_TCP_AUTO);
	pass(60000);
	assert_int_equal(t.connects, 0);
}

static void udp_has_a_head_start_before_an_open_stream(void **state)
{
	int before, again;

	(void)state;
	go(SUP_TCP_AUTO);
	pass(5200);
	before = f.initiated;
	again = f.retransmitted;
	opens(1000, 4500, false);
	assert_true(f.retransmitted > again);
	pass(TRANSPORT_HEADSTART_MS - 100);
	assert_int_equal(f.initiated, before);
	comes_up(1, "198.51.100.1"); /* it was all of the network that was away */
	pass(5000);
	assert_int_equal(f.initiated, before);
	assert_int_equal(t.disconnects, 1);
	assert_int_equal(s.tcp_ups, 0);
}

/* Two that authenticate at once are two IKE SAs of which each side may keep the other. */
static void one_stream_is_called_by_at_a_time(void **state)
{
	int before;

	(void)state;
	go(SUP_TCP_AUTO);
	pass(5200);
	before = f.initiated;
	opens(1001, 443, true);
	opens(1000, 4500, false);
	pass(TRANSPORT_HEADSTART_MS + 100);
	assert_int_equal(f.initiated, before + 1);
	assert_int_equal(f.last.sock, 1000);
	pass(TRANSPORT_ALONE_MS);
	assert_int_equal(f.initiated, before + 2);
	assert_int_equal(f.last.sock, 1001);
}

static void what_is_refused_is_tried_again(void **state)
{
	(void)state;
	go(SUP_TCP_AUTO);
	pass(5200);
	sup_on_stream(&s, &t.to[0], false, -ECONNREFUSED, NULL, now);
	sup_on_stream(&s, &t.to[1], true, -ECONNREFUSED, NULL, now);
	pass(TRANSPORT_RETRY_MS + 100);
	assert_int_equal(t.connects, 4);
	pass(3600 * 1000);
	assert_in_range(t.connects, 400, 1900); /* for ever, and no faster */
}

/* 4500 blocked for ten minutes in mid-flow, and then not. */
static void ike_case_099_4500_blocked_10_min_then_udp_again(void **state)
{
	struct engine_path tcp = stream_path(1000, 4500);
	uint64_t began, until;

	(void)state;
	go(SUP_TCP_AUTO);
	pass(100);
	comes_up(1, "198.51.100.1");
	pass(5000);
	f.act.tx_data_ms = now;
	began = now;
	for (until = now + 30000; now < until && !t.connects; pass(100))
		f.act.tx_data_ms = now;
	assert_true(t.connects);
	assert_true(now - began <= SUP_DATA_ASK_MS + TRANSPORT_ASKED_MS + SUP_SAMPLE_MS);
	opens(1000, 4500, false);
	pass(TRANSPORT_HOP_WAIT_MS - 200);
	assert_int_equal(f.last.sock, 0); /* UDP first, and the hop was: another source port may be all it needs */
	assert_true(f.hopped > 0);
	pass(300);
	assert_int_equal(f.last.sock, 1000);
	up_by(&tcp, 20);
	assert_true(sup_is_up(&s, now));
	assert_int_equal(f.moved.sock, 1000);
	assert_int_equal(s.tcp_ups, 1);
	t.probes = 0;
	for (until = now + 600000; now < until;) {
		struct fx fx = { .kind = FX_REPLY, .reply = { .ike = 20, .routable = true, .path = tcp } };

		pass(1000);
		sup_on_fx(&s, &fx, now); /* the stream answers all the time */
		assert_true(sup_is_up(&s, now));
	}
	assert_in_range(t.probes, 10, 21);
	assert_int_equal(s.where.path.sock, 1000);
	assert_int_equal(t.probe.remote.port == 4500 || t.probe.remote.port == 443, 1);
	/* The next one is answered. */
	t.probes = 0;
	f.dummies = 0;
	for (until = now + 62000; now < until && !t.probes;) {
		struct fx fx = { .kind = FX_REPLY, .reply = { .ike = 20, .routable = true, .path = tcp } };

		sup_on_fx(&s, &fx, now);
		pass(500);
	}
	assert_int_equal(t.probes, 1);
	reply_from(0, "198.51.100.1");
	assert_int_equal(s.where.path.sock, 0);
	assert_int_equal(f.moved.sock, 0);
	assert_true(f.dummies > 0); /* which is what the far side follows */
	assert_int_equal(s.udp_returns, 1);
	assert_true(sup_is_up(&s, now));
}

static void a_broken_stream_is_replaced_at_once(void **state)
{
	struct engine_path tcp = stream_path(1000, 4500);
	int before;

	(void)state;
	go(SUP_TCP_AUTO);
	pass(5200);
	opens(1000, 4500, false);
	pass(TRANSPORT_HEADSTART_MS + 100);
	up_by(&tcp, 20);
	pass(1000);
	before = t.connects;
	f.endpoints[0] = '\0';
	sup_on_stream_gone(&s, 1000, now);
	pass(300);
	assert_int_equal(t.connects, before + 2);
	assert_non_null(strstr(f.endpoints, "198.51.100.1:4500"));
}

/* What is out already is sent by UDP too: the stream may have died without a word. */
static void a_silent_stream_asks_by_udp_each_second(void **state)
{
	struct engine_path tcp = stream_path(1000, 4500);
	int before;

	(void)state;
	go(SUP_TCP_AUTO);
	pass(5200);
	opens(1000, 4500, false);
	pass(TRANSPORT_HEADSTART_MS + 100);
	up_by(&tcp, 20);
	pass(1000);
	before = f.hopped;
	sup_ask(&s, now);
	sup_on_path_change(&s, now);
	s.due_ms = now;
	pass(3100);
	assert_in_range(f.hopped - before, 3, 4);
	assert_int_equal(f.via.sock, 0);
	assert_int_equal(f.via.remote.port == 4500 || f.via.remote.port == 443, 1);
	reply_from(0, "198.51.100.1");
	assert_int_equal(s.where.path.sock, 0);
}

static void a_port_that_the_configuration_had_is_not_asked_any_more(void **state)
{
	struct engine_path tcp = stream_path(1000, 4500);
	struct sup_config c;

	(void)state;
	go(SUP_TCP_AUTO);
	pass(5200);
	opens(1000, 4500, false);
	pass(TRANSPORT_HEADSTART_MS + 100);
	up_by(&tcp, 20);
	for (int i = 0; !t.probes && i < 600; i++)
		pass(100);
	assert_int_equal(t.probe.remote.port, 4500);
	c = s.cfg; /* the turn of 443, which the next configuration does not have */
	c.transport.udp_count = 0;
	memset(c.transport.udp, 0, sizeof(c.transport.udp));
	sup_update(&s, &c, now);
	for (int i = 0; t.probes < 4 && i < 3000; i++) {
		pass(100);
		reply_from(1000, "198.51.100.1");
		assert_int_equal(t.probe.remote.port, 4500);
	}
	assert_int_equal(t.probes, 4);
}

static void a_stream_of_before_that_ends_is_nothing(void **state)
{
	struct engine_path tcp = stream_path(1000, 4500);
	int before;

	(void)state;
	go(SUP_TCP_AUTO);
	pass(5200);
	opens(1000, 4500, false);
	pass(TRANSPORT_HEADSTART_MS + 100);
	up_by(&tcp, 20);
	reply_from(0, "198.51.100.1");
	before = f.asked;
	sup_on_stream_gone(&s, 1000, now);
	assert_int_equal(f.asked, before);
	assert_true(sup_is_up(&s, now));
}

static void always_means_no_datagram(void **state)
{
	struct engine_path tcp = stream_path(1000, 4500);

	(void)state;
	go(SUP_TCP_ALWAYS);
	pass(200);
	assert_int_equal(t.connects, 2);
	assert_int_equal(f.initiated, 0);
	opens(1000, 4500, false);
	pass(10);
	assert_int_equal(f.initiated, 1);
	up_by(&tcp, f.next_ike);
	pass(300000);
	assert_int_equal(t.probes, 0);
}

/* Its IKE_SA_INIT was answered, the keys process takes its time: the stream is what the rest comes by. */
static void an_answer_by_a_stream_does_not_end_it(void **state)
{
	(void)state;
	go(SUP_TCP_ALWAYS);
	pass(200);
	opens(1000, 4500, false);
	pass(200);
	assert_int_equal(f.initiated, 1);
	f.answered = true;
	pass(6000);
	assert_int_equal(t.disconnects, 0);
}

/* Both answered in the same moment: what the far side makes of the IKE_AUTH by the stream comes by the stream. */
static void an_answered_call_by_a_stream_outlives_the_one_by_udp(void **state)
{
	struct engine_path tcp = stream_path(1000, 4500);
	uint32_t by_stream;

	(void)state;
	go(SUP_TCP_AUTO);
	pass(5200);
	opens(1000, 4500, false);
	opens(1001, 443, true);
	pass(TRANSPORT_HEADSTART_MS + 100);
	by_stream = f.next_ike;
	assert_int_equal(f.last.sock, 1000);
	f.answered = true;
	comes_up(1, "198.51.100.1");
	pass(500);
	assert_int_equal(t.disconnects, 1); /* the other, which nothing was said by */
	assert_true(sup_tries(&s, 1000));
	up_by(&tcp, by_stream);
	pass(500);
	assert_int_equal(s.ike, by_stream);
	assert_int_equal(t.disconnects, 1);
}

/* It was not answered by the stream, or what came of that is nothing: then the stream goes, and the call with it. */
static void a_call_by_a_stream_that_comes_to_nothing_ends_it(void **state)
{
	struct fx down = { .kind = FX_PEER_DOWN };
	int dropped;

	(void)state;
	go(SUP_TCP_AUTO);
	pass(5200);
	opens(1000, 4500, false);
	pass(TRANSPORT_HEADSTART_MS + 100);
	f.answered = true;
	comes_up(1, "198.51.100.1");
	pass(100);
	assert_int_equal(t.disconnects, 0);
	down.down.ike = f.next_ike;
	down.down.why = ENGINE_WHY_REPLACED;
	sup_on_fx(&s, &down, now);
	pass(100);
	assert_int_equal(t.disconnects, 1);

	sup_clear(&s);
	go(SUP_TCP_AUTO);
	f.answered = false;
	pass(5200);
	opens(1000, 4500, false);
	pass(TRANSPORT_HEADSTART_MS + 100);
	dropped = f.dropped;
	comes_up(1, "198.51.100.1");
	assert_int_equal(t.disconnects, 1);
	assert_true(f.dropped > dropped);
}

static void never_means_none(void **state)
{
	(void)state;
	go(SUP_TCP_NEVER);
	pass(600000);
	assert_int_equal(t.connects, 0);
	assert_non_null(strstr(f.endpoints, "198.51.100.1:443 ")); /* other UDP ports are no TCP */
}

/* The waiting side: a request by UDP proves one direction, data of the peer's is its decision. */
static void the_waiting_side_leaves_a_stream_for_data_not_for_a_request(void **state)
{
	struct engine_path tcp = stream_path(1000, 50000), udp = stream_path(0, 40000);
	struct fx fx = { .kind = FX_REQUEST_FROM };

	(void)state;
	start(SUP_WAIT, NULL);
	up_by(&tcp, 5);
	pass(2000);
	assert_int_equal(s.memory.endpoint.addr.family, 0); /* no place to call later */
	fx.reply.ike = 5;
	fx.reply.path = udp;
	sup_on_fx(&s, &fx, now);
	assert_int_equal(s.where.path.sock, 1000);
	sup_on_endpoint(&s, &udp, 100, true, now);
	assert_int_equal(s.where.path.sock, 0);
	assert_int_equal(f.moved.sock, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(three_seconds_of_silence_bring_the_other_ports),
		T(without_a_route_nothing_is_in_vain),
		T(an_answer_by_udp_is_no_silence),
		T(udp_has_a_head_start_before_an_open_stream),
		T(one_stream_is_called_by_at_a_time),
		T(what_is_refused_is_tried_again),
		T(ike_case_099_4500_blocked_10_min_then_udp_again),
		T(a_broken_stream_is_replaced_at_once),
		T(a_silent_stream_asks_by_udp_each_second),
		T(a_port_that_the_configuration_had_is_not_asked_any_more),
		T(a_stream_of_before_that_ends_is_nothing),
		T(always_means_no_datagram),
		T(an_answer_by_a_stream_does_not_end_it),
		T(an_answered_call_by_a_stream_outlives_the_one_by_udp),
		T(a_call_by_a_stream_that_comes_to_nothing_ends_it),
		T(never_means_none),
		T(the_waiting_side_leaves_a_stream_for_data_not_for_a_request),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
