# SPDX-License-Identifier: GPL-3.0-or-later
"""strongSwan (kernel-libipsec, from Debian) as the other end, IKE and data, in depth: rebinds, coming back.

usage: strongswan.py start|wait psk|raw|cert [RELEASE]	(our role, how both sides authenticate, Debian's name of the
release that strongSwan is from, such as trixie)
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "netns"))
import testlib  # noqa: E402
from testlib import check, require, wait_for  # noqa: E402

role, auth = sys.argv[1:3]
release = sys.argv[3] if len(sys.argv) > 3 else None
testlib.need_scratch()
lab, net = testlib.start()
import cast  # noqa: E402
import swan as swanlib  # noqa: E402

VPS, HOME = "vps.example.net", "home.example.net"
ours, theirs = (net.home, net.vps) if role == "start" else (net.vps, net.home)
our_id, their_id = (HOME, VPS) if role == "start" else (VPS, HOME)
our_name, their_name = ("home", "vps") if role == "start" else ("vps", "home")
PSK = "Vq0rS8hVn1hTgkXk2m5bM1sQm6q2j7d8kqYp3z4w5x6y"


def psk_files():
    """(our [posternd] lines, our peer lines, their local, their remote, their secrets)"""
    ours.write("/etc/postern/keys/psk", PSK + "\n", mode=0o600)
    secrets = f"  ike-1 {{\n    id-1 = {VPS}\n    id-2 = {HOME}\n    secret = \"{PSK}\"\n  }}"
    return "", "psk = keys/psk", "auth = psk", "auth = psk", secrets


def raw_files():
    ours.run([testlib.POSTERN, "keygen", f"/etc/postern/keys/{our_name}.key"])
    theirs.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", "/etc/swanctl/private/own.pem"])
    theirs.run(["openssl", "pkey", "-in", "/etc/swanctl/private/own.pem", "-pubout", "-out", "/etc/swanctl/pubkey/own.pem"])
    ours.write(f"/etc/postern/keys/{their_name}.pub", theirs.read("/etc/swanctl/pubkey/own.pem"))
    theirs.write("/etc/swanctl/pubkey/peer.pem", ours.read(f"/etc/postern/keys/{our_name}.pub"))
    return (f"private-key = keys/{our_name}.key", f"public-key = keys/{their_name}.pub",
            "auth = pubkey\n      pubkeys = own.pem", "auth = pubkey\n      pubkeys = peer.pem", "")


def cert_files():
    ours.run(["sh", "-c", f"""set -e; mkdir -p /tmp/ca; cd /tmp/ca
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj '/CN=Lab CA' -keyout ca.key -out ca.pem
for n in {VPS} {HOME}; do
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$n" -keyout $n.key -out $n.csr
echo "subjectAltName=DNS:$n" >ext
openssl x509 -req -in $n.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 20 -extfile ext -out $n.pem
done"""])
    for to, name in (("own.key", f"{our_id}.key"), ("own.pem", f"{our_id}.pem"), ("ca.pem", "ca.pem")):
        ours.write(f"/etc/postern/keys/{to}", ours.read(f"/tmp/ca/{name}"), mode=0o600 if to == "own.key" else 0o644)
    for to, name in (("private/own.pem", f"{their_id}.key"), ("x509/own.pem", f"{their_id}.pem"), ("x509ca/ca.pem", "ca.pem")):
        theirs.write(f"/etc/swanctl/{to}", ours.read(f"/tmp/ca/{name}"))
    return ("private-key = keys/own.key", "certificate = keys/own.pem\nca = keys/ca.pem",
            "auth = pubkey\n      certs = own.pem", "auth = pubkey", "")


ours.run(["mkdir", "-p", "/etc/postern/keys"])
charon = swanlib.Swan(theirs, release)
print("strongSwan", charon.version())
own_lines, peer_lines, local_auth, remote_auth, secrets = dict(psk=psk_files, raw=raw_files, cert=cert_files)[auth]()
if role == "start":
    conf = f"""[posternd]
identity = {HOME}
{own_lines}

[peer vps]
address = {net.VPS4}
identity = {VPS}
{peer_lines}
networks = 10.99.0.1, fd99::1
start = always
"""
    pools = "pools {\n  v4 {\n    addrs = 10.99.0.2\n  }\n  v6 {\n    addrs = fd99::2\n  }\n}"
    net.vps.addr("lo", "10.99.0.1/32", "fd99::1/128")
    conn = f"local_addrs = {net.VPS4}\n    remote_addrs = %any\n    pools = v4, v6"
    child = "local_ts = 10.99.0.1/32, fd99::1/128"
    target, source = "10.99.0.1", "10.99.0.2"
else:
    conf = f"""[posternd]
identity = {VPS}
{own_lines}
tunnel-address = 10.99.0.1, fd99::1

[peer home]
identity = {HOME}
{peer_lines}
assign = 10.99.0.2, fd99::2
"""
    pools = ""
    conn = f"local_addrs = %any\n    remote_addrs = {net.VPS4}\n    vips = 0.0.0.0, ::"
    child = "remote_ts = 10.99.0.1/32, fd99::1/128"
    target, source = "10.99.0.2", "10.99.0.1"
connections = f"""connections {{
  net {{
    version = 2
    {conn}
    proposals = aes256gcm16-prfsha256-x25519, aes128gcm16-prfsha256-x25519
    dpd_delay = 10s
    keyingtries = 0
    local {{
      {local_auth}
      id = {their_id}
    }}
    remote {{
      {remote_auth}
      id = {our_id}
    }}
    children {{
      net {{
        {child}
        esp_proposals = aes128gcm16, aes256gcm16
        rekey_time = 3600
      }}
    }}
  }}
}}
{pools}
secrets {{
{secrets}
}}
"""
ours.write("/etc/postern/postern.conf", conf)
us = cast.Side(ours, our_name)
if role == "start":
    charon.start()
    charon.load(connections)
    us.start_posternd()
else:
    us.start_posternd()
    wait_for("posternd answers", lambda: us.cli("status", check=False).returncode == 0)
    charon.start()
    charon.load(connections)
    charon.ctl("--initiate", "--child", "net", check=False)


def ping(m, to, count=1):
    return m.run(["ping", "-c", str(count), "-W", "2", to], check=False).returncode == 0


def transfer(client, server, address):
    server.start(["iperf3", "-s", "-1", "-B", address], log="iperf3")
    return wait_for("iperf3", lambda: client.run(["iperf3", "-c", address, "-n", "8M"], check=False).returncode == 0)


require("the IKE SA and the CHILD SA come up", wait_for("tunnel", lambda: us.up(their_name), 30))
check("data passes from home, IPv4", wait_for("ping", lambda: ping(net.home, "10.99.0.1"), 10))
check("data passes from the vps, IPv4", wait_for("ping", lambda: ping(net.vps, "10.99.0.2"), 10))
check("data passes, IPv6", wait_for("ping6", lambda: ping(net.home, "fd99::1"), 10))
check("8 MB of TCP from home", transfer(net.home, net.vps, "10.99.0.1"))
check("8 MB of TCP from the vps", transfer(net.vps, net.home, "10.99.0.2"))
old = charon.spis()
charon.ctl("--rekey", "--child", "net")
check("strongSwan rekeys the CHILD SA", wait_for("new SPIs", lambda: not (charon.spis() & old) and ping(ours, target), 15))
charon.ctl("--rekey", "--ike", "net")
check("strongSwan rekeys the IKE SA",
      wait_for("one established IKE SA", lambda: charon.sas().count("ESTABLISHED") == 1 and ping(ours, target), 15))
old = charon.spis()
us.cli("rekey", their_name)
check("we rekey the CHILD SA", wait_for("new SPIs", lambda: not (charon.spis() & old) and ping(theirs, source), 15))
us.cli("rekey", "--ike", their_name)
check("we rekey the IKE SA",
      wait_for("one established IKE SA", lambda: charon.sas().count("ESTABLISHED") == 1 and ping(theirs, source), 15))
check("exactly one CHILD SA is left", wait_for("one CHILD", lambda: charon.sas().count("INSTALLED") == 1, 15), charon.sas())
if role == "start":
    net.nat_rebind()
    check("a NAT rebind is survived", wait_for("ping again", lambda: ping(net.home, "10.99.0.1"), 30))
    charon.ctl("--terminate", "--ike", "net", check=False)
    check("after strongSwan's delete we come back by ourselves",
          wait_for("up again", lambda: us.up(their_name) and ping(net.home, "10.99.0.1"), 40))
else:
    charon.ctl("--terminate", "--ike", "net", check=False)
    check("strongSwan's delete is honoured", wait_for("down", lambda: not us.up(their_name), 15))
testlib.done()
