#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A home tells its edge whom it has: the stage of mail.py, with an edge that has no file of recipients."""
import json
import os
import signal
import subprocess
import sys
import time

import mail
from mail import case, maildir, wait_for

EDGE = mail.EDGE.replace("recipients = recipients\n", "")
HOME = mail.HOME.replace("uid-min = 2100\nsystem-users = no\n", "uid-min = 2100\nsystem-users = yes\n")
assert EDGE != mail.EDGE and HOME != mail.HOME

# What it is given goes to an SMTP server piece by piece, each after the answer to the one before.
TALKER = r"""
import json, socket, sys
s = socket.create_connection((sys.argv[1], 25), 60)
f = s.makefile("rb")
def answer():
    out = ""
    while True:
        line = f.readline().decode()
        out += line
        if line[3:4] != "-":
            return out
said = [answer()]
for what in json.loads(sys.argv[2]):
    s.sendall(what.encode())
    said.append(answer())
print(json.dumps(said))
"""

# Sessions that each begin a set and never end it; then one of them goes, and its place is another's.
CROWD = r"""
import socket, sys, time
def begin():
    s = socket.create_connection((sys.argv[1], 25), 60)
    f = s.makefile("rb")
    f.readline()
    s.sendall(b"EHLO home.example.net\r\n")
    while f.readline()[3:4] == b"-":
        pass
    s.sendall(b"XPUBLISH 1000000\r\n")
    return s, f.readline().decode()[:9].strip()
def again(end):
    while True:
        s, said = begin()
        if said[:3] == "354" or time.monotonic() > end:
            return s, said
        s.close()
        time.sleep(0.3)
held = [again(time.monotonic() + 60)] + [begin() for _ in range(4)]
print(*(said for _, said in held), sep=", ")
held[0][0].shutdown(socket.SHUT_RDWR)
print(again(time.monotonic() + 60)[1])
"""


def talk(machine, host, *what):
    """All that is answered to each of these, in one session."""
    p = machine.start(sys.executable, "-c", TALKER, host, json.dumps(what), stdout=subprocess.PIPE, text=True)
    out = p.communicate(timeout=180)[0]
    return json.loads(out) if out else ["", ""]


def main(base):
    mail.EDGE, mail.HOME = EDGE, HOME
    w, e, h = mail.stage(base)
    e.write("cert.pem", "")
    e.write("mta.conf", EDGE.replace("ca-file = cert.pem\n", "").replace("tls = verify\ntls-name = records.example\n", ""))
    os.makedirs(f"{base}/world/sink")
    daemons = [mail.Posternd(f"{base}/edge/run/events.sock", ["10.99.0.1", "fd99::1"], "home", ["10.99.0.2", "fd99::2"]),
               mail.Posternd(f"{base}/home/run/events.sock", ["10.99.0.2", "fd99::2"], "vps", ["10.99.0.1", "fd99::1"])]
    procs = [h.start(mail.DELIVER, "-c", f"{h.dir}/mta.conf")]

    def log(m):
        return open(f"{m.dir}/log", encoding="latin-1").read()

    def rcpt(*names):
        """Codes of RCPT, asked from the world."""
        said = talk(w, "192.0.2.1", "EHLO w.example\r\n", "MAIL FROM:<a@w.example>\r\n",
                    *(f"RCPT TO:<{n}>\r\n" for n in names))
        return [s[:3] for s in said[3:]]

    def is_so(what, names, codes, seconds=90):
        last = []

        def look():
            last[:] = rcpt(*names)
            if last != codes:
                time.sleep(1)  # or the edge finds that the world comes too often
            return last == codes
        try:
            wait_for(what, look, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}: {last}") from None

    def letter(size, *declared):
        """Codes of MAIL, RCPT, and where they take it DATA and its end, of a letter of @size bytes to kim."""
        text = "Subject: large\r\n\r\n" + ("x" * 98 + "\r\n") * (size // 100)
        said = talk(w, "192.0.2.1", "EHLO w.example\r\n", " ".join(["MAIL FROM:<a@w.example>", *declared]) + "\r\n",
                    "RCPT TO:<kim@home.example>\r\n", *(["DATA\r\n", text + ".\r\n"] if not declared else []))
        return " ".join(s[:3] for s in said[2:])

    def takes(what, answer, *args):
        last = []

        def look():
            last[:] = [letter(*args)]
            if last != [answer]:
                time.sleep(1)
            return last == [answer]
        try:
            wait_for(what, look, 90)
        except AssertionError as error:
            raise AssertionError(f"{error}: {last}") from None

    def publish(text, size=None):
        """The answers to EHLO, XPUBLISH and, after a 354, the set."""
        said = talk(h, "10.99.0.1", "EHLO home.example.net\r\n", f"XPUBLISH {size or len(text)}\r\n", *([] if size else [text]))
        return said[1:]

    def serial():
        said = talk(h, "10.99.0.1", "EHLO home.example.net\r\n")[1]
        return int(said.split("PUBLISH=")[1].split()[0])

    try:
        e.start_mta()
        wait_for("edge ready", e.ready)
        wait_for("its tunnel listener", lambda: "listener=tunnel" in log(e))
        is_so("nothing is known yet", ["joe@home.example", "nobody@home.example", "postmaster@home.example"],
              ["451", "451", "250"])
        case("before a home has said whom it has, all are deferred but the postmaster")

        h.start_mta()
        everybody = ["joe@home.example", "joe+x@home.example", "info@home.example", "Joe@HOME.example", "nobody@home.example"]
        is_so("what home has is known", everybody, ["250", "250", "250", "250", "550"])
        assert serial() == 1
        case("users, aliases and accounts of home are known at the edge, strangers refused")
        assert mail.Sender(w, "192.0.2.1", 25).send("a@w.example", ["joe@home.example"], "Subject: first\r\n\r\nx\r\n")["ok"]
        wait_for("the letter at home", lambda: maildir(base))
        case("and a letter for one of them arrives")

        h.mta.terminate()
        h.mta.wait(60)
        for d in daemons:
            d.set("down")
        e.mta.terminate()
        e.mta.wait(60)
        e.log.truncate(0)
        e.start_mta()
        wait_for("edge ready", e.ready)
        is_so("still known", everybody, ["250", "250", "250", "250", "550"])
        case("a restart of the edge while home is down changes nothing")

        h.write("users", "joe = joe\nann = joe\n")
        h.start_mta()
        for d in daemons:
            d.set("up")
        is_so("ann is known", ["ann@home.example", "kim@home.example"], ["250", "550"])
        assert serial() == 2
        h.write("users", "joe = joe\nkim = joe\n")
        is_so("kim instead of her", ["ann@home.example", "kim@home.example"], ["550", "250"])
        case("what changes at home is told, at once when its file changes")

        before = len(maildir(base))
        h.write("mta.conf", HOME.replace("[mta]\n", "[mta]\nsize-max = 64K\n"))
        h.mta.send_signal(signal.SIGHUP)
        takes("what home takes is known", "250 552", 80000, "SIZE=80000")
        assert "SIZE=52428800" in talk(w, "192.0.2.1", "EHLO w.example\r\n")[1].replace("SIZE ", "SIZE=")
        assert letter(80000) == "250 250 354 552"
        case("a letter larger than home takes is refused at the edge, whether its size is announced or not")

        for proc in ("lookup", "queue", "smtpd"):
            old = e.pid_of(proc)
            os.kill(old, signal.SIGKILL)
            wait_for(f"{proc} is started again", lambda: e.pid_of(proc) != old)
            is_so(f"after {proc} was killed", ["kim@home.example", "ann@home.example"], ["250", "550"])
        case("whichever process of the edge is killed, the set is in force again")
        assert letter(80000, "SIZE=80000") == "250 552" and letter(80000) == "250 250 354 552"
        assert len(maildir(base)) == before
        h.write("mta.conf", HOME)
        h.mta.send_signal(signal.SIGHUP)
        takes("home takes more again", "250 250", 80000, "SIZE=80000")
        assert letter(80000) == "250 250 354 250"
        wait_for("it is at home", lambda: len(maildir(base)) == before + 1)
        case("so is the size, until home says another one")

        last, told = serial(), log(h).count("recipients published")
        for d in daemons:
            d.set("down")
            d.set("up")
        wait_for("home has said it again", lambda: log(h).count("recipients published") > told)
        assert serial() == last
        case("the same set is not taken anew")

        one = "#recipients 1 %d 1 +\n%s@%s\n"
        for text, code in ((one % (last + 1, "evil", "other.example"), "553"), (one % (last, "evil", "home.example"), "450"),
                           (one % (last + 2, "evil", "home.example"), "450"),
                           (one.replace(" 1 %d", " 2 %d") % (last + 1, "evil", "home.example"), "501"),
                           (one % (last + 1, "Evil", "home.example"), "554")):
            said = publish(text)
            assert said[1][:3] == "354" and said[2][:3] == code, (text, said)
        assert publish("", 2 << 20)[1][:3] == "552"
        assert serial() == last and rcpt("kim@home.example", "evil@home.example") == ["250", "550"]
        case("a set of strange domains, an old or skipped serial, another version and too many bytes are refused")
        told = log(e).count("published recipients refused")
        said = talk(h, "10.99.0.1", "EHLO home.example.net\r\n", *(["XPUBLISH 2\r\n", "x\n"] * 80))
        assert [s[:3] for s in said[2:]] == ["354", "554"] * 80, said
        assert 0 < log(e).count("published recipients refused") - told < 80
        case("a home that sends bad sets without end does not fill the log")
        p = h.start(sys.executable, "-c", CROWD, "10.99.0.1", stdout=subprocess.PIPE, text=True)
        said = p.communicate(timeout=300)[0].splitlines()
        assert said == ["354 Go on, 354 Go on, 354 Go on, 354 Go on, 450 4.3.2", "354 Go on"], said
        case("sets that never become whole are four at most")
        said = publish("#recipients 1 %d 3 +\nevil@other.example\njoe@home.example\npostmaster@home.example\n" % (last + 1))
        assert said[2][:3] == "250", said
        is_so("the set counts", ["joe@home.example", "kim@home.example", "evil@other.example"], ["250", "550", "550"])
        case("of a set only the home's own domains count")
        said = talk(w, "192.0.2.1", "EHLO w.example\r\n", "XPUBLISH 10\r\n")
        assert "XPOSTERN" not in said[1] and said[2][:3] == "500", said
        case("the world publishes nothing")

        for m in (e, h):
            m.mta.terminate()
            assert m.mta.wait(60) == 0, m.name
            for bad in ("ERROR: AddressSanitizer", "runtime error", "ERROR: LeakSanitizer"):
                assert bad not in log(m), (m.name, bad)
        case("both end in order")
    except BaseException:
        for m in (e, h):
            print(f"---- {m.name}: last lines")
            print("\n".join(log(m).splitlines()[-40:]))
        raise
    finally:
        for p in procs + [m.mta for m in (e, h) if m.mta]:
            if p.poll() is None:
                p.terminate()
    print(f"1..{mail.passed}")


if __name__ == "__main__":
    main(mail.enter())
