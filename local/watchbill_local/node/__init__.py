"""The process node: scheduler and kubelet whose containers are local processes."""
