/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_EXCHANGE_PAPER_H
#define TESTS_EXCHANGE_PAPER_H

/*
 * Theory: the data plane of paper, what each engine of a world asks for: it holds keys and selectors and
 * encrypts nothing. A packet of the tunnel is an SPI and what stands for the key that sealed it;
 * the other side can open it if it has that SA with that key. Of world.c and paper.c alone.
 */

#include "world.h"

extern const struct engine_ops paper_ops; /* arg: struct host */

struct paper_child *paper_find(struct host *h, uint32_t spi_in);
/** paper_arrives() - A packet of the tunnel is there. */
void paper_arrives(struct world *w, const struct flight *f);
/** paper_remove_half() - FX_CHILD_REMOVE_IN or _OUT. */
void paper_remove_half(struct host *h, const struct fx *f);

/** world_fly() - These bytes arrive at @to then; the last of w->flight. */
void world_fly(struct world *w, int to, const struct engine_path *path, const uint8_t *bytes,
	       size_t len, uint64_t at_ms);
/** world_when() - When what leaves now arrives. */
uint64_t world_when(struct world *w);

#endif
