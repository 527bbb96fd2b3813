/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

/* What the admin asks postern-mta over RUN/mta.sock: one function for each verb, thin and plain. */

#define ANSWER_MS 20000
#define MTA_CONF  "/etc/postern/mta.conf"

static json_t *ask(struct cli *cli, const char *verb, json_t *args)
{
	return cli_call(cli, "mta.sock", "postern-mta", verb, args, ANSWER_MS);
}

/* Text from the queue may hold bytes from outside: no control character reaches the terminal. */
static void print_text(const json_t *o, const char *key, const char *dflt)
{
	const char *s = json_string_value(json_object_get(o, key));

	for (s = s && *s ? s : dflt; *s; s++)
		putchar((unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s);
}

static json_int_t number(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static void print_age(json_int_t s)
{
	if (s >= 86400)
		printf("%" PRId64 "d%02" PRId64 "h", (int64_t)s / 86400, (int64_t)s / 3600 % 24);
	else if (s >= 3600)
		printf("%" PRId64 "h%02" PRId64 "m", (int64_t)s / 3600, (int64_t)s / 60 % 60);
	else
		printf("%" PRId64 "m%02" PRId64 "s", (int64_t)s / 60, (int64_t)s % 60);
}

static void print_letter(const json_t *l)
{
	const json_t *r;
	size_t i;

	print_text(l, "id", "?");
	printf("  %8" PRId64 "  ", (int64_t)number(l, "size"));
	print_age(number(l, "age_s"));
	printf("  ");
	print_text(l, "state", "?");
	printf("  <");
	print_text(l, "sender", "");
	printf(">\n");
	json_array_foreach(json_object_get(l, "recipients"), i, r)
	{
		printf("    ");
		print_text(r, "address", "?");
		printf("  ");
		print_text(r, "state", "?");
		printf("  ");
		print_text(r, "route", "-");
		printf("/");
		print_text(r, "hop", "-");
		if (json_is_string(json_object_get(r, "last"))) {
			printf("  ");
			print_text(r, "last", "");
		}
		putchar('\n');
	}
	if (number(l, "recipient_count") > (json_int_t)i)
		printf("    and %" PRId64 " more\n",
		       (int64_t)number(l, "recipient_count") - (int64_t)i);
}

static int run_queue(struct cli *cli, int argc, char **argv)
{
	bool dead = argc == 2 && !strcmp(argv[1], "--dead");
	const json_t *letters;
	json_t *reply, *l;
	size_t i, n;

	if (argc > 2 || (argc == 2 && !dead))
		return cli_usage(cli, "unexpected \"%s\"", argv[argc - 1]);
	reply = ask(cli, "queue", json_pack("{s:b,s:i}", "dead", dead, "limit", 100000));
	if (!reply)
		return cli->status;
	letters = json_object_get(reply, "letters");
	n = json_array_size(letters);
	if (cli->json) {
		cli_print_json(reply);
	} else {
		json_array_foreach(letters, i, l) print_letter(l);
		printf("%zu letter%s\n", n, n == 1 ? "" : "s");
	}
	json_decref(reply);
	return 0;
}

static int run_show(struct cli *cli, int argc, char **argv)
{
	static const char *const keys[] = { "listener",	 "client", "helo",   "tls",
					    "auth_user", "peer",   "peer_id" };
	const json_t *l;
	json_t *reply;

	if (argc != 2)
		return cli_usage(cli, "the id of one letter is needed");
	reply = ask(cli, argv[0], json_pack("{s:s}", "id", argv[1]));
	if (!reply)
		return cli->status;
	l = json_object_get(reply, "letter");
	if (cli->json) {
		cli_print_json(reply);
	} else {
		print_letter(l);
		for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
			if (!json_is_string(json_object_get(l, keys[i])))
				continue;
			printf("    %s: ", keys[i]);
			print_text(l, keys[i], "");
			putchar('\n');
		}
	}
	json_decref(reply);
	return 0;
}

static int run_routes(struct cli *cli, int argc, char **argv)
{
	json_t *reply, *r;
	size_t i;

	if (argc != 1)
		return cli_usage(cli, "unexpected \"%s\"", argv[1]);
	reply = ask(cli, "routes", NULL);
	if (!reply)
		return cli->status;
	if (cli->json) {
		cli_print_json(reply);
		json_decref(reply);
		return 0;
	}
	json_array_foreach(json_object_get(reply, "routes"), i, r)
	{
		print_text(r, "route", "?");
		printf("/");
		print_text(r, "hop", "?");
		printf("  ");
		print_text(r, "state", "?");
		printf("  ready=%" PRId64 " waiting=%" PRId64 " in-flight=%" PRId64,
		       (int64_t)number(r, "ready"), (int64_t)number(r, "waiting"),
		       (int64_t)number(r, "in_flight"));
		if (number(r, "next_ms"))
			printf(" next=%" PRId64 "s", (int64_t)(number(r, "next_ms") + 999) / 1000);
		if (json_is_string(json_object_get(r, "fault"))) {
			printf("  ");
			print_text(r, "fault", "");
		}
		putchar('\n');
	}
	json_decref(reply);
	return 0;
}

/* flush, hold, release, remove: of a letter or, but for remove, of a route. */
static int run_change(struct cli *cli, int argc, char **argv)
{
	bool force = argc > 1 && !strcmp(argv[1], "--force") && !strcmp(argv[0], "flush");
	const char *what = argc > 1 + force ? argv[1 + force] : NULL;
	bool flush = !strcmp(argv[0], "flush");
	json_t *args = json_object(), *reply;
	bool is_id;

	if (argc > 2 + force || (!what && (force || !flush))) {
		json_decref(args);
		return cli_usage(cli, force ? "--force needs a route"
					    : "the id of a letter or the name of a "
					      "route is needed");
	}
	is_id = what && strlen(what) == 32 && strspn(what, "0123456789abcdefABCDEF") == 32;
	if (what)
		json_object_set_new(args, is_id ? "id" : "route", json_string(what));
	if (force)
		json_object_set_new(args, "force", json_true());
	reply = ask(cli, argv[0], args);
	if (!reply)
		return cli->status;
	if (cli->json)
		cli_print_json(reply);
	else
		printf("%" PRId64 ": %s\n", (int64_t)number(reply, "count"),
		       json_string_value(json_object_get(reply, "text"))
			   ? json_string_value(json_object_get(reply, "text"))
			   : "done");
	json_decref(reply);
	return 0;
}

static int run_status(struct cli *cli, int argc, char **argv)
{
	json_t *reply, *x;
	size_t i;

	if (argc != 1)
		return cli_usage(cli, "unexpected \"%s\"", argv[1]);
	reply = ask(cli, "status", NULL);
	if (!reply)
		return cli->status;
	if (cli->json) {
		cli_print_json(reply);
		json_decref(reply);
		return 0;
	}
	print_text(reply, "hostname", "?");
	printf("  role ");
	print_text(reply, "role", "?");
	printf("  up ");
	print_age(number(reply, "uptime_s"));
	putchar('\n');
	json_array_foreach(json_object_get(reply, "processes"), i, x)
	{
		print_text(x, "name", "?");
		printf("  pid %" PRId64 "\n", (int64_t)number(x, "pid"));
	}
	json_array_foreach(json_object_get(reply, "listeners"), i, x)
	{
		printf("listener ");
		print_text(x, "name", "?");
		printf("  ");
		print_text(x, "address", "?");
		printf("%s\n", json_is_true(json_object_get(x, "tunnel")) ? "  on the tunnel" : "");
	}
	x = json_object_get(reply, "tunnel");
	printf("tunnel %s\n", json_is_true(json_object_get(x, "connected"))
				  ? "posternd answers"
				  : "posternd does not answer");
	json_array_foreach(json_object_get(x, "peers"), i, x)
	{
		printf("peer ");
		print_text(x, "peer", "?");
		printf("  ");
		print_text(x, "state", "?");
		putchar('\n');
	}
	json_decref(reply);
	return 0;
}

static int run_reload(struct cli *cli, int argc, char **argv)
{
	json_t *reply;

	if (argc != 1)
		return cli_usage(cli, "unexpected \"%s\"", argv[1]);
	reply = ask(cli, "reload", NULL);
	if (!reply)
		return cli->status;
	if (cli->json)
		cli_print_json(reply);
	else
		puts("mta.conf is read again and in force");
	json_decref(reply);
	return 0;
}

/* The daemon judges its own configuration: the command line does not carry its reader. */
static int run_check(struct cli *cli, int argc, char **argv)
{
	char *args[] = { (char *)"postern-mta", (char *)"-n", (char *)"-c",
			 argc > 1 ? argv[1] : (char *)MTA_CONF, NULL };

	if (argc > 2 || (argc == 2 && *argv[1] == '-'))
		return cli_usage(cli, "unexpected \"%s\"", argv[argc - 1]);
	execv(SBINDIR "/postern-mta", args);
	execvp("postern-mta", args);
	return cli_fail(cli, "cannot run %s: %s", SBINDIR "/postern-mta", strerror(errno));
}

static const struct cli_verb mail_verbs[] = {
	{ "status", NULL, "processes, listeners, tunnel", run_status, NULL },
	{ "queue", "[--dead]", "letters that wait", run_queue, NULL },
	{ "show", "ID", "one letter", run_show, NULL },
	{ "trace", "ID", "where it came from, what was tried", run_show, NULL },
	{ "routes", NULL, "routes, next hops and their state", run_routes, NULL },
	{ "flush", "[[--force] ROUTE | ID]", "try now; --force: even a route that is down",
	  run_change, NULL },
	{ "hold", "ID | ROUTE", "no attempts until release", run_change, NULL },
	{ "release", "ID | ROUTE", "end a hold; a dead letter comes back", run_change, NULL },
	{ "remove", "ID", "delete a letter; nobody is told", run_change, NULL },
	{ "reload", NULL, "read mta.conf again", run_reload, NULL },
	{ "check", "[FILE]", "judge mta.conf and what it names", run_check, NULL },
	{ 0 },
};

const struct cli_verb mta_cli_verbs[] = {
	{ "mail", NULL, "postern-mta: queue, routes, letters", NULL, mail_verbs },
	{ 0 },
};
