/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "proc_msg.h"
#include "sign.h"

static int run(int (*fn)(const struct ipc_msg *m, const char **why), uint32_t type,
	       const void *data, size_t len, int fds)
{
	struct ipc_msg m = { .type = type, .data = data, .len = len, .fd_count = fds };
	const char *why = NULL;
	int rc = fn(&m, &why);

	assert_true(rc == 0 || rc == -EBADMSG);
	/* A refusal always has its reason. */
	assert_true(!rc || why);
	return rc;
}

static struct addr addr(const char *s)
{
	struct addr a;

	assert_int_equal(addr_parse(s, &a), 0);
	return a;
}

static struct pq_addr good_addr(void)
{
	struct pq_addr q = { .peer = "home" };

	assert_int_equal(prefix_parse("10.99.0.2", &q.addr), 0);
	return q;
}

static struct pq_route good_route(void)
{
	struct pq_route q = { .peer = "home" };

	assert_int_equal(prefix_parse("10.99.0.0/24", &q.dst), 0);
	return q;
}

#define ONLY_THIS_LENGTH(fn, type, q)                                                              \
	do {                                                                                       \
		uint8_t copy[sizeof(q) + 64] = { 0 };                                              \
		memcpy(copy, &(q), sizeof(q));                                                     \
		for (size_t n = 0; n <= sizeof(copy); n++)                                         \
			assert_int_equal(run(fn, type, copy, n, 0),                                \
					 n == sizeof(q) ? 0 : -EBADMSG);                           \
		assert_int_equal(run(fn, type, copy, sizeof(q), 1), -EBADMSG);                     \
	} while (0)

static void requests_have_exactly_one_length_and_no_descriptor(void **state)
{
	struct pq_link_set link = { .mtu = 1400 };
	struct pq_path path = { .dst = addr("192.0.2.1") };
	struct pq_hop hop = { .index = 1 };
	struct pq_wan wan = { .ifindex = 2, .src = addr("192.0.2.9") };
	struct pq_hook hook = { .peer = "home", .up = 1 };
	struct pq_route r = good_route();
	struct pq_addr a = good_addr();
	struct kq_public pub = { .peer = "home" };
	struct rq_lookup look = { .name = "vps.example.net", .timeout_ms = 1000 };

	(void)state;
	ONLY_THIS_LENGTH(proc_check_request, PQ_ADDR_ADD, a);
	ONLY_THIS_LENGTH(proc_check_request, PQ_ADDR_DEL, a);
	ONLY_THIS_LENGTH(proc_check_request, PQ_ROUTE_ADD, r);
	ONLY_THIS_LENGTH(proc_check_request, PQ_ROUTE_DEL, r);
	ONLY_THIS_LENGTH(proc_check_request, PQ_LINK_SET, link);
	ONLY_THIS_LENGTH(proc_check_request, PQ_PATH, path);
	ONLY_THIS_LENGTH(proc_check_request, PQ_HOP, hop);
	ONLY_THIS_LENGTH(proc_check_request, PQ_HOOK, hook);
	ONLY_THIS_LENGTH(proc_check_request, PQ_WAN, wan);
	ONLY_THIS_LENGTH(proc_check_keys, KQ_PUBLIC, pub);
	ONLY_THIS_LENGTH(proc_check_resolver, RQ_LOOKUP, look);
	assert_int_equal(run(proc_check_request, PQ_RELOAD, "", 0, 0), 0);
	assert_int_equal(run(proc_check_request, PQ_RELOAD, "x", 1, 0), -EBADMSG);
}

static void a_type_of_another_link_is_refused(void **state)
{
	struct pq_addr a = good_addr();

	(void)state;
	for (uint32_t type = 0; type < 256; type++) {
		bool known = type == PQ_ADDR_ADD || type == PQ_ADDR_DEL;

		assert_int_equal(run(proc_check_request, type, &a, sizeof(a), 0),
				 known ? 0 : -EBADMSG);
		assert_int_equal(run(proc_check_keys, type, &a, sizeof(a), 0), -EBADMSG);
		assert_int_equal(run(proc_check_resolver, type, &a, sizeof(a), 0), -EBADMSG);
	}
}

static void names_end_inside_of_their_field(void **state)
{
	struct pq_addr a = good_addr();

	(void)state;
	memset(a.peer, 'x', sizeof(a.peer));
	assert_int_equal(run(proc_check_request, PQ_ADDR_ADD, &a, sizeof(a), 0), -EBADMSG);
	a.peer[sizeof(a.peer) - 1] = '\0';
	assert_int_equal(run(proc_check_request, PQ_ADDR_ADD, &a, sizeof(a), 0), 0);
	a.peer[3] = '\0'; /* something behind the end */
	assert_int_equal(run(proc_check_request, PQ_ADDR_ADD, &a, sizeof(a), 0), -EBADMSG);
	memset(a.peer, 0, sizeof(a.peer));
	assert_int_equal(run(proc_check_request, PQ_ADDR_ADD, &a, sizeof(a), 0), -EBADMSG);
}

static void what_a_hook_is_told_has_one_form(void **state)
{
	struct pq_hook q = { .peer = "home", .up = 1, .dns_count = 2 };

	(void)state;
	q.dns[0] = addr("10.99.0.1");
	q.dns[1] = addr("fd99::1");
	assert_int_equal(run(proc_check_request, PQ_HOOK, &q, sizeof(q), 0), 0);
	q.up = 2;
	assert_int_equal(run(proc_check_request, PQ_HOOK, &q, sizeof(q), 0), -EBADMSG);
	q.up = 0;
	q.dns_count = 1; /* one behind the end */
	assert_int_equal(run(proc_check_request, PQ_HOOK, &q, sizeof(q), 0), -EBADMSG);
	q.dns_count = 3; /* and one that is none */
	assert_int_equal(run(proc_check_request, PQ_HOOK, &q, sizeof(q), 0), -EBADMSG);
	q.dns_count = UINT32_MAX;
	assert_int_equal(run(proc_check_request, PQ_HOOK, &q, sizeof(q), 0), -EBADMSG);
}

static void addresses_have_one_form(void **state)
{
	struct pq_addr a = good_addr();
	struct pq_route r = good_route();

	(void)state;
	a.addr.len = 33;
	assert_int_equal(run(proc_check_request, PQ_ADDR_ADD, &a, sizeof(a), 0), -EBADMSG);
	a = good_addr();
	a.addr.addr.b[9] = 1; /* behind an IPv4 address */
	assert_int_equal(run(proc_check_request, PQ_ADDR_ADD, &a, sizeof(a), 0), -EBADMSG);
	a = good_addr();
	a.addr.addr.family = 0;
	assert_int_equal(run(proc_check_request, PQ_ADDR_ADD, &a, sizeof(a), 0), -EBADMSG);
	a.addr.addr.family = AF_UNIX;
	assert_int_equal(run(proc_check_request, PQ_ADDR_ADD, &a, sizeof(a), 0), -EBADMSG);
	a = (struct pq_addr){ .peer = "home", .addr = { .addr.family = AF_INET6, .len = 128 } };
	memcpy(a.addr.addr.b, "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\2\1", 16); /* v4-mapped */
	assert_int_equal(run(proc_check_request, PQ_ADDR_ADD, &a, sizeof(a), 0), -EBADMSG);
	r.dst.addr.b[3] = 1; /* a host bit */
	assert_int_equal(run(proc_check_request, PQ_ROUTE_ADD, &r, sizeof(r), 0), -EBADMSG);
	r = good_route();
	r.src = addr("fd99::1"); /* of the other family */
	assert_int_equal(run(proc_check_request, PQ_ROUTE_ADD, &r, sizeof(r), 0), -EBADMSG);
	r.src = addr("10.99.0.1");
	assert_int_equal(run(proc_check_request, PQ_ROUTE_ADD, &r, sizeof(r), 0), 0);
}

static void numbers_stay_in_range(void **state)
{
	static const struct {
		struct pq_link_set q;
		int rc;
	} links[] = {
		{ { 0 }, 0 },
		{ { .mtu = 575 }, -EBADMSG },
		{ { .mtu = 576 }, 0 },
		{ { .mtu = 65535 }, 0 },
		{ { .mtu = 65536 }, -EBADMSG },
		{ { .gso_max_size = 1279 }, -EBADMSG },
		{ { .gso_max_size = 65536 }, 0 },
		{ { .gso_max_size = 65537 }, -EBADMSG },
		{ { .gso_max_segs = 65536 }, -EBADMSG },
		{ { .mtu = 1400, .pad = 1 }, -EBADMSG },
	};
	struct pq_hop hop = { .index = PROC_HOPS };

	(void)state;
	for (size_t i = 0; i < sizeof(links) / sizeof(*links); i++)
		assert_int_equal(
		    run(proc_check_request, PQ_LINK_SET, &links[i].q, sizeof(links[i].q), 0),
		    links[i].rc);
	assert_int_equal(run(proc_check_request, PQ_HOP, &hop, sizeof(hop), 0), -EBADMSG);
}

static void octets_are_as_many_as_told(void **state)
{
	struct {
		struct kq_sign q;
		uint8_t octets[100];
	} s = { .q = { .peer = "home", .scheme = SIG_ED25519, .len = 100 } };
	struct {
		struct kq_psk q;
		uint8_t octets[100];
	} p = { .q = { .peer = "home", .prf = PRF_HMAC_SHA2_256, .len = 100 } };

	(void)state;
	for (size_t n = 0; n <= sizeof(s); n++)
		assert_int_equal(run(proc_check_keys, KQ_SIGN, &s, n, 0),
				 n == sizeof(s.q) + 100 ? 0 : -EBADMSG);
	for (size_t n = 0; n <= sizeof(p); n++)
		assert_int_equal(run(proc_check_keys, KQ_PSK_AUTH, &p, n, 0),
				 n == sizeof(p.q) + 100 ? 0 : -EBADMSG);
	s.q.len = 0;
	assert_int_equal(run(proc_check_keys, KQ_SIGN, &s, sizeof(s.q), 0), -EBADMSG);
	s.q.len = UINT32_MAX;
	assert_int_equal(run(proc_check_keys, KQ_SIGN, &s, sizeof(s), 0), -EBADMSG);
	s.q.len = 100;
	s.q.scheme = SIG_NONE;
	assert_int_equal(run(proc_check_keys, KQ_SIGN, &s, sizeof(s), 0), -EBADMSG);
	s.q.scheme = SIG_SCHEMES;
	assert_int_equal(run(proc_check_keys, KQ_SIGN, &s, sizeof(s), 0), -EBADMSG);
	p.q.prf = 2; /* HMAC-SHA1 */
	assert_int_equal(run(proc_check_keys, KQ_PSK_AUTH, &p, sizeof(p), 0), -EBADMSG);
}

static void only_the_octets_of_an_auth_payload_are_signed(void **state)
{
	/* SPIi, SPIr, SA, 2.0, IKE_SA_INIT, I, ID 0, length 32, one payload; then nonce and PRF */
	uint8_t o[400] = { 1,  0,    0,	 0, 0, 0, 0, 0, 0, 0, 0, 0,  0, 0, 0, 0,
			   33, 0x20, 34, 8, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0, 0, 4 };

	(void)state;
	for (size_t n = 0; n <= sizeof(o); n++)
		assert_int_equal(proc_check_octets(o, n),
				 n >= 32 + 16 + 32 && n <= 32 + 256 + 64 ? 0 : -EBADMSG);
	for (int i = 16; i < 28; i++) {
		uint8_t was = o[i];

		o[i] = i == 16 ? 0 : 0xff; /* no payload; version, exchange, flags, ID, length */
		assert_int_equal(proc_check_octets(o, 150), -EBADMSG);
		o[i] = was;
	}
	o[0] = 0; /* no SPI */
	assert_int_equal(proc_check_octets(o, 150), -EBADMSG);
}

static void look_ups_are_for_host_names(void **state)
{
	static const struct {
		const char *name;
		int rc;
	} names[] = { { "vps.example.net", 0 },	    { "a_b-c.1", 0 },
		      { "a b", -EBADMSG },	    { "a/b", -EBADMSG },
		      { "-x", -EBADMSG },	    { ".", -EBADMSG },
		      { "vps\nexample", -EBADMSG }, { "\xc3\xa4.example", -EBADMSG } };
	struct rq_lookup q = { .timeout_ms = 1000 };

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		assert_int_equal(proc_name_set(q.name, sizeof(q.name), names[i].name), 0);
		assert_int_equal(run(proc_check_resolver, RQ_LOOKUP, &q, sizeof(q), 0),
				 names[i].rc);
	}
	assert_int_equal(proc_name_set(q.name, sizeof(q.name), "x"), 0);
	q.timeout_ms = 99;
	assert_int_equal(run(proc_check_resolver, RQ_LOOKUP, &q, sizeof(q), 0), -EBADMSG);
	q.timeout_ms = 60001;
	assert_int_equal(run(proc_check_resolver, RQ_LOOKUP, &q, sizeof(q), 0), -EBADMSG);
}

static void the_child_checks_what_it_is_sent(void **state)
{
	struct pm_socket s = { .kind = PROC_SOCKET_OUTER, .count = 2, .family = AF_INET6 };
	struct pm_tun t = { .count = 2, .name = "postern0" };
	struct rr_reply r = { .count = 1, .addr = { addr("192.0.2.1") } };
	struct {
		struct kr_reply r;
		uint8_t data[8];
	} k = { .r = { .len = 8 } };
	struct pr_hop hop = { .head = { .request = PQ_HOP }, .socket = s };

	(void)state;
	assert_int_equal(run(proc_check_reply, PM_SOCKET, &s, sizeof(s), 1), 0);
	assert_int_equal(run(proc_check_reply, PM_SOCKET, &s, sizeof(s), 0), -EBADMSG);
	s.index = 2;
	assert_int_equal(run(proc_check_reply, PM_SOCKET, &s, sizeof(s), 1), -EBADMSG);
	s.index = 0;
	s.count = PROC_WORKERS_MAX + 1;
	assert_int_equal(run(proc_check_reply, PM_SOCKET, &s, sizeof(s), 1), -EBADMSG);
	assert_int_equal(run(proc_check_reply, PM_TUN, &t, sizeof(t), 1), 0);
	t.index = 2;
	assert_int_equal(run(proc_check_reply, PM_TUN, &t, sizeof(t), 1), -EBADMSG);
	assert_int_equal(run(proc_check_reply, RR_REPLY, &r, sizeof(r), 0), 0);
	r.count = PROC_ADDRS_MAX + 1;
	assert_int_equal(run(proc_check_reply, RR_REPLY, &r, sizeof(r), 0), -EBADMSG);
	assert_int_equal(run(proc_check_reply, KR_REPLY, &k, sizeof(k), 0), 0);
	assert_int_equal(run(proc_check_reply, KR_REPLY, &k, sizeof(k) - 1, 0), -EBADMSG);
	hop.socket.kind = PROC_SOCKET_HOP;
	assert_int_equal(run(proc_check_reply, PR_REPLY, &hop, sizeof(hop), 1), 0);
	hop.head.status = -EMFILE; /* refused: no socket with it */
	assert_int_equal(run(proc_check_reply, PR_REPLY, &hop, sizeof(hop), 0), 0);
	assert_int_equal(run(proc_check_reply, PR_REPLY, &hop, sizeof(hop), 2), -EBADMSG);
}

static void a_name_that_is_too_long_is_no_name(void **state)
{
	char field[8], exact[8] = "1234567";

	(void)state;
	assert_int_equal(proc_name_set(field, sizeof(field), "12345678"), -ENAMETOOLONG);
	assert_int_equal(proc_name_set(field, sizeof(field), ""), -ENAMETOOLONG);
	assert_int_equal(proc_name_set(field, sizeof(field), exact), 0);
	assert_string_equal(field, exact);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_have_exactly_one_length_and_no_descriptor),
		cmocka_unit_test(a_type_of_another_link_is_refused),
		cmocka_unit_test(names_end_inside_of_their_field),
		cmocka_unit_test(what_a_hook_is_told_has_one_form),
		cmocka_unit_test(addresses_have_one_form),
		cmocka_unit_test(numbers_stay_in_range),
		cmocka_unit_test(octets_are_as_many_as_told),
		cmocka_unit_test(only_the_octets_of_an_auth_payload_are_signed),
		cmocka_unit_test(look_ups_are_for_host_names),
		cmocka_unit_test(the_child_checks_what_it_is_sent),
		cmocka_unit_test(a_name_that_is_too_long_is_no_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
