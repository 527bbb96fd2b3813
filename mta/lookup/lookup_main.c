/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "msg.h"
#include "mx.h"
#include "password.h"
#include "proc_mta.h"
#include "resolver.h"
#include "sandbox.h"
#include "secret.h"
#include "tables.h"
#include "wire_lookup.h"

#define ANSWER_MAX    IPC_PAYLOAD_MAX
#define PTR_NAMES_MAX 5

/*
 * Theory: one process answers questions of smtpd and relay: tables in memory, password hashes in
 * a thread, DNS in libunbound's thread. A question that needs the network is a struct job, which
 * counts its open DNS questions and answers when the last one is back. A job outlives the link it
 * came from; its answer is then dropped.
 */

struct link {
	struct state *st;
	struct ipc *ipc;
	uint32_t generation;
};

struct told {
	struct told *next;
	char home[MTA_NAME_MAX];
	struct table table;
};

struct state {
	struct child *ch;
	struct resolver *resolver;
	struct passwords *passwords;
	struct tables *tables;
	struct table users;	 /* login -> "hash:senders" */
	struct told *told;	 /* sets that homes published, by name: they outlive a reload */
	struct table *published; /* the same by index of config.homes, borrowed from @told */
	char *resolv;
	struct srs_keys srs;
	struct log_limit quiet;
	struct link link[MTA_PROCS];
	uint8_t answer[ANSWER_MAX];
	char list[LOOKUP_EXPANSION_MAX][LOOKUP_ADDRESS_MAX];
};

struct job {
	struct state *st;
	enum mta_proc who;
	uint32_t generation;
	uint32_t id;
	uint32_t type;
	unsigned open; /* DNS questions */
	struct lookup_mx mx;
	size_t count;
	struct lookup_host host[LOOKUP_MX_MAX];
	struct job_host {
		struct job *job;
		size_t index;
	} slot[LOOKUP_MX_MAX];
	struct addr ptr; /* LK_PTR: what the names must resolve to */
	char login[LOOKUP_ADDRESS_MAX];
};

static void send_answer(const struct job *j, const struct wr *w)
{
	struct link *k = &j->st->link[j->who];
	size_t len;

	if (wr_finish(w, &len)) {
		log_err(NULL, "an answer does not fit");
		return;
	}
	if (k->ipc && k->generation == j->generation)
		ipc_send(k->ipc, LK_ANSWER, j->id, w->base, len);
}

static struct wr answer_begin(const struct job *j)
{
	struct wr w = wr_init(j->st->answer, sizeof(j->st->answer));

	wr_u8(&w, (uint8_t)(j->type - LK_RCPT));
	return w;
}

static void answer_mx(struct job *j)
{
	struct wr w = answer_begin(j);

	j->mx.host = j->host;
	j->mx.host_count = j->count;
	lk_mx_put(&w, &j->mx);
	send_answer(j, &w);
	free(j);
}

static void answer_list(const struct job *j, const struct lookup_rcpt *a)
{
	struct wr w = answer_begin(j);

	lk_list_put(&w, a);
	send_answer(j, &w);
}

/* ---- DNS ---- */

/* Of the names of an address, those count that resolve back to it. */
static void keep_confirmed(struct job *j)
{
	size_t kept = 0;

	for (size_t i = 0; i < j->count; i++) {
		bool back = false;

		for (size_t k = 0; k < j->host[i].addr_count; k++)
			back |= addr_eq(&j->host[i].addr[k], &j->ptr);
		if (back || j->host[i].tempfail)
			j->host[kept++] = j->host[i];
	}
	j->count = kept;
}

static void job_step(struct job *j)
{
	if (--j->open)
		return;
	if (j->mx.status == LOOKUP_OK && j->type == LK_PTR)
		keep_confirmed(j);
	if (j->mx.status == LOOKUP_OK)
		mx_finish(j->host, &j->count, &j->mx);
	answer_mx(j);
}

static void on_a(void *arg, const struct resolver_answer *a)
{
	struct job_host *s = arg;

	mx_addrs(&s->job->host[s->index], RR_A, a);
	job_step(s->job);
}

static void on_aaaa(void *arg, const struct resolver_answer *a)
{
	struct job_host *s = arg;

	mx_addrs(&s->job->host[s->index], RR_AAAA, a);
	s->job->host[s->index].secure = a->secure;
	job_step(s->job);
}

static void ask_addrs(struct job *j)
{
	for (size_t i = 0; i < j->count; i++) {
		int rc;

		j->slot[i] = (struct job_host){ .job = j, .index = i };
		rc = resolver_ask(j->st->resolver, j->host[i].name, RR_AAAA, on_aaaa, &j->slot[i]);
		j->open += !rc;
		if (rc && rc != -EINVAL)
			j->host[i].tempfail = true;
		rc = resolver_ask(j->st->resolver, j->host[i].name, RR_A, on_a, &j->slot[i]);
		j->open += !rc;
		if (rc && rc != -EINVAL)
			j->host[i].tempfail = true;
	}
}

static void on_mx(void *arg, const struct resolver_answer *a)
{
	struct job *j = arg;

	mx_hosts(j->login, a, j->host, &j->count, &j->mx);
	if (j->mx.status == LOOKUP_OK)
		ask_addrs(j);
	job_step(j);
}

static void on_ptr(void *arg, const struct resolver_answer *a)
{
	struct job *j = arg;

	j->mx.status = a->status;
	for (size_t i = 0; a->status == LOOKUP_OK && a->data[i] && j->count < PTR_NAMES_MAX; i++) {
		struct lookup_host *h = &j->host[j->count];

		if (mx_name(a->data[i], (size_t)a->len[i], h->name) == a->len[i] && h->name[0])
			j->count++;
	}
	if (j->mx.status == LOOKUP_OK)
		ask_addrs(j);
	job_step(j);
}

static void start_dns(struct job *j)
{
	char name[MTA_DOMAIN_MAX];
	int rc;

	j->open = 1;
	switch (j->type) {
	case LK_MX:
		rc = resolver_ask(j->st->resolver, j->login, RR_MX, on_mx, j);
		break;
	case LK_PTR:
		rc = mx_reverse(&j->ptr, name, sizeof(name));
		if (!rc)
			rc = resolver_ask(j->st->resolver, name, RR_PTR, on_ptr, j);
		break;
	default:
		snprintf(j->host[0].name, sizeof(j->host[0].name), "%.253s", j->login);
		j->count = 1;
		j->mx.implicit = true;
		ask_addrs(j);
		job_step(j);
		return;
	}
	if (rc) {
		j->mx.status = rc == -EINVAL ? LOOKUP_NONE : LOOKUP_TEMPFAIL;
		j->count = 0;
		answer_mx(j);
	}
}

/* ---- tables and passwords ---- */

static void do_rcpt(struct job *j, const char *address)
{
	struct lookup_rcpt a = { .status = LOOKUP_TEMPFAIL };

	if (j->st->tables)
		tables_rcpt(j->st->tables, j->st->ch->config, j->st->published, address, &a,
			    j->st->list);
	answer_list(j, &a);
	free(j);
}

/* What stands behind the hash; without it the login itself, in all our domains when it has none. */
static size_t senders(struct state *st, const char *login, const char *text)
{
	size_t n = 0;
	char copy[TABLE_LINE_MAX], *save, *word;

	snprintf(copy, sizeof(copy), "%s", text);
	for (word = strtok_r(copy, " \t,", &save); word && n < LOOKUP_EXPANSION_MAX;
	     word = strtok_r(NULL, " \t,", &save))
		snprintf(st->list[n++], LOOKUP_ADDRESS_MAX, "%s", word);
	if (n)
		return n;
	if (strchr(login, '@')) {
		snprintf(st->list[0], LOOKUP_ADDRESS_MAX, "%s", login);
		return 1;
	}
	for (size_t i = 0; i < st->ch->config->deliver.domains.count && n < LOOKUP_EXPANSION_MAX;
	     i++) {
		const char *d = st->ch->config->deliver.domains.v[i];

		if (strlen(login) + strlen(d) + 2 <= LOOKUP_ADDRESS_MAX)
			snprintf(st->list[n++], LOOKUP_ADDRESS_MAX, "%.64s@%.253s", login, d);
	}
	return n;
}

/* Who was let in, with what it may send as; @no: who was not, or is gone from the table. */
static void answer_login(struct job *j, bool in, enum lookup_status no)
{
	const char *line = in ? table_get(&j->st->users, j->login) : NULL;
	const char *colon = line ? strchr(line, ':') : NULL;
	const struct lookup_rcpt a = {
		.status = line ? LOOKUP_OK : no,
		.to = (const char(*)[LOOKUP_ADDRESS_MAX])j->st->list,
		.to_count = line ? senders(j->st, j->login, colon ? colon + 1 : "") : 0,
	};

	answer_list(j, &a);
	free(j);
}

/* Told at times: a stranger may ask for that login as often as he likes. */
static void tell_unchecked(struct state *st, const char *login, int err)
{
	uint64_t now_ms = loop_now_ms(st->ch->loop);
	char quoted[2 * LOOKUP_ADDRESS_MAX];
	uint32_t swallowed;

	log_quote(quoted, sizeof(quoted), login, strlen(login));
	if (!log_limited(&st->quiet, (uint32_t)hash_bytes(login, strlen(login)), now_ms, &swallowed))
		return;
	if (err == -EINVAL)
		log_err(NULL,
			"user=\"%s\" msg=\"cannot log in: crypt(3) of this machine does not know the "
			"kind of hash in %s; make a new one by postern mail hash-password\"",
			quoted, st->ch->config->users ? st->ch->config->users : "users");
	else
		log_err(NULL, "user=\"%s\" msg=\"the password cannot be checked: %s\"", quoted,
			strerror(-err));
}

static void on_password(int right, void *arg)
{
	struct job *j = arg;

	if (right < 0)
		tell_unchecked(j->st, j->login, right);
	answer_login(j, right > 0, right < 0 ? LOOKUP_TEMPFAIL : LOOKUP_DENIED);
}

static void hash_of(const char *line, char hash[static PASSWORD_HASH_MAX])
{
	snprintf(hash, PASSWORD_HASH_MAX, "%.*s", (int)strcspn(line, ":"), line);
}

/* Or who asks could tell the names that exist from those that do not, by the time that it takes. */
static void unknown_costs_as_known(struct state *st)
{
	const char *line = table_any(&st->users);
	char hash[PASSWORD_HASH_MAX] = "";

	if (line)
		hash_of(line, hash);
	passwords_usual(st->passwords, hash[0] ? hash : NULL);
	secret_wipe(hash, sizeof(hash));
}

static void lower(char *s)
{
	for (; *s; s++)
		*s = (char)(*s >= 'A' && *s <= 'Z' ? *s + ('a' - 'A') : *s);
}

static void do_senders(struct job *j)
{
	lower(j->login);
	answer_login(j, true, LOOKUP_NONE);
}

static void do_auth(struct job *j, const char *password)
{
	const char *line;
	char hash[PASSWORD_HASH_MAX];
	int rc;

	lower(j->login);
	line = table_get(&j->st->users, j->login);
	if (line && *line == '*')
		line = NULL; /* it has no password; that takes as long to say as of a wrong one */
	if (line)
		hash_of(line, hash);
	rc = passwords_check(j->st->passwords, line ? hash : NULL, password, on_password, j);
	secret_wipe(hash, sizeof(hash));
	if (!rc)
		return;
	answer_list(j, &(struct lookup_rcpt){ .status = rc == -EINVAL ? LOOKUP_DENIED
								       : LOOKUP_TEMPFAIL });
	free(j);
}

/* Views of what was told, in the order of the configuration. */
static int arrange_published(struct state *st)
{
	const struct mta_config *c = st->ch->config;
	struct table *by_index = calloc(c->home_count ? c->home_count : 1, sizeof(*by_index));

	if (!by_index)
		return -ENOMEM;
	for (const struct told *t = st->told; t; t = t->next) {
		const struct mta_home *h = config_home(c, t->home);

		if (h)
			by_index[h - c->homes] = t->table;
	}
	free(st->published);
	st->published = by_index;
	return 0;
}

static struct told *told_get(struct state *st, const char *home)
{
	struct told *t = st->told;

	while (t && strcmp(t->home, home))
		t = t->next;
	if (t)
		return t;
	t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	snprintf(t->home, sizeof(t->home), "%s", home);
	t->next = st->told;
	st->told = t;
	return t;
}

static void take_published(struct state *st, const char *home, const char *text, size_t len)
{
	struct publication p;
	struct table t = { 0 };
	struct told *told;
	char line[160];
	const char *why;

	if (publication_parse(&p, text, len, &why)) {
		log_warn(NULL, "published recipients refused home=%s: %s", home, why);
		return;
	}
	if (table_parse(&t, text, len, "", line, sizeof(line)) || !(told = told_get(st, home))) {
		log_warn(NULL, "published recipients not used home=%s: out of memory", home);
		table_clear(&t);
		return;
	}
	t.subaddress = p.subaddress;
	table_clear(&told->table);
	told->table = t;
	/* Without memory for new views the old ones point to what is gone: better none. */
	if (arrange_published(st)) {
		free(st->published);
		st->published = NULL;
	}
	log_info(NULL, "published recipients home=%s serial=%llu count=%zu", home,
		 (unsigned long long)p.serial, p.count);
}

static void publish(struct state *st, struct ipc_msg *m)
{
	struct rd in = rd_init(m->data, m->len);
	char home[MTA_NAME_MAX];
	struct stat s;
	void *p;

	lk_text_get(&in, home, sizeof(home));
	if (in.bad || m->fd_count != 1 || fstat(m->fd[0], &s) || s.st_size <= 0 ||
	    s.st_size > (off_t)PUBLICATION_MAX)
		return;
	p = mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_PRIVATE, m->fd[0], 0);
	if (p == MAP_FAILED)
		return;
	take_published(st, home, p, (size_t)s.st_size);
	munmap(p, (size_t)s.st_size);
}

/* Whom we have ourselves, for the relay to publish. */
static void do_own(struct link *k, uint32_t id)
{
	struct publication_list l = { 0 };
	uint8_t buf[2];
	struct wr w = wr_init(buf, sizeof(buf));
	size_t len = 0;
	char *text = NULL;
	int fd = -1;

	if (k->st->tables) {
		tables_own(k->st->tables, k->st->ch->config, &l);
		text = publication_text(&l, &len);
		if (!text)
			log_warn(NULL, "recipients are too many to be published: %zu", l.count);
	}
	if (text && len)
		fd = msg_memfd("own", text, len);
	wr_u8(&w, LK_OWN - LK_RCPT);
	wr_u8(&w, fd >= 0 ? LOOKUP_OK : LOOKUP_TEMPFAIL);
	ipc_send_fds(k->ipc, LK_ANSWER, id, buf, w.len, &fd, fd >= 0);
	if (fd >= 0)
		close(fd);
	free(text);
	publication_list_clear(&l);
}

/* ---- links ---- */

static void on_message(struct ipc *ipc, struct ipc_msg *m, void *arg)
{
	struct link *k = arg;
	struct rd in = rd_init(m->data, m->len);
	char password[PASSWORD_MAX];
	struct job *j;

	(void)ipc;
	if (m->type == LK_PUBLISH) {
		publish(k->st, m);
		return;
	}
	if (m->type == LK_OWN) {
		do_own(k, m->id);
		return;
	}
	if (m->type == LK_CANCEL)
		return; /* the answer is dropped by the asker */
	j = calloc(1, sizeof(*j));
	if (!j)
		return; /* the asker's timer tells him */
	j->st = k->st;
	j->who = (enum mta_proc)(k - k->st->link);
	j->generation = k->generation;
	j->id = m->id;
	j->type = m->type;
	if (m->type == LK_PTR)
		lk_addr_get(&in, &j->ptr);
	else
		lk_text_get(&in, j->login, sizeof(j->login));
	if (m->type == LK_AUTH)
		lk_text_get(&in, password, sizeof(password));
	if (in.bad || rd_left(&in) || m->type < LK_RCPT || m->type > LK_PTR) {
		log_err(NULL, "question type=%u is not understood", m->type);
		free(j);
	} else if (m->type == LK_RCPT) {
		do_rcpt(j, j->login);
	} else if (m->type == LK_AUTH) {
		do_auth(j, password);
	} else if (m->type == LK_SENDERS) {
		do_senders(j);
	} else {
		start_dns(j);
	}
	if (m->type == LK_AUTH) {
		secret_wipe(password, sizeof(password));
		secret_wipe((void *)(uintptr_t)m->data, m->len);
	}
}

static void on_closed(struct ipc *ipc, void *arg)
{
	struct link *k = arg;

	ipc_free(ipc);
	k->ipc = NULL;
}

static void on_peer(struct child *ch, enum mta_proc who, int fd)
{
	static const struct ipc_ops ops = { .message = on_message, .closed = on_closed };
	struct state *st = ch->state;
	struct link *k = &st->link[who];

	ipc_free(k->ipc);
	k->st = st;
	k->generation++;
	k->ipc = ipc_new(ch->loop, fd, &ops, k);
	if (!k->ipc)
		log_err(NULL, "cannot join a sibling: %s", strerror(errno));
}

/* ---- life ---- */

static bool load_tables(struct state *st)
{
	char why[512];
	struct tables *t = tables_new(st->ch->config, st->ch->bundle, why, sizeof(why));

	if (!t) {
		log_err(NULL, "table refused, the old ones stay in force: %s", why);
		return false;
	}
	tables_free(st->tables);
	st->tables = t;
	t->srs = &st->srs;
	return true;
}

/* The network for DNS; /etc to know the users of this machine; threads of libunbound and crypt(3). */
static const struct sandbox_role lookup_role = {
	.name = "lookup",
	.calls = SANDBOX_IPC | SANDBOX_INET | SANDBOX_READ | SANDBOX_THREADS,
	.extra = { "memfd_create" },
	.ring_register = { -1 },
};

/* Before any thread, since Landlock binds this one and those that it starts. */
static int confine(const struct mta_config *c)
{
	const struct sandbox_path etc = { .path = "/etc", .access = SANDBOX_PATH_READ };
	struct sandbox_role role = lookup_role;
	size_t n = 0;
	int rc;

	/* DNS, DNS over TLS, and what the configuration names; a port that comes later waits for a restart. */
	role.tcp_ports[n++] = 53;
	role.tcp_ports[n++] = 853;
	for (size_t i = 0; i < c->dns_server_count && n < SANDBOX_PORTS_MAX; i++)
		role.tcp_ports[n++] = c->dns_servers[i].port;
	(void)getpwnam("root"); /* loads the C library's name services while that is allowed */
	rc = sandbox_opened(&role, &etc, 1);
	return rc ? rc : sandbox_run(&role);
}

static int on_start(struct child *ch)
{
	struct state *st = ch->state;
	int rc = confine(ch->config);

	if (rc)
		return rc;

	st->ch = ch;
	st->resolv = strdup("");
	st->resolver = resolver_new(ch->loop);
	st->passwords = passwords_new(ch->loop);
	if (!st->resolv || !st->resolver || !st->passwords || arrange_published(st))
		return -ENOMEM;
	load_tables(st);
	/* For dns = system resolv.conf follows at once and makes another context. */
	return ch->config->dns == DNS_SYSTEM
		   ? 0
		   : resolver_setup(st->resolver, ch->config, ch->bundle, st->resolv);
}

static void on_reload(struct child *ch, const struct mta_config *old)
{
	struct state *st = ch->state;

	/* What a home published stays, wherever the home stands now. */
	if (arrange_published(st)) {
		free(st->published);
		st->published = NULL;
	}
	if (!load_tables(st) && old->home_count != ch->config->home_count) {
		tables_free(
		    st->tables); /* its tables stand by number: better none than another's */
		st->tables = NULL;
	}
	resolver_setup(st->resolver, ch->config, ch->bundle, st->resolv);
}

static void on_key(struct child *ch, uint32_t id, const char *chain, size_t chain_len,
		   const char *key, size_t key_len)
{
	struct state *st = ch->state;
	char why[160], *text;
	struct table t = { 0 };

	(void)chain;
	(void)chain_len;
	if (id == MTA_KEY_RESOLV) {
		text = strndup(key, key_len);
		if (!text || (st->resolver && ch->config->dns == DNS_SYSTEM &&
			      strcmp(text, st->resolv) == 0 && key_len)) {
			free(text);
			return;
		}
		free(st->resolv);
		st->resolv = text;
		if (ch->config->dns == DNS_SYSTEM)
			resolver_setup(st->resolver, ch->config, ch->bundle, st->resolv);
	} else if (id == MTA_KEY_SRS) {
		srs_keys_take(&st->srs, key, key_len);
	} else if (id == MTA_KEY_USERS) {
		if (table_parse(&t, key, key_len, ":", why, sizeof(why))) {
			log_err(NULL, "users %s: %s", ch->config->users ? ch->config->users : "",
				why);
			table_clear(&t);
			return;
		}
		table_clear(&st->users);
		st->users = t;
		unknown_costs_as_known(st);
	}
}

static const struct child_ops ops = {
	.start = on_start,
	.reload = on_reload,
	.peer = on_peer,
	.key = on_key,
};

int lookup_main(void)
{
	static struct state st; /* goes with the process */

	return child_run(MTA_PROC_LOOKUP, &ops, &st);
}
