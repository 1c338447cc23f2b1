"""Text of a definition or settings file into core objects, with line numbers for every problem."""
