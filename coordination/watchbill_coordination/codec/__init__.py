"""Between values and bytes: records of the log, messages of the mailboxes."""
