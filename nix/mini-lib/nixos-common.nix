# The few options of NixOS itself that our modules read. All others are taken as they come.
{ lib, ... }:
let
  open = default: lib.mkOption { type = lib.types.anything; inherit default; };
in
{
  options = {
    assertions = lib.mkOption { type = lib.types.listOf lib.types.anything; default = [ ]; };
    warnings = lib.mkOption { type = lib.types.listOf lib.types.str; default = [ ]; };
    system.nixos.release = open "25.11";
    nixpkgs.config = open { };
    nix.package = open { type = "derivation"; name = "nix"; outPath = "/nix/store/stand-in-nix"; };
    users.users = lib.mkOption { type = lib.types.attrsOf lib.types.anything; default = { }; };
  };
}
