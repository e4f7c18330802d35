"""The hive's tools as claude sees them: a file for each subject, with what a tool takes, does and answers.

The files `lifecycle`, `approvals` and `diagnostics` hold the tool groups of these names, for agents that steer others;
`systems` holds the one that only the manager can have.
"""
