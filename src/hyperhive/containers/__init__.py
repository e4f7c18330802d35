"""How containers are described, made, watched and ended. Knows no agents, no mailbox, no HTTP.

`spec` says what a container is, a backend turns that into a command, the runtime runs it. Imports only `protocol`
and `process`.
"""
