"""What `hive doctor` says of one thing that it looked at."""

import msgspec


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One answer. `remedy` says what to do when it is not `ok`; where it is `needed` the doctor then ends with 1."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""
    needed: bool = True
