# What every agent's container has: the harness as a service, and somebody for it to run as.
{ lib, config, options, pkgs, ... }:
let
  inherit (lib) mkDefault mkOption types;

  cfg = config.hyperhive;
in
{
  imports = [ ./agent-options.nix ./left-out.nix ];

  options.hyperhive = {
    package = mkOption {
      type = types.package;
      default = pkgs.hyperhive;
      defaultText = lib.literalExpression "pkgs.hyperhive";
      description = "What the harness is from.";
    };
    claudePackage = mkOption {
      type = types.package;
      default = pkgs.claude-code;
      defaultText = lib.literalExpression "pkgs.claude-code";
      description = "Claude Code. It is not free software: whoever evaluates the system must have allowed it.";
    };
  };

  config = {
    # The name since 25.11; nixos-container refuses to update a system of that age which only says isContainer.
    boot = if options.boot ? isNspawnContainer then { isNspawnContainer = true; } else { isContainer = true; };

    systemd.services.hive-harness = {
      description = "The harness of agent ${cfg.name}";
      wantedBy = [ "multi-user.target" ];
      after = [ "network.target" ];
      # What the agent's own config puts on the system's path is what its Bash finds.
      path = [ "/run/current-system/sw" ];
      environment = {
        HOME = "/home/agent";
        LANG = "C.UTF-8";
        CLAUDE_CONFIG_DIR = "/home/agent/.claude";
        HYPERHIVE_SOCKET = "/run/hive/mcp.sock";
        HYPERHIVE_AGENT_CONFIG = "/run/hive/agent.json";
        HYPERHIVE_STATE = "/state";
        HYPERHIVE_CLAUDE = lib.getExe cfg.claudePackage;
      };
      serviceConfig = {
        ExecStart = "${cfg.package.python}/bin/python -I -m hyperhive.harness.runner";
        EnvironmentFile = "-/run/hive/environment";
        User = "agent";
        Group = "agent";
        WorkingDirectory = "/state";
        Restart = "always";
        RestartSec = "1s";
        # What it was given is unusable, or a newer one has taken over: trying again changes neither.
        RestartPreventExitStatus = [ 2 3 ];
        OOMPolicy = "continue";
        KillMode = "mixed";
        TimeoutStopSec = "60s";
        NoNewPrivileges = true;
        CapabilityBoundingSet = "";
        RestrictSUIDSGID = true;
        LockPersonality = true;
      };
    };

    users.users.agent = {
      uid = 1000;
      group = "agent";
      isNormalUser = true;
      home = "/home/agent";
    };
    users.groups.agent.gid = 1000;
    users.mutableUsers = mkDefault false;
    users.allowNoPasswordLogin = mkDefault true;

    programs.git = {
      enable = mkDefault true;
      config.user = {
        name = mkDefault cfg.name;
        email = mkDefault "${cfg.name}@hyperhive";
      };
    };

    # With the host's network these would be about the host's; with the container's own there is nothing to reach.
    networking.firewall.enable = mkDefault false;
    networking.useDHCP = mkDefault false;

    documentation.enable = mkDefault false;
    security.sudo.enable = mkDefault false;
    system.stateVersion = mkDefault config.system.nixos.release;
  };
}
