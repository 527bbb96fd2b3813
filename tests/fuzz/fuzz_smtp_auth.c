/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * AUTH exchanges: the first byte picks how the exchange begins, the rest is what the client says from
 * there on. In one piece and byte by byte the replies are the same; nobody is let in without the one
 * password or, inside of TLS, by another name than the certificate's; and after three failures nothing
 * more is asked.
 */
#include <strings.h>

#include "../unit/mta/smtp_drive.h"

#define EXTERNAL 5 /* and what follows it in begin[]: inside of TLS */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct drive *run(const uint8_t *data, size_t len, size_t step, bool late)
{
	static const char *const begin[] = {
		"",	     "PLAIN ",	     "PLAIN\r\n",     "LOGIN\r\n", "LOGIN am9l\r\n",
		"EXTERNAL ", "EXTERNAL\r\n", "EXTERNAL =\r\n"
	};
	size_t how = data[0] % (sizeof(begin) / sizeof(*begin));
	struct drive *d = drive_new();
	const char *word = begin[how];

	d->step = step;
	d->late = late;
	d->conf.auth_offered = d->conf.auth_in_clear = true;
	d->external = "home";
	if (how < EXTERNAL)
		drive_begin(d);
	else
		session_begin(&d->s, &d->conf, &drive_ops, d, "TLSv1.3 X", d->now_ms);
	drive_bytes(d, "EHLO client.example\r\nAUTH ", 26);
	drive_bytes(d, word, strlen(word));
	drive_bytes(d, data + 1, len - 1);
	session_eof(&d->s);
	drive_collect(d);
	return d;
}

static void judge(const struct drive *d)
{
	bool in = memmem(d->out, d->out_len, "\r\n235 ", 6);

	assert(d->auths <= SESSION_AUTH_FAILURES_MAX);
	assert(!in ||
	       (d->by_certificate ? d->s.tls[0] && !strcmp(d->login, "home")
				  : !strcmp(d->login, "joe") && !strcmp(d->password, "secret")));
	assert(!d->s.auth_login || d->s.auth_step == AUTH_LOGIN_PASSWORD);
}

/* STARTTLS looks at what stands behind it in one piece: where it may stand, pieces do matter. */
static bool may_start_tls(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i + 3 <= len; i++) {
		if (!strncasecmp((const char *)p + i, "TLS", 3))
			return true;
	}
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct drive *a, *b;

	if (!len)
		return 0;
	log_setup("fuzz", LOG_LVL_ERR, 2);
	a = run(data, len, 0, false);
	b = run(data, len, 1, true);
	judge(a);
	judge(b);
	if (!may_start_tls(data, len))
		assert(a->out_len == b->out_len && !memcmp(a->out, b->out, a->out_len));
	drive_free(a);
	drive_free(b);
	return 0;
}
