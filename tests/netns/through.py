# SPDX-License-Identifier: GPL-3.0-or-later
"""queue = none: a client gets its 250 when the next hop has the letter, its refusal when that refuses, and there is
nothing of it on the machine.

	lan (a client) ---- vps (postern-mta, queue = none) ---- mx-a (sink.py)
"""
import json

import testlib
from lab import Internet as I
from testlib import check, require

lab, net = testlib.start(hosts=[("mx-a", I.MXA4)])
import cast  # noqa: E402
import sink  # noqa: E402

SLOW = "198.51.100.34"
CONF = f"""[mta]
role = edge
hostname = vps.example.net
tunnel = no
queue = none
dns = forward
dns-servers = 127.0.0.1
[listener mx]
address = 127.0.0.2:25
[listener lan]
address = 127.0.0.1:2587
[route far]
kind = smarthost
address = {I.MXA4}:25
tls = may
domains = far.example
[route slow]
kind = smarthost
address = {SLOW}:25
tls = may
domains = slow.example
[route gone]
kind = smarthost
address = 198.51.100.77:26
tls = may
domains = gone.example
"""

# Words of what each command was answered, and how long the last took.
CLIENT = """
import json, socket, sys, time
rcpts, subject, size = json.loads(sys.argv[1])
s = socket.create_connection(("127.0.0.1", 2587), 60)
f, out = s.makefile("rb"), []

def answer():
    while (line := f.readline())[3:4] == b"-":
        pass
    out.append(line.decode().strip())
    return line[:1]

def say(text):
    s.sendall(text.encode() + b"\\r\\n")
    return answer()
answer()
say("EHLO client.example")
say("MAIL FROM:<joe@vps.example.net>")
took = 0
if [1 for r in rcpts if say(f"RCPT TO:<{r}>") == b"2"]:
    say("DATA")
    s.sendall(f"Subject: {subject}\\r\\n\\r\\n".encode() + (b"x" * 70 + b"\\r\\n") * (size // 72))
    at = time.monotonic()
    say(".")
    took = time.monotonic() - at
print(json.dumps([out, took]))
"""


def send(*rcpts, subject="x", size=100):
    p = net.vps.python(CLIENT, json.dumps([rcpts, subject, size]), timeout=90)
    out, took = json.loads(p.stdout)
    return out, took


def there(subject):
    return [e for e in sink.events(net.mx_a) if e["subject"] == subject]


def kept():
    """Regular files below the state directory, but for the keys of the hop."""
    return net.vps.run(["find", "/var/lib/postern", "-type", "f", "!", "-name", "hop*"], check=False).stdout.split()


net.mx_a.addr("wan", f"{SLOW}/24", "198.51.100.77/24")
sink.start(net.mx_a, [(SLOW, "slow")])
net.vps.write("/etc/postern/mta.conf", CONF)
vps = cast.Side(net.vps, "vps")
vps.start_mta()
cast.wait_greets(net.vps, "127.0.0.1", 2587)

out, _ = send("bob@far.example", subject="one")
check("250 comes when the next hop has the letter", out[-1].startswith("250 ") and len(there("one")) == 1, out)
out, took = send("bob@slow.example", subject="slow")
check("and not before: a next hop that takes a second makes the client wait it", out[-1].startswith("250 ") and took >= 0.9 and
      len(there("slow")) == 1, (out, took))
out, _ = send("never@far.example", subject="never")
check("its refusal is ours, with its words", out[-1] == "550 5.1.1 nobody of that name" and not there("never"), out)
out, _ = send("later@far.example", subject="later")
check("and so is its wish for another time", out[-1] == "451 4.2.0 come again" and not there("later"), out)
out, _ = send("bob@gone.example", subject="gone")
check("a next hop that cannot be reached is 451", out[-1].startswith("451 4.4.1 "), out)
out, _ = send("bob@far.example", "ann@far.example", subject="two")
check("a letter has one recipient, the second is to come in another one",
      out[-1].startswith("250 ") and out[-3].startswith("452 4.5.3 ") and [e["rcpt"] for e in there("two")] == ["bob@far.example"], out)
out, _ = send("bob@far.example", subject="large", size=3_000_000)
check("a letter of 3 MB passes whole", out[-1].startswith("250 ") and [e["size"] > 3_000_000 for e in there("large")] == [True],
      (out, there("large")))
out, _ = send("bob@nowhere.example", subject="way")
check("where no route leads and no DNS answers the client keeps it", out[-1][:1] in "45", out)
check("nothing of all this is on the disk", not kept(), kept())
p = vps.cli("mail", "queue", check=False)
check("`postern mail queue` says that there is none", p.returncode == 1 and "queue = none" in p.stdout, p.stdout)
net.vps.write("/etc/postern/mta.conf", CONF.replace("queue = none\n", ""))
p = vps.cli("mail", "reload", check=False)
check("a reload does not make one", p.returncode == 1 and "queue needs a restart" in p.stdout, p.stdout)
sink_sessions = len(sink.events(net.mx_a, "open"))
check("letters to one next hop share sessions", sink_sessions < 12, sink_sessions)
vps.mta.terminate()
require("postern-mta ends in order", vps.mta.wait(60) == 0)
testlib.done()
