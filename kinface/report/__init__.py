"""The fairness report: its figures and its page. No torch."""
