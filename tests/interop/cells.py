# SPDX-License-Identifier: GPL-3.0-or-later
"""All cells of the matrix, in the order of the table."""
import cells_life
import cells_suites

CELLS = cells_suites.CELLS + cells_life.CELLS
