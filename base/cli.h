/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_CLI_H
#define BASE_CLI_H

/*
 * Theory: `postern [--run-dir DIR] [--json] VERB ...`: one binary whose verbs are registered by
 * the tables of daemon/cli and mta/cli, each where its part is built. A verb with a table below it
 * ("mail") takes its first argument from there.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct cli {
	const char *run_dir; /* --run-dir, default /run/postern */
	bool json;	     /* --json before or behind the verb */
	const char *verb;    /* as typed, "mail queue" */
	int status;	     /* of the last cli_call() that failed */
};

/* Exit status beside 0 and 1 (it was refused, or it failed), as sysexits.h has them. */
#define CLI_USAGE	64 /* wrong usage, after cli_usage() */
#define CLI_NO_DAEMON	69 /* nothing answers, or it went away */
#define CLI_NOT_ALLOWED 77 /* the socket is for root and the admin group */

struct cli_verb {
	const char *name;
	const char *args; /* "PEER", "[--counters]", for the usage line; may be NULL */
	const char *help; /* one line */
	/* argv[0] is the verb's own name; returns the exit status. --json is already taken out. */
	int (*run)(struct cli *cli, int argc, char **argv);
	const struct cli_verb *sub; /* ends with a NULL name; then run is NULL */
};

/**
 * cli_main() - Parse and run.
 * @tables: NULL-terminated list of tables, each ending with a NULL name; same names below
 * different tables are joined (two "mail" tables show as one).
 * @help: what the program is, printed above the verbs.
 */
int cli_main(int argc, char **argv, const struct cli_verb *const *tables, const char *help);
/** cli_usage() - Complain about the arguments of the verb that runs; returns CLI_USAGE. */
int cli_usage(const struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/** cli_fail() - "postern VERB: message" on standard error; returns 1. */
int cli_fail(const struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/**
 * cli_call() - Ask a daemon one verb and wait for its answer.
 * @socket: its name in the run-dir; @daemon: who listens there, for the message.
 * @args: taken, may be NULL.
 * The answer (the caller puts it), or NULL after a message, with the exit status in cli->status.
 */
json_t *cli_call(struct cli *cli, const char *socket, const char *daemon, const char *verb,
		 json_t *args, int timeout_ms);
/**
 * cli_unreached() - The message for what control_call() or control_watch() failed with.
 * @rc: -errno; @why: its text. Returns the exit status.
 */
int cli_unreached(struct cli *cli, const char *path, const char *daemon, int rc, const char *why);
/** cli_print_json() - One object on standard output, readable. */
void cli_print_json(const json_t *o);
/** cli_socket() - RUN-DIR/@name in a buffer of the caller's. */
const char *cli_socket(const struct cli *cli, const char *name, char *out, size_t cap);

/* The tables of the parts; the postern binary names those that are built. */
extern const struct cli_verb daemon_cli_verbs[];
extern const struct cli_verb mta_cli_verbs[];

#endif
