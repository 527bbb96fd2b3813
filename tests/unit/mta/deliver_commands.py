#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""postern-deliver hands letters to commands: which arguments, as whom, with what around them, what their end means, and
how long they may take. Quotas, which refuse by configuration, are here too."""
import os
import signal

import deliver_lab as lab
from deliver_lab import Client, base, check, new

COMMAND = f"{base}/command"
with open(COMMAND, "w") as f:
    f.write("""#!/bin/sh
{ for a; do printf 'arg<%s>\\n' "$a"; done; env; id; pwd; grep NoNewPrivs /proc/self/status; ls /proc/self/fd; } >"$HOME/said"
cat >"$HOME/got"
case $1 in
hang) sleep 1000 & sleep 1000;;
left) sleep 1000 & exit 0;;
loud) head -c 3000000 /dev/zero | tr '\\0' x && exit 69; exit 75;;
code) echo "5.7.9 not me: $(printf '\\033')" >&2; exit 77;;
esac
exit ${1:-0}
""")
os.chmod(COMMAND, 0o755)
lab.homes(3001, 3002, 3003)
USERS = f"""exit = 3002 | {COMMAND} %e
args = 3002 | {COMMAND} 0 %s %r '%l and %d' %u 100%% %h
gone = 3002 | /nonexistent
ann = 3003
@v.example = 3003 v/%d/%l
"""
lab.configure(USERS, "virtual-domains = v.example\nquota = 2K\nquota-letters = 3\n")
AMPLE = "30"  # seconds for a delivery, however busy the machine is
server = lab.start(FAKE_ALARM=AMPLE, FAKE_DIE=f"{base}/die")


def said():
    with open(f"{base}/3002/said") as f:
        return f.read().splitlines()


try:
    c = Client()
    got = c.outcome("args", 1, sender=b"bob@far.example")
    check("a command that ends with 0 has taken the letter", got == ("done", "delivered"), got)
    lines = said()
    check("its arguments are filled in, each one word", [a for a in lines if a.startswith("arg<")] == [
        "arg<0>", "arg<bob@far.example>", "arg<args@d.example>", "arg<args and d.example>", "arg<3002>", "arg<100%>",
        f"arg<{base}/3002>"], lines)
    env = sorted(line.split("=")[0] for line in lines if "=" in line and line[:4] not in ("uid=", "arg<"))
    check("its environment is clean", [e for e in env if e not in ("PWD", "OLDPWD", "SHLVL", "_")] ==
          ["HOME", "LOGNAME", "PATH", "USER"], env)
    check("it is the user, in no other group, and cannot become another", any(
        line.startswith("uid=3002 gid=3002 groups=3002") or line == "uid=3002 gid=3002" for line in lines)
        and "NoNewPrivs:\t1" in lines, lines)
    check("it stands in his home and holds nothing but its own three", f"{base}/3002" in lines
          and {line for line in lines if line.isdigit()} <= {"0", "1", "2", "3"}, lines)
    with open(f"{base}/3002/got") as f:
        got = f.read()
    check("it reads the letter as a mailbox has it",
          got == "Return-Path: <bob@far.example>\nDelivered-To: args@d.example\nSubject: x\n\nx\n", got)

    # ---- what comes back
    def circle(who):
        return b"Delivered-To: %s@d.example\r\nReceived: from x by h.example with ESMTP; date\r\nSubject: x\r\n\r\nx\r\n" % who

    for who in ("args", "ann"):
        got = c.outcome(who, 3, data=circle(who.encode()))
        check(f"a letter that {who} has had from here is refused: it goes in a circle",
              got == ("never", "5.4.6 it was delivered to this address before: it goes in a circle"), got)
    check("and one that somebody else has had is not", c.outcome("args", 3, data=circle(b"ann"))[0] == "done"
          and not os.path.exists(f"{base}/3003/Maildir"))

    # ---- what its end means
    for code in (65, 67, 68, 69, 77):
        check(f"exit status {code} is never", c.outcome(f"exit+{code}", 2)[0] == "never")
    for code in (1, 2, 64, 66, 70, 71, 72, 73, 74, 75, 76, 78, 100, 126, 127, 255):
        check(f"exit status {code} is later", c.outcome(f"exit+{code}", 2)[0] == "later")
    got = c.outcome("gone", 2)
    check("a command that is not there is later, and told", got[0] == "later" and "cannot run /nonexistent" in got[1], got)
    got = c.outcome("exit+code", 2)
    check("the code and the text are the command's, without control characters", got == ("never", "5.7.9 not me: ?"), got)
    got = c.outcome("exit+loud", 2)
    check("a loud one can say all of it, and 200 bytes are kept", got[0] == "never" and len(got[1]) <= 200 and got[1].startswith("5.2.0 xxx"), got)
    for sender in (b"-oQ/tmp@far.example", b"--help@far.example"):
        got = c.outcome("args", 2, sender=sender)
        check(f"mail_case_032: {sender.decode()} does not become an option", got[0] == "never" and "option" in got[1], got)
    for sender in (b"$(touch /tmp/x)@far.example", b"a;b@far.example", b"`id`@far.example", b"a b@far.example", b"* ?@far.example"):
        c.outcome("args", 2, sender=sender)
        check(f"mail_case_032: {sender.decode()} is one word and no shell's", f"arg<{sender.decode()}>" in said(), said())

    # ---- its time
    got = c.outcome("exit+left", 3)  # whose end would come after the end of a delivery's time
    check("what it leaves behind is not waited for", got[0] == "done", got)
    check("and ends with it", lab.wait_for("none of his processes", lambda: not lab.processes(3002)), lab.processes(3002))
    lab.end(server)
    server = lab.start(FAKE_ALARM="2")
    c = Client()
    got = c.outcome("exit+hang", 3)
    check("a command that takes too long is later", got == ("later", "the delivery took too long"), got)
    check("and nothing of it is left", lab.wait_for("none of his processes", lambda: not lab.processes(3002)), lab.processes(3002))

    # ---- at most one duplicate for one death
    lab.end(server)
    server = lab.start(FAKE_ALARM=AMPLE, FAKE_DIE=f"{base}/die")
    c = Client()
    with open(COMMAND, "w") as f:
        f.write("#!/bin/sh\necho once >>$HOME/times\n")
    open(f"{base}/die", "w").close()
    check("postern-deliver dies before it answers", c.outcome("exit+0", 4)[0] == "closed" and server.wait(60) == -signal.SIGKILL)
    os.unlink(f"{base}/die")
    server = lab.start(FAKE_ALARM=AMPLE)
    c = Client()
    got = c.outcome("exit+0", 4, repeat=True)
    with open(f"{base}/3002/times") as f:
        times = f.read().count("once")
    check("after one death the command has had the letter twice, not more", got[0] == "done" and times == 2, times)

    # ---- quota
    for n in (1, 2, 3):
        check(f"letter {n} of three has its place", c.outcome("ann", n)[0] == "done")
    got = c.outcome("ann", 4)
    check("the fourth waits", got == ("later", "the mailbox is full"), got)
    check("a letter that comes again and lies there is done", c.outcome("ann", 3, repeat=True)[0] == "done")
    os.unlink(f"{base}/3003/Maildir/new/{new(3003)[0]}")
    check("when one is gone there is room, though nobody has said so", c.outcome("ann", 4)[0] == "done")
    check("another mailbox of the same user has its own count", c.outcome("Kim@v.example", 1)[0] == "done"
          and len(new(3003, "v/v.example/kim")) == 1)
    got = c.outcome("lee@v.example", 1, data=b"x" * 3000 + b"\r\n")
    check("a letter past the bytes waits too", got == ("later", "the mailbox is full"), got)
    with open(f"{base}/3003/v/v.example/kim/maildirsize", "w") as f:
        f.write("2048S,3C\n-9999999 -1\nrubbish\n")
    got = c.outcome("kim@v.example", 2, data=b"x" * 3000 + b"\r\n")
    check("a file of rubbish is counted anew", got[0] == "later", got)
    lab.end(server)
    lab.configure(USERS, "virtual-domains = v.example\nquota-letters = 3\nover-quota = refuse\n")
    server = lab.start()
    got = Client().outcome("ann", 5)
    check("with over-quota = refuse it is refused", got == ("never", "5.2.2 the mailbox is full"), got)
finally:
    lab.end(server)
lab.finish()
