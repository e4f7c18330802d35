# The system of one agent, from its name and its modules; the flake's lib.mkAgent.
{ lib, nixosModules }:
{
  name,
  modules ? [ ],
  manager ? name == "manager",
  system ? "x86_64-linux",
  # Names of packages that are not free software and that the operator has allowed to the agents.
  allowUnfree ? [ ],
  # Settings as of agent.toml that the agent's own ones go before.
  defaults ? { },
  specialArgs ? { },
}:
lib.nixosSystem {
  inherit specialArgs;
  modules = [
    (if manager then nixosModules.manager else nixosModules.agent-base)
    {
      hyperhive.name = name;
      hyperhive.settings = lib.mapAttrsRecursive (_: lib.mkDefault) defaults;
      networking.hostName = lib.mkDefault name;
      nixpkgs.hostPlatform = lib.mkDefault system;
      nixpkgs.config = lib.optionalAttrs (allowUnfree != [ ]) {
        allowUnfreePredicate = package: lib.elem (lib.getName package) allowUnfree;
      };
    }
  ]
  ++ modules;
}
