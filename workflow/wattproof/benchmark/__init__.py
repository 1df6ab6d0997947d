"""The published benchmark: an artefact folder, and the interface that queries it.

`publish` writes the folder; `api` reads it and needs the light core only.
"""
