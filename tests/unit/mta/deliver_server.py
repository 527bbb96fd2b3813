#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""postern-deliver as a process: a user whose disk hangs holds up nobody else, and what its processes hold."""
import os

import deliver_lab as lab
from deliver_lab import check, status

lab.homes(3001, 3002, 3003)
lab.configure("slow = 3001\nquick = 3002\n@v.example = 3003 %l/Maildir\ncmd = 3003 | /bin/sleep 1000\n",
              "virtual-domains = v.example\n")
server = lab.start()


def children(uid):
    return lab.processes(uid, server.pid)


base = lab.base
try:
    c = lab.Client()
    slow = [c.ask("slow", n) for n in range(1, 7)]
    quick = [c.ask("quick", n) for n in range(1, 6)]
    got = []
    lab.wait_for("the others' mail", lambda: got.extend(c.answers(1, 1)) or {g[0] for g in got} >= set(quick))
    check("the others' mail goes on beside a user whose disk hangs",
          sorted(g[0] for g in got if g[1] == "done") == quick, got)
    check("he has two children, that hang,", len(children(3001)) == 2, children(3001))
    for pid in children(3001):
        st = status(pid)
        check("a child is that user, without rights, in its filter",
              (st["Uid"].split(), st["CapEff"].strip("0"), st["NoNewPrivs"], st["Seccomp"]) ==
              (["3001"] * 4, "", "1", "2"), st)
        fds = [os.readlink(f"/proc/{pid}/fd/{n}") for n in os.listdir(f"/proc/{pid}/fd")]
        check("and holds no socket and no other letter", sum("memfd:" in f for f in fds) == 1
              and sum("pipe:" in f for f in fds if f) <= 4 and not [f for f in fds if "socket:" in f], fds)
    st = status(server.pid)
    check("the server may become a user and end its children, no more",
          int(st["CapEff"], 16) == 1 << 7 | 1 << 6 | 1 << 5 and st["Seccomp"] == "2", st)
    got += c.answers(50, 9 - len(got))
    check("what waits for him is put off", [(g[0], g[1]) for g in sorted(got) if g[0] in slow] == [(n, "later") for n in slow[2:]], got)
    n = c.ask("slow", 9)
    check("what comes for him now is, at once", [(g[0], g[1]) for g in c.answers(9, 1)] == [(n, "later")])
    n = c.ask("quick", 9)
    check("and still nobody else's", [(g[0], g[1]) for g in c.answers(60, 1)] == [(n, "done")])
    n = c.ask("quick", 9, True)
    check("a letter that comes again is done", [(g[0], g[1]) for g in c.answers(60, 1)] == [(n, "done")])
    check("and there once", len(os.listdir(f"{base}/3002/Maildir/new")) == 6, os.listdir(f"{base}/3002/Maildir/new"))
    # many mailboxes of one user, two of which hang
    stuck = [c.ask(who, 20 + n) for n in range(4) for who in ("slow@v.example", "slow2@v.example", "cmd")]
    got = [c.outcome(f"{who}@v.example", 30 + n)[0] for n in range(3) for who in ("ann", "kim", "lee")]
    check("virtual users get their mail beside mailboxes of the same user that hang", got == ["done"] * 9, got)
    check("which have two children each", len(children(3003)) == 6, children(3003))
    got = c.answers(20, 6)
    check("and what waits for them is put off", sorted(g[0] for g in got if g[1] == "later") == sorted(stuck[6:]), got)
    for who in ("root", "../x", "nobody"):
        n = c.ask(who, 10)
        check(f"{who} gets nothing", [(g[0], g[1]) for g in c.answers(60, 1)] == [(n, "later")])
    with open(f"{base}/users", "a") as f:
        f.write("late = 3002\n")
    check("who is written into the table gets mail at once", c.outcome("late", 11)[0] == "done")
    with open(f"{base}/users", "a") as f:
        f.write("later = 3002\nrubbish\n")
    got = c.outcome("later", 12), c.outcome("late", 12)
    check("with a mistake in it the old one stays", [g[0] for g in got] == ["later", "done"], got)
    told = [line for line in lab.log_lines() if "users: line" in line]
    check("and the mistake is told once", len(told) == 1 and "no separator" in told[0], told)
finally:
    lab.end(server)
lab.finish()
