# claude-code from nixpkgs-unstable, because a stable release is months behind what agents need, with the config of whoever
# applies the overlay. It is not free software, and allowing it is theirs: nothing here does.
{ nixpkgs-unstable }:
final: prev:
let
  config = final.config or { };
  asked = { pname = "claude-code"; name = "claude-code-0"; version = "0"; };
  unstable = import nixpkgs-unstable { inherit (final.stdenv.hostPlatform) system; inherit config; };
  isAllowed =
    config.allowUnfree or false
    || (config.allowUnfreePredicate or (_: false)) asked
    # Allowed in one of the other ways that nixpkgs has: it says so by itself.
    || (builtins.tryEval unstable.claude-code.drvPath).success;
in
{
  claude-code =
    if isAllowed then unstable.claude-code
    else throw ''
      hyperhive: claude-code is not free software, and this evaluation does not allow it. Allow it yourself, in the config of the host:

        nixpkgs.config.allowUnfreePredicate = pkg: builtins.elem (lib.getName pkg) [ "claude-code" ];

      or for everything: nixpkgs.config.allowUnfree = true;
      Agents get the host's answer; a system made by lib.mkAgent is told with allowUnfree = [ "claude-code" ].
    '';
}
