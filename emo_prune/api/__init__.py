"""The road as functions of Python: what each command does, without the console.

`select_experts` (or `select_from_scores`), `plan_selection` and `write_plan`,
`verify_folder`, `evaluate_task` and `sweep` take what the command line's options
hold, and return values. Nothing here prints; progress goes to the `Watcher` that is
handed in.
"""
