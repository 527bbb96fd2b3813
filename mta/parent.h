/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_PARENT_H
#define MTA_PARENT_H

/* Inside of the parent process: parent.c (children, reload), listen.c, watch.c, control_mta.c. */

#include "conf.h"
#include "config.h"
#include "control.h"
#include "proc_mta.h"

/* A listening socket; kept over restarts of smtpd and over reloads that still want it. */
struct bound {
	uint32_t index; /* in config.listeners */
	struct endpoint at;
	bool tunnel;
	unsigned ifindex; /* of the TUN when it was bound */
	int fd;
	bool wanted;
};

struct control_request {
	uint32_t id; /* 0: free */
	struct control_ref ref;
	json_t *body; /* parts joined so far */
};

#define REQUESTS_MAX 64
#define WATCHED_MAX  256

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
	struct timer events_timer, lost_timer, listen_timer, watch_timer;
	struct bound *bound;
	size_t bound_count;
	bool listen_told; /* the present failure to bind is in the log already */
	struct watched watched[WATCHED_MAX];
	size_t watched_count;
	struct control_server *control;
	struct control_request requests[REQUESTS_MAX];
	uint32_t next_request;
	uint64_t started_ms;
};

/** parent_run() - From start to orderly end; returns the exit status. */
int parent_run(const char *path);
/** parent_reload() - Read the whole file anew; on an error the old one stays and @why says so. */
int parent_reload(struct parent *p, char *why, size_t cap);
/** parent_resend() - Files changed: the same text with a new bundle, keys and tables. */
void parent_resend(struct parent *p);
/** parent_send_tunnel() - The table to one child, or to all when @to is NULL. */
void parent_send_tunnel(struct parent *p, struct proc *to);

/** listen_update() - Make the bound sockets what configuration and tunnel ask for, tell smtpd. */
void listen_update(struct parent *p);
/** listen_send() - The whole set to smtpd. */
void listen_send(struct parent *p);
void listen_close(struct parent *p);

/** events_start() - Connect to posternd, now and whenever it is lost. */
void events_start(struct parent *p);
void events_stop(struct parent *p);

/** watch_files() - Remember how the files look that the configuration names; checked every 5 s. */
void watch_files(struct parent *p);

/** control_open() - Bind RUN/mta.sock, while still root. A descriptor or -errno. */
int control_open(const struct mta_config *c, gid_t *admin_gid);
int control_start(struct parent *p, int fd, gid_t admin_gid);
/** control_answer() - A part of queue's answer. */
void control_answer(struct parent *p, uint32_t id, const char *json, size_t len);
/** control_abandon() - The queue ended: open requests fail. */
void control_abandon(struct parent *p);

#endif
