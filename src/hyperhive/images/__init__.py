"""What nspawn containers are made from: base, harness, layers of packages, and each agent's generations of them.

`Images` (images.py) is the door; the hub uses it and nothing else of this package. It may use `containers` for control
groups; a backend gets directories as values and knows nothing of how they were made.

Everything in here lies in one directory that belongs to root alone:

    base/ID/{root,manifest.json,files.zst}    the Debian system; ID is a digest of its content; base/current -> ID
    harness/ID/...                    hyperhive's own part, in a venv of its own at /opt/hyperhive
    layers/ID/...                     packages on a base; ID is a digest of the base's and of the packages' names
    agents/NAME/generations/N/layers.json, agents/NAME/current -> generations/N
    apt/                              package lists and downloads
    work/                             what is being made; emptied whenever a hive starts
"""
