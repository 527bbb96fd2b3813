/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: a probe is put into the queue, and asked for again and again until it has come to its end, the report of
 * the last hop has come, or time is over. Then what has not left this machine is taken back.
 */
#include "path_test.h"

#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "path_report.h"
#include "said.h"

#define ANSWER_MS     20000
#define POLL_MS	      200
#define TIMEOUT_S     60
#define TIMEOUT_MAX_S 900
#define WORDS_MAX     1000
#define INNER_MAX     4000
#define USER_UID_MIN  1000
#define USER_UID_MAX  60000

struct inside {
	struct leak_known known;
	const char *words[WORDS_MAX];
	struct prefix inner[INNER_MAX];
};

static json_t *ask(struct cli *cli, const char *verb, json_t *args)
{
	return cli_call(cli, "mta.sock", "postern-mta", verb, args, ANSWER_MS);
}

static void add_word(struct inside *in, const char *w)
{
	/* Our own name stands in each Received that we write. */
	bool told = strcasecmp(w, "postern") && in->known.word_count < WORDS_MAX;
	char *copy = told ? strdup(w) : NULL;

	if (copy)
		in->words[in->known.word_count++] = copy;
}

static void inside_clear(struct inside *in)
{
	for (size_t i = 0; i < in->known.word_count; i++)
		free((char *)(uintptr_t)in->words[i]);
	free(in);
}

/* Peers and networks of the tunnel, and who has an account here. */
static struct inside *inside_new(const json_t *asked)
{
	const json_t *o = json_object_get(asked, "inside"), *x;
	struct inside *in = calloc(1, sizeof(*in));
	struct passwd *pw;
	size_t i;

	if (!in)
		return NULL;
	in->known.words = in->words;
	in->known.inner = in->inner;
	json_array_foreach(json_object_get(o, "words"), i, x) add_word(in, json_string_value(x));
	json_array_foreach(json_object_get(o, "networks"), i, x)
	{
		if (in->known.inner_count < INNER_MAX &&
		    !prefix_parse(json_string_value(x), &in->inner[in->known.inner_count]))
			in->known.inner_count++;
	}
	setpwent();
	while ((pw = getpwent()))
		if (pw->pw_uid >= USER_UID_MIN && pw->pw_uid < USER_UID_MAX)
			add_word(in, pw->pw_name);
	endpwent();
	return in;
}

static void print_first(const json_t *o)
{
	const json_t *f = json_object_get(o, "first"), *l = json_object_get(o, "letter"), *r;
	size_t i;

	printf("from here  ");
	said_print(said(o, "hostname"));
	if (*said(f, "route")) {
		printf(" by route ");
		said_print(said(f, "route"));
		printf("/");
		said_print(said(f, "hop"));
		printf("\n           host ");
		said_print(*said(f, "host") ? said(f, "host") : "-");
		printf("  tls ");
		said_print(*said(f, "tls") ? said(f, "tls") : "none");
		printf("\n           %d ", (int)json_integer_value(json_object_get(f, "code")));
		said_print(said(f, "reply"));
	}
	putchar('\n');
	json_array_foreach(json_object_get(l, "recipients"), i, r)
	{
		printf("           waits for ");
		said_print(said(r, "route"));
		printf("/");
		said_print(said(r, "hop"));
		printf(", which is ");
		said_print(said(r, "route_state"));
		printf("  ");
		said_print(said(r, "last"));
		putchar('\n');
	}
}

static void print_report(const json_t *o)
{
	const json_t *r = json_object_get(o, "report"), *x;
	size_t i;

	json_array_foreach(json_object_get(o, "received"), i, x)
	{
		printf("hop %-2zu     ", i + 1);
		said_print(json_string_value(x));
		putchar('\n');
	}
	if (json_is_object(r)) {
		printf("the end    ");
		said_print(said(r, "by"));
		printf(": ");
		said_print(said(r, "action"));
		printf("\n           ");
		said_print(said(r, "diagnostic"));
		putchar('\n');
	}
	json_array_foreach(json_object_get(o, "leaks"), i, x)
	{
		printf("%s  ",
		       json_is_true(json_object_get(o, "outside")) ? "leaks    " : "it names ");
		said_print(said(x, "kind"));
		printf(" ");
		said_print(said(x, "what"));
		printf("  in field %" PRId64 ", ",
		       (int64_t)json_integer_value(json_object_get(x, "field")) + 1);
		said_print(said(x, "in"));
		putchar('\n');
	}
}

static void print_all(const json_t *o)
{
	const json_t *x;
	size_t i;

	printf("probe ");
	said_print(said(o, "id"));
	printf("  <");
	said_print(said(o, "sender"));
	printf("> to <");
	said_print(said(o, "address"));
	printf(">\n");
	print_first(o);
	print_report(o);
	json_array_foreach(json_object_get(o, "problems"), i, x)
	{
		printf("problem    ");
		said_print(json_string_value(x));
		putchar('\n');
	}
	if (!i)
		puts(json_is_true(json_object_get(o, "outside"))
			 ? "ok         taken by TLS outside, and nothing tells of the inside"
			 : "ok         it came to its end");
}

/* --from ADDRESS, --mailbox, --timeout SECONDS; 0, or the status of a usage error. */
static int read_args(struct cli *cli, int argc, char **argv, json_t *args, unsigned long *timeout_s)
{
	const char *to = NULL;
	char *end;

	*timeout_s = TIMEOUT_S;
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--mailbox")) {
			json_object_set_new(args, "mailbox", json_true());
		} else if (!strcmp(argv[i], "--from") && i + 1 < argc) {
			json_object_set_new(args, "from", json_string(argv[++i]));
		} else if (!strcmp(argv[i], "--timeout") && i + 1 < argc) {
			*timeout_s = strtoul(argv[++i], &end, 10);
			if (*end || !*timeout_s || *timeout_s > TIMEOUT_MAX_S)
				return cli_usage(cli, "a timeout is 1 to %d seconds",
						 TIMEOUT_MAX_S);
		} else if (*argv[i] == '-' || to) {
			return cli_usage(cli, "unexpected \"%s\"", argv[i]);
		} else {
			to = argv[i];
		}
	}
	if (!to)
		return cli_usage(cli, "an address is needed");
	json_object_set_new(args, "address", json_string(to));
	return 0;
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* The last answer; NULL after a message. */
static json_t *wait_for(struct cli *cli, const char *id, unsigned long timeout_s)
{
	const struct timespec pause = { .tv_nsec = POLL_MS * 1000000L };
	uint64_t end_ms = now_ms() + timeout_s * 1000;
	json_t *state;

	for (;;) {
		state = ask(cli, "path-test-report", json_pack("{s:s}", "id", id));
		if (!state || path_report_settled(state) || now_ms() >= end_ms)
			return state;
		json_decref(state);
		nanosleep(&pause, NULL);
	}
}

/* It did not leave in time: nobody asks for it any more. */
static void take_back(struct cli *cli, const json_t *state, const char *id)
{
	if (!strcmp(said(state, "state"), "queued"))
		json_decref(
		    ask(cli, "path-test-report", json_pack("{s:s,s:b}", "id", id, "give_up", 1)));
}

int path_test_run(struct cli *cli, int argc, char **argv)
{
	json_t *args = json_object(), *asked, *state, *o = NULL;
	unsigned long timeout_s;
	struct inside *in;
	int rc = read_args(cli, argc, argv, args, &timeout_s);

	if (rc) {
		json_decref(args);
		return rc;
	}
	asked = ask(cli, "path-test", args);
	if (!asked)
		return cli->status;
	state = wait_for(cli, said(asked, "id"), timeout_s);
	in = state ? inside_new(asked) : NULL;
	if (in)
		o = path_report(asked, state, &in->known);
	if (state)
		take_back(cli, state, said(asked, "id"));
	rc = o && json_is_true(json_object_get(o, "ok")) ? 0 : 1;
	if (!state)
		rc = cli->status;
	else if (!o)
		rc = cli_fail(cli, "out of memory");
	else if (cli->json)
		cli_print_json(o);
	else
		print_all(o);
	if (in)
		inside_clear(in);
	json_decref(o);
	json_decref(state);
	json_decref(asked);
	return rc;
}
