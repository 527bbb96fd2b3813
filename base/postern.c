/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The `postern` binary: the verbs of the parts that are built. */
#include <stddef.h>

#include "cli.h"

int main(int argc, char **argv)
{
	static const struct cli_verb *const tables[] = {
#ifdef HAVE_DAEMON
		daemon_cli_verbs,
#endif
#ifdef HAVE_MTA_CLI
		mta_cli_verbs,
#endif
		NULL,
	};

	return cli_main(argc, argv, tables, "postern: a tunnel and a mail exchanger that stay up");
}
