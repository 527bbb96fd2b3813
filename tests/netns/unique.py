# SPDX-License-Identifier: GPL-3.0-or-later
"""One identity, one place: a home that is killed and started anew comes back at once; a second machine with its key is
refused for as long as the first one answers, and both say so.
"""
import os
import signal
import time

import testlib
from testlib import check, require, wait_for

lab, net = testlib.start(hosts=[("twin", "198.51.100.40")])
import cast  # noqa: E402

vps, home = cast.tunnel(net)
twin = cast.Side(net.twin, "twin")


def ping(wait="0.2"):
    return net.home.run(["ping", "-c1", f"-W{wait}", "10.99.0.1"], check=False).returncode == 0


def kill_all(side):
    pids = side.m.child_pids(side.d)
    side.d.kill()
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    side.d.wait(60)


vps.start_posternd()
wait_for("posternd answers", lambda: vps.status())
home.start_posternd()
require("the tunnel comes up", wait_for("ping", ping, 20))

# --- kill -9 of all of it: the VPS knows nothing of that, and its old IKE SA is a second old
for n in range(3):
    kill_all(home)
    home.start_posternd()
    wait_for("home answers", lambda: home.status())
    began = time.monotonic()
    check("killed and started anew: data passes", wait_for("ping", ping, 20, 0.02))
    print(f"     {time.monotonic() - began:.2f} s after its control socket")
check("nobody was refused", "identity" not in str(vps.peer("home")["failure"]), vps.peer("home")["failure"])

# --- a second machine with the same key
net.twin.write("/etc/postern/postern.conf", net.home.read("/etc/postern/postern.conf"), mode=0o644)
for name, mode in (("home.key", 0o600), ("vps.pub", 0o644)):
    net.twin.write(f"/etc/postern/keys/{name}", net.home.read(f"/etc/postern/keys/{name}"), mode=mode)
net.twin.write("/etc/hosts", "127.0.0.1 localhost\n198.51.100.10 vps.example.net\n")
ups = vps.peer("home")["ups"]
twin.start_posternd()
wait_for("twin answers", lambda: twin.status())
check("the second machine is refused and says where the first one is",
      wait_for("refused", lambda: "identity in use twice" in str(twin.peer("vps")["failure"]), 15),
      twin.peer("vps")["failure"])
check("it waits a minute", (twin.peer("vps").get("retry_in_s") or 0) > 30, twin.peer("vps").get("retry_in_s"))
text = str(vps.peer("home")["failure"])
check("the VPS says so with both addresses",
      "identity in use twice" in text and "198.51.100.40" in text and vps.peer("home")["endpoint"] in text, text)
lost = 0
for n in range(30):
    lost += not ping("5")
    time.sleep(0.2)
check("the first machine's tunnel does not notice", lost == 0, lost)
check("it is the same IKE SA all the time", vps.peer("home")["ups"] == ups and home.up("vps"), vps.peer("home"))
testlib.done()
