# The manager's system: it may look at configs, so it has what shows them.
{ lib, pkgs, ... }:
{
  imports = [ ./harness-base.nix ];

  hyperhive.name = lib.mkDefault "manager";
  hyperhive.role = lib.mkDefault "manager";
  # The hive's flake of systems belongs to root, and git shows nobody the history of what is somebody else's.
  programs.git.config.safe.directory = lib.mkDefault "/meta";
  environment.systemPackages = [ pkgs.git pkgs.ripgrep pkgs.jq ];
}
