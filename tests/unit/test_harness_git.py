from pathlib import Path

from hyperhive.harness import git
from hyperhive.protocol.settings import AgentDocument, AgentSettings


def document(name: str) -> AgentDocument:
    return AgentDocument(name=name, settings=AgentSettings(), peers=["coder", "manager"])


def test_only_the_managers_git_reads_what_is_applied_and_nobodys_reads_whatever_there_is() -> None:
    manager = git.config(document("manager"))
    assert "directory = /applied/coder\n" in manager
    assert "directory = /applied/coder/.git\n" in manager
    assert "*" not in manager
    assert "safe" not in git.config(document("coder"))


def test_what_the_agent_wrote_itself_is_kept(tmp_path: Path) -> None:
    git.configure(tmp_path, document("coder"))
    assert "name = coder\n" in (tmp_path / ".gitconfig").read_text()
    (tmp_path / ".gitconfig").write_text("mine")
    git.configure(tmp_path, document("coder"))
    assert (tmp_path / ".gitconfig").read_text() == "mine"


def test_a_home_that_cannot_be_written_costs_only_this(tmp_path: Path) -> None:
    git.configure(tmp_path / "missing", document("coder"))
