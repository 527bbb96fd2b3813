# SPDX-License-Identifier: GPL-3.0-or-later
"""What a [listener] demands of its clients, seen from outside: names, versions and certificates of TLS."""
import os
import re
import signal
import socket
import ssl
import subprocess
import time

import testlib
from smtpd_lab import CONF, Client, Smtpd, certificate, lab, listen
from testlib import case, check, wait_for

subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
far = lab.machine("far")
subprocess.run(["ip", "link", "add", "near0", "type", "veth", "peer", "name", "far0"], check=True)
subprocess.run(["ip", "link", "set", "far0", "netns", str(far.pid)], check=True)
subprocess.run(["ip", "addr", "add", "10.98.0.1/24", "dev", "near0"], check=True)
subprocess.run(["ip", "link", "set", "near0", "up"], check=True)
far.addr("far0", "10.98.0.2/24", "10.98.0.3/24", "10.98.0.4/24")
keys, second, ours, strange = (certificate(n) for n in ("mx.example.net", "smtp.example.org", "client.example", "stranger.example"))
# The first four listeners are those of smtpd_lab.
NAMES, OLD, VERIFY, PINNED, REQUIRE, REQUEST, DOOR, LAN, QUIET, SLOW, FAR, EXTERNAL = range(4, 16)
PIN = subprocess.run("openssl x509 -noout -pubkey | openssl pkey -pubin -outform DER | openssl sha256 -r", input=strange[0], shell=True,
                     stdout=subprocess.PIPE, check=True).stdout.split()[0].decode()
TWO = "certificate = a.pem, b.pem\nprivate-key = a.key, b.key\n"
LISTENERS = CONF + f"""
[listener names]
class = mx
address = 127.0.0.1:3001
{TWO}
[listener old]
class = mx
address = 127.0.0.1:3002
tls-versions = 1.2
[listener verify]
class = mx
address = 127.0.0.1:3003
client-certificate = verify
client-ca = /ca.pem
[listener pinned]
class = mx
address = 127.0.0.1:3004
client-certificate = verify
client-pins = {PIN}
[listener require]
class = mx
address = 127.0.0.1:3005
client-certificate = require
[listener request]
class = mx
address = 127.0.0.1:3006
client-certificate = request
client-ca = /ca.pem
"""
LISTENERS = LISTENERS.replace("[listener mx]", "deny-table = /deny\n[listener mx]", 1) + """
[listener door]
class = mx
address = *:3007
allow = 127.0.0.0/29, 2001:db8::/32
deny = 127.0.0.3
[listener lan]
address = 127.0.0.1:3008
[listener quiet]
class = lan
address = 127.0.0.1:3009
dsn = no
[listener slow]
class = mx
address = 127.0.0.1:3010
letters-per-sender = 3
bytes-per-sender = 1M
letters-per-recipient = 2
bytes-per-recipient = 1M
[listener far]
class = lan
address = 10.98.0.1:3011
auth-failures-max = 2
[listener external]
class = submission
address = 127.0.0.1:3012
client-certificate = request
client-ca = /ca.pem
client-logins = Joe:client.example, ann:""" + PIN + """
[rule small]
action = reject
listeners = slow
recipients = apart@example.net
larger-than = 50K
"""
FILES = {"/deny": b"127.0.0.4\n", "/ca.pem": ours[0]}
d = Smtpd("listeners")
d.begin([(i, listen(2997 + i)) for i in range(NAMES, FAR)] + [(FAR, listen(3011, "10.98.0.1")), (EXTERNAL, listen(3012))], keys, conf=LISTENERS, files=FILES)
q = d.queue
d.key(NAMES, (*keys, *second))
for i in range(OLD, EXTERNAL + 1):
    d.key(i, keys)


def context(shown=None):
    t = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    t.check_hostname = False
    t.verify_mode = ssl.CERT_NONE
    if shown:
        name = os.path.join(lab.dir, shown)
        t.load_cert_chain(name + ".pem", name + ".key")
    return t


def secure(listener, shown=None, name="mx.example.net", tls=None):
    """A session inside of TLS that has said EHLO again; None when the server ends it."""
    c = Client(2997 + listener)
    c.hello()
    c.say("STARTTLS")
    try:
        c.s = (tls or context(shown)).wrap_socket(c.s, server_hostname=name)
        return c if (c.say("EHLO client.example") or "").startswith("250") else None
    except (ssl.SSLError, ConnectionError):
        return None


def has(c, pair):
    return c is not None and ssl.DER_cert_to_PEM_cert(c.s.getpeercert(True)).split() == pair[0].decode().split()


def letter(c):
    return c is not None and c.say("MAIL FROM:<a@far.example>", "RCPT TO:<b@example.net>", "DATA") and c.say(b"A: b\r\n\r\n.\r\n")[:3]


def soon(fn):
    """What smtpd is told reaches it a moment later: tried until it holds, for a minute."""
    until = time.monotonic() + 60
    while not fn() and time.monotonic() < until:
        time.sleep(0.1)
    return fn()


def log():
    with open(d.log) as f:
        return f.read()


def in_log(*words):
    """Once a client has its answer the line of it may still be on its way."""
    return wait_for(f"the log to have {words}", lambda: all(w in log() for w in words))


# --- names
soon(lambda: secure(EXTERNAL))  # the last that was given its key
check("a name that is asked for gets its certificate", has(secure(NAMES, name="smtp.example.org"), second))
check("the first name too", has(secure(NAMES, name="MX.example.net"), keys))
check("an unknown name gets the first certificate", has(secure(NAMES, name="other.example"), keys))
check("and so does a client without a name", has(secure(NAMES, name=None), keys))
stays = secure(NAMES, name="smtp.example.org")
fresh = certificate("fresh.example.net")
d.key(NAMES, (*keys, second[0], fresh[1]))
time.sleep(0.2)
check("a chain that came before its key is not taken", has(secure(NAMES, name="smtp.example.org"), second))
d.key(NAMES, keys)
time.sleep(0.2)
check("nor half of the certificates", has(secure(NAMES, name="smtp.example.org"), second))
d.key(NAMES, (*keys, *fresh))
check("both together are", soon(lambda: has(secure(NAMES, name="fresh.example.net"), fresh)))
check("and a session from before goes on", letter(stays) == "250")

# --- versions
check("a listener of TLS 1.2 alone speaks it", secure(OLD).s.version() == "TLSv1.2")
new = context()
new.minimum_version = ssl.TLSVersion.TLSv1_3
check("and nothing else", secure(OLD, tls=new) is None)
check("while the others speak 1.3", secure(REQUEST).s.version() == "TLSv1.3")

# --- certificates of clients
c = Client(2997 + VERIFY)
c.hello()
check("nothing goes around a certificate that is demanded", c.say("MAIL FROM:<a@far.example>").startswith("530"))
case("mail_case_050_a_listener_verifies_its_clients",
     letter(secure(VERIFY, "client.example")) == "250" and secure(VERIFY) is None and secure(VERIFY, "stranger.example") is None
     and letter(secure(PINNED, "stranger.example")) == "250" and secure(PINNED, "client.example") is None and secure(PINNED) is None)
check("one that is required is anybody's", letter(secure(REQUIRE, "stranger.example")) == "250" and secure(REQUIRE) is None)
check("one that is asked for may be missing", letter(secure(REQUEST)) == "250" and letter(secure(REQUEST, "client.example")) == "250"
      and letter(secure(REQUEST, "stranger.example")) == "250")
check("the log tells who proved what", in_log(f"family=ipv4 listener=request verified=0 pin={PIN}", "listener=request verified=1 pin=",
                                              'listener=request msg="client shows no certificate"'))
tls12 = context("client.example")
tls12.maximum_version = ssl.TLSVersion.TLSv1_2
check("in TLS 1.2 as well", letter(secure(VERIFY, tls=tls12)) == "250")

# --- who logs in with the certificate alone (smtpd_alone knows joe and nobody else)
def offers(c):
    c.s.sendall(b"EHLO client.example\r\n")
    words = []
    while not words or words[-1][3:4] == "-":
        words.append(c.line())
    return next((w[4:].split() for w in words if w[4:].startswith("AUTH")), [])


joe, ann, nobody = (secure(EXTERNAL, shown) for shown in ("client.example", "stranger.example", None))
check("EXTERNAL is offered to who shows a certificate of a login", "EXTERNAL" in offers(joe) and "EXTERNAL" in offers(ann))
check("not to others", offers(nobody) == ["AUTH", "PLAIN", "LOGIN"] and nobody.say("AUTH EXTERNAL =")[:3] == "504")
check("nor where no login has one", "EXTERNAL" not in offers(secure(LAN, "client.example")))
check("it wants no name", joe.say("MAIL FROM:<joe@example.net>")[:3] == "530" and joe.say("AUTH EXTERNAL =").startswith("235"))
said = joe.say("MAIL FROM:<ann@example.net>"), joe.say("MAIL FROM:<joe@example.net>")
check("and the login's senders are its own", said[0].startswith("550 5.7.1") and said[1].startswith("250"), said)
c = secure(EXTERNAL, "client.example", tls=tls12)
check("its own name may be said", c.say("AUTH external")[:3] == "334" and c.say("Sk9F")[:3] == "235")
c = secure(EXTERNAL, "client.example")
check("that of another may not", c.say("AUTH EXTERNAL YW5u") == "535 5.7.8 Authentication failed")
check("nor is a login let in that is not in users", ann.say("AUTH EXTERNAL =") == "535 5.7.8 Authentication failed")
check("the log says why, and whose certificate it was", in_log(
    f"listener=external verified=0 pin={PIN} login=ann", 'user="ann" msg="authentication failed, the certificate is not of this login"',
    'user="ann" msg="authentication failed, it is not in users"'))
check("and who has logged in by it", wait_for("it", lambda: re.search(
    r'listener=external user="joe" by=certificate tls="TLSv1.[23] \S+" msg="authenticated"', log())))

# --- a resumed session is worth what the first was
t = context("client.example")
first = secure(VERIFY, tls=t)
first.say("NOOP")
again = Client(2997 + VERIFY)
again.hello()
again.say("STARTTLS")
again.s = t.wrap_socket(again.s, session=first.s.session)
check("a verified session is resumed as one", again.say("EHLO client.example").startswith("250") and again.s.session_reused
      and letter(again) == "250")

# --- wrong passwords
LOGIN = """
import smtplib, ssl, sys
t = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
t.check_hostname = False
t.verify_mode = ssl.CERT_NONE
said = []
with smtplib.SMTP("10.98.0.1", 3011, "x.example", timeout=60, source_address=(sys.argv[1], 0)) as s:
    s.starttls(context=t)
    s.ehlo()
    for password in sys.argv[2:]:
        try:
            said.append(str(s.login("joe", password, initial_response_ok=True)[0]))
        except smtplib.SMTPAuthenticationError as e:
            said.append(str(e.smtp_code))
        except smtplib.SMTPServerDisconnected:
            said.append("gone")
    print(*said)
    s.close()
"""


def login(addr, *passwords):
    return far.python(LOGIN, addr, *passwords).stdout.split()


# smtplib tries LOGIN when PLAIN was refused: each word below is two failures.
said = login("10.98.0.2", "wrong")
check("a wrong password is refused", said == ["535"], said)
said = login("10.98.0.2", "secret")
check("after some of them no password of that network is tried, the right one neither", said == ["454"], said)
said = login("10.98.0.3", "secret")
check("while others log in", said == ["235"], said)
LEAVE = """import smtplib, socket, ssl, struct, sys, time
t = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
t.check_hostname = False
t.verify_mode = ssl.CERT_NONE
s = smtplib.SMTP("10.98.0.1", 3011, "x.example", timeout=60, source_address=(sys.argv[1], 0))
s.starttls(context=t)
s.ehlo()
s.putcmd("AUTH", "PLAIN AHNsb3cAeA==")
time.sleep(0.3)
s.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
s.sock.close()
"""


def leave_until_limited():
    for _ in range(20):
        far.python(LEAVE, "10.98.0.4")
        said = login("10.98.0.4", "secret")
        if said == ["454"]:
            return True
    return False


check("who makes us check passwords and leaves before the answer has them counted", leave_until_limited())
check("and the log says why", in_log("authentication not tried, too many failures"))

# --- how much one sender and one recipient may have
def mail(size, *rcpts, sender="a@far.example", body=0):
    c = Client(2997 + SLOW)
    c.reply()
    c.say("EHLO client.example")
    said = [c.say(f"MAIL FROM:<{sender}>" + (f" SIZE={size}" if size else ""))] + [c.say(f"RCPT TO:<{r}>") for r in rcpts]
    if said[-1].startswith("250"):
        said += [c.say("DATA"), c.say(b"A: b\r\n\r\n" + (b"x" * 998 + b"\r\n") * (body // 1000) + b".\r\n")]
    c.s.close()
    return [r[:3] for r in said]


mail(0, "b@example.net", sender="big@far.example", body=700000)
check("bytes that were not announced count: the next letter of that sender waits",
      mail(400000, "c@example.net", sender="BIG@far.example")[0] == "450" and mail(400000, "c@example.net", sender="ann@far.example")[0] == "250")
said = [mail(0, f"r{i}@example.net")[0] for i in range(5)]
check("the fourth letter of one sender in an hour waits", said == ["250", "250", "250", "450", "450"], said)
said = [mail(0, "b@example.net", sender=f"s{i}@far.example")[1] for i in range(3)]
check("so does the third to one recipient, which had one before", said == ["250", "450", "450"], said)
said = [mail(0, f"p+{i}@example.net", sender=f"t{i}@far.example")[1] for i in range(3)]
check("and the third to one mailbox, by whichever subaddress", said == ["250", "250", "450"], said)
said = [mail(size, f"full+{i}@example.net", sender=f"u{i}@far.example", body=700000 if not size else 0)
        for i, size in enumerate((0, 700000, 100000))]
check("bytes to one mailbox are counted as they came: what is too much waits, what has room passes",
      [r[1] for r in said] == ["250", "450", "250"] and said[0][3] == "250", said)
said = mail(0, *["rep@example.net"] * 4, sender="v1@far.example", body=300000)
check("a recipient who is named again has one copy, and counts for one",
      said == ["250"] * 5 + ["354", "250"] and mail(600000, "rep@example.net", sender="v2@far.example")[1] == "250", said)
said = mail(600000, "sub+1@example.net", "sub+2@example.net", sender="v3@far.example")
check("two copies of a letter in one mailbox need room for both", said == ["250", "250", "450"], said)
said = [mail(0, f"w{i}@example.net", "apart@example.net", sender=f"w{i}@far.example")[2] for i in range(3)]
said += mail(0, "apart@example.net", sender="w3@far.example")
check("who is told 452 for a letter of his own has had none by that", said == ["452"] * 3 + ["250", "250", "354", "250"], said)
check("a bounce has no sender to count", [mail(0, f"q{i}@example.net", sender="")[0] for i in range(5)] == ["250"] * 5)

# --- reports of delivery
said = {}
for listener in (LAN, QUIET):
    c = Client(2997 + listener)
    c.reply()
    c.s.sendall(b"EHLO client.example\r\n")
    words = []
    while not words or words[-1][3:4] == "-":
        words.append(c.line())
    said[listener] = any(w[4:] == "DSN" for w in words), c.say("MAIL FROM:<a@far.example> RET=HDRS")[:3]
check("class lan offers DSN, and with dsn = no neither says nor takes it", said == {LAN: (True, "250"), QUIET: (False, "555")}, said)

# --- a reload
older, named, pinned = secure(REQUEST), secure(EXTERNAL, "client.example"), secure(EXTERNAL, "stranger.example")
d.config(LISTENERS.replace("client-certificate = request", "client-certificate = verify"), {"mx.pem": keys[0], "users": b"", **FILES})
d.key(REQUEST, (keys[0], fresh[1]))
check("what is demanded anew is never answered with the old context", soon(lambda: secure(REQUEST) is None) and
      secure(REQUEST, "client.example") is None)
said = older.say("MAIL FROM:<a@far.example>")
check("nor has a session from before sent a letter without it", said.startswith("451 4.7.0"), said)
d.key(REQUEST, keys)
check("and holds with the next good key", soon(lambda: letter(secure(REQUEST, "client.example")) == "250") and secure(REQUEST) is None)

d.key(EXTERNAL, keys)
check("a name that older authorities gave is no login any more, a key still is", soon(lambda: "EXTERNAL" not in offers(named))
      and "EXTERNAL" in offers(pinned) and "EXTERNAL" in offers(secure(EXTERNAL, "client.example")))

# --- who is let in at all
def greeting(addr, listener):
    s = socket.create_connection(("127.0.0.1", 2997 + listener), timeout=60, source_address=(addr, 0))
    line = s.makefile().readline()
    s.close()
    return line


said = {a: greeting(a, DOOR)[:3] for a in ("127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.9")}
check("a listener lets in those of allow, but none of deny, its own or that of all", said == {
    "127.0.0.2": "220", "127.0.0.3": "554", "127.0.0.4": "554", "127.0.0.9": "554"}, said)
said = {a: greeting(a, NAMES)[:3] for a in ("127.0.0.3", "127.0.0.4", "127.0.0.9")}
check("another listener is bound by the list of all alone", said == {"127.0.0.3": "220", "127.0.0.4": "554", "127.0.0.9": "220"}, said)
d.config(LISTENERS, {"mx.pem": keys[0], "users": b"", **FILES, "/deny": b"127.0.0.9\n"})
soon(lambda: greeting("127.0.0.4", NAMES)[:3] == "220")
said = {a: greeting(a, NAMES)[:3] for a in ("127.0.0.4", "127.0.0.9")}
check("a list that changes counts at once", said == {"127.0.0.4": "220", "127.0.0.9": "554"}, said)
d.proc.send_signal(signal.SIGTERM)
check("smtpd ends in order", d.proc.wait(60) == 0, d.proc.returncode)
testlib.done()
