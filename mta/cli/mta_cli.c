/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "archive_verbs.h"
#include "cli.h"
#include "hash_password.h"
#include "path_test.h"
#include "rules.h"
#include "stats.h"
#include "said.h"
#include "trace.h"

/* What the admin asks postern-mta over RUN/mta.sock: one function for each verb, thin and plain. */

#define ANSWER_MS 20000
#define RELOAD_MS 60000 /* certificates, and then our own key, may each take their time on a slow disk */
#define PAGE	  1000	/* letters of one answer */
#define MTA_CONF  "/etc/postern/mta.conf"

static json_t *ask(struct cli *cli, const char *verb, json_t *args)
{
	return cli_call(cli, "mta.sock", "postern-mta", verb, args, ANSWER_MS);
}

static void print_text(const json_t *o, const char *key, const char *dflt)
{
	const char *s = said(o, key);

	said_print(*s ? s : dflt);
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

/* All of them, page by page: a long queue is too much for one answer. */
static json_t *ask_letters(struct cli *cli, bool dead)
{
	json_t *all = json_array(), *from = json_integer(0), *reply;

	while (from) {
		reply = ask(cli, "queue",
			    json_pack("{s:b,s:i,s:o}", "dead", dead, "limit", PAGE, "from", from));
		if (!reply) {
			json_decref(all);
			return NULL;
		}
		json_array_extend(all, json_object_get(reply, "letters"));
		from = json_incref(json_object_get(reply, "next"));
		json_decref(reply);
	}
	return json_pack("{s:o}", "letters", all);
}

static int run_queue(struct cli *cli, int argc, char **argv)
{
	bool dead = argc == 2 && !strcmp(argv[1], "--dead");
	const json_t *letters;
	json_t *reply, *l;
	size_t i, n;

	if (argc > 2 || (argc == 2 && !dead))
		return cli_usage(cli, "unexpected \"%s\"", argv[argc - 1]);
	reply = ask_letters(cli, dead);
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

static void print_whole(const json_t *l)
{
	static const char *const keys[] = { "listener",	 "client", "helo",   "tls",
					    "auth_user", "peer",   "peer_id" };

	print_letter(l);
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (!json_is_string(json_object_get(l, keys[i])))
			continue;
		printf("    %s: ", keys[i]);
		print_text(l, keys[i], "");
		putchar('\n');
	}
}

/* show and trace: of one letter; trace has its events too, and may have them alone. */
static int run_show(struct cli *cli, int argc, char **argv)
{
	bool local = argc == 3 && !strcmp(argv[0], "trace") && !strcmp(argv[1], "--local");
	const json_t *l;
	json_t *reply;

	if (argc != (local ? 3 : 2))
		return cli_usage(cli, "the id of one letter is needed");
	reply = ask(cli, argv[0],
		    json_pack("{s:s,s:b}", "id", argv[argc - 1], "local", local));
	if (!reply)
		return cli->status;
	l = json_object_get(reply, "letter");
	if (cli->json) {
		cli_print_json(reply);
	} else {
		if (!strcmp(argv[0], "trace"))
			trace_print(reply);
		if (json_is_object(l))
			print_whole(l);
	}
	json_decref(reply);
	return 0;
}

static bool has_text(const json_t *array, const json_t *text)
{
	const json_t *v;
	size_t i;

	json_array_foreach(array, i, v)
	{
		if (json_equal(v, text))
			return true;
	}
	return false;
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
		if (json_is_true(json_object_get(r, "on_backup"))) {
			printf("  letters go by ");
			print_text(r, "backup", "?");
			printf(" (%" PRId64 " wait there)", (int64_t)number(r, "by_backup"));
		}
		if (json_is_string(json_object_get(r, "fault"))) {
			printf("  ");
			print_text(r, "fault", "");
		}
		putchar('\n');
	}
	if (json_is_true(json_object_get(reply, "cut")))
		puts("and more next hops than one answer holds");
	json_array_foreach(json_object_get(reply, "holds"), i, r)
	{
		printf("%s  held by the admin%s\n", json_string_value(r),
		       has_text(json_object_get(reply, "quiet_holds"), r) ? ", quietly" : "");
	}
	json_decref(reply);
	return 0;
}

static int run_stats(struct cli *cli, int argc, char **argv)
{
	json_t *reply;

	if (argc != 1)
		return cli_usage(cli, "unexpected \"%s\"", argv[1]);
	reply = ask(cli, "stats", NULL);
	if (!reply)
		return cli->status;
	if (cli->json)
		cli_print_json(reply);
	else
		stats_print(reply);
	json_decref(reply);
	return 0;
}

static bool is_id(const char *s)
{
	return strlen(s) == 32 && strspn(s, "0123456789abcdefABCDEF") == 32;
}

/* What a verb that changes something answers: how many, and a text. @args is taken. */
static int change(struct cli *cli, const char *verb, json_t *args)
{
	json_t *reply = ask(cli, verb, args);
	const char *text = json_string_value(json_object_get(reply, "text"));

	if (!reply)
		return cli->status;
	if (cli->json)
		cli_print_json(reply);
	else
		printf("%" PRId64 ": %s\n", (int64_t)number(reply, "count"), text ? text : "done");
	json_decref(reply);
	return 0;
}

/* flush, hold, release, remove: of a letter or, but for remove, of a route. */
static int run_change(struct cli *cli, int argc, char **argv)
{
	bool flush = !strcmp(argv[0], "flush");
	bool force = argc > 1 && !strcmp(argv[1], "--force") && flush;
	bool quiet = argc > 1 && !strcmp(argv[1], "--quiet") && !strcmp(argv[0], "hold");
	int at = 1 + force + quiet;
	const char *what = argc > at ? argv[at] : NULL;
	json_t *args = json_object();

	if (argc > at + 1 || (!what && (force || !flush)) || (quiet && is_id(what))) {
		json_decref(args);
		return cli_usage(cli, force   ? "--force needs a route"
				      : quiet ? "--quiet needs a route"
					      : "the id of a letter or the name of a "
						"route is needed");
	}
	if (what)
		json_object_set_new(args, is_id(what) ? "id" : "route", json_string(what));
	if (force || quiet)
		json_object_set_new(args, force ? "force" : "quiet", json_true());
	return change(cli, argv[0], args);
}

static int run_move(struct cli *cli, int argc, char **argv)
{
	if (argc != 3)
		return cli_usage(cli, "two routes are needed, or the id of a letter and a route");
	return change(
	    cli, argv[0],
	    json_pack("{s:s,s:s}", is_id(argv[1]) ? "id" : "route", argv[1], "to", argv[2]));
}

static int run_forget_key(struct cli *cli, int argc, char **argv)
{
	if (argc != 2)
		return cli_usage(cli, "the name of a peer is needed");
	return change(cli, argv[0], json_pack("{s:s}", "peer", argv[1]));
}

/* Our key of the hop, and those that peers have to show. */
static void print_keys(const json_t *keys)
{
	const json_t *k;
	size_t i;

	if (json_is_string(json_object_get(keys, "own"))) {
		printf("hop key  sha256 ");
		print_text(keys, "own", "?");
		putchar('\n');
	}
	json_array_foreach(json_object_get(keys, "peers"), i, k)
	{
		printf("key of ");
		print_text(k, "peer", "?");
		printf("  sha256 ");
		print_text(k, "sha256", "?");
		putchar('\n');
		if (json_is_string(json_object_get(k, "trouble"))) {
			printf("  letters wait: ");
			print_text(k, "trouble", "");
			putchar('\n');
		}
	}
}

/* Nothing where all is well. */
static void print_tls_fault(const json_t *listener)
{
	if (json_object_get(listener, "tls_fault")) {
		printf("\n  %s: ", json_is_true(json_object_get(listener, "tls"))
					? "serves with the certificate of before"
					: "HAS NO TLS");
		print_text(listener, "tls_fault", "?");
	}
	putchar('\n');
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
		printf("%s", json_is_true(json_object_get(x, "tunnel")) ? "  on the tunnel" : "");
		print_tls_fault(x);
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
	print_keys(json_object_get(reply, "hop_keys"));
	json_decref(reply);
	return 0;
}

static int run_reload(struct cli *cli, int argc, char **argv)
{
	json_t *reply;

	if (argc != 1)
		return cli_usage(cli, "unexpected \"%s\"", argv[1]);
	reply = cli_call(cli, "mta.sock", "postern-mta", "reload", NULL, RELOAD_MS);
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

/* What `postern-mta --explain` prints of a file; NULL after its message. */
static json_t *ask_file(struct cli *cli, const char *file, const json_t *args)
{
	char *text = json_dumps(args, JSON_COMPACT);
	char *argv[] = { (char *)"postern-mta", (char *)"-c", (char *)(uintptr_t)file,
			 (char *)"--explain",	text,	      NULL };
	int fd[2], status = 0;
	json_t *o = NULL;
	FILE *f;
	pid_t pid;

	cli->status = 1;
	if (!text || pipe(fd) < 0) {
		cli_fail(cli, "%s", strerror(errno));
		free(text);
		return NULL;
	}
	pid = fork();
	if (!pid) {
		dup2(fd[1], STDOUT_FILENO);
		close(fd[0]);
		close(fd[1]);
		execv(SBINDIR "/postern-mta", argv);
		execvp("postern-mta", argv);
		_exit(cli_fail(cli, "cannot run %s: %s", SBINDIR "/postern-mta", strerror(errno)));
	}
	close(fd[1]);
	f = fdopen(fd[0], "r");
	o = f ? json_loadf(f, 0, NULL) : NULL;
	if (f)
		fclose(f);
	if (pid > 0)
		waitpid(pid, &status, 0);
	free(text);
	return o;
}

static void print_explained(const json_t *o)
{
	const json_t *line;
	size_t i;

	printf("<");
	print_text(o, "from", "");
	printf("> to <");
	print_text(o, "to", "");
	printf(">, client ");
	print_text(o, "client", "?");
	printf(" at listener ");
	print_text(o, "listener", "?");
	printf(" (class ");
	print_text(o, "class", "?");
	printf("), %s", json_is_true(json_object_get(o, "tls")) ? "by TLS" : "in clear");
	if (json_object_get(o, "peer")) {
		printf(", peer ");
		print_text(o, "peer", "?");
	}
	putchar('\n');
	json_array_foreach(json_object_get(o, "why"), i, line)
	{
		json_t *holder = json_pack("{s:O}", "t", line);

		printf("  ");
		print_text(holder, "t", "");
		putchar('\n');
		json_decref(holder);
	}
	print_text(o, "verdict", "?");
	printf(" at ");
	print_text(o, "at", "?");
	printf(": %" PRId64 " ", (int64_t)number(o, "code"));
	print_text(o, "text", "");
	putchar('\n');
}

/* --would FROM IP RCPT and what else is known of the client; 0, or the status of a usage error. */
static int explain_args(struct cli *cli, int argc, char **argv, json_t *args, const char **file)
{
	static const char *const options[] = { "--listener", "--peer", "--user", "--helo",
					       "--config" };
	static const char *const words[] = { "from", "client", "to" };

	for (int i = 1; i < argc; i++) {
		size_t k = 0;

		if (!strcmp(argv[i], "--would") && i + 3 < argc) {
			for (; k < 3; k++)
				json_object_set_new(args, words[k], json_string(argv[++i]));
			continue;
		}
		if (!strcmp(argv[i], "--tls")) {
			json_object_set_new(args, "tls", json_true());
			continue;
		}
		while (k < sizeof(options) / sizeof(*options) && strcmp(options[k], argv[i]))
			k++;
		if (k == sizeof(options) / sizeof(*options) || i + 1 == argc)
			return cli_usage(cli, "unexpected \"%s\"", argv[i]);
		if (!strcmp(argv[i++], "--config"))
			*file = argv[i];
		else
			json_object_set_new(args, options[k] + 2, json_string(argv[i]));
	}
	return json_object_get(args, "to")
		   ? 0
		   : cli_usage(cli, "--would FROM IP RCPT is needed; may follow: --listener, "
				    "--peer, --user or --helo NAME, --tls, --config FILE");
}

static int run_rules(struct cli *cli, int argc, char **argv)
{
	json_t *question, *reply;

	if (argc > 2 || (argc == 2 && *argv[1] == '-'))
		return cli_usage(cli, "unexpected \"%s\"", argv[argc - 1]);
	question = json_pack("{s:b}", "rules", 1);
	reply = ask_file(cli, argc == 2 ? argv[1] : MTA_CONF, question);
	json_decref(question);
	if (!reply)
		return cli->status;
	if (cli->json)
		cli_print_json(reply);
	else
		rules_print(reply);
	json_decref(reply);
	return 0;
}

static int run_explain(struct cli *cli, int argc, char **argv)
{
	json_t *args = json_object(), *reply;
	const char *file = NULL;
	int rc = explain_args(cli, argc, argv, args, &file);

	if (rc) {
		json_decref(args);
		return rc;
	}
	if (file) {
		reply = ask_file(cli, file, args);
		json_decref(args);
	} else {
		reply = ask(cli, "explain", args);
	}
	if (!reply)
		return cli->status;
	if (cli->json)
		cli_print_json(reply);
	else
		print_explained(reply);
	json_decref(reply);
	return 0;
}

static const struct cli_verb mail_verbs[] = {
	{ "status", NULL, "processes, listeners, tunnel", run_status, NULL },
	{ "queue", "[--dead]", "letters that wait", run_queue, NULL },
	{ "show", "ID", "one letter", run_show, NULL },
	{ "trace", "[--local] ID", "its way, told by all its hops, or here alone", run_show,
	  NULL },
	{ "path-test", "[--from ADDRESS] [--mailbox] [--timeout SECONDS] ADDRESS",
	  "send a probe: its way, TLS and what leaks", path_test_run, NULL },
	{ "routes", NULL, "routes, next hops and their state", run_routes, NULL },
	{ "stats", NULL, "how old is what waits, by route", run_stats, NULL },
	{ "flush", "[[--force] ROUTE | ID]", "try now; --force: even a route that is down",
	  run_change, NULL },
	{ "hold", "ID | [--quiet] ROUTE[/HOP]",
	  "no attempts; --quiet: nor notices of delay", run_change, NULL },
	{ "release", "ID | ROUTE[/HOP]", "end a hold; a dead letter comes back", run_change, NULL },
	{ "remove", "ID", "delete a letter; nobody is told", run_change, NULL },
	{ "move", "ID|ROUTE ROUTE", "what waits there goes by another route", run_move, NULL },
	{ "export", "[--take] FILE|DIR|-", "letters into a file; --take: and away", export_verb,
	  NULL },
	{ "import", "[--cut] FILE|-", "take them; --cut: what is whole of it", import_verb, NULL },
	{ "explain",
	  "--would FROM IP RCPT [--listener NAME] [--peer NAME]\n"
	  "                     [--user LOGIN] [--helo NAME] [--tls] [--config FILE]",
	  "which rule decides, and why", run_explain, NULL },
	{ "rules", "[FILE]", "who may send to whom, listener by listener", run_rules, NULL },
	{ "hash-password", NULL, "hash a password for the users file", hash_password_run, NULL },
	{ "forget-key", "PEER", "take the hop key that it shows next", run_forget_key, NULL },
	{ "reload", NULL, "read mta.conf again", run_reload, NULL },
	{ "check", "[FILE]", "judge mta.conf and what it names", run_check, NULL },
	{ 0 },
};

const struct cli_verb mta_cli_verbs[] = {
	{ "mail", NULL, "postern-mta: queue, routes, letters", NULL, mail_verbs },
	{ 0 },
};
