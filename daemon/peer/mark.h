/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PEER_MARK_H
#define PEER_MARK_H

#include "supervisor.h"

extern const struct sup_hook mark_hook;

#endif
