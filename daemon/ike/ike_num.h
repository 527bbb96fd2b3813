/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef IKE_IKE_NUM_H
#define IKE_IKE_NUM_H

/*
 * Every number of the IKEv2 wire in one place, under its RFC name (transform IDs: suite.h, shared
 * with crypto; authentication methods: sign.h). Source: RFC 7296 and the IANA registry "IKEv2
 * Parameters"; the RFC of each later addition stands beside it.
 */

#include <stdbool.h>
#include <stdint.h>

#include "suite.h"

#define IKE_MAJOR   2
#define IKE_MINOR   0
#define IKE_VERSION (IKE_MAJOR << 4 | IKE_MINOR)

enum ike_exchange {
	IKE_SA_INIT = 34,
	IKE_AUTH = 35,
	CREATE_CHILD_SA = 36,
	INFORMATIONAL = 37,
	IKE_INTERMEDIATE = 43, /* RFC 9242 */
	IKE_FOLLOWUP_KE = 44   /* RFC 9370 */
};

enum ike_flags {
	IKE_FLAG_INITIATOR = 0x08, /* sender is the original initiator of the IKE SA */
	IKE_FLAG_VERSION = 0x10,
	IKE_FLAG_RESPONSE = 0x20
};

enum ike_payload_type {
	PLD_NONE = 0,
	PLD_SA = 33,
	PLD_KE = 34,
	PLD_IDI = 35,
	PLD_IDR = 36,
	PLD_CERT = 37,
	PLD_CERTREQ = 38,
	PLD_AUTH = 39,
	PLD_NONCE = 40,
	PLD_NOTIFY = 41,
	PLD_DELETE = 42,
	PLD_VENDOR = 43,
	PLD_TSI = 44,
	PLD_TSR = 45,
	PLD_SK = 46,
	PLD_CP = 47,
	PLD_EAP = 48,
	PLD_SKF = 53 /* RFC 7383 */
};

enum ike_protocol { PROTO_NONE = 0, PROTO_IKE = 1, PROTO_AH = 2, PROTO_ESP = 3 };

enum transform_type {
	TRANSFORM_ENCR = 1,
	TRANSFORM_PRF = 2,
	TRANSFORM_INTEG = 3,
	TRANSFORM_KE = 4,
	TRANSFORM_ESN = 5
};
#define TRANSFORM_ATTR_KEY_LENGTH 14

enum id_type {
	ID_IPV4_ADDR = 1,
	ID_FQDN = 2,
	ID_RFC822_ADDR = 3,
	ID_IPV6_ADDR = 5,
	ID_DER_ASN1_DN = 9,
	ID_DER_ASN1_GN = 10,
	ID_KEY_ID = 11,
	ID_NULL = 13 /* RFC 7619 */
};

enum cert_encoding {
	CERT_X509_SIGNATURE = 4,
	CERT_CRL = 7,
	CERT_HASH_URL_X509 = 12,
	CERT_HASH_URL_BUNDLE = 13,
	CERT_OCSP = 14,		 /* RFC 4806 */
	CERT_RAW_PUBLIC_KEY = 15 /* RFC 7670 */
};

enum ts_type { TS_IPV4_ADDR_RANGE = 7, TS_IPV6_ADDR_RANGE = 8 };

enum cp_type { CFG_REQUEST = 1, CFG_REPLY = 2, CFG_SET = 3, CFG_ACK = 4 };

enum cp_attr_type {
	INTERNAL_IP4_ADDRESS = 1, /* 0 or 4 bytes */
	INTERNAL_IP4_NETMASK = 2,
	INTERNAL_IP4_DNS = 3,
	INTERNAL_IP4_DHCP = 6,
	APPLICATION_VERSION = 7,
	INTERNAL_IP6_ADDRESS = 8, /* 0 or 17 bytes: address, prefix length */
	INTERNAL_IP6_DNS = 10,
	INTERNAL_IP6_DHCP = 12,
	INTERNAL_IP4_SUBNET = 13, /* 0 or 8 */
	SUPPORTED_ATTRIBUTES = 14,
	INTERNAL_IP6_SUBNET = 15, /* 17 */
	INTERNAL_DNS_DOMAIN = 25  /* RFC 8598 */
};

/* Below 16384: errors; from there on: status. */
#define NOTIFY_STATUS_FIRST   16384
#define NOTIFY_PRIVATE_ERROR  8192
#define NOTIFY_PRIVATE_STATUS 40960

enum notify_type {
	UNSUPPORTED_CRITICAL_PAYLOAD = 1, /* data: the payload type */
	INVALID_IKE_SPI = 4,
	INVALID_MAJOR_VERSION = 5,
	INVALID_SYNTAX = 7,
	INVALID_MESSAGE_ID = 9,
	INVALID_SPI = 11,
	NO_PROPOSAL_CHOSEN = 14,
	INVALID_KE_PAYLOAD = 17, /* data: be16 group */
	AUTHENTICATION_FAILED = 24,
	SINGLE_PAIR_REQUIRED = 34,
	NO_ADDITIONAL_SAS = 35,
	INTERNAL_ADDRESS_FAILURE = 36,
	FAILED_CP_REQUIRED = 37,
	TS_UNACCEPTABLE = 38,
	INVALID_SELECTORS = 39,
	UNACCEPTABLE_ADDRESSES = 40, /* RFC 4555 */
	UNEXPECTED_NAT_DETECTED = 41,
	TEMPORARY_FAILURE = 43,
	CHILD_SA_NOT_FOUND = 44,
	STATE_NOT_FOUND = 47, /* RFC 9370 */

	INITIAL_CONTACT = 16384,
	SET_WINDOW_SIZE = 16385,
	ADDITIONAL_TS_POSSIBLE = 16386,
	IPCOMP_SUPPORTED = 16387,
	NAT_DETECTION_SOURCE_IP = 16388,
	NAT_DETECTION_DESTINATION_IP = 16389,
	COOKIE = 16390,
	USE_TRANSPORT_MODE = 16391,
	HTTP_CERT_LOOKUP_SUPPORTED = 16392,
	REKEY_SA = 16393,
	ESP_TFC_PADDING_NOT_SUPPORTED = 16394,
	NON_FIRST_FRAGMENTS_ALSO = 16395,
	MOBIKE_SUPPORTED = 16396, /* RFC 4555 */
	ADDITIONAL_IP4_ADDRESS = 16397,
	ADDITIONAL_IP6_ADDRESS = 16398,
	NO_ADDITIONAL_ADDRESSES = 16399,
	UPDATE_SA_ADDRESSES = 16400,
	COOKIE2 = 16401,
	NO_NATS_ALLOWED = 16402,
	AUTH_LIFETIME = 16403,		 /* RFC 4478 */
	MULTIPLE_AUTH_SUPPORTED = 16404, /* RFC 4739 */
	REDIRECT_SUPPORTED = 16406,	 /* RFC 5685 */
	REDIRECT = 16407,
	REDIRECTED_FROM = 16408,
	EAP_ONLY_AUTHENTICATION = 16417,	 /* RFC 5998 */
	CHILDLESS_IKEV2_SUPPORTED = 16418,	 /* RFC 6023 */
	QCD_TOKEN = 16419,			 /* RFC 6290 */
	IKEV2_MESSAGE_ID_SYNC_SUPPORTED = 16420, /* RFC 6311 */
	IKEV2_MESSAGE_ID_SYNC = 16422,		 /* data: nonce 4, be32 next sent, be32 next received */
	IKEV2_FRAGMENTATION_SUPPORTED = 16430,	 /* RFC 7383 */
	SIGNATURE_HASH_ALGORITHMS = 16431,	 /* RFC 7427; data: be16 each */
	USE_PPK = 16435,			 /* RFC 8784 */
	PPK_IDENTITY = 16436,
	NO_PPK_AUTH = 16437,
	INTERMEDIATE_EXCHANGE_SUPPORTED = 16438, /* RFC 9242 */
	ADDITIONAL_KEY_EXCHANGE = 16441,	 /* RFC 9370 */
	USE_AGGFRAG = 16442,			 /* RFC 9347 */
	SUPPORTED_AUTH_METHODS = 16443,		 /* RFC 9593 */
	SA_RESOURCE_INFO = 16444,		 /* RFC 9611 */

	/*
	 * Postern's own, in the private-use status range. They mean something only after the peer
	 * sent POSTERN_VENDOR_ID; anybody else's notify of the same number is unknown and ignored.
	 */
	POSTERN_INSTANCE_ID = 51200,   /* IKE_AUTH; 16 random bytes per process start */
	POSTERN_REPLAY_WINDOW = 51201, /* with SA; be32: packets of our inbound window, if not the usual */
	POSTERN_PROBE_ECHO = 51202,    /* INFORMATIONAL: be16 seconds, 16 bytes of token: send one
					  dummy to the tuple that the token came from, so late */
	POSTERN_PROBE_MTU = 51203,     /* INFORMATIONAL: be16 largest packet that its
					* path to us takes; 0: not known, look yourself */
	POSTERN_CHILD_LABEL = 51204,   /* with SA: be16 worker number of a per-worker CHILD */
	POSTERN_BENCH = 51206,	       /* INFORMATIONAL: a tunnel is measured; see measure.h */
	POSTERN_IDENTITY_BUSY = 51205  /* IKE_AUTH answer, with AUTHENTICATION_FAILED: another
					  instance of this identity is up at u8 length, address,
					  be16 port */
};

#define POSTERN_INSTANCE_ID_LEN 16
#define POSTERN_VENDOR_ID_LEN	16
/* The first 16 bytes of SHA-256("Postern VPN, private IKEv2 extensions, version 1"). */
extern const uint8_t postern_vendor_id[POSTERN_VENDOR_ID_LEN];

static inline bool notify_is_error(uint16_t type)
{
	return type < NOTIFY_STATUS_FIRST;
}

/*
 * Names for logs. A number without a name gives "unknown"; the caller logs the number beside it.
 */
const char *ike_exchange_name(uint8_t exchange);
const char *ike_payload_name(uint8_t type);
const char *ike_notify_name(uint16_t type);
bool ike_notify_known(uint16_t type);
#define IKE_NOTIFY_STR_MAX 40
/** ike_notify_str() - The name, or "unknown error 12345"; returns @out. */
const char *ike_notify_str(uint16_t type, char out[static IKE_NOTIFY_STR_MAX]);
const char *ike_id_type_name(uint8_t type);
const char *ike_auth_method_name(uint8_t method);
const char *ike_protocol_name(uint8_t proto);
/** ike_transform_name() - "AES_GCM_16" and the like; also of algorithms that we do not have. */
const char *ike_transform_name(uint8_t type, uint16_t id);

#endif
