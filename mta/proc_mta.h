/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_PROC_MTA_H
#define MTA_PROC_MTA_H

/*
 * Theory: the processes of postern-mta and what the parent tells them.
 *
 *	            parent (user postern-mta, may bind low ports; reads keys and certificates)
 *	   CONFIG, PEER, LISTENER, KEY, TUNNEL, CONTROL, COUNTERS |  READY, CONTROL_REPLY
 *	 +-----------+-----------+----------------------+
 *	smtpd ---- queue ---- relay         siblings talk over their own pairs; when
 *	   \___ lookup ___/                 either end restarts the parent makes a new pair for both
 *
 * child_run() does the common part of a child: fd 3, first CONFIG, becoming the right user, loop,
 * SIGTERM. A child's main is one call with its table of callbacks.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bundle.h"
#include "config.h"
#include "counters.h"
#include "ipc.h"
#include "loop.h"
#include "proc.h"
#include "tunnel.h"

enum mta_proc { MTA_PROC_SMTPD, MTA_PROC_QUEUE, MTA_PROC_RELAY, MTA_PROC_LOOKUP, MTA_PROCS };

/* Types on fd 3. Messages between siblings are 100 and up, in their own headers. */
enum mta_parent_msg {
	MTA_CONFIG = 1,	   /* fd: bundle; the first starts the child, a later one is a reload */
	MTA_PEER,	   /* id: enum mta_proc of the sibling; fd: our end of the pair */
	MTA_LISTENER,	   /* id: index in config.listeners; data: struct mta_listen_fd; fd */
	MTA_LISTENERS_END, /* the set is complete: sockets of older generations are closed */
	MTA_KEY,	   /* id: see enum mta_key; data: be32 chain length, PEM chain, PEM key ... */
	MTA_TUNNEL,	   /* fd: memfd of tunnel_encode() */
	MTA_CONTROL,	   /* id: request; data: JSON {"verb":..,"args":{..}} to queue, smtpd */
	MTA_CONTROL_REPLY, /* id: request; data: JSON, see child_reply(); child to parent */
	MTA_READY,	   /* child to parent: started */
	MTA_COUNTERS,	   /* before MTA_CONFIG; id: enum mta_proc; fd: its table, see counters.h. One's
			    * own to count in; those of the others, to smtpd, to be read */
	MTA_METRICS,	   /* to smtpd; fd: listening socket of metrics = */
	MTA_LISTENER_TLS, /* smtpd to parent; id: index in config.listeners; data: u8 it has TLS, why what
			   * it was given last is not used, or nothing */
	MTA_LIMITS, /* before MTA_CONFIG, to smtpd; fd: what it counts by (policy/limit.h), kept over restarts */
	MTA_HOP_SEEN,	   /* relay to parent: struct hop_seen, what a peer of the tunnel has shown */
};

/* Which key a MTA_KEY message holds. */
enum mta_key {
	MTA_KEY_CLIENT = 0x10000, /* relay: our hop key, or [mta]'s certificate, towards tunnel peers */
	MTA_KEY_ROUTE = 0x11000,  /* relay: + route index; that of the route alone */
	MTA_KEY_PASSWORD = 0x20000, /* relay: + route index; data: the password alone */
	MTA_KEY_USERS = 0x30000,    /* lookup: the users table; fd: memfd with it */
	MTA_KEY_RESOLV = 0x30001,   /* lookup: resolv.conf, empty when there is none; fd: memfd */
	MTA_KEY_HOPS = 0x30004,	    /* relay: hop keys of peers, text of hop_keys.h; fd */
	MTA_KEY_SRS = 0x30003, /* smtpd, relay, lookup: the file of [srs]; fd */
	MTA_KEY_CA = 0x30002,	    /* relay: the system's authorities, when a route needs them; fd */
	MTA_KEY_UNREAD = 0x40000, /* smtpd: + listener index; data: why there are no keys of it */
	/*
	 * Below 0x10000: certificates and keys of config.listeners[id], to smtpd: for each, in the
	 * order of the configuration, be32 length and PEM chain, be32 length and PEM key. Before
	 * those of a tunnel listener that has none of its own stands our hop key.
	 */
};

struct mta_listen_fd {
	uint8_t tunnel; /* bound to the TUN: the client is a peer */
	struct endpoint bound;
};

struct child;

/* All run on the loop's thread. Those that do not concern a process are NULL. */
struct child_ops {
	/*
	 * Configuration is there, privileges are dropped, siblings not yet. Open files, then confine
	 * (sandbox.h). 0 or -errno (then the process exits and is restarted).
	 */
	int (*start)(struct child *ch);
	/* Reload: ch->config and ch->bundle are the new ones, @old is freed when this returns. */
	void (*reload)(struct child *ch, const struct mta_config *old);
	/* A sibling's end; the callee owns @fd and drops the older one of the same sibling. */
	void (*peer)(struct child *ch, enum mta_proc who, int fd);
	void (*listener)(struct child *ch, uint32_t index, const struct mta_listen_fd *at, int fd);
	void (*listeners_end)(struct child *ch);
	/* Both are wiped when this returns; @chain_len is 0 but for MTA_KEY_CLIENT, _ROUTE. */
	void (*key)(struct child *ch, uint32_t id, const char *chain, size_t chain_len,
		    const char *key, size_t key_len);
	void (*tunnel)(struct child *ch); /* ch->tunnel changed */
	void (*control)(struct child *ch, uint32_t id, const char *json, size_t len);
	/* Takes @fd: serve the metrics there. */
	void (*metrics)(struct child *ch, int fd);
	/* SIGTERM: finish what can be finished, then loop_stop(); NULL: stop at once. */
	void (*stop)(struct child *ch);
};

struct child {
	struct loop *loop;
	struct ipc *parent;
	struct mta_config *config;
	struct bundle *bundle; /* named public files: bundle_file() */
	struct tunnel_table tunnel;
	struct counters *counters;	    /* what this process counts; NULL: nobody asks */
	struct counters *others[MTA_PROCS]; /* smtpd: those of the others, NULL at its own place */
	int limits_fd; /* smtpd: of MTA_LIMITS; -1: none came */
	const struct child_ops *ops;
	void *state; /* the process's own */
	const char *name;
	enum mta_proc who;
	bool started, stopping;
	struct timer settle; /* soon after the start */
};

/** child_run() - Whole life of a child; returns its exit status. @state goes to ch->state. */
int child_run(enum mta_proc who, const struct child_ops *ops, void *state);
/**
 * child_reply() - Answer a control request.
 * @json: one object: {"error":"..."} or the members of the answer. A long answer comes in parts
 * of at most IPC_PAYLOAD_MAX, all but the last with "more":true; they are joined (parts.h).
 * 0, -EMSGSIZE, or as ipc_send().
 */
int child_reply(struct child *ch, uint32_t id, const char *json, size_t len);

/* One for each child, in its own folder; the value is the exit status. */
int smtpd_main(void);
int queue_main(void);
int relay_main(void);
int lookup_main(void);

#endif
