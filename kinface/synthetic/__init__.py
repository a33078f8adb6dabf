"""Families with known genes and a known bias, for tests and demonstrations. No torch."""
