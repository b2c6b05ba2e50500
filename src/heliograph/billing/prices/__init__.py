"""What things cost: immutable, numbered price books, and the list price of a call."""
