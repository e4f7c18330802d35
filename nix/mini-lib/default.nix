# A stand-in for nixpkgs' lib, so that the modules can be evaluated where nixpkgs cannot be had. Written for this project.
#
# What it proves: that our files evaluate, that options have the types and defaults that are meant, that definitions merge
# and get refused, and what units, files, assertions and messages come of them.
# What it does not: that NixOS has the options which we set, with those types (whatever is not declared here is taken and
# merged as it comes); orders among definitions (mkBefore, mkAfter); types that are not below; a module given twice, or
# disabledModules; that a derivation builds. `make nix-check NIXPKGS=...` asks the real one.
let
  inherit (builtins)
    all attrNames concatMap concatStringsSep elem elemAt filter foldl' hasAttr head isAttrs isList isString length
    listToAttrs mapAttrs replaceStrings stringLength substring zipAttrsWith;

  options = import ./options.nix { inherit lib; };

  lib = rec {
    # lists and sets
    inherit (builtins)
      all any attrNames attrValues concatLists concatMap concatStringsSep elem elemAt filter foldl' hasAttr head isAttrs
      isBool isFloat isFunction isInt isList isString length listToAttrs mapAttrs match readFile replaceStrings tail stringLength substring
      toJSON toString;
    flatten = value: if isList value then concatMap flatten value else [ value ];
    optional = condition: item: if condition then [ item ] else [ ];
    optionals = condition: items: if condition then items else [ ];
    optionalAttrs = condition: set: if condition then set else { };
    optionalString = condition: text: if condition then text else "";
    nameValuePair = name: value: { inherit name value; };
    genAttrs = names: make: listToAttrs (map (name: nameValuePair name (make name)) names);
    mapAttrs' = make: set: listToAttrs (map (name: make name set.${name}) (attrNames set));
    mapAttrsToList = make: set: map (name: make name set.${name}) (attrNames set);
    filterAttrs = keep: set: removeAttrs set (filter (name: !keep name set.${name}) (attrNames set));
    filterAttrsRecursive =
      keep: set:
      mapAttrs (_: value: if isAttrs value then filterAttrsRecursive keep value else value) (filterAttrs keep set);
    attrByPath =
      path: default: set:
      if path == [ ] then set
      else if isAttrs set && hasAttr (head path) set then attrByPath (builtins.tail path) default set.${head path}
      else default;
    getAttrFromPath = path: attrByPath path (throw "cannot find attribute `${concatStringsSep "." path}'");
    setAttrByPath = path: value: if path == [ ] then value else { ${head path} = setAttrByPath (builtins.tail path) value; };
    recursiveUpdate =
      one: other:
      zipAttrsWith (
        _: values:
        if length values == 2 && all isAttrs values then recursiveUpdate (head values) (elemAt values 1) else elemAt values (length values - 1)
      ) [ one other ];
    unique = foldl' (found: item: if elem item found then found else found ++ [ item ]) [ ];
    id = value: value;
    const = value: _: value;
    functionArgs = builtins.functionArgs;

    # text
    concatMapStringsSep = between: make: items: concatStringsSep between (map make items);
    concatStrings = concatStringsSep "";
    toUpper = replaceStrings (split1 "abcdefghijklmnopqrstuvwxyz") (split1 "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    split1 = text: builtins.genList (place: substring place 1 text) (stringLength text);
    concatMapStrings = concatMapStringsSep "";
    hasPrefix = start: text: substring 0 (stringLength start) text == start;
    hasSuffix = end: text: stringLength text >= stringLength end && substring (stringLength text - stringLength end) (-1) text == end;
    hasInfix = part: text: replaceStrings [ part ] [ "" ] text != text;
    removePrefix = start: text: if hasPrefix start text then substring (stringLength start) (-1) text else text;
    removeSuffix = end: text: if hasSuffix end text then substring 0 (stringLength text - stringLength end) text else text;
    splitString = between: text: filter isString (builtins.split (escapeRegex between) text);
    escapeRegex = replaceStrings (map (c: c) [ "." "+" "*" "?" "(" ")" "[" "{" "^" "$" "|" "\\" ]) [ "\\." "\\+" "\\*" "\\?" "\\(" "\\)" "\\[" "\\{" "\\^" "\\$" "\\|" "\\\\" ];
    boolToString = value: if value then "true" else "false";
    versionAtLeast = one: other: builtins.compareVersions one other >= 0;
    versionOlder = one: other: builtins.compareVersions one other < 0;
    getName = package: if isString package then (builtins.parseDrvName package).name else package.pname or (builtins.parseDrvName package.name).name;
    getExe = package: "${package}/bin/${package.meta.mainProgram}";
    getExe' = package: program: "${package}/bin/${program}";
    importJSON = path: builtins.fromJSON (builtins.readFile path);
    importTOML = path: builtins.fromTOML (builtins.readFile path);

    # what modules say
    inherit (options) evalModules types;
    mkOption = spec: spec // { _type = "option"; };
    mkEnableOption = what: mkOption { type = types.bool; default = false; example = true; description = "Whether to enable ${what}."; };
    mkIf = condition: content: { _type = "if"; inherit condition content; };
    mkMerge = contents: { _type = "merge"; inherit contents; };
    mkOverride = priority: content: { _type = "override"; inherit priority content; };
    mkOptionDefault = mkOverride 1500;
    mkDefault = mkOverride 1000;
    mkForce = mkOverride 50;
    literalExpression = text: { _type = "literalExpression"; inherit text; };
    literalMD = text: { _type = "literalMD"; inherit text; };
    isOption = value: value._type or null == "option";
    mkAliasOptionModule = from: to: options.alias { inherit from to; note = _: [ ]; };
    mkRemovedOptionModule = path: instead: { options, ... }: {
      options = setAttrByPath path (mkOption { visible = false; description = "Removed."; });
      config.assertions = [
        {
          assertion = !(getAttrFromPath path options).isDefined;
          message = "The option definition `${showOption path}' no longer has any effect; please remove it.\n${instead}";
        }
      ];
    };
    mkRenamedOptionModule =
      from: to:
      options.alias {
        inherit from to;
        note = _: [ "The option `${showOption from}' has been renamed to `${showOption to}'." ];
      };
    showOption = concatStringsSep ".";
  };
in
lib
