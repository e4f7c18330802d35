# nixpkgs-unstable, as far as claude-code: not free, and refused as nixpkgs does unless its config says otherwise.
{ system, config }:
let
  lib = import ./.;
  claude = {
    pname = "claude-code";
    name = "claude-code-1";
    outPath = "/nix/store/stand-in-claude-code";
    meta.mainProgram = "claude";
    type = "derivation";
    seen = { inherit system; config = lib.filterAttrs (_: value: !(builtins.isFunction value)) config; };
  };
  isAllowed = config.allowUnfree or false || (config.allowUnfreePredicate or (_: false)) claude || config ? allowlistedLicenses;
  refused = throw "Package ‘claude-code-1’ has an unfree license (‘unfree’), refusing to evaluate.";
in
{
  claude-code = if isAllowed then claude // { drvPath = "${claude.outPath}.drv"; } else claude // { drvPath = refused; outPath = refused; };
}
