"""The dashboard for programs: JSON over HTTP, one table of operations, and its description in OpenAPI."""
