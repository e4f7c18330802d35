"""What a stand-in system has in place of systemd: the first process of the container. It makes what activation would,
runs the harness as its user, and keeps its words in place of a journal."""

import contextlib
import json
import os
import re
import signal
import socket
import sys
import time

harness = 0


def halt(*_: object) -> None:
    """A shutdown: the harness may end first."""
    with contextlib.suppress(ProcessLookupError):
        if harness:
            os.kill(harness, signal.SIGTERM)
    with contextlib.suppress(ChildProcessError):
        while True:
            if os.waitpid(-1, 0)[0] == harness:
                break
    os._exit(0)


signal.signal(signal.SIGRTMIN + 3, halt)
system = os.path.dirname(os.path.realpath(sys.argv[0]))
with open(f"{system}/closure.json") as file:
    closure = json.load(file)

os.makedirs("/var/log/journal", exist_ok=True)
os.makedirs("/home/agent", exist_ok=True)
os.chmod("/root", 0o711)  # this Python may live there
os.chown("/home/agent", closure["uid"], closure["uid"])
with open("/etc/passwd", "w") as file:
    file.write(f"root:x:0:0::/root:/bin/sh\nagent:x:{closure['uid']}:{closure['uid']}::/home/agent:/bin/sh\n")
with open("/etc/group", "w") as file:
    file.write(f"root:x:0:\nagent:x:{closure['uid']}:\n")

environment = {"HOME": "/home/agent", "USER": "agent", "LANG": "C.UTF-8", **closure["env"]}
with contextlib.suppress(FileNotFoundError), open("/run/hive/environment") as file:
    for line in file.read().splitlines():
        key, _, value = line.partition("=")
        environment[key] = re.sub(r"\\(.)", r"\1", value[1:-1])

reading, writing = os.pipe()


def start() -> int:
    """The harness's unit, once."""
    child = os.fork()
    if child:
        return child
    os.dup2(writing, 1)
    os.dup2(writing, 2)
    os.chdir("/state")
    os.setgroups([])
    os.setgid(closure["uid"])
    os.setuid(closure["uid"])
    signal.signal(signal.SIGRTMIN + 3, signal.SIG_DFL)
    os.execve(closure["argv"][0], closure["argv"], environment)


harness = start()

if path := os.environ.get("NOTIFY_SOCKET"):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.connect(path)
        notify.send(b"READY=1")

writer = os.fork()
if not writer:
    os.close(writing)
    with open(reading, "rb", 0) as words, open("/var/log/journal/stand-in", "ab", 0) as journal:
        journal.write(b"-- boot\n")
        journal.write(b"init.scope\tthe stand-in is up\n")
        for said in words:
            journal.write(b"hive-harness.service\t" + said)
    os._exit(0)
os.close(reading)


while True:  # Restart=always, RestartPreventExitStatus=2 3; nothing else ends the container
    pid, status = os.waitpid(-1, 0)
    if pid == harness:
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) in (2, 3):
            signal.pause()
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 133:
            sys.exit(133)  # it has asked for a reboot
        time.sleep(1)
        harness = start()
