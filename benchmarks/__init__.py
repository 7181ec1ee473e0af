"""Where every figure in the documents comes from; README.md is the index."""
