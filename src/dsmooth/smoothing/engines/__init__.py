"""Engines run the base classifier: blocks of plain values in, labels out. A new one is a file here and a row in known.py.

base.py          the contract: Block, Answers, Engine
worker.py        a source and the networks behind it: answers one block, wherever an engine puts it
threads.py       the cores or the GPU of this machine
actors.py        processes of a Ray cluster: which there are, and which gets what
jobs.py          the blocks that wait for one of them, and which answers count
judging.py       whether a remote worker computes the same function
remote.py        what runs in such a process
object_store.py  images, sent to each of its machines once
cluster.py       a connection to a Ray cluster that requires a token
known.py         an engine by name
"""
