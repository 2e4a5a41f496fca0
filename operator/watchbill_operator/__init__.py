"""The kopf operator: turns observations into commands and committed events into actions."""
