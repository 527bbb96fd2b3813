# SPDX-License-Identifier: GPL-3.0-or-later
"""conf/mta-rules.conf, the example, at work: swaks is told by port 25 and 587 what `postern mail explain` says,
and what it sends to Postfix goes by TLS of the version that the route names, or waits.

	mx-a (swaks, Postfix) ---- internet ---- vps (postern-mta with conf/mta-rules.conf)
"""
import json
import os
import re
import subprocess

import testlib
from lab import Internet as I
from lab import wait_for
from testlib import TOP, case, check, require

testlib.need_scratch()
lab, net = testlib.start(hosts=[("dns", "198.51.100.53"), ("mx-a", "198.51.100.31")])
import cast  # noqa: E402
import foreign  # noqa: E402

MX = "198.51.100.31"
PATH = {"PATH": os.path.dirname(testlib.POSTERN_MTA) + ":" + os.environ["PATH"]}  # postern runs it for files
vps = cast.Side(net.vps, "home")  # with postern-deliver


def mail(*args, words=False):
    form = [] if words or args[0] != "explain" else ["--json"]
    return net.vps.run([testlib.POSTERN, *form, "mail", *args], check=False, env=PATH)


def example():
    """The example, but for what this small world has: names, our files, a gateway without port 465."""
    with open(os.path.join(TOP, "conf", "mta-rules.conf")) as f:
        text = f.read()
    for old, new in (("tls/mail.mydomain.example.pem", "tls/cert.pem"), ("tls/mail.mydomain.example.key", "tls/key.pem"),
                     ("domains = example.com", "domains = alpha.example\nretry-first = 1s\nretry-max = 1s"),
                     ("gateway.example.com", MX), ("port = 465\ntls-implicit = yes\ntls = verify", "port = 25\ntls = encrypt")):
        require(f"the example has {old.splitlines()[0]}", old in text)
        text = text.replace(old, new)
    return text


def swaks(sender, rcpt, *more, port=25, quit_after="RCPT"):
    args = ["swaks", "--server", net.VPS4, "--port", str(port), "--from", sender, "--to", rcpt, "--timeout", "60", *more]
    return net.mx_a.run(args + (["--quit-after", quit_after] if quit_after else []), check=False).stdout


def told(out):
    """Code of the last reply before QUIT."""
    replies = re.findall(r"^<[-~*][ *]*\s*(\d{3}) ", out.split("-> QUIT")[0].split("~> QUIT")[0], re.M)
    return int(replies[-1]) if replies else None


def explain(sender, rcpt, *more):
    p = mail("explain", "--would", sender, MX, rcpt, *more)
    return json.loads(p.stdout) if p.returncode == 0 else {"code": p.stdout}


def shown():
    """What stands behind the name of the certificate that port 25 shows: its serial number."""
    p = net.mx_a.run(["sh", "-c", f"openssl s_client -starttls smtp -connect {net.VPS4}:25 </dev/null 2>/dev/null"
                      " | openssl x509 -noout -serial"], check=False)
    return p.stdout.strip()


def log():
    with open(os.path.join(lab.logs, f"{net.vps.name}-postern-mta.log"), errors="replace") as f:
        return f.read()


foreign.dns(net.dns)
cast.certificate(net.vps, "mail.mydomain.example")
cast.certificate(net.mx_a, "mx-a.alpha.example")
net.vps.run(["mkdir", "-p", "/etc/postern/tables"])
net.vps.write("/etc/postern/mta.conf", example())
with open(os.path.join(TOP, "conf", "tables", "banned")) as f:
    net.vps.write("/etc/postern/tables/banned", f.read())
crypt = subprocess.run(["openssl", "passwd", "-6", "-salt", "abcdefgh", "garden"], capture_output=True, text=True,
                       check=True).stdout.strip()
net.vps.write("/etc/postern/users", f"alice:{crypt}:alice@mydomain.example\n", mode=0o600)
p = mail("check")
require("postern mail check has nothing against it", p.returncode == 0, p.stdout)
vps.start_mta()
cast.wait_greets(net.mx_a, net.VPS4)

# --- what explain says is what a session is told
LOGIN = ("--tls", "--auth", "PLAIN", "--auth-user", "alice", "--auth-password", "garden")
for words, sender, rcpt, options, asked in (
        ("a domain that wants TLS refuses mail in clear", "ann@far.example", "alice@mydomain.example", (), ()),
        ("and takes it by TLS", "ann@far.example", "alice@mydomain.example", ("--tls",), ("--tls",)),
        ("the other domain does not mind", "ann@far.example", "alice@plain.example", (), ()),
        ("who is not ours is not relayed to", "ann@far.example", "bob@alpha.example", ("--tls",), ("--tls",)),
        ("who does not exist gets nothing", "ann@far.example", "nosuch@plain.example", (), ()),
        ("our domains come from users", "alice@mydomain.example", "alice@plain.example", (), ()),
        ("our name is ours", "ann@far.example", "alice@plain.example", ("--helo", "mail.mydomain.example"),
         ("--helo", "mail.mydomain.example")),
        ("a dial-up line is not welcome", "ann@far.example", "alice@plain.example", ("--helo", "dsl-10-0-0-7.isp.example"),
         ("--helo", "dsl-10-0-0-7.isp.example"))):
    out, said = told(swaks(sender, rcpt, *options)), explain(sender, rcpt, *asked)
    check(f"{words}: {said.get('code')} by {said.get('rule') or 'class'}", out == said.get("code"), (out, said))
said = explain("alice@mydomain.example", "bob@alpha.example", "--user", "alice", "--tls")
out = told(swaks("alice@mydomain.example", "bob@alpha.example", *LOGIN, port=587))
check("a user who has logged in is relayed for, by the route of that domain",
      out == said.get("code") == 250 and said.get("route") == "use_only_tls12_when_relaying", (out, said))
out = swaks("alice@mydomain.example", "bob@alpha.example", port=587)
case("mail_case_049_submission_is_refused_without_login_and_relaying_from_the_street",
     told(out) == 530 and " AUTH" not in out and told(swaks("ann@far.example", "bob@alpha.example")) == 550, out[-500:])
text = mail("explain", "--would", "ann@far.example", MX, "alice@mydomain.example", words=True).stdout
check("in words too", "rule allow_only_tls_for_mydomain (mta.conf:" in text and "reject at RCPT: 550 5.7.10 " in text, text)
p = mail("explain", "--would", "ann", MX, "alice@mydomain.example")
check("a question that makes no sense is told", p.returncode == 1 and "is no address" in p.stdout, p.stdout)
p = mail("explain", "--config", "/etc/postern/mta.conf", "--would", "ann@far.example", MX, "alice@mydomain.example", words=True)
check("and of a file that is not in force", "reject at RCPT: 550 5.7.10 " in p.stdout, p.stdout)

# --- tables are read anew; a mistake leaves the old one
net.vps.write("/etc/postern/tables/banned", f"# us\n{MX}\n")
wait_for("the table to count", lambda: told(swaks("ann@far.example", "alice@plain.example")) == 550, 60, 0.5)
said = explain("ann@far.example", "alice@plain.example")
check("a client that is written into the table is refused at MAIL, soon", said.get("rule") == "banned" and said.get("at") == "MAIL",
      said)
net.vps.write("/etc/postern/tables/banned", "203.0.113.1\n10.0.0.1/8\n")
wait_for("the mistake to be told", lambda: "tables/banned:2: " in log(), 60, 0.5)
check("a table with a mistake is told of with its line, and the old one stays", told(swaks("ann@far.example", "alice@plain.example")) == 550)
old = shown()
cast.certificate(net.vps, "mail.mydomain.example")
wait_for("the new certificate", lambda: shown() not in ("", old), 60, 0.5)
check("beside that mistake a renewed certificate is shown", "tables/banned:2: " in log() and "serial=" in old)
net.vps.write("/etc/postern/tables/banned", "203.0.113.1\n")
wait_for("the table to count", lambda: told(swaks("ann@far.example", "alice@plain.example")) == 250, 60, 0.5)
check("and the next one counts again", True)

# --- however many files the configuration names
net.vps.run(["sh", "-c", "mkdir /etc/postern/tables/many && cd /etc/postern/tables/many && touch $(seq 300)"])
net.vps.write("/etc/postern/mta.conf", example() + "".join(
    f"[rule many{n}]\naction = reject\nclients-table = {', '.join(f'tables/many/{n * 10 + k}' for k in range(1, 11))}\n"
    for n in range(30)))
require("300 tables are taken", mail("reload").returncode == 0)
old = shown()
cast.certificate(net.vps, "mail.mydomain.example")
wait_for("the new certificate", lambda: shown() not in ("", old), 60, 0.5)
net.vps.write("/etc/postern/tables/many/300", f"{MX}\n")
wait_for("the last table to count", lambda: told(swaks("ann@far.example", "alice@plain.example")) == 550, 60, 0.5)
check("of 300 tables the last counts soon, and a certificate beside them", True)
net.vps.write("/etc/postern/mta.conf", example())
require("without them it is as it was", mail("reload").returncode == 0)

# --- an open relay does not come into force
net.vps.write("/etc/postern/mta.conf", example() + "[rule oops]\naction = accept\nclients = 0.0.0.0/0\n")
p = mail("reload")
check("a reload that would relay for everybody is refused with its line",
      p.returncode == 1 and "(an open relay)" in p.stdout and re.search(r"mta\.conf:\d+: rule \"oops\"", p.stdout), p.stdout)
check("and the old rules stay in force", told(swaks("ann@far.example", "bob@alpha.example")) == 550)

# --- nor a new domain whose people stand in a table with a mistake: they would not exist
net.vps.write("/etc/postern/tables/people", "ann@new.example = alice\nbob@new.example\n")
net.vps.write("/etc/postern/mta.conf", example().replace("plain.example\n", "plain.example\nvirtual-domains = new.example\n"
                                                         "users = tables/people\n", 1))
p = mail("reload")
check("a reload with a table of recipients that has a mistake is refused with its line",
      p.returncode == 1 and "tables/people: line 2: no separator" in p.stdout, p.stdout)
check("and its domain is none of ours yet", told(swaks("ann@far.example", "ann@new.example")) == 550
      and explain("ann@far.example", "ann@new.example").get("text", "").startswith("5.7.1 "))
net.vps.write("/etc/postern/tables/people", "ann@new.example = alice\n")
check("without the mistake it is taken", mail("reload").returncode == 0)
wait_for("the new domain", lambda: told(swaks("ann@far.example", "ann@new.example")) == 250, 60, 0.5)
net.vps.write("/etc/postern/mta.conf", example())
check("the file as it was is taken", mail("reload").returncode == 0)

# --- out: TLS 1.2 and nothing else
foreign.postfix(net.mx_a)
main_cf = net.mx_a.read("/etc/postfix/main.cf")


def postfix(tls):
    net.mx_a.write("/etc/postfix/main.cf", main_cf + tls)
    net.mx_a.run(["sh", "-c", "kill -HUP $(cat /var/spool/postfix/pid/master.pid)"])


def letters():
    return foreign.maildir_letters(net.mx_a, "/home/mail/bob/Maildir")


def fault():
    routes = json.loads(vps.cli("--json", "mail", "routes").stdout).get("routes", [])
    return " ".join(str(r.get("fault")) for r in routes)


KEYS = "smtpd_tls_cert_file = /etc/postern/tls/cert.pem\nsmtpd_tls_key_file = /etc/postern/tls/key.pem\n" \
       "smtpd_tls_security_level = may\nsmtpd_tls_received_header = yes\n"
out = swaks("alice@mydomain.example", "bob@alpha.example", *LOGIN, "--h-Subject", "by 1.2", port=587, quit_after=None)
require("a letter for the domain is accepted", "250 2.0.0" in out, out[-600:])
wait_for("a reason to wait", lambda: "STARTTLS" in log() or "TLS" in fault(), 60, 0.2)
waits_plain = not letters()
postfix(KEYS + "smtpd_tls_protocols = >=TLSv1.3\n")
wait_for("an attempt by TLS", lambda: re.search(r"(protocol version|TLS handshake|handshake)", fault() + log()), 60, 0.5)
waits_13 = not letters()
check("with a host that has TLS 1.3 alone it waits", waits_13, fault())
postfix(KEYS + "smtpd_tls_protocols = >=TLSv1.2\n")
text = wait_for("the letter at Postfix", letters, 60, 0.2)[0]
case("mail_case_052_a_route_that_demands_tls_waits_for_it_and_never_sends_in_clear",
     waits_plain and waits_13 and b"using TLSv1.2" in text, (waits_plain, waits_13, text[:800]))

# --- what a route says anew holds for the next letter, also while a session is busy
SLOW = """
import os, socket, threading, time
def serve(c):
    f = c.makefile("rb")
    c.sendall(b"220 slow.example\\r\\n")
    for line in f:
        verb = line.strip().upper()
        if verb == b"DATA":
            c.sendall(b"354 go on\\r\\n")
            while f.readline() not in (b".\\r\\n", b""):
                pass
            open("/home/slow/letter%d" % time.monotonic_ns(), "w").close()
            while not os.path.exists("/home/slow/go"):
                time.sleep(0.05)
        c.sendall(b"221 bye\\r\\n" if verb == b"QUIT" else b"250 slow.example\\r\\n")
        if verb == b"QUIT":
            break
    c.close()
s = socket.create_server(("0.0.0.0", 2525))
while True:
    threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
"""
WAY = f"\n[route slow]\nkind = smarthost\ndomains = slow.example\naddress = {MX}\nport = 2525\nsessions-max = 1\n" \
      "retry-first = 1s\nretry-max = 1s\ntls = "


def came():
    return [n for n in os.listdir(os.path.join(net.mx_a.dir, "home", "slow")) if n.startswith("letter")]


net.mx_a.run(["mkdir", "-p", "/home/slow"])
net.mx_a.start(["/usr/bin/python3", "-c", SLOW], log="slow")
wait_for("the slow host", lambda: cast.greets(net.mx_a, MX, 2525))
net.vps.write("/etc/postern/mta.conf", example() + WAY + "may\n")
require("a route without TLS is taken", mail("reload").returncode == 0)
for n in range(2):
    out = swaks("alice@mydomain.example", "bob@slow.example", *LOGIN, port=587, quit_after=None)
    require("a letter for the slow host is accepted", "250 2.0.0" in out, out[-600:])
wait_for("the first letter there", came)
net.vps.write("/etc/postern/mta.conf", example() + WAY + "encrypt\n")
require("the route with TLS is taken", mail("reload").returncode == 0)
net.mx_a.write("/home/slow/go", "")
wait_for("the second letter to be tried", lambda: len(came()) > 1 or "TLS" in fault(), 60, 0.2)
check("a session from before the reload is given no letter of the new route", len(came()) == 1, fault())
testlib.done()
