/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_EXCHANGE_WIRE_TEXT_H
#define TESTS_EXCHANGE_WIRE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct world;

/**
 * wire_text() - What an IKE message of @from says, as RFC 7296 writes it: "INFORMATIONAL { D }".
 * Payloads under SK are read with the keys of either engine; "?" when both have forgotten them.
 * Returns whether it is a response.
 */
bool wire_text(const struct world *w, int from, const uint8_t *bytes, size_t len, char *text,
	       size_t cap);

#endif
