"""The collapse frontier: how far a method compresses a network before a layer empties, and before the last path breaks.

A way for each kind of method: ranks.py where one look at the scores decides all, onerun.py where one run passes every
compression, search.py where each compression is a run of its own. journal.py keeps what was found.
"""
