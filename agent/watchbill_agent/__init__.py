"""What runs inside an agent pod: mailbox loop, lifecycle, runners."""
