"""The modules for NixOS, evaluated: types, defaults, what is rendered, what is refused and with which words."""

import json
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hyperhive.config import agent_toml, schema, settings_file
from hyperhive.config.settings_file import (
    AccountSettings,
    AgentDefaults,
    DaemonSettings,
    DashboardSettings,
    NixosSettings,
)
from hyperhive.protocol.settings import AgentSettings
from nix_house import NIX, ROOT, Nix, NixError, to_nix

FILES = sorted([*NIX.rglob("*.nix"), *ROOT.glob("*.nix")])
KEYS = json.loads((NIX / "agent-keys.json").read_text())
STAND_IN = "/nix/store/stand-in"
EVERY_KIND = {"bool": True, "text": "example", "list": ["example"], "names": {"example": "example"}}
PATHS = {"claude_plugins": ["/example"]}


@pytest.fixture(scope="module")
def nix(tmp_path_factory: pytest.TempPathFactory) -> Nix:
    return Nix(tmp_path_factory.mktemp("nix"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_parses(nix: Nix, path: Path) -> None:
    nix.parse(path)


# agents


def test_an_agent_without_settings_has_none_in_its_json(nix: Nix) -> None:
    agent = nix.value("check.agent { }")

    assert agent["json"] == agent["file"] == "{}"
    assert (agent["failed"], agent["undeclared"]) == ([], [])
    assert msgspec.json.decode(agent["json"], type=AgentSettings) == AgentSettings()


def test_every_key_of_agent_toml_has_an_option_that_gives_the_same_settings(nix: Nix) -> None:
    table: dict[str, Any] = {}
    options: dict[str, Any] = {}
    for key in KEYS:
        path = PATHS.get(key["path"][-1])
        _put(table, key["path"], path or _sample(key["type"], as_option=False))
        _put(options, [_camel(word) for word in key["path"]], path or _sample(key["type"], as_option=True))

    agent = nix.value(f"check.agent {{ hyperhive = {to_nix(options)}; }}")

    assert agent["undeclared"] == []
    assert [*schema.faults(json.loads(agent["json"]), AgentSettings)] == []
    rendered = msgspec.json.decode(agent["json"], type=AgentSettings)
    assert rendered == msgspec.convert(table, AgentSettings)
    unset = {
        ".".join(path)
        for path, value in schema.values(rendered)
        if value == dict(schema.values(AgentSettings())).get(path)
    }
    assert unset <= {"packages.apt"}


def test_an_agent_toml_gives_the_same_as_its_options(nix: Nix, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "agent-toml.md").read_text().partition("```toml\n")[2].partition("```")[0]
    (tmp_path / "agent.toml").write_text(text)

    imported = nix.value(f"check.agent {{ hyperhive.settings = lib.importTOML {tmp_path}/agent.toml; }}")
    written = nix.value("""check.agent { hyperhive = {
        description = "reviews what the others made";
        model = "sonnet";
        systemPrompt = "You review code. Say what is wrong first, what is good last.\\n";
        allowedRecipients = [ "builder" "operator" ];
        tools.builtIn = [ "Bash" "Read" "Grep" ];
        allowedBashPatterns = [ "git *" "ls *" "pytest *" ];
        network.allow = [ "github.com" "example.org" ];
        limits.memory = "2G";
        extraMcpServers.tickets = {
            command = "tickets-mcp"; args = [ "--read-only" ]; allowedTools = [ "list_*" "get_*" ];
        };
    }; }""")

    assert json.loads(imported["json"]) == json.loads(written["json"]) == tomllib.loads(text)
    assert msgspec.json.decode(imported["json"], type=AgentSettings) == agent_toml.parse(text)


def test_compaction_is_switched_off_where_the_hive_has_it(nix: Nix) -> None:
    off = {"session": {"compact_at": 0}} if any(key["path"] == ["session", "compact_at"] for key in KEYS) else {}
    assert json.loads(nix.value("(check.agent { hyperhive.autoCompact = false; }).json")) == off
    assert nix.value("(check.agent { hyperhive.autoCompact = true; }).json") == "{}"


def test_the_same_setting_given_twice_and_differently_is_refused(nix: Nix) -> None:
    with pytest.raises(NixError, match=r"hyperhive\.settings\.model' has conflicting definition values"):
        nix.value('check.agent { hyperhive = { model = "opus"; settings.model = "haiku"; }; }')


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ('effortLevel = "enormous"', r"hyperhive\.(effort|effortLevel)' is not of type `null or one of"),
        ("limits.pids = 4", r"limits\.pids' is not of type `null or integer between 16 and 65536"),
        ('name = "a-name-too-long"', r"hyperhive\.name' is not of type"),
        ("extraMcpServers.x = { }", r"mcpServers\.x\.command' was accessed but has no value"),
    ],
)
def test_an_option_says_what_it_takes(nix: Nix, options: str, says: str) -> None:
    with pytest.raises(NixError, match=says):
        nix.value(f"check.agent {{ hyperhive = {{ {options}; }}; }}")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ('claudePlugins = [ "formatter@market" ]', "give the paths of directories"),
        ('packages.apt = [ "jq" ]', "use environment.systemPackages"),
        ('extraMcpServers.hyperhive.command = "x"', "the hive's own server"),
        ('name = "manager"', "is always a manager"),
    ],
)
def test_what_cannot_be_is_an_assertion_that_says_what_to_do(nix: Nix, options: str, says: str) -> None:
    (message,) = nix.value(f"(check.agent {{ hyperhive = {{ {options}; }}; }}).failed")
    assert says in message


def test_the_harness_finds_what_the_agent_installs_and_has_no_more_rights_than_it_needs(nix: Nix) -> None:
    agent = nix.value('check.agent { hyperhive.name = "scout"; }')
    service = agent["service"]

    assert "/run/current-system/sw" in service["path"]
    assert service["environment"]["HYPERHIVE_AGENT_CONFIG"] == "/run/hive/agent.json"
    assert service["environment"]["HYPERHIVE_CLAUDE"].endswith("claude-code/bin/claude")
    assert service["serviceConfig"]["ExecStart"].endswith("python -I -m hyperhive.harness.runner")
    assert (service["serviceConfig"]["User"], agent["user"]["uid"]) == ("agent", 1000)
    assert service["serviceConfig"]["NoNewPrivileges"]


def test_a_container_says_that_it_is_one_under_the_name_its_release_has(nix: Nix) -> None:
    assert nix.value("(check.agent { }).boot") == {"isNspawnContainer": True}
    assert nix.value("(check.agentOf ./old-nixos.nix { }).boot".replace("./", f"{NIX}/mini-lib/")) == {
        "isContainer": True
    }


def test_the_manager_is_one(nix: Nix) -> None:
    manager = nix.value("check.manager { }")
    assert json.loads(manager["json"]) == {"role": "manager"}
    assert manager["failed"] == []


def test_git_shows_the_manager_alone_the_history_of_systems(nix: Nix) -> None:
    assert nix.value("check.manager { }")["git"]["safe"] == {"directory": "/meta"}
    assert "safe" not in nix.value("check.agent { }")["git"]


# the host


def test_a_host_that_only_enables_it_is_shut_to_others_and_has_every_default(nix: Nix) -> None:
    host = nix.value("check.host { services.hive-c0re.enable = true; }")

    assert (host["failed"], host["warnings"], host["undeclared"]) == ([], [], [])
    assert (host["firewall"], host["nginx"]) == ([], None)
    assert host["containers"] is True
    assert host["settings"] == {
        "backend": "nixos",
        "manager": True,
        "dashboard": {"address": "127.0.0.1:7000"},
        "agents": {"cpu": "200%", "memory": "4G", "network": "allowlist"},
        "nixos": {"flake": "path:/hyperhive", "system": "x86_64-linux", "allow_unfree": ["claude-code"]},
    }


def test_the_daemon_reads_the_settings_that_the_module_writes(nix: Nix, tmp_path: Path) -> None:
    host = nix.value("""check.host { services.hive-c0re = {
        enable = true; manager = false; dashboardPort = 7001; domain = "hive.example.org"; gateway.enable = true;
        agents = { cpuQuota = "50%"; memoryMax = "1G"; network = "none"; }; credentialFile = "/run/secrets/claude";
    }; }""")
    (tmp_path / "settings.json").write_text(json.dumps(host["settings"]))

    assert settings_file.read(tmp_path / "settings.json") == DaemonSettings(
        backend="nixos",
        manager=False,
        dashboard=DashboardSettings(address="127.0.0.1:7001", url="https://hive.example.org"),
        agents=AgentDefaults(cpu="50%", memory="1G", network="none"),
        credential_file="/run/credentials/hive-c0re.service/claude",
        nixos=NixosSettings(flake="path:/hyperhive", allow_unfree=["claude-code"]),
    )
    assert f"--settings {STAND_IN}-hyperhive-settings.json" in host["service"]["serviceConfig"]["ExecStart"]


def test_the_daemon_s_unit_keeps_what_its_containers_need(nix: Nix) -> None:
    unit = nix.value("(check.host { services.hive-c0re.enable = true; }).service")
    service, path = unit["serviceConfig"], [one.rpartition("-")[2] for one in unit["path"]]

    assert (service["Type"], service["KillMode"], service["RuntimeDirectoryPreserve"]) == ("notify", "process", "yes")
    assert (service["StateDirectory"], service["RuntimeDirectory"]) == ("hyperhive", "hyperhive")
    assert {"git", "bubblewrap", "container", "/run/current"} <= {*path, "/run/current"}
    assert "/run/current-system/sw" in unit["path"]
    assert unit["environment"]["HYPERHIVE_GIT"].endswith("git/bin/git")
    assert service["NoNewPrivileges"]


def test_a_host_without_it_has_nothing_of_it(nix: Nix) -> None:
    host = nix.value("check.host { }")
    assert host["service"] is host["admins"] is host["containers"] is None
    assert host["failed"] == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("services.hyperhive.enable = true; services.hyperhive.dashboardPort = 1", "dashboardPort = 1"),
        ('services.hyperhive.c0re = { enable = true; agentMemoryMax = "1G"; }', 'agents.memoryMax = "1G"'),
    ],
)
def test_the_options_have_their_other_names(nix: Nix, old: str, new: str) -> None:
    one = nix.value(f"check.host {{ {old}; }}")
    other = nix.value(f"check.host {{ services.hive-c0re = {{ enable = true; {new}; }}; }}")
    assert {**one, "warnings": []} == other
    assert all("has been renamed to `services.hive-c0re." in warning for warning in one["warnings"])


def test_secrets_go_by_systemd_and_never_through_the_store(nix: Nix) -> None:
    host = nix.value("""check.host { services.hive-c0re = {
        enable = true;
        credentialFile = "/run/secrets/claude";
        dashboardAddress = "192.168.1.2";
        tls = { certificateFile = "/run/secrets/cert"; keyFile = "/run/secrets/key"; };
        accounts.research.credentialFile = "/run/secrets/research";
    }; }""")

    assert host["failed"] == []
    assert host["service"]["serviceConfig"]["LoadCredential"] == [
        "claude:/run/secrets/claude",
        "account-research:/run/secrets/research",
        "tls-cert:/run/secrets/cert",
        "tls-key:/run/secrets/key",
    ]
    assert host["settings"]["credential_file"] == "/run/credentials/hive-c0re.service/claude"
    assert host["settings"]["dashboard"]["tls_key"] == "/run/credentials/hive-c0re.service/tls-key"
    assert "/run/secrets" not in json.dumps(host["settings"])
    assert msgspec.convert(host["settings"], DaemonSettings).accounts == {
        "research": AccountSettings(credential_file="/run/credentials/hive-c0re.service/account-research")
    }


def test_the_gateway_is_nginx_on_the_domain_and_the_firewall_opens_when_told(nix: Nix) -> None:
    host = nix.value("""check.host { services.hive-c0re = {
        enable = true; gateway.enable = true; domain = "hive.example.org"; openFirewall = true;
    }; }""")

    assert host["failed"] == []
    assert host["firewall"] == [80, 443]
    assert host["settings"]["dashboard"] == {"address": "127.0.0.1:7000", "url": "https://hive.example.org"}
    assert host["nginx"]["virtualHosts"]["hive.example.org"]["locations"]["/"]["proxyPass"] == "http://127.0.0.1:7000"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("gateway.enable = true", "set services.hive-c0re.domain"),
        ('dashboardAddress = "0.0.0.0"', "can be reached from other machines"),
        ("openFirewall = true", "has nothing to open"),
        ('tls.certificateFile = "/x"', "set both"),
        ('adminUsers = [ "nobody-here" ]', "there is no user `nobody-here`"),
        ('credentialFile = builtins.storeDir + "/secret"', "would be in the store"),
        ('accounts.a.credentialFile = builtins.storeDir + "/secret"', "would be in the store"),
        ('accounts.A_b.credentialFile = "/x"', "a letter first"),
    ],
)
def test_a_host_that_cannot_work_says_what_to_change(nix: Nix, options: str, says: str) -> None:
    (message,) = nix.value(f"(check.host {{ services.hive-c0re = {{ enable = true; {options}; }}; }}).failed")
    assert says in message


# claude-code, which is not free software


SNIPPET = 'nixpkgs.config.allowUnfreePredicate = pkg: builtins.elem (lib.getName pkg) [ "claude-code" ];'


@pytest.mark.parametrize(
    "config",
    [
        "{ allowUnfree = true; }",
        '{ allowUnfreePredicate = pkg: builtins.elem (lib.getName pkg) [ "claude-code" ]; }',
        '{ allowlistedLicenses = [ "unfree" ]; }',
    ],
)
def test_who_allows_claude_in_one_of_nixpkgs_ways_has_it_and_so_have_the_agents(nix: Nix, config: str) -> None:
    host = nix.value(f"check.hostWith {config} {{ services.hive-c0re.enable = true; }}")
    agent = nix.value(f"check.agentWith {config} {{ }}")

    assert host["settings"]["nixos"]["allow_unfree"] == ["claude-code"]
    for unit in (host["service"], agent["service"]):
        assert unit["environment"]["HYPERHIVE_CLAUDE"] == f"{STAND_IN}-claude-code/bin/claude"


@pytest.mark.parametrize("config", ["{ }", "{ allowUnfreePredicate = pkg: false; }"])
def test_who_does_not_allow_claude_is_shown_how_and_nothing_allows_it_for_them(nix: Nix, config: str) -> None:
    for made in ("hostWith", "agentWith"):
        with pytest.raises(NixError) as refused:
            nix.value(f"(check.{made} {config} {{ services.hive-c0re.enable = true; }}).service")
        assert SNIPPET in str(refused.value)
    settings = nix.value(f"(check.hostWith {config} {{ services.hive-c0re.enable = true; }}).settings")
    assert settings["nixos"]["allow_unfree"] == []


def test_the_pages_show_what_to_write() -> None:
    assert SNIPPET in (ROOT / "README.md").read_text()
    assert SNIPPET in (ROOT / "docs" / "nixos.md").read_text()


def test_claude_is_of_nixpkgs_unstable_with_the_config_of_whoever_asks(nix: Nix) -> None:
    overlay = f"import {NIX}/overlays/claude-unstable.nix {{ nixpkgs-unstable = {NIX}/mini-lib/unstable.nix; }}"
    pkgs = '{ config = { allowUnfree = true; marked = 1; }; stdenv.hostPlatform.system = "aarch64-linux"; }'
    seen = nix.value(f"({overlay} {pkgs} {{ }}).claude-code.seen")
    assert seen == {"system": "aarch64-linux", "config": {"allowUnfree": True, "marked": 1}}


def _camel(key: str) -> str:
    first, *rest = key.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _sample(kind: dict[str, Any], *, as_option: bool) -> Any:
    """Some value of the type, none of which is a default."""
    match kind["is"]:
        case "int" | "float":
            return kind["to"] if kind["is"] == "int" else kind["to"] / 2
        case "one":
            return kind["values"][-1]
        case "list" | "names" if kind["of"]["is"] != "text":
            return [_sample(kind["of"], as_option=as_option)]
        case "tables":
            name = _camel if as_option else str
            return {"example": {name(key["name"]): _sample(key["type"], as_option=as_option) for key in kind["keys"]}}
    return EVERY_KIND[kind["is"]]


def _put(tree: dict[str, Any], path: list[str], value: Any) -> None:
    for word in path[:-1]:
        tree = tree.setdefault(word, {})
    tree[path[-1]] = value
