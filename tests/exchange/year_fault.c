/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "year_fault.h"

const char *const fault_name[FAULTS] = {
	"cut",		"cut-to-home", "cut-to-vps",  "rebind",	    "nat-address",
	"nat-reboot",	"vps-killed",  "vps-stopped", "vps-reboot", "home-killed",
	"home-stopped", "home-reboot", "vps-moves",   "no-dns",	    "sleep",
	"icmp",		"lies",	       "route",	      "loss",	    "stuck-nat",
};

uint64_t year_between(struct year *y, uint64_t min, uint64_t max)
{
	return min + year_random(y) / 7 % (max - min + 1);
}

uint64_t year_length(struct year *y, uint64_t min, uint64_t max)
{
	uint64_t n = min;

	while (n < max && year_below(y, 3))
		n *= 2;
	n = year_between(y, n, 2 * n);
	return n < max ? n : max;
}

bool fault_active(const struct story *s, enum fault f)
{
	for (int i = 0; i < s->events; i++)
		if (s->ev[i].fault == f && s->ev[i].begun && !s->ev[i].ended)
			return true;
	return false;
}

void year_new_address(struct year *y)
{
	char text[32];

	snprintf(text, sizeof(text), "100.64.%u.%u", year_below(y, 256), 1 + year_below(y, 250));
	y->outside = year_addr(text);
}

void fault_begin(struct story *s, struct event *ev)
{
	struct year *y = s->y;
	char text[32];

	ev->begun = true;
	switch (ev->fault) {
	case REBIND:
		year_forget(y, false);
		break;
	case ADDRESS:
	case NAT_REBOOT:
		year_forget(y, false);
		if (ev->fault == ADDRESS || year_below(y, 2))
			year_new_address(y);
		break;
	case STUCK:
		year_forget(y, true);
		year_new_address(y);
		s->stuck = true;
		break;
	case VPS_KILLED:
	case VPS_REBOOT:
		node_stop(&y->node[VPS], false);
		break;
	case VPS_STOPPED:
		node_stop(&y->node[VPS], true);
		break;
	case HOME_KILLED:
	case HOME_REBOOT:
		node_stop(&y->node[HOME], false);
		break;
	case HOME_STOPPED:
		node_stop(&y->node[HOME], true);
		break;
	case VPS_MOVES:
		snprintf(text, sizeof(text), "192.0.2.%u", 1 + year_below(y, 250));
		y->vps = year_addr(text);
		break;
	case SLEEP:
		y->node[HOME].asleep = true;
		break;
	case ROUTE:
		y->node[HOME].route = false;
		node_path_changed(&y->node[HOME]);
		break;
	default:
		break;
	}
}

static bool may_start(const struct story *s, int host)
{
	return host == VPS
		   ? !fault_active(s, VPS_KILLED) && !fault_active(s, VPS_STOPPED) && !fault_active(s, VPS_REBOOT)
		   : !fault_active(s, HOME_KILLED) && !fault_active(s, HOME_STOPPED) && !fault_active(s, HOME_REBOOT);
}

static void start(struct story *s, int host, bool reboot)
{
	struct node *n = &s->y->node[host];

	if (n->running || !may_start(s, host))
		return;
	if (reboot)
		n->born_ms = s->y->now_ms;
	node_start(n);
	n->asleep = host == HOME && fault_active(s, SLEEP);
}

void fault_end(struct story *s, struct event *ev)
{
	struct year *y = s->y;
	struct node *home = &y->node[HOME];
	char text[32];

	ev->ended = true;
	switch (ev->fault) {
	case VPS_KILLED:
	case VPS_STOPPED:
	case VPS_REBOOT:
		start(s, VPS, ev->fault == VPS_REBOOT);
		break;
	case HOME_KILLED:
	case HOME_STOPPED:
	case HOME_REBOOT:
		start(s, HOME, ev->fault == HOME_REBOOT);
		break;
	case VPS_MOVES:
		y->dns = y->vps;
		break;
	case SLEEP:
		node_wake(home);
		break;
	case ROUTE:
		home->route = true;
		home->ifindex = 2 + year_below(y, 3);
		snprintf(text, sizeof(text), "192.168.%u.2", year_below(y, 200));
		home->src = year_addr(text);
		if (year_below(y, 2)) {
			year_forget(y, false);
			year_new_address(y);
		}
		node_path_changed(home);
		break;
	default:
		break;
	}
}

/* What follows from all that is under way. */
void faults_follow(struct story *s)
{
	struct year *y = s->y;
	bool both = fault_active(s, CUT) || fault_active(s, NAT_REBOOT), works;

	y->cut[HOME] = both || fault_active(s, CUT_TO_HOME);
	y->cut[VPS] = both || fault_active(s, CUT_TO_VPS);
	y->loss = fault_active(s, LOSS) ? 30 : 0;
	y->dns_ok = !fault_active(s, NO_DNS);
	works = !y->cut[HOME] && !y->cut[VPS] && !y->loss && y->dns_ok && y->node[HOME].route &&
		y->node[HOME].running && !y->node[HOME].asleep && y->node[VPS].running &&
		addr_eq(&y->dns, &y->vps);
	/* Whatever happened, it is to work from here on. */
	s->ok_ms = works ? y->now_ms : 0;
	s->since_ms[0] = s->since_ms[1] = 0;
	s->served[0] = s->served[1] = false;
}

static uint64_t length_of(struct year *y, enum fault f)
{
	switch (f) {
	case CUT:
	case CUT_TO_HOME:
	case CUT_TO_VPS:
	case NO_DNS:
	case SLEEP:
	case ROUTE:
		return year_length(y, SECOND, 30 * HOUR);
	case NAT_REBOOT:
	case VPS_REBOOT:
	case HOME_REBOOT:
		return year_between(y, 10 * SECOND, 3 * MINUTE);
	case VPS_KILLED:
	case VPS_STOPPED:
	case HOME_KILLED:
	case HOME_STOPPED:
		return year_between(y, 50, 5 * SECOND);
	case VPS_MOVES:
		return year_between(y, MINUTE, HOUR); /* until the name has followed */
	case ICMP:
	case LIES:
	case LOSS:
		return year_between(y, SECOND, 2 * MINUTE);
	default:
		return 1;
	}
}

void faults_draw(struct story *s)
{
	struct year *y = s->y;
	uint64_t at = y->now_ms + 1;

	s->events = year_below(y, 4) ? 1 : 2 + (int)year_below(y, 2);
	for (int i = 0; i < s->events; i++) {
		enum fault f = (enum fault)year_below(y, FAULTS);

		s->ev[i] = (struct event){ .fault = f, .begin_ms = at };
		for (int k = 0; k < i; k++) /* a machine that is off cannot be switched off */
			if (s->ev[k].fault == f)
				s->ev[i].begin_ms = s->ev[k].end_ms + SECOND;
		s->ev[i].end_ms = s->ev[i].begin_ms + length_of(y, f);
		at += year_between(y, 1, 20 * SECOND);
	}
}
