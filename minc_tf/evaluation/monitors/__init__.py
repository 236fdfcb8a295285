"""What watches a model while it trains: kNN, diagnostics, collapse."""
