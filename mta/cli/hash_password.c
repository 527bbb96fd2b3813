/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "hash_password.h"

#include <crypt.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "password.h"
#include "secret.h"

/*
 * Theory: a password never stands on a command line, where every user of the machine reads it, and in no
 * buffer of stdio. It is read by read(2) into one array, hashed, and wiped.
 */

/* One line of @fd without its end; 0, -errno, -EMSGSIZE, -EBADMSG (more than a line). */
static int read_line(int fd, char out[static PASSWORD_MAX + 2])
{
	size_t len = 0;
	char *end = NULL;

	while (len < PASSWORD_MAX + 1 && !end) {
		ssize_t n = read(fd, out + len, PASSWORD_MAX + 1 - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		end = memchr(out + len, '\n', (size_t)n);
		len += (size_t)n;
	}
	if (end && end + 1 < out + len)
		return -EBADMSG;
	len = end ? (size_t)(end - out) : len;
	if (len && end && out[len - 1] == '\r')
		len--;
	out[len] = 0;
	return len >= PASSWORD_MAX ? -EMSGSIZE : strlen(out) != len ? -EBADMSG : 0;
}

/* As read_line(), nothing shown; keys that would end the program count as characters. */
static int ask(const char *prompt, char out[static PASSWORD_MAX + 2])
{
	struct termios old, quiet;
	int rc;

	if (tcgetattr(STDIN_FILENO, &old))
		return -errno;
	quiet = old;
	quiet.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
	fputs(prompt, stderr);
	fflush(stderr);
	if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet))
		return -errno;
	rc = read_line(STDIN_FILENO, out);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
	fputc('\n', stderr);
	return rc;
}

static int fail(const struct cli *cli, int rc)
{
	return cli_fail(cli, "%s",
			rc == -EMSGSIZE	 ? "the password is too long; allowed: 511 bytes"
			: rc == -EBADMSG ? "one line is needed, and nothing behind it"
					 : strerror(-rc));
}

/* What a login cannot send, or nobody would type. */
static const char *unfit(const char *password)
{
	if (!*password)
		return "an empty password is none";
	for (const char *p = password; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return "a control character is in the password";
	return NULL;
}

static int print_hash(struct cli *cli, const char *password)
{
	char setting[CRYPT_GENSALT_OUTPUT_SIZE];
	struct crypt_data *data = calloc(1, sizeof(*data));
	const char *hash = NULL;
	int rc = 1;

	/* No prefix: the best that this machine knows; no bytes: it takes its own random ones. */
	if (data && crypt_gensalt_rn(NULL, 0, NULL, 0, setting, sizeof(setting)))
		hash = crypt_rn(password, setting, data, (int)sizeof(*data));
	if (!hash || strlen(hash) >= PASSWORD_HASH_MAX) {
		cli_fail(cli, "it cannot be hashed: %s", strerror(errno));
	} else if (cli->json) {
		json_t *o = json_pack("{s:s}", "hash", hash);

		cli_print_json(o);
		json_decref(o);
		rc = 0;
	} else {
		rc = puts(hash) < 0;
	}
	if (data)
		secret_wipe(data, sizeof(*data));
	free(data);
	return rc;
}

int hash_password_run(struct cli *cli, int argc, char **argv)
{
	char password[PASSWORD_MAX + 2] = "", again[PASSWORD_MAX + 2] = "";
	bool terminal = isatty(STDIN_FILENO);
	const char *why;
	int rc;

	if (argc != 1)
		return cli_usage(cli,
				 "unexpected \"%s\"; the password is read from the terminal, or "
				 "from standard input",
				 argv[1]);
	rc = terminal ? ask("Password: ", password) : read_line(STDIN_FILENO, password);
	why = rc ? NULL : unfit(password);
	if (!rc && !why && terminal) {
		rc = ask("The same again: ", again);
		if (!rc && !secret_equal(password, strlen(password), again, strlen(again)))
			why = "the two are not the same";
	}
	rc = rc ? fail(cli, rc) : why ? cli_fail(cli, "%s", why) : print_hash(cli, password);
	secret_wipe(password, sizeof(password));
	secret_wipe(again, sizeof(again));
	return rc;
}
