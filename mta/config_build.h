/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_CONFIG_BUILD_H
#define MTA_CONFIG_BUILD_H

/* Inside of config_new(): setters that take a key when it is written and leave a preset otherwise. */

#include "config.h"

struct builder {
	struct conf *conf;
	struct mta_config *c;
	bool nomem;
};

extern const char *const class_names[5]; /* in the order of enum listener_class */

void cb_set_text(struct builder *b, char **to, const char *s);
void cb_key_text(struct builder *b, char **to, const struct conf_section *s, const char *key);
void cb_key_u64(uint64_t *to, const struct conf_section *s, const char *key);
void cb_key_u32(uint32_t *to, const struct conf_section *s, const char *key);
void cb_key_bool(bool *to, const struct conf_section *s, const char *key);
void cb_strv_add(struct builder *b, struct strv *s, const char *word);
void cb_strv_clear(struct strv *s);
/** cb_key_domains() - Domains in the spelling by which they are compared; @rest: "*" may stand among them. */
void cb_key_domains(struct builder *b, struct strv *to, const struct conf_section *s,
		    const char *key, bool rest);
void cb_key_strv(struct builder *b, struct strv *to, const struct conf_section *s, const char *key);
void cb_lower(char *s);
void cb_key_pins(struct builder *b, struct strv *to, const struct conf_section *s, const char *key);
/** cb_key_versions() - "tls-versions"; true when it is written. */
bool cb_key_versions(struct builder *b, struct tls_range *to, const struct conf_section *s);
/** cb_key_ciphers() - "tls-ciphers"; whether OpenSSL has them is asked where a context is made. */
void cb_key_ciphers(struct builder *b, struct strv *to, const struct conf_section *s);
void cb_key_prefixes(struct builder *b, struct prefix **to, size_t *count,
		     const struct conf_section *s, const char *key);
/** cb_key_match() - @key, @key-table and, but for clients, @key-regex of one condition. */
void cb_key_match(struct builder *b, struct mta_match *m, const struct conf_section *s,
		  enum match_kind kind, const char *key);
void cb_key_door(struct builder *b, struct mta_door *d, const struct conf_section *s);
char cb_key_subaddress(const struct conf_section *s);
void cb_name_set(struct builder *b, char to[static MTA_NAME_MAX], const struct conf_section *s);
/** cb_grow() - One more element, zeroed, at the end of *(void **)@array; NULL on ENOMEM. */
void *cb_grow(struct builder *b, void *array, size_t *count, size_t size);

void config_build_listener(struct builder *b, const struct conf_section *s);
void config_preset_listeners(struct builder *b);
void config_build_route(struct builder *b, const struct conf_section *s);
/** config_build_ends() - Whom a route connects to and from where; its kind and family are set. */
void config_build_ends(struct builder *b, const struct conf_section *s, struct mta_route *r);
void config_preset_routes(struct builder *b);
void config_finish_routes(struct builder *b);
void config_build_rule(struct builder *b, const struct conf_section *s);

#endif
