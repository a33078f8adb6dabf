"""Fairness of a kinship model: metrics of groups, disparities, intervals over families. No torch."""
