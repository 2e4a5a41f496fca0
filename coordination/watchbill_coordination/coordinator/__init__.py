"""Decide, append, sync, evolve: the one place where rules and log meet."""
