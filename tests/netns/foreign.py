# SPDX-License-Identifier: GPL-3.0-or-later
"""The foreign cast, all real servers: nsd with the zones (the root's included), unbound as resolver, Postfix
and aiosmtpd as mail hosts. Each starts on a machine of lab.py from the unpacked scratch folder."""
import os
import sys

from lab import Internet as I
from lab import wait_for

ZONES = {
    ".": """
.		IN SOA dns.example. admin.example. 1 3600 600 86400 60
.		IN NS dns.example.
dns.example.	IN A {dns}
example.	IN NS dns.example.
net.		IN NS dns.example.
org.		IN NS dns.example.
arpa.		IN NS dns.example.
""",
    "example": """
example.	IN SOA dns.example. admin.example. 1 3600 600 86400 60
example.	IN NS dns.example.
dns.example.	IN A {dns}
alpha.example.	IN MX 10 mx-a.alpha.example.
mx-a.alpha.example. IN A {mxa}
beta.example.	IN MX 10 mx-b.beta.example.
mx-b.beta.example. IN A {mxb}
null.example.	IN MX 0 .
""",
    "net": """
net.		IN SOA dns.example. admin.example. 1 3600 600 86400 60
net.		IN NS dns.example.
vps.example.net. IN A {vps4}
vps.example.net. IN AAAA {vps6}
""",
    "org": """
org.		IN SOA dns.example. admin.example. 1 3600 600 86400 60
org.		IN NS dns.example.
example.org.	IN MX 10 vps.example.net.
""",
    "arpa": """
arpa.		IN SOA dns.example. admin.example. 1 3600 600 86400 60
arpa.		IN NS dns.example.
10.100.51.198.in-addr.arpa. IN PTR vps.example.net.
31.100.51.198.in-addr.arpa. IN PTR mx-a.alpha.example.
32.100.51.198.in-addr.arpa. IN PTR mx-b.beta.example.
""",
}

ROOT_HINTS = f". 3600000 IN NS dns.example.\ndns.example. 3600000 IN A {I.DNS4}\n"


def dns(m):
    """nsd, authoritative for the root and all below, on machine @m; gives its Popen."""
    conf = ["server:", "  ip-address: 0.0.0.0", "  username: nsd", "  zonesdir: /etc/zones", "  database: \"\"",
            "  pidfile: /run/nsd.pid", "  xfrdfile: /run/xfrd.state", "  zonelistfile: /run/zone.list",
            "  server-count: 1", "  verbosity: 1", "remote-control:", "  control-enable: no"]
    names = dict(dns=I.DNS4, vps4=I.VPS4, vps6=I.VPS6, mxa=I.MXA4, mxb=I.MXB4)
    for zone, text in ZONES.items():
        file = ("root" if zone == "." else zone) + ".zone"
        m.write(f"/etc/zones/{file}", "$TTL 60\n" + text.format(**names))
        conf += ["zone:", f"  name: \"{zone}\"", f"  zonefile: {file}"]
    m.write("/etc/nsd.lab.conf", "\n".join(conf) + "\n")
    p = m.start(["nsd", "-d", "-c", "/etc/nsd.lab.conf"], log="nsd")
    wait_for("nsd answers", lambda: m.python(DIG, "127.0.0.1", "vps.example.net", check=False).returncode == 0)
    return p


# A query by hand, so that the tests need no dig: exit 0 when an answer section came.
DIG = """
import socket, sys
q = b"\\x12\\x34\\x01\\x00\\0\\1\\0\\0\\0\\0\\0\\0" + b"".join(bytes([len(l)]) + l.encode() for l in sys.argv[2].split(".")) + b"\\0\\0\\1\\0\\1"
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(0.5); s.sendto(q, (sys.argv[1], 53))
r = s.recv(4096); sys.exit(0 if r[3] & 15 == 0 and r[7] else 1)
"""


def resolver(m):
    """unbound on 127.0.0.1 of @m, recursing from our own root."""
    m.write("/etc/root.hints", ROOT_HINTS)
    m.write("/etc/resolv.conf", "nameserver 127.0.0.1\n")
    m.write("/etc/unbound.lab.conf", """server:
  interface: 127.0.0.1
  do-daemonize: no
  use-syslog: no
  logfile: ""
  username: "unbound"
  chroot: ""
  directory: "/run"
  pidfile: "/run/unbound.pid"
  root-hints: "/etc/root.hints"
  module-config: "iterator"
  do-ip6: no
  local-zone: "example." nodefault
  local-zone: "51.198.in-addr.arpa." nodefault
  local-zone: "100.51.198.in-addr.arpa." nodefault
  num-threads: 1
remote-control:
  control-enable: no
""")
    p = m.start(["unbound", "-d", "-c", "/etc/unbound.lab.conf"], log="unbound")
    wait_for("unbound answers", lambda: m.python(DIG, "127.0.0.1", "vps.example.net", check=False).returncode == 0)
    return p


def postfix(m, domain="alpha.example", hostname="mx-a.alpha.example", user="bob"):
    """Postfix as the mail host of @domain; letters for @user lie in /home/mail/USER/Maildir/new."""
    resolver(m)
    m.run(["hostname", hostname])
    m.write("/etc/postfix/main.cf", f"""compatibility_level = 3.6
myhostname = {hostname}
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = all
inet_protocols = ipv4
smtp_tls_security_level = may
virtual_mailbox_domains = {domain}
virtual_mailbox_base = /home/mail
virtual_mailbox_maps = inline:{{ {{ {user}@{domain} = {user}/Maildir/ }} }}
virtual_uid_maps = static:2101
virtual_gid_maps = static:2101
virtual_mailbox_limit = 0
mailbox_size_limit = 0
message_size_limit = 60000000
maillog_file = /dev/stdout
""")
    # As the package has it; the service table is the one thing that Debian makes at install time.
    m.run(["sh", "-c", """
set -e
[ -f /etc/postfix/master.cf ] || cp /usr/share/postfix/master.cf.dist /etc/postfix/master.cf
sed -i -E 's/^([a-z].*[[:space:]])y([[:space:]]+[0-9-]+[[:space:]]+[0-9-]+[[:space:]])/\\1n\\2/' /etc/postfix/master.cf
for f in dynamicmaps.cf postfix-files; do [ -e /etc/postfix/$f ] || : >/etc/postfix/$f; done
mkdir -p /home/mail /var/lib/postfix /var/spool/postfix; chown 2101:2101 /home/mail
cd /var/spool/postfix
mkdir -p active bounce corrupt defer deferred flush hold incoming private saved trace pid public maildrop
chown postfix active bounce corrupt defer deferred flush hold incoming private saved trace
chown root pid; chmod 700 active bounce corrupt defer deferred flush hold incoming private saved trace
chown postfix:postdrop public maildrop; chmod 710 public; chmod 730 maildrop
chown postfix /var/lib/postfix
chgrp postdrop /usr/sbin/postqueue /usr/sbin/postdrop; chmod g+s /usr/sbin/postqueue /usr/sbin/postdrop
"""])
    p = m.start(["/usr/lib/postfix/sbin/master", "-d", "-c", "/etc/postfix"], log="postfix")
    wait_for("postfix greets", lambda: m.run(
             [sys.executable, "-c", GREET], check=False).returncode == 0)
    return p


GREET = """
import socket, sys
s = socket.create_connection(("127.0.0.1", 25), 1); sys.exit(0 if s.recv(100).startswith(b"220") else 1)
"""

SINK = """
# aiosmtpd as a mail host: each letter becomes a file DIR/N.eml with its envelope in a first line.
import asyncio, json, os, sys, time
from aiosmtpd.controller import Controller
class Handler:
    n = 0
    async def handle_DATA(self, server, session, envelope):
        Handler.n += 1
        head = json.dumps(dict(peer=session.peer[0], helo=session.host_name, sender=envelope.mail_from,
                               rcpts=envelope.rcpt_tos, at=time.time()))
        tmp = os.path.join(sys.argv[1], "tmp")
        with open(tmp, "wb") as f:
            f.write(head.encode() + b"\\n" + envelope.original_content)
        os.rename(tmp, os.path.join(sys.argv[1], "%d.eml" % Handler.n))
        return "250 2.0.0 kept"
c = Controller(Handler(), hostname="0.0.0.0", port=25, data_size_limit=60000000, server_hostname=sys.argv[2],
               decode_data=False, enable_SMTPUTF8=True)
c.start()
while True:
    time.sleep(3600)
"""


def aiosmtpd(m, hostname="mx-b.beta.example"):
    """aiosmtpd as a mail host; letters lie in /home/sink/N.eml, see SINK."""
    m.run(["mkdir", "-p", "/home/sink"])
    # Debian's package is for the system's python, whichever runs this script.
    p = m.start(["/usr/bin/python3", "-c", SINK, "/home/sink", hostname], log="aiosmtpd")
    wait_for("aiosmtpd greets", lambda: m.python(GREET, check=False).returncode == 0)
    return p


def sink_letters(m):
    """What the sink got: [(envelope, text)], oldest first."""
    import json
    out = []
    d = os.path.join(m.dir, "home", "sink")
    names = [n for n in os.listdir(d) if n.endswith(".eml")] if os.path.isdir(d) else []
    for n in sorted(names, key=lambda n: int(n.split(".")[0])):
        with open(os.path.join(d, n), "rb") as f:
            head, text = f.read().split(b"\n", 1)
        out.append((json.loads(head), text))
    return out


def maildir_letters(m, path):
    """Texts of the letters in PATH/new of a machine (PATH below /home)."""
    d = os.path.join(m.dir, "home", os.path.relpath(path, "/home"), "new")
    out = []
    for n in sorted(os.listdir(d)) if os.path.isdir(d) else []:
        try:
            with open(os.path.join(d, n), "rb") as f:
                out.append(f.read())
        except FileNotFoundError:
            pass
    return out
