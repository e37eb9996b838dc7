"""The crash matrix: real processes killed at named steps, a real hub, real files, and what is found afterwards.

``python -m tests.crashes`` (``make crash-matrix``) runs all of it and writes the table of
``docs/explanation/delivery.md``.
The product knows nothing of this: a process that is to be killed wraps the names of one step around itself.
"""
