"""The kinship network, and functions that apply it to faces and pairs."""
