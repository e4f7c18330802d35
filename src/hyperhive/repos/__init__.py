"""Config repositories: hostile ones read and pinned, the hive's own kept. The one place that knows libgit2.

Imports `protocol` and `config` alone. What blocks is called off the loop.
"""
