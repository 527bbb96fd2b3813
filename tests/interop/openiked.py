# SPDX-License-Identifier: GPL-3.0-or-later
"""OpenIKED (Debian's portable one) as the other end, IKE only: where the kernel has no PF_KEY it is told that all
was installed (no_pfkey.c), so CHILD SAs are negotiated, rekeyed and deleted, but carry nothing.

usage: openiked.py start|wait psk|raw [--results FILE]
"""
import json
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "netns")]
import testlib  # noqa: E402
from testlib import check, wait_for  # noqa: E402

role, auth = sys.argv[1:3]
results = os.path.abspath(sys.argv[4]) if sys.argv[3:4] == ["--results"] else None
testlib.need_scratch()
if not os.path.exists(os.path.join(testlib.SCRATCH, "usr/sbin/iked")):
    testlib.skip("no openiked in the scratch folder: tests/netns/fetch unpacks it")
lab, net = testlib.start()
import cast  # noqa: E402
from pair import HOME, PSK, VPS  # noqa: E402

ours, theirs = (net.home, net.vps) if role == "start" else (net.vps, net.home)
our_id, their_id = (HOME, VPS) if role == "start" else (VPS, HOME)
shim = os.path.join(testlib.BUILD, "tests/interop/libno_pfkey.so")
got = []


def row(what, ok):
    check(what, ok)
    got.append((what, ok))


def seen(pattern, since=0):
    with open(iked.log, errors="replace") as f:
        f.seek(since)
        return re.search(pattern, f.read())


def waited(probe, seconds=15):
    try:
        return bool(wait_for("", probe, seconds))
    except testlib.Failed:
        return False


theirs.run(["sh", "-c", """set -e
echo '_iked:x:2050:2050::/run/empty:/usr/sbin/nologin' >>/etc/passwd; echo '_iked:x:2050:' >>/etc/group
cd /etc; mkdir -p /run/empty iked/private iked/pubkeys/fqdn iked/ca iked/certs iked/crls
openssl ecparam -name secp384r1 -genkey -noout -out iked/private/local.key; chmod 600 iked/private/local.key
openssl pkey -in iked/private/local.key -pubout -out iked/local.pub"""])
ours.run(["mkdir", "-p", "/etc/postern/keys"])
if auth == "psk":
    ours.write("/etc/postern/keys/psk", PSK + "\n", mode=0o600)
    lines, how = "psk = keys/psk", f'psk "{PSK}"'
else:
    ours.run([testlib.POSTERN, "keygen", "--type", "ecdsa-p384", "/etc/postern/keys/own.key"])
    ours.write("/etc/postern/keys/peer.pub", theirs.read("/etc/iked/local.pub"))
    theirs.write(f"/etc/iked/pubkeys/fqdn/{our_id}", ours.read("/etc/postern/keys/own.pub"))
    lines, how = "private-key = keys/own.key\npublic-key = keys/peer.pub", "ecdsa384"
if role == "start":
    place, own = f"address = {net.VPS4}\nnetworks = 10.99.0.1\nstart = always", "10.99.0.2"
    policy = f"passive esp from 10.99.0.1 to 10.99.0.2 local {net.VPS4} peer any"
else:
    place, own = "networks = 10.99.0.2", "10.99.0.1"
    policy = f"active esp from 10.99.0.2 to 10.99.0.1 local 100.64.0.2 peer {net.VPS4}"
ours.write("/etc/postern/postern.conf", f"""[posternd]
identity = {our_id}
tunnel-address = {own}

[peer iked]
identity = {their_id}
{place}
{lines}
""")
theirs.write("/etc/iked.conf", f"""ikev2 "net" {policy} \\
  ikesa enc aes-256 auth hmac-sha2-384 prf hmac-sha2-384 group ecp384 \\
  childsa enc aes-256 auth hmac-sha2-512 group ecp384 \\
  srcid {their_id} dstid {our_id} {how}
""", mode=0o600)
us = cast.Side(ours, "posternd")
if role == "wait":
    us.start_posternd()
    wait_for("posternd answers", lambda: us.cli("status", check=False).returncode == 0)
iked = theirs.start(["/usr/sbin/iked", "-dvv", "-f", "/etc/iked.conf"], log="iked", env={"LD_PRELOAD": shim})
waited(lambda: seen("compilation done"))
if role == "start":
    us.start_posternd()
ike = lambda: us.peer("iked").get("ike") or {}  # noqa: E731
spis = lambda: {c["spi_in"] for c in ike().get("children", [])}  # noqa: E731
row("IKE SA and CHILD SA negotiated: aes256-sha384-prfsha384-ecp384, aes256-sha512",
    waited(lambda: us.up("iked") and ike().get("suite") == "aes256-sha384-prfsha384-ecp384" and
           seen(r"sa_state: \w+ -> ESTABLISHED")))
for what, argv in (("CHILD SA, with PFS by ecp384", ["rekey", "iked"]), ("IKE SA", ["rekey", "--ike", "iked"])):
    old, spi_i = spis(), ike().get("spi_i")
    us.cli(*argv, check=False)
    row(f"we rekey the {what}", bool(old) and waited(lambda: spis() and not spis() & old if "CHILD" in what else
        ike().get("spi_i") not in (None, spi_i)) and us.up("iked"))
at = os.path.getsize(iked.log)
us.cli("down", "iked")
row("our Delete ends it there", waited(lambda: seen(r"sa_free|CLOSED", at)))
if results:
    policy = subprocess.run(["apt-cache", "policy", "openiked"], capture_output=True, text=True).stdout
    version = re.search(r"Candidate: ([0-9.]+)", policy).group(1)
    with open(results, "a") as f:
        for what, ok in got:
            json.dump(dict(peer="OpenIKED", version=version, role=role, group="OpenIKED, IKE only",
                           name=f"{dict(psk='PSK', raw='raw keys, ecdsa384')[auth]}: {what}",
                           wrong=None if ok else "see the test's log", why_not=None), f)
            f.write("\n")
testlib.done()
