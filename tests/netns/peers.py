# SPDX-License-Identifier: GPL-3.0-or-later
"""What the interop tests of mail share: a postern-mta by itself on machine "mx", a foreign MTA beside it, letters
that hurt, a client and a sink that see every byte, certificates of an authority of our own.

	mx 192.0.2.1 (postern-mta, postern-deliver) ---- peer 192.0.2.2 (the foreign one)

Sockets of this process are made inside of a machine's network (inside()), so that talking needs no program there.
"""
import collections
import contextlib
import os
import re
import socket
import ssl
import subprocess
import threading

import lab as lablib
import testlib
from lab import wait_for

MX, PEER = "192.0.2.1", "192.0.2.2"
LOGIN, PASSWORD = "alice", "garden of forking paths"


@contextlib.contextmanager
def inside(m):
    """Sockets that this thread makes meanwhile live in the network of machine @m."""
    with open("/proc/thread-self/ns/net") as ours, open(f"/proc/{m.pid}/ns/net") as theirs:
        lablib._check(lablib.libc.setns(theirs.fileno(), lablib.CLONE_NEWNET), "setns")
        try:
            yield
        finally:
            lablib._check(lablib.libc.setns(ours.fileno(), lablib.CLONE_NEWNET), "setns")


# ---- letters ----

def head(subject, more=b""):
    return (b"From: Ann <ann@sink.example>\r\nTo: Bob <bob@peer.example>\r\nSubject: " + subject.encode() +
            b"\r\nDate: Sun, 22 Nov 2026 12:00:00 +0000\r\nMessage-ID: <" + subject.encode() + b"@sink.example>\r\n" + more + b"\r\n")


def letters():
    """name -> bytes as they go over the wire, before dots are doubled."""
    crossing = b"".join(b"." * (n % 5) + b"x" * (n % 71) + b"\r\n" for n in range(9000))
    return {
        "plain": head("plain") + b"hello\r\n",
        "dots": head("dots") + b".\r\n..\r\n.x\r\n\r\n. \r\nx.\r\n.\r\n",
        "eightbit": head("eightbit", b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=iso-8859-1\r\n"
                         b"Content-Transfer-Encoding: 8bit\r\n") + bytes(range(0x80, 0x100)) + b"\r\nGr\xfc\xdfe\r\n",
        "edges": head("edges", b"X-Folded: a\r\n\tb\r\n  c \r\nX-Empty:\r\n") + b"\r\n\r\n trailing  \t\r\n\t\r\n" + b"y" * 998 + b"\r\n\r\n\r\n",
        "crossing": head("crossing") + crossing,
    }


LONG = head("long") + b"z" * 1990 + b"\r\n"       # more than RFC 5322 allows, passed on all the same (case 13)
NO_END = head("no-end") + b"the last line has no end"


def stuffed(letter):
    return re.sub(rb"(?m)^\.", b"..", letter)


def same(stored, letter, crlf=True):
    """Is @stored the letter, byte for byte, behind nothing but trace fields?"""
    want = letter if crlf else letter.replace(b"\r\n", b"\n")
    if not stored.endswith(want):
        return False
    trace = stored[:len(stored) - len(want)]
    return all(re.match(rb"[A-Za-z0-9-]+:|[ \t]", line) for line in trace.splitlines())


# ---- a client that shows everything ----

class Talk:
    """A session from machine @m; tls: a context for TLS from the first byte."""

    def __init__(self, m, address, port=25, tls=None, name="client.example", hello=True, server="mx.example"):
        with inside(m):
            self.s = socket.create_connection((address, port), timeout=60)
        self.buf, self.name, self.server = b"", name, server
        if tls:
            self.s = tls.wrap_socket(self.s, server_hostname=self.server)
        self.banner = self.reply()
        self.offers = self.ehlo() if hello else []

    def reply(self):
        lines = []
        while True:
            while b"\n" not in self.buf:
                got = self.s.recv(65536)
                if not got:
                    raise ConnectionError("closed after " + repr(lines))
                self.buf += got
            line, self.buf = self.buf.split(b"\n", 1)
            lines.append(line.decode("utf-8", "replace").rstrip("\r"))
            if lines[-1][3:4] != "-":
                return "\n".join(lines)

    def say(self, line):
        self.s.sendall(line.encode() + b"\r\n" if isinstance(line, str) else line)
        return self.reply()

    def ehlo(self):
        return [line[4:] for line in self.say("EHLO " + self.name).split("\n")[1:]]

    def starttls(self, ctx):
        assert self.say("STARTTLS").startswith("220")
        self.s = ctx.wrap_socket(self.s, server_hostname=self.server)
        self.offers = self.ehlo()
        return self

    def envelope(self, sender, rcpts, mail="", rcpt=""):
        answers = [self.say(f"MAIL FROM:<{sender}>{mail}")]
        return answers + [self.say(f"RCPT TO:<{r}>{rcpt}") for r in rcpts]

    def data(self, letter):
        answer = self.say("DATA")
        return self.say(stuffed(letter) + b".\r\n") if answer.startswith("354") else answer

    def send(self, letter, rcpts, sender="ann@sink.example", mail="", rcpt="", bdat=False):
        """Gives the last reply; an envelope that is refused raises."""
        rcpts = [rcpts] if isinstance(rcpts, str) else rcpts
        if max(letter) > 127 and "BODY" not in mail and any(o.startswith("8BITMIME") for o in self.offers):
            mail += " BODY=8BITMIME"
        for a in self.envelope(sender, rcpts, mail, rcpt):
            if not a.startswith("250"):
                raise testlib.Failed(a)
        if bdat:
            return self.say(b"BDAT %d LAST\r\n" % len(letter) + letter)
        return self.data(letter)

    def close(self):
        with contextlib.suppress(OSError, ConnectionError):
            self.say("QUIT")
        self.s.close()


# ---- a sink that keeps everything ----

Kept = collections.namedtuple("Kept", "mail rcpts text commands how")


class Sink:
    """An SMTP (or LMTP) server of ours: letters as they came over the wire, with their commands.

    @rcpt(address), @end(address or None) -> reply; the latter after the dot, in LMTP for each recipient."""

    def __init__(self, m, port=25, offers=("PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "SIZE 0"), lmtp=False,
                 path=None, rcpt=None, end=None, address="0.0.0.0"):
        self.offers, self.lmtp = offers, lmtp
        self.rcpt = rcpt or (lambda a: "250 2.1.5 ok")
        self.end = end or (lambda a: "250 2.0.0 kept")
        self.kept, self.lock = [], threading.Lock()
        if path:
            server = socket.socket(socket.AF_UNIX)
            server.bind(path)
            os.chmod(path, 0o666)
            server.listen(20)
        else:
            with inside(m):
                server = socket.create_server((address, port), backlog=50)
        threading.Thread(target=self.serve, args=(server,), daemon=True).start()

    def serve(self, server):
        while True:
            threading.Thread(target=self.session, args=(server.accept()[0],), daemon=True).start()

    def session(self, c):
        with contextlib.suppress(OSError), c, c.makefile("rb") as f:
            if c.family != socket.AF_UNIX:
                c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.talk(c, f)

    def talk(self, c, f):
        commands, taken = [], []

        def say(text):
            c.sendall(text.encode() + b"\r\n")
        say("220 sink.example")
        for raw in f:
            line = raw.rstrip(b"\r\n").decode("utf-8", "surrogateescape")
            verb = line[:4].upper()
            commands.append(line)
            if verb in ("EHLO", "LHLO", "HELO"):
                lines = ["sink.example", *self.offers]
                say("\r\n".join(f"250{'-' if n + 1 < len(lines) else ' '}{x}" for n, x in enumerate(lines)))
            elif verb in ("MAIL", "RSET"):
                taken, commands = [], [line]
                say("250 2.1.0 ok")
            elif verb == "RCPT":
                address = re.search(r"<(.*?)>", line).group(1)
                answer = self.rcpt(address)
                taken += [address] if answer.startswith("2") else []
                say(answer)
            elif verb == "DATA" and taken:
                say("354 go on")
                text = b""
                for part in f:
                    if part == b".\r\n":
                        break
                    text += part[1:] if part.startswith(b".") else part
                else:
                    return
                answers = [self.end(a) for a in (taken if self.lmtp else [None])]
                with self.lock:
                    self.kept.append(Kept(commands[0], taken, text, commands, verb))
                for a in answers:
                    say(a)
                taken, commands = [], []
            elif verb == "QUIT":
                say("221 2.0.0 bye")
                return
            else:
                say("503 5.5.1 no")

    def find(self, subject):
        with self.lock:
            return [k for k in self.kept if b"\r\nSubject: " + subject.encode() + b"\r\n" in k.text]

    def wait(self, subject, seconds=60):
        return wait_for(f"letter {subject} in the sink", lambda: self.find(subject), seconds)[0]


def maildir_find(m, path, subject):
    """Letters below /home/... of a machine with that subject, without trace of how lines ended."""
    import foreign
    return [t for t in foreign.maildir_letters(m, path) if b"\nSubject: " + subject.encode() + b"\n" in t]


def maildir_wait(m, path, subject, seconds=60):
    return wait_for(f"letter {subject} in {path}", lambda: maildir_find(m, path, subject), seconds)[0]


# ---- certificates ----

def openssl(*args, input=None):
    p = subprocess.run(["openssl", *args], capture_output=True, input=input, check=False)
    if p.returncode:
        raise testlib.Failed(f"openssl {' '.join(args)}: {p.stderr.decode()}")
    return p.stdout


class Authority:
    """An authority of our own in @folder, which every machine sees; NAME.pem and NAME.key lie there too."""

    def __init__(self, folder, name="ca"):
        self.dir, self.name = folder, name
        os.makedirs(folder, exist_ok=True)
        self.pem = f"{folder}/{name}.pem"
        self.ec("-x509", "-days", "30", "-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
                "-keyout", f"{folder}/{name}.key", "-out", self.pem)

    @staticmethod
    def ec(*args):
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", *args)

    def issue(self, file, cn, days="20"):
        """A certificate for @cn; gives (chain, key). Read by its owner alone, as we want it."""
        base = f"{self.dir}/{file}"
        self.ec("-subj", f"/CN={cn}", "-keyout", base + ".key", "-out", base + ".csr")
        with open(base + ".ext", "w") as f:
            # Python 3.13 wants what RFC 5280 s4.2.1 says a certificate must have.
            f.write(f"subjectAltName=DNS:{cn}\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n")
        openssl("x509", "-req", "-in", base + ".csr", "-CA", self.pem, "-CAkey", f"{self.dir}/{self.name}.key", "-CAcreateserial",
                "-days", days, "-extfile", base + ".ext", "-out", base + ".pem")
        os.chmod(base + ".key", 0o600)
        return base + ".pem", base + ".key"

    @staticmethod
    def pin(chain):
        """SHA-256 of the public key, as tls-pins has it."""
        der = openssl("pkey", "-pubin", "-outform", "DER", input=openssl("x509", "-in", chain, "-noout", "-pubkey"))
        return openssl("dgst", "-sha256", "-r", input=der).split()[0].decode()


# ---- Postern ----

class Postern:
    """postern-mta on its own: public MX for local.example, submission on 587 and 465, @more at the end of mta.conf,
    @users at that of users."""

    def __init__(self, m, authority, more="", mta="", submission="", domains="local.example", name="mx", users=""):
        self.m, self.ca = m, authority
        chain, key = authority.issue(name, name + ".example")
        crypt = openssl("passwd", "-5", "-salt", "abcdefgh", PASSWORD).decode().strip()
        m.write("/etc/postern/users", f"{LOGIN}:{crypt}:*\n{users}", mode=0o600)
        m.write("/etc/postern/password", PASSWORD + "\n", mode=0o600)
        m.write("/etc/postern/mta.conf", f"""[mta]
role = edge
hostname = {name}.example
tunnel = no
dns = forward
dns-servers = {PEER}
certificate = {chain}
private-key = {key}
ca-file = {authority.pem}
users = users
{mta}
[listener mx]
[listener submission]
{submission}
[listener submissions]
{submission}
[deliver]
domains = {domains}
{more}
""")
        m.run(["sh", "-c", "mkdir -p /run/postern /var/lib/postern /home/alice && chown alice:alice /home/alice && chmod 700 /home/alice"])
        m.start([testlib.POSTERN_DELIVER, "-c", "/etc/postern/mta.conf", "--listen", "/run/postern/deliver.sock"], log="postern-deliver")
        self.mta = m.start([testlib.POSTERN_MTA, "-c", "/etc/postern/mta.conf"], log="postern-mta")

    def ready(self):
        wait_for("postern-mta is ready", lambda: all(f"ready proc={p}" in self.log() for p in ("smtpd", "queue", "relay", "lookup")))
        return self

    def log(self):
        with open(self.mta.log, errors="replace") as f:
            return f.read()

    def logged(self, text, seconds=60):
        return wait_for(f"the log to say {text}", lambda: re.search(text, self.log()), seconds)

    def cli(self, *args, check=True):
        return self.m.run([testlib.POSTERN, *args], check=check)

    def arrived(self, subject, seconds=60):
        """The letter as postern-deliver has laid it down (lines end in LF there)."""
        return maildir_wait(self.m, "/home/alice/Maildir", subject, seconds)

    def submit(self, m=None, mail="", tls=True):
        """A session of our own on 587, logged in."""
        import base64
        t = Talk(m or self.m, MX, 587).starttls(trust(self.ca))
        said = t.say("AUTH PLAIN " + base64.b64encode(b"\0" + LOGIN.encode() + b"\0" + PASSWORD.encode()).decode())
        assert said.startswith("235"), said
        return t


def route(name, domains, kind="smarthost", **keys):
    """A [route]: short waits, and underscores of @keys are hyphens."""
    keys = {"retry_first": "1s", "retry_max": "1s", "bounce": "all", **keys}
    return f"[route {name}]\nkind = {kind}\ndomains = {domains}\n" + "".join(f"{k.replace('_', '-')} = {v}\n" for k, v in keys.items())


def trust(authority, chain=None, key=None):
    """A client's TLS context; with @chain it shows that certificate."""
    ctx = ssl.create_default_context(cafile=authority.pem)
    if chain:
        ctx.load_cert_chain(chain, key)
    return ctx


def begin(*programs):
    """(lab, mx, peer, authority); skipped when the foreign programs are not there."""
    testlib.need_scratch()
    missing = [p for p in programs if not os.path.exists(testlib.SCRATCH + p)]
    if missing:
        testlib.skip(f"no {', '.join(missing)} in {testlib.SCRATCH}: tests/netns/fetch unpacks them")
    lab, _ = testlib.start(topology=False)
    mx, peer = lab.machine("mx"), lab.machine("peer")
    lab.link(mx, "eth0", peer, "eth0")
    mx.addr("eth0", MX + "/24")
    peer.addr("eth0", PEER + "/24")
    return lab, mx, peer, Authority(os.path.join(os.environ[lablib.DISKDIR], "tls"))
