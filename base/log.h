/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_LOG_H
#define BASE_LOG_H

/*
 * Theory: one line an event, key=value, to standard error (which systemd and the tests collect).
 *
 *	2026-11-21T23:38:06.123Z info posternd/child peer=home spi_i=0123456789abcdef msg="up"
 *
 * A struct log carries the keys that name its owner (peer, SPIs, letter id). info is what an admin
 * acts on; debug has found and wanted values. Bytes from outside reach a line only through
 * log_quote() or as an argument of a message, where control characters are escaped. What a
 * stranger can trigger goes through log_limited().
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_LVL_ERR, LOG_LVL_WARN, LOG_LVL_INFO, LOG_LVL_DEBUG };

#define LOG_CTX_MAX  288
#define LOG_LINE_MAX 3400 /* less than PIPE_BUF; of a message 1400 bytes, and room for their escapes */

struct log {
	char *ctx; /* owned: "peer=home spi_i=.."; NULL: none, or no memory for them */
};

/** log_setup() - @program as it stands in each line ("posternd/child"); lines go to @fd. */
void log_setup(const char *program, enum log_level level, int fd);
/** log_level_parse() - "err", "warn", "info", "debug" -> level; -EINVAL. */
int log_level_parse(const char *word, enum log_level *level);
bool log_enabled(enum log_level level);
/** log_set() - Replace the keys of @log, which begins zeroed; cut at LOG_CTX_MAX. */
void log_set(struct log *log, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/** log_clear() - Free them. */
void log_clear(struct log *log);

/*
 * @log may be NULL. The message has no newline. It becomes msg="...", with what is in it escaped; but a
 * format of nothing but key=value, words or "quoted", stands in the line as it is: then what came from outside
 * needs quotes round it and log_quote(). One of 1400 bytes and more ends in "...".
 */
void log_write(const struct log *log, enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
#define log_err(log, ...)   log_write((log), LOG_LVL_ERR, __VA_ARGS__)
#define log_warn(log, ...)  log_write((log), LOG_LVL_WARN, __VA_ARGS__)
#define log_info(log, ...)  log_write((log), LOG_LVL_INFO, __VA_ARGS__)
#define log_debug(log, ...)                                                                        \
	do {                                                                                       \
		if (log_enabled(LOG_LVL_DEBUG))                                                    \
			log_write((log), LOG_LVL_DEBUG, __VA_ARGS__);                              \
	} while (0)

/** log_quote() - Copy @s, escaping quotes, backslash and control bytes; always terminated. */
const char *log_quote(char *out, size_t cap, const char *s, size_t len);

/* One bucket per hashed source: a stranger gets LOG_LIMIT_BURST lines, then one per period. */
#define LOG_LIMIT_SLOTS     64
#define LOG_LIMIT_BURST     5
#define LOG_LIMIT_PERIOD_MS 10000

struct log_limit {
	struct {
		uint64_t since_ms;
		uint32_t passed;
		uint32_t suppressed;
	} slot[LOG_LIMIT_SLOTS];
};

/**
 * log_limited() - May a line about this source be written now?
 * @key: hash of the source (prefix of its address), any value.
 * @now_ms: monotonic.
 * @suppressed: set to the count of lines swallowed since the last that passed (to be told).
 */
bool log_limited(struct log_limit *lim, uint32_t key, uint64_t now_ms, uint32_t *suppressed);

/** die() - Start-up only: one err line, exit status 1. */
void die(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));

#endif
