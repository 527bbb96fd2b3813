# SPDX-License-Identifier: GPL-3.0-or-later
"""A letter under way when the tunnel is cut goes by a fresh connection after it; the copy in the old one never arrives."""
import testlib
from testlib import check, require, wait_for

lab, net = testlib.start(hosts=[("mx-a", "198.51.100.31")])
import cast  # noqa: E402
import foreign  # noqa: E402

vps, home = cast.tunnel(net)
net.vps.write("/etc/root.hints", foreign.ROOT_HINTS)
cast.mail(vps, home)
for side in (vps, home):
    side.start_posternd()
require("the tunnel comes up", wait_for("tunnel", lambda: home.up("vps")))
for side in (vps, home):
    side.start_mta()
cast.wait_greets(net.mx_a, net.VPS4)

SEND = """
import smtplib, sys
with smtplib.SMTP(sys.argv[1], 25, timeout=60) as s:
    s.sendmail("bob@alpha.example", ["alice@example.org"], "From: bob@alpha.example\\r\\nSubject: %s\\r\\n\\r\\ntext\\r\\n" % sys.argv[2])
"""


def letters():
    return len(foreign.maildir_letters(net.home, "/home/alice/Maildir"))


def to_home():
    """VPS's connections to the MTA at home, as ss prints them: state, what waits to be read and to be acknowledged."""
    out = net.vps.run(["ss", "-Htan", "dst", "10.99.0.2", "or", "dst", "[fd99::2]"]).stdout
    return [line.split()[:3] for line in out.splitlines()]


net.mx_a.python(SEND, net.VPS4, "first")
wait_for("the first letter", lambda: letters() == 1)
net.cut()
net.mx_a.python(SEND, net.VPS4, "second")
check("it is on its way through the cut tunnel", wait_for("unacknowledged", lambda: any(c[0] == "ESTAB" and int(c[2]) > 0 for c in to_home())),
      to_home())
wait_for("the VPS sees the cut", lambda: not vps.up("home"))
net.mend()
wait_for("the tunnel is back", lambda: vps.up("home"))
check("after it the letter comes", wait_for("the second letter", lambda: letters() == 2))
check("and the old connection ended without its copy", wait_for("no FIN-WAIT-1", lambda: not any(c[0] == "FIN-WAIT-1" for c in to_home()), 5),
      to_home())
testlib.done()
