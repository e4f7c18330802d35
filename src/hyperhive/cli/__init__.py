"""The operator's shell commands: clients of `host.sock` and nothing more.

Only `cmd_serve` imports the daemon. Prints nothing that came from a container before it went through `safe`.
"""
