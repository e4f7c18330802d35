# The options of an agent: the keys of agent.toml, as ../agent-keys.json has them from the types that the hive reads it
# with (written by scripts/docs).
{ lib, config, pkgs, ... }:
let
  inherit (lib) mkIf mkMerge mkOption types;

  cfg = config.hyperhive;
  keys = lib.importJSON ../agent-keys.json;
  names = import ./names.nix { inherit lib; };

  typeOf =
    kind:
    {
      bool = types.bool;
      int = types.ints.between kind.from kind.to;
      float = types.numbers.between kind.from kind.to;
      text = if kind ? pattern then types.strMatching kind.pattern else types.str;
      one = types.enum kind.values;
      list = types.listOf (typeOf kind.of);
      names = types.attrsOf (typeOf kind.of);
      tables = types.attrsOf (types.submodule { options = tree (map (key: key // { names = [ (names.camel key.name) ]; }) kind.keys); });
    }
    .${kind.is};

  # Without a default of its own: what is not given is not in agent.json, and the hive's default holds.
  optionOf =
    key:
    mkOption (
      {
        type = if key.required or false then typeOf key.type else types.nullOr (typeOf key.type);
        description = key.description;
      }
      // (if key.required or false then { } else { default = null; })
      // (if key.default or "" == "" then { } else { defaultText = lib.literalMD "`${key.default}`, of the hive"; })
    );

  tree = lib.foldl' (found: key: lib.recursiveUpdate found (lib.setAttrByPath key.names (optionOf key))) { };

  placed = map (key: key // { names = names.of key.path; }) keys;

  given =
    kind: value:
    if kind.is != "tables" then value
    else lib.mapAttrs (_: one: lib.listToAttrs (lib.concatMap (key: keyOf key one.${names.camel key.name}) kind.keys)) value;
  keyOf = key: value: lib.optional (value != null) (lib.nameValuePair key.name value);

  definition =
    key:
    let
      value = lib.getAttrFromPath key.names cfg;
    in
    mkIf (value != null) (lib.setAttrByPath key.path (given key.type value));

  has = path: lib.any (key: key.path == path) keys;
in
{
  imports = map ({ from, to }: lib.mkAliasOptionModule ([ "hyperhive" ] ++ from) ([ "hyperhive" ] ++ to)) names.older;

  options.hyperhive = tree placed // {
    name = mkOption {
      type = types.strMatching "[a-z]|[a-z][a-z0-9-]{0,7}[a-z0-9]";
      description = "What the agent is called. The container is `h-NAME`, and containers of NixOS have at most 11 characters.";
      example = "scout";
    };
    settings = mkOption {
      type = types.submodule { freeformType = (pkgs.formats.json { }).type; };
      default = { };
      example = lib.literalExpression "lib.importTOML ./agent.toml";
      description = "The keys of agent.toml by their names there; the options beside this one set them, too.";
    };
    autoCompact = mkOption {
      type = types.nullOr types.bool;
      default = null;
      description = "`false`: a long conversation is not compacted by itself.";
    };
    agentJson = mkOption {
      type = types.str;
      readOnly = true;
      description = "What `/etc/hyperhive/agent.json` says.";
    };
  };

  config = {
    hyperhive.settings = mkMerge (
      map definition placed
      # Where the hive does not compact by itself, there is nothing to switch off.
      ++ [ (mkIf (cfg.autoCompact == false && has [ "session" "compact_at" ]) { session.compact_at = 0; }) ]
    );
    hyperhive.agentJson = builtins.toJSON cfg.settings;
    environment.etc."hyperhive/agent.json".text = cfg.agentJson;

    assertions = [
      {
        assertion = !(cfg.settings ? packages.apt) || cfg.settings.packages.apt == [ ];
        message = "hyperhive.packages.apt: a container of NixOS has no Debian packages; use environment.systemPackages.";
      }
      {
        assertion = !(cfg.settings ? mcp_servers.hyperhive);
        message = "hyperhive.extraMcpServers.hyperhive: that is the hive's own server; give yours another name.";
      }
      {
        assertion = lib.all (lib.hasPrefix "/") (cfg.settings.claude_plugins or [ ]);
        message = "hyperhive.claudePlugins: nothing is fetched from a marketplace when an agent starts; give the paths of directories, such as \"\${flakeInputs.my-plugin}\".";
      }
      {
        assertion = (cfg.settings.role or "agent") == "manager" || cfg.name != "manager";
        message = "hyperhive.role: the agent `manager` is always a manager; use nixosModules.manager.";
      }
    ];
  };
}
