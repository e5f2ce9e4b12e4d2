"""Engines run the base classifier: blocks of plain values in, labels out. A new one is a file here and a row in known.py.

base.py          the contract: Block, Answers, Engine
worker.py        a source and the networks behind it: answers one block, wherever an engine puts it
threads.py       the cores or the GPU of this machine
actors.py        processes of a Ray cluster: who is there, and who gets what
jobs.py          the blocks that wait for one of them, and which answers count
judging.py       whether it is the same function there
remote.py        what runs in such a process
object_store.py  images, which travel to each of its machines once
cluster.py       a connection to a cluster that lets nobody in without its token
known.py         an engine by name
"""
