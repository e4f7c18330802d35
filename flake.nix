{
  description = "Run a team of Claude Code agents on your own Linux machine, and trust it";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";
    # For claude-code alone.
    nixpkgs-unstable.url = "github:NixOS/nixpkgs/nixos-unstable";
  };

  outputs =
    { self, nixpkgs, nixpkgs-unstable }:
    let
      inherit (nixpkgs) lib;
      systems = [ "x86_64-linux" "aarch64-linux" ];
      pkgsOf = system: nixpkgs.legacyPackages.${system}.extend self.overlays.default;
      forEachSystem = make: lib.genAttrs systems (system: make (pkgsOf system));

      withOverlays = module: {
        imports = [ module ];
        nixpkgs.overlays = [ self.overlays.default self.overlays.claude-unstable ];
      };
    in
    {
      overlays.default = final: _: { hyperhive = final.callPackage ./nix/package.nix { }; };
      overlays.claude-unstable = import ./nix/overlays/claude-unstable.nix { inherit nixpkgs-unstable; };

      nixosModules = rec {
        hive-c0re = {
          imports = [ (withOverlays ./nix/modules/hive-c0re.nix) ];
          services.hive-c0re.flake = lib.mkDefault "path:${self}";
        };
        default = hive-c0re;
        agent-base = withOverlays ./nix/modules/agent-base.nix;
        manager = withOverlays ./nix/modules/manager.nix;
      };

      lib.mkAgent = import ./nix/make-agent.nix { inherit lib; inherit (self) nixosModules; };

      nixosConfigurations = {
        agent-base = self.lib.mkAgent { name = "agent"; };
        manager = self.lib.mkAgent { name = "manager"; };
      };

      templates = {
        agent = { path = ./nix/templates/agent; description = "The config of an agent"; };
        host = { path = ./nix/templates/host; description = "A host with a hive"; };
        default = self.templates.host;
      };

      packages = forEachSystem (pkgs: { default = pkgs.hyperhive; inherit (pkgs) hyperhive; });

      checks = forEachSystem (
        pkgs:
        { inherit (pkgs) hyperhive; }
        // lib.mapAttrs (_: test: pkgs.testers.runNixOSTest (import test { inherit self; })) {
          host = ./nix/tests/host.nix;
          gateway = ./nix/tests/gateway.nix;
          agent = ./nix/tests/agent.nix;
        }
      );

      devShells = forEachSystem (pkgs: {
        default = pkgs.mkShell {
          packages = [ pkgs.python3 pkgs.nodejs pkgs.git pkgs.gnumake pkgs.bubblewrap pkgs.util-linux pkgs.openssl pkgs.chromium ];
          # The programs that come by PyPI and npm are made for other distributions.
          shellHook = ''
            export LD_LIBRARY_PATH=${lib.makeLibraryPath [ pkgs.libseccomp pkgs.stdenv.cc.cc.lib pkgs.zlib ]}
          '';
        };
      });
    };
}
