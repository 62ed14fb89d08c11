"""What is stored as documents, under which keys, and what is believed of it. Pure."""
