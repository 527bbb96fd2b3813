# SPDX-License-Identifier: GPL-3.0-or-later
"""Inner packets, built byte by byte, and the programs that send and receive inside a machine:

    inner.py raw DEV                   packets from stdin, one a line in hex, leave by raw sockets
    inner.py watch DEV                 prints in hex what comes in on DEV
    inner.py sink|source ADDRESS PORT BYTES SEED [OPTION...]   a TCP transfer; source tells the hash, and so does sink
    inner.py echo ADDRESS PORT         sends UDP datagrams back
    inner.py ask ADDRESS PORT SIZE...  asks it with each size; prints those that did not come back
    inner.py pour ADDRESS PORT SIZE COUNT   COUNT datagrams of SIZE bytes by UDP_SEGMENT
    inner.py catch ADDRESS PORT SIZE COUNT  takes them, and says how many came and how many not as they should
"""
import hashlib
import random
import select
import socket
import struct
import sys

TCP, UDP, ICMP, ICMPV6, GRE, FRAGMENT = 6, 17, 1, 58, 47, 44
HOP_BY_HOP, ROUTING, DESTINATION = 0, 43, 60
UDP_SEGMENT, IP_MTU_DISCOVER, IPV6_MTU_DISCOVER = 103, 10, 23


def csum(data):
    data += b"\0" * (len(data) & 1)
    s = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while s >> 16:
        s = (s & 0xffff) + (s >> 16)
    return ~s & 0xffff


def packed(address):
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def pseudo(src, dst, proto, length):
    return packed(src) + packed(dst) + (struct.pack("!IHBB", length, 0, 0, proto) if ":" in src
                                        else struct.pack("!BBH", 0, proto, length))


def udp(src, dst, sport, dport, data, check=None, length=None):
    """@check: None: the right one; 0: none; "bad"."""
    head = struct.pack("!HHHH", sport, dport, length or 8 + len(data), 0)
    right = csum(pseudo(src, dst, UDP, 8 + len(data)) + head + data) or 0xffff
    value = right if check is None else 0 if check == 0 else right ^ 0x55
    return head[:6] + struct.pack("!H", value) + data


def tcp(src, dst, sport, dport, data, flags=0x10, seq=1, options=b"", check=None, reserved=0, urgent=0):
    head = struct.pack("!HHIIBBHHH", sport, dport, seq, 77, (20 + len(options)) // 4 << 4 | reserved, flags, 500, 0,
                       urgent) + options
    right = csum(pseudo(src, dst, TCP, len(head) + len(data)) + head + data)
    return head[:16] + struct.pack("!H", right ^ (0x55 if check == "bad" else 0)) + head[18:] + data


def ip4(src, dst, proto, body, tos=0, options=b"", flags=0x4000, ttl=64, ident=0x1234):
    """@flags: with the fragment offset, in units of 8."""
    head = struct.pack("!BBHHHBBH4s4s", 0x45 + len(options) // 4, tos, 20 + len(options) + len(body), ident, flags, ttl,
                       proto, 0, packed(src), packed(dst)) + options
    return head[:10] + struct.pack("!H", csum(head)) + head[12:] + body


def ext(kind, body):
    """An extension header; its first byte is filled in by ip6(). @body: all behind the second byte."""
    return kind, bytes([0, (len(body) + 2) // 8 - 1]) + body


def padded(kind, length=8):
    """Hop-by-Hop or Destination Options of @length bytes: an option that is for experiments and may be skipped (RFC 4727);
    so much PadN Linux would not take."""
    return ext(kind, bytes([0x1e, length - 4]) + bytes(length - 4))


def fragment(offset, more, ident=0xabcd):
    return FRAGMENT, struct.pack("!BBHI", 0, 0, offset | more, ident)


def ip6(src, dst, proto, body, tclass=0, exts=(), hops=64, label=0x12345):
    kinds = [k for k, _ in exts] + [proto]
    chain = b"".join(bytes([kinds[i + 1]]) + h[1:] for i, (_, h) in enumerate(exts))
    return struct.pack("!IHBB16s16s", 6 << 28 | tclass << 20 | label, len(chain) + len(body), kinds[0], hops,
                       packed(src), packed(dst)) + chain + body


# ---- programs ----

def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def raw():
    four = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    six = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
    packets = [bytes.fromhex(line) for line in sys.stdin]
    for p in packets:
        if p[0] >> 4 == 4:
            four.sendto(p, (socket.inet_ntoa(p[16:20]), 0))
        else:
            six.sendto(p, (socket.inet_ntop(socket.AF_INET6, p[24:40]), 0))


def watch(dev):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
    s.bind((dev, 3))
    print("ready", flush=True)
    while True:
        data, (_, _, kind, _, _) = s.recvfrom(65535)
        if kind != socket.PACKET_OUTGOING:
            print(data.hex(), flush=True)


def with_options(s, options):
    for o in options:
        level, name, value = o.split(":")
        s.setsockopt(int(level), int(name), int(value[1:]) if value[0] == "=" else bytes.fromhex(value))


def sink(address, port):
    with socket.create_server((address, int(port)), family=family(address)) as l:
        print("ready", flush=True)
        c, _ = l.accept()
        c.settimeout(60)
        h = hashlib.sha256()
        while part := c.recv(1 << 16):
            h.update(part)
        c.sendall(b"x")
        print(h.hexdigest(), flush=True)


def source(address, port, count, seed, *options):
    s = socket.socket(family(address), socket.SOCK_STREAM)
    with_options(s, options)
    s.settimeout(60)
    s.connect((address, int(port)))
    r, h, left = random.Random(int(seed)), hashlib.sha256(), int(count)
    block = r.randbytes(1 << 18)
    while left:
        at = r.randrange(1 << 10)
        part = block[at:at + min(left, r.choice((1 << 17, 65536, 30001, 5555, 1)))]
        s.sendall(part)
        h.update(part)
        left -= len(part)
    s.shutdown(socket.SHUT_WR)
    s.recv(1)
    print(h.hexdigest())


def echo(address, port):
    s = socket.socket(family(address), socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    s.bind((address, int(port)))
    print("ready", flush=True)
    while True:
        data, who = s.recvfrom(65535)
        s.sendto(data, who)


def answered(s, data):
    try:
        s.send(data)
        while (got := s.recv(65535)) != data:
            if len(got) == len(data):
                return False
        return True
    except OSError:
        return False


def ask(address, port, *sizes):
    s = socket.socket(family(address), socket.SOCK_DGRAM)
    # Without DF, so that what is too large is made into fragments.
    s.setsockopt(*((socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER) if ":" in address else (socket.IPPROTO_IP, IP_MTU_DISCOVER)), 0)
    s.settimeout(4)
    s.connect((address, int(port)))
    bad = []
    for size in [n for text in sizes for n in range(int(text.split("-")[0]), int(text.split("-")[-1]) + 1)]:
        if not any(answered(s, random.randbytes(size)) for _ in range(3)):  # the first may teach the path's size
            bad.append(size)
            if len(bad) > 3:
                break
    print("bad", bad)


def content(i, size):
    return struct.pack("!I", i) + bytes([i & 255]) * (size - 4)


def pour(address, port, size, count):
    """The last of each batch is shorter, as UDP_SEGMENT allows; the next waits until that one has arrived."""
    s, size, count, i = socket.socket(family(address), socket.SOCK_DGRAM), int(size), int(count), 0
    s.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, size)
    s.settimeout(5)
    s.connect((address, int(port)))
    while i < count:
        n = min(count - i, 60000 // size, 64)
        s.send(b"".join(content(i + j, size if j < n - 1 else size - 3) for j in range(n)))
        i += n
        s.recv(1)


def catch(address, port, size, count):
    s, seen, wrong = socket.socket(family(address), socket.SOCK_DGRAM), 0, 0
    s.bind((address, int(port)))
    print("ready", flush=True)
    while seen < int(count) and select.select([s], [], [], 10)[0]:
        data, who = s.recvfrom(65535)
        i = struct.unpack("!I", data[:4])[0]
        wrong += data != content(i, len(data)) or i != seen
        seen = i + 1
        if len(data) < int(size):
            s.sendto(b"x", who)
    print("seen", seen, "wrong", wrong, flush=True)


if __name__ == "__main__":
    {"raw": raw, "watch": watch, "sink": sink, "source": source, "echo": echo, "ask": ask, "pour": pour,
     "catch": catch}[sys.argv[1]](*sys.argv[2:])
