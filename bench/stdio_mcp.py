"""The smallest stdio MCP server with the `mcp` package: what a process per turn starts beside claude."""

from mcp.server import MCPServer

server = MCPServer("bench")


@server.tool()
def note(text: str) -> str:
    """Take a note."""
    return f"noted: {text}"


if __name__ == "__main__":
    server.run()
