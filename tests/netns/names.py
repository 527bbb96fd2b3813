# SPDX-License-Identifier: GPL-3.0-or-later
"""How the server is found: a name with two dead addresses and a live one, one that changes, also while the
tunnel is up and says nothing; and a literal IPv4 address from a line that has IPv6 alone (NAT64, tayga).
"""
import os
import time

import testlib
from testlib import case, check, require, wait_for

testlib.need_scratch()
lab, net = testlib.start()
import cast  # noqa: E402

vps, home = cast.tunnel(net)
DEAD = "198.51.100.98", "198.51.100.99"


def hosts(*addrs, more=""):
    net.home.write("/etc/hosts", "127.0.0.1 localhost home\n" + "".join(f"{a} vps.example.net\n" for a in addrs) + more)


def ping(wait="0.3"):
    return net.home.run(["ping", "-c1", f"-W{wait}", "10.99.0.1"], check=False).returncode == 0


def restart():
    if home.d:
        home.d.terminate()
        home.d.wait(60)
    began = time.monotonic()
    home.start_posternd()
    wait_for("posternd answers", lambda: home.status())
    wait_for("ping", ping, 40)
    return time.monotonic() - began


vps.start_posternd()
wait_for("posternd answers", lambda: vps.status())

# --- two dead addresses and a live one
hosts(*DEAD, "198.51.100.10")
took = restart()
case("ike_case_097_two_dead_addresses_and_a_live_one_connect_within_ten_seconds", took < 10, took)
print(f"     {took:.2f} s")

# --- another address behind the name, found while the old one is silent
ups = home.peer("vps")["ups"]
net.vps.run(["ip", "addr", "del", "198.51.100.10/24", "dev", "wan"])
net.vps.run(["ip", "addr", "add", "198.51.100.11/24", "dev", "wan"])
hosts("198.51.100.11")
began = time.monotonic()
flood = net.home.start(["ping", "-q", "-i", "0.2", "10.99.0.1"])
wait_for("ping", ping, 60)
took = time.monotonic() - began
flood.terminate()
print(f"     {took:.2f} s, {home.peer('vps')['endpoint']}")
case("ike_case_097_a_name_that_changes_under_the_tunnel_is_followed",
     home.peer("vps")["endpoint"] == "198.51.100.11:4500" and took < 40, (took, home.peer("vps")["endpoint"]))
net.vps.run(["ip", "addr", "del", "198.51.100.11/24", "dev", "wan"])
net.vps.run(["ip", "addr", "add", "198.51.100.10/24", "dev", "wan"])

# --- a line with IPv6 alone; the carrier translates
net.cgnat.run(["ip", "link", "set", "inner", "mtu", "1500"])
net.cgnat.addr("inner", "2001:db8:7::1/64")
net.home.run(["ip", "addr", "flush", "dev", "wan", "scope", "global"])
net.home.addr("wan", "2001:db8:7::2/64")
net.home.run(["ip", "-6", "route", "add", "default", "via", "2001:db8:7::1"])
net.cgnat.sysctl(net__ipv6__conf__all__forwarding=1)
net.cgnat.write("/etc/tayga.conf", """tun-device nat64
ipv4-addr 192.168.255.1
ipv6-addr 2001:db8:7:ff::1
prefix 2001:db8:64::/96
dynamic-pool 192.168.255.0/24
data-dir /var/lib/tayga
""")
net.cgnat.run(["mkdir", "-p", "/var/lib/tayga"])
tayga = next(p for p in ("/usr/sbin/tayga", "/sbin/tayga") if os.path.exists(p))
net.cgnat.run([tayga, "-c", "/etc/tayga.conf", "--mktun"])
net.cgnat.run(["ip", "link", "set", "nat64", "up"])
net.cgnat.run(["ip", "route", "add", "192.168.255.0/24", "dev", "nat64"])
net.cgnat.run(["ip", "-6", "route", "add", "2001:db8:64::/96", "dev", "nat64"])
net.cgnat.nft("add rule ip filter through iifname \"nat64\" accept")
net.cgnat.start([tayga, "-c", "/etc/tayga.conf", "-d"], log="tayga")
require("the carrier's NAT64 works", wait_for("ping", lambda: net.home.run(
    ["ping", "-6", "-c1", "-W1", "2001:db8:64::198.51.100.10"], check=False).returncode == 0, 20))
hosts("198.51.100.10", more="2001:db8:64::192.0.0.170 ipv4only.arpa\n2001:db8:64::192.0.0.171 ipv4only.arpa\n")
home.m.write("/etc/postern/postern.conf", home.m.read("/etc/postern/postern.conf").replace(
    "address = vps.example.net", "address = 198.51.100.10"))
took = restart()
peer = home.peer("vps")
check("a literal IPv4 server is reached from IPv6 alone",
      peer["endpoint"] == "[2001:db8:64::c633:640a]:4500", peer["endpoint"])
print(f"     {took:.2f} s, {peer['endpoint']}")
hosts("198.51.100.10", more="2001:db8:64::192.0.0.170 ipv4only.arpa\n")
home.m.write("/etc/postern/postern.conf", home.m.read("/etc/postern/postern.conf").replace(
    "address = 198.51.100.10", "address = vps.example.net"))
took = restart()
check("so is a name whose resolver makes no IPv6 of it", home.peer("vps")["endpoint"] == peer["endpoint"], home.peer("vps"))
print(f"     {took:.2f} s")

# --- the carrier changes its prefix
net.cgnat.run(["ip", "-6", "route", "del", "2001:db8:64::/96", "dev", "nat64"])
hosts("198.51.100.10")
net.home.run(["ip", "-6", "route", "del", "default"])
net.home.addr("wan", "100.64.0.2/24")
net.home.run(["ip", "route", "add", "default", "via", "100.64.0.1"])
began = time.monotonic()
check("back on a line with IPv4 it goes without", wait_for(
    "ping", lambda: ping() and home.peer("vps")["endpoint"] == "198.51.100.10:4500", 60))
print(f"     {time.monotonic() - began:.2f} s")
testlib.done()
