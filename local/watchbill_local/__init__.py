"""A small Kubernetes control plane and node on one machine, for trying things and for tests."""
