/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "history.h"

#define SLOTS 300

static char dir[] = "/tmp/postern-history-XXXXXX";
static struct vfs_dir disk;
static uint8_t waiting; /* first byte of the id of the letter that waits */
static struct history_event seen[SLOTS + 1];
static size_t seen_count;

static bool waits(void *arg, const uint8_t id[static LETTER_ID_LEN])
{
	(void)arg;
	return id[0] == waiting;
}

static void on_event(const struct history_event *e, size_t which, void *arg)
{
	(void)arg;
	(void)which;
	seen[seen_count++] = *e;
}

static const uint8_t *id_of(uint8_t n)
{
	static uint8_t id[LETTER_ID_LEN];

	memset(id, n, sizeof(id));
	return id;
}

static size_t ask(struct history *h, uint8_t n)
{
	uint8_t id[1][LETTER_ID_LEN];

	memcpy(id, id_of(n), sizeof(id));
	seen_count = 0;
	history_each(h, (const uint8_t(*)[LETTER_ID_LEN])id, 1, on_event, NULL);
	return seen_count;
}

static struct history *begin(void)
{
	struct history *h = history_open(&disk.vfs, SLOTS, waits, NULL);

	assert_non_null(h);
	return h;
}

static int setup(void **state)
{
	(void)state;
	unlinkat(disk.dirfd, "history", 0);
	waiting = 0;
	return 0;
}

static void events_come_back_in_order_after_a_restart(void **state)
{
	struct history *h = begin();

	(void)state;
	for (int i = 0; i < 10; i++) {
		history_note(h, HISTORY_HELD, id_of(1), "one %d", i);
		history_rcpt(h, HISTORY_DELIVERED, id_of(2), 3, 250, 2, "two %d", i);
	}
	assert_int_equal(ask(h, 1), 10);
	history_close(h);
	h = begin();
	history_note(h, HISTORY_REMOVED, id_of(1), "last");
	assert_int_equal(ask(h, 1), 11);
	assert_string_equal(seen[0].text, "one 0");
	assert_string_equal(seen[9].text, "one 9");
	assert_string_equal(seen[10].text, "last");
	assert_int_equal(ask(h, 2), 10);
	assert_int_equal(seen[0].rcpt, 3);
	assert_int_equal(seen[0].code, 250);
	assert_int_equal(seen[0].attempts, 2);
	assert_int_equal(ask(h, 3), 0);
	history_close(h);
}

static void a_letter_is_found_by_its_peers_id(void **state)
{
	struct env_rcpt r[200] = { { 0 } };
	struct envelope e = { .flags = ENV_PEER_ID, .sender = "a@b", .rcpt = r, .rcpt_count = 200 };
	uint8_t own[2][LETTER_ID_LEN];
	struct history *h = begin();
	size_t addresses = 0;

	(void)state;
	for (size_t i = 0; i < 200; i++)
		r[i].addr = "somebody@example.org";
	r[7].addr = "a very long local part in quotes that fills nearly all of it "
		    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx@example.org";
	memcpy(e.id, id_of(4), LETTER_ID_LEN);
	memcpy(e.peer_id, id_of(5), LETTER_ID_LEN);
	history_accepted(h, &e, HISTORY_ACCEPTED);
	assert_int_equal(history_find(h, id_of(5), own, 2), 1);
	assert_memory_equal(own[0], id_of(4), LETTER_ID_LEN);
	assert_true(ask(h, 4) > 1);
	assert_int_equal(seen[0].kind, HISTORY_ACCEPTED);
	for (size_t i = 1; i < seen_count; i++) {
		assert_int_equal(seen[i].kind, HISTORY_RCPTS);
		assert_int_equal(seen[i].rcpt, addresses);
		addresses++;
		for (const char *p = seen[i].text; (p = strchr(p, '\n')); p++)
			addresses++;
	}
	assert_int_equal(addresses, 200);
	history_close(h);
}

static void the_oldest_go_but_not_those_of_a_letter_that_waits(void **state)
{
	struct history *h = begin();

	(void)state;
	waiting = 9;
	history_note(h, HISTORY_HELD, id_of(9), "waits");
	history_note(h, HISTORY_HELD, id_of(8), "is gone");
	for (int i = 0; i < 20 * SLOTS; i++)
		history_note(h, HISTORY_DELIVERED, id_of(7), "flood");
	assert_int_equal(ask(h, 9), 1);
	assert_string_equal(seen[0].text, "waits");
	assert_int_equal(ask(h, 8), 0);
	assert_true(ask(h, 7) <= SLOTS);
	history_close(h);
	h = begin();
	waiting = 0;
	for (int i = 0; i < 2 * SLOTS; i++)
		history_note(h, HISTORY_DELIVERED, id_of(7), "flood");
	assert_int_equal(ask(h, 9), 0);
	history_close(h);
}

/* More wait than the ring has room for: it stays a ring. */
static void when_all_wait_the_oldest_go(void **state)
{
	struct history *h = begin();

	(void)state;
	waiting = 6;
	for (int i = 0; i < 5 * SLOTS; i++)
		history_note(h, HISTORY_DEFERRED, id_of(6), "%d", i);
	assert_in_range(ask(h, 6), SLOTS / 4, SLOTS);
	assert_string_equal(seen[seen_count - 1].text, "1499");
	history_close(h);
}

static void a_torn_slot_is_left_out(void **state)
{
	struct history *h = begin();
	int fd;

	(void)state;
	for (int i = 0; i < 5; i++)
		history_note(h, HISTORY_HELD, id_of(1), "%d", i);
	history_close(h);
	fd = openat(disk.dirfd, "history", O_WRONLY);
	assert_int_equal(pwrite(fd, "torn", 4, 2 * HISTORY_SLOT + 100), 4);
	assert_int_equal(ftruncate(fd, 4 * HISTORY_SLOT + 10), 0);
	close(fd);
	h = begin();
	history_note(h, HISTORY_HELD, id_of(1), "new");
	assert_int_equal(ask(h, 1), 4);
	assert_string_equal(seen[2].text, "3");
	assert_string_equal(seen[3].text, "new");
	history_close(h);
}

static void a_letter_is_found_by_all_its_ids(void **state)
{
	static const uint8_t there[LETTER_ID_LEN] = { 0xab, [15] = 0xcd };
	struct history *h = begin();
	struct envelope e = { .sender = "a@b", .flags = ENV_PEER_ID };
	uint8_t own[3][LETTER_ID_LEN], id[LETTER_ID_LEN];
	char hex[LETTER_ID_STR_MAX];

	(void)state;
	letter_id_str(there, hex);
	for (uint8_t n = 1; n < 5; n++) {
		memcpy(e.id, id_of(n), LETTER_ID_LEN);
		memcpy(e.peer_id, id_of((uint8_t)(n + 40)), LETTER_ID_LEN);
		history_accepted(h, &e, HISTORY_ACCEPTED);
	}
	history_rcpt(h, HISTORY_DELIVERED, id_of(1), 0, 250, 1,
		     "route=r hop=h host=m reply=2.0.0 %s queued", hex);
	history_rcpt(h, HISTORY_DELIVERED, id_of(2), 0, 250, 1,
		     "route=r hop=h host=m reply=2.0.0 %s0 queued", hex); /* longer: another one */
	history_rcpt(h, HISTORY_FAILED, id_of(3), 0, 550, 1,
		     "route=r hop=h host=m reply=2.0.0 %s queued", hex);
	memcpy(id, id_of(4), sizeof(id));
	assert_int_equal(history_find(h, id, own, 3), 1);
	assert_memory_equal(own[0], id_of(4), LETTER_ID_LEN);
	memcpy(id, id_of(44), sizeof(id));
	assert_int_equal(history_find(h, id, own, 3), 1);
	assert_memory_equal(own[0], id_of(4), LETTER_ID_LEN);
	assert_int_equal(history_find(h, there, own, 3), 1);
	assert_memory_equal(own[0], id_of(1), LETTER_ID_LEN);
	/* Its own comes first, whatever others call theirs. */
	for (uint8_t n = 5; n < 9; n++) {
		memcpy(e.id, id_of(n), LETTER_ID_LEN);
		memcpy(e.peer_id, id_of(9), LETTER_ID_LEN);
		history_accepted(h, &e, HISTORY_ACCEPTED);
	}
	memcpy(e.id, id_of(9), LETTER_ID_LEN);
	history_accepted(h, &e, HISTORY_ACCEPTED);
	memcpy(id, id_of(9), sizeof(id));
	assert_int_equal(history_find(h, id, own, 3), 3);
	assert_memory_equal(own[0], id_of(9), LETTER_ID_LEN);
	memset(id, 0, sizeof(id)); /* what none has is nobody's */
	assert_int_equal(history_find(h, id, own, 3), 0);
	history_close(h);
}

static size_t reads;
static ssize_t (*real_pread)(struct vfs *v, int fd, void *buf, size_t len, uint64_t off);

static ssize_t counted_pread(struct vfs *v, int fd, void *buf, size_t len, uint64_t off)
{
	reads++;
	return real_pread(v, fd, buf, len, off);
}

static void on_letter(const struct history_event *e, size_t which, void *arg)
{
	(void)arg;
	assert_int_equal(e->id[0], which + 1);
	on_event(e, which, NULL);
}

/* The ring is large, and who asks may be a stranger. */
static void letters_are_read_together(void **state)
{
	uint8_t id[8][LETTER_ID_LEN];
	struct history *h = begin();
	size_t one;

	(void)state;
	for (int i = 0; i < 5; i++)
		for (uint8_t n = 8; n; n--)
			history_note(h, HISTORY_HELD, id_of(n), "%d", i);
	for (uint8_t n = 0; n < 8; n++)
		memcpy(id[n], id_of((uint8_t)(n + 1)), LETTER_ID_LEN);
	ask(h, 1);
	real_pread = disk.vfs.pread;
	disk.vfs.pread = counted_pread;
	reads = 0;
	assert_int_equal(ask(h, 1), 5);
	one = reads;
	reads = seen_count = 0;
	history_each(h, (const uint8_t(*)[LETTER_ID_LEN])id, 8, on_letter, NULL);
	disk.vfs.pread = real_pread;
	assert_int_equal(reads, one);
	assert_int_equal(seen_count, 40);
	for (size_t i = 0; i < 40; i++) {
		char text[8];

		snprintf(text, sizeof(text), "%zu", i % 5);
		assert_int_equal(seen[i].id[0], i / 5 + 1);
		assert_string_equal(seen[i].text, text);
	}
	history_close(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(events_come_back_in_order_after_a_restart, setup),
		cmocka_unit_test_setup(a_letter_is_found_by_its_peers_id, setup),
		cmocka_unit_test_setup(the_oldest_go_but_not_those_of_a_letter_that_waits, setup),
		cmocka_unit_test_setup(when_all_wait_the_oldest_go, setup),
		cmocka_unit_test_setup(a_letter_is_found_by_all_its_ids, setup),
		cmocka_unit_test_setup(a_torn_slot_is_left_out, setup),
		cmocka_unit_test_setup(letters_are_read_together, setup),
	};
	int rc;

	if (!mkdtemp(dir))
		return 1;
	vfs_dir_init(&disk, open(dir, O_RDONLY | O_DIRECTORY));
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	unlinkat(disk.dirfd, "history", 0);
	rmdir(dir);
	return rc;
}
