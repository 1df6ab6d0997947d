"""A published benchmark behind the interfaces of other people's optimisers and benchmarks.

One file a package, imported by name (``from wattproof.adapters import optuna``): a reader of
benchmarks who needs none of them installs none of them.
"""
