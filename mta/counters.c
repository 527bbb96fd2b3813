/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "counters.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "addr.h"
#include "config.h"
#include "hash.h"

enum { FAMILY_NONE, FAMILY_IPV4, FAMILY_IPV6, FAMILY_UNIX, FAMILIES };

/* As it lies in the shared memory; all of it but the value is written once. */
struct row {
	uint64_t value;
	uint8_t what, family, result, reason;
	char name[MTA_NAME_MAX];
	uint8_t pad[4];
};

/* Rows are appended: the first @count of them are whole. */
struct table {
	uint32_t count;
	uint32_t pad;
	uint64_t lost; /* that found no row */
	struct row row[COUNTERS_ROWS_MAX];
};

struct entry {
	struct hash_node node;
	struct row *row;
};

struct counters {
	struct table *table;
	struct hash_table index; /* of the writer */
};

static const struct spec {
	const char *metric, *help;
	enum metrics_type type;
	const char *name, *result, *reason; /* the labels' names; NULL: it has no such label */
} specs[COUNTERS] = {
	[COUNTER_SESSIONS] = { "postern_mta_sessions_total", "clients that were let in",
			       METRICS_COUNTER, "listener", NULL, NULL },
	[COUNTER_SESSIONS_OPEN] = { "postern_mta_sessions", "sessions under way", METRICS_GAUGE,
				    "listener", NULL, NULL },
	[COUNTER_TURNED_AWAY] = { "postern_mta_turned_away_total",
				  "clients that were not greeted, for a limit or their address",
				  METRICS_COUNTER, "listener", NULL, "reason" },
	[COUNTER_TLS] = { "postern_mta_tls_handshakes_total", "TLS handshakes of clients",
			  METRICS_COUNTER, "listener", "result", NULL },
	[COUNTER_AUTH] = { "postern_mta_auth_total", "logins that clients tried", METRICS_COUNTER,
			   "listener", "result", NULL },
	[COUNTER_LETTERS] = { "postern_mta_letters_accepted_total", "letters answered 250",
			      METRICS_COUNTER, "listener", NULL, NULL },
	[COUNTER_LETTER_BYTES] = { "postern_mta_letters_accepted_bytes_total", "their size",
				   METRICS_COUNTER, "listener", NULL, NULL },
	[COUNTER_REFUSED] = { "postern_mta_refusals_total",
			      "replies 4xx (temporary) and 5xx (permanent), by subject of RFC 3463",
			      METRICS_COUNTER, "listener", "result", "reason" },
	[COUNTER_CONNECTIONS] = { "postern_mta_connections_total", "tries to reach a next hop",
				  METRICS_COUNTER, "route", "result", NULL },
	[COUNTER_RECIPIENTS] = { "postern_mta_recipients_total",
				 "recipients of attempts, by subject of RFC 3463", METRICS_COUNTER,
				 "route", "result", "reason" },
	[COUNTER_WAITED] = { "postern_mta_delivered_wait_seconds_total",
			     "how long the delivered ones had waited, all together",
			     METRICS_COUNTER, "route", NULL, NULL },
	[COUNTER_QUEUE] = { "postern_mta_queue_letters", "letters in the queue", METRICS_GAUGE,
			    NULL, "state", NULL },
	[COUNTER_WAITING] = { "postern_mta_route_letters", "letters that wait for a route",
			      METRICS_GAUGE, "route", NULL, NULL },
	[COUNTER_NEXT_HOPS] = { "postern_mta_route_next_hops", "next hops that letters wait for",
				METRICS_GAUGE, "route", "state", NULL },
	[COUNTER_BACKUPS] = { "postern_mta_route_backups",
			      "next hops whose letters go by the backup route", METRICS_GAUGE,
			      "route", NULL, NULL },
	[COUNTER_EXPIRED] = { "postern_mta_expired_total", "recipients whose time was over",
			      METRICS_COUNTER, "route", NULL, NULL },
	[COUNTER_BOUNCES] = { "postern_mta_bounces_total", "letters that tell senders of failures",
			      METRICS_COUNTER, NULL, NULL, NULL },
	[COUNTER_DEAD] = { "postern_mta_dead_total", "letters kept as dead ones", METRICS_COUNTER,
			   NULL, NULL, NULL },
	[COUNTER_RECORDS] = { "postern_mta_journal_records_total", "records written",
			      METRICS_COUNTER, NULL, NULL, NULL },
	[COUNTER_SYNCS] = { "postern_mta_journal_syncs_total", "syncs of the journal",
			    METRICS_COUNTER, NULL, "result", NULL },
	[COUNTER_ACCEPTING] = { "postern_mta_queue_accepting", "1 while the queue takes letters",
				METRICS_GAUGE, NULL, NULL, NULL },
};

static const int families[FAMILIES] = { 0, AF_INET, AF_INET6, AF_UNIX };

static const char *const words[COUNTER_WORDS] = {
	[WORD_OTHER] = "other",
	[WORD_ADDRESS] = "address",
	[WORD_MAILBOX] = "mailbox",
	[WORD_SYSTEM] = "system",
	[WORD_NETWORK] = "network",
	[WORD_PROTOCOL] = "protocol",
	[WORD_CONTENT] = "content",
	[WORD_POLICY] = "policy",
	[WORD_NOT_A_PEER] = "not-a-peer",
	[WORD_LISTENER_FULL] = "listener-full",
	[WORD_NETWORK_FULL] = "network-full",
	[WORD_NETWORK_RATE] = "network-rate",
	[WORD_OK] = "ok",
	[WORD_FAILED] = "failed",
	[WORD_WRONG] = "wrong",
	[WORD_LATER] = "later",
	[WORD_TEMPORARY] = "temporary",
	[WORD_PERMANENT] = "permanent",
	[WORD_DELIVERED] = "delivered",
	[WORD_DEFERRED] = "deferred",
	[WORD_QUEUED] = "queued",
	[WORD_HELD] = "held",
	[WORD_DEAD] = "dead",
	[WORD_UP] = "up",
	[WORD_PROBING] = "probing",
	[WORD_UNKNOWN] = "unknown",
	[WORD_DOWN] = "down",
};

/* ---- tables ---- */

int counters_memfd(int *readable)
{
	const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	int fd = memfd_create("counters", MFD_CLOEXEC | MFD_ALLOW_SEALING), rc = 0;
	char path[64];

	if (fd < 0)
		return -errno;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (ftruncate(fd, sizeof(struct table)) || fcntl(fd, F_ADD_SEALS, seals) ||
	    (*readable = open(path, O_RDONLY | O_CLOEXEC)) < 0)
		rc = -errno;
	if (!rc)
		return fd;
	close(fd);
	return rc;
}

/* A copy of row @i that makes sense; false: it does not. */
static bool row_get(const struct table *t, uint32_t i, struct row *r)
{
	memcpy(r, &t->row[i], sizeof(*r));
	return r->what < COUNTERS && r->family < FAMILIES && r->result < COUNTER_WORDS &&
	       r->reason < COUNTER_WORDS && !r->name[sizeof(r->name) - 1] &&
	       !r->name[strspn(r->name, MTA_NAME_CHARS)];
}

static uint32_t row_count(const struct table *t)
{
	uint32_t n = __atomic_load_n(&t->count, __ATOMIC_ACQUIRE);

	return n < COUNTERS_ROWS_MAX ? n : COUNTERS_ROWS_MAX;
}

/* Of all that tells rows from each other; nothing in between is undefined. */
static uint64_t row_hash(const struct row *r)
{
	return hash_bytes(&r->what, sizeof(*r) - offsetof(struct row, what));
}

static bool row_same(const struct row *a, const struct row *b)
{
	size_t from = offsetof(struct row, what);

	return !memcmp((const char *)a + from, (const char *)b + from, sizeof(*a) - from);
}

static bool row_link(struct counters *c, struct row *r)
{
	struct entry *e = calloc(1, sizeof(*e));

	if (!e || hash_insert(&c->index, &e->node, row_hash(r))) {
		free(e);
		return false;
	}
	e->row = r;
	return true;
}

/* Rows of an earlier life of this process go on. */
static void resume(struct counters *c)
{
	struct row r;

	for (uint32_t i = 0; i < row_count(c->table); i++) {
		if (row_get(c->table, i, &r))
			(void)row_link(c, &c->table->row[i]);
	}
	counters_zero_gauges(c);
}

struct counters *counters_open(int fd, bool write)
{
	struct counters *c = calloc(1, sizeof(*c));
	struct stat st;

	if (!c)
		return NULL;
	if (fstat(fd, &st) || st.st_size != (off_t)sizeof(struct table)) {
		free(c);
		errno = EINVAL;
		return NULL;
	}
	c->table = mmap(NULL, sizeof(struct table), write ? PROT_READ | PROT_WRITE : PROT_READ,
			MAP_SHARED, fd, 0);
	if (c->table == MAP_FAILED) {
		free(c);
		return NULL;
	}
	if (write)
		resume(c);
	return c;
}

static void entry_free(struct hash_node *n, void *arg)
{
	struct counters *c = arg;

	hash_remove(&c->index, n);
	free(n);
}

void counters_close(struct counters *c)
{
	if (!c)
		return;
	hash_each(&c->index, entry_free, c);
	hash_free(&c->index);
	munmap(c->table, sizeof(struct table));
	free(c);
}

/* ---- counting ---- */

static uint8_t family_of(int family)
{
	uint8_t f = FAMILIES - 1;

	while (f && families[f] != family)
		f--;
	return f;
}

/* NULL: the table is full, or memory is. */
static struct row *find(struct counters *c, enum counter what, const struct counter_labels *l)
{
	struct row key = { .what = (uint8_t)what }, *r;
	struct hash_node *n;
	uint32_t count = row_count(c->table);

	if (l) {
		key.family = family_of(l->family);
		key.result = (uint8_t)l->result;
		key.reason = (uint8_t)l->reason;
		snprintf(key.name, sizeof(key.name), "%s", l->name ? l->name : "");
	}
	for (n = hash_first(&c->index, row_hash(&key)); n; n = hash_next(n)) {
		r = ((struct entry *)(void *)n)->row;
		if (row_same(r, &key))
			return r;
	}
	r = count < COUNTERS_ROWS_MAX ? &c->table->row[count] : NULL;
	if (r)
		*r = key;
	if (!r || !row_link(c, r)) {
		__atomic_fetch_add(&c->table->lost, 1, __ATOMIC_RELAXED);
		return NULL;
	}
	__atomic_store_n(&c->table->count, count + 1, __ATOMIC_RELEASE);
	return r;
}

void counters_add(struct counters *c, enum counter what, const struct counter_labels *l, uint64_t n)
{
	struct row *r = c ? find(c, what, l) : NULL;

	if (r)
		__atomic_fetch_add(&r->value, n, __ATOMIC_RELAXED);
}

void counters_set(struct counters *c, enum counter what, const struct counter_labels *l, uint64_t n)
{
	struct row *r = c ? find(c, what, l) : NULL;

	if (r)
		__atomic_store_n(&r->value, n, __ATOMIC_RELAXED);
}

void counters_zero_gauges(struct counters *c)
{
	struct row r;

	for (uint32_t i = 0; c && i < row_count(c->table); i++) {
		if (row_get(c->table, i, &r) && specs[r.what].type == METRICS_GAUGE)
			__atomic_store_n(&c->table->row[i].value, 0, __ATOMIC_RELAXED);
	}
}

enum counter_word counters_reason(unsigned code, const char *enhanced)
{
	if (strlen(enhanced) >= 4 && strchr("245", enhanced[0]) && enhanced[1] == '.' &&
	    enhanced[2] >= '0' && enhanced[2] <= '7' && enhanced[3] == '.')
		return (enum counter_word)(WORD_OTHER + (enhanced[2] - '0'));
	switch (code) {
	case 0: /* no reply at all */
	case 421:
		return WORD_NETWORK;
	case 450:
	case 550:
	case 552:
	case 553:
		return WORD_MAILBOX;
	case 451:
	case 452:
		return WORD_SYSTEM;
	default:
		return code / 10 == 50 ? WORD_PROTOCOL : WORD_OTHER;
	}
}

/* ---- telling ---- */

static size_t label(struct metrics_label *l, size_t n, const char *name, const char *value)
{
	if (!name || !value || !*value)
		return n;
	l[n] = (struct metrics_label){ name, value };
	return n + 1;
}

static void write_row(struct metrics *m, const struct row *r)
{
	const struct spec *s = &specs[r->what];
	struct metrics_label l[4];
	size_t n = 0;

	n = label(l, n, s->name, r->name);
	n = label(l, n, "family", addr_family_word(families[r->family]));
	n = label(l, n, s->result, words[r->result]);
	n = label(l, n, s->reason, words[r->reason]);
	metrics_count(m, l, n, r->value);
}

void counters_write(struct metrics *m, struct counters *const *tables, size_t count)
{
	uint64_t lost = 0;
	struct row r;

	for (int what = 0; what < COUNTERS; what++) {
		metrics_family(m, specs[what].metric, specs[what].type, specs[what].help);
		for (size_t k = 0; k < count; k++) {
			uint32_t rows = tables[k] ? row_count(tables[k]->table) : 0;

			for (uint32_t i = 0; i < rows; i++) {
				if (row_get(tables[k]->table, i, &r) && r.what == what)
					write_row(m, &r);
			}
		}
	}
	for (size_t k = 0; k < count; k++)
		lost += tables[k] ? __atomic_load_n(&tables[k]->table->lost, __ATOMIC_RELAXED) : 0;
	metrics_family(m, "postern_mta_counts_lost_total", METRICS_COUNTER,
		       "events without a place to be counted");
	metrics_count(m, NULL, 0, lost);
}
