# SPDX-License-Identifier: GPL-3.0-or-later
"""Small senders and sinks for the machines of the laboratory: plain SMTP in Python, no foreign server."""
import json
import os
import signal
import subprocess
import sys

from lab import wait_for

# Takes every letter on each of its addresses; DIR/N is the Nth, DIR/N.env its MAIL and RCPT, DIR/connects counts who came.
SINK = r"""
import os, socket, sys, threading
folder, addresses = sys.argv[1], sys.argv[2:]
os.makedirs(folder, exist_ok=True)
lock, count = threading.Lock(), [0, 0]
offers = os.environ.get("SINK_OFFERS", "PIPELINING 8BITMIME").encode().split()
def note():
    with lock:
        count[1] += 1
        with open(folder + "/connects", "w") as f: f.write(str(count[1]))
def session(c):
    f = c.makefile("rb")
    say = lambda t: c.sendall(t + b"\r\n")
    say(b"220 sink")
    env = b""
    for line in f:
        word = line[:4].upper()
        env = line if word == b"MAIL" else env + line if word == b"RCPT" else env
        if word == b"EHLO": say(b"\r\n250-".join([b"250-sink"] + offers[:-1]) + b"\r\n250 " + offers[-1])
        elif word == b"DATA":
            say(b"354 go on")
            body = b""
            for l in f:
                if l == b".\r\n": break
                body += l[1:] if l.startswith(b".") else l
            else: return
            with lock:
                count[0] += 1
                with open("%s/%d.env" % (folder, count[0]), "wb") as out: out.write(env)
                with open("%s/.%d" % (folder, count[0]), "wb") as out: out.write(body)
                os.rename("%s/.%d" % (folder, count[0]), "%s/%d" % (folder, count[0]))
            say(b"250 2.0.0 taken")
        elif word == b"QUIT": return say(b"221 bye")
        else: say(b"250 2.0.0 ok")
def run(c):
    try: session(c)
    except OSError: pass
    c.close()
def serve(s):
    while True:
        c, _ = s.accept()
        note()
        threading.Thread(target=run, args=(c,), daemon=True).start()
servers = [socket.create_server((a, 25), family=socket.AF_INET6 if ":" in a else socket.AF_INET, backlog=100) for a in addresses]
open(folder + "/ready", "w").close()
for s in servers[1:]: threading.Thread(target=serve, args=(s,), daemon=True).start()
serve(servers[0])
"""

# One letter; prints the code and the words of the first refusal, or of the end.
SEND = r"""
import json, smtplib, sys
m = json.loads(sys.argv[1])
try:
    with smtplib.SMTP(m["host"], m["port"], timeout=60, source_address=(m["source"], 0) if m["source"] else None) as s:
        s.ehlo()
        a = s.mail(m["from"])
        for to in m["to"]:
            if a[0] == 250: a = s.rcpt(to)
        if a[0] == 250:
            header = "From: <%s>\r\n" % m["header_from"] if m["header_from"] else ""
            a = s.data((header + "Subject: %s\r\n\r\n%s\r\n" % (m["subject"], m["body"])).encode())
        print(a[0], a[1].decode(errors="replace"))
except smtplib.SMTPResponseException as e:
    print(e.smtp_code, e.smtp_error)
except (OSError, smtplib.SMTPException) as e:
    print(0, repr(e))
"""


def sink(m, *addresses, offers=None):
    """Starts one on @m, that offers what its EHLO says; gives its folder as this process sees it."""
    folder = "/tmp/sink"
    m.start([sys.executable, "-c", SINK, folder, *addresses], log="sink", env={"SINK_OFFERS": offers} if offers else None)
    seen = os.path.join(m.dir, "tmp", "sink")
    wait_for(f"the sink on {m.name}", lambda: os.path.exists(seen + "/ready"))
    return seen


def letters(folder):
    out = []
    for name in os.listdir(folder):
        if name.isdigit():
            with open(os.path.join(folder, name), "rb") as f:
                out.append(f.read())
    return out


def envelopes(folder):
    """Subject -> (sender, recipients) of each letter."""
    out = {}
    for name in os.listdir(folder):
        if name.isdigit():
            with open(os.path.join(folder, name), "rb") as f, open(os.path.join(folder, name + ".env"), encoding="utf-8") as e:
                path = [line.split("<", 1)[1].split(">")[0] for line in e]
                out[subjects([f.read()])[0]] = (path[0], path[1:])
    return out


def subjects(texts):
    """Of each letter the Subject, sorted."""
    return sorted(line[9:].strip().decode() for t in texts for line in t.splitlines() if line.startswith(b"Subject: "))


def connects(folder):
    try:
        with open(folder + "/connects") as f:
            return int(f.read() or 0)
    except FileNotFoundError:
        return 0


def send(m, host, sender, to, subject, body="x", port=25, header_from=None, source=None):
    """(code, words); code 0: no connection, or it was lost."""
    q = {"host": host, "port": port, "from": sender, "to": [to] if isinstance(to, str) else to, "subject": subject,
         "body": body, "header_from": sender if header_from is None else header_from, "source": source}
    p = subprocess.run(m._cmd([sys.executable, "-c", SEND, json.dumps(q)]), stdout=subprocess.PIPE, text=True, timeout=180)
    code, _, words = p.stdout.strip().partition(" ")
    return int(code or 0), words


# Many, one connection each; whatever has no 250 is sent again.
FLOW = r"""
import json, os, smtplib, sys, time
m = json.loads(sys.argv[1])
for n in range(m["count"]):
    while n == m["rest_at"] and not os.path.exists("/tmp/go-on"): time.sleep(0.05)
    while True:
        try:
            with smtplib.SMTP(m["host"], m["port"], timeout=60) as s:
                s.sendmail(m["from"], [m["to"]], "From: <%s>\r\nSubject: %s-%d\r\n\r\n%s\r\n" % (m["from"], m["tag"], n, "x" * (n * 37 % 4000)))
            break
        except (OSError, smtplib.SMTPException) as e:
            print("again", n, repr(e)[:200], flush=True); time.sleep(0.2)
    time.sleep(m["pause"])
"""


def flow(m, host, sender, to, tag, count, port=25, pause=0.01, rest_at=None):
    """Starts to send letters TAG-0, TAG-1 ... of which each is tried until it is taken; gives Popen.
    @rest_at: before the letter of that number it waits until go_on() is called."""
    q = {"host": host, "port": port, "from": sender, "to": to, "tag": tag, "count": count, "pause": pause, "rest_at": rest_at}
    return m.start([sys.executable, "-c", FLOW, json.dumps(q)], log="flow-" + tag)


def go_on(m):
    m.write("/tmp/go-on", "")


def processes(side, name):
    """Process ids of one of postern-mta's children."""
    out = []
    for pid in side.m.child_pids(side.mta):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                cmd = f.read().split(b"\0")
        except OSError:
            continue
        if b"--proc" in cmd and cmd[cmd.index(b"--proc") + 1] == name.encode():
            out.append(pid)
    return out


def kill(side, name):
    """kill -9 of one child; false when it is not there just now."""
    for pid in processes(side, name):
        try:
            os.kill(pid, signal.SIGKILL)
            return True
        except ProcessLookupError:
            pass
    return False


def routes(side):
    """postern mail routes, by name."""
    p = side.cli("--json", "mail", "routes", check=False)
    try:
        return {r["route"]: r for r in json.loads(p.stdout)["routes"]}
    except (ValueError, KeyError):
        return {}


def queued(side):
    p = side.cli("--json", "mail", "queue", check=False)
    try:
        return json.loads(p.stdout)["letters"]
    except (ValueError, KeyError):
        return None
