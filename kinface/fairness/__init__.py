"""For whom a model fails: figures per group, disparities, intervals over families. No torch."""
