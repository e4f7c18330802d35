"""The shared language: names, faults, framing and the messages of every wire.

Pure: no files, processes, databases or network beyond a stream that is passed in. Imports nothing of hyperhive.
"""
