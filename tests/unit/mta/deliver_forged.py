#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A postern-mta that was taken over asks postern-deliver for what it should not get, users lay traps in their homes, and
postern-deliver dies between a delivery and the word of it."""
import os
import signal
import socket
import tempfile

import deliver_lab as lab
from deliver_lab import LETTER, Client, base, body, check, new

lab.homes(3001, 3002, 3003)
lab.configure("joe = 3002\nann = 3003\nin = 3003 mail/in\nroot = root\nzero = 0\n@v.example = 3003 v/%l\n",
              "virtual-domains = v.example\n")
DIE = f"{base}/die"
server = lab.start(FAKE_DIE=DIE)


def everything():
    """All files below the homes but what lies in joe's own mailbox."""
    return sorted(os.path.join(d, n) for uid in (3001, 3003) for d, _, names in os.walk(f"{base}/{uid}") for n in names)


def closed(send):
    """Does the server hang up?"""
    c = Client()
    try:
        send(c)
        return c.answers(60, 1) == [] and c.s.recv(1) == b""
    except OSError:
        return True


try:
    c = Client()
    check("mail_case_079: a letter for ann lies in her mailbox", c.outcome("ann", 1)[0] == "done" and len(new(3003)) == 1)
    hers = f"{base}/3003/Maildir/new/{new(3003)[0]}"
    before = everything()

    # ---- recipients
    for who in ("root", "zero", "nobody", "daemon", "3003", "../ann", "ann/../../3003", "..", ".", "joe/../root", "/etc/passwd",
                "ann@other.example", "\"ann\"@other.example", "%u", "$(id)", "`id`", "joe;ann", "|/bin/sh", "-ann"):
        got = c.outcome(who, 2)
        check(f"{who} gets nothing", got[0] == "later", got)
    for who in ("../3002@v.example", "..@v.example", ".ssh@v.example", "a/b@v.example", "@v.example"):
        got = c.outcome(who, 2)
        check(f"{who} makes no directory", got[0] in ("never", "later"), got)
    for raw in (b"joe@d.example\n", b"joe\0@d.example", b"joe\r\nX: y@d.example", b"\x1b[2J@d.example", b"", b"a" * 600):
        check(f"mail_case_032: {raw[:20]!r} as recipient ends the connection",
              closed(lambda c: c.send(raw, 3, [body(LETTER)])))
    check("mail_case_032: so do control characters in the sender",
          closed(lambda c: c.send(b"joe@d.example", 3, [body(LETTER)], sender=b"a\nb@c.example")))
    check("nothing came of all that", everything() == before and new(3002) == [], everything())

    # ---- letters that are none, or another's
    with open(hers, "rb") as f:
        check("a file of another user's is no letter",
              closed(lambda c: c.send(b"joe@d.example", 4, [f.fileno()], os.path.getsize(hers))))
    with open("/etc/shadow", "rb") as f:
        check("nor is one of the system's",
              closed(lambda c: c.send(b"joe@d.example", 4, [f.fileno()], os.path.getsize("/etc/shadow"))))
    with tempfile.TemporaryFile() as f:
        f.write(LETTER)
        f.flush()
        check("nor is one that can still change", closed(lambda c: c.send(b"joe@d.example", 4, [f.fileno()])))
    for what, fds, size in (("an unsealed memory", [body(LETTER, 0)], len(LETTER)), ("one that can grow", [body(LETTER, 8 | 2)], len(LETTER)),
                            ("a letter of another size", [body(LETTER)], len(LETTER) + 1), ("none at all", [], len(LETTER)),
                            ("two at once", [body(LETTER), body(LETTER)], len(LETTER)),
                            ("a directory", [os.open("/etc", os.O_RDONLY)], 4096),
                            ("a socket", [socket.socket().fileno()], 0)):
        check(f"{what} is no letter", closed(lambda c: c.send(b"joe@d.example", 4, fds, size)))
    check("joe has none of them", new(3002) == [], new(3002))
    c = Client()
    got = c.outcome("ann", 1, data=b"Subject: forged\r\n\r\ninstead\r\n")
    with open(hers, "rb") as f:
        now = f.read()
    check("a letter with the id of another does not take its place",
          got[0] == "done" and new(3003) == [os.path.basename(hers)] and b"forged" not in now, (got, now))

    # ---- who asks
    r, w = os.pipe()
    pid = os.fork()
    if not pid:
        os.setresuid(2999, 2999, 2999)
        s = Client().s
        os.write(w, b"closed" if s.recv(10) == b"" else b"open")
        os._exit(0)
    os.waitpid(pid, 0)
    check("another user's connection is closed", os.read(r, 10) == b"closed")
    pid = os.fork()
    if not pid:
        os.setresuid(2999, 2999, 2999)
        for _ in range(100):
            Client().s.close()
        os._exit(0)
    os.waitpid(pid, 0)
    check("the server goes on beside who knocks all the time", c.outcome("ann", 1, repeat=True)[0] == "done")
    told = sum("a connection by uid 2999 is refused" in line for line in lab.log_lines())
    check("and its log has few lines of that", 0 < told < 20, told)
    victim = f"{base}/victim"
    with open(victim, "w"):
        os.chmod(victim, 0o600)
    mode = os.stat(f"{base}/sock").st_mode & 0o777
    lab.end(server)
    swapped = lab.start(FAKE_SWAP=victim)
    lab.end(swapped)
    check("the socket is for everybody, and what takes its place is not made so",
          (mode, os.stat(victim).st_mode & 0o777) == (0o666, 0o600), oct(os.stat(victim).st_mode))
    server = lab.start(FAKE_DIE=DIE)
    c = Client()

    # ---- traps of a user
    os.symlink("../3003/Maildir", f"{base}/3002/Maildir")
    got = c.outcome("joe", 5)
    check("a Maildir that leads into another's home gets nothing", got[0] == "later" and "symbolic link" in got[1], got)
    os.unlink(f"{base}/3002/Maildir")
    os.makedirs(f"{base}/3002/Maildir")
    os.symlink(f"{base}/3003/Maildir/new", f"{base}/3002/Maildir/new")
    for path in (f"{base}/3002/Maildir", f"{base}/3002/Maildir/new"):
        os.chown(path, 3002, 3002, follow_symlinks=False)
    got = c.outcome("joe", 6)
    check("nor does one whose new does", got[0] == "later" and "symbolic link" in got[1], got)
    os.unlink(f"{base}/3002/Maildir/new")
    os.mkdir(f"{base}/3002/Maildir/new")
    got = c.outcome("joe", 6)
    check("nor one whose new belongs to another", got[0] == "later" and "another user" in got[1], got)
    os.rmdir(f"{base}/3002/Maildir/new")
    os.rename(f"{base}/3002", f"{base}/aside")
    os.symlink("3003", f"{base}/3002")
    got = c.outcome("joe", 7)
    check("a home that is a link to another's is not his", got[0] == "later" and "another user" in got[1], got)
    os.unlink(f"{base}/3002")
    os.rename(f"{base}/aside", f"{base}/3002")
    check("ann's mailbox is as it was", everything() == before, everything())
    check("and joe's mail goes on", c.outcome("joe", 8)[0] == "done" and len(new(3002)) == 1)
    check("the server is the same all the time", server.poll() is None)

    # ---- kill -9 between the delivery and the word of it
    open(DIE, "w").close()
    check("postern-deliver dies before it answers", c.outcome("ann", 20)[0] == "closed" and server.wait(60) == -signal.SIGKILL)
    check("the letter lies there", len(new(3003)) == 2, new(3003))
    os.unlink(DIE)
    server = lab.start(FAKE_DIE=DIE)
    c = Client()
    check("after the restart the letter comes again and is done", c.outcome("ann", 20, repeat=True)[0] == "done")
    check("it is there once", len(new(3003)) == 2, new(3003))
    seen = sorted(new(3003))[-1]
    os.rename(f"{base}/3003/Maildir/new/{seen}", f"{base}/3003/Maildir/cur/{seen}:2,S")
    check("also when she has read it meanwhile", c.outcome("ann", 20, repeat=True)[0] == "done"
          and len(new(3003)) == 1 and len(os.listdir(f"{base}/3003/Maildir/cur")) == 1)

    # ---- a configuration that leads out of a home
    for line in ("evil = 3002 ../3003/Maildir", "evil = 3002 /etc", "evil = 3002 a/../../x", "evil = 3002 %x",
                 "evil = 3002 | bin/sh", "evil = 3002 | /bin/%l", "evil = 3002 | /bin/sh 'x"):
        lab.end(server)
        lab.configure(line + "\n")
        server = lab.start()
        check(f"a table with {line!r} is refused", server.wait(60) == 1)
finally:
    lab.end(server)
lab.finish()
