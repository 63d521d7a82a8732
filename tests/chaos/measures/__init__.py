"""What is measured once and written into the docs, by hand: nothing here judges. See `__main__`."""
