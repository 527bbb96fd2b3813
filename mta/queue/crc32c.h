/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_QUEUE_CRC32C_H
#define MTA_QUEUE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/** crc32c() - Castagnoli's polynomial (RFC 3720 s12.1, appendix B.4); @crc 0, or of the bytes before. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);

#endif
