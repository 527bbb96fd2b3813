/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "confine.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "sandbox.h"

#define LISTEN_FD 3 /* sd_listen_fds(3) */

static const struct sandbox_role server_role = {
	.name = "deliver",
	.calls = SANDBOX_DENY_ONLY,
	.caps_run = 1ULL << CAP_SETUID | 1ULL << CAP_SETGID | 1ULL << CAP_KILL,
	/* A configuration and a socket's directory that belong to others; a unit needs none of it. */
	.caps_wish = 1ULL << CAP_DAC_OVERRIDE | 1ULL << CAP_FOWNER,
	.ring_register = { -1 },
};

static const struct sandbox_role child_role = {
	.name = "delivery",
	.calls = SANDBOX_WRITE,
	.ring_register = { -1 },
};

int confine_start(bool activated)
{
	return sandbox_start(&server_role, geteuid(), getegid(),
			     activated ? LISTEN_FD : STDERR_FILENO);
}

int confine_server(void)
{
	int rc = sandbox_opened(&server_role, NULL, 0);

	return rc ? rc : sandbox_run(&server_role);
}

int confine_child(const char *home)
{
	const struct sandbox_path own = { .path = home,
					  .access = SANDBOX_PATH_READ | SANDBOX_PATH_WRITE };
	int rc;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	rc = sandbox_opened(&child_role, &own, 1);
	return rc ? rc : sandbox_run(&child_role);
}
