"""The protocols on tables of vectors that are larger than the memory."""
