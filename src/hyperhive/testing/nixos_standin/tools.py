"""The programs of the stand-in: tools.py TOOL ROOT ARGUMENT... Standard library only; the package's docstring says
what this proves and what it does not."""

import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

sys.path.insert(0, str(Path(__file__).parents[3]))

from hyperhive.testing.nixos_standin import unit
from hyperhive.testing.nixos_standin.host import Host

_SELF: Final = "/run/current-system/sw/bin/nixos-container"
_NIX_FLAGS: Final = {"--option": 2, "--override-input": 2, "--update-input": 1, "--log-format": 1, "--impure": 0,
                     "--no-write-lock-file": 0, "--show-trace": 0, "--refresh": 0, "-L": 0}  # fmt: skip
_VALUES: Final = ("--flake", "--config", "--config-file", "--system-path", "--nixos-path", "--bridge", "--port",
                  "--host-address", "--local-address")  # fmt: skip
_SWITCHES: Final = ("--ensure-unique-name", "--auto-start", "--use-host-network")


class Died(Exception):  # noqa: N818 (what perl calls it)
    def __init__(self, text: str, status: int = 255) -> None:
        super().__init__(text)
        self.status = status


# nixos-container


def nixos_container(host: Host, arguments: Sequence[str]) -> int:
    host.note_call(arguments)
    words, options, nix_flags = _parse(arguments)
    for directory, mode in ((host.confs, 0o755), (host.roots, 0o700)):
        directory.mkdir(parents=True, exist_ok=True, mode=mode)
    if not words:
        raise Died("no action specified")
    action, *rest = words
    if action == "list":
        _say(*sorted(path.stem for path in host.confs.glob("*.conf")))
        return 0
    if not rest:
        raise Died("no container name specified")
    name = rest[0]
    if not re.fullmatch(r"[a-zA-Z0-9_-]+", name):
        raise Died("invalid container name")
    if action == "create":
        return _create(host, name, options, nix_flags)
    if action == "status" and not host.conf(name).exists():
        _say("gone")
    if action == "destroy" and not host.conf(name).exists():
        return 0
    if not host.conf(name).exists():
        raise Died(f"container ‘{name}’ does not exist", 2)
    verb = _VERBS.get(action)
    if verb is None:
        raise Died(f"unknown action ‘{action}’")
    return verb(host, name, options, nix_flags, rest[1:])


def _parse(arguments: Sequence[str]) -> tuple[list[str], dict[str, str], list[str]]:
    words: list[str] = []
    options: dict[str, str] = {}
    nix_flags: list[str] = []
    left = list(arguments)
    while left:
        word = left.pop(0)
        key, equals, value = word.partition("=")
        if word == "--":
            return words + left, options, nix_flags
        if key in _VALUES:
            options[key] = value if equals else left.pop(0)
        elif word in _SWITCHES:
            options[word] = "1"
        elif word in _NIX_FLAGS:
            nix_flags += [word, *(left.pop(0) for _ in range(_NIX_FLAGS[word]))]
        elif word.startswith("-"):
            print(f"Unknown option: {word.lstrip('-')}", file=sys.stderr)
            raise SystemExit(1)
        else:
            words.append(word)
    return words, options, nix_flags


def _create(host: Host, name: str, options: dict[str, str], nix_flags: list[str]) -> int:
    with (host.root / "run/lock/nixos-container").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if host.conf(name).exists():
            raise Died(f"container ‘{name}’ already exists")
        if len(name) > 11:
            raise Died(f"container name ‘{name}’ is too long")
        if "--flake" not in options:
            raise Died("this stand-in makes containers from flakes alone")
        reference, _, attribute = options["--flake"].partition("#")
        _write_conf(host, name, reference, options)
    profile = host.profile(name)
    profile.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    profile.mkdir(exist_ok=True, mode=0o755)
    _build_and_set(host, name, reference, attribute or "container", nix_flags)  # fails with the conf left behind
    return 0


def _write_conf(host: Host, name: str, reference: str, options: dict[str, str]) -> None:
    if "--use-host-network" in options:
        if host.release() < (25, 11):
            print("Unknown option: use-host-network", file=sys.stderr)
            raise SystemExit(1)
        network = ["PRIVATE_NETWORK=0"]
        _talk("using host network")
    else:
        taken = {host.read_conf(path.stem).get("HOST_ADDRESS") for path in host.confs.glob("*.conf")}
        number = next(number for number in range(1, 255) if f"10.233.{number}.1" not in taken)
        network = ["PRIVATE_NETWORK=1", f"HOST_ADDRESS=10.233.{number}.1", f"LOCAL_ADDRESS=10.233.{number}.2"]
        _talk(f"host IP is 10.233.{number}.1, container IP is 10.233.{number}.2")
    lines = [*network, f"HOST_BRIDGE={options.get('--bridge', '')}", f"HOST_PORT={options.get('--port', '')}",
             f"AUTO_START={options.get('--auto-start', '0')}", f"FLAKE={reference}"]  # fmt: skip
    host.conf(name).write_text("".join(f"{line}\n" for line in lines))


def _update(host: Host, name: str, options: dict[str, str], nix_flags: list[str], _rest: list[str]) -> int:
    whole = options.get("--flake") or host.read_conf(name).get("FLAKE", "")
    reference, _, attribute = whole.partition("#")
    _build_and_set(host, name, reference, attribute or "container", nix_flags)
    if unit.state(host, name)["ActiveState"] == "active":
        _talk("reloading container...")
        if host.knob("reload_fails"):
            raise Died(f"failed to reload container ‘{name}’", 1)
    return 0


def _build_and_set(host: Host, name: str, reference: str, attribute: str, nix_flags: list[str]) -> None:
    flags = [*nix_flags]
    system = build(host, f'{reference}#nixosConfigurations."{attribute}".config.system.build.toplevel', flags)
    link = Path(".tmp")  # the real one leaves its link in the directory that it was called from
    link.unlink(missing_ok=True)
    link.symlink_to(system)
    profile = host.profile(name)
    number = 1 + max((int(path.name.split("-")[1]) for path in profile.glob("system-*-link")), default=0)
    (profile / f"system-{number}-link").symlink_to(system)
    fresh = profile / "system.new"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(f"system-{number}-link")
    fresh.replace(profile / "system")


def _start(host: Host, name: str, *_: Any) -> int:
    if unit.start(host, name):
        raise Died(f"failed to start container ‘{name}’", 1)
    return 0


def _stop(host: Host, name: str, *_: Any) -> int:
    unit.stop(host, name)
    return 0


def _restart(host: Host, name: str, *_: Any) -> int:
    unit.stop(host, name)
    return _start(host, name)


def _status(host: Host, name: str, *_: Any) -> int:
    _say("up" if unit.state(host, name)["ActiveState"] == "active" else "down")
    return 0


def _terminate(host: Host, name: str, *_: Any) -> int:
    unit.kill(host, name, signal.SIGKILL)
    unit.stop(host, name)
    return 0


def _destroy(host: Host, name: str, *_: Any) -> int:
    if not os.access(host.conf(name), os.W_OK):
        raise Died("cannot destroy declarative container")
    if unit.state(host, name)["ActiveState"] == "active":
        _terminate(host, name)
    for place in (host.profile(name), host.root_of(name)):
        shutil.rmtree(place, ignore_errors=True)
    host.conf(name).unlink()
    return 0


def _run(host: Host, name: str, _options: Any, _flags: Any, rest: list[str]) -> NoReturn:
    leader = unit.leader(host, name)
    if leader is None:
        raise Died(f"container ‘{name}’ is not running")
    quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in rest)
    os.execvp("nsenter", ["nsenter", "--all", "-t", str(leader), "--", "/bin/sh", "-c", f"exec {quoted}"])


def _show_ip(host: Host, name: str, *_: Any) -> int:
    conf = host.read_conf(name)
    if conf.get("PRIVATE_NETWORK") == "0" and host.release() >= (25, 11):
        raise Died("container uses host network, no separate IP address")
    address = conf.get("LOCAL_ADDRESS") or conf.get("LOCAL_ADDRESS6") or ""
    if not address:
        raise Died("cannot get IP address")
    _say(address.partition("/")[0])
    return 0


_VERBS: Final[dict[str, Callable[..., int]]] = {
    "update": _update, "start": _start, "stop": _stop, "restart": _restart, "status": _status,
    "terminate": _terminate, "destroy": _destroy, "run": _run, "show-ip": _show_ip,
}  # fmt: skip


# nix


def nix(host: Host, arguments: Sequence[str]) -> int:
    words, flags = _nix_words(arguments)
    if words[:1] == ["build"]:
        system = build(host, words[1], flags)
        if "--print-out-paths" in arguments:
            _say(str(system))
        return 0
    if words[:2] == ["flake", "lock"]:
        return _lock(Path(words[2]), (), renew=False)
    if words[:2] == ["flake", "update"]:
        return _lock(Path(arguments[list(arguments).index("--flake") + 1]), words[2:], renew=True)
    raise Died(f"this stand-in has no `nix {' '.join(words[:2])}`", 1)


def _nix_words(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    words: list[str] = []
    flags: list[str] = []
    left = list(arguments)
    while left:
        word = left.pop(0)
        if word in ("--option", "--override-input"):
            flags += [word, left.pop(0), left.pop(0)]
        elif word in ("--extra-experimental-features", "--log-format", "--flake", "-o", "--out-link"):
            flags += [word, left.pop(0)]
        elif word.startswith("-"):
            flags.append(word)
        else:
            words.append(word)
    return words, flags


def build(host: Host, installable: str, flags: Sequence[str]) -> Path:
    """The system of `REF#nixosConfigurations."ATTR"...`, made of what stands on the agent's line of the flake."""
    reference, _, path = installable.partition("#")
    found = re.fullmatch(r'nixosConfigurations\."([^"]+)"\.config\.system\.build\.toplevel', path)
    text = (Path(reference) / "flake.nix").read_text()
    attribute = found[1] if found else ""
    line = re.search(rf'^\s*"{re.escape(attribute)}" = .*\buid = (\d+);', text, re.MULTILINE)
    source = re.search(rf'^\s*inputs\."agent-{re.escape(attribute)}"\.url = "git\+file://([^?]+)\?.*\brev=([0-9a-f]{{40}})',
                       text, re.MULTILINE)  # fmt: skip
    if not line or not source:
        raise Died(f"error: flake '{reference}' does not provide attribute '{path}'", 1)
    entry = _show(source[1], source[2], "agent.nix")
    thrown = re.search(r'throw "([^"]*)"', entry)
    missing = "" if entry else "agent.nix: No such file"
    if host.knob("build_hangs"):  # with a builder in a session of its own, as nix has them
        builder = subprocess.Popen(["sleep", "3600"], start_new_session=True)
        host.note_builder(builder.pid)
        builder.wait()
    failing = host.knob("build_fails")
    if isinstance(failing, dict):
        failing = failing.get(attribute)
    if why := failing or missing or (thrown and thrown[1]):
        print(f"error: {why}", file=sys.stderr)
        raise Died(f"failed to build the configuration of ‘{attribute}’", 1)
    settings = tomllib.loads(_show(source[1], source[2], "agent.toml"))
    if more := re.search(r"hyperhive\.settings = builtins\.fromJSON ''(.*?)'';", entry):
        settings |= json.loads(more[1])
    return _system(host, attribute, source[2], int(line[1]), json.dumps(settings), flags)


def _show(repository: str, sha: str, path: str) -> str:
    pipe = os.popen(f"git -c safe.directory='*' -C '{repository}' show {sha}:{path} 2>/dev/null")
    with pipe:
        return pipe.read()


def _system(host: Host, name: str, sha: str, uid: int, agent_json: str, flags: Sequence[str]) -> Path:
    made_of = hashlib.sha256(f"{name} {sha} {uid} {agent_json}".encode()).hexdigest()[:32]
    system = host.root / "nix/store" / f"{made_of}-nixos-system-{name}-stand-in"
    if system.exists():
        return system
    fresh = system.with_suffix(f".{os.getpid()}")
    (fresh / "etc/hyperhive").mkdir(parents=True)
    closure = json.loads((host.root / "closure.json").read_text())
    (fresh / "closure.json").write_text(json.dumps({**closure, "uid": uid, "nix_flags": list(flags)}))
    (fresh / "etc/hyperhive/agent.json").write_text(agent_json)
    init = fresh / "init"
    init.write_text(f"#!{sys.executable} -IS\n" + Path(__file__).with_name("stage2.py").read_text())
    init.chmod(0o755)
    fresh.rename(system)
    return system


def _lock(directory: Path, names: Sequence[str], *, renew: bool) -> int:
    """A lock as nix would write it, without what only nix can know."""
    path = directory / "flake.lock"
    old = json.loads(path.read_text())["nodes"] if path.exists() else {}
    nodes: dict[str, Any] = {}
    text = (directory / "flake.nix").read_text()
    for name, url in re.findall(r'^\s*inputs\."?([\w-]+)"?\.url = "([^"]+)"', text, re.MULTILINE):
        kept = old.get(name)
        if kept and kept["url"] == url and not (renew and (not names or name in names)):
            nodes[name] = kept
        else:
            rev = re.search(r"rev=([0-9a-f]{40})", url)
            nodes[name] = {"url": url, "locked": {"type": "git", "rev": rev[1] if rev else _revision(url),
                           "url": url.partition("?")[0], "lastModified": 1700000000}}  # fmt: skip
    root = {"inputs": {name: name for name in sorted(nodes)}}
    path.write_text(json.dumps({"nodes": {**nodes, "root": root}, "root": "root", "version": 7}, indent=2) + "\n")
    return 0


def _revision(url: str) -> str:
    """What the file beside a flake says that its newest revision is."""
    path = Path(re.sub(r"^(git\+file|path):(//)?", "", url.partition("?")[0])) / "revision"
    return path.read_text().strip() if path.exists() else "0" * 40


# systemd


def systemctl(host: Host, arguments: Sequence[str]) -> int:
    words = [word for word in arguments if not word.startswith("-")]
    verb, *names = words
    if verb == "daemon-reload":
        host.load_drop_ins()
        return 0
    wanted: list[str] = []
    if verb == "show":
        names, wanted = _properties(arguments)
    found = [re.fullmatch(r"container@([\w-]+)(?:\.service)?", name) for name in names]
    if any(one is None for one in found):
        raise Died(f"this stand-in knows units of containers alone, not {' '.join(names)}", 5)
    for name in (one[1] for one in found if one):
        if verb == "show":
            state = unit.state(host, name)
            _say(*(f"{key}={state.get(key, '')}" for key in wanted))
        elif verb == "start":
            if unit.start(host, name):
                _talk(f"Job for container@{name}.service failed.")
                return 1
        elif verb == "stop":
            unit.stop(host, name)
        elif verb == "kill":
            given = next((word.partition("=")[2] for word in arguments if word.startswith("--signal=")), "TERM")
            unit.kill(host, name, signal.Signals[f"SIG{given.removeprefix('SIG')}"])
        elif verb == "reset-failed":
            unit.forget_failure(host, name)
        else:
            raise Died(f"Unknown command verb {verb}.", 1)
    return 0


def _properties(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    names: list[str] = []
    wanted: list[str] = []
    left = list(arguments)[1:]
    while left:
        word = left.pop(0)
        if word in ("-p", "--property"):
            wanted += left.pop(0).split(",")
        elif word.startswith("--property="):
            wanted += word.partition("=")[2].split(",")
        elif not word.startswith("-"):
            names.append(word)
    return names, wanted


def machinectl(host: Host, arguments: Sequence[str]) -> int:
    if list(arguments[:1]) != ["show"]:
        raise Died(f"this stand-in has no `machinectl {' '.join(arguments)}`", 1)
    leader = unit.leader(host, arguments[1])
    if leader is None:
        print(f"Failed to get machine \"{arguments[1]}\": No machine '{arguments[1]}' known", file=sys.stderr)
        return 1
    _say(f"Leader={leader}")
    return 0


def journalctl(host: Host, arguments: Sequence[str]) -> int:
    machine = directory = wanted = ""
    lines, follow, boot = "10", False, False
    left = list(arguments)
    while left:
        key, equals, value = left.pop(0).partition("=")
        if key in ("-M", "--machine"):
            machine = value if equals else left.pop(0)
        elif key in ("-D", "--directory"):
            directory = value if equals else left.pop(0)
        elif key in ("-u", "--unit"):
            wanted = value if equals else left.pop(0)
        elif key in ("-n", "--lines"):
            lines = value if equals else left.pop(0)
        elif key in ("-f", "--follow"):
            follow = True
        elif key in ("-b", "--boot"):
            boot = True
        elif key in ("-o", "--output"):
            assert (value if equals else left.pop(0)) == "cat"
    if machine and unit.leader(host, machine) is None:
        print(f"Failed to open root directory of machine '{machine}': No such file or directory", file=sys.stderr)
        return 1
    place = Path(directory) if directory else host.root_of(machine) / "var/log/journal"
    return _tell(place / "stand-in", wanted, int(lines), boot=boot, follow=follow)


def _tell(journal: Path, wanted: str, most: int, *, boot: bool, follow: bool) -> int:
    text = journal.read_text(errors="replace") if journal.exists() else ""
    if boot:
        text = text.rpartition("-- boot\n")[2]
    found = [line for line in map(_journal_line, text.splitlines()) if line and wanted in ("", line[0])]
    _say(*(line[1] for line in found[-most:]) if most else ())
    if not follow:
        return 0
    sys.stdout.flush()
    skip = len(journal.read_text(errors="replace").splitlines()) if journal.exists() else 0
    with os.popen(f"exec tail -n +{skip + 1} -F '{journal}' 2>/dev/null") as more:
        for text in more:
            line = _journal_line(text.rstrip("\n"))
            if line and wanted in ("", line[0]):
                _say(line[1])
                sys.stdout.flush()
    return 0


def _journal_line(text: str) -> tuple[str, str] | None:
    service, tab, said = text.partition("\t")
    return (service, said) if tab else None


def systemd_run(_host: Host, arguments: Sequence[str]) -> NoReturn:
    command = list(arguments)[list(arguments).index("--") + 1 :]
    os.execvp(command[0], command)


# the programs


def _say(*lines: str) -> None:
    for line in lines:
        print(line)


def _talk(text: str) -> None:
    print(text, file=sys.stderr)


def main(tool: str, root: str, *arguments: str) -> int:
    os.umask(0o022)
    host = Host(Path(root))
    os.environ["PATH"] = f"{root}/bin:{os.environ.get('PATH', '/usr/bin:/bin')}"
    try:
        return int(_TOOLS[tool](host, arguments))
    except Died as died:
        _talk(f"{_SELF if tool == 'nixos-container' else tool}: {died}")
        return died.status


_TOOLS: Final[dict[str, Callable[[Host, Sequence[str]], int]]] = {
    "nixos-container": nixos_container, "systemctl": systemctl, "machinectl": machinectl, "journalctl": journalctl,
    "nix": nix, "systemd-run": systemd_run,
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
