/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "digest.h"
#include "memory.h"

static void fill(struct memory *m, uint16_t port)
{
	memset(m, 0, sizeof(*m));
	m->entries = calloc(2, sizeof(*m->entries));
	m->count = 2;
	m->entries[0].name = "home";
	addr_parse("100.64.0.9", &m->entries[0].m.endpoint.addr);
	m->entries[0].m.endpoint.port = port;
	m->entries[1].name = "vps";
	m->entries[1].m.names = calloc(1, sizeof(struct sup_names));
	m->entries[1].m.names->count[2] = 2;
	addr_parse("2001:db8::1", &m->entries[1].m.names->addr[2][0]);
	addr_parse("192.0.2.1", &m->entries[1].m.names->addr[2][1]);
	m->entries[0].identity = "home.example.net";
	addr_parse("10.99.4.1", &m->entries[0].lease[0]);
	addr_parse("fd99:4::1", &m->entries[0].lease[1]);
}

static void what_is_kept_comes_back(void **state)
{
	struct memory m, back;
	uint8_t *image;
	size_t len;

	(void)state;
	fill(&m, 1234);
	m.serial = 77;
	assert_int_equal(memory_build(&m, &image, &len), 0);
	assert_int_equal(memory_parse(image, len, &back), 0);
	assert_true(back.serial == 77 && back.count == 2);
	assert_memory_equal(memory_find(&back, "home"), &m.entries[0].m, sizeof(struct sup_memory));
	assert_memory_equal(memory_find(&back, "vps")->names, m.entries[1].m.names,
			    sizeof(struct sup_names));
	assert_null(memory_find(&back, "other"));
	assert_string_equal(back.entries[0].identity, "home.example.net");
	assert_memory_equal(back.entries[0].lease, m.entries[0].lease, sizeof(m.entries[0].lease));
	assert_string_equal(back.entries[1].identity, "");
	memory_free(&back);
	memory_free(&m);
	free(image);
}

static void sum(uint8_t *image, size_t len)
{
	struct span part = { image, len };

	assert_int_equal(0, digest_sha256(&part, 1, image + len));
}

/* What was written before there were leases is read: endpoints are not lost by an update. */
static void the_version_before_is_read(void **state)
{
	static const uint8_t entry[] = { 4, 'h', 'o', 'm', 'e', 4, 100, 64, 0, 9, 4, 210, 1, 0 };
	uint8_t image[24 + sizeof(entry) + SHA256_LEN] = { 'P', 'S', 'T', 'M', 0, 0, 0, 1 };
	struct memory back;

	(void)state;
	image[15] = 5;
	image[19] = 1;
	image[23] = sizeof(entry);
	memcpy(image + 24, entry, sizeof(entry));
	sum(image, 24 + sizeof(entry));
	assert_int_equal(memory_parse(image, sizeof(image), &back), 0);
	assert_int_equal(back.entries[0].m.endpoint.port, 1234);
	assert_false(back.entries[0].lease[0].family);
	memory_free(&back);
	image[7] = 3; /* and one that is to come is not guessed at */
	sum(image, 24 + sizeof(entry));
	assert_int_equal(memory_parse(image, sizeof(image), &back), -EBADMSG);
}

static void every_truncation_and_every_changed_byte_is_refused(void **state)
{
	struct memory m, back;
	uint8_t *image;
	size_t len;

	(void)state;
	fill(&m, 1234);
	assert_int_equal(memory_build(&m, &image, &len), 0);
	for (size_t n = 0; n < len; n++)
		assert_int_equal(memory_parse(image, n, &back), -EBADMSG);
	for (size_t n = 0; n < len; n++) {
		image[n] ^= 0x55;
		assert_int_equal(memory_parse(image, len, &back), -EBADMSG);
		image[n] ^= 0x55;
	}
	memory_free(&m);
	free(image);
}

static void two_files_by_turns_survive_a_torn_write(void **state)
{
	int fds[2] = { memfd_create("a", 0), memfd_create("b", 0) };
	struct memory m, back;

	(void)state;
	assert_int_equal(memory_load(fds, &back), 0);
	assert_true(back.serial == 0 && back.count == 0);
	fill(&m, 1);
	assert_int_equal(memory_save(fds, &m), 0);
	m.entries[0].m.endpoint.port = 2;
	assert_int_equal(memory_save(fds, &m), 0);
	assert_int_equal(memory_load(fds, &back), 0);
	assert_int_equal(memory_find(&back, "home")->endpoint.port, 2);
	memory_free(&back);
	/* the machine dies while the newer one is written again */
	assert_int_equal(ftruncate(fds[m.serial & 1], 50), 0);
	assert_int_equal(memory_load(fds, &back), 0);
	assert_int_equal(memory_find(&back, "home")->endpoint.port, 1);
	/* and from there it goes on, into the torn one */
	assert_int_equal(memory_save(fds, &back), 0);
	memory_free(&back);
	assert_int_equal(memory_load(fds, &back), 0);
	assert_int_equal(back.serial, 2);
	memory_free(&back);
	memory_free(&m);
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_kept_comes_back),
		cmocka_unit_test(the_version_before_is_read),
		cmocka_unit_test(every_truncation_and_every_changed_byte_is_refused),
		cmocka_unit_test(two_files_by_turns_survive_a_torn_write),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
