# The few options of NixOS itself that our modules read, or that more than one module sets. All others are taken as they come.
{ lib, ... }:
let
  inherit (lib.types) anything attrsOf listOf str;
  open = default: lib.mkOption { type = anything; inherit default; };
  named = lib.mkOption { type = attrsOf anything; default = { }; };
  many = lib.mkOption { type = listOf anything; default = [ ]; };
in
{
  options = {
    assertions = many;
    warnings = lib.mkOption { type = listOf str; default = [ ]; };
    boot.enableContainers = open null;
    environment.systemPackages = many;
    networking.firewall.allowedTCPPorts = many;
    nix.package = open { type = "derivation"; name = "nix"; outPath = "/nix/store/stand-in-nix"; };
    nixpkgs.config = open { };
    nixpkgs.overlays = many;
    services.nginx = open null;
    system.nixos.release = open "25.11";
    systemd.services = named;
    users.groups = named;
    users.users = named;
  };
}
