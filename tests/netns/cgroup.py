# SPDX-License-Identifier: GPL-3.0-or-later
"""A memory limit for all processes of a machine's daemon: a cgroup (v2, or v1's memory controller) made from outside.

Make it before testlib.start(): inside the namespaces nobody may make one, but its files stay open there.
"""
import atexit
import os

FDS = "POSTERN_LAB_CGROUP"  # descriptors of cgroup.procs, the peak, the kills
V1, V2 = "/sys/fs/cgroup/memory", "/sys/fs/cgroup"


def _write(path, text):
    with open(path, "w") as f:
        f.write(text)


def _make(limit, name):
    """Its files, or None: this system has no controller of memory that is ours to use."""
    try:
        if os.path.exists(os.path.join(V1, "memory.limit_in_bytes")):
            path, files = os.path.join(V1, name), ("cgroup.procs", "memory.max_usage_in_bytes", "memory.oom_control")
            os.mkdir(path)
            _write(os.path.join(path, "memory.limit_in_bytes"), str(limit))
        else:
            path, files = os.path.join(V2, name), ("cgroup.procs", "memory.peak", "memory.events")
            _write(os.path.join(V2, "cgroup.subtree_control"), "+memory")
            os.mkdir(path)
            _write(os.path.join(path, "memory.max"), str(limit))
            _write(os.path.join(path, "memory.swap.max"), "0")
    except OSError:
        return None
    atexit.register(os.rmdir, path)
    return [os.open(os.path.join(path, f), os.O_WRONLY if f == "cgroup.procs" else os.O_RDONLY) for f in files]


class Limit:
    def __init__(self, fds):
        self.procs, self.most, self.kills = fds

    def _text(self, fd):
        return os.pread(fd, 4096, 0).decode()

    def enter(self):
        """For preexec_fn: the process that is started, and all of its children."""
        os.write(self.procs, b"0")

    def peak(self):
        """Bytes at most so far, the kernel's for them included."""
        return int(self._text(self.most))

    def killed(self):
        """Processes that the kernel ended for want of memory."""
        return sum(int(line.split()[1]) for line in self._text(self.kills).splitlines() if line.startswith("oom_kill "))


def limit(bytes_):
    """A Limit, also after the script was started again inside its namespaces; None where there is no cgroup to make."""
    fds = [int(x) for x in os.environ.get(FDS, "").split()]
    if not fds:
        fds = _make(bytes_, f"postern-lab-{os.getpid()}")
        if not fds:
            return None
        for fd in fds:
            os.set_inheritable(fd, True)
        os.environ[FDS] = " ".join(map(str, fds))
    return Limit(fds)
