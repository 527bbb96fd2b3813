/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_QUEUE_DRIVER_H
#define TESTS_QUEUE_DRIVER_H

/*
 * The real queue process with a parent, an smtpd and a relay played by the test. The test's
 * binary is the process too: its main calls driver_child() first.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "ipc.h"
#include "loop.h"
#include "msg.h"
#include "tunnel.h"

struct driver {
	char dir[64];	   /* temporary; state-dir */
	const char *extra; /* lines for [mta] */
	const char *also;  /* a second recipient of the letters from now on; NULL: none */
	size_t many;	   /* so many recipients, each with a number before the one given; 0: one */
	uint32_t flags;	   /* of the envelopes */
	const char *sender;   /* NULL: x@out.example */
	const char *peer;     /* that brings them; NULL: none */
	const uint8_t *probe; /* with ENV_PROBE */
	const uint8_t *peer_id; /* what @peer calls them, with ENV_PEER_ID */
	const uint8_t *id;    /* of the letters from now on; NULL: each its own */
	struct loop *loop;
	pid_t pid;
	struct ipc *parent, *smtpd, *relay;
	bool ready, closed;
	enum tunnel_state tunnel;
	uint32_t credits; /* granted at the start */
	/* Callbacks of the test; NULL: ignored. */
	void (*stored)(struct driver *d, uint32_t txn, const struct msg_q_stored *m);
	void (*state)(struct driver *d, const struct msg_q_state *m);
	void (*credit)(struct driver *d, uint32_t txn, uint32_t bytes);
	void (*attempt)(struct driver *d, uint32_t id, const struct msg_r_attempt *m, int fd);
	void (*committed)(struct driver *d, uint32_t id);
	void (*cancel)(struct driver *d, uint32_t id);
	void (*traced)(struct driver *d, uint32_t id, const struct msg_traced *m); /* to smtpd */
	void (*trace)(struct driver *d, uint32_t id, const struct msg_r_trace *m); /* to relay */
	char *reply; /* of the last verb, all parts one after the other */
	bool reply_done;
	void *arg;
};

/** driver_child() - In the exec'd child this does not return. */
void driver_child(int argc, char **argv);
struct driver *driver_new(const char *extra);
/** driver_start() - Fork, configure, connect, wait for ready; false when it does not come up. */
bool driver_start(struct driver *d);
/** driver_reload() - The configuration of @d->extra as it is now. */
void driver_reload(struct driver *d);
/** driver_grant() - Room for @n attempts more. */
void driver_grant(struct driver *d, uint32_t n);
void driver_kill(struct driver *d, int signo);
void driver_free(struct driver *d);
/** driver_turn() - One turn of the loop, at most @ms. */
void driver_turn(struct driver *d, int ms);
void driver_set_tunnel(struct driver *d, enum tunnel_state st);
/** driver_store() - A small letter; returns its id in @id. */
void driver_store(struct driver *d, uint32_t txn, const char *rcpt, const char *body, size_t len,
		  uint8_t id[static LETTER_ID_LEN]);
void driver_body(struct driver *d, uint32_t txn, const void *p, size_t len);
void driver_store_streamed(struct driver *d, uint32_t txn, const char *rcpt, uint64_t len,
			   uint8_t id[static LETTER_ID_LEN]);
/** driver_result() - One result for all recipients of an attempt. */
void driver_result(struct driver *d, uint32_t id, const struct msg_r_attempt *m,
		   enum rcpt_result res, enum fault_scope scope, uint16_t code);
/** driver_verb() - JSON answer of a control verb; valid until the next. */
const char *driver_verb(struct driver *d, const char *json);

#endif
