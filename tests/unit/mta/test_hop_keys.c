/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Keys of the hop: what is kept of peers', on paper and on disk, and the one of our own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hash.h"
#include "hop_files.h"
#include "msg.h"
#include "tls_hop.h"
#include "wire.h"

static const uint8_t key_a[HOP_KEY_LEN] = { 1, 2, 3, 0xab };
static const uint8_t key_b[HOP_KEY_LEN] = { 9, 8, 7, 0xcd };
static const uint8_t none[HOP_KEY_LEN];

static int dir = -1;
static char path[64];

static int make_dir(void **state)
{
	(void)state;
	snprintf(path, sizeof(path), "/tmp/hop-keys.XXXXXX");
	if (!mkdtemp(path))
		return -1;
	dir = open(path, O_RDONLY | O_DIRECTORY);
	return dir < 0;
}

static int drop_dir(void **state)
{
	static const char *const names[] = { HOP_OWN_NAME, HOP_OWN_NAME ".new", "hop-keys.0",
					     "hop-keys.1" };

	(void)state;
	for (size_t i = 0; i < 4; i++)
		unlinkat(dir, names[i], 0);
	close(dir);
	return rmdir(path);
}

static void fill(struct hop_keys *s)
{
	assert_int_equal(hop_keys_add(s, "home.example.net", key_a), 0);
	assert_int_equal(hop_keys_add(s, "C=DE, CN=other home", key_b), 0);
	s->edition = 41;
}

/* ---- the set ---- */

static void a_key_that_is_known_is_never_replaced(void **state)
{
	struct hop_keys s = { 0 };

	(void)state;
	fill(&s);
	assert_int_equal(hop_keys_add(&s, "home.example.net", key_b), -EEXIST);
	assert_memory_equal(hop_keys_find(&s, "home.example.net")->sha256, key_a, HOP_KEY_LEN);
	assert_true(hop_keys_remove(&s, "home.example.net"));
	assert_false(hop_keys_remove(&s, "home.example.net"));
	assert_null(hop_keys_find(&s, "home.example.net"));
	assert_memory_equal(hop_keys_find(&s, "C=DE, CN=other home")->sha256, key_b, HOP_KEY_LEN);
	assert_int_equal(hop_keys_add(&s, "home.example.net", key_b), 0);
	hop_keys_clear(&s);
}

static void an_identity_is_one_line(void **state)
{
	char longest[HOP_IDENTITY_MAX + 1];
	struct hop_keys s = { 0 };

	(void)state;
	memset(longest, 'x', HOP_IDENTITY_MAX);
	longest[HOP_IDENTITY_MAX] = 0;
	assert_int_equal(hop_keys_add(&s, "", key_a), -EINVAL);
	assert_int_equal(hop_keys_add(&s, "a\nb", key_a), -EINVAL);
	assert_int_equal(hop_keys_add(&s, longest, key_a), -EINVAL);
	assert_int_equal(hop_keys_add(&s, longest + 1, key_a), 0);
	hop_keys_clear(&s);
}

static void the_set_is_bounded(void **state)
{
	struct hop_keys s = { 0 }, again = { 0 };
	char name[32], *text;
	size_t len;

	(void)state;
	for (int i = 0; i < HOP_KEYS_MAX; i++) {
		snprintf(name, sizeof(name), "home%d.example.net", i);
		assert_int_equal(hop_keys_add(&s, name, key_a), 0);
	}
	assert_int_equal(hop_keys_add(&s, "one.more", key_a), -E2BIG);
	text = hop_keys_build(&s, &len);
	assert_non_null(text);
	assert_true(len < HOP_TEXT_MAX);
	assert_int_equal(hop_keys_parse(&again, text, len), 0);
	assert_int_equal(again.count, HOP_KEYS_MAX);
	free(text);
	hop_keys_clear(&again);
	hop_keys_clear(&s);
}

static void trouble_is_news_once(void **state)
{
	struct hop_keys s = { 0 };
	struct hop_key *k;
	char words[256];

	(void)state;
	fill(&s);
	k = hop_keys_find(&s, "home.example.net");
	assert_string_equal(hop_key_words(k, "home", words, sizeof(words)), "");
	assert_true(hop_key_note(k, HOP_OTHER_KEY, key_b));
	assert_false(hop_key_note(k, HOP_OTHER_KEY, key_b));
	assert_true(hop_key_note(k, HOP_OTHER_KEY, none));
	assert_true(hop_key_note(k, HOP_OTHER_KEY, key_b));
	assert_string_equal(
	    hop_key_words(k, "home", words, sizeof(words)),
	    "peer home shows key 090807cd00000000.., not 010203ab00000000.. as before; if it was "
	    "installed anew: postern mail forget-key home");
	assert_true(hop_key_note(k, HOP_NO_TLS, none));
	assert_false(hop_key_note(k, HOP_NO_TLS, none));
	assert_string_equal(hop_key_words(k, "home", words, sizeof(words)),
			    "peer home offers no TLS, but had key 010203ab00000000..; if that is "
			    "meant: postern mail forget-key home");
	assert_true(hop_key_note(k, HOP_FINE, none));
	assert_false(hop_key_note(k, HOP_FINE, none));
	hop_keys_clear(&s);
}

/* ---- as text ---- */

static void text_comes_back(void **state)
{
	struct hop_keys s = { 0 }, got = { 0 };
	size_t len, len2;
	char *text, *text2;

	(void)state;
	fill(&s);
	text = hop_keys_build(&s, &len);
	assert_int_equal(strncmp(text, "postern hop keys 1 41\n010203ab", 30), 0);
	assert_int_equal(hop_keys_parse(&got, text, len), 0);
	assert_int_equal(got.count, 2);
	assert_int_equal(got.edition, 41);
	text2 = hop_keys_build(&got, &len2);
	assert_int_equal(len, len2);
	assert_memory_equal(text, text2, len);
	free(text);
	free(text2);
	hop_keys_clear(&s);
	hop_keys_clear(&got);
}

static void every_truncation_and_every_flipped_bit_is_refused(void **state)
{
	struct hop_keys s = { 0 }, got = { 0 };
	size_t len;
	char *text, *copy;

	(void)state;
	fill(&s);
	text = hop_keys_build(&s, &len);
	for (size_t n = 0; n < len; n++) {
		copy = malloc(n + 1);
		memcpy(copy, text, n);
		assert_int_equal(hop_keys_parse(&got, copy, n), -EBADMSG);
		assert_int_equal(got.count, 0);
		free(copy);
	}
	for (size_t i = 0; i < 8 * len; i++) {
		text[i / 8] ^= (char)(1 << i % 8);
		assert_int_equal(hop_keys_parse(&got, text, len), -EBADMSG);
		text[i / 8] ^= (char)(1 << i % 8);
	}
	assert_int_equal(hop_keys_parse(&got, text, len), 0);
	free(text);
	hop_keys_clear(&s);
	hop_keys_clear(&got);
}

/* With a checksum that holds: what another program wrote. */
static void strange(const char *body, int want)
{
	static const uint64_t key[2] = { 0x706f737465726e20, 0x686f70206b657973 };
	struct hop_keys got = { 0 };
	char text[4096];
	size_t n = (size_t)snprintf(text, sizeof(text), "%s", body);

	n += (size_t)snprintf(text + n, sizeof(text) - n, "end %016" PRIx64 "\n",
			      hash_keyed(key, text, n));
	assert_int_equal(hop_keys_parse(&got, text, n), want);
	hop_keys_clear(&got);
}

#define HEX64 "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static void strange_text_is_refused(void **state)
{
	(void)state;
	strange("postern hop keys 1 7\n", 0);
	strange("postern hop keys 1 7\n" HEX64 " a\n", 0);
	strange("", -EBADMSG);
	strange("postern hop keys 2 7\n", -EBADMSG);
	strange("postern hop keys 1 \n", -EBADMSG);
	strange("postern hop keys 1 7x\n", -EBADMSG);
	strange("postern hop keys 1 7777777777777777777777\n", -EBADMSG);
	strange("postern hop keys 1 7\n" HEX64 "\n", -EBADMSG);
	strange("postern hop keys 1 7\n" HEX64 " \n", -EBADMSG);
	strange("postern hop keys 1 7\n" HEX64 "0 a\n", -EBADMSG);
	strange("postern hop keys 1 7\n" HEX64 " a\n" HEX64 " a\n", -EBADMSG);
	strange("postern hop keys 1 7\n" HEX64 " a\x01\n", -EBADMSG);
	strange("postern hop keys 1 7\n\n", -EBADMSG);
}

static void the_message_of_relay_comes_back(void **state)
{
	struct hop_seen m = { .identity = "home", .trouble = HOP_OTHER_KEY, .sha256 = key_b }, got;
	uint8_t buf[512];
	struct wr w = wr_init(buf, sizeof(buf));
	struct rd r;

	(void)state;
	hop_seen_put(&w, &m);
	for (size_t n = 0; n < w.len; n++) {
		r = rd_init(buf, n);
		assert_int_equal(hop_seen_get(&r, &got), -EBADMSG);
	}
	r = rd_init(buf, w.len);
	assert_int_equal(hop_seen_get(&r, &got), 0);
	assert_string_equal(got.identity, "home");
	assert_false(got.first);
	assert_int_equal(got.trouble, HOP_OTHER_KEY);
	assert_memory_equal(got.sha256, key_b, HOP_KEY_LEN);
	r = rd_init(buf, w.len + 1);
	assert_int_equal(hop_seen_get(&r, &got), -EBADMSG);
	buf[w.len - HOP_KEY_LEN - 1] = HOP_TROUBLES;
	r = rd_init(buf, w.len);
	assert_int_equal(hop_seen_get(&r, &got), -EBADMSG);
	/* What is first is without trouble. */
	buf[w.len - HOP_KEY_LEN - 1] = HOP_OTHER_KEY;
	buf[w.len - HOP_KEY_LEN - 2] = 1;
	r = rd_init(buf, w.len);
	assert_int_equal(hop_seen_get(&r, &got), -EBADMSG);
	buf[w.len - HOP_KEY_LEN - 1] = HOP_FINE;
	r = rd_init(buf, w.len);
	assert_int_equal(hop_seen_get(&r, &got), 0);
	assert_true(got.first);
	buf[w.len - HOP_KEY_LEN - 2] = 2;
	r = rd_init(buf, w.len);
	assert_int_equal(hop_seen_get(&r, &got), -EBADMSG);
}

/* ---- on disk ---- */

static void keys_are_there_after_a_restart(void **state)
{
	struct hop_store s;
	struct stat st;
	bool lost;

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		char name[32];

		assert_int_equal(hop_store_open(&s, dir, &lost), 0);
		assert_false(lost);
		assert_int_equal(s.keys.count, i);
		snprintf(name, sizeof(name), "home%u", i);
		assert_int_equal(hop_keys_add(&s.keys, name, key_a), 0);
		assert_int_equal(hop_store_save(&s), 0);
		hop_store_close(&s);
	}
	assert_int_equal(fstatat(dir, "hop-keys.0", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(hop_store_open(&s, dir, &lost), 0);
	while (s.keys.count) /* what is shorter leaves nothing of the longer one behind it */
		hop_keys_remove(&s.keys, s.keys.v[0].identity);
	for (int i = 0; i < 2; i++)
		assert_int_equal(hop_store_save(&s), 0);
	hop_store_close(&s);
	assert_int_equal(hop_store_open(&s, dir, &lost), 0);
	assert_false(lost);
	assert_int_equal(s.keys.count, 0);
	hop_store_close(&s);
}

/* The power fails at any byte of a write: what was there before it still is. */
static void a_torn_edition_gives_way_to_the_one_before(void **state)
{
	struct hop_store s;
	char full[4096];
	const char *last;
	ssize_t len;
	bool lost;
	int fd;

	(void)state;
	assert_int_equal(hop_store_open(&s, dir, &lost), 0);
	assert_int_equal(hop_keys_add(&s.keys, "first", key_a), 0);
	assert_int_equal(hop_store_save(&s), 0);
	assert_int_equal(hop_keys_add(&s.keys, "second", key_b), 0);
	last = s.next ? "hop-keys.1" : "hop-keys.0";
	assert_int_equal(hop_store_save(&s), 0);
	hop_store_close(&s);
	fd = openat(dir, last, O_RDWR);
	len = pread(fd, full, sizeof(full), 0);
	assert_true(len > 0);
	for (ssize_t n = 0; n < len; n++) {
		assert_int_equal(ftruncate(fd, n), 0);
		assert_int_equal(hop_store_open(&s, dir, &lost), 0);
		assert_false(lost);
		assert_int_equal(s.keys.count, 1);
		assert_string_equal(s.keys.v[0].identity, "first");
		assert_int_equal(s.next, last[9] - '0'); /* the torn one is written next */
		hop_store_close(&s);
		assert_int_equal(pwrite(fd, full, (size_t)len, 0), len);
	}
	close(fd);
	assert_int_equal(hop_store_open(&s, dir, &lost), 0);
	assert_int_equal(s.keys.count, 2);
	hop_store_close(&s);
}

static void what_nobody_can_read_is_told(void **state)
{
	struct hop_store s;
	bool lost;
	int fd;

	(void)state;
	fd = openat(dir, "hop-keys.1", O_RDWR | O_CREAT, 0600);
	assert_int_equal(write(fd, "rubbish", 7), 7);
	assert_int_equal(hop_store_open(&s, dir, &lost), 0);
	assert_true(lost);
	assert_int_equal(s.keys.count, 0);
	assert_int_equal(hop_keys_add(&s.keys, "home", key_a), 0);
	assert_int_equal(hop_store_save(&s), 0);
	hop_store_close(&s);
	assert_int_equal(hop_store_open(&s, dir, &lost), 0);
	assert_false(lost);
	assert_int_equal(s.keys.count, 1);
	hop_store_close(&s);
	close(fd);
}

static void a_file_that_others_could_write_is_refused(void **state)
{
	struct hop_store s;
	bool lost;
	int fd;

	(void)state;
	fd = openat(dir, "hop-keys.0", O_RDWR | O_CREAT, 0600);
	assert_int_equal(fchmod(fd, 0666), 0);
	assert_int_equal(hop_store_open(&s, dir, &lost), -EPERM);
	assert_int_equal(hop_keys_add(&s.keys, "home", key_a), 0); /* until the next start */
	assert_int_equal(hop_store_save(&s), -EBADF);
	hop_store_close(&s);
	close(fd);
}

static void our_own_key_is_made_once(void **state)
{
	struct tls_pin pin, again;
	char pem[8192];
	struct stat st;
	ssize_t n;
	int fd;

	(void)state;
	fd = openat(dir, HOP_OWN_NAME ".new", O_WRONLY | O_CREAT, 0644); /* of a crash */
	assert_int_equal(write(fd, "half", 4), 4);
	close(fd);
	assert_int_equal(hop_own_make(dir), 0);
	assert_int_equal(fstatat(dir, HOP_OWN_NAME, &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(faccessat(dir, HOP_OWN_NAME ".new", F_OK, 0), -1);
	fd = openat(dir, HOP_OWN_NAME, O_RDONLY);
	n = read(fd, pem, sizeof(pem));
	close(fd);
	assert_true(n > 0);
	assert_int_equal(tls_hop_check(pem, (size_t)n, &pin), 0);
	assert_int_equal(hop_own_make(dir), -EEXIST);
	fd = openat(dir, HOP_OWN_NAME, O_RDONLY);
	assert_int_equal(read(fd, pem, sizeof(pem)), n);
	close(fd);
	assert_int_equal(tls_hop_check(pem, (size_t)n, &again), 0);
	assert_memory_equal(pin.sha256, again.sha256, TLS_PIN_LEN);
	assert_int_equal(tls_hop_check(pem, (size_t)n / 2, &again), -EBADMSG);
	/* Half of a file is not replaced either: peers demand the key that was in it. */
	fd = openat(dir, HOP_OWN_NAME, O_WRONLY | O_TRUNC);
	close(fd);
	assert_int_equal(hop_own_make(dir), -EEXIST);
}

/* ---- in a handshake ---- */

static bool shows_hop_key(const char *pem, size_t len, struct tls_pin *pin)
{
	struct tls_keypair pair = { pem, len, pem, len };
	struct tls_server_conf sc = { .keypairs = &pair, .keypair_count = 1 };
	struct tls_client_conf cc = { .verify = TLS_VERIFY_NONE };
	struct tls_ctx *server, *client;
	char err[TLS_ERROR_MAX];
	struct tls *s, *c;
	int fd[2], rc;

	assert_int_equal(tls_server_ctx_new(&server, &sc, err), 0);
	assert_int_equal(tls_client_ctx_new(&client, &cc, err), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	s = tls_accept(server, fd[0]);
	c = tls_connect(client, fd[1], NULL);
	for (int i = 0; i < 10; i++) {
		rc = tls_handshake(c);
		rc |= tls_handshake(s);
	}
	assert_int_equal(rc, 0);
	rc = tls_peer_hop(c, pin);
	tls_free(s);
	tls_free(c);
	tls_ctx_put(server);
	tls_ctx_put(client);
	close(fd[0]);
	close(fd[1]);
	return !rc;
}

static void a_hop_key_is_known_as_one(void **state)
{
	struct tls_pin pin, want;
	size_t len, len2;
	char *pem, *pem2;

	(void)state;
	assert_int_equal(tls_hop_make(&pem, &len), 0);
	assert_int_equal(tls_hop_make(&pem2, &len2), 0);
	assert_true(shows_hop_key(pem, len, &pin));
	assert_int_equal(tls_pin_of(pem, len, &want), 0);
	assert_memory_equal(pin.sha256, want.sha256, TLS_PIN_LEN);
	assert_int_equal(tls_pin_of(pem2, len2, &want), 0);
	assert_memory_not_equal(pin.sha256, want.sha256, TLS_PIN_LEN);
	free(pem);
	free(pem2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_key_that_is_known_is_never_replaced),
		cmocka_unit_test(an_identity_is_one_line),
		cmocka_unit_test(the_set_is_bounded),
		cmocka_unit_test(trouble_is_news_once),
		cmocka_unit_test(text_comes_back),
		cmocka_unit_test(every_truncation_and_every_flipped_bit_is_refused),
		cmocka_unit_test(strange_text_is_refused),
		cmocka_unit_test(the_message_of_relay_comes_back),
		cmocka_unit_test_setup_teardown(keys_are_there_after_a_restart, make_dir, drop_dir),
		cmocka_unit_test_setup_teardown(a_torn_edition_gives_way_to_the_one_before,
						make_dir, drop_dir),
		cmocka_unit_test_setup_teardown(what_nobody_can_read_is_told, make_dir, drop_dir),
		cmocka_unit_test_setup_teardown(a_file_that_others_could_write_is_refused,
						make_dir, drop_dir),
		cmocka_unit_test_setup_teardown(our_own_key_is_made_once, make_dir, drop_dir),
		cmocka_unit_test(a_hop_key_is_known_as_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
