# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line as somebody new meets it: help, mistakes, no daemon, not permitted, wrong files, and what
status and watch print. The daemons are played by this script.

usage: cli.py SOURCE BUILD
"""
import ctypes
import ctypes.util
import json
import os
import pty
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import termios
import threading
import time

source, build = sys.argv[1:3]
POSTERN = os.path.join(build, "postern")
POSTERND = os.path.join(build, "daemon", "posternd")
MTA = os.path.join(build, "mta", "postern-mta")
DELIVER = os.path.join(build, "mta", "postern-deliver")
CONF = os.path.join(source, "conf")
USAGE, NO_DAEMON, NOT_ALLOWED = 64, 69, 77
failed = 0
os.environ["PATH"] += ":" + os.path.dirname(MTA)  # postern mail check runs postern-mta, which is not installed yet
os.environ["TZ"] = "UTC"


def check(what, ok, seen=""):
    global failed
    print(("ok   " if ok else "FAIL ") + what + ("" if ok else f": {seen!r}"))
    failed += not ok


def run(*argv, **kw):
    p = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120, **kw)
    return p.returncode, p.stdout, p.stderr


def says(what, argv, status, text, where="err", **kw):
    rc, out, err = run(*argv, **kw)
    got = err if where == "err" else out
    check(what, rc == status and text in got and (where == "out" or not out), (rc, out, err))
    return got


def narrow(what, text):
    wide = [line for line in text.splitlines() if len(line) > 80]
    check(f"{what} fits into 80 columns", not wide, wide)


class Daemon(threading.Thread):
    """A control socket that gives the answers it was made with: verb -> object, or list of them for subscribe."""

    def __init__(self, path, answers):
        super().__init__(daemon=True)
        self.answers, self.asked = answers, []
        self.s = socket.socket(socket.AF_UNIX)
        self.s.bind(path)
        self.s.listen()
        self.start()

    def run(self):
        while True:
            try:
                c, _ = self.s.accept()
            except OSError:
                return
            with c, c.makefile("rw") as f:
                line = f.readline()
                if not line:
                    continue
                o = json.loads(line)
                self.asked.append(o)
                answer = self.answers.get(o["verb"])
                for a in answer if isinstance(answer, list) else [answer]:
                    if a is not None:
                        f.write(json.dumps({"v": 1, **a}) + "\n")
                f.flush()


STATUS = {
    "ok": True, "version": "9.9", "identity": "vps.example.net", "uptime_s": 3700.5,
    "tun": {"name": "postern0", "mtu": 1382, "addresses": ["10.99.0.1", "fd99::1"]}, "port": 4500,
    "dataplane": {"io": "epoll", "features": ["vnet_hdr", "tso", "uso", "udp_gso", "udp_gro", "merge_tcp", "merge_udp"],
                  "workers": 2, "crypto": "OpenSSL 3.0.17 1 Jul 2025", "why_not_io_uring": "Operation not permitted"},
    "peers": [{
        "name": "home", "identity": "home.example.net", "state": "up", "since_s": 125.0,
        "inner": ["10.99.0.2", "fd99::2", "192.168.7.0/24", "2001:db8:ffff:ffff:ffff:ffff:ffff:0/112"],
        "endpoint": "[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
        "local": "[2001:db8:eeee:eeee:eeee:eeee:eeee:eeee]:4500", "on_trial": True, "nat_local": False,
        "nat_remote": True, "reply_age_s": 3.2, "unanswered_s": None, "calling": [], "failure": None,
        "tx_bytes": 123456789, "rx_bytes": 987,
        "ike": {"spi_i": "0123456789abcdef", "spi_r": "fedcba9876543210", "suite": "aes256gcm16-prfsha256-x25519",
                "age_s": 125, "rekey_in_s": 14000, "children": [{
                    "spi_in": "11112222", "spi_out": "33334444", "suite": "aes256gcm16-esn", "age_s": 125,
                    "rekey_in_s": 3400, "local_ts": "0.0.0.0/0 ::/0",
                    "remote_ts": "10.99.0.2/32 fd99::2/128 192.168.7.0/24[tcp/25] 192.168.8.0/24[udp/1024-65535]"}]}},
        {"name": "other", "identity": "other.example.net", "state": "refused", "since_s": 7300, "inner": [],
         "endpoint": None, "calling": ["198.51.100.7:4500"], "tx_bytes": 0, "rx_bytes": 0, "retry_in_s": 12,
         "failure_age_s": 18, "claim": "AUTHENTICATION_FAILED", "claim_age_s": 5, "claims": 2, "failure": "it refuses us: AUTHENTICATION_FAILED; \u001b[31m is the public key that it has of us "
         "that of private-key = /etc/postern/keys/home.key (postern.conf:3), and its identity what it calls itself"}],
    "counters": {"out_packets": 12, "no_policy": 0},
}
EVENTS = [{"ok": True},
          {"event": "hello", "tun": "postern0", "addresses": []},
          {"event": "peer", "peer": "home", "identity": "home.example.net", "state": "up", "inner": ["10.99.0.2", "fd99::2"],
           "tun": "postern0"},
          {"event": "ready"},
          {"event": "roam", "peer": "home", "from": "192.0.2.1:1", "to": "192.0.2.1:2", "why": "authenticated data"},
          {"event": "rekey", "peer": "home", "what": "child"},
          {"event": "later", "some": "thing"}]

WAY = {"bits_s": 941e6, "seconds": 4.5, "packets": 90, "lost": 10, "loss": 0.1, "packet_bytes": 1418,
       "rtt_ms": {"sent": 250, "answered": 249, "least": 0.5, "median": 1.25, "p99": 4.0, "most": 9.0},
       "sender": {"cores": 0.5, "read": 0.1, "crypto": 0.25, "send": 0.5, "rest": 0.15},
       "receiver": {"cores": 0.75, "read": 0.3, "crypto": 0.5, "send": 0.0, "rest": 0.2}}
BENCH = [{"ok": True}, {"event": "bench", "phase": "out", "ms": 500, "bytes": 1000},
         {"event": "bench-done", "result": {"peer": "home", "idle_rtt_ms": {"sent": 50, "answered": 0}, "out": WAY, "in": WAY}}]


def help_and_mistakes():
    rc, out, err = run(POSTERN, "help")
    check("help goes to standard output and is no failure", rc == 0 and "status" in out and not err, (rc, err))
    narrow("help", out)
    check("--help is help", run(POSTERN, "--help") == (rc, out, err))
    rc, none, text = run(POSTERN)
    check("no arguments: the same on standard error, as wrong usage", rc == USAGE and text == out and not none, rc)
    says("one verb has help", [POSTERN, "help", "rekey"], 0, "usage: postern rekey [--ike] PEER", "out")
    says("so has a verb with --help behind it", [POSTERN, "status", "--help"], 0, "usage: postern status", "out")
    says("a verb with verbs below it lists them", [POSTERN, "mail"], USAGE, "mail queue [--dead]")
    says("a wrong verb gets the nearest", [POSTERN, "staus"], USAGE, 'no verb "staus"; did you mean "status"?')
    says("below mail too", [POSTERN, "mail", "queu"], USAGE, 'did you mean "mail queue"?')
    says("an unknown option is named", [POSTERN, "--jsn", "status"], USAGE, "unknown option --jsn")
    says("an option without its value too", [POSTERN, "--run-dir"], USAGE, "--run-dir needs a folder")
    says("too few arguments", [POSTERN, "up"], USAGE, 'which peer?; see "postern up --help"')
    says("too many", [POSTERN, "down", "a", "b"], USAGE, 'unexpected "b"')
    for args, text in ((["--seconds", "0", "home"], '--seconds is 1 to 60, not "0"'), (["home", "--seconds"], 'not ""'),
                       (["--seconds", "61", "home"], 'not "61"'), (["--rate", "1K", "home"], "--rate is 256K to 100G"),
                       (["--rate", "101G", "home"], 'not "101G"'), (["--rate", "5X", "home"], 'not "5X"'),
                       ([], "which peer?"), (["a", "b"], 'unexpected "b"')):
        says("bench " + " ".join(args), [POSTERN, "bench", *args], USAGE, text)
    for program in (POSTERND, MTA, DELIVER):
        name = os.path.basename(program)
        says(f"{name} refuses an unknown option", [program, "--frobnicate"], USAGE, f"usage: {name}")
        says(f"{name} refuses what is no option", [program, "frobnicate"], USAGE, f"usage: {name}")
        narrow(f"{name} --help", says(f"{name} --help", [program, "--help"], 0, f"usage: {name}", "out"))


def no_daemon(tmp):
    for verb, daemon in ((["status"], "posternd"), (["watch"], "posternd"), (["reload"], "posternd"),
                         (["mail", "queue"], "postern-mta")):
        says(f"{' '.join(verb)} without a daemon", [POSTERN, "--run-dir", tmp, *verb], NO_DAEMON,
             f"{daemon} does not run (systemctl start {daemon}), or its run-dir is another one (--run-dir)")
    if os.geteuid() == 0:
        path = os.path.join(tmp, "control.sock")
        d = Daemon(path, {})
        os.chmod(path, 0o600)
        shutil.copy(POSTERN, os.path.join(tmp, "postern"))  # where another user can reach it
        says("who is not permitted is told what to do", [os.path.join(tmp, "postern"), "--run-dir", tmp, "status"], NOT_ALLOWED,
             "not allowed; use sudo, or become a member of the group that admin-group names", user=65534, group=65534,
             extra_groups=[], cwd="/")
        d.s.close()
        os.unlink(path)
    else:
        print("note: not root, so nobody is refused here")


def answers(tmp):
    d = Daemon(os.path.join(tmp, "control.sock"),
               {"status": STATUS, "subscribe": EVENTS, "up": {"ok": False, "error": 'no peer "x" in the configuration'},
                "down": {"ok": True}, "reload": {"ok": True}, "rekey": None,
                "bench": BENCH})
    p = [POSTERN, "--run-dir", tmp]
    text = says("status", p + ["status", "--counters"], 0, "home (home.example.net): up since ", "out")
    narrow("status", text)
    for want in ("posternd 9.9, vps.example.net, up for 62 min, UDP port 4500", "postern0, MTU 1382",
                 "epoll (no io_uring: Operation not permitted), 2 workers", "NAT on its", "117.7 MiB sent, 987 B received",
                 "on trial", "(2 min)", "last failure  18 s ago: it refuses us", "tried again   in 12 s", "unproved      5 s ago somebody who claims to be it: AUTHENTICATION_FAILED;",
                 "rung          vnet_hdr tso", "out_packets"):
        check(f"status says \"{want}\"", want in text, text)
    check("status prints no control character of anybody", "\x1b" not in text)
    check("status leaves counters that are 0 out", "no_policy" not in text)
    rc, out, _ = run(*p, "status", "--json")
    check("status --json is what the daemon answered", rc == 0 and json.loads(out)["peers"] == STATUS["peers"])
    rc, out, err = run(*p, "watch")
    lines = [line[10:] for line in out.splitlines()]
    check("watch speaks sentences", lines == [
        "our addresses on postern0: none yet", "home is up  (home.example.net, 10.99.0.2 fd99::2)",
        "home moved from 192.0.2.1:1 to 192.0.2.1:2: authenticated data", "home has new keys: child", "later some=thing"], lines)
    check("and ends with a reason when the daemon does", rc == NO_DAEMON and "closed the connection" in err, (rc, err))
    rc, out, err = run(*p, "watch", "--json")
    check("watch --json gives the events raw", [json.loads(line) for line in out.splitlines()] == [
        {"v": 1, **e} for e in EVENTS[1:]], out)
    says("what the daemon refuses is told with its words", p + ["up", "x"], 1, 'postern up: no peer "x" in the configuration')
    says("what was done is told", p + ["down", "home"], 0, "home: goes down and stays down", "out")
    says("reload too", p + ["reload"], 0, "in force", "out")
    text = says("bench", p + ["bench", "--rate", "5M", "home"], 0, "to home\n", "out")
    for want in ("941 Mbit/s in packets of 1418 bytes, over 4.5 s", "10.00 % (10 of 100)", "no answer; 50 of 50 lost",
                 "median 1.25 ms, 99 % below 4.00, 0.50 to 9.00; 1 of 250 lost", "0.50 cores: read 10 %, crypto 25 %, send 50 %, the rest 15 %"):
        check(f"bench says \"{want}\"", want in text, text)
    check("and asks for what was wished", d.asked[-1]["args"] == {"peer": "home", "ms": 5000, "rate": 5000000}, d.asked[-1])
    d.answers["bench"] = BENCH[:2] + [{"event": "bench-failed", "peer": "home", "error": "it is gone"}]
    says("a measurement that fails on the way", p + ["bench", "home"], 1, 'postern bench: peer "home": it is gone')
    d.answers["bench"] = BENCH[:2]
    says("one whose daemon goes away", p + ["bench", "home"], NO_DAEMON, "closed the connection")
    says("a daemon that goes away in the middle", p + ["rekey", "home"], NO_DAEMON, "closed the connection")
    check("the daemon was asked for the peer", d.asked[-1]["args"] == {"peer": "home", "ike": False}, d.asked[-1])


def copy_conf(tmp, name):
    """A folder /etc/postern with one example as it is, and the files that it names."""
    d = os.path.join(tmp, "etc-" + name)
    os.makedirs(d + "/keys")
    os.makedirs(d + "/tls")
    path = shutil.copy(os.path.join(CONF, name), d)
    return d, path


def wrong_files(tmp):
    for name, own, other in (("home.conf", "home", "vps"), ("vps.conf", "vps", "home")):
        d, path = copy_conf(tmp, name)
        says(f"{name} without its key", [POSTERN, "check", path], 1, f"{path}:")
        for k in (own, other):
            check("keygen", run(POSTERN, "keygen", f"{d}/keys/{k}.key")[0] == 0)
        says(f"postern check takes {name}", [POSTERN, "check", path], 0, "1 peer, nothing wrong", "out")
        says(f"posternd -n takes {name}", [POSTERND, "-n", "-c", path], 0, "1 peer, nothing wrong", "out")
        with open(path, "a") as f:
            f.write("strat = always\n")
        line = len(open(path).read().splitlines())
        for tool in ([POSTERN, "check"], [POSTERND, "-n", "-c"]):
            says(f"{os.path.basename(tool[0])} names file, line and the nearest key", tool + [path], 1,
                 f'{path}:{line}: unknown key "strat" in [peer {other}]; did you mean "start"?')
    half = shutil.copy(POSTERND, tmp)
    child = half + "-child"
    for what, make, text in (("is missing", lambda: None, "No such file or directory; it is installed beside"),
                             ("may not be run", lambda: open(child, "w").close(), "Permission denied; make it executable (chmod 755)"),
                             ("is no program", lambda: os.chmod(child, 0o755), "Exec format error; it is no program for this machine")):
        make()
        says(f"posternd-child {what}", [half, "-n", "-c", path], 1, f"{child} cannot be run: {text}")
    says("a key is never overwritten", [POSTERN, "keygen", f"{d}/keys/home.key"], 1, "no key is ever overwritten")
    says("a folder that is missing", [POSTERN, "keygen", f"{tmp}/none/x.key"], 1, f"make it first: mkdir -p -m 700 {tmp}/none")
    says("a file that is not there", [POSTERN, "check", f"{tmp}/none.conf"], 1, f"{tmp}/none.conf: cannot be opened")
    os.chmod(path, 0o666)
    says("a file that others may write", [POSTERN, "check", path], 1, "writable by others")


def certificate(d, name):
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj",
        f"/CN={name}", "-keyout", f"{d}/tls/{name}.key", "-out", f"{d}/tls/{name}.pem")
    os.chmod(f"{d}/tls/{name}.key", 0o600)


def wrong_mail_files(tmp):
    example = os.path.join(CONF, "mta-rules.conf")
    rc, out, err = run(POSTERN, "--json", "mail", "rules", example)
    told = {l["listener"]: l for l in json.loads(out)["listeners"]} if rc == 0 else {}
    check("mail rules tells those of each listener in their order", rc == 0 and {n: [r["rule"] for r in l["rules"]] for n, l in told.items()} == {
        "mx": ["banned", "names", "allow_only_tls_for_mydomain", "forged"],
        "submission": ["allow_only_tls_for_mydomain", "forged"], "submissions": ["allow_only_tls_for_mydomain", "forged"]}, (out, err))
    check("with every condition and the text of the reply", told and told["mx"]["rules"][1]["when"] == [
        "helo = mail.mydomain.example", "helo-regex = (dsl|dyn|pool)[-.0-9]+[.].*"] and
        told["mx"]["rules"][2]["when"] == ["tls = no", "recipients = @mydomain.example"] and
        told["mx"]["rules"][2]["message"].startswith("5.7.10 ") and told["mx"]["rules"][0]["action"] == "reject", out)
    text = says("in words what a class accepts stands behind them", [POSTERN, "mail", "rules", os.path.join(CONF, "mta-three-router.conf")], 0,
                "accept by route workstation\n      peers = vps\n", "out")
    check("for each listener", text.count("  else accept recipients that are ours") == 3, text)
    with open(f"{tmp}/larger.conf", "w") as f:
        f.write("[mta]\nrole = edge\nhostname = mx.example.net\ntunnel = no\n[deliver]\ndomains = example.net\n"
                "[rule large]\naction = reject\nlarger-than = 2M\n")
    says("and above which size a rule is one", [POSTERN, "mail", "rules", f"{tmp}/larger.conf"], 0,
         "large (line 7): reject\n      larger-than = 2097152 bytes\n", "out")
    says("mail rules of a file that is not there", [POSTERN, "mail", "rules", f"{tmp}/none.conf"], 1, "none.conf: cannot be opened")
    tools = ([POSTERN, "mail", "check"], [MTA, "-n", "-c"])
    d, path = copy_conf(tmp, "mta-edge.conf")
    says("mta-edge.conf without what it names", tools[0] + [path], 1, "home.recipients")
    open(d + "/home.recipients", "w").write("joe@example.net\n")
    says("without its key", tools[0] + [path], 1, "private-key = ")
    certificate(d, "mx.example.net")
    for t in tools:
        says(f"{os.path.basename(t[0])} takes mta-edge.conf", t + [path], 0, "nothing wrong", "out")
    os.rename(d + "/tls/mx.example.net.pem", d + "/tls/away")
    says("without its certificate", tools[0] + [path], 1, "mx.example.net.pem: cannot be opened")
    os.rename(d + "/tls/away", d + "/tls/mx.example.net.pem")
    certificate(d, "other")
    os.rename(d + "/tls/other.key", d + "/tls/mx.example.net.key")
    says("a key of another certificate", tools[0] + [path], 1, "mx.example.net.key")
    certificate(d, "mx.example.net")
    text = open(path).read()
    open(path, "w").write(text.replace("recipients = ", "#"))
    says("a home that tells its recipients itself", tools[0] + [path], 0, "deferred until that home has told its recipients", "out")
    d, path = copy_conf(tmp, "mta-home.conf")
    certificate(d, "home.example.net")
    open(d + "/users", "w").write("joe:$6$abcdefgh$" + "x" * 86 + ":joe@example.net\n")
    says("passwords that others may read", tools[0] + [path], 1, "chmod 0600")
    os.chmod(d + "/users", 0o600)
    for t in tools:
        says(f"{os.path.basename(t[0])} takes mta-home.conf", t + [path], 0, "nothing wrong", "out")
    with open(f"{d}/typo.conf", "w") as f:
        f.write("[mta]\nrole = home\nhostname = home.example.net\nedge = vps\n[listener tunnel]\nnormalize = no\n"
                "tls-ciphers = ECDHE-TYPO\n")
    for t in tools:
        says("a cipher of a listener with the key of the hop alone", t + [f"{d}/typo.conf"], 1,
             'typo.conf:7: listener "tunnel": tls-ciphers: "ECDHE-TYPO" is none')
    with open(path, "a") as f:
        f.write("uid-mim = 500\n")
    says("a wrong key", tools[0] + [path], 1, 'did you mean "uid-min"?')


def hashes(password, text):
    """Is this a hash of it, by the crypt(3) that the server asks?"""
    lib = ctypes.CDLL(ctypes.util.find_library("crypt"))
    lib.crypt.restype = ctypes.c_char_p
    return text.startswith("$") and lib.crypt(password.encode(), text.encode()) == text.encode()


def typed(*lines):
    """The password verb on a terminal, where somebody types; its status, what it printed, what the screen shows."""
    master, slave = pty.openpty()
    p = subprocess.Popen([POSTERN, "mail", "hash-password"], stdin=slave, stderr=slave, stdout=subprocess.PIPE, text=True)
    screen = b""
    for line in lines:
        while not screen.endswith((b"Password: ", b"again: ")):
            screen += os.read(master, 1000)
        deadline = 1000
        while termios.tcgetattr(slave)[3] & termios.ECHO and deadline:
            time.sleep(0.01)
            deadline -= 1
        screen += b"|"
        os.write(master, line.encode() + b"\n")
    out = p.communicate(timeout=120)[0]
    shown = bool(termios.tcgetattr(slave)[3] & termios.ECHO)
    os.close(slave)
    os.set_blocking(master, False)
    try:
        screen += os.read(master, 1000)
    except OSError:
        pass
    os.close(master)
    return p.returncode, out, screen.decode(), shown


def passwords():
    verb = [POSTERN, "mail", "hash-password"]
    secret = "gr\u00fcner G\u00e4rtner: 17"
    one, two = (run(*verb, input=secret + end) for end in ("\n", ""))
    check("a password from standard input is hashed", one[0] == 0 and hashes(secret, one[1].strip()), one)
    check("with and without the end of the line", two[0] == 0 and hashes(secret, two[1].strip()), two)
    check("each time with another salt", one[1] != two[1])
    check("the hash fits into a line of the users file", one[1].count("\n") == 1 and ":" not in one[1], one)
    rc, out, err = run(POSTERN, "--json", "mail", "hash-password", input=secret)
    check("as JSON too", rc == 0 and hashes(secret, json.loads(out)["hash"]), (out, err))
    says("one of 511 bytes", verb, 0, "$", "out", input="x" * 511)
    for text, why in (("", "an empty password is none"), ("x" * 512, "too long; allowed: 511 bytes"),
                      ("x" * 5000, "too long"), ("a\nb\n", "one line is needed"), ("a\0b", "one line is needed"),
                      ("a\tb", "a control character")):
        says(f"not taken: {text[:4]!r}", verb, 1, why, input=text)
    says("never as an argument", verb + [secret], USAGE, "read from the terminal, or from standard input")
    rc, out, screen, shown = typed(secret, secret)
    check("on a terminal it is asked twice", rc == 0 and hashes(secret, out.strip()), (rc, out, screen))
    check("and not shown", "17" not in screen and screen.count("|") == 2, screen)
    check("and the terminal is as before", shown)
    rc, out, screen, shown = typed("one", "two")
    check("what differs is refused", rc == 1 and not out and "not the same" in screen and shown, (rc, out, screen))


def settings(text):
    """What a configuration says, without comments and spaces."""
    lines = (line.split(";")[0].strip() for line in text.splitlines() if not line.startswith("#"))
    return [" ".join(line.split()) for line in lines if line]


def readme_and_conf():
    with open(os.path.join(source, "README.md")) as f:
        blocks = re.findall(r"^```ini\n# (\w+): /etc/postern/(\w+)\.conf\n(.*?)^```", f.read(), re.M | re.S)
    names = {("home", "postern"): "home.conf", ("VPS", "postern"): "vps.conf", ("home", "mta"): "mta-home.conf",
             ("VPS", "mta"): "mta-edge.conf"}
    check("the README shows four files", {b[:2] for b in blocks} == set(names), [b[:2] for b in blocks])
    for who, what, text in blocks:
        name = names[who, what]
        with open(os.path.join(CONF, name)) as f:
            same = settings(text) == settings(f.read())
        check(f"the README and conf/{name} say the same", same)


with tempfile.TemporaryDirectory(prefix="postern-cli-") as tmp:
    os.chmod(tmp, 0o755)
    readme_and_conf()
    help_and_mistakes()
    no_daemon(tmp)
    answers(tmp)
    wrong_files(tmp)
    wrong_mail_files(tmp)
    passwords()
sys.exit(1 if failed else 0)
