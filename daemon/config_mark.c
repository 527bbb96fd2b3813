/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * `mark` of a peer: the fwmark of its outer sockets, by which a rule of the admin's chooses their way. Bits
 * outside of a mask are those of our own mark, so that the whole of it is nobody else's.
 */
#include "config.h"
#include "config_int.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *number(const char *text, uint32_t *out)
{
	char *end;
	unsigned long long n;

	if (!isdigit((unsigned char)*text))
		return NULL;
	errno = 0;
	n = strtoull(text, &end, *text == '0' && (text[1] | 0x20) == 'x' ? 16 : 10);
	if (errno || n > UINT32_MAX)
		return NULL;
	*out = (uint32_t)n;
	return end;
}

int config_mark_parse(const char *text, uint32_t *mark, char *why, size_t cap)
{
	uint32_t value = 0, mask = UINT32_MAX;
	const char *end = number(text, &value);

	if (end && *end == '/')
		end = number(end + 1, &mask);
	if (!end || *end) {
		snprintf(why, cap, "not a mark: N or N/MASK, decimal or 0x..., up to 32 bits");
		return -EINVAL;
	}
	if (!value || value & ~mask) {
		snprintf(why, cap, value ? "has bits outside of its mask"
					 : "0 is no mark: packets without one go into the tunnel");
		return -EINVAL;
	}
	value |= CONFIG_OWN_MARK & ~mask;
	if (value != CONFIG_OWN_MARK) {
		*mark = value;
		return 0;
	}
	snprintf(why, cap, "is the mark 0x%x of all other peers' packets; choose another",
		 CONFIG_OWN_MARK);
	return -EINVAL;
}

int config_check_mark(const struct conf_value *v, char *why, size_t cap)
{
	uint32_t mark;

	return config_mark_parse(v->text, &mark, why, cap) ? -1 : 0;
}

void config_take_mark(struct config_peer *p, const struct conf_section *s)
{
	const char *text = conf_text(s, "mark");
	char why[CONF_WHY_MAX];

	if (!text || config_mark_parse(text, &p->mark, why, sizeof(why)))
		p->mark = 0;
}

size_t config_marks(const struct config *cfg, uint32_t out[static CONFIG_MARKS_MAX])
{
	size_t count = 0, k;

	for (size_t i = 0; i < cfg->peer_count; i++) {
		uint32_t mark = cfg->peers[i].mark;

		for (k = 0; k < count && out[k] != mark; k++)
			;
		if (mark && k == count && count < CONFIG_MARKS_MAX)
			out[count++] = mark;
	}
	return count;
}

void config_check_peer_mark(struct config *cfg, const struct config_peer *p,
			    const struct conf_section *s)
{
	unsigned line = conf_line(s, "mark");

	if (!p->mark || p->of)
		return;
	if (p->start == CONFIG_START_NO)
		conf_error(cfg->conf, line,
			   "mark is for a peer that we call, and [peer %s] calls us: it is answered where "
			   "it came from; set address and start, or remove mark",
			   p->name);
	if (p->interface)
		conf_error(cfg->conf, line,
			   "mark and interface both say by which way packets leave for [peer %s]; keep "
			   "one",
			   p->name);
}

void config_check_marks(struct config *cfg)
{
	uint32_t have[CONFIG_MARKS_MAX];
	size_t count = config_marks(cfg, have), k;

	for (size_t i = 0; count == CONFIG_MARKS_MAX && i < cfg->peer_count; i++) {
		const struct config_peer *p = &cfg->peers[i];

		for (k = 0; k < count && have[k] != p->mark; k++)
			;
		if (!p->mark || p->of || k < count)
			continue;
		conf_error(cfg->conf, conf_line(conf_find(cfg->conf, "peer", p->name), "mark"),
			   "mark of [peer %s] is one more than the %d different ones that there may be",
			   p->name, CONFIG_MARKS_MAX);
		return;
	}
}
