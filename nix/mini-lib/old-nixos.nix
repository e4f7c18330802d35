# As ./nixos.nix, of a release before 25.11.
{ lib, ... }:
{
  imports = [ ./nixos-common.nix ];
  options.boot.isContainer = lib.mkOption { type = lib.types.bool; default = false; };
}
