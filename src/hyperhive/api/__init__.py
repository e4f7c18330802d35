"""The unix sockets: `host.sock` and one per agent. Decodes, asks the hub, encodes; never imports web."""
