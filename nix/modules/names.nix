# What the keys of agent.toml are called as options: in camelCase, and three of them also as they have always been on NixOS.
{ lib }:
rec {
  camel = key: let words = lib.splitString "_" key; in lib.concatStrings ([ (lib.head words) ] ++ map capital (lib.tail words));
  capital = word: lib.toUpper (lib.substring 0 1 word) + lib.substring 1 (-1) word;
  of = map camel;

  older = [
    { from = [ "extraMcpServers" ]; to = [ "mcpServers" ]; }
    { from = [ "allowedBashPatterns" ]; to = [ "tools" "bashAllow" ]; }
    { from = [ "effortLevel" ]; to = [ "effort" ]; }
  ];
}
