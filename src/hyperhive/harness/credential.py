"""The hive's credential, asked for whenever claude starts: it is in claude's environment, and kept nowhere."""

from collections.abc import Callable, Mapping

from hyperhive.harness.link import Link
from hyperhive.protocol import agent
from hyperhive.protocol.agent import CredentialMark, Welcome
from hyperhive.protocol.rpc import Nothing


class Credential:
    """`on_change` is called when the hive has another one, or, with False, none any more."""

    def __init__(self, link: Link, *, wanted: bool) -> None:
        self._link = link
        self._wanted = wanted
        self._mark: str | None = None  # None: the hive has not said yet whether it has one
        self.on_change: Callable[[bool], None] = lambda _: None
        link.on_welcome.append(self._welcomed)
        link.serve(agent.CREDENTIAL_CHANGED, self._changed)

    @property
    def is_there(self) -> bool:
        """Whether the hive has one for this agent, as far as it has said."""
        return self._wanted and bool(self._mark)

    async def variables(self) -> Mapping[str, str]:
        """For a claude that starts now; empty for an agent with a login of its own. Waits while the hive is away."""
        if not self._wanted:
            return {}
        credential = await self._link.insist(agent.CREDENTIAL, lambda _: Nothing())
        self._mark = credential.mark
        return credential.env

    def _welcomed(self, welcome: Welcome) -> None:
        if self._mark is None:
            self._mark = welcome.credential
        self._take(welcome.credential)

    def _changed(self, changed: CredentialMark) -> Nothing:
        self._take(changed.mark)
        return Nothing()

    def _take(self, mark: str) -> None:
        if self._wanted and mark != self._mark:
            self._mark = mark
            self.on_change(bool(mark))
