"""The judge: no I/O, no clock, no threads; values in, values out."""
