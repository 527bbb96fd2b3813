/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "counters.h"

struct stand {
	int fd, read_fd;
	struct counters *writer, *reader;
};

static int set_up(void **state)
{
	struct stand *s = calloc(1, sizeof(*s));

	s->fd = counters_memfd(&s->read_fd);
	assert_true(s->fd >= 0);
	s->writer = counters_open(s->fd, true);
	s->reader = counters_open(s->read_fd, false);
	assert_non_null(s->writer);
	assert_non_null(s->reader);
	*state = s;
	return 0;
}

static int tear_down(void **state)
{
	struct stand *s = *state;

	counters_close(s->writer);
	counters_close(s->reader);
	close(s->fd);
	close(s->read_fd);
	free(s);
	return 0;
}

/* What the reader tells, for the caller to free. */
static char *told(const struct stand *s)
{
	struct counters *tables[] = { NULL, s->reader };
	struct metrics *m = metrics_new();
	size_t len;
	char *text;

	counters_write(m, tables, 2);
	text = strdup(metrics_text(m, &len));
	metrics_free(m);
	return text;
}

static void tells(const struct stand *s, const char *line)
{
	char *text = told(s);

	if (!strstr(text, line))
		fail_msg("\"%s\" is not in:\n%s", line, text);
	free(text);
}

static size_t lines(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

static void what_is_counted_is_told_by_name_family_result_and_reason(void **state)
{
	struct counter_labels mx4 = { .name = "mx", .family = AF_INET };
	struct counter_labels mx6 = { "mx", AF_INET6, WORD_PERMANENT, WORD_POLICY };
	struct counter_labels lmtp = { "lmtp", AF_UNIX, WORD_DELIVERED, WORD_NONE };
	struct stand *s = *state;

	counters_add(s->writer, COUNTER_SESSIONS, &mx4, 1);
	counters_add(s->writer, COUNTER_SESSIONS, &mx4, 1);
	counters_add(s->writer, COUNTER_REFUSED, &mx6, 3);
	counters_add(s->writer, COUNTER_RECIPIENTS, &lmtp, 1);
	counters_add(s->writer, COUNTER_BOUNCES, NULL, UINT64_MAX);
	tells(s, "# TYPE postern_mta_sessions_total counter\n"
		 "postern_mta_sessions_total{listener=\"mx\",family=\"ipv4\"} 2\n#");
	tells(s, "\npostern_mta_refusals_total{listener=\"mx\",family=\"ipv6\","
		 "result=\"permanent\",reason=\"policy\"} 3\n");
	tells(s, "\npostern_mta_recipients_total{route=\"lmtp\",family=\"unix\","
		 "result=\"delivered\"} 1\n");
	tells(s, "\npostern_mta_bounces_total 18446744073709551615\n");
	tells(s, "\npostern_mta_counts_lost_total 0\n");
}

static void gauges_go_down_and_are_set(void **state)
{
	struct counter_labels l = { .name = "mx", .family = AF_INET },
			      q = { .result = WORD_QUEUED };
	struct stand *s = *state;

	counters_add(s->writer, COUNTER_SESSIONS_OPEN, &l, 1);
	counters_add(s->writer, COUNTER_SESSIONS_OPEN, &l, 1);
	counters_add(s->writer, COUNTER_SESSIONS_OPEN, &l, (uint64_t)-1);
	counters_set(s->writer, COUNTER_QUEUE, &q, 7);
	tells(s, "# TYPE postern_mta_sessions gauge\n"
		 "postern_mta_sessions{listener=\"mx\",family=\"ipv4\"} 1\n");
	tells(s, "\npostern_mta_queue_letters{state=\"queued\"} 7\n");
}

static void a_process_that_starts_again_goes_on_and_its_gauges_begin_at_0(void **state)
{
	struct counter_labels l = { .name = "mx", .family = AF_INET };
	struct stand *s = *state;
	char *before, *after;

	counters_add(s->writer, COUNTER_SESSIONS, &l, 5);
	counters_add(s->writer, COUNTER_SESSIONS_OPEN, &l, 2);
	before = told(s);
	counters_close(s->writer);
	s->writer = counters_open(s->fd, true);
	counters_add(s->writer, COUNTER_SESSIONS, &l, 1);
	tells(s, "\npostern_mta_sessions_total{listener=\"mx\",family=\"ipv4\"} 6\n");
	tells(s, "\npostern_mta_sessions{listener=\"mx\",family=\"ipv4\"} 0\n");
	after = told(s);
	assert_int_equal(lines(after), lines(before)); /* no row twice */
	free(before);
	free(after);
}

static void a_reload_ends_gauges_and_no_counter(void **state)
{
	struct counter_labels l = { .name = "old" };
	struct stand *s = *state;

	counters_set(s->writer, COUNTER_WAITING, &l, 9);
	counters_add(s->writer, COUNTER_EXPIRED, &l, 9);
	counters_zero_gauges(s->writer);
	tells(s, "\npostern_mta_route_letters{route=\"old\"} 0\n");
	tells(s, "\npostern_mta_expired_total{route=\"old\"} 9\n");
	counters_zero_gauges(NULL);
}

static void without_a_table_counting_is_nothing(void **state)
{
	(void)state;
	counters_add(NULL, COUNTER_BOUNCES, NULL, 1);
	counters_set(NULL, COUNTER_ACCEPTING, NULL, 1);
	counters_close(NULL);
}

static void who_reads_can_neither_write_nor_cut(void **state)
{
	struct stand *s = *state;
	struct stat st;

	assert_int_equal(fstat(s->fd, &st), 0);
	assert_ptr_equal(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, s->read_fd, 0),
			 MAP_FAILED);
	assert_int_equal(errno, EACCES);
	assert_null(counters_open(s->read_fd, true));
	assert_int_equal(ftruncate(s->fd, 0), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(ftruncate(s->fd, st.st_size + 1), -1);
	assert_int_equal(errno, EPERM);
}

static void what_is_no_table_is_refused(void **state)
{
	int fd = memfd_create("short", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(ftruncate(fd, 4096), 0);
	assert_null(counters_open(fd, false));
	assert_int_equal(errno, EINVAL);
	assert_null(counters_open(fd, true));
	close(fd);
}

static void a_full_table_loses_and_says_so(void **state)
{
	struct stand *s = *state;
	struct counter_labels l = { .family = AF_INET };
	char name[32];

	l.name = name;
	for (int i = 0; i < COUNTERS_ROWS_MAX + 5; i++) {
		snprintf(name, sizeof(name), "r%d", i);
		counters_add(s->writer, COUNTER_EXPIRED, &l, 1);
	}
	tells(s, "\npostern_mta_counts_lost_total 5\n");
	l.name = "r0";
	counters_add(s->writer, COUNTER_EXPIRED, &l, 1);
	tells(s, "\npostern_mta_expired_total{route=\"r0\",family=\"ipv4\"} 2\n");
}

/* Each byte of a row in turn becomes each of some values: what is told stays text of the one form. */
static void rows_that_make_no_sense_are_left_out(void **state)
{
	static const uint8_t bad[] = { 0, 1, '"', '\n', '\\', 0x7f, 0x80, 0xff };
	struct counter_labels l = { "mx", AF_INET, WORD_OK, WORD_NONE };
	struct stand *s = *state;
	uint8_t row[80], lie[80];
	uint32_t count = UINT32_MAX;

	counters_add(s->writer, COUNTER_TLS, &l, 1);
	assert_int_equal(pread(s->fd, row, sizeof(row), 16), sizeof(row));
	for (size_t at = 8; at < sizeof(row); at++) {
		for (size_t k = 0; k < sizeof(bad); k++) {
			char *text, *p;

			memcpy(lie, row, sizeof(row));
			lie[at] = bad[k];
			assert_int_equal(pwrite(s->fd, lie, sizeof(lie), 16), sizeof(lie));
			text = told(s);
			for (p = text; *p; p++)
				assert_true(*p == '\n' || (*p >= ' ' && *p < 0x7f));
			assert_null(strchr(text, '\\'));
			free(text);
		}
	}
	/* A name without an end, and a number of rows past the table's. */
	memcpy(lie, row, sizeof(row));
	memset(lie + 12, 'x', sizeof(lie) - 12);
	assert_int_equal(pwrite(s->fd, lie, sizeof(lie), 16), sizeof(lie));
	assert_int_equal(pwrite(s->fd, &count, sizeof(count), 0), sizeof(count));
	free(told(s));
	counters_close(s->writer);
	s->writer = counters_open(s->fd, true);
	assert_non_null(s->writer);
	counters_add(s->writer, COUNTER_EXPIRED, &l, 1);
	tells(s, "\npostern_mta_counts_lost_total 1\n");
}

static void the_reason_is_the_subject_of_the_status_code(void **state)
{
	(void)state;
	assert_int_equal(counters_reason(550, "5.7.1 Sender is not one of your addresses"),
			 WORD_POLICY);
	assert_int_equal(counters_reason(452, "4.2.2"), WORD_MAILBOX);
	assert_int_equal(counters_reason(550, "5.1.1"), WORD_ADDRESS);
	assert_int_equal(counters_reason(500, "5.0.0"), WORD_OTHER);
	assert_int_equal(counters_reason(0, "4.4.1"), WORD_NETWORK);
	/* None, or none that RFC 3463 knows. */
	assert_int_equal(counters_reason(0, ""), WORD_NETWORK);
	assert_int_equal(counters_reason(451, "come later"), WORD_SYSTEM);
	assert_int_equal(counters_reason(550, "5.8.1"), WORD_MAILBOX);
	assert_int_equal(counters_reason(502, "5.71"), WORD_PROTOCOL);
	assert_int_equal(counters_reason(554, "3.7.1"), WORD_OTHER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    what_is_counted_is_told_by_name_family_result_and_reason, set_up, tear_down),
		cmocka_unit_test_setup_teardown(gauges_go_down_and_are_set, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
		    a_process_that_starts_again_goes_on_and_its_gauges_begin_at_0, set_up,
		    tear_down),
		cmocka_unit_test_setup_teardown(a_reload_ends_gauges_and_no_counter, set_up,
						tear_down),
		cmocka_unit_test(without_a_table_counting_is_nothing),
		cmocka_unit_test_setup_teardown(who_reads_can_neither_write_nor_cut, set_up,
						tear_down),
		cmocka_unit_test(what_is_no_table_is_refused),
		cmocka_unit_test_setup_teardown(a_full_table_loses_and_says_so, set_up, tear_down),
		cmocka_unit_test_setup_teardown(rows_that_make_no_sense_are_left_out, set_up,
						tear_down),
		cmocka_unit_test(the_reason_is_the_subject_of_the_status_code),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
