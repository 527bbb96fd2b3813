# SPDX-License-Identifier: GPL-3.0-or-later
"""The tunnel hop is bound to the device: with the route gone, posternd stopped, its device and its binary away, nothing
leaves another way and nothing is taken that came another way. Somebody who has the tunnel's addresses waits on each WAN.
"""
import os
import signal
import sys
import time

import testlib
from testlib import check, require, wait_for

EVIL = "198.51.100.66"
lab, net = testlib.start(hosts=[("mx-a", "198.51.100.31"), ("evil", EVIL)])
import cast  # noqa: E402
import foreign  # noqa: E402
import post  # noqa: E402

vps, home = cast.tunnel(net)
net.vps.write("/etc/root.hints", foreign.ROOT_HINTS)
cast.mail(vps, home, vps_extra="""
[route alpha]
kind = smarthost
address = 198.51.100.31
port = 25
tls = none
domains = alpha.example
[listener mx]
sessions-per-prefix = 100
""", home_extra="""
[listener lan]
address = 127.0.0.1:2587
[listener submission]
[listener submissions]
""")
world = post.sink(net.mx_a, "198.51.100.31")
# The carrier has the VPS's tunnel address and a neighbour of the VPS has home's, each with a server behind it; whatever
# leaves by the WAN meets them.
for m, dev, a4, a6 in ((net.cgnat, "inner", "10.99.0.1/32", "fd99::1/128"), (net.evil, "wan", "10.99.0.2/32", "fd99::2/128")):
    m.addr(dev, a4, a6)
trap_home = post.sink(net.cgnat, "10.99.0.1", "fd99::1")
trap_vps = post.sink(net.evil, "10.99.0.2", "fd99::2")
net.cgnat.addr("inner", "2001:db8:64::1/64")
net.home.addr("wan", "2001:db8:64::2/64")
net.home.run(["ip", "-6", "route", "add", "default", "via", "2001:db8:64::1"])
net.evil.addr("wan", "2001:db8:51::66/64")
net.vps.run(["ip", "route", "add", "default", "via", EVIL])
net.vps.run(["ip", "-6", "route", "add", "default", "via", "2001:db8:51::66"])
# A reset for a connection that is no more is the kernel's own, which knows of no device then.
for m in (net.home, net.vps):
    m.nft("""
table inet seen {
	chain out {
		type filter hook postrouting priority 300
		oifname "wan" ip daddr 10.99.0.0/24 tcp dport 25 tcp flags & rst == 0 counter
		oifname "wan" ip daddr 10.99.0.0/24 tcp sport 25 tcp flags & psh == psh counter
		oifname "wan" ip6 daddr fd99::/64 tcp dport 25 tcp flags & rst == 0 counter
		oifname "wan" ip6 daddr fd99::/64 tcp sport 25 tcp flags & psh == psh counter
	}
}
""")


def leaked(m):
    text = m.run(["nft", "list", "table", "inet", "seen"]).stdout
    return sum(int(line.split("packets ")[1].split()[0]) for line in text.splitlines() if "counter" in line)


def at_home():
    return post.subjects(foreign.maildir_letters(net.home, "/home/alice/Maildir"))


def outside():
    return post.subjects(post.letters(world))


sent_in, sent_out = [], []


def write_both(tag):
    """A letter each way, which both ends take whatever the tunnel is up to."""
    code, words = post.send(net.mx_a, net.VPS4, "bob@alpha.example", "alice@example.org", f"in-{tag}")
    check(f"{tag}: the edge takes a letter for home", code == 250, words)
    sent_in.append(f"in-{tag}")
    code, words = post.send(net.home, "127.0.0.1", "alice@example.org", "bob@alpha.example", f"out-{tag}", port=2587)
    check(f"{tag}: home takes a letter for the world", code == 250, words)
    sent_out.append(f"out-{tag}")


def all_there(tag, seconds=60):
    wait_for(f"{tag}: all letters have arrived", lambda: at_home() == sorted(sent_in) and outside() == sorted(sent_out), seconds, 0.2)
    check(f"{tag}: each letter is there once, both ways", at_home() == sorted(sent_in) and outside() == sorted(sent_out),
          (at_home(), outside()))


def nowhere():
    return not (leaked(net.home) or leaked(net.vps) or post.connects(trap_home) or post.connects(trap_vps))


def held(tag, tries=None):
    """Letters wait at both ends, and none of it was seen on a WAN, nor by those who wait there."""
    for side in (vps, home):
        check(f"{tag}: a letter waits at {side.tag}", wait_for("it waits", lambda: len(post.queued(side) or []) == 1))
    wait_for("both have had their tries", tries or (lambda: True))
    check(f"{tag}: nothing left by a WAN", leaked(net.home) == 0 and leaked(net.vps) == 0, (leaked(net.home), leaked(net.vps)))
    check(f"{tag}: nobody else was spoken to", post.connects(trap_home) == 0 and post.connects(trap_vps) == 0,
          (post.connects(trap_home), post.connects(trap_vps)))
    check(f"{tag}: nothing arrived", at_home() == sorted(sent_in[:-1]) and outside() == sorted(sent_out[:-1]))


def tried(side, route):
    """It has tried, or does: a device that nobody reads from says nothing."""
    r = post.routes(side).get(route) or {}
    return r.get("fault") or r.get("in_flight")


def fault(side, route):
    return (post.routes(side).get(route) or {}).get("fault") or ""


KNOCK = """
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
s.settimeout(1)
try:
    if len(sys.argv) > 2: s.bind((sys.argv[2], 0))
    s.connect((sys.argv[1], 25))
    print("said", s.recv(200))
except OSError as e:
    print(type(e).__name__)
"""


def neighbour(tag):
    """Of the WAN segment, with routes to the tunnel addresses by the VPS's own; also from the tunnel address of home."""
    seen = [net.evil.run([sys.executable, "-c", KNOCK, *a], check=False).stdout.strip()
            for a in (("10.99.0.1",), ("10.99.0.1", "10.99.0.2"), ("fd99::1",))]
    check(f"{tag}: a neighbour on the WAN is told nothing at the tunnel address", not any("220" in s for s in seen), seen)


cast.up(net, vps, home)
write_both("first")
all_there("with the tunnel")
for a in ("10.99.0.1", "fd99::1"):
    via = net.VPS6 if ":" in a else net.VPS4
    net.evil.run(["ip", "route", "add", a, "via", via])
neighbour("with posternd's guard")
net.vps.run(["nft", "delete", "table", "inet", "postern"], check=False)
for name in net.vps.run(["nft", "list", "tables"]).stdout.splitlines():
    if "postern" in name:
        net.vps.run(["nft", "delete"] + name.split())
neighbour("with that taken away")


# --- the routes go while letters wait, and posternd is too busy to see it
def freeze(side, on):
    """The parent alone: it puts routes back, packets go by without it."""
    os.kill(side.d.pid, signal.SIGSTOP if on else signal.SIGCONT)


def flush_routes(unreachable):
    for m, peers in ((net.home, ("10.99.0.1", "fd99::1")), (net.vps, ("10.99.0.2", "fd99::2"))):
        for peer in peers:
            f = "-6" if ":" in peer else "-4"
            m.run(["ip", f, "route", "del", *(["unreachable"] if unreachable else []), peer, "table", "15700",
                   "metric", "1570000" if unreachable else "157"])


for side in (vps, home):
    freeze(side, True)
LETTERS = 60
flows = [post.flow(net.mx_a, net.VPS4, "bob@alpha.example", "alice@example.org", "mid-in", LETTERS, rest_at=40),
         post.flow(net.home, "127.0.0.1", "alice@example.org", "bob@alpha.example", "mid-out", LETTERS, port=2587, rest_at=40)]
sent_in += [f"mid-in-{n}" for n in range(LETTERS)]
sent_out += [f"mid-out-{n}" for n in range(LETTERS)]
wait_for("letters flow", lambda: len(at_home()) > 6 and len(outside()) > 6, 60, 0.01)
flush_routes(False)
flush_routes(True)
check("the way to the peer is the WAN's now", "dev wan" in net.home.run(["ip", "route", "get", "10.99.0.1"]).stdout and
      "dev wan" in net.vps.run(["ip", "route", "get", "10.99.0.2"]).stdout)
check("in mid-queue", len(at_home()) < len(sent_in) and len(outside()) < len(sent_out), (len(at_home()), len(outside())))
for m in (net.mx_a, net.home):
    post.go_on(m)
wait_for("both are sent", lambda: all(f.poll() is not None for f in flows), 60)
write_both("no-route")
time.sleep(1)
check("with the routes gone nothing goes another way", nowhere(), (leaked(net.home), leaked(net.vps)))
for side in (vps, home):
    freeze(side, False)
all_there("with the routes again")
check("all that by no other way", nowhere(), (leaked(net.home), leaked(net.vps)))

# --- posternd is stopped, and then uninstalled
for side in (vps, home):
    side.d.terminate()
for side in (vps, home):
    side.d.wait(60)
write_both("stopped")
held("with posternd stopped", lambda: tried(home, "edge") and tried(vps, "home"))
check("the routes are unknown", wait_for("it", lambda: all((post.routes(s).get(r) or {}).get("state") == "unknown"
                                                           for s, r in ((home, "edge"), (vps, "home")))))
neighbour("with posternd stopped")
for side in (vps, home):
    side.m.run([testlib.POSTERND, "-c", "/etc/postern/postern.conf", "--cleanup"])
    side.m.run(["mount", "--bind", "/dev/null", testlib.POSTERND])
    check(f"{side.tag}: no device is left", "postern0" not in side.m.run(["ip", "link"]).stdout)
for side in (vps, home):
    post.kill(side, "relay")  # or it waits half a minute for those that it called before
held("with posternd uninstalled", lambda: "No such device" in fault(home, "edge") and "No such device" in fault(vps, "home"))
# Somebody hands out the tunnel's own addresses on the WAN; the sockets that stand there are not for that.
net.home.addr("wan", "10.99.0.2/32", "fd99::2/128")
net.vps.addr("wan", "10.99.0.1/32", "fd99::1/128")
net.cgnat.run(["ip", "route", "add", "10.99.0.2", "via", "100.64.0.2"])
p = net.cgnat.run([sys.executable, "-c", KNOCK, "10.99.0.2", "10.99.0.1"], check=False)
check("home is not spoken to at its tunnel address by the WAN", "220" not in p.stdout, p.stdout)
neighbour("with its address on the WAN")
held("with these addresses")
side = home
side.mta.terminate()
side.mta.wait(60)
side.mta = side.m.start([testlib.POSTERN_MTA, "-c", "/etc/postern/mta.conf"], log="postern-mta")
cast.wait_greets(net.home, "127.0.0.1", 2587)
held("after a start without any tunnel")
for m, a4, a6 in ((net.home, "10.99.0.2/32", "fd99::2/128"), (net.vps, "10.99.0.1/32", "fd99::1/128")):
    m.run(["ip", "addr", "del", a4, "dev", "wan"])
    m.run(["ip", "addr", "del", a6, "dev", "wan"])
for side in (vps, home):
    side.m.run(["umount", testlib.POSTERND])
    side.start_posternd()
all_there("with posternd again", 60)
check("and to the end nothing went another way", nowhere(), (leaked(net.home), leaked(net.vps)))
testlib.done()
