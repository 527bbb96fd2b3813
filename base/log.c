/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const level_word[] = { "err", "warn", "info", "debug" };
static char program_name[64] = "postern";
static enum log_level threshold = LOG_LVL_INFO;
static int out_fd = STDERR_FILENO;

void log_setup(const char *program, enum log_level level, int fd)
{
	snprintf(program_name, sizeof(program_name), "%s", program);
	threshold = level;
	out_fd = fd;
}

int log_level_parse(const char *word, enum log_level *level)
{
	for (size_t i = 0; i < sizeof(level_word) / sizeof(*level_word); i++) {
		if (!strcmp(word, level_word[i])) {
			*level = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

bool log_enabled(enum log_level level)
{
	return level <= threshold;
}

void log_set(struct log *log, const char *fmt, ...)
{
	char ctx[LOG_CTX_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(ctx, sizeof(ctx), fmt, ap);
	va_end(ap);
	if (log->ctx && !strcmp(log->ctx, ctx))
		return;
	free(log->ctx);
	log->ctx = strdup(ctx);
}

void log_clear(struct log *log)
{
	free(log->ctx);
	log->ctx = NULL;
}

const char *log_quote(char *out, size_t cap, const char *s, size_t len)
{
	static const char hex[] = "0123456789abcdef";
	size_t n = 0;

	if (!cap)
		return "";
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		if (n + 5 > cap)
			break;
		if (c == '"' || c == '\\') {
			out[n++] = '\\';
			out[n++] = (char)c;
		} else if (c < 0x20 || c == 0x7f) {
			out[n++] = '\\';
			out[n++] = 'x';
			out[n++] = hex[c >> 4];
			out[n++] = hex[c & 15];
		} else {
			out[n++] = (char)c;
		}
	}
	out[n] = '\0';
	return out;
}

/* Does @fmt have nothing but key=value, the value one word or in quotes? */
static bool is_fields(const char *fmt)
{
	while (*fmt) {
		size_t n = strspn(fmt, "abcdefghijklmnopqrstuvwxyz_");

		if (!n || fmt[n] != '=')
			return false;
		fmt += n + 1;
		if (*fmt == '"') {
			fmt = strchr(fmt + 1, '"');
			if (!fmt)
				return false;
			fmt++;
		} else {
			fmt += strcspn(fmt, " \"");
		}
		if (*fmt && (*fmt != ' ' || !*++fmt))
			return false;
	}
	return true;
}

/* As log_quote(), but quotes and backslashes stay: who wrote the format has put them. */
static void put_fields(char *out, size_t cap, const char *s)
{
	size_t n = 0;

	for (; *s && n + 5 < cap; s++) {
		unsigned char c = (unsigned char)*s;

		n +=
		    (size_t)snprintf(out + n, cap - n, c < 0x20 || c == 0x7f ? "\\x%02x" : "%c", c);
	}
	out[n] = '\0';
}

#define MSG_MAX 1400 /* the longest has an identity of 255 bytes three times */

/* Shows that there was more: no half an escape at the end, and no open quotes in what stands as it is. */
static void end_cut(char msg[static MSG_MAX], bool fields)
{
	size_t n = MSG_MAX - sizeof("...\""), more;
	bool open = false;

	for (size_t i = 0; i < n; i++) {
		if (msg[i] == '"')
			open = !open;
		if (msg[i] != '\\')
			continue;
		more = msg[i + 1] == 'x' ? 3 : 1;
		if (i + more >= n)
			n = i;
		i += more;
	}
	snprintf(msg + n, MSG_MAX - n, "...%s", fields && open ? "\"" : "");
}

__attribute__((format(printf, 3, 0))) static void
vwrite_line(const struct log *log, enum log_level level, const char *fmt, va_list ap)
{
	char msg[MSG_MAX], line[LOG_LINE_MAX];
	bool fields = *fmt && is_fields(fmt);
	size_t n, cap = sizeof(line) - 2; /* the last quote and the end of the line */
	int saved = errno;
	struct timespec ts;
	struct tm tm;
	char when[32];

	if (vsnprintf(msg, sizeof(msg), fmt, ap) >= (int)sizeof(msg))
		end_cut(msg, fields);
	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
	n = (size_t)snprintf(line, cap, "%s.%03ldZ %s %s%s%s %s", when, ts.tv_nsec / 1000000,
			     level_word[level], program_name, log && log->ctx ? " " : "",
			     log && log->ctx ? log->ctx : "", fields ? "" : "msg=\"");
	if (fields)
		put_fields(line + n, cap - n, msg);
	else
		log_quote(line + n, cap - n, msg, strlen(msg));
	n += strlen(line + n);
	if (!fields)
		line[n++] = '"';
	line[n++] = '\n';
	/* One write, so that lines of several processes never mix; a full pipe loses the line, */
	/* never the daemon. */
	if (write(out_fd, line, n) < 0)
		errno = saved;
	errno = saved;
}

void log_write(const struct log *log, enum log_level level, const char *fmt, ...)
{
	va_list ap;

	if (!log_enabled(level))
		return;
	va_start(ap, fmt);
	vwrite_line(log, level, fmt, ap);
	va_end(ap);
}

bool log_limited(struct log_limit *lim, uint32_t key, uint64_t now_ms, uint32_t *suppressed)
{
	uint32_t i = (key * 2654435761u) >> 26;

	*suppressed = 0;
	if (now_ms - lim->slot[i].since_ms >= LOG_LIMIT_PERIOD_MS || !lim->slot[i].since_ms) {
		*suppressed = lim->slot[i].suppressed;
		lim->slot[i].since_ms = now_ms ? now_ms : 1;
		lim->slot[i].passed = 1;
		lim->slot[i].suppressed = 0;
		return true;
	}
	if (lim->slot[i].passed < LOG_LIMIT_BURST) {
		lim->slot[i].passed++;
		return true;
	}
	lim->slot[i].suppressed++;
	return false;
}

void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vwrite_line(NULL, LOG_LVL_ERR, fmt, ap);
	va_end(ap);
	exit(1);
}
