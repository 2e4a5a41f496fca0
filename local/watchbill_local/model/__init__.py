"""A model that plays from scripts: the Messages API on loopback, for trying agents without a key.

Knows the API and the tools of Claude Code; knows neither Kubernetes nor Watchbill.
"""
