/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "parent.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

/*
 * Theory: mta.sock is the parent's. What concerns letters is handed to the queue as
 * {"verb":..,"args":{..}} and answered when it answers; the rest is answered here.
 */

static struct control_request *request_new(struct parent *p, struct control_ref ref)
{
	for (size_t i = 0; i < REQUESTS_MAX; i++) {
		if (p->requests[i].id)
			continue;
		if (!++p->next_request)
			p->next_request = 1;
		p->requests[i] =
		    (struct control_request){ .id = p->next_request, .ref = ref, .body = NULL };
		return &p->requests[i];
	}
	return NULL;
}

static void request_done(struct control_request *r)
{
	json_decref(r->body);
	memset(r, 0, sizeof(*r));
}

static void to_queue(struct control_server *s, struct control_ref ref, const char *verb,
		     const json_t *args, void *arg)
{
	struct parent *p = arg;
	struct proc *queue = proc_by_id(&p->table, MTA_PROC_QUEUE);
	struct control_request *r;
	json_t *o = json_pack("{s:s,s:O}", "verb", verb, "args", (json_t *)(uintptr_t)args);
	char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	int rc = -ENOMEM;

	json_decref(o);
	r = text ? request_new(p, ref) : NULL;
	if (r)
		rc = queue && queue->ipc
			 ? ipc_send(queue->ipc, MTA_CONTROL, r->id, text, strlen(text))
			 : -EPIPE;
	free(text);
	if (!rc)
		return;
	if (r)
		request_done(r);
	control_fail(s, ref, "%s",
		     r ? "the queue does not run now; try again" : "too many requests");
}

#define QUEUE_VERB(fn, verb)                                                                       \
	static void fn(struct control_server *s, struct control_ref ref, const json_t *args,       \
		       void *arg)                                                                  \
	{                                                                                          \
		to_queue(s, ref, verb, args, arg);                                                 \
	}

QUEUE_VERB(run_queue, "queue")
QUEUE_VERB(run_show, "show")
QUEUE_VERB(run_flush, "flush")
QUEUE_VERB(run_hold, "hold")
QUEUE_VERB(run_release, "release")
QUEUE_VERB(run_remove, "remove")
QUEUE_VERB(run_trace, "trace")
QUEUE_VERB(run_routes, "routes")

static json_t *tunnel_json(const struct parent *p)
{
	static const char *const states[] = { "down", "up", "unknown" };
	json_t *peers = json_array();

	for (size_t i = 0; i < p->tunnel.peer_count; i++) {
		const struct tunnel_peer *t = &p->tunnel.peers[i];

		json_array_append_new(
		    peers, json_pack("{s:s,s:s}", "peer", t->name, "state", states[t->state]));
	}
	return json_pack("{s:b,s:s,s:o}", "connected", p->tunnel.connected, "tun", p->tunnel.dev,
			 "peers", peers);
}

static void run_status(struct control_server *s, struct control_ref ref, const json_t *args,
		       void *arg)
{
	static const char *const roles[] = { "edge", "home", "workstation" };
	struct parent *p = arg;
	json_t *procs = json_array(), *listeners = json_array();
	char text[ENDPOINT_STR_MAX];

	(void)args;
	for (size_t i = 0; i < MTA_PROCS; i++)
		json_array_append_new(procs, json_pack("{s:s,s:i}", "name", p->procs[i].spec->name,
						       "pid", (int)p->procs[i].pid));
	for (size_t i = 0; i < p->bound_count; i++) {
		const struct bound *b = &p->bound[i];

		json_array_append_new(listeners,
				      json_pack("{s:s,s:s,s:b}", "name",
						p->config->listeners[b->index].name, "address",
						endpoint_str(&b->at, text), "tunnel", b->tunnel));
	}
	control_reply(s, ref,
		      json_pack("{s:s,s:s,s:s,s:I,s:o,s:o,s:o}", "version", POSTERN_VERSION, "role",
				roles[p->config->role], "hostname", p->config->hostname, "uptime_s",
				(json_int_t)((loop_now_ms(p->loop) - p->started_ms) / 1000),
				"processes", procs, "listeners", listeners, "tunnel",
				tunnel_json(p)));
}

static void run_reload(struct control_server *s, struct control_ref ref, const json_t *args,
		       void *arg)
{
	char why[1024];

	(void)args;
	if (parent_reload(arg, why, sizeof(why)))
		control_fail(s, ref, "%s", why);
	else
		control_reply(s, ref, NULL);
}

static const struct control_verb verbs[] = {
	{ "status", CONTROL_READ, run_status, "processes, listeners, tunnel" },
	{ "reload", CONTROL_CHANGE, run_reload, "read the configuration again" },
	{ "queue", CONTROL_LETTERS, run_queue, "letters that wait" },
	{ "show", CONTROL_LETTERS, run_show, "one letter" },
	{ "flush", CONTROL_CHANGE, run_flush, "try what waits now" },
	{ "hold", CONTROL_CHANGE, run_hold, "no attempts for a letter or route" },
	{ "release", CONTROL_CHANGE, run_release, "end a hold" },
	{ "remove", CONTROL_LETTERS, run_remove, "delete a letter" },
	{ "trace", CONTROL_LETTERS, run_trace, "what happened to a letter" },
	{ "routes", CONTROL_READ, run_routes, "state of routes and next hops" },
	{ NULL },
};

int control_open(const struct mta_config *c, gid_t *admin_gid)
{
	char path[4096];
	struct group *gr = getgrnam(c->admin_group);
	char *end;
	unsigned long n = strtoul(c->admin_group, &end, 10);

	*admin_gid = gr ? gr->gr_gid : *c->admin_group && !*end ? (gid_t)n : (gid_t)-1;
	snprintf(path, sizeof(path), "%s/mta.sock", c->run_dir);
	return control_listen(path, 0660, *admin_gid);
}

int control_start(struct parent *p, int fd, gid_t admin_gid)
{
	struct control_config cfg = { .verbs = verbs, .admin_gid = admin_gid, .arg = p };

	p->control = control_server_new(p->loop, fd, &cfg);
	return p->control ? 0 : -errno;
}

/* Arrays of the same name are joined, other members replaced. */
static void join(json_t *to, json_t *part)
{
	const char *key;
	json_t *v;

	json_object_foreach(part, key, v)
	{
		json_t *old = json_object_get(to, key);

		if (json_is_array(old) && json_is_array(v))
			json_array_extend(old, v);
		else
			json_object_set(to, key, v);
	}
}

void control_answer(struct parent *p, uint32_t id, const char *json, size_t len)
{
	struct control_request *r = NULL;
	const char *error;
	json_t *o;
	bool more;

	for (size_t i = 0; id && i < REQUESTS_MAX && !r; i++) {
		if (p->requests[i].id == id)
			r = &p->requests[i];
	}
	if (!r)
		return;
	o = json_loadb(json, len, 0, NULL);
	error = json_is_object(o) ? json_string_value(json_object_get(o, "error"))
				  : "the queue's answer is not understood";
	if (error) {
		control_fail(p->control, r->ref, "%s", error);
		json_decref(o);
		request_done(r);
		return;
	}
	more = json_is_true(json_object_get(o, "more"));
	json_object_del(o, "more");
	if (!r->body) {
		r->body = o;
	} else {
		join(r->body, o);
		json_decref(o);
	}
	if (more)
		return;
	control_reply(p->control, r->ref, r->body);
	r->body = NULL;
	request_done(r);
}

void control_abandon(struct parent *p)
{
	for (size_t i = 0; i < REQUESTS_MAX; i++) {
		if (!p->requests[i].id)
			continue;
		control_fail(p->control, p->requests[i].ref, "the queue was restarted; try again");
		request_done(&p->requests[i]);
	}
}
