"""The daemon's settings file: JSON that whoever set the host up has written, as the module for NixOS does."""

from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from hyperhive.config import schema
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.settings import AccountName

MAX_BYTES: Final = 256 * 1024


class DashboardSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    enable: Annotated[bool, Meta(description="whether there is one")] = True
    address: Annotated[str, Meta(description="where it listens, HOST:PORT; port 0 is a free one")] = "127.0.0.1:7000"
    url: Annotated[str, Meta(description="how browsers reach it by another name, as `https://hive.example.org`")] = ""
    tls_cert: Annotated[str, Meta(description="path of its certificate with the chain, in PEM")] = ""
    tls_key: Annotated[str, Meta(description="path of the certificate's key, in PEM")] = ""


class AgentDefaults(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What holds for an agent whose config says nothing of it."""

    cpu: (
        Annotated[str, Meta(min_length=1, description="`limits.cpu` of an agent whose config says nothing of it")]
        | None
    ) = None
    memory: Annotated[str, Meta(min_length=1, description="the same for `limits.memory`")] | None = None
    network: (
        Annotated[Literal["none", "allowlist", "host"], Meta(description="the same for `network.mode`")] | None
    ) = None

    def beneath(self) -> dict[str, Any]:
        """As a table of agent.toml."""
        limits = {"cpu": self.cpu, "memory": self.memory}
        return {
            "limits": {key: value for key, value in limits.items() if value is not None},
            "network": {} if self.network is None else {"mode": self.network},
        }


class NixosSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the systems of agents are made with."""

    flake: Annotated[str, Meta(description="on NixOS: the flake of hyperhive that agents' systems are made with")] = ""
    system: Annotated[str, Meta(description="on NixOS: for which machines, such as `x86_64-linux`")] = "x86_64-linux"
    allow_unfree: Annotated[
        list[str],
        Meta(max_length=500, description="on NixOS: packages that are not free software and that agents may have"),
    ] = []


class AccountSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    credential_file: Annotated[
        str,
        Meta(min_length=1, description="file with a further credential, for agents whose config names the account"),
    ]


class DaemonSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    backend: Annotated[Literal["bubblewrap", "nspawn", "nixos"], Meta(description="how containers are made")] = (
        "bubblewrap"
    )
    manager: Annotated[bool, Meta(description="whether the hive makes a manager when there is none")] = True
    log_format: Annotated[Literal["auto", "text", "json"], Meta(description="how the log is written")] = "auto"
    dashboard: DashboardSettings = DashboardSettings()
    agents: AgentDefaults = AgentDefaults()
    credential_file: Annotated[
        str,
        Meta(description="file with the hive's own credential, as `hive auth set` takes it; it is read at each start"),
    ] = ""
    accounts: Annotated[dict[AccountName, AccountSettings], Meta(max_length=100)] = {}
    disk_floor_mib: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=1 << 30,
                description="MiB free where the state directory is: when it is less, the agent that fills the disk is "
                "stopped; 0: none is; without it 1 GiB or 2 %, whichever is more, and at most a tenth of the disk",
            ),
        ]
        | None
    ) = None
    nixos: NixosSettings = NixosSettings()


def read(path: Path) -> DaemonSettings:
    """Raises FaultError (`bad_config`) that lists everything that is wrong with the file, one a line."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise _bad(path, f" it is larger than {MAX_BYTES} bytes")
        table = msgspec.json.decode(data)
    except OSError as error:
        raise _bad(path, f" {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _bad(path, f" it is not JSON: {error}") from None
    if not isinstance(table, dict):
        raise _bad(path, " it is not a JSON object")
    if found := [*schema.faults(table, DaemonSettings)]:
        raise _bad(path, "".join(f"\n  {fault.text}" for fault in found))
    return msgspec.convert(schema.plain(table, DaemonSettings), DaemonSettings)


def _bad(path: Path, reason: str) -> FaultError:
    return FaultError(FaultKind.BAD_CONFIG, f"cannot use the settings file {path}:{reason}")
