/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_PARENT_H
#define MTA_PARENT_H

/*
 * Inside of the parent process: parent.c (children, reload), listen.c, events.c, watch.c, parent_hop.c,
 * parent_keys.c, control_mta.c, control_child.c.
 */

#include "conf.h"
#include "config.h"
#include "control.h"
#include "hop_files.h"
#include "log.h"
#include "proc_mta.h"
#include "tls.h"

/* A listening socket; kept over restarts of smtpd and over reloads that still want it. */
struct bound {
	uint32_t index; /* in config.listeners */
	struct endpoint at;
	bool tunnel;
	unsigned ifindex; /* of the TUN when it was bound */
	int fd;
	bool wanted;
};

/* What smtpd says of a listener's TLS. */
struct listener_tls_state {
	bool told, has;
	char why[512]; /* what it was given last is not used; "": it is */
};

/* A verb that a child answers. */
struct control_question {
	enum mta_proc who; /* is asked */
	const char *verb;
	uint32_t wait_ms; /* without a part of an answer */
};

struct control_request {
	uint32_t id; /* 0: free */
	struct control_ref ref;
	const struct control_question *asked;
	uint64_t until_ms; /* of loop_now_ms() */
	json_t *body;	   /* parts joined so far */
};

#define REQUESTS_MAX 64

struct watched {
	char *path;
	uint64_t sum; /* of what stat(2) tells; 0: missing */
};

struct parent {
	struct loop *loop;
	const char *path; /* of mta.conf */
	char *text;	  /* that is in force */
	size_t text_len;
	struct conf *conf;
	struct mta_config *config;
	int bundle_fd;
	struct proc procs[MTA_PROCS];
	struct proc_table table;
	struct tunnel_table tunnel;
	struct control_client *events;
	struct loop_fd events_watch; /* inotify, of the folder of its socket; fd -1: none */
	unsigned events_wait;	     /* ms until the next try to connect */
	struct timer events_timer, lost_timer, listen_timer, watch_timer, settle_timer;
	struct bound *bound;
	size_t bound_count;
	struct listener_tls_state tls[MTA_LISTENERS_MAX];
	bool listen_told; /* the present failure to bind is in the log already */
	struct watched *watched;
	size_t watched_count, watched_cap;
	int limits_fd;	/* what smtpd counts by, kept over its restarts */
	int metrics_fd; /* -1: nobody asks */
	int counters_fd[MTA_PROCS], counters_read_fd[MTA_PROCS]; /* -1: none */
	struct control_server *control;
	struct control_request requests[REQUESTS_MAX];
	uint32_t next_request;
	struct timer control_timer; /* the nearest end of a request's time */
	uint64_t started_ms;
	bool hop_opened;      /* at the start; without a tunnel there are no keys of the hop */
	struct hop_store hop; /* keys of peers */
	bool hop_own;	      /* there is a key of ours */
	struct tls_pin hop_pin;
	struct log_limit hop_quiet;
};

#define PATH_BYTES 4096

/** parent_run() - From start to orderly end; returns the exit status. */
int parent_run(const char *path);
/* As much as control_fail() takes. */
#define PARENT_WHY_MAX 3600

/** parent_reload() - Read the whole file anew; on an error the old one stays, and @why and the log say so. */
int parent_reload(struct parent *p, char *why, size_t cap);
/** parent_resend() - Files changed: the same text with a new bundle, keys and tables. */
void parent_resend(struct parent *p);
/** parent_send_tunnel() - The table to one child, or to all when @to is NULL. */
void parent_send_tunnel(struct parent *p, struct proc *to);
/** parent_send_memfd() - A message with bytes that are too many, or too private, for its payload. */
void parent_send_memfd(struct proc *to, uint32_t type, uint32_t id, const void *data, size_t len);

/** keys_send() - Certificates, keys and other private files, each to those that have a use for it. */
void keys_send(struct parent *p, struct proc *to);

/** hop_open() - Our own hop key and those of peers, while still root; nothing where there is no tunnel. */
void hop_open(struct parent *p);
void hop_close(struct parent *p);
/** hop_own_path() - Of our own key with its certificate, whether it is there or not. */
const char *hop_own_path(const struct parent *p, char out[static PATH_BYTES]);
/** hop_read_own() - It may have been put back: is it there, is it whole, and what is its pin? */
void hop_read_own(struct parent *p);
/** hop_send() - Keys of peers to relay. */
void hop_send(struct parent *p, struct proc *to);
/** hop_seen() - Relay tells what a peer has shown. */
void hop_seen(struct parent *p, const uint8_t *data, size_t len);
/** hop_forget() - @peer: its name, or its identity. NULL, or why not, or not for long. */
const char *hop_forget(struct parent *p, const char *peer);
/** hop_json() - Our own key's pin, and those of peers. */
json_t *hop_json(const struct parent *p);

/** listen_update() - Make the bound sockets what configuration and tunnel ask for, tell smtpd. */
void listen_update(struct parent *p);
/** listen_send() - The whole set to smtpd. */
void listen_send(struct parent *p);
void listen_close(struct parent *p);
/**
 * listen_check() - Would each listener that must have TLS have it, by the configuration @c of @text and @bundle?
 * 0, or -EINVAL and @why says, in lines, which file is at fault and which listener needs it.
 */
int listen_check(const struct parent *p, const char *text, size_t len, const struct mta_config *c,
		 int bundle, char *why, size_t cap);
/** listen_gone() - A reload: tell of listeners that @now has no more, where rules choose ways of letters that came by them. */
void listen_gone(const struct mta_config *was, const struct mta_config *now);
/** listen_tls() - MTA_LISTENER_TLS came. */
void listen_tls(struct parent *p, uint32_t index, const uint8_t *data, size_t len);

/** events_start() - Connect to posternd, now and whenever it is there again. */
void events_start(struct parent *p);
void events_stop(struct parent *p);

/** watch_files() - Remember how the files look that the configuration names; checked every 5 s. */
void watch_files(struct parent *p);

/** control_open() - Bind RUN/mta.sock, while still root. A descriptor or -errno. */
int control_open(const struct mta_config *c, gid_t *admin_gid);
int control_start(struct parent *p, int fd, gid_t admin_gid);
/** control_ask() - Hand a request on to a child. @q: stays for good; @args: borrowed; times are ms of BOOTTIME. */
void control_ask(struct parent *p, struct control_ref ref, const struct control_question *q,
		 const json_t *args, uint64_t now_ms);
/** control_answer() - A part of the answer of the process that was asked. */
void control_answer(struct parent *p, enum mta_proc who, uint32_t id, const char *json, size_t len,
		    uint64_t now_ms);
/** control_expire() - Requests whose time is over fail, and say who did not answer. */
void control_expire(struct parent *p, uint64_t now_ms);
/** control_abandon() - That process ended: requests open with it fail. */
void control_abandon(struct parent *p, enum mta_proc who);

#endif
