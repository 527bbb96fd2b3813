# SPDX-License-Identifier: GPL-3.0-or-later
"""Models of carriers' NATs, laid over the cast of lab.Internet.

    nat = cgnat.model(net, lifetime=30)   a mapping dies after 30 s without a packet (30: also unreplied)
    nat.lifetime(60, unreplied=30)        as most home routers: 30 s until the far side has answered
    nat.rebind()                          all mappings are forgotten: other ports from the next packet on
    nat.absolute(48, 75)                  each mapping dies at such an age, whatever passes; nat.stop() ends it
    nat.move_address()                    from now on another public address, as when a carrier renumbers
    nat.ports("600-700")                  source ports become these; nat.ports(None): any, at random (symmetric)
    nat.second()                          another NAT between this one and the internet
    client = nat.client("home2")          one more machine in the same private subnet behind the same NAT

A NAT here is symmetric: each far end has a mapping of its own, with a port at random. Nothing comes in
that nobody asked for, and nothing is told about that (no ICMP), as at a carrier.
"""
import random
import threading

from lab import Internet as I

SECOND4 = "198.51.100.21"  # the other public address
RULES = """
table ip nat
delete table ip nat
table ip nat {{
	chain post {{
		type nat hook postrouting priority 100
		oifname "wan" meta l4proto udp snat to {address}{ports} fully-random
		oifname "wan" snat to {address}
	}}
}}
table ip filter
delete table ip filter
table ip filter {{
	chain through {{
		type filter hook forward priority 0; policy drop
		iifname {{ "inner", "inner2" }} accept
		ct state established,related accept
	}}
	chain here {{
		type filter hook input priority 0
		iifname "wan" meta l4proto udp drop
	}}
}}
"""


class Model:
    def __init__(self, net, m, public, second=None):
        self.net, self.m, self.public, self.other = net, m, public, second
        self._ports = None
        self._ages = None
        self._clients = 0
        self._apply()

    def _apply(self):
        self.m.nft(RULES.format(address=self.public, ports=f":{self._ports}" if self._ports else ""))

    def lifetime(self, seconds, unreplied=None):
        """Seconds without a packet after which a mapping dies; @unreplied: while nothing came back, if shorter."""
        self.m.sysctl(net__netfilter__nf_conntrack_udp_timeout=unreplied or seconds,
                      net__netfilter__nf_conntrack_udp_timeout_stream=seconds)
        return self

    def rebind(self):
        """Every UDP mapping is forgotten at once."""
        self.m.run(["conntrack", "-D", "-p", "udp"], check=False)  # none there: it says so and fails
        return self

    def absolute(self, lo, hi, seed=1):
        """Each mapping lives @lo to @hi seconds and no longer, under load too."""
        self.stop()
        rng = random.Random(seed)
        self._ages = threading.Event()
        over = self._ages

        def reap():
            while not over.wait(rng.uniform(lo, hi)):
                self.rebind()
                self.deaths += 1
        self.deaths = 0
        threading.Thread(target=reap, daemon=True).start()
        return self

    def stop(self):
        if self._ages:
            self._ages.set()
            self._ages = None

    def ports(self, spec):
        """Source ports as the internet sees them, e.g. "500" or "600-700"; None: any."""
        self._ports = spec
        self._apply()
        return self.rebind()

    def move_address(self):
        """The carrier takes its other public address, and every mapping is a new one."""
        self.public, self.other = self.other, self.public
        self._apply()
        return self.rebind()

    def second(self, lifetime=30):
        """A NAT of the carrier's carrier: ours gets a private address outside too. Gives its Model."""
        far = self.net.lab.machine("cgnat2")
        self.m.run(["ip", "link", "del", "wan"])
        self.net.lab.plug(self.net.wan, far, "wan", I.NAT4 + "/24", SECOND4 + "/24")
        self.net.lab.link(far, "inner", self.m, "wan")
        far.addr("inner", "100.65.0.1/24")
        self.m.addr("wan", "100.65.0.2/24")
        self.m.run(["ip", "route", "replace", "default", "via", "100.65.0.1"])
        far.sysctl(net__ipv4__ip_forward=1)
        self.public, self.other = "100.65.0.2", None
        self._apply()
        self.rebind()
        return Model(self.net, far, I.NAT4, SECOND4).lifetime(lifetime)

    def client(self, name):
        """One more home in 100.64.0.0/24, with a LAN that has the same addresses as the first one's."""
        self._clients += 1
        assert self._clients == 1, "one more client is what the rules know"
        m, address = self.net.lab.machine(name), "100.64.0.3"
        self.net.lab.link(self.m, "inner2", m, "wan")
        self.m.run(["ip", "link", "set", "inner2", "up"])
        self.m.run(["ip", "route", "add", address + "/32", "dev", "inner2"])
        m.addr("wan", address + "/24")
        m.run(["ip", "link", "add", "lan", "type", "veth", "peer", "name", "lan-end"])
        m.run(["ip", "link", "set", "lan-end", "up"])
        m.addr("lan", "192.168.7.1/24")
        m.run(["ip", "route", "add", "default", "via", "100.64.0.1"])
        return m

    def mappings(self):
        """Public source ports of live UDP mappings towards port 4500."""
        out = []
        for line in self.m.run(["conntrack", "-L", "-p", "udp"], check=False).stdout.splitlines():
            words = [w.split("=", 1) for w in line.split() if "=" in w]
            dports = [v for k, v in words if k == "dport"]
            if len(dports) == 2 and dports[0] == "4500":
                out.append(int(dports[1]))
        return out


def model(net, lifetime=30, unreplied=None):
    """The NAT of @net becomes a carrier's that forgets after @lifetime seconds."""
    net.cgnat.addr("wan", SECOND4 + "/24")
    return Model(net, net.cgnat, I.NAT4, SECOND4).lifetime(lifetime, unreplied)
