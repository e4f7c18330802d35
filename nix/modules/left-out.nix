# Options that agents' configs may have from elsewhere and that mean nothing here: the message says what does.
{ lib, ... }:
let
  out = name: instead: lib.mkRemovedOptionModule [ "hyperhive" name ] instead;
in
{
  imports = [
    (out "backendEnvironmentFile" "Give the hive the file instead, with services.hive-c0re.credentialFile on the host, and set hyperhive.credentials = \"hive\".")
    (out "dashboardLinks" "The dashboard shows no links of agents.")
    (out "forge" "The hive has no forge; put a client into environment.systemPackages and its host into hyperhive.network.allow.")
    (out "frontend" "Agents have no pages of their own: the dashboard's are the hive's.")
    (out "gui" "Agents have no screen.")
    (out "matrix" "Give a Matrix server for MCP as hyperhive.extraMcpServers.")
    (out "user" "The harness runs as the user `agent`.")
  ];
}
