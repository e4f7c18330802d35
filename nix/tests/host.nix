# A host with a hive: who may use it, what listens, what outlives a restart. Its agents are made with bubblewrap, so that one
# can be made inside the machine; claude is a stand-in, so that nothing has to be allowed.
{ self }:
{ pkgs, ... }:
{
  name = "hyperhive-host";
  node.pkgsReadOnly = false; # the module brings overlays

  nodes.machine = {
    imports = [ self.nixosModules.default ];
    services.hive-c0re = {
      enable = true;
      backend = "bubblewrap";
      manager = false;
      adminUsers = [ "alice" ];
      claudePackage = pkgs.writeShellScriptBin "claude" "exit 1";
      credentialFile = "/run/secret";
      agents.memoryMax = "1G";
    };
    systemd.tmpfiles.rules = [ "f /run/secret 0600 root root - sk-ant-api03-0000000000000000" ];
    users.users.alice.isNormalUser = true;
    users.users.mallory.isNormalUser = true;
  };

  nodes.neighbour = { };

  testScript = ''
    start_all()
    machine.wait_for_unit("hive-c0re.service")
    neighbour.wait_for_unit("multi-user.target")

    with subtest("members of hive-admin may use it, others may not"):
        machine.succeed("su - alice -c 'hive list --json'")
        machine.fail("su - mallory -c 'hive list --json'")

    with subtest("the dashboard is there, and for this machine alone"):
        machine.wait_for_open_port(7000, "127.0.0.1")
        machine.succeed("su - alice -c 'hive login' | grep -F http://127.0.0.1:7000/")
        neighbour.fail("${pkgs.curl}/bin/curl --max-time 5 http://machine:7000/")

    with subtest("an agent is made, with the host's defaults"):
        machine.succeed("su - alice -c 'hive spawn scout'")
        machine.succeed("su - alice -c 'hive config scout' | grep -F 1G")

    with subtest("the credential is the hive's, and no user can read it"):
        machine.succeed("su - alice -c 'hive auth show' | grep -F ANTHROPIC_API_KEY")
        machine.fail("su - alice -c 'cat /var/lib/hyperhive/credential.json'")
        machine.fail("grep -rF sk-ant-api03 /etc/hyperhive /etc/systemd/system")

    with subtest("containers and their sockets outlive the daemon"):
        before = machine.succeed("stat -c %i /run/hyperhive/agents/scout")
        machine.succeed("systemctl restart hive-c0re.service")
        machine.wait_for_unit("hive-c0re.service")
        assert machine.succeed("stat -c %i /run/hyperhive/agents/scout") == before
        machine.succeed("su - alice -c 'hive list' | grep -F scout")

    with subtest("git is where the daemon is told that it is"):
        machine.succeed("test -x $(systemctl show hive-c0re.service -p Environment --value | tr ' ' '\\n' | sed -n s/^HYPERHIVE_GIT=//p)")
  '';
}
