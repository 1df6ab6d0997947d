"""The virtual node: a model of a GPU node with a known true power, always labelled simulated."""
