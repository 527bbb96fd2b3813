# SPDX-License-Identifier: GPL-3.0-or-later
"""TCP connections through a tunnel whose keys change all the time, on a wire that loses, reorders and repeats.

usage: rekey_storm.py [SECONDS]		(50)
"""
import sys
import threading
import time

import testlib
from testlib import check, require, wait_for

seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 50.0
lab, net = testlib.start(wire=True)
import cast  # noqa: E402
import talk  # noqa: E402
import usage  # noqa: E402

vps, home = cast.tunnel(net)
PING = ["ping", "-c1", "-W1", "10.99.0.1"]


def used(side):
    """PSS of all processes of posternd, kB, and their descriptors."""
    pids = side.m.child_pids(side.d)
    return usage.pss(pids), usage.descriptors(pids)


vps.start_posternd()
wait_for("posternd answers", lambda: vps.status())
home.start_posternd()
require("the tunnel comes up", wait_for("ping", lambda: net.home.run(PING, check=False).returncode == 0, 20))

talks = talk.begin(net.vps, net.home, seconds, 512, 0.005, 60)
net.wire.set(delay=15, jitter=10, loss=5, reorder=3, behind=20, dup=2, seed=1)

rekeys = {"home": 0, "vps": 0}
stop = time.monotonic() + seconds - 5


def renew(side, peer):
    """Both ends, at the same time and each at its own pace: most of these cross."""
    n = 0
    while time.monotonic() < stop:
        n += 1
        if side.cli("rekey", *(["--ike"] if n % 3 == 0 else []), peer, check=False).returncode == 0:
            rekeys[side.tag] += 1
        time.sleep(0.35 if side is home else 0.4)


threads = [threading.Thread(target=renew, args=a) for a in ((home, "vps"), (vps, "home"))]
for t in threads:
    t.start()
time.sleep(16)  # by then as many old SAs linger as ever will
before = {side.tag: used(side) for side in (home, vps)}
for t in threads:
    t.join()
after = {side.tag: used(side) for side in (home, vps)}
check("both ends were asked for new keys all the time", min(rekeys.values()) > seconds / 4, rekeys)
for p in talks:
    wait_for("the connections end", lambda: p.poll() is not None, 90)
said = talk.last_words(talks)
check("no connection was lost and each byte came once, in order",
      all(p.returncode == 0 for p in talks) and all(s.startswith("whole") for s in said), said)
check("much went through", all(int(s.split()[2]) > 512 * seconds for s in said if s.startswith("whole")), said)
lost = net.wire.stats()
check("though the wire lost some of it", min(lost[w]["lost"] for w in ("a2b", "b2a")) > 20, lost)
print("     " + ", ".join(said), rekeys, before, after)
# A sanitizer keeps what was freed for a while; there its leak check speaks at the end.
with open(testlib.POSTERND, "rb") as f:
    sanitized = b"__asan_init" in f.read()
for tag in before:
    sanitized or check(f"{tag}: memory stays flat", after[tag][0] < before[tag][0] * 1.1 + 300, (before[tag], after[tag]))
    check(f"{tag}: descriptors too", after[tag][1] <= before[tag][1] + 2, (before[tag], after[tag]))
net.wire.reset()


def settled():
    kids = [(side.peer(peer).get("ike") or {}).get("children", []) for side, peer in ((home, "vps"), (vps, "home"))]
    if [len(k) for k in kids] != [1, 1]:
        return False
    h, v = kids[0][0], kids[1][0]
    return h["spi_in"] == v["spi_out"] and h["spi_out"] == v["spi_in"]


def quiet(side):
    text = side.cli("status", "--counters").stdout
    return all(f"ike_{what}" in text and int(text.split(f"ike_{what}")[1].split()[0]) == 1 for what in ("ike_sas", "child_sas"))


check("when it is over both have the same one CHILD SA", wait_for("settled", settled, 60), (home.peer("vps").get("ike"), vps.peer("home").get("ike")))
check("and nothing else is left", wait_for("quiet", lambda: quiet(home) and quiet(vps), 90), (home.cli("status", "--counters").stdout))
testlib.done()
