/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_CONTROL_H
#define BASE_CONTROL_H

/*
 * Theory: a daemon is asked and watched over a Unix stream socket, one JSON object a line.
 *
 *	> {"v":1,"verb":"status","args":{}}
 *	< {"v":1,"ok":true,"peers":[...]}
 *	< {"v":1,"ok":false,"error":"what, where, what to change"}
 *
 * `subscribe` answers ok and then streams events. Who may use a verb is decided by its class and
 * by SO_PEERCRED and SO_PEERGROUPS: root always, members of the admin group. A request line is
 * bounded, the count of clients is bounded, and a client that does not read is dropped: nothing that
 * a client does slows the daemon down.
 *
 * The client half serves the CLI (blocking) and the MTA's reader of events.sock (from its loop).
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "loop.h"

#define CONTROL_VERSION	    1
#define CONTROL_LINE_MAX    (64 * 1024) /* of a request */
#define CONTROL_REPLY_MAX   (64u << 20) /* of an answer or event, as a client takes it */
#define CONTROL_CLIENTS_MAX 64
#define CONTROL_PER_USER    16	       /* of one user who is neither root, admin nor ourselves */
#define CONTROL_BACKLOG_MAX (8u << 20) /* unsent bytes after which a client is dropped */

enum control_class {
	CONTROL_READ,	 /* looks only */
	CONTROL_CHANGE,	 /* changes what the daemon does */
	CONTROL_LETTERS, /* shows or moves letters */
};

struct control_server;

/* Names a client (and its request in turn) without a pointer: a late answer to a client that is
 * gone is dropped. */
struct control_ref {
	uint64_t client;
};

struct control_verb {
	const char *name;
	enum control_class cls;
	/*
	 * Answers by control_reply() or control_fail(), now or later, exactly once. @args is
	 * borrowed, always an object.
	 */
	void (*run)(struct control_server *s, struct control_ref ref, const json_t *args,
		    void *arg);
	const char *help;
};

struct control_config {
	const struct control_verb *verbs; /* ends with a NULL name */
	gid_t admin_gid;		  /* (gid_t)-1: root alone */
	bool anyone_may_read;		  /* CONTROL_READ for every local user that can connect */
	/*
	 * events.sock: a new client is subscribed at once, requests are not read, and this sends
	 * the state (by control_event_to()). NULL: a usual control socket.
	 */
	void (*greet)(struct control_server *s, struct control_ref ref, void *arg);
	/* Like greet, after a `subscribe` was answered; may be NULL. */
	void (*subscribed)(struct control_server *s, struct control_ref ref, void *arg);
	void *arg;
};

/**
 * control_listen() - Bind and listen at @path, replacing a stale socket there.
 * @mode: of the socket file (0660); @gid: its group, (gid_t)-1 leaves it.
 * Returns the descriptor (close-on-exec, non-blocking) or -errno.
 */
int control_listen(const char *path, mode_t mode, gid_t gid);
/** control_server_new() - Takes @listen_fd, also on failure. NULL and errno. @cfg is copied. */
struct control_server *control_server_new(struct loop *l, int listen_fd,
					  const struct control_config *cfg);
void control_server_free(struct control_server *s);

/** control_reply() - {"v":1,"ok":true} and the members of @body; takes @body (may be NULL). */
void control_reply(struct control_server *s, struct control_ref ref, json_t *body);
/** control_list_fn() - The next element after *@at (0 at first), for the caller; NULL: there is none. */
typedef json_t *control_list_fn(void *arg, uint64_t *at);
/**
 * control_reply_list() - The same with one more member @key, an array of what @next gives, asked for only as
 * the client reads: of ten thousand elements a few are there at a time. @next gets the server's arg.
 */
void control_reply_list(struct control_server *s, struct control_ref ref, json_t *body,
			const char *key, control_list_fn *next);
void control_fail(struct control_server *s, struct control_ref ref, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/** control_event() - To all subscribers; takes @event, to which "v":1 is added. */
void control_event(struct control_server *s, json_t *event);
/** control_here() - That client is still connected. */
bool control_here(struct control_server *s, struct control_ref ref);
/** control_event_to() - To one client. */
void control_event_to(struct control_server *s, struct control_ref ref, json_t *event);
size_t control_subscribers(const struct control_server *s);

struct control_line {
	const char *verb; /* points into @json */
	json_t *args;	  /* borrowed from @json; never NULL */
	json_t *json;	  /* the caller puts it (json_decref) */
};

/**
 * control_line_parse() - One request line (without its newline).
 * 0, or -EBADMSG with @why filled; nothing to put then.
 */
int control_line_parse(const char *line, size_t len, struct control_line *out, char *why,
		       size_t why_cap);

/* ---- client ---- */

struct control_client;

struct control_client_ops {
	void (*line)(struct control_client *c, const json_t *obj, void *arg); /* borrowed */
	/* Once: peer gone, bad line or too long a line (-errno); the callee frees the client. */
	void (*closed)(struct control_client *c, int err, void *arg);
};

/**
 * control_client_new() - Connect to @path; a Unix connect does not wait. NULL and errno on failure
 * (ENOENT and ECONNREFUSED: the daemon does not run; EACCES: not allowed).
 * To connect again is the caller's part.
 */
struct control_client *control_client_new(struct loop *l, const char *path,
					  const struct control_client_ops *ops, void *arg);
void control_client_free(struct control_client *c);
/** control_client_send() - Borrows @obj. 0 or -errno. */
int control_client_send(struct control_client *c, const json_t *obj);
/** control_client_verb() - Sends {"v":1,"verb":..,"args":..}; takes @args (may be NULL). */
int control_client_verb(struct control_client *c, const char *verb, json_t *args);

/**
 * control_call() - Blocking, for the CLI: one verb, one answer.
 * @args: taken, may be NULL. @reply: the answer when it is ok, the caller puts it.
 *
 * 0, or -errno with @why: cannot connect, no answer in @timeout_ms, or the daemon's own error
 * (-EREMOTEIO).
 */
int control_call(const char *path, const char *verb, json_t *args, int timeout_ms, json_t **reply,
		 char *why, size_t why_cap);
/**
 * control_watch() - Blocking: subscribe and call @fn for each event until it returns non-zero (its
 * result) or the daemon closes (-EPIPE).
 */
int control_watch(const char *path, const char *verb, json_t *args,
		  int (*fn)(const json_t *event, void *arg), void *arg, char *why, size_t why_cap);

#endif
