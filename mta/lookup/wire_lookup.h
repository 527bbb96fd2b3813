/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_LOOKUP_WIRE_LOOKUP_H
#define MTA_LOOKUP_WIRE_LOOKUP_H

/* What goes between lookup.c (in smtpd and relay) and lookup_main.c; id is that of the question. */

#include "lookup.h"
#include "wire.h"

enum lookup_msg {
	LK_RCPT = 0x400,   /* text: address */
	LK_AUTH,	   /* text: login; text: password */
	LK_SENDERS,	   /* text: login, which has shown already that it is that one */
	LK_MX,		   /* text: domain */
	LK_ADDR,	   /* text: host */
	LK_PTR,		   /* address */
	LK_OWN,		   /* no payload */
	LK_PUBLISH,	   /* text: home; fd: memfd with the lines; no answer */
	LK_CANCEL,	   /* nobody waits any more */
	LK_ANSWER = 0x410, /* u8 type - LK_RCPT, then as below; of LK_OWN u8 status, fd: the lines */
};

#define LK_ADDRESS_BYTES 17

static inline void lk_text_put(struct wr *w, const char *s)
{
	size_t len = strlen(s);

	wr_be16(w, (uint16_t)len);
	wr_bytes(w, s, len);
	if (len > UINT16_MAX)
		w->bad = true;
}

/* Fits with its NUL, and holds no other; else bad and "". */
static inline void lk_text_get(struct rd *r, char *to, size_t cap)
{
	size_t len = rd_be16(r);
	const uint8_t *p = rd_take(r, len);

	if (!p || len >= cap || memchr(p, 0, len)) {
		r->bad = true;
		to[0] = 0;
		return;
	}
	memcpy(to, p, len);
	to[len] = 0;
}

static inline void lk_addr_put(struct wr *w, const struct addr *a)
{
	wr_u8(w, a->family);
	wr_bytes(w, a->b, 16);
}

static inline void lk_addr_get(struct rd *r, struct addr *a)
{
	a->family = rd_u8(r);
	rd_copy(r, a->b, 16);
	if (a->family != AF_INET && a->family != AF_INET6)
		r->bad = true;
}

/* An answer of LK_RCPT, LK_AUTH and LK_SENDERS: status, local, home, mailbox, count of texts, texts. */
static inline void lk_list_put(struct wr *w, const struct lookup_rcpt *a)
{
	wr_u8(w, (uint8_t)a->status);
	wr_u8(w, a->local);
	lk_text_put(w, a->home);
	lk_text_put(w, a->mailbox);
	wr_be16(w, (uint16_t)a->to_count);
	for (size_t i = 0; i < a->to_count; i++)
		lk_text_put(w, a->to[i]);
}

static inline void lk_mx_put(struct wr *w, const struct lookup_mx *m)
{
	wr_u8(w, (uint8_t)m->status);
	wr_u8(w, m->implicit);
	wr_u8(w, m->secure);
	wr_u8(w, (uint8_t)m->host_count);
	for (size_t i = 0; i < m->host_count; i++) {
		const struct lookup_host *h = &m->host[i];

		lk_text_put(w, h->name);
		wr_be16(w, h->preference);
		wr_u8(w, h->secure);
		wr_u8(w, h->tempfail);
		wr_u8(w, (uint8_t)h->addr_count);
		for (size_t k = 0; k < h->addr_count; k++)
			lk_addr_put(w, &h->addr[k]);
	}
}

/* @host has room for LOOKUP_MX_MAX. 0 or -EBADMSG. */
static inline int lk_mx_get(struct rd *r, struct lookup_mx *m, struct lookup_host *host)
{
	memset(m, 0, sizeof(*m));
	m->status = (enum lookup_status)rd_u8(r);
	m->implicit = rd_u8(r);
	m->secure = rd_u8(r);
	m->host_count = rd_u8(r);
	m->host = host;
	if (m->host_count > LOOKUP_MX_MAX || m->status > LOOKUP_DENIED)
		return -EBADMSG;
	for (size_t i = 0; i < m->host_count; i++) {
		struct lookup_host *h = &host[i];

		lk_text_get(r, h->name, sizeof(h->name));
		h->preference = rd_be16(r);
		h->secure = rd_u8(r);
		h->tempfail = rd_u8(r);
		h->addr_count = rd_u8(r);
		if (h->addr_count > LOOKUP_ADDRS_MAX)
			return -EBADMSG;
		for (size_t k = 0; k < h->addr_count; k++)
			lk_addr_get(r, &h->addr[k]);
	}
	return r->bad || rd_left(r) ? -EBADMSG : 0;
}

#endif
