# The host's module: the daemon as a unit, who may use it, and what of the host it needs.
{ lib, config, pkgs, ... }:
let
  inherit (lib) mkDefault mkIf mkMerge optional optionals;

  cfg = config.services.hive-c0re;
  options = import ./hive-c0re-options.nix { inherit lib pkgs; };
  settingsFile = (pkgs.formats.json { }).generate "hyperhive-settings.json" cfg.settings;

  credentials = "/run/credentials/hive-c0re.service";
  hasTls = cfg.tls.certificateFile != null && cfg.tls.keyFile != null;
  isLoopback = lib.elem cfg.dashboardAddress [ "127.0.0.1" "::1" "localhost" ];
  address = if lib.hasInfix ":" cfg.dashboardAddress then "[${cfg.dashboardAddress}]" else cfg.dashboardAddress;
  dashboard = "${address}:${toString cfg.dashboardPort}";
  isInStore = file: file != null && lib.hasPrefix builtins.storeDir (toString file);

  # What the operator's own nixpkgs.config says to claude-code, in whichever way, for the systems of agents.
  allowsClaude = (builtins.tryEval (builtins.seq pkgs.claude-code.drvPath true)).success;

  paths =
    set: lib.concatMap (name: if lib.isOption set.${name} then [ [ name ] ] else map (path: [ name ] ++ path) (paths set.${name})) (lib.attrNames set);
  alias = path: lib.mkAliasOptionModule ([ "services" "hyperhive" ] ++ path) ([ "services" "hive-c0re" ] ++ path);
  renamed = from: to: lib.mkRenamedOptionModule ([ "services" "hyperhive" "c0re" ] ++ from) ([ "services" "hive-c0re" ] ++ to);
in
{
  imports = map alias (paths options) ++ [
    (renamed [ "enable" ] [ "enable" ])
    (renamed [ "package" ] [ "package" ])
    (renamed [ "adminUsers" ] [ "adminUsers" ])
    (renamed [ "agentCpuQuota" ] [ "agents" "cpuQuota" ])
    (renamed [ "agentMemoryMax" ] [ "agents" "memoryMax" ])
  ];

  options.services.hive-c0re = options;

  config = mkIf cfg.enable {
    services.hive-c0re.settings = {
      backend = cfg.backend;
      manager = cfg.manager;
      dashboard = mkMerge [
        { address = dashboard; }
        (mkIf (cfg.domain != null) { url = "https://${cfg.domain}"; })
        (mkIf hasTls { tls_cert = "${credentials}/tls-cert"; tls_key = "${credentials}/tls-key"; })
      ];
      agents = {
        cpu = cfg.agents.cpuQuota;
        memory = cfg.agents.memoryMax;
        network = cfg.agents.network;
      };
      credential_file = mkIf (cfg.credentialFile != null) "${credentials}/claude";
      accounts = mkIf (cfg.accounts != { }) (lib.mapAttrs (name: _: { credential_file = "${credentials}/account-${name}"; }) cfg.accounts);
      nixos = mkIf (cfg.backend == "nixos") {
        inherit (cfg) flake;
        inherit (pkgs.stdenv.hostPlatform) system;
        allow_unfree = optional allowsClaude "claude-code";
      };
    };

    systemd.services.hive-c0re = {
      description = "hyperhive, a hive of Claude Code agents";
      wantedBy = [ "multi-user.target" ];
      wants = [ "network-online.target" ];
      after = [ "network-online.target" ];
      path = [ pkgs.git pkgs.bubblewrap pkgs.util-linux config.nix.package ]
        ++ optional (cfg.backend == "nixos") pkgs.nixos-container
        ++ [ "/run/current-system/sw" ];
      environment = {
        HYPERHIVE_GIT = lib.getExe pkgs.git;
        HYPERHIVE_CLAUDE = lib.getExe cfg.claudePackage;
        HYPERHIVE_STATE_DIR = "/var/lib/hyperhive";
        HYPERHIVE_RUNTIME_DIR = "/run/hyperhive";
      };
      serviceConfig = {
        Type = "notify";
        ExecStart = "${lib.getExe cfg.package} serve --settings ${settingsFile}";
        Restart = "on-failure";
        RestartSec = "2s";
        TimeoutStartSec = "5min";
        LoadCredential =
          optional (cfg.credentialFile != null) "claude:${toString cfg.credentialFile}"
          ++ map (name: "account-${name}:${toString cfg.accounts.${name}.credentialFile}") (lib.attrNames cfg.accounts)
          ++ optionals hasTls [ "tls-cert:${toString cfg.tls.certificateFile}" "tls-key:${toString cfg.tls.keyFile}" ];

        StateDirectory = "hyperhive";
        StateDirectoryMode = "0755";
        RuntimeDirectory = "hyperhive";
        RuntimeDirectoryMode = "0755";
        # Containers have its files bound: they outlive the daemon, and so must the directory.
        RuntimeDirectoryPreserve = "yes";
        KillMode = "process";
        Delegate = true;

        # It makes images, mounts for them and switches to their users, and what is said here holds for that, too: no file
        # system, namespace or system call can be taken from it. What no part of it needs is. Containers are units of
        # their own.
        NoNewPrivileges = true;
        CapabilityBoundingSet = "~CAP_SYS_BOOT CAP_SYS_MODULE CAP_SYS_RAWIO CAP_SYS_TIME CAP_SYSLOG CAP_WAKE_ALARM CAP_BPF CAP_PERFMON";
        KeyringMode = "private";
        LockPersonality = true;
        RestrictRealtime = true;
        SystemCallArchitectures = "native";
        UMask = "0022";
      };
    };

    # Containers made by nixos-container alone do not bring it since 25.11.
    boot.enableContainers = mkIf (cfg.backend == "nixos") (mkDefault true);

    environment.systemPackages = [ cfg.package pkgs.bubblewrap ];
    environment.etc."hyperhive/settings.json".source = settingsFile;

    users.groups.hive-admin.members = cfg.adminUsers;

    networking.firewall.allowedTCPPorts =
      optionals cfg.openFirewall (if cfg.gateway.enable then [ 80 443 ] else [ cfg.dashboardPort ]);

    services.nginx = mkIf cfg.gateway.enable {
      enable = true;
      recommendedTlsSettings = mkDefault true;
      virtualHosts.${if cfg.domain == null then "_" else cfg.domain} = {
        forceSSL = true;
        enableACME = mkDefault true;
        locations."/" = {
          proxyPass = "http://${dashboard}";
          extraConfig = ''
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_http_version 1.1;
            proxy_buffering off;
            proxy_read_timeout 1h;
          '';
        };
      };
    };

    assertions = [
      {
        assertion = cfg.gateway.enable -> cfg.domain != null;
        message = "services.hive-c0re.gateway needs the name that browsers use; set services.hive-c0re.domain.";
      }
      {
        assertion = cfg.gateway.enable -> !hasTls;
        message = "services.hive-c0re.gateway speaks TLS itself; take services.hive-c0re.tls out, or the gateway.";
      }
      {
        assertion = (cfg.tls.certificateFile == null) == (cfg.tls.keyFile == null);
        message = "services.hive-c0re.tls: set both certificateFile and keyFile, or neither.";
      }
      {
        assertion = isLoopback || hasTls;
        message = "services.hive-c0re.dashboardAddress ${cfg.dashboardAddress} can be reached from other machines, and without TLS whoever listens there reads your session; set services.hive-c0re.tls, or stay on 127.0.0.1.";
      }
      {
        assertion = cfg.openFirewall -> cfg.gateway.enable || !isLoopback;
        message = "services.hive-c0re.openFirewall has nothing to open: the dashboard listens on the loopback only; enable the gateway, or set dashboardAddress and tls.";
      }
      {
        assertion = lib.all (name: builtins.match "[a-z][a-z0-9-]{0,30}" name != null) (lib.attrNames cfg.accounts);
        message = "services.hive-c0re.accounts: names have lower-case letters, digits and dashes, a letter first.";
      }
      {
        assertion = !(lib.any isInStore ([ cfg.credentialFile cfg.tls.keyFile ] ++ map (one: one.credentialFile) (lib.attrValues cfg.accounts)));
        message = "services.hive-c0re: credentialFile, those of accounts and tls.keyFile would be in the store, which everybody can read; give their paths as strings, outside of your configuration.";
      }
    ]
    ++ map (user: {
      assertion = config.users.users ? ${user};
      message = "services.hive-c0re.adminUsers: there is no user `${user}` in users.users.";
    }) cfg.adminUsers;
  };
}
