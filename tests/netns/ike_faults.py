# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input on the wire of a real pair: garbage, wrong keys and identities, replayed and forged ESP, a neighbour.

Nothing of it may move the endpoint, disturb the tunnel, or fill a log.
"""
import re
import sys

import testlib
from testlib import answered, check, require, wait_for

lab, net = testlib.start(hosts=[("evil", "198.51.100.66")])
import cast  # noqa: E402

vps, home = cast.tunnel(net)


def ping(to="10.99.0.1", m=net.home):
    return m.run(["ping", "-c1", "-W3", to], check=False).returncode == 0


# --- a wrong key: refused, explained, never up
good = vps.m.read("/etc/postern/keys/home.pub")
vps.m.run([testlib.POSTERN, "keygen", "/etc/postern/keys/other.key"])
vps.m.write("/etc/postern/keys/home.pub", vps.m.read("/etc/postern/keys/other.pub"))
vps.start_posternd()
home.start_posternd()
wait_for("both control sockets answer", lambda: vps.status() and home.status())


def explained(side, peer, word):
    return wait_for(f"status of {side.tag} explains", lambda: word in str(side.peer(peer).get("failure") or ""), 20)


def claimed(word):
    return wait_for("status of the VPS explains", lambda: word in str(vps.peer("home").get("claim") or ""), 20)


check("a wrong key shows as AUTHENTICATION_FAILED at home", explained(home, "vps", "AUTHENTICATION_FAILED"))
check("and the VPS says which key of the configuration decides", claimed("public-key"))
check("but not as a failure of home, which has proved nothing", not vps.peer("home").get("failure"))
with open(vps.d.log) as f:
    told = sum("the signature" in line for line in f)
check("once in the log for each claim", 0 < told <= vps.peer("home").get("claims", 0), told)
check("the tunnel is not up", not home.up("vps") and not vps.up("home"))
vps.m.write("/etc/postern/keys/home.pub", good)
vps.cli("reload")
check("with the right key and a reload it comes up by itself", wait_for("up", lambda: home.up("vps") and ping(), 40))
check("the failure is gone from status", not home.peer("vps").get("failure"))

# --- an address that may not be ours
plain = home.m.read("/etc/postern/postern.conf")
home.m.write("/etc/postern/postern.conf", plain + "accept-assigned = 10.98.0.0/16, fd00::/8\n")
home.cli("reload")
home.d.terminate()
home.d.wait(60)
home.start_posternd()
check("an address outside accept-assigned is refused and explained", explained(home, "vps", "accept-assigned"))
states = {home.peer("vps").get("state") for _ in range(40)}
check("the tunnel never counts as up with it", "up" not in states, states)
check("the VPS is told", wait_for("down", lambda: not vps.up("home"), 10))
home.m.write("/etc/postern/postern.conf", plain)
home.cli("reload")
check("without that line and a reload it is up", wait_for("up", lambda: home.up("vps") and ping(), 40))

# --- a wrong identity
conf = home.m.read("/etc/postern/postern.conf")
home.m.write("/etc/postern/postern.conf", conf.replace("identity = home.example.net", "identity = hole.example.net"))
home.d.terminate()
home.d.wait(60)
home.start_posternd()
check("an unknown identity gets the same answer as a wrong key", explained(home, "vps", "AUTHENTICATION_FAILED"))
home.m.write("/etc/postern/postern.conf", conf)
home.d.terminate()
home.d.wait(60)
home.start_posternd()
require("the right identity comes up again", wait_for("up", lambda: home.up("vps") and ping(), 40))

# --- garbage on 4500 and 500 from a stranger
GARBAGE = """
import os, random, socket, sys, time
random.seed(7)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("0.0.0.0", 0))
head = lambda n, ver=0x20, ex=34, fl=8, mid=0: os.urandom(8) + bytes(8) + bytes([33, ver, ex, fl]) + mid.to_bytes(4, "big") + n.to_bytes(4, "big")
for i in range(4000):
    k = i % 8
    if k == 0: d = os.urandom(random.randrange(0, 1400))
    elif k == 1: d = b"\\0\\0\\0\\0" + os.urandom(random.randrange(0, 200))
    elif k == 2: d = b"\\xff"
    elif k == 3: d = b"\\0\\0\\0\\0" + head(28)
    elif k == 4: d = b"\\0\\0\\0\\0" + head(2**32 - 1) + os.urandom(64)
    elif k == 5: d = b"\\0\\0\\0\\0" + head(28 + 64) + os.urandom(64)
    elif k == 6: d = os.urandom(4) + os.urandom(60)
    else: d = b"\\0\\0\\0\\0" + head(40, ver=0x30) + os.urandom(12)
    s.sendto(d, (sys.argv[1], 4500)); s.sendto(d[4:], (sys.argv[1], 500))
    if i % 200 == 0: time.sleep(0.01)
"""


def size(p):
    with open(p.log) as f:
        return len(f.readlines())


before = size(vps.d)
endpoint = vps.peer("home").get("endpoint")
net.evil.python(GARBAGE, net.VPS4)
check("4000 garbage datagrams write no more than 60 log lines", size(vps.d) - before <= 60, size(vps.d) - before)
check("the tunnel does not notice them", answered(net.home, "10.99.0.1") and vps.peer("home").get("endpoint") == endpoint)
check("posternd lives", vps.d.poll() is None)

# --- ESP captured on the wire: replayed as it is, from another address, and changed
CAPTURE = """
import socket, sys, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)); s.settimeout(0.2)
print("ready", flush=True)
out, end = [], time.time() + float(sys.argv[2])
while time.time() < end and len(out) < 16:
    try: f = s.recv(4000)
    except TimeoutError: continue
    if f[12:14] == b"\\x08\\0" and f[23] == 17 and f[14+16:14+20] == socket.inet_aton(sys.argv[1]) and f[36:38] == (4500).to_bytes(2, "big"):
        d = f[42:]
        if d[:4] != bytes(4) and len(d) > 20: out.append(d)
print("\\n".join(x.hex() for x in out))
"""
cap = net.wan.start([sys.executable, "-c", CAPTURE, net.VPS4, "30"], log="capture")
wait_for("it captures", lambda: "ready" in open(cap.log).read())
net.home.run(["ping", "-c16", "-i0.2", "10.99.0.1"], check=False)
cap.wait(60)
with open(cap.log) as f:
    captured = [line.strip() for line in f if re.fullmatch(r"[0-9a-f]+", line.strip())]
require("ESP packets were captured on the wire", len(captured) >= 4, len(captured))
SEND = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("0.0.0.0", 4500))
for line in sys.stdin.read().split(): s.sendto(bytes.fromhex(line), (sys.argv[1], 4500))
"""


def counter(name):
    out = vps.cli("status", "--counters", "--json").stdout
    m = re.search(rf'"{name}":\s*(\d+)', out)
    return int(m.group(1)) if m else 0


before = counter("replayed")
net.evil.python(SEND, net.VPS4, input="\n".join(captured))
check("replayed ESP is dropped and counted", wait_for("counter", lambda: counter("replayed") >= before + len(captured), 5))
check("a replay from another address does not move the endpoint", vps.peer("home").get("endpoint") == endpoint,
      vps.peer("home").get("endpoint"))
forged = []
for c in captured:
    b = bytearray(bytes.fromhex(c))
    b[4:8] = (int.from_bytes(b[4:8], "big") + 1000).to_bytes(4, "big")  # a number never seen
    forged.append(b.hex())
before = counter("bad_icv")
net.evil.python(SEND, net.VPS4, input="\n".join(forged))
check("forged ESP fails its ICV and is counted", wait_for("counter", lambda: counter("bad_icv") >= before + len(forged), 5))
check("forged ESP does not move the endpoint", vps.peer("home").get("endpoint") == endpoint)
check("nor does it move the window: the tunnel goes on", answered(net.home, "10.99.0.1"))

# --- a neighbour on the WAN segment reaches for the tunnel addresses
net.vps.start([sys.executable, "-c", "import socket\ns = socket.create_server(('10.99.0.1', 2525))\nwhile True: s.accept()"],
              log="listener")
wait_for("home reaches the listener", lambda: net.home.python(
    "import socket; socket.create_connection(('10.99.0.1', 2525), 1)", check=False).returncode == 0)
net.evil.run(["ip", "route", "add", "10.99.0.0/24", "via", net.VPS4])
REACH = "import socket; socket.create_connection(('10.99.0.1', 2525), 2)"
check("a neighbour does not reach the tunnel address", net.evil.python(REACH, check=False).returncode != 0)
check("nor by ping", not ping("10.99.0.1", net.evil))
net.evil.run(["ip", "-6", "addr", "add", "2001:db8:51::66/64", "dev", "wan", "nodad"])
net.evil.run(["ip", "-6", "route", "add", "fd99::/64", "via", net.VPS6])
check("nor by IPv6", not ping("fd99::1", net.evil))
check("home still does", answered(net.home, "10.99.0.1"))
testlib.done()
