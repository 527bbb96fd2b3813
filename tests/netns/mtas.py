# SPDX-License-Identifier: GPL-3.0-or-later
"""Foreign MTAs for the interop tests, each made from its Debian package: a configuration, a start, and the moment
when it listens. Letters for bob@ and carl@ANY.peer.example lie in /home/mail/bob/Maildir of their machine."""
from lab import wait_for
from peers import LOGIN, MX, PASSWORD, inside

import re
import socket

BOX = "/home/mail/bob/Maildir"


def listens(m, *ports, unix=()):
    def probe():
        for port in ports:
            with inside(m), socket.socket() as s:
                s.settimeout(1)
                if s.connect_ex(("127.0.0.1", port)):
                    return False
        return all(m.run(["test", "-S", path], check=False).returncode == 0 for path in unix)
    wait_for(f"{m.name} to listen on {ports}", probe)


def mailboxes(m):
    m.run(["sh", "-c", "mkdir -p /home/mail/bob && chown -R 2101:2101 /home/mail"])


def hosts(m):
    m.write("/etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 peer.example peer\n{MX} mx.example\n")
    m.run(["hostname", "peer.example"])


def postfix(m, main, master, ports=(25,)):
    """@main and @master are added to what delivers to bob. No DNS: names are those of /etc/hosts."""
    hosts(m)
    mailboxes(m)
    m.write("/etc/postfix/boxes", "/^(bob|carl)@/ bob/Maildir/\n")
    m.write("/etc/postfix/domains", "/^([a-z0-9]+[.])?peer[.]example$/ ok\n")
    m.write("/etc/postfix/main.cf", f"""compatibility_level = 3.6
myhostname = peer.example
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = all
inet_protocols = ipv4
smtp_host_lookup = native
smtp_dns_support_level = disabled
smtpd_peername_lookup = no
smtp_line_length_limit = 0
virtual_mailbox_domains = regexp:/etc/postfix/domains
virtual_mailbox_base = /home/mail
virtual_mailbox_maps = regexp:/etc/postfix/boxes
virtual_uid_maps = static:2101
virtual_gid_maps = static:2101
virtual_mailbox_limit = 0
minimal_backoff_time = 1s
queue_run_delay = 1s
maillog_file = /dev/stdout
{main}
""")
    # As the package has it; the service table is the one thing that Debian makes at install time.
    m.write("/etc/postfix/more.cf", master)
    m.run(["sh", "-c", """
set -e
[ -f /etc/postfix/master.cf ] || cp /usr/share/postfix/master.cf.dist /etc/postfix/master.cf
sed -i -E 's/^([a-z].*[[:space:]])y([[:space:]]+[0-9-]+[[:space:]]+[0-9-]+[[:space:]])/\\1n\\2/' /etc/postfix/master.cf
cat /etc/postfix/more.cf >>/etc/postfix/master.cf
for f in dynamicmaps.cf postfix-files; do [ -e /etc/postfix/$f ] || : >/etc/postfix/$f; done
mkdir -p /var/lib/postfix /var/spool/postfix
cd /var/spool/postfix
mkdir -p active bounce corrupt defer deferred flush hold incoming private saved trace pid public maildrop
chown postfix active bounce corrupt defer deferred flush hold incoming private saved trace
chown root pid; chmod 700 active bounce corrupt defer deferred flush hold incoming private saved trace
chown postfix:postdrop public maildrop; chmod 710 public; chmod 730 maildrop
chown postfix /var/lib/postfix
"""])
    p = m.start(["/usr/lib/postfix/sbin/master", "-d", "-c", "/etc/postfix"], log="postfix")
    listens(m, *ports)
    return p


# What Dovecot 2.4 says in other words than 2.3: how letters lie, who is known, and how much a mailbox holds.
DOVECOT = {"2.3": ("""mail_location = maildir:~/Maildir
auth_username_format = %n
passdb {
  driver = passwd-file
  args = /etc/dovecot.users
}
userdb {
  driver = passwd-file
  args = /etc/dovecot.users
  default_fields = uid=2101 gid=2101 home=/home/mail/%n
}
""", """protocol lmtp {
  mail_plugins = quota
}
plugin {
  quota = maildir:mailbox
  quota_rule = *:storage=100M
}
""", "userdb_quota_rule=*:bytes="), "2.4": ("""mail_driver = maildir
mail_path = ~/Maildir
auth_username_format = %{user | username}
passdb passwd-file {
  passwd_file_path = /etc/dovecot.users
}
userdb passwd-file {
  passwd_file_path = /etc/dovecot.users
  fields {
    uid:default = 2101
    gid:default = 2101
    home:default = /home/mail/%{user | username}
  }
}
""", """protocol lmtp {
  mail_plugins {
    quota = yes
  }
}
quota mailbox {
  driver = maildir
}
quota_storage_size = 100M
quota_storage_grace = 0
""", "userdb_quota_storage_size=")}


def dovecot(m, more, unix=(), ports=(), users=(), quota=()):
    """Dovecot for @more, which both versions understand: its auth knows alice, bob, @users (name -> extra fields) and
    those of @quota (name -> bytes that the mailbox holds); LMTP delivers to /home/mail/USER/Maildir."""
    mailboxes(m)
    version = re.match(r"\d+[.]\d+", m.run(["dovecot", "--version"]).stdout)[0]
    known, limits, limit = DOVECOT["2.3" if version == "2.3" else "2.4"]
    everybody = {LOGIN: "", "bob": "", **dict(users), **{who: f"{limit}{size}" for who, size in dict(quota).items()}}
    m.write("/etc/dovecot.users", "".join(f"{who}:{{PLAIN}}{PASSWORD}::::::{extra}\n" for who, extra in everybody.items()))
    m.write("/etc/dovecot.lab.conf", ("" if version == "2.3" else f"dovecot_config_version = {version}.0\ndovecot_storage_version = {version}.0\n") +
            f"""base_dir = /run/dovecot
state_dir = /var/lib/dovecot
log_path = /dev/stderr
info_log_path = /dev/stderr
ssl = no
hostname = peer.example
first_valid_uid = 500
auth_mechanisms = plain login
{known}{limits if quota else ""}{more}
""")
    m.run(["mkdir", "-p", "/run/dovecot", "/var/lib/dovecot"])
    p = m.start(["dovecot", "-F", "-c", "/etc/dovecot.lab.conf"], log="dovecot")
    listens(m, *ports, unix=unix)
    return p


def exim(m, options, routers, transports, authenticators, ports=(25,)):
    """Exim with its two lists of ways; what its parts need is Exim's own language. Its log is in /var/spool/exim4."""
    hosts(m)
    mailboxes(m)
    m.write("/etc/exim4/exim4.conf", f"""primary_hostname = peer.example
domainlist local_domains = peer.example : *.peer.example
log_file_path = /var/spool/exim4/%slog
log_selector = +tls_peerdn +tls_certificate_verified +smtp_protocol_error
spool_directory = /var/spool/exim4
host_lookup =
rfc1413_hosts =
dns_again_means_nonexist = *
disable_ipv6
keep_environment =
daemon_smtp_ports = {" : ".join(map(str, ports))}
received_header_text = Received: from $sender_helo_name by peer.example (Exim) with $received_protocol\\n\\t\\
	${{if def:tls_in_cipher {{($tls_in_ver) }}}}(cert=$tls_in_certificate_verified $tls_in_peerdn) id $message_exim_id
acl_smtp_mail = accept
acl_smtp_data = accept
tls_advertise_hosts = *
chunking_advertise_hosts = *
dsn_advertise_hosts = *
smtputf8_advertise_hosts = *
retry_interval_max = 1s
queue_run_max = 4
{options}
begin routers
{routers}
box:
  driver = accept
  domains = +local_domains
  local_parts = bob : carl
  transport = maildir
begin transports
{transports}
maildir:
  driver = appendfile
  directory = {BOX}
  maildir_format
  create_directory
  user = 2101
  group = 2101
  delivery_date_add = false
  envelope_to_add = false
  return_path_add
begin retry
* * F,1h,1s
begin authenticators
{authenticators}
""")
    m.run(["sh", "-c", "mkdir -p /var/spool/exim4 && chown -R Debian-exim:Debian-exim /var/spool/exim4"])
    p = m.start(["exim4", "-bdf", "-q1s"], log="exim")
    listens(m, *ports)
    return p


def names(m, *records):
    """unbound on every address of @m, which knows these records and nothing else."""
    m.write("/etc/resolv.conf", "nameserver 127.0.0.1\n")
    m.write("/etc/unbound.lab.conf", "server:\n  interface: 0.0.0.0\n  access-control: 0.0.0.0/0 allow\n  do-daemonize: no\n  use-syslog: no\n"
            "  logfile: \"\"\n  username: \"unbound\"\n  chroot: \"\"\n  directory: \"/run\"\n  pidfile: \"/run/unbound.pid\"\n"
            "  module-config: \"iterator\"\n  do-ip6: no\n  num-threads: 1\n  local-zone: \".\" static\n" +
            "".join(f"  local-data: \"{r}\"\n" for r in records) + "remote-control:\n  control-enable: no\n")
    p = m.start(["unbound", "-d", "-c", "/etc/unbound.lab.conf"], log="unbound")
    listens(m, 53)
    return p


def opensmtpd(m, ca, conf):
    """OpenSMTPD without TLS as a server, which that of Debian 12 cannot do; as a client it believes @ca alone."""
    hosts(m)
    mailboxes(m)
    m.write("/etc/ssl/certs/ca-certificates.crt", open(ca).read())
    m.write("/etc/mailname", "peer.example\n")
    m.write("/etc/smtpd.creds", f"us {LOGIN}:{PASSWORD}\n", mode=0o600)
    m.write("/etc/smtpd.conf", f"""listen on 0.0.0.0 port 25 hostname peer.example
mta limit conn-delay-route 0
mta limit reconn-delay-route 0
table creds file:/etc/smtpd.creds
table boxes {{ "bob" = bob, "carl" = bob }}
action "box" maildir "{BOX}" virtual <boxes> user bob
match from any for domain "peer.example" action "box"
match from any for domain regex "^[a-z0-9]+[.]peer[.]example$" action "box"
{conf}
""")
    m.run(["sh", "-c", "mkdir -p /home/bob /var/lib/opensmtpd/empty /var/spool/smtpd && chmod 711 /var/lib/opensmtpd/empty /var/spool/smtpd"])
    p = m.start(["/usr/sbin/smtpd", "-d", "-f", "/etc/smtpd.conf"], log="opensmtpd")
    listens(m, 25)
    return p


def chasquid(m, chain, key, domains):
    """chasquid: public port and both for submission; it finds everybody by DNS. Its own are peer.example and @domains."""
    hosts(m)
    mailboxes(m)
    m.write("/etc/chasquid/chasquid.conf", """hostname: "peer.example"
smtp_address: ":25"
submission_address: ":587"
submission_over_tls_address: ":465"
data_dir: "/var/lib/chasquid"
mail_delivery_agent_bin: "/etc/chasquid/deliver"
mail_delivery_agent_args: "%from%"
mail_log_path: "<stdout>"
""")
    # Lines come with CRLF since 1.13.
    m.write("/etc/chasquid/deliver", f"""#!/bin/sh
umask 0; mkdir -p {BOX}/new {BOX}/tmp
n=$$.$(date +%s%N); {{ echo "Return-Path: <$1>"; LC_ALL=C sed 's/\\r$//'; }} >{BOX}/tmp/$n && mv {BOX}/tmp/$n {BOX}/new/$n
""", mode=0o755)
    m.run(["sh", "-c", f"""
set -e
mkdir -p /etc/chasquid/certs/peer.example /etc/chasquid/domains/peer.example /var/lib/chasquid
cp {chain} /etc/chasquid/certs/peer.example/fullchain.pem
cp {key} /etc/chasquid/certs/peer.example/privkey.pem
for domain in {" ".join(domains)}; do ln -s peer.example /etc/chasquid/domains/$domain; done
for user in bob carl alice; do chasquid-util -C=/etc/chasquid user-add $user@peer.example --password="{PASSWORD}"; done
"""])
    p = m.start(["chasquid", "-config_dir=/etc/chasquid"], log="chasquid")
    listens(m, 25, 465, 587)
    return p
