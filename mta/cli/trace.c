/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "trace.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "said.h"

#define HOST_WIDTH_MAX 40

/* Returns how many bytes were printed. */
static int print(const json_t *o, const char *key)
{
	return said_print(said(o, key));
}

static void print_event(const json_t *e, int width)
{
	json_int_t ms = json_integer_value(json_object_get(e, "at_ms"));
	time_t s = (time_t)(ms / 1000);
	char when[32] = "";
	struct tm tm;

	if (localtime_r(&s, &tm))
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
	printf("%s.%03d  ", when, (int)(ms % 1000));
	for (int n = print(e, "host"); n < width; n++)
		putchar(' ');
	printf("  ");
	print(e, "event");
	if (json_is_string(json_object_get(e, "address"))) {
		printf("  ");
		print(e, "address");
	} else if (json_object_get(e, "recipient")) {
		printf("  recipient %" PRId64,
		       (int64_t)json_integer_value(json_object_get(e, "recipient")));
	}
	if (json_object_get(e, "code"))
		printf("  %" PRId64, (int64_t)json_integer_value(json_object_get(e, "code")));
	printf("  ");
	print(e, "text");
	if (json_object_get(e, "peer_id")) {
		printf(" peer-id=");
		print(e, "peer_id");
	}
	putchar('\n');
}

static int host_width(const json_t *events)
{
	size_t width = 0, i;
	const json_t *e;

	json_array_foreach(events, i, e)
	{
		size_t n = strlen(said(e, "host"));

		width = n > width ? n : width;
	}
	return width < HOST_WIDTH_MAX ? (int)width : HOST_WIDTH_MAX;
}

/* Where a letter that is told of twice is called what. */
static void print_names(const json_t *events)
{
	const json_t *e, *o;
	size_t i, k;

	json_array_foreach(events, i, e)
	{
		json_array_foreach(events, k, o)
		{
			if (!strcmp(said(o, "host"), said(e, "host")) &&
			    !strcmp(said(o, "letter"), said(e, "letter")))
				break;
		}
		if (k != i)
			continue;
		printf("at ");
		print(e, "host");
		printf(": ");
		print(e, "letter");
		putchar('\n');
	}
}

void trace_print(const json_t *o)
{
	const json_t *events = json_object_get(o, "events"), *e;
	int width = host_width(events);
	size_t i;

	printf("letter ");
	print(o, "id");
	printf("%s\n", json_is_null(json_object_get(o, "letter")) ? ", in the queue no more" : "");
	print_names(events);
	json_array_foreach(events, i, e) print_event(e, width);
	if (!json_array_size(events))
		puts("its events are forgotten here; what it is now:");
	json_array_foreach(json_object_get(o, "silent"), i, e)
	{
		printf("hop ");
		print(e, "hop");
		printf(" did not answer: ");
		print(e, "why");
		if (*said(e, "id")) {
			printf("; ask there: postern mail trace ");
			print(e, "id");
		}
		putchar('\n');
	}
	if (json_is_true(json_object_get(o, "cut")))
		puts("there is more of it than one answer holds");
}
