# SPDX-License-Identifier: GPL-3.0-or-later
"""The tunnels that the benchmarks compare, each with the same two ends: home (10.99.0.2) calls vps (10.99.0.1).

What each system is given is what its user would write; what ends is started again at once, as an init would.
"""
import os
import signal

import cast
import swan as swanlib
import testlib
from lab import wait_for

NAME = "vps.example.net"
PSK = "Vq0rS8hVn1hTgkXk2m5bM1sQm6q2j7d8kqYp3z4w5x6y"


class System:
    """One tunnel. Ends are named home and vps; start_one() and kill_one() are of the daemon there."""
    ports = ()  # of the server, that a hostile network may block; the last is that of the data

    def __init__(self, lab, net):
        self.lab, self.net, self.proc = lab, net, {}

    def machine(self, end):
        return getattr(self.net, end)

    def pids(self, end):
        """All processes of that end's daemon."""
        return [self.proc[end].pid] + self.machine(end).child_pids(self.proc[end])

    def tell(self):
        """A line for the head of a table: what of it decides its speed."""
        return self.what

    def start(self):
        for end in ("vps", "home"):
            self.start_one(end)

    def stop(self):
        for end in ("home", "vps"):
            self.kill_one(end)

    def end(self):
        self.stop()

    def kill_one(self, end):
        p = self.proc.pop(end, None)
        if p and p.poll() is None:
            pids = self.machine(end).child_pids(p)
            for pid in [p.pid] + pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    pass
            p.wait(10)
        self.swept(end)

    def swept(self, end):
        """What a killed daemon leaves behind and its service script would clear."""

    def local_port(self):
        """The source port of the home's live path, or None when it cannot be told."""
        out = self.net.cgnat.run(["conntrack", "-L", "-p", "udp"], check=False).stdout
        for line in out.splitlines():
            words = dict(w.split("=", 1) for w in reversed(line.split()) if "=" in w)
            if words.get("dport") == str(self.ports[-1]):
                return words.get("sport")
        return None


class Postern(System):
    name = "Postern"
    what = "defaults"
    ports = (4500,)

    def __init__(self, lab, net, **settings):
        super().__init__(lab, net)
        self.settings = settings
        self.side = dict(zip(("vps", "home"), cast.tunnel(net, **settings)))

    def start_one(self, end):
        self.proc[end] = self.side[end].start_posternd()

    def end(self):
        """In order, so that nothing of it is left to the next system."""
        for end in ("home", "vps"):
            p = self.proc.pop(end)
            p.terminate()
            p.wait(15)
            self.machine(end).run([testlib.POSTERND, "--cleanup"])

    def tell(self):
        d = self.side["home"].status().get("dataplane") or {}
        return f"{d.get('io')}, {d.get('crypto')}, {d.get('workers')} worker, " + " ".join(d.get("features", []))


class StrongSwan(System):
    ports = (500, 4500)
    conn, child = "", ""

    CONNECTIONS = """connections {{
  net {{
    version = 2
    {conn}
    local {{
      auth = psk
      id = {own}
    }}
    remote {{
      auth = psk
      id = {peer}
    }}
    children {{
      net {{
        {child}
      }}
    }}
  }}
}}
{pools}
secrets {{
  ike-1 {{
    id-1 = vps.example.net
    id-2 = home.example.net
    secret = "{psk}"
  }}
}}
"""

    def __init__(self, lab, net):
        super().__init__(lab, net)
        net.home.write("/etc/hosts", f"127.0.0.1 localhost home\n{net.VPS4} {NAME}\n")
        self.swan = {end: swanlib.Swan(self.machine(end)) for end in ("vps", "home")}
        self.what = "strongSwan " + self.swan["vps"].version() + ", " + self.what

    def start_one(self, end):
        self.machine(end).run(["ip", "addr", "replace", "10.99.0.1/32", "dev", "lo"] if end == "vps" else ["true"])
        self.swan[end].p = None
        self.swan[end].start()
        self.proc[end] = self.swan[end].p
        if end == "vps":
            conn, pools = "pools = v4", "pools {\n  v4 {\n    addrs = 10.99.0.2\n  }\n}"
            child = "local_ts = 10.99.0.1/32"
        else:
            conn, pools = f"remote_addrs = {NAME}\n    vips = 0.0.0.0", ""
            child = "remote_ts = 10.99.0.1/32\n        start_action = start"
        more = self.tuned(end)
        self.swan[end].load(self.CONNECTIONS.format(conn=conn + more[0], child=child + more[1], pools=pools, psk=PSK,
                                                    own=f"{end}.example.net",
                                                    peer="home.example.net" if end == "vps" else NAME))

    def swept(self, end):
        for argv in (["ip", "link", "del", "ipsec0"], ["ip", "route", "flush", "table", "220"],
                     ["ip", "addr", "del", "10.99.0.1/32", "dev", "lo"],
                     ["rm", "-f", "/run/charon.vici", "/run/charon.pid"]):
            self.machine(end).run(argv, check=False)


class StrongSwanDefault(StrongSwan):
    name = "strongSwan"
    what = "start_action = start, else defaults"

    def tuned(self, end):
        return "", ""


class StrongSwanTuned(StrongSwan):
    name = "strongSwan tuned"
    what = "dpd_delay = 10s, keyingtries = 0, dpd_action and close_action = start"

    def tuned(self, end):
        if end == "vps":
            return "\n    dpd_delay = 10s", ""
        return "\n    dpd_delay = 10s\n    keyingtries = 0", "\n        dpd_action = restart\n        close_action = start"


class WireGuard(System):
    name = "wireguard-go"
    what = "PersistentKeepalive = 25"
    ports = (51820,)
    binary = "wireguard-go"

    def __init__(self, lab, net):
        super().__init__(lab, net)
        net.home.write("/etc/hosts", f"127.0.0.1 localhost home\n{net.VPS4} {NAME}\n")
        private = {end: self.machine(end).run(["wg", "genkey"]).stdout.strip() for end in ("vps", "home")}
        public = {end: self.machine(end).run(["wg", "pubkey"], input=private[end] + "\n").stdout.strip() for end in private}
        net.vps.write("/run/wg.conf", f"[Interface]\nPrivateKey = {private['vps']}\nListenPort = 51820\n"
                      f"[Peer]\nPublicKey = {public['home']}\nAllowedIPs = 10.99.0.2/32\n", mode=0o600)
        net.home.write("/run/wg.conf", f"[Interface]\nPrivateKey = {private['home']}\n[Peer]\nPublicKey = {public['vps']}\n"
                       f"AllowedIPs = 10.99.0.1/32\nEndpoint = {NAME}:51820\nPersistentKeepalive = 25\n", mode=0o600)
        self.what = "wireguard-go " + self.version() + ", " + self.what

    def version(self):
        out = self.net.vps.run([self.binary, "--version"], check=False).stdout.split()
        return next((w for w in out if w[:1] == "v" and w[1:2].isdigit()), "?")

    def start_one(self, end):
        m = self.machine(end)
        m.run(["mkdir", "-p", "/run/wireguard"])
        self.proc[end] = m.start([self.binary, "-f", "wg0"], log="wireguard")
        wait_for("wireguard-go answers", lambda: m.run(["wg", "show", "wg0"], check=False).returncode == 0)
        # As wg-quick does: a name that cannot be resolved is an error, and the service is started again.
        wait_for("wg takes its configuration", lambda: m.run(["wg", "setconf", "wg0", "/run/wg.conf"], check=False).returncode == 0, 60)
        own, other = ("10.99.0.1", "10.99.0.2") if end == "vps" else ("10.99.0.2", "10.99.0.1")
        m.run(["ip", "addr", "add", own + "/32", "dev", "wg0"])
        m.run(["ip", "link", "set", "wg0", "mtu", "1420", "up"])
        m.run(["ip", "route", "add", other + "/32", "dev", "wg0", "src", own])

    def swept(self, end):
        self.machine(end).run(["rm", "-f", "/run/wireguard/wg0.sock"], check=False)


class WireGuardNewer(WireGuard):
    """Debian 13's, the first with the offloads; a Go program that runs on Debian 12's C library."""
    binary = os.path.join(os.path.dirname(testlib.SCRATCH), "trixie/usr/bin/wireguard-go")


def certificate(m, folder, name):
    m.run(["mkdir", "-p", folder])
    m.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
           "-subj", f"/CN={name}", "-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem"])


class OpenVpn(System):
    name = "OpenVPN"
    what = "AES-128-GCM, TLS 1.3 with pinned certificates, else defaults, no kernel module"
    ports = (1194,)

    def __init__(self, lab, net):
        super().__init__(lab, net)
        self.print = {}
        for end in ("vps", "home"):
            certificate(self.machine(end), "/run/openvpn", end)
            out = self.machine(end).run(["openssl", "x509", "-in", "/run/openvpn/cert.pem", "-noout", "-fingerprint", "-sha256"]).stdout
            self.print[end] = out.strip().split("=", 1)[1]
        version = net.vps.run(["openvpn", "--version"], check=False).stdout.split()
        self.what = f"OpenVPN {version[1]}, {self.what}"

    def start_one(self, end):
        own, other, far = ("10.99.0.1", "10.99.0.2", "home") if end == "vps" else ("10.99.0.2", "10.99.0.1", "vps")
        role = ["--tls-server", "--dh", "none", "--lport", "1194"] if end == "vps" else \
            ["--tls-client", "--remote", self.net.VPS4, "1194", "udp", "--nobind"]
        self.proc[end] = self.machine(end).start(
            ["openvpn", "--dev", "tun0", "--dev-type", "tun", "--proto", "udp", "--topology", "p2p", "--ifconfig", own, other,
             "--cert", "/run/openvpn/cert.pem", "--key", "/run/openvpn/key.pem", "--peer-fingerprint", self.print[far],
             "--data-ciphers", "AES-128-GCM", "--disable-dco", "--keepalive", "10", "60"] + role, log="openvpn")


class Ocserv(System):
    name = "ocserv"
    what = "DTLS, password"
    ports = (443,)

    CONF = """auth = "plain[passwd=/run/ocserv/passwd]"
tcp-port = 443
udp-port = 443
run-as-user = nobody
run-as-group = nogroup
socket-file = /run/ocserv/socket
server-cert = /run/ocserv/cert.pem
server-key = /run/ocserv/key.pem
isolate-workers = false
device = vpns
ipv4-network = 10.99.0.0
ipv4-netmask = 255.255.255.0
config-per-user = /run/ocserv/users/
route = 10.99.0.1/32
dpd = 90
cisco-client-compat = true
pid-file = /run/ocserv/pid
"""
    SCRIPT = """#!/bin/sh
[ "$reason" = connect ] || exit 0
ip link set dev "$TUNDEV" up mtu "$INTERNAL_IP4_MTU"
ip addr add 10.99.0.2/32 dev "$TUNDEV"
ip route add 10.99.0.1/32 dev "$TUNDEV" src 10.99.0.2
"""

    def __init__(self, lab, net):
        super().__init__(lab, net)
        certificate(net.vps, "/run/ocserv", NAME)
        net.vps.write("/run/ocserv/ocserv.conf", self.CONF)
        net.vps.write("/run/ocserv/users/home", "explicit-ipv4 = 10.99.0.2\n")
        net.vps.run(["ocpasswd", "-c", "/run/ocserv/passwd", "home"], input=f"{PSK}\n{PSK}\n")
        out = net.vps.run(["sh", "-c", "openssl x509 -in /run/ocserv/cert.pem -pubkey -noout | openssl pkey -pubin -outform der | "
                           "openssl dgst -sha256 -binary | base64"]).stdout.strip()
        self.pin = "pin-sha256:" + out
        net.home.write("/run/openconnect.sh", self.SCRIPT, mode=0o755)
        net.home.write("/run/openconnect.password", PSK + "\n", mode=0o600)
        first = lambda argv: (net.vps.run(argv, check=False).stdout.split() or ["?"])
        self.what = f"ocserv {first(['ocserv', '--version'])[1]}, {self.what}"

    def start_one(self, end):
        if end == "vps":
            self.proc[end] = self.net.vps.start(["ocserv", "-f", "-c", "/run/ocserv/ocserv.conf"], log="ocserv")
            wait_for("ocserv listens", lambda: ":443 " in self.net.vps.run(["ss", "-Hltn"]).stdout)
            return
        self.proc[end] = self.net.home.start(
            ["sh", "-c", f"exec openconnect --protocol=anyconnect -u home --passwd-on-stdin --servercert {self.pin} --non-inter "
             f"-s /run/openconnect.sh https://{self.net.VPS4}:443 </run/openconnect.password"], log="openconnect")


ALL = {"postern": Postern, "strongswan": StrongSwanDefault, "strongswan-tuned": StrongSwanTuned, "wireguard": WireGuard,
       "wireguard-newer": WireGuardNewer, "openvpn": OpenVpn, "ocserv": Ocserv}


def need():
    testlib.need_scratch()
