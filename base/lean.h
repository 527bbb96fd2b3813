/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_LEAN_H
#define BASE_LEAN_H

/**
 * lean_settle() - What only the start needed is given back: free heap, and pages of program and libraries.
 *
 * Pages of code are the page cache's; what is used again is mapped again at the first touch. Nothing that was
 * ever written is let go. Any thread; at the end of a start, not in the middle of work.
 */
void lean_settle(void);

#endif
