# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates of RSA-4096 with an intermediate make IKE_AUTH larger than any packet, while the path drops every IP
fragment, both ways: the tunnel comes up all the same, since IKE cuts its messages itself (RFC 7383).
"""
import testlib
from testlib import Failed, answered, case, check, require, wait_for

lab, net = testlib.start(wire=True)
import cast  # noqa: E402

VPS_CONF = """[posternd]
identity = vps.example.net
certificate = keys/vps.pem
private-key = keys/vps.key
tunnel-address = 10.99.0.1, fd99::1

[peer home]
identity = home.example.net
ca = keys/ca.pem
assign = 10.99.0.2, fd99::2
"""

HOME_CONF = """[posternd]
identity = home.example.net
certificate = keys/home.pem
private-key = keys/home.key

[peer vps]
address = vps.example.net
identity = vps.example.net
ca = keys/ca.pem
networks = 10.99.0.1, fd99::1
start = always
"""

# A root, an intermediate, and a leaf for each: all RSA with 4096 bits.
PKI = r"""set -e
mkdir -p /tmp/pki; cd /tmp/pki
make() { openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:4096 -pkeyopt "rsa_keygen_primes:$2" -out "$1.key" 2>/dev/null; }
ask() { openssl req -new -key "$1.key" -subj "/C=DE/O=Example Networks, Department of Long Names/CN=$2" -out "$1.csr"; }
make root 4; make mid 4; make vps 2; make home 2 # those of four primes are found sooner, and nobody but openssl signs with them
openssl req -x509 -key root.key -days 30 -subj "/C=DE/O=Example Networks, Department of Long Names/CN=Root" \
	-addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" -out root.pem
ask mid Intermediate
printf 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n' >mid.ext
openssl x509 -req -in mid.csr -CA root.pem -CAkey root.key -days 20 -extfile mid.ext -out mid.pem 2>/dev/null
for n in vps home; do
	ask $n $n.example.net
	printf 'subjectAltName=DNS:%s.example.net\nkeyUsage=critical,digitalSignature\n' $n >$n.ext
	openssl x509 -req -in $n.csr -CA mid.pem -CAkey mid.key -days 10 -extfile $n.ext -out $n-leaf.pem 2>/dev/null
	cat $n-leaf.pem mid.pem >$n.pem
done
"""

vps, home = cast.Side(net.vps, "vps"), cast.Side(net.home, "home")
net.vps.run(["sh", "-c", PKI], timeout=300)
for side, conf in ((vps, VPS_CONF), (home, HOME_CONF)):
    side.m.write("/etc/postern/postern.conf", conf)
    side.m.write("/etc/postern/keys/ca.pem", net.vps.read("/tmp/pki/root.pem"))
    side.m.write(f"/etc/postern/keys/{side.tag}.pem", net.vps.read(f"/tmp/pki/{side.tag}.pem"))
    side.m.write(f"/etc/postern/keys/{side.tag}.key", net.vps.read(f"/tmp/pki/{side.tag}.key"), mode=0o600)
net.home.write("/etc/hosts", f"127.0.0.1 localhost home\n{net.VPS4} vps.example.net\n")
der = net.vps.run(["sh", "-c", "for f in home-leaf mid; do openssl x509 -in /tmp/pki/$f.pem -outform DER; done | wc -c"])
require("the chain alone is larger than two packets", int(der.stdout) > 2600, der.stdout)

# Before conntrack puts fragments together: whatever has an offset or More Fragments goes, in both directions.
net.cgnat.nft("""
table ip fragments {
	counter dropped { }
	chain early {
		type filter hook prerouting priority -450
		ip frag-off & 0x3fff != 0 counter name dropped drop
	}
}
""")


def dropped():
    text = net.cgnat.run(["nft", "list", "counter", "ip", "fragments", "dropped"]).stdout
    return int(text.split("packets")[1].split()[0])


def pings(m, to, size, *args):
    return m.run(["ping", "-c1", "-W2", "-s", str(size), *args, to], check=False).returncode == 0


check("a packet that fits passes the carrier", answered(net.home, net.VPS4, "-s", "1000"))
check("one in two fragments does not", not pings(net.home, net.VPS4, 3000, "-M", "dont"))
before = dropped()
require("since the fragments are dropped", before >= 2, before)

vps.start_posternd()
wait_for("the VPS answers", lambda: vps.status())
home.start_posternd()
try:
    up = wait_for("the tunnel comes up",
                  lambda: home.up("vps") and vps.up("home") and pings(net.home, "10.99.0.1", 56), 60)
except Failed:
    up = False
case("ike_case_063_certificates_complete_where_ip_fragments_are_dropped", up, home.peer("vps").get("failure"))
check("no IP fragment was sent for it", dropped() == before, dropped() - before)

# And again from both sides: a restarted home, then a restarted VPS, each with the whole handshake.
for side, other, name in ((home, vps, "home"), (vps, home, "VPS")):
    side.d.terminate()
    side.d.wait(60)
    wait_for("the other side notices", lambda: not pings(net.home, "10.99.0.1", 56), 20)
    side.start_posternd()
    check(f"after a restart of the {name} too", bool(wait_for("up again", lambda: pings(net.home, "10.99.0.1", 56), 60)))
check("still no IP fragment", dropped() == before, dropped() - before)

# A path that takes 620 bytes and says nothing: messages begin at 1280 and are cut smaller when nobody answers.
net.wire.set("both", mtu=620, icmp=0)
for side, name in ((home, "home"), (vps, "VPS")):
    side.d.terminate()
    side.d.wait(60)
    side.start_posternd()
    check(f"on a silent path of 620 bytes it comes up too, after a restart of the {name}",
          bool(wait_for("up again", lambda: home.up("vps") and pings(net.home, "10.99.0.1", 56), 90)))
check("and data fits", bool(wait_for("the path is known", lambda: (home.peer("vps").get("mtu") or {}).get("path") in range(612, 621), 30))
      and answered(net.home, "10.99.0.1", "-s", "1000", "-M", "dont"), home.peer("vps").get("mtu"))
testlib.done()
