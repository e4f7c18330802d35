# The options of the host's module, below services.hive-c0re.
{ lib, pkgs }:
let
  inherit (lib) literalExpression mkEnableOption mkOption types;
in
{
  enable = mkEnableOption "hyperhive, a daemon that runs Claude Code agents in containers";

  package = mkOption {
    type = types.package;
    default = pkgs.hyperhive;
    defaultText = literalExpression "pkgs.hyperhive";
    description = "What the daemon and the commands are from.";
  };

  claudePackage = mkOption {
    type = types.package;
    default = pkgs.claude-code;
    defaultText = literalExpression "pkgs.claude-code";
    description = "Claude Code. It is not free software: your `nixpkgs.config` must allow it.";
  };

  backend = mkOption {
    type = types.enum [ "nixos" "nspawn" "bubblewrap" ];
    default = "nixos";
    description = "How containers are made. `nixos`: each agent is a system of its own, from its agent.nix.";
  };

  flake = mkOption {
    type = types.str;
    example = "git+https://YOUR-FORGE/hyperhive";
    description = "The flake that agents' systems are made with. By default the one that this module is from.";
  };

  manager = mkOption {
    type = types.bool;
    default = true;
    description = "Whether the hive makes a manager when there is none. It needs a login, and its turns cost.";
  };

  adminUsers = mkOption {
    type = types.listOf types.str;
    default = [ ];
    example = [ "me" ];
    description = "Who may do everything with the hive: members of the group `hive-admin`. It is as much as root's rights.";
  };

  dashboardPort = mkOption {
    type = types.port;
    default = 7000;
    description = "Where the dashboard listens.";
  };

  dashboardAddress = mkOption {
    type = types.str;
    default = "127.0.0.1";
    example = "192.168.1.2";
    description = "The address that it listens on. Beyond the loopback it takes `tls`.";
  };

  domain = mkOption {
    type = types.nullOr types.str;
    default = null;
    example = "hive.example.org";
    description = "By which name browsers reach the dashboard, over HTTPS.";
  };

  tls.certificateFile = mkOption {
    type = types.nullOr types.path;
    default = null;
    example = "/var/lib/acme/hive.example.org/fullchain.pem";
    description = "The dashboard's certificate with its chain, in PEM.";
  };

  tls.keyFile = mkOption {
    type = types.nullOr types.path;
    default = null;
    example = "/var/lib/acme/hive.example.org/key.pem";
    description = "The certificate's key, in PEM. Systemd hands it to the daemon; it is never in the store.";
  };

  credentialFile = mkOption {
    type = types.nullOr types.path;
    default = null;
    example = "/run/secrets/claude";
    description = ''
      A file with the hive's own credential for claude, as `hive auth set` takes it: an API key or a token of
      `claude setup-token`, or lines `NAME=VALUE`. Agents get it whose config says `credentials = "hive"`. Systemd hands
      the file to the daemon; it is never in the store. A new content takes a restart of the daemon.
    '';
  };

  accounts = mkOption {
    type = types.attrsOf (
      types.submodule {
        options.credentialFile = mkOption {
          type = types.path;
          example = "/run/secrets/claude-research";
          description = "A file with the account's credential, as `credentialFile` above.";
        };
      }
    );
    default = { };
    example = literalExpression ''{ research.credentialFile = "/run/secrets/claude-research"; }'';
    description = ''
      Further accounts, by names that agents' configs say: `credentials = "hive"` and `account = "research"`. A usage limit of
      an account holds those who use it and nobody else.
    '';
  };

  agents.cpuQuota = mkOption {
    type = types.strMatching "[1-9][0-9]*%";
    default = "200%";
    description = "Processor time of an agent whose config says nothing of it: a percentage of one core.";
  };

  agents.memoryMax = mkOption {
    type = types.strMatching "[1-9][0-9]*[KMGT]?";
    default = "4G";
    description = "Memory of an agent whose config says nothing of it.";
  };

  agents.network = mkOption {
    type = types.enum [ "none" "allowlist" "host" ];
    default = "allowlist";
    description = ''
      Network of an agent whose config says nothing of it. `none`; `allowlist`: through the hive's proxy to named hosts
      only; `host`: the host's own network, its loopback services included.
    '';
  };

  gateway.enable = mkEnableOption "nginx in front of the dashboard, with a certificate by ACME for `domain`";

  openFirewall = mkOption {
    type = types.bool;
    default = false;
    description = ''
      Whether other machines reach it: with `gateway` ports 80 and 443, else `dashboardPort`. Without it the firewall
      stays shut.
    '';
  };

  settings = mkOption {
    type = types.submodule { freeformType = (pkgs.formats.json { }).type; };
    default = { };
    description = "What is in the daemon's settings file; the options beside this one set it.";
  };
}
