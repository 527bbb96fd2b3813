# SPDX-License-Identifier: GPL-3.0-or-later
"""What strangers have done stays known when smtpd dies, a hash that cannot be computed is no wrong password, and what must
have TLS does not start without, and is not reloaded so.

	strangers, on peer 192.0.2.2 ---> mx 192.0.2.1
"""
import base64
import json
import os
import re
import signal

import peers
import testlib
from peers import MX
from testlib import check, wait_for

lab, mx, peer, ca = peers.begin()
post = peers.Postern(mx, ca, submission="auth-failures-max = 2\n", users="odd:$unheard-of$salt$hash:*\n").ready()


def pid():
    return int(re.findall(r"started proc=smtpd pid=(\d+)", post.log())[-1])


def guess(password, login=peers.LOGIN):
    t = peers.Talk(peer, MX, 587).starttls(peers.trust(ca))
    said = t.say("AUTH PLAIN " + base64.b64encode(f"\0{login}\0{password}".encode()).decode())
    t.close()
    return said


# --- a reload that would take a door's TLS away is refused as a whole
CONF, MTA = "/etc/postern/mta.conf", testlib.POSTERN_MTA
text = mx.read(CONF)
chain, key = re.search(r"certificate = (\S+)\nprivate-key = (\S+)", text).groups()
other, later, loose = (ca.issue(n, n + ".example")[1] for n in ("other", "later", "loose"))
os.chmod(loose, 0o644)


def takes(address):
    t = peers.Talk(peer, MX, 25)
    t.say("MAIL FROM:<a@far.example>")
    said = t.say(f"RCPT TO:<{address}>")
    t.close()
    return said


more = text.replace("domains = local.example\n", "domains = local.example, new.example\n")
TYPO, WORDS = "ECDHE-TYPO", 'tls-ciphers: "ECDHE-TYPO" is none that OpenSSL allows'
mx.write("/etc/postern/empty.pem", "nothing\n")
MORE_MX = more.replace("[listener mx]\n", f"[listener mx]\ntls-ciphers = ECDHE+AESGCM, {TYPO}\n")
MORE_ROUTE = more + "[route strange]\nkind = smarthost\naddress = 192.0.2.2\nca-file = empty.pem\n"
MORE_MTA = re.sub("ca-file = .*", "ca-file = empty.pem", more)
DOOR = 'listener "submission" would have no TLS'
for what, wrong, file, words in (("the key of another certificate", more.replace(key, other), "other.key", DOOR),
                                 ("a key that others may read", more.replace(key, loose), "loose.key", "readable by others"),
                                 ("a cipher of mx that is none", MORE_MX, TYPO, WORDS),
                                 ("a file without authorities", MORE_ROUTE, "empty.pem", "no certificate authority"),
                                 ("none for the world", MORE_MTA, "empty.pem", "mta: ca-file /etc/postern/empty.pem: no certificate authority"),
                                 ("a chain that is not there", more.replace(chain, "/etc/postern/missing.pem"), "missing.pem", DOOR)):
    mx.write(CONF, wrong)
    p = post.cli("mail", "reload", check=False)
    check(f"a reload with {what} is refused, and says why", p.returncode == 1 and file in p.stdout
          and words in p.stdout, p.stdout)
    check("so does the log", post.logged("reload refused, the old configuration stays in force: .*" + re.escape(file)))
    check("and nothing of it is in force", takes("alice@new.example").startswith("550"))
mx.write(CONF, more.replace("[mta]\n", "[mta]\n" + "".join(f"unheard-of-{n:02} = x\n" for n in range(25))))
*told, rest = post.cli("mail", "reload", check=False).stdout.splitlines()
check("of many faults the first ones are told whole, and how many more there are", len(told) > 5 and all(
    re.search(r"mta.conf:\d+: unknown key .*dns-timeout$", x) for x in told) and rest == f"... and {25 - len(told)} more", told + [rest])
mx.write(CONF, wrong)
post.mta.send_signal(signal.SIGHUP)
post.logged("reload refused, the old configuration stays in force: .*missing.pem")
post.logged("reload refused, the old configuration stays in force: .*would have no TLS")
for port in (587, 465):
    with_tls = peers.Talk(peer, MX, port, tls=peers.trust(ca) if port == 465 else None)
    (with_tls if port == 465 else with_tls.starttls(peers.trust(ca))).close()
mx.write(CONF, more)
p = post.cli("mail", "reload")
check("with a pair that fits it is in force", wait_for("it", lambda: takes("alice@new.example").startswith("250")), p.stdout)

# --- a listener that has another name after it
rule = "[rule house]\naction = accept\nclients = 192.0.2.0/24\nroute = internet\n"
mx.write(CONF, text.replace("[listener mx]", "[listener front]\nclass = mx"))
post.cli("mail", "reload")
check("without rules a new name of a listener is nothing to tell", "is gone, or has another name" not in post.log())
mx.write(CONF, text + rule)
post.cli("mail", "reload")
post.logged("listener=front msg=\"is gone, or has another name: letters that came by it")
check("of one that stays nothing is told", "listener=submission msg=\"is gone" not in post.log())
mx.write(CONF, text)
post.cli("mail", "reload")

# --- what crypt(3) cannot compute
said = guess("x", "odd")
check("a hash that nobody can compute makes no password wrong", said.startswith("454 4.7.0"), said)
post.logged('user="odd" msg="cannot log in: crypt.* does not know the kind of hash in .*users')

# --- who can make smtpd crash has no new guesses by that
said = [guess(f"wrong{n}")[:3] for n in range(2)]
check("a wrong password is wrong", said == ["535"] * 2, said)
old = pid()
os.kill(old, signal.SIGKILL)
wait_for("smtpd is started again", lambda: pid() != old)
wait_for("and is ready", lambda: post.log().count("ready proc=smtpd") == 2)
said = guess(peers.PASSWORD)
check("wrong passwords are remembered by the next smtpd", said.startswith("454 4.7.0 Too many failures"), said)

# --- a flood of guesses fills no log
before = post.log().count("msg=\"authentication ")
talks = [peers.Talk(peer, MX, 587).starttls(peers.trust(ca)) for _ in range(12)]
for t in talks:
    t.s.sendall(b"AUTH PLAIN AGpvZQB3cm9uZw==\r\n")
said = [t.reply()[:3] for t in talks]
check("a network that tried too much is not listened to", said == ["454"] * 12, said)
told = lambda: post.log().count("msg=\"authentication ") - before
check("and has few lines in the log", wait_for("one", told) < 10, told())
post.mta.send_signal(signal.SIGTERM)
# Where a minute ended meanwhile they are told of in two lines.
wait_for("the rest is told as a number", lambda: sum(map(int, re.findall(
    r"events=\d+ turned_away=0 tls=\d+ auth=(\d+) .*of the last minute that were not told", post.log()))) == 12 - told())
check("and these were few at the end, too", told() < 10, told())
post.mta.wait(60)

# --- certificates that do not fit
for what, wrong, words in (("the key of another certificate", text.replace(key, other), 'listener \\"submission\\" would have no TLS'),
                           ("a key that others may read", text.replace(key, loose), "loose.key")):
    mx.write(CONF, wrong)
    p = mx.run(["timeout", "60", MTA, "-c", CONF], check=False)
    check(f"with {what} submission does not start", p.returncode == 1 and words in p.stdout
          and re.search(r"/(other|loose).key", p.stdout), p.stdout)
    p = mx.run([MTA, "-n", "-c", CONF], check=False)
    check("and check says so", p.returncode == 1 and re.search(r"/(other|loose).key", p.stdout), p.stdout)

# --- what a listener without certificates or a route allows, and none has
no_pair = re.sub("(certificate|private-key|users|tunnel) = .*\n|\\[listener submissions?\\]\n.*\n", "", text)
for what, wrong in (("the tunnel's listener", no_pair + f"[listener tunnel]\ntls-ciphers = {TYPO}\n"),
                    ("a route", text + f"[route strange]\nkind = smarthost\naddress = 192.0.2.2\ntls-ciphers = {TYPO}\n")):
    mx.write(CONF, wrong)
    line = len(wrong.splitlines())
    for how, *tool in (("the start", "timeout", "60", MTA), ("check", MTA, "-n")):
        p = mx.run([*tool, "-c", CONF], check=False)
        check(f"a cipher of {what} that is none is refused by {how}", p.returncode == 1 and f"mta.conf:{line}: " in p.stdout
              and WORDS in p.stdout.replace("\\", ""), p.stdout)

wrong = re.sub("ca-file = .*", "ca-file = empty.pem", text)
mx.write(CONF, wrong)
line = wrong.splitlines().index("ca-file = empty.pem") + 1
for how, *tool in (("the start", "timeout", "60", MTA), ("check", MTA, "-n")):
    p = mx.run([*tool, "-c", CONF], check=False)
    check(f"no authority in [mta]'s ca-file is refused by {how}", p.returncode == 1 and f"mta.conf:{line}: " in p.stdout
          and "no certificate authority to verify with; put certificates" in p.stdout, p.stdout)

mx.write(CONF, re.sub(r"\[listener submission.*?(?=\[deliver)", "", text.replace(key, later), flags=re.S))
post.mta = mx.start([MTA, "-c", CONF], log="mta-late")
post.ready()


def status():
    return {x["name"]: x for x in json.loads(post.cli("--json", "mail", "status").stdout)["listeners"]}["mx"]


# While its files are read anew nothing is known of a listener's TLS.
said = wait_for("status has the fault", lambda: s if "tls_fault" in (s := status()) else None)
check("a listener that may do without TLS starts, and status says what is wrong", said["tls"] is False and "mx.pem" in said["tls_fault"], said)
said = post.cli("mail", "status").stdout
check("in words too", "HAS NO TLS" in said and "mx.pem" in said, said)
post.logged("listener=mx msg=.certificate not used, THE LISTENER HAS NO TLS until this is mended: .*mx.pem")
t = peers.Talk(peer, MX, 25)
check("it offers none", "STARTTLS" not in t.offers, t.offers)
t.close()
os.chmod(later, 0o644)
wait_for("status names the file that others may read", lambda: "later.key" in status().get("tls_fault", ""))
with open(key, "rb") as f, open(later, "wb") as out:
    out.write(f.read())
os.chmod(later, 0o600)
wait_for("the key that fits is taken", lambda: (s := status()).get("tls") is True and "tls_fault" not in s)
peers.Talk(peer, MX, 25).starttls(peers.trust(ca)).close()
testlib.done()
