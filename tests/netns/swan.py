# SPDX-License-Identifier: GPL-3.0-or-later
"""strongSwan as a foreign IKE peer: charon with the kernel-libipsec plugin, from the host's release (laid over the
machine's /usr by lab.py) or from another release's whole root, in which it is run by chroot."""
import os
import re

import testlib
from lab import wait_for

CONF = """charon {{
  load = random nonce openssl pem pkcs1 pkcs8 pubkey x509 constraints revocation hmac kdf curve25519 gcm aes sha2 sha1 md5 chapoly vici kernel-libipsec kernel-netlink socket-default updown resolve
  plugins {{
    kernel-libipsec {{
      load = yes
      allow_peer_ts = yes
    }}
    vici {{
      socket = unix:///run/charon.vici
    }}
    openssl {{
      load = 10
    }}
    resolve {{
      file = /run/charon.resolv.conf
      resolvconf {{
        path = /run/none
      }}
    }}
  }}
  install_routes = yes
  port = 500
  port_nat_t = 4500
  filelog {{
    stderr {{
      default = 1
      ike = 2
      cfg = 2
      knl = 1
      esp = 1
    }}
  }}
{extra}
}}
swanctl {{
  load = pem pkcs1 pkcs8 pubkey x509 openssl random
  plugins {{
    vici {{
      socket = unix:///run/charon.vici
    }}
  }}
}}
"""

# What /etc/swanctl holds beside swanctl.conf; the private keys lie in private/.
FOLDERS = ("private", "pubkey", "x509", "x509ca", "conf.d")
ENV = {"STRONGSWAN_CONF": "/run/strongswan.conf"}


# A pair that any test can have: VPS and HOME with one secret; HOME has 10.99.0.2 from VPS, which is 10.99.0.1.
PSK = "Vq0rS8hVn1hTgkXk2m5bM1sQm6q2j7d8kqYp3z4w5x6y"
VPS, HOME = "vps.example.net", "home.example.net"


def _swanctl(own, other, conn, child, pools=""):
    return f"""connections {{
  net {{
    version = 2
    mobike = yes
    {conn}
    proposals = aes256gcm16-prfsha256-x25519
    dpd_delay = 3s
    local {{
      auth = psk
      id = {own}
    }}
    remote {{
      auth = psk
      id = {other}
    }}
    children {{
      net {{
        {child}
        esp_proposals = aes128gcm16, aes256gcm16
      }}
    }}
  }}
}}
{pools}
secrets {{
  ike-1 {{
    id-1 = {VPS}
    id-2 = {HOME}
    secret = "{PSK}"
  }}
}}
"""


def client(address, conn="", child=""):
    """swanctl.conf of a strongSwan that is HOME and calls VPS at @address."""
    return _swanctl(HOME, VPS, f"remote_addrs = {address}\n    vips = 0.0.0.0\n    {conn}",
                    f"remote_ts = 10.99.0.1/32\n        {child}")


def server(address, conn=""):
    """swanctl.conf of a strongSwan that is VPS at @address."""
    return _swanctl(VPS, HOME, f"local_addrs = {address}\n    pools = v4\n    {conn}", "local_ts = 10.99.0.1/32",
                    "pools {\n  v4 {\n    addrs = 10.99.0.2\n  }\n}")


def postern_server(side, extra="", peer=""):
    """The same as a Postern."""
    side.m.write("/etc/postern/keys/psk", PSK + "\n", mode=0o600)
    side.m.write("/etc/postern/postern.conf", f"""[posternd]
identity = {VPS}
tunnel-address = 10.99.0.1, fd99::1
{extra}

[peer home]
identity = {HOME}
psk = keys/psk
assign = 10.99.0.2, fd99::2
{peer}
""")


def postern_client(side, address):
    """And HOME as one."""
    side.m.write("/etc/postern/keys/psk", PSK + "\n", mode=0o600)
    side.m.write("/etc/postern/postern.conf", f"""[posternd]
identity = {HOME}

[peer vps]
address = {address}
identity = {VPS}
psk = keys/psk
networks = 10.99.0.1
start = always
""")


def host_release():
    with open("/etc/os-release") as f:
        return re.search(r"VERSION_CODENAME=(\w+)", f.read()).group(1)


class Swan:
    """charon on one machine. @release: a Debian release whose root `tests/netns/fetch FOLDER RELEASE` made."""

    def __init__(self, m, release=None):
        self.m, self.p, self.root, self.extra = m, None, None, None
        if release and release != host_release():
            self.root = os.path.join(os.path.dirname(testlib.SCRATCH), release)
            if not os.path.exists(os.path.join(self.root, ".complete")):
                testlib.skip(f"no {self.root}: tests/netns/fetch makes it")
        m.run(["mkdir", "-p"] + [f"/etc/swanctl/{d}" for d in FOLDERS])
        if self.root:
            for d in ("/dev", "/proc", "/run", "/sys", "/etc/swanctl"):
                m.run(["mount", "--rbind", d, self.root + d])

    def _cmd(self, argv):
        return (["chroot", self.root] if self.root else []) + argv

    def start(self, extra=""):
        """Start charon with lines for the charon section of strongswan.conf, or start it anew if they changed."""
        if self.p and self.p.poll() is None:
            if extra == self.extra:
                return
            self.stop()
        self.extra = extra
        self.m.write("/run/strongswan.conf", CONF.format(extra=extra))
        self.p = self.m.start(self._cmd(["/usr/lib/ipsec/charon"]), log="charon", env=ENV)
        wait_for("charon answers", lambda: self.ctl("--stats", check=False).returncode == 0)

    def kill(self):
        """The process is gone, and nothing of it was tidied up."""
        self.p.kill()
        self.p.wait(60)
        self.m.run(["rm", "-f", "/run/charon.vici", "/run/charon.pid"])

    def stop(self):
        self.p.terminate()
        self.p.wait(60)

    def write(self, path, text):
        """A file below /etc/swanctl."""
        self.m.write(f"/etc/swanctl/{path}", text, mode=0o600)

    def load(self, connections):
        """Replace all connections, pools and secrets by the text of a swanctl.conf."""
        self.write("swanctl.conf", connections)
        self.ctl("--load-all", "--clear")

    def ctl(self, *args, check=True, timeout=120):
        return self.m.run(self._cmd(["/usr/sbin/swanctl", *args]), check=check, timeout=timeout, env=ENV)

    def sas(self):
        return self.ctl("--list-sas").stdout

    def spis(self):
        """SPIs of the CHILD SAs in use, both directions; not of one that was rekeyed and waits for stray packets."""
        return {s for child in re.split(r"\n  (?=\S)", self.sas()) if ", INSTALLED" in child
                for s in re.findall(r"(?:in|out)\s+([0-9a-f]{8})", child)}

    def version(self):
        return re.search(r"strongSwan (\S+)", self.m.run(self._cmd(["/usr/lib/ipsec/charon", "--version"])).stdout).group(1)

    def log_size(self):
        return os.path.getsize(self.p.log)

    def log(self, since=0):
        with open(self.p.log, errors="replace") as f:
            f.seek(since)
            return f.read()
