"""What the manager is told of: JSON messages from `system`, each with its `event`. Without a manager nobody reads
them."""

from typing import Any, Final

import msgspec

from hyperhive.broker.approvals import ApprovalRow
from hyperhive.broker.notices import Notice
from hyperhive.protocol.ids import MANAGER, OPERATOR

_encode: Final = msgspec.json.Encoder().encode


def helper_event(event: str, **fields: Any) -> Notice:
    """Fields that are None or empty are left out."""
    told = {name: value for name, value in fields.items() if value is not None and value != ""}
    return Notice(recipient=MANAGER, body=_encode({"event": event, **told}).decode())


def approval_resolved(row: ApprovalRow, status: str, note: str = "", tag: str = "") -> Notice:
    """To whoever asked for it; of what the operator asked for the manager hears."""
    return Notice(
        recipient=MANAGER if row.requester == OPERATOR else row.requester,
        body=helper_event(
            "approval_resolved", id=row.id, agent=row.agent, kind=row.kind, commit_ref=row.commit_ref, status=status,
            note=note, sha=row.fetched_sha, tag=tag,
        ).body,
    )  # fmt: skip
