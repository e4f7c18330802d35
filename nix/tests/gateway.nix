# The dashboard through nginx, from another machine.
{ self }:
{ pkgs, ... }:
let
  certificate = pkgs.runCommand "certificate" { nativeBuildInputs = [ pkgs.openssl ]; } ''
    mkdir $out
    openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=hive.example.org \
      -addext subjectAltName=DNS:hive.example.org -keyout $out/key.pem -out $out/cert.pem
  '';
in
{
  name = "hyperhive-gateway";
  node.pkgsReadOnly = false;

  nodes.machine = {
    imports = [ self.nixosModules.default ];
    services.hive-c0re = {
      enable = true;
      backend = "bubblewrap";
      manager = false;
      claudePackage = pkgs.writeShellScriptBin "claude" "exit 1";
      domain = "hive.example.org";
      gateway.enable = true;
      openFirewall = true;
    };
    services.nginx.virtualHosts."hive.example.org" = {
      enableACME = false;
      sslCertificate = "${certificate}/cert.pem";
      sslCertificateKey = "${certificate}/key.pem";
    };
  };

  nodes.browser = { nodes, ... }: {
    networking.extraHosts = "${nodes.machine.networking.primaryIPAddress} hive.example.org";
  };

  testScript = ''
    start_all()
    machine.wait_for_unit("hive-c0re.service")
    machine.wait_for_open_port(443)
    browser.wait_for_unit("multi-user.target")

    curl = "${pkgs.curl}/bin/curl --silent --show-error --max-time 20 --cacert ${certificate}/cert.pem"
    with subtest("a link of the hive leads through the gateway"):
        link = machine.succeed("hive login").split()[-1]
        assert link.startswith("https://hive.example.org/"), link
        browser.succeed(f"{curl} --fail --location '{link}'")

    with subtest("nobody gets in without one"):
        status = browser.succeed(f"{curl} --output /dev/null --write-out %{{http_code}} https://hive.example.org/")
        assert status != "200", status

    with subtest("what is behind it cannot be reached past it"):
        browser.fail(f"{curl} http://hive.example.org:7000/")
  '';
}
