"""Privacy: what people agreed to, how long things are kept, their data as a file, and its end."""
