/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "queue/probe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "answer.h"
#include "clock.h"
#include "hop/probe.h"
#include "log.h"
#include "queue.h"

#define INNER_BITS4 8 /* shorter ones are a way out, not an inner network */
#define INNER_BITS6 16
#define PEERS_TOLD  200
#define INNER_TOLD  500

void probes_clear(struct probes *p)
{
	for (size_t i = 0; i < PROBE_WAITS; i++)
		free(p->waits[i].report);
	memset(p, 0, sizeof(*p));
}

static struct probe_wait *by_token(struct queue *q, const uint8_t token[static LETTER_ID_LEN])
{
	uint64_t now_ms = loop_now_ms(q->loop);

	for (size_t i = 0; i < PROBE_WAITS; i++) {
		struct probe_wait *w = &q->probes.waits[i];

		if (w->until_ms > now_ms && !memcmp(w->token, token, LETTER_ID_LEN))
			return w;
	}
	return NULL;
}

static struct probe_wait *by_id(struct queue *q, const uint8_t id[static LETTER_ID_LEN])
{
	for (size_t i = 0; i < PROBE_WAITS; i++)
		if (q->probes.waits[i].until_ms &&
		    !memcmp(q->probes.waits[i].id, id, LETTER_ID_LEN))
			return &q->probes.waits[i];
	return NULL;
}

/* ------------------------------------------------------------------ asking ------ */

/* Of a domain that is ours, or all would take it for a stranger's. */
static void default_sender(const struct mta_config *c, char out[static ADDRESS_MAX + 1])
{
	const char *domain =
	    c->role != MTA_EDGE && c->deliver.domains.count ? c->deliver.domains.v[0] : c->hostname;

	snprintf(out, ADDRESS_MAX + 1, "postern-probe@%.200s", domain);
}

static size_t write_letter(const struct mta_config *c, const struct envelope *e, char *out,
			   size_t cap)
{
	char hex[LETTER_ID_STR_MAX], date[64];
	int n;

	n = snprintf(out, cap,
		     "Date: %s\r\nFrom: <%s>\r\nTo: <%s>\r\nSubject: Probe of the way of mail\r\n"
		     "Message-ID: <%s@%s>\r\nAuto-Submitted: auto-generated\r\n\r\n"
		     "postern mail path-test on %s sent this, to see by which way it goes.\r\n"
		     "Nobody has to read it.\r\n",
		     bounce_date(e->received_s, date), e->sender, e->rcpt[0].addr,
		     letter_id_str(e->id, hex), c->hostname, c->hostname);
	return n > 0 && (size_t)n < cap ? (size_t)n : 0;
}

static int store_probe(struct queue *q, struct envelope *e, char *text, size_t cap)
{
	size_t len = write_letter(q->ch->config, e, text, cap);
	struct store_change *c = len ? store_begin(q->store) : NULL;
	int rc;

	if (!c)
		return -ENOMEM;
	e->size = len;
	rc = store_put_letter(c, e, (const uint8_t *)text, len);
	if (!rc)
		return store_commit(c, true, NULL);
	store_cancel(c);
	return rc;
}

/* What of the tunnel's is not for strangers: names of peers, and networks behind them. */
static json_t *inside_json(const struct queue *q)
{
	const struct tunnel_table *t = &q->ch->tunnel;
	json_t *words = json_array(), *inner = json_array();
	char text[PREFIX_STR_MAX];

	for (size_t i = 0; i < t->peer_count && i < PEERS_TOLD; i++) {
		const struct tunnel_peer *p = &t->peers[i];

		json_array_append_new(words, json_string(p->name));
		for (size_t k = 0; k < p->inner_count && json_array_size(inner) < INNER_TOLD; k++)
			if (p->inner[k].len >=
			    (p->inner[k].addr.family == AF_INET ? INNER_BITS4 : INNER_BITS6))
				json_array_append_new(inner,
						      json_string(prefix_str(&p->inner[k], text)));
	}
	return json_pack("{s:o,s:o}", "words", words, "networks", inner);
}

/* The oldest question makes room. */
static struct probe_wait *new_wait(struct queue *q, const struct envelope *e)
{
	struct probe_wait *w = &q->probes.waits[q->probes.next_wait++ % PROBE_WAITS];

	free(w->report);
	memset(w, 0, sizeof(*w));
	memcpy(w->token, e->probe, LETTER_ID_LEN);
	memcpy(w->id, e->id, LETTER_ID_LEN);
	w->until_ms = loop_now_ms(q->loop) + PROBE_WAIT_MS;
	return w;
}

static bool is_mailbox(const char *s, struct address *a)
{
	return s && !address_parse(s, strlen(s), 0, a) && a->kind != ADDRESS_BARE;
}

void probe_ask(struct queue *q, uint32_t id, const json_t *args)
{
	const char *to = json_string_value(json_object_get(args, "address"));
	const char *from = json_string_value(json_object_get(args, "from"));
	bool mailbox = json_is_true(json_object_get(args, "mailbox"));
	char text[4096], own[ADDRESS_MAX + 1], hex[LETTER_ID_STR_MAX];
	struct env_rcpt rcpt = { .notify = ENV_NOTIFY_NEVER };
	struct envelope e = {
		.flags = ENV_LOCAL | ENV_PROBE | (mailbox ? ENV_PROBE_MAILBOX : 0),
		.received_s = clock_wall_s(),
		.rcpt = &rcpt,
		.rcpt_count = 1,
	};
	struct address a, b;

	default_sender(q->ch->config, own);
	from = from ? from : own;
	if (!is_mailbox(to, &a))
		return answer_fail(q, id, "the address cannot be read");
	if (!is_mailbox(from, &b))
		return answer_fail(q, id, "the sender's address cannot be read");
	rcpt.addr = a.text;
	e.sender = b.text;
	if (!store_room(q->store))
		return answer_fail(q, id, "the queue takes no letters: the disk is full");
	if (envelope_new_id(e.id) || envelope_new_id(e.probe))
		return answer_fail(q, id, "no random numbers");
	new_wait(q, &e);
	if (store_probe(q, &e, text, sizeof(text)))
		return answer_fail(q, id, "the probe could not be written; look into the log");
	log_info(NULL, "letter=%s msg=\"a probe is queued\"", letter_id_str(e.id, hex));
	answer_reply(q, id,
		     json_pack("{s:s,s:s,s:s,s:s,s:s,s:o}", "id", hex, "address", a.text, "sender",
			       b.text, "hostname", q->ch->config->hostname, "header", text,
			       "inside", inside_json(q)));
	attempt_pump(q);
}

/* Nobody waits for its end any more. */
static void give_up(struct queue *q, struct probe_wait *w, struct letter *l)
{
	struct store_change *c;
	int rc;

	w->given_up = true;
	for (size_t i = 0; i < l->rcpt_count; i++)
		if (l->rcpt[i].flying) /* probe_landed() ends it */
			return;
	c = store_begin(q->store);
	if (!c)
		return;
	rc = store_remember(c, l);
	if (!rc)
		rc = finish_letter(q, c, l, false);
	if (rc)
		store_cancel(c);
	else
		rc = store_commit(c, true, NULL);
	if (rc) {
		log_err(NULL, "msg=\"the end of a probe could not be written\"");
		return;
	}
	history_note(q->history, HISTORY_REMOVED, l->id, "nobody waits for it");
	schedule_remove(q->schedule, l);
}

void probe_answer(struct queue *q, uint32_t id, const json_t *args)
{
	static const char *const states[] = { "queued", "gone-on", "ended", "refused" };
	const char *hex = json_string_value(json_object_get(args, "id"));
	uint8_t lid[LETTER_ID_LEN];
	struct probe_wait *w = hex && !letter_id_parse(hex, lid) ? by_id(q, lid) : NULL;
	struct letter *l = w ? store_find(q->store, lid) : NULL;

	if (!w)
		return answer_fail(q, id, "no such probe is known here, or not any more");
	if (l && l->state == LETTER_GONE)
		l = NULL;
	if (l && json_is_true(json_object_get(args, "give_up"))) {
		give_up(q, w, l);
		return answer_reply(q, id, json_object());
	}
	answer_reply(q, id,
		     json_pack("{s:s,s:b,s:i,s:s,s:s,s:o,s:s,s:o,s:o,s:o}", "state",
			       states[w->state], "report_due", w->report_due, "code", w->code,
			       "route", w->route, "hop", w->hop, "host", text_json(w->host), "tls",
			       w->tls, "reply", text_json(w->reply), "report", text_json(w->report),
			       "letter", l ? letter_json(q, l, true) : json_null()));
}

/* ------------------------------------------------------------------ on its way -- */

/* For the next one of @peer's: its own oldest place when it has its share, else a free one, or the oldest. */
static struct probe_passed *new_place(struct queue *q, const char *peer)
{
	struct probe_passed *any = NULL, *own = NULL;
	uint64_t now_ms = loop_now_ms(q->loop);
	size_t count = 0;

	for (size_t i = 0; i < PROBE_PASSED; i++) {
		struct probe_passed *p = &q->probes.passed[i];
		bool over = p->until_ms <= now_ms;

		if (over)
			p->number = 0;
		if (!any || p->number < any->number)
			any = p;
		if (over || strcmp(p->peer, peer))
			continue;
		count++;
		if (!own || p->number < own->number)
			own = p;
	}
	return count >= PROBE_PASSED_EACH ? own : any;
}

void probe_added(struct queue *q, const struct envelope *e)
{
	struct probe_passed *p;

	if (!(e->flags & ENV_PROBE) || e->flags & ENV_BOUNCE || !(e->flags & ENV_TUNNEL) ||
	    !e->peer)
		return;
	p = new_place(q, e->peer);
	p->number = ++q->probes.passed_count;
	p->storing = false;
	memcpy(p->token, e->probe, LETTER_ID_LEN);
	snprintf(p->peer, sizeof(p->peer), "%s", e->peer);
	p->until_ms = loop_now_ms(q->loop) + PROBE_WAIT_MS;
}

/* Its text, so that it can be shown and told in JSON: controls take more bytes there. */
static char *plain(const uint8_t *body, size_t len)
{
	char *out = malloc(PROBE_REPORT_MAX + 1);
	size_t n = 0;

	for (size_t i = 0; out && i < len && n < PROBE_REPORT_MAX; i++) {
		uint8_t c = body[i];

		if (c != '\r')
			out[n++] = (char)((c < 32 && c != '\n' && c != '\t') || c == 127 ? '?' : c);
	}
	if (out)
		out[n] = 0;
	return out;
}

static int pass_on(struct queue *q, struct envelope *e, const uint8_t token[static LETTER_ID_LEN])
{
	uint64_t now_ms = loop_now_ms(q->loop);

	for (size_t i = 0; i < PROBE_PASSED; i++) {
		struct probe_passed *p = &q->probes.passed[i];

		if (p->until_ms <= now_ms || memcmp(p->token, token, LETTER_ID_LEN))
			continue;
		if (p->storing)
			return -EAGAIN;
		p->storing = true;
		e->flags |= ENV_PROBE | ENV_BOUNCE;
		e->flags &= ~(uint32_t)(ENV_PEER_ID | ENV_TUNNEL);
		memcpy(e->probe, token, LETTER_ID_LEN);
		e->peer = p->peer;
		return 0;
	}
	return -ENOENT;
}

void probe_passed(struct queue *q, const uint8_t token[static LETTER_ID_LEN], bool stored)
{
	for (size_t i = 0; i < PROBE_PASSED; i++) {
		struct probe_passed *p = &q->probes.passed[i];

		if (!p->storing || memcmp(p->token, token, LETTER_ID_LEN))
			continue;
		p->storing = false;
		if (stored)
			p->until_ms = 0;
	}
}

int probe_take(struct queue *q, struct envelope *e, const uint8_t *body, size_t len)
{
	uint8_t token[LETTER_ID_LEN];
	struct probe_wait *w;
	bool any = false;

	if (!(e->flags & ENV_TUNNEL) || !e->peer || *e->sender)
		return 0;
	for (size_t i = 0; i < e->rcpt_count; i++)
		any |= probe_is_address(e->rcpt[i].addr);
	if (!any)
		return 0;
	if (e->rcpt_count != 1 || !body || probe_token(e->rcpt[0].addr, token))
		return -ENOENT;
	w = by_token(q, token);
	if (!w)
		return pass_on(q, e, token);
	if (w->report)
		return -ENOENT; /* one question, one answer */
	w->report = plain(body, len);
	return w->report ? 1 : -ENOENT;
}

const char *probe_ends(const struct queue *q, const struct leg *g, const struct envelope *e)
{
	const struct mta_config *c = q->ch->config;
	const struct mta_route *r = g->dest->policy;
	bool from_home = e->flags & ENV_TUNNEL && e->peer && config_home_by_peer(c, e->peer);

	if (!r || !(e->flags & ENV_PROBE) || e->flags & ENV_BOUNCE)
		return NULL;
	/* What one tenant's machines are called is not for the other one to learn. */
	if (r->kind == ROUTE_TUNNEL)
		return from_home && r->peer && strcmp(r->peer, e->peer) &&
			       config_home_by_peer(c, r->peer)
			   ? "The probe ends here, before another home"
			   : NULL;
	if (e->flags & ENV_PROBE_MAILBOX)
		return NULL;
	if (r->kind == ROUTE_DELIVER || r->kind == ROUTE_LMTP)
		return "The probe ends here, before the mailbox";
	return e->flags & ENV_TUNNEL && !from_home
		   ? "The probe ends here, before a host that is no tunnel peer"
		   : NULL;
}

const char *probe_reply(const struct msg_r_result *m, const struct msg_r_rcpt_result *res,
			char out[static STORE_TEXT_MAX])
{
	char code[8] = "";

	if (res->code)
		snprintf(code, sizeof(code), "%u ", res->code);
	snprintf(out, STORE_TEXT_MAX, "%s%s%s%.160s [host=%.64s tls=%.80s]", code, res->enhanced,
		 *res->enhanced ? " " : "", res->text, m->host && *m->host ? m->host : "-",
		 m->tls && *m->tls ? m->tls : "none");
	return out;
}

/* What became of one that began here. */
static void note(struct queue *q, const struct leg *g, const struct msg_r_result *m,
		 const struct msg_r_rcpt_result *res)
{
	struct probe_wait *w = by_id(q, g->letter->id);

	if (!w)
		return;
	w->state = res->result != RCPT_RES_DELIVERED ? PROBE_REFUSED
		   : res->report == REPORT_PROBED    ? PROBE_ENDED
						     : PROBE_GONE_ON;
	w->report_due =
	    w->state == PROBE_GONE_ON && g->dest->policy && g->dest->policy->kind == ROUTE_TUNNEL;
	w->code = res->code;
	snprintf(w->route, sizeof(w->route), "%s", g->dest->route);
	snprintf(w->hop, sizeof(w->hop), "%s", g->dest->hop);
	snprintf(w->host, sizeof(w->host), "%s", m->host ? m->host : "");
	snprintf(w->tls, sizeof(w->tls), "%s", m->tls ? m->tls : "");
	snprintf(w->reply, sizeof(w->reply), "%s%s%s", res->enhanced, *res->enhanced ? " " : "",
		 res->text);
}

void probe_landed(struct queue *q, const struct leg *g, const struct msg_r_result *m,
		  struct msg_r_rcpt_result *res)
{
	const struct mta_route *r = g->dest->policy;
	bool tunnel = r && r->kind == ROUTE_TUNNEL;
	const struct probe_wait *w = by_id(q, g->letter->id);

	if (g->letter->flags & ENV_BOUNCE)
		return;
	/* A tunnel that is down for a moment is no answer; all else is. */
	if ((w && w->given_up && res->result != RCPT_RES_DELIVERED) ||
	    (!tunnel && (res->result == RCPT_RES_TEMPFAIL || res->result == RCPT_RES_PERMFAIL))) {
		res->result = RCPT_RES_PERMFAIL;
		res->scope = SCOPE_RECIPIENT;
	}
	if (res->result == RCPT_RES_DELIVERED && res->report != REPORT_PROBED)
		res->report = tunnel ? REPORT_NONE
			      : r && (r->kind == ROUTE_DELIVER || r->kind == ROUTE_LMTP)
				  ? REPORT_DELIVERED
				  : REPORT_RELAYED;
	if (res->result != RCPT_RES_DELIVERED &&
	    (res->result != RCPT_RES_PERMFAIL || res->scope == SCOPE_HOST))
		return;
	note(q, g, m, res);
	history_note(q->history, HISTORY_PROBED, g->letter->id, "host=%.80s tls=%.80s",
		     m->host && *m->host ? m->host : "-", m->tls && *m->tls ? m->tls : "none");
}

void probe_report(struct queue *q, struct store_change *c, struct letter *l, const uint16_t *which,
		  size_t count, enum dsn_kind kind)
{
	struct store_reading r;

	if (!count || l->flags & ENV_BOUNCE || !(l->flags & ENV_TUNNEL) ||
	    store_read(q->store, l, &r))
		return;
	if (r.env.peer)
		dsn_send(q, c, l, &r, which, count, kind, 0);
	store_reading_clear(&r);
}
