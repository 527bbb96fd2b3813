/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_RELAY_CLIENT_AUTH_H
#define MTA_RELAY_CLIENT_AUTH_H

#define CLIENT_AUTH_LINE_MAX 840 /* NUL included */

/* Mechanisms of an AUTH line in the peer's EHLO answer that we know. */
#define CLIENT_AUTH_PLAIN    1u
#define CLIENT_AUTH_LOGIN    2u
#define CLIENT_AUTH_EXTERNAL 4u

/** client_auth_offer() - CLIENT_AUTH_ bits in @words, what stands behind "AUTH". */
unsigned client_auth_offer(const char *words);
/**
 * client_auth_line() - What to say next so as to log in (RFC 4954 s4).
 * @offer: PLAIN is taken where there is a choice: it costs one round trip, LOGIN three.
 * @step: how many 334 the peer has said since AUTH began.
 * Return: 0; -ENOTSUP when neither is offered; -EMSGSIZE when name and password are too long; -EPROTO
 * when the peer asks for more than there is. @line holds a secret: the caller wipes it.
 */
int client_auth_line(unsigned offer, unsigned step, const char *username, const char *password,
		     char line[static CLIENT_AUTH_LINE_MAX]);
/**
 * client_auth_external() - As client_auth_line(), where our certificate has said who we are (RFC 4422
 * appendix A): -ENOTSUP or -EPROTO. We name nobody: the peer knows whom it stands for.
 */
int client_auth_external(unsigned offer, unsigned step, char line[static CLIENT_AUTH_LINE_MAX]);

#endif
