/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "answer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PART_MAX (IPC_PAYLOAD_MAX - 4096)
#define FULL	 (2u << 20)

static void send_part(struct answer *a, json_t *also, bool more)
{
	json_t *o = also ? also : json_object();

	json_object_set_new(o, a->name, a->items);
	if (a->in)
		o = json_pack("{s:o}", a->in, o);
	if (more)
		json_object_set_new(o, "more", json_true());
	answer_reply(a->q, a->id, o);
	a->items = more ? json_array() : NULL;
	a->bytes = 0;
}

/* What @o, the answer or an object in it, has of arrays goes ahead in parts; empty ones stay. */
static void divide(struct queue *q, uint32_t id, json_t *o, const char *in)
{
	const char *key;
	json_t *v;

	json_object_foreach(o, key, v)
	{
		struct answer a = { .q = q, .id = id, .in = in, .name = key };
		json_t *item;
		size_t i;

		if (json_is_object(v) && !in)
			divide(q, id, v, key);
		if (!json_is_array(v))
			continue;
		a.items = json_array();
		json_array_foreach(v, i, item) answer_add(&a, json_incref(item));
		if (a.bytes)
			send_part(&a, NULL, true);
		json_decref(a.items);
		json_object_set_new(o, key, json_array());
	}
}

static int put(struct queue *q, uint32_t id, const json_t *o)
{
	char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	int rc = text ? child_reply(q->ch, id, text, strlen(text)) : -ENOMEM;

	free(text);
	return rc;
}

void answer_reply(struct queue *q, uint32_t id, json_t *o)
{
	static const char large[] = "{\"error\":\"the answer is too large\"}",
			  no_memory[] = "{\"error\":\"out of memory\"}";
	int rc = put(q, id, o);

	if (rc == -EMSGSIZE) {
		divide(q, id, o, NULL);
		rc = put(q, id, o);
	}
	if (rc == -EMSGSIZE)
		child_reply(q->ch, id, large, sizeof(large) - 1);
	else if (rc)
		child_reply(q->ch, id, no_memory, sizeof(no_memory) - 1);
	json_decref(o);
}

void answer_fail(struct queue *q, uint32_t id, const char *why)
{
	answer_reply(q, id, json_pack("{s:s}", "error", why));
}

struct answer_later {
	struct store_waiter w;
	struct queue *q;
	uint32_t id;
	size_t left; /* commits under way */
	bool complete, answered;
	int rc;
	size_t count;
	char text[160];
};

static void reply_later(struct answer_later *a, const char *beside)
{
	char text[320];

	snprintf(text, sizeof(text), "%s%s", a->text, beside);
	answer_reply(a->q, a->id,
		     json_pack("{s:I,s:s}", "count", (json_int_t)a->count, "text", text));
	a->answered = true;
}

static void look_if_durable(struct answer_later *a)
{
	if (!a->complete || a->left)
		return;
	if (!a->answered && a->rc)
		answer_fail(a->q, a->id, "the queue stops, and it could not be written");
	else if (!a->answered)
		reply_later(a, "");
	free(a);
}

static void durable(struct store_waiter *w, int rc, struct letter *l)
{
	struct answer_later *a = (struct answer_later *)(void *)w;

	(void)l;
	a->left--;
	a->rc = rc ? rc : a->rc;
	look_if_durable(a);
}

static void not_yet(struct store_waiter *w, int rc)
{
	struct answer_later *a = (struct answer_later *)(void *)w;

	(void)rc;
	if (!a->answered)
		reply_later(a, "; but the disk takes nothing now: written when it does, and until then "
			       "undone by a restart");
}

struct answer_later *answer_later(struct queue *q, uint32_t id)
{
	struct answer_later *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->w = (struct store_waiter){ .done = durable, .doubt = not_yet };
	a->q = q;
	a->id = id;
	return a;
}

int answer_commit(struct answer_later *a, struct store_change *c)
{
	int rc = store_commit(c, true, &a->w);

	a->left += !rc;
	return rc;
}

void answer_so_far(struct answer_later *a, size_t count, const char *text)
{
	a->count = count;
	snprintf(a->text, sizeof(a->text), "%s", text);
}

void answer_count(struct answer_later *a, size_t count, const char *text)
{
	answer_so_far(a, count, text);
	a->complete = true;
	look_if_durable(a);
}

void answer_not(struct answer_later *a, struct queue *q, uint32_t id, const char *why)
{
	if (!a || !a->answered)
		answer_fail(q, id, why);
	if (!a)
		return;
	a->complete = a->answered = true;
	look_if_durable(a);
}

void answer_add(struct answer *a, json_t *item)
{
	char *text = item ? json_dumps(item, JSON_COMPACT) : NULL;
	size_t n = text ? strlen(text) + 1 : 0;

	free(text);
	if (!n || n > PART_MAX) {
		json_decref(item);
		return;
	}
	if (a->bytes + n > PART_MAX)
		send_part(a, NULL, true);
	a->bytes += n;
	a->total += n;
	json_array_append_new(a->items, item);
}

bool answer_full(const struct answer *a)
{
	return a->total >= FULL;
}

void answer_end(struct answer *a, json_t *also)
{
	send_part(a, also, false);
}
