/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The parent's part of hop keys: what relay tells is kept, what the admin takes away is gone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "parent.h"
#include "tls_hop.h"
#include "wire.h"

static const uint8_t key_a[HOP_KEY_LEN] = { 1, 2, 3, 0xab };
static const uint8_t key_b[HOP_KEY_LEN] = { 9, 8, 7, 0xcd };

static FILE *lines; /* the log */
static char folder[64];
static struct mta_config config = { .state_dir = folder, .tunnel = true };
static const struct proc_spec relay = { .name = "relay", .id = MTA_PROC_RELAY };
static struct tunnel_peer peers[1];
static struct parent p;
static int sets_sent;

void parent_send_memfd(struct proc *to, uint32_t type, uint32_t id, const void *data, size_t len)
{
	(void)data;
	(void)len;
	assert_ptr_equal(to->spec, &relay);
	assert_int_equal(type, MTA_KEY);
	assert_int_equal(id, MTA_KEY_HOPS);
	sets_sent++;
}

static bool falls; /* who looks at our own key */
static int looked;

int __real_tls_hop_check(const char *pem, size_t len, struct tls_pin *pin);
int __wrap_tls_hop_check(const char *pem, size_t len, struct tls_pin *pin);
int __wrap_tls_hop_check(const char *pem, size_t len, struct tls_pin *pin)
{
	looked++;
	if (falls)
		raise(SIGKILL);
	return __real_tls_hop_check(pem, len, pin);
}

static int start(void **state)
{
	(void)state;
	snprintf(folder, sizeof(folder), "/tmp/parent-hop.XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(peers[0].name, sizeof(peers[0].name), "home");
	snprintf(peers[0].identity, sizeof(peers[0].identity), "home.example.net");
	p = (struct parent){ .config = &config, .loop = loop_new() };
	p.table = (struct proc_table){ .procs = p.procs, .count = 1 };
	p.procs[0].spec = &relay;
	p.procs[0].ipc = (struct ipc *)(void *)&p; /* there is one */
	p.tunnel.peers = peers;
	p.tunnel.peer_count = 1;
	sets_sent = 0;
	hop_open(&p);
	return 0;
}

static int end(void **state)
{
	static const char *const names[] = { HOP_OWN_NAME, "hop-keys.0", "hop-keys.1" };
	char path[128];

	(void)state;
	hop_close(&p);
	loop_free(p.loop);
	for (size_t i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		unlink(path);
	}
	return rmdir(folder);
}

/* Is there a key of @identity now, and would there be after a restart? */
static bool known(const char *identity)
{
	return hop_keys_find(&p.hop.keys, identity) != NULL;
}

static bool on_disk(const char *identity)
{
	int dir = open(folder, O_RDONLY | O_DIRECTORY);
	struct hop_store s;
	bool lost, there;

	assert_int_equal(hop_store_open(&s, dir, &lost), 0);
	close(dir);
	there = hop_keys_find(&s.keys, identity) != NULL;
	hop_store_close(&s);
	return there;
}

static void keep(const char *identity)
{
	assert_int_equal(hop_keys_add(&p.hop.keys, identity, key_a), 0);
	assert_int_equal(hop_store_save(&p.hop), 0);
}

/* Relay tells it. */
static void seen(const char *identity, bool first, enum hop_trouble trouble, const uint8_t *sha256)
{
	struct hop_seen m = {
		.identity = identity, .first = first, .trouble = (uint8_t)trouble, .sha256 = sha256
	};
	uint8_t buf[512];
	struct wr w = wr_init(buf, sizeof(buf));

	hop_seen_put(&w, &m);
	assert_false(w.bad);
	hop_seen(&p, buf, w.len);
}

/* What was logged since the last time. */
static const char *logged(void)
{
	static char text[65536];
	size_t n;

	rewind(lines);
	n = fread(text, 1, sizeof(text) - 1, lines);
	text[n] = 0;
	rewind(lines);
	assert_int_equal(ftruncate(fileno(lines), 0), 0);
	return text;
}

static void a_key_is_forgotten_by_name_and_by_identity(void **state)
{
	(void)state;
	keep("home.example.net");
	keep("other.example.net");
	assert_null(hop_forget(&p, "home"));
	assert_false(known("home.example.net") || on_disk("home.example.net"));
	assert_true(on_disk("other.example.net"));
	assert_null(hop_forget(&p, "other.example.net"));
	assert_false(on_disk("other.example.net"));
	assert_int_equal(sets_sent, 2);
	assert_non_null(strstr(hop_forget(&p, "home"), "no key"));
	assert_int_equal(sets_sent, 2);
}

static void what_the_disk_still_has_is_not_called_forgotten(void **state)
{
	int full = open("/dev/full", O_RDWR | O_CLOEXEC), file;

	(void)state;
	keep("home.example.net");
	file = dup(p.hop.fd[p.hop.next]);
	assert_true(full >= 0 && file >= 0 && dup2(full, p.hop.fd[p.hop.next]) >= 0);
	assert_non_null(strstr(hop_forget(&p, "home"), "until the next start only"));
	assert_int_equal(sets_sent, 1); /* relay goes by it all the same */
	assert_false(known("home.example.net"));
	assert_true(on_disk("home.example.net"));
	/* Again, when there is room. */
	assert_true(dup2(file, p.hop.fd[p.hop.next]) >= 0);
	assert_null(hop_forget(&p, "home"));
	assert_false(on_disk("home.example.net"));
	assert_non_null(strstr(hop_forget(&p, "home"), "no key"));
	close(full);
	close(file);
}

/* With all that a line must not have. */
static void long_identity(char *out, size_t len)
{
	memset(out, 'x', len);
	out[len] = 0;
	memcpy(out, "C=DE, CN=\"a\\b", 13);
}

/* A peer of which posternd has not told is known by its identity. */
static void words_about_a_long_identity_are_whole(void **state)
{
	char identity[HOP_IDENTITY_MAX], want[2 * HOP_IDENTITY_MAX];
	json_t *all, *peer;

	(void)state;
	long_identity(identity, sizeof(identity) - 1);
	logged();
	seen(identity, true, HOP_FINE, key_a);
	assert_non_null(strstr(logged(), " peer=\"C=DE, CN=\\\"a\\\\bxxx"));
	seen(identity, false, HOP_OTHER_KEY, key_b);
	snprintf(want, sizeof(want), "postern mail forget-key C=DE, CN=\\\"a\\\\b%s\"\n",
		 identity + 13);
	assert_non_null(strstr(logged(), want));
	assert_null(hop_forget(&p, identity));
	assert_non_null(strstr(logged(), " peer=\"C=DE, CN=\\\"a\\\\bxxx"));
	seen(identity, true, HOP_FINE, key_a);
	seen(identity, false, HOP_NO_TLS, key_b);
	all = hop_json(&p);
	peer = json_array_get(json_object_get(all, "peers"), 0);
	snprintf(want, sizeof(want), "postern mail forget-key %s", identity);
	assert_non_null(strstr(json_string_value(json_object_get(peer, "trouble")), want));
	json_decref(all);
	/* By its name where it has one. */
	logged();
	seen("home.example.net", true, HOP_FINE, key_a);
	assert_non_null(strstr(logged(), " peer=home msg="));
}

static void a_key_that_cannot_be_kept_fills_no_log(void **state)
{
	size_t count = 0;
	const char *at;

	(void)state;
	logged();
	for (int i = 0; i < 200; i++)
		seen("", true, HOP_FINE, key_a);
	for (at = logged(); (at = strstr(at, "is not remembered")); at++)
		count++;
	assert_true(count && count < 100);
}

/* Letters that are under way tell of the key that is forgotten just now. */
static void a_first_contact_alone_is_learned(void **state)
{
	(void)state;
	seen("home.example.net", true, HOP_FINE, key_a);
	assert_true(known("home.example.net") && on_disk("home.example.net"));
	seen("home.example.net", false, HOP_OTHER_KEY, key_b);
	assert_int_equal(p.hop.keys.v[0].trouble, HOP_OTHER_KEY);
	seen("home.example.net", false, HOP_FINE, key_a);
	assert_int_equal(p.hop.keys.v[0].trouble, HOP_FINE);
	assert_null(hop_forget(&p, "home"));
	seen("home.example.net", false, HOP_FINE, key_a);
	assert_false(known("home.example.net") || on_disk("home.example.net"));
	seen("home.example.net", true, HOP_FINE, key_b);
	assert_memory_equal(p.hop.keys.v[0].sha256, key_b, HOP_KEY_LEN);
}

/* ---- our own key ---- */

static void write_own(const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, HOP_OWN_NAME);
	f = fopen(path, "w");
	assert_true(f && fputs(text, f) >= 0 && !fclose(f));
}

static void our_own_key_is_made_and_looked_at_elsewhere(void **state)
{
	(void)state;
	assert_true(p.hop_own);
	assert_int_equal(looked, 0); /* in this process */
	assert_non_null(strstr(logged(), "a hop key was made"));
	hop_read_own(&p);
	assert_true(p.hop_own);
	assert_string_equal(logged(), "");
}

static void a_key_that_cannot_be_looked_at_is_not_forgotten(void **state)
{
	struct tls_pin before = p.hop_pin;
	const char *text;

	(void)state;
	logged();
	falls = true;
	hop_read_own(&p);
	falls = false;
	text = logged();
	assert_non_null(strstr(text, "/hop.pem: could not be looked at, its process ended"));
	assert_non_null(strstr(text, "postern mail reload"));
	assert_non_null(strstr(text, "the key that was found there serves"));
	assert_true(p.hop_own);
	assert_memory_equal(&p.hop_pin, &before, sizeof(before));
	/* That it is no key is another matter. */
	write_own("-----BEGIN CERTIFICATE-----\n");
	hop_read_own(&p);
	assert_false(p.hop_own);
	assert_non_null(strstr(logged(), "holds no key with its certificate: put back a copy"));
	falls = true;
	hop_read_own(&p);
	falls = false;
	assert_non_null(strstr(logged(), "this hop has no key to show"));
	assert_false(p.hop_own);
}

static void a_folder_that_is_not_there_is_told(void **state)
{
	static char other[] = "/nonexistent/postern";

	(void)state;
	hop_close(&p);
	logged();
	config.state_dir = other;
	hop_open(&p);
	config.state_dir = folder;
	assert_false(p.hop_own);
	assert_non_null(strstr(logged(), "/nonexistent/postern: no hop key can be made: No such"));
}

static void without_a_tunnel_there_are_no_keys(void **state)
{
	char path[128];

	(void)state;
	hop_close(&p);
	snprintf(path, sizeof(path), "%s/%s", folder, HOP_OWN_NAME);
	unlink(path);
	p.hop_opened = p.hop_own = config.tunnel = false;
	logged();
	hop_open(&p);
	hop_read_own(&p);
	assert_false(p.hop_own);
	assert_int_equal(access(path, F_OK), -1);
	assert_false(p.hop_opened); /* so no reload brings one */
	assert_string_equal(logged(), "");
	config.tunnel = true;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_key_is_forgotten_by_name_and_by_identity, start,
						end),
		cmocka_unit_test_setup_teardown(what_the_disk_still_has_is_not_called_forgotten,
						start, end),
		cmocka_unit_test_setup_teardown(a_first_contact_alone_is_learned, start, end),
		cmocka_unit_test_setup_teardown(words_about_a_long_identity_are_whole, start, end),
		cmocka_unit_test_setup_teardown(a_key_that_cannot_be_kept_fills_no_log, start, end),
		cmocka_unit_test_setup_teardown(our_own_key_is_made_and_looked_at_elsewhere, start,
						end),
		cmocka_unit_test_setup_teardown(a_key_that_cannot_be_looked_at_is_not_forgotten,
						start, end),
		cmocka_unit_test_setup_teardown(a_folder_that_is_not_there_is_told, start, end),
		cmocka_unit_test_setup_teardown(without_a_tunnel_there_are_no_keys, start, end),
	};

	lines = tmpfile();
	log_setup("test_parent_hop", LOG_LVL_INFO, fileno(lines));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
