/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One request line of the control socket. */
#include <stdlib.h>

#include "control.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct control_line req;
	char why[256];

	if (control_line_parse((const char *)data, len, &req, why, sizeof(why)))
		return 0;
	if (!req.verb || !json_is_object(req.args))
		abort();
	json_decref(req.json);
	return 0;
}
