"""The file of nixos-container, patched: golden pairs for three releases, and what must hold for any file.

Where the files *before* come from: no machine of these releases was at hand. They are what the source of the tool
(nixos-container.pl in nixpkgs, as of 2025 and 2026) prints when it makes a container, key by key and in its order:
PRIVATE_NETWORK, HOST_ADDRESS and LOCAL_ADDRESS (the first free 10.233.N.1 and .2), or PRIVATE_NETWORK=0 alone;
HOST_BRIDGE; HOST_PORT; AUTO_START; FLAKE without its attribute; and never EXTRA_NSPAWN_FLAGS. That 24.11 and 25.05
write the same follows from the list of later changes to the tool, of which --use-host-network in 25.11 is the only one
that touches the file; their own sources were not compared.

The files *after* are ours. What they may hold is by the container module's script: PRIVATE_USERS is read since 25.05,
COPY_RESOLV_CONF by the newest and ignored by others, and any address adds a network even where PRIVATE_NETWORK is 0.
"""

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperhive.containers import nixos_conf
from hyperhive.containers.nixos_conf import Wanted, patched, read
from hyperhive.containers.spec import Mount
from hyperhive.protocol.faults import FaultError

RUN = Mount(source=Path("/run/hyperhive/agents/alice"), target=PurePosixPath("/run/hive"))
STATE = Mount(source=Path("/var/lib/hyperhive/agents/alice/state"), target=PurePosixPath("/state"), writable=True)
OWN = {"PRIVATE_NETWORK", "HOST_ADDRESS", "LOCAL_ADDRESS", "HOST_ADDRESS6", "LOCAL_ADDRESS6", "HOST_BRIDGE",
       "HOST_PORT", "PRIVATE_USERS", "COPY_RESOLV_CONF", "EXTRA_NSPAWN_FLAGS"}  # fmt: skip

CREATED = """\
PRIVATE_NETWORK=1
HOST_ADDRESS=10.233.1.1
LOCAL_ADDRESS=10.233.1.2
HOST_BRIDGE=
HOST_PORT=
AUTO_START=0
FLAKE=/var/lib/hyperhive/meta
"""
"""As `nixos-container create --flake` writes it in 24.11 and 25.05, and in 25.11 without --use-host-network."""

CREATED_WITH_HOST_NETWORK = """\
PRIVATE_NETWORK=0
HOST_BRIDGE=
HOST_PORT=
AUTO_START=0
FLAKE=/var/lib/hyperhive/meta
"""
"""As 25.11 writes it with --use-host-network."""

AFTER_24_11 = """\
PRIVATE_NETWORK=1
HOST_ADDRESS=
LOCAL_ADDRESS=
HOST_BRIDGE=
HOST_PORT=
AUTO_START=0
FLAKE=/var/lib/hyperhive/meta
HOST_ADDRESS6=
LOCAL_ADDRESS6=
COPY_RESOLV_CONF=1
EXTRA_NSPAWN_FLAGS="--private-network --bind-ro=/run/hyperhive/agents/alice:/run/hive \
--bind=/var/lib/hyperhive/agents/alice/state:/state"
"""

AFTER_25_05 = """\
PRIVATE_NETWORK=1
HOST_ADDRESS=
LOCAL_ADDRESS=
HOST_BRIDGE=
HOST_PORT=
AUTO_START=0
FLAKE=/var/lib/hyperhive/meta
HOST_ADDRESS6=
LOCAL_ADDRESS6=
PRIVATE_USERS=pick
COPY_RESOLV_CONF=1
EXTRA_NSPAWN_FLAGS="--private-network --bind-ro=/run/hyperhive/agents/alice:/run/hive:idmap \
--bind=/var/lib/hyperhive/agents/alice/state:/state:idmap"
"""

AFTER_25_11_HOST_NETWORK = """\
PRIVATE_NETWORK=0
HOST_BRIDGE=
HOST_PORT=
AUTO_START=0
FLAKE=/var/lib/hyperhive/meta
HOST_ADDRESS=
LOCAL_ADDRESS=
HOST_ADDRESS6=
LOCAL_ADDRESS6=
PRIVATE_USERS=pick
COPY_RESOLV_CONF=1
EXTRA_NSPAWN_FLAGS="--bind-ro=/run/hyperhive/agents/alice:/run/hive:idmap \
--bind=/var/lib/hyperhive/agents/alice/state:/state:idmap"
"""


def wanted(*mounts: Mount, private_network: bool = True, private_users: bool = True) -> Wanted:
    return Wanted(mounts=mounts or (RUN, STATE), private_network=private_network, private_users=private_users)


@pytest.mark.parametrize(
    ("release", "before", "private_network", "after"),
    [
        ("24.11", CREATED, True, AFTER_24_11),
        ("25.05", CREATED, True, AFTER_25_05),
        ("25.11", CREATED, True, AFTER_25_05),
        ("25.11", CREATED_WITH_HOST_NETWORK, False, AFTER_25_11_HOST_NETWORK),
    ],
)
def test_the_file_of_a_release_becomes_exactly_this(
    release: str, before: str, private_network: bool, after: str
) -> None:
    users = nixos_conf.has_private_users(f'ID=nixos\nVERSION_ID="{release}"\n')
    want = wanted(private_network=private_network, private_users=users)
    assert patched(before, want) == after
    assert patched(after, want) == after


def test_comments_and_keys_of_others_stay_where_they_are() -> None:
    before = "# mine\nFOO=bar\n\n; and this \\\ngoes on\nHOST_BRIDGE=br0\nBAR='a\nb'\n"
    after = patched(before, wanted())
    assert after.startswith("# mine\nFOO=bar\n\n; and this \\\ngoes on\nHOST_BRIDGE=\nBAR='a\nb'\n")
    assert read(after)["BAR"] == "a\nb"


def test_a_key_set_twice_is_set_once_where_the_last_one_was() -> None:
    after = patched("HOST_ADDRESS=1.2.3.4\nX=1\nHOST_ADDRESS=1.2.3.5\n", wanted())
    assert after.count("HOST_ADDRESS=") == 1
    assert after.startswith("X=1\nHOST_ADDRESS=\n")


def test_what_hands_out_another_network_is_emptied_only_where_it_is_set() -> None:
    before = "MACVLANS=eno1\nINTERFACES=\nLOCAL_MAC_ADDRESS=aa:bb:cc:dd:ee:ff\n"
    after = patched(before, wanted())
    assert after.startswith("MACVLANS=\nINTERFACES=\nLOCAL_MAC_ADDRESS=\n")
    assert "NETWORK_NAMESPACE_PATH" not in patched("", wanted())


@pytest.mark.parametrize("unfinished", ["X='a", 'Y="b\n', "Z=c \\", "# comment \\"])
def test_a_file_that_ends_in_the_middle_of_a_value_swallows_nothing_of_ours(unfinished: str) -> None:
    after = patched(unfinished, wanted())
    assert read(after)["PRIVATE_NETWORK"] == "1"
    assert read(after)["EXTRA_NSPAWN_FLAGS"].startswith("--private-network ")


@pytest.mark.parametrize(
    "character", [" ", "\t", "\n", "'", '"', "*", "?", "[", "]", "\\", "$", ":", "\x01", "\u200b"]
)
def test_a_path_that_the_unit_would_take_apart_is_refused(character: str) -> None:
    source = Mount(source=Path(f"/srv/a{character}b"), target=PurePosixPath("/mnt"))
    target = Mount(source=Path("/srv/a"), target=PurePosixPath(f"/mnt/a{character}b"))
    for mount in (source, target):
        with pytest.raises(FaultError, match="take it apart"):
            patched(CREATED, wanted(mount))


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ('ID=nixos\nVERSION_ID="24.11"\n', False),
        ('ID=nixos\nVERSION_ID="25.05"\n', True),
        ("ID=nixos\nVERSION_ID=26.05\n", True),
        ('ID=debian\nVERSION_ID="26.10"\n', False),
        ("", False),
    ],
)
def test_the_release_says_whether_containers_have_users_of_their_own(text: str, known: bool) -> None:
    assert nixos_conf.has_private_users(text) is known


def test_it_is_written_in_one_step_and_leaves_nothing_else(tmp_path: Path) -> None:
    conf = tmp_path / "h-alice.conf"
    conf.write_text(CREATED)
    nixos_conf.write(conf, AFTER_25_05)
    assert conf.read_text() == AFTER_25_05
    assert conf.stat().st_mode & 0o777 == 0o644
    assert [*tmp_path.iterdir()] == [conf]


def test_white_space_quotes_and_joined_lines_mean_what_they_mean_to_systemd() -> None:
    text = 'A="a b" tail\nB = x y  \nC=a\\\nb\nD=it\'s\nE="q\\"q"\nF=\'\\n\'\nnothing\n'
    assert read(text) == {"A": "a btail", "B": "x y", "C": "ab", "D": "it's", "E": 'q"q', "F": "\\n"}


LINES = st.lists(
    st.one_of(
        st.tuples(st.sampled_from([*sorted(OWN), "FLAKE", "X", "MACVLANS"]), st.text("ab '\"\\#;\n=", max_size=8)).map(
            "=".join
        ),
        st.text("ab '\"\\#;=\n", max_size=8),
    ),
    max_size=8,
)


@given(LINES)
def test_any_file_says_what_is_wanted_and_keeps_what_is_not_ours(lines: list[str]) -> None:
    before = "\n".join(lines)
    after = patched(before, wanted())
    assert patched(after, wanted()) == after
    found = read(after)
    assert {key: found[key] for key in OWN} == read(patched("", wanted()))
    foreign = {key: value for key, value in read(before).items() if key not in OWN and key != "MACVLANS"}
    assert {key: value for key, value in found.items() if key not in OWN and key != "MACVLANS"} == foreign
