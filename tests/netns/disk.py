# SPDX-License-Identifier: GPL-3.0-or-later
"""A full disk on the edge: 452 and never 5xx, nothing that got its 250 is lost, and service resumes by itself."""
import re

import testlib
from testlib import case, check, require, wait_for

lab, net = testlib.start(hosts=[("mx-a", "198.51.100.31")])
import cast  # noqa: E402
import foreign  # noqa: E402

vps, home = cast.tunnel(net)
net.vps.write("/etc/root.hints", foreign.ROOT_HINTS)
# A disk of our own size; that it is a tmpfs is what queue-volatile allows.
net.vps.run(["sh", "-c", "mkdir -p /var/lib/small && mount -t tmpfs -o size=96m tmpfs /var/lib/small && chmod 755 /var/lib/small"])
cast.mail(vps, home, vps_extra="state-dir = /var/lib/small\nqueue-volatile = yes\nqueue-reserve = 4M")
vps.start_posternd()
vps.start_mta()
cast.wait_greets(net.mx_a, net.VPS4)

SEND = """
import smtplib, sys
name, size = sys.argv[2], int(sys.argv[3])
try:
    with smtplib.SMTP(sys.argv[1], 25, timeout=60) as s:
        s.sendmail("bob@alpha.example", ["alice@example.org"],
                   "From: bob@alpha.example\\r\\nSubject: %s\\r\\n\\r\\n%s\\r\\n" % (name, ("y" * 70 + "\\r\\n") * (size // 72)))
    print(250)
except smtplib.SMTPResponseException as e:
    print(e.smtp_code, e.smtp_error.decode(errors="replace"))
except (smtplib.SMTPRecipientsRefused) as e:
    print(list(e.recipients.values())[0][0])
except OSError as e:
    print(0, e)
"""
accepted, answers = [], []


def send(name, size=2000):
    out = net.mx_a.python(SEND, net.VPS4, name, str(size), check=False).stdout.strip()
    code = int(re.match(r"\d+", out).group()) if re.match(r"\d+", out) else 0
    answers.append((name, out))
    if code == 250:
        accepted.append(name)
    return code


require("with room a letter is taken", wait_for("250", lambda: send(f"first{len(answers)}") == 250, 60, 0.3))
# The next segment of the journal is made ahead of need: 16 MB, for which there is no room again below.
wait_for("the journal's next segment", lambda: net.vps.run(["test", "-e", "/var/lib/small/queue/spare"], check=False).returncode == 0)
net.vps.run(["sh", "-c", "head -c 200M /dev/zero >/var/lib/small/filler"], check=False)
wait_for("no room is answered with 452", lambda: send(f"full{len(answers)}") == 452, 60, 0.2)
check("a big letter too", send("full-big", 3 << 20) in (452, 451))
codes = [send(f"more{n}") for n in range(5)]
case("mail_case_057_a_disk_below_its_reserve_is_452_at_mail", all(c == 452 for c in codes), codes)
check("nothing was refused for good", not [a for a in answers if a[1].startswith("5")], answers)
# Room runs out in the middle of a letter, not before it.
net.vps.run(["sh", "-c", "rm /var/lib/small/filler; free=$(df --output=avail -k /var/lib/small | tail -n 1); "
             "head -c $((free - 6144))K /dev/zero >/var/lib/small/filler"], check=False)
wait_for("a small letter is taken again, by itself", lambda: send(f"again{len(answers)}") == 250, 60, 0.3)
code = send("big-in-the-middle", 20 << 20)
case("mail_case_057_a_letter_that_outgrows_the_disk_is_452_and_leaves_nothing",
     code == 452 and not [n for n in net.vps.run(["ls", "/var/lib/small/queue/body"]).stdout.split() if n.startswith("in-")],
     (answers[-1], net.vps.run(["ls", "/var/lib/small/queue/body"]).stdout))
net.vps.run(["rm", "-f", "/var/lib/small/filler"])
case("mail_case_057_with_room_service_resumes_by_itself", wait_for("250", lambda: send(f"last{len(answers)}") == 250, 60, 0.3))
check("the daemon lived through it", vps.mta.poll() is None)

home.start_posternd()
home.start_mta()


def arrived():
    out = []
    for t in foreign.maildir_letters(net.home, "/home/alice/Maildir"):
        m = re.search(rb"^Subject: (\S+)", t, re.M)
        out.append(m.group(1).decode() if m else "?")
    return out


wait_for("all accepted letters are home", lambda: set(arrived()) >= set(accepted), 60, 0.3)
check("every letter that got its 250, once, and no other", sorted(arrived()) == sorted(accepted), (arrived(), accepted))
testlib.done()
