# SPDX-License-Identifier: GPL-3.0-or-later
"""leak = never: what belongs in the tunnel is never seen on the WAN, from before the first start until it is uninstalled.

Home and a machine in its LAN send to the guarded networks all the time, and the carrier's router counts what it sees of
it: before posternd runs, while it starts, is stopped, killed, has lost its device, while somebody has better routes,
flushes nft, breaks the configuration.
"""
import os
import signal
import sys
import time

import testlib
from testlib import check, require, wait_for

lab, net = testlib.start()
import cast  # noqa: E402

GUARDED4, GUARDED6 = ("10.99.0.1", "10.60.9.9"), ("fd99::1",)
INSIDE = "10.60.7.0/24"  # a second LAN, inside of a guarded network
vps, home = cast.tunnel(net, peer="leak = never\n", home_extra="")
conf = home.m.read("/etc/postern/postern.conf").replace("networks = 10.99.0.1, fd99::1",
                                                        "networks = 10.99.0.1, fd99::1, 10.60.0.0/16")
home.m.write("/etc/postern/postern.conf", conf)
vconf = vps.m.read("/etc/postern/postern.conf").replace("[peer home]", "[peer home]\nlocal-ts = 10.99.0.1, fd99::1, 10.60.0.0/16")
vps.m.write("/etc/postern/postern.conf", vconf)
vps.m.addr("lo", "10.60.9.9/32")
# IPv6 to the carrier too, or nothing could leak there.
net.cgnat.addr("inner", "2001:db8:64::1/64")
net.home.addr("wan", "2001:db8:64::2/64")
net.home.run(["ip", "-6", "route", "add", "default", "via", "2001:db8:64::1"])
net.home.addr("lan", INSIDE.replace("7.0", "7.1"), "fd00:7::1/64")
net.lan.addr("eth0", INSIDE.replace("7.0", "7.10"), "fd00:7::10/64")
net.lan.run(["ip", "-6", "route", "add", "default", "via", "fd00:7::1"])
net.home.sysctl(net__ipv6__conf__all__forwarding=1)
net.cgnat.nft("""
table inet watch {
	chain seen {
		type filter hook prerouting priority -400
		iifname "inner" ip daddr { 10.99.0.1, 10.60.0.0/16 } counter
		iifname "inner" ip6 daddr fd99::1 counter
	}
}
""")
SENDER = """
import socket, sys, time
def s(f): return socket.socket(f, socket.SOCK_DGRAM)
four, six = s(socket.AF_INET), s(socket.AF_INET6)
while True:
    for a in sys.argv[1:]:
        try:
            (six if ":" in a else four).sendto(b"x" * 64, (a, 9))
        except OSError:
            pass
    time.sleep(0.01)
"""


def seen():
    text = net.cgnat.run(["nft", "list", "table", "inet", "watch"]).stdout
    return [int(line.split("packets ")[1].split()[0]) for line in text.splitlines() if "counter" in line]


def quiet(what, seconds=0.6):
    """Nothing new on the WAN since the guard stood."""
    time.sleep(seconds)
    check(f"{what}: nothing of it on the WAN", seen() == base, seen())


def guard(word, ok=True):
    p = home.m.run([testlib.POSTERND, "-c", "/etc/postern/postern.conf", "--leak-guard", word], check=False)
    check(f"--leak-guard {word} ends with {0 if ok else 1}", p.returncode == (0 if ok else 1), p.stdout)
    return p.stdout


def tables():
    return net.home.run(["nft", "list", "tables"]).stdout


def ping(to="10.99.0.1", m=net.home):
    return m.run(["ping", "-c1", "-W1", to], check=False).returncode == 0


def kill_all():
    pids = [home.d.pid] + home.m.child_pids(home.d)
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
    home.d.wait(60)


# Networks that touch, lie in each other or end where the addresses do are one set all the same.
home.m.write("/etc/postern/postern.conf", conf.replace("networks = 10.99.0.1, fd99::1, 10.60.0.0/16",
             "networks = 10.128.0.0/9, 10.0.0.0/9, 10.3.0.0/16, 240.0.0.0/4, 192.0.2.1, 192.0.2.2, fe00::/7, fd99::/64, fd99:0:0:1::/64"))
guard("apply")
text = " ".join(net.home.run(["nft", "list", "table", "inet", "postern_leak"]).stdout.split())
for want in ("elements = { 10.0.0.0/8, 192.0.2.1-192.0.2.2, 240.0.0.0/4 }", "elements = { fd99::/63, fe00::/7 }"):
    check(f"the set reads {want}", want in text, text)
guard("remove")
home.m.write("/etc/postern/postern.conf", conf)

for m in (net.home, net.lan):
    m.start([sys.executable, "-c", SENDER, *GUARDED4, *GUARDED6], log="sender")
wait_for("without a guard it is seen on the WAN, both families", lambda: all(c > 20 for c in seen()))
guard("apply")
time.sleep(0.2)
base = seen()
quiet("before the first start", 1)
check("what is guarded is kept, in a folder that is there now", home.m.run(["stat", "-c", "%a", "/var/lib/postern", "/var/lib/postern/leak-guard"],
                                                                          check=False).stdout.split() == ["755", "600"])
# While it is written anew, again and again, and packets come all the time.
flood = net.home.start([sys.executable, "-c", SENDER.replace("time.sleep(0.01)", "pass"), *GUARDED4, *GUARDED6], log="flood")
for _ in range(20):
    home.m.run([testlib.POSTERND, "-c", "/etc/postern/postern.conf", "--leak-guard", "apply"])
flood.kill()
quiet("while the guard is written anew")
told = net.home.run(["ping", "-c1", "-W3", "10.99.0.1"], check=False).stdout
check("a sender is told at once", "No route" in told or "nreachable" in told, told)
check("a LAN inside of a guarded network is reached", wait_for("ping", lambda: ping("10.60.7.10")))
check("and all else, as before", wait_for("pings", lambda: ping("100.64.0.1") and ping("2001:db8:64::1")))
# Somebody on the WAN hands out better routes, or another VPN puts its rules before ours.
for family, dst, via in (("-4", "10.99.0.1/32", "100.64.0.1"), ("-4", "10.60.9.0/24", "100.64.0.1"), ("-6", "fd99::1/128", "2001:db8:64::1")):
    net.home.run(["ip", family, "route", "add", dst, "via", via])
    net.home.run(["ip", family, "rule", "add", "to", dst, "priority", "50", "lookup", "main"])
quiet("with better routes and rules of others", 1)
for family, dst in (("-4", "10.99.0.1/32"), ("-4", "10.60.9.0/24"), ("-6", "fd99::1/128")):
    net.home.run(["ip", family, "rule", "del", "to", dst, "priority", "50"])

# Whoever answers DHCP on one of two lines gives an address inside of a guarded network, and no default route.
home.m.write("/etc/postern/postern.conf", conf + "\n[wan dsl]\ninterface = wan\n")
net.cgnat.addr("inner", "10.60.5.9/24")
net.home.run(["sh", "-c", "ip route del default; ip -6 route del default; ip route add default via 10.60.7.10 dev lan"])
net.home.addr("wan", "10.60.5.2/24")
guard("apply")
check("a line does not become a LAN by having no default route", not ping("10.60.5.9"))
quiet("with a subnet of the line inside of a guarded network", 1)
net.home.run(["sh", "-c", "ip addr del 10.60.5.2/24 dev wan; ip route replace default via 100.64.0.1;"
              " ip -6 route add default via 2001:db8:64::1"])
net.cgnat.run(["ip", "addr", "del", "10.60.5.9/24", "dev", "inner"])
home.m.write("/etc/postern/postern.conf", conf)
guard("apply")

vps.start_posternd()
home.start_posternd()
require("the tunnel comes up", wait_for("ping", ping, 20))
check("all of it passes", wait_for("ping", lambda: ping("10.60.9.9") and ping("fd99::1"), 10))
quiet("while the tunnel is up")
check("status says so", home.peer("vps").get("leak") == "never", home.peer("vps"))
home.d.terminate()
home.d.wait(60)
quiet("after a stop")
home.start_posternd()
wait_for("ping", ping, 20)
quiet("after a start")
kill_all()
quiet("after kill -9 of all")
net.home.run(["ip", "link", "del", "postern0"])
quiet("after the device went too")
net.home.run(["nft", "flush", "ruleset"])
quiet("after nft flush ruleset while nothing runs")
guard("apply")
home.start_posternd()
wait_for("ping", ping, 20)
net.home.run(["nft", "flush", "ruleset"])
check("a running daemon puts the guard up again", wait_for("table", lambda: "postern_leak" in tables(), 5))
quiet("after nft flush ruleset while it runs")
net.home.run(["nft", "delete", "table", "inet", "postern_leak"])
check("and again", wait_for("table", lambda: "postern_leak" in tables(), 5))
net.cgnat.run(["ip", "link", "set", "inner", "down"])
time.sleep(0.3)
net.cgnat.run(["ip", "link", "set", "inner", "up"])
net.cgnat.run(["sh", "-c", "ip addr add 2001:db8:64::1/64 dev inner nodad || true"])
net.home.run(["sh", "-c", "ip route replace default via 100.64.0.1; ip -6 route replace default via 2001:db8:64::1"])
wait_for("ping", ping, 20)
quiet("after the WAN lost its carrier")
# A LAN that comes later, while the daemon follows.
net.home.run(["ip", "addr", "add", "10.60.8.1/24", "dev", "lan"])
net.lan.run(["ip", "addr", "add", "10.60.8.10/24", "dev", "eth0"])
check("a LAN that comes later is reached", wait_for("ping", lambda: ping("10.60.8.10"), 10))

# --- leak = allow by a reload, and back
home.m.write("/etc/postern/postern.conf", conf.replace("leak = never", "leak = allow"))
home.cli("reload")
check("leak = allow takes the guard down", wait_for("gone", lambda: "postern_leak" not in tables(), 5))
home.m.write("/etc/postern/postern.conf", conf)
home.cli("reload")
check("leak = never puts it up", wait_for("there", lambda: "postern_leak" in tables(), 5))

# --- a boot with a configuration that somebody broke
kill_all()
net.home.run(["ip", "link", "del", "postern0"])
net.home.run([testlib.POSTERND, "-c", "/etc/postern/postern.conf.not-there", "--cleanup"])
check("--cleanup leaves nothing, whatever the configuration", "postern" not in tables() and "15702" not in net.home.run(["ip", "rule"]).stdout
      and not net.home.run(["sh", "-c", "ls /var/lib/postern/leak-guard 2>/dev/null || true"]).stdout, tables())
guard("apply")
time.sleep(0.1)
base = seen()
net.home.run(["nft", "flush", "ruleset"])
net.home.run(["sh", "-c", "ip route flush table 15700; ip -6 route flush table 15700"])
home.m.write("/etc/postern/postern.conf", conf + "\nnonsense\n")
out = guard("apply", ok=False)
time.sleep(0.1)
base = seen()
check("and says why", "has errors" in out, out)
quiet("with a broken configuration, after a boot", 1)
home.m.write("/etc/postern/postern.conf", conf)
guard("remove")
check("--leak-guard remove leaves nothing", "postern" not in tables() and "157" not in net.home.run(["ip", "rule"]).stdout, tables())
check("and the way is open again", wait_for("seen", lambda: all(a > b + 5 for a, b in zip(seen(), base)), 10))
testlib.done()
