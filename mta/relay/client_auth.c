/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "client_auth.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "secret.h"

#define CLEAR_MAX   600 /* what PLAIN says, before base64 */
#define COMMAND_MAX 510 /* a command without CRLF (RFC 5321 s4.5.3.1.4) */

unsigned client_auth_offer(const char *words)
{
	unsigned offer = 0;

	for (const char *w = words; *w; w += strcspn(w, " ")) {
		size_t n;

		w += strspn(w, " ");
		n = strcspn(w, " ");
		if (n == 5 && !strncasecmp(w, "PLAIN", n))
			offer |= CLIENT_AUTH_PLAIN;
		else if (n == 5 && !strncasecmp(w, "LOGIN", n))
			offer |= CLIENT_AUTH_LOGIN;
		else if (n == 8 && !strncasecmp(w, "EXTERNAL", n))
			offer |= CLIENT_AUTH_EXTERNAL;
	}
	return offer;
}

static void encode(char *line, const char *clear, size_t len)
{
	EVP_EncodeBlock((unsigned char *)line, (const unsigned char *)clear, (int)len);
}

/* RFC 4616: nobody else's name, ours, the password. Where AUTH would get too long it goes by itself. */
static int plain_line(unsigned step, const char *username, const char *password, char *line)
{
	static const char verb[] = "AUTH PLAIN ";
	size_t u = strlen(username), p = strlen(password), len = u + p + 2;
	bool early = sizeof(verb) - 1 + (len + 2) / 3 * 4 <= COMMAND_MAX;
	char clear[CLEAR_MAX];

	if (step > (early ? 0 : 1))
		return -EPROTO;
	if (!early && !step) {
		snprintf(line, CLIENT_AUTH_LINE_MAX, "AUTH PLAIN");
		return 0;
	}
	clear[0] = 0;
	memcpy(clear + 1, username, u + 1);
	memcpy(clear + u + 2, password, p);
	if (early) {
		memcpy(line, verb, sizeof(verb));
		line += sizeof(verb) - 1;
	}
	encode(line, clear, len);
	secret_wipe(clear, sizeof(clear));
	return 0;
}

/* Whatever the two questions say: "Username:" and "Password:", or the same in another language. */
static int login_line(unsigned step, const char *username, const char *password, char *line)
{
	if (step > 2)
		return -EPROTO;
	if (!step)
		snprintf(line, CLIENT_AUTH_LINE_MAX, "AUTH LOGIN");
	else
		encode(line, step == 1 ? username : password,
		       strlen(step == 1 ? username : password));
	return 0;
}

int client_auth_line(unsigned offer, unsigned step, const char *username, const char *password,
		     char line[static CLIENT_AUTH_LINE_MAX])
{
	if (strlen(username) + strlen(password) + 2 > CLEAR_MAX)
		return -EMSGSIZE;
	if (offer & CLIENT_AUTH_PLAIN)
		return plain_line(step, username, password, line);
	if (offer & CLIENT_AUTH_LOGIN)
		return login_line(step, username, password, line);
	return -ENOTSUP;
}

int client_auth_external(unsigned offer, unsigned step, char line[static CLIENT_AUTH_LINE_MAX])
{
	if (!(offer & CLIENT_AUTH_EXTERNAL))
		return -ENOTSUP;
	/* A peer that has not understood "=", nothing to say, asks; the same is an empty line then. */
	if (step > 1)
		return -EPROTO;
	snprintf(line, CLIENT_AUTH_LINE_MAX, "%s", step ? "" : "AUTH EXTERNAL =");
	return 0;
}
