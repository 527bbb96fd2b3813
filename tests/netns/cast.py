# SPDX-License-Identifier: GPL-3.0-or-later
"""Our own half of the cast: posternd and postern-mta on the vps and at home, configured as a user would."""
import json
import os
import signal
import subprocess

import testlib
from lab import Internet as I
from lab import wait_for

VPS_CONF = """[posternd]
identity = vps.example.net
private-key = keys/vps.key
tunnel-address = 10.99.0.1, fd99::1
{extra}
[peer home]
identity = home.example.net
public-key = keys/home.pub
assign = 10.99.0.2, fd99::2
{peer}
"""

HOME_CONF = """[posternd]
identity = home.example.net
private-key = keys/home.key
{extra}
[peer vps]
address = {address}
identity = vps.example.net
public-key = keys/vps.pub
networks = 10.99.0.1, fd99::1
start = always
{peer}
"""

EDGE_MTA = """[mta]
role = edge
hostname = vps.example.net
certificate = tls/cert.pem
private-key = tls/key.pem
dns = recurse
dns-root-hints = /etc/root.hints
{extra}
[home home]
peer = home
domains = example.org
recipients = tables/recipients
"""

HOME_MTA = """[mta]
role = home
hostname = home.example.net
certificate = tls/cert.pem
private-key = tls/key.pem
users = tables/users
edge = vps
{extra}
[deliver]
domains = example.org
"""


class Side:
    """One machine with posternd, and postern-mta where wanted."""

    def __init__(self, m, tag):
        self.m, self.tag = m, tag
        self.d = self.mta = self.deliver = None

    def start_posternd(self, **how):
        """@how: as Machine.start() has it."""
        self.m.run(["mkdir", "-p", "/run/postern", "/var/lib/postern"])
        self.d = self.m.start([testlib.POSTERND, "-c", "/etc/postern/postern.conf"], log="posternd", **how)
        return self.d

    def start_mta(self):
        self.m.run(["mkdir", "-p", "/run/postern", "/var/lib/postern"])
        if self.tag == "home":
            self.deliver = self.m.start([testlib.POSTERN_DELIVER, "-c", "/etc/postern/mta.conf", "--listen",
                                         "/run/postern/deliver.sock"], log="postern-deliver")
        self.mta = self.m.start([testlib.POSTERN_MTA, "-c", "/etc/postern/mta.conf"], log="postern-mta")
        return self.mta

    def cli(self, *args, check=True):
        return self.m.run([testlib.POSTERN, *args], check=check)

    def status(self):
        p = self.cli("status", "--json", check=False)
        try:
            return json.loads(p.stdout)
        except ValueError:
            return {}

    def peer(self, name):
        for p in self.status().get("peers", []):
            if p.get("name") == name:
                return p
        return {}

    def up(self, name):
        return self.peer(name).get("state") == "up"

    def process(self, name):
        """The pid of that process of posternd (child, keys, resolver), or None."""
        for pid in self.m.child_pids(self.d):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    argv = f.read().split(b"\0")
            except OSError:
                continue
            if b"--proc" in argv and name.encode() in argv:
                return pid
        return None

    def kill_process(self, name):
        """kill -9; its parent starts it anew."""
        pid = wait_for(f"{name} runs", lambda: self.process(name))
        os.kill(pid, signal.SIGKILL)
        wait_for(f"{name} was started again", lambda: self.process(name) not in (None, pid))

    def tun_bytes(self):
        try:
            return int(self.m.read("/sys/class/net/postern0/statistics/rx_bytes")) + \
                int(self.m.read("/sys/class/net/postern0/statistics/tx_bytes"))
        except Exception:
            return 0


def keys(vps, home):
    """Each side makes its key with `postern keygen`; only public halves travel."""
    for side, name in ((vps, "vps"), (home, "home")):
        side.m.run(["mkdir", "-p", "/etc/postern/keys"])
        side.cli("keygen", f"/etc/postern/keys/{name}.key")
    for a, b, name in ((vps, home, "vps"), (home, vps, "home")):
        b.m.write(f"/etc/postern/keys/{name}.pub", a.m.read(f"/etc/postern/keys/{name}.pub"))


def certificate(m, name):
    m.run(["mkdir", "-p", "/etc/postern/tls"])
    m.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
           "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}",
           "-keyout", "/etc/postern/tls/key.pem", "-out", "/etc/postern/tls/cert.pem"])
    m.run(["chmod", "600", "/etc/postern/tls/key.pem"])


def tunnel(net, extra="", peer="", address="vps.example.net", home_extra="", vps_peer="", vps_extra=""):
    """Configure and start posternd on both; returns (vps, home) once keys and files are there."""
    vps, home = Side(net.vps, "vps"), Side(net.home, "home")
    net.home.write("/etc/hosts", f"127.0.0.1 localhost home\n{I.VPS4} vps.example.net\n")
    keys(vps, home)
    vps.m.write("/etc/postern/postern.conf", VPS_CONF.format(extra=extra + vps_extra, peer=vps_peer))
    home.m.write("/etc/postern/postern.conf", HOME_CONF.format(extra=extra + home_extra, peer=peer, address=address))
    return vps, home


def mail(vps, home, vps_extra="", home_extra=""):
    """Configure postern-mta on both sides; alice@example.org is a user at home."""
    certificate(vps.m, "vps.example.net")
    certificate(home.m, "home.example.net")
    vps.m.write("/etc/postern/mta.conf", EDGE_MTA.format(extra=vps_extra))
    vps.m.write("/etc/postern/tables/recipients", "alice@example.org\npostmaster@example.org\n")
    home.m.write("/etc/postern/mta.conf", HOME_MTA.format(extra=home_extra))
    crypt = subprocess.run(["openssl", "passwd", "-6", "-salt", "abcdefgh", "garden"], capture_output=True, text=True,
                           check=True).stdout.strip()
    home.m.write("/etc/postern/tables/users", f"alice:{crypt}:alice@example.org\n", mode=0o600)
    home.m.run(["sh", "-c", "mkdir -p /home/alice && chown alice:alice /home/alice && chmod 700 /home/alice"])


def greets(m, address, port=25):
    code = ("import socket,sys\ns=socket.create_connection((sys.argv[1],int(sys.argv[2])),2)\n"
            "sys.exit(0 if s.recv(200).startswith(b'220') else 1)")
    return m.python(code, address, str(port), check=False).returncode == 0


def wait_greets(m, address, port=25, seconds=60):
    wait_for(f"{address}:{port} greets", lambda: greets(m, address, port), seconds)


def up(net, vps, home):
    """Start both sides of tunnel() and mail(), home with a listener at 127.0.0.1:2587; all of their doors greet."""
    for side in (vps, home):
        side.start_posternd()
    wait_for("tunnel", lambda: home.up("vps"))
    for side in (vps, home):
        side.start_mta()
    wait_greets(net.mx_a, net.VPS4)
    wait_greets(net.home, "127.0.0.1", 2587)
    wait_greets(net.home, "10.99.0.1")
    wait_greets(net.vps, "10.99.0.2")
