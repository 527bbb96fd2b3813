#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes rfc_crypto.h (python3 rfc_crypto.py > rfc_crypto.h): published vectors, each computed here again by other code
than Postern's (Python's hmac and integers, the package 'cryptography'); what differs from the published value stops it.

RFC 4231, RFC 4868 s2.7, RFC 5903 s8.2 and s8.3, RFC 8032 s7.1, RFC 8439 s2.8.2: inputs as published, and the beginning
(HEAD) or the whole of each published result. NIST ACVP, KDF IKEv2 (SP 800-135), as libreswan's programs/cavp keeps one case
of it: SHA-1, which Postern does not have; the formulas here are held against it, and then give the values for SHA-2 from the
same inputs. MODP groups: no RFC has an exchange in them. The primes are built from RFC 3526's formula with pi to 4096
bits, the public values and the secret by Python's pow().
"""
import hashlib
import hmac

from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

HASH = {5: hashlib.sha256, 6: hashlib.sha384, 7: hashlib.sha512}


def text(label, value):
    rows = [value[i:i + 80] for i in range(0, len(value), 80)] or [""]
    return "\n\t  ".join(f'"{r}"' for r in rows)


def table(kind, name, comment, rows):
    print(f"\n/* {comment} */\nstatic const struct {kind} {name}[] = {{")
    for r in rows:
        print("\t{ " + ",\n\t  ".join(str(x) if isinstance(x, int) else text("", x) for x in r) + " },")
    print("};")


def want(got, published):
    assert got.startswith(published.lower()), (got, published)
    return got


# ---- HMAC ----
def hmac_rows():
    repeat = b"Test Using Larger Than Block-Size Key - Hash Key First"
    longer = (b"This is a test using a larger than block-size key and a larger than block-size data. The key needs to "
              b"be hashed before being used by the HMAC algorithm.")
    cases = [  # RFC 4231 s4.2 to s4.4, s4.5, s4.7, s4.8: the first bytes of each result for 256, 384, 512
        (b"\x0b" * 20, b"Hi There", ("b0344c61d8db3853", "afd03944d8489562", "87aa7cdea5ef619d")),
        (b"Jefe", b"what do ya want for nothing?", ("5bdcc146bf60754e", "af45d2e376484031", "164b7a7bfcf819e2")),
        (b"\xaa" * 20, b"\xdd" * 50, ("773ea91e36800e46", "88062608d3e6ad8a", "fa73b0089d56a284")),
        (bytes(range(1, 26)), b"\xcd" * 50, ("82558a389a443c0e", "3e8a69b7783c2585", "b0ba465637458c69")),
        (b"\xaa" * 131, repeat, ("60e431591ee0b67f", "4ece084485813e90", "80b24263c7c1a3eb")),
        (b"\xaa" * 131, longer, ("9b09ffa71b942fcb", "6617178e941f020d", "e37b6a775dc87dba")),
    ]
    for key, data, heads in cases:
        for n, head in zip(HASH, heads):
            yield n, key.hex(), data.hex(), want(hmac.new(key, data, HASH[n]).hexdigest(), head)


def auth_rows():
    for n, size, icv, heads in ((5, 32, 16, ("198a607eb44bfbc69903a0f1cf2bbdc5", "167f928588c5cc2eef8e3093caa0e87c",
                                             "cdcb1220d1ecccea91e53aba3092f962", "372efcf9b40b35c2115b1346903d2ef4")),
                                (6, 48, 24, ("b6a8d5636f5c6a7224f9977dcf7ee6c7fb6d0c48cbdee973",
                                             "2c7353974f1842fd66d53c452ca42122b28c0b594cfb184d",
                                             "809f439be00274321d4a538652164b53554a508184a0c316",
                                             "5b540085c6e6358096532b2493609ed1cb298f774f87bb5c")),
                                (7, 64, 32, ("637edc6e01dce7e6742a99451aae82df23da3e92439e590e43e761b33e910fb8",
                                             "cb370917ae8a7ce28cfd1d8f4705d6141c173b2a9362c15df235dfb251b15454",
                                             "2ee7acd783624ca9398710f3ee05ae41b9f9b0510c87e49e586cc9bf961733d8",
                                             "5e6688e5a3daec826ca32eaea224eff5e700628947470e13ad01302561bab108"))):
        keys = [b"\x0b" * size, (b"Jefe" * 16)[:size], b"\xaa" * size, (bytes(range(1, 33)) * 2)[:size]]
        if n == 6:  # s2.7.2.2: 01..20, then 0a..19
            keys[3] = bytes(range(1, 33)) + bytes(range(10, 26))
        if n == 7:  # s2.7.2.3: 01..40
            keys[3] = bytes(range(1, 65))
        datas = [b"Hi There", b"what do ya want for nothing?", b"\xdd" * 50, b"\xcd" * 50]
        for key, data, head in zip(keys, datas, heads):
            yield n + 7, key.hex(), data.hex(), want(hmac.new(key, data, HASH[n]).hexdigest()[:2 * icv], head)


# ---- Diffie-Hellman ----
def arctan_inverse(x, unit):
    total = term = unit // x
    n, sign = 3, -1
    while term:
        term //= x * x
        total += sign * (term // n)
        n, sign = n + 2, -sign
    return total


def pi_bits(n):
    """floor(2^n pi), by Machin's formula"""
    unit = 1 << (n + 64)
    return (4 * (4 * arctan_inverse(5, unit) - arctan_inverse(239, unit))) >> 64


def modp_rows():
    for group, bits, k in ((14, 2048, 124476), (15, 3072, 1690314), (16, 4096, 240904)):
        p = 2**bits - 2**(bits - 64) - 1 + 2**64 * (pi_bits(bits - 130) + k)
        assert p.bit_length() == bits and pow(2, p - 1, p) == 1
        a, b = (int.from_bytes(hashlib.sha256(b"%s %d" % (who, group)).digest(), "big") for who in (b"a", b"b"))
        public, peer = pow(2, a, p), pow(2, b, p)
        assert pow(peer, a, p) == pow(public, b, p)
        yield (group, f"{a:064x}") + tuple(v.to_bytes(bits // 8, "big").hex() for v in (public, peer, pow(peer, a, p)))


def ecp_rows():
    for group, curve, i, r, gix, grx, z in (
            (20, ec.SECP384R1(), "099F3C7034D4A2C699884D73A375A67F7624EF7C6B3C0F160647B67414DCE655E35B538041E649EE3FAEF896783AB194",
             "41CB0779B4BDB85D47846725FBEC3C9430FAB46CC8DC5060855CC9BDA0AA2942E0308312916B8ED2960E4BD55A7448FC",
             "667842D7D180AC2CDE6F74F37551F55755C7645C20EF73E3", "E558DBEF53EECDE3D3FCCFC1AEA08A89A987475D12FD950D",
             "11187331C279962D93D604243FD592CB9D0A926F422E4718"),
            (21, ec.SECP521R1(), "0037ADE9319A89F4DABDB3EF411AACCCA5123C61ACAB57B5393DCE47608172A095AA85A30FE1C2952C6771D937BA9777F595"
             "7B2639BAB072462F68C27A57382D4A52",
             "0145BA99A847AF43793FDD0E872E7CDFA16BE30FDC780F97BCCC3F078380201E9C677D600B343757A3BDBF2A3163E4C2F869CCA7458AA4A4EFFC"
             "311F5CB151685EB9",
             "0015417E84DBF28C0AD3C278713349DC7DF153C897A1891BD98BAB43", "00D0B3975AC4B799F5BEA16D5E13E9AF971D5E9B984C9F39",
             "01144C7D79AE6956BC8EDB8E7C787C4521CB086FA64407F97894E5E6")):
        n = (curve.key_size + 7) // 8
        keys = [ec.derive_private_key(int(x, 16), curve) for x in (i, r)]
        points = [k.public_key().public_bytes(ser.Encoding.X962, ser.PublicFormat.UncompressedPoint)[1:].hex() for k in keys]
        secret = keys[0].exchange(ec.ECDH(), keys[1].public_key()).hex()
        yield group, f"{int(i, 16):0{2 * n}x}", want(points[0], gix), want(points[1], grx), want(secret, z)
        yield group, f"{int(r, 16):0{2 * n}x}", points[1], points[0], secret


# ---- signatures ----
def ed_rows():
    for secret, public, message, signature in (
            ("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
             "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
             "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
             "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"),
            ("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
             "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
             "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
             "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"),
            ("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
             "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
             "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
             "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a")):
        key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret))
        spki = key.public_key().public_bytes(ser.Encoding.DER, ser.PublicFormat.SubjectPublicKeyInfo).hex()
        pem = key.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption()).decode().strip()
        assert spki.endswith(public)
        yield pem.replace("\n", "\\n"), spki, message, want(key.sign(bytes.fromhex(message)).hex(), signature)


# ---- IKEv2 ----
def kdf(md, ni, nr, gir, gir_new, spii, spir, length):
    def prf(key, data):
        return hmac.new(key, data, md).digest()

    def plus(key, seed):
        out, t = b"", b""
        for i in range(1, 256):
            t = prf(key, t + seed + bytes([i]))
            out += t
            if len(out) >= length:
                return out[:length]

    skeyseed = prf(ni + nr, gir)
    dkm = plus(skeyseed, ni + nr + spii + spir)
    sk_d = dkm[:md().digest_size]
    return tuple(x.hex() for x in (skeyseed, dkm, plus(sk_d, ni + nr), plus(sk_d, gir_new + ni + nr),
                                   prf(sk_d, gir_new + ni + nr)))


NIST = {"ni": "32b50d5f4a3763f3", "nr": "9206a04b26564cb1", "spii": "34c9e7c188868785", "spir": "3ff77d760d2b2199",
        "gir": "4b2c1f971981a8ad8d0abeafabf38cf75fc8349c148142465ed9c8b516b8be52",
        "gir_new": "863f3c9d06efd39d2b907b97f8699e5dd5251ef64a2a176f36ee40c87d4f9330"}
NIST_SHA1 = (
    "a9a7b222b59f8f48645f28a1db5b5f5d7479cba7",
    "a14293677cc80ff8f9cc0eee30d895da9d8f405666e30ef0dfcb63c634a46002a2a63080e514a062768b76606f9fa5e992204fc5a670bde3f10d6b02711"
    "3936a5c55b648a194ae587b0088d52204b702c979fa280870d2ed41efa9c549fd11198af1670b143d384bd275c5f594cf266b05ebadca855e4249520a44"
    "1a81157435a7a56cc4",
    "8059e3ee8810e6c3a91bc8bcd2a7a41151b8d0e6ae239c7b38093ad85ef4c5811a8e7b5d1cdabd9560b2d5e092d1f24e2d4b85eccdf0ad0dc9abd94b51e"
    "e71814ca6dbc8bb51b6309f5b9545c7eb35cf5580b1e521a8fe20754a2d883ba0c2cf285f524aea6545b33106bc03e614296d319d41d4b50b3f510b1c0a"
    "22f3e664994d234cb4",
    "bb43244c1860ad65ee1e211ffe8bb3661750c8f89cb9f547df7f4fa61d37301628190e38c66232eab4b3ab14c400a5197dd3730ed4820a8a10394d51e1c"
    "0400052f63ebd36b0e7ef53aaed31eba4a5080d7d4b5666023a8bbb5ffb7857240f9a05884d1b7d2f933708450b7b3288f1fc863ab49fa901227cffc06e"
    "27899c7054d56fd74c",
    "63e81194946ebd05df7df5ebf5d8750056bf1f1d")


def kdf_rows():
    inputs = {k: bytes.fromhex(v) for k, v in NIST.items()}
    assert kdf(hashlib.sha1, length=132, **inputs) == NIST_SHA1
    for n, md in HASH.items():
        yield (n,) + kdf(md, length=132, **inputs)


print("/* SPDX-License-Identifier: GPL-3.0-or-later */")
print("/* Made by rfc_crypto.py, which names the source of each; bytes as text in hex. */")
print("#include <stdint.h>\n")
print("struct mac_vector {\n\tuint16_t id;\n\tconst char *key, *data, *mac;\n};")
print("struct dh_vector {\n\tuint16_t group;\n\tconst char *priv, *pub, *peer, *shared;\n};")
print("struct ed_vector {\n\tconst char *pem, *spki, *message, *signature;\n};")
print("struct kdf_vector {\n\tuint16_t prf;\n\tconst char *skeyseed, *dkm, *child, *child_dh, *rekey;\n};")
table("mac_vector", "rfc4231", "Transform type 2; s4.2 to s4.8 but the truncated one", hmac_rows())
table("mac_vector", "rfc4868", "Transform type 3, truncated; s2.7.2", auth_rows())
table("dh_vector", "rfc5903", "s8.2 and s8.3, both sides", ecp_rows())
table("dh_vector", "modp", "RFC 3526 groups, computed; see the generator", modp_rows())
table("ed_vector", "rfc8032", "s7.1, tests 1 to 3", ed_rows())
for k, v in NIST.items():
    print(f'#define NIST_{k.upper()} "{v}"')
table("kdf_vector", "nist_kdf", "The inputs of NIST's ACVP case for SHA-1, with SHA-2; see the generator", kdf_rows())
key, nonce, aad = bytes(range(0x80, 0xa0)), bytes.fromhex("070000004041424344454647"), bytes.fromhex("50515253c0c1c2c3c4c5c6c7")
plain = (b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.")
sealed = want(ChaCha20Poly1305(key).encrypt(nonce, plain, aad).hex(), "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6")
assert sealed.endswith("1ae10b594f09e26a7e902ecbd0600691")
print("/* RFC 8439 s2.8.2 */")
for label, v in (("KEY", key), ("NONCE", nonce), ("AAD", aad), ("TEXT", plain), ("SEALED", bytes.fromhex(sealed))):
    body = v.hex()
    rows = [body[i:i + 76] for i in range(0, len(body), 76)]
    print(f"#define RFC8439_{label} \\\n\t" + " \\\n\t".join(f'"{r}"' for r in rows))
