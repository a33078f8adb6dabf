"""Kinship recognition from two faces, trained against race and gender, and the audit of for whom it fails."""
