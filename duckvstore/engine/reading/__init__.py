"""What there is: the catalogue, consistent cuts of it, and the rows of versions."""
