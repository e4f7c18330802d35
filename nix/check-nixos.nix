# What NixOS itself makes of our modules: `make nix-check NIXPKGS=DIR`. Builds nothing; claude-code and hyperhive are
# stand-ins, so that only the modules are asked.
{ nixpkgs, system ? builtins.currentSystem }:
let
  lib = import (nixpkgs + "/lib");
  standIns = final: _: {
    hyperhive = final.hello // { python = final.python3; };
    claude-code = final.hello;
  };
  evaluate =
    modules:
    (import (nixpkgs + "/nixos/lib/eval-config.nix") {
      inherit lib;
      system = null;
      modules = [ { nixpkgs.hostPlatform = system; nixpkgs.overlays = [ standIns ]; system.stateVersion = lib.trivial.release; } ] ++ modules;
    }).config;

  host = evaluate [
    ./modules/hive-c0re.nix
    {
      boot.loader.grub.device = "nodev";
      fileSystems."/".device = "/dev/none";
      services.hive-c0re = { enable = true; flake = "path:/hyperhive"; adminUsers = [ "me" ]; };
      users.users.me.isNormalUser = true;
    }
  ];
  agent = evaluate [ ./modules/agent-base.nix { hyperhive.name = "scout"; hyperhive.model = "sonnet"; } ];
in
{
  # Forces every assertion, and every option that a system is made of.
  host = builtins.seq host.system.build.toplevel.drvPath host.systemd.units."hive-c0re.service".text;
  agent = builtins.seq agent.system.build.toplevel.drvPath agent.systemd.units."hive-harness.service".text;
  agentJson = agent.environment.etc."hyperhive/agent.json".text;
}
