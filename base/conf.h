/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_CONF_H
#define BASE_CONF_H

/*
 * Theory: one strict reader for the configuration files of both daemons. A const schema says which
 * sections exist, which keys each of them takes and of what type; it drives the parser, `check`
 * and the key list of the man page. The text goes through inih's ini_parse_stream(), but a reader
 * of ours stands before it, since inih alone is lenient and lossy (each trap has a test):
 *
 *	- inih cuts lines at 199 bytes and section names at 49; our reader hands a long value on
 *	  in pieces and a section as its number in our own table;
 *	- an indented line would continue the value before: indentation is removed;
 *	- " ;" inside of a value would cut it: a value is handed on encoded;
 *	- "fd99::1 = x" would become key "fd99": only '=' separates, a key is [a-z0-9-]+;
 *	- empty and repeated sections would not be seen: they stand in our table, with their lines.
 *
 * The language: "[kind]" or "[kind NAME]", "key = value", "# comment" and "; comment" on a line of
 * their own or after white space. A list is separated by commas, and a list key may stand several
 * times. A value (or list element) with any of  ; # , "  or spaces at its edges, and a NAME with
 * any of those or  [ ]  stands in double quotes, where \" and \\ are the only escapes. Sections
 * keep their file order.
 *
 * Errors are collected, not fatal, so that `check` shows all of them; each is one line
 *
 *	FILE:LINE: what was read; what is allowed or the nearest name
 *
 * and later semantic checks add theirs by conf_error() with the line that they blame.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

#include "addr.h"

enum conf_type {
	CONF_BOOL,     /* yes, no, true, false, on, off -> .b */
	CONF_UINT,     /* decimal, min..max -> .u */
	CONF_DURATION, /* 500ms, 10s, 5m, 4h, 7d, or 0 -> .u in ms, min..max in ms */
	CONF_SIZE,     /* bytes, or with K, M, G (times 1024) -> .u in bytes, min..max in bytes */
	CONF_RATE,     /* bit/s, or with K, M, G (times 1000) -> .u in bit/s, min..max in bit/s */
	CONF_STRING,   /* any printable text, length min..max -> .text */
	CONF_PATH,     /* -> .text, made absolute against the folder of the configuration file */
	CONF_ADDR,     /* 192.0.2.1 or 2001:db8::1 -> .addr */
	CONF_PREFIX,   /* 192.0.2.0/24, an address alone as /32 or /128 -> .prefix */
	CONF_ENDPOINT, /* ADDR, ADDR:PORT, [V6]:PORT -> .endpoint; .min is the default port */
	CONF_ENUM,     /* one of .words -> .u is its index */
	CONF_DOMAIN,   /* host or domain name, LDH labels, lower-cased -> .text */
	CONF_HOST,     /* a domain or an address -> .text; .addr.family is 0 for a name */
	CONF_IDENTITY, /* IKE identity: domain, user@domain or address -> .text, .addr as CONF_HOST */
};

/* struct conf_key.flags */
#define CONF_LIST	 (1u << 0) /* comma separated, may stand several times */
#define CONF_REQUIRED	 (1u << 1)
/* CONF_PATH only: how the parent of a daemon treats the file that is named. */
#define CONF_PUBLIC_FILE (1u << 2) /* put into the bundle for the children */
#define CONF_SECRET_FILE (1u << 3) /* refused if group or others can read it; never in the bundle */

struct conf_value;

struct conf_key {
	const char *name;
	enum conf_type type;
	unsigned flags;
	uint64_t min, max;	  /* in the type's unit; max 0: no bound */
	const char *const *words; /* CONF_ENUM: NULL-terminated */
	const char *dflt;	  /* text, parsed as if it stood in the file; NULL: no value */
	const char *help;	  /* one line, for `check --keys` and the man page */
	/* Optional further check of one value: 0, or -1 with @why, a clause that says what is wrong. */
	int (*check)(const struct conf_value *v, char *why, size_t cap);
	const char *allowed; /* with check: what it takes, where the type says too little; or NULL */
};

/* struct conf_kind.flags */
#define CONF_NAMED  (1u << 0) /* [kind NAME], names unique; else a plain [kind] */
#define CONF_MANY   (1u << 1) /* a plain [kind] may stand several times */
#define CONF_NEEDED (1u << 2) /* at least one must stand */

#define CONF_KEYS_MAX 64
#define CONF_NAME_MAX 255

struct conf_kind {
	const char *name;
	unsigned flags;
	enum conf_type name_type; /* of NAME: CONF_STRING (any), CONF_DOMAIN, CONF_HOST, ... */
	const struct conf_key *keys;
	size_t key_count; /* at most CONF_KEYS_MAX */
	const char *help;
};

struct conf_schema {
	const struct conf_kind *kinds;
	size_t kind_count;
};

#define CONF_COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct conf_value {
	unsigned line; /* where it stands; 0: the default */
	char *text;    /* unquoted; CONF_PATH absolute; CONF_DOMAIN lower case; lives with the conf */
	bool b;
	uint64_t u;
	struct addr addr;
	struct prefix prefix;
	struct endpoint endpoint;
};

struct conf_entry {
	const struct conf_key *key;
	struct conf_value *values;
	size_t count;  /* 0: not set and no default; otherwise 1, or more for a list */
	unsigned line; /* of the first value; 0: not in the file */
};

struct conf_mark {
	uint32_t line;
	uint16_t key; /* index in the kind */
};

struct conf_section {
	const struct conf_kind *kind;
	const char *name; /* "" for a plain section */
	unsigned line;
	uint16_t entry_count;
	bool forgotten; /* conf_forget_values() */
	union {
		struct conf_entry *entries; /* of the keys that stand in the file, in the schema's order */
		const struct conf_mark *marks; /* forgotten: where they stood is all that is left */
	};
	const struct conf_entry *rest; /* of every key of the kind: its default, shared by all */
};

struct conf {
	const struct conf_schema *schema;
	char *path; /* as given; stands in messages */
	char *dir;  /* folder of @path, absolute; for CONF_PATH */
	struct conf_section *sections;
	size_t section_count; /* in file order */
	uint32_t *by_name;    /* hash table of section numbers from 1; 0: free */
	size_t by_name_size;  /* a power of two, at least twice section_count; 0: none yet */
	struct conf_entry **defaults; /* by kind, by key; NULL: none of that kind was seen */
	struct conf_chunk *texts;     /* what all names and values point to */
	struct conf_chunk *rooms;     /* conf_room(), marks */
	struct conf_chunk **values;   /* by kind, behind them those of the defaults */
	char *errors;	      /* lines joined by '\n', NULL when there are none */
	unsigned error_count;
};

#define CONF_ERRORS_MAX 50
#define CONF_SIZE_MAX	(1u << 23)

/**
 * conf_parse() - Parse @len bytes of text (not necessarily terminated) that came from file @path.
 *
 * Always gives a struct conf (NULL: out of memory), which the caller frees; the text is copied.
 * It is usable only when conf_ok(). CONF_PATH values are made absolute against the folder of
 * @path, but no file is opened.
 */
struct conf *conf_parse(const struct conf_schema *schema, const char *path, const char *text,
			size_t len);
/**
 * conf_load() - conf_parse() of a file on disk, after conf_file_read() without CONF_SECRET_FILE.
 * A file that cannot be read shows as an error in the result.
 */
struct conf *conf_load(const struct conf_schema *schema, const char *path);
void conf_free(struct conf *c);
/**
 * conf_forget_values() - Who has made a structure of his own of all sections of @kind needs their values no
 * more: those go, ten thousand peers have many. Texts stay where they are, and so do conf_line() and
 * conf_is_set(); values are not to be asked for again.
 */
void conf_forget_values(struct conf *c, const char *kind);

/** conf_room() - @len zero bytes, aligned for all, that live as long as @c; NULL without memory. */
void *conf_room(struct conf *c, size_t len);

static inline bool conf_ok(const struct conf *c)
{
	return !c->error_count;
}

/**
 * conf_error() - Add "FILE:LINE: message" (no line when @line is 0). Past CONF_ERRORS_MAX they are
 * only counted.
 */
void conf_error(struct conf *c, unsigned line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/**
 * conf_told() - All that is wrong, a line each, into @out, which has 256 bytes or more.
 *
 * Where that is too long: as many whole lines as there is room for, and how many there are besides. Of a first line
 * that is too long by itself its beginning. @c NULL: memory ran out.
 */
void conf_told(const struct conf *c, char *out, size_t cap);

/**
 * conf_next() - Sections of one kind in file order: pass NULL first; NULL at the end.
 */
const struct conf_section *conf_next(const struct conf *c, const char *kind,
				     const struct conf_section *after);
const struct conf_section *conf_find(const struct conf *c, const char *kind, const char *name);

/*
 * Values of a section. @key must be in the schema (asserted). Where it has neither a value nor a
 * default they give 0, NULL or false; conf_line() then gives the line of the section, so that it
 * is always something to blame.
 */
const struct conf_entry *conf_get(const struct conf_section *s, const char *key);
bool conf_is_set(const struct conf_section *s, const char *key); /* stands in the file */
unsigned conf_line(const struct conf_section *s, const char *key);
bool conf_bool(const struct conf_section *s, const char *key);
uint64_t conf_uint(const struct conf_section *s, const char *key); /* also duration, size, enum */
const char *conf_text(const struct conf_section *s, const char *key);

/** conf_nearest() - The word of @words nearest to @read, or NULL when none is near. */
const char *conf_nearest(const char *read, const char *const *words, size_t count);

/* How files that a configuration names are read: from disk in the parent, from the bundle elsewhere. */
struct conf_files {
	/* Allocates *data (terminated, caller frees): 0 or -errno, with @why filled. */
	int (*read)(void *arg, const char *path, unsigned flags, char **data, size_t *len,
		    char *why, size_t why_cap);
	/* Changes when the content of that CONF_SECRET_FILE does; NULL: cannot be told. */
	uint64_t (*mark)(void *arg, const char *path);
	void *arg;
};

#define CONF_WHY_MAX 256

/** conf_files_disk - conf_file_read(), for `check` and the parent. */
extern const struct conf_files conf_files_disk;

/**
 * conf_file_check() - May a file with these attributes be trusted?
 * @flags: CONF_SECRET_FILE also refuses what group or others can read.
 *
 * Must be a regular file, owned by root or by the caller, not writable by group or others. 0, or
 * -EPERM with @why as a clause ("is writable by others (mode 0666); chmod go-w").
 */
int conf_file_check(const struct stat *st, unsigned flags, char *why, size_t why_cap);
/** conf_file_read() - Open, conf_file_check() on the descriptor, read at most CONF_SIZE_MAX. */
int conf_file_read(const char *path, unsigned flags, char **data, size_t *len, char *why,
		   size_t why_cap);
/** conf_file_mark() - What stat(2) tells of a file: another mark, another content. 0: it is missing, or NULL. */
uint64_t conf_file_mark(const char *path);

/**
 * conf_paths() - Calls @fn for each CONF_PATH value that has CONF_PUBLIC_FILE or CONF_SECRET_FILE.
 * Stops at the first result that is not 0 and returns it.
 */
int conf_paths(const struct conf *c,
	       int (*fn)(const struct conf_section *s, const struct conf_key *k,
			 const struct conf_value *v, void *arg),
	       void *arg);

/** conf_describe() - What a key allows, in words ("1280 to 65535", "yes or no"). */
const char *conf_describe(const struct conf_key *k, char *out, size_t cap);
/** conf_print_keys() - All sections and keys as text: name, what is allowed, default, help. */
void conf_print_keys(const struct conf_schema *schema, FILE *to);

#endif
