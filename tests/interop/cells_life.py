# SPDX-License-Identifier: GPL-3.0-or-later
"""Cells of the matrix: large messages, cookies, addresses, selectors, rekeys that cross, and who notices what."""
import re
import time

from lab import Internet
from pair import VPS_IN, Cell, Pair, need, within

CELLS = []
VPS4 = Internet.VPS4
START, WAIT = ("start",), ("wait",)


def cell(*args, **kw):
    CELLS.append(Cell(*args, **kw))


# ---- large messages, cookies ----

def fragments(pair, cell):
    pair.connect()
    pair.ping()
    log = pair.log()
    need("charon sent fragments", re.search(r"splitting IKE message \(\d+ bytes\) into \d+ fragments", log))
    need("charon joined ours", re.search(r"received fragment #\d+ of \d+", log))


def small_fragments(pair, cell):
    """The path loses UDP above 1000 bytes; ours come through once they are small enough."""
    pair.net.cgnat.nft("table inet cut { chain c { type filter hook forward priority -10; meta l4proto udp meta length > 1000 drop; }; }")
    try:
        pair.connect(20)
    finally:
        pair.net.cgnat.nft("delete table inet cut")
    need("charon joined ours", re.search(r"received fragment #\d+ of \d+", pair.log()))
    pair.ping()


for kind, bits in (("rsa4096", "RSA-4096"), ("ecdsa256", "P-256")):
    cell("fragmentation", f"certificate chains of {bits}, charon's fragment_size = 576", ours=f"chain:{kind}",
         theirs=f"chain:{kind}", settings="  fragment_size = 576", run=fragments, quick=kind == "ecdsa256")
cell("fragmentation", "certificate chains of RSA-4096, a path that loses packets above 1000 bytes", ours="chain:rsa4096",
     theirs="chain:rsa4096", settings="  fragment_size = 576\n  retransmit_timeout = 1.0", run=small_fragments)


def cookie(pair, cell):
    pair.half_open(1 if pair.starts else 60)
    pair.connect()
    pair.ping()
    need("a cookie was asked for", re.search(("generating" if pair.starts else "parsed") + r" IKE_SA_INIT response 0 \[ N\(COOKIE\)", pair.log()))


cell("cookies", "asked for by charon (cookie_threshold = 1)", ike="aes128gcm16-prfsha256-x25519", roles=START, run=cookie,
     settings="  cookie_threshold = 1\n  cookie_threshold_ip = 1", quick=True)
cell("cookies", "asked for by posternd under a burst", roles=WAIT, run=cookie, quick=True)

# ---- addresses and selectors ----


def narrowed(pair, cell):
    pair.standard(cell)
    sas = pair.swan.sas()
    need(f"10.99.0.1/32 and nothing wider in {sas}", "10.99.0.1/32" in sas and "/0" not in sas and "10.99.0.0/" not in sas)


cell("selectors", "narrowed: who calls asks for more than the other has", ts=("0.0.0.0/0, ::/0", None), roles=WAIT, run=narrowed)
cell("selectors", "narrowed: who calls asks for more than the other has", networks="10.99.0.0/24, fd99::/64", roles=START,
     run=narrowed)

SEVERAL = "10.99.0.1/32, fd99::1/128, 10.51.0.0/24, 10.52.0.0/24[6/7000-7001]"


def several(pair, cell):
    pair.net.vps.run(["ip", "addr", "replace", "10.51.0.1/32", "dev", "lo"])
    pair.net.vps.run(["ip", "addr", "replace", "10.52.0.1/32", "dev", "lo"])
    pair.standard(cell)
    home = pair.net.home
    pair.tcp(home, "10.51.0.1")
    pair.tcp(home, "10.52.0.1")
    pair.reached(home, "10.51.0.1")
    need("no ping of 10.52.0.1, where only TCP to two ports may pass",
         home.run(["ping", "-c", "1", "-W", "1", "10.52.0.1"], check=False).returncode != 0)


cell("selectors", "four in one CHILD SA: hosts, a network, a network with protocol and port range", ts=(SEVERAL, None),
     peer=f"remote-ts = {SEVERAL}", networks="10.99.0.1, fd99::1, 10.51.0.0/24, 10.52.0.0/24", roles=START, run=several, quick=True)
cell("selectors", "four in one CHILD SA: hosts, a network, a network with protocol and port range", ts=(SEVERAL, None),
     peer=f"local-ts = {SEVERAL}", roles=WAIT, run=several)


def lan(pair, cell):
    for m, a in ((pair.net.vps, "10.50.0.1/32"), (pair.net.home, "10.60.0.1/32")):
        m.run(["ip", "addr", "replace", a, "dev", "lo"])
    try:
        pair.connect()
        for m, a, b in ((pair.net.home, "10.60.0.1", "10.50.0.1"), (pair.net.vps, "10.50.0.1", "10.60.0.1")):
            pair.reached(m, b, a)
        for who in ("they", "us"):
            pair.rekey(who, "child")
        pair.tcp(pair.net.vps, "10.60.0.1", source="10.50.0.1")
    finally:
        for m, a in ((pair.net.vps, "10.50.0.1/32"), (pair.net.home, "10.60.0.1/32")):
            m.run(["ip", "addr", "del", a, "dev", "lo"])


LANS = ("10.50.0.0/24", "10.60.0.0/24")
cell("selectors", "a network behind each side, no address asked for", ts=LANS, pools=[], networks=LANS[0],
     peer=f"local-ts = {LANS[1]}", roles=START, run=lan)
cell("selectors", "a network behind each side, no address asked for", ts=LANS, pools=[],
     peer=f"local-ts = {LANS[0]}\nnetworks = {LANS[1]}", roles=WAIT, run=lan)

# ---- addresses from a pool, name servers ----


def leased(pair, cell):
    pair.connect()
    home, got = pair.net.home, pair.peer().get("inner", [])
    v4, v6 = (next((a for a in got if a.startswith(p)), "") for p in ("10.98.0.", "fd98::"))
    need(f"an address of each family in {got}", v4 and v6)
    for a, b in ((v4, "10.99.0.1"), (v6, "fd99::1")):
        pair.reached(home, b, a)
        pair.reached(pair.net.vps, a)
    pair.us.cli("down", "swan")
    pair.connect()
    within("the same addresses again", lambda: {v4, v6} <= set(pair.peer().get("inner", [])))


cell("addresses", "from our pool, the same after a new start", roles=WAIT, peer="pool = street", run=leased,
     sections="[pool street]\naddresses = 10.98.0.0/24, fd98::/112\n")


def told_dns(pair, cell):
    pair.connect()
    pair.ping()
    pair.wait_log(r"installing DNS server 10\.99\.0\.1\b")


def dns_given(pair, cell):
    pair.connect()
    pair.ping()
    within("the hook hears of it", lambda: "up 10.99.0.1" in pair.ours.run(["cat", "/run/dns"], check=False).stdout)


HOOK = "/etc/postern/dns-hook"
cell("addresses", "name server told to charon", roles=WAIT, peer="dns = 10.99.0.1", run=told_dns)
cell("addresses", "name server from charon, given to the hook", roles=START, postern=f"hook = {HOOK}", run=dns_given,
     pools=[("v4", "addrs = 10.99.0.2\n dns = 10.99.0.1"), ("v6", "addrs = fd99::2")],
     files={HOOK: "#!/bin/sh\necho $POSTERN_EVENT $POSTERN_DNS >>/run/dns\n"})

# ---- several CHILD SAs, several IKE SAs ----

MORE = "10.53.0.1/32"


def two_children(pair, cell):
    """Two CHILD SAs on one IKE SA, each rekeyed by each side, data in both."""
    pair.net.vps.run(["ip", "addr", "replace", MORE, "dev", "lo"])
    pair.connect()
    if not pair.starts:
        pair.swan.ctl("--initiate", "--child", "more", "--timeout", "8", check=False)
    within("two CHILD SAs", lambda: len(pair.swan.spis()) == 4 and pair.swan.sas().count("ESTABLISHED") == 1)
    pair.ping()
    pair.reached(pair.net.home, "10.53.0.1")
    for act in (lambda: pair.swan.ctl("--rekey", "--child", "more"), lambda: pair.us.cli("rekey", "swan")):
        old = pair.swan.spis()
        act()
        within("other SPIs", lambda: len(pair.swan.spis() & old) <= 2 and len(pair.swan.spis()) == 4)
        pair.ping()
        pair.reached(pair.net.home, "10.53.0.1")
    pair.swan.ctl("--rekey", "--ike", "net")
    within("one IKE SA with both", lambda: len(pair.swan.spis()) == 4 and pair.swan.sas().count("ESTABLISHED") == 1)
    pair.ping()
    pair.reached(pair.net.home, "10.53.0.1")


def more_child(side):
    return f"      more {{\n        {side} = {MORE}\n        esp_proposals = aes256gcm16\n      }}"


# assigned: the addresses that home is given.
cell("several CHILD SAs", "two on one IKE SA, data in both, rekeyed from both sides", roles=START, run=two_children,
     children=more_child("local_ts"), networks="10.99.0.1, fd99::1, 10.53.0.1",
     sections=f"[child net]\npeer = swan\nlocal-ts = assigned\nremote-ts = 10.99.0.1, fd99::1\n"
     f"[child more]\npeer = swan\nlocal-ts = assigned\nremote-ts = {MORE}\n")
cell("several CHILD SAs", "two on one IKE SA, data in both, rekeyed from both sides", roles=WAIT, run=two_children,
     children=more_child("remote_ts"),
     sections=f"[child net]\npeer = swan\nlocal-ts = 10.99.0.1, fd99::1\nremote-ts = assigned\n"
     f"[child more]\npeer = swan\nlocal-ts = {MORE}\nremote-ts = assigned\n", quick=True)
cell("several CHILD SAs", "two wishes of charon, one section of ours that holds both", roles=WAIT, run=two_children,
     children=more_child("remote_ts"), peer=f"local-ts = 10.99.0.1, fd99::1, {MORE}")



PORTS = {7000: "ecp256", 7001: "ecp384", 7002: "x25519"}


def by_port(port):
    # charon would share one IKE SA between connections that are alike but for their children
    return f"""  p{port} {{
    version = 2
    unique = never
    remote_addrs = {VPS4}
    proposals = aes256gcm16-prfsha384-{PORTS[port]}
    local {{
      auth = psk
      id = home.example.net
    }}
    remote {{
      auth = psk
      id = vps.example.net
    }}
    children {{
      p{port} {{
        local_ts = 10.60.0.1/32
        remote_ts = 10.99.0.1/32[6/{port}]
        esp_proposals = aes256gcm16
      }}
    }}
  }}
"""


def three(pair, cell):
    """As some gateways do it: one IKE SA for each policy, from one address and one identity."""
    home = pair.net.home
    home.run(["ip", "addr", "replace", "10.60.0.1/32", "dev", "lo"])
    try:
        pair.us.cli("up", "swan")
        for port in PORTS:
            pair.swan.ctl("--initiate", "--child", f"p{port}", "--timeout", "8", check=False)
        within("three CHILD SAs", lambda: pair.swan.sas().count("INSTALLED") == 3, 5)
        time.sleep(3)
        need("three CHILD SAs on three IKE SAs still",
             pair.swan.sas().count("INSTALLED") == 3 and pair.swan.sas().count("ESTABLISHED") == 3)
        for port in PORTS:
            pair.tcp(home, "10.99.0.1", 50_000, source="10.60.0.1", port=port)
        pair.us.cli("down", "swan")
        within("down ends all three", lambda: "ESTABLISHED" not in pair.swan.sas() and not pair.us.up("swan"), 5)
    finally:
        home.run(["ip", "addr", "del", "10.60.0.1/32", "dev", "lo"])
        for port in PORTS:
            pair.swan.ctl("--terminate", "--ike", f"p{port}", "--force", check=False)


cell("several IKE SAs", "three connections that differ by port, from one identity", roles=WAIT, run=three,
     connections="".join(by_port(p) for p in PORTS), peer="local-ts = 10.99.0.1[tcp/7000-7002]\nremote-ts = 10.60.0.1\nnetworks = 10.60.0.1",
     quick=True)

# ---- childless (RFC 6023) ----


def childless(pair, cell):
    pair.standard(cell)
    log = pair.log()
    auth = "parsed" if pair.starts else "generating"
    need("IKE_AUTH without SA, then CREATE_CHILD_SA", re.search(auth + r" IKE_AUTH request 1 \[ (?!.* SA )", log) and
         re.search(auth + r" CREATE_CHILD_SA request 2 \[", log))


cell("childless (RFC 6023)", "charon: childless = force", conn="childless = force", peer="childless = prefer", roles=START, run=childless)
cell("childless (RFC 6023)", "charon: childless = force", conn="childless = force", roles=WAIT, run=childless, quick=True)
cell("childless (RFC 6023)", "we: childless = force", peer="childless = force", roles=START, run=childless)
cell("childless (RFC 6023)", "we: childless = never", peer="childless = never", run=Pair.standard)

# ---- rekeys that cross, deletes ----


def crossing(ours, theirs):
    def run(pair, cell):
        pair.connect()
        within("both sides agree", pair.settled)
        old = pair.swan.spis()
        pair.cross(lambda: pair.swan.ctl("--rekey", "--" + theirs, "net"),
                   lambda: pair.us.cli("rekey", *(["--ike"] if ours == "ike" else []), "swan"))
        if "child" in (ours, theirs):
            within("other CHILD SAs", lambda: not pair.swan.spis() & old, 15)
        within("both sides agree on one IKE SA and one CHILD SA", pair.settled, 15)
        time.sleep(1)
        within("and keep to it", pair.settled, 15)
        pair.ping()
        pair.transfer(100_000)
        pair.rekey("us", "ike")
        pair.rekey("they", "child")
        pair.ping()
    return run


for ours in ("child", "ike"):
    for theirs in ("child", "ike"):
        cell("simultaneous rekey", f"we: {ours.upper()} SA, charon: {theirs.upper()} SA", settings="  retransmit_timeout = 0.7",
             run=crossing(ours, theirs), quick=ours == theirs == "child")


def deletes(pair, cell):
    pair.connect()
    pair.ping()
    pair.us.cli("down", "swan")
    within("charon has no IKE SA", lambda: "ESTABLISHED" not in pair.swan.sas(), 5)
    pair.connect()
    pair.ping()
    pair.swan.ctl("--terminate", "--ike", "net", check=False)
    if pair.starts:
        # On demand: it is left in peace until there is something to say.
        within("we are idle", lambda: pair.peer().get("state") == "idle", 5)
        ping = ["ping", "-c", "1", "-W", "1", VPS_IN[0]]
        within("the next packet calls again", lambda: pair.net.home.run(ping, check=False) and pair.us.up("swan") and
               pair.swan.sas().count("ESTABLISHED") == 1)
        pair.ping()
    else:
        within("we are down", lambda: not pair.us.up("swan"), 5)


def child_deleted(pair, cell):
    pair.connect()
    old = pair.swan.spis()
    pair.swan.ctl("--terminate", "--child", "net", check=False)
    within("the CHILD SA is made again", lambda: pair.us.up("swan") and pair.swan.spis() and not pair.swan.spis() & old, 15)
    pair.ping()


cell("life", "Delete of the IKE SA, from either side", run=deletes)
cell("life", "charon deletes the CHILD SA: whoever called makes it again", roles=START, run=child_deleted)


def charon_lost(pair, cell):
    """charon loses all it knew, as by a power cut, and calls again: INITIAL_CONTACT."""
    pair.connect()
    pair.ping()
    pair.swan.p.kill()
    pair.swan.p.wait()
    pair.swan.p = None
    pair.swan.start(cell.settings)
    pair.mark = 0
    pair.swan.ctl("--load-all")
    pair.swan.ctl("--initiate", "--child", "net", "--timeout", "8", check=False)
    pair.ping()
    within("one IKE SA with it", pair.settled)


def posternd_lost(pair, cell):
    pair.connect()
    pair.ping()
    pair.us.d.kill()
    pair.us.d.wait()
    pair.us.start_posternd()
    within("posternd answers", lambda: pair.us.cli("status", check=False).returncode == 0)
    pair.connect()
    pair.ping()
    within("charon keeps one IKE SA", pair.settled)


cell("life", "charon is killed and calls again: it replaces its old IKE SA", roles=WAIT, run=charon_lost)
cell("life", "posternd is killed and calls again: it replaces its old IKE SA", roles=START, run=posternd_lost)


def reauthenticates(pair, cell):
    pair.connect()
    pair.ping()
    old = pair.swan.spis()
    pair.swan.ctl("--rekey", "--ike", "net", "--reauth")
    within("other CHILD SAs", lambda: pair.swan.spis() and not pair.swan.spis() & old, 15)
    within("both sides agree", pair.settled, 15)
    pair.ping()


cell("life", "charon authenticates anew (reauth)", roles=WAIT, run=reauthenticates)


def charon_asks(pair, cell):
    pair.connect()
    pair.wait_log(r"sending DPD request[\s\S]*?parsed INFORMATIONAL response \d+ \[ [^\]]*\]", 12)
    within("the tunnel stays up", lambda: pair.us.up("swan") and pair.settled())


def we_ask(pair, cell):
    """Data goes out and the last proof of life is over 10 s old."""
    pair.connect()
    at = pair.swan.log_size()
    time.sleep(10.5)
    pair.ping()
    within("we ask", lambda: re.search(r"parsed INFORMATIONAL request", pair.swan.log(at)), 10)
    within("the tunnel stays up", lambda: pair.us.up("swan") and pair.settled())


cell("life", "charon asks whether we live (dpd_delay = 1s)", conn="dpd_delay = 1s", run=charon_asks)
cell("life", "we ask whether charon lives", run=we_ask)
