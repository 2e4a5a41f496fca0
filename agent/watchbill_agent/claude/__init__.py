"""The runner of real Claude agents.

Owns everything that knows Claude Code and its SDK. Invariant: the SDK, which is large, is imported by the first
session and not before; of this package only `settings` and `runner` are imported when an agent starts.
"""
