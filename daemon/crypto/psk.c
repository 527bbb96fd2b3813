/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "psk.h"

#include <ctype.h>
#include <stdbool.h>

/* Tenths of a bit. */
#define COST_HEX    40
#define COST_WORD   20 /* a letter in a word: six dice words are worth 77 bits */
#define COST_ROW    10
#define COST_REPEAT 60 /* of a whole repetition: where it began, and how far */
#define REPEAT_MIN  3
#define WORD_PROSE                                                                                 \
	2 /* letters of one case in a row that make a word, where there is nothing else */
#define WORD_MIXED                                                                                 \
	5 /* and amid digits and letters of both cases, where chance makes shorter ones */

size_t psk_trim(const uint8_t *p, size_t len)
{
	while (len && (p[len - 1] == '\n' || p[len - 1] == '\r'))
		len--;
	return len;
}

/* What one random character costs, by the kinds of characters that are there. */
static unsigned alphabet(const uint8_t *p, size_t len, size_t *word_min)
{
	bool digit = false, lower = false, upper = false, other = false, binary = false, hex = true;
	unsigned size, bits = 0;

	for (size_t i = 0; i < len; i++) {
		digit |= isdigit(p[i]);
		lower |= islower(p[i]);
		upper |= isupper(p[i]);
		binary |= p[i] < 32 || p[i] > 126;
		other |= !isalnum(p[i]);
		hex &= isxdigit(p[i]) != 0;
	}
	*word_min = digit || (lower && upper) ? WORD_MIXED : WORD_PROSE;
	if (binary)
		return 80;
	if (hex && digit)
		return COST_HEX;
	size = 10u * digit + 26u * lower + 26u * upper + 16u * other;
	/* log2 in tenths: 10 * floor, and the rest taken as a straight line. */
	while (size >> (bits + 1))
		bits++;
	return size ? 10 * bits + 10 * (size - (1u << bits)) / (1u << bits) : 0;
}

/* The longest run from @at on that stood before. */
static size_t repeat(const uint8_t *p, size_t len, size_t at)
{
	size_t best = 0;

	for (size_t from = 0; from < at; from++) {
		size_t n = 0;

		while (at + n < len && p[from + n] == p[at + n])
			n++;
		if (n > best)
			best = n;
	}
	return best;
}

/* Letters of one case in a row, as words have them. */
static size_t word(const uint8_t *p, size_t len, size_t at)
{
	size_t n = 0;

	while (at + n < len && (islower(p[at + n]) || isupper(p[at + n])) &&
	       !islower(p[at + n]) == !islower(p[at]))
		n++;
	return n;
}

static bool in_row(const uint8_t *p, size_t at)
{
	int step = at ? p[at] - p[at - 1] : 0;

	return at > 1 && step >= -1 && step <= 1 && p[at - 1] - p[at - 2] == step;
}

unsigned psk_bits(const uint8_t *p, size_t len)
{
	unsigned each, sum = 0;
	size_t word_min;

	if (len > PSK_JUDGED_MAX)
		len = PSK_JUDGED_MAX;
	each = alphabet(p, len, &word_min);
	for (size_t i = 0; i < len;) {
		size_t same = repeat(p, len, i), letters;

		if (same >= REPEAT_MIN) {
			sum += COST_REPEAT;
			i += same;
			continue;
		}
		letters = word(p, len, i);
		if (letters < word_min)
			letters = 1;
		for (size_t n = 0; n < letters; n++, i++)
			sum += in_row(p, i) ? COST_ROW : letters >= word_min ? COST_WORD : each;
	}
	return sum / 10;
}

const char *psk_fault(const uint8_t *p, size_t len)
{
	if (len < PSK_LEN_MIN)
		return "is too short a secret; make one with postern keygen --psk";
	if (psk_bits(p, len) < PSK_BITS_MIN)
		return "can be guessed; make one with postern keygen --psk";
	return NULL;
}
