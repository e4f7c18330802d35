"""The ways in which containers are made."""

from enum import StrEnum


class BackendKind(StrEnum):
    BUBBLEWRAP = "bubblewrap"
    NSPAWN = "nspawn"
    NIXOS = "nixos"
