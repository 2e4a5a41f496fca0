"""The broker: holds the credential of a model and lends it to attempts, one socket each."""
