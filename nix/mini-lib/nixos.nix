# What ./nixos-common.nix has, and what is new in 25.11.
{ lib, ... }:
{
  imports = [ ./nixos-common.nix ];
  options.boot.isNspawnContainer = lib.mkOption { type = lib.types.bool; default = false; };
}
