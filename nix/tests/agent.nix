# An agent's system in a container of NixOS: its settings, its user, and a harness that finds what the agent installs. Nobody
# answers on its socket: that is the daemon's part, which ./host.nix is about.
{ self }:
{ pkgs, ... }:
{
  name = "hyperhive-agent";
  node.pkgsReadOnly = false;

  nodes.machine = {
    containers.h-scout = {
      autoStart = true;
      config = {
        imports = [ self.nixosModules.agent-base ];
        environment.systemPackages = [ pkgs.hello ];
        systemd.tmpfiles.rules = [ "d /state 0755 agent agent -" ]; # which the daemon binds
        hyperhive = {
          name = "scout";
          model = "sonnet";
          allowedRecipients = [ "operator" ];
          claudePackage = pkgs.writeShellScriptBin "claude" "exit 1";
        };
      };
    };
  };

  testScript = ''
    import json

    machine.wait_for_unit("container@h-scout.service")
    inside = "nixos-container run h-scout -- "

    with subtest("the settings are in the system, and on the host through its path"):
        given = json.loads(machine.succeed(inside + "cat /etc/hyperhive/agent.json"))
        assert given == {"allowed_recipients": ["operator"], "model": "sonnet"}, given

    with subtest("the harness runs as the agent, and says what it lacks"):
        machine.wait_until_succeeds(inside + "journalctl -u hive-harness.service | grep -F 'cannot read the agent'")
        machine.succeed(inside + "id agent | grep -F uid=1000")

    with subtest("what the agent's config installs is on the harness's path"):
        path = machine.succeed(inside + "systemctl show hive-harness.service -p Environment --value")
        assert "/run/current-system/sw/bin" in path, path
        machine.succeed(inside + "test -x /run/current-system/sw/bin/hello")
  '';
}
