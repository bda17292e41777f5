"""How good the points of the algorithms are, beside the libraries that others use."""
