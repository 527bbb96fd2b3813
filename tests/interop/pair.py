# SPDX-License-Identifier: GPL-3.0-or-later
"""posternd and charon on the two machines of the story, configured anew for each cell of the matrix.

    Postern starts:  home (posternd) -- carrier's NAT -- vps (charon), which gives out 10.99.0.2, fd99::2 from a pool
    Postern waits:   home (charon) -- carrier's NAT -- vps (posternd), which assigns them
"""
import json
import os
import re
import subprocess
import sys
import time

import cast
import lab as lablib
import material
import swan as swanlib

VPS, HOME = "vps.example.net", "home.example.net"
VPS_IN, HOME_IN = ("10.99.0.1", "fd99::1"), ("10.99.0.2", "fd99::2")
PSK = "Vq0rS8hVn1hTgkXk2m5bM1sQm6q2j7d8kqYp3z4w5x6y"

# How we prove ourselves, in the words of postern.conf.
LOCAL_AUTH = {"psk": "psk", "raw": "key", "cert": "certificate", "chain": "certificate"}


class Wrong(Exception):
    """What a cell wanted and did not see."""


def need(what, ok):
    if not ok:
        raise Wrong(what)
    return ok


def within(what, probe, seconds=10.0):
    try:
        return lablib.wait_for(what, probe, seconds)
    except lablib.Failed as e:
        raise Wrong(str(e)) from None


class Cell:
    """One row of the table: how charon is configured, how posternd is, and what is then to be seen.

    group, name      of the row
    ike, esp         charon's proposals, the only ones that it offers and takes
    ours, theirs     how each side proves itself: psk, raw:KIND, cert:KIND, chain:KIND (KIND of material.KEYS)
    settings         lines for the charon section of strongswan.conf
    conn, child      further lines for the connection and for its child "net"
    local, remote    further lines for charon's local and remote sections
    ts               charon's (local_ts, remote_ts) in the direction "vps, home", None: the tunnel addresses
    postern          further lines of [posternd];  peer: of [peer swan];  sections: whole sections
    networks         what lies at the vps, as [peer swan] says at home
    children         further children of the connection, text;  connections: further connections, text
    pools            charon's pools where it is the vps: [(name, text)]; None: the two addresses
    files            programs on our machine: {path: text}
    secret           charon's PSK
    run              the checks: f(pair, cell); None: Pair.standard
    roles            in which it makes sense: start (posternd calls), wait
    not_with         versions that cannot: {beginning of the version: why}
    quick            also in tests/run
    """

    def __init__(self, group, name, ike="aes256gcm16-prfsha256-x25519", esp="aes128gcm16", ours="psk", theirs="psk",
                 settings="", conn="", child="", local="", remote="", ts=None, postern="", peer="", sections="", networks=None,
                 children="", connections="", pools=None, files=None, run=None, secret=PSK, roles=("start", "wait"), not_with=None,
                 quick=False):
        self.__dict__.update({k: v for k, v in locals().items() if k != "self"})


SERVER = """
import hashlib, socket, struct, threading
def serve(c):
    n = struct.unpack("!Q", c.recv(8, socket.MSG_WAITALL))[0]
    h = hashlib.sha256()
    left = n
    while left:
        b = c.recv(min(left, 65536))
        if not b: return
        h.update(b); left -= len(b)
    c.sendall(h.digest() + b"x" * n)
    c.close()
def listen(port):
    s = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    while True:
        threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
for port in (7001, 7002):
    threading.Thread(target=listen, args=(port,), daemon=True).start()
listen(7000)
"""

# Both ways through one connection: N random bytes up, their digest and N bytes down.
CLIENT = """
import hashlib, os, socket, struct, sys
n = int(sys.argv[2])
data = os.urandom(n)
s = socket.create_connection((sys.argv[1], int(sys.argv[4])), 60, source_address=(sys.argv[3], 0) if sys.argv[3] else None)
s.settimeout(60)
s.sendall(struct.pack("!Q", n) + data)
got = s.recv(32, socket.MSG_WAITALL)
while n:
    b = s.recv(65536)
    if not b: sys.exit("cut short")
    n -= len(b)
sys.exit(0 if got == hashlib.sha256(data).digest() else "altered")
"""


# IKE_SA_INIT with AES-GCM-16-128, PRF-HMAC-SHA2-256 and X25519: header, SA, KE, nonce (RFC 7296 s3).
STRANGER = """
import os, socket, struct, sys
def payload(next, body):
    return struct.pack("!BBH", next, 0, 4 + len(body)) + body
def transform(last, kind, number, attribute=b""):
    return struct.pack("!BBHBBH", 0 if last else 3, 0, 8 + len(attribute), kind, 0, number) + attribute
ts = transform(0, 1, 20, struct.pack("!HH", 0x800e, 128)) + transform(0, 2, 5) + transform(1, 4, 31)
sa = struct.pack("!BBHBBBB", 0, 0, 8 + len(ts), 1, 1, 0, 3) + ts
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(int(sys.argv[2])):
    body = payload(34, sa) + payload(40, struct.pack("!HH", 31, 0) + os.urandom(32)) + payload(0, os.urandom(32))
    s.sendto(os.urandom(8) + bytes(8) + struct.pack("!BBBBII", 33, 0x20, 34, 8, 0, 28 + len(body)) + body, (sys.argv[1], 500))
"""


class Pair:
    def __init__(self, lab, net, role, release):
        self.lab, self.net, self.role = lab, net, role
        self.starts = role == "start"
        self.ours, self.theirs = (net.home, net.vps) if self.starts else (net.vps, net.home)
        self.our_id, self.their_id = (HOME, VPS) if self.starts else (VPS, HOME)
        self.our_in, self.their_in = (HOME_IN, VPS_IN) if self.starts else (VPS_IN, HOME_IN)
        self.material = material.Material(os.path.join(lab.dir, "material"))
        self.swan = swanlib.Swan(self.theirs, release)
        self.us = cast.Side(self.ours, "posternd")
        self.files = set()
        self.mark = 0
        if self.starts:
            net.vps.addr("lo", "10.99.0.1/32", "fd99::1/128")
        for m in (self.ours, self.theirs):
            m.start([sys.executable, "-c", SERVER], log="tcp")

    # ---- configuration ----

    def _once(self, path, text, mode=0o644):
        """A key file below /etc/postern/keys, written when it is not yet there; gives its name in the configuration."""
        if path not in self.files:
            self.ours.write(f"/etc/postern/keys/{path}", text, mode=mode)
            self.files.add(path)
        return f"keys/{path}"

    def _prove(self, cell):
        """([peer] lines, charon's local lines, charon's remote lines)"""
        mine, swan_local, swan_remote = [], [], []
        self.theirs.run(["sh", "-c", "rm -f /etc/swanctl/private/* /etc/swanctl/pubkey/* /etc/swanctl/x509/* /etc/swanctl/x509ca/*"])
        if "psk" in (cell.ours, cell.theirs):
            mine.append("psk = " + self._once("psk", PSK + "\n", 0o600))
        how, _, kind = cell.ours.partition(":")
        if how == "psk":
            swan_remote.append("auth = psk")
        elif how == "raw":
            key, pub = self.material.key(kind, self.our_id)
            mine.append("private-key = " + self._once(f"own-{kind}.key", key, 0o600))
            self.swan.write("pubkey/peer.pem", pub)
            swan_remote += ["auth = pubkey", "pubkeys = peer.pem"]
        else:
            key, cert, more, ca = self.material.certificate(kind, self.our_id, how == "chain")
            mine.append("private-key = " + self._once(f"own-{kind}.key", key, 0o600))
            mine.append("certificate = " + self._once(f"own-{how}-{kind}.pem", cert + "".join(more)))
            self.swan.write("x509ca/ca-of-peer.pem", ca)
            swan_remote.append("auth = pubkey")
        how, _, kind = cell.theirs.partition(":")
        if how == "psk":
            swan_local.append("auth = psk")
        elif how == "raw":
            key, pub = self.material.key(kind, self.their_id)
            mine.append("public-key = " + self._once(f"peer-{kind}.pub", pub))
            self.swan.write("private/own.pem", key)
            self.swan.write("pubkey/own.pem", pub)
            swan_local += ["auth = pubkey", "pubkeys = own.pem"]
        else:
            key, cert, more, ca = self.material.certificate(kind, self.their_id, how == "chain")
            mine.append("ca = " + self._once(f"ca-{kind}.pem", ca))
            self.swan.write("private/own.pem", key)
            self.swan.write("x509/own.pem", cert)
            for i, text in enumerate(more):
                self.swan.write(f"x509ca/sub-{i}.pem", text)
            swan_local += ["auth = pubkey", "certs = own.pem"]
        ways = [w.partition(":")[0] for w in (cell.ours, cell.theirs)]
        if LOCAL_AUTH[ways[0]] != LOCAL_AUTH[ways[1]]:
            mine.append("local-auth = " + LOCAL_AUTH[ways[0]])
        return mine, swan_local, swan_remote

    def _swan_text(self, cell, local, remote):
        vps_ts, home_ts = cell.ts or ("10.99.0.1/32, fd99::1/128", None)
        if self.starts:
            pools = cell.pools if cell.pools is not None else [("v4", "addrs = 10.99.0.2"), ("v6", "addrs = fd99::2")]
            conn = [f"local_addrs = {self.net.VPS4}", "remote_addrs = %any"]
            if pools:
                conn.append("pools = " + ", ".join(name for name, _ in pools))
            ts = [f"local_ts = {vps_ts}"] + ([f"remote_ts = {home_ts}"] if home_ts else [])
        else:
            pools = []
            conn = ["local_addrs = %any", f"remote_addrs = {self.net.VPS4}"] + \
                ([] if cell.pools == [] else ["vips = 0.0.0.0, ::"])
            ts = [f"remote_ts = {vps_ts}"] + ([f"local_ts = {home_ts}"] if home_ts else [])
        own = "\n      ".join
        return f"""connections {{
  net {{
    version = 2
    {own(conn)}
    proposals = {cell.ike}
    {cell.conn}
    local {{
      {own(local)}
      id = {self.their_id}
      {cell.local}
    }}
    remote {{
      {own(remote)}
      id = {self.our_id}
      {cell.remote}
    }}
    children {{
      net {{
        {own(ts)}
        esp_proposals = {cell.esp}
        rekey_time = 3600
        {cell.child}
      }}
{cell.children}
    }}
  }}
{cell.connections}
}}
pools {{
{"".join(f"  {name} {{ {text} }}" + chr(10) for name, text in pools)}}}
secrets {{
  ike-1 {{
    id-1 = {VPS}
    id-2 = {HOME}
    secret = "{cell.secret}"
  }}
}}
"""

    def _postern_text(self, cell, lines):
        if self.starts:
            place = f"address = {self.net.VPS4}\nnetworks = {cell.networks or '10.99.0.1, fd99::1'}"
            own = ""
            place += "\nstart = on-demand\nrequest-address = " + ("no" if cell.pools == [] else "yes")
        else:
            place = "assign = 10.99.0.2, fd99::2" if cell.pools != [] and "pool =" not in cell.peer else ""
            own = "tunnel-address = 10.99.0.1, fd99::1\n"
        return f"""[posternd]
identity = {self.our_id}
{own}{cell.postern}
[peer swan]
identity = {self.their_id}
{place}
{chr(10).join(lines)}
{cell.peer}
{cell.sections}
"""

    def configure(self, cell):
        lines, local, remote = self._prove(cell)
        for path, text in (cell.files or {}).items():
            self.ours.write(path, text, mode=0o755)
        if self.us.d:
            self.us.cli("down", "swan", check=False)
        self.swan.start(cell.settings)
        self.swan.ctl("--terminate", "--ike", "net", "--force", check=False)
        self.swan.load(self._swan_text(cell, local, remote))
        self.ours.write("/etc/postern/postern.conf", self._postern_text(cell, lines))
        if self.us.d and self.us.d.poll() is None:
            p = self.us.cli("reload", check=False)
            need(f"postern reload: {p.stdout}", p.returncode == 0)
        else:
            self.us.start_posternd()
            within("posternd answers", lambda: self.us.cli("status", check=False).returncode == 0)
        self.mark = self.swan.log_size()

    # ---- what is seen ----

    def log(self):
        """What charon has logged since the cell began."""
        return self.swan.log(self.mark)

    def peer(self):
        return self.us.peer("swan")

    def wait_log(self, pattern, seconds=10.0):
        return within(f"charon logs /{pattern}/", lambda: re.search(pattern, self.log()), seconds)

    def why(self):
        p = self.peer()
        return f"{p.get('state')}, {p.get('failure')}"

    # ---- acting ----

    def call(self):
        """Whoever calls in this role does; returns at once where it is posternd."""
        self.us.cli("up", "swan")
        if not self.starts:
            self.swan.ctl("--initiate", "--child", "net", "--timeout", "8", check=False)

    def connect(self, seconds=8):
        self.call()
        try:
            within("the tunnel is up", lambda: self.us.up("swan"), seconds)
        except Wrong:
            raise Wrong(f"the tunnel does not come up: {self.why()}") from None

    def ping(self):
        """v4 and v6, from both sides."""
        for m, to in ((self.ours, self.their_in), (self.theirs, self.our_in)):
            for a in to:
                self.reached(m, a)

    def reached(self, m, to, source=None):
        """@to answers a ping from @m."""
        argv = ["ping", "-c", "1", "-W", "1", *(["-I", source] if source else []), to]
        within(f"ping of {to} from {m.name}", lambda: m.run(argv, check=False).returncode == 0, 4)

    def transfer(self, size=500_000):
        """TCP from us, IPv4, and from them, IPv6; each both ways."""
        for m, to in ((self.ours, self.their_in[0]), (self.theirs, self.our_in[1])):
            self.tcp(m, to, size)

    def tcp(self, m, to, size=500_000, source="", port=7000):
        p = m.python(CLIENT, to, str(size), source, str(port), check=False)
        need(f"TCP to {to} from {m.name}: {p.stdout.strip()[-200:]}", p.returncode == 0)

    def settled(self):
        """One IKE SA and one CHILD SA at charon, and ours is the same."""
        sas = self.swan.sas()
        ike = self.peer().get("ike") or {}
        ours = {c[k] for c in ike.get("children", []) for k in ("spi_in", "spi_out")}
        return sas.count("ESTABLISHED") == 1 and sas.count("INSTALLED") == 1 and \
            {s.lower().removeprefix("0x") for s in ours} == self.swan.spis()

    def rekey(self, who, what):
        """who: us, they; what: child, ike. Gives what charon logged meanwhile."""
        at, old, name = self.swan.log_size(), self.swan.spis(), f"rekey of the {what.upper()} SA by {who}"
        ike_old = set(re.findall(r"[0-9a-f]{16}_[ir]", self.swan.sas()))
        if who == "they":
            self.swan.ctl("--rekey", "--" + what, "net")
        else:
            self.us.cli("rekey", *(["--ike"] if what == "ike" else []), "swan")
        if what == "child":
            within(name, lambda: not self.swan.spis() & old and self.settled())
        else:
            within(name, lambda: not set(re.findall(r"[0-9a-f]{16}_[ir]", self.swan.sas())) & ike_old and self.settled())
        return self.swan.log(at)

    def cross(self, *acts):
        """Both sides act while no IKE message passes, so that their requests cross."""
        self.net.cgnat.nft("table inet cut { chain c { type filter hook forward priority -10; meta l4proto udp drop; }; }")
        try:
            for act in acts:
                act()
            time.sleep(0.2)
        finally:
            self.net.cgnat.nft("delete table inet cut")

    def half_open(self, count):
        """As many IKE_SA_INITs from somebody who never comes back, to port 500 of the vps."""
        self.net.cgnat.python(STRANGER, self.net.VPS4, str(count))

    def standard(self, cell):
        """Up, data, both rekeys from both sides with data after each, down."""
        self.connect()
        within("both sides agree", self.settled)
        self.ping()
        self.transfer()
        for who in ("they", "us"):
            for what in ("child", "ike"):
                self.rekey(who, what)
                self.ping()
        self.transfer(100_000)

    def run(self, cell):
        """None, or what went wrong."""
        try:
            self.configure(cell)
            (cell.run or Pair.standard)(self, cell)
            need(f"posternd lives: {self.us.d.returncode}", self.us.d.poll() is None)
            return None
        except Wrong as e:
            return str(e)
        except (lablib.Failed, subprocess.TimeoutExpired) as e:
            return str(e)
