# SPDX-License-Identifier: GPL-3.0-or-later
"""mark: a home with two uplinks whose `ip rule fwmark` decides by which of them a peer is reached.

	home ── wan ── cgnat (198.51.100.20) ──┐
	     └─ wwan ─ mobile (198.51.100.21) ─┴─ vps (.10, peer vps), other (.12, peer other)

Strict rp_filter, leak = never with a 0/0 network, TCP, a reload that marks, marks otherwise, and unmarks, and a restart.
"""
import re
import time

import testlib
from testlib import check, require, wait_for

lab, net = testlib.start()
import cast  # noqa: E402

mobile, other_m = lab.machine("mobile"), lab.machine("other")
lab.plug(net.wan, mobile, "wan", "198.51.100.21/24")
lab.plug(net.wan, other_m, "wan", "198.51.100.12/24")
lab.link(mobile, "inner", net.home, "wwan")
mobile.addr("inner", "10.64.0.1/24")
net.home.addr("wwan", "10.64.0.2/24")
mobile.sysctl(net__ipv4__ip_forward=1)
mobile.nft("""
table ip nat {
	chain post { type nat hook postrouting priority 100
		oifname "wan" masquerade
	}
}
""")
WATCH = """
table inet watch {
	chain seen {
		type filter hook prerouting priority -400
		iifname "inner" ip daddr 198.51.100.10 counter
		iifname "inner" ip daddr 198.51.100.12 counter
		iifname "inner" ip daddr 203.0.113.0/24 counter
	}
}
"""
for m in (net.cgnat, mobile):
    m.nft(WATCH)
net.home.run(["ip", "route", "add", "default", "via", "10.64.0.1", "dev", "wwan", "table", "100"])
net.home.run(["ip", "rule", "add", "fwmark", "0x10", "lookup", "100"])
net.home.run(["ip", "rule", "add", "fwmark", "0x20000/0xff0000", "lookup", "100"])
net.home.sysctl(net__ipv4__conf__all__rp_filter=1, net__ipv4__conf__wan__rp_filter=1, net__ipv4__conf__wwan__rp_filter=1)
PSK = "Vq0rS8hVn1hTgkXk2m5bM1sQm6q2j7d8kqYp3z4w5x6y"
OTHER = """
[peer other]
address = 198.51.100.12
identity = other.example.net
psk = keys/psk
networks = 10.97.0.1
start = always
"""
vps, home = cast.tunnel(net)
other = cast.Side(other_m, "other")
for side in (home, other):
    side.m.run(["mkdir", "-p", "/etc/postern/keys"])
    side.m.write("/etc/postern/keys/psk", PSK + "\n", mode=0o600)
other.m.write("/etc/postern/postern.conf", """[posternd]
identity = other.example.net
tunnel-address = 10.97.0.1

[peer home]
identity = home.example.net
psk = keys/psk
assign = 10.97.0.2
""")
conf = home.m.read("/etc/postern/postern.conf")


def configure(vps_peer, networks="10.99.0.1, fd99::1", other_peer=""):
    text = conf.replace("networks = 10.99.0.1, fd99::1", f"networks = {networks}\n{vps_peer}") + OTHER + other_peer
    home.m.write("/etc/postern/postern.conf", text)


def ping(to="10.99.0.1"):
    return net.home.run(["ping", "-c1", "-W1", to], check=False).returncode == 0


def ways():
    """Packets to the vps, to the other and to 203.0.113.0/24 by the main line, and by the mobile one."""
    return [[int(n) for n in re.findall(r"packets (\d+)", m.run(["nft", "list", "table", "inet", "watch"]).stdout)] for m in (net.cgnat, mobile)]


def by(peer):
    """Which line carries a second of pings through that tunnel."""
    i, to = (0, "10.99.0.1") if peer == "vps" else (1, "10.97.0.1")
    before = ways()
    answers = [ping(to) for _ in range(5)]
    after = ways()
    lines = [name for k, name in enumerate(("main", "mobile")) if after[k][i] - before[k][i] >= 5]
    return " and ".join(lines) if all(answers) else f"not answered {answers}"


def settled(peer, line, seconds=10):
    try:
        return wait_for(f"{peer} by {line}", lambda: by(peer) == line, seconds, 0.2)
    except testlib.Failed:
        return False


def reload(*args, **kw):
    configure(*args, **kw)
    home.cli("reload")


for side in (vps, other):
    side.start_posternd()
    wait_for("posternd answers", lambda: side.status())
configure("mark = 0x10")
home.start_posternd()
require("both tunnels come up", wait_for("pings", lambda: ping() and ping("10.97.0.1"), 20))
check("the peer with a mark goes by the line that the rule says, strict rp_filter or not", settled("vps", "mobile"), by("vps"))
check("the other one does not", settled("other", "main"), by("other"))
first = ways()
check("and nothing of either went by the other's line", first[0][0] == 0 and first[1][1] == 0, first)
check("status says so", home.peer("vps")["mark"] == 0x10 and home.peer("other")["mark"] is None and
      "with mark 0x10" in home.cli("status").stdout, home.cli("status").stdout)

# --- reload: two peers with one mark share its sockets, a mask, none
ups = home.peer("vps")["ups"]
reload("mark = 0x10", other_peer="mark = 16\n")
check("a reload gives the other the same mark: it follows", settled("other", "mobile"), by("other"))
ports = {p: home.peer(p)["local"].rsplit(":", 1)[1] for p in ("vps", "other")}
check("by the same socket", ports["vps"] == ports["other"], ports)
reload("mark = 0x20000/0xff0000")
check("a reload gives another mark, with a mask", settled("vps", "mobile"), by("vps"))
check("which is ours outside of it", home.peer("vps")["mark"] == 0x23d54, home.peer("vps")["mark"])
check("and the other goes by the main line again", settled("other", "main"), by("other"))
reload("")
check("a reload takes it away", settled("vps", "main"), by("vps"))
check("by the same IKE SAs", home.peer("vps")["ups"] == ups, home.peer("vps")["ups"])
rules = lambda: net.home.run(["ip", "rule"]).stdout
check("of our rules for it none is left", wait_for("none", lambda: not re.search(r"157\d\d:.*fwmark (0x10|0x23d54)", rules())), rules())
reload("mark = 0x10")
check("and gives it back", settled("vps", "mobile"), by("vps"))

# --- the operator's rule changes
net.home.run(["ip", "rule", "del", "fwmark", "0x10", "lookup", "100"])
check("without the rule it goes by the main line", settled("vps", "main", 20), by("vps"))
net.home.run(["ip", "rule", "add", "fwmark", "0x10", "lookup", "100"])
check("with it by the mobile one", settled("vps", "mobile", 20), by("vps"))

# --- everything into the tunnel, and nothing beside it
vps.m.write("/etc/postern/postern.conf", vps.m.read("/etc/postern/postern.conf").replace("[peer home]", "[peer home]\nlocal-ts = 0.0.0.0/0"))
vps.cli("reload")
reload("mark = 0x10\nleak = never", networks="0.0.0.0/0")
check("leak = never with 0/0: the marked packets get out by their line", settled("vps", "mobile", 20), by("vps"))
# What somebody forwards with that mark, as many do who mark by nft, is not ours.
net.home.sysctl(net__ipv4__ip_forward=1)
net.home.nft("table ip foreign {\n chain pre { type filter hook prerouting priority -150\n  iifname lan ip daddr 203.0.113.0/24 meta mark set 0x10\n }\n"
             " chain out { type route hook output priority -150\n  meta skuid 65534 ip daddr 203.0.113.0/24 meta mark set 0x10\n }\n}")
before = ways()
net.lan.run(["ping", "-c3", "-i0.2", "-W0.3", "203.0.113.9"], check=False)
net.home.run(["setpriv", "--reuid=65534", "--clear-groups", "python3", "-c",
              "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
              "for i in range(5):\n  try: s.sendto(b'x', ('203.0.113.9', 9))\n  except OSError: pass"], check=False)
time.sleep(0.3)
after = ways()
check("nothing else gets out, marked by somebody or not", after[0][2] == 0 and after[1][2] == 0, after)
net.home.run(["nft", "delete", "table", "ip", "foreign"])
check("the guard knows the mark", "meta mark 0x00000010 meta skuid 0" in net.home.run(["nft", "list", "table", "inet", "postern_leak"]).stdout)

# --- a restart, and TCP
def restart():
    home.d.terminate()
    home.d.wait(60)
    home.start_posternd()


restart()
check("after a restart as well", settled("vps", "mobile", 30), by("vps"))
configure("mark = 0x10\ntcp = always")
restart()
check("by TCP", wait_for("TCP", lambda: home.peer("vps").get("transport", {}).get("by") in ("tcp", "tls") and ping(), 40), home.peer("vps"))
check("the same line", settled("vps", "mobile", 20), by("vps"))
reload("tcp = always")
check("a reload without it begins another connection", settled("vps", "main", 40), by("vps"))

# --- what cannot be
for what, peer, word in (("our own", "mark = 0x3d54", "0x3d54"), ("none", "mark = 0", "0 is no mark"), ("too wide", "mark = 0x1ff/0xff", "outside of its mask"),
                         ("no number", "mark = wan", "not a mark"), ("both", "mark = 1\ninterface = wan", "keep one")):
    configure(peer)
    p = home.cli("check", check=False)
    check(f"a mark that is {what} is refused", p.returncode != 0 and word in p.stdout, p.stdout)
testlib.done()
