# SPDX-License-Identifier: GPL-3.0-or-later
"""Cells of the matrix: large messages, cookies, addresses, selectors, rekeys that cross, and who notices what."""
import re
import time

from pair import Cell, Pair, need, within

CELLS = []
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
         theirs=f"chain:{kind}", settings="  fragment_size = 576", run=fragments, quick=kind == "rsa4096")
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

SEVERAL = "10.99.0.1/32, fd99::1/128, 10.51.0.0/24, 10.52.0.0/24[tcp/7000-7001]"


def several(pair, cell):
    pair.net.vps.run(["ip", "addr", "replace", "10.51.0.1/32", "dev", "lo"])
    pair.net.vps.run(["ip", "addr", "replace", "10.52.0.1/32", "dev", "lo"])
    pair.standard(cell)
    home = pair.net.home
    pair.tcp(home, "10.51.0.1")
    pair.tcp(home, "10.52.0.1")
    need("ping of 10.51.0.1", home.run(["ping", "-c", "1", "-W", "1", "10.51.0.1"], check=False).returncode == 0)
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
            within(f"ping of {b}", lambda: m.run(["ping", "-c", "1", "-W", "1", "-I", a, b], check=False).returncode == 0, 4)
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
        within("we call again", lambda: pair.us.up("swan") and pair.swan.sas().count("ESTABLISHED") == 1, 15)
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
    pair.swan.ctl("--initiate", "--child", "net", "--timeout", "8", check=False, timeout=20)
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
    need("the tunnel stays up", pair.us.up("swan") and pair.settled())


def we_ask(pair, cell):
    """Data goes out and the last proof of life is over 10 s old."""
    pair.connect()
    at = pair.swan.log_size()
    time.sleep(10.5)
    pair.ping()
    within("we ask", lambda: re.search(r"parsed INFORMATIONAL request", pair.swan.log(at)), 10)
    need("the tunnel stays up", pair.us.up("swan") and pair.settled())


cell("life", "charon asks whether we live (dpd_delay = 1s)", conn="dpd_delay = 1s", run=charon_asks)
cell("life", "we ask whether charon lives", run=we_ask)
