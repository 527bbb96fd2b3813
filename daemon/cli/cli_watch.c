/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "control.h"
#include "daemon_cli.h"

static const char *str(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static void words(const json_t *a)
{
	size_t i;
	json_t *v;

	json_array_foreach(a, i, v) printf("%s%s", i ? " " : "", json_string_value(v));
}

/* One that this program does not know: its members as they come. */
static void plain(const json_t *event)
{
	const char *key;
	json_t *v;

	printf("%s", str(event, "event"));
	json_object_foreach((json_t *)event, key, v)
	{
		if (!strcmp(key, "v") || !strcmp(key, "event"))
			continue;
		if (json_is_string(v))
			printf(" %s=%s", key, json_string_value(v));
		else if (json_is_array(v))
			printf(" %s=", key), words(v);
	}
}

static void readable(const json_t *event)
{
	const char *kind = str(event, "event");

	if (!strcmp(kind, "peer")) {
		printf("%s is %s  (%s, ", str(event, "peer"), str(event, "state"),
		       str(event, "identity"));
		words(json_object_get(event, "inner"));
		putchar(')');
	} else if (!strcmp(kind, "roam")) {
		printf("%s moved from %s to %s: %s", str(event, "peer"), str(event, "from"),
		       str(event, "to"), str(event, "why"));
	} else if (!strcmp(kind, "rekey")) {
		printf("%s has new keys: %s", str(event, "peer"), str(event, "what"));
	} else if (!strcmp(kind, "hello") || !strcmp(kind, "addresses")) {
		printf("our addresses on %s: ", str(event, "tun"));
		if (json_array_size(json_object_get(event, "addresses")))
			words(json_object_get(event, "addresses"));
		else
			fputs("none yet", stdout);
	} else {
		plain(event);
	}
}

static int print_event(const json_t *event, void *arg)
{
	const struct cli *cli = arg;
	char when[16];
	time_t now = time(NULL);
	struct tm tm;

	if (cli->json) {
		(void)json_dumpf(event, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
	} else if (!strcmp(str(event, "event"), "ready")) {
		return 0; /* the end of how it stands at the start: of use to programs alone */
	} else {
		strftime(when, sizeof(when), "%H:%M:%S", localtime_r(&now, &tm));
		printf("%s  ", when);
		readable(event);
	}
	putchar('\n');
	return fflush(stdout);
}

int cli_watch(struct cli *cli, int argc, char **argv)
{
	char path[512], why[4352];
	int rc;

	if (argc != 1)
		return cli_usage(cli, "unexpected \"%s\"", argv[1]);
	rc = control_watch(cli_socket(cli, "control.sock", path, sizeof(path)), "subscribe", NULL,
			   print_event, cli, why, sizeof(why));
	return rc < 0 ? cli_unreached(cli, path, "posternd", rc, why) : 0;
}
