"""What an agent tries from inside a container. Prints, as one line of JSON, which of it worked.

Run by the isolation suite, in the container, with the standard library alone; it harms nothing where it gets through.
"""

# ruff: noqa
# mypy: ignore-errors
import ctypes, errno, glob, json, os, socket, struct, sys, signal

libc = ctypes.CDLL(None, use_errno=True)
worked = {}


def attempt(name):
    def run(function):
        try:
            worked[name] = bool(function())
        except (OSError, ValueError):
            worked[name] = False

    return run


def call(number, *arguments):
    return libc.syscall(number, *arguments) >= 0


SECRET, HOST_PID, ABSTRACT, PORT, OTHER = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), sys.argv[5]

LIMIT_PIDS, LIMIT_MEMORY, LIMIT_TMP = map(int, sys.argv[6:9])


def there(*parts):
    """Whether a path of the host is there for us, or through any process that we see."""
    path = os.path.join(*parts)
    return any(os.path.exists(root + path) for root in ("", *glob.glob("/proc/*/root"), *glob.glob("/proc/*/cwd")))


@attempt("find a descriptor that is not its own")
def _():
    return [fd for fd in os.listdir("/proc/self/fd") if int(fd) > 3]


@attempt("read a file of the host")
def _():
    return open(SECRET).read()


@attempt("read it through a process's root")
def _():
    return any(os.path.exists(root + SECRET) for root in glob.glob("/proc/*/root"))


@attempt("read the host's passwords")
def _():
    return open("/etc/shadow").read()


@attempt("see a process of the host")
def _():
    return os.path.exists(f"/proc/{HOST_PID}") and "pytest" in open(f"/proc/{HOST_PID}/cmdline").read()


@attempt("see more than a few processes")
def _():
    return len([name for name in os.listdir("/proc") if name.isdigit()]) > 3


@attempt("signal a process of the host")
def _():
    return os.kill(HOST_PID, 0) is None


@attempt("read a process's memory")
def _():
    return open(f"/proc/{HOST_PID}/mem", "rb")


@attempt("trace another process")
def _():
    return libc.ptrace(16, HOST_PID, 0, 0) == 0


@attempt("reach a service on the host's loopback")
def _():
    return socket.create_connection(("127.0.0.1", PORT), 2)


@attempt("reach a machine on the network")
def _():
    return socket.create_connection(("192.0.2.1", 80), 2)


@attempt("ask a name server")
def _():
    return socket.getaddrinfo("example.org", 443)


@attempt("reach an abstract socket of the host's")
def _():
    s = socket.socket(socket.AF_UNIX)
    s.connect("\0" + ABSTRACT)
    return True


@attempt("open a raw socket")
def _():
    return socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)


@attempt("open a packet socket")
def _():
    return socket.socket(socket.AF_PACKET, socket.SOCK_RAW)


@attempt("open a vsock to the hypervisor")
def _():
    return socket.socket(40, socket.SOCK_STREAM)


@attempt("open a crypto socket")
def _():
    return socket.socket(38, socket.SOCK_SEQPACKET)


@attempt("write to a read-only mount")
def _():
    return open("/config/x", "w")


@attempt("make it writable")
def _():
    return libc.mount(b"none", b"/config", None, 32 | 4096, None) == 0 or open("/config/x", "w")


@attempt("take it away")
def _():
    return libc.umount2(b"/config", 2) == 0


@attempt("mount a memory file system")
def _():
    return libc.mount(b"t", b"/tmp", b"tmpfs", 0, None) == 0


@attempt("mount a fresh proc")
def _():
    return libc.mount(b"p", b"/tmp", b"proc", 0, None) == 0


@attempt("change what happens on a crash")
def _():
    return open("/proc/sys/kernel/core_pattern", "w")


@attempt("write a sysctl")
def _():
    found = [os.path.join(d, f) for d, _, files in os.walk("/proc/sys") for f in files]
    return [path for path in found if os.access(path, os.W_OK)]


@attempt("press a system request key")
def _():
    return open("/proc/sysrq-trigger", "w")


@attempt("see the system's tree")
def _():
    return os.listdir("/sys")


@attempt("see the control groups")
def _():
    return os.listdir("/sys/fs/cgroup")


@attempt("make a disk")
def _():
    return os.mknod("/state/disk", 0o60600, os.makedev(254, 0)) is None and open("/state/disk", "rb").read(1)


@attempt("become root through a file")
def _():
    open("/state/suid", "w").close()
    os.chmod("/state/suid", 0o6755)
    return os.stat("/state/suid").st_uid == 0


@attempt("take root's uid")
def _():
    return os.setuid(0) is None


@attempt("make a user namespace")
def _():
    return libc.unshare(0x10000000) == 0


@attempt("make a user namespace by clone")
def _():
    return call(56, 0x10000000 | 17, 0, 0, 0, 0)


@attempt("make any namespace")
def _():
    return any(libc.unshare(flag) == 0 for flag in (0x20000, 0x40000000, 0x20000000, 0x4000000))


@attempt("join a namespace")
def _():
    return libc.setns(os.open("/proc/self/ns/uts", 0), 0) == 0


@attempt("use the kernel's keys")
def _():
    return call(250, 0, -3, 0) or call(248, b"user", b"x", b"y", 1, -3)


@attempt("load a bpf program")
def _():
    return call(321, 0, bytes(128), 128)


@attempt("open a performance counter")
def _():
    return call(298, struct.pack("=IIQ", 1, 128, 0).ljust(128, b"\0"), 0, -1, -1, 0)


@attempt("handle page faults")
def _():
    return call(323, 0)


@attempt("set up io_uring")
def _():
    return call(425, 8, bytes(120))


@attempt("use the new mount calls")
def _():
    return call(430, b"tmpfs", 0) or call(428, -100, b"/", 1)


@attempt("push input into a terminal")
def _():
    import fcntl, pty

    master, slave = pty.openpty()
    os.setsid() if os.getsid(0) != os.getpid() else None
    fcntl.ioctl(slave, 0x540E, 0)
    fcntl.ioctl(slave, 0x5412, b"x")
    return True


@attempt("read the hive's environment")
def _():
    return any(b"HIVE_SECRET" in open(path, "rb").read() for path in glob.glob("/proc/[0-9]*/environ"))


@attempt("load a module")
def _():
    return call(313, 3, b"", 0)


@attempt("read the kernel's log")
def _():
    return open("/dev/kmsg") or call(103, 3, bytes(16), 16)


@attempt("set the clock")
def _():
    return call(227, 0, struct.pack("=qq", 1, 1))


@attempt("see another agent's state")
def _():
    return there(OTHER, "notes")


@attempt("see another agent's credentials")
def _():
    return there(OTHER, "claude", ".credentials.json")


@attempt("see another agent's journal")
def _():
    return there(OTHER, "journal", "system.journal")


@attempt("call another agent's socket")
def _():
    s = socket.socket(socket.AF_UNIX)
    s.connect(os.path.join(OTHER, "mcp.sock"))
    return True


@attempt("follow a link out of its state")
def _():
    os.path.lexists("/state/link") or os.symlink(SECRET, "/state/link")
    return open("/state/link").read()


@attempt("make a second name for a file that is not its own")
def _():
    return os.link("/config/settings", "/state/second") is None


@attempt("gain a capability")
def _():
    return any(int(line.split()[1], 16) for line in open("/proc/self/status") if line.startswith("Cap"))


@attempt("run without a filter")
def _():
    return "Seccomp:\t2" not in open("/proc/self/status").read()


@attempt("run free of no-new-privileges")
def _():
    return "NoNewPrivs:\t1" not in open("/proc/self/status").read()


@attempt("raise its own limits above the hard ones")
def _():
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (1 << 20, 1 << 20))
    return True


@attempt("make another program's file setuid root's")
def _():
    return os.chown("/state/suid", 0, 0) is None


@attempt("make more processes than its limit")
def _():
    made = []
    try:
        while len(made) < 2 * LIMIT_PIDS:
            pid = os.fork()
            if pid == 0:
                signal.pause()
            made.append(pid)
        return True
    finally:
        for pid in made:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


@attempt("take more memory than its limit")
def _():
    pid = os.fork()
    if pid == 0:
        taken = bytearray(2 * LIMIT_MEMORY)
        for i in range(0, len(taken), 4096):
            taken[i] = 1
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0


@attempt("fill memory through files")
def _():
    def fill(place):
        with open(place, "wb", buffering=0) as file:
            for _ in range(4 * LIMIT_TMP >> 20):
                file.write(bytes(1 << 20))
        return True

    def tried(place):
        try:
            return fill(place)
        except OSError:
            return False
        finally:
            os.path.exists(place) and os.unlink(place)

    return [place for place in ("/tmp/f", "/home/agent/f", "/dev/shm/f", "/run/f") if tried(place)]


print(json.dumps(worked))
