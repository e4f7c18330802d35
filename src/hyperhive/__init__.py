"""hyperhive: run a team of Claude Code agents on your own Linux machine, and trust it."""

__version__ = "0.1.0.dev0"
