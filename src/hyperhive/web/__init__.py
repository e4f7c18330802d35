"""The operator's pages in the browser. Asks the hub and nothing beside it; nobody else knows Starlette."""
