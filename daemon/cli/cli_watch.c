/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "control.h"
#include "daemon_cli.h"

/* "21:03:44 peer home up": the members in their order, without their names where they are plain. */
static int print_event(const json_t *event, void *arg)
{
	const struct cli *cli = arg;
	const char *key;
	json_t *v;
	char when[16];
	time_t now = time(NULL);
	struct tm tm;

	if (cli->json) {
		(void)json_dumpf(event, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
		putchar('\n');
		return fflush(stdout);
	}
	strftime(when, sizeof(when), "%H:%M:%S", localtime_r(&now, &tm));
	printf("%s %s", when, json_string_value(json_object_get(event, "event")));
	json_object_foreach((json_t *)event, key, v)
	{
		size_t i;
		json_t *e;

		if (!strcmp(key, "v") || !strcmp(key, "event"))
			continue;
		if (json_is_string(v))
			printf(" %s=%s", key, json_string_value(v));
		json_array_foreach(v, i, e) printf("%s%s", i ? "," : " ", json_string_value(e));
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
	return rc < 0 ? cli_fail(cli, "%s", why) : 0;
}
