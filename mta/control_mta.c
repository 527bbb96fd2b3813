/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "parent.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

/*
 * Theory: mta.sock is the parent's. What concerns letters is handed to the queue and answered when it
 * answers (control_child.c), what sessions would be told to smtpd; the rest is answered here.
 */

/* How long a child is waited for: less than the command line waits for us, so that it hears who is silent. */
#define WAIT_MS	       15000
#define WAIT_EXPORT_MS 50000
#define WAIT_IMPORT_MS 100000

#define CHILD_VERB(fn, proc, name, ms)                                                             \
	static void fn(struct control_server *s, struct control_ref ref, const json_t *args,       \
		       void *arg)                                                                  \
	{                                                                                          \
		static const struct control_question q = { .who = proc, .verb = name, .wait_ms = ms }; \
		struct parent *p = arg;                                                            \
                                                                                                   \
		(void)s;                                                                           \
		control_ask(p, ref, &q, args, loop_now_ms(p->loop));                               \
	}

CHILD_VERB(run_queue, MTA_PROC_QUEUE, "queue", WAIT_MS)
CHILD_VERB(run_show, MTA_PROC_QUEUE, "show", WAIT_MS)
CHILD_VERB(run_flush, MTA_PROC_QUEUE, "flush", WAIT_MS)
CHILD_VERB(run_hold, MTA_PROC_QUEUE, "hold", WAIT_MS)
CHILD_VERB(run_release, MTA_PROC_QUEUE, "release", WAIT_MS)
CHILD_VERB(run_remove, MTA_PROC_QUEUE, "remove", WAIT_MS)
CHILD_VERB(run_move, MTA_PROC_QUEUE, "move", WAIT_MS)
CHILD_VERB(run_stats, MTA_PROC_QUEUE, "stats", WAIT_MS)
CHILD_VERB(run_export, MTA_PROC_QUEUE, "export", WAIT_EXPORT_MS)
CHILD_VERB(run_export_remove, MTA_PROC_QUEUE, "export-remove", WAIT_EXPORT_MS)
CHILD_VERB(run_import, MTA_PROC_QUEUE, "import", WAIT_IMPORT_MS)
CHILD_VERB(run_trace, MTA_PROC_QUEUE, "trace", WAIT_MS)
CHILD_VERB(run_path_test, MTA_PROC_QUEUE, "path-test", WAIT_MS)
CHILD_VERB(run_path_test_report, MTA_PROC_QUEUE, "path-test-report", WAIT_MS)
CHILD_VERB(run_routes, MTA_PROC_QUEUE, "routes", WAIT_MS)
CHILD_VERB(run_explain, MTA_PROC_SMTPD, "explain", WAIT_MS)

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

/* Of a listener with certificates; why those that stand in its files are not used. */
static void tls_json(const struct parent *p, uint32_t index, json_t *o)
{
	const struct listener_tls_state *t = &p->tls[index];

	if (!t->told)
		return;
	json_object_set_new(o, "tls", json_boolean(t->has));
	if (t->why[0])
		json_object_set_new(o, "tls_fault", json_string(t->why));
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
		json_t *o = json_pack("{s:s,s:s,s:b}", "name", p->config->listeners[b->index].name,
				      "address", endpoint_str(&b->at, text), "tunnel", b->tunnel);

		tls_json(p, b->index, o);
		json_array_append_new(listeners, o);
	}
	control_reply(s, ref,
		      json_pack("{s:s,s:s,s:s,s:I,s:o,s:o,s:o,s:o}", "version", POSTERN_VERSION, "role",
				roles[p->config->role], "hostname", p->config->hostname, "uptime_s",
				(json_int_t)((loop_now_ms(p->loop) - p->started_ms) / 1000),
				"processes", procs, "listeners", listeners, "tunnel",
				tunnel_json(p), "hop_keys", hop_json(p)));
}

static void run_reload(struct control_server *s, struct control_ref ref, const json_t *args,
		       void *arg)
{
	char why[PARENT_WHY_MAX];

	(void)args;
	if (parent_reload(arg, why, sizeof(why)))
		control_fail(s, ref, "%s", why);
	else
		control_reply(s, ref, NULL);
}

static void run_forget_key(struct control_server *s, struct control_ref ref, const json_t *args,
			   void *arg)
{
	const char *peer = json_string_value(json_object_get(args, "peer"));
	const char *why = peer ? hop_forget(arg, peer) : "needs the name of a peer";

	if (why)
		control_fail(s, ref, "%s", why);
	else
		control_reply(s, ref,
			      json_pack("{s:i,s:s}", "count", 1, "text",
					"forgotten; the next contact learns the key that it shows then"));
}

static const struct control_verb verbs[] = {
	{ "status", CONTROL_READ, run_status, "processes, listeners, tunnel" },
	{ "reload", CONTROL_CHANGE, run_reload, "read the configuration again" },
	{ "forget-key", CONTROL_CHANGE, run_forget_key, "learn a peer's key anew" },
	{ "queue", CONTROL_LETTERS, run_queue, "letters that wait" },
	{ "show", CONTROL_LETTERS, run_show, "one letter" },
	{ "flush", CONTROL_CHANGE, run_flush, "try what waits now" },
	{ "hold", CONTROL_CHANGE, run_hold, "no attempts for a letter or route" },
	{ "release", CONTROL_CHANGE, run_release, "end a hold" },
	{ "remove", CONTROL_LETTERS, run_remove, "delete a letter" },
	{ "move", CONTROL_CHANGE, run_move, "what waits on a route goes by another one" },
	{ "export", CONTROL_LETTERS, run_export, "letters for a file" },
	{ "export-remove", CONTROL_LETTERS, run_export_remove, "letters that are in a file leave" },
	{ "import", CONTROL_LETTERS, run_import, "letters of another queue" },
	{ "trace", CONTROL_LETTERS, run_trace, "what happened to a letter" },
	{ "path-test", CONTROL_LETTERS, run_path_test, "send a probe" },
	{ "path-test-report", CONTROL_LETTERS, run_path_test_report, "what became of it" },
	{ "routes", CONTROL_READ, run_routes, "state of routes and next hops" },
	{ "stats", CONTROL_READ, run_stats, "how old is what waits, by route" },
	{ "explain", CONTROL_READ, run_explain, "what a client would be answered, and why" },
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
