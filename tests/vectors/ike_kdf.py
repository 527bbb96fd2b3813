#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes ike_kdf.h: key derivation, AUTH and SK messages of RFC 7296, computed without Postern's code.

The derivations use only Python's hmac; the SK messages use the 'cryptography' package as a cipher and put the
message together here. Run by hand (python3 ike_kdf.py > ike_kdf.h); the tests use the committed header.
"""
import hashlib
import hmac
import struct

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

HASHES = {5: hashlib.sha256, 6: hashlib.sha384, 7: hashlib.sha512}


def prf(n, key, data):
    return hmac.new(key, data, HASHES[n]).digest()


def prf_plus(n, key, seed, length):
    out, t, i = b"", b"", 1
    while len(out) < length:
        t = prf(n, key, t + seed + bytes([i]))
        out += t
        i += 1
    return out[:length]


def seq(start, count):
    return bytes((start + i) & 255 for i in range(count))


def split(data, sizes):
    out = []
    for s in sizes:
        out.append(data[:s])
        data = data[s:]
    return out


def line(name, data):
    text = data.hex()
    print(f"#define {name} \\")
    rows = [text[i:i + 80] for i in range(0, len(text), 80)] or [""]
    print(" \\\n".join(f'\t"{r}"' for r in rows))


NI, NR = seq(0x10, 32), seq(0x50, 48)
SPI_I, SPI_R = 0x0102030405060708, 0xa1a2a3a4a5a6a7a8
SPIS = struct.pack(">QQ", SPI_I, SPI_R)
SHARED, SHARED2 = seq(0x80, 32), seq(0xc0, 66)
NAMES = ["SK_D", "SK_AI", "SK_AR", "SK_EI", "SK_ER", "SK_PI", "SK_PR"]
# prf, integrity key, cipher key with salt: AES-GCM-256, AES-CBC-128 with HMAC-SHA2-384, ChaCha20-Poly1305
SUITES = [(5, 0, 36), (6, 48, 16), (7, 0, 36)]

print("/* SPDX-License-Identifier: GPL-3.0-or-later */")
print("/* Made by ike_kdf.py; RFC 7296 s2.13 to s2.18, s3.14. */")
line("KDF_NI", NI)
line("KDF_NR", NR)
line("KDF_SHARED", SHARED)
line("KDF_SHARED2", SHARED2)
print(f"#define KDF_SPI_I UINT64_C({SPI_I:#x})")
print(f"#define KDF_SPI_R UINT64_C({SPI_R:#x})")
for n, a, e in SUITES:
    d = HASHES[n]().digest_size
    sizes = [d, a, a, e, e, d, d]
    keys = split(prf_plus(n, prf(n, NI + NR, SHARED), NI + NR + SPIS, sum(sizes)), sizes)
    for name, k in zip(NAMES, keys):
        line(f"KDF{n}_{name}", k)
    sk_d, sk_pi = keys[0], keys[5]
    new = split(prf_plus(n, prf(n, sk_d, SHARED2 + NI + NR), NI + NR + SPIS, sum(sizes)), sizes)
    line(f"KDF{n}_REKEY_SK_D", new[0])
    line(f"KDF{n}_REKEY_SK_PR", new[6])
    child = [e, a, e, a]
    for tag, z in (("CHILD", b""), ("CHILD_KE", SHARED2)):
        k = split(prf_plus(n, sk_d, z + NI + NR, sum(child)), child)
        for name, v in zip(("ENCR_I", "INTEG_I", "ENCR_R", "INTEG_R"), k):
            line(f"KDF{n}_{tag}_{name}", v)
    ident = b"\x02\0\0\0home.example.net"
    octets = b"first message" + NR + prf(n, sk_pi, ident)
    line(f"KDF{n}_OCTETS", octets)
    line(f"KDF{n}_PSK_AUTH", prf(n, prf(n, b"correct horse", b"Key Pad for IKEv2"), octets))


def sk_message(first, iv, body_len, fragment=b""):
    length = 28 + 4 + len(fragment) + len(iv) + body_len
    kind = 53 if fragment else 46
    return (SPIS + bytes([kind, 0x20, 37, 0x08]) + struct.pack(">II", 7, length) +
            bytes([first, 0]) + struct.pack(">H", length - 28) + fragment)


INNER = bytes([0, 0, 0, 8, 0, 0, 0x40, 0x00])  # N(INITIAL_CONTACT)
line("SK_INNER", INNER)
key, iv = seq(1, 20), seq(0, 8)
head = sk_message(41, iv, len(INNER) + 1 + 16)
line("SK_GCM128_KEY", key)
line("SK_GCM128", head + iv + AESGCM(key[:16]).encrypt(key[16:] + iv, INNER + b"\0", head))
frag = struct.pack(">HH", 1, 3)
head = sk_message(41, iv, len(INNER) + 1 + 16, frag)
line("SKF_GCM128", head + iv + AESGCM(key[:16]).encrypt(key[16:] + iv, INNER + b"\0", head))
key, auth, iv = seq(3, 32), seq(7, 48), seq(9, 16)
plain = INNER + seq(0xf0, 7 + 16) + bytes([7 + 16])  # one block more padding than needed
head = sk_message(41, iv, len(plain) + 24)
enc = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
msg = head + iv + enc.update(plain) + enc.finalize()
line("SK_CBC256_KEY", key)
line("SK_CBC256_AUTH", auth)
line("SK_CBC256", msg + hmac.new(auth, msg, hashlib.sha384).digest()[:24])
