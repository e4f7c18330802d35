# What our modules make of configs, as values to look at: `nix-instantiate --eval --strict --json nix/check.nix -A ...`.
# With our stand-in for nixpkgs' lib it takes no nixpkgs; `make nix-check NIXPKGS=DIR` gives it the real lib.
{
  lib ? import ./mini-lib,
}:
let
  pkgsWith =
    config:
    let
      plain = import ./mini-lib/pkgs.nix { inherit lib; } // { inherit config; };
    in
    plain // import ./overlays/claude-unstable.nix { nixpkgs-unstable = ./mini-lib/unstable.nix; } plain plain;

  evaluate =
    { nixos ? ./mini-lib/nixos.nix, nixpkgsConfig ? { allowUnfree = true; }, specialArgs ? { } }: modules:
    lib.evalModules {
      inherit specialArgs;
      modules = [
        nixos
        {
          freeformType = lib.types.lazyAttrsOf lib.types.anything;
          config._module.args.pkgs = pkgsWith nixpkgsConfig;
        }
      ]
      ++ modules;
    };

  failed = config: map (one: one.message) (lib.filter (one: !one.assertion) config.assertions);

  undeclared = options: config: lib.attrNames (removeAttrs config (lib.attrNames options));

  system = options: modules: rendered (evaluate options modules);

  rendered =
    found:
    let
      inherit (found) config;
    in
    {
      # Real NixOS refuses them; here what is not declared may be its.
      undeclared = undeclared found.options.hyperhive config.hyperhive;
      json = config.hyperhive.agentJson;
      file = config.environment.etc."hyperhive/agent.json".text;
      failed = failed config;
      boot = removeAttrs config.boot [ "enableContainers" ];
      service = config.systemd.services.hive-harness;
      user = config.users.users.agent;
      git = config.programs.git.config;
    };

  hostWith =
    nixpkgsConfig: module:
    let
      found = evaluate { inherit nixpkgsConfig; } [
        ./modules/hive-c0re.nix
        { services.hive-c0re.flake = lib.mkDefault "path:/hyperhive"; }
        module
      ];
      inherit (found) config;
    in
    {
      inherit (config) warnings;
      inherit (config.services.hive-c0re) settings;
      undeclared = undeclared found.options.services.hive-c0re config.services.hive-c0re;
      failed = failed config;
      service = config.systemd.services.hive-c0re or null;
      firewall = config.networking.firewall.allowedTCPPorts;
      admins = config.users.groups.hive-admin.members or null;
      inherit (config.services) nginx;
      containers = config.boot.enableContainers;
    };
  # The overrides as data, for a nixpkgs that has these versions: what is taken from PyPI, and of what.
  pythonPackages =
    { has, python ? "3.13", machine ? "x86_64" }:
    let
      final = overrides // {
        python.pythonVersion = python;
        buildPythonPackage = spec: spec // { fromPyPI = true; };
        fetchPypi = lib.id;
        hatchling = "hatchling";
      };
      prev = lib.mapAttrs (_: version: { inherit version; fromPyPI = false; }) has;
      overrides =
        import ./python-packages.nix {
          inherit lib;
          stdenv.hostPlatform = { system = "${machine}-linux"; parsed.cpu.name = machine; };
          stdenv.cc.cc.lib = "libstdc++";
          autoPatchelfHook = "autoPatchelfHook";
          zlib = "zlib";
        } final prev;
    in
    lib.mapAttrs (_: package: removeAttrs package [ "dependencies" ]) overrides;

  package =
    let
      python = {
        override = _: python;
        withPackages = make: "/nix/store/stand-in-environment";
        pkgs = lib.genAttrs (map (one: one.name) (lib.importJSON ./python-packages.json)) lib.id // {
          hatchling = "hatchling";
          buildPythonApplication = lib.id;
          toPythonModule = lib.id;
        };
      };
      built = import ./package.nix {
        lib = lib // { fileset = { toSource = spec: map baseNameOf spec.fileset; unions = lib.id; }; licenses.mit = "MIT"; };
        stdenv = { };
        autoPatchelfHook = null;
        zlib = null;
        libseccomp = "/nix/store/stand-in-libseccomp";
        python3 = python;
        fetchurl = lib.id;
        runCommand = name: spec: script: spec // { inherit name script; };
      };
    in
    { inherit (built) name script; inherit (built.passthru) application python; };
  # The flake with stand-ins for its inputs. A system is what its modules make of it.
  # Every option that is to be seen, for the page about them.
  listOptions =
    options:
    lib.concatMap (
      name:
      let
        option = options.${name};
        path = option.loc;
        more = option.type.getSubOptions path;
      in
      if !(lib.isOption option) then listOptions option
      else if !(option.visible or true) || lib.hasPrefix "_" name then [ ]
      else
        [
          (
            { name = lib.concatStringsSep "." path; type = option.type.description; inherit (option) description; }
            // lib.optionalAttrs (option ? example) { example = written option.example; }
            // lib.optionalAttrs (option ? default || option ? defaultText) { default = written (option.defaultText or option.default); }
          )
        ]
        ++ listOptions more
    ) (lib.attrNames options);
  written = value: if value ? _type then { inherit (value) text; } else { inherit value; };

  optionsOf = {
    inherit (import ./modules/names.nix { inherit lib; }) older;
    host = listOptions (evaluate { } [ ./modules/hive-c0re.nix ]).options.services.hive-c0re;
    agent = listOptions (evaluate { } [ ./modules/agent-base.nix ]).options.hyperhive;
  };

  flake =
    let
      self = (import ../flake.nix).outputs { inherit self nixpkgs; nixpkgs-unstable = /nowhere; } // { outPath = "/hyperhive"; };
      nixpkgs.lib = lib // { nixosSystem = { modules, specialArgs }: evaluate { inherit specialArgs; } modules; };
    in
    self;

  agentOfFlake =
    arguments:
    let
      found = flake.lib.mkAgent arguments;
    in
    rendered found
    // {
      inherit (found.config.networking) hostName;
      mayHave = lib.filter (name: (found.config.nixpkgs.config.allowUnfreePredicate or (_: false)) { pname = name; }) [ "claude-code" "steam" ];
    };

  vm = path: import path { self = flake; } { pkgs = pkgsWith { } // testing; };
  vmTest = path: { inherit (vm path) name testScript; };
  # Assertions that fail, and options that are not there, of every machine and the containers in it.
  vmFaults =
    path:
    let
      of = module: let found = evaluate { specialArgs.nodes.machine.networking.primaryIPAddress = "10.0.0.1"; } [ module ]; in own found ++ within found;
      own = found: failed found.config ++ undeclared (found.options.hyperhive or { }) (found.config.hyperhive or { })
        ++ undeclared (found.options.services.hive-c0re or { }) (found.config.services.hive-c0re or { });
      within = found: lib.concatMap (one: of one.config) (lib.attrValues (found.config.containers or { }));
    in
    lib.concatMap of (lib.attrValues (vm path).nodes);
  testing = {
    curl = "curl";
    runCommand = name: _: _: "/nix/store/stand-in-${name}";
    openssl = "openssl";
    hello = "hello";
    writeShellScriptBin = name: _: { outPath = "/nix/store/stand-in-${name}"; meta.mainProgram = name; };
  };
in
{
  inherit pythonPackages package optionsOf flake agentOfFlake vmTest vmFaults;
  agent = module: system { } [ ./modules/agent-base.nix module ];
  agentOf = nixos: module: system { inherit nixos; } [ ./modules/agent-base.nix module ];
  manager = module: system { } [ ./modules/manager.nix module ];
  agentWith = nixpkgsConfig: module: system { inherit nixpkgsConfig; } [ ./modules/agent-base.nix module ];
  host = hostWith { allowUnfree = true; };
  inherit hostWith evaluate;
}
