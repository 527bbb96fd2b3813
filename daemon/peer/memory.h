/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PEER_MEMORY_H
#define PEER_MEMORY_H

/*
 * Theory: what supervisors keep over a restart, for all peers in one image, written into two files
 * by turns: the newer one that is whole counts, so a crash while writing loses one update at most.
 *
 *	"PSTM" be32 version, be64 serial, be32 count, be32 length of what follows
 *	count x { u8 name length, name, u8 hosts, endpoint, hosts x { u8 count, addrs },
 *		  u8 identity length, identity, 2 addrs: what it was leased }	the last since version 2
 *	SHA-256 of all before
 */

#include <stddef.h>
#include <stdint.h>

#include "supervisor.h"

#define MEMORY_IMAGE_MAX (16u << 20)
#define MEMORY_NAME_MAX	 255

struct memory_entry {
	const char *name;     /* <= MEMORY_NAME_MAX */
	const char *identity; /* of whom the leases are; NULL or empty: there are none */
	struct sup_memory m;
	struct addr lease[2]; /* IPv4, IPv6 */
};

struct memory {
	uint64_t serial;
	struct memory_entry *entries;
	size_t count;
	size_t next; /* where memory_find() begins */
	char *text;  /* names and identities that were read */
};

/** memory_parse() - 0, -EBADMSG (torn, foreign, too large), -ENOMEM. */
int memory_parse(const void *image, size_t len, struct memory *out);
/** memory_build() - *image is malloc'd; 0, -EMSGSIZE, -ENOMEM. */
int memory_build(const struct memory *m, uint8_t **image, size_t *len);
/** memory_load() - The newer whole one of two files; an empty memory (serial 0) when none is. */
int memory_load(const int fds[2], struct memory *out);
/** memory_save() - Serial is counted up; goes to the file that is not the newest. 0 or -errno. */
int memory_save(const int fds[2], struct memory *m);
const struct sup_memory *memory_find(struct memory *m, const char *name);
/** memory_free() - With the sup_names of each entry. */
void memory_free(struct memory *m);

#endif
