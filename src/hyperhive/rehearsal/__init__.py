"""The rehearsal model: a small Messages API that plays scripted agents, for `hive demo` and for tests.

`script` is what may be said, `conversation` what was asked, `stage` puts the two together, `exchange` and `server`
carry it. It runs as a process of its own (`python -m hyperhive.rehearsal`), so that turns outlive the hive's daemon.
Imports nothing of hyperhive but `protocol`.
"""
