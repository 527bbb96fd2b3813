# SPDX-License-Identifier: GPL-3.0-or-later
"""Cells of the matrix: suites of IKE and of ESP, groups of both, and who proves himself how."""
import re

from pair import PSK, Cell, Pair, Wrong, need, within

# charon's word in proposals: how swanctl --list-sas names it.
SWAN = {"aes128gcm16": "AES_GCM_16-128", "aes256gcm16": "AES_GCM_16-256", "chacha20poly1305": "CHACHA20_POLY1305",
        "aes128": "AES_CBC-128", "aes256": "AES_CBC-256", "sha256": "HMAC_SHA2_256_128", "sha384": "HMAC_SHA2_384_192",
        "sha512": "HMAC_SHA2_512_256", "prfsha256": "PRF_HMAC_SHA2_256", "prfsha384": "PRF_HMAC_SHA2_384",
        "prfsha512": "PRF_HMAC_SHA2_512", "modp2048": "MODP_2048", "modp3072": "MODP_3072", "modp4096": "MODP_4096",
        "ecp256": "ECP_256", "ecp384": "ECP_384", "ecp521": "ECP_521", "x25519": "CURVE_25519"}
AEAD = ["aes128gcm16", "aes256gcm16", "chacha20poly1305"]
CBC = [f"{c}-{i}" for c in ("aes128", "aes256") for i in ("sha256", "sha384", "sha512")]
GROUPS = ["modp2048", "modp3072", "modp4096", "ecp256", "ecp384", "ecp521", "x25519"]


def named(suite):
    return "/".join(SWAN[w] for w in suite.split("-"))


def agreed(pair, cell):
    """What charon says that it speaks is what it was told to; the whole of standard() besides."""
    pair.standard(cell)
    sas = pair.swan.sas()
    need(f"IKE {named(cell.ike)} in {sas}", f"  {named(cell.ike)}\n" in sas)
    # In a rekey ours, the last, a group comes along if charon wants one.
    need(f"ESP {named(cell.esp)} in {sas}", re.search(rf"ESP:{re.escape(named(cell.esp))}\n", sas))


def proved(*patterns):
    def run(pair, cell):
        pair.connect()
        pair.ping()
        pair.transfer(50_000)
        for pattern in patterns:
            need(f"charon logs /{pattern}/", re.search(pattern, pair.log()))
    return run


CELLS = []
for ike in [f"{s}-prfsha{n}-x25519" for s in AEAD for n in (256, 384, 512)]:
    CELLS.append(Cell("IKE suite", ike, ike=ike, run=agreed, quick="aes128gcm16-prfsha256" in ike))
for suite in CBC:
    for n in (256, 384, 512):
        if suite.startswith("aes256") or suite.endswith(str(n)):
            CELLS.append(Cell("IKE suite", f"{suite}-prfsha{n}-x25519", ike=f"{suite}-prfsha{n}-x25519", run=agreed))
for g in GROUPS:
    CELLS.append(Cell("IKE group", g, ike=f"aes256gcm16-prfsha256-{g}", run=agreed, quick=g in ("modp2048", "ecp384")))
for suite in AEAD + CBC:
    CELLS.append(Cell("ESP suite", suite, esp=suite, run=agreed, quick=suite in ("chacha20poly1305", "aes256-sha512")))
for g in GROUPS:
    CELLS.append(Cell("ESP rekey with PFS", g, esp=f"aes128gcm16-{g}", run=agreed, quick=g == "ecp256"))


# ---- who proves himself how ----

# What charon writes when we have proved ourselves, by our key.
SIGNED = {"ed25519": "ED25519", "ecdsa256": "ECDSA_WITH_SHA256_DER", "ecdsa384": "ECDSA_WITH_SHA384_DER",
          "ecdsa521": "ECDSA_WITH_SHA512_DER", "rsa": "RSA_EMSA_PSS_SHA2_256"}
CLASSIC = {"ecdsa256": "ECDSA-256 signature", "ecdsa384": "ECDSA-384 signature", "ecdsa521": "ECDSA-521 signature"}
THEIR_ID, OUR_ID = r"authentication of '\S+' \(myself\) with ", r"authentication of '\S+' with "

CELLS.append(Cell("authentication", "PSK", run=proved(OUR_ID + "pre-shared key"), quick=True))
for how in ("raw", "cert"):
    for kind in ("ed25519", "ecdsa256", "ecdsa384", "ecdsa521", "rsa2048", "rsa3072"):
        name = f"{dict(raw='raw key', cert='certificate')[how]} {kind}"
        CELLS.append(Cell("authentication", name, ours=f"{how}:{kind}", theirs=f"{how}:{kind}", quick=kind == "rsa2048",
                          run=proved(OUR_ID + SIGNED["rsa" if kind.startswith("rsa") else kind])))
CELLS.append(Cell("authentication", "certificate rsa3072, RSA-PSS of charon too", ours="cert:rsa3072", theirs="cert:rsa3072",
                  settings="  rsa_pss = yes", run=proved(THEIR_ID + "RSA_EMSA_PSS")))
CELLS.append(Cell("authentication", "certificate rsa3072, RSA-PKCS1 of charon", ours="cert:rsa3072", theirs="cert:rsa3072",
                  settings="  rsa_pss = no", run=proved(THEIR_ID + "RSA_EMSA_PKCS1_SHA2")))
for kind in ("ecdsa256", "ecdsa384", "ecdsa521"):
    CELLS.append(Cell("authentication", f"classic method, certificate {kind} (RFC 4754)", ours=f"cert:{kind}", theirs=f"cert:{kind}",
                      settings="  signature_authentication = no", quick=kind == "ecdsa384",
                      run=proved(OUR_ID + CLASSIC[kind])))
CELLS.append(Cell("authentication", "chain with an intermediate, ecdsa256", ours="chain:ecdsa256", theirs="chain:ecdsa256",
                  run=proved(OUR_ID)))
CELLS.append(Cell("authentication", "different keys: we ed25519 raw, charon ecdsa384 raw", ours="raw:ed25519",
                  theirs="raw:ecdsa384", run=proved(OUR_ID + "ED25519")))


# Another method on each side: (how the row names it, the cell's word, charon's words for it).
PSK_WAY = ("PSK", "psk", "pre-shared key")
for ours, theirs in ((PSK_WAY, ("certificate ecdsa256", "cert:ecdsa256", "ECDSA_WITH_SHA256_DER")),
                     (("certificate ecdsa256", "cert:ecdsa256", "ECDSA_WITH_SHA256_DER"), PSK_WAY),
                     (PSK_WAY, ("raw key ed25519", "raw:ed25519", "ED25519")),
                     (("raw key ecdsa384", "raw:ecdsa384", "ECDSA_WITH_SHA384_DER"), PSK_WAY),
                     (("raw key ed25519", "raw:ed25519", "ED25519"), ("certificate rsa2048", "cert:rsa2048", "RSA_EMSA_")),
                     (("certificate ecdsa384", "cert:ecdsa384", "ECDSA_WITH_SHA384_DER"), ("raw key ed25519", "raw:ed25519", "ED25519"))):
    CELLS.append(Cell("authentication", f"another method on each side: we {ours[0]}, charon {theirs[0]}", ours=ours[1], theirs=theirs[1],
                      run=proved(OUR_ID + ours[2], THEIR_ID + theirs[2]), quick=ours is PSK_WAY and "cert" in theirs[1]))


def refused(*words):
    """No tunnel; status says all of @words, and after the reason is gone the same peer comes up."""
    def run(pair, cell):
        pair.call()

        def told():
            p = pair.peer()
            text = " ".join(t for t in (p.get("failure"), p.get("claim"), pair.us.status().get("refused")) if t)
            return text if all(re.search(w, text) for w in words) else None
        try:
            within("the reason in status", told, 10)
        except Wrong:
            p = pair.peer()
            raise Wrong(f"status says: {p.get('state')}, {p.get('failure')}, {p.get('claim')}, "
                        f"{pair.us.status().get('refused')}; wanted {words}") from None
        need("it is not up", not pair.us.up("swan"))
    return run


CELLS.append(Cell("refused, with the reason", "RSA with SHA-1 (method 1)", ours="cert:rsa2048", theirs="cert:rsa2048",
                  settings="  signature_authentication = no", run=refused("SHA-?1|method 1")))
CELLS.append(Cell("refused, with the reason", "wrong PSK", run=refused("PSK|secret|psk"), quick=True, secret="N0" + PSK[2:]))
CELLS.append(Cell("refused, with the reason", "we PSK, charon expects a signature", remote="auth = pubkey", run=refused("`local-auth`")))
CELLS.append(Cell("refused, with the reason", "charon PSK, we expect a certificate", ours="cert:ecdsa256", theirs="cert:ecdsa256",
                  local="auth = psk", run=refused("used a PSK, and `ca` asks for a certificate")))
CELLS.append(Cell("refused, with the reason", "3des-sha1-modp1024 for IKE", ike="3des-sha1-modp1024",
                  run=refused("propos|offer"), quick=True))
CELLS.append(Cell("refused, with the reason", "modp1024 alone for IKE", ike="aes128-sha256-modp1024", run=refused("propos|offer")))
CELLS.append(Cell("refused, with the reason", "3des-sha1 for ESP", esp="3des-sha1", run=refused("propos|offer")))
CELLS.append(Cell("refused, with the reason", "selectors that have nothing in common", ts=("10.77.0.0/24", None),
                  run=refused("selector|TS_UNACCEPTABLE|local-ts|remote-ts")))


def other_group(pair, cell):
    """Whoever calls guesses the wrong group and is told the right one (INVALID_KE_PAYLOAD)."""
    pair.standard(cell)
    if not pair.starts:
        need("charon was told of another group", re.search("peer didn't accept key exchange method|peer didn't accept DH group", pair.log()))
    else:
        need("we were told of another group", re.search(r"(KE|DH group) .* inacceptable|unacceptable, requesting", pair.log()))


CELLS.append(Cell("negotiation", "INVALID_KE_PAYLOAD: charon begins with modp1024, takes ecp384",
                  ike="aes256gcm16-prfsha256-modp1024, aes256gcm16-prfsha256-ecp384", roles=("wait",), run=other_group))
CELLS.append(Cell("negotiation", "INVALID_KE_PAYLOAD: charon takes modp3072 alone", ike="aes256gcm16-prfsha256-modp3072",
                  roles=("start",), run=other_group, quick=True))
for ours, ike in (("chacha20poly1305-prfsha512-ecp521", "CHACHA20_POLY1305/PRF_HMAC_SHA2_512/ECP_521"),
                  ("aes256-sha384-prfsha384-modp4096", "AES_CBC-256/HMAC_SHA2_384_192/PRF_HMAC_SHA2_384/MODP_4096")):
    def chosen(pair, cell, ike=ike):
        pair.standard(cell)
        need(f"{ike} in {pair.swan.sas()}", ike in pair.swan.sas() and "ESP:AES_CBC-256/HMAC_SHA2_512_256" in pair.swan.sas())
    CELLS.append(Cell("negotiation", f"ike-proposals = {ours}, esp-proposals = aes256-sha512, charon takes what there is",
                      ike="default", esp="default", peer=f"ike-proposals = {ours}\nesp-proposals = aes256-sha512",
                      run=chosen))
CELLS.append(Cell("negotiation", "several proposals: the best of both is taken", ike="3des-sha1-modp1024, aes128-sha1-modp1024, "
                  "aes128-sha256-modp2048, aes256gcm16-prfsha384-ecp384", run=Pair.standard))
