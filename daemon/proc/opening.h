/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DAEMON_PROC_OPENING_H
#define DAEMON_PROC_OPENING_H

/* What a configuration wants let in by the machine's own firewall: see daemon/net/firewall.c. Pure. */

#include "config.h"
#include "net.h"
#include "outer.h"

/** opening_of() - False: nothing, `firewall = none`. */
bool opening_of(const struct config *cfg, const struct outer *outer, struct net_opening *o);

#endif
