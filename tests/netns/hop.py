# SPDX-License-Identifier: GPL-3.0-or-later
"""A carrier that eats every source port that the tunnel used, for ever: each time another one is found, and there is
always one that no NAT has seen.
"""
import time

import testlib
from testlib import check, require, wait_for

lab, net = testlib.start()
import cast  # noqa: E402

vps, home = cast.tunnel(net, peer="tcp = never")  # which would be the way out when several ports in a row are eaten


def ping(to="10.99.0.1", m=net.home, wait="0.3"):
    return m.run(["ping", "-c1", f"-W{wait}", to], check=False).returncode == 0


def port():
    return int(home.peer("vps")["local"].rsplit(":", 1)[1])


vps.start_posternd()
wait_for("posternd answers", lambda: vps.status())
home.start_posternd()
require("the tunnel comes up", wait_for("ping", ping, 20))
traffic = home.m.start(["ping", "-q", "-i", "0.3", "10.99.0.1"])
net.cgnat.nft("table ip eat {\n set ports { type inet_service; }\n chain c {\n  type filter hook forward priority -10;"
              " udp sport @ports drop; udp dport @ports drop\n }\n}")
used, ups = [port()], home.peer("vps")["ups"]
for turn in range(4):
    net.cgnat.run(["nft", "add", "element", "ip", "eat", "ports", f"{{ {used[-1]} }}"])
    began = time.monotonic()
    wait_for("another port", lambda: ping() and port() not in used, 150, 0.2)
    print(f"     {time.monotonic() - began:.1f} s: {used[-1]} -> {port()}")
    used.append(port())
    time.sleep(1)
check("five source ports, of three sockets", len(set(used)) == 5, used)
check("all on one IKE SA", home.peer("vps")["ups"] == ups, home.peer("vps")["ups"])
check("and the VPS reaches the home", wait_for("ping", lambda: ping("10.99.0.2", net.vps)))
traffic.terminate()
testlib.done()
