/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The mechanisms that take part in supervision, in the order in which they are asked. */
#include "elsewhere.h"
#include "mark.h"
#include "redirect.h"
#include "path.h"
#include "supervisor.h"
#include "transport.h"

const struct sup_hook *const sup_hooks[] = {
	&keepalive_hook,
	&transport_hook,
	&elsewhere_hook,
	&redirect_hook,
	&path_hook,
	&mark_hook,
	NULL,
};
