# What this agent is. A change is a commit: it takes effect when the operator approves it.
{ pkgs, ... }:
{
  # What its Bash finds.
  environment.systemPackages = [ pkgs.ripgrep ];

  hyperhive = {
    description = "";
    model = "haiku";
    # systemPrompt = "...";                      # instructions, added to the hive's own
    # allowedRecipients = [ "operator" ];        # without it: everyone; the manager always
    # network.allow = [ "example.org" ];         # hosts beyond those that claude needs
    # settings = lib.importTOML ./agent.toml;    # the keys of agent.toml, from one
  };
}
