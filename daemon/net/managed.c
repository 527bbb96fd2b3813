/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Does another program believe that the TUN is its own? NetworkManager and systemd-networkd say so in files
 * below /run, named by the interface's index; what they would do to the device - take addresses away,
 * set it down - is put back by net_reconcile(), again and again, and the admin should know why.
 *
 *	/run/NetworkManager/devices/INDEX	managed=true
 *	/run/systemd/netif/links/INDEX		ADMIN_STATE=configuring, configured, failed
 */
#include "net_int.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "log.h"

#define FILE_MAX 4096

/* Is there a line that begins with one of @starts? NULL ends the list. */
static bool says(const char *dir, uint32_t ifindex, const char *const starts[])
{
	char path[128], text[FILE_MAX];
	bool yes = false;
	ssize_t len;
	int fd;

	snprintf(path, sizeof(path), "%s/%u", dir, ifindex);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return false;
	len = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (len <= 0)
		return false;
	text[len] = '\0';
	for (char *line = text; line && !yes; line = strchr(line, '\n')) {
		line += *line == '\n';
		for (size_t i = 0; starts[i] && !yes; i++)
			yes = !strncmp(line, starts[i], strlen(starts[i]));
	}
	return yes;
}

void net_managed_look(struct net *n)
{
	static const char *const nm[] = { "managed=true", "managed=1", NULL };
	static const char *const networkd[] = { "ADMIN_STATE=conf", "ADMIN_STATE=failed", NULL };
	const char *who = NULL, *cure = NULL;

	if (says("/run/NetworkManager/devices", n->ifindex, nm)) {
		who = "NetworkManager";
		cure = "[device-x] match-device=interface-name:TUN managed=0, in "
		       "/etc/NetworkManager/conf.d";
	} else if (says("/run/systemd/netif/links", n->ifindex, networkd)) {
		who = "systemd-networkd";
		cure = "Unmanaged=yes in a .network file that matches it";
	}
	if (who && !n->managed_told)
		log_warn(NULL, "tun=%s: %s manages it too, and may take away what is ours; %s", n->p.tun,
			 who, cure);
	n->managed_told = who != NULL;
}
