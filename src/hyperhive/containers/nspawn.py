"""Containers by systemd-nspawn: a root file system of their own, needs root.

The launcher puts the root together in its own mount namespace: the layers below, each with its files' uids shifted to
the container's, a memory file system above. `gate` is the first program in there; it becomes the agent.
"""

import marshal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from hyperhive.containers.backend import Assembly, Backend, Command, Finding, StartFile
from hyperhive.containers.bubblewrap import STAGE, enter_argv
from hyperhive.containers.host import OLDEST_KERNEL, OLDEST_NSPAWN, Host
from hyperhive.containers.nspawn_units import above_the_layers
from hyperhive.containers.pidfd import Process
from hyperhive.containers.spec import HOME, INSIDE_UID, ContainerSpec, Init, Network
from hyperhive.protocol.backend import BackendKind
from hyperhive.protocol.faults import FaultError, FaultKind

UIDS: Final = 1 << 16
"""Of each container: it begins INSIDE_UID below the agent's own, so that what the agent writes is the agent's."""
START: Final = "/run/hive-start"
PYTHON: Final = "/usr/bin/python3"
"""Every base has it, with the whole standard library."""
SYSTEMD: Final = "/lib/systemd/systemd"
HALT: Final = 37
"""SIGRTMIN+3: systemd stops its services and ends."""
KILLED: Final = 255
"""What nspawn makes of any signal that has ended its second process."""
FAILED: Final = 1
"""What nspawn makes of any signal that has ended a service manager."""

_ROOT: Final = f"{STAGE}/root"
_GATE: Final = Path(__file__).with_name("gate.py").read_bytes()
_UPPER_BYTES: Final = 256 << 20
_ALWAYS_DROPPED: Final = (
    *("CAP_AUDIT_CONTROL", "CAP_AUDIT_WRITE", "CAP_IPC_OWNER", "CAP_LEASE", "CAP_LINUX_IMMUTABLE", "CAP_MKNOD"),
    *("CAP_NET_BROADCAST", "CAP_NET_RAW", "CAP_SYS_BOOT", "CAP_SYS_PTRACE", "CAP_SYS_TTY_CONFIG"),
)
_OF_A_SERVICE_MANAGER: Final = (
    *("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_NET_BIND_SERVICE"),
    *("CAP_SETFCAP", "CAP_SYS_CHROOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE"),
)
_REFUSED_CALLS: Final = "~io_uring_setup io_uring_enter io_uring_register userfaultfd bpf perf_event_open"
_PASSED: Final = {
    "init": ("container", "container_uuid", "TERM", "PATH"),
    "harness": ("NOTIFY_SOCKET", "WATCHDOG_USEC"),
}


class Nspawn(Backend):
    """Pure: decides from the spec and from facts about the host."""

    kind = BackendKind.NSPAWN

    def __init__(self, host: Host) -> None:
        self.host = host

    def check(self, spec: ContainerSpec) -> None:
        for finding in self.findings():
            if finding.needed and not finding.ok:
                raise _cannot(spec, f"{finding.detail}; {finding.remedy}")
        if not spec.layers:
            raise _cannot(spec, "it has no root file system; make a base image: hive image build")
        if spec.uid is None or spec.uid < UIDS or (spec.uid - INSIDE_UID) % UIDS:
            why = f"its uid is {spec.uid}, which is not {INSIDE_UID} above a multiple of {UIDS}"
            raise _cannot(spec, f"{why}; `hive move` gives it one")

    def start_command(self, spec: ContainerSpec) -> Command:
        assert spec.uid is not None
        base, booted = spec.uid - INSIDE_UID, spec.init is Init.SYSTEMD
        stage = [(str(mount.source), f"{STAGE}/mounts/{n}") for n, mount in enumerate(spec.mounts) if not mount.link]
        argv = [
            *("env", "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1" if booted else f"SYSTEMD_SECCOMP={self._own_filter()}"),
            *(str(self.host.nspawn), *_nature(spec, base), *_bounds(spec), *_binds(spec)),
            *("--", *_gate(spec), "init" if booted else "harness"),
        ]
        return Command(
            argv=tuple(argv),
            stage=tuple(stage),
            assembly=Assembly(
                root=_ROOT,
                layers=tuple(map(str, spec.layers)),
                first_uid=base,
                bytes_above=_UPPER_BYTES,
                above=dict(above_the_layers(spec, PYTHON)),
                links={str(mount.target): mount.link for mount in spec.mounts if mount.link},
                points={place: str(mount.target) for place, mount in _placed(spec)},
                memory=dict(_memory(spec)),
                start=f"{STAGE}/start",
                files=self._start_files(spec, base),
                pid_inside=1 if booted else 2,
                journal=f"{STAGE}/journal" if booted else "",
            ),
            stop_signal=HALT if booted else 15,
            is_machine=True,
            code_of_signals=FAILED if booted else KILLED,
        )

    def enter_argv(self, init: Process, argv: Sequence[str], *, env: Mapping[str, str], cwd: str) -> tuple[str, ...]:
        return enter_argv(self.host, init, argv, env=env, cwd=cwd)

    def findings(self) -> tuple[Finding, ...]:
        return (
            self._root_finding(),
            self._nspawn_finding(),
            self._kernel_finding(),
            self._overlay_finding(),
            self._images_finding(),
            self._seccomp_finding(),
        )

    def hint(self, last_words: str) -> str:
        if "launcher: [Errno 2]" in last_words:
            return "a directory that the container needs is missing or cannot be reached; is the agent's state there?"
        if "[Errno 22]" in last_words or "[Errno 1]" in last_words:
            return "is a file system there that cannot have its owners mapped? ext4, xfs and btrfs can"
        if "cannot run" in last_words or "Failed to execute" in last_words or "execv" in last_words:
            return "the container's first program is not inside it; is it on one of its mounts or in its image?"
        return ""

    def _own_filter(self) -> str:
        """nspawn makes one from hundreds of names, which is half of all that it does. The one that is made already and
        that the gate installs refuses what matters to an agent without capabilities; the service manager of a booted
        container has some, and no gate's filter."""
        return "yes" if self.host.seccomp_of_nspawn is None else "no"

    def _start_files(self, spec: ContainerSpec, base: int) -> dict[str, StartFile]:
        """What the gate reads; a plan is there for the one alone who carries it out."""
        booted = spec.init is Init.SYSTEMD
        files = {"gate.py": StartFile(text=_GATE, uid=base, mode=0o444)}
        plan = _plan(
            spec.argv, spec.env, cwd=str(spec.cwd), waits=not booted, passed=_PASSED["harness"] if booted else ()
        )
        plan |= {"uid": INSIDE_UID, "filter": self.host.seccomp_of_nspawn or b"", "module": _module(spec)}
        owner = base + INSIDE_UID if booted else base
        files["harness"] = StartFile(text=_marshalled(plan), uid=owner, mode=0o400)
        if booted:
            boot = (SYSTEMD, "--system", "systemd.unit=multi-user.target", "systemd.show_status=no")
            init = _plan(boot, {}, cwd="/", waits=True, passed=_PASSED["init"])
            files["init"] = StartFile(text=_marshalled(init), uid=base, mode=0o400)
        return files

    def _root_finding(self) -> Finding:
        return Finding(
            name="root",
            ok=self.host.is_root,
            detail="the hive runs as root"
            if self.host.is_root
            else "the nspawn backend needs a hive that runs as root",
            remedy="" if self.host.is_root else "run the hive as root (a system install), or use bubblewrap",
        )

    def _nspawn_finding(self) -> Finding:
        version = self.host.nspawn_version
        return Finding(
            name="systemd-nspawn",
            ok=version >= OLDEST_NSPAWN,
            detail=f"{self.host.nspawn} {version}" if version else "systemd-nspawn is missing",
            remedy="" if version >= OLDEST_NSPAWN else f"install systemd-container, {OLDEST_NSPAWN} or newer",
        )

    def _kernel_finding(self) -> Finding:
        version, oldest = (".".join(map(str, numbers)) for numbers in (self.host.kernel, OLDEST_KERNEL))
        ok = self.host.kernel >= OLDEST_KERNEL
        return Finding(
            name="kernel",
            ok=ok,
            detail=f"Linux {version}",
            remedy=""
            if ok
            else f"containers share the layers they are made from since Linux {oldest}; run a newer one",
        )

    def _overlay_finding(self) -> Finding:
        there = self.host.overlay
        return Finding(
            name="overlay file system",
            ok=there,
            detail="there" if there else "the kernel has no overlay file system",
            remedy="" if there else "run `modprobe overlay`, or a kernel with CONFIG_OVERLAY_FS",
        )

    def _images_finding(self) -> Finding:
        missing = " ".join(self.host.missing_for_images)
        return Finding(
            name="making images",
            ok=not missing,
            detail=f"{missing} is missing: no image can be made here" if missing else "mmdebstrap and apt are there",
            remedy=f"install {missing} (Debian: apt install {missing})" if missing else "",
            needed=False,
        )

    def _seccomp_finding(self) -> Finding:
        there = self.host.seccomp_of_nspawn is not None
        return Finding(
            name="system call filter",
            ok=there,
            detail="on" if there else "libseccomp is missing: containers have no system call filter of the hive's",
            remedy="" if there else "install libseccomp2 (Debian, Ubuntu) or libseccomp",
            needed=False,
        )


def _module(spec: ContainerSpec) -> str:
    """What the gate runs itself, because the same Python runs the two; empty: another program follows it."""
    *python, module = spec.argv
    return module if python[1:] == ["-I", "-m"] and spec.init is not Init.SYSTEMD else ""


def _gate(spec: ContainerSpec) -> tuple[str, ...]:
    return (spec.argv[0] if _module(spec) else PYTHON, "-I", "-S", f"{START}/gate.py")


def _nature(spec: ContainerSpec, base: int) -> list[str]:
    booted = spec.init is Init.SYSTEMD
    options = [
        *("--quiet", "--register=no", "--keep-unit", "--settings=no", f"--directory={_ROOT}"),
        *(f"--machine={spec.name}", f"--hostname={spec.hostname}"),
        *(f"--private-users={base}:{UIDS}", "--private-users-ownership=off"),
        *("--link-journal=no", "--timezone=off", "--console=pipe"),
        f"--resolv-conf={'copy-host' if spec.network is Network.HOST else 'off'}",
    ]
    if not booted:
        options += ["--as-pid2", "--read-only"]
    return options if spec.network is Network.HOST else [*options, "--private-network"]


def _bounds(spec: ContainerSpec) -> list[str]:
    booted = spec.init is Init.SYSTEMD
    dropped = _ALWAYS_DROPPED if booted else (*_ALWAYS_DROPPED, *_OF_A_SERVICE_MANAGER)
    bounds = [f"--drop-capability={','.join(dropped)}", f"--system-call-filter={_REFUSED_CALLS}"]
    return bounds if booted else [*bounds, "--no-new-privileges=yes"]


def _binds(spec: ContainerSpec) -> Iterator[str]:
    yield f"--bind-ro={STAGE}/start:{START}"
    for place, options in _memory(spec):
        yield f"--bind={place}:{options[0]}"
    for place, mount in _placed(spec):
        yield f"--{'bind' if mount.writable else 'bind-ro'}={place}:{_escaped(str(mount.target))}"
    if spec.init is Init.SYSTEMD:
        yield f"--bind={STAGE}/journal:/var/log/journal"


def _placed(spec: ContainerSpec) -> Iterator[tuple[str, Any]]:
    for n, mount in enumerate(spec.mounts):
        if not mount.link:
            yield f"{STAGE}/mounts/{n}", mount


def _memory(spec: ContainerSpec) -> Iterator[tuple[str, tuple[str, str]]]:
    """Where the launcher makes a file system in memory -> (where it is seen, how it is mounted)."""
    size = spec.limits.tmp_bytes
    yield f"{STAGE}/memory/tmp", ("/tmp", f"mode=1777,size={size}")
    yield f"{STAGE}/memory/shm", ("/dev/shm", f"mode=1777,size={size}")
    yield f"{STAGE}/memory/home", (str(HOME), f"mode=0755,size={size},uid={spec.uid},gid={spec.uid}")


def _plan(
    argv: Sequence[str], env: Mapping[str, str], *, cwd: str, waits: bool, passed: Sequence[str]
) -> dict[str, Any]:
    return {
        "argv": list(argv),
        "env": dict(env),
        "cwd": cwd,
        "waits": waits,
        "passed": list(passed),
        "uid": None,
        "module": "",
    }


def _marshalled(plan: dict[str, Any]) -> bytes:
    """In the format that every Python 3 reads: the container's need not be the hive's."""
    return marshal.dumps(plan, 2)


def _escaped(target: str) -> str:
    return target.replace("\\", "\\\\").replace(":", "\\:")


def _cannot(spec: ContainerSpec, why: str) -> FaultError:
    return FaultError(FaultKind.BACKEND, f"cannot start container {spec.name!r}: {why}")
