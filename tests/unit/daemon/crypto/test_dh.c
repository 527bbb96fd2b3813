/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>

#include "dh.h"
#include "hex.h"

static const uint16_t groups[] = { KE_CURVE25519, KE_ECP_256,	KE_ECP_384,  KE_ECP_521,
				   KE_MODP_2048,  KE_MODP_3072, KE_MODP_4096 };
#define GROUPS (sizeof(groups) / sizeof(groups[0]))

struct vector {
	uint16_t group;
	const char *priv, *pub, *peer, *shared;
};

static const struct vector vectors[] = {
	/* RFC 7748 s6.1, then s5.2 */
	{ KE_CURVE25519, "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
	  "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
	  "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
	  "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742" },
	{ KE_CURVE25519, "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4", NULL,
	  "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
	  "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552" },
	/* RFC 5903 s8.1 */
	{ KE_ECP_256, "C88F01F510D9AC3F70A292DAA2316DE544E9AAB8AFE84049C62A9C57862D1433",
	  "DAD0B65394221CF9B051E1FECA5787D098DFE637FC90B9EF945D0C3772581180"
	  "5271A0461CDB8252D61F1C456FA3E59AB1F45B33ACCF5F58389E0577B8990BB3",
	  "D12DFB5289C8D4F81208B70270398C342296970A0BCCB74C736FC7554494BF63"
	  "56FBF3CA366CC23E8157854C13C58D6AAC23F046ADA30F8353E74F33039872AB",
	  "D6840F6B42F6EDAFD13116E0E12565202FEF8E9ECE7DCE03812464D04B9442DE" },
	/* RFC 5114 A.6, A.7, A.8 */
	{ KE_ECP_256, "814264145F2F56F2E96A8E337A1284993FAF432A5ABCE59E867B7291D507A3AF",
	  "2AF502F3BE8952F2C9B5A8D4160D09E97165BE50BC42AE4A5E8D3B4BA83AEB15"
	  "EB0FAF4CA986C4D38681A0F9872D79D56795BD4BFF6E6DE3C0F5015ECE5EFD85",
	  "B120DE4AA36492795346E8DE6C2C8646AE06AAEA279FA775B3AB0715F6CE51B0"
	  "9F1B7EECE20D7B5ED8EC685FA3F071D83727027092A8411385C34DDE5708B2B6",
	  "DD0F5396219D1EA393310412D19A08F1F5811E9DC8EC8EEA7F80D21C820C2788" },
	{ KE_ECP_384,
	  "D27335EA71664AF244DD14E9FD1260715DFD8A7965571C48D709EE7A7962A156"
	  "D706A90CBCB5DF2986F05FEADB9376F1",
	  "793148F1787634D5DA4C6D9074417D05E057AB62F82054D10EE6B0403D627954"
	  "7E6A8EA9D1FD77427D016FE27A8B8C66C6C41294331D23E6F480F4FB4CD40504"
	  "C947392E94F4C3F06B8F398BB29E42368F7A685923DE3B67BACED214A1A1D128",
	  "5CD42AB9C41B5347F74B8D4EFB708B3D5B36DB65915359B44ABC17647B6B9999"
	  "789D72A84865AE2F223F12B5A1ABC120E171458FEAA939AAA3A8BFAC46B404BD"
	  "8F6D5B348C0FA4D80CECA16356CA933240BDE8723415A8ECE035B0EDF36755DE",
	  "5EA1FC4AF7256D2055981B110575E0A8CAE53160137D904C59D926EB1B8456E4"
	  "27AA8A4540884C37DE159A58028ABC0E" },
	{ KE_ECP_521,
	  "0113F82DA825735E3D97276683B2B74277BAD27335EA71664AF2430CC4F33459"
	  "B9669EE78B3FFB9B8683015D344DCBFEF6FB9AF4C6C470BE254516CD3C1A1FB47362",
	  "01EBB34DD75721ABF8ADC9DBED17889CBB9765D90A7C60F2CEF007BB0F2B26E1"
	  "4881FD4442E689D61CB2DD046EE30E3FFD20F9A45BBDF6413D583A2DBF59924FD35C"
	  "00F6B632D194C0388E22D8437E558C552AE195ADFD153F92D74908351B2F8C4E"
	  "DA94EDB0916D1B53C020B5EECAED1A5FC38A233E4830587BB2EE3489B3B42A5A86A4",
	  "010EBFAFC6E85E08D24BFFFCC1A4511DB0E634BEEB1B6DEC8C5939AE44766201"
	  "AF6200430BA97C8AC6A0E9F08B33CE7E9FEEB5BA4EE5E0D81510C24295B8A08D0235"
	  "00A4A6EC300DF9E257B0372B5E7ABFEF093436719A77887EBB0B18CF8099B9F4"
	  "212B6E30A1419C18E029D36863CC9D448F4DBA4D2A0E60711BE572915FBD4FEF2695",
	  "00CDEA89621CFA46B132F9E4CFE2261CDE2D4368EB5656634C7CC98C7A00CDE5"
	  "4ED1866A0DD3E6126C9D2F845DAFF82CEB1DA08F5D87521BB0EBECA77911169C20CC" },
};

static void one_vector(const struct vector *v)
{
	struct hex priv = hex(v->priv), pub = hex(v->pub ? v->pub : ""), peer = hex(v->peer);
	struct secret z = { 0 };
	struct dh *dh;

	assert_int_equal(dh_restore(v->group, (struct span){ priv.b, priv.len },
				    (struct span){ pub.b, pub.len }, &dh),
			 0);
	if (v->pub)
		assert_hex(dh_public(dh).p, dh_public(dh).len, v->pub);
	assert_int_equal(dh_shared(dh, peer.b, peer.len, &z), 0);
	assert_hex(z.data, z.len, v->shared);
	secret_clear(&z);
	dh_free(dh);
}

static void shared_secrets_match_rfc_7748_5903_and_5114(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++)
		one_vector(&vectors[i]);
}

static void both_sides_agree_in_every_group(void **state)
{
	(void)state;
	for (size_t i = 0; i < GROUPS; i++) {
		struct secret za = { 0 }, zb = { 0 };
		struct dh *a, *b;

		assert_int_equal(dh_new(groups[i], &a), 0);
		assert_int_equal(dh_new(groups[i], &b), 0);
		assert_int_equal(dh_group(a), groups[i]);
		assert_int_equal(dh_public(a).len, dh_public_len(groups[i]));
		assert_int_equal(dh_shared(a, dh_public(b).p, dh_public(b).len, &za), 0);
		assert_int_equal(dh_shared(b, dh_public(a).p, dh_public(a).len, &zb), 0);
		assert_true(secret_equal(za.data, za.len, zb.data, zb.len));
		secret_clear(&za);
		secret_clear(&zb);
		dh_free(a);
		dh_free(b);
	}
}

static void a_key_is_the_same_when_it_comes_back_from_bytes(void **state)
{
	(void)state;
	for (size_t i = 0; i < GROUPS; i++) {
		struct secret za = { 0 }, zb = { 0 };
		uint8_t private[DH_PRIVATE_MAX];
		struct dh *a, *b, *again;
		size_t len;

		assert_int_equal(dh_new(groups[i], &a), 0);
		assert_int_equal(dh_new(groups[i], &b), 0);
		assert_int_equal(dh_private(a, private, &len), 0);
		assert_in_range(len, 16, DH_PRIVATE_MAX);
		assert_int_equal(dh_restore(groups[i], (struct span){ private, len }, dh_public(a),
					    &again),
				 0);
		assert_memory_equal(dh_public(again).p, dh_public(a).p, dh_public(a).len);
		assert_int_equal(dh_shared(again, dh_public(b).p, dh_public(b).len, &za), 0);
		assert_int_equal(dh_shared(b, dh_public(a).p, dh_public(a).len, &zb), 0);
		assert_true(secret_equal(za.data, za.len, zb.data, zb.len));
		secret_clear(&za);
		secret_clear(&zb);
		dh_free(a);
		dh_free(b);
		dh_free(again);
	}
}

static void wrong_lengths_are_malformed(void **state)
{
	(void)state;
	for (size_t i = 0; i < GROUPS; i++) {
		uint8_t peer[DH_PUBLIC_MAX + 1] = { 0 };
		struct secret z = { 0 };
		struct dh *a;

		assert_int_equal(dh_new(groups[i], &a), 0);
		memcpy(peer, dh_public(a).p, dh_public(a).len);
		assert_int_equal(dh_shared(a, peer, dh_public(a).len - 1, &z), -EBADMSG);
		assert_int_equal(dh_shared(a, peer, dh_public(a).len + 1, &z), -EBADMSG);
		assert_int_equal(dh_shared(a, peer, 0, &z), -EBADMSG);
		dh_free(a);
	}
}

static void x25519_refuses_low_order_points(void **state)
{
	/* RFC 7748 s6.1; orders 1, 2, 4 and 8 of the curve and its twist. */
	static const char *const points[] = {
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
		"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	};
	struct secret z = { 0 };
	struct dh *a;

	(void)state;
	assert_int_equal(dh_new(KE_CURVE25519, &a), 0);
	for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
		struct hex p = hex(points[i]);

		assert_int_equal(dh_shared(a, p.b, p.len, &z), -EPROTO);
		assert_null(z.data);
	}
	dh_free(a);
}

static void ecp_refuses_points_off_the_curve(void **state)
{
	(void)state;
	for (size_t i = 1; i < 4; i++) {
		uint8_t peer[DH_PUBLIC_MAX] = { 0 };
		struct secret z = { 0 };
		struct dh *a;
		size_t len;

		assert_int_equal(dh_new(groups[i], &a), 0);
		len = dh_public(a).len;
		assert_int_equal(dh_shared(a, peer, len, &z), -EPROTO); /* 0, 0 */
		memcpy(peer, dh_public(a).p, len);
		peer[len - 1] ^= 1;
		assert_int_equal(dh_shared(a, peer, len, &z), -EPROTO);
		memset(peer, 0xff, len); /* above the field */
		assert_int_equal(dh_shared(a, peer, len, &z), -EPROTO);
		dh_free(a);
	}
}

static void modp_refuses_0_1_and_p_minus_1(void **state)
{
	/* RFC 3526 s3 */
	struct hex p = hex("FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74"
			   "020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F1437"
			   "4FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
			   "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF05"
			   "98DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB"
			   "9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B"
			   "E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF695581718"
			   "3995497CEA956AE515D2261898FA051015728E5A8AACAA68FFFFFFFFFFFFFFFF");
	uint8_t peer[256] = { 0 };
	struct secret z = { 0 };
	struct dh *a;

	(void)state;
	assert_int_equal(dh_new(KE_MODP_2048, &a), 0);
	assert_int_equal(dh_shared(a, peer, 256, &z), -EPROTO);
	peer[255] = 1;
	assert_int_equal(dh_shared(a, peer, 256, &z), -EPROTO);
	peer[255] = 4; /* a quadratic residue: in the group */
	assert_int_equal(dh_shared(a, peer, 256, &z), 0);
	assert_int_equal(z.len, 256);
	secret_clear(&z);
	assert_int_equal(dh_shared(a, p.b, 256, &z), -EPROTO); /* p */
	p.b[255]--;
	assert_int_equal(dh_shared(a, p.b, 256, &z), -EPROTO); /* p - 1 */
	memset(p.b, 0xff, 256);
	assert_int_equal(dh_shared(a, p.b, 256, &z), -EPROTO);
	dh_free(a);
}

static void unknown_groups_do_not_exist(void **state)
{
	struct dh *a;

	(void)state;
	assert_int_equal(dh_public_len(2), 0); /* MODP-1024 */
	assert_int_equal(dh_new(2, &a), -ENOTSUP);
	assert_null(a);
	dh_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shared_secrets_match_rfc_7748_5903_and_5114),
		cmocka_unit_test(both_sides_agree_in_every_group),
		cmocka_unit_test(a_key_is_the_same_when_it_comes_back_from_bytes),
		cmocka_unit_test(wrong_lengths_are_malformed),
		cmocka_unit_test(x25519_refuses_low_order_points),
		cmocka_unit_test(ecp_refuses_points_off_the_curve),
		cmocka_unit_test(modp_refuses_0_1_and_p_minus_1),
		cmocka_unit_test(unknown_groups_do_not_exist),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
