/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ike_num.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "sign.h"

const uint8_t postern_vendor_id[POSTERN_VENDOR_ID_LEN] = { 0x30, 0xed, 0xe7, 0x56, 0x9c, 0xfe,
							   0xca, 0x70, 0x47, 0x03, 0x6e, 0xa5,
							   0x09, 0xcc, 0xb8, 0x6c };

struct name {
	uint16_t n;
	const char *s;
};

#define N(x)                                                                                       \
	{                                                                                          \
		x, #x                                                                              \
	}
#define UNKNOWN		      "unknown"
#define LOOKUP(table, number) lookup(table, sizeof(table) / sizeof((table)[0]), number)

static const char *lookup(const struct name *t, size_t count, uint16_t n)
{
	for (size_t i = 0; i < count; i++) {
		if (t[i].n == n)
			return t[i].s;
	}
	return UNKNOWN;
}

const char *ike_exchange_name(uint8_t exchange)
{
	static const struct name t[] = {
		N(IKE_SA_INIT),	  N(IKE_AUTH),	       N(CREATE_CHILD_SA),
		N(INFORMATIONAL), N(IKE_INTERMEDIATE), N(IKE_FOLLOWUP_KE),
	};

	return LOOKUP(t, exchange);
}

const char *ike_payload_name(uint8_t type)
{
	static const struct name t[] = {
		{ PLD_NONE, "none" },	    { PLD_SA, "SA" },	  { PLD_KE, "KE" },
		{ PLD_IDI, "IDi" },	    { PLD_IDR, "IDr" },	  { PLD_CERT, "CERT" },
		{ PLD_CERTREQ, "CERTREQ" }, { PLD_AUTH, "AUTH" }, { PLD_NONCE, "Nonce" },
		{ PLD_NOTIFY, "N" },	    { PLD_DELETE, "D" },  { PLD_VENDOR, "V" },
		{ PLD_TSI, "TSi" },	    { PLD_TSR, "TSr" },	  { PLD_SK, "SK" },
		{ PLD_CP, "CP" },	    { PLD_EAP, "EAP" },	  { PLD_SKF, "SKF" },
	};

	return LOOKUP(t, type);
}

const char *ike_notify_name(uint16_t type)
{
	static const struct name t[] = {
		N(UNSUPPORTED_CRITICAL_PAYLOAD),
		N(INVALID_IKE_SPI),
		N(INVALID_MAJOR_VERSION),
		N(INVALID_SYNTAX),
		N(INVALID_MESSAGE_ID),
		N(INVALID_SPI),
		N(NO_PROPOSAL_CHOSEN),
		N(INVALID_KE_PAYLOAD),
		N(AUTHENTICATION_FAILED),
		N(SINGLE_PAIR_REQUIRED),
		N(NO_ADDITIONAL_SAS),
		N(INTERNAL_ADDRESS_FAILURE),
		N(FAILED_CP_REQUIRED),
		N(TS_UNACCEPTABLE),
		N(INVALID_SELECTORS),
		N(UNACCEPTABLE_ADDRESSES),
		N(UNEXPECTED_NAT_DETECTED),
		N(TEMPORARY_FAILURE),
		N(CHILD_SA_NOT_FOUND),
		N(STATE_NOT_FOUND),
		N(INITIAL_CONTACT),
		N(SET_WINDOW_SIZE),
		N(ADDITIONAL_TS_POSSIBLE),
		N(IPCOMP_SUPPORTED),
		N(NAT_DETECTION_SOURCE_IP),
		N(NAT_DETECTION_DESTINATION_IP),
		N(COOKIE),
		N(USE_TRANSPORT_MODE),
		N(HTTP_CERT_LOOKUP_SUPPORTED),
		N(REKEY_SA),
		N(ESP_TFC_PADDING_NOT_SUPPORTED),
		N(NON_FIRST_FRAGMENTS_ALSO),
		N(MOBIKE_SUPPORTED),
		N(ADDITIONAL_IP4_ADDRESS),
		N(ADDITIONAL_IP6_ADDRESS),
		N(NO_ADDITIONAL_ADDRESSES),
		N(UPDATE_SA_ADDRESSES),
		N(COOKIE2),
		N(NO_NATS_ALLOWED),
		N(AUTH_LIFETIME),
		N(MULTIPLE_AUTH_SUPPORTED),
		N(REDIRECT_SUPPORTED),
		N(REDIRECT),
		N(REDIRECTED_FROM),
		N(EAP_ONLY_AUTHENTICATION),
		N(CHILDLESS_IKEV2_SUPPORTED),
		N(QCD_TOKEN),
		N(IKEV2_MESSAGE_ID_SYNC_SUPPORTED),
		N(IKEV2_MESSAGE_ID_SYNC),
		N(IKEV2_FRAGMENTATION_SUPPORTED),
		N(SIGNATURE_HASH_ALGORITHMS),
		N(USE_PPK),
		N(PPK_IDENTITY),
		N(NO_PPK_AUTH),
		N(INTERMEDIATE_EXCHANGE_SUPPORTED),
		N(ADDITIONAL_KEY_EXCHANGE),
		N(USE_AGGFRAG),
		N(SUPPORTED_AUTH_METHODS),
		N(SA_RESOURCE_INFO),
		N(POSTERN_INSTANCE_ID),
		N(POSTERN_REPLAY_WINDOW),
		N(POSTERN_PROBE_ECHO),
		N(POSTERN_PROBE_MTU),
		N(POSTERN_CHILD_LABEL),
	};

	return LOOKUP(t, type);
}

bool ike_notify_known(uint16_t type)
{
	return strcmp(ike_notify_name(type), UNKNOWN) != 0;
}

const char *ike_notify_str(uint16_t type, char out[static IKE_NOTIFY_STR_MAX])
{
	if (ike_notify_known(type))
		snprintf(out, IKE_NOTIFY_STR_MAX, "%s", ike_notify_name(type));
	else
		snprintf(out, IKE_NOTIFY_STR_MAX, "unknown %s %u",
			 notify_is_error(type) ? "error" : "status", type);
	return out;
}

const char *ike_id_type_name(uint8_t type)
{
	static const struct name t[] = {
		N(ID_IPV4_ADDR),   N(ID_FQDN),	      N(ID_RFC822_ADDR), N(ID_IPV6_ADDR),
		N(ID_DER_ASN1_DN), N(ID_DER_ASN1_GN), N(ID_KEY_ID),	 N(ID_NULL),
	};

	return LOOKUP(t, type);
}

const char *ike_auth_method_name(uint8_t method)
{
	static const struct name t[] = {
		{ AUTH_RSA_SIG, "RSA-SHA1" },
		{ AUTH_SHARED_KEY, "PSK" },
		{ AUTH_ECDSA_256, "ECDSA-256" },
		{ AUTH_ECDSA_384, "ECDSA-384" },
		{ AUTH_ECDSA_521, "ECDSA-521" },
		{ AUTH_NULL, "NULL" },
		{ AUTH_DIGITAL_SIGNATURE, "digital signature" },
	};

	return LOOKUP(t, method);
}

const char *ike_protocol_name(uint8_t proto)
{
	static const struct name t[] = {
		{ PROTO_NONE, "none" },
		{ PROTO_IKE, "IKE" },
		{ PROTO_AH, "AH" },
		{ PROTO_ESP, "ESP" },
	};

	return LOOKUP(t, proto);
}

static const char *encr_name(uint16_t id)
{
	static const struct name t[] = {
		{ 2, "DES" },
		{ 3, "3DES" },
		{ 7, "BLOWFISH" },
		{ 11, "NULL" },
		{ 12, "AES_CBC" },
		{ 13, "AES_CTR" },
		{ 14, "AES_CCM_8" },
		{ 15, "AES_CCM_12" },
		{ 16, "AES_CCM_16" },
		{ 18, "AES_GCM_8" },
		{ 19, "AES_GCM_12" },
		{ 20, "AES_GCM_16" },
		{ 21, "NULL_AES_GMAC" },
		{ 23, "CAMELLIA_CBC" },
		{ 24, "CAMELLIA_CTR" },
		{ 28, "CHACHA20_POLY1305" },
		{ 29, "AES_CCM_8_IIV" },
		{ 30, "AES_GCM_16_IIV" },
		{ 31, "CHACHA20_POLY1305_IIV" },
	};

	return LOOKUP(t, id);
}

static const char *ke_name(uint16_t id)
{
	static const struct name t[] = {
		{ 0, "NONE" },		 { 1, "MODP_768" },	  { 2, "MODP_1024" },
		{ 5, "MODP_1536" },	 { 14, "MODP_2048" },	  { 15, "MODP_3072" },
		{ 16, "MODP_4096" },	 { 17, "MODP_6144" },	  { 18, "MODP_8192" },
		{ 19, "ECP_256" },	 { 20, "ECP_384" },	  { 21, "ECP_521" },
		{ 28, "BRAINPOOL_256" }, { 29, "BRAINPOOL_384" }, { 30, "BRAINPOOL_512" },
		{ 31, "CURVE25519" },	 { 32, "CURVE448" },	  { 35, "ML_KEM_512" },
		{ 36, "ML_KEM_768" },	 { 37, "ML_KEM_1024" },
	};

	return LOOKUP(t, id);
}

const char *ike_transform_name(uint8_t type, uint16_t id)
{
	static const struct name prfs[] = {
		{ 1, "PRF_HMAC_MD5" },	    { 2, "PRF_HMAC_SHA1" },	{ 4, "PRF_AES128_XCBC" },
		{ 5, "PRF_HMAC_SHA2_256" }, { 6, "PRF_HMAC_SHA2_384" }, { 7, "PRF_HMAC_SHA2_512" },
		{ 8, "PRF_AES128_CMAC" },
	};
	static const struct name integs[] = {
		{ 0, "NONE" },
		{ 1, "HMAC_MD5_96" },
		{ 2, "HMAC_SHA1_96" },
		{ 5, "AES_XCBC_96" },
		{ 8, "AES_CMAC_96" },
		{ 12, "HMAC_SHA2_256_128" },
		{ 13, "HMAC_SHA2_384_192" },
		{ 14, "HMAC_SHA2_512_256" },
	};
	static const struct name esns[] = { { ESN_NO, "NO_ESN" }, { ESN_YES, "ESN" } };

	switch (type) {
	case TRANSFORM_ENCR:
		return encr_name(id);
	case TRANSFORM_PRF:
		return LOOKUP(prfs, id);
	case TRANSFORM_INTEG:
		return LOOKUP(integs, id);
	case TRANSFORM_KE:
		return ke_name(id);
	case TRANSFORM_ESN:
		return LOOKUP(esns, id);
	default:
		return "unknown";
	}
}
