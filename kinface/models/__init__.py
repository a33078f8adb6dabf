"""The kinship network, and what it says of faces and pairs."""
