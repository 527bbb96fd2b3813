# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys and certificates of both sides, made by openssl when a cell first asks for them."""
import os
import subprocess

KEYS = {
    "ed25519": ["-algorithm", "ed25519"],
    "ecdsa256": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "ecdsa384": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
    "ecdsa521": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"],
    "rsa2048": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    "rsa3072": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"],
    "rsa4096": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:4096"],
}


class Material:
    def __init__(self, folder):
        self.dir = folder
        os.makedirs(folder, exist_ok=True)

    def _path(self, name):
        return os.path.join(self.dir, name)

    def _text(self, name):
        with open(self._path(name)) as f:
            return f.read()

    def _openssl(self, *args):
        p = subprocess.run(["openssl", *args], cwd=self.dir, capture_output=True, text=True)
        if p.returncode:
            raise RuntimeError(f"openssl {' '.join(args)}: {p.stderr}")

    def key(self, kind, who):
        """(private, public) in PEM."""
        name = f"{kind}-{who}"
        if not os.path.exists(self._path(name + ".pub")):
            self._openssl("genpkey", *KEYS[kind], "-out", name + ".key")
            self._openssl("pkey", "-in", name + ".key", "-pubout", "-out", name + ".pub")
        return self._text(name + ".key"), self._text(name + ".pub")

    def _sign(self, name, kind, who, issuer, extensions):
        """NAME.pem over the key of @who; @issuer: (kind, who, name) or None, then it is a root."""
        self.key(kind, who)
        with open(self._path(name + ".ext"), "w") as f:
            f.write(extensions)
        self._openssl("req", "-new", "-key", f"{kind}-{who}.key", "-subj", f"/CN={name}", "-out", name + ".csr")
        by = ["-CA", issuer[2] + ".pem", "-CAkey", f"{issuer[0]}-{issuer[1]}.key", "-CAcreateserial"] if issuer else \
            ["-signkey", f"{kind}-{who}.key"]
        self._openssl("x509", "-req", "-in", name + ".csr", *by, "-days", "20", "-extfile", name + ".ext", "-out", name + ".pem")
        return (kind, who, name)

    def certificate(self, kind, who, chain=False):
        """(private, end entity, [intermediate], authority) in PEM, all keys of one kind; @who is the name in it."""
        name, ca = f"{kind}-{who}" + ("-chain" if chain else ""), f"{kind}-ca"
        sub = f"{kind}-sub-{who}"
        if not os.path.exists(self._path(ca + ".pem")):
            self._sign(ca, kind, "ca", None, "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n")
        if chain and not os.path.exists(self._path(sub + ".pem")):
            self._sign(sub, kind, f"sub-{who}", (kind, "ca", ca), "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign\n")
        if not os.path.exists(self._path(name + ".pem")):
            self._sign(name, kind, who, (kind, f"sub-{who}", sub) if chain else (kind, "ca", ca), f"subjectAltName=DNS:{who}\n")
        return (self._text(f"{kind}-{who}.key"), self._text(name + ".pem"), [self._text(sub + ".pem")] if chain else [],
                self._text(ca + ".pem"))
