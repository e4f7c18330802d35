{ lib, ... }:
{
  imports = [ ./hardware-configuration.nix ];

  services.hive-c0re.enable = true;
  services.hive-c0re.adminUsers = [ "me" ];
  users.users.me.isNormalUser = true;

  # claude-code is not free software; hyperhive does not allow it for you.
  nixpkgs.config.allowUnfreePredicate = pkg: builtins.elem (lib.getName pkg) [ "claude-code" ];
}
