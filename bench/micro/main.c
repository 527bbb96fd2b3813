/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * micro [--rounds N] [--ms N] [GROUP]...	nanoseconds of each step of a packet's way, as tables
 *
 * @N rounds (9) of at least so many milliseconds (10) for each cell, in turns; GROUP: only tables that begin so.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "micro.h"

#define CELLS_MAX  400
#define ROUNDS_MAX 101
#define COLS_MAX   8

static struct cell {
	char group[64], row[64], col[24];
	bench_fn *run;
	void *arg;
	unsigned n;
	double ns[ROUNDS_MAX];
} cells[CELLS_MAX];
static unsigned count, rounds = 9, ms = 10;

void *bench_alloc(size_t bytes)
{
	void *p = calloc(1, bytes);

	if (!p) {
		fprintf(stderr, "micro: no memory\n");
		exit(1);
	}
	return p;
}

void bench_add(const char *group, const char *row, const char *col, bench_fn *run, void *arg)
{
	struct cell *c = &cells[count++];

	if (count == CELLS_MAX) {
		fprintf(stderr, "micro: CELLS_MAX is too small\n");
		exit(1);
	}
	snprintf(c->group, sizeof(c->group), "%s", group);
	snprintf(c->row, sizeof(c->row), "%s", row);
	snprintf(c->col, sizeof(c->col), "%s", col);
	c->run = run;
	c->arg = arg;
}

/* So many that a round takes its time. */
static void calibrate(struct cell *c)
{
	uint64_t want = ms * 1000000ull;

	for (c->n = 64; c->n < 1u << 28; c->n *= 2) {
		if (c->run(c->arg, c->n) >= want)
			return;
	}
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(const struct cell *c)
{
	return rounds % 2 ? c->ns[rounds / 2] : (c->ns[rounds / 2 - 1] + c->ns[rounds / 2]) / 2;
}

/* Half of the rounds lie within so many per cent of the median. */
static double spread(const struct cell *c)
{
	return 100 * (c->ns[rounds * 3 / 4] - c->ns[rounds / 4]) / 2 / median(c);
}

static void print_cell(const char *group, const char *row, const char *col)
{
	for (unsigned i = 0; i < count; i++) {
		const struct cell *c = &cells[i];
		double v = median(c);

		if (!strcmp(c->group, group) && !strcmp(c->row, row) && !strcmp(c->col, col)) {
			printf(v < 100 ? " %.1f |" : " %.0f |", v);
			return;
		}
	}
	printf(" |");
}

static bool seen(const char *const *list, unsigned n, const char *s)
{
	for (unsigned i = 0; i < n; i++) {
		if (!strcmp(list[i], s))
			return true;
	}
	return false;
}

static void print_table(const char *group)
{
	const char *col[COLS_MAX], *row[CELLS_MAX];
	unsigned cols = 0, rows = 0;
	double worst = 0;

	for (unsigned i = 0; i < count; i++) {
		struct cell *c = &cells[i];

		if (strcmp(c->group, group) != 0)
			continue;
		qsort(c->ns, rounds, sizeof(c->ns[0]), by_value);
		worst = spread(c) > worst ? spread(c) : worst;
		if (cols < COLS_MAX && !seen(col, cols, c->col))
			col[cols++] = c->col;
		if (!seen(row, rows, c->row))
			row[rows++] = c->row;
	}
	printf("\n## %s\n\n| ns |", group);
	for (unsigned i = 0; i < cols; i++)
		printf(" %s |", col[i]);
	printf("\n|---|");
	for (unsigned i = 0; i < cols; i++)
		printf("---:|");
	printf("\n");
	for (unsigned r = 0; r < rows; r++) {
		printf("| %s |", row[r]);
		for (unsigned i = 0; i < cols; i++)
			print_cell(group, row[r], col[i]);
		printf("\n");
	}
	printf("\nHalf of the rounds lie within ±%.0f %% of these medians, or less.\n", worst);
}

static void print_machine(void)
{
	const char *commit = getenv("POSTERN_COMMIT");
	FILE *f = fopen("/proc/cpuinfo", "r");
	char line[256], cpu[200] = "?";
	double load[3] = { 0 };
	struct utsname u;

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "model name : %199[^\n]", cpu) == 1)
			break;
	}
	if (f)
		fclose(f);
	uname(&u);
	(void)getloadavg(load, 3);
	printf("# Each step of a packet alone\n\n%s, kernel %s, commit %s; %u rounds of %u ms, in "
	       "turns; load %.1f.\n",
	       cpu, u.release, commit ? commit : "?", rounds, ms, load[0]);
}

static unsigned number(const char *s, unsigned most)
{
	char *end;
	unsigned long n = s ? strtoul(s, &end, 10) : 0;

	if (!s || *end || !n || n > most) {
		fprintf(stderr, "micro: expected a number from 1 to %u\n", most);
		exit(2);
	}
	return (unsigned)n;
}

/* Only tables that were asked for stay. */
static void choose(char **group, int n)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < count; i++) {
		for (int g = 0; g < n; g++) {
			if (!strncmp(cells[i].group, group[g], strlen(group[g]))) {
				cells[kept++] = cells[i];
				break;
			}
		}
	}
	count = kept;
}

int main(int argc, char **argv)
{
	const char *done[CELLS_MAX];
	unsigned tables = 0;
	int i = 1;

	for (; i < argc && argv[i][0] == '-'; i++) {
		if (!strcmp(argv[i], "--rounds")) {
			rounds = number(argv[++i], ROUNDS_MAX);
		} else if (!strcmp(argv[i], "--ms")) {
			ms = number(argv[++i], 10000);
		} else {
			fprintf(stderr, "usage: micro [--rounds N] [--ms N] [GROUP]...\n");
			return 2;
		}
	}
	add_crypto();
	add_packets();
	add_lookups();
	if (i < argc)
		choose(argv + i, argc - i);
	if (!count) {
		fprintf(stderr, "micro: there is no such table\n");
		return 2;
	}
	for (unsigned c = 0; c < count; c++)
		calibrate(&cells[c]);
	for (unsigned r = 0; r < rounds; r++) {
		for (unsigned c = 0; c < count; c++)
			cells[c].ns[r] =
			    (double)cells[c].run(cells[c].arg, cells[c].n) / cells[c].n;
	}
	print_machine();
	for (unsigned c = 0; c < count; c++) {
		if (!seen(done, tables, cells[c].group)) {
			done[tables++] = cells[c].group;
			print_table(cells[c].group);
		}
	}
	return 0;
}
