/* SPDX-License-Identifier: GPL-3.0-or-later */
/* `postern keygen` and `postern check`, as the command line calls them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"
#include "daemon_cli.h"
#include "view.h"

/* A key that is too small, made for this and used nowhere. */
#define RSA_1024                                                                                   \
	"-----BEGIN PRIVATE KEY-----\n"                                                            \
	"MIICdQIBADANBgkqhkiG9w0BAQEFAASCAl8wggJbAgEAAoGBALnC3pa4FGUY75hP\n"                       \
	"9IUPOKqpPY51xU4l8l6Tfp2r1Nb8Fe9kNoxidUBMFeHN3MyYufc/SRD1GLgn2t/b\n"                       \
	"tiK2BuTMlvWEwAgcg1nlxWf/cZ99TVnKINsmnyy0wY4DRC87sbukbyz4jFwghZls\n"                       \
	"rm3C80kwBtVc6en92j8WJwU0rYcvAgMBAAECgYBqqQehxuR/AAhijlY6KHlDFJXx\n"                       \
	"vJGjw4oc39ettMIrBueZYxMnHElyt71AwDFtkKwG2WGcyP5+jvPP4Zn86EOgFKL2\n"                       \
	"e4FolRSpYelwNFvdu+vKz0l+7nTV2VXRh0mx75uU2yy66axDQXKY6I5rzoN0PfJd\n"                       \
	"QieNYCtWWxebP6MwYQJBAO55xpd5C/wfjtOXMUGu3VZ8nvZuQi2LNuaHRuwNVgS5\n"                       \
	"l/ki/9y9jY0EFB9+hFMDERmyOJaAzhjBc9uvzfeOyOcCQQDHaWy1kwrwuA2WcMLD\n"                       \
	"gIlcZk+d2yD7AvpEab5lRzHdFxqTN6vOdl/IfUXuBD9JKnLGUnfRMduGqktsOUO7\n"                       \
	"/p55AkAA98mQj9M2oMIppbFzfMw1L6hNg8ENAkWkxePJzXwN5NrzDetP8A0FB4E1\n"                       \
	"Z4QN+jM1kX2dTsSHYTGhMKN7X779AkAiDeb6uznLEiN/5ZHdQT40AWTnWFyxgTis\n"                       \
	"JkLVmOrzDtcC/SbiA2UoH/ypQSBtpkojhEHh/9m1ja+Ds+PVXw5BAkBVAlcEr91m\n"                       \
	"T8s+r++7Wi/jEti4uVK4aRwYQj1G0nDn455liKxVJAsc/LhJ9iNpUXcjncms4F/b\n"                       \
	"ARfoT71JONwc\n"                                                                           \
	"-----END PRIVATE KEY-----\n"
#define RSA_1024_PUBLIC                                                                            \
	"-----BEGIN PUBLIC KEY-----\n"                                                             \
	"MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC5wt6WuBRlGO+YT/SFDziqqT2O\n"                       \
	"dcVOJfJek36dq9TW/BXvZDaMYnVATBXhzdzMmLn3P0kQ9Ri4J9rf27YitgbkzJb1\n"                       \
	"hMAIHINZ5cVn/3GffU1ZyiDbJp8stMGOA0QvO7G7pG8s+IxcIIWZbK5twvNJMAbV\n"                       \
	"XOnp/do/FicFNK2HLwIDAQAB\n"                                                               \
	"-----END PUBLIC KEY-----\n"

static char dir[] = "/tmp/postern-check-XXXXXX";

static const char *path(const char *name)
{
	static char p[4][256];
	static int turn;

	turn = (turn + 1) % 4;
	snprintf(p[turn], sizeof(p[turn]), "%s/%s", dir, name);
	return p[turn];
}

static void put(const char *name, const char *text, mode_t mode)
{
	FILE *f = fopen(path(name), "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	assert_int_equal(chmod(path(name), mode), 0);
}

static int keygen(const char *a, const char *b, const char *c)
{
	static const struct cli_verb *const tables[] = { daemon_cli_verbs, NULL };
	char *argv[] = {
		(char *)"postern", (char *)"keygen", (char *)a, (char *)b, (char *)c, NULL
	};
	int argc = 2;

	while (argv[argc])
		argc++;
	return cli_main(argc, argv, tables, "");
}

static mode_t mode_of(const char *name)
{
	struct stat st;

	assert_int_equal(stat(path(name), &st), 0);
	return st.st_mode & 07777;
}

static void keygen_makes_a_pair_that_fits_and_overwrites_nothing(void **state)
{
	mode_t mask = umask(0);

	(void)state;
	assert_int_equal(keygen(path("vps.key"), NULL, NULL), 0);
	assert_int_equal(keygen("--type", "ecdsa-p256", path("home.key")), 0);
	assert_int_equal(keygen("--psk", path("psk"), NULL), 0);
	umask(mask);
	assert_int_equal(mode_of("vps.key"), 0600);
	assert_int_equal(mode_of("vps.pub"), 0644);
	assert_int_equal(mode_of("psk"), 0600);
	assert_int_equal(keygen(path("vps.key"), NULL, NULL), 1);
	assert_int_equal(unlink(path("home.key")), 0);
	assert_int_equal(keygen(path("home.key"), NULL, NULL), 1); /* home.pub is there */
	assert_int_equal(access(path("home.key"), F_OK), -1);	   /* and nothing half-made stays */
	assert_int_equal(keygen("--type", "dsa", path("x.key")), CLI_USAGE);
	assert_int_equal(keygen(NULL, NULL, NULL), CLI_USAGE);
}

#define CONF                                                                                       \
	"[posternd]\n"                                                                             \
	"identity = vps.example.net\n"                                                             \
	"private-key = vps.key\n"                                                                  \
	"tunnel-address = 10.99.0.1\n"                                                             \
	"[peer home]\n"                                                                            \
	"identity = home.example.net\n"                                                            \
	"public-key = home.pub\n"                                                                  \
	"assign = 10.99.0.2\n"

static struct config *check(const char *text)
{
	struct config *cfg;

	put("postern.conf", text, 0644);
	cfg = config_load(path("postern.conf"));
	assert_non_null(cfg);
	config_files_check(cfg, &conf_files_disk);
	return cfg;
}

static void says(const char *text, const char *want)
{
	struct config *cfg = check(text);
	char full[1024];
	const char *at = want;
	size_t n = 0;

	/* "%" stands for the folder. */
	for (; *at && n < sizeof(full) - 300; at++)
		n += (size_t)(*at == '%' ? snprintf(full + n, 300, "%s", dir)
					 : snprintf(full + n, 2, "%c", *at));
	assert_non_null(cfg->conf->errors);
	assert_string_equal(cfg->conf->errors, full);
	config_free(cfg);
}

static void check_accepts_what_is_right(void **state)
{
	struct config *cfg = check(CONF);

	(void)state;
	if (!conf_ok(cfg->conf))
		fail_msg("%s", cfg->conf->errors);
	config_free(cfg);
}

static void check_looks_into_the_files(void **state)
{
	(void)state;
	assert_int_equal(chmod(path("vps.key"), 0640), 0);
	says(CONF, "%/postern.conf:3: private-key = %/vps.key: is a secret readable by others "
		   "(mode 0640); "
		   "chmod 0600");
	assert_int_equal(chmod(path("vps.key"), 0600), 0);
	put("junk", "no key\n", 0600);
	says("[posternd]\nidentity = v.example\ntunnel-address = 10.99.0.1\nprivate-key = junk\n",
	     "%/postern.conf:4: private-key = %/junk: holds no private key; make one "
	     "with "
	     "postern keygen");
	says(CONF "[peer b]\nidentity = b.example\nassign = 10.99.0.3\npublic-key = junk\n",
	     "%/postern.conf:12: [peer b] %/junk holds no public key");
	says(CONF "[peer b]\nidentity = b.example\nassign = 10.99.0.3\npublic-key = none\n",
	     "%/postern.conf:12: [peer b] %/none cannot be opened: No such file or directory");
	put("short", "secret\n", 0600);
	says(CONF "[peer b]\nidentity = b.example\nassign = 10.99.0.3\npsk = short\n",
	     "%/postern.conf:12: psk = %/short: is too short a secret; make one with postern "
	     "keygen --psk");
	put("short", "correct horse battery staple\n", 0600);
	says(
	    CONF "[peer b]\nidentity = b.example\nassign = 10.99.0.3\npsk = short\n",
	    "%/postern.conf:12: psk = %/short: can be guessed; make one with postern keygen --psk");
	put("junk", RSA_1024, 0600);
	says("[posternd]\nidentity = v.example\ntunnel-address = 10.99.0.1\nprivate-key = junk\n",
	     "%/postern.conf:4: private-key = %/junk: is of a type or size that Postern does not "
	     "have (Ed25519, ECDSA on P-256, P-384 or P-521, RSA of 2048 to 8192 bits); make one "
	     "with postern keygen");
	put("junk", RSA_1024_PUBLIC, 0644);
	says(CONF "[peer b]\nidentity = b.example\nassign = 10.99.0.3\npublic-key = junk\n",
	     "%/postern.conf:12: [peer b] %/junk is of a type or size that Postern does not have "
	     "(Ed25519, ECDSA on P-256, P-384 or P-521, RSA of 2048 to 8192 bits)");
	put("junk", "no key\n", 0600);
	says(CONF
	     "[peer b]\nidentity = b.example\nassign = 10.99.0.3\nca = junk\ncertificate = junk\n",
	     "%/postern.conf:12: [peer b] %/junk holds no certificate (Bad message)");
	assert_int_equal(chmod(path("home.pub"), 0666), 0);
	says(CONF, "%/postern.conf:7: [peer home] %/home.pub is writable by others (mode 0666); "
		   "chmod go-w");
	assert_int_equal(chmod(path("home.pub"), 0644), 0);
}

static void the_view_speaks_the_engines_language(void **state)
{
	struct config *cfg =
	    check("[posternd]\nidentity = 192.0.2.1\nprivate-key = vps.key\n"
		  "[peer a]\nidentity = u@a.example\npublic-key = home.pub, vps.pub\n"
		  "address = 192.0.2.9\nstart = always\nlifetime = 30m\n"
		  "networks = 10.0.0.0/8\nlocal-ts = 10.99.0.1[tcp/25]\n");
	struct proposals ike, esp;
	char why[600];
	struct view *v;

	(void)state;
	assert_true(conf_ok(cfg->conf));
	view_proposals(&ike, &esp, true);
	v = view_new(&cfg->peers[0], &conf_files_disk, KEY_ED25519, &ike, &esp, why, sizeof(why));
	assert_non_null(v);
	assert_int_equal(v->peer.local_id.type, ID_IPV4_ADDR);
	assert_int_equal(v->peer.local_id.len, 4);
	assert_int_equal(v->peer.remote_id.type, ID_RFC822_ADDR);
	assert_int_equal(v->peer.remote_auth.public_key_count, 2);
	assert_int_equal(v->peer.child_count, 1);
	assert_int_equal(v->child[0].lifetime_s, 1800);
	assert_true(v->peer.request_v4 && v->child[0].local_ts_count == 1 &&
		    v->child[0].local_ts[0].ts.proto == 6);
	assert_int_equal(v->child[0].local_ts[0].ts.port_lo, 25);
	assert_int_equal(esp.count, 2);
	view_free(v);
	config_free(cfg);
}

static int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	static const char *const names[] = { "vps.key", "vps.pub", "home.key", "home.pub",
					     "psk",	"junk",	   "short",    "postern.conf" };

	(void)state;
	for (size_t i = 0; i < CONF_COUNT(names); i++)
		unlink(path(names[i]));
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keygen_makes_a_pair_that_fits_and_overwrites_nothing),
		cmocka_unit_test(check_accepts_what_is_right),
		cmocka_unit_test(check_looks_into_the_files),
		cmocka_unit_test(the_view_speaks_the_engines_language),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
