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

__attribute__((format(printf, 3, 0))) static void
vwrite_line(const struct log *log, enum log_level level, const char *fmt, va_list ap)
{
	char msg[LOG_LINE_MAX / 2], quoted[LOG_LINE_MAX], line[LOG_LINE_MAX + LOG_CTX_MAX + 128];
	int saved = errno, n;
	struct timespec ts;
	struct tm tm;
	char when[32];

	vsnprintf(msg, sizeof(msg), fmt, ap);
	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
	log_quote(quoted, sizeof(quoted), msg, strlen(msg));
	n = snprintf(line, sizeof(line), "%s.%03ldZ %s %s%s%s msg=\"%s\"\n", when,
		     ts.tv_nsec / 1000000, level_word[level], program_name,
		     log && log->ctx ? " " : "", log && log->ctx ? log->ctx : "", quoted);
	if (n > (int)sizeof(line) - 1)
		n = (int)sizeof(line) - 1;
	/* One write, so that lines of several processes never mix; a full pipe loses the line, */
	/* never the daemon. */
	if (write(out_fd, line, (size_t)n) < 0)
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
