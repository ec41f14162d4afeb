"""The rules that inspire-mirror keeps, one file per behaviour."""
