/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_METRICS_H
#define BASE_METRICS_H

/*
 * Theory: Prometheus text format 0.0.4, written afresh for each GET from what the daemon knows,
 * served to loopback or on a Unix socket. One request a connection; anything but GET /metrics gets
 * an error and the connection ends.
 */

#include <stddef.h>
#include <stdint.h>

#include "loop.h"

struct metrics; /* a text that grows */

enum metrics_type { METRICS_COUNTER, METRICS_GAUGE };

struct metrics_label {
	const char *name;
	const char *value; /* escaped by the writer */
};

/** metrics_family() - # HELP and # TYPE; the values that follow belong to it. */
void metrics_family(struct metrics *m, const char *name, enum metrics_type type, const char *help);
/** metrics_value() - One sample of the family begun last. */
void metrics_value(struct metrics *m, const struct metrics_label *labels, size_t count, double v);
void metrics_count(struct metrics *m, const struct metrics_label *labels, size_t count, uint64_t v);

struct metrics *metrics_new(void);
/** metrics_text() - Terminated; NULL when memory ran out. Lives as long as @m. */
const char *metrics_text(const struct metrics *m, size_t *len);
void metrics_free(struct metrics *m);

struct metrics_server;

/** metrics_check() - May metrics_listen() be asked for @where? 0, or -1 with @why (struct conf_key.check). */
int metrics_check(const char *where, char *why, size_t cap);

/**
 * metrics_listen() - "127.0.0.1:9400", "[::1]:9400" or "/run/postern/metrics.sock". An address that is
 * not loopback is -EPERM. Returns a descriptor or -errno.
 */
int metrics_listen(const char *where);
/** metrics_server_new() - Takes @listen_fd, also on failure. @fill writes all families. */
struct metrics_server *metrics_server_new(struct loop *l, int listen_fd,
					  void (*fill)(struct metrics *m, void *arg), void *arg);
void metrics_server_free(struct metrics_server *s);

#endif
