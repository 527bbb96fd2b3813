/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon_cli.h"
#include "secret.h"
#include "sign.h"
#include "whole.h"

#define PSK_BYTES 32
#define PATH_CAP  4096

/* A file that did not exist before, whole or not at all. */
static int write_new(const char *path, const void *data, size_t len, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	int rc = 0;

	if (fd < 0)
		return -errno;
	if (fchmod(fd, mode))
		rc = -errno;
	if (!rc)
		rc = whole_write(fd, data, len);
	if (!rc && fsync(fd))
		rc = -errno;
	close(fd);
	if (rc)
		(void)unlink(path);
	return rc;
}

static int not_written(struct cli *cli, const char *path, int rc)
{
	const char *slash = strrchr(path, '/');

	if (rc == -EEXIST)
		return cli_fail(
		    cli, "%s: exists, and no key is ever overwritten; move it away first", path);
	if (rc == -ENOENT && slash && slash > path)
		return cli_fail(cli, "%s: no such folder; make it first: mkdir -p -m 700 %.*s",
				path, (int)(slash - path), path);
	return cli_fail(cli, "%s: %s", path, strerror(-rc));
}

static int make_psk(struct cli *cli, const char *path)
{
	static const char digit[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	char text[PSK_BYTES * 4 / 3 + 3];
	uint8_t raw[sizeof(text)];
	size_t n = PSK_BYTES * 4 / 3 + 1; /* 6 bits in each */
	int rc = secret_random(raw, n);

	for (size_t i = 0; !rc && i < n; i++)
		text[i] = digit[raw[i] & 63];
	text[n++] = '\n';
	if (!rc)
		rc = write_new(path, text, n, 0600);
	secret_wipe(raw, sizeof(raw));
	secret_wipe(text, sizeof(text));
	if (rc)
		return not_written(cli, path, rc);
	printf("%s: a new secret; the same file goes to the peer, by a safe way\n", path);
	return 0;
}

/* "x.key" -> "x.pub", "x" -> "x.pub" */
static int public_path(const char *path, char *out, size_t cap)
{
	size_t len = strlen(path);

	if (len > 4 && !strcmp(path + len - 4, ".key"))
		len -= 4;
	return (size_t)snprintf(out, cap, "%.*s.pub", (int)len, path) < cap ? 0 : -ENAMETOOLONG;
}

static int make_pair(struct cli *cli, const char *path, enum key_type type)
{
	char pub[PATH_CAP], pem[2048], print[KEY_FINGERPRINT_MAX];
	struct secret priv = { 0 };
	struct pubkey *k = NULL;
	int rc = public_path(path, pub, sizeof(pub));

	if (!rc)
		rc = key_generate(type, &priv, pem, sizeof(pem));
	if (!rc)
		rc = pubkey_load(pem, strlen(pem), &k);
	if (rc) {
		secret_clear(&priv);
		return cli_fail(cli, "%s: %s", path, strerror(-rc));
	}
	rc = write_new(path, priv.data, priv.len, 0600);
	secret_clear(&priv);
	if (rc) {
		pubkey_free(k);
		return not_written(cli, path, rc);
	}
	rc = write_new(pub, pem, strlen(pem), 0644);
	if (rc) {
		(void)unlink(path);
		pubkey_free(k);
		return not_written(cli, pub, rc);
	}
	printf("%s: private key (%s), stays here\n%s: public key, goes to the peer\n%s\n", path,
	       key_type_name(type), pub, pubkey_fingerprint(k, print));
	pubkey_free(k);
	return 0;
}

int cli_keygen(struct cli *cli, int argc, char **argv)
{
	enum key_type type = KEY_ED25519;
	const char *path = NULL;
	bool psk = false;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--psk")) {
			psk = true;
		} else if (!strcmp(argv[i], "--type") && i + 1 < argc) {
			type = key_type_parse(argv[++i]);
			if (type == KEY_NONE)
				return cli_usage(cli,
						 "type \"%s\"; allowed: ed25519, ecdsa-p256, "
						 "ecdsa-p384, ecdsa-p521, rsa",
						 argv[i]);
		} else if (argv[i][0] == '-' || path) {
			return cli_usage(cli, "unexpected \"%s\"", argv[i]);
		} else {
			path = argv[i];
		}
	}
	if (!path)
		return cli_usage(cli, "no file named");
	return psk ? make_psk(cli, path) : make_pair(cli, path, type);
}
