/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "template.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const char command_letters[] = "uhledrsi";
static const char program_letters[] = "uh";
static const char dir_letters[] = "uld";

/* What a check fills in: nothing that could be refused. */
static const struct template_values sample = { "u", "/h", "l", "e", "d", "l@d", "s@d", "0" };

static const char *value(const struct template_values *v, char letter)
{
	switch (letter) {
	case 'u':
		return v->user;
	case 'h':
		return v->home;
	case 'l':
		return v->local;
	case 'e':
		return v->extension;
	case 'd':
		return v->domain;
	case 'r':
		return v->recipient;
	case 's':
		return v->sender;
	default:
		return v->id;
	}
}

struct fill {
	const struct template_values *v;
	const char *letters;
	char *out;
	size_t len, cap;
	char *why;
	size_t why_cap;
};

static int put(struct fill *f, const char *text, size_t n)
{
	if (n >= f->cap - f->len) {
		snprintf(f->why, f->why_cap, "it is too long");
		return -EBADMSG;
	}
	memcpy(f->out + f->len, text, n);
	f->len += n;
	f->out[f->len] = 0;
	return 0;
}

/* "%x" at @at, that stands for @text. */
static int known(struct fill *f, const char *at, const char **text)
{
	*text = at[1] == '%' ? "%" : "";
	if (at[1] == '%')
		return 0;
	if (!at[1] || !strchr(f->letters, at[1])) {
		snprintf(f->why, f->why_cap,
			 "%%%.1s is not known; allowed: %%%% and %% with one of %s", at + 1,
			 f->letters);
		return -EINVAL;
	}
	*text = value(f->v, at[1]);
	return 0;
}

/* ---- commands ---- */

/* One word from @p; returns where the next begins. On errors @rc, and nothing of use. */
static const char *word(struct fill *f, const char *p, int *rc)
{
	const size_t first = f->len;
	bool quoted = false;
	const char *text;

	for (*rc = 0; *p && !*rc && (quoted || !strchr(" \t", *p)); p++) {
		if (*p == '\'') {
			quoted = !quoted;
			continue;
		}
		if (*p != '%') {
			*rc = put(f, p, 1);
			continue;
		}
		*rc = known(f, p, &text);
		if (*rc)
			break;
		p++;
		if (f->len == first && *text == '-') {
			snprintf(f->why, f->why_cap, "\"%.60s\" would be an option of the command",
				 text);
			*rc = -EBADMSG;
			break;
		}
		*rc = put(f, text, strlen(text));
	}
	if (!*rc && quoted) {
		snprintf(f->why, f->why_cap, "a ' has no other");
		*rc = -EINVAL;
	}
	return p + strspn(p, " \t");
}

int template_command(const char *command, const struct template_values *v,
		     struct template_argv *out, char *why, size_t cap)
{
	struct fill f = {
		.v = v, .out = out->text, .cap = sizeof(out->text), .why = why, .why_cap = cap
	};
	const char *p = command + strspn(command, " \t");
	size_t n = 0;
	int rc = 0;

	if (*p != '/') {
		snprintf(why, cap, "the command is no absolute path");
		return -EINVAL;
	}
	while (*p && !rc) {
		if (n == TEMPLATE_WORDS_MAX || f.len + 1 >= f.cap) {
			snprintf(why, cap, "it has more than %d words", TEMPLATE_WORDS_MAX);
			return -EINVAL;
		}
		out->argv[n] = f.out + f.len;
		*out->argv[n++] = 0;
		/* Which program it is no letter decides. */
		f.letters = n > 1 ? command_letters : program_letters;
		p = word(&f, p, &rc);
		f.len++; /* the end of the word */
	}
	out->argv[n] = NULL;
	return rc;
}

int template_command_check(const char *command, char *why, size_t cap)
{
	struct template_argv out;

	return template_command(command, &sample, &out, why, cap) ? -EINVAL : 0;
}

/* ---- directories ---- */

int template_dir(const char *dir, const struct template_values *v, char *out, size_t out_cap,
		 char *why, size_t cap)
{
	struct fill f = { .v = v,
			  .letters = dir_letters,
			  .out = out,
			  .cap = out_cap,
			  .why = why,
			  .why_cap = cap };
	const char *p = strncmp(dir, "%h/", 3) ? dir : dir + 3, *text;
	int rc = 0;

	*out = 0;
	for (; *p && !rc; p++) {
		if (*p != '%') {
			rc = put(&f, p, 1);
			continue;
		}
		rc = known(&f, p, &text);
		if (!rc && (!*text || *text == '.' || strchr(text, '/'))) {
			snprintf(why, cap, "\"%.60s\" is no name of a directory", text);
			rc = -EBADMSG;
		}
		if (!rc)
			rc = put(&f, text, strlen(text));
		p += !rc;
	}
	return rc;
}

static bool below_home(const char *dir)
{
	return *dir && *dir != '/' && strcmp(dir, "..") && strncmp(dir, "../", 3) &&
	       !strstr(dir, "/../") && (strlen(dir) < 3 || strcmp(dir + strlen(dir) - 3, "/.."));
}

int template_dir_check(const char *dir, char *why, size_t cap)
{
	char out[512];
	int rc = template_dir(dir, &sample, out, sizeof(out), why, cap);

	if (!rc && !below_home(out)) {
		snprintf(why, cap, "it is no directory below the user's home");
		rc = -EINVAL;
	}
	return rc ? -EINVAL : 0;
}
