"""Which of a machine's apt sources images are made from."""

from pathlib import Path

import pytest

from hyperhive.images import sources
from hyperhive.images.sources import Source
from hyperhive.protocol.faults import FaultError

DEBIAN = """\
Types: deb deb-src
# a mirror of our own
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates bookworm-backports
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb-src
URIs: http://mirror.example/debian
Suites: bookworm
Components: main

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
"""
OTHERS = """\
# of others
deb [arch=amd64 signed-by=/etc/apt/keyrings/other.gpg] https://other.example/linux bookworm main
deb https://stable.example/linux bookworm stable
deb http://security.example/debian-security bookworm-security main # ours
deb-src http://mirror.example/debian bookworm main
"""


def machine(root: Path, *, release: str = 'ID=debian\nVERSION_CODENAME="bookworm"\n', **files: str) -> Path:
    parts = root / "etc/apt/sources.list.d"
    parts.mkdir(parents=True)
    (root / "etc/os-release").write_text(release)
    for name, text in files.items():
        (parts / name.replace("_", ".")).write_text(text)
    return root


def test_a_mirror_of_the_machine_s_release_is_used_and_what_others_sign_is_not(tmp_path: Path) -> None:
    root = machine(tmp_path, debian_sources=DEBIAN, others_list=OTHERS)

    found = sources.read(tmp_path / "none", root)

    assert found.suite == "bookworm"
    assert found.stanzas == (
        Source(uris=("http://security.example/debian-security",), suites=("bookworm-security",), components=("main",)),
        Source(
            uris=("http://mirror.example/debian",),
            suites=("bookworm", "bookworm-updates"),
            components=("main", "contrib"),
            signed_by="/usr/share/keyrings/debian-archive-keyring.gpg",
        ),
    )


def test_what_is_written_can_be_read_again(tmp_path: Path) -> None:
    found = sources.read(tmp_path / "none", machine(tmp_path, debian_sources=DEBIAN))

    assert tuple(sources.parse(found.text())) == found.stanzas


def test_the_hive_s_own_file_goes_before_the_machine_s(tmp_path: Path) -> None:
    own = tmp_path / "apt.sources"
    own.write_text("deb [signed-by=/srv/ours.gpg] http://ours.example/debian trixie main\n")

    found = sources.read(own, machine(tmp_path, debian_sources=DEBIAN))

    assert (found.suite, found.stanzas[0].signed_by) == ("trixie", "/srv/ours.gpg")


@pytest.mark.parametrize(
    ("release", "text", "why"),
    [
        ("ID=fedora\n", DEBIAN, "no Debian but fedora"),
        ("ID=debian\nVERSION_CODENAME=sid\n", OTHERS, "no apt source of this machine has Debian's sid"),
    ],
)
def test_a_machine_without_such_sources_is_told_what_to_write(
    tmp_path: Path, release: str, text: str, why: str
) -> None:
    root = machine(tmp_path, release=release, one_list=text)

    with pytest.raises(FaultError, match=why) as caught:
        sources.read(tmp_path / "apt.sources", root)

    assert f"write a Debian source into {tmp_path / 'apt.sources'}" in caught.value.message
