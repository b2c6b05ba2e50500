"""What the house tells people and their programs: an outbox, e-mail and webhooks."""
