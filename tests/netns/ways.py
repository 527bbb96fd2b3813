# SPDX-License-Identifier: GPL-3.0-or-later
"""A home with a main line and a mobile one, behind a carrier's NAT each: TCP streams through the tunnel, up and
down, live through the loss of the main line's carrier, its death behind the modem, its return, another
address on it, and the loss of both.
"""
import time

import testlib
from testlib import case, check, require, wait_for

lab, net = testlib.start()
import cast  # noqa: E402

# The second line: another carrier, another device.
mobile = lab.machine("mobile")
lab.plug(net.wan, mobile, "wan", "198.51.100.21/24")
lab.link(mobile, "inner", net.home, "wwan")
mobile.addr("inner", "10.64.0.1/24")
net.home.addr("wwan", "10.64.0.2/24")
mobile.sysctl(net__ipv4__ip_forward=1)
mobile.nft("""
table ip nat {
	chain post { type nat hook postrouting priority 100
		oifname "wan" masquerade fully-random
	}
}
table ip filter {
	chain through { type filter hook forward priority 0; policy drop
		iifname "inner" accept
		ct state established,related accept
	}
}
# Packets that leave at the same moment can get a mapping each, of which one lives on: the first IKE message does.
table ip twice {
	chain pre { type filter hook prerouting priority -300
		iifname "inner" udp dport 4500 @th,64,32 0 limit rate 1/hour burst 1 packets ct original zone set 1
	}
}
""")
net.home.run(["ip", "route", "replace", "default", "via", "100.64.0.1", "dev", "wan", "metric", "100"])
net.home.run(["ip", "route", "del", "default", "via", "100.64.0.1", "dev", "wan", "metric", "0"], check=False)
net.home.run(["ip", "route", "add", "default", "via", "10.64.0.1", "dev", "wwan", "metric", "200"])

vps, home = cast.tunnel(net, home_extra="[wan dsl]\ninterface = wan\npriority = 10\n[wan mobile]\ninterface = wwan\npriority = 50\n")

# Both ends count what they have and write one line for each 0.1 s in which something came.
STREAM = """
import socket, sys, threading, time
side, addr = sys.argv[1], sys.argv[2]
if side == "serve":
    l = socket.create_server((addr, 7000))
    print("listens", flush=True)
    s, _ = l.accept()
else:
    s = socket.create_connection((addr, 7000))
def send():
    while True:
        s.sendall(b"x" * 500)
        time.sleep(0.05)
threading.Thread(target=send, daemon=True).start()
while True:
    data = s.recv(65536)
    if not data:
        break
    print(f"{time.monotonic():.2f} {len(data)}", flush=True)
print("end", flush=True)
"""

# What TCP waits for, doubling, is not the tunnel's silence: numbered datagrams both ways tell how many got lost in a row.
STEP = 0.02
PULSE = f"""
import socket, sys, threading, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], 7001))
def send():
    n = 0
    while True:
        n += 1
        try:
            s.sendto(b"%d" % n, (sys.argv[2], 7001))
        except OSError:
            pass
        time.sleep({STEP})
threading.Thread(target=send, daemon=True).start()
while True:
    try:
        n = int(s.recv(100))
    except OSError:
        continue
    print(f"{{time.monotonic():.2f}} {{n}}", flush=True)
"""


def ping(wait="0.3"):
    return net.home.run(["ping", "-c1", f"-W{wait}", "10.99.0.1"], check=False).returncode == 0


def path():
    return home.peer("vps").get("path", {})


def last(p):
    with open(p.log) as f:
        lines = f.read().split("\n")[:-1]
    return (lines[-1] if lines else "0 0").split()


def flows(since):
    """Has something come at both ends after @since?"""
    return all(last(p)[0] not in ("end", "listens") and float(last(p)[0]) > since for p in streams)


def passes(what, seconds, begin=None):
    """How long after @begin data comes again in both directions."""
    begin = begin or time.monotonic()
    try:
        wait_for(what, lambda: flows(begin + 0.3), seconds)
        took = max(float(last(p)[0]) for p in streams) - begin
    except testlib.Failed:
        took = None
    check(f"{what}: data passes both ways within {seconds} s", took is not None, took)
    print(f"     {took} s; {path().get('last_move_reason')}")
    return took


def heard(p):
    """(when, number) of each datagram that has come at that end."""
    with open(p.log) as f:
        return [(float(a), int(b)) for a, b in (line.split() for line in f.read().split("\n")[:-1])]


def gap(begin):
    """The longest silence of the tunnel at either end since @begin: datagrams lost in a row, which one that the machine
    delays is not."""
    longest = 0
    for p in pulses:
        got = sorted(n for when, n in heard(p) if when > begin - 1)
        longest = max([longest] + [b - a - 1 for a, b in zip(got, got[1:])])
    return longest * STEP


vps.start_posternd()
wait_for("posternd answers", lambda: vps.status())
home.start_posternd()
require("the tunnel comes up", wait_for("ping", ping, 20))
check("status knows both ways", wait_for("both ways", lambda: sorted(w["way"] for w in path().get("ways", [])) == ["dsl", "mobile"]))
check("by the preferred line", wait_for("dsl", lambda: path().get("way") == "dsl" and path().get("interface") == "wan", 40), path())
inner, ups = home.peer("vps")["inner"], home.peer("vps")["ups"]
streams = [net.vps.start(["python3", "-u", "-c", STREAM, "serve", "10.99.0.1"], log="stream")]
wait_for("it listens", lambda: "listens" in open(streams[0].log).read())
streams.append(net.home.start(["python3", "-u", "-c", STREAM, "call", "10.99.0.1"], log="stream"))
pulses = [m.start(["python3", "-u", "-c", PULSE, *ends], log="pulse")
          for m, ends in ((net.vps, ("10.99.0.1", "10.99.0.2")), (net.home, ("10.99.0.2", "10.99.0.1")))]
wait_for("datagrams at both ends", lambda: all(len(heard(p)) > 5 for p in pulses))
passes("before anything happens", 10)

# --- the main line loses its carrier
begin = time.monotonic()
net.cgnat.run(["ip", "link", "set", "inner", "down"])
ok = passes("carrier lost", 10)
wait_for("the other line", lambda: path().get("way") == "mobile", 10)
case("ike_case_087_interface_down_4g_up_data_passes_within_two_seconds",
     ok is not None and gap(begin) < 2.0 and path()["way"] == "mobile" and home.peer("vps")["inner"] == inner and
     home.peer("vps")["ups"] == ups, (gap(begin), path(), home.peer("vps")))
print(f"     silent for {gap(begin):.2f} s")

# --- it returns: not at once, and then without a gap
begin = time.monotonic()
net.cgnat.run(["ip", "link", "set", "inner", "up"])
check("it is used again after it has answered for a while", wait_for("dsl", lambda: path().get("way") == "dsl", 30))
took = time.monotonic() - begin
print(f"     after {took:.1f} s; silent for {gap(begin):.2f} s at most")
check("a line that has just come back is not trusted before", took > 5, took)
check("which nobody noticed", gap(begin) < 1.5, gap(begin))

# --- the main line is dead behind the modem
begin = time.monotonic()
net.cgnat.nft("table ip dead {\n chain c { type filter hook forward priority -20; drop\n }\n}")
passes("upstream dead", 15)
print(f"     silent for {gap(begin):.2f} s")
wait_for("the other line", lambda: path().get("way") == "mobile", 10)
case("ike_case_087_a_line_that_is_up_and_carries_nothing_is_left_in_time", gap(begin) < 2.5, gap(begin))
check("by the other line", path()["way"] == "mobile", path())
check("whose keepalives they are now, and whose budget they spend",
      wait_for("the other WAN", lambda: home.peer("vps")["keepalive"].get("wan") == "wwan", 20), home.peer("vps")["keepalive"])
check("while it is dead nothing returns to it", wait_for("time", lambda: time.monotonic() > begin + 15, 30) and
      path()["way"] == "mobile", path())
begin = time.monotonic()
net.cgnat.run(["nft", "delete", "table", "ip", "dead"])
check("alive again, it is used again", wait_for("dsl", lambda: path().get("way") == "dsl", 40), path())
check("and its keepalives are counted there",
      wait_for("its WAN", lambda: home.peer("vps")["keepalive"].get("wan") == "wan", 20), home.peer("vps")["keepalive"])
print(f"     after {time.monotonic() - begin:.1f} s; silent for {gap(begin):.2f} s at most")

# --- another address on the main line
begin = time.monotonic()
net.home.run(["ip", "addr", "del", "100.64.0.2/24", "dev", "wan"])
net.home.run(["ip", "addr", "add", "100.64.0.99/24", "dev", "wan"])
net.home.run(["ip", "route", "replace", "default", "via", "100.64.0.1", "dev", "wan", "metric", "100"])
passes("another address", 10)
check("still by a line that works, or back on it", wait_for("dsl", lambda: path().get("source") == "100.64.0.99", 40), path())

# --- both down, and back
net.cgnat.run(["ip", "link", "set", "inner", "down"])
mobile.run(["ip", "link", "set", "inner", "down"])
time.sleep(8)
begin = time.monotonic()
mobile.run(["ip", "link", "set", "inner", "up"])
passes("both lines gone, one back", 20, begin)
check("by that one", wait_for("mobile", lambda: path().get("way") == "mobile"), path())
net.cgnat.run(["ip", "link", "set", "inner", "up"])

check("no stream has ended, and none was made again", last(streams[0])[0] != "end" and last(streams[1])[0] != "end" and
      all(p.poll() is None for p in streams))
check("the same IKE SA all along", home.peer("vps")["ups"] == ups, home.peer("vps")["ups"])
check("with the same address in the tunnel", home.peer("vps")["inner"] == inner, home.peer("vps")["inner"])
testlib.done()
