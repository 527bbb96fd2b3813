# SPDX-License-Identifier: GPL-3.0-or-later
"""SAs that one side has lost without a word to the other: unknown SPIs are told, bounded, and the tunnel is back soon."""
import json
import sys
import time

import testlib
from testlib import check, require, wait_for

lab, net = testlib.start()
import cast  # noqa: E402

vps, home = cast.tunnel(net, peer="tcp = never")  # UDP alone is muted here


def ping():
    return net.home.run(["ping", "-c1", "-W0.2", "10.99.0.1"], check=False).returncode == 0


def counters(side):
    return json.loads(side.cli("status", "--json", "--counters").stdout)["counters"]


vps.start_posternd()
wait_for("posternd answers", lambda: vps.status())
home.start_posternd()
require("the tunnel comes up", wait_for("ping", ping, 20))

# --- ESP under an SPI that is nobody's, from the very endpoint of the VPS, as only the way between could make it
ESP = """
import socket, struct, sys, time
to, port = sys.argv[1].rsplit(":", 1)
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
s.bind(("198.51.100.10", 0))
for i in range(200):
    esp = struct.pack("!II", 0x77000000 + i, 1) + bytes(64)
    s.sendto(struct.pack("!HHHH", 4500, int(port), 8 + len(esp), 0) + esp, (to, 0))
    time.sleep(0.01)
"""
before, ours, dropped = counters(vps)["ike_in"], vps.peer("home")["ups"], counters(home)["unknown_spi"]
began = time.monotonic()
net.vps.run([sys.executable, "-c", ESP, vps.peer("home")["endpoint"]])
check("all of them were seen", wait_for("all", lambda: counters(home)["unknown_spi"] - dropped >= 200), counters(home)["unknown_spi"] - dropped)
time.sleep(1)
told, took = counters(vps)["ike_in"] - before, time.monotonic() - began
check("it says so, once a second and no more", 1 <= told <= took + 2, (told, took))
check("which changes nothing", testlib.answered(net.home, "10.99.0.1") and vps.peer("home")["ups"] == ours)
check("and neither side has dropped it", home.up("vps") and vps.up("home"))

# --- the VPS loses the IKE SA and its keys, and its last word does not arrive
for n in range(2):
    net.vps.nft("table ip mute {\n chain c {\n type filter hook output priority 0; udp sport 4500 drop\n }\n}")
    vps.cli("down", "home")
    wait_for("the VPS has forgotten", lambda: "ike" not in vps.peer("home"), 30)
    vps.cli("up", "home")
    dropped = counters(vps)["unknown_spi"]
    check("home does not know and goes on to send",
          wait_for("unknown", lambda: (ping() or True) and counters(vps)["unknown_spi"] > dropped))
    net.vps.run(["nft", "delete", "table", "ip", "mute"])
    began = time.monotonic()
    check("once it hears from the VPS, data passes again", wait_for("ping", ping, 30, 0.02))
    print(f"     {time.monotonic() - began:.2f} s")
testlib.done()
