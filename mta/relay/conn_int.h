/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_RELAY_CONN_INT_H
#define MTA_RELAY_CONN_INT_H

/* What the files of a connection share. */

#include "relay.h"

/* connect.c */
void conn_fd_close(struct conn *c);
/** conn_give_up_host() - It never got as far as letters, for now, and there is no other host to try. */
void conn_give_up_host(struct conn *c, const char *enhanced, const char *text);
/** conn_next_host() - This host will not do: the next one, if there is. */
void conn_next_host(struct conn *c, uint16_t code, const char *enhanced, const char *text);
/** conn_worked() - Its host greeted us: which of the route's addresses it is may be remembered. */
void conn_worked(struct conn *c);

/* conn_session.c */
void conn_session_begin(struct conn *c);
void conn_tls_begin(struct conn *c);
void conn_tls_step(struct conn *c);
/** conn_set_deadline() - By the reply that is due. */
void conn_set_deadline(struct conn *c);
void conn_on_ready(struct loop_fd *lf, uint32_t events);
void conn_on_deadline(struct timer *t, uint64_t now_ms);
void conn_on_idle(struct timer *t, uint64_t now_ms);

#endif
