"""Trackers that are Python libraries, each in a process of its own and in their own environment.

``python -m hone_worker.tracking`` speaks the worker's protocol: ``begin`` opens a tracker, ``log`` gives it rows of
figures, ``measure`` asks it for its own, ``end`` closes it. Each module here imports one library; only the one that is
asked for is loaded. How each library is kept from sending more than figures is said here once, for
``lightning.telemetry`` too.
"""
