# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS between two Posterns with keys that the configuration names (hop_key.py: with those that are learned). Another key
than the pinned one gets no letter and gives none; what it was for stays, mail routes says why, and with the right pin
all of it goes.
"""
import json

import testlib
from testlib import check, wait_for

lab, net = testlib.start(hosts=[("mx-a", "198.51.100.31")])
import cast  # noqa: E402
import foreign  # noqa: E402
import post  # noqa: E402

vps, home = cast.tunnel(net)
net.vps.write("/etc/root.hints", foreign.ROOT_HINTS)
cast.mail(vps, home, vps_extra="""
[route alpha]
kind = smarthost
address = 198.51.100.31
port = 25
tls = none
domains = alpha.example
""", home_extra="""
[listener lan]
address = 127.0.0.1:2587
[listener submission]
[listener submissions]
""")
world = post.sink(net.mx_a, "198.51.100.31")
WRONG = "ab" * 32
written = {side: side.m.read("/etc/postern/mta.conf") for side in (vps, home)}


def pin_of(side):
    return json.loads(side.cli("--json", "mail", "status").stdout)["hop_keys"]["own"]


def configure(side, text):
    side.m.write("/etc/postern/mta.conf", text)
    side.cli("mail", "reload")


def at_home():
    return post.subjects(foreign.maildir_letters(net.home, "/home/alice/Maildir"))


def outside():
    return post.subjects(post.letters(world))


def received(texts, subject):
    text = next(t for t in texts if b"Subject: " + subject.encode() in t)
    return text.decode().split("Subject:")[0]


sent = {"in": [], "out": []}


def write(way, tag):
    if way == "in":
        code, words = post.send(net.mx_a, net.VPS4, "bob@alpha.example", "alice@example.org", tag)
    else:
        code, words = post.send(net.home, "127.0.0.1", "alice@example.org", "bob@alpha.example", tag, port=2587)
    check(f"{tag} is taken", code == 250, words)
    sent[way].append(tag)


def arrive():
    wait_for("all of it", lambda: at_home() == sorted(sent["in"]) and outside() == sorted(sent["out"]))
    check("each letter is there once", at_home() == sorted(sent["in"]) and outside() == sorted(sent["out"]))


def stays(side, route, words, seen):
    """The one letter of @side waits, for a reason that is told and not its own."""
    def fault():
        return (post.routes(side).get(route) or {}).get("fault") or ""

    def waiting():
        letters = post.queued(side) or []  # that before it may not have gone yet
        return len(letters) == 1 and letters[0]["recipients"][0]["attempts"] == 0
    check(f"mail routes at {side.tag} says why", wait_for(f"the fault '{words}'", lambda: words in fault()))
    check("the letter stays, uncharged", wait_for("it", waiting), post.queued(side))
    check("and nobody was given it", len(seen()) == len(sent["in" if side is vps else "out"]) - 1, seen())


cast.up(net, vps, home)
write("in", "in-default")
write("out", "out-default")
arrive()
check("without a line of configuration the hop is encrypted, both ways",
      "TLS" in received(foreign.maildir_letters(net.home, "/home/alice/Maildir"), "in-default").split("Received:")[1] and
      "TLS" in received(post.letters(world), "out-default").split("Received:")[1],
      (received(foreign.maildir_letters(net.home, "/home/alice/Maildir"), "in-default"), received(post.letters(world), "out-default")))

# --- the right pins on both sides
edge_pinned = written[vps] + f"tls-pins = {pin_of(home)}\n"
home_pinned = written[home] + f"[route edge]\ntls-pins = {pin_of(vps)}\n"
configure(vps, edge_pinned)
configure(home, home_pinned)
write("in", "in-pinned")
write("out", "out-pinned")
arrive()

# --- the edge has another key in mind: it gives home nothing, and takes nothing from it
configure(vps, edge_pinned.replace(pin_of(home), WRONG))
write("in", "in-wrong-pin")
stays(vps, "home", "not the pinned one", at_home)
write("out", "out-unpinned")
stays(home, "edge", "pinned key of this home", outside)
configure(vps, edge_pinned)
arrive()

# --- home has another key in mind
configure(home, home_pinned.replace(pin_of(vps), WRONG))
write("out", "out-wrong-pin")
stays(home, "edge", "not the pinned one", outside)
write("in", "in-while-home-waits")
configure(home, home_pinned)
arrive()

# --- a pin that the configuration names goes before what would be learned: nothing is
check("nothing was learned beside the pins", all(len(json.loads(s.cli("--json", "mail", "status").stdout)["hop_keys"]["peers"])
                                                 == 1 for s in (vps, home)))
testlib.done()
