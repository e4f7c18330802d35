{
  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";
  inputs.hyperhive.url = "git+https://YOUR-FORGE/hyperhive";

  outputs =
    { nixpkgs, hyperhive, ... }:
    {
      nixosConfigurations.myhost = nixpkgs.lib.nixosSystem {
        modules = [
          hyperhive.nixosModules.default
          ./configuration.nix
        ];
      };
    };
}
