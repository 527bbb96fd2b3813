/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_CLI_PATH_REPORT_H
#define MTA_CLI_PATH_REPORT_H

/*
 * Theory: what `postern mail path-test` makes of the answers that it got: what the queue here knows of the first
 * hop, and the report of the last Postern on the way, a DSN whose text comes from another machine. Of that
 * these are read:
 *
 *	Reporting-MTA, Action, Diagnostic-Code		who answered, what became of the probe, the last reply
 *	text/rfc822-headers				the header section as it stood there, each Received in it
 */

#include <jansson.h>
#include <stddef.h>

#include "leak.h"

/**
 * path_report() - Put it all together.
 * @asked: answer to path-test; @state: last answer to path-test-report.
 * @known: what no header may bear.
 *
 * A new object: id, address, sender, hostname, state, first{}, report{} or null, received[], outside, leaks[],
 * problems[] (texts), ok. NULL without memory.
 */
json_t *path_report(const json_t *asked, const json_t *state, const struct leak_known *known);
/** path_report_settled() - Has all come that will come? */
int path_report_settled(const json_t *state);

#endif
