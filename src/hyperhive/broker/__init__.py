"""The hive's database and what is kept in it: mail, agents, approvals, events, turns.

Imports `protocol` alone. `database` is the one door to sqlite; everything that touches messages runs in it on the
writer thread, so that a transition and its check are one transaction.
"""
