"""Bytes on the shared volume: log, epochs, mailboxes, and reading what agents wrote."""
