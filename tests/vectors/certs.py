#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes certs.h: a small PKI for the certificate tests (python3 certs.py > certs.h). Keys are thrown away."""
import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

START = datetime.datetime(2026, 1, 1)
END = datetime.datetime(2036, 1, 1)
SANS = [x509.DNSName("vps.example.net"), x509.RFC822Name("admin@example.net"),
        x509.IPAddress(ipaddress.ip_address("192.0.2.1")),
        x509.IPAddress(ipaddress.ip_address("2001:db8::1"))]


def name(cn):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn)])


def cert(subject, key, issuer, signer, ca=None, sans=(), usage=None, md=hashes.SHA256(), serial=1):
    b = x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(issuer))
    b = b.public_key(key.public_key()).serial_number(serial)
    b = b.not_valid_before(START).not_valid_after(END)
    if ca is not None:
        b = b.add_extension(x509.BasicConstraints(ca, None), True)
    if sans:
        b = b.add_extension(x509.SubjectAlternativeName(list(sans)), False)
    if usage:
        bits = ["digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
                "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"]
        b = b.add_extension(x509.KeyUsage(**{k: k in usage for k in bits}), True)
    return b.sign(signer, md)


def emit(label, c):
    print(f"#define {label} \\")
    rows = c.public_bytes(serialization.Encoding.PEM).decode().strip().split("\n")
    print(" \\\n".join(f'\t"{r}\\n"' for r in rows))


ec_key = lambda: ec.generate_private_key(ec.SECP256R1())
root, inter, leaf, other, user = ec_key(), ec_key(), ec_key(), ec_key(), ec_key()
weak = rsa.generate_private_key(65537, 1024)
print("/* SPDX-License-Identifier: GPL-3.0-or-later */")
print("/* Made by certs.py: valid 2026-01-01 to 2036-01-01. */")
print(f"#define CERTS_INSIDE INT64_C({int(datetime.datetime(2030, 1, 1).timestamp())})")
print(f"#define CERTS_BEFORE INT64_C({int(datetime.datetime(2020, 1, 1).timestamp())})")
print(f"#define CERTS_AFTER INT64_C({int(datetime.datetime(2040, 1, 1).timestamp())})")
emit("CERT_ROOT", cert("root", root, "root", root, True))
emit("CERT_OTHER_ROOT", cert("root", other, "root", other, True))
emit("CERT_INTER", cert("inter", inter, "root", root, True, serial=2))
emit("CERT_LEAF", cert("vps", leaf, "inter", inter, False, SANS, ["digital_signature"], serial=3))
emit("CERT_PLAIN", cert("plain", leaf, "root", root, serial=4))
emit("CERT_NO_SIGN", cert("no sign", leaf, "root", root, False, SANS, ["key_encipherment"], serial=5))
# A leaf that plays the authority.
emit("CERT_USER", cert("user", user, "root", root, False, serial=6))
emit("CERT_BY_USER", cert("vps", leaf, "user", user, False, SANS, serial=7))
emit("CERT_RSA1024", cert("weak", weak, "root", root, serial=8))
emit("CERT_NUL", cert("nul", leaf, "root", root, False, [x509.DNSName("vps.example.net\0.evil.example")], serial=9))
