"""Structured logs: for people on a terminal, JSON lines anywhere else."""

import logging
import sys

import structlog

_TRACEBACKS = structlog.dev.RichTracebackFormatter(show_locals=False)
"""Without the values of variables: some are secrets."""


def configure(log_format: str) -> None:
    """`text`, `json`, or `auto`: text on a terminal."""
    text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    people = structlog.dev.ConsoleRenderer(exception_formatter=_TRACEBACKS)
    renderer = people if text else structlog.processors.JSONRenderer()
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, *([] if text else [structlog.processors.format_exc_info]), renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
