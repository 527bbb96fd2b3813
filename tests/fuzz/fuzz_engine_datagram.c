/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The engine behind the parsers: what it does with datagrams of strangers and with the payloads of an
 * authentic but hostile peer. The first three bytes say where the rest goes:
 *
 *	[0] where: 0 raw to a waiting side   1 raw answer to a call      2 payloads of an IKE_AUTH request
 *		   3 payloads of a request on an IKE SA that is up       4 payloads of an answer there
 *		   5 payloads of an IKE_AUTH answer
 *	[1] exchange (3), or which request is outstanding (4: 0 rekey CHILD, 1 rekey IKE, 2 Delete)
 *	[2] type of the first payload (2-5)
 *
 * Payloads are sealed with the true keys here, so that they get past the ICV. Afterwards time runs on
 * for a while, and the engine must end without a leak. With ENGINE_CORPUS=DIR in its
 * environment one run on any input writes the starting corpus: what two engines say to each other.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_int.h"
#include "sk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct engine *eng[2];
static struct fx_list fxs[2];
static struct engine_peer peers[2];
static struct proposals ike, esp;
static struct engine_ts net, assigned = { .assigned = true };
static struct engine_child_conf children[2];
static struct addr lease;
static uint64_t now, rnd;
static uint32_t next_spi;
static uint32_t spis;
static bool held; /* deliver nothing more between the two */
static const char *corpus;

static int op_alloc(void *arg, uint32_t peer, uint32_t *spi)
{
	*spi = ++next_spi;
	spis++;
	return 0;
}

static void op_free(void *arg, uint32_t peer, uint32_t spi)
{
	spis--;
}

static int op_install(void *arg, enum engine_dir dir, const struct engine_child *c)
{
	return c->spi_out % 7 == 6 ? -ENOMEM : 0;
}

static int64_t op_wall(void *arg)
{
	return 1800000000;
}

static void op_random(void *arg, void *p, size_t n)
{
	for (uint8_t *b = p; n--; b++) {
		rnd = rnd * 6364136223846793005ull + 1442695040888963407ull;
		*b = (uint8_t)(rnd >> 40);
	}
}

static const struct engine_ops ops = {
	.spi_alloc = op_alloc,
	.spi_free = op_free,
	.child_install = op_install,
	.wall_s = op_wall,
	.random = op_random,
};

static struct engine_path path_of(int i)
{
	struct engine_path p = { .sock = 1 };

	endpoint_parse(i ? "192.0.2.1:4500" : "192.0.2.2:4500", 0, &p.local);
	endpoint_parse(i ? "192.0.2.2:4500" : "192.0.2.1:4500", 0, &p.remote);
	return p;
}

/* ---- the corpus: each message as it passes ---- */

static void write_input(const char *name, uint8_t where, uint8_t which, uint8_t first,
			const uint8_t *bytes, size_t len)
{
	char file[512];
	FILE *f;

	snprintf(file, sizeof(file), "%s/%s", corpus, name);
	f = fopen(file, "wb");
	if (!f)
		abort();
	fwrite((uint8_t[]){ where, which, first }, 1, 3, f);
	fwrite(bytes, 1, len, f);
	fclose(f);
}

static struct ike_sa *receiver_sa(int to, const struct ike_hdr *h)
{
	for (struct ike_sa *sa = eng[to]->peers->sas; sa; sa = sa->peer_next)
		if (sa->aead_in && sa->spi_i == h->spi_i && sa->spi_r == h->spi_r)
			return sa;
	for (struct ike_sa *sa = eng[to]->strangers; sa; sa = sa->peer_next)
		if (sa->aead_in && sa->spi_i == h->spi_i && sa->spi_r == h->spi_r)
			return sa;
	return NULL;
}

static void capture(int to, const uint8_t *bytes, size_t len)
{
	static struct ike_msg m;
	static uint8_t plain[IKE_MSG_MAX];
	static int n;
	struct ike_sa *sa;
	char name[64];
	bool answer;

	if (!corpus || ike_msg_parse(bytes, len, &m))
		return;
	answer = ike_hdr_is_response(&m.hdr);
	snprintf(name, sizeof(name), "%02d-%s-%s", n++, ike_exchange_name(m.hdr.exchange),
		 answer ? "answer" : "request");
	if (m.hdr.exchange == IKE_SA_INIT) {
		write_input(name, answer ? 1 : 0, 0, 0, bytes, len);
		return;
	}
	sa = receiver_sa(to, &m.hdr);
	if (!sa || sk_open(sa->aead_in, &m, plain, sizeof(plain), &len))
		return;
	if (m.hdr.exchange == IKE_AUTH)
		write_input(name, answer ? 5 : 2, 0, m.sk.first, plain, len);
	else if (!answer)
		write_input(name, 3, m.hdr.exchange, m.sk.first, plain, len);
	else
		write_input(name, 4,
			    sa->out.task.kind == TASK_REKEY_CHILD ? 0
			    : sa->out.task.kind == TASK_REKEY_IKE ? 1
								  : 2,
			    m.sk.first, plain, len);
}

/* ---- two engines ---- */

static void apply(int i)
{
	struct fx_list l = fxs[i];

	memset(&fxs[i], 0, sizeof(fxs[i]));
	for (size_t k = 0; k < l.count; k++) {
		struct fx *f = &l.v[k];

		if (f->kind == FX_AUTH) {
			uint8_t mac[32] = { 1, 2, 3 };

			if (!f->auth.key_ref)
				mac[0] = 9;
			engine_on_auth_result(eng[i], now, f->auth.token, mac, sizeof(mac),
					      &fxs[i]);
			apply(i);
		} else if (f->kind == FX_CHILD_REMOVE_IN) {
			spis--;
		} else if (f->kind == FX_SEND && !held) {
			struct engine_path p = path_of(!i);

			capture(!i, f->send.bytes, f->send.len);
			engine_on_datagram(eng[!i], now, &p, f->send.bytes, f->send.len, &fxs[!i]);
			apply(!i);
		}
	}
	fx_list_free(&l);
}

static void begin(void)
{
	static const char *const names[2] = { "home.example", "vps.example" };
	struct engine_config cfg = { .ops = &ops };

	now = 1000000;
	rnd = 42;
	next_spi = 0x1000;
	spis = 0;
	held = false;
	if (!ike.count) {
		struct prefix p;

		proposals_default_ike(&ike, true);
		proposals_default_esp(&esp, true, true);
		prefix_parse("10.99.0.2", &p);
		lease = p.addr;
		assigned.ts = ts_from_prefix(&p);
		prefix_parse("10.99.0.1", &p);
		net.ts = ts_from_prefix(&p);
	}
	for (int i = 0; i < 2; i++) {
		struct engine_peer *p = &peers[i];

		memset(p, 0, sizeof(*p));
		p->id = 1;
		p->name = "peer";
		p->local_id =
		    (struct engine_id){ ID_FQDN, (const uint8_t *)names[i], strlen(names[i]) };
		p->remote_id =
		    (struct engine_id){ ID_FQDN, (const uint8_t *)names[!i], strlen(names[!i]) };
		p->local_auth.kind = p->remote_auth.kind = ENGINE_AUTH_PSK;
		p->local_auth.key_ref = p->remote_auth.psk_ref = 1;
		p->ike = &ike;
		p->esp = &esp;
		children[i] = (struct engine_child_conf){
			.id = 1,
			.name = "peer",
			.local_ts = i ? &net : &assigned,
			.local_ts_count = 1,
			.remote_ts = i ? &assigned : &net,
			.remote_ts_count = 1,
			.lifetime_s = 3600,
		};
		p->child = &children[i];
		p->child_count = 1;
		p->request_v4 = !i;
		p->assign = &lease;
		p->assign_count = (size_t)i;
		p->lifetime.ike_s = 14400;
		p->accept = i;
		eng[i] = engine_new(&cfg);
		if (!eng[i] || engine_peer_update(eng[i], now, p, &fxs[i]))
			abort();
	}
}

static void end(void)
{
	held = true;
	for (int k = 0; k < 40; k++) {
		now += 5000;
		for (int i = 0; i < 2; i++) {
			engine_on_timer(eng[i], now, &fxs[i]);
			apply(i);
		}
	}
	for (int i = 0; i < 2; i++) {
		engine_delete_all(eng[i], now, &fxs[i]);
		apply(i);
		if (eng[i]->n.ike_sas || eng[i]->n.child_sas || eng[i]->n.half_open)
			abort();
		engine_free(eng[i]);
		fx_list_free(&fxs[i]);
	}
	if (spis)
		abort();
}

static struct ike_sa *up_sa(int i)
{
	for (struct ike_sa *sa = eng[i]->peers->sas; sa; sa = sa->peer_next)
		if (sa->state == SA_UP)
			return sa;
	return NULL;
}

/* The end @from of @sa seals it with @by, the other must open it. */
static void sealed_by(struct ike_aead *by, int from, bool initiator, const struct ike_sa *sa,
		      uint8_t exchange, bool answer, uint32_t id, uint8_t first,
		      const uint8_t *bytes, size_t len)
{
	struct ike_hdr h = { .spi_i = sa->spi_i,
			     .spi_r = sa->spi_r,
			     .version = IKE_VERSION,
			     .exchange = exchange,
			     .id = id };
	struct engine_path p = path_of(!from);
	static uint8_t out[IKE_MSG_MAX];
	size_t n;

	h.flags =
	    (uint8_t)((initiator ? IKE_FLAG_INITIATOR : 0) | (answer ? IKE_FLAG_RESPONSE : 0));
	if (sk_seal(by, &h, len ? first : 0, bytes, len, out, sizeof(out), &n))
		return;
	engine_on_datagram(eng[!from], now, &p, out, n, &fxs[!from]);
	apply(!from);
}

static void sealed(int from, struct ike_sa *sa, uint8_t exchange, bool answer, uint32_t id,
		   uint8_t first, const uint8_t *bytes, size_t len)
{
	sealed_by(sa->aead_out, from, sa->initiator, sa, exchange, answer, id, first, bytes, len);
}

static int64_t call(void)
{
	struct engine_path p = path_of(0);

	return engine_initiate(eng[0], now, 1, &p, &fxs[0]);
}

static void raw(int to, uint8_t *bytes, size_t len, uint64_t spi_i)
{
	struct engine_path p = path_of(to);

	for (int i = 0; spi_i && len >= 8 && i < 8; i++)
		bytes[i] = (uint8_t)(spi_i >> (56 - 8 * i));
	engine_on_datagram(eng[to], now, &p, bytes, len, &fxs[to]);
	apply(to);
}

static void write_corpus(void)
{
	struct ike_sa *sa;

	call();
	apply(0);
	for (int i = 0; i < 2; i++) {
		sa = up_sa(i);
		engine_rekey_child(eng[i], now, sa->children->spi_in, &fxs[i]);
		apply(i);
		engine_rekey_ike(eng[i], now, sa->handle, &fxs[i]);
		apply(i);
	}
	engine_private(eng[0], now, up_sa(0)->handle, POSTERN_PROBE_MTU, (const uint8_t *)"ab", 2,
		       &fxs[0]);
	apply(0);
	engine_delete(eng[1], now, up_sa(1)->handle, &fxs[1]);
	apply(1);
}

/* Both sides stop right after IKE_SA_INIT: the keys process of home is slow. */
static struct ike_sa *half_open(void)
{
	struct engine_path p = path_of(1);

	call();
	for (size_t i = 0; i < fxs[0].count; i++)
		if (fxs[0].v[i].kind == FX_SEND)
			engine_on_datagram(eng[1], now, &p, fxs[0].v[i].send.bytes,
					   fxs[0].v[i].send.len, &fxs[1]);
	fx_list_clear(&fxs[0]);
	p = path_of(0);
	for (size_t i = 0; i < fxs[1].count; i++)
		if (fxs[1].v[i].kind == FX_SEND)
			engine_on_datagram(eng[0], now, &p, fxs[1].v[i].send.bytes,
					   fxs[1].v[i].send.len, &fxs[0]);
	fx_list_clear(&fxs[1]);
	for (struct ike_sa *sa = eng[0]->peers->sas; sa; sa = sa->peer_next)
		if (sa->state == SA_I_SIGN)
			return sa;
	abort();
}

static void one(uint8_t where, uint8_t which, uint8_t first, uint8_t *bytes, size_t len)
{
	struct ike_sa *sa;

	held = true;
	switch (where % 6) {
	case 0:
		raw(1, bytes, len, 0);
		break;
	case 1:
		call();
		raw(0, bytes, len, eng[0]->peers->sas->spi_i);
		break;
	case 2:
		sa = half_open();
		sealed(0, sa, IKE_AUTH, false, 1, first, bytes, len);
		break;
	case 5:
		sa = half_open();
		apply(0); /* signed and sent, but it never arrives */
		/* The responder has no keys yet; those of its direction are the caller's for reading. */
		sealed_by(sa->aead_in, 1, false, sa, IKE_AUTH, true, 1, first, bytes, len);
		break;
	case 3:
	case 4:
		held = false;
		call();
		apply(0);
		held = true;
		sa = up_sa(0);
		if (where % 6 == 3) {
			sealed(0, sa, which, false, sa->win.next_out, first, bytes, len);
			break;
		}
		if (which % 3 == 0)
			engine_rekey_child(eng[1], now, up_sa(1)->children->spi_in, &fxs[1]);
		else if (which % 3 == 1)
			engine_rekey_ike(eng[1], now, up_sa(1)->handle, &fxs[1]);
		else
			engine_delete_child(eng[1], now, up_sa(1)->children->spi_in, &fxs[1]);
		apply(1);
		sealed(0, sa, which % 3 == 2 ? INFORMATIONAL : CREATE_CHILD_SA, true,
		       up_sa(1)->win.next_out, first, bytes, len);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t *copy;

	log_setup("fuzz", LOG_LVL_ERR, -1);
	corpus = getenv("ENGINE_CORPUS");
	if (corpus) {
		begin();
		write_corpus();
		corpus = NULL;
		end();
		exit(0);
	}
	if (len < 3 || len > 8192)
		return 0;
	copy = malloc(len - 3 ? len - 3 : 1);
	if (!copy)
		return 0;
	memcpy(copy, data + 3, len - 3);
	begin();
	one(data[0], data[1], data[2], copy, len - 3);
	end();
	free(copy);
	return 0;
}
