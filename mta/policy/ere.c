/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ere.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the expression as a tree, only while it is compiled --- */

enum node_kind {
	NODE_BYTE,
	NODE_ANY,
	NODE_SET,
	NODE_BEGIN,
	NODE_END,
	NODE_CAT,
	NODE_ALT,
	NODE_REPEAT,
};

/* One byte of the pattern makes at most two nodes: itself and what joins it to its neighbour. */
#define NODES_MAX	(2 * ERE_PATTERN_MAX + 2)
#define SETS_MAX	64
#define FOR_EVER	UINT16_MAX
#define PARENTHESES_MAX 32

struct node {
	uint8_t kind;
	uint8_t byte;	   /* BYTE; SET: its number */
	uint16_t a, b;	   /* CAT, ALT: both sides; REPEAT: a */
	uint16_t min, max; /* REPEAT; FOR_EVER: no end */
};

enum op { OP_BYTE, OP_ANY, OP_SET, OP_BEGIN, OP_END, OP_SPLIT, OP_JUMP, OP_MATCH };

struct state {
	uint8_t op;
	uint8_t byte;
	uint16_t x, y; /* where to go on: SPLIT both, JUMP x; all others go to the next */
};

struct ere {
	char *pattern;
	size_t count;
	size_t sets;
	uint8_t (*set)[32];
	struct state state[];
};

struct compiler {
	const char *p; /* next byte */
	struct node node[NODES_MAX];
	size_t nodes;
	uint8_t set[SETS_MAX][32];
	struct ere *e;
	unsigned depth;
	bool failed;
	char *why;
	size_t cap;
};

static uint16_t parse_alt(struct compiler *c);

static uint16_t fail(struct compiler *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static uint16_t fail(struct compiler *c, const char *fmt, ...)
{
	va_list ap;

	if (c->failed)
		return 0;
	c->failed = true;
	va_start(ap, fmt);
	vsnprintf(c->why, c->cap, fmt, ap);
	va_end(ap);
	return 0;
}

static uint16_t node(struct compiler *c, enum node_kind kind, uint16_t a, uint16_t b)
{
	if (c->failed)
		return 0;
	if (c->nodes == NODES_MAX)
		return fail(c, "it is too long");
	c->node[c->nodes] = (struct node){ .kind = (uint8_t)kind, .a = a, .b = b };
	return (uint16_t)c->nodes++;
}

static uint8_t fold(uint8_t ch)
{
	return ch >= 'A' && ch <= 'Z' ? (uint8_t)(ch + 32) : ch;
}

static void set_put(uint8_t set[static 32], unsigned ch)
{
	set[ch / 8] |= (uint8_t)(1u << ch % 8);
}

static bool set_has(const uint8_t set[static 32], unsigned ch)
{
	return set[ch / 8] >> ch % 8 & 1;
}

/* "[:alpha:]" at c->p, whose "[:" is there; ASCII only, whatever the locale. */
static void parse_class(struct compiler *c, uint8_t set[static 32])
{
	static const struct {
		const char *name;
		int (*is)(int ch);
	} classes[] = {
		{ "alnum", isalnum }, { "alpha", isalpha }, { "blank", isblank },
		{ "cntrl", iscntrl }, { "digit", isdigit }, { "graph", isgraph },
		{ "lower", islower }, { "print", isprint }, { "punct", ispunct },
		{ "space", isspace }, { "upper", isupper }, { "xdigit", isxdigit },
	};
	const char *end = strstr(c->p + 2, ":]");
	size_t n = end ? (size_t)(end - c->p - 2) : 0;

	for (size_t i = 0; end && i < sizeof(classes) / sizeof(*classes); i++) {
		if (strlen(classes[i].name) != n || memcmp(classes[i].name, c->p + 2, n))
			continue;
		for (unsigned ch = 0; ch < 128; ch++) {
			if (classes[i].is((int)ch))
				set_put(set, ch);
		}
		c->p = end + 2;
		return;
	}
	fail(c,
	     "unknown class in brackets; allowed: [:alpha:], [:digit:], [:alnum:] and their like");
}

/* One element of a bracket expression, a range or a single byte. */
static void parse_range(struct compiler *c, uint8_t set[static 32])
{
	unsigned from = (uint8_t)*c->p++, to = from;

	if (c->p[0] == '-' && c->p[1] && c->p[1] != ']') {
		if (c->p[1] == '[' && (c->p[2] == '.' || c->p[2] == '=' || c->p[2] == ':')) {
			fail(c, "a range in brackets ends with a class; write single bytes");
			return;
		}
		to = (uint8_t)c->p[1];
		c->p += 2;
	}
	if (to < from) {
		fail(c, "the range %c-%c in brackets goes backwards", (int)from, (int)to);
		return;
	}
	for (; from <= to; from++)
		set_put(set, from);
}

static uint16_t parse_bracket(struct compiler *c)
{
	uint8_t *set = c->set[c->e->sets];
	bool negated = *c->p == '^', first = true;
	uint16_t n;

	if (c->e->sets == SETS_MAX)
		return fail(c, "more than %d bracket expressions", SETS_MAX);
	c->p += negated;
	for (; !c->failed && (first || *c->p != ']'); first = false) {
		if (!*c->p)
			return fail(c,
				    "a bracket [ has no end; write \\[ for the character itself");
		if (c->p[0] == '[' && c->p[1] == ':')
			parse_class(c, set);
		else if (c->p[0] == '[' && (c->p[1] == '.' || c->p[1] == '='))
			fail(c, "[. and [= in brackets are not supported");
		else
			parse_range(c, set);
	}
	if (c->failed)
		return 0;
	c->p++;
	for (unsigned ch = 'a'; ch <= 'z'; ch++) {
		if (set_has(set, ch) || set_has(set, ch - 32)) {
			set_put(set, ch);
			set_put(set, ch - 32);
		}
	}
	for (size_t i = 0; negated && i < 32; i++)
		set[i] = (uint8_t)~set[i];
	n = node(c, NODE_SET, 0, 0);
	c->node[n].byte = (uint8_t)c->e->sets++;
	return n;
}

static uint16_t byte_node(struct compiler *c, char ch)
{
	uint16_t n = node(c, NODE_BYTE, 0, 0);

	c->node[n].byte = fold((uint8_t)ch);
	return n;
}

static uint16_t parse_atom(struct compiler *c)
{
	char ch = *c->p++;
	uint16_t n;

	switch (ch) {
	case '.':
		return node(c, NODE_ANY, 0, 0);
	case '^':
		return node(c, NODE_BEGIN, 0, 0);
	case '$':
		return node(c, NODE_END, 0, 0);
	case '[':
		return parse_bracket(c);
	case '(':
		if (++c->depth > PARENTHESES_MAX)
			return fail(c, "more than %d parentheses in each other", PARENTHESES_MAX);
		n = parse_alt(c);
		if (!c->failed && *c->p != ')')
			return fail(
			    c, "a parenthesis ( is not closed; write \\( for the character itself");
		c->p++;
		c->depth--;
		return n;
	case '\\':
		if (!*c->p || !strchr(".[]()*+?{}|^$\\/-@", *c->p))
			return fail(c, "\\%c means nothing in a POSIX expression%s",
				    *c->p ? *c->p : ' ',
				    *c->p == 'd'   ? "; write [0-9]"
				    : *c->p == 'w' ? "; write [A-Za-z0-9_]"
				    : *c->p == 's' ? "; write [[:space:]]"
						   : "");
		return byte_node(c, *c->p++);
	case '*':
	case '+':
	case '?':
	case '{':
		return fail(
		    c,
		    "%c stands where nothing can be repeated; write \\%c for the character itself",
		    ch, ch);
	default:
		return byte_node(c, ch);
	}
}

static bool parse_number(struct compiler *c, uint16_t *n)
{
	unsigned v = 0;

	if (!isdigit((unsigned char)*c->p))
		return false;
	for (; isdigit((unsigned char)*c->p) && v <= ERE_REPEAT_MAX; c->p++)
		v = v * 10 + (unsigned)(*c->p - '0');
	*n = (uint16_t)v;
	return v <= ERE_REPEAT_MAX;
}

/* "{2}", "{2,}", "{2,5}" behind the brace. */
static void parse_interval(struct compiler *c, uint16_t *min, uint16_t *max)
{
	bool ok = parse_number(c, min);

	*max = *min;
	if (ok && *c->p == ',') {
		c->p++;
		*max = FOR_EVER;
		if (*c->p != '}')
			ok = parse_number(c, max);
	}
	if (!ok || *c->p++ != '}' || *max < *min || !*max)
		fail(c,
		     "a repetition in braces; allowed: {N}, {N,} or {N,M}, 1 to %d; write \\{ for "
		     "the "
		     "character itself",
		     ERE_REPEAT_MAX);
}

static uint16_t parse_piece(struct compiler *c)
{
	uint16_t n = parse_atom(c), r, min = 0, max = FOR_EVER;

	if (c->failed || !*c->p || !strchr("*+?{", *c->p))
		return n;
	if (c->node[n].kind == NODE_BEGIN || c->node[n].kind == NODE_END)
		return fail(
		    c, "^ and $ cannot be repeated; write \\^ or \\$ for the character itself");
	switch (*c->p++) {
	case '+':
		min = 1;
		break;
	case '?':
		max = 1;
		break;
	case '{':
		parse_interval(c, &min, &max);
		break;
	default:
		break;
	}
	if (!c->failed && *c->p && strchr("*+?{", *c->p))
		return fail(c, "two repetitions behind each other; put the first into parentheses");
	r = node(c, NODE_REPEAT, n, 0);
	c->node[r].min = min;
	c->node[r].max = max;
	return r;
}

static uint16_t parse_cat(struct compiler *c)
{
	uint16_t n;

	if (!*c->p || *c->p == '|' || *c->p == ')')
		return fail(c, "there is nothing on one side of | or in parentheses");
	n = parse_piece(c);
	while (!c->failed && *c->p && *c->p != '|' && *c->p != ')') {
		uint16_t next = parse_piece(c);

		n = node(c, NODE_CAT, n, next);
	}
	return n;
}

static uint16_t parse_alt(struct compiler *c)
{
	uint16_t n = parse_cat(c);

	while (!c->failed && *c->p == '|') {
		uint16_t other;

		c->p++;
		other = parse_cat(c);
		n = node(c, NODE_ALT, n, other);
	}
	return n;
}

/* --- the tree as states --- */

static struct state *emit(struct compiler *c, enum op op)
{
	struct ere *e = c->e;

	if (e->count == ERE_STATES_MAX) {
		fail(c,
		     "it is too large once its repetitions are written out (more than %d states)",
		     ERE_STATES_MAX);
		return &e->state[0]; /* its owner has failed; nobody looks at it */
	}
	e->state[e->count] = (struct state){ .op = (uint8_t)op };
	return &e->state[e->count++];
}

static void compile(struct compiler *c, uint16_t at);

static void compile_repeat(struct compiler *c, const struct node *n)
{
	struct ere *e = c->e;
	uint16_t open[ERE_REPEAT_MAX], opened = 0;

	for (unsigned i = 0; i < n->min && !c->failed; i++)
		compile(c, n->a);
	if (n->max == FOR_EVER) {
		uint16_t split = (uint16_t)e->count;

		emit(c, OP_SPLIT)->x = (uint16_t)(split + 1);
		compile(c, n->a);
		emit(c, OP_JUMP)->x = split;
		if (!c->failed)
			e->state[split].y = (uint16_t)e->count;
		return;
	}
	for (unsigned i = n->min; i < n->max && !c->failed; i++) {
		uint16_t split = (uint16_t)e->count;

		open[opened++] = split;
		emit(c, OP_SPLIT)->x = (uint16_t)(split + 1);
		compile(c, n->a);
	}
	for (unsigned i = 0; i < opened && !c->failed; i++)
		e->state[open[i]].y = (uint16_t)e->count;
}

static void compile(struct compiler *c, uint16_t at)
{
	static const enum op simple[] = {
		[NODE_BYTE] = OP_BYTE,	 [NODE_ANY] = OP_ANY, [NODE_SET] = OP_SET,
		[NODE_BEGIN] = OP_BEGIN, [NODE_END] = OP_END,
	};
	const struct node *n = &c->node[at];
	struct ere *e = c->e;
	uint16_t split, jump;

	if (c->failed)
		return;
	switch ((enum node_kind)n->kind) {
	case NODE_CAT:
		compile(c, n->a);
		compile(c, n->b);
		break;
	case NODE_ALT:
		split = (uint16_t)e->count;
		emit(c, OP_SPLIT)->x = (uint16_t)(split + 1);
		compile(c, n->a);
		jump = (uint16_t)e->count;
		emit(c, OP_JUMP);
		if (c->failed)
			return;
		e->state[split].y = (uint16_t)e->count;
		compile(c, n->b);
		if (!c->failed)
			e->state[jump].x = (uint16_t)e->count;
		break;
	case NODE_REPEAT:
		compile_repeat(c, n);
		break;
	default:
		emit(c, simple[n->kind])->byte = n->byte;
		break;
	}
}

static int keep_text(struct compiler *c, const char *pattern)
{
	struct ere *e = c->e;

	e->pattern = strdup(pattern);
	e->set = calloc(e->sets ? e->sets : 1, sizeof(*e->set));
	if (!e->pattern || !e->set)
		return -1;
	memcpy(e->set, c->set, e->sets * sizeof(*e->set));
	return 0;
}

struct ere *ere_new(const char *pattern, char *why, size_t cap)
{
	struct compiler *c = calloc(1, sizeof(*c));
	struct ere *e = calloc(1, sizeof(*e) + ERE_STATES_MAX * sizeof(struct state)), *small;
	uint16_t root;

	snprintf(why, cap, "out of memory");
	if (!c || !e)
		goto failed;
	*c = (struct compiler){ .p = pattern, .e = e, .why = why, .cap = cap };
	if (strlen(pattern) > ERE_PATTERN_MAX) {
		fail(c, "it is longer than %d bytes", ERE_PATTERN_MAX);
		goto failed;
	}
	root = parse_alt(c);
	if (!c->failed && *c->p)
		fail(c, "a parenthesis ) closes nothing; write \\) for the character itself");
	compile(c, root);
	emit(c, OP_MATCH);
	if (c->failed)
		goto failed;
	snprintf(why, cap, "out of memory");
	if (keep_text(c, pattern))
		goto failed;
	small = realloc(e, sizeof(*e) + e->count * sizeof(e->state[0]));
	free(c);
	return small ? small : e;
failed:
	free(c);
	ere_free(e);
	return NULL;
}

void ere_free(struct ere *e)
{
	if (!e)
		return;
	free(e->pattern);
	free(e->set);
	free(e);
}

size_t ere_states(const struct ere *e)
{
	return e->count;
}

const char *ere_pattern(const struct ere *e)
{
	return e->pattern;
}

/* --- matching --- */

/* The states that are possible between two bytes. @mark: the place for which a state was added last. */
struct places {
	uint16_t list[ERE_STATES_MAX];
	size_t count;
};

/* Add @first and all that follows from it without a byte. Each state enters once for each place. */
static void add(const struct ere *e, struct places *to, uint16_t *mark, uint16_t now,
		uint16_t first, bool at_begin, bool at_end, size_t *steps)
{
	uint16_t todo[ERE_STATES_MAX + 1];
	size_t n = 0;

	todo[n++] = first;
	while (n) {
		uint16_t i = todo[--n];
		const struct state *s = &e->state[i];

		if (mark[i] == now)
			continue;
		mark[i] = now;
		++*steps;
		switch ((enum op)s->op) {
		case OP_JUMP:
			todo[n++] = s->x;
			break;
		case OP_SPLIT:
			todo[n++] = s->y;
			todo[n++] = s->x;
			break;
		case OP_BEGIN:
		case OP_END:
			if (s->op == OP_BEGIN ? at_begin : at_end)
				todo[n++] = (uint16_t)(i + 1);
			break;
		default:
			to->list[to->count++] = i;
		}
	}
}

static bool takes(const struct ere *e, const struct state *s, uint8_t ch)
{
	switch ((enum op)s->op) {
	case OP_BYTE:
		return s->byte == fold(ch);
	case OP_SET:
		return set_has(e->set[s->byte], ch);
	case OP_ANY:
		return true;
	default:
		return false;
	}
}

bool ere_match_steps(const struct ere *e, const char *text, size_t len, size_t *steps)
{
	struct places places[2], *now = &places[0], *next = &places[1], *swap;
	uint16_t mark[ERE_STATES_MAX] = { 0 };

	*steps = 0;
	if (len > ERE_TEXT_MAX)
		return false;
	now->count = 0;
	add(e, now, mark, 1, 0, true, !len, steps);
	for (size_t i = 0; i < len && now->count; i++) {
		next->count = 0;
		for (size_t k = 0; k < now->count; k++) {
			uint16_t s = now->list[k];

			if (takes(e, &e->state[s], (uint8_t)text[i]))
				add(e, next, mark, (uint16_t)(i + 2), (uint16_t)(s + 1), false,
				    i + 1 == len, steps);
		}
		swap = now;
		now = next;
		next = swap;
	}
	for (size_t k = 0; k < now->count; k++) {
		if (e->state[now->list[k]].op == OP_MATCH)
			return true;
	}
	return false;
}

bool ere_match(const struct ere *e, const char *text, size_t len)
{
	size_t steps;

	return ere_match_steps(e, text, len, &steps);
}
