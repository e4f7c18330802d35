# Options, their types, and what becomes of definitions. See ./default.nix for what this proves.
{ lib }:
let
  inherit (builtins)
    all any attrNames concatLists concatMap concatStringsSep filter foldl' hasAttr head isAttrs isBool isFloat isFunction
    isInt isList isString length listToAttrs mapAttrs toJSON typeOf zipAttrsWith;
  inherit (lib) isOption mkIf mkMerge mkOverride setAttrByPath showOption;

  usualPriority = 100;
  defaultPriority = 1500;

  # definitions

  # What a value stands for, as a list of { priority, value }.
  discharge =
    value:
    if value._type or null == "if" then (if value.condition then discharge value.content else [ ])
    else if value._type or null == "merge" then concatMap discharge value.contents
    else if value._type or null == "override" then map (one: one // { inherit (value) priority; }) (discharge value.content)
    else [ { priority = usualPriority; inherit value; } ];

  # The sets that a definition of a set consists of, with its conditions at their values: names are known without them.
  pushDown =
    value:
    if value._type or null == "if" then map (mapAttrs (_: mkIf value.condition)) (pushDown value.content)
    else if value._type or null == "merge" then concatMap pushDown value.contents
    else if value._type or null == "override" then map (mapAttrs (_: mkOverride value.priority)) (pushDown value.content)
    else [ value ];

  strongest =
    found:
    let
      highest = foldl' (best: one: if one.priority < best then one.priority else best) 9999 found;
    in
    map (one: one.value) (filter (one: one.priority == highest) found);

  # Of a path that no option is declared for: sets by their names, lists one after the other.
  mergeAnything =
    path: found:
    let
      values = strongest (concatMap discharge found);
    in
    if values == [ ] then null
    else if all (value: isAttrs value && !(value ? outPath) && !(value ? _type)) values then
      zipAttrsWith (name: mergeAnything (path ++ [ name ])) (concatMap pushDown values)
    else if all isList values then concatLists values
    else one path values;

  one =
    path: values:
    if all (value: value == head values) values then head values
    else throw "The option `${showOption path}' has conflicting definition values: ${shown values}";

  shown = values: concatStringsSep ", " (map show values);
  show = value: if isFunction value then "<function>" else if isAttrs value && value ? outPath then "<derivation>" else toJSON value;

  # types

  mkType = { name, description ? name, check ? (_: true), merge ? one, ... }@type: { _type = "option-type"; inherit name description check merge; } // type;

  plain = name: description: check: mkType { inherit name description check; };

  types = rec {
    anything = mkType { name = "anything"; merge = path: values: mergeAnything path values; };
    raw = mkType { name = "raw"; };
    bool = plain "bool" "boolean" isBool;
    int = plain "int" "signed integer" isInt;
    float = plain "float" "floating point number" isFloat;
    number = plain "number" "signed integer or floating point number" (value: isInt value || isFloat value);
    str = plain "str" "string" isString;
    lines = mkType { name = "lines"; description = "strings concatenated with \"\\n\""; check = isString; merge = _: concatStringsSep "\n"; };
    path = plain "path" "absolute path" (value: (isString value || builtins.isPath value || value ? outPath) && lib.hasPrefix "/" "${toString value}");
    package = plain "package" "package" (value: isAttrs value && value ? outPath);
    nonEmptyStr = plain "nonEmptyStr" "non-empty string" (value: isString value && builtins.match "[[:space:]]*" value == null);
    strMatching = pattern: plain "strMatching ${toJSON pattern}" "string matching the pattern ${pattern}" (value: isString value && builtins.match pattern value != null);
    enum = values: plain "enum" "one of ${shown values}" (value: builtins.elem value values);
    ints = {
      between = low: high: plain "intBetween" "integer between ${toString low} and ${toString high} (both inclusive)" (value: isInt value && value >= low && value <= high);
      unsigned = plain "unsignedInt" "unsigned integer, meaning >=0" (value: isInt value && value >= 0);
      positive = plain "positiveInt" "positive integer, meaning >0" (value: isInt value && value > 0);
    };
    numbers.between = low: high: plain "numberBetween" "integer or floating point number between ${toString low} and ${toString high} (both inclusive)" (value: number.check value && value >= low && value <= high);
    port = mkType { name = "unsignedInt16"; description = "16 bit unsigned integer; between 0 and 65535 (both inclusive)"; check = value: isInt value && value >= 0 && value <= 65535; };
    nullOr = type: mkType {
      name = "nullOr";
      description = "null or ${type.description}";
      check = value: value == null || type.check value;
      merge = path: values: if all (value: value == null) values then null else mergeTyped type path values;
    };
    either = first: second: mkType {
      name = "either";
      description = "${first.description} or ${second.description}";
      check = value: first.check value || second.check value;
      merge = path: values: (if all first.check values then first else second).merge path values;
    };
    oneOf = all': foldl' either (head all') (builtins.tail all');
    listOf = type: mkType {
      name = "listOf";
      description = "list of ${type.description}";
      check = isList;
      merge = path: values: concatMap (map (item: mergeTyped type path [ item ])) values;
    };
    nonEmptyListOf = type: listOf type // { description = "non-empty list of ${type.description}"; check = value: isList value && value != [ ]; };
    attrsOf = type: mkType {
      name = "attrsOf";
      description = "attribute set of ${type.description}";
      check = isAttrs;
      merge = path: values: zipAttrsWith (name: found: mergeTyped type (path ++ [ name ]) (strongest (concatMap discharge found))) (withoutEmpty (concatMap pushDown values));
      nested = type;
    };
    lazyAttrsOf = type: attrsOf type // { isLazy = true; };
    attrs = attrsOf anything;
    submodule = module: mkType {
      name = "submodule";
      description = "submodule";
      check = value: isAttrs value || isFunction value;
      merge = path: values: removeAttrs (evalModules {
        prefix = path;
        modules = [ module ] ++ map (value: if isFunction value then value else { config = value; }) values;
        specialArgs.name = lib.elemAt path (length path - 1);
      }).config [ "_module" ];
      submodule = module;
    };
  };

  # Names whose every definition is switched off are not there.
  withoutEmpty = map (set: lib.filterAttrs (_: value: discharge value != [ ]) set);

  mergeTyped =
    type: path: values:
    let
      bad = filter (value: !type.check value) values;
    in
    if bad != [ ] then
      throw "A definition for option `${showOption path}' is not of type `${type.description}'. Definition values: ${shown bad}"
    else type.merge path values;

  # modules

  evalModules =
    { modules, specialArgs ? { }, prefix ? [ ], freeform ? null }:
    let
      loaded = concatMap load modules;
      arguments = { inherit lib; inherit (result) config options; } // specialArgs;

      load =
        module:
        let
          value =
            if isFunction module then call module
            else if isAttrs module then module
            else load' module;
          load' = file: let content = import file; in if isFunction content then call content else content;
          isLong = value ? config || value ? options;
        in
        concatMap load (value.imports or [ ]) ++ [
          {
            options = value.options or { };
            config = if isLong then value.config or { } else removeAttrs value [ "imports" "freeformType" "_file" "key" "_class" ];
            freeform = value.freeformType or null;
          }
        ];
      call = function: function (arguments // mapAttrs (name: _: arguments.${name} or result.config._module.args.${name}) (builtins.functionArgs function));

      free = foldl' (found: module: if module.freeform != null then module.freeform else found) freeform loaded;
      internal.options._module.args = lib.mkOption { type = types.lazyAttrsOf types.raw; default = { }; visible = false; description = "Arguments of modules."; };
      result = level free prefix ([ internal.options ] ++ map (module: module.options) loaded) (map (module: module.config) loaded);
    in
    { inherit (result) config options; };

  # One set of options with the definitions for it.
  level =
    free: path: declared: defined:
    let
      definitions = zipAttrsWith (_: found: found) (concatMap pushDown defined);
      declarations = zipAttrsWith (_: found: found) declared;
      known = mapAttrs (
        name: found:
        let
          here = path ++ [ name ];
          values = definitions.${name} or [ ];
        in
        if any isOption found then
          (if length found > 1 then throw "The option `${showOption here}' is already declared." else evalOption here (head found) values)
        else level free here found values
      ) declarations;
      unknown = removeAttrs definitions (attrNames declarations);
      there = lib.filterAttrs (_: values: concatMap discharge values != [ ]) unknown;
      stray = showOption (path ++ [ (head (attrNames unknown)) ]);
    in
    {
      config =
        if free == null && unknown != { } then throw "The option `${stray}' does not exist."
        else mapAttrs (name: values: mergeOpen free (path ++ [ name ]) values) (if free.isLazy or false then unknown else there) // mapAttrs (_: value: if isOption value then value.value else value.config) known;
      options = mapAttrs (_: value: if isOption value then value else value.options) known;
    };

  # Where no option is declared. With a lazy type names are known before conditions: what is switched off is there as null.
  mergeOpen =
    free: path: values:
    let
      found = strongest (concatMap discharge values);
    in
    if found == [ ] then null else mergeTyped (free.nested or free) path found;

  evalOption =
    path: option: values:
    let
      given = concatMap discharge values;
      found = given ++ lib.optional (option ? default) { priority = defaultPriority; value = option.default; };
      type = option.type or types.anything;
      merged =
        if found != [ ] then mergeTyped type path (strongest found)
        else if type ? nested || type ? submodule then mergeTyped type path [ ]
        else throw "The option `${showOption path}' was accessed but has no value defined. Try setting the option.";
    in
    option // {
      inherit path;
      isDefined = given != [ ];
      definitions = given;
      value = (option.apply or (value: value)) merged;
    };

  # `from` stands for `to`: its definitions are the other's.
  alias =
    { from, to, note }:
    { config, options, ... }:
    let
      other = lib.getAttrFromPath to options;
      own = lib.getAttrFromPath from options;
    in
    {
      options = setAttrByPath from (lib.mkOption {
        inherit (other) type;
        description = "Alias of {option}`${showOption to}`.";
        visible = false;
        apply = _: lib.getAttrFromPath to config;
      });
      config = mkMerge [
        (setAttrByPath to (mkIf own.isDefined (mkMerge (map (one: mkOverride one.priority one.value) own.definitions))))
        { warnings = mkIf own.isDefined (note null); }
      ];
    };
in
{
  inherit evalModules types alias;
}
