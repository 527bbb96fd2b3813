/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: quick crash detection (RFC 6290). While an IKE SA is made, each side gives the other a token that
 * only it can make again, from a secret that outlives the process and the SPI of its own:
 *
 *	token = SHA-256(secret | "QCD" | role | own SPI), cut to 16 bytes
 *
 *	HDR, SK {IDi, AUTH, .., N(QCD_TOKEN)} -->	<--  HDR, SK {IDr, AUTH, .., N(QCD_TOKEN)}
 *	HDR, SK {SA, Ni, KEi, N(QCD_TOKEN)} -->		and with each rekey of the IKE SA
 *
 *	(restarted)	HDR, SK {..} -->
 *			<--  HDR, N(INVALID_IKE_SPI), N(QCD_TOKEN)	the IKE SA is gone, that is proved
 *
 * The token shows that it is the peer itself that says so, and so FX_HINT is certain and nobody has to wait.
 * It must never be told while an IKE SA with that SPI lives, whatever the other SPI of the message
 * is: whoever saw the SPIs on the wire could ask for it and end the IKE SA. Since the token depends on our
 * own SPI alone, the initiator of a rekey can give it before it knows the other one.
 *
 * The answer is the one that a stranger's message gets anyhow, under the same bound.
 */
#include "engine_int.h"
#include "digest.h"

#include <stdlib.h>

#define TOKEN_LEN 16
#define TOKEN_MIN 16 /* s4.1 */

static int token(const struct engine *e, bool initiator, uint64_t spi,
		 uint8_t out[static TOKEN_LEN])
{
	uint8_t fixed[3 + 1 + 8] = { 'Q', 'C', 'D', initiator }, h[SHA256_LEN];
	struct wr w = wr_init(fixed + 4, 8);
	struct span parts[2] = { { e->qcd_secret, sizeof(e->qcd_secret) },
				 { fixed, sizeof(fixed) } };
	int err;

	wr_be64(&w, spi);
	err = digest_sha256(parts, 2, h);
	memcpy(out, h, TOKEN_LEN);
	secret_wipe(h, sizeof(h));
	return err;
}

void qcd_add(const struct engine *e, struct ike_build *b, bool initiator, uint64_t own_spi)
{
	uint8_t t[TOKEN_LEN];

	if (!token(e, initiator, own_spi, t))
		pld_notify_add_ike(b, QCD_TOKEN, (struct span){ t, sizeof(t) });
	secret_wipe(t, sizeof(t));
}

void qcd_keep(struct ike_sa *sa, const struct ike_msg *m)
{
	const struct pld_notify *n = ike_msg_notify(m, QCD_TOKEN);
	struct qcd_token *t;

	if (!n || n->len < TOKEN_MIN || n->len > IKE_QCD_TOKEN_MAX)
		return;
	t = malloc(sizeof(*t) + n->len);
	if (!t)
		return;
	t->len = n->len;
	memcpy(t->b, n->data, n->len);
	free(sa->qcd);
	sa->qcd = t;
}

bool qcd_proves(const struct ike_sa *sa, const struct ike_msg *m)
{
	for (unsigned i = 0; sa->qcd && i < m->n_notifies; i++) {
		const struct pld_notify *n = &m->notifies[i];

		if (n->type == QCD_TOKEN &&
		    secret_equal(n->data, n->len, sa->qcd->b, sa->qcd->len))
			return true;
	}
	return false;
}

void qcd_answer(struct engine *e, const struct ike_hdr *h, const struct engine_path *path)
{
	bool initiator = !(h->flags & IKE_FLAG_INITIATOR); /* we were, of that IKE SA */
	uint64_t own = initiator ? h->spi_i : h->spi_r;
	struct ike_build b;
	uint8_t buf[128];
	size_t n;

	answer_begin(&b, buf, sizeof(buf), h);
	pld_notify_add(&b, INVALID_IKE_SPI, (struct span){ NULL, 0 });
	if (own && !spi_lives(e, own))
		qcd_add(e, &b, initiator, own);
	if (!ike_build_end(&b, &n))
		fx_send(e, path, buf, n, 0);
}
