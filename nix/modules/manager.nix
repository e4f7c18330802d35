# The manager's system: it may look at configs, so it has what shows them.
{ lib, pkgs, ... }:
{
  imports = [ ./harness-base.nix ];

  hyperhive.name = lib.mkDefault "manager";
  hyperhive.role = lib.mkDefault "manager";
  environment.systemPackages = [ pkgs.git pkgs.ripgrep pkgs.jq ];
}
