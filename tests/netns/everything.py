# SPDX-License-Identifier: GPL-3.0-or-later
"""All traffic through the tunnel (0.0.0.0/0, ::/0) on a router with strict rp_filter: a cold start by name with the name
server out on the WAN, asked through a resolver of this machine, a server that comes late and is killed, a NAT that forgets; the LAN behind it works, and the
carrier sees our packets to the server and name queries of the resolver, nothing else.
"""
import os
import signal
import sys
import time

import testlib
from testlib import check, require, wait_for

lab, net = testlib.start(hosts=[("web", "198.51.100.31"), ("dns", "198.51.100.53")])
import cast  # noqa: E402

WEB4, WEB6, DNS = "198.51.100.31", "2001:db8:51::31", "198.51.100.53"
vps, home = cast.tunnel(net)
conf = home.m.read("/etc/postern/postern.conf").replace(
    "networks = 10.99.0.1, fd99::1", "networks = 0.0.0.0/0, ::/0\nlocal-ts = assigned, 192.168.7.0/24, fd00:7::/64\nleak = never")
home.m.write("/etc/postern/postern.conf", conf.replace("[peer vps]", "name-users = 2012\n\n[peer vps]"))
vps.m.write("/etc/postern/postern.conf", vps.m.read("/etc/postern/postern.conf").replace(
    "[peer home]", "[peer home]\nlocal-ts = 0.0.0.0/0, ::/0\nnetworks = 192.168.7.0/24, fd00:7::/64"))
home.m.write("/etc/hosts", "127.0.0.1 localhost\n")
home.m.write("/etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:2\n")
# As dnsmasq: a user of its own, who asks outside.
FORWARD = """
import os, socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.1", 53))
os.setgid(2012); os.setuid(2012)
while True:
    q, who = s.recvfrom(1500)
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); out.settimeout(0.4)
    try:
        out.sendto(q, ("%s", 53)); s.sendto(out.recv(1500), who)
    except OSError as e:
        print(e, flush=True)
    out.close()
""" % DNS
home.m.start([sys.executable, "-c", FORWARD], log="forward")
home.m.sysctl(net__ipv4__conf__all__rp_filter=1, net__ipv4__conf__default__rp_filter=1, net__ipv4__conf__wan__rp_filter=1,
              net__ipv4__conf__lan__rp_filter=1, net__ipv6__conf__all__forwarding=1)
net.home.addr("lan", "fd00:7::1/64")
net.lan.addr("eth0", "fd00:7::10/64")
net.lan.run(["ip", "-6", "route", "add", "default", "via", "fd00:7::1"])
net.web.addr("wan", WEB6 + "/64")
vps.m.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)
vps.m.nft("table inet nat {\n chain post {\n type nat hook postrouting priority 100;\n oifname wan masquerade\n }\n}\n")
# Everything that the carrier sees coming from home.
net.cgnat.nft(f"""
table inet watch {{
	chain seen {{
		type filter hook prerouting priority -400
		iifname != "inner" accept
		ip daddr {net.VPS4} udp dport 4500 counter accept
		ip daddr {net.VPS4} tcp dport {{ 4500, 443 }} accept
		ip daddr {DNS} udp dport 53 counter accept
		icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, mld2-listener-report }} accept
		counter
	}}
}}
""")
# One name, and a note of who asked.
NAMES = """
import socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("0.0.0.0", 53))
while True:
    q, who = s.recvfrom(1500)
    end = q.index(b"\\0", 12) + 5
    name, kind = q[12:end - 4], struct.unpack(">H", q[end - 4:end - 2])[0]
    ours = name == b"\\3vps\\7example\\3net\\0"
    a = b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\5\\0\\4" + socket.inet_aton("%s") if ours and kind == 1 else b""
    s.sendto(q[:2] + (b"\\x81\\x80" if ours else b"\\x81\\x83") + b"\\0\\1" + (b"\\0\\1" if a else b"\\0\\0") + b"\\0" * 4 + q[12:end] + a, who)
""" % net.VPS4
net.dns.start([sys.executable, "-c", NAMES], log="names")


def seen():
    """Packets to the server by UDP, to the name server, and of other kinds; by TCP it is called when UDP is silent."""
    text = net.cgnat.run(["nft", "list", "table", "inet", "watch"]).stdout
    return [int(line.split("packets ")[1].split()[0]) for line in text.splitlines() if "counter" in line]


def ping(to=WEB4, m=net.home):
    return m.run(["ping", "-c1", "-W0.5", to], check=False).returncode == 0


def quiet(what):
    check(f"{what}: the carrier sees nothing else of it", seen()[2] == base, net.cgnat.run(["nft", "list", "table", "inet", "watch"]).stdout)


# --- a boot: guard, then daemon; the server is not there yet
r = home.m.run([testlib.POSTERND, "-c", "/etc/postern/postern.conf", "--leak-guard", "apply"], check=False)
require("--leak-guard apply", r.returncode == 0, r.stdout)
time.sleep(0.3)
base = seen()[2]
check("nothing gets out", not ping() and not ping(WEB4, net.lan) and not ping(DNS))
quiet("before the start")
check("the LAN works", wait_for("pings", lambda: ping("192.168.7.10") and ping("192.168.7.1", net.lan) and ping("fd00:7::1", net.lan)))
asked = home.m.python("import socket\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\ns.setsockopt(socket.SOL_SOCKET,socket.SO_BROADCAST,1)\n"
                      "s.bind(('',68))\ns.sendto(b'x'*300,('100.64.0.1',67))", check=False)
check("DHCP of the WAN does", asked.returncode == 0 and wait_for("it is seen", lambda: seen()[2] == base + 1), (asked.stdout, seen(), base))
base = seen()[2]
home.start_posternd()
wait_for("posternd answers", lambda: home.status())
check("the server's name is asked for on the WAN", wait_for("query", lambda: seen()[1] > 0, 20))
check("and the server is called there", wait_for("call", lambda: seen()[0] > 0, 20))
quiet("while the server is away")
vps.start_posternd()
require("the tunnel comes up by name, past the dead 0/0 route", wait_for("ping", ping, 30))
check("from the LAN too, both families", wait_for("ping", lambda: ping(WEB4, net.lan) and ping(WEB6, net.lan) and ping(WEB6), 15))
check("src_valid_mark is set", home.m.read("/proc/sys/net/ipv4/conf/all/src_valid_mark").strip() == "1")
check("the LAN works still", wait_for("pings", lambda: ping("192.168.7.10") and ping("192.168.7.1", net.lan)))

# --- a connection of a LAN client lives through all that follows
ECHO = "import socket\ns=socket.create_server(('',7))\nwhile True:\n c,_=s.accept()\n while (d:=c.recv(9)): c.sendall(d)\n"
TALK = ("import socket,time\nc=socket.create_connection(('%s',7),10)\nc.settimeout(60)\nn=0\n"
        "while True:\n c.sendall(b'x')\n assert c.recv(1)\n n+=1\n print(n,flush=True)\n time.sleep(0.1)\n" % WEB4)
net.web.start([sys.executable, "-c", ECHO], log="echo")
testlib.listening(net.web, 7)
talk = net.lan.start([sys.executable, "-c", TALK], log="talk")


def said():
    with open(talk.log) as f:
        return len(f.read().split())


check("a LAN client talks to a server of the internet", wait_for("talk", lambda: said() > 3, 15))
net.nat_rebind()
n = said()
check("the carrier's NAT forgets: it goes on", wait_for("talk", lambda: said() > n + 5, 30))
n = said()
for pid in [vps.d.pid] + vps.m.child_pids(vps.d):
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        pass
vps.d.wait(60)
time.sleep(1)
quiet("while the server is dead")
n = said()
vps.start_posternd()
check("the server was killed: the connection goes on", wait_for("talk", lambda: said() > n + 5, 60))
n = said()
for pid in [home.d.pid] + home.m.child_pids(home.d):
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        pass
home.d.wait(60)
time.sleep(1)
check("killed at home: nothing gets out meanwhile", not ping() and not ping(WEB4, net.lan))
quiet("while the daemon at home is dead")
home.start_posternd()
check("and started again: the connection goes on", wait_for("talk", lambda: said() > n + 5, 60))
check("it is one connection all along", talk.poll() is None)
quiet("at the end")
testlib.done()
