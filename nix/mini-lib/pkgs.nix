# Packages in name only: what modules name of them can be seen in what they render.
{ lib }:
let
  package = name: rec {
    type = "derivation";
    pname = name;
    inherit name;
    version = "0";
    outPath = "/nix/store/stand-in-${name}";
    drvPath = "${outPath}.drv";
    meta.mainProgram = name;
  };
  json = lib.types.nullOr (lib.types.oneOf [ lib.types.bool lib.types.number lib.types.str (lib.types.attrsOf json) (lib.types.listOf json) ]) // { description = "JSON value"; nested = json; };
in
lib.genAttrs [ "bashInteractive" "bubblewrap" "git" "jq" "nix" "nixos-container" "ripgrep" "systemd" "util-linux" ] package
// {
  hyperhive = package "hyperhive" // { python = package "hyperhive-python"; meta.mainProgram = "hive"; };
  claude-code = package "claude-code" // { meta.mainProgram = "claude"; };
  formats.json = _: { type = json; generate = name: _: "/nix/store/stand-in-${name}"; };
  config = { };
  stdenv.hostPlatform.system = "x86_64-linux";
}
