/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "path_report.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "said.h"

#define LEAKS_MAX 100
#define FIELD_MAX 1000

int path_report_settled(const json_t *state)
{
	if (!strcmp(said(state, "state"), "queued"))
		return 0;
	return !json_is_true(json_object_get(state, "report_due")) ||
	       json_is_string(json_object_get(state, "report"));
}

static json_t *text_of(const char *s, size_t len)
{
	json_t *j = json_stringn(s, len);

	return j ? j : json_null();
}

/* Value of the first field @name from @from on, to the end of its line; null: there is none. */
static json_t *value(const char *from, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = from; p && *p; p = strchr(p, '\n'), p = p ? p + 1 : NULL)
		if (!strncasecmp(p, name, n) && p[n] == ':') {
			p += n + 1;
			p += strspn(p, " ");
			if (!strncmp(p, "dns; ", 5) || !strncmp(p, "smtp; ", 6))
				p = strchr(p, ' ') + 1;
			return text_of(p, strcspn(p, "\n"));
		}
	return json_null();
}

/* "250 2.0.0 Ok [host=mx.example tls=TLSv1.3 ...]", as the last hop writes it: @key up to @stop. */
static json_t *of_diagnostic(const char *s, const char *key, const char *stop)
{
	const char *p = NULL, *next = strstr(s, " [host=");

	for (; next; next = strstr(next + 1, " [host="))
		p = next; /* what stands before it came from outside */
	p = p ? strstr(p, key) : NULL;
	return p ? text_of(p + strlen(key), strcspn(p + strlen(key), stop)) : json_null();
}

/* The header section that a report quotes, up to the next boundary; its length. */
static size_t quoted(const char *report, const char **head)
{
	const char *p = strstr(report, "\nContent-Type: text/rfc822-headers"), *end;

	if (!p)
		p = strstr(report, "\nContent-Type: message/global-headers");
	p = p ? strstr(p, "\n\n") : NULL;
	if (!p)
		return 0;
	*head = p += 2;
	end = strstr(p, "\n--=_");
	return end ? (size_t)(end - p) + 1 : strlen(p);
}

static json_t *read_report(const char *report)
{
	const char *facts = strstr(report, "\nContent-Type: message/delivery-status");
	json_t *last;
	const char *s;

	if (!facts)
		facts = strstr(report, "\nContent-Type: message/global-delivery-status");
	if (!facts)
		return NULL;
	last = value(facts + 1, "Diagnostic-Code");
	s = json_is_string(last) ? json_string_value(last) : "";
	return json_pack("{s:o,s:o,s:o,s:o,s:o}", "by", value(facts + 1, "Reporting-MTA"), "action",
			 value(facts + 1, "Action"), "host", of_diagnostic(s, "host=", " ]"), "tls",
			 of_diagnostic(s, "tls=", "]"), "diagnostic", last);
}

/* Received fields as one line each, in the order of the way. */
static json_t *received(const char *head, size_t len)
{
	char line[FIELD_MAX + 1];
	json_t *all = json_array();
	size_t at = 0;

	while (at < len) {
		size_t n = 0;
		bool wanted = len - at > 9 && !strncasecmp(head + at, "Received:", 9);

		do { /* its lines */
			size_t end = at;

			while (end < len && head[end] != '\n')
				end++;
			for (; at < end && wanted; at++)
				if (!isspace((unsigned char)head[at]) && n < FIELD_MAX)
					line[n++] = head[at];
				else if (n && n < FIELD_MAX && line[n - 1] != ' ')
					line[n++] = ' ';
			at = end + 1;
			if (wanted && n && n < FIELD_MAX)
				line[n++] = ' ';
		} while (at < len && (head[at] == ' ' || head[at] == '\t'));
		while (n && line[n - 1] == ' ')
			n--;
		if (wanted)
			json_array_insert_new(all, 0, text_of(line, n));
	}
	return all;
}

static json_t *leaks(const char *head, size_t len, const struct leak_known *known)
{
	static struct leak found[LEAKS_MAX];
	size_t n = leak_find(head, len, known, found, LEAKS_MAX);
	json_t *all = json_array();

	for (size_t i = 0; i < n && i < LEAKS_MAX; i++)
		json_array_append_new(all,
				      json_pack("{s:s,s:I,s:s,s:o}", "in", found[i].name, "field",
						(json_int_t)found[i].field, "kind",
						leak_kind_word(found[i].kind), "what",
						text_of(found[i].what, strlen(found[i].what))));
	return all;
}

__attribute__((format(printf, 2, 3))) static void problem(json_t *list, const char *fmt, ...)
{
	char line[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	json_array_append_new(list, text_of(line, strlen(line)));
}

/* @last: of the host that the letter left the tunnel for. */
static void judge_outside(json_t *list, const json_t *last, const json_t *found)
{
	const char *tls = said(last, "tls");

	if (!*tls || !strcmp(tls, "none"))
		problem(list, "%s took it in clear, without TLS",
			*said(last, "host") ? said(last, "host") : "the last host");
	if (json_array_size(found))
		problem(list, "the header section tells of the inside, in %zu place%s",
			json_array_size(found), json_array_size(found) == 1 ? "" : "s");
}

/* What is not as it should be. Sets @outside. */
static json_t *judge(const json_t *state, const json_t *report, const json_t *found, bool *outside)
{
	const char *word = said(state, "state"), *action = said(report, "action");
	bool due = json_is_true(json_object_get(state, "report_due"));
	json_t *list = json_array();

	*outside = !strcmp(word, "gone-on") && (!due || !strcmp(action, "relayed"));
	if (!strcmp(word, "queued"))
		problem(list, "it still waits in the queue here");
	else if (!strcmp(word, "refused"))
		problem(list, "it was refused, or could not be sent: %s", said(state, "reply"));
	else if (due && !report)
		problem(list, "no report came: the hops behind %s are not known",
			said(state, "hop"));
	else if (due && (!strcmp(action, "failed") || !*action))
		problem(list, "it failed at %s: %s", said(report, "by"),
			said(report, "diagnostic"));
	if (*outside)
		judge_outside(list, due ? report : state, found);
	return list;
}

/* "2.0.0 ID queued", as every Postern says it. */
static json_t *next_id(const char *reply)
{
	const char *p = strstr(reply, " queued");

	if (!p || p - reply < 32 || strspn(p - 32, "0123456789abcdef") != 32)
		return json_null();
	return text_of(p - 32, 32);
}

static json_t *first_hop(const json_t *state)
{
	return json_pack(
	    "{s:O?,s:O?,s:O?,s:O?,s:O?,s:O?,s:o}", "route", json_object_get(state, "route"), "hop",
	    json_object_get(state, "hop"), "host", json_object_get(state, "host"), "tls",
	    json_object_get(state, "tls"), "code", json_object_get(state, "code"), "reply",
	    json_object_get(state, "reply"), "next_id", next_id(said(state, "reply")));
}

json_t *path_report(const json_t *asked, const json_t *state, const struct leak_known *known)
{
	const char *raw = json_string_value(json_object_get(state, "report"));
	json_t *report = raw ? read_report(raw) : NULL, *found, *problems, *o;
	const char *head = said(asked, "header");
	size_t len = strlen(head), n;
	const char *there = NULL;
	bool outside;

	n = raw ? quoted(raw, &there) : 0;
	if (n) {
		head = there;
		len = n;
	}
	found = leaks(head, len, known);
	problems = judge(state, report, found, &outside);
	o = json_pack("{s:O?,s:O?,s:O?,s:O?,s:O?,s:b,s:o,s:o?,s:o,s:o,s:o,s:O?}", "id",
		      json_object_get(asked, "id"), "address", json_object_get(asked, "address"),
		      "sender", json_object_get(asked, "sender"), "hostname",
		      json_object_get(asked, "hostname"), "state", json_object_get(state, "state"),
		      "outside", outside, "first", first_hop(state), "report", report, "received",
		      received(head, len), "leaks", found, "problems", problems, "letter",
		      json_object_get(state, "letter"));
	if (o)
		json_object_set_new(o, "ok", json_boolean(!json_array_size(problems)));
	return o;
}
