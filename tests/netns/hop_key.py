# SPDX-License-Identifier: GPL-3.0-or-later
"""The key of the hop, with no line of configuration: it is learned at the first contact and demanded from then on, over
restarts. Another key, or none, gets no letter: those wait, uncharged, and the log, mail routes and mail status say what to
do. After forget-key the next contact learns, and all of it goes.
"""
import json
import os

import testlib
from testlib import check, require, wait_for

lab, net = testlib.start(hosts=[("mx-a", "198.51.100.31")])
import cast  # noqa: E402
import foreign  # noqa: E402
import post  # noqa: E402

OWN = "/var/lib/postern/hop.pem"
vps, home = cast.tunnel(net)
net.vps.write("/etc/root.hints", foreign.ROOT_HINTS)
cast.mail(vps, home, home_extra="""
[listener lan]
address = 127.0.0.1:2587
[listener submission]
[listener submissions]
""")
written = {side: side.m.read("/etc/postern/mta.conf") for side in (vps, home)}
sent = []


def keys(side):
    return json.loads(side.cli("--json", "mail", "status").stdout)["hop_keys"]


def learned(side):
    return {k["peer"]: k for k in keys(side)["peers"]}


def configure(side, text):
    side.m.write("/etc/postern/mta.conf", text)
    side.cli("mail", "reload")


def log(side):
    with open(os.path.join(lab.logs, f"{side.tag}-postern-mta.log"), errors="replace") as f:
        return f.read()


def restart(side, between=None):
    """postern-mta ends in order, and comes again."""
    side.mta.terminate()
    side.mta.wait(60)
    if between:
        side.m.run(["sh", "-c", between])
    side.mta = side.m.start([testlib.POSTERN_MTA, "-c", "/etc/postern/mta.conf"], log="postern-mta")
    cast.wait_greets(net.home if side is vps else net.vps, "10.99.0.1" if side is vps else "10.99.0.2")
    if side is vps:
        cast.wait_greets(net.mx_a, net.VPS4)


def at_home():
    return post.subjects(foreign.maildir_letters(net.home, "/home/alice/Maildir"))


def write(tag):
    code, words = post.send(net.mx_a, net.VPS4, "bob@alpha.example", "alice@example.org", tag)
    check(f"{tag} is taken", code == 250, words)
    sent.append(tag)


def arrive(what):
    wait_for(what, lambda: at_home() == sorted(sent))
    check(f"{what}: each letter is there once", at_home() == sorted(sent))


def hop_of(tag):
    text = next(t for t in foreign.maildir_letters(net.home, "/home/alice/Maildir") if b"Subject: " + tag.encode() in t)
    return text.decode().split("Subject:")[0].split("Received:")[1]


def stays(words):
    """The one letter waits at the edge, for a reason that is told and not its own."""
    fault = wait_for("mail routes says why", lambda: words in ((post.routes(vps).get("home") or {}).get("fault") or "")
                     and post.routes(vps)["home"]["fault"])
    check("and what to do about it", "postern mail forget-key home" in fault, fault)
    def waiting():
        letters = post.queued(vps) or []  # that before it may not have gone yet
        return len(letters) == 1 and letters[0]["recipients"][0]["attempts"] == 0
    check("the letter stays, uncharged", wait_for("it", waiting))
    check("mail status says so too", wait_for("it", lambda: words in (learned(vps)["home"]["trouble"] or "")))
    check("for those who read no JSON too", f"letters wait: {fault.split(' ', 1)[1][:20]}" in vps.cli("mail", "status").stdout or
          words in vps.cli("mail", "status").stdout)
    check("and nobody was given it", len(at_home()) == len(sent) - 1, at_home())


# --- learned at the first contact, whoever's certificate stands in mta.conf
cast.up(net, vps, home)
for side in (vps, home):
    mode = side.m.run(["stat", "-c", "%a %u", OWN]).stdout.split()
    check(f"{side.tag} made itself a key that root alone can read", mode == ["600", "0"], mode)
    check(f"{side.tag}'s log has nothing of it", not any(line in log(side) for line in side.m.read(OWN).splitlines()
                                                         if "-----" not in line))
wait_for("home publishes, and so has been at the edge", lambda: learned(home).get("vps"))
check("home knows the edge's key", learned(home)["vps"]["sha256"] == keys(vps)["own"], learned(home))
write("first")
arrive("by a first contact")
check("without a line of configuration the hop is encrypted", "TLS" in hop_of("first"), hop_of("first"))
check("the edge knows home's key", wait_for("it", lambda: learned(vps).get("home"))["sha256"] == keys(home)["own"], learned(vps))
check("by its identity", learned(vps)["home"]["identity"] == "home.example.net", learned(vps))
first = keys(home)["own"]

# --- restarts keep both
restart(home)
restart(vps)
check("after a restart the edge knows it still", learned(vps).get("home", {}).get("sha256") == first, learned(vps))
check("and home has it still", keys(home)["own"] == first)
write("after-restart")
arrive("after restarts")

# --- a key of another: home was installed anew
restart(home, f"rm {OWN}")
second = keys(home)["own"]
require("it made a new one", second and second != first)
write("other-key")
stays(f"shows key {second[:16]}.., not {first[:16]}")
wait_for("it is tried again", lambda: log(vps).count("shows key") > 3)
check("the warning stands in the log once", log(vps).count("letters wait: peer home shows key") == 1)
check("what is learned is not given up by itself", learned(vps)["home"]["sha256"] == first)
bad = vps.cli("mail", "forget-key", "nobody", check=False)
check("a peer that has no key cannot lose one", bad.returncode != 0 and "no key" in bad.stdout, bad.stdout)
vps.cli("mail", "forget-key", "home")
arrive("after forget-key")
check("the next contact learned", wait_for("it", lambda: learned(vps).get("home", {}).get("sha256") == second and
                                           not learned(vps)["home"]["trouble"]))

# --- STARTTLS is stripped: never in clear, once there was a key
restart(vps)  # and what was learned last is on disk
configure(home, written[home].replace("certificate = tls/cert.pem\nprivate-key = tls/key.pem\n", "")
          .replace("[listener submission]\n[listener submissions]\n", ""))
restart(home, f"cp {OWN} {OWN}.copy && : >{OWN}")
check("a key file that is damaged is not replaced", keys(home)["own"] is None and "put back a copy" in log(home))
write("no-tls")
stays("offers no TLS, but had key " + second[:16])
home.m.run(["cp", f"{OWN}.copy", OWN])  # put back, it serves without a restart
arrive("once the key was put back")
check("all is well again", wait_for("it", lambda: not learned(vps)["home"]["trouble"]))

# --- what is written goes before what was learned
configure(vps, written[vps] + "[route home]\ntls = none\n")
write("in-clear")
arrive("tls = none is obeyed")
check("tls = none is in clear", "TLS" not in hop_of("in-clear"), hop_of("in-clear"))

# --- with queue = none there is no file of letters, and the rule is the same
configure(vps, written[vps])
restart(vps, "sed -i 's/^role = edge/role = edge\\nqueue = none/' /etc/postern/mta.conf")
write("through")
arrive("queue = none passes it on")
check("by TLS", "TLS" in hop_of("through"), hop_of("through"))
restart(home, f"rm {OWN}")
code, words = post.send(net.mx_a, net.VPS4, "bob@alpha.example", "alice@example.org", "through-wrong")
check("to another key it passes nothing, and its sender comes again", code == 451, (code, words))
check("nobody was given it", at_home() == sorted(sent), at_home())
wait_for("mail status says why", lambda: "postern mail forget-key home" in (learned(vps)["home"]["trouble"] or ""))
vps.cli("mail", "forget-key", "home.example.net")  # by its identity
write("through-again")
arrive("after forget-key")
testlib.done()
