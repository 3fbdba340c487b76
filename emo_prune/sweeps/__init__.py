"""Tasks, budgets and scores on one model, in one run that can be stopped."""
