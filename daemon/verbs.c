/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The verbs of posternd's control socket. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "child_int.h"

/* The peer that args name; NULL after an answer. */
static struct peer *named(struct control_server *s, struct control_ref ref, const json_t *args,
			  struct child *c)
{
	const char *name = json_string_value(json_object_get(args, "peer"));
	struct peer *p = name ? child_peer_named(c, name) : NULL;

	if (!name)
		control_fail(s, ref, "\"peer\" is missing");
	else if (!p)
		control_fail(s, ref, "no peer \"%.60s\" in the configuration", name);
	return p;
}

static void do_status(struct control_server *s, struct control_ref ref, const json_t *args,
		      void *arg)
{
	control_reply_list(s, ref,
			   telling_status(arg, json_is_true(json_object_get(args, "counters"))),
			   "peers", telling_next_peer);
}

static void admin(struct control_server *s, struct control_ref ref, const json_t *args, void *arg,
		  bool up)
{
	struct child *c = arg;
	struct peer *p = named(s, ref, args, c);

	if (!p)
		return;
	log_info(&p->log, "%s by the admin", up ? "up" : "down");
	sup_admin(&p->sup, up, child_now(c));
	peer_arm(p);
	/* The name of a peer with several servers means all of them, that of a server it alone. */
	for (struct peer *one = NULL; !p->cfg->of && (one = servers_next(p, one));) {
		sup_admin(&one->sup, up, child_now(c));
		peer_arm(one);
	}
	effects_apply(c);
	control_reply(s, ref, NULL);
}

static void do_up(struct control_server *s, struct control_ref ref, const json_t *args, void *arg)
{
	admin(s, ref, args, arg, true);
}

static void do_down(struct control_server *s, struct control_ref ref, const json_t *args, void *arg)
{
	admin(s, ref, args, arg, false);
}

static void do_rekey(struct control_server *s, struct control_ref ref, const json_t *args,
		     void *arg)
{
	struct child *c = arg;
	struct peer *p = named(s, ref, args, c);
	uint64_t now = child_now(c);
	int rc = 0, count = 0;

	if (!p)
		return;
	if (!p->sup.ike) {
		control_fail(s, ref, "peer \"%s\" has no IKE SA", p->cfg->name);
		return;
	}
	if (json_is_true(json_object_get(args, "ike"))) {
		rc = engine_rekey_ike(c->engine, now, p->sup.ike, &c->fx);
		count = 1;
	} else {
		/* Those that were replaced linger for a while and are not known to the engine by SPI. */
		for (size_t i = 0; i < p->pair_count; i++)
			if (p->pair[i].spi_in &&
			    !engine_rekey_child(c->engine, now, p->pair[i].spi_in, &c->fx))
				count++;
		rc = count ? 0 : -ENOENT;
	}
	effects_apply(c);
	if (rc)
		control_fail(s, ref, "rekey of \"%s\": %s", p->cfg->name, strerror(-rc));
	else
		control_reply(s, ref, json_pack("{s:i}", "count", count));
}

static void do_drain(struct control_server *s, struct control_ref ref, const json_t *args,
		     void *arg)
{
	struct child *c = arg;

	drain_set(c, !json_is_true(json_object_get(args, "off")));
	control_reply(s, ref, drain_json(c));
}

static void do_bench(struct control_server *s, struct control_ref ref, const json_t *args, void *arg)
{
	struct peer *p = named(s, ref, args, arg);

	if (p)
		bench_ask(arg, ref, p, args);
}

struct reload_request {
	struct child *child;
	struct control_ref ref;
};

static void on_reloaded(int status, const char *text, void *arg)
{
	struct reload_request *r = arg;

	if (status)
		control_fail(r->child->control, r->ref, "%s", text ? text : strerror(-status));
	else
		control_reply(r->child->control, r->ref, NULL);
	free(r);
}

static void do_reload(struct control_server *s, struct control_ref ref, const json_t *args,
		      void *arg)
{
	struct reload_request *r = calloc(1, sizeof(*r));
	struct child *c = arg;
	int rc = -1;

	(void)args;
	if (r) {
		r->child = c;
		r->ref = ref;
		rc = priv_reload(c->priv, on_reloaded, r);
	}
	if (rc) {
		free(r);
		control_fail(s, ref, "the parent cannot be asked");
	}
}

const struct control_verb child_verbs[] = {
	{ "status", CONTROL_READ, do_status, "what stands and why" },
	{ "up", CONTROL_CHANGE, do_up, "call a peer, or let it call, after down" },
	{ "down", CONTROL_CHANGE, do_down, "close what there is with a peer and stay down" },
	{ "rekey", CONTROL_CHANGE, do_rekey, "make new keys with a peer now" },
	{ "bench", CONTROL_CHANGE, do_bench, "measure the tunnel to a peer that allows it" },
	{ "drain", CONTROL_CHANGE, do_drain, "take nobody in any more, and send callers elsewhere" },
	{ "reload", CONTROL_CHANGE, do_reload, "read the configuration again" },
	{ NULL, 0, NULL, NULL },
};
