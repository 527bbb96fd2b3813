# SPDX-License-Identifier: GPL-3.0-or-later
"""postern-sendmail as /usr/sbin/sendmail: what programs of this machine call, as ordinary users, and as cron and mailx do.

	alice, bob (sendmail) ---- 127.0.0.1:2525 ---- postern-mta (role home) ---- postern-deliver ---- ~/Maildir
"""
import email
import email.utils
import json
import os
import re
import subprocess
import time

import testlib
from testlib import check, require, wait_for

SENDMAIL = os.path.join(testlib.BUILD, "mta", "postern-sendmail")
lab, _ = testlib.start(topology=False)
m = lab.machine("home")
OK, USAGE, DATAERR, NOUSER, UNAVAILABLE, TEMPFAIL, NOPERM, CONFIG = 0, 64, 65, 67, 69, 75, 77, 78
CONF = """[mta]
role = home
hostname = home.example.net
edge = vps
size-max = 2M
[listener lan]
address = 127.0.0.1:2525
[deliver]
domains = example.org, home.example.net
aliases = aliases
uid-min = 2100
[rule none]
action = reject
senders = banned@example.org
"""
m.run(["sh", "-c", "mkdir -p /run/postern /var/lib/postern; for u in alice bob; do mkdir -p /home/$u; chown $u:$u /home/$u; done"])
m.write("/etc/postern/mta.conf", CONF)
m.write("/etc/postern/aliases", "root: alice\n")
m.run(["sh", "-c", "sed -i 's/^alice:.*/alice:x:2100:2100:Alice Example,,,:\\/home\\/alice:\\/bin\\/sh/; "
       "s/^bob:.*/bob:x:2101:2101:Bøb \\xe2\\x82\\xac:\\/home\\/bob:\\/bin\\/sh/' /etc/passwd; "
       f"rm -f /usr/sbin/sendmail; ln -s {SENDMAIL} /usr/sbin/sendmail"])
LETTER = "Subject: {}\nTo: x@example.org\n\nbody\n"


def sendmail(*args, text=LETTER.format("one"), user="alice"):
    """(exit status, what it said)"""
    who = {"alice": 2100, "bob": 2101, "root": 0}[user]
    p = subprocess.run(m._cmd(["setpriv", f"--reuid={who}", f"--regid={who}", "--clear-groups", "--inh-caps=-all",
                               "/usr/sbin/sendmail", *args]), input=text.encode() if isinstance(text, str) else text,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=180)
    return p.returncode, p.stdout.decode(errors="replace")


def letters(user="alice"):
    d = os.path.join(m.dir, "home", user, "Maildir", "new")
    return [open(os.path.join(d, n), "rb").read() for n in sorted(os.listdir(d))] if os.path.isdir(d) else []


def arrived(subject, user="alice"):
    """The letter with that subject, when it is there, and out of the way."""
    def look():
        d = os.path.join(m.dir, "home", user, "Maildir", "new")
        for n in os.listdir(d) if os.path.isdir(d) else []:
            with open(os.path.join(d, n), "rb") as f:
                text = f.read()
            if re.search(rb"^Subject: " + re.escape(subject.encode()) + rb"\r?$", text, re.M | re.I):
                os.unlink(os.path.join(d, n))
                return text
        return None
    return wait_for(f"the letter {subject} of {user}", look, 60, 0.05)


def says(what, status, words, *args, **kw):
    rc, out = sendmail(*args, **kw)
    check(what, rc == status and words in out, (rc, out))


# --- nobody listens
says("without a server: come again, and why", TEMPFAIL, "postern-mta does not answer at 127.0.0.1 port 2525", "alice@example.org")
deliver = m.start([testlib.POSTERN_DELIVER, "-c", "/etc/postern/mta.conf", "--listen", "/run/postern/deliver.sock"], log="deliver")
mta = m.start([testlib.POSTERN_MTA, "-c", "/etc/postern/mta.conf"], log="postern-mta")
wait_for("the server takes a letter", lambda: sendmail("alice@example.org", text=LETTER.format("first"))[0] == OK, 60, 0.3)
raw = arrived("first")
msg = email.message_from_bytes(raw)
check("what lacks is added: From with the name of the account", msg["From"] == "Alice Example <alice@home.example.net>", raw)
check("a Date of now", abs(email.utils.parsedate_to_datetime(msg["Date"]).timestamp() - time.time()) < 120, msg["Date"])
check("a Message-ID of this host", re.fullmatch(r"<[0-9a-f]{32}@home\.example\.net>", msg["Message-ID"]) is not None, msg["Message-ID"])
check("the sender is who called", b"Return-Path: <alice@home.example.net>" in raw, raw)

# --- nothing that is there is changed
whole = ("From: \"A. B.\" <ab@example.org>\r\nsubject: kept\r\nTo: alice@example.org,\r\n\t(a comment, here) bob@example.org\r\n"
         "X-odd  : 1\r\nDate: Mon, 1 Jan 2001 00:00:00 +0000\r\nMessage-ID: <1@x>\r\n\r\n.\r\n..two\r\nFrom here\r\nlast")
check("-t takes To, -i a dot", sendmail("-t", "-i", text=whole)[0] == OK)
raw = arrived("kept")
check("fields and body are as they were", raw.replace(b"\r\n", b"\n").endswith(whole.replace("\r\n", "\n").encode() + b"\n"), raw)
arrived("kept", "bob")
text = ("To: alice@example.org\nCc: \"Bob, the second\" <bob@example.org>\nBcc: bob@home.example.net,\n alice\nSubject: hidden\n\nx\n")
check("-t", sendmail("-ti", text=text)[0] == OK)
check("Bcc is in no letter", all(b"bcc" not in t.lower() and b"\n alice" not in t for t in (arrived("hidden"), arrived("hidden", "bob"))))
check("without -t it stays", sendmail("-i", "alice", text="Bcc: y@example.org\nSubject: stays\n\nx\n")[0] == OK and
      b"Bcc: y@example.org" in arrived("stays"))
check("-t and a recipient more", sendmail("-t", "bob@example.org", text="To: alice@example.org\nSubject: both\n\nx\n")[0] == OK)
arrived("both")
arrived("both", "bob")
check("Resent-To counts alone", sendmail("-t", text="To: nobody@example.org\nResent-To: alice@example.org\nSubject: again\n\nx\n")[0] == OK)
arrived("again")
check("a name without a domain is one of here, an alias too", sendmail("root", text=LETTER.format("alias"))[0] == OK)
arrived("alias")
check("without -i a dot ends it", sendmail("alice", text="Subject: dot\n\nseen\n.\nunseen\n")[0] == OK)
raw = arrived("dot")
check("and what follows is not sent", b"seen" in raw and b"unseen" not in raw, raw)
check("a line of a mailbox file is dropped", sendmail("alice", text="From bob Mon Jan  1 00:00:00 2001\nSubject: mbox\n\nx\n")[0] == OK
      and b"From bob" not in arrived("mbox"))
check("a letter without a header is a body", sendmail("alice", text="just\nthis\n")[0] == OK)
raw = wait_for("it", lambda: [t for t in letters() if b"just" in t])[0]
check("with an empty line before it", raw.replace(b"\r\n", b"\n").endswith(b"\n\njust\nthis\n"), raw)
check("an empty one too", sendmail("alice", text="")[0] == OK)

# --- who sends
check("-f and -F", sendmail("-f", "list@example.org", "-FThe List", "alice", text=LETTER.format("sender"))[0] == OK)
raw = arrived("sender")
check("name both", b"Return-Path: <list@example.org>" in raw and b"From: The List <list@example.org>" in raw, raw)
check("-F with signs is quoted", sendmail("-F", 'a "b" <c@d>, e', "alice", text=LETTER.format("quoted"))[0] == OK)
raw = arrived("quoted")
check("as one name", email.utils.getaddresses([email.message_from_bytes(raw)["From"]]) == [('a "b" <c@d>, e', "alice@home.example.net")], raw)
check("a name beyond ASCII", sendmail("alice", text=LETTER.format("utf8"), user="bob")[0] == OK)
raw = arrived("utf8")
check("is an encoded word", str(email.header.make_header(email.header.decode_header(email.message_from_bytes(raw)["From"]))) ==
      "Bøb € <bob@home.example.net>", raw)
check("-f <>", sendmail("-f", "<>", "alice", text=LETTER.format("null"))[0] == OK and b"Return-Path: <>" in arrived("null"))

# --- DSN goes to the server
check("-N, -R and -V", sendmail("-N", "success,delay", "-R", "hdrs", "-V", "QQ31", "-f", "alice@example.org", "far@far.example",
                               text=LETTER.format("dsn"))[0] == OK)


def waiting():
    queue = json.loads(m.run([testlib.POSTERN, "--json", "mail", "queue"]).stdout)["letters"]
    return [r["address"] for l in queue for r in l["recipients"]]


check("a letter for elsewhere waits for the edge", wait_for("it alone", lambda: waiting() == ["far@far.example"]))
m.run([testlib.POSTERN, "mail", "export", "/tmp/q"])
with open(os.path.join(m.dir, "tmp", "q"), "rb") as f:
    data = f.read()
check("with what was asked for", b"QQ31\0" in data and b"\0\4\0\0\0\1\x0a" in data, data[:400])

# --- what is refused, with the status that says why
says("no recipients", USAGE, "no recipients")
says("-t without any", USAGE, "no recipients", "-t", text="Subject: x\n\n\n")
says("an address that is none", DATAERR, "no address", "a b@@c")
says("two lines in an address", DATAERR, "no address", "alice@example.org\nRCPT TO:<bob@example.org>")
says("two lines in a sender", USAGE, "the sender is no address", "-f", "a@b.example>\r\nRSET\r\nMAIL FROM:<c@d.example", "alice")
says("two lines in a name", USAGE, "control character", "-F", "x\nBcc: bob", "alice")
says("two lines in an id", USAGE, "-V is", "-V", "x\r\nRSET", "alice")
says("a name of DSN that is none", USAGE, "-N is", "-N", "sometimes", "alice")
says("who is not here", NOUSER, "nosuch@example.org: 550", "alice", "nosuch@example.org", text=LETTER.format("halves"))
says("who may not", NOPERM, "5.7", "-f", "banned@example.org", "alice")
says("what is too large", UNAVAILABLE, "552", "alice", text=LETTER.format("large") + "y" * 70 * 50000)
says("a daemon", USAGE, "a service of its own", "-bd")
says("a queue run", USAGE, "postern mail flush", "-q30m")
says("an option that nobody has", USAGE, "-j is not known", "-j")
says("a value that lacks", USAGE, "needs a value", "-f")
says("a configuration that is not there", CONFIG, "/nowhere", "-C", "/nowhere", "alice")
check("nobody got half of a letter", not [t for t in letters() if b"halves" in t])

# --- a session
out = sendmail("-bs", text="EHLO x\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\nSubject: bs\r\n\r\nx\r\n.\r\nQUIT\r\n")
check("-bs is a session", out[0] == OK and out[1].rstrip().splitlines()[-1].startswith("221"), out)
arrived("bs")
check("mailq asks postern", "postern" in m.run(["sh", "-c", f"ln -s {SENDMAIL} /tmp/mailq; PATH=/nowhere /tmp/mailq"], check=False).stdout)
check("newaliases has nothing to do", m.run(["sh", "-c", f"ln -s {SENDMAIL} /tmp/newaliases; /tmp/newaliases"]).returncode == 0)

# --- as others call it
check("as cron calls it", sendmail("-FCronDaemon", "-i", "-B8BITMIME", "-oem", "root", user="root",
                                   text="From: root (Cron Daemon)\nTo: root\nSubject: Cron <root@home> true\nMIME-Version: 1.0\n"
                                   "X-Cron-Env: <SHELL=/bin/sh>\n\nout\n")[0] == OK)
raw = arrived("Cron <root@home> true")
check("its From stays as it wrote it", b"From: root (Cron Daemon)" in raw and raw.count(b"\nFrom:") == 1, raw)
check("as PHP and git call it", sendmail("-t", "-i", "-f", "bob@example.org", text="To: alice@example.org\nSubject: php\n\nx\n")[0] == OK)
arrived("php")
check("as mutt calls it", sendmail("-oi", "-oem", "-f", "bob@example.org", "-N", "failure", "-R", "hdrs", "--", "alice@example.org",
                                   text=LETTER.format("mutt"))[0] == OK)
arrived("mutt")
if m.run(["sh", "-c", "command -v bsd-mailx"], check=False).returncode == 0:
    m.run(["sh", "-c", "echo hello | setpriv --reuid=2101 --regid=2101 --clear-groups env HOME=/home/bob LOGNAME=bob USER=bob "
           "bsd-mailx -s from-mailx -c bob alice@example.org"])
    raw = arrived("from-mailx")
    check("mailx sends by it", b"hello" in raw and b"Return-Path: <bob@home.example.net>" in raw, raw)
    arrived("from-mailx", "bob")
else:
    print("note: no bsd-mailx in", testlib.SCRATCH)
if m.run(["sh", "-c", "command -v cron"], check=False).returncode == 0:
    m.write("/etc/crontab", "@reboot bob echo from the crontab\n", mode=0o644)
    m.write("/etc/pam.d/cron", "".join(f"{kind} required pam_permit.so\n" for kind in ("auth", "account", "session")))
    m.run(["sh", "-c", "rm -f /etc/cron.d/* /run/crond.reboot; mkdir -p /var/spool/cron/crontabs"])
    cron = m.start(["cron", "-f", "-L", "7"], log="cron")
    raw = arrived("Cron <bob@home> echo from the crontab", "bob")
    check("cron sends by it what a job prints", b"from the crontab" in raw, raw)
    cron.terminate()

# --- many at a time, more than a client may have sessions
procs = [subprocess.Popen(m._cmd(["setpriv", "--reuid=2100", "--regid=2100", "--clear-groups", "/usr/sbin/sendmail", "alice"]),
                          stdin=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(60)]
for i, p in enumerate(procs):
    p.stdin.write(LETTER.format(f"many{i}").encode())
    p.stdin.close()
codes = [p.wait(180) for p in procs]
check("sixty at a time are all taken", set(codes) == {OK}, (codes, [p.stderr.read() for p in procs if p.returncode][:2]))
for i in range(60):
    arrived(f"many{i}")
for p in (mta, deliver):
    p.terminate()
check("the server ends in order", mta.wait(60) == 0, mta.returncode)
says("and then it is: come again", TEMPFAIL, "does not answer", "alice")
testlib.done()
