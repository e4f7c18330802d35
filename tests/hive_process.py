"""A real daemon for tests; it lives with the shipped ones."""

from hyperhive.testing.hive_process import HiveProcess, eventually, running_hive

__all__ = ["HiveProcess", "eventually", "running_hive"]
