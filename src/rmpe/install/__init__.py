"""Installing models under a name: from a file, an address, the catalogue, or another machine.

Whatever the source, a model is made ready in ``$RMPE_HOME/downloads/NAME`` and moved to its place
only after its hash, its card and one run were found right. ``$RMPE_HOME/known_models.toml`` notes
what each file hashed to and why it was trusted.
"""
