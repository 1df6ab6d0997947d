"""wattproof: measure the energy of machine-learning runs honestly, prove it, publish it."""
