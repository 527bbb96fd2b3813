/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * posternd-child: the processes of posternd that compute with keys, and the check of all files that a configuration
 * names. Nobody but posternd starts it.
 */
#include <stdio.h>
#include <string.h>

#include "config.h"
#include "proc.h"
#include "procs.h"

int main(int argc, char **argv)
{
	const char *child = proc_child_name(argc, argv);

	if (child && !strcmp(child, "child"))
		return child_main();
	if (child && !strcmp(child, "keys"))
		return keys_main();
	if (argc == 3 && !strcmp(argv[1], "-n"))
		return config_judge(argv[2]);
	fputs("posternd-child is started by posternd alone\n", stderr);
	return 64;
}
