# SPDX-License-Identifier: GPL-3.0-or-later
"""The tunnels that bench/survival compares, each with the same two ends: home (10.99.0.2) calls vps (10.99.0.1).

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

    def start(self):
        for end in ("vps", "home"):
            self.start_one(end)

    def stop(self):
        for end in ("home", "vps"):
            self.kill_one(end)

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

    def __init__(self, lab, net):
        super().__init__(lab, net)
        self.side = dict(zip(("vps", "home"), cast.tunnel(net)))

    def start_one(self, end):
        self.proc[end] = self.side[end].start_posternd()


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
        net.vps.addr("lo", "10.99.0.1/32")
        self.swan = {end: swanlib.Swan(self.machine(end)) for end in ("vps", "home")}
        self.what = "strongSwan " + self.swan["vps"].version() + ", " + self.what

    def start_one(self, end):
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
        out = self.net.vps.run(["wireguard-go", "--version"], check=False).stdout.split()
        return next((w for w in out if w[:1] == "v" and w[1:2].isdigit()), "?")

    def start_one(self, end):
        m = self.machine(end)
        m.run(["mkdir", "-p", "/run/wireguard"])
        self.proc[end] = m.start(["wireguard-go", "-f", "wg0"], log="wireguard")
        wait_for("wireguard-go answers", lambda: m.run(["wg", "show", "wg0"], check=False).returncode == 0)
        # As wg-quick does: a name that cannot be resolved is an error, and the service is started again.
        wait_for("wg takes its configuration", lambda: m.run(["wg", "setconf", "wg0", "/run/wg.conf"], check=False).returncode == 0, 60)
        own, other = ("10.99.0.1", "10.99.0.2") if end == "vps" else ("10.99.0.2", "10.99.0.1")
        m.run(["ip", "addr", "add", own + "/32", "dev", "wg0"])
        m.run(["ip", "link", "set", "wg0", "mtu", "1420", "up"])
        m.run(["ip", "route", "add", other + "/32", "dev", "wg0", "src", own])

    def swept(self, end):
        self.machine(end).run(["rm", "-f", "/run/wireguard/wg0.sock"], check=False)


ALL = {"postern": Postern, "strongswan": StrongSwanDefault, "strongswan-tuned": StrongSwanTuned, "wireguard": WireGuard}


def need():
    testlib.need_scratch()
