# SPDX-License-Identifier: GPL-3.0-or-later
"""A queue goes to another machine in a file: postern mail export and import, with both servers running.

	old (postern-mta, its tunnel down)        new (postern-mta, the same) ---- 127.0.0.1:2526, a sink
"""
import json
import os
import re
import socket
import stat
import time

import testlib
from testlib import check, require, wait_for

lab, _ = testlib.start(topology=False)
old, new = lab.machine("old"), lab.machine("new")
CONF = """[mta]
role = home
hostname = {name}.example.net
edge = vps
admin-group = postern-admin
[listener lan]
address = 127.0.0.1:2587
[deliver]
domains = home.example
users = users
[route edge]
ttl = 5d
{extra}
"""
OUT = "[route out]\nkind = smarthost\naddress = 127.0.0.1\nport = 2526\ntls = none\ndomains = never.example\nretry-first = 1s\nretry-max = 1s\n"
SEND = r"""
import smtplib, sys
with smtplib.SMTP("127.0.0.1", 2587, timeout=60) as s:
    for line in sys.stdin:
        name, to, size = line.split()
        text = "From: ann@home.example\r\nSubject: %s\r\n\r\n" % name + ("y" * 70 + "\r\n") * (int(size) // 72)
        s.sendmail("ann@home.example", to.split(","), text)
"""
SINK = r"""
import os, socket, sys, threading
server = socket.create_server(("127.0.0.1", 2526), backlog=100)
lock, n = threading.Lock(), [0]
def session(c):
    f = c.makefile("rb")
    say = lambda t: c.sendall(t + b"\r\n")
    say(b"220 sink")
    to = []
    for line in f:
        w = line[:4].upper()
        if w == b"EHLO":
            say(b"250-sink\r\n250 PIPELINING")
        elif w == b"RCPT":
            to.append(line.split(b"<")[1].split(b">")[0])
            say(b"250 ok")
        elif w == b"DATA":
            say(b"354 go")
            body = []
            for l in f:
                if l == b".\r\n":
                    break
                body.append(l[1:] if l[:1] == b"." else l)
            else:
                return
            with lock:
                n[0] += 1
                with open("/tmp/sink/%d" % n[0], "wb") as o:
                    o.write(b",".join(to) + b"\n" + b"".join(body))
            to = []
            say(b"250 ok")
        elif w == b"QUIT":
            say(b"221 bye")
            return
        else:
            say(b"250 ok")
os.makedirs("/tmp/sink", exist_ok=True)
print("ready", flush=True)
while True:
    threading.Thread(target=session, args=(server.accept()[0],), daemon=True).start()
"""
mtas = {}
SMALL, BIG, BIGGER = 150, 512 << 10, 2 << 20
ALL = SMALL + 5


def start(m, extra=""):
    m.run(["mkdir", "-p", "/run/postern", "/var/lib/postern"])
    m.write("/etc/postern/mta.conf", CONF.format(name=m.name, extra=extra))
    m.write("/etc/postern/users", "ann::ann@home.example\n", mode=0o600)
    mtas[m.name] = m.start([testlib.POSTERN_MTA, "-c", "/etc/postern/mta.conf"], log="postern-mta")
    wait_for(f"{m.name} listens", lambda: m.python("import socket; socket.create_connection(('127.0.0.1', 2587), 1).recv(9)",
                                                   check=False).returncode == 0, 60, 0.2)
    wait_for(f"the queue of {m.name} answers", lambda: mail(m, "queue", check=False).returncode == 0, 60, 0.2)


def mail(m, *args, check=True, words=False):
    """The answer as JSON; @words: as text, with what is said on standard error."""
    return m.run([testlib.POSTERN, "mail", *args] if words else
                 ["sh", "-c", '"$0" --json mail "$@" 2>/dev/null', testlib.POSTERN, *args], check=check)


def letters(m, *args):
    return json.loads(mail(m, "queue", *args).stdout)["letters"]


def send(m, *what):
    m.python(SEND, input="".join(f"{name} {to} {size}\n" for name, to, size in what))


def facts(m):
    """What must be the same on both sides, by letter."""
    out = {}
    s = socket.socket(socket.AF_UNIX)
    s.connect(os.path.join(m.dir, "run", "postern", "mta.sock"))
    f = s.makefile("rw")
    for l in letters(m) + letters(m, "--dead"):
        f.write(json.dumps({"v": 1, "verb": "show", "args": {"id": l["id"]}}) + "\n")
        f.flush()
        one = json.loads(f.readline())["letter"]
        out[l["id"]] = (one["state"], one["size"], one["sender"], one["received_s"], one["helo"], one["client"],
                        tuple((r["address"], r["state"].replace("trying", "waiting"), r["attempts"]) for r in one["recipients"]))
    return out


def copy(path, to, cut=None):
    """Of a file of the old machine, onto the new one."""
    with open(os.path.join(old.dir, "tmp", path), "rb") as f:
        data = f.read()
    with open(os.path.join(new.dir, "tmp", to), "wb") as f:
        f.write(data[:cut] if cut else data)
    return len(data)


start(old)
start(new, OUT)
send(old, *[(f"small{i}", f"to{i}@far.example", 1000) for i in range(SMALL)],
     ("two", "one@far.example,two@far.example", 3000), ("empty", "x@far.example", 0), ("edge64", "y@far.example", 65000),
     ("big", "big@far.example", BIG), ("bigger", "bigger@far.example", BIGGER))
before = letters(old)
for one in (old, new):
    mail(one, "hold", "edge")  # or one of them is always just being tried
wait_for("all of them rest", lambda: not any(r["state"] == "trying" for l in letters(old) for r in l["recipients"]), 60, 0.1)
require("all letters wait on the old machine", len(before) == ALL, len(before))
held, moved = before[3]["id"], before[4]["id"]
mail(old, "hold", held)

# --- a copy
began = time.monotonic()
p = mail(old, "export", "/tmp/copy")
require("export copies them all", json.loads(p.stdout)["letters"] == ALL, p.stdout)
size = os.stat(os.path.join(old.dir, "tmp", "copy"))
check("into a file for its owner alone", stat.S_IMODE(size.st_mode) == 0o600, oct(size.st_mode))
check("that is little more than the letters", size.st_size < BIG + BIGGER + ALL * 2500, size.st_size)
check("and takes nothing away", len(letters(old)) == ALL)
p = mail(old, "export", "/tmp/copy", check=False, words=True)
check("a file that is there is not written over", p.returncode == 1 and "File exists" in p.stdout, p.stdout)
mail(old, "export", "/tmp")
names = [n for n in os.listdir(os.path.join(old.dir, "tmp")) if re.fullmatch(r"old-\d{8}T\d{6}Z\.queue", n)]
check("a folder gets a file named by host and time", len(names) == 1, os.listdir(os.path.join(old.dir, "tmp")))

# --- what is not whole is refused
total = copy("copy", "cut", 70000)
p = mail(new, "import", "/tmp/cut", check=False, words=True)
check("a cut file is refused, with where it ends", p.returncode == 1 and "byte 70000: the file ends here" in p.stdout
      and "nothing is taken" in p.stdout, p.stdout)
copy("copy", "bad")
with open(os.path.join(new.dir, "tmp", "bad"), "r+b") as f:
    f.seek(total - BIGGER // 2)
    byte = f.read(1)
    f.seek(-1, 1)
    f.write(bytes([byte[0] ^ 1]))
p = mail(new, "import", "/tmp/bad", check=False, words=True)
check("so is one with a flipped bit", p.returncode == 1 and "a checksum is wrong" in p.stdout, p.stdout)
p = mail(new, "import", "/etc/passwd", check=False, words=True)
check("so is another file", p.returncode == 1 and "no export of a queue" in p.stdout, p.stdout)
check("and nothing was taken of them", not letters(new))
p = mail(new, "import", "--cut", "/tmp/cut", check=False)
part = len(letters(new))
check("--cut takes the whole letters before the end", p.returncode == 0 and 10 < part < SMALL, (p.stdout, part))

# --- the copy, twice, the second time by a pipe
copy("copy", "whole")
p = mail(new, "import", "/tmp/whole")
check("a whole file is taken, but for what is there", json.loads(p.stdout) == {"taken": ALL - part, "known": part}, p.stdout)
p = new.run(["sh", "-c", f"cat /tmp/whole | {testlib.POSTERN} --json mail import -"])
check("taken again, by a pipe, it gives nothing", json.loads(p.stdout) == {"taken": 0, "known": ALL}, p.stdout)
a, b = facts(old), facts(new)
check("letters, recipients and states are the same on both sides", a == b,
      [(k, a.get(k), b.get(k)) for k in a if a[k] != b.get(k)][:3])
check("one that was held is held", {l["id"] for l in letters(new) if l["state"] == "held"} == {held})
ages, there = {l["id"]: l["age_s"] for l in letters(old)}, letters(new)
away = time.monotonic() - began  # at most, and what passed between the two questions
wrong = [(l["age_s"], ages[l["id"]]) for l in there
         if abs(l["age_s"] - ages[l["id"]]) > away + 5 or ages[l["id"]] > away + 5 and not l["age_s"]]
check("they are as old as they were, but for their time in the file", not wrong, wrong[:5])

# --- into the other hands: restart, kill -9, and out to the sink
for pid in [int(x) for x in re.findall(r"started proc=queue pid=(\d+)", open(mtas["new"].log, errors="replace").read())][-1:]:
    new.run(["kill", "-9", str(pid)])
wait_for("the queue is back with all of them", lambda: mail(new, "queue", check=False).returncode == 0 and
         len(letters(new)) == ALL, 60, 0.3)
check("a kill -9 changes nothing", facts(new) == a)
sink = new.start(["python3", "-c", SINK], log="sink")
wait_for("the sink", lambda: "ready" in open(sink.log).read())
mail(new, "release", held)
mail(new, "move", "edge", "out")


def arrived():
    d = os.path.join(new.dir, "tmp", "sink")
    subjects = [re.search(rb"^Subject: (\S+)", open(os.path.join(d, n), "rb").read(), re.M) for n in os.listdir(d)]
    return sorted(m[1].decode() for m in subjects if m)


everything = sorted([f"small{i}" for i in range(SMALL)] + ["two", "empty", "edge64", "big", "bigger"])
wait_for("every letter leaves the new machine", lambda: len(arrived()) >= ALL, 60, 0.3)
wait_for("its queue is empty", lambda: not letters(new), 60, 0.2)
check("every letter once", arrived() == everything, len(arrived()))
for n in os.listdir(os.path.join(new.dir, "tmp", "sink")):
    body = open(os.path.join(new.dir, "tmp", "sink", n), "rb").read()
    if b"Subject: bigger" in body:
        check("the largest with all its bytes", body.count(b"y") >= BIGGER // 72 * 70, len(body))
p = mail(new, "import", "/tmp/whole")
check("what was sent meanwhile is not taken again", json.loads(p.stdout) == {"taken": 0, "known": ALL}, p.stdout)

# --- out of here, and back again
mail(new, "hold", "edge")
mail(old, "hold", moved)
p = mail(old, "export", "--take", "-", check=False, words=True)
check("--take wants a file", p.returncode == 64 and "needs a file" in p.stdout, p.stdout)
p = mail(old, "export", "--take", "/tmp/taken")
check("--take moves them all", json.loads(p.stdout)["letters"] == ALL, p.stdout)
check("and the queue is empty", not letters(old))
p = mail(old, "import", "/tmp/taken")
check("they come back whence they went", json.loads(p.stdout) == {"taken": ALL, "known": 0} and
      {l["id"] for l in letters(old) if l["state"] == "held"} == {held, moved}, p.stdout)
p = mail(old, "export", "--take", "/tmp/taken2")
copy("taken2", "taken2")
p = mail(new, "import", "/tmp/taken2")
check("a queue that has seen them before takes what was moved to it", json.loads(p.stdout)["taken"] == ALL, p.stdout)
p = mail(new, "import", "/tmp/taken2")
check("once", json.loads(p.stdout)["taken"] == 0, p.stdout)
wait_for("body files of what has left are gone", lambda: not os.listdir(os.path.join(old.varlib, "postern", "queue", "body")), 60, 0.2)

# --- while letters flow, each is in the file or was sent, and never both
new.run(["sh", "-c", "rm /tmp/sink/*"])
mail(new, "release", held)
mail(new, "release", moved)
mail(new, "move", "edge", "out")
p = mail(new, "export", "--take", "/tmp/flow")
inside = json.loads(p.stdout)["letters"]
wait_for("the rest is sent", lambda: not letters(new), 60, 0.2)
sent = len(arrived())
check(f"of a queue that is just being sent, {inside} letters are taken and {sent} go out", inside + sent == ALL, p.stdout)
new.run(["sh", "-c", "mv /tmp/flow /tmp/flow.queue"])
p = mail(new, "import", "/tmp/flow.queue")
check("the file holds as many as it says", json.loads(p.stdout)["taken"] == inside, p.stdout)
mail(new, "move", "edge", "out")
wait_for("every letter", lambda: not letters(new) and len(arrived()) >= ALL, 60, 0.3)
check("each was sent once", arrived() == everything, len(arrived()))
for m in mtas.values():
    m.terminate()
    check("it ends in order", m.wait(60) == 0, m.returncode)
testlib.done()
