{
  # Further inputs reach agent.nix as the argument `flakeInputs`.
  outputs = inputs: {
    nixosModules.default = {
      imports = [ ./agent.nix ];
      _module.args.flakeInputs = inputs;
    };
  };
}
