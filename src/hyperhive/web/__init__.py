"""The operator's pages in the browser. Asks the hub, and what answers host.sock; nobody else knows Starlette."""
