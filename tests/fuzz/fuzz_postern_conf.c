/* SPDX-License-Identifier: GPL-3.0-or-later */
/* postern.conf with all its checks of sense, and a reload between two of them. */
#include <stdlib.h>

#include "config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct config *a = config_make(conf_parse(&config_schema, "f", (const char *)data, len));
	struct config *b =
	    config_make(conf_parse(&config_schema, "f", (const char *)data, len / 2));

	if (a && b && conf_ok(a->conf) && conf_ok(b->conf)) {
		if (config_adopt_ids(b, a))
			abort();
		(void)config_reloadable(a, b);
		for (size_t i = 0; i < a->peer_count && i < b->peer_count; i++)
			(void)config_peer_diff(&a->peers[i], &b->peers[i]);
	}
	config_free(a);
	config_free(b);
	return 0;
}
