# SPDX-License-Identifier: GPL-3.0-or-later
"""The mail servers that bench/mail.py compares. Each takes letters on 127.0.0.1 and relays all of them to one host,
with what its user gets who asks for that and for nothing else; queues lie on the same disk.
"""
import os
import re
import signal
import subprocess
import time

import testlib
from lab import wait_for

SINK = ("127.0.0.2", 2626)
STRACE = ["strace", "-f", "--seccomp-bpf", "-qq", "-c", "-e", "trace=fsync,fdatasync,sync_file_range,syncfs"]


class Mailer:
    """One server on machine @m. @tls: STARTTLS is offered, with a P-256 certificate."""
    port = 0
    can_tls = True

    def __init__(self, m):
        self.m, self.p = m, None
        m.run(["sh", "-c", "[ -e /etc/bench.pem ] || { openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 "
               "-subj /CN=mail.example.net -keyout /etc/bench.key -out /etc/bench.pem && chmod 600 /etc/bench.key; }"])
        self.prepare()

    def prepare(self):
        """Its files."""

    def argv(self):
        raise NotImplementedError

    def greets(self):
        code = f"import socket; s = socket.create_connection(('127.0.0.1', {self.port}), 1); assert s.recv(100)[:3] == b'220'"
        return self.m.python(code, check=False).returncode == 0

    def start(self, trace=None):
        """Seconds until it greeted; @trace: a file that strace counts syncs in."""
        began = time.monotonic()
        self.p = self.m.start((STRACE + ["-o", trace] if trace else []) + self.argv(), log=self.name)
        wait_for(f"{self.name} greets", self.greets, 60, 0.01)
        return time.monotonic() - began

    def pids(self):
        """All its processes: strace and nsenter are none of them."""
        out = []
        for pid in [self.p.pid] + self.m.child_pids(self.p):
            try:
                with open(f"/proc/{pid}/comm") as f:
                    if f.read().strip() not in ("strace", "nsenter", "sh", "chroot"):
                        out.append(pid)
            except OSError:
                pass
        return out

    def stop(self):
        """In order; what does not end is ended."""
        if not self.p:
            return
        pids = self.pids()
        for pid in pids[:1]:
            os.kill(pid, signal.SIGTERM)
        try:
            self.p.wait(30)
        except subprocess.TimeoutExpired:
            self.p.kill()
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        self.p = None

    def flush(self):
        """What waits is tried now."""

    def empty(self):
        """No letter is left; it does not run."""
        self.m.run(["sh", "-c", self.EMPTY])


class Postern(Mailer):
    name, port = "Postern", 2501
    EMPTY = "rm -rf /var/lib/postern; mkdir -p /var/lib/postern"
    CONF = """[mta]
role = edge
hostname = mail.example.net
state-dir = /var/lib/postern
tunnel = no
dns = system
certificate = /etc/bench.pem
private-key = /etc/bench.key
[listener lan]
address = 127.0.0.1:2501
sessions-per-prefix = 1000
[route internet]
kind = smarthost
address = {0}
port = {1}
tls = none
"""

    def prepare(self):
        self.m.write("/etc/postern/mta.conf", self.CONF.format(*SINK))
        self.m.run(["mkdir", "-p", "/run/postern", "/var/lib/postern"])
        self.what = f"{self.m.run([testlib.POSTERN_MTA, '--version'], check=False).stdout.strip()}, class lan, a smarthost, else defaults"

    def argv(self):
        return [testlib.POSTERN_MTA, "-c", "/etc/postern/mta.conf"]

    def flush(self):
        self.m.run([testlib.POSTERN, "mail", "flush"])


class Postfix(Mailer):
    name, port = "Postfix", 2502
    EMPTY = "cd /var/lib/postfix-queue && find incoming active deferred defer bounce hold -type f -delete"

    def prepare(self):
        self.m.write("/etc/postfix/main.cf", f"""compatibility_level = 3.6
myhostname = mail.example.net
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
relayhost = [{SINK[0]}]:{SINK[1]}
disable_dns_lookups = yes
queue_directory = /var/lib/postfix-queue
data_directory = /var/lib/postfix
message_size_limit = 60000000
mailbox_size_limit = 0
smtpd_tls_cert_file = /etc/bench.pem
smtpd_tls_key_file = /etc/bench.key
smtpd_tls_security_level = may
smtp_tls_security_level = may
maillog_file = /var/lib/postfix/mail.log
""")
        # Debian makes the service table at install time; here it has no chroot and our port.
        self.m.run(["sh", "-c", f"""
set -e
cp /usr/share/postfix/master.cf.dist /etc/postfix/master.cf
sed -i -E 's/^([a-z].*[[:space:]])y([[:space:]]+[0-9-]+[[:space:]]+[0-9-]+[[:space:]])/\\1n\\2/; s/^smtp +inet/{self.port} inet/' \\
	/etc/postfix/master.cf
for f in dynamicmaps.cf postfix-files; do [ -e /etc/postfix/$f ] || : >/etc/postfix/$f; done
mkdir -p /var/lib/postfix /var/lib/postfix-queue
cd /var/lib/postfix-queue
mkdir -p active bounce corrupt defer deferred flush hold incoming private saved trace pid public maildrop
chown postfix active bounce corrupt defer deferred flush hold incoming private saved trace /var/lib/postfix
chmod 700 active bounce corrupt defer deferred flush hold incoming private saved trace
chown postfix:postdrop public maildrop; chmod 710 public; chmod 730 maildrop
"""])
        version = self.m.run(["postconf", "-h", "mail_version"], check=False).stdout.split()
        self.what = f"Postfix {version[-1] if version else '?'}, Debian's defaults, relayhost, no DNS"

    def argv(self):
        return ["/usr/lib/postfix/sbin/master", "-d", "-c", "/etc/postfix"]

    def flush(self):
        self.m.run(["postqueue", "-f"])


class OpenSmtpd(Mailer):
    """Debian 13's: the one of Debian 12 fails at STARTTLS."""
    name, port = "OpenSMTPD", 2503
    EMPTY = "rm -rf /var/lib/smtpd-spool/smtpd"
    ROOT = os.path.join(os.path.dirname(testlib.SCRATCH), "trixie")

    def prepare(self):
        self.m.write("/run/smtpd/etc/smtpd.conf", f"""pki bench cert "/etc/bench.pem"
pki bench key "/etc/bench.key"
smtp max-message-size 60M
listen on 127.0.0.1 port {self.port} tls pki bench hostname mail.example.net
action "out" relay host "smtp://{SINK[0]}:{SINK[1]}"
match from any for any action "out"
""")
        # Its root is shared and stays as it is; what it writes lies on our disk.
        self.m.run(["sh", "-c", f"""
set -e
etc=/run/smtpd/etc
cp -a {self.ROOT}/etc/. $etc.new 2>/dev/null || cp -a {self.ROOT}/etc $etc.new
cp $etc/smtpd.conf /etc/bench.pem /etc/bench.key $etc.new/
mkdir -p $etc.new/ssl/certs; cp /etc/bench.pem $etc.new/ssl/certs/ca-certificates.crt
rm -rf $etc; mv $etc.new $etc
printf 'root:x:0:0::/root:/bin/sh\\nopensmtpd:x:2020:2020::/run/empty:/bin/false\\nopensmtpq:x:2021:2021::/run/empty:/bin/false\\nnobody:x:65534:65534::/:/bin/false\\n' >$etc/passwd
printf 'root:x:0:\\nopensmtpd:x:2020:\\nopensmtpq:x:2021:\\nnogroup:x:65534:\\n' >$etc/group
echo '127.0.0.1 localhost' >$etc/hosts; echo mail.example.net >$etc/mailname; : >$etc/aliases
mkdir -p /var/lib/smtpd-spool /run/smtpd/run/opensmtpd /run/smtpd/run/empty
chmod 711 /var/lib/smtpd-spool
mount --bind $etc {self.ROOT}/etc
mount --bind /var/lib/smtpd-spool {self.ROOT}/var/spool
mount --bind /run/smtpd/run {self.ROOT}/run
mount --rbind /dev {self.ROOT}/dev
mount -t proc proc {self.ROOT}/proc
"""])
        version = self.m.run(["chroot", self.ROOT, "/usr/sbin/smtpd", "-h"], check=False).stdout
        found = re.search(r"version: OpenSMTPD (\S+)", version)
        self.what = f"OpenSMTPD {found[1] if found else '?'} of Debian 13, one listener, one relay host, else defaults"

    def argv(self):
        return ["chroot", self.ROOT, "/usr/sbin/smtpd", "-d", "-f", "/etc/smtpd.conf"]

    def flush(self):
        self.m.run(["chroot", self.ROOT, "/usr/sbin/smtpctl", "schedule", "all"], check=False)


ALL = {"postern": Postern, "postfix": Postfix, "opensmtpd": OpenSmtpd}
