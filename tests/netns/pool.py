# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses from a pool: the next free one, the same one after a reconnect, a restart of either side and a lost SA; the
name servers with it; a pool that is used up says so, and is asked again.
"""
import testlib
from testlib import check, require, wait_for

lab, net = testlib.start(hosts=[("second", "198.51.100.40")])
import cast  # noqa: E402

vps, home = cast.tunnel(net)
second = cast.Side(net.second, "second")

POOL = """[posternd]
identity = vps.example.net
private-key = keys/vps.key
tunnel-address = 10.99.0.1, fd99::1

[pool homes]
addresses = {addresses}
dns = 10.99.0.1, fd99::1

[peer fixed]
identity = fixed.example.net
public-key = keys/home.pub
assign = 10.99.4.1

[peer home]
identity = home.example.net
public-key = keys/home.pub
pool = homes

[peer second]
identity = second.example.net
public-key = keys/second.pub
pool = homes
dns = 10.99.0.53
"""


def configure(addresses):
    net.vps.write("/etc/postern/postern.conf", POOL.format(addresses=addresses))


def addresses(side):
    return side.status().get("tun", {}).get("addresses")


def up(side, to="10.99.0.1"):
    return side.m.run(["ping", "-c1", "-W0.3", to], check=False).returncode == 0


def restart(side):
    side.d.terminate()
    side.d.wait(15)
    side.start_posternd()
    wait_for("posternd answers", lambda: side.status())


# The second home is another machine, with a key of its own.
second.m.run(["mkdir", "-p", "/etc/postern/keys"])
second.cli("keygen", "/etc/postern/keys/home.key")
net.vps.write("/etc/postern/keys/second.pub", net.second.read("/etc/postern/keys/home.pub"))
net.second.write("/etc/postern/keys/vps.pub", net.home.read("/etc/postern/keys/vps.pub"))
net.second.write("/etc/postern/postern.conf",
                 net.home.read("/etc/postern/postern.conf").replace("home.example.net", "second.example.net"))
net.second.write("/etc/hosts", "127.0.0.1 localhost\n198.51.100.10 vps.example.net\n")

# 10.99.4.0 is the network, .1 is somebody's, .3 is the broadcast address: there is one left.
configure("10.99.4.0/30, fd99:4::/64")
vps.start_posternd()
wait_for("posternd answers", lambda: vps.status())
home.start_posternd()
require("the tunnel comes up", wait_for("ping", lambda: up(home), 20))
check("home has the one IPv4 address that is nobody's, and an IPv6 one",
      addresses(home) == ["10.99.4.2", "fd99:4::1"], addresses(home))
check("the VPS reaches it there", wait_for("ping", lambda: up(vps, "10.99.4.2"), 5))
check("by IPv6 too", wait_for("ping", lambda: up(vps, "fd99:4::1"), 5))
check("the VPS tells who has them", vps.peer("home")["inner"] == ["10.99.4.2", "fd99:4::1"], vps.peer("home")["inner"])
check("home was told the pool's name servers", home.peer("vps")["dns"] == ["10.99.0.1", "fd99::1"], home.peer("vps")["dns"])
route = vps.m.run(["ip", "route", "get", "10.99.4.2"]).stdout
check("the route goes into the tunnel", "postern0" in route, route)

# --- used up: IPv6 alone is enough, and when there is neither it is explained
second.start_posternd()
check("the second home gets what there is", wait_for("up", lambda: addresses(second) == ["fd99:4::2"], 20), addresses(second))
check("and its own name server", second.peer("vps")["dns"] == ["10.99.0.53"], second.peer("vps")["dns"])
second.d.terminate()
second.d.wait(15)
configure("10.99.4.0/30")
vps.cli("reload")
check("home has kept its IPv4 address", wait_for("ping", lambda: up(home), 20) and addresses(home) == ["10.99.4.2"],
      addresses(home))
second.start_posternd()
check("the second one is refused, with the reason",
      wait_for("failure", lambda: "INTERNAL_ADDRESS_FAILURE" in str(second.peer("vps").get("failure")), 15),
      second.peer("vps").get("failure"))
check("the VPS says which pool and how many",
      "all 1 addresses of pool homes are taken" in str(vps.peer("second")["failure"]), vps.peer("second")["failure"])
configure("10.99.4.0/29, fd99:4::/64")
vps.cli("reload")
check("a larger pool, and it comes up by itself", wait_for("ping", lambda: up(second), 40))
check("with the next address", addresses(second)[0] == "10.99.4.3", addresses(second))

# --- the same address after everything
check("home is up", wait_for("ping", lambda: up(home), 20))
want = addresses(second)
for what, side in (("the home", second), ("the VPS", vps)):
    restart(side)
    check(f"{what} was restarted: up again", wait_for("ping", lambda: up(second), 30))
    check("with the same address", addresses(second) == want, addresses(second))
    check("and so is the first", wait_for("ping", lambda: up(home), 30) and addresses(home)[0] == "10.99.4.2",
          addresses(home))
for n in range(2):
    second.cli("down", "vps")
    second.cli("up", "vps")
    check("called anew: the same address", wait_for("ping", lambda: up(second), 20) and addresses(second) == want,
          addresses(second))
testlib.done()
