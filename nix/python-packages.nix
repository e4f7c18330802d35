# Of the Python packages that hyperhive needs to run, those that nixpkgs lacks or has too old: from PyPI, by name and hash
# (./python-packages.json, which scripts/lock writes). To be given to a Python as its packageOverrides.
{ lib, stdenv, autoPatchelfHook, zlib }:
final: prev:
let
  all = lib.importJSON ./python-packages.json;
  listed = lib.listToAttrs (map (package: lib.nameValuePair package.name package) all);
  names = lib.filter (name: name != "hyperhive") (lib.attrNames listed);

  isNeeded =
    name:
    let
      package = listed.${name};
    in
    if package ? follows then isNeeded package.follows
    else !(prev ? ${name}) || lib.versionOlder prev.${name}.version package.minimum;

  # msgspec-0.22.0-cp312-cp312-manylinux_2_17_x86_64.whl
  parse =
    file:
    let
      words = lib.splitString "-" (lib.removeSuffix ".whl" file);
      word = place: lib.elemAt words (lib.length words - place);
    in
    { pname = lib.head words; dist = word 3; python = word 3; abi = word 2; platform = word 1; };

  own = "cp${lib.replaceStrings [ "." ] [ "" ] final.python.pythonVersion}";
  minor = text: lib.toIntBase10 (lib.removePrefix "cp3" text);
  isOurs =
    wheel:
    let
      tags = parse wheel.file;
    in
    tags.platform == "any"
    || lib.hasInfix "_${stdenv.hostPlatform.parsed.cpu.name}" tags.platform
    && (tags.abi == own || tags.abi == "abi3" && minor tags.python <= minor own);

  fromWheel =
    package:
    let
      wheels = lib.filter isOurs package.wheels;
      wheel = if wheels == [ ] then throw "hyperhive: PyPI has no ${package.name} ${package.version} for ${own} on ${stdenv.hostPlatform.system}" else lib.head wheels;
      tags = parse wheel.file;
      isNative = tags.platform != "any";
    in
    final.buildPythonPackage {
      pname = package.name;
      inherit (package) version;
      format = "wheel";
      src = final.fetchPypi { inherit (tags) pname dist python abi platform; inherit (package) version; inherit (wheel) sha256; format = "wheel"; };
      dependencies = map (name: final.${name}) package.requires;
      nativeBuildInputs = lib.optional isNative autoPatchelfHook;
      buildInputs = lib.optionals isNative [ stdenv.cc.cc.lib zlib ];
      doCheck = false;
    };

  # Without the program that wheels carry.
  fromSource =
    package:
    final.buildPythonPackage {
      pname = package.name;
      inherit (package) version;
      pyproject = true;
      src = final.fetchPypi { pname = lib.head (lib.splitString "-" package.sdist.file); inherit (package) version; inherit (package.sdist) sha256; };
      build-system = [ final.hatchling ];
      dependencies = map (name: final.${name}) package.requires;
      doCheck = false;
    };
in
lib.listToAttrs (
  map (
    name:
    let
      package = listed.${name};
    in
    lib.nameValuePair name (if !(isNeeded name) then prev.${name} else if package ? sdist then fromSource package else fromWheel package)
  ) names
)
