# A system of an agent without any config of its own.
{ lib, ... }:
{
  imports = [ ./harness-base.nix ];

  hyperhive.name = lib.mkDefault "agent";
}
