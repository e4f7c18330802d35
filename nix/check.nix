# What our modules make of configs, as values to look at: `nix-instantiate --eval --strict --json nix/check.nix -A ...`.
# With our stand-in for nixpkgs' lib it takes no nixpkgs; `make nix-check NIXPKGS=DIR` gives it the real lib.
{
  lib ? import ./mini-lib,
}:
let
  pkgsWith = config: import ./mini-lib/pkgs.nix { inherit lib; } // { inherit config; };

  evaluate =
    { nixos ? ./mini-lib/nixos.nix, nixpkgsConfig ? { } }: modules:
    lib.evalModules {
      modules = [
        nixos
        {
          freeformType = lib.types.lazyAttrsOf lib.types.anything;
          config._module.args.pkgs = pkgsWith nixpkgsConfig;
        }
      ]
      ++ modules;
    };

  failed = config: map (one: one.message) (lib.filter (one: !one.assertion) config.assertions);

  undeclared = options: config: lib.attrNames (removeAttrs config (lib.attrNames options));

  system =
    options: modules:
    let
      found = evaluate options modules;
      inherit (found) config;
    in
    {
      # Real NixOS refuses them; here what is not declared may be its.
      undeclared = undeclared found.options.hyperhive config.hyperhive;
      json = config.hyperhive.agentJson;
      file = config.environment.etc."hyperhive/agent.json".text;
      failed = failed config;
      inherit (config) boot;
      service = config.systemd.services.hive-harness;
      user = config.users.users.agent;
    };

  hostWith =
    nixpkgsConfig: module:
    let
      found = evaluate { inherit nixpkgsConfig; } [
        ./modules/hive-c0re.nix
        { services.hive-c0re.flake = lib.mkDefault "path:/hyperhive"; }
        module
      ];
      inherit (found) config;
    in
    {
      inherit (config) warnings;
      inherit (config.services.hive-c0re) settings;
      undeclared = undeclared found.options.services.hive-c0re config.services.hive-c0re;
      failed = failed config;
      service = config.systemd.services.hive-c0re or null;
      firewall = config.networking.firewall.allowedTCPPorts or [ ];
      admins = config.users.groups.hive-admin.members or null;
      nginx = config.services.nginx or null;
      containers = config.boot.enableContainers or null;
    };
in
{
  agent = module: system { } [ ./modules/agent-base.nix module ];
  agentOf = nixos: module: system { inherit nixos; } [ ./modules/agent-base.nix module ];
  manager = module: system { } [ ./modules/manager.nix module ];
  host = hostWith { };
  inherit hostWith evaluate;
}
