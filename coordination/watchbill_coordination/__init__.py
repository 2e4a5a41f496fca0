"""The shared-volume protocol: events, log, projections, mailboxes. Knows no Kubernetes."""
