"""What decides: selection, series, plan. Pure and synchronous; clock and disk facts are arguments."""
