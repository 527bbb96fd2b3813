/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "dial.h"
#include "msg.h"
#include "mx.h"

static uint8_t rdata[20][64];
static uint8_t *data[21];
static int len[20];
static size_t records;

static void reset(void)
{
	records = 0;
	memset(data, 0, sizeof(data));
}

static void mx(uint16_t preference, const char *name)
{
	uint8_t *p = rdata[records];
	size_t n = 2;

	p[0] = (uint8_t)(preference >> 8);
	p[1] = (uint8_t)preference;
	while (*name) {
		size_t label = strcspn(name, ".");

		p[n++] = (uint8_t)label;
		memcpy(p + n, name, label);
		n += label;
		name += label + (name[label] == '.');
	}
	p[n++] = 0;
	data[records] = p;
	len[records++] = (int)n;
	data[records] = NULL;
}

static struct lookup_host host[LOOKUP_MX_MAX];
static size_t count;
static struct lookup_mx out;

static void hosts(enum lookup_status status, bool exists)
{
	struct resolver_answer a = { .status = status, .exists = exists, .data = data, .len = len };

	mx_hosts("d.example", &a, host, &count, &out);
}

static void hosts_are_sorted_by_preference(void **state)
{
	(void)state;
	reset();
	mx(30, "c.example");
	mx(10, "A.example");
	mx(20, "b.example");
	mx(20, "b.example");
	hosts(LOOKUP_OK, true);
	assert_int_equal(out.status, LOOKUP_OK);
	assert_int_equal(count, 3);
	assert_string_equal(host[0].name, "a.example");
	assert_string_equal(host[1].name, "b.example");
	assert_string_equal(host[2].name, "c.example");
}

static void equal_hosts_share_the_load(void **state)
{
	unsigned first = 0;

	(void)state;
	for (int i = 0; i < 200; i++) {
		reset();
		mx(10, "a.example");
		mx(10, "b.example");
		mx(5, "z.example");
		hosts(LOOKUP_OK, true);
		assert_string_equal(host[0].name, "z.example");
		first += host[1].name[0] == 'a';
	}
	assert_in_range(first, 50, 150);
}

/* Case 77 */
static void mail_case_077_null_mx_is_a_firm_no_only_when_it_stands_alone(void **state)
{
	(void)state;
	reset();
	mx(0, "");
	hosts(LOOKUP_OK, true);
	assert_int_equal(out.status, LOOKUP_NULL_MX);
	mx(10, "a.example");
	hosts(LOOKUP_OK, true);
	assert_int_equal(out.status, LOOKUP_OK);
	assert_int_equal(count, 1);
}

static void no_mx_is_the_domain_itself_and_no_domain_is_nothing(void **state)
{
	(void)state;
	hosts(LOOKUP_NONE, true);
	assert_int_equal(out.status, LOOKUP_OK);
	assert_true(out.implicit);
	assert_string_equal(host[0].name, "d.example");
	hosts(LOOKUP_NONE, false);
	assert_int_equal(out.status, LOOKUP_NONE);
	assert_int_equal(count, 0);
	hosts(LOOKUP_TEMPFAIL, false);
	assert_int_equal(out.status, LOOKUP_TEMPFAIL);
}

static void broken_records_and_addresses_as_names_are_passed_over(void **state)
{
	(void)state;
	reset();
	mx(10, "192.0.2.1");
	mx(10, "a b.example");
	mx(10, "cut.example");
	len[2] -= 3;
	hosts(LOOKUP_OK, true);
	assert_int_equal(out.status, LOOKUP_NONE);
	mx(10, "good.example");
	hosts(LOOKUP_OK, true);
	assert_int_equal(count, 1);
}

static void the_list_of_hosts_is_bounded_and_keeps_the_best(void **state)
{
	char name[20];

	(void)state;
	reset();
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "h%d.example", i);
		mx((uint16_t)(100 - i), name);
	}
	hosts(LOOKUP_OK, true);
	assert_int_equal(count, LOOKUP_MX_MAX);
	assert_string_equal(host[0].name, "h19.example");
}

static void hosts_without_addresses_go_and_failures_stay_temporary(void **state)
{
	(void)state;
	reset();
	mx(10, "a.example");
	mx(20, "b.example");
	hosts(LOOKUP_OK, true);
	addr_parse("192.0.2.1", &host[1].addr[0]);
	host[1].addr_count = 1;
	mx_finish(host, &count, &out);
	assert_int_equal(count, 1);
	assert_string_equal(host[0].name, "b.example");
	hosts(LOOKUP_OK, true);
	host[0].tempfail = true;
	mx_finish(host, &count, &out);
	assert_int_equal(out.status, LOOKUP_TEMPFAIL);
	hosts(LOOKUP_OK, true);
	mx_finish(host, &count, &out);
	assert_int_equal(out.status, LOOKUP_NONE);
}

/* Whoever stands past the bound may have an address: that was not looked at. */
static void beyond_the_bound_nothing_is_a_firm_no(void **state)
{
	static const int hosts_of[] = { LOOKUP_MX_MAX, LOOKUP_MX_MAX + 1 };
	static const enum lookup_status means[] = { LOOKUP_NONE, LOOKUP_TEMPFAIL };
	char name[20];

	(void)state;
	for (int down = 0; down < 2; down++)
		for (int k = 0; k < 2; k++) {
			reset();
			for (int i = 0; i < hosts_of[k]; i++) {
				snprintf(name, sizeof(name), "h%d.example", i);
				mx((uint16_t)(down ? 100 - i : 100 + i), name);
			}
			hosts(LOOKUP_OK, true);
			mx_finish(host, &count, &out);
			assert_int_equal(out.status, means[k]);
			assert_int_equal(count, 0);
		}
}

static bool is_b(void *arg, const struct lookup_host *h)
{
	(void)arg;
	return !strcmp(h->name, "b.example");
}

/* Case 76: ourselves and all that are not better than we are go. */
static void mail_case_076_a_loop_to_ourselves_is_cut(void **state)
{
	(void)state;
	reset();
	mx(10, "a.example");
	mx(20, "b.example");
	mx(20, "c.example");
	mx(30, "d.example");
	hosts(LOOKUP_OK, true);
	assert_int_equal(dial_mx_self(host, count, is_b, NULL), 1);
	reset();
	mx(10, "b.example");
	mx(20, "c.example");
	hosts(LOOKUP_OK, true);
	assert_int_equal(dial_mx_self(host, count, is_b, NULL), 0);
	reset();
	mx(10, "x.example");
	hosts(LOOKUP_OK, true);
	assert_int_equal(dial_mx_self(host, count, is_b, NULL), 1);
}

static void add(struct lookup_host *h, const char *a)
{
	addr_parse(a, &h->addr[h->addr_count++]);
}

/* Case 78 */
static void families_alternate_and_sources_decide(void **state)
{
	struct mta_route route = { .name = "r", .port = 25, .family = FAMILY_V6_FIRST };
	struct lookup_host h[2] = { { .name = "a.example" }, { .name = "b.example" } };
	struct route_source from[1] = { 0 };
	static struct dial d;
	char why[DIAL_WHY_MAX];

	(void)state;
	add(&h[0], "192.0.2.1");
	add(&h[0], "192.0.2.2");
	add(&h[0], "2001:db8::1");
	add(&h[1], "192.0.2.3");
	dial_init(&d, NULL, NULL, NULL);
	assert_int_equal(dial_hosts(&d, &route, h, 2, MSG_R_FAMILY4 | MSG_R_FAMILY6, why), 4);
	assert_int_equal(d.target[0].at.addr.family, AF_INET6);
	assert_int_equal(d.target[1].at.addr.b[3], 1);
	assert_int_equal(d.target[2].at.addr.b[3], 2);
	assert_int_equal(d.target[3].host, 1);
	addr_parse("198.51.100.1", &from[0].addr);
	route.sources = from;
	route.source_count = 1;
	dial_init(&d, NULL, NULL, NULL);
	assert_int_equal(dial_hosts(&d, &route, h, 2, MSG_R_FAMILY4 | MSG_R_FAMILY6, why), 3);
	dial_init(&d, NULL, NULL, NULL);
	assert_int_equal(dial_hosts(&d, &route, h, 1, MSG_R_FAMILY6, why),
			 2); /* rather than none */
	addr_parse("2001:db8::99", &from[0].addr);
	dial_init(&d, NULL, NULL, NULL);
	assert_int_equal(dial_hosts(&d, &route, h + 1, 1, MSG_R_FAMILY4 | MSG_R_FAMILY6, why), 0);
	assert_string_equal(
	    why, "the next hop has only IPv4 addresses, and route r goes by IPv6 alone: see its "
		 "family and source");
}

static int first_family(struct mta_route *route, uint32_t turn, const struct lookup_host *h)
{
	static struct dial d;
	char why[DIAL_WHY_MAX];

	dial_init(&d, NULL, NULL, NULL);
	dial_from(&d, route, turn);
	assert_true(dial_hosts(&d, route, h, 1, MSG_R_FAMILY4 | MSG_R_FAMILY6, why) > 0);
	return d.target[0].at.addr.family;
}

static void balance_begins_with_the_other_family_each_time(void **state)
{
	struct mta_route route = { .name = "r", .port = 25, .family = FAMILY_BALANCE };
	struct lookup_host h = { .name = "a.example" };

	(void)state;
	add(&h, "192.0.2.1");
	add(&h, "2001:db8::1");
	for (uint32_t turn = 0; turn < 6; turn += 2) {
		assert_int_equal(first_family(&route, turn, &h), AF_INET6);
		assert_int_equal(first_family(&route, turn + 1, &h), AF_INET);
	}
	route.family = FAMILY_V4_FIRST;
	assert_int_equal(first_family(&route, 0, &h), AF_INET);
}

static void addresses_become_names_in_reverse(void **state)
{
	struct addr a;
	char name[80];

	(void)state;
	addr_parse("192.0.2.1", &a);
	assert_int_equal(mx_reverse(&a, name, sizeof(name)), 0);
	assert_string_equal(name, "1.2.0.192.in-addr.arpa");
	addr_parse("2001:db8::1", &a);
	assert_int_equal(mx_reverse(&a, name, sizeof(name)), 0);
	assert_string_equal(name, "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2."
				  "ip6.arpa");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hosts_are_sorted_by_preference),
		cmocka_unit_test(equal_hosts_share_the_load),
		cmocka_unit_test(mail_case_077_null_mx_is_a_firm_no_only_when_it_stands_alone),
		cmocka_unit_test(no_mx_is_the_domain_itself_and_no_domain_is_nothing),
		cmocka_unit_test(broken_records_and_addresses_as_names_are_passed_over),
		cmocka_unit_test(the_list_of_hosts_is_bounded_and_keeps_the_best),
		cmocka_unit_test(hosts_without_addresses_go_and_failures_stay_temporary),
		cmocka_unit_test(beyond_the_bound_nothing_is_a_firm_no),
		cmocka_unit_test(mail_case_076_a_loop_to_ourselves_is_cut),
		cmocka_unit_test(families_alternate_and_sources_decide),
		cmocka_unit_test(balance_begins_with_the_other_family_each_time),
		cmocka_unit_test(addresses_become_names_in_reverse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
